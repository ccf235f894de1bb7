//! A PostgreSQL server of a test's own: on a socket in a folder of its own, gone with the test's process however that ends.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use vigil_base::config::Secret;
use vigil_region::index::postgres::PostgresConfig;

use super::region;

/// Oldest server that the product takes.
const MIN_VERSION: u32 = 15;

/// Waits for its standard input to end, which it does with the process that holds the other side, then ends the server and
/// removes its folder.
const KEEPER: &str = r#"
    if [ -n "$4" ]; then
        "$1/pg_basebackup" -h "$4" -U vigil -D "$2/data" -R -X stream -c fast --no-sync >"$2/initdb.log" 2>&1
    else
        "$1/initdb" -D "$2/data" -U vigil -A trust -E UTF8 --locale=C --no-sync >"$2/initdb.log" 2>&1
    fi || { cat "$2/initdb.log"; exit 1; }
    "$1/pg_ctl" -D "$2/data" -l "$2/server.log" -o "$3" -w -t 60 start >/dev/null 2>&1 || { cat "$2/server.log"; exit 1; }
    echo ready
    read -r line
    "$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1
    rm -rf "$2"
"#;

pub struct PostgresServer {
    programs: PathBuf,
    folder: PathBuf,
    /// User and group that may run the server, where the test may not.
    owner: Option<(u32, u32)>,
    /// Ends the server when its standard input is closed.
    _keeper: Child,
}

impl PostgresServer {
    /// A server with these settings beside the defaults.
    pub fn start(settings: &[&str]) -> Self {
        Self::make(settings, &[], None)
    }

    /// The same with files (name, content) in its folder, which settings name as `{folder}`.
    pub fn start_with(files: &[(&str, &str)], settings: &[&str]) -> Self {
        Self::make(settings, files, None)
    }

    /// A hot standby of this server, which from now on answers a commit once the standby has it on its disk.
    pub fn standby(&self) -> Self {
        let standby = Self::make(&[], &[], Some(&self.folder));
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("SELECT pg_reload_conf()");
        standby
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        self.control(&["-w", "promote"]);
    }

