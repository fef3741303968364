//! Calls of an async UDF: many in flight, each answered exactly once, whatever the UDF does.
//!
//! When the UDF's runtime dies, the call that caused it is unknown. So every call that was in flight is made once more,
//! alone in its own runtime, while later calls wait. A call that kills its runtime again is answered with an error, and
//! the others continue. No call is made a third time. A thread that a call blocks for ever cannot be stopped; it stays
//! behind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, UInt64Array, new_null_array};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::RowError;
use super::abi;
use super::args::CallArgs;
use super::isolation::{AT_ONCE, call_alone};
use super::session::{Death, GRACE, Next, Session};
use crate::udf::options::AsyncOptions;
use crate::udf::source::UdfSource;

/// The opened library of an async UDF; each [`AsyncLibrary::start`] gives it a thread of its own.
#[derive(Clone)]
pub struct AsyncLibrary {
    source: Arc<UdfSource>,
    library: abi::AsyncLibrary,
}

impl fmt::Debug for AsyncLibrary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsyncLibrary({})", self.source.name)
    }
}

/// A started async UDF: the sender of its calls, and the receiver of their answers.
#[derive(Debug)]
pub struct AsyncUdf {
    /// Submits calls. When it is dropped, the calls in flight are still answered.
    pub calls: AsyncCalls,
    /// Receives answers. When it is dropped, the calls in flight are abandoned.
    pub answers: AsyncAnswers,
}

/// Answers that arrived together, in the order of the calls if the UDF is ordered.
#[derive(Debug, Clone)]
pub struct Answers {
    /// The ids of the calls.
    pub ids: Vec<u64>,
    /// Their results, of the declared type; NULL if a call failed.
    pub values: ArrayRef,
    /// The failed calls: the index in `ids`, and the error.
    pub errors: Vec<(usize, RowError)>,
}

struct Call {
    id: u64,
    args: CallArgs,
    row: usize,
}

impl AsyncLibrary {
    pub(super) fn new(source: Arc<UdfSource>, library: abi::AsyncLibrary) -> Self {
        Self { source, library }
    }

    /// The source that it was compiled from.
    #[must_use]
    pub fn source(&self) -> &Arc<UdfSource> {
        &self.source
    }

    /// Starts a thread for the UDF. It must be called inside a Tokio runtime, which drives the answers.
    #[must_use]
    pub fn start(&self, options: AsyncOptions) -> AsyncUdf {
        let (udf, driver) = self.driven(options);
        tokio::spawn(driver);
        udf
    }

    /// The same, with the future that drives calls and answers. If the task that makes the calls also polls the future,
    /// each call saves two thread switches. The future starts at its first poll, and ends once all calls are answered
    /// that can be.
    pub fn driven(&self, options: AsyncOptions) -> (AsyncUdf, impl Future<Output = ()> + Send + use<>) {
        let (calls, requests) = mpsc::unbounded_channel();
        let (out, answers) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(options.allowed_in_flight as usize));
        let driver = Driver { source: Arc::clone(&self.source), library: self.library, options, requests, out };
        let udf = AsyncUdf {
            calls: AsyncCalls { source: Arc::clone(&self.source), calls, room: Arc::clone(&room) },
            answers: AsyncAnswers { answers, room },
        };
        (udf, driver.run())
    }
}

/// Submits calls to an async UDF.
#[derive(Debug, Clone)]
pub struct AsyncCalls {
    source: Arc<UdfSource>,
    calls: mpsc::UnboundedSender<Call>,
    room: Arc<Semaphore>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({})", self.id)
    }
}

impl AsyncCalls {
    /// Prepares arguments: casts `args`, columns of `rows` rows, to their declared types.
    ///
    /// # Errors
    /// A column cannot be cast.
    pub fn prepare(&self, args: &[ArrayRef], rows: usize) -> Result<CallArgs, ArrowError> {
        CallArgs::for_async(&self.source.signature, args, rows)
    }

    /// Waits for a free slot. The UDF's in-flight limit counts a call from here until its answer is taken, so the
    /// caller must keep taking answers while it waits. Cancel-safe.
    pub async fn reserve(&self) -> Slot {
        match Arc::clone(&self.room).acquire_owned().await {
            Ok(permit) => Slot { calls: self.calls.clone(), permit },
            // Nothing closes the semaphore.
            Err(_) => std::future::pending().await,
        }
    }

