//! The thread that calls an async UDF, row by row, with as many calls in flight as the UDF allows. It passes results on
//! as soon as they arrive.
//!
//! DataFusion's own operator for async functions waits for full batches and for one call after another. On an endless
//! topic it would wait for ever; hence this one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::interleave_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::flow::{Flow, Rows};
use super::graph::NodeId;
use super::step::{evaluate, with_schema};
use crate::connectors::Stopped;
use crate::delivery::Lineage;
use crate::udf::{Answers, AsyncUdf, CallArgs};

/// What the thread needs to know about its node.
pub struct CallTask {
    /// The node.
    pub node: NodeId,
    /// The UDF's arguments.
    pub args: Vec<Arc<dyn PhysicalExpr>>,
    /// The output: the input's columns, and the result.
    pub schema: SchemaRef,
    /// Rows to call it for.
    pub queue: mpsc::UnboundedReceiver<Rows>,
    /// The UDF.
    pub udf: AsyncUdf,
    /// Carries the UDF's calls and answers.
    pub driver: BoxFuture<'static, ()>,
}

/// A batch with unanswered rows.
struct Input {
    batch: RecordBatch,
    lineage: Lineage,
    unanswered: usize,
    /// How many rows are answered in the group of answers that is being passed on.
    answered_now: usize,
}

/// Rows whose call has not started.
struct Waiting {
    first_id: u64,
    args: CallArgs,
    next_row: usize,
}

/// A thread that calls a UDF. It exits when this is dropped.
pub struct CallThread {
    _stop: oneshot::Sender<()>,
}

/// Starts it. The receiver resolves when the thread exits, for whatever reason.
///
/// It is a thread, not a task, because waking it wakes nothing else. At a hundred rows a second, that is a good part of
/// a row's cost.
///
/// # Errors
/// When no thread can be started.
pub fn start(name: &str, task: CallTask, flow: Arc<Flow>) -> std::io::Result<(CallThread, oneshot::Receiver<()>)> {
    let (stop, stopped) = oneshot::channel();
    let (done, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("calls {name}")).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = run(task, flow) => {}
                _gone = stopped => {}
            }
        });
        // When the engine has stopped, nobody waits for this.
        let _gone = done.send(());
    })?;
    Ok((CallThread { _stop: stop }, ended))
}

/// Runs until the dataflow ends or fails.
async fn run(mut task: CallTask, flow: Arc<Flow>) {
    let driver = std::mem::replace(&mut task.driver, Box::pin(std::future::pending()));
    tokio::select! {
        () = driver => {}
        () = serve(task, flow) => {}
    }
}

async fn serve(mut task: CallTask, flow: Arc<Flow>) {
    let mut state = State { inputs: BTreeMap::new(), waiting: VecDeque::new(), next_id: 0 };
    loop {
        tokio::select! {
            biased;
            answers = task.udf.answers.next() => {
                let Some(first) = answers else { return };
                // Take what else is available: each batch has its overhead in every later stage.
                let mut all = vec![first];
                while let Some(more) = task.udf.answers.try_next() {
                    all.push(more);
                }
                if state.pass_on(&task, &flow, &all).is_err() {
                    return;
                }
            }
            rows = task.queue.recv() => {
                let Some(rows) = rows else { return };
                if state.take(&task, &flow, rows).is_err() {
                    return;
                }
            }
            slot = task.udf.calls.reserve(), if !state.waiting.is_empty() => {
                let mut slot = Some(slot);
                while let Some(free) = slot.take() {
                    match state.next_row() {
                        Some((id, args, row)) => free.submit(id, &args, row),
                        None => break,
                    }
                    slot = if state.waiting.is_empty() { None } else { task.udf.calls.try_reserve() };
                }
            }
        }
    }
}

struct State {
    /// By the id of their first row. The ids of a batch are consecutive.
    inputs: BTreeMap<u64, Input>,
    waiting: VecDeque<Waiting>,
    next_id: u64,
}

impl State {
    fn take(&mut self, task: &CallTask, flow: &Flow, (batch, lineage): Rows) -> Result<(), Stopped> {
        let rows = batch.num_rows();
        if rows == 0 {
            lineage.deliver();
            return Ok(());
        }
        let failed = |e: DataFusionError| flow.row_failed(&flow.nodes[task.node], &e);
        let columns = evaluate(&task.args, &batch).map_err(failed)?;
        let args = task.udf.calls.prepare(&columns, rows).map_err(|e| failed(e.into()))?;
        let first_id = self.next_id;
        self.next_id += rows as u64;
        self.inputs.insert(first_id, Input { batch, lineage, unanswered: rows, answered_now: 0 });
        self.waiting.push_back(Waiting { first_id, args, next_row: 0 });
        Ok(())
    }

    fn next_row(&mut self) -> Option<(u64, CallArgs, usize)> {
        let front = self.waiting.front_mut()?;
        let row = front.next_row;
        let call = (front.first_id + row as u64, front.args.clone(), row);
        front.next_row += 1;
        if front.next_row == front.args.rows() {
            self.waiting.pop_front();
        }
        Some(call)
    }

    /// Joins answers to their rows, in the order in which they came, and passes them on.
    fn pass_on(&mut self, task: &CallTask, flow: &Flow, answers: &[Answers]) -> Result<(), Stopped> {
        let answers = match Answers::concat(answers) {
            Ok(Some(answers)) => answers,
            Ok(None) => return Ok(()),
            Err(error) => return Err(flow.row_failed(&flow.nodes[task.node], &error.into())),
        };
        for (_, error) in &answers.errors {
            tracing::warn!(view = %flow.nodes[task.node].label, "{error}; its result is NULL");
        }
        let mut batches: Vec<(u64, RecordBatch)> = Vec::new();
        let mut places = Vec::with_capacity(answers.ids.len());
        for id in &answers.ids {
            let Some((first_id, input)) = self.inputs.range_mut(..=*id).next_back() else { continue };
            let at = batches.iter().rposition(|(f, _)| f == first_id).unwrap_or_else(|| {
                batches.push((*first_id, input.batch.clone()));
                batches.len() - 1
            });
            places.push((at, usize::try_from(id - first_id).unwrap_or(usize::MAX)));
            input.unanswered -= 1;
            input.answered_now += 1;
        }
        let mut lineages = Vec::with_capacity(batches.len());
        for (first_id, _) in &batches {
            let done = self.inputs.get_mut(first_id).is_some_and(|input| {
                input.lineage.release(std::mem::take(&mut input.answered_now));
                input.unanswered == 0
            });
            if done {
                lineages.extend(self.inputs.remove(first_id).map(|i| i.lineage));
            } else {
                lineages.extend(self.inputs.get(first_id).map(|i| i.lineage.clone()));
            }
        }
        let lineage = Lineage::merge(lineages);
        let batches: Vec<&RecordBatch> = batches.iter().map(|(_, batch)| batch).collect();
        let joined = interleave_record_batch(&batches, &places).map_err(DataFusionError::from);
        let joined = joined.and_then(|rows| {
            let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
            columns.push(Arc::clone(&answers.values));
            with_schema(&task.schema, columns, places.len())
        });
        match joined {
            Ok(batch) => flow.emit(task.node, batch, lineage),
            Err(error) => Err(flow.row_failed(&flow.nodes[task.node], &error)),
        }
    }
}
