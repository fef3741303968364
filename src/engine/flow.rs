//! The running dataflow: a thread that has a batch passes it on from node to node, until it reaches an async UDF or a
//! sink.
//!
//! **Invariant**: every path of a batch ends in `Lineage::deliver`, or in a dropped lineage, which blocks the commit.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Fields, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use tokio::sync::{Notify, mpsc};

use super::graph::NodeId;
use super::step::{Step, with_schema};
use crate::connectors::dead_letters::{DeadLetters, Rejected};
use crate::connectors::{ConnectorError, Output, Sink, Stopped};
use crate::delivery::Lineage;
use crate::diag::{Code, Diagnostic, Span};
use crate::sql::errors::in_sql_words;

/// The first reason why a pipeline cannot continue.
#[derive(Debug, Default)]
pub struct Failure {
    reason: Mutex<Option<Diagnostic>>,
    happened: Notify,
}

impl Failure {
    /// Records a reason; the first wins.
    pub fn set(&self, reason: Diagnostic) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.happened.notify_waiters();
    }

    /// The reason, when there is one.
    #[must_use]
    pub fn get(&self) -> Option<Diagnostic> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a reason.
    pub async fn wait(&self) -> Diagnostic {
        loop {
            let happened = self.happened.notified();
            if let Some(reason) = self.get() {
                return reason;
            }
            happened.await;
        }
    }
}

/// A batch and its lineage.
pub type Rows = (RecordBatch, Lineage);

/// A running node.
pub struct FlowNode {
    /// What it does.
    pub kind: FlowKind,
    /// The nodes that get its rows.
    pub outputs: Vec<NodeId>,
    /// The node that gets the messages that a source cannot decode.
    pub rejects: Option<NodeId>,
    /// Its name in messages.
    pub label: String,
    /// Its place, for messages.
    pub span: Span,
}

/// What a running node does.
pub enum FlowKind {
    /// Passes on the rows of its source's thread.
    Source,
    /// Makes rows of the messages that a source cannot decode, in the source's thread.
    DeadLetters(DeadLetters),
    /// Computes.
    Stage(Vec<Step>),
    /// Hands rows to the thread that calls a UDF. The in-flight limits of the sources bound the channel.
    Call(mpsc::UnboundedSender<Rows>),
    /// Writes.
    Sink(Arc<dyn Sink>, SinkColumns),
}

/// The dataflow while it runs.
pub struct Flow {
    /// Its nodes, as in the graph.
    pub nodes: Vec<FlowNode>,
    /// Why it has stopped.
    pub failure: Arc<Failure>,
}

impl Flow {
    /// Passes rows to all outputs of a node.
    ///
    /// # Errors
    /// [`Stopped`] when the pipeline has failed; the reason is in [`Flow::failure`].
    pub fn emit(&self, from: NodeId, batch: RecordBatch, lineage: Lineage) -> Result<(), Stopped> {
        let outputs = &self.nodes[from].outputs;
        let Some((last, others)) = outputs.split_last() else {
            lineage.deliver();
            return Ok(());
        };
        if batch.num_rows() == 0 {
            lineage.deliver();
            return Ok(());
        }
        for output in others {
            self.push(*output, batch.clone(), lineage.clone())?;
        }
        self.push(*last, batch, lineage)
    }

    fn push(&self, to: NodeId, mut batch: RecordBatch, lineage: Lineage) -> Result<(), Stopped> {
        let node = &self.nodes[to];
        match &node.kind {
            FlowKind::Source | FlowKind::DeadLetters(_) => self.emit(to, batch, lineage),
            FlowKind::Stage(steps) => {
                for step in steps {
                    let Some(rows) = applied(step, &batch).map_err(|e| self.row_failed(node, &e))? else {
                        lineage.deliver();
                        return Ok(());
                    };
                    batch = rows;
                }
                self.emit(to, batch, lineage)
            }
            FlowKind::Call(queue) => queue.send((batch, lineage)).map_err(|_| Stopped),
            FlowKind::Sink(sink, columns) => {
                let batch = columns.take(&batch).map_err(|e| self.row_failed(node, &e))?;
                sink.write(batch, lineage).map_err(|e| self.sink_failed(node, e))
            }
        }
    }

    /// Passes the messages that a source cannot decode to its dead-letter table.
    ///
    /// # Errors
    /// As [`Flow::emit`].
    pub fn reject(&self, source: NodeId, messages: &[Rejected], lineage: Lineage) -> Result<(), Stopped> {
        let node = &self.nodes[source];
        if let Some(letters) = node.rejects
            && let FlowKind::DeadLetters(table) = &self.nodes[letters].kind
        {
            let rows = table.rows(messages).map_err(|e| self.row_failed(&self.nodes[letters], &e.into()))?;
            return self.emit(letters, rows, lineage);
        }
        // Sources reject messages only when their table names a dead-letter table.
        let lost = format!("`{}` has messages that cannot be read, and no table that takes them", node.label);
        self.failure.set(Diagnostic::new(Code::BAD_DATA, lost).at(node.span.clone()));
        Err(Stopped)
    }

    /// Stops the pipeline because rows cannot be computed, as Arroyo does.
    pub fn row_failed(&self, node: &FlowNode, error: &DataFusionError) -> Stopped {
        let text = error.strip_backtrace();
        let mut rest = text.as_str();
        for prefix in [
            "Execution error: ",
            "Arrow error: ",
            "External error: ",
            "Cast error: ",
            "Compute error: ",
            "Invalid argument error: ",
        ] {
            rest = rest.strip_prefix(prefix).unwrap_or(rest);
        }
        let reason = Diagnostic::new(
            Code::ROW_FAILED,
            format!("a row of `{}` cannot be computed: {}", node.label, in_sql_words(rest)),
        )
        .at(node.span.clone())
        .help(
            "catch such rows in SQL, with TRY_CAST, NULLIF or WHERE: the pipeline stops here, and will read them again after a restart",
        );
        self.failure.set(reason);
        Stopped
    }

