//! Small disks that really fill up: a tmpfs in a mount namespace of its own, so that nothing is left behind whatever
//! becomes of the test.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Mounts, says so, and keeps the namespace until its input ends, which it does when the test ends, however it ends.
const HOLDER: &str = r#"mount -t tmpfs -o size="$2" vigil-test "$1" && echo ready && exec cat"#;
/// One write of ballast.
const BLOCK: usize = 64 * 1024;

pub struct SmallDisk {
    holder: Child,
    _input: ChildStdin,
    folder: PathBuf,
    /// Entering the namespace of another user's making needs more than entering one's own.
    enter: &'static [&'static str],
}

impl SmallDisk {
    /// A disk of so many bytes at `folder`, seen by those alone who are started [inside](Self::inside).
    pub fn new(folder: &Path, bytes: u64) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let mut refusals = String::new();
        // As root, and where root is not to be had as root of a namespace of users.
        for (flags, enter) in [("-m", &["-m"][..]), ("-rm", &["-U", "--preserve-credentials", "-m"])] {
            let mut command = Command::new("unshare");
            command.args([flags, "--", "sh", "-c", HOLDER, "sh"]).arg(folder).arg(bytes.to_string());
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut holder = command.spawn().expect("unshare of util-linux");
            let mut said = String::new();
            BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
            if said.trim() == "ready" {
                let input = holder.stdin.take().unwrap();
                return Self { holder, _input: input, folder: folder.to_owned(), enter };
            }
            holder.stderr.take().unwrap().read_to_string(&mut refusals).unwrap();
            holder.wait().unwrap();
        }
        panic!(
            "THIS MACHINE LETS NOBODY MOUNT, so no disk can be filled here and nothing is known of full disks: {refusals}\
             allow mount namespaces (in a container: --cap-add SYS_ADMIN, or a seccomp profile with unshare) and test again"
        );
    }

    /// The same command, with this disk in its view.
    pub fn inside(&self, command: &Command) -> Command {
        let mut entered = Command::new("nsenter");
        entered.arg("-t").arg(self.holder.id().to_string()).args(self.enter).arg("--");
        entered.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            entered.env(name, value.unwrap_or_default());
        }
        entered
    }

    /// Where the test itself finds what lies on the disk.
    pub fn outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.folder.strip_prefix("/").unwrap())
    }

    /// Fills it to the last byte.
    pub fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).unwrap();
        for size in [BLOCK, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Takes away what [`Self::fill`] brought.
    pub fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    /// From now on nothing can be written by those inside; needs that nobody has a file open for writing.
    pub fn make_read_only(&self) {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,bind,ro"]).arg(&self.folder);
        assert!(self.inside(&mount).status().unwrap().success(), "the small disk cannot be made read-only");
    }

    fn ballast(&self) -> PathBuf {
        self.outside().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
