//! What is said of the calls of `llm_classify` before a row is read: by `plan`, as by everything that runs pipelines, and not
//! by `render`, whose text is for another machine.

use std::fs;

use tempfile::TempDir;

use crate::binary::{Ended, run};

/// A pipeline that calls a UDF with the arguments of `llm_classify`; the options are an expression.
fn asking(options: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("udfs")).expect("a folder");
    let udf = "#[udf]\nasync fn llm_classify(text: &str, agents: &str, options: &str) -> String { String::new() }\n";
    fs::write(folder.path().join("udfs/llm_classify.rs"), udf).expect("a file");
    let sql = format!(
        "CREATE TABLE asked (note TEXT) WITH (connector = 'single_file', path = 'in.json', format = 'json');
         CREATE TABLE answered (answer TEXT) WITH (connector = 'stdout', format = 'json');
         CREATE VIEW answers AS SELECT llm_classify(note, '[]', {options}) AS answer FROM asked;
         INSERT INTO answered SELECT answer FROM answers;"
    );
    fs::write(folder.path().join("ask.sql"), sql).expect("a file");
    folder
}

fn said(command: &str, options: &str, variables: &[(&str, &str)]) -> Ended {
    run(asking(options).path(), &[command, "ask.sql"], variables)
}

#[test]
fn settings_are_checked_for_the_options_that_calls_have() {
    let without_model = [("BATON_LLM_BASE_URL", "http://localhost:9/v1")];
    for options in ["'{}'", "NULL", "'{\"temperature\": 1}'", "'{\"provider\": \"openai\"}'"] {
        let ended = said("plan", options, &without_model).expect_code(78);
        assert!(ended.stderr.contains("help: set BATON_LLM_MODEL"), "{options}: {}", ended.stderr);
        said("plan", options, &[without_model[0], ("BATON_LLM_MODEL", "m")]).expect_code(0);
    }
    // They say it themselves, or a row does.
    for options in ["'{\"model\": \"m\"}'", "'{\"provider\": \"offline\"}'", "note"] {
        said("plan", options, &without_model).expect_code(0);
    }
}

#[test]
fn render_needs_no_settings_and_right_options() {
    let wrong = [("BATON_LLM_CONCURRENCY", "many")];
    for command in ["plan", "run"] {
        let ended = said(command, "note", &wrong).expect_code(78);
        assert!(ended.stderr.contains("error[P004]: BATON_LLM_CONCURRENCY is `many`"), "{}", ended.stderr);
    }
    said("render", "note", &wrong).expect_code(0);
    let ended = said("render", "'{\"modell\": \"m\"}'", &[]).expect_code(78);
    assert!(ended.stderr.contains("error[U006]"), "{}", ended.stderr);
}

#[test]
fn a_pipeline_that_asks_no_model_needs_no_settings() {
    let folder = asking("'{}'");
    let sql = fs::read_to_string(folder.path().join("ask.sql")).expect("a file");
    fs::write(folder.path().join("ask.sql"), sql.replace("llm_classify(note, '[]', '{}')", "upper(note)"))
        .expect("a file");
    run(folder.path(), &["plan", "ask.sql"], &[("BATON_LLM_TIMEOUT", "soon")]).expect_code(0);
}
