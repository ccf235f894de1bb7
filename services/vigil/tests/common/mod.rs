//! Real processes for the tests: started, killed without warning, counted.
#![allow(dead_code, clippy::unwrap_used, clippy::format_push_string)] // Each test file uses its part; a test ends where it cannot go on.

pub mod clock;
pub mod disk;
pub mod edge;
pub mod fake_rtsp;
pub mod footprint;
pub mod look;
pub mod net;
pub mod pki;
pub mod publish;
pub mod reader;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tonic::transport::{Channel, Endpoint};
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;

/// Longest wait for something that must happen; a slow machine needs part of it, a broken program all.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Characters of an event id in text.
const ID_CHARACTERS: usize = 36;

/// The program under test.
pub fn vigil() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vigil"))
}

/// An example of this crate, built with its tests.
pub fn example(name: &str) -> Command {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_vigil")).with_file_name("examples").join(name);
    assert!(program.is_file(), "{} is not built: run cargo test, which builds examples", program.display());
    Command::new(program)
}

/// An address nobody listens on now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Runs a command to its end, which must come within [`PATIENCE`]: exit status, standard output, standard error.
pub fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let (ended, is_ended) = sync_channel::<()>(0);
    let watch = move || {
        let late = is_ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        late.then(|| kill(pid, Signal::SIGKILL))
    };
    let watch = std::thread::Builder::new().name("watch".into()).spawn(watch).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    drop(ended);
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(watch.join().unwrap().is_none(), "{command:?} does not end: {stdout}{stderr}");
    (status.code(), stdout, stderr)
}

/// A process that is killed when dropped.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts `command`; its standard error goes to `log`.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let stdin = child.stdin.take();
        Self { child, stdin }
    }

    /// The same, with the lines of its standard output. The channel holds what a test may be late to read.
    pub fn start_with_lines(mut command: Command, log: &Path) -> (Self, Receiver<String>) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (sender, lines) = sync_channel(1 << 20);
        std::thread::Builder::new()
            .name("lines".into())
            .spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)))
            .unwrap();
        (Self { child, stdin }, lines)
    }

    /// Kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGSTOP: the process hangs.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT: it goes on where it was.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// SIGHUP: read the configuration again.
    pub fn hang_up(&self) {
        self.signal(Signal::SIGHUP);
    }

    /// SIGTERM, and how the process ended.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap()
    }

    /// Types a line.
    pub fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends its standard input.
    pub fn close_input(&mut self) {
        self.stdin.take();
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects once the server at `address` listens.
pub async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_timeout(Duration::from_secs(1));
    let connected = async {
        loop {
            match endpoint.connect().await {
                Ok(channel) => return channel,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.unwrap_or_else(|_| panic!("nothing serves at {address}"))
}

/// Writes a region's configuration and starts it; its log is `folder/id/log`.
pub fn region(folder: &Path, id: &str, listen: SocketAddr) -> Process {
    Process::start(region_command(folder, id, listen), &folder.join(id).join("log"))
}

/// What starts a region whose data lie in `folder/id/data`.
pub fn region_command(folder: &Path, id: &str, listen: SocketAddr) -> Command {
    let own = folder.join(id);
    std::fs::create_dir_all(own.join("data")).unwrap();
    let text =
        format!("region_id = \"{id}\"\nlisten = \"{listen}\"\nops_listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n");
    std::fs::write(own.join("region.toml"), text).unwrap();
    let mut command = vigil();
    command.arg("region").arg("--config").arg(own.join("region.toml"));
    command
}

/// Writes a gateway's configuration and starts it; its log is `folder/gateway/log`.
pub fn gateway(folder: &Path, listen: SocketAddr, regions: &[(&str, SocketAddr)]) -> Process {
    Process::start(gateway_command(folder, listen, regions), &folder.join("gateway/log"))
}

/// What starts a gateway.
pub fn gateway_command(folder: &Path, listen: SocketAddr, regions: &[(&str, SocketAddr)]) -> Command {
    let own = folder.join("gateway");
    std::fs::create_dir_all(&own).unwrap();
    let mut text = format!("listen = \"{listen}\"\nops_listen = \"127.0.0.1:0\"\ntoken_key_file = \"token.key\"\n");
    for (id, address) in regions {
        text.push_str(&format!("[[regions]]\nregion_id = \"{id}\"\naddress = \"http://{address}\"\n"));
    }
    std::fs::write(own.join("gateway.toml"), text).unwrap();
    let mut command = vigil();
    command.arg("gateway").arg("--config").arg(own.join("gateway.toml"));
    command
}

/// The example `event_source` as edge `id`: makes events at full speed until its input ends.
pub fn event_source(folder: &Path, id: &str, region: (&str, SocketAddr)) -> Command {
    let mut command = example("event_source");
    command.arg(folder.join("outbox")).arg(format!("http://{}", region.1)).args([region.0, id]);
    command
}

/// Takes lines until `count` ids were told.
pub fn take_ids(lines: &Receiver<String>, count: usize, told: &mut HashSet<String>) {
    for _ in 0..count {
        told.insert(lines.recv_timeout(PATIENCE).expect("the edge makes events"));
    }
}

/// What was still on its way when the process was killed; a last line cut in the middle is no id.
pub fn take_rest(lines: &Receiver<String>, told: &mut HashSet<String>) {
    told.extend(lines.iter().filter(|line| line.len() == ID_CHARACTERS));
}

/// Ends the making of events and waits until the region has acknowledged all.
pub fn ship_all(source: &mut Process, lines: &Receiver<String>, told: &mut HashSet<String>) {
    source.close_input();
    loop {
        match lines.recv_timeout(PATIENCE).expect("the edge ships all it has").as_str() {
            "shipped" => return,
            id => told.insert(id.to_owned()),
        };
    }
}

/// Every id that was told is found once. Returns how many more there are: made, and not told any more by a process that
/// was killed.
pub async fn assert_found_once(channel: Channel, told: &HashSet<String>) -> usize {
    let found = all_events(channel).await;
    let missing: Vec<_> = told.iter().filter(|id| !found.contains_key(*id)).collect();
    assert!(missing.is_empty(), "{} of {} events are lost: {missing:?}", missing.len(), told.len());
    let doubled: Vec<_> = found.iter().filter(|(_, times)| **times != 1).collect();
    assert!(doubled.is_empty(), "found more than once: {doubled:?}");
    found.len() - told.len()
}

/// All events a server holds, page by page: how often each id came.
pub async fn all_events(channel: Channel) -> HashMap<String, u32> {
    let mut queries = EventQueryServiceClient::new(channel).max_decoding_message_size(16 << 20);
    let mut found = HashMap::new();
    let mut page_token = String::new();
    loop {
        let request = v1::SearchRequest { page_size: 1000, page_token, ..Default::default() };
        let answer = queries.search(request).await.unwrap().into_inner();
        for event in answer.events {
            *found.entry(event.event_id).or_default() += 1;
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}
