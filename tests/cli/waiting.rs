//! UDFs that wait: what the log, the ready file and the exit say when a UDF tells its host that rows wait, go on, or can
//! never be answered. The UDF `tell_host` says what its rows tell it to say.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;
use tempfile::TempDir;

use crate::binary::{Running, SOON, until};
use crate::udf_fixtures::FOLDER;

/// The first run may compile the UDF, on a machine that may be slow.
const COMPILING: Duration = Duration::from_mins(15);

const REFUSED: &str =
    r#"say {"udf":"tell_host","state":"rejected","why":"the server refuses the key","help":"set a new one"}"#;
const WAITING: &str = r#"say {"udf":"tell_host","state":"waiting","why":"no server at :9"}"#;
const WORKING: &str = r#"say {"udf":"tell_host","state":"working"}"#;

/// Compiles the UDF, so that no test waits for a compiler.
fn udfs() -> &'static str {
    static BUILT: std::sync::Once = std::sync::Once::new();
    let folder = FOLDER.to_str().expect("a path in UTF-8");
    BUILT.call_once(|| {
        let building = Running::start(&FOLDER, &["build", "tell_host", "--udfs", folder], &[]);
        building.wait(COMPILING).expect_code(0);
    });
    folder
}

/// A pipeline that asks `tell_host` about each line of `asked.json` (or what the table `asked` otherwise reads).
fn ask(asked: &str) -> String {
    format!(
        "CREATE TABLE asked (text TEXT) WITH ({asked}, format = 'json', type = 'source');
         CREATE TABLE answered (answer TEXT)
         WITH (connector = 'single_file', path = 'answered.json', format = 'json', type = 'sink');
         CREATE VIEW asking AS SELECT tell_host(text) AS answer FROM asked;
         INSERT INTO answered SELECT answer FROM asking;"
    )
}

fn line(text: &str) -> String {
    format!("{}\n", serde_json::json!({ "text": text }))
}

/// A folder with a pipeline `ask.sql` that reads the texts of `asked.json`.
fn folder(texts: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("ask.sql"), ask("connector = 'single_file', path = 'asked.json'")).expect("a file");
    fs::write(folder.path().join("asked.json"), texts.iter().map(|text| line(text)).collect::<String>())
        .expect("a file");
    folder
}

const RUN: [&str; 2] = ["run", "ask.sql"];

fn started(folder: &Path, more: &[&str]) -> Running {
    let arguments = [&RUN[..], &["--udfs", udfs()], more].concat();
    Running::start(folder, &arguments, &[])
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_default()
}

#[test]
fn a_udf_that_can_answer_no_row_ends_the_process() {
    let folder = folder(&["good", &format!("sleep 300|{REFUSED}|hang"), "sleep 100000", "hang"]);
    let ended = started(folder.path(), &[]).wait(SOON).expect_code(78);
    assert!(ended.took < Duration::from_secs(10), "nothing in flight is waited for: {:?}", ended.took);
    assert!(ended.stderr.contains("`tell_host` cannot answer any row: the server refuses the key"), "{}", ended.stderr);
    let error = "pipeline `ask` failed:\nerror[R007]: the server refuses the key\n";
    assert!(ended.stderr.contains(error), "{}", ended.stderr);
    assert!(ended.stderr.contains("help: set a new one"), "{}", ended.stderr);
    // What was answered before may go out; what was in flight does not.
    let answered = read(folder.path(), "answered.json");
    assert!(answered.lines().all(|line| line.contains("good")), "{answered}");
}

#[test]
fn several_pipelines_tell_the_same_rejection_once_and_others_end_cleanly() {
    let folder = folder(&[&format!("{REFUSED}|hang"), "hang"]);
    let path = |name: &str| folder.path().join(name);
    fs::write(path("again.sql"), read(folder.path(), "ask.sql").replace("answered.json", "again.json"))
        .expect("a file");
    assert!(Command::new("mkfifo").arg(path("endless")).status().expect("mkfifo is there").success());
    let _held_open = fs::File::options().read(true).write(true).open(path("endless")).expect("a pipe");
    fs::write(
        path("copy.sql"),
        "CREATE TABLE a (text TEXT) WITH (connector = 'single_file', path = 'endless', format = 'json', type = 'source');
         CREATE TABLE b (text TEXT) WITH (connector = 'single_file', path = 'b.json', format = 'json', type = 'sink');
         INSERT INTO b SELECT text FROM a;",
    )
    .expect("a file");
    let ended = started(folder.path(), &["again.sql", "copy.sql"]).wait(SOON).expect_code(78);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    assert_eq!(ended.stderr.matches("error[R007]").count(), 1, "{}", ended.stderr);
    assert!(!ended.stderr.contains("`copy` failed"), "{}", ended.stderr);
}

