//! Where rows come from and where they go. Each connector is a folder or file behind the three traits here.
//!
//! A [`Connector`] reads a table's options (no I/O, all errors at once) into a spec; a spec is opened (I/O) into a
//! running [`Source`] or [`Sink`]. What happens between them belongs to `engine`.

pub mod bad_data;
pub mod blackhole;
pub mod dead_letters;
pub mod kafka;
pub mod registry;
pub mod single_file;
pub mod stdout;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};

use crate::config::Environment;
use crate::delivery::{Ledger, Lineage};
use crate::diag::{Code, Diagnostic};
use crate::formats::Direction;
use crate::sql::options::OptionDoc;
use crate::sql::table::TableDef;
use dead_letters::Rejected;

/// A kind of table: `connector = 'kafka'`.
pub trait Connector: Send + Sync {
    /// Its name in SQL.
    fn name(&self) -> &'static str;
    /// One sentence for the docs.
    fn description(&self) -> &'static str;
    /// Its options, without those of formats.
    fn options(&self) -> &'static [OptionDoc];
    /// Options that Arroyo requires, or whose default differs there, with their values here. They are added when a
    /// table leaves them out.
    fn for_arroyo(&self, _direction: Direction) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    /// The metadata columns of a source, each with its type.
    fn metadata(&self) -> &'static [(&'static str, DataType)] {
        &[]
    }
    /// Reads a table as a source.
    ///
    /// # Errors
    /// All errors in its options and columns.
    fn source(&self, table: &TableDef, environment: &Environment) -> Result<Box<dyn SourceSpec>, Vec<Diagnostic>>;
    /// Reads a table as a sink.
    ///
    /// # Errors
    /// All errors in its options and columns.
    fn sink(&self, table: &TableDef, environment: &Environment) -> Result<Box<dyn SinkSpec>, Vec<Diagnostic>>;
}

/// A source with valid options.
#[async_trait]
pub trait SourceSpec: Send + Sync {
    /// The place that is read, for logs and `plan`: `topic agent_messages`. It contains no secrets.
    fn describe(&self) -> String;
    /// Whether it ends by itself.
    fn is_bounded(&self) -> bool;
    /// Connects.
    ///
    /// # Errors
    /// When the place does not exist or cannot be reached.
    async fn open(&self, context: &OpenContext) -> Result<Box<dyn Source>, ConnectorError>;
}

/// A running source. Batches have the table's data and metadata columns, in the table's order. Generated columns are
/// left out; the engine adds them.
pub trait Source: Send {
    /// Reads on a thread of its own until the input ends, a stop is requested or an error occurs. It returns after its
    /// rows are delivered and committed.
    ///
    /// # Errors
    /// What stopped it early.
    fn run(self: Box<Self>, output: &mut dyn Output) -> Result<(), ConnectorError>;
}

/// Where a source puts its rows: the rest of the dataflow.
pub trait Output {
    /// Passes a batch on, without waiting for what is slow. A source limits itself by what its [`Ledger`] has in
    /// flight.
    ///
    /// # Errors
    /// [`Stopped`] when the pipeline has failed elsewhere: the source must stop.
    fn push(&mut self, batch: RecordBatch, lineage: Lineage) -> Result<(), Stopped>;
    /// Passes on messages that cannot be decoded, for the dead-letter table. As for rows, the lineage is delivered when
    /// they are.
    ///
    /// # Errors
    /// As [`Output::push`].
    fn reject(&mut self, messages: Vec<Rejected>, lineage: Lineage) -> Result<(), Stopped>;
}

/// The error when a table is read whose connector has no sources.
fn only_a_sink(table: &TableDef, connector: &str) -> Diagnostic {
    Diagnostic::new(
        Code::TABLE_DIRECTION,
        format!("table `{}` cannot be read: `{connector}` can only be written", table.name),
    )
    .at(table.span.clone())
    .help("read from another table, or give this one another connector")
}

/// The dataflow behind an output has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline has stopped")]
pub struct Stopped;

/// A sink with valid options.
#[async_trait]
pub trait SinkSpec: Send + Sync {
    /// The place that is written, for logs and `plan`. It contains no secrets.
    fn describe(&self) -> String;
    /// The columns that a row must have, in order.
    fn schema(&self) -> SchemaRef;
    /// Connects.
    ///
    /// # Errors
    /// When the place does not exist or cannot be reached.
    async fn open(&self, context: &OpenContext) -> Result<Arc<dyn Sink>, ConnectorError>;
}

/// A running sink.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Takes a batch with exactly the columns of [`SinkSpec::schema`] and delivers it in order. It calls
    /// [`Lineage::deliver`] when every row is acknowledged, which may be after it returns.
    ///
    /// # Errors
    /// What makes delivery impossible for good. Failures that show later go to [`OpenContext::failure`].
    fn write(&self, batch: RecordBatch, lineage: Lineage) -> Result<(), ConnectorError>;
    /// Waits until everything taken so far is delivered.
    ///
    /// # Errors
    /// What could not be delivered.
    async fn flush(&self) -> Result<(), ConnectorError>;
}

/// What a spec gets when it is opened.
#[derive(Clone)]
pub struct OpenContext {
    /// The pipeline's name: consumer groups and client ids are made from it.
    pub pipeline: String,
    /// Set when the source should stop reading.
    pub stop: StopFlag,
    /// Where the source opens and commits its batches; one for each source. Sinks do not use it.
    pub ledger: Arc<Ledger>,
    /// How much a source may have in flight before it stops reading.
    pub limits: InFlightLimits,
    /// Create topics that are missing.
    pub create_topics: bool,
    /// How long to drain at a stop.
    pub drain_timeout: std::time::Duration,
    /// Reports to the engine that delivery has failed for good; the first reason wins.
    pub failure: Arc<dyn Fn(ConnectorError) + Send + Sync>,
}

/// How much of a source may be in flight.
#[derive(Debug, Clone, Copy)]
pub struct InFlightLimits {
    /// Rows.
    pub rows: usize,
    /// A source that has stopped at the limit resumes at this many rows: near enough to the limit that nothing behind
    /// it runs dry, and far enough below it that batches are worth their overhead.
    pub resume_rows: usize,
    /// Bytes of payload.
    pub bytes: usize,
}

/// A request to stop, seen by threads and tasks alike.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Requests the stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether a stop was requested.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Why a connector cannot continue: a code, a message in the user's words, and an edit if there is one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ConnectorError {
    /// The kind of error.
    pub code: Code,
    /// What is wrong; it names the table, and never a secret.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl ConnectorError {
    /// An error without help.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None }
    }

    /// The same, with the edit to make.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<ConnectorError> for Diagnostic {
    fn from(error: ConnectorError) -> Self {
        let diagnostic = Self::new(error.code, error.message);
        match error.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }
}
