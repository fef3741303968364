//! The ready file: it tells orchestrators whether this process does its work, and if not, why.
//!
//! Its one line is `starting`, `ready`, `waiting: …` or `stopping`. It is replaced atomically, and removed when the
//! process exits, unless the process is killed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fs, io, thread};

use crate::connectors::StopFlag;
use crate::diag::{Code, Diagnostic, display_path};
use crate::udf::UdfStates;

/// How often to look for changes.
const LOOK: Duration = Duration::from_millis(200);

/// Keeps the file current until it is dropped.
pub struct ReadyFile {
    started: Arc<AtomicBool>,
    /// Closed to remove the file; the thread then exits.
    open: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl ReadyFile {
    /// Writes the file and keeps it current from now on.
    ///
    /// # Errors
    /// [`Code::FILE`] when it cannot be written.
    pub fn keep(path: &Path, udfs: Arc<UdfStates>, stop: StopFlag) -> Result<Self, Diagnostic> {
        let unwritable = |error: io::Error| {
            let shown = display_path(path);
            Diagnostic::new(Code::FILE, format!("the ready file `{shown}` cannot be written: {error}"))
                .help("name a file in a folder that exists and may be written, with `--ready-file`")
        };
        let started = Arc::new(AtomicBool::new(false));
        let now = {
            let started = Arc::clone(&started);
            move || state(started.load(Ordering::Acquire), stop.is_set(), udfs.waiting())
        };
        let mut written = now();
        replace(path, &written).map_err(unwritable)?;
        let (open, closed) = channel();
        let keeper = {
            let path = path.to_path_buf();
            move || {
                while closed.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                    let line = now();
                    if line != written {
                        if let Err(error) = replace(&path, &line) {
                            tracing::warn!(%error, path = %path.display(), "the ready file cannot be written");
                        }
                        written = line;
                    }
                }
                // Without the file, nobody takes this process for ready.
                let _may_be_gone = fs::remove_file(&path);
            }
        };
        let keeper = thread::Builder::new().name("ready file".into()).spawn(keeper).map_err(unwritable)?;
        Ok(Self { started, open: Some(open), keeper: Some(keeper) })
    }

    /// Records that everything is open.
    pub fn started(&self) {
        self.started.store(true, Ordering::Release);
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        drop(self.open.take());
        // The thread exits at once and returns nothing.
        let _ended = self.keeper.take().map(JoinHandle::join);
    }
}

fn state(started: bool, stopping: bool, waiting: Option<String>) -> String {
    match waiting {
        _ if stopping => "stopping".into(),
        _ if !started => "starting".into(),
        Some(why) => format!("waiting: {why}"),
        None => "ready".into(),
    }
}

/// Replaces the file with one line, atomically: nobody reads half of it.
fn replace(path: &Path, line: &str) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, format!("{line}\n"))?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::state;

    #[test]
    fn ready_means_that_everything_runs_and_nothing_waits() {
        let waiting = || Some("`ask`: no answer".to_string());
        assert_eq!(state(false, false, None), "starting");
        assert_eq!(state(false, false, waiting()), "starting");
        assert_eq!(state(true, false, None), "ready");
        assert_eq!(state(true, false, waiting()), "waiting: `ask`: no answer");
        assert_eq!(state(true, true, waiting()), "stopping");
    }
}
