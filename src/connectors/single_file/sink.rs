//! Writes rows as lines of a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use super::Spec;
use crate::connectors::{ConnectorError, OpenContext, Sink, SinkSpec};
use crate::delivery::Lineage;
use crate::diag::Code;
use crate::formats::Encoder;

#[async_trait]
impl SinkSpec for Spec {
    fn describe(&self) -> String {
        Spec::describe(self)
    }

    fn schema(&self) -> SchemaRef {
        self.table.data_schema()
    }

    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Sink>, ConnectorError> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let created = folder.map_or(Ok(()), std::fs::create_dir_all);
        let file = created
            .and_then(|()| open_empty(&self.path))
            .map_err(|error| self.failed(Code::SINK_FAILED, "write", &error))?;
        Ok(Arc::new(FileSink {
            table: self.table.name.clone(),
            path: self.path.clone(),
            encoder: Encoder::new(&self.format, self.table.data_schema()),
            file: Mutex::new(file),
        }))
    }
}

/// Empties the file, then opens it for appending: the lines of two sinks over one file may alternate, but never mix.
fn open_empty(path: &Path) -> io::Result<File> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    OpenOptions::new().append(true).open(path)
}

struct FileSink {
    table: String,
    path: PathBuf,
    encoder: Encoder,
    file: Mutex<File>,
}

#[async_trait]
impl Sink for FileSink {
    /// A batch is one write to the system. Nothing is buffered, so whoever follows the file sees its rows at once.
    fn write(&self, batch: RecordBatch, lineage: Lineage) -> Result<(), ConnectorError> {
        let failed = |reason: String| {
            let (table, path) = (&self.table, self.path.display());
            ConnectorError::new(Code::SINK_FAILED, format!("table `{table}` cannot write to `{path}`: {reason}"))
        };
        let lines = self.encoder.encode(&batch).map_err(|error| failed(error.message))?.lines();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&lines).map_err(|error| failed(error.to_string()))?;
        lineage.deliver();
        Ok(())
    }

    async fn flush(&self) -> Result<(), ConnectorError> {
        Ok(())
    }
}
