//! `http_call` on a service that is down, or slow: no row is lost, as with a model.

use std::fs;
use std::sync::Once;
use std::time::{Duration, Instant};

use super::{COMPILING, LONG, Project};
use crate::binary::{Running, root, until};
use crate::played::{Model, Reply};

const PIPELINE: &str = r#"
CREATE TABLE asked (id TEXT, text TEXT)
WITH (connector = 'single_file', path = 'asked.json', format = 'json', type = 'source');
CREATE TABLE answered (id TEXT, status TEXT, error TEXT, attempts BIGINT)
WITH (connector = 'single_file', path = 'answered.json', format = 'json', type = 'sink');
CREATE TABLE failed (id TEXT, status TEXT, error TEXT, attempts BIGINT)
WITH (connector = 'single_file', path = 'failed.json', format = 'json', type = 'sink');
CREATE VIEW answers AS
SELECT http_call('URL', concat('{"text": "', text, '"}'), '{}') AS answer, id FROM asked;
CREATE VIEW taken_apart AS
SELECT id, json_get_str(answer, 'status') AS status, json_get_str(answer, 'error') AS error,
  json_get_int(answer, 'attempts') AS attempts
FROM answers;
INSERT INTO answered SELECT id, status, error, attempts FROM taken_apart WHERE status = 'ok';
INSERT INTO failed SELECT id, status, error, attempts FROM taken_apart WHERE status <> 'ok' OR status IS NULL;
"#;

/// A service that is content with everything.
fn service() -> Model {
    Model::start(|_| Reply::Answers(200, Vec::new(), r#"{"context": "done"}"#.to_owned()))
}

fn project(rows: usize, service: &Model) -> Project {
    let project = Project::with_rows(rows);
    fs::write(project.file("ask.sql"), PIPELINE.replace("URL", &service.url())).expect("a file");
    project
}

fn run(project: &Project, settings: &[(&str, &str)]) -> Running {
    static BUILT: Once = Once::new();
    let udfs = root().join("udfs");
    let udfs = udfs.to_str().expect("a path in UTF-8");
    BUILT.call_once(|| {
        Running::start(project.path(), &["build", "http_call", "--udfs", udfs], &[]).wait(COMPILING).expect_code(0);
    });
    Running::start(project.path(), &["run", "ask.sql", "--ready-file", "ready", "--udfs", udfs], settings)
}

/// Every row has its answer.
#[track_caller]
fn all_are_answered(project: &Project, rows: usize) {
    let decisions = project.decisions();
    assert_eq!(decisions.len(), rows, "rows were lost");
    for decision in decisions.values() {
        assert_eq!(decision.text("status"), "ok", "{decision:?}");
    }
}

/// It waits, for longer than a row's retries take by themselves.
fn waits(project: &Project, running: &mut Running, least: Duration) {
    until("it waits", LONG, || {
        assert!(running.is_running(), "it has ended");
        project.ready().starts_with("waiting: `http_call`: ")
    });
    let since = Instant::now();
    until("the service is down", LONG, || {
        assert!(running.is_running(), "it has ended");
        assert_eq!(project.read("failed.json"), "", "rows were lost");
        since.elapsed() >= least
    });
}

#[test]
fn rows_wait_for_a_service_that_is_down_and_comes_back() {
    const ROWS: usize = 300;
    let service = service();
    let project = project(ROWS, &service);
    service.goes_away();
    let mut running = run(&project, &[("BATON_HTTP_DEADLINE", "2s")]);
    waits(&project, &mut running, Duration::from_secs(3));
    service.comes_back();
    running.wait(LONG).expect_code(0);
    all_are_answered(&project, ROWS);
    assert_eq!(service.seen().calls, ROWS);
}

#[test]
fn rows_wait_for_a_service_that_fails_in_mid_run() {
    const ROWS: usize = 600;
    let service = service();
    service.takes(Duration::from_millis(50));
    let project = project(ROWS, &service);
    let settings = [("BATON_HTTP_DEADLINE", "1s"), ("BATON_HTTP_CONCURRENCY", "10")];
    let mut running = run(&project, &settings);
    service.wait("calls are made", |seen| seen.calls >= 100);
    service.fails(503);
    waits(&project, &mut running, Duration::from_secs(2));
    service.recovers();
    running.wait(LONG).expect_code(0);
    all_are_answered(&project, ROWS);
}

#[test]
fn what_one_message_does_to_a_service_costs_that_message_alone() {
    // Enough that others are answered for as long as one is asked about again.
    const ROWS: usize = 1000;
    let service = service();
    service.takes(Duration::from_millis(20));
    // One is refused, and one breaks the service each time.
    service.replies(|call| match call.text.split_once('[').map(|(_, rest)| &rest[..5]) {
        Some("00030") => Reply::Answers(422, Vec::new(), r#"{"detail": "no such contract"}"#.to_owned()),
        Some("00060") => Reply::Answers(500, Vec::new(), "crash".to_owned()),
        _ => Reply::Answers(200, Vec::new(), r#"{"context": "done"}"#.to_owned()),
    });
    let project = project(ROWS, &service);
    run(&project, &[("BATON_HTTP_CONCURRENCY", "2")]).wait(LONG).expect_code(0);
    let decisions = project.decisions();
    assert_eq!(decisions.len(), ROWS, "rows were lost");
    for (id, decision) in decisions {
        let expected = match id {
            30 => "rejected",
            60 => "unavailable",
            _ => "ok",
        };
        assert_eq!(decision.text("status"), expected, "{decision:?}");
    }
}

#[test]
fn a_service_that_answers_one_call_at_a_time_loses_no_message() {
    const ROWS: usize = 40;
    let service = service();
    service.works_on(1);
    service.takes(Duration::from_millis(100));
    let project = project(ROWS, &service);
    run(&project, &[("BATON_HTTP_TIMEOUT", "1s")]).wait(LONG).expect_code(0);
    all_are_answered(&project, ROWS);
    let seen = service.seen();
    assert_eq!((seen.calls, seen.hung_up), (ROWS, 0), "calls, and callers that hung up; {} at most", seen.peak);
}
