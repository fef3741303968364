//! A key that is refused, at once or in mid-run: the process ends and says so, and no row gets a result that it should not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{LONG, Project, good};
use crate::binary::Ended;
use crate::played::Model;

const ROWS: usize = 500;

fn refused(ended: &Ended, origin: &str) {
    let error = format!(
        "error[R007]: {origin} answers 401 Unauthorized: Incorrect API key provided: ***. Check BATON_LLM_API_KEY"
    );
    assert!(ended.stderr.contains(&error), "{}", ended.stderr);
}

#[test]
fn a_refused_key_ends_the_run_and_costs_no_row() {
    let (project, model) = (Project::with_rows(ROWS), Model::start(good));
    let origin = model.url().replace("/v1", "");
    model.fails(401);
    let settings = |key| [("BATON_LLM_API_KEY", key), ("BATON_LLM_CONCURRENCY", "10")];
    let ended = project.run(&model, &settings("the-wrong-key")).wait(LONG).expect_code(78);
    refused(&ended, &origin);
    assert!(ended.took < Duration::from_secs(15), "{:?}", ended.took);
    assert!(project.decisions().is_empty(), "{:?}", project.decisions());
    // Rows that were about to leave may still do so before the process ends.
    assert!((1..ROWS / 2).contains(&model.seen().calls), "{} calls", model.seen().calls);

    // In mid-run too; what was answered before stands.
    let revoked = AtomicBool::new(false);
    model.fails_where(401, move |call| {
        // Then it is refused whatever is asked.
        revoked.fetch_or(call.text.as_str() >= "[00250]", Ordering::Relaxed) || call.text.as_str() >= "[00250]"
    });
    let ended = project.run(&model, &settings("the-same-key")).wait(LONG).expect_code(78);
    refused(&ended, &origin);
    assert!(project.decisions().values().all(|decision| decision.text("status") == "ok"));
    assert!(project.decisions().len() <= 250);

    model.recovers();
    project.run(&model, &settings("the-right-key")).wait(LONG).expect_code(0);
    let decisions = project.decisions();
    assert_eq!(decisions.len(), ROWS);
    assert!(decisions.values().all(|decision| decision.text("status") == "ok"));
}
