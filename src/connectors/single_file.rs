//! `connector = 'single_file'`: a file, one line a message.
//!
//! A source reads the file once from its beginning to its end and then is done; a pipe is read as its lines come. A sink
//! empties the file when it is opened and then appends. How a line holds a row is for `formats`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;

use super::bad_data::BadMessages;
use super::dead_letters::Rejected;
use super::options::{OptionDoc, OptionReader, option};
use super::{
    Connector, ConnectorError, InFlightLimits, OpenContext, Output, Sink, SinkSpec, Source, SourceSpec, StopFlag,
    Stopped,
};
use crate::config::Environment;
use crate::delivery::{Ledger, Lineage};
use crate::diag::{Code, Diagnostic};
use crate::formats::{Decoder, Direction, Encoder, FORMAT_OPTIONS, Format, Framing, OnBadData};
use crate::sql::table::TableDef;

static OPTIONS: &[OptionDoc] = &[
    option("path", "The file, relative to the folder that `baton` was started in."),
    option(
        "wait_for_control",
        "Arroyo waits for a control message after each line unless this is `false`; the embedded engine never waits.",
    )
    .default("true")
    .choices(&["true", "false"]),
];

/// Rows in one micro-batch, at most.
const BATCH_ROWS: usize = 512;
/// Bytes after which a micro-batch is full, whatever its rows.
const BATCH_BYTES: usize = 1 << 20;
/// The longest line that is read.
const MAX_LINE: u64 = 256 << 20;
/// How much is read at once.
const CHUNK: usize = 128 << 10;
/// How often something that waits looks whether it should stop.
const LOOK_UP: Duration = Duration::from_millis(50);

/// The connector.
pub struct SingleFile;

impl Connector for SingleFile {
    fn name(&self) -> &'static str {
        "single_file"
    }

    fn description(&self) -> &'static str {
        "A file with one row a line. A source reads it from its beginning to its end, which ends the pipeline; a sink empties \
         it when the pipeline starts, and makes the folders that are missing."
    }

    fn options(&self) -> &'static [OptionDoc] {
        OPTIONS
    }

    fn source(&self, table: &TableDef, environment: &Environment) -> Result<Box<dyn SourceSpec>, Vec<Diagnostic>> {
        Ok(Box::new(read_spec(table, environment, Direction::Source)?))
    }

    fn sink(&self, table: &TableDef, environment: &Environment) -> Result<Box<dyn SinkSpec>, Vec<Diagnostic>> {
        Ok(Box::new(read_spec(table, environment, Direction::Sink)?))
    }
}

struct Spec {
    table: TableDef,
    path: PathBuf,
    format: Format,
}

fn read_spec(table: &TableDef, environment: &Environment, direction: Direction) -> Result<Spec, Vec<Diagnostic>> {
    let mut options = OptionReader::new(table, environment, OPTIONS.iter().chain(FORMAT_OPTIONS));
    let path = options.required("path");
    options.flag("wait_for_control");
    let format = Format::read(&mut options, direction);
    options.finish()?;
    match (path, format) {
        (Some(path), Some(format)) => Ok(Spec { table: table.clone(), path: path.into(), format }),
        // Whatever is missing has been reported, so this is not reached; an empty list would say nothing.
        _ => Err(vec![Diagnostic::new(Code::OPTION_MISSING, format!("table `{}` is not complete", table.name))]),
    }
}

impl Spec {
    fn describe(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn failed(&self, code: Code, verb: &str, error: &io::Error) -> ConnectorError {
        let (table, path) = (&self.table.name, self.path.display());
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        let reason = match error.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => match folder {
                Some(folder) => format!("`{}` is a file, not a folder", folder.display()),
                None => error.to_string(),
            },
            io::ErrorKind::NotFound => match folder.filter(|p| !p.exists()) {
                Some(folder) => format!("the folder `{}` does not exist", folder.display()),
                None => "the file does not exist".into(),
            },
            io::ErrorKind::IsADirectory => "it is a folder".into(),
            io::ErrorKind::PermissionDenied => "permission is denied".into(),
            _ => error.to_string(),
        };
        let help = match (self.path.is_relative(), std::env::current_dir()) {
            (true, Ok(here)) => format!("check `path`; it is relative to `{}`", here.display()),
            _ => "check `path`".into(),
        };
        ConnectorError::new(code, format!("table `{table}` cannot {verb} `{path}`: {reason}")).help(help)
    }
}

