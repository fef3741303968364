//! A child process that ends with this one, however this one ends, and what it uses of the machine.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Outcome;

/// A shell in between ends the child when the pipe to this process is closed, or gently when it is told so. Ctrl-C reaches
/// all of them; the shell ignores it, so that it is there to end the child.
const GUARDIAN: &str = r#"trap '' INT
dir=$1; shift
"$@" >"$dir/out" 2>"$dir/err" </dev/null &
pid=$!
echo $pid
read -r how
if [ "$how" = end ]; then kill -TERM $pid; else kill -KILL $pid; fi
wait $pid
echo $?"#;

/// How long a child may take to end.
const END: Duration = Duration::from_mins(1);

/// A running child.
pub struct Child {
    name: String,
    guardian: Process,
    answers: BufReader<ChildStdout>,
    pid: u32,
    dir: TempDir,
    started: Instant,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Processor time of all its threads, and of its children that have ended.
    pub cpu: Duration,
    /// The most memory that it ever held, in bytes.
    pub peak: u64,
    /// The memory that it holds, in bytes.
    pub resident: u64,
}

impl Child {
    /// Starts a program in a folder, with no settings of Baton's and Kafka's but these.
    pub fn start(
        name: &str,
        program: &Path,
        folder: &Path,
        arguments: &[String],
        settings: &[(&str, String)],
    ) -> Outcome<Self> {
        let dir = TempDir::new()?;
        let mut command = Command::new("sh");
        for (key, _) in std::env::vars_os() {
            let known = key.to_string_lossy();
            if known.starts_with("BATON_") || known.starts_with("KAFKA_") || known.ends_with("_API_KEY") {
                command.env_remove(&key);
            }
        }
        let started = Instant::now();
        let mut guardian = command
            .args(["-c", GUARDIAN, "guardian"])
            .arg(dir.path())
            .arg(program)
            .args(arguments)
            .envs(settings.iter().map(|(key, value)| (*key, value.as_str())))
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut answers = BufReader::new(guardian.stdout.take().ok_or("the guardian has no pipe")?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let pid = line.trim().parse().map_err(|_| format!("{name} was not started: {line:?}"))?;
        Ok(Self { name: name.to_owned(), guardian, answers, pid, dir, started })
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// What it has written.
    pub fn log(&self) -> String {
        let read = |file: &str| fs::read_to_string(self.dir.path().join(file)).unwrap_or_default();
        read("out") + &read("err")
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        fs::read_to_string(self.proc("stat")).is_ok_and(|stat| {
            let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
            !matches!(state, Some("Z" | "X"))
        })
    }

    /// Waits until its log has these words; says after which time since its start that was seen.
    pub fn wait_for(&self, words: &str, patience: Duration) -> Outcome<Duration> {
        let deadline = Instant::now() + patience;
        while !self.log().contains(words) {
            if !self.is_alive() || Instant::now() > deadline {
                return Err(self.trouble(&format!("did not say `{words}`")));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(self.started.elapsed())
    }

    /// What went wrong with it, and the end of its log.
    pub fn trouble(&self, what: &str) -> Box<dyn std::error::Error + Send + Sync> {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!("{} {what}:\n{}", self.name, lines[lines.len().saturating_sub(20)..].join("\n")).into()
    }

    /// What it has used so far.
    pub fn usage(&self) -> Outcome<Usage> {
        let stat = fs::read_to_string(self.proc("stat")).map_err(|_| self.trouble("has ended"))?;
        // After the name in parentheses, which may hold anything, come state and ten more fields, then four times: its
        // own and its ended children's, in hundredths of a second on every platform.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields.iter().skip(11).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        let status = fs::read_to_string(self.proc("status")).map_err(|_| self.trouble("has ended"))?;
        let kilobytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        Ok(Usage {
            cpu: Duration::from_millis(ticks * 10),
            peak: kilobytes("VmHWM").unwrap_or(0) * 1024,
            resident: kilobytes("VmRSS").unwrap_or(0) * 1024,
        })
    }

    /// Asks it to end, and wants it to end well.
    pub fn end(mut self) -> Outcome<()> {
        if let Some(mut pipe) = self.guardian.stdin.take() {
            pipe.write_all(b"end\n")?;
        }
        let deadline = Instant::now() + END;
        while self.is_alive() {
            if Instant::now() > deadline {
                let _ = Command::new("kill").args(["-KILL", &self.pid.to_string()]).status();
                return Err(self.trouble("does not end"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        self.guardian.wait()?;
        if line.trim() == "0" { Ok(()) } else { Err(self.trouble(&format!("ended with {}", line.trim()))) }
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.pid))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}
