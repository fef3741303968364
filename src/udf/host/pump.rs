//! Passes calls to an async UDF's thread. The thread takes them one by one, because its channel holds one call.
//!
//! If the channel is full, the thread wakes the waiting call's waker as soon as it has taken the previous call. This
//! pump is that waker: it sends the next call at once, in the UDF's own thread. So a hundred calls that arrive together
//! wake that thread once, and this process's threads never.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker};

use datafusion::arrow::array::ArrayData;
use datafusion::arrow::error::ArrowError;
use tokio::sync::Notify;

use super::abi::{Entrance, Sending};

/// How many wakes in a row are handled in the UDF's thread before the host takes over. The thread has other work, and
/// Tokio may make it yield until that work is done.
const ROUNDS: usize = 4;

/// The calls of one runtime that the thread has not taken yet.
pub(super) struct Pump {
    entrance: Entrance,
    state: Mutex<State>,
    /// Someone wanted to pump while another did.
    again: AtomicBool,
    arrived: AtomicU64,
    sending: AtomicBool,
    /// Notified when the host must act: the thread is dead, a call was refused, or someone must pump.
    pub host: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(u64, Vec<ArrayData>)>,
    sending: Option<(u64, Sending)>,
    refused: Vec<(u64, ArrowError)>,
    dead: bool,
    closed: bool,
}

/// News for the host.
#[derive(Default)]
pub(super) struct News {
    /// Calls that cannot be passed on, with the error.
    pub refused: Vec<(u64, ArrowError)>,
    /// The thread takes no more calls.
    pub dead: bool,
}

impl Pump {
    pub fn new(entrance: Entrance) -> Arc<Self> {
        Arc::new(Self {
            entrance,
            state: Mutex::default(),
            again: AtomicBool::new(false),
            arrived: AtomicU64::new(0),
            sending: AtomicBool::new(false),
            host: Notify::new(),
        })
    }

    /// Queues a call, and passes on as many as the thread takes.
    pub fn submit(self: &Arc<Self>, number: u64, args: Vec<ArrayData>) {
        self.state().queue.push_back((number, args));
        self.pump();
    }

    /// How many calls the thread has taken so far.
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    /// Whether the arguments of a call are lent that the thread has not taken yet.
    pub fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Acquire)
    }

    /// Pumps, and returns the news.
    pub fn news(self: &Arc<Self>) -> News {
        self.pump();
        let mut state = self.state();
        News { refused: std::mem::take(&mut state.refused), dead: state.dead }
    }

    /// Closes the pump. Returns the calls that the thread has not taken, in order.
    pub fn close(&self) -> Vec<u64> {
        let (sending, queue) = {
            let mut state = self.state();
            state.closed = true;
            (state.sending.take(), std::mem::take(&mut state.queue))
        };
        // A waiting future holds this pump as its waker, so it is dropped here, outside the lock.
        let first = sending.map(|(number, _)| number);
        first.into_iter().chain(queue.into_iter().map(|(number, _)| number)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_state(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Passes on the calls that the thread takes now. It never blocks, because a wake may come from inside it.
    fn pump(self: &Arc<Self>) {
        for _ in 0..ROUNDS {
            let state = self.try_state().or_else(|| {
                // The thread that pumps checks this flag after it releases the lock, which may be just before.
                self.again.store(true, Ordering::SeqCst);
                self.try_state()
            });
            let Some(mut state) = state else { return };
            self.again.store(false, Ordering::SeqCst);
            self.advance(&mut state);
            drop(state);
            if !self.again.load(Ordering::SeqCst) {
                return;
            }
        }
        self.host.notify_one();
    }

    fn advance(self: &Arc<Self>, state: &mut State) {
        if state.closed || state.dead {
            return;
        }
        let waker = Waker::from(Arc::clone(self));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Some((_, sending)) = &mut state.sending {
                match Pin::new(sending).poll(&mut context) {
                    Poll::Pending => return,
                    Poll::Ready(true) => self.has_arrived(state),
                    // The call stays queued: the dead thread never had it.
                    Poll::Ready(false) => return self.is_dead(state),
                }
            }
            let Some((number, args)) = state.queue.pop_front() else { return };
            match self.entrance.send(number, args) {
                Ok(sending) => {
                    self.sending.store(true, Ordering::Release);
                    state.sending = Some((number, sending));
                }
                Err(error) => {
                    state.refused.push((number, error));
                    self.host.notify_one();
                }
            }
        }
    }

    fn has_arrived(&self, state: &mut State) {
        state.sending = None;
        self.sending.store(false, Ordering::Release);
        self.arrived.fetch_add(1, Ordering::AcqRel);
    }

    fn is_dead(&self, state: &mut State) {
        state.dead = true;
        self.host.notify_one();
    }
}

impl Wake for Pump {
    fn wake(self: Arc<Self>) {
        self.pump();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.pump();
    }
}
