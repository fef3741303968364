//! `connector = 'stdout'`: rows go to the standard output of the process, one a line.

use std::io::{self, Write};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use super::{Connector, ConnectorError, OpenContext, Sink, SinkSpec, SourceSpec, only_a_sink};
use crate::config::Environment;
use crate::delivery::Lineage;
use crate::diag::{Code, Diagnostic};
use crate::formats::{Direction, Encoder, FORMAT_OPTIONS, Format};
use crate::sql::option_reader::OptionReader;
use crate::sql::options::OptionDoc;
use crate::sql::table::TableDef;

/// The connector.
pub struct Stdout;

impl Connector for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn description(&self) -> &'static str {
        "The standard output of the process, one row a line; only a sink."
    }

    fn options(&self) -> &'static [OptionDoc] {
        &[]
    }

    fn source(&self, table: &TableDef, _: &Environment) -> Result<Box<dyn SourceSpec>, Vec<Diagnostic>> {
        Err(vec![only_a_sink(table, self.name())])
    }

    fn sink(&self, table: &TableDef, environment: &Environment) -> Result<Box<dyn SinkSpec>, Vec<Diagnostic>> {
        let mut options = OptionReader::new(table, environment, FORMAT_OPTIONS);
        let format = Format::read(&mut options, Direction::Sink);
        options.finish()?;
        let Some(format) = format else { return Err(Vec::new()) };
        Ok(Box::new(StdoutSpec { table: table.clone(), format }))
    }
}

struct StdoutSpec {
    table: TableDef,
    format: Format,
}

#[async_trait]
impl SinkSpec for StdoutSpec {
    fn describe(&self) -> String {
        "stdout".into()
    }

    fn schema(&self) -> SchemaRef {
        self.table.data_schema()
    }

    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Sink>, ConnectorError> {
        let encoder = Encoder::new(&self.format, self.table.data_schema());
        Ok(Arc::new(LineSink { table: self.table.name.clone(), encoder, lines: io::stdout }))
    }
}

/// Writes lines to what `lines` returns: the process's stdout, locked while a batch is written.
struct LineSink<F> {
    table: String,
    encoder: Encoder,
    lines: F,
}

#[async_trait]
impl<W: Write, F: Fn() -> W + Send + Sync> Sink for LineSink<F> {
    fn write(&self, batch: RecordBatch, lineage: Lineage) -> Result<(), ConnectorError> {
        let failed = |reason: String| {
            ConnectorError::new(Code::SINK_FAILED, format!("table `{}` cannot write to stdout: {reason}", self.table))
        };
        let lines = self.encoder.encode(&batch).map_err(|error| failed(error.message))?.lines();
        let mut output = (self.lines)();
        output.write_all(&lines).and_then(|()| output.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => failed("it was closed by the program that reads it".into()),
            _ => failed(error.to_string()),
        })?;
        lineage.deliver();
        Ok(())
    }

    async fn flush(&self) -> Result<(), ConnectorError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::datatypes::DataType;

    use super::*;
    use crate::connectors::blackhole::Blackhole;
    use crate::connectors::testing::{column, context, table};

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>, bool);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.1 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn row(table: &TableDef) -> RecordBatch {
        RecordBatch::try_new(table.data_schema(), vec![Arc::new(StringArray::from(vec![Some("ü"), None]))]).unwrap()
    }

    fn sink_to(table: &TableDef, screen: Screen) -> impl Sink {
        let environment = Environment::only([]);
        let mut options = OptionReader::new(table, &environment, FORMAT_OPTIONS);
        let format = Format::read(&mut options, Direction::Sink).unwrap();
        LineSink {
            table: "t".into(),
            encoder: Encoder::new(&format, table.data_schema()),
            lines: move || screen.clone(),
        }
    }

    #[test]
    fn rows_are_lines_and_a_closed_output_is_an_error() {
        let names = table(vec![column("name", DataType::Utf8)], &[("format", "json")]);
        let (context, _) = context();
        let screen = Screen::default();
        let lineage = context.ledger.begin(Vec::new(), 2, 2);
        sink_to(&names, screen.clone()).write(row(&names), lineage).unwrap();
        assert_eq!(*screen.0.lock().unwrap(), "{\"name\":\"ü\"}\n{\"name\":null}\n".as_bytes());
        assert_eq!(context.ledger.tracker().rows_in_flight(), 0);

        let closed = Screen(Arc::default(), true);
        let error = sink_to(&names, closed).write(row(&names), Lineage::none()).unwrap_err();
        assert_eq!(error.code, Code::SINK_FAILED);
        assert_eq!(error.message, "table `t` cannot write to stdout: it was closed by the program that reads it");
    }

    #[tokio::test]
    async fn sinks_alone_are_not_read_and_need_what_they_need() {
        let environment = Environment::only([]);
        let names = |options: &[(&str, &str)]| table(vec![column("name", DataType::Utf8)], options);
        for connector in [&Stdout as &dyn Connector, &Blackhole] {
            let error = connector.source(&names(&[("format", "json")]), &environment).err().unwrap().remove(0);
            assert_eq!(error.code, Code::TABLE_DIRECTION);
            let message = format!("table `t` cannot be read: `{}` can only be written", connector.name());
            assert_eq!(error.message, message);
            assert!(connector.sink(&names(&[("format", "json")]), &environment).is_ok());
            assert!(connector.sink(&names(&[("format", "jsn")]), &environment).is_err());
        }
        assert!(Stdout.sink(&names(&[]), &environment).is_err(), "a format is needed");
        let spec = Blackhole.sink(&names(&[]), &environment).unwrap();
        let (context, _) = context();
        let sink = spec.open(&context).await.unwrap();
        sink.write(row(&names(&[])), context.ledger.begin(Vec::new(), 2, 2)).unwrap();
        sink.flush().await.unwrap();
        assert_eq!(context.ledger.tracker().rows_in_flight(), 0);
    }
}