#[async_trait]
impl SourceSpec for Spec {
    fn describe(&self) -> String {
        Spec::describe(self)
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

/// What was read and not passed on.
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
        // Rows before a line that is bad are good.
        let pushed = self.push(output);
        self.drain();
        self.bad.report(true);
        match (read, pushed) {
            (Err(End::Failed(error)), _) | (_, Err(End::Failed(error))) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Why reading ended before the end of the file.
enum End {
    /// The dataflow behind is gone: it knows why.
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
            // A row never waits for another that may come late: what is complete is passed on before more is read.
            if full || !self.input.buffer().contains(&b'\n') {
                self.push(output)?;
            }
        }
        Ok(())
    }

    /// Reads a line, its end (`\n` or `\r\n`) left out; `false` at the end of the file.
    fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, End> {
        line.clear();
        let read = (&mut self.input).take(MAX_LINE).read_until(b'\n', line).map_err(|error| {
            let (table, path) = (&self.table, self.path.display());
            End::failed(format!("table `{table}` cannot read `{path}` after line {}: {error}", self.line))
        })?;
        if self.stop.is_set() && line.last() != Some(&b'\n') {
            // The rest of the line may still be on its way.
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
            "correct the line, pass over such lines with `bad_data = 'drop'`, or keep them with `'baton.dead_letters' = '…'`",
        ))
    }

