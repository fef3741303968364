//! The states that the UDFs of this process report: rows wait and why, rows continue, or no row can ever be answered.
//!
//! Each line of the host channel is a JSON object: `udf`, `state` and, except for `working`, `why`. This module logs
//! them, because a UDF has no log; `engine` stops pipelines.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::host::HostChannel;
use crate::diag::{Code, Diagnostic};

/// How often the log repeats that a UDF is waiting.
const REMINDER: Duration = Duration::from_secs(30);
/// The maximum length of a reason, in characters.
const LONGEST: usize = 1000;

/// A line from a UDF.
#[derive(Deserialize)]
struct Line {
    udf: String,
    state: Said,
    #[serde(default)]
    why: String,
    help: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Waiting,
    Working,
    Rejected,
    Warning,
}

/// The states of the UDFs of this process. A UDF that has reported nothing is working.
#[derive(Debug, Default)]
pub struct UdfStates {
    udfs: Mutex<BTreeMap<String, State>>,
    rejected: Notify,
}

#[derive(Debug)]
enum State {
    Waiting { why: String, since: Instant, told: Instant },
    Rejected(Rejection),
}

/// The reason why a UDF cannot answer any row, now or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Its name.
    pub udf: String,
    /// The error.
    pub why: String,
    /// The edit to make, if the UDF knows it.
    pub help: Option<String>,
}

impl From<Rejection> for Diagnostic {
    fn from(Rejection { udf, why, help }: Rejection) -> Self {
        let help = help.unwrap_or_else(|| format!("correct the settings that `{udf}` needs, then start again"));
        Self::new(Code::UDF_REJECTED, why).help(help)
    }
}

impl UdfStates {
    /// Starts to listen to UDFs. It must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// The runtime cannot read the pipe.
    pub fn listen(channel: HostChannel) -> io::Result<Arc<Self>> {
        let states = Arc::<Self>::default();
        let lines = BufReader::new(Receiver::from_owned_fd(channel.lines.into())?);
        tokio::spawn(Arc::clone(&states).follow(lines));
        Ok(states)
    }

    /// The waiting UDFs and their reasons, in one line.
    #[must_use]
    pub fn waiting(&self) -> Option<String> {
        let udfs = self.udfs();
        let waiting = udfs.iter().filter_map(|(udf, state)| match state {
            State::Waiting { why, .. } => Some(format!("`{udf}`: {why}")),
            State::Rejected(_) => None,
        });
        let waiting: Vec<String> = waiting.collect();
        (!waiting.is_empty()).then(|| waiting.join("; "))
    }

    /// Returns when one of the matching UDFs cannot answer any row. Cancel-safe.
    pub async fn rejected(&self, is_one: impl Fn(&str) -> bool) -> Rejection {
        loop {
            let more = self.rejected.notified();
            let found = self.udfs().iter().find_map(|(udf, state)| match state {
                State::Rejected(rejection) if is_one(udf) => Some(rejection.clone()),
                _ => None,
            });
            if let Some(rejection) = found {
                return rejection;
            }
            more.await;
        }
    }

    /// Returns the reason once a UDF has waited for `longest`. Cancel-safe.
    pub async fn waited(&self, longest: Duration) -> String {
        loop {
            let now = Instant::now();
            let late = self.udfs().iter().find_map(|(udf, state)| match state {
                State::Waiting { why, since, .. } if now - *since >= longest => Some(format!("`{udf}` waits: {why}")),
                _ => None,
            });
            match late {
                Some(why) => return why,
                None => sleep_until(now + Duration::from_secs(1).min(longest)).await,
            }
        }
    }

    async fn follow(self: Arc<Self>, mut lines: BufReader<Receiver>) {
        let mut line = Vec::new();
        loop {
            let reminder = self.next_reminder();
            tokio::select! {
                // If the other branch wins, the bytes read so far stay in `line`.
                read = lines.read_until(b'\n', &mut line) => match read {
                    Ok(1..) => {
                        self.heed(&line, Instant::now());
                        line.clear();
                    }
                    Ok(0) => return,
                    Err(error) => {
                        tracing::warn!(%error, "cannot read the messages of UDFs any more");
                        return;
                    }
                },
                () = at(reminder) => self.remind(Instant::now()),
            }
        }
    }

    /// Handles a line.
    fn heed(&self, line: &[u8], now: Instant) {
        let Line { udf, state, why, help } = match serde_json::from_slice(line) {
            Ok(line) => line,
            Err(error) => {
                let line = String::from_utf8_lossy(line);
                tracing::debug!(%error, line = line.trim_end(), "a UDF sent a message that cannot be parsed");
                return;
            }
        };
        let (udf, why, help) = (plain(&udf), plain(&why), help.map(|help| plain(&help)));
        let mut udfs = self.udfs();
        let before = udfs.get_mut(&udf);
        match (state, before) {
            (Said::Warning, _) => tracing::warn!("`{udf}`: {why}"),
            // A rejected UDF reports nothing after that.
            (_, Some(State::Rejected(_))) | (Said::Working, None) => {}
            (Said::Working, Some(State::Waiting { since, .. })) => {
                tracing::info!("`{udf}` continues after {}", in_words(now - *since));
                udfs.remove(&udf);
            }
            (Said::Waiting, Some(State::Waiting { why: before, told, .. })) => {
                if *before != why {
                    tracing::warn!("`{udf}` waits: {why}");
                    (*before, *told) = (why, now);
                }
            }
            (Said::Waiting, None) => {
                tracing::warn!("`{udf}` waits: {why}");
                udfs.insert(udf, State::Waiting { why, since: now, told: now });
            }
            (Said::Rejected, _) => {
                tracing::error!("`{udf}` cannot answer any row: {why}");
                udfs.insert(udf.clone(), State::Rejected(Rejection { udf, why, help }));
                self.rejected.notify_waiters();
            }
        }
    }

