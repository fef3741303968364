//! One living runtime of an async UDF: when to poll for results, and how a dead or blocked runtime is detected.
//!
//! It polls when a call has returned, which the call's own memory signals (see `c_data::Signals`), and otherwise
//! rarely. Results arrive a few microseconds after a call returns, so a poll that comes too early is repeated.
//!
//! A runtime can die in three ways. A timeout of the plugin poisons its results. A panic of user code ends the thread,
//! which drops every call without a result. A blocked thread does nothing for longer than any call may take.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayData, ArrayRef, UInt64Array};
use tokio::time::{Instant, sleep_until};

use super::abi::{AsyncLibrary, Drained, Runtime};
use super::c_data::Signals;
use super::pump::{News, Pump};
use crate::udf::options::AsyncOptions;

/// How long beyond a call's timeout its thread may be idle.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// The interval of polls without a signal, to detect a blocked thread.
const IDLE_LOOK: Duration = Duration::from_millis(50);

/// The minimum time between polls that find results: under load, results would otherwise be taken a few at a time. A
/// single result is taken at once.
const PACE: Duration = Duration::from_millis(2);

/// After this many empty polls, a thread that dropped all its calls is dead. They take at least 50 ms, in which this
/// process was scheduled 26 times.
const LOOKS_BEFORE_DEATH: u32 = 27;

/// The same for returned calls whose results must wait for an earlier call's.
const LOOKS_WHEN_ORDERED: u32 = 6;

/// How a runtime died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// A call exceeded the timeout of its attribute.
    TimedOut,
    /// User code panicked.
    Panicked,
    /// A call blocks its thread.
    Blocked,
}

/// The next action.
pub(super) enum Next {
    /// [`Session::look`].
    Look,
    /// [`Session::news`].
    News,
}

/// A runtime with calls in flight.
pub(super) struct Session {
    runtime: Runtime,
    signals: Arc<Signals>,
    pump: Arc<Pump>,
    options: AsyncOptions,
    /// Calls whose results have been taken.
    answered: u64,
    /// Calls that the thread had taken at the last poll.
    arrived: u64,
    /// Polls since the last signal.
    looks: u32,
    /// Polls since every call has returned while a result is missing.
    suspicion: u32,
    next_look: Instant,
    last_look: Instant,
    /// The time of the last results.
    last_rows: Option<Instant>,
    /// A call has returned since the last poll.
    told: bool,
    /// Time between polls without any progress. Time in which this process itself was stopped does not count.
    stalled: Duration,
}

impl Session {
    pub fn start(library: AsyncLibrary, options: AsyncOptions) -> Self {
        let runtime = Runtime::start(library, options.ordered, options.timeout, options.allowed_in_flight);
        let signals = Arc::clone(runtime.signals());
        let pump = Pump::new(runtime.entrance());
        let now = Instant::now();
        Self {
            runtime,
            signals,
            pump,
            options,
            answered: 0,
            arrived: 0,
            looks: 0,
            suspicion: 0,
            next_look: now,
            last_look: now,
            last_rows: None,
            told: false,
            stalled: Duration::ZERO,
        }
    }

    /// Queues a call for the thread.
    pub fn send(&mut self, number: u64, args: Vec<ArrayData>) {
        if self.pump.arrived() == self.answered {
            self.last_look = Instant::now();
            self.next_look = self.last_look + IDLE_LOOK;
            self.looks = u32::MAX;
            self.stalled = Duration::ZERO;
        }
        self.pump.submit(number, args);
    }

    /// Returns when there is something to do. Cancel-safe.
    pub async fn next(&mut self) -> Next {
        let pump = Arc::clone(&self.pump);
        tokio::select! {
            biased;
            () = pump.host.notified() => Next::News,
            () = self.time_to_look() => Next::Look,
        }
    }

    /// Passes on waiting calls, and returns the pump's news.
    pub fn news(&self) -> News {
        self.pump.news()
    }

    /// The calls that the thread has not taken, in order. It takes no more.
    pub fn close(&self) -> Vec<u64> {
        self.pump.close()
    }

    /// Returns when it is time to poll. Cancel-safe.
    async fn time_to_look(&mut self) {
        if !self.told {
            if self.next_look <= Instant::now() {
                tokio::task::yield_now().await;
                return;
            }
            self.told = tokio::select! {
                biased;
                () = self.signals.over.notified() => true,
                () = sleep_until(self.next_look) => false,
            };
        }
        if self.told {
            self.looks = 0;
            // Other calls that return meanwhile share the poll.
            if let Some(paced) = self.last_rows.map(|at| at + PACE).filter(|paced| *paced > Instant::now()) {
                sleep_until(paced).await;
            }
            self.told = false;
        }
    }

    /// Takes the results that are ready.
    pub fn look(&mut self) -> Result<Option<(UInt64Array, ArrayRef)>, Death> {
        let now = Instant::now();
        self.stalled += (now - self.last_look).min(2 * IDLE_LOOK);
        self.last_look = now;
        // A call whose arguments are lent but that has not arrived is not running. If it arrives just now, there is one
        // poll more or less.
        let running = self.signals.running().saturating_sub(self.pump.is_sending().into());
        let arrived = self.pump.arrived();
        if arrived != std::mem::replace(&mut self.arrived, arrived) {
            self.stalled = Duration::ZERO;
        }
        let rows = match self.runtime.drain() {
            Ok(Drained::Rows(numbers, values)) => Some((numbers, values)),
            Ok(Drained::Nothing) => None,
            Ok(Drained::TimedOut) => return Err(Death::TimedOut),
            Err(error) => {
                tracing::error!(%error, "the results of a UDF cannot be read");
                return Err(Death::Panicked);
            }
        };
        if let Some((numbers, _)) = &rows {
            self.answered += numbers.len() as u64;
            self.stalled = Duration::ZERO;
            self.looks = 0;
            self.last_rows = Some(now);
        } else {
            self.looks = self.looks.saturating_add(1);
        }
        if self.stalled > self.options.timeout + GRACE {
            return Err(Death::Blocked);
        }
        // `running` was read before the results, so a call that it counts as returned had time to leave its result.
        let in_flight = usize::try_from(arrived.saturating_sub(self.answered)).unwrap_or(usize::MAX);
        let all_over = running == 0 && in_flight > 0;
        self.suspicion = if all_over && rows.is_none() { self.suspicion + 1 } else { 0 };
        if self.suspicion > LOOKS_BEFORE_DEATH {
            return Err(Death::Panicked);
        }
        let (looks, patience) = match (all_over, self.options.ordered) {
            (true, _) => (self.suspicion, u32::MAX),
            (false, _) if running >= in_flight => (self.looks, 0),
            (false, true) => (self.looks, LOOKS_WHEN_ORDERED),
            (false, false) => (self.looks, LOOKS_BEFORE_DEATH),
        };
        self.next_look = now
            + match looks {
                looks if looks >= patience => IDLE_LOOK,
                0..=5 => Duration::ZERO,
                6..=13 => Duration::from_millis(1),
                _ => Duration::from_millis(2),
            };
        Ok(rows)
    }

    /// Takes the remaining results of a thread that is known to be dead.
    pub fn last_look(&mut self) -> Option<(UInt64Array, ArrayRef)> {
        match self.runtime.drain() {
            Ok(Drained::Rows(numbers, values)) => Some((numbers, values)),
            _ => None,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.pump.close();
    }
}