    #[allow(clippy::zombie_processes)] // The keeper outlives this process, on purpose and shortly.
    fn make(settings: &[&str], files: &[(&str, &str)], primary: Option<&Path>) -> Self {
        let programs = programs();
        let folder = tempfile::Builder::new().prefix("vigil-pg-").tempdir().unwrap().keep();
        let owner = owner();
        if let Some((user, group)) = owner {
            chown(&folder, Some(user), Some(group)).unwrap();
        }
        for (name, content) in files {
            put(&folder.join(name), content, owner);
        }
        let mut options = format!("-k {} -c listen_addresses=''", folder.display());
        for setting in settings {
            options = format!("{options} -c {}", setting.replace("{folder}", folder.to_str().unwrap()));
        }
        let mut command = as_owner("sh", owner);
        command.args(["-c", KEEPER, "keeper"]).arg(&programs).arg(&folder).arg(&options);
        command.args(primary);
        let mut keeper = command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(keeper.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = Vec::new();
        for line in lines {
            if line == "ready" {
                return Self { programs, folder, owner, _keeper: keeper };
            }
            said.push(line);
        }
        panic!("the PostgreSQL server did not start: {}", said.join("\n"));
    }

    /// An index in a schema of this server.
    pub fn config(&self, schema: &str) -> PostgresConfig {
        Self::config_of(&format!("/postgres?user=vigil&host={}", self.folder.display()), schema)
    }

    /// An index on whichever of the two is the primary.
    pub fn config_with(&self, standby: &Self, schema: &str) -> PostgresConfig {
        let both = format!("vigil@{},{}/postgres?target_session_attrs=read-write", self.host(), standby.host());
        Self::config_of(&both, schema)
    }

    /// A folder in the place of a host.
    fn host(&self) -> String {
        self.folder.display().to_string().replace('/', "%2F")
    }

    fn config_of(server: &str, schema: &str) -> PostgresConfig {
        let url = format!("postgres://{server}");
        PostgresConfig { schema: schema.to_owned(), connections: 3, ..PostgresConfig::new(Secret::new(url), region()) }
    }

    /// Ends the server as a crash does: nothing is written any more.
    pub fn crash(&self) {
        self.control(&["-m", "immediate", "-w", "stop"]);
    }

    /// Starts it again; its settings are those of before.
    pub fn restart(&self) {
        let log = self.folder.join("server.log");
        let options = std::fs::read_to_string(self.folder.join("data/postmaster.opts")).unwrap();
        let options = options.split_once(' ').map_or("", |(_, options)| options).trim().replace('"', "'");
        self.control(&["-l", log.to_str().unwrap(), "-o", &options, "-w", "-t", "60", "start"]);
    }

    fn control(&self, arguments: &[&str]) {
        let mut command = as_owner(self.programs.join("pg_ctl"), self.owner);
        command.arg("-D").arg(self.folder.join("data")).args(arguments);
        let done = command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(done.success(), "pg_ctl {arguments:?}: {done}");
    }

    /// What makes a schema anew with all it holds, as `pg_dump` writes it.
    pub fn dump(&self, schema: &str) -> String {
        let mut command = as_owner(self.programs.join("pg_dump"), self.owner);
        command.arg("-h").arg(&self.folder).args(["-U", "vigil", "-d", "postgres", "--inserts", "-n", schema]);
        let done = command.current_dir("/").output().unwrap();
        assert!(done.status.success(), "pg_dump: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Runs what [`Self::dump`] gave.
    pub fn load(&self, dump: &str) {
        let mut command = as_owner(self.programs.join("psql"), self.owner);
        command.arg("-h").arg(&self.folder).args(["-U", "vigil", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-q"]);
        let mut psql = command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        psql.stdin.take().unwrap().write_all(dump.as_bytes()).unwrap();
        assert!(psql.wait().unwrap().success(), "psql does not take the dump");
    }

    /// Runs SQL as an administrator; its rows as psql shows them.
    pub fn sql(&self, sql: &str) -> String {
        let mut command = as_owner(self.programs.join("psql"), self.owner);
        command.arg("-h").arg(&self.folder).args([
            "-U",
            "vigil",
            "-d",
            "postgres",
            "-v",
            "ON_ERROR_STOP=1",
            "-Atc",
            sql,
        ]);
        let done = command.current_dir("/").output().unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }
}

/// A file that its owner alone may read: a server takes no key that others can.
fn put(path: &Path, content: &str, owner: Option<(u32, u32)>) {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// Where the newest installed server's programs are: Debian keeps each version in a folder of its own.
fn programs() -> PathBuf {
    if let Some(named) = std::env::var_os("VIGIL_POSTGRES_BIN") {
        return named.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path()))).max();
    match newest {
        Some((version, path)) if version >= MIN_VERSION && path.join("bin/initdb").exists() => path.join("bin"),
        _ => panic!(
            "PostgreSQL {MIN_VERSION} or later is not installed: run scripts/setup, or set VIGIL_POSTGRES_BIN to the folder \
             of its programs"
        ),
    }
}

/// PostgreSQL refuses to run as root: the user that Debian made for it runs it then.
fn owner() -> Option<(u32, u32)> {
    if number("-u", None) != 0 {
        return None;
    }
    Some((number("-u", Some("postgres")), number("-g", Some("postgres"))))
}

fn number(which: &str, user: Option<&str>) -> u32 {
    let asked = Command::new("id").arg(which).args(user).output().unwrap();
    let text = String::from_utf8(asked.stdout).unwrap();
    text.trim().parse().unwrap_or_else(|_| panic!("there is no user {user:?}: run scripts/setup"))
}

fn as_owner(program: impl AsRef<Path>, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program.as_ref());
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}