    /// A free slot, if there is one now.
    #[must_use]
    pub fn try_reserve(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Slot { calls: self.calls.clone(), permit })
    }

    /// Waits for a free slot and makes one call.
    pub async fn submit(&self, id: u64, args: &CallArgs, row: usize) {
        self.reserve().await.submit(id, args, row);
    }
}

/// A slot for one call.
#[derive(Debug)]
pub struct Slot {
    calls: mpsc::UnboundedSender<Call>,
    permit: OwnedSemaphorePermit,
}

impl Slot {
    /// Calls the UDF with row `row` of `args`. The answer carries `id`.
    ///
    /// # Panics
    /// `args` has no such row.
    pub fn submit(self, id: u64, args: &CallArgs, row: usize) {
        assert!(row < args.rows(), "row {row} of arguments for {} calls", args.rows());
        if self.calls.send(Call { id, args: args.clone(), row }).is_ok() {
            self.permit.forget();
        }
    }
}

/// Receives the answers of an async UDF.
#[derive(Debug)]
pub struct AsyncAnswers {
    answers: mpsc::UnboundedReceiver<Answers>,
    room: Arc<Semaphore>,
}

impl AsyncAnswers {
    /// The next answers; `None` once all [`AsyncCalls`] are dropped and every call is answered. Cancel-safe.
    pub async fn next(&mut self) -> Option<Answers> {
        let answers = self.answers.recv().await?;
        self.room.add_permits(answers.ids.len());
        Some(answers)
    }

    /// More answers that are ready.
    pub fn try_next(&mut self) -> Option<Answers> {
        let answers = self.answers.try_recv().ok()?;
        self.room.add_permits(answers.ids.len());
        Some(answers)
    }
}

struct Driver {
    source: Arc<UdfSource>,
    library: abi::AsyncLibrary,
    options: AsyncOptions,
    requests: mpsc::UnboundedReceiver<Call>,
    out: mpsc::UnboundedSender<Answers>,
}

/// The calls of one runtime.
#[derive(Default)]
struct InFlight {
    /// By number, which is the order of submission.
    calls: BTreeMap<u64, Call>,
    last: u64,
}

impl Driver {
    async fn run(mut self) {
        // The calls that a dead thread had not taken. The next thread makes them first.
        let mut first = Vec::new();
        loop {
            let mut session = Session::start(self.library, self.options);
            let mut in_flight = InFlight::default();
            let Err(death) = self.serve(&mut session, &mut in_flight, std::mem::take(&mut first)).await else { return };
            if let Some((numbers, values)) = session.last_look() {
                self.answer(&mut in_flight, &numbers, values);
            }
            first = session.close().iter().filter_map(|number| in_flight.calls.remove(number)).collect();
            drop(session);
            tracing::warn!(
                udf = self.source.name,
                calls = in_flight.calls.len(),
                death = death.describe(),
                "a UDF's thread ended; each call that was in flight is made once more, alone"
            );
            if !self.repeat_alone(in_flight.calls.into_values().collect()).await {
                return;
            }
        }
    }

    /// Makes calls until there are no more (`Ok`) or the thread is dead.
    async fn serve(&mut self, session: &mut Session, in_flight: &mut InFlight, first: Vec<Call>) -> Result<(), Death> {
        let mut open = true;
        for call in first {
            in_flight.make(session, call);
        }
        while open || !in_flight.calls.is_empty() {
            let busy = !in_flight.calls.is_empty();
            tokio::select! {
                biased;
                next = session.next(), if busy => match next {
                    Next::Look => {
                        if let Some((numbers, values)) = session.look()? {
                            self.answer(in_flight, &numbers, values);
                        }
                    }
                    Next::News => {
                        let news = session.news();
                        for (number, error) in news.refused {
                            let Some(call) = in_flight.calls.remove(&number) else { continue };
                            let error = self.error(format!("cannot be given its arguments: {error}"));
                            self.emit(vec![call.id], new_null_array(self.returns(), 1), vec![(0, error)]);
                        }
                        if news.dead {
                            return Err(Death::Panicked);
                        }
                    }
                },
                call = self.requests.recv(), if open => match call {
                    Some(call) => {
                        in_flight.make(session, call);
                        while let Ok(call) = self.requests.try_recv() {
                            in_flight.make(session, call);
                        }
                    }
                    None => open = false,
                },
                () = self.out.closed() => return Ok(()),
            }
        }
        Ok(())
    }