#[test]
fn a_rejection_during_a_stop_ends_it() {
    let folder = folder(&["until stopping", &format!("until now|{REFUSED}|hang")]);
    let running = started(folder.path(), &["--ready-file", "ready", "--drain-timeout", "5m"]);
    until("everything runs", SOON, || read(folder.path(), "ready") == "ready\n");
    running.terminate();
    until("it stops", SOON, || read(folder.path(), "ready") == "stopping\n");
    fs::write(folder.path().join("now"), "").expect("a file");
    let ended = running.wait(SOON).expect_code(78);
    assert!(ended.stderr.contains("error[R007]"), "{}", ended.stderr);
}

#[test]
fn waiting_and_going_on_are_told_in_the_log_and_the_ready_file() {
    let text = format!("until wait|{WAITING}|until go|{WORKING}|until end");
    let folder =
        folder(&[&text, "say nonsense", r#"say {"udf":"tell_host","state":"warning","why":"prices are old"}"#]);
    let ready = |line: &str| {
        let expected = format!("{line}\n");
        until(line, SOON, || read(folder.path(), "ready") == expected);
    };
    let sign = |name: &str| fs::write(folder.path().join(name), "").expect("a file");
    fs::write(folder.path().join("ready"), "ready\n").expect("what a process that was killed left behind");
    let mut running = started(folder.path(), &["--ready-file", "ready"]);
    ready("ready");
    sign("wait");
    ready("waiting: `tell_host`: no server at :9");
    assert!(running.is_running());
    sign("go");
    ready("ready");
    sign("end");
    let ended = running.wait(SOON).expect_code(0);
    assert!(ended.stderr.contains("WARN `tell_host` waits: no server at :9"), "{}", ended.stderr);
    assert!(ended.stderr.contains("INFO `tell_host` continues after "), "{}", ended.stderr);
    assert!(ended.stderr.contains("WARN `tell_host`: prices are old"), "{}", ended.stderr);
    assert_eq!(read(folder.path(), "answered.json").lines().count(), 3);
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("a folder").filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    assert!(!left.iter().any(|name| name.starts_with("ready")), "{left:?}");
}

#[test]
fn a_ready_file_that_cannot_be_written_is_told_before_anything_runs() {
    let folder = folder(&["good"]);
    let ended = started(folder.path(), &["--ready-file", "nowhere/ready"]).wait(SOON).expect_code(78);
    assert!(ended.stderr.contains("error[P001]: the ready file `nowhere/ready` cannot be written"), "{}", ended.stderr);
    assert!(!folder.path().join("answered.json").exists());
}

#[test]
fn on_this_engine_a_call_takes_as_long_as_its_source_says() {
    // Its attribute says one second, its comment for Baton none at all.
    let folder = folder(&["sleep 2500"]);
    let begin = Instant::now();
    let ended = started(folder.path(), &[]).wait(SOON).expect_code(0);
    assert!(begin.elapsed() >= Duration::from_millis(2500));
    assert_eq!(read(folder.path(), "answered.json"), "{\"answer\":\"sleep 2500\"}\n");
    assert!(!ended.stderr.contains("WARN"), "{}", ended.stderr);
}

#[test]
fn rows_that_a_rejection_left_unanswered_are_read_again() {
    let cluster = MockCluster::new(1).expect("a broker in memory");
    cluster.create_topic("asked", 1, 1).expect("a topic");
    let servers = cluster.bootstrap_servers();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let table = format!(
        "connector = 'kafka', bootstrap_servers = '{servers}', topic = 'asked', \
         'source.offset' = 'earliest', 'source.group_id' = 'askers'"
    );
    fs::write(folder.path().join("ask.sql"), ask(&table)).expect("a file");
    publish(&servers, &["first", &format!("unless mended|{REFUSED}|hang"), "unless mended|hang"]);

    let ended = started(folder.path(), &[]).wait(SOON).expect_code(78);
    assert!(ended.stderr.contains("error[R007]"), "{}", ended.stderr);
    assert!(committed(&servers) <= 1, "no offset passes a row that was not delivered");
    assert!(!read(folder.path(), "answered.json").contains("unless"), "nothing in flight was delivered");

    fs::write(folder.path().join("mended"), "").expect("a file");
    let running = started(folder.path(), &[]);
    until("the rows are there", SOON, || read(folder.path(), "answered.json").matches("unless").count() == 2);
    running.terminate();
    running.wait(SOON).expect_code(0);
    assert_eq!(committed(&servers), 3);
}

fn publish(servers: &str, texts: &[&str]) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", servers).create().expect("a producer");
    for text in texts {
        let payload = line(text);
        let record = BaseRecord::<(), _>::to("asked").payload(payload.trim_end());
        producer.send(record).map_err(|(error, _)| error).expect("a message");
    }
    producer.flush(SOON).expect("the messages are there");
}

/// The offset from which the group goes on; 0 when it has committed none.
fn committed(servers: &str) -> i64 {
    let mut config = ClientConfig::new();
    let consumer: BaseConsumer =
        config.set("bootstrap.servers", servers).set("group.id", "askers").create().expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition("asked", 0);
    let found = consumer.committed_offsets(partitions, SOON).expect("the broker answers");
    match found.elements()[0].offset() {
        Offset::Offset(offset) => offset,
        _ => 0,
    }
}
