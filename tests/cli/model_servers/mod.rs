//! Model servers as they are: each case says what a server answers, and what a user wants to come of it. It runs through
//! the whole engine, from a file to a file.
//!
//! `BATON_TEST_CASE=part_of_a_name` runs only some of them.

mod case;
mod keys;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::{Ended, Running, root, until};
use case::{Case, Function, Outcome, Request, Server};

/// The first run compiles the UDFs.
const COMPILING: Duration = Duration::from_mins(15);

/// How long a case may take on a machine that is busy with other things.
const LONG: Duration = Duration::from_secs(100);

/// How long nothing may be lost once it waits.
const STAYS: Duration = Duration::from_secs(2);

/// How many cases run at a time.
const AT_ONCE: usize = 4;

const CLASSIFY: &str = r#"llm_classify(text, '[
  {"name": "Lead Scoring Agent", "input": "a research report"}, {"name": "Send Email Agent", "input": "finished e-mails"},
  {"name": "Nurture Campaign Agent"}
]', 'OPTIONS')"#;

const COMPLETE: &str = "llm_complete('Write a report on the lead, in one sentence.', text, 'nothing', 'OPTIONS')";

const PIPELINE: &str = "
CREATE TABLE asked (id TEXT, text TEXT)
WITH (connector = 'single_file', path = 'asked.json', format = 'json', type = 'source');
CREATE TABLE answered (id TEXT, value TEXT, status TEXT, error TEXT, result TEXT)
WITH (connector = 'single_file', path = 'answered.json', format = 'json', type = 'sink');
CREATE TABLE failed (id TEXT, value TEXT, status TEXT, error TEXT, result TEXT)
WITH (connector = 'single_file', path = 'failed.json', format = 'json', type = 'sink');
CREATE VIEW results AS SELECT CALL AS result, id FROM asked;
CREATE VIEW taken_apart AS
SELECT id, json_get_str(result, 'FIELD') AS value, json_get_str(result, 'status') AS status,
  json_get_str(result, 'error') AS error, result
FROM results;
INSERT INTO answered SELECT id, value, status, error, result FROM taken_apart WHERE status = 'ok';
INSERT INTO failed
SELECT id, value, status, error, result FROM taken_apart WHERE status <> 'ok' OR status IS NULL;
";

/// Compiles the UDFs, once for all cases. Returns their folder.
fn udfs() -> String {
    static BUILT: Once = Once::new();
    let udfs = root().join("udfs").to_str().expect("a path in UTF-8").to_owned();
    BUILT.call_once(|| {
        let building = ["build", "llm_classify", "llm_complete", "--udfs", &udfs];
        Running::start(&root(), &building, &[]).wait(COMPILING).expect_code(0);
    });
    udfs
}

/// What row `id` says; `characters` at least.
fn text(id: usize, characters: usize) -> String {
    let mut text = format!("[{id:05}] Research report on a lead: Petra Vogel of Alpenwerk asks for a data warehouse.");
    let mut line = 0;
    while text.len() < characters {
        line += 1;
        let _ = write!(text, " In quarter {line} of their plan they move {} tables out of Oracle.", line * 17 % 101);
    }
    text
}

/// A folder with a pipeline that asks about each row.
fn project(function: Function, options: &Value, rows: usize, characters: usize) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let (call, field) = match function {
        Function::Classify => (CLASSIFY, "agent"),
        Function::Complete => (COMPLETE, "text"),
    };
    let call = call.replace("OPTIONS", &options.to_string().replace('\'', "''"));
    let sql = PIPELINE.replace("CALL", &call).replace("FIELD", field);
    fs::write(folder.path().join("ask.sql"), sql).expect("a file");
    let line = |id: usize| format!("{}\n", json!({ "id": id.to_string(), "text": text(id, characters) }));
    let lines: Vec<String> = (0..rows).map(line).collect();
    fs::write(folder.path().join("asked.json"), lines.concat()).expect("a file");
    folder
}

/// `baton run` on such a folder.
fn start(folder: &Path, settings: &[(&str, &str)]) -> Running {
    let udfs = udfs();
    Running::start(folder, &["run", "ask.sql", "--ready-file", "ready", "--udfs", &udfs], settings)
}

/// The whole rows of a file, by their number.
fn rows(folder: &Path, name: &str) -> BTreeMap<usize, Value> {
    let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut rows = BTreeMap::new();
    for line in whole.lines() {
        let row: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {e}: {line}"));
        let id = row["id"].as_str().and_then(|id| id.parse().ok()).expect("a number");
        assert!(rows.insert(id, row).is_none(), "row {id} is twice in {name}");
    }
    rows
}

fn ready(folder: &Path) -> String {
    fs::read_to_string(folder.join("ready")).unwrap_or_default().trim_end().to_owned()
}

/// How a run ended.
struct Run {
    /// `None` if it waits.
    code: Option<i32>,
    /// Why it waits, or what it said when it ended.
    why: String,
    stderr: String,
}

