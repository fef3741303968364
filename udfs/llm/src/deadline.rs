//! How long a row may take: its working time, and apart from that its time in the queue for a slot.
//!
//! Arroyo's own time-out (the attribute of the UDF, 10 minutes) kills the job, so the two together stay below it by
//! construction: [`WHOLE`].

use baton_llm_settings::text::LONGEST;
use std::time::Duration;
use tokio::time::Instant;

/// What a row takes at most, queue and work together. The attribute of the UDFs is 10 minutes.
pub(crate) const WHOLE: Duration = Duration::from_secs(9 * 60 + 30);

/// The clock of one row.
#[derive(Debug, Clone)]
pub(crate) struct RowClock {
    work_ends: Instant,
    queue_left: Duration,
}

impl RowClock {
    /// Starts the clock of a row that may work for `work`.
    pub(crate) fn start(work: Duration) -> Self {
        let work = work.min(LONGEST);
        Self { work_ends: Instant::now() + work, queue_left: WHOLE.saturating_sub(work) }
    }

    /// What is left of the working time.
    pub(crate) fn work_left(&self) -> Duration {
        self.work_ends.saturating_duration_since(Instant::now())
    }

    /// How long this row may still wait for slots.
    pub(crate) fn queue_left(&self) -> Duration {
        self.queue_left
    }

    /// Takes a wait for a slot out of the queue's share, so that it does not count as work.
    pub(crate) fn waited(&mut self, wait: Duration) {
        let wait = wait.min(self.queue_left);
        self.queue_left -= wait;
        self.work_ends += wait;
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
    async fn a_wait_for_a_slot_is_not_work() {
        let mut clock = RowClock::start(Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(4)).await;
        clock.waited(Duration::from_secs(4));
        assert_eq!(clock.work_left(), Duration::from_secs(10));
    }
}