    fn sink_failed(&self, node: &FlowNode, error: ConnectorError) -> Stopped {
        self.failure.set(Diagnostic::from(error).at(node.span.clone()));
        Stopped
    }
}

/// The result of a step on a batch. Some functions panic on values that are too large for them; that is an error of the
/// row, like others.
fn applied(step: &Step, batch: &RecordBatch) -> datafusion::common::Result<Option<RecordBatch>> {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| step.apply(batch)));
    result.unwrap_or_else(|_| {
        let reason = "a function failed on a value, which may be too large for it";
        Err(datafusion::common::DataFusionError::Execution(reason.into()))
    })
}

/// The columns of a sink, as rows come to have them.
pub struct SinkColumns {
    declared: SchemaRef,
    /// The last schema that came, and what it becomes: all batches of a node have the same schema.
    known: Mutex<Option<(SchemaRef, SchemaRef)>>,
}

impl SinkColumns {
    /// The columns that the sink's table declares.
    pub fn new(declared: SchemaRef) -> Self {
        Self { declared, known: Mutex::new(None) }
    }

    /// Renames a batch's columns to the sink's, by position. As on Arroyo, a text stays a text in a JSON column: it is
    /// written as a string.
    fn take(&self, batch: &RecordBatch) -> datafusion::common::Result<RecordBatch> {
        with_schema(&self.named(batch.schema_ref()), batch.columns().to_vec(), batch.num_rows())
    }

    fn named(&self, given: &SchemaRef) -> SchemaRef {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, to)) = &*known
            && Arc::ptr_eq(from, given)
        {
            return Arc::clone(to);
        }
        let fields =
            self.declared.fields().iter().zip(given.fields()).map(|(named, given)| {
                named.as_ref().clone().with_nullable(true).with_metadata(given.metadata().clone())
            });
        let named = Arc::new(Schema::new(fields.collect::<Fields>()));
        *known = Some((Arc::clone(given), Arc::clone(&named)));
        named
    }
}

/// Where a source's thread puts its rows.
pub struct SourceOutput {
    /// The dataflow.
    pub flow: Arc<Flow>,
    /// The source's node.
    pub node: NodeId,
}

impl Output for SourceOutput {
    fn push(&mut self, batch: RecordBatch, lineage: Lineage) -> Result<(), Stopped> {
        if self.flow.failure.get().is_some() {
            return Err(Stopped);
        }
        self.flow.emit(self.node, batch, lineage)
    }

    fn reject(&mut self, messages: Vec<Rejected>, lineage: Lineage) -> Result<(), Stopped> {
        if self.flow.failure.get().is_some() {
            return Err(Stopped);
        }
        self.flow.reject(self.node, &messages, lineage)
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use datafusion::arrow::datatypes::DataType;

    use super::*;
    use crate::connectors::testing::{column, table};
    use crate::delivery::{Ledger, OffsetRange};

    /// Takes rows and keeps what delivers them.
    #[derive(Default)]
    struct Holding(Mutex<Vec<Rows>>);

    #[async_trait]
    impl Sink for Holding {
        fn write(&self, batch: RecordBatch, lineage: Lineage) -> Result<(), ConnectorError> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push((batch, lineage));
            Ok(())
        }

        async fn flush(&self) -> Result<(), ConnectorError> {
            Ok(())
        }
    }

    fn message(offset: i64) -> Rejected {
        let (payload, error) = (b"x".to_vec(), "no".to_string());
        Rejected { payload, error, topic: "t".into(), partition: Some(0), offset, timestamp: None }
    }

    #[test]
    fn an_offset_waits_for_its_dead_letter() {
        let target = table(vec![column("payload", DataType::Utf8), column("error", DataType::Utf8)], &[]);
        let letters = DeadLetters::new(&target, &target.span, "p").unwrap();
        let sink = Arc::new(Holding::default());
        let node = |kind, outputs: &[NodeId], rejects| FlowNode {
            kind,
            outputs: outputs.to_vec(),
            rejects,
            label: "t".into(),
            span: target.span.clone(),
        };
        let nodes = vec![
            node(FlowKind::Source, &[], Some(1)),
            node(FlowKind::DeadLetters(letters), &[2], None),
            node(FlowKind::Sink(Arc::clone(&sink) as Arc<dyn Sink>, SinkColumns::new(target.data_schema())), &[], None),
        ];
        let flow = Flow { nodes, failure: Arc::new(Failure::default()) };
        let ledger = Ledger::new();
        ledger.tracker().assign(0);
        // The rows of the batch are delivered at once; its dead letters are not.
        let lineage = ledger.begin(vec![OffsetRange { partition: 0, first: 0, last: 9 }], 10, 100);
        lineage.clone().deliver();
        flow.reject(0, &[message(3), message(7)], lineage).unwrap();
        assert_eq!(ledger.tracker().committable(), vec![]);
        let (batch, lineage) = sink.0.lock().unwrap().pop().unwrap();
        assert_eq!(batch.num_rows(), 2);
        lineage.deliver();
        assert_eq!(ledger.tracker().committable(), vec![(0, 10)]);
        // A lineage that is lost on its way blocks the commit for good.
        let lineage = ledger.begin(vec![OffsetRange { partition: 0, first: 10, last: 10 }], 1, 1);
        flow.reject(0, &[message(10)], lineage).unwrap();
        drop(sink.0.lock().unwrap().pop());
        assert_eq!(ledger.tracker().committable(), vec![]);
    }
}
