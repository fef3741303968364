//! Commits offsets, on a thread of its own.
//!
//! Commits are synchronous, because the client library does not report the result of an asynchronous one. The thread
//! that polls must not wait for them, because a broker that is down answers late.

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

/// The request for the last commit.
struct Last {
    deadline: Instant,
    done: mpsc::Sender<bool>,
}

impl Committer {
    /// Starts to commit what the ledger hands out.
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
                        // When the source closes the consumer, it must be the only owner.
                        drop(consumer);
                        // After the deadline, nobody waits for the result.
                        let _ = last.done.send(done);
                        return;
                    }
                }
            }
        };
        thread::Builder::new().name("kafka-commit".into()).spawn(run)?;
        Ok(Self { last })
    }

    /// Commits a last time. Returns whether the answer came in time. `meanwhile` is called repeatedly, because a
    /// rebalance in progress needs polling.
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
