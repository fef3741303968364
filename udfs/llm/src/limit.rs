//! A slot for each call in flight to a server. `control` decides how many there are; rows get them in order.

use crate::control::{Control, Flight, Outcome};
use crate::deadline::RowClock;
use crate::result::{Failure, Status};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// The slots of one server.
#[derive(Debug)]
pub(crate) struct Limit {
    control: Mutex<Control>,
    /// The row that holds it gets the next slot.
    turn: tokio::sync::Mutex<()>,
    freed: Notify,
    started: Instant,
    most: usize,
}

/// A slot, until [`Slot::end`]. One that is dropped before says nothing about the server.
#[derive(Debug)]
pub(crate) struct Slot {
    limit: Arc<Limit>,
    flight: Option<Flight>,
}

impl Limit {
    /// At most `most` calls at a time, with a time-out of `timeout` if one is set.
    pub(crate) fn new(most: usize, timeout: Option<Duration>) -> Self {
        Self {
            control: Mutex::new(Control::new(most, timeout.map(|timeout| timeout.as_secs_f64()))),
            turn: tokio::sync::Mutex::default(),
            freed: Notify::new(),
            started: Instant::now(),
            most,
        }
    }

    /// The time-out of a call for which none is set.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.control().timeout())
    }

    /// How long calls usually take; `None` before the first answer.
    pub(crate) fn usual(&self) -> Option<Duration> {
        self.control().usual().map(Duration::from_secs_f64)
    }

    /// Calls that were answered so far.
    pub(crate) fn done(&self) -> u64 {
        self.control().done()
    }

    /// Calls in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.control().in_flight()
    }

    /// The next slot. The wait does not count as the row's working time; it has its own limit.
    pub(crate) async fn slot(self: &Arc<Self>, clock: &mut RowClock) -> Result<Slot, Failure> {
        if let Ok(_turn) = self.turn.try_lock()
            && let Ok(flight) = self.start()
        {
            return Ok(self.taken(flight));
        }
        let waiting = Instant::now();
        let flight = timeout(clock.queue_left(), async {
            let _turn = self.turn.lock().await;
            loop {
                match self.start() {
                    Ok(flight) => return flight,
                    // A slot that became free since then has left its permit.
                    Err(None) => self.freed.notified().await,
                    Err(Some(seconds)) => {
                        let wait = Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0));
                        let _freed_or_over = timeout(wait, self.freed.notified()).await;
                    }
                }
            }
        })
        .await;
        clock.waited(waiting.elapsed());
        flight.map(|flight| self.taken(flight)).map_err(|_| {
            let message = format!("waited for a free slot of {} for {} s", self.most, waiting.elapsed().as_secs());
            Failure::new(Status::Timeout, message)
        })
    }

    fn start(&self) -> Result<Flight, Option<f64>> {
        let now = self.now();
        self.control().start(now)
    }

    fn taken(self: &Arc<Self>, flight: Flight) -> Slot {
        Slot { limit: Arc::clone(self), flight: Some(flight) }
    }

    fn now(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The call has ended. `retry_after` is the wait that its server asks for.
    pub(crate) fn end(mut self, outcome: Outcome, retry_after: Option<Duration>) {
        self.release(outcome, retry_after);
    }

    fn release(&mut self, outcome: Outcome, retry_after: Option<Duration>) {
        if let Some(flight) = self.flight.take() {
            let now = self.limit.now();
            self.limit.control().end(flight, outcome, retry_after.map(|wait| wait.as_secs_f64()), now);
            self.limit.freed.notify_one();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.release(Outcome::Other, None);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says where")]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_a_slot_ends_by_itself() {
        let limit = Arc::new(Limit::new(1, None));
        let mut clock = RowClock::start(Duration::from_secs(120));
        let _taken = limit.slot(&mut clock).await.unwrap();
        let started = Instant::now();
        let failure = limit.slot(&mut clock).await.unwrap_err();
        assert_eq!(failure.status, Status::Timeout);
        assert_eq!(failure.message, "waited for a free slot of 1 for 450 s");
        assert!(started.elapsed() + clock.work_left() <= crate::deadline::WHOLE + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn rows_get_their_slots_in_order_and_one_that_is_given_up_blocks_nobody() {
        let limit = Arc::new(Limit::new(1, None));
        let first = limit.slot(&mut RowClock::patient(Duration::from_secs(1))).await.unwrap();
        let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
        let rows: Vec<_> = (0..5)
            .map(|row| {
                let (limit, sender) = (Arc::clone(&limit), sender.clone());
                tokio::spawn(async move {
                    let slot = limit.slot(&mut RowClock::patient(Duration::from_secs(1))).await.unwrap();
                    sender.send(row).unwrap();
                    slot.end(Outcome::Done, None);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        rows[0].abort();
        rows[3].abort();
        tokio::task::yield_now().await;
        drop(first);
        let mut got = Vec::new();
        while got.len() < 3 {
            got.push(order.recv().await.unwrap());
        }
        assert_eq!((got, limit.in_flight()), (vec![1, 2, 4], 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_call_may_load_a_model_and_later_ones_take_a_few_times_the_usual() {
        let limit = Arc::new(Limit::new(4, None));
        assert_eq!(limit.timeout(), Duration::from_secs(540));
        let slot = limit.slot(&mut RowClock::patient(Duration::from_secs(1))).await.unwrap();
        tokio::time::advance(Duration::from_secs(20)).await;
        slot.end(Outcome::Done, None);
        assert_eq!((limit.usual(), limit.timeout()), (Some(Duration::from_secs(20)), Duration::from_secs(200)));
    }
}
