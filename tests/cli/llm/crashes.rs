//! Processes that are killed with the decision log on: a question is paid for once, and its decision stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{AGENTS, LONG, Project, drawn, number, text};
use crate::binary::until;
use crate::played::{Model, names};

const ROWS: usize = 2500;
const KILLS: usize = 20;

/// The keys of all whole entries.
fn logged(project: &Project) -> Vec<String> {
    let log = project.read("decisions.jsonl");
    let whole = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let entries = whole.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    entries.map(|entry| entry["key"].as_str().expect("a key").to_owned()).collect()
}

#[test]
fn after_kills_no_question_is_paid_for_twice_and_every_decision_stays() {
    let seed = std::env::var("BATON_TEST_SEED").map_or_else(
        |_| number((std::process::id(), std::time::SystemTime::now())),
        |seed| seed.parse().expect("a number"),
    );
    println!("BATON_TEST_SEED={seed} repeats this");
    let project = Project::with_rows(ROWS);
    // It changes its mind every time, so that a second answer shows.
    let model = Model::start(|call| names(AGENTS[(call.nth - 1) % AGENTS.len()]));
    model.takes(Duration::from_millis(50));
    let settings = [("BATON_LLM_CONCURRENCY", "20"), ("BATON_LLM_DECISION_LOG", "decisions.jsonl")];

    let mut delivered: BTreeMap<usize, String> = BTreeMap::new();
    let mut lost_in_all = 0;
    for kill in 0..KILLS {
        let (calls_before, logged_before) = (model.look(|seen| seen.calls), logged(&project).len());
        let mut running = project.run(&model, &settings);
        let begin = Instant::now();
        if drawn((seed, kill, "how"), 4) == 0 {
            // At any time, also before anything is open.
            let length = Duration::from_millis(drawn((seed, kill, "when"), 500) as u64);
            until("its time has come", LONG, || begin.elapsed() >= length);
        } else {
            let calls = calls_before + 1 + drawn((seed, kill, "when"), 120);
            until("calls are made", LONG, || model.look(|seen| seen.calls) >= calls);
        }
        assert!(running.is_running(), "seed {seed}: it had ended before kill {kill}");
        let ended = running.kill();
        assert!(!ended.stderr.contains("panicked"), "seed {seed}: {}", ended.stderr);
        model.wait("nothing is under way", |seen| seen.in_flight == 0);
        let calls = model.look(|seen| seen.calls) - calls_before;
        // What was asked, or answered and not on the disk yet: how much that is, is up to the disk.
        lost_in_all += calls - (logged(&project).len() - logged_before);
        for decision in project.rows("answered.json") {
            let id = decision.text("id").parse().expect("a number");
            let agent = decision.text("agent").to_owned();
            let before = delivered.insert(id, agent.clone());
            assert!(before.is_none_or(|before| before == agent), "seed {seed}, kill {kill}: {decision:?}");
        }
        assert!(delivered.len() <= logged(&project).len(), "seed {seed}, kill {kill}: delivered before it was kept");
    }

    let before = model.seen();
    project.run(&model, &settings).wait(LONG).expect_code(0);
    let (after, decisions) = (model.seen(), project.decisions());
    assert_eq!(decisions.len(), ROWS, "seed {seed}: rows were lost");
    for (id, decision) in &decisions {
        let text = text(*id);
        let asked = after.by_text[&text];
        let asked_now = asked > before.by_text.get(&text).copied().unwrap_or(0);
        let expected = ("ok", AGENTS[(asked - 1) % AGENTS.len()], if asked_now { "model" } else { "log" });
        let found = (decision.text("status"), decision.text("agent"), decision.text("source"));
        assert_eq!(found, expected, "seed {seed}: asked {asked} times: {decision:?}");
        assert_eq!(decision.attempts(), usize::from(asked_now), "seed {seed}: {decision:?}");
        assert!(asked <= 1 + KILLS, "seed {seed}: {decision:?}");
        if let Some(delivered) = delivered.get(id) {
            assert_eq!(decision.text("agent"), delivered, "seed {seed}: it was delivered otherwise before");
        }
    }
    // All that was asked again had been in flight at a kill: one entry a question, and a call for it that is not lost.
    let keys = logged(&project);
    assert_eq!(keys.len(), ROWS, "seed {seed}: a question was paid for again that was in the log");
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), ROWS);
    assert_eq!(after.calls, ROWS + lost_in_all, "seed {seed}");
    assert!(lost_in_all > 0 && !delivered.is_empty(), "seed {seed}: nothing was in flight at any kill");
    println!("{KILLS} kills, {lost_in_all} calls lost by them, {} rows delivered before", delivered.len());
}
