//! `baton new`: a project and an agent that work as they are made.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::binary::{Running, run};

/// A new project in a folder.
fn project(folder: &Path) -> std::path::PathBuf {
    run(folder, &["new", "mine"], &[]).expect_code(0);
    folder.join("mine")
}

#[test]
fn a_new_project_passes_the_check_and_answers_in_the_demo() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(folder.path());
    run(&project, &["check", "--deny", "warnings"], &[]).expect_code(0);
    let _one = crate::demo::one_at_a_time();
    let offline = [("BATON_LLM_PROVIDER", "offline")];
    let ended = Running::start(&project, &["demo"], &offline).wait(Duration::from_mins(15)).expect_code(0);
    assert!(ended.stdout.contains("Question Agent says: ") && !ended.stdout.contains("unfinished"), "{}", ended.stdout);
    // It overwrites nothing.
    assert_ne!(run(folder.path(), &["new", "mine"], &[]).code, Some(0));
}

#[test]
fn a_new_agent_is_known_and_has_to_be_filled_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(folder.path());
    run(&project, &["new", "agent", "Anna's  Review Agent"], &[]).expect_code(0);
    let text = fs::read_to_string(project.join("pipelines/anna_s_review.sql")).expect("its file");
    assert!(text.contains("'Anna''s Review Agent'") && text.lines().count() <= 25, "{text}");
    let checked = run(&project, &["check", "--deny", "warnings"], &[]).expect_code(1).stderr;
    assert!(checked.contains("W107") && !checked.contains("error["), "{checked}");
}

#[test]
fn a_name_that_cannot_be_an_agents_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(folder.path());
    let long = "a".repeat(201);
    for name in ["", " ", "NONE", "Agents", "Messages Agent", "Decided", "Agent Topics", "Question Agent", &long] {
        let ended = run(&project, &["new", "agent", name], &[]).expect_code(78);
        assert!(ended.stderr.contains("error[") && ended.stderr.contains("help: "), "{name}: {}", ended.stderr);
    }
    run(&project, &["check", "--deny", "warnings"], &[]).expect_code(0);
}

#[test]
fn topics_that_differ_in_signs_alone_are_rendered_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(folder.path());
    for (number, topic) in ["a.b", "a-b", "a_b", "rows"].iter().enumerate() {
        let agent = format!(
            "CREATE AGENT agent_{number} WITH (name = 'Agent {number}', description = 'd', input = 'i', output = 'o', topic = '{topic}');"
        );
        fs::write(project.join(format!("sql/agent_{number}.sql")), agent).expect("a file");
    }
    let text = run(&project, &["render", "route_messages"], &[]).expect_code(0).stdout;
    for topic in ["a.b", "a-b", "a_b", "rows"] {
        assert!(text.contains(&format!("topic = '{topic}'")), "{topic}: {text}");
    }
}