    fn next_reminder(&self) -> Option<Instant> {
        let udfs = self.udfs();
        let told = udfs.values().filter_map(|state| match state {
            State::Waiting { told, .. } => Some(*told + REMINDER),
            State::Rejected(_) => None,
        });
        told.min()
    }

    /// Logs UDFs again that have waited for long.
    fn remind(&self, now: Instant) {
        for (udf, state) in self.udfs().iter_mut() {
            if let State::Waiting { why, since, told } = state
                && now - *told >= REMINDER
            {
                tracing::warn!("`{udf}` has waited for {}: {why}", in_words(now - *since));
                *told = now;
            }
        }
    }

    fn udfs(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.udfs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// One line of bounded length.
fn plain(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(states: &UdfStates, line: &str) {
        states.heed(line.as_bytes(), Instant::now());
    }

    #[test]
    fn a_udf_waits_until_it_says_that_it_works() {
        let states = UdfStates::default();
        assert_eq!(states.waiting(), None);
        said(&states, r#"{"udf":"ask","state":"waiting","why":"no answer\nyet"}"#);
        said(&states, r#"{"udf":"tell","state":"waiting","why":"429"}"#);
        said(&states, r#"{"udf":"tell","state":"warning","why":"slow"}"#);
        assert_eq!(states.waiting().as_deref(), Some("`ask`: no answer yet; `tell`: 429"));
        said(&states, r#"{"udf":"tell","state":"waiting","why":"503"}"#);
        said(&states, r#"{"udf":"ask","state":"working"}"#);
        assert_eq!(states.waiting().as_deref(), Some("`tell`: 503"));
        said(&states, r#"{"udf":"tell","state":"working"}"#);
        said(&states, r#"{"udf":"other","state":"working"}"#);
        assert_eq!(states.waiting(), None);
    }

    #[test]
    fn what_is_no_line_of_a_udf_changes_nothing() {
        let states = UdfStates::default();
        for line in ["", "\n", "waiting", "{}", r#"{"udf":"ask"}"#, r#"{"udf":"ask","state":"tired","why":"x"}"#, "[1]"]
        {
            said(&states, line);
        }
        states.heed(b"\xff\xfe\n", Instant::now());
        assert_eq!(states.waiting(), None);
        // A later version may add fields.
        said(&states, r#"{"udf":"ask","state":"waiting","why":"x","since":5}"#);
        assert_eq!(states.waiting().as_deref(), Some("`ask`: x"));
    }

    #[tokio::test]
    async fn a_rejection_is_final_and_reaches_whom_it_concerns() {
        let states = Arc::new(UdfStates::default());
        let mine = tokio::spawn({
            let states = Arc::clone(&states);
            async move { states.rejected(|udf| udf == "ask").await }
        });
        said(&states, r#"{"udf":"other","state":"rejected","why":"its own"}"#);
        tokio::task::yield_now().await;
        assert!(!mine.is_finished());
        said(&states, r#"{"udf":"ask","state":"waiting","why":"x"}"#);
        said(&states, r#"{"udf":"ask","state":"rejected","why":"401","help":"set KEY"}"#);
        said(&states, r#"{"udf":"ask","state":"working"}"#);
        let expected = Rejection { udf: "ask".into(), why: "401".into(), help: Some("set KEY".into()) };
        assert_eq!(mine.await.unwrap(), expected);
        assert_eq!(states.rejected(|udf| udf == "ask").await, expected);
        assert_eq!(states.waiting(), None);
    }

    #[test]
    fn a_udf_that_waits_is_told_of_again_and_again() {
        let states = UdfStates::default();
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(states.next_reminder(), None);
        states.heed(br#"{"udf":"ask","state":"waiting","why":"x"}"#, begin);
        assert_eq!(states.next_reminder(), Some(after(30)));
        // The same report again is not logged; another reason is.
        states.heed(br#"{"udf":"ask","state":"waiting","why":"x"}"#, after(10));
        assert_eq!(states.next_reminder(), Some(after(30)));
        states.heed(br#"{"udf":"ask","state":"waiting","why":"y"}"#, after(20));
        assert_eq!(states.next_reminder(), Some(after(50)));
        states.remind(after(50));
        assert_eq!(states.next_reminder(), Some(after(80)));
        states.heed(br#"{"udf":"ask","state":"working"}"#, after(60));
        assert_eq!(states.next_reminder(), None);
    }

    #[test]
    fn times_are_said_in_words() {
        let words = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!([words(61), words(150), words(7200)], ["61 s", "2 min", "2 h"]);
    }
}
