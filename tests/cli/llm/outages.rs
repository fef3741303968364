//! A model that goes away while rows are asked about, in every way, and comes back: nothing is lost and nothing fails.

use std::time::{Duration, Instant};

use super::{LONG, Project, agent, good, text};
use crate::binary::{Running, until};
use crate::played::{Model, Reply};

const ROWS: usize = 3000;

/// Several times what a row may take where no engine waits for it.
fn longer_than_a_row(project: &Project, running: &mut Running) {
    let length = std::env::var("BATON_TEST_OUTAGE").map_or(3, |seconds| seconds.parse().expect("seconds"));
    let begin = Instant::now();
    until("the outage goes on", LONG, || {
        assert!(running.is_running(), "it has ended");
        assert!(project.ready().starts_with("waiting: `llm_classify`: "), "{}", project.ready());
        begin.elapsed() >= Duration::from_secs(length)
    });
}

/// Waits until so many more calls have come and the ready file says that all is well.
fn goes_on(project: &Project, model: &Model, more: usize) {
    let before = model.look(|seen| seen.calls);
    until("calls go on", LONG, || model.look(|seen| seen.calls) >= before + more && project.ready() == "ready");
}

#[test]
fn rows_wait_for_a_model_that_goes_away_in_every_way_and_comes_back() {
    let (project, model) = (Project::with_rows(ROWS), Model::start(good));
    model.takes(Duration::from_millis(50));
    let settings = [
        ("BATON_LLM_CONCURRENCY", "20"),
        ("BATON_LLM_TIMEOUT", "1s"),
        ("BATON_LLM_DEADLINE", "1s"),
        ("BATON_LLM_BREAKER", "10"),
    ];
    let mut running = project.run(&model, &settings);
    let waits = |running: &mut Running| {
        until("it waits", LONG, || {
            assert!(running.is_running(), "it has ended");
            project.ready().starts_with("waiting: ")
        });
    };

    goes_on(&project, &model, 200);
    model.goes_away();
    waits(&mut running);
    longer_than_a_row(&project, &mut running);
    model.comes_back();
    goes_on(&project, &model, 200);
    model.fails(503);
    waits(&mut running);
    longer_than_a_row(&project, &mut running);
    model.recovers();
    goes_on(&project, &model, 200);
    model.replies(|_| Reply::Hangs(Duration::ZERO));
    waits(&mut running);
    longer_than_a_row(&project, &mut running);
    model.recovers();

    let ended = running.wait(LONG).expect_code(0);
    let decisions = project.decisions();
    assert_eq!(decisions.len(), ROWS, "rows were lost");
    for (id, decision) in &decisions {
        let expected = ("ok", agent(&text(*id)));
        assert_eq!((decision.text("status"), decision.text("agent")), expected, "{decision:?}");
    }
    let waits: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("WARN `llm_classify` waits: ")).collect();
    let told = |whys: &[&str]| whys.iter().any(|why| waits.iter().any(|line| line.contains(why)));
    for whys in
        [&["the connection was lost to ", "cannot connect to "][..], &["503 Service Unavail"], &["no answer from "]]
    {
        assert!(told(whys), "{whys:?}: {}", ended.stderr);
    }
    assert!(ended.stderr.matches("INFO `llm_classify` continues after ").count() >= 3, "{}", ended.stderr);
    assert_eq!(project.ready(), "", "it goes with its process");
}
