//! Runs the built binary with a deadline and keeps what it said.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a run on small files may take on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_mins(1);

/// The binary under test: cargo's, or the one that `BATON_BIN` names.
pub fn baton() -> PathBuf {
    option_env!("CARGO_BIN_EXE_baton")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("BATON_BIN").map(PathBuf::from))
        .expect("cargo builds the binary for this test; elsewhere set BATON_BIN")
}

/// The repository, also when the tests are compiled from elsewhere: this file's own place says it.
pub fn root() -> PathBuf {
    let here = Path::new(file!());
    let file = if here.is_absolute() { here.to_path_buf() } else { Path::new(env!("CARGO_MANIFEST_DIR")).join(here) };
    let root = file.ancestors().nth(3).expect("tests/cli/binary.rs is three levels down").to_path_buf();
    assert!(root.join("tests/cli.rs").is_file(), "{} is not the repository", root.display());
    root
}

/// What a run came to.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ended {
    /// Fails the test when the code is another, and shows what was said.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(!self.stderr.contains("panicked"), "it panicked:\n{}", self.stderr);
        assert_eq!(self.code, Some(code), "exit code; stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// A run that goes on; it is killed when the test gives up on it.
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    since: Instant,
}

impl Running {
    /// Starts `baton` in a folder. Settings of the person who runs the tests are taken away.
    pub fn start(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(baton());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            let setting = name.starts_with("BATON_") || name.starts_with("KAFKA_") || name.ends_with("_API_KEY");
            if setting && name != "BATON_BIN" {
                command.env_remove(&*name);
            }
        }
        command.args(arguments).envs(variables.iter().copied()).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", baton().display()));
        let stdout = collect(child.stdout.take().expect("stdout is piped"));
        let stderr = collect(child.stderr.take().expect("stderr is piped"));
        Self { child, stdout: Some(stdout), stderr: Some(stderr), since: Instant::now() }
    }

    /// Sends SIGTERM, as a process manager does.
    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status().expect("kill is there");
        assert!(status.success(), "the process had ended before SIGTERM");
    }

    /// The most memory that it has had so far, in bytes; `None` where the system does not tell.
    pub fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Waits for its end, no longer than that.
    #[track_caller]
    pub fn wait(mut self, longest: Duration) -> Ended {
        let deadline = Instant::now() + longest;
        let status: Option<ExitStatus> = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break Some(status);
            }
            if Instant::now() > deadline {
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let took = self.since.elapsed();
        if status.is_none() {
            // It may have ended by itself just now.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let stdout = self.stdout.take().map(|t| t.join().expect("reading stdout")).unwrap_or_default();
        let stderr = self.stderr.take().map(|t| t.join().expect("reading stderr")).unwrap_or_default();
        let Some(status) = status else {
            panic!("it did not end within {longest:?}; stdout:\n{stdout}\nstderr:\n{stderr}");
        };
        Ended { code: status.code(), stdout, stderr, took }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `wait` there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8(bytes).expect("what baton says is UTF-8")
    })
}

/// Runs `baton` in a folder to its end.
#[track_caller]
pub fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    Running::start(folder, arguments, variables).wait(SOON)
}

/// Asks until the answer is yes, or fails at the deadline.
#[track_caller]
pub fn until(what: &str, longest: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + longest;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {longest:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
