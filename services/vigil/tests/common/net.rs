//! Hosts and the cables between them: network namespaces of the kernel, whose cables can be pulled. Nothing is left behind,
//! whatever becomes of the test: a namespace goes with the last process in it, and a cable with either end.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::sched::{CloneFlags, setns};

/// Brings the loopback up, says so, and keeps the namespace until its input ends, which it does when the test ends.
const HOLDER: &str = "ip link set lo up && echo ready && exec cat";

/// A machine of its own, as far as its network goes.
pub struct Host {
    holder: Child,
    _input: ChildStdin,
}

impl Host {
    pub fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["-n", "--", "sh", "-c", HOLDER]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().expect("unshare of util-linux");
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said.trim() != "ready" {
            let mut refusal = String::new();
            holder.stderr.take().unwrap().read_to_string(&mut refusal).unwrap();
            panic!(
                "THIS MACHINE LETS NOBODY MAKE A NETWORK, so nothing is known of cut ones: {refusal}\
                 allow network namespaces (root, or in a container: --cap-add SYS_ADMIN --cap-add NET_ADMIN), install iproute2, and test again"
            );
        }
        let input = holder.stdin.take().unwrap();
        Self { holder, _input: input }
    }

    /// The same command, run on this host.
    pub fn inside(&self, command: &Command) -> Command {
        let mut entered = Command::new("nsenter");
        entered.args(["-t", &self.id(), "-n", "--"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            entered.env(name, value.unwrap_or_default());
        }
        entered
    }

    /// Runs a client on this host, to its end.
    pub fn visit<T: Send>(&self, client: impl AsyncFnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(client())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn ip(&self, words: &str) {
        let mut command = Command::new("ip");
        command.args(words.split(' '));
        let output = self.inside(&command).output().unwrap();
        assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn id(&self) -> String {
        self.holder.id().to_string()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Between a client's host and a server's.
pub struct Cable<'h> {
    server: &'h Host,
    number: u8,
}

impl<'h> Cable<'h> {
    pub fn new(client: &Host, server: &'h Host) -> Self {
        static CABLES: AtomicU8 = AtomicU8::new(1);
        let number = CABLES.fetch_add(1, Ordering::Relaxed);
        let cable = Self { server, number };
        let (near, far) = (client.id(), server.id());
        client.ip(&format!("link add to{number} netns {near} type veth peer name of{number} netns {far}"));
        for (host, end, address) in [(client, "to", cable.client_address()), (server, "of", cable.server_address())] {
            host.ip(&format!("address add {address}/24 dev {end}{number}"));
            host.ip(&format!("link set {end}{number} up"));
        }
        cable
    }

    /// Where the client finds a port of the server.
    pub fn to(&self, port: u16) -> SocketAddr {
        (self.server_address(), port).into()
    }

    /// Pulls it: what either sends is lost, and nobody is told.
    pub fn cut(&self) {
        self.server.ip(&format!("link set of{} down", self.number));
    }

    /// The server hears the client, and its answers are lost.
    pub fn silence(&self) {
        self.server.ip(&format!("route add blackhole {}", self.client_address()));
    }

    /// The server is heard again.
    pub fn hear(&self) {
        self.server.ip(&format!("route del blackhole {}", self.client_address()));
    }

    pub fn heal(&self) {
        self.server.ip(&format!("link set of{} up", self.number));
    }

    fn server_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 1)
    }

    fn client_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 2)
    }
}
