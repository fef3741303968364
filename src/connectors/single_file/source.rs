//! Reads a file line by line. What a line may be is for `formats`; a pipe is read by [`Pipe`].

use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;

use super::pipe::Pipe;
use super::{CHUNK, LOOK_UP, Spec};
use crate::connectors::bad_data::BadMessages;
use crate::connectors::dead_letters::Rejected;
use crate::connectors::{ConnectorError, InFlightLimits, OpenContext, Output, Source, SourceSpec, StopFlag, Stopped};
use crate::delivery::Ledger;
use crate::diag::Code;
use crate::formats::{Decoder, Framing, OnBadData};

/// Rows in one micro-batch, at most.
pub(super) const BATCH_ROWS: usize = 512;
/// Bytes after which a micro-batch is full, whatever its rows.
const BATCH_BYTES: usize = 1 << 20;
/// The longest line that is read.
const MAX_LINE: u64 = 256 << 20;

#[async_trait]
impl SourceSpec for Spec {
    fn describe(&self) -> String {
        Spec::describe(self)
    }

    fn is_bounded(&self) -> bool {
        true
    }

    async fn open(&self, context: &OpenContext) -> Result<Box<dyn Source>, ConnectorError> {
        let failed = |error: &io::Error| self.failed(Code::SOURCE_FAILED, "read", error);
        let file = tokio::fs::File::open(&self.path).await.map_err(|e| failed(&e))?;
        let kind = file.metadata().await.map_err(|e| failed(&e))?.file_type();
        if kind.is_dir() {
            return Err(failed(&io::ErrorKind::IsADirectory.into()));
        }
        let file = file.into_std().await;
        let input: Box<dyn Read + Send> =
            if kind.is_file() { Box::new(file) } else { Box::new(Pipe::new(file, context.stop.clone())) };
        Ok(Box::new(FileSource {
            table: self.table.name.clone(),
            path: self.path.clone(),
            schema: self.table.data_schema(),
            decoder: Decoder::new(&self.format, &self.table),
            framing: self.format.framing(),
            bad: BadMessages::new(&self.format, &self.table.name),
            input: BufReader::with_capacity(CHUNK, input),
            line: 0,
            pending: Pending::default(),
            ledger: Arc::clone(&context.ledger),
            limits: context.limits,
            stop: context.stop.clone(),
            drain_timeout: context.drain_timeout,
        }))
    }
}

struct FileSource {
    table: String,
    path: PathBuf,
    schema: SchemaRef,
    decoder: Decoder,
    framing: Framing,
    bad: BadMessages,
    input: BufReader<Box<dyn Read + Send>>,
    line: u64,
    pending: Pending,
    ledger: Arc<Ledger>,
    limits: InFlightLimits,
    stop: StopFlag,
    drain_timeout: Duration,
}

/// What was read and is not passed on.
#[derive(Default)]
struct Pending {
    /// Rows in the decoder.
    rows: usize,
    rejected: Vec<Rejected>,
    bytes: usize,
}

