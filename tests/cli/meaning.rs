//! What a query means where the planner, left to itself, would make something else of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::binary::{Ended, Running, run, until};

const TABLES: &str = "
CREATE TABLE src (a TEXT, n BIGINT) WITH (connector = 'single_file', path = 'in.json', format = 'json', type = 'source');
CREATE TABLE o (a TEXT, n BIGINT) WITH (connector = 'stdout', format = 'json');
";

const ROWS: &str = "{\"a\":\"x\",\"n\":5}\n{\"a\":\"y\",\"n\":0}\n{\"a\":null,\"n\":2}\n";

fn query(folder: &Path, sql: &str) -> Ended {
    fs::write(folder.join("in.json"), ROWS).expect("a file");
    fs::write(folder.join("job.sql"), format!("{TABLES}{sql}")).expect("a file");
    run(folder, &["run", "job.sql"], &[])
}

#[track_caller]
fn gives(sql: &str, rows: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = query(folder.path(), sql).expect_code(0);
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), rows, "{sql}");
}

#[track_caller]
fn is_refused(sql: &str, code: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = query(folder.path(), sql).expect_code(78);
    assert!(ended.stderr.contains(&format!("error[{code}]")), "{sql}\n{}", ended.stderr);
    assert_eq!(fs::read_to_string(folder.path().join("in.json")).expect("a file"), ROWS, "nothing is written");
}

#[test]
fn a_with_may_have_the_name_of_the_table_it_reads() {
    gives(
        "INSERT INTO o WITH src AS (SELECT * FROM src WHERE n > 0) SELECT a, n FROM src;",
        &[r#"{"a":"x","n":5}"#, r#"{"a":null,"n":2}"#],
    );
}

#[test]
fn conditions_are_checked_in_their_order() {
    gives(
        "INSERT INTO o SELECT a, n FROM src WHERE n <> 0 AND 10 / n >= 2;",
        &[r#"{"a":"x","n":5}"#, r#"{"a":null,"n":2}"#],
    );
}

#[test]
fn a_volatile_call_is_worked_out_once_a_row() {
    let folder = tempfile::tempdir().expect("a folder");
    // Written twice, the second draw is NULL in half of the rows for which the first was not.
    let sql = "INSERT INTO o SELECT coalesce(CASE WHEN random() < 0.5 THEN 'x' END, 'y') AS a, n
               FROM (SELECT n, unnest(range(0, 200)) AS i FROM src);";
    let ended = query(folder.path(), sql).expect_code(0);
    assert_eq!(ended.stdout.lines().count(), 600);
    assert!(!ended.stdout.contains("null"), "{}", ended.stdout);
    gives("INSERT INTO o SELECT a, n FROM src WHERE random() BETWEEN 0.5 AND 0.5000001;", &[]);
}

#[test]
fn not_null_is_not_believed_where_nothing_checks_it() {
    gives(
        "CREATE TABLE m (a TEXT NOT NULL, n BIGINT);
         INSERT INTO m SELECT a, n FROM src;
         INSERT INTO o SELECT coalesce(a, 'was null'), n FROM m;",
        &[r#"{"a":"x","n":5}"#, r#"{"a":"y","n":0}"#, r#"{"a":"was null","n":2}"#],
    );
}

#[test]
fn structs_are_filled_by_position() {
    gives(
        "CREATE TABLE p (s STRUCT<k TEXT, v BIGINT>) WITH (connector = 'stdout', format = 'json');
         INSERT INTO p SELECT named_struct('v', a, 'other', n) FROM src WHERE n > 0;",
        &[r#"{"s":{"k":"x","v":5}}"#, r#"{"s":{"k":null,"v":2}}"#],
    );
}

#[test]
fn a_filter_protects_what_a_subquery_computes() {
    gives(
        "INSERT INTO o SELECT a, q FROM (SELECT a, n, 10 / n AS q FROM src) WHERE n <> 0;",
        &[r#"{"a":"x","n":2}"#, r#"{"a":null,"n":5}"#],
    );
}

#[test]
fn what_would_lose_or_freeze_a_value_is_refused() {
    is_refused(
        "CREATE TABLE p (s STRUCT<k TEXT, v BIGINT>) WITH (connector = 'stdout', format = 'json');
         INSERT INTO p SELECT named_struct('k', a) FROM src;",
        "Q103",
    );
    is_refused(
        "CREATE TABLE q (a TEXT) WITH (connector = 'single_file', path = 'in.json', format = 'json', type = 'sink');
         INSERT INTO q SELECT a FROM src;",
        "T107",
    );
    is_refused(
        "CREATE TABLE c (x TEXT);
         INSERT INTO c VALUES ('1');
         INSERT INTO o SELECT (SELECT CAST(now() AS TEXT) FROM c), n FROM src;",
        "Q110",
    );
}

#[test]
fn a_pipelines_own_constants_are_not_mixed_with_the_catalogues() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["sql", "pipelines"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    let agents = "CREATE TABLE agents (name TEXT); INSERT INTO agents VALUES";
    fs::write(folder.path().join("sql/agents.sql"), format!("{agents} ('Theirs');")).expect("a file");
    fs::write(folder.path().join("in.json"), ROWS).expect("a file");
    let sql =
        format!("{TABLES}{agents} ('Mine'); INSERT INTO o SELECT (SELECT json_agg(name) FROM agents), n FROM src;");
    fs::write(folder.path().join("pipelines/job.sql"), sql).expect("a file");
    let ended = run(folder.path(), &["run", "job"], &[]).expect_code(0);
    assert_eq!(ended.stdout.lines().next(), Some(r#"{"a":"[\"Mine\"]","n":5}"#));
}

#[test]
fn a_source_that_fails_ends_the_pipeline_while_another_still_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    // Held open for reading and writing, it neither blocks nor ends.
    let _held = fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("the pipe");
    fs::write(folder.path().join("in.json"), "{\"a\":\"x\",\"n\":5}\nno json\n").expect("a file");
    let sql = format!(
        "{TABLES}CREATE TABLE live (a TEXT, n BIGINT) WITH (connector = 'single_file', path = 'pipe', format = 'json', type = 'source');
         INSERT INTO o SELECT a, n FROM src UNION ALL SELECT a, n FROM live;"
    );
    fs::write(folder.path().join("job.sql"), sql).expect("a file");
    let mut running = Running::start(folder.path(), &["run", "job.sql"], &[]);
    until("the pipeline has ended", Duration::from_secs(30), || !running.is_running());
    let ended = running.wait(Duration::from_secs(5)).expect_code(1);
    assert!(ended.stderr.contains("error[R003]"), "{}", ended.stderr);
}
