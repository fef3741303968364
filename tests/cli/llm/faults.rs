//! Many rows, many at a time, and a server whose every tenth answer is faulty in one of all ways.

use std::time::Duration;

use super::{LONG, Project, agent, drawn, good, text};
use crate::binary::until;
use crate::played::{Call, Model, Reply, names};

const ROWS: usize = 20_000;
const AT_A_TIME: usize = 200;
const RETRIES: usize = 2;

/// How long a call may take; a call that hangs holds its slot for as long.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The fault of a text's `nth` call, when it has one.
fn fault(text: &str, nth: usize) -> Option<Reply> {
    if drawn((text, nth, "whether"), 10) != 0 {
        return None;
    }
    let status = |status: u16, body: &str| Reply::Answers(status, Vec::new(), body.to_owned());
    let later = |seconds| Reply::Answers(429, vec![("retry-after", seconds)], String::new());
    let page = "<!DOCTYPE html><html><body>It works!</body></html>";
    let faults = [
        status(500, "Internal Server Error"),
        status(502, page),
        status(503, r#"{"error":{"message":"The model is loading."}}"#),
        status(429, r#"{"error":{"message":"Slow down."}}"#),
        later("0"),
        later("1"),
        // Counted for a little less than the client waits, so that the next call is never counted beside it.
        Reply::Hangs(TIMEOUT / 2),
        Reply::Resets,
        Reply::Gibberish,
        status(200, "{\"choices\": [{\"mess"),
        status(200, ""),
        status(200, page),
        names("A name that nobody has"),
    ];
    Some(faults[drawn((text, nth, "which"), faults.len())].clone())
}

fn is_429(fault: &Reply) -> bool {
    matches!(fault, Reply::Answers(429, ..))
}

fn rule(call: &Call) -> Reply {
    fault(&call.text, call.nth).unwrap_or_else(|| good(call))
}

fn every_row_is_answered_once(settings: &[(&str, &str)]) {
    let (project, model) = (Project::with_rows(ROWS), Model::start(rule));
    model.takes(Duration::from_millis(40));
    let at_a_time = AT_A_TIME.to_string();
    let usual = [("BATON_LLM_CONCURRENCY", at_a_time.as_str()), ("BATON_LLM_TIMEOUT", "1s")];
    let mut running = project.run(&model, &[&usual[..], settings].concat());
    let (mut early, mut peak) = (0, 0);
    until("all rows are through", LONG, || {
        peak = running.peak_memory().map_or(peak, |now| now.max(peak));
        if early == 0 && model.look(|seen| seen.calls) >= ROWS / 4 {
            early = peak;
        }
        !running.is_running()
    });
    running.wait(LONG).expect_code(0);
    let seen = model.seen();

    let decisions = project.decisions();
    assert_eq!(decisions.len(), ROWS, "rows were lost");
    let mut failed = 0;
    for (id, decision) in &decisions {
        let text = text(*id);
        let calls = seen.by_text[&text];
        assert_eq!(decision.attempts(), calls, "{decision:?}");
        // One that is told to come back later is no failure of its row, as long as others are answered.
        let later = (1..=calls).filter(|nth| fault(&text, *nth).is_some_and(|fault| is_429(&fault))).count();
        assert!(calls - later <= 1 + RETRIES + 1, "{calls} calls, {later} of them with 429: {decision:?}");
        match decision.text("status") {
            "ok" => assert_eq!(decision.text("agent"), agent(&text), "{decision:?}"),
            "invalid" | "timeout" | "unavailable" | "rate_limited" => {
                failed += 1;
                assert_eq!(decision.text("agent"), "-", "{decision:?}");
                assert_ne!(decision.text("error"), "-", "{decision:?}");
                // It was not given up before its time.
                assert!(calls >= 2, "{decision:?}");
            }
            other => panic!("{other} is no status that this server can lead to: {decision:?}"),
        }
        assert_eq!(decision.text("source"), "model", "{decision:?}");
    }
    // Two bad answers, or three faults, of ten thousand or a thousand calls each.
    assert!((1..ROWS / 50).contains(&failed), "{failed} rows failed");
    // Beside them, there may be the harmless question.
    assert_eq!(seen.by_text.keys().filter(|text| text.starts_with('[')).count(), ROWS);
    assert!((AT_A_TIME / 2..=AT_A_TIME).contains(&seen.peak), "{} calls at a time", seen.peak);
    if peak > 0 {
        assert!(early > 0 && peak - early < 24 << 20, "memory grew from {early} to {peak} bytes");
        assert!(peak < 200 << 20, "{peak} bytes");
    }
}

#[test]
fn every_row_is_answered_once_without_the_breaker() {
    every_row_is_answered_once(&[("BATON_LLM_BREAKER", "off")]);
}

#[test]
fn every_row_is_answered_once_with_the_breaker() {
    every_row_is_answered_once(&[]);
}
