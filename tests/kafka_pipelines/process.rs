//! `baton` as a process of its own, with what it writes kept for the test. It ends with its [`Baton`].

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_mins(1);

/// The folder with `pipelines/`, `sql/` and `udfs/`.
pub fn project() -> PathBuf {
    std::env::var_os("BATON_PROJECT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// The binary. What the pipelines call is compiled once, so that no test waits for a compiler.
fn binary() -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let binary = std::env::var_os("BATON_BIN").or_else(|| option_env!("CARGO_BIN_EXE_baton").map(Into::into));
    let binary = PathBuf::from(binary.expect("BATON_BIN, or cargo's own binary"));
    BUILT.get_or_init(|| {
        let built = Command::new(&binary).arg("build").current_dir(project()).output().expect("baton build");
        assert!(built.status.success(), "baton build: {}", String::from_utf8_lossy(&built.stderr));
    });
    binary
}

/// A process.
pub struct Baton {
    child: Child,
    written: TempDir,
}

impl Baton {
    /// `baton run` with these arguments and settings, and no others of its own kind.
    pub fn spawn(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        Self::spawn_in(&project(), arguments, settings)
    }

    /// The same with another project.
    pub fn spawn_in(project: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let written = TempDir::new().unwrap();
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            let known = name.to_string_lossy();
            if known.starts_with("BATON_") || known.starts_with("KAFKA_") || known.ends_with("_API_KEY") {
                command.env_remove(&name);
            }
        }
        let child = command
            .arg("run")
            .args(arguments)
            .envs(settings.iter().copied())
            .current_dir(project)
            .stdin(Stdio::null())
            .stdout(File::create(written.path().join("stdout")).unwrap())
            .stderr(File::create(written.path().join("stderr")).unwrap())
            .spawn()
            .expect("baton");
        Self { child, written }
    }

    /// The same, and waits until everything is open.
    pub fn start(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        Self::start_in(&project(), arguments, settings)
    }

    /// The same with another project.
    pub fn start_in(project: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut baton = Self::spawn_in(project, arguments, settings);
        let deadline = Instant::now() + START;
        while !baton.stderr().contains("running pipelines=") {
            let ended = baton.child.try_wait().unwrap();
            assert!(ended.is_none(), "baton ended with {ended:?}:\n{}", baton.stderr());
            assert!(Instant::now() < deadline, "baton did not start within {START:?}:\n{}", baton.stderr());
            std::thread::sleep(Duration::from_millis(20));
        }
        baton
    }

    pub fn stdout(&self) -> String {
        fs::read_to_string(self.written.path().join("stdout")).unwrap()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.written.path().join("stderr")).unwrap()
    }

    /// SIGKILL, as a machine that is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success(), "SIGTERM to baton");
    }

    /// Waits for its end.
    pub fn end(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "baton has not ended within {timeout:?}:\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end and wants exit code 0.
    pub fn end_well(&mut self, timeout: Duration) {
        let status = self.end(timeout);
        assert_eq!(status.code(), Some(0), "{status}: {}", self.stderr());
    }

    /// Asks it to end and wants exit code 0 in time.
    pub fn stop(mut self, timeout: Duration) {
        self.terminate();
        self.end_well(timeout);
    }

    /// The processor time that it has used so far.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // After the name in parentheses, which may hold anything, come state and eleven more fields, then the two times.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // The kernel shows these times in hundredths of a second on every platform.
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Baton {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), self.stderr().as_bytes());
        }
    }
}
