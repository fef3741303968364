//! Counts messages that cannot be decoded, and logs them now and then. The table decides what happens to them
//! (`bad_data`, `baton.dead_letters`); `dead_letters` makes rows of them.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::formats::{Format, OnBadData};

/// How often they are logged.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The messages of one source that cannot be decoded.
pub struct BadMessages {
    table: String,
    rule: OnBadData,
    count: u64,
    reported: u64,
    reported_at: Option<Instant>,
    /// The place of the last one, and what is wrong with it.
    latest: String,
}

impl BadMessages {
    /// No such messages yet.
    pub fn new(format: &Format, table: &str) -> Self {
        let (table, rule) = (table.to_string(), format.on_bad_data());
        Self { table, rule, count: 0, reported: 0, reported_at: None, latest: String::new() }
    }

    /// What to do with them.
    pub fn rule(&self) -> OnBadData {
        self.rule
    }

    /// Counts one that does not stop the source.
    pub fn count(&mut self, place: impl Display, reason: &str) {
        self.count += 1;
        self.latest = format!("{place}: {reason}");
    }

    /// Logs them: the first at once, later ones now and then, and with `finally` in any case.
    pub fn report(&mut self, finally: bool) {
        let due = finally || self.reported_at.is_none_or(|at| at.elapsed() >= REPORT_EVERY);
        if self.count == self.reported || !due {
            return;
        }
        (self.reported, self.reported_at) = (self.count, Some(Instant::now()));
        let (table, total, latest) = (&self.table, self.count, &self.latest);
        if self.rule == OnBadData::DeadLetter {
            tracing::warn!(%table, total, %latest, "messages that cannot be read go to the dead letters");
        } else {
            tracing::warn!(%table, total, %latest, "messages that cannot be read are dropped");
        }
    }
}
