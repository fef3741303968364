//! Servers that are healthy and slow: no message is lost, and none is asked about twice.
//!
//! The tests in full size take minutes: `cargo test --release --test cli slow -- --ignored`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Project, agent, good, text};
use crate::played::{Model, Reply};

/// Longer than the slowest of these runs, on a machine that is busy with other things.
const LONGEST: Duration = Duration::from_mins(15);

/// All rows are answered as they should be, each by one call that nobody hung up on.
fn each_row_takes_one_call(rows: usize, model: &Model, settings: &[(&str, &str)]) {
    let project = Project::with_rows(rows);
    let ended = project.run(model, settings).wait(LONGEST).expect_code(0);
    let (decisions, seen) = (project.decisions(), model.seen());
    assert_eq!(decisions.len(), rows, "rows were lost");
    for (id, decision) in &decisions {
        let expected = ("ok", agent(&text(*id)));
        assert_eq!((decision.text("status"), decision.text("agent")), expected, "{decision:?}\n{}", ended.stderr);
        assert_eq!(decision.attempts(), 1, "{decision:?}");
    }
    assert_eq!((seen.calls, seen.hung_up), (rows, 0), "calls, and callers that hung up; {} at most", seen.peak);
}

fn one_at_a_time(latency: Duration) -> Model {
    let model = Model::start(good);
    model.works_on(1);
    model.takes(latency);
    model
}

fn cold(load: Duration) -> Model {
    let model = Model::start(good);
    model.is_cold(load);
    model.takes(Duration::from_millis(50));
    model
}

#[test]
fn a_server_that_answers_one_call_at_a_time_loses_no_message() {
    each_row_takes_one_call(40, &one_at_a_time(Duration::from_millis(100)), &[("BATON_LLM_TIMEOUT", "1s")]);
}

#[test]
#[ignore = "takes three minutes"]
fn a_server_that_answers_one_call_a_second_loses_no_message_with_the_default_settings() {
    each_row_takes_one_call(150, &one_at_a_time(Duration::from_secs(1)), &[]);
}

#[test]
fn a_server_that_becomes_slow_loses_no_message() {
    const ROWS: usize = 300;
    let (project, model) = (Project::with_rows(ROWS), Model::start(good));
    model.works_on(16);
    model.takes(Duration::from_millis(20));
    let running = project.run(&model, &[("BATON_LLM_TIMEOUT", "2s")]);
    model.wait("it is fast", |seen| seen.calls >= ROWS / 2);
    model.works_on(1);
    model.takes(Duration::from_millis(100));
    running.wait(LONGEST).expect_code(0);
    let decisions = project.decisions();
    assert_eq!(decisions.len(), ROWS, "rows were lost");
    assert!(decisions.values().all(|decision| decision.text("status") == "ok"), "{decisions:?}");
}

#[test]
fn a_server_that_limits_its_rate_loses_no_message() {
    const ROWS: usize = 200;
    const A_SECOND: usize = 40;
    let taken: Mutex<VecDeque<Instant>> = Mutex::default();
    let (project, model) = (
        Project::with_rows(ROWS),
        Model::start(move |call| {
            let (mut taken, now) = (taken.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
            while taken.front().is_some_and(|first| now.duration_since(*first) >= Duration::from_secs(1)) {
                taken.pop_front();
            }
            if taken.len() >= A_SECOND {
                let error = r#"{"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}"#;
                return Reply::Answers(429, vec![("retry-after", "1")], error.to_owned());
            }
            taken.push_back(now);
            good(call)
        }),
    );
    project.run(&model, &[]).wait(LONGEST).expect_code(0);
    let decisions = project.decisions();
    assert_eq!(decisions.len(), ROWS, "rows were lost");
    assert!(decisions.values().all(|decision| decision.text("status") == "ok"), "{decisions:?}");
    // As many refusals as calls at a time in each second, were nothing learnt from them.
    let calls = model.seen().calls;
    assert!(calls < 2 * ROWS, "{calls} calls for {ROWS} rows");
}

#[test]
fn a_fast_server_is_asked_as_much_at_once_as_it_may_be() {
    const ROWS: usize = 3000;
    let (project, model) = (Project::with_rows(ROWS), Model::start(good));
    model.takes(Duration::from_millis(40));
    project.run(&model, &[("BATON_LLM_CONCURRENCY", "64")]).wait(LONGEST).expect_code(0);
    let (decisions, seen) = (project.decisions(), model.seen());
    assert_eq!(decisions.len(), ROWS, "rows were lost");
    assert!(decisions.values().all(|decision| decision.text("status") == "ok"), "{decisions:?}");
    assert_eq!(seen.calls, ROWS);
    assert!((48..=64).contains(&seen.peak), "{} calls at a time", seen.peak);
}

#[test]
fn a_model_that_has_to_be_loaded_takes_one_call_a_message() {
    each_row_takes_one_call(20, &cold(Duration::from_millis(1500)), &[]);
}

#[test]
#[ignore = "takes a minute"]
fn a_model_that_takes_45_seconds_to_load_takes_one_call_a_message_with_the_default_settings() {
    each_row_takes_one_call(20, &cold(Duration::from_secs(45)), &[]);
}
