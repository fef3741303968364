//! One living runtime of an async UDF: when to look for results, and how it is found to be dead or blocked.
//!
//! It looks when a call is over, which the call's own memory tells (see `c_data::Signals`), and else hardly ever. The
//! results of a call are there a few microseconds after it is over, so a look that comes too early is repeated.
//!
//! A death has three faces. A time-out of the plugin poisons its results. A panic of user code ends the thread, which
//! drops every call, and none gives a result. A blocked thread does nothing at all, for longer than any call may take.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayData, ArrayRef, UInt64Array};
use datafusion::arrow::error::ArrowError;
use tokio::time::{Instant, sleep_until};

use super::abi::{AsyncLibrary, Drained, Runtime, Sent};
use super::c_data::Signals;
use crate::udf::source::AsyncOptions;

/// How long beyond the time-out of a call its thread may do nothing.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// Without a signal: a look this often notices a thread that is blocked.
const IDLE_LOOK: Duration = Duration::from_millis(50);

/// Looks that all came to nothing, after which a thread that dropped all its calls is dead: 50 ms and more, in which
/// this process did get the processor 26 times.
const LOOKS_BEFORE_DEATH: u32 = 27;

/// The same for calls that are over and whose results must wait for an earlier one's.
const LOOKS_WHEN_ORDERED: u32 = 6;

/// How a runtime ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// A call took longer than the attribute allows.
    TimedOut,
    /// User code panicked.
    Panicked,
    /// A call does not give its thread back.
    Blocked,
}

/// A runtime with calls in flight.
pub(super) struct Session {
    runtime: Runtime,
    signals: Arc<Signals>,
    options: AsyncOptions,
    in_flight: usize,
    /// Looks since the last signal.
    looks: u32,
    /// Looks since every call is over and a result is missing.
    suspicion: u32,
    next_look: Instant,
    last_look: Instant,
    /// Time in which we looked and nothing had moved; not time in which this process itself was stopped.
    stalled: Duration,
}

impl Session {
    pub fn start(library: AsyncLibrary, options: AsyncOptions) -> Self {
        let runtime = Runtime::start(library, options.ordered, options.timeout, options.allowed_in_flight);
        let signals = Arc::clone(runtime.signals());
        let now = Instant::now();
        Self {
            runtime,
            signals,
            options,
            in_flight: 0,
            looks: 0,
            suspicion: 0,
            next_look: now,
            last_look: now,
            stalled: Duration::ZERO,
        }
    }

    /// Gives a call to the thread; [`Session::sent`] is to be told when it has arrived.
    pub fn send(&mut self, number: u64, args: Vec<ArrayData>) -> Result<Sent, ArrowError> {
        if self.in_flight == 0 {
            self.last_look = Instant::now();
            self.next_look = self.last_look + IDLE_LOOK;
            self.looks = u32::MAX;
            self.stalled = Duration::ZERO;
        }
        self.runtime.send(number, args)
    }

    /// A call has arrived.
    pub fn sent(&mut self) {
        self.in_flight += 1;
        self.stalled = Duration::ZERO;
    }

    /// Returns when it is time to look; may be dropped and asked again.
    pub async fn time_to_look(&mut self) {
        if self.next_look <= Instant::now() {
            tokio::task::yield_now().await;
            return;
        }
        let over = tokio::select! {
            biased;
            () = self.signals.over.notified() => true,
            () = sleep_until(self.next_look) => false,
        };
        if over {
            self.looks = 0;
        }
    }

    /// Takes the results that are there.
    pub fn look(&mut self) -> Result<Option<(UInt64Array, ArrayRef)>, Death> {
        let now = Instant::now();
        self.stalled += (now - self.last_look).min(2 * IDLE_LOOK);
        self.last_look = now;
        let running = self.signals.running();
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
            self.in_flight = self.in_flight.saturating_sub(numbers.len());
            self.stalled = Duration::ZERO;
            self.looks = 0;
        } else {
            self.looks = self.looks.saturating_add(1);
        }
        if self.stalled > self.options.timeout + GRACE {
            return Err(Death::Blocked);
        }
        // `running` was read before the results, so a call that it counts as over had the time to leave its result.
        let all_over = running == 0 && self.in_flight > 0;
        self.suspicion = if all_over && rows.is_none() { self.suspicion + 1 } else { 0 };
        if self.suspicion > LOOKS_BEFORE_DEATH {
            return Err(Death::Panicked);
        }
        let (looks, patience) = match (all_over, self.options.ordered) {
            (true, _) => (self.suspicion, u32::MAX),
            (false, _) if running >= self.in_flight => (self.looks, 0),
            (false, true) => (self.looks, LOOKS_WHEN_ORDERED),
            (false, false) => (self.looks, LOOKS_BEFORE_DEATH),
        };
        self.next_look = now
            + match looks {
                looks if looks >= patience => IDLE_LOOK,
                0..=2 => Duration::ZERO,
                3..=10 => Duration::from_millis(1),
                _ => Duration::from_millis(2),
            };
        Ok(rows)
    }

    /// Takes what is there of a thread that is known to be dead.
    pub fn last_look(&mut self) -> Option<(UInt64Array, ArrayRef)> {
        match self.runtime.drain() {
            Ok(Drained::Rows(numbers, values)) => Some((numbers, values)),
            _ => None,
        }
    }
}
