//! A source of a table that a test runs by hand: it takes the rows and says which are delivered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use baton::config::Environment;
use baton::connectors::dead_letters::Rejected;
use baton::connectors::kafka::Kafka;
use baton::connectors::{Connector, ConnectorError, InFlightLimits, OpenContext, Output, Sink, StopFlag, Stopped};
use baton::delivery::{Ledger, Lineage};
use baton::diag::SourceText;
use baton::sql::definition::{Definition, read};
use baton::sql::statement::parse;
use baton::sql::table::TableDef;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Int32Type, Int64Type};

/// The columns of every source here.
const COLUMNS: &str = "value BYTEA, p INT METADATA FROM 'partition', o BIGINT METADATA FROM 'offset_id', \
                       topic TEXT METADATA FROM 'topic', ts BIGINT METADATA FROM 'timestamp', k BYTEA METADATA FROM 'key'";

/// A table `t` over Kafka.
pub fn table(columns: &str, options: &str) -> TableDef {
    let source = SourceText::new("t.sql", format!("CREATE TABLE t ({columns}) WITH (connector = 'kafka', {options});"));
    let statements = parse(&source).unwrap_or_else(|errors| panic!("{errors:?}"));
    let script = read(&source, statements).unwrap_or_else(|errors| panic!("{errors:?}"));
    match &script.definitions[0] {
        Definition::Table(table) => table.clone(),
        other => panic!("{other:?} is no table"),
    }
}

/// A table that reads a topic raw, from its beginning unless `options` say otherwise.
pub fn source_table(servers: &str, topic: &str, options: &str) -> TableDef {
    let offset = if options.contains("source.offset") { "" } else { "'source.offset' = 'earliest'," };
    let options = format!(
        "type = 'source', bootstrap_servers = '{servers}', topic = '{topic}', format = 'raw_bytes', {offset} {options}"
    );
    table(COLUMNS, options.trim_end_matches([' ', ',']))
}

/// A table that writes a topic raw.
pub fn sink_table(servers: &str, topic: &str, options: &str) -> TableDef {
    let options = format!("type = 'sink', bootstrap_servers = '{servers}', topic = '{topic}', {options}");
    table("id TEXT, body TEXT", options.trim_end_matches([' ', ',']))
}

/// What connectors are opened with, as tests want it.
pub fn context(pipeline: &str) -> OpenContext {
    OpenContext {
        pipeline: pipeline.into(),
        stop: StopFlag::default(),
        ledger: Ledger::new(),
        limits: InFlightLimits { rows: 100_000, resume_rows: 50_000, bytes: 1 << 30 },
        create_topics: false,
        drain_timeout: Duration::from_secs(20),
        failure: Arc::new(|error| panic!("delivery failed: {error}")),
    }
}

/// Runs a future to its end.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(future)
}

/// Opens a sink.
pub fn open_sink(table: &TableDef, context: &OpenContext) -> Result<Arc<dyn Sink>, ConnectorError> {
    let spec = Kafka.sink(table, &Environment::only([])).unwrap_or_else(|errors| panic!("{errors:?}"));
    wait(spec.open(context))
}

/// A row that came out of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub partition: i32,
    pub offset: i64,
    pub topic: String,
    pub timestamp: Option<i64>,
    pub key: Option<String>,
    pub value: Vec<u8>,
}

impl Row {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }
}

/// A running source.
pub struct Running {
    pub context: OpenContext,
    batches: Receiver<(RecordBatch, Lineage)>,
    thread: Option<JoinHandle<Result<(), ConnectorError>>>,
}

struct Channel(Sender<(RecordBatch, Lineage)>);

impl Output for Channel {
    fn push(&mut self, batch: RecordBatch, lineage: Lineage) -> Result<(), Stopped> {
        self.0.send((batch, lineage)).map_err(|_| Stopped)
    }

    fn reject(&mut self, messages: Vec<Rejected>, _: Lineage) -> Result<(), Stopped> {
        panic!("no table here names another for what it cannot read: {messages:?}")
    }
}

impl Running {
    /// Opens a source and lets it run.
    pub fn start(table: &TableDef, context: OpenContext) -> Result<Self, ConnectorError> {
        let spec = Kafka.source(table, &Environment::only([])).unwrap_or_else(|errors| panic!("{errors:?}"));
        let source = wait(spec.open(&context))?;
        let (sender, batches) = channel();
        let thread = std::thread::spawn(move || source.run(&mut Channel(sender)));
        Ok(Self { context, batches, thread: Some(thread) })
    }

    /// The next batch, if one comes in time.
    pub fn batch(&self, timeout: Duration) -> Option<(Vec<Row>, Lineage)> {
        self.batches.recv_timeout(timeout).ok().map(|(batch, lineage)| (rows(&batch), lineage))
    }

    /// Takes at least so many rows, and gives them with what delivers them; fails after a minute.
    pub fn take(&self, count: usize) -> (Vec<Row>, Vec<Lineage>) {
        let deadline = Instant::now() + Duration::from_mins(1);
        let (mut taken, mut lineages) = (Vec::new(), Vec::new());
        while taken.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} rows came", taken.len());
            if let Some((rows, lineage)) = self.batch(Duration::from_millis(200)) {
                taken.extend(rows);
                lineages.push(lineage);
            }
        }
        (taken, lineages)
    }

    /// Takes at least so many rows and delivers each batch as it comes; fails after a minute.
    pub fn deliver(&self, count: usize) -> Vec<Row> {
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut taken = Vec::new();
        while taken.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} rows came", taken.len());
            if let Some((rows, lineage)) = self.batch(Duration::from_millis(200)) {
                taken.extend(rows);
                lineage.deliver();
            }
        }
        taken
    }

    /// Says that nothing comes for a while.
    pub fn is_quiet(&self, how_long: Duration) -> bool {
        self.batch(how_long).is_none()
    }

    /// Asks it to stop, delivers what it still gives out, and waits for its end.
    pub fn stop(mut self) -> Result<Vec<Row>, ConnectorError> {
        self.context.stop.set();
        let thread = self.thread.take().unwrap();
        let mut last = Vec::new();
        while !thread.is_finished() {
            if let Some((rows, lineage)) = self.batch(Duration::from_millis(20)) {
                last.extend(rows);
                lineage.deliver();
            }
        }
        thread.join().unwrap().map(|()| last)
    }

    /// Waits for its end.
    pub fn end(mut self) -> Result<(), ConnectorError> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.context.stop.set();
    }
}

fn rows(batch: &RecordBatch) -> Vec<Row> {
    let column = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("column {name}"));
    let (values, keys) = (column("value").as_binary::<i32>(), column("k").as_binary::<i32>());
    let (partitions, offsets) = (column("p").as_primitive::<Int32Type>(), column("o").as_primitive::<Int64Type>());
    let (topics, timestamps) = (column("topic").as_string::<i32>(), column("ts").as_primitive::<Int64Type>());
    let row = |i: usize| Row {
        partition: partitions.value(i),
        offset: offsets.value(i),
        topic: topics.value(i).into(),
        timestamp: timestamps.is_valid(i).then(|| timestamps.value(i)),
        key: keys.is_valid(i).then(|| String::from_utf8_lossy(keys.value(i)).into_owned()),
        value: values.value(i).to_vec(),
    };
    (0..batch.num_rows()).map(row).collect()
}

/// How often each value came.
pub fn counts(rows: &[Row]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row.text()).or_default() += 1;
    }
    counts
}