    /// Passes results on. A result without a call is ignored.
    fn answer(&self, in_flight: &mut InFlight, numbers: &UInt64Array, values: ArrayRef) {
        let ids: Vec<u64> =
            numbers.values().iter().filter_map(|number| in_flight.calls.remove(number)).map(|call| call.id).collect();
        if ids.len() == numbers.len() && values.data_type() == self.returns() {
            self.emit(ids, values, Vec::new());
        } else {
            let error = self.error("was compiled from a different source".into());
            let errors = (0..ids.len()).map(|i| (i, error.clone())).collect();
            let nulls = new_null_array(self.returns(), ids.len());
            self.emit(ids, nulls, errors);
        }
    }

    /// Makes each call once more, alone, and answers it. Returns false if nobody receives answers any more.
    async fn repeat_alone(&self, calls: Vec<Call>) -> bool {
        let (library, options) = (self.library, self.options);
        let at_once = AT_ONCE.min(options.allowed_in_flight as usize);
        let repeated = futures::stream::iter(calls).map(move |call| async move {
            let args = call.args.row(call.row);
            (call.id, call_alone(library, options, args).await)
        });
        let mut answered = if options.ordered {
            repeated.buffered(at_once).boxed()
        } else {
            repeated.buffer_unordered(at_once).boxed()
        };
        loop {
            tokio::select! {
                () = self.out.closed() => return false,
                next = answered.next() => match next {
                    Some((id, Ok(value))) if value.data_type() == self.returns() => self.emit(vec![id], value, Vec::new()),
                    Some((id, result)) => {
                        let error = self.error(match result {
                            Ok(_) => "was compiled from a different source".into(),
                            Err(death) => death.message(options),
                        });
                        self.emit(vec![id], new_null_array(self.returns(), 1), vec![(0, error)]);
                    }
                    None => return true,
                },
            }
        }
    }

    fn returns(&self) -> &DataType {
        &self.source.signature.returns.data_type
    }

    fn error(&self, message: String) -> RowError {
        RowError { udf: self.source.name.as_str().into(), message }
    }

    fn emit(&self, ids: Vec<u64>, values: ArrayRef, errors: Vec<(usize, RowError)>) {
        // If the receiver is gone, `serve` and `repeat_alone` see it as well and end.
        let _ = self.out.send(Answers { ids, values, errors });
    }
}

impl InFlight {
    fn make(&mut self, session: &mut Session, call: Call) {
        self.last += 1;
        session.send(self.last, call.args.row(call.row));
        self.calls.insert(self.last, call);
    }
}

impl Death {
    fn describe(self) -> &'static str {
        match self {
            Self::TimedOut => "time-out",
            Self::Panicked => "panic",
            Self::Blocked => "blocked",
        }
    }

    /// The reason why the repeated call has no result, to follow the UDF's name.
    fn message(self, options: AsyncOptions) -> String {
        match self {
            Self::Panicked => "panicked on this row".into(),
            Self::TimedOut => format!("did not answer within {:?}", options.timeout),
            Self::Blocked => {
                format!("did not answer within {:?} and blocks its thread", options.timeout + GRACE)
            }
        }
    }
}

impl Answers {
    /// Merges several answers; `None` if there are none.
    ///
    /// # Errors
    /// They are not from one UDF.
    pub fn concat(parts: &[Self]) -> Result<Option<Self>, ArrowError> {
        match parts {
            [] => return Ok(None),
            [one] => return Ok(Some(one.clone())),
            _ => {}
        }
        let values = concat(&parts.iter().map(|p| p.values.as_ref() as &dyn Array).collect::<Vec<_>>())?;
        let mut ids = Vec::new();
        let mut errors = Vec::new();
        for part in parts {
            errors.extend(part.errors.iter().map(|(i, e)| (ids.len() + i, e.clone())));
            ids.extend_from_slice(&part.ids);
        }
        Ok(Some(Self { ids, values, errors }))
    }
}