impl Source for FileSource {
    fn run(mut self: Box<Self>, output: &mut dyn Output) -> Result<(), ConnectorError> {
        let read = self.read(output);
        // Rows before a bad line are good.
        let pushed = self.push(output);
        self.drain();
        self.bad.report(true);
        match (read, pushed) {
            (Err(End::Failed(error)), _) | (_, Err(End::Failed(error))) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Why reading stopped before the end of the file.
enum End {
    /// The dataflow has stopped, and knows why.
    Stopped,
    Failed(ConnectorError),
}

impl End {
    fn failed(message: String) -> Self {
        Self::Failed(ConnectorError::new(Code::SOURCE_FAILED, message))
    }
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl FileSource {
    fn read(&mut self, output: &mut dyn Output) -> Result<(), End> {
        let mut line = Vec::new();
        while !self.stop.is_set() && self.next_line(&mut line)? {
            for (frame, whole) in self.framing.frames(&line) {
                match self.decoder.push(frame) {
                    Ok(had_row) => self.pending.rows += usize::from(had_row),
                    Err(bad) => self.cannot_read(whole, bad.message)?,
                }
            }
            self.pending.bytes += line.len();
            let full =
                self.pending.rows + self.pending.rejected.len() >= BATCH_ROWS || self.pending.bytes >= BATCH_BYTES;
            // A complete row never waits for a later one: it is passed on before more is read.
            if full || !self.input.buffer().contains(&b'\n') {
                self.push(output)?;
            }
        }
        Ok(())
    }

    /// Reads a line without its end (`\n` or `\r\n`). Returns `false` at the end of the file.
    fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, End> {
        line.clear();
        let read = (&mut self.input).take(MAX_LINE).read_until(b'\n', line).map_err(|error| {
            let (table, path) = (&self.table, self.path.display());
            End::failed(format!("table `{table}` cannot read `{path}` after line {}: {error}", self.line))
        })?;
        if self.stop.is_set() && line.last() != Some(&b'\n') {
            // The rest of the line may still arrive.
            return Ok(false);
        }
        self.line += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        } else if read as u64 == MAX_LINE {
            let (table, path) = (&self.table, self.path.display());
            let message =
                format!("table `{table}`: line {} of `{path}` is longer than {} MB", self.line, MAX_LINE >> 20);
            return Err(End::failed(message));
        }
        Ok(read > 0)
    }

    fn cannot_read(&mut self, line: &[u8], error: String) -> Result<(), End> {
        if self.bad.rule() == OnBadData::Fail {
            return Err(self.bad_data(&error));
        }
        self.bad.count(format_args!("line {}", self.line), &error);
        self.bad.report(false);
        if self.bad.rule() == OnBadData::DeadLetter {
            self.pending.rejected.push(Rejected {
                payload: line.to_vec(),
                error,
                topic: self.path.display().to_string(),
                partition: None,
                offset: i64::try_from(self.line).unwrap_or(i64::MAX),
                timestamp: None,
            });
        }
        Ok(())
    }

    fn bad_data(&self, reason: &str) -> End {
        let (table, path, line) = (&self.table, self.path.display(), self.line);
        let error = ConnectorError::new(Code::BAD_DATA, format!("table `{table}`: line {line} of `{path}`: {reason}"));
        End::Failed(error.help(
            "correct the line, skip such lines with `bad_data = 'drop'`, or keep them with `'baton.dead_letters' = '…'`",
        ))
    }

    /// Passes on pending rows, once they are within the in-flight limit.
    fn push(&mut self, output: &mut dyn Output) -> Result<(), End> {
        let Pending { rows, rejected, bytes } = std::mem::take(&mut self.pending);
        if rows + rejected.len() == 0 {
            return Ok(());
        }
        let columns = self.decoder.finish().map_err(|bad| self.bad_data(&bad.message))?;
        let batch = self.batch(columns, rows)?;
        let limits = self.limits;
        // One batch may always be in flight, so a row that is larger than the limit gets through too.
        while !self.ledger.wait_until(LOOK_UP, |t| {
            let (rows, bytes) = (t.rows_in_flight(), t.bytes_in_flight());
            rows == 0 || (rows < limits.rows && bytes < limits.bytes)
        }) {
            if self.stop.is_set() {
                // Rows that were read and not passed on count as not read.
                return Err(End::Stopped);
            }
        }
        let lineage = self.ledger.begin(Vec::new(), rows + rejected.len(), bytes);
        if rows > 0 {
            output.push(batch, lineage.clone())?;
        }
        if rejected.is_empty() {
            lineage.deliver();
        } else {
            output.reject(rejected, lineage)?;
        }
        Ok(())
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, End> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| End::failed(format!("table `{}`: rows do not fit its columns: {error}", self.table)))
    }

    /// Waits until all rows that were passed on are delivered; after a stop, at most for the drain timeout.
    fn drain(&self) {
        let mut deadline = None;
        while !self.ledger.wait_until(LOOK_UP, crate::delivery::OffsetTracker::is_idle) {
            if self.stop.is_set()
                && Instant::now() >= *deadline.get_or_insert_with(|| Instant::now() + self.drain_timeout)
            {
                return;
            }
        }
    }
}