/// Runs a case until it ends, or until it waits where it may.
fn run(case: &Case, folder: &Path, server: &Server) -> Run {
    let url = server.model.url();
    let mut settings = BTreeMap::from([
        ("BATON_LLM_BASE_URL", Some(url.clone())),
        ("BATON_LLM_MODEL", Some("m".to_owned())),
        ("BATON_LLM_PROVIDER", Some(case.provider.clone())),
        ("BATON_LLM_API_KEY", Some("sk-a-key-for-this-server-1".to_owned())),
    ]);
    if case.env.keys().any(|name| name.ends_with("_API_KEY") || name.ends_with("_API_KEY_FILE")) {
        settings.remove("BATON_LLM_API_KEY");
    }
    for (name, value) in &case.env {
        settings.insert(name.as_str(), value.as_ref().map(|value| value.replace("{{url}}", &url)));
    }
    let set: Vec<(&str, &str)> = settings.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let mut running = start(folder, &set);
    let may_wait = matches!(case.wanted.outcome, Outcome::Waits | Outcome::StopsOrWaits);
    let deadline = Instant::now() + LONG;
    let waits = loop {
        if !running.is_running() {
            break None;
        }
        let ready = ready(folder);
        if may_wait && ready.starts_with("waiting: ") {
            break Some(ready);
        }
        if Instant::now() > deadline {
            let ended = running.kill();
            panic!("it did not end within {LONG:?} (ready: {ready})\n{}", ended.stderr);
        }
        thread::sleep(Duration::from_millis(10));
    };
    let Some(ready) = waits else {
        let Ended { code, stderr, .. } = running.wait(LONG);
        return Run { code, why: stderr.clone(), stderr };
    };
    let since = Instant::now();
    until("it goes on waiting", LONG, || {
        assert!(rows(folder, "failed.json").is_empty(), "it lost rows: {ready}");
        since.elapsed() >= STAYS || !running.is_running()
    });
    if running.is_running() {
        let stderr = running.kill().stderr;
        return Run { code: None, why: format!("{ready}\n{stderr}"), stderr };
    }
    let Ended { code, stderr, .. } = running.wait(LONG);
    Run { code, why: stderr.clone(), stderr }
}

/// Compares a run with what is wanted; panics with everything that differs.
fn check(case: &Case, folder: &Path, server: &Server, run: &Run) {
    let (answered, failed) = (rows(folder, "answered.json"), rows(folder, "failed.json"));
    let wanted = &case.wanted;
    let mut wrong = String::new();
    let mut wants = |holds: bool, what: &str| {
        if !holds {
            let _ = writeln!(wrong, "- {what}");
        }
    };

    wants(!run.stderr.contains("panicked"), "it panicked");
    match wanted.outcome {
        Outcome::Answers => {
            wants(run.code == Some(0), &format!("exit code 0, not {:?}", run.code));
            let mut ids: Vec<usize> = answered.keys().chain(failed.keys()).copied().collect();
            ids.sort_unstable();
            wants(ids.into_iter().eq(0..case.rows), &format!("each of {} rows once", case.rows));
            let expected: BTreeSet<usize> = wanted.failed.keys().copied().collect();
            let found: BTreeSet<usize> = failed.keys().copied().collect();
            wants(found == expected, &format!("rows {expected:?} fail, not {found:?}"));
        }
        Outcome::Stops => wants(run.code == Some(78), &format!("exit code 78, not {:?}", run.code)),
        Outcome::Waits => wants(run.code.is_none(), &format!("it waits, and does not end with {:?}", run.code)),
        Outcome::StopsOrWaits => {
            wants(matches!(run.code, None | Some(78)), &format!("it stops or waits; exit code {:?}", run.code));
        }
    }
    if wanted.outcome != Outcome::Answers {
        wants(failed.is_empty(), &format!("no row fails, not {}", failed.len()));
    }
    for (id, row) in &answered {
        if let Some(value) = &wanted.value {
            wants(row["value"] == json!(value), &format!("row {id} is {value:?}: {row}"));
        }
        if let Some(json) = &wanted.json {
            let value = serde_json::from_str::<Value>(row["value"].as_str().unwrap_or_default());
            wants(value.is_ok_and(|value| value == *json), &format!("row {id} is {json}: {row}"));
        }
    }
    for (id, row) in &failed {
        if let Some(part) = wanted.failed.get(id) {
            let error = row["error"].as_str().unwrap_or_default();
            wants(error.contains(part.as_str()), &format!("the error of row {id} has {part:?}: {row}"));
        }
        if let Some(status) = &wanted.status {
            wants(row["status"] == json!(status), &format!("row {id} is {status}: {row}"));
        }
    }
    for name in &wanted.names {
        wants(run.why.contains(name.as_str()), &format!("{name} is named"));
    }
    let one_of = &wanted.names_one_of;
    let named = one_of.is_empty() || one_of.iter().any(|name| run.why.contains(name.as_str()));
    wants(named, &format!("one of {one_of:?} is named"));
    for part in &wanted.log {
        wants(run.stderr.contains(part.as_str()), &format!("the log has {part:?}"));
    }
    for part in &wanted.never_log {
        wants(!run.stderr.contains(part.as_str()), &format!("the log has no {part:?}"));
    }
    if !wanted.log_once.is_empty() {
        let has_all = |line: &&str| wanted.log_once.iter().all(|part| line.contains(part.as_str()));
        let lines = run.stderr.lines().filter(has_all).count();
        wants(lines == 1, &format!("the log has {:?} in one line, not in {lines}", wanted.log_once));
    }
    server.look(|requests| check_requests(case, requests, &mut wants));
    if !wrong.is_empty() {
        let some = answered.values().take(2).chain(failed.values().take(3));
        let some: Vec<String> = some.map(Value::to_string).collect();
        let (about, want, source) = (&case.about, &case.want, &case.source);
        panic!(
            "{about}\nwanted: {want}\nsource: {source}\n{wrong}{} answered, {} failed, {} calls\n{}\n{}",
            answered.len(),
            failed.len(),
            server.look(<[Request]>::len),
            some.join("\n"),
            run.why
        );
    }
}

