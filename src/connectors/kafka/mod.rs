//! The `kafka` connector: a topic as a source or a sink, at least once.
//!
//! - `options` lists what can be set, `config` reads it (no I/O), `client` has what all clients share: logs, reasons,
//!   secrets.
//! - `admin` reaches the broker, finds or creates the topic, and commits where a group begins.
//! - `group` handles rebalances; `source` reads and pauses; `committer` commits; `batch` turns messages into rows.
//! - `producer` is shared by the sinks of a pipeline; `sink` writes rows and counts acknowledgements.
//!
//! **Invariants**
//! - An offset is committed only when the [`Ledger`](crate::delivery::Ledger) hands it out.
//! - Where a group begins is committed before its first message is read, so no restart and no rebalance can begin
//!   elsewhere.
//! - Rows of a revoked partition are not passed on.

mod admin;
mod batch;
mod client;
mod committer;
mod config;
mod group;
mod options;
mod producer;
mod sink;
mod source;

use datafusion::arrow::datatypes::DataType;

use super::{Connector, SinkSpec, SourceSpec};
use crate::config::Environment;
use crate::diag::Diagnostic;
use crate::formats::Direction;
use crate::sql::options::OptionDoc;
use crate::sql::table::TableDef;

/// `connector = 'kafka'`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kafka;

impl Connector for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn description(&self) -> &'static str {
        "Reads and writes a topic of Apache Kafka, or of anything that speaks its protocol."
    }

    fn options(&self) -> &'static [OptionDoc] {
        options::OPTIONS
    }

    fn for_arroyo(&self, direction: Direction) -> &'static [(&'static str, &'static str)] {
        match direction {
            // Arroyo would read the messages of aborted transactions.
            Direction::Source => &[("type", "source"), ("source.read_mode", "read_committed")],
            Direction::Sink => &[("type", "sink")],
        }
    }

    fn metadata(&self) -> &'static [(&'static str, DataType)] {
        options::METADATA
    }

    fn source(&self, table: &TableDef, environment: &Environment) -> Result<Box<dyn SourceSpec>, Vec<Diagnostic>> {
        Ok(Box::new(source::KafkaSourceSpec::new(config::SourceConfig::read(table, environment)?)))
    }

    fn sink(&self, table: &TableDef, environment: &Environment) -> Result<Box<dyn SinkSpec>, Vec<Diagnostic>> {
        Ok(Box::new(sink::KafkaSinkSpec::new(config::SinkConfig::read(table, environment)?)))
    }
}

#[cfg(test)]
mod tests;
