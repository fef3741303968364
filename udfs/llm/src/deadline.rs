//! How long a row may take: its working time, and apart from that its time in queues (for a slot, for its turn in a rate).
//!
//! Arroyo's own time-out (the attribute of the UDF, 10 minutes) kills the job, so the two together stay below it by
//! construction: [`WHOLE`]. The embedded engine lets a row wait as long as it takes.

use baton_llm_settings::text::LONGEST;
use std::time::Duration;
use tokio::time::Instant;

/// What a row takes at most where nobody waits for it, queue and work together. The attribute of the UDFs is 10 minutes.
pub(crate) const WHOLE: Duration = Duration::from_secs(9 * 60 + 30);

/// As long as it takes: far enough to be never, near enough to be added to a clock.
const EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The clock of one row.
#[derive(Debug, Clone)]
pub(crate) struct RowClock {
    work: Duration,
    work_ends: Instant,
    queue_left: Duration,
}

impl RowClock {
    /// Starts the clock of a row that may work for `work`.
    pub(crate) fn start(work: Duration) -> Self {
        let work = work.min(LONGEST);
        Self { work, work_ends: Instant::now() + work, queue_left: WHOLE.saturating_sub(work) }
    }

    /// The same for a row whose engine waits for it.
    pub(crate) fn patient(work: Duration) -> Self {
        Self { queue_left: EVER, ..Self::start(work) }
    }

    /// The working time, all of it.
    pub(crate) fn work(&self) -> Duration {
        self.work
    }

    /// What is left of the working time.
    pub(crate) fn work_left(&self) -> Duration {
        self.work_ends.saturating_duration_since(Instant::now())
    }

    /// How long this row may still wait in queues.
    pub(crate) fn queue_left(&self) -> Duration {
        self.queue_left
    }

    /// Takes a wait in a queue out of the queues' share, so that it does not count as work.
    pub(crate) fn waited(&mut self, wait: Duration) {
        let wait = wait.min(self.queue_left);
        self.queue_left -= wait;
        self.work_ends += wait;
    }

    /// Begins the working time anew: what was tried so far says nothing about this row.
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