fn check_requests(case: &Case, requests: &[Request], wants: &mut impl FnMut(bool, &str)) {
    let wanted = &case.wanted;
    let has = |request: &Request, place: &str| request.body.pointer(place).is_some_and(|value| !value.is_null());
    if let Some(most) = wanted.calls {
        wants(requests.len() <= most, &format!("{most} calls at most, not {}", requests.len()));
    }
    for request in requests {
        for secret in &wanted.never_sent {
            let sent = request.head.contains(secret.as_str()) || request.body.to_string().contains(secret.as_str());
            wants(!sent, &format!("{secret} is never sent"));
        }
        for place in &wanted.every_request_has {
            wants(has(request, place), &format!("every request has {place}: {}", request.body));
        }
    }
    if let Some(first) = requests.first() {
        for (place, value) in &wanted.first_request {
            let found = first.body.pointer(place);
            wants(found == Some(value), &format!("the first request has {value} at {place}: {}", first.body));
        }
    }
    if let Some(last) = requests.last() {
        for place in &wanted.last_request_has {
            wants(has(last, place), &format!("the last request has {place}: {}", last.body));
        }
        for place in &wanted.last_request_lacks {
            wants(!has(last, place), &format!("the last request has no {place}: {}", last.body));
        }
    }
    if wanted.more_room {
        let mut rooms: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for request in requests {
            let room = ["/max_tokens", "/max_completion_tokens"];
            let room = room.iter().find_map(|place| request.body.pointer(place)?.as_u64());
            rooms.entry(&request.mark).or_default().push(room.unwrap_or(0));
        }
        for (mark, rooms) in rooms {
            wants(rooms.len() > 1 && rooms.is_sorted_by(|a, b| a < b), &format!("[{mark}] has more room: {rooms:?}"));
        }
    }
}

fn runs(case: &Case) {
    let options = case.options.clone().unwrap_or_else(|| json!({}));
    let folder = project(case.function, &options, case.rows, case.characters);
    let server = Server::start(case);
    let run = run(case, folder.path(), &server);
    check(case, folder.path(), &server, &run);
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

#[test]
fn cases_are_told_apart() {
    let cases = case::all();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    assert!(cases.len() >= 15 + 50, "{} cases", cases.len());
    for case in &cases {
        let wanted = &case.wanted;
        assert!(case.rows > 0 && !case.replies.is_empty(), "{}", case.name);
        let scripted = case.when.iter().flat_map(|rule| &rule.replies).chain(&case.replies);
        let kinds = scripted.map(|reply| (&reply.says, &reply.body, &reply.raw));
        for (says, body, raw) in kinds {
            let given = usize::from(says.is_some()) + usize::from(body.is_some()) + usize::from(raw.is_some());
            assert!(given <= 1, "{}: a reply has one body", case.name);
        }
        assert!(case.when.iter().all(|rule| !rule.replies.is_empty()), "{}", case.name);
        let says_what = !wanted.names.is_empty() || !wanted.names_one_of.is_empty();
        assert!(wanted.outcome == Outcome::Answers || says_what, "{}: what does the error name?", case.name);
    }
}

#[test]
fn every_case_ends_as_a_user_wants() {
    let part = std::env::var("BATON_TEST_CASE").unwrap_or_default();
    let cases: Vec<Case> = case::all().into_iter().filter(|case| case.name.contains(&part)).collect();
    assert!(!cases.is_empty(), "no case has {part} in its name");
    udfs();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| runs(case))) {
                        let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
                        wrong.insert(case.name.clone(), said(&*panic));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !wrong.is_empty() {
        let names: Vec<&str> = wrong.keys().map(String::as_str).collect();
        let all: Vec<String> = wrong.iter().map(|(name, why)| format!("## {name}\n{why}")).collect();
        panic!("{}\n\n{} of {} cases: {}", all.join("\n\n"), wrong.len(), cases.len(), names.join(", "));
    }
}
