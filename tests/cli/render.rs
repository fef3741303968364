//! `baton render`: the text that it prints runs by itself and gives the same rows, and it has the shapes that Arroyo plans
//! well.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::binary::{Running, root, run};

/// The demo compiles UDFs when it is the first to need them.
const LONGEST: Duration = Duration::from_mins(15);

fn pipelines() -> Vec<String> {
    let entries = fs::read_dir(root().join("pipelines")).expect("pipelines/");
    let names = entries.map(|e| e.expect("an entry").path()).filter(|p| p.extension().is_some_and(|e| e == "sql"));
    let names: Vec<String> = names.map(|p| p.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    assert!(names.len() >= 8, "only {names:?}");
    names
}

/// Renders every pipeline of the repository into a project that has nothing else but its UDFs.
fn rendered_project(folder: &Path) {
    fs::create_dir(folder.join("pipelines")).expect("a folder");
    fs::create_dir(folder.join("demo")).expect("a folder");
    fs::copy(root().join("demo/leads.jsonl"), folder.join("demo/leads.jsonl")).expect("the demo's leads");
    std::os::unix::fs::symlink(root().join("udfs"), folder.join("udfs")).expect("a link");
    for name in pipelines() {
        let ended = run(&root(), &["render", &name], &[]).expect_code(0);
        let code = ended.stdout.lines().filter(|line| !line.starts_with("--"));
        assert!(code.clone().count() > 50 && !code.into_iter().any(|l| l.contains("'baton.")), "{}", ended.stdout);
        assert!(ended.stderr.contains("left out"), "{name} says what it leaves out: {}", ended.stderr);
        fs::write(folder.join(format!("pipelines/{name}.sql")), ended.stdout).expect("a file");
    }
}

#[test]
fn rendering_a_rendered_pipeline_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    rendered_project(folder.path());
    for name in pipelines() {
        let again = run(folder.path(), &["render", &name], &[]).expect_code(0).stdout;
        let text = fs::read_to_string(folder.path().join(format!("pipelines/{name}.sql"))).expect("a file");
        // A statement may move: one that Baton wrote stands after its table, one of a file in its place.
        let statements = |text: &str| {
            let code: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
            let code = code.join("\n");
            let mut statements: Vec<String> = code.split("\n\n").map(|s| s.trim().to_string()).collect();
            statements.retain(|statement| !statement.is_empty());
            statements.sort();
            statements
        };
        assert_eq!(statements(&again), statements(&text), "{name}");
    }
}

#[test]
fn the_demo_runs_the_same_on_rendered_pipelines() {
    let folder = tempfile::tempdir().expect("a folder");
    rendered_project(folder.path());
    let demo = |project: &Path| {
        let ended = Running::start(project, &["demo", "--format", "json"], &[]).wait(LONGEST).expect_code(0);
        let mut lines: Vec<String> = ended.stdout.lines().map(str::to_string).collect();
        lines.sort();
        lines
    };
    let here = demo(&root());
    assert!(here.len() >= 10, "{here:?}");
    assert_eq!(demo(folder.path()), here);
}

#[test]
fn what_arroyo_recorded_comes_of_the_rendered_text_too() {
    let parity = root().join("tests/parity");
    let mut compared = 0;
    for entry in fs::read_dir(parity.join("cases")).expect("cases") {
        let path = entry.expect("an entry").path();
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("out");
        let sql = fs::read_to_string(&path).expect("a case");
        let inputs = parity.join("inputs");
        let sql = sql.replace("$IN", &inputs.to_string_lossy()).replace("$OUT", &out.to_string_lossy());
        fs::write(folder.path().join("case.sql"), sql).expect("a file");
        let first = run(folder.path(), &["run", "case.sql"], &[]);
        if first.code == Some(78) {
            continue;
        }
        let written = files(&out);
        let rendered = run(folder.path(), &["render", "case.sql"], &[]).expect_code(0).stdout;
        fs::write(folder.path().join("rendered.sql"), rendered).expect("a file");
        fs::remove_dir_all(&out).expect("it was written");
        let second = run(folder.path(), &["run", "rendered.sql"], &[]);
        assert_eq!(first.code, second.code, "{}: {}", path.display(), second.stderr);
        assert_eq!(written, files(&out), "{}", path.display());
        compared += 1;
    }
    assert!(compared >= 25, "only {compared}");
}

fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder).map(|e| e.map(|e| e.expect("an entry").path()).collect()).unwrap_or_default();
    let mut paths: Vec<PathBuf> = entries;
    paths.sort();
    paths.into_iter().map(|p| (p.clone(), fs::read_to_string(p).expect("text"))).collect()
}

