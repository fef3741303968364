//! Messages that cannot be read: counted, and told in the log now and then. What becomes of them is the table's to say
//! (`bad_data`, `baton.dead_letters`); how they become dead letters is for `dead_letters`.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::formats::{Format, OnBadData};

/// How often they are told.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The messages of one source that could not be read.
pub struct BadMessages {
    table: String,
    rule: OnBadData,
    count: u64,
    reported: u64,
    reported_at: Option<Instant>,
    /// Where the last one is, and what is wrong with it.
    latest: String,
}

impl BadMessages {
    /// None so far.
    pub fn new(format: &Format, table: &str) -> Self {
        let (table, rule) = (table.to_string(), format.on_bad_data());
        Self { table, rule, count: 0, reported: 0, reported_at: None, latest: String::new() }
    }

    /// What is done with them.
    pub fn rule(&self) -> OnBadData {
        self.rule
    }

    /// Counts one that does not end the source.
    pub fn count(&mut self, place: impl Display, reason: &str) {
        self.count += 1;
        self.latest = format!("{place}: {reason}");
    }

    /// Tells them: at once for the first, then now and then, and `finally` in any case.
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