    /// Passes on what is pending, once there is room for it.
    fn push(&mut self, output: &mut dyn Output) -> Result<(), End> {
        let Pending { rows, rejected, bytes } = std::mem::take(&mut self.pending);
        if rows + rejected.len() == 0 {
            return Ok(());
        }
        let columns = self.decoder.finish().map_err(|bad| self.bad_data(&bad.message))?;
        let batch = self.batch(columns, rows)?;
        let limits = self.limits;
        // One batch may always be in flight, so a row that is larger than the limit goes through too.
        while !self.ledger.wait_until(LOOK_UP, |t| {
            let (rows, bytes) = (t.rows_in_flight(), t.bytes_in_flight());
            rows == 0 || (rows < limits.rows && bytes < limits.bytes)
        }) {
            if self.stop.is_set() {
                // What was read but never given out is as if it had not been read.
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

    /// Waits until all that was given out is delivered; once a stop is asked for, no longer than the drain timeout.
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

/// A file whose reads can last for ever (a named pipe, a terminal), read on a thread of its own so that a stop is seen.
struct Pipe {
    chunks: Receiver<io::Result<Vec<u8>>>,
    rest: io::Cursor<Vec<u8>>,
    stop: StopFlag,
}

impl Pipe {
    fn new(mut file: File, stop: StopFlag) -> Self {
        let (sender, chunks) = sync_channel(1);
        // The thread ends with the pipe, or with the first chunk that nobody wants any more.
        std::thread::spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = file.read(&mut chunk).map(|length| {
                    chunk.truncate(length);
                    chunk
                });
                let last = !matches!(&read, Ok(chunk) if !chunk.is_empty());
                if sender.send(read).is_err() || last {
                    return;
                }
            }
        });
        Self { chunks, rest: io::Cursor::default(), stop }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.rest.read(buffer)?;
            if read > 0 || self.stop.is_set() {
                return Ok(read);
            }
            match self.chunks.recv_timeout(LOOK_UP) {
                Ok(Ok(chunk)) if chunk.is_empty() => return Ok(0),
                Ok(chunk) => self.rest = io::Cursor::new(chunk?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
    }
}

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

/// Empties the file, then opens it for appending: two sinks over one file mix their lines, never the bytes of them.
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
    /// A batch is one write to the system, so nothing is held back: who follows the file sees its rows at once.
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

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{AsArray, StringArray};
    use datafusion::arrow::datatypes::{DataType, Int64Type};
    use tempfile::TempDir;

    use super::*;
    use crate::connectors::testing::{Collected, column, context, eventually, table};

    fn leads(path: &Path, more: &[(&str, &str)]) -> TableDef {
        let path = path.display().to_string();
        let options: Vec<_> =
            [("path", path.as_str()), ("format", "json")].into_iter().chain(more.iter().copied()).collect();
        table(vec![column("id", DataType::Int64)], &options)
    }

    fn environment() -> Environment {
        Environment::only([])
    }

    fn file(text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leads.json");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    async fn read(table: &TableDef, context: &OpenContext, mut output: Collected) -> Result<(), ConnectorError> {
        let spec = SingleFile.source(table, &environment()).unwrap();
        let source = spec.open(context).await?;
        tokio::task::spawn_blocking(move || source.run(&mut output)).await.unwrap()
    }

    fn ids(output: &Collected) -> Vec<i64> {
        let batches = output.batches.lock().unwrap();
        batches.iter().flat_map(|(batch, _)| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[tokio::test]
    async fn lines_end_as_they_like_and_empty_ones_are_passed_over() {
        let (_folder, path) = file("{\"id\":1}\r\n\n{\"id\":2}\n\r\n{\"id\":3}");
        let output = Collected::default();
        read(&leads(&path, &[]), &context().0, output.clone()).await.unwrap();
        assert_eq!(ids(&output), [1, 2, 3]);
        let (_folder, empty) = file("");
        let output = Collected::default();
        read(&leads(&empty, &[]), &context().0, output.clone()).await.unwrap();
        assert_eq!(output.rows(), 0);
    }

    #[tokio::test]
    async fn a_long_file_comes_in_small_batches_in_order() {
        use std::fmt::Write as _;
        let mut text = String::new();
        (0..5_000).for_each(|id| writeln!(text, "{{\"id\":{id}}}").unwrap());
        let (_folder, path) = file(text);
        let output = Collected::default();
        read(&leads(&path, &[]), &context().0, output.clone()).await.unwrap();
        assert_eq!(ids(&output), (0..5_000).collect::<Vec<_>>());
        assert!(output.batches.lock().unwrap().iter().all(|(batch, _)| batch.num_rows() <= BATCH_ROWS));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_than_the_limit_is_in_flight_and_the_end_waits_for_delivery() {
        let (_folder, path) = file("{\"id\":1}\n".repeat(5_000));
        let (context, _) = context();
        let output = Collected { hold: true, ..Collected::default() };
        let running = tokio::spawn({
            let (table, context, output) = (leads(&path, &[]), context.clone(), output.clone());
            async move { read(&table, &context, output).await }
        });
        let mut seen = 0;
        while seen < 5_000 {
            eventually("more rows", || output.rows() > 0);
            assert!(context.ledger.tracker().rows_in_flight() < 1_000 + BATCH_ROWS);
            assert!(!running.is_finished(), "rows are still in flight");
            for (batch, lineage) in std::mem::take(&mut *output.batches.lock().unwrap()) {
                seen += batch.num_rows();
                lineage.unwrap().deliver();
            }
        }
        running.await.unwrap().unwrap();
        assert_eq!(seen, 5_000);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stop_ends_reading_and_waits_for_what_is_in_flight() {
        let (_folder, path) = file("{\"id\":1}\n".repeat(50_000));
        let (context, _) = context();
        let output = Collected { hold: true, ..Collected::default() };
        let running = tokio::spawn({
            let (table, context, output) = (leads(&path, &[]), context.clone(), output.clone());
            async move { read(&table, &context, output).await }
        });
        eventually("the limit is reached", || output.rows() >= 1_000);
        context.stop.set();
        tokio::time::sleep(LOOK_UP * 3).await;
        assert!(!running.is_finished(), "rows are still in flight");
        let held = std::mem::take(&mut *output.batches.lock().unwrap());
        for (_, lineage) in held {
            lineage.unwrap().deliver();
        }
        running.await.unwrap().unwrap();
        assert_eq!(output.rows(), 0, "nothing is read after a stop");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_of_a_pipe_come_at_once_and_a_stop_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Opened for both, so that neither side waits for the other.
        let mut pipe = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let (context, _) = context();
        let output = Collected::default();
        let running = tokio::spawn({
            let (table, context, output) = (leads(&path, &[]), context.clone(), output.clone());
            async move { read(&table, &context, output).await }
        });
        pipe.write_all(b"{\"id\":1}\n{\"id\"").unwrap();
        eventually("the first row", || output.rows() == 1);
        pipe.write_all(b":2}\n").unwrap();
        eventually("the second row", || output.rows() == 2);
        assert!(!running.is_finished());
        context.stop.set();
        running.await.unwrap().unwrap();
        assert_eq!(ids(&output), [1, 2]);
    }

    #[tokio::test]
    async fn a_bad_line_fails_after_the_good_ones_or_is_dropped() {
        let (_folder, path) = file("{\"id\":1}\n{\"id\":\"x\"}\n{\"id\":3}\n");
        let output = Collected::default();
        let error = read(&leads(&path, &[]), &context().0, output.clone()).await.unwrap_err();
        assert_eq!(error.code, Code::BAD_DATA);
        assert_eq!(
            error.message,
            format!("table `t`: line 2 of `{}`: column `id` is BIGINT, which `\"x\"` is not", path.display())
        );
        assert_eq!(ids(&output), [1]);
        let output = Collected::default();
        read(&leads(&path, &[("bad_data", "drop")]), &context().0, output.clone()).await.unwrap();
        assert_eq!(ids(&output), [1, 3]);
    }

    #[tokio::test]
    async fn files_that_cannot_be_opened_are_told_in_plain_words() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().display().to_string();
        let open = async |path: &str| {
            let table = leads(&folder.path().join(path), &[]);
            read(&table, &context().0, Collected::default()).await.unwrap_err()
        };
        let error = open("none.json").await;
        assert_eq!(error.code, Code::SOURCE_FAILED);
        assert_eq!(error.message, format!("table `t` cannot read `{here}/none.json`: the file does not exist"));
        let message = open("no/none.json").await.message;
        assert_eq!(
            message,
            format!("table `t` cannot read `{here}/no/none.json`: the folder `{here}/no` does not exist")
        );
        assert!(open("").await.message.ends_with("it is a folder"));
        let relative = leads(Path::new("nowhere/none.json"), &[]);
        let help = read(&relative, &context().0, Collected::default()).await.unwrap_err().help.unwrap();
        assert_eq!(help, format!("check `path`; it is relative to `{}`", std::env::current_dir().unwrap().display()));

        let sink = async |path: &Path| {
            let spec = SingleFile.sink(&leads(path, &[]), &environment()).unwrap();
            spec.open(&context().0).await.err().unwrap()
        };
        std::fs::write(folder.path().join("file"), "").unwrap();
        let error = sink(&folder.path().join("file/out.json")).await;
        assert_eq!(error.code, Code::SINK_FAILED);
        assert_eq!(
            error.message,
            format!("table `t` cannot write `{here}/file/out.json`: `{here}/file` is a file, not a folder")
        );
        assert!(sink(folder.path()).await.message.ends_with("it is a folder"));
    }

    #[test]
    fn wrong_options_are_all_told() {
        let options = [("format", "json"), ("wait_for_control", "maybe"), ("pth", "x")];
        let errors = SingleFile.source(&table(vec![], &options), &environment()).err().unwrap();
        let told: Vec<_> =
            errors.iter().map(|e| (e.code.0, e.message.as_str(), e.help.as_deref().unwrap_or(""))).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[0].1, "table `t` needs the option `path`");
        assert_eq!(told[1].1, "option `wait_for_control` cannot be `maybe`");
        assert_eq!((told[2].0, told[2].2), ("T101", "did you mean `path`?"));
    }

    #[tokio::test]
    async fn a_sink_empties_its_file_and_shows_each_batch_at_once() {
        let (_folder, path) = file("old\n");
        let (context, _) = context();
        let lines = table(
            vec![column("value", DataType::Utf8)],
            &[("path", &path.display().to_string()), ("format", "raw_string")],
        );
        let spec = SingleFile.sink(&lines, &environment()).unwrap();
        assert_eq!(spec.describe(), format!("file {}", path.display()));
        let sink = spec.open(&context).await.unwrap();
        let twin = spec.open(&context).await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        let write = |sink: &Arc<dyn Sink>, values: Vec<&str>| {
            let rows = values.len();
            let batch = RecordBatch::try_new(spec.schema(), vec![Arc::new(StringArray::from(values))]).unwrap();
            sink.write(batch, context.ledger.begin(Vec::new(), rows, 1)).unwrap();
            assert_eq!(context.ledger.tracker().rows_in_flight(), 0, "delivered");
        };
        write(&sink, vec!["a", "b"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\n");
        write(&twin, vec!["c"]);
        write(&sink, vec!["d"]);
        sink.flush().await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\nc\nd\n");
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error_and_nothing_is_delivered() {
        let full = table(vec![column("value", DataType::Utf8)], &[("path", "/dev/full"), ("format", "raw_string")]);
        let (context, _) = context();
        let spec = SingleFile.sink(&full, &environment()).unwrap();
        let sink = spec.open(&context).await.unwrap();
        context.ledger.tracker().assign(0);
        let range = crate::delivery::OffsetRange { partition: 0, first: 0, last: 0 };
        let lineage = context.ledger.begin(vec![range], 1, 1);
        let batch = RecordBatch::try_new(spec.schema(), vec![Arc::new(StringArray::from(vec!["a"]))]).unwrap();
        let error = sink.write(batch, lineage).unwrap_err();
        assert!(error.message.starts_with("table `t` cannot write to `/dev/full`: "), "{}", error.message);
        assert_eq!(context.ledger.tracker().committable(), vec![]);
    }
}
