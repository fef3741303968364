//! Budgets and rates, as the model counts them: two processes share one, and one of them is killed.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{LONG, Project, good};
use crate::binary::{Running, until};
use crate::played::Model;

const ROWS: usize = 300;
const AT_A_TIME: usize = 8;
const BUDGET: u64 = 150_000;

fn used(state: &Path) -> u64 {
    let usage = std::fs::read_to_string(state.join("usage.json")).expect("a file that is counted in");
    let usage: Value = serde_json::from_str(&usage).expect("JSON");
    usage["tokens"].as_u64().expect("a number")
}

#[test]
fn a_budget_is_kept_by_two_processes_and_through_kills() {
    let model = Model::start(good);
    model.takes(Duration::from_millis(20));
    let projects = [Project::with_rows(ROWS), Project::with_rows(ROWS)];
    let state = tempfile::tempdir().expect("a folder");
    let (budget, at_a_time) = (BUDGET.to_string(), AT_A_TIME.to_string());
    let settings = [
        ("BATON_LLM_STATE_DIR", state.path().to_str().expect("a path in UTF-8")),
        ("BATON_LLM_BUDGET_TOKENS", &budget),
        ("BATON_LLM_MAX_TOKENS", "50"),
        ("BATON_LLM_CONCURRENCY", &at_a_time),
    ];
    let run = |project: &Project| project.run(&model, &settings);
    let kept = |when: &str| {
        let (tokens, used) = (model.look(|seen| seen.tokens), used(state.path()));
        assert!(tokens <= used && used <= BUDGET, "{when}: {tokens} used, {used} counted, {BUDGET} allowed");
    };

    let mut killed = run(&projects[0]);
    let other = run(&projects[1]);
    for kill in 1..=2 {
        // Both are at work; how far each has come, nobody knows.
        model.wait("calls are made", |seen| seen.calls >= kill * 50);
        assert!(killed.is_running());
        let ended = killed.kill();
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        kept("after a kill");
        killed = run(&projects[0]);
    }
    killed.wait(LONG).expect_code(0);
    other.wait(LONG).expect_code(0);
    kept("at the end");

    let mut answered = 0;
    for project in &projects {
        let decisions = project.decisions();
        assert_eq!(decisions.len(), ROWS, "rows were lost");
        for decision in decisions.values() {
            match decision.text("status") {
                "ok" => answered += 1,
                "budget" => {
                    let error = format!("BATON_LLM_BUDGET_TOKENS is {BUDGET}, of which ");
                    assert!(decision.text("error").starts_with(&error), "{decision:?}");
                    assert_eq!((decision.text("agent"), decision.attempts()), ("-", 0), "{decision:?}");
                }
                other => panic!("{other}: {decision:?}"),
            }
        }
    }
    let seen = model.seen();
    // Kills cost what was in flight and no more, so that most of the budget was of use.
    assert!(seen.tokens > BUDGET / 2, "{} of {BUDGET}", seen.tokens);
    assert!(answered < 2 * ROWS && seen.calls >= answered, "{} calls, {answered} rows answered", seen.calls);

    // It is used up for whoever comes.
    for project in &projects {
        run(project).wait(LONG).expect_code(0);
        assert!(project.decisions().values().all(|decision| decision.text("status") == "budget"));
    }
    assert_eq!(model.look(|seen| seen.calls), seen.calls, "no call leaves any more");
}

#[test]
fn a_rate_is_kept_by_two_processes() {
    const A_SECOND: usize = 20;
    const WINDOW: Duration = Duration::from_secs(5);
    // Calls leave in time, but a machine that is busy may bring them late, and then many at once.
    const LATE: Duration = Duration::from_millis(500);
    let model = Model::start(good);
    let projects = [Project::with_rows(120), Project::with_rows(120)];
    let state = tempfile::tempdir().expect("a folder");
    let limit = (60 * A_SECOND).to_string();
    let settings = [
        ("BATON_LLM_STATE_DIR", state.path().to_str().expect("a path in UTF-8")),
        ("BATON_LLM_REQUESTS_PER_MINUTE", &limit),
    ];
    let runs: Vec<Running> = projects.iter().map(|project| project.run(&model, &settings)).collect();
    for (run, project) in runs.into_iter().zip(&projects) {
        run.wait(LONG).expect_code(0);
        let decisions = project.decisions();
        assert_eq!(decisions.len(), 120);
        assert!(decisions.values().all(|decision| decision.text("status") == "ok"), "{decisions:?}");
    }
    let times = model.seen().times;
    assert_eq!(times.len(), 240);
    let most = A_SECOND * usize::try_from((WINDOW + LATE).as_millis()).expect("seconds") / 1000 + A_SECOND;
    for (index, start) in times.iter().enumerate() {
        let in_window = times[index..].iter().take_while(|time| **time - *start < WINDOW).count();
        assert!(in_window <= most, "{in_window} calls in {WINDOW:?}, {most} at most");
    }
    // A second's worth at once, then one after the other: no faster, and not much slower.
    let (took, least) = (times[239] - times[0], Duration::from_secs(240 / 20 - 1));
    assert!(took + LATE >= least && took < least * 2, "{took:?}, {least:?} at least");
}

#[test]
fn a_budget_of_money_stops_calls_too() {
    let (project, model) = (Project::with_rows(50), Model::start(good));
    let state = tempfile::tempdir().expect("a folder");
    // A call takes some 600 tokens, and 2500 at most: at a thousandth of a unit for each, twenty calls or so.
    let settings = [
        ("BATON_LLM_STATE_DIR", state.path().to_str().expect("a path in UTF-8")),
        ("BATON_LLM_BUDGET_COST_PER_DAY", "15"),
        ("BATON_LLM_PRICES", "stub=1000/1000"),
        ("BATON_LLM_MAX_TOKENS", "50"),
        ("BATON_LLM_CONCURRENCY", "2"),
    ];
    let mut running = project.run(&model, &settings);
    until("it ends", LONG, || {
        assert!(model.look(|seen| seen.tokens) <= 15_000);
        !running.is_running()
    });
    running.wait(LONG).expect_code(0);
    let decisions = project.decisions();
    let count = |status: &str| decisions.values().filter(|decision| decision.text("status") == status).count();
    assert_eq!((count("ok") + count("budget"), count("ok")), (50, model.seen().calls));
    assert!(count("ok") > 5 && count("budget") > 5, "{} rows answered", count("ok"));
    let cost: f64 = decisions
        .values()
        .map(|decision| {
            let decision: Value = serde_json::from_str(decision.text("decision")).expect("JSON");
            decision["cost"].as_f64().unwrap_or(0.0)
        })
        .sum();
    let tokens = u32::try_from(model.seen().tokens).expect("a few");
    assert!((cost - f64::from(tokens) / 1000.0).abs() < 1e-6, "{cost}");
}
