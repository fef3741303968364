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
use tokio::time::{Instant, sleep_until};

use super::abi::{AsyncLibrary, Drained, Runtime};
use super::c_data::Signals;
use super::pump::{News, Pump};
use crate::udf::options::AsyncOptions;

/// How long beyond the time-out of a call its thread may do nothing.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// Without a signal: a look this often notices a thread that is blocked.
const IDLE_LOOK: Duration = Duration::from_millis(50);

/// How soon after results were taken the next look is worth its cost: under load they are taken a few at a time. A result
/// that comes alone is taken at once.
const PACE: Duration = Duration::from_millis(2);

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

/// What there is to do.
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
    /// Calls whose results were taken.
    answered: u64,
    /// Calls that the thread had taken at the last look.
    arrived: u64,
    /// Looks since the last signal.
    looks: u32,
    /// Looks since every call is over and a result is missing.
    suspicion: u32,
    next_look: Instant,
    last_look: Instant,
    /// When results were last found.
    last_rows: Option<Instant>,
    /// A call is over since the last look.
    told: bool,
    /// Time in which we looked and nothing had moved; not time in which this process itself was stopped.
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

    /// Gives a call to the thread, behind those that are on their way.
    pub fn send(&mut self, number: u64, args: Vec<ArrayData>) {
        if self.pump.arrived() == self.answered {
            self.last_look = Instant::now();
            self.next_look = self.last_look + IDLE_LOOK;
            self.looks = u32::MAX;
            self.stalled = Duration::ZERO;
        }
        self.pump.submit(number, args);
    }

    /// Returns when there is something to do; may be dropped and asked again.
    pub async fn next(&mut self) -> Next {
        let pump = Arc::clone(&self.pump);
        tokio::select! {
            biased;
            () = pump.host.notified() => Next::News,
            () = self.time_to_look() => Next::Look,
        }
    }

    /// Passes on calls that wait, and says what has happened to them.
    pub fn news(&self) -> News {
        self.pump.news()
    }

    /// The calls that the thread has not taken, in order; it takes no more.
    pub fn close(&self) -> Vec<u64> {
        self.pump.close()
    }

    /// Returns when it is time to look; may be dropped and asked again.
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
            // What else is over meanwhile goes along.
            if let Some(paced) = self.last_rows.map(|at| at + PACE).filter(|paced| *paced > Instant::now()) {
                sleep_until(paced).await;
            }
            self.told = false;
        }
    }

    /// Takes the results that are there.
    pub fn look(&mut self) -> Result<Option<(UInt64Array, ArrayRef)>, Death> {
        let now = Instant::now();
        self.stalled += (now - self.last_look).min(2 * IDLE_LOOK);
        self.last_look = now;
        // A call whose arguments are lent and that has not arrived does not run. It may arrive just now: then one look more
        // or less is made.
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
        // `running` was read before the results, so a call that it counts as over had the time to leave its result.
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

    /// Takes what is there of a thread that is known to be dead.
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