/// A project with async and sync UDFs, and the rendered text of one pipeline without its header.
fn rendered(sql: &str) -> String {
    let folder = project(sql);
    let ended = run(folder.path(), &["render", "job.sql", "--udfs", &udfs()], &[]).expect_code(0);
    ended.stdout.split_once("\n\n").expect("a header").1.to_string()
}

fn udfs() -> String {
    root().join("tests/fixtures/udfs").to_string_lossy().into_owned()
}

fn project(sql: &str) -> tempfile::TempDir {
    const TABLES: &str = "
CREATE TABLE src (id BIGINT, a TEXT) WITH (connector = 'single_file', path = 'in.json', format = 'json');
CREATE TABLE o (id BIGINT, a TEXT) WITH (connector = 'stdout', format = 'json');
CREATE TABLE agents (name TEXT, weight DOUBLE, age BIGINT);
INSERT INTO agents VALUES ('Anna''s', 0.5, -3), ('Ben', 2, 4);
";
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("job.sql"), format!("{TABLES}{sql}")).expect("a file");
    folder
}

#[test]
fn constants_become_literals_and_the_rest_stays_as_written() {
    let text = rendered(
        "-- who it is
CREATE VIEW v AS
SELECT id, a, -- the text
  (SELECT json_agg(name) FROM agents) AS names, a IN (SELECT name FROM agents WHERE weight < 1) AS light,
  (SELECT max(weight) FROM agents) AS heavy, (SELECT min(age) FROM agents) AS youngest,
  (SELECT name FROM agents WHERE name = 'Nobody') AS nobody
FROM src;
INSERT INTO o SELECT id, names FROM v WHERE light OR heavy > youngest;
",
    );
    insta::assert_snapshot!(text, @r#"
    CREATE TABLE src (id BIGINT, a TEXT) WITH (connector = 'single_file', path = 'in.json', format = 'json',
      type = 'source',
      wait_for_control = 'false');

    -- who it is
    CREATE VIEW v AS
    SELECT id, a, -- the text
      '["Anna''s","Ben"]' AS names, a IN ('Anna''s') AS light,
      2.0 AS heavy, CAST('-3' AS BIGINT) AS youngest,
      CAST(NULL AS TEXT) AS nobody
    FROM src;

    CREATE TABLE o (id BIGINT, a TEXT) WITH (connector = 'stdout', format = 'json');

    INSERT INTO o SELECT id, names FROM v WHERE light OR heavy > youngest;
    "#);
}

#[test]
fn an_async_call_reads_its_arguments_from_the_first_columns() {
    // In their places already: nothing is changed.
    let text = rendered(
        "CREATE VIEW q AS SELECT 'x' AS x, a, id FROM src;\nINSERT INTO o SELECT id, async_text(x, q.a) FROM q;\n",
    );
    assert!(text.contains("\nINSERT INTO o SELECT id, async_text(x, q.a) FROM q;"), "{text}");
    let text = rendered(
        "CREATE VIEW d AS SELECT *, async_text('x', upper(s.a)) AS t FROM src AS s WHERE s.id > 1;
INSERT INTO o SELECT id, t FROM d;
",
    );
    insta::assert_snapshot!(text.split_once("\n\n").expect("a table").1, @r#"
    CREATE VIEW d_arguments AS
    SELECT
      'x' AS argument_1,
      upper(s.a) AS argument_2,
      "id",
      a
    FROM src AS s
    WHERE s.id > 1;

    CREATE VIEW d AS
    SELECT
      "id",
      a,
      async_text(argument_1, argument_2) AS t
    FROM
      d_arguments AS s;

    CREATE TABLE o (id BIGINT, a TEXT) WITH (connector = 'stdout', format = 'json');

    INSERT INTO o SELECT id, t FROM d;
    "#);
}

#[test]
fn a_memory_table_is_filled_from_a_view_when_a_call_makes_its_rows() {
    let text = rendered(
        "CREATE TABLE m (id BIGINT, t TEXT);
CREATE VIEW q AS SELECT a, id FROM src;
INSERT INTO m SELECT id, async_text(a, a) FROM q;
INSERT INTO o SELECT id, t FROM m WHERE id < 3;
INSERT INTO o SELECT id, t FROM m WHERE id >= 3;
",
    );
    insta::assert_snapshot!(text, @r#"
    CREATE TABLE m (id BIGINT, t TEXT);

    CREATE TABLE src (id BIGINT, a TEXT) WITH (connector = 'single_file', path = 'in.json', format = 'json',
      type = 'source',
      wait_for_control = 'false');

    CREATE VIEW q AS SELECT a, id FROM src;

    CREATE VIEW m_arguments AS
    SELECT
      a AS argument_1,
      a AS argument_2,
      a,
      "id"
    FROM q;

    CREATE VIEW m_rows AS
    SELECT
      id,
      async_text(argument_1, argument_2)
    FROM
      m_arguments AS q;

    INSERT INTO m SELECT
      *
    FROM
      m_rows;

    CREATE TABLE o (id BIGINT, a TEXT) WITH (connector = 'stdout', format = 'json');

    INSERT INTO o SELECT id, t FROM m WHERE id < 3;

    INSERT INTO o SELECT id, t FROM m WHERE id >= 3;
    "#);
}

#[test]
fn a_call_that_cannot_be_moved_is_refused() {
    let folder = project("INSERT INTO o SELECT id, t FROM (SELECT id, async_text(a, a) AS t FROM src) WHERE id > 1;\n");
    let ended = run(folder.path(), &["render", "job.sql", "--udfs", &udfs()], &[]).expect_code(78);
    assert!(ended.stderr.contains("error[Q111]") && ended.stderr.contains("job.sql:6:1"), "{}", ended.stderr);
    assert!(ended.stdout.is_empty());
}

#[test]
fn options_of_baton_alone_are_left_out_and_named() {
    let folder = project(
        "CREATE TABLE k (s STRUCT<a STRUCT<b TEXT>>, t TEXT) WITH (
  connector = 'kafka', 'baton.create_partitions' = 3, -- three
  type = 'sink', bootstrap_servers = '${SERVERS:-localhost:9092}', topic = '${PREFIX}t', format = 'json',
  'baton.create_replication' = '1'
);
INSERT INTO k SELECT named_struct('a', named_struct('b', a)), a FROM src;
",
    );
    // No variable need be set to look at the text.
    let ended = run(folder.path(), &["render", "job.sql", "--format", "json"], &[]).expect_code(0);
    run(folder.path(), &["plan", "job.sql"], &[]).expect_code(78);
    let answer: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(answer["variables"], serde_json::json!(["PREFIX", "SERVERS"]));
    assert_eq!(answer["udfs"], serde_json::json!([]));
    let left_out = serde_json::json!([
        {"table": "k", "option": "baton.create_partitions"}, {"table": "k", "option": "baton.create_replication"},
    ]);
    assert_eq!(answer["left_out"], left_out);
    insta::assert_snapshot!(answer["sql"].as_str().expect("text"), @"
    -- Made by `baton render job`: change pipelines/ and sql/, not this text.
    -- Variables to put in: PREFIX, SERVERS.
    -- Left out, because only Baton has it: `baton.create_partitions`; in k.
    -- Left out, because only Baton has it: `baton.create_replication`; in k.

    CREATE TABLE src (id BIGINT, a TEXT) WITH (connector = 'single_file', path = 'in.json', format = 'json',
      type = 'source',
      wait_for_control = 'false');

    CREATE TABLE k (s STRUCT<a STRUCT<b TEXT> >, t TEXT) WITH (
      connector = 'kafka', type = 'sink', bootstrap_servers = '${SERVERS:-localhost:9092}', topic = '${PREFIX}t', format = 'json'
    );

    INSERT INTO k SELECT named_struct('a', named_struct('b', a)), a FROM src;
    ");
    assert!(ended.stderr.contains("`baton.create_replication`; in k"), "{}", ended.stderr);
}

#[test]
fn a_with_hides_a_constant_table() {
    let text = rendered("SELECT id AS key FROM src WHERE id > 5 AND(SELECT max(age) FROM agents)> id;\n");
    assert!(text.contains("AND 4> id;"), "{text}");
    for hidden in [
        "WITH x AS (SELECT * FROM agents) SELECT id, (SELECT json_agg(name) FROM x) AS j FROM src;",
        "SELECT id, (WITH agents AS (SELECT 'zz' AS name FROM agents) SELECT min(name) FROM agents) AS x FROM src;",
    ] {
        let folder = project(hidden);
        let ended = run(folder.path(), &["render", "job.sql"], &[]).expect_code(78);
        assert!(ended.stderr.contains("error[Q111]") && ended.stderr.contains("job.sql:6:1"), "{}", ended.stderr);
    }
}

#[test]
fn what_is_printed_anew_means_the_same() {
    let text = rendered(
        r#"CREATE VIEW x AS SELECT id, a, 'mine' AS "current_date" FROM src;
CREATE VIEW v AS (SELECT *, async_text(upper(a), a) AS r, - -id AS m FROM x);
INSERT INTO o SELECT m, async_text(a, upper("current_date")) FROM v;
INSERT INTO o SELECT m, async_text(upper(a), r) FROM v;
SELECT async_text(upper(a), a), id FROM src;
"#,
    );
    assert!(text.contains("upper(a) AS argument_1,") && text.contains("  \"current_date\","), "{text}");
    assert!(text.contains("-(-id) AS m"), "{text}");
    for view in ["v_arguments", "o_arguments", "o_arguments_", "select_arguments"] {
        assert!(text.contains(&format!("CREATE VIEW {view} AS")), "{text}");
    }
}

#[test]
fn comments_between_options_and_shifts_stay() {
    let text = rendered(
        "CREATE TABLE k (id BIGINT, s STRUCT<a STRUCT<b TEXT>>, h BIGINT GENERATED ALWAYS AS (id >> 1)) WITH (
  connector = 'kafka', -- the broker's
  'baton.create_partitions' = 3,
  topic = 'type', /* here */ type = 'source', bootstrap_servers = 'localhost:9092', format = 'json',
  'baton.create_replication' = '1'
);
INSERT INTO o SELECT h, s['a']['b'] FROM k;
",
    );
    insta::assert_snapshot!(text.split_once("\n\nCREATE TABLE o").expect("two tables").0, @"
    CREATE TABLE k (id BIGINT, s STRUCT<a STRUCT<b TEXT> >, h BIGINT GENERATED ALWAYS AS (id >> 1)) WITH (
      connector = 'kafka', -- the broker's
      topic = 'type', /* here */ type = 'source', bootstrap_servers = 'localhost:9092', format = 'json',
      'source.read_mode' = 'read_committed'
    );
    ");
}

/// Stands in for the real one, which has the same arguments.
const CLASSIFY: &str = "#[udf]
async fn llm_classify(text: Option<&str>, agents: Option<&str>, options: Option<&str>) -> String { String::new() }
";

#[test]
fn the_instruction_that_a_model_is_given_is_shown_where_the_options_do_not_replace_it() {
    let shown = "-- The instruction that llm_classify gives to the model";
    let asking = |options: &str, table: &str| {
        format!(
            "CREATE TABLE src (id BIGINT, a TEXT) WITH (connector = 'single_file', path = 'in.json', format = 'json');
             CREATE TABLE o (id BIGINT, a TEXT) WITH (connector = 'stdout', format = 'json');
             -- What is asked.
             CREATE VIEW questions AS SELECT a, '[]' AS agents, {options} AS options, id FROM {table};
             -- Asks.
             CREATE VIEW answers AS SELECT llm_classify(a, agents, options) AS answer, id FROM questions;
             INSERT INTO o SELECT id, answer FROM answers;"
        )
    };
    let render = |sql: &str, udf: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("udfs")).expect("a folder");
        fs::write(folder.path().join("udfs/llm_classify.rs"), udf).expect("a file");
        fs::write(folder.path().join("job.sql"), sql).expect("a file");
        let once = run(folder.path(), &["render", "job.sql"], &[]).expect_code(0).stdout;
        // What was rendered runs, and is rendered to itself.
        fs::write(folder.path().join("job.sql"), &once).expect("a file");
        run(folder.path(), &["plan", "job.sql"], &[]).expect_code(0);
        assert_eq!(run(folder.path(), &["render", "job.sql"], &[]).expect_code(0).stdout, once);
        once
    };
    for options in
        ["'{}'", "''", "NULL", "'{\"temperature\": 0.5}'", "a", "CASE WHEN id > 1 THEN '{\"prompt\": \"X\"}' END"]
    {
        let sql = render(&asking(options, "src"), CLASSIFY);
        let above = sql.split("CREATE VIEW answers").next().expect("a view");
        let comment = above.rsplit("-- Asks.\n").next().expect("a comment");
        assert!(comment.starts_with(shown), "{options}:\n{sql}");
        let words = |text: &str| text.replace("--", "").split_whitespace().map(str::to_string).collect::<Vec<_>>();
        let said = words(comment.split_once('\n').expect("lines").1);
        assert_eq!(said, words(baton_llm_settings::prompt::CLASSIFY), "{options}");
        assert_eq!(sql.matches(shown).count(), 1, "{options}:\n{sql}");
    }
    for options in
        ["'{\"prompt\": \"X\"}'", "CASE WHEN id > 1 THEN '{\"prompt\": \"X\"}' ELSE '{\"prompt\": \"Y\"}' END"]
    {
        let sql = render(&asking(options, "src"), CLASSIFY);
        assert!(!sql.contains(shown), "{options}:\n{sql}");
    }
    // A function of one's own that has the name alone.
    let own = CLASSIFY.replace(", options: Option<&str>", "");
    let sql = asking("'{\"wrong\": 1}'", "src").replace("agents, options)", "agents)");
    assert!(!render(&sql, &own).contains(shown));
}
