//! `connector = 'blackhole'`: discards rows and counts them as delivered.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use super::{Connector, ConnectorError, OpenContext, Sink, SinkSpec, SourceSpec, only_a_sink};
use crate::config::Environment;
use crate::delivery::Lineage;
use crate::diag::Diagnostic;
use crate::formats::{Direction, FORMAT_OPTIONS, Format};
use crate::sql::option_reader::OptionReader;
use crate::sql::options::OptionDoc;
use crate::sql::table::TableDef;

/// The connector.
pub struct Blackhole;

impl Connector for Blackhole {
    fn name(&self) -> &'static str {
        "blackhole"
    }

    fn description(&self) -> &'static str {
        "Discards every row; only a sink."
    }

    fn options(&self) -> &'static [OptionDoc] {
        &[]
    }

    fn source(&self, table: &TableDef, _: &Environment) -> Result<Box<dyn SourceSpec>, Vec<Diagnostic>> {
        Err(vec![only_a_sink(table, self.name())])
    }

    fn sink(&self, table: &TableDef, environment: &Environment) -> Result<Box<dyn SinkSpec>, Vec<Diagnostic>> {
        let mut options = OptionReader::new(table, environment, FORMAT_OPTIONS);
        // Nothing is written, so the format may be left out. If there is one, it must be valid.
        if table.option("format").is_some() {
            Format::read(&mut options, Direction::Sink);
        }
        options.finish()?;
        Ok(Box::new(BlackholeSpec(table.data_schema())))
    }
}

struct BlackholeSpec(SchemaRef);

#[async_trait]
impl SinkSpec for BlackholeSpec {
    fn describe(&self) -> String {
        "blackhole".into()
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Sink>, ConnectorError> {
        Ok(Arc::new(BlackholeSink))
    }
}

struct BlackholeSink;

#[async_trait]
impl Sink for BlackholeSink {
    fn write(&self, _: RecordBatch, lineage: Lineage) -> Result<(), ConnectorError> {
        lineage.deliver();
        Ok(())
    }

    async fn flush(&self) -> Result<(), ConnectorError> {
        Ok(())
    }
}
