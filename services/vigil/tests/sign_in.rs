//! Signing in from the command line: the demonstration's issuer, a gateway and a region as processes, a browser that is played.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;

use common::{PATIENCE, Process, free_address, run, vigil};

const PASSWORD: &str = "correct horse";

/// As `vigil issuer hash` prints it.
fn hashed() -> String {
    let mut command = vigil();
    command.args(["issuer", "hash"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    let output = child.wait_with_output().unwrap();
    let hash = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    hash
}

/// An issuer, a region and a gateway that believe it, and a user of this machine.
struct City {
    folder: tempfile::TempDir,
    issuer: String,
    front: SocketAddr,
    _processes: Vec<Process>,
}

impl City {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (login, north, front) = (free_address(), free_address(), free_address());
        let mut users = format!("port = {}\n", login.port());
        for (name, role) in [("alice", "operator"), ("olga", "auditor")] {
            let hash = hashed();
            write!(users, "[[users]]\nname = \"{name}\"\npassword_hash = \"{hash}\"\nroles = [\"{role}\"]\n").unwrap();
        }
        let file = folder.path().join("users.toml");
        std::fs::write(&file, users).unwrap();
        let mut command = vigil();
        command.arg("issuer").arg("--config").arg(&file);
        let (serving, lines) = Process::start_with_lines(command, &folder.path().join("issuer.log"));
        let issuer = format!("http://{login}");
        assert!(lines.recv_timeout(PATIENCE).unwrap().contains(&issuer));

        let region = common::region_command(folder.path(), "north", north);
        let gateway = common::gateway_command(folder.path(), front, &[("north", north)]);
        for config in ["north/region.toml", "gateway/gateway.toml"] {
            let path = folder.path().join(config);
            let text = std::fs::read_to_string(&path).unwrap();
            let sign_in =
                format!("\n[sign_in]\nissuer = \"{issuer}\"\naudience = \"vigil\"\n[[rights]]\nrole = \"operator\"\n");
            std::fs::write(&path, text + &sign_in).unwrap();
        }
        let started = [(region, "north/log"), (gateway, "gateway/log")]
            .map(|(c, log)| Process::start(c, &folder.path().join(log)));
        let processes = started.into_iter().chain([serving]).collect();
        common::connect(north).await;
        common::connect(front).await;
        Self { folder, issuer, front, _processes: processes }
    }

    fn state(&self, user: &str) -> std::path::PathBuf {
        self.folder.path().join(user)
    }

    /// The command line of a user.
    fn command(&self, user: &str, args: &[&str]) -> Command {
        let mut command = vigil();
        command.args(args).env("XDG_STATE_HOME", self.state(user)).env_remove("VIGIL_TOKEN");
        command
    }

    fn query(&self, user: &str) -> (Option<i32>, String, String) {
        run(self.command(user, &["query", "--json"]).arg("--server").arg(format!("http://{}", self.front)))
    }

    /// Begins to sign in; the lines it prints.
    fn sign_in(&self, user: &str, way: &str) -> (Process, Receiver<String>) {
        let command = self.command(user, &["sign-in", way, "--issuer", &self.issuer]);
        Process::start_with_lines(command, &self.folder.path().join("sign-in.log"))
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_by_a_browser_or_a_device_asks_and_signs_out() {
    let city = City::open().await;
    let browser = vigil_signin::http::client(None).unwrap();
    let (status, _, stderr) = city.query("alice");
    assert_eq!(status, Some(1));
    assert!(stderr.contains("vigil sign-in --issuer") && stderr.contains(&city.issuer), "{stderr}");

    // By a browser: the page, a wrong password, the right one, and back to the command line.
    let (_signing_in, lines) = city.sign_in("alice", "--no-browser");
    let told = lines.recv_timeout(PATIENCE).unwrap();
    let address = url::Url::parse(told.strip_prefix("open ").unwrap()).unwrap();
    let page = browser.get(address.clone()).send().await.unwrap();
    assert!(page.status().is_success() && page.text().await.unwrap().contains("name=password"));
    let asked: Vec<(String, String)> = address.query_pairs().into_owned().collect();
    let send = async |password: &str| {
        let mut form = asked.clone();
        form.extend([("user".to_owned(), "alice".to_owned()), ("password".to_owned(), password.to_owned())]);
        browser.post(format!("{}/authorize", city.issuer)).form(&form).send().await.unwrap()
    };
    assert_eq!(send("wrong").await.status().as_u16(), 401);
    let back = send(PASSWORD).await;
    let location = back.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("http://127.0.0.1:"), "{location}");
    assert!(browser.get(location).send().await.unwrap().status().is_success());
    assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "signed in as alice");
    assert_eq!(mode(&city.state("alice").join("vigil/session.json")), 0o600);
    let (status, _, stderr) = city.query("alice");
    assert_eq!(status, Some(0), "{stderr}");
    let (_, shown, _) = run(&mut city.command("alice", &["whoami"]));
    assert!(shown.contains("alice") && shown.contains("operator"), "{shown}");

    // By a device: the auditor, who may search the log and nothing else.
    let (_signing_in, lines) = city.sign_in("olga", "--device");
    let told = lines.recv_timeout(PATIENCE).unwrap();
    let code = told.rsplit(' ').next().unwrap();
    let form = [("user_code", code), ("user", "olga"), ("password", PASSWORD)];
    let typed = browser.post(format!("{}/device", city.issuer)).form(&form).send().await.unwrap();
    assert!(typed.status().is_success(), "{}", typed.text().await.unwrap());
    assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "signed in as olga");
    let (status, _, stderr) = city.query("olga");
    assert!(status == Some(1) && stderr.contains("operator"), "{stderr}");
    let server = format!("http://{}", city.front);
    let search = ["audit", "search", "--json", "--subject", "alice", "--server", &server];
    let (status, found, stderr) = run(&mut city.command("olga", &search));
    assert_eq!(status, Some(0), "{stderr}");
    assert!(found.contains("EventQueryService/Search"), "{found}");
    let (status, _, stderr) = run(&mut city.command("alice", &search));
    assert!(status == Some(1) && stderr.contains("auditor"), "{stderr}");

    // A session that is about to end is renewed; a token in a file goes before it; after signing out there is none.
    let file = city.state("alice").join("vigil/session.json");
    let mut session: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let before = session["access_token"].clone();
    session["ends_at_us"] = 0.into();
    std::fs::write(&file, session.to_string()).unwrap();
    assert_eq!(city.query("alice").0, Some(0));
    let renewed: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_ne!(renewed["access_token"], before);
    assert_eq!(run(&mut city.command("alice", &["sign-out"])).0, Some(0));
    assert_eq!(city.query("alice").0, Some(1));
    let token = city.folder.path().join("token");
    std::fs::write(&token, before.as_str().unwrap()).unwrap();
    let mut command = city.command("alice", &["query", "--json", "--server", &server, "--token-file"]);
    assert_eq!(run(command.arg(&token)).0, Some(0));
}
