//! The ready file: what orchestrators look at to know whether this process does its work, and why not.
//!
//! Its one line is `starting`, `ready`, `waiting: …` or `stopping`. It takes the place of the one before as a whole, and goes
//! with the process, unless that is killed.

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

/// How often is looked whether something has changed.
const LOOK: Duration = Duration::from_millis(200);

/// Keeps the file true until it is dropped.
pub struct ReadyFile {
    started: Arc<AtomicBool>,
    /// Closed when the file is to go; the thread then ends.
    open: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl ReadyFile {
    /// Writes the file and keeps it from now on.
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
                // Who looks for it finds that nobody is ready.
                let _may_be_gone = fs::remove_file(&path);
            }
        };
        let keeper = thread::Builder::new().name("ready file".into()).spawn(keeper).map_err(unwritable)?;
        Ok(Self { started, open: Some(open), keeper: Some(keeper) })
    }

    /// Everything is open.
    pub fn started(&self) {
        self.started.store(true, Ordering::Release);
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        drop(self.open.take());
        // It ends at once, and has nothing to give.
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

/// Puts a file with one line in the place of the one before: nobody sees half of it.
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
