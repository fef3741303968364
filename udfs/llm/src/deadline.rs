//! The time limits of a row: its working time and, separately, its time in queues (for a slot, or for a rate limit).
//!
//! Arroyo's own timeout (the attribute of the UDF, 10 minutes) ends the job, so the sum of both is always below it:
//! [`WHOLE`]. The embedded engine lets a row wait without limit.

use baton_llm_settings::text::LONGEST;
use std::time::Duration;
use tokio::time::Instant;

/// The maximum time of a row in queues and at work, if the engine does not wait for it. The attribute of the UDFs is 10
/// minutes.
pub(crate) const WHOLE: Duration = Duration::from_secs(9 * 60 + 30);

/// No limit in practice, but small enough to be added to a clock.
const EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The clock of one row.
#[derive(Debug, Clone)]
pub(crate) struct RowClock {
    work: Duration,
    work_ends: Instant,
    queue_left: Duration,
    may_extend: bool,
}

impl RowClock {
    /// Starts the clock of a row with the working time `work`.
    pub(crate) fn start(work: Duration) -> Self {
        let work = work.min(LONGEST);
        Self { work, work_ends: Instant::now() + work, queue_left: WHOLE.saturating_sub(work), may_extend: false }
    }

    /// The same for a row whose engine waits for it.
    pub(crate) fn patient(work: Duration) -> Self {
        Self { queue_left: EVER, ..Self::start(work) }
    }

    /// Lets a single call take longer than the working time, which nobody has set.
    pub(crate) fn extendable(self) -> Self {
        Self { may_extend: true, ..self }
    }

    /// Whether a single call may take longer than the working time.
    pub(crate) fn may_extend(&self) -> bool {
        self.may_extend
    }

    /// The whole working time.
    pub(crate) fn work(&self) -> Duration {
        self.work
    }

    /// The remaining working time.
    pub(crate) fn work_left(&self) -> Duration {
        self.work_ends.saturating_duration_since(Instant::now())
    }

    /// How long this row may still wait in queues.
    pub(crate) fn queue_left(&self) -> Duration {
        self.queue_left
    }

    /// Counts a wait as time in a queue instead of working time.
    pub(crate) fn waited(&mut self, wait: Duration) {
        let wait = wait.min(self.queue_left);
        self.queue_left -= wait;
        self.work_ends += wait;
    }

    /// Restarts the working time, because the failures so far were not caused by this row.
    pub(crate) fn begin_anew(&mut self) {
        self.work_ends = Instant::now() + self.work;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn queue_and_work_stay_below_the_whole() {
        let mut clock = RowClock::start(Duration::from_secs(3600));
        assert_eq!(clock.work_left(), LONGEST);
        clock.waited(Duration::from_secs(3600));
        assert_eq!(clock.queue_left(), Duration::ZERO);
        assert_eq!(clock.work_left(), WHOLE);
        tokio::time::advance(WHOLE).await;
        assert_eq!(clock.work_left(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_in_a_queue_is_not_work() {
        let mut clock = RowClock::start(Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(4)).await;
        clock.waited(Duration::from_secs(4));
        assert_eq!(clock.work_left(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_patient_row_has_time() {
        let mut clock = RowClock::patient(Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(86_400)).await;
        clock.waited(Duration::from_secs(86_400));
        assert_eq!(clock.work_left(), Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(9)).await;
        clock.begin_anew();
        assert_eq!(clock.work_left(), Duration::from_secs(10));
    }
}
