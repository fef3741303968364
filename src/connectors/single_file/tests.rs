//! The file connector at work: what is read, what is written, what stays after a stop.

use datafusion::arrow::array::{AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use tempfile::TempDir;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::source::BATCH_ROWS;
use super::*;
use crate::connectors::testing::{Collected, column, context, eventually, table};
use crate::connectors::{OpenContext, Sink};

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
    assert_eq!(message, format!("table `t` cannot read `{here}/no/none.json`: the folder `{here}/no` does not exist"));
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
    let options = [("wait_for_control", "maybe"), ("pth", "x")];
    let errors = SingleFile.source(&table(vec![], &options), &environment()).err().unwrap();
    let told: Vec<_> = errors.iter().map(|e| (e.code.0, e.message.as_str(), e.help.as_deref().unwrap_or(""))).collect();
    // `path` is not missing: it is misspelt.
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0].1, "option `wait_for_control` cannot be `maybe`");
    assert_eq!(told[1].1, "table `t` needs the option `format`");
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
