//! Commits offsets, on a thread of its own.
//!
//! A commit must be waited for, because the client library does not tell how one went that was not; and the thread that
//! polls must not wait, because a broker that is away answers late.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::group::Group;

/// How often offsets are committed.
const EVERY: Duration = Duration::from_millis(200);

/// The thread that commits for one source.
pub struct Committer {
    last: mpsc::Sender<Last>,
}

/// The request to commit for the last time.
struct Last {
    deadline: Instant,
    done: mpsc::Sender<bool>,
}

impl Committer {
    /// Commits from now on what the ledger lets go.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(consumer: Arc<BaseConsumer<Group>>) -> std::io::Result<Self> {
        let (last, asked) = mpsc::channel::<Last>();
        let run = move || {
            loop {
                match asked.recv_timeout(EVERY) {
                    Err(RecvTimeoutError::Timeout) => {
                        consumer.context().commit(&consumer);
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                    Ok(last) => {
                        let mut done = consumer.context().commit(&consumer);
                        while !done && Instant::now() < last.deadline {
                            thread::sleep(Duration::from_millis(50));
                            done = consumer.context().commit(&consumer);
                        }
                        // The consumer must have no owner here when the source lets go of it.
                        drop(consumer);
                        // Nobody waits any more when the time is over.
                        let _ = last.done.send(done);
                        return;
                    }
                }
            }
        };
        thread::Builder::new().name("kafka-commit".into()).spawn(run)?;
        Ok(Self { last })
    }

    /// Commits for the last time; says whether that was answered in time. `meanwhile` is called over and over: a
    /// rebalance that stands in the way needs polling.
    pub fn finish(self, patience: Duration, meanwhile: impl Fn()) -> bool {
        let deadline = Instant::now() + patience;
        let (done, answer) = mpsc::channel();
        if self.last.send(Last { deadline, done }).is_err() {
            return false;
        }
        while Instant::now() < deadline {
            match answer.recv_timeout(Duration::from_millis(20)) {
                Ok(committed) => return committed,
                Err(RecvTimeoutError::Timeout) => meanwhile(),
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        false
    }
}
