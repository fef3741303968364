//! Reports to the engine that runs this library: rows wait for a model, rows continue, or no row can ever be answered.
//!
//! The embedded engine sets the path of a pipe in `BATON_HOST`. Each message is one JSON object on a line. Without a
//! pipe (on Arroyo) the engine does not wait, and every row ends within its deadline. See docs/udfs.md.

use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The variable with the path of the pipe.
const VARIABLE: &str = "BATON_HOST";

/// A pipe writes this much atomically, without mixing it with other writers: POSIX's minimum for `PIPE_BUF` is 512
/// bytes, Linux has 4096.
const MOST_BYTES: usize = 4000;

/// The minimum time between two reports of the same state.
const REPEATED_AFTER: Duration = Duration::from_secs(10);

/// The pipe to an engine that waits for its rows.
#[derive(Debug)]
pub(crate) struct Host {
    pipe: Mutex<File>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// Since when rows wait, as far as the engine knows, and the time of the last report.
    waiting: Option<Instant>,
    warned: Option<Instant>,
    rejected: bool,
}

#[derive(Serialize)]
struct Message<'a> {
    udf: &'a str,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl Host {
    /// The engine whose pipe `lookup` gives; `None` if the engine does not wait.
    pub(crate) fn find(lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let path = lookup(VARIABLE).filter(|path| !path.is_empty())?;
        let pipe = OpenOptions::new().append(true).open(path).ok()?;
        Some(Self { pipe: Mutex::new(pipe), told: Mutex::default() })
    }

    /// Rows of `udf` wait for a model.
    pub(crate) fn waiting(&self, udf: &str, why: &str) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.waiting.is_none_or(|at| now - at >= REPEATED_AFTER) {
            told.waiting = Some(now);
            self.tell(udf, "waiting", Some(why));
        }
    }

    /// A model has answered.
    pub(crate) fn working(&self, udf: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.waiting.take().is_some() {
            self.tell(udf, "working", None);
        }
    }

    /// No row can be answered before a setting is changed.
    pub(crate) fn rejected(&self, udf: &str, why: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // It is the last report. Repeating it for a thousand rows would fill the pipe.
        if !std::mem::replace(&mut told.rejected, true) {
            self.tell(udf, "rejected", Some(why));
        }
    }

    /// Whether a rejection has been reported. Then no more calls are needed.
    pub(crate) fn is_rejected(&self) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).rejected
    }

    /// A warning for which no row waits.
    pub(crate) fn warning(&self, udf: &str, why: &str) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.warned.is_none_or(|at| now - at >= REPEATED_AFTER) {
            told.warned = Some(now);
            self.tell(udf, "warning", Some(why));
        }
    }

    /// A warning that is given seldom, so none is left out.
    pub(crate) fn notice(&self, udf: &str, what: &str) {
        self.tell(udf, "warning", Some(what));
    }

    fn tell(&self, udf: &str, state: &str, why: Option<&str>) {
        // JSON can turn one byte into six.
        let why = why.map(|why| baton_llm_settings::text::excerpt(why, 600));
        let Ok(mut line) = serde_json::to_vec(&Message { udf, state, why: why.as_deref() }) else { return };
        line.push(b'\n');
        if line.len() <= MOST_BYTES {
            // If the engine is gone, the report is not needed.
            let _gone = self.pipe.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says where")]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_state_is_told_when_it_changes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let host = Host::find(|name| (name == VARIABLE).then(|| path.clone())).unwrap();
        host.working("f");
        host.waiting("f", "down");
        host.waiting("f", "down");
        tokio::time::advance(REPEATED_AFTER).await;
        host.waiting("f", "still\ndown");
        host.working("f");
        host.working("f");
        host.rejected("g", &"x".repeat(10_000));
        let told = std::fs::read_to_string(file.path()).unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(
            lines[..3],
            [
                r#"{"udf":"f","state":"waiting","why":"down"}"#,
                r#"{"udf":"f","state":"waiting","why":"still down"}"#,
                r#"{"udf":"f","state":"working"}"#,
            ]
        );
        assert!(lines[3].starts_with(r#"{"udf":"g","state":"rejected","why":"xxx"#) && lines[3].len() < 1000);
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn an_engine_that_names_no_pipe_waits_for_nobody() {
        assert!(Host::find(|_| None).is_none());
        assert!(Host::find(|_| Some("/nowhere/at/all".to_owned())).is_none());
    }
}
