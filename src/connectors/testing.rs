//! What the tests of connectors and formats share: tables made by hand, and an engine that only collects.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;

use super::dead_letters::Rejected;
use super::{ConnectorError, InFlightLimits, OpenContext, Output, StopFlag, Stopped};
use crate::delivery::{Ledger, Lineage};
use crate::diag::{SourceText, Span};
use crate::sql::table::{ColumnDef, ColumnKind, OptionEntry, TableDef};

fn span() -> Span {
    Span::new(&SourceText::new("t.sql", "t"), 0..1)
}

/// The table `t`.
pub fn table(columns: Vec<ColumnDef>, options: &[(&str, &str)]) -> TableDef {
    let entry = |(key, value): &(&str, &str)| OptionEntry {
        key: (*key).into(),
        key_span: span(),
        value: (*value).into(),
        quoted: true,
        value_span: span(),
    };
    let options = options.iter().map(entry).collect();
    TableDef { name: "t".into(), span: span(), statement: span(), columns, options, agent_topics: Vec::new() }
}

/// A column that may be NULL.
pub fn column(name: &str, data_type: DataType) -> ColumnDef {
    ColumnDef { name: name.into(), span: span(), data_type, json: false, nullable: true, kind: ColumnKind::Data }
}

/// A `JSON` column.
pub fn json_column(name: &str) -> ColumnDef {
    ColumnDef { json: true, ..column(name, DataType::Utf8) }
}

/// A context with a ledger of its own, and what was reported as failed.
pub fn context() -> (OpenContext, Arc<Mutex<Vec<ConnectorError>>>) {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let report = Arc::clone(&failures);
    let context = OpenContext {
        pipeline: "test".into(),
        stop: StopFlag::default(),
        ledger: Ledger::new(),
        limits: InFlightLimits { rows: 1_000, resume_rows: 500, bytes: 1 << 20 },
        create_topics: false,
        drain_timeout: Duration::from_secs(10),
        failure: Arc::new(move |error| report.lock().unwrap().push(error)),
    };
    (context, failures)
}

/// A batch, and its lineage when that is kept.
pub type Batch = (RecordBatch, Option<Lineage>);

/// Keeps batches and, with `hold`, their lineage; else it delivers at once.
#[derive(Clone, Default)]
pub struct Collected {
    /// What was pushed and not taken.
    pub batches: Arc<Mutex<Vec<Batch>>>,
    /// What could not be read; its lineage is delivered.
    pub rejected: Arc<Mutex<Vec<Rejected>>>,
    /// Keep the lineage, so that rows stay in flight.
    pub hold: bool,
}

impl Output for Collected {
    fn push(&mut self, batch: RecordBatch, lineage: Lineage) -> Result<(), Stopped> {
        let held = if self.hold {
            Some(lineage)
        } else {
            lineage.deliver();
            None
        };
        self.batches.lock().unwrap().push((batch, held));
        Ok(())
    }

    fn reject(&mut self, messages: Vec<Rejected>, lineage: Lineage) -> Result<(), Stopped> {
        self.rejected.lock().unwrap().extend(messages);
        lineage.deliver();
        Ok(())
    }
}

impl Collected {
    /// How many rows are there.
    pub fn rows(&self) -> usize {
        self.batches.lock().unwrap().iter().map(|(batch, _)| batch.num_rows()).sum()
    }
}

/// Waits until something holds; panics when it does not within ten seconds.
pub fn eventually(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
