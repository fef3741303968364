//! What a query means where the planner, left to itself, would make something else of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::binary::{Ended, Running, run, until};

const TABLES: &str = "
CREATE TABLE src (a TEXT, n BIGINT) WITH (connector = 'single_file', path = 'in.json', format = 'json', type = 'source');
CREATE TABLE o (a TEXT, n BIGINT) WITH (connector = 'stdout', format = 'json');
";

const ROWS: &str = "{\"a\":\"x\",\"n\":5}\n{\"a\":\"y\",\"n\":0}\n{\"a\":null,\"n\":2}\n";

fn query(folder: &Path, sql: &str) -> Ended {
    fs::write(folder.join("in.json"), ROWS).expect("a file");
    fs::write(folder.join("job.sql"), format!("{TABLES}{sql}")).expect("a file");
    run(folder, &["run", "job.sql"], &[])
}

#[track_caller]
fn gives(sql: &str, rows: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = query(folder.path(), sql).expect_code(0);
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), rows, "{sql}");
}

#[track_caller]
fn is_refused(sql: &str, code: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = query(folder.path(), sql).expect_code(78);
    assert!(ended.stderr.contains(&format!("error[{code}]")), "{sql}\n{}", ended.stderr);
    assert_eq!(fs::read_to_string(folder.path().join("in.json")).expect("a file"), ROWS, "nothing is written");
}

#[test]
fn a_with_may_have_the_name_of_the_table_it_reads() {
    gives(
        "INSERT INTO o WITH src AS (SELECT * FROM src WHERE n > 0) SELECT a, n FROM src;",
        &[r#"{"a":"x","n":5}"#, r#"{"a":null,"n":2}"#],
    );
}

#[test]
fn conditions_are_checked_in_their_order() {
    gives(
        "INSERT INTO o SELECT a, n FROM src WHERE n <> 0 AND 10 / n >= 2;",
        &[r#"{"a":"x","n":5}"#, r#"{"a":null,"n":2}"#],
    );
}

#[test]
fn a_volatile_call_is_worked_out_once_a_row() {
    let folder = tempfile::tempdir().expect("a folder");
    // Written twice, the second draw is NULL in half of the rows for which the first was not.
    let sql = "INSERT INTO o SELECT coalesce(CASE WHEN random() < 0.5 THEN 'x' END, 'y') AS a, n
               FROM (SELECT n, unnest(range(0, 200)) AS i FROM src);";
    let ended = query(folder.path(), sql).expect_code(0);
    assert_eq!(ended.stdout.lines().count(), 600);
    assert!(!ended.stdout.contains("null"), "{}", ended.stdout);
    gives("INSERT INTO o SELECT a, n FROM src WHERE random() BETWEEN 0.5 AND 0.5000001;", &[]);
}

#[test]
fn not_null_is_not_believed_where_nothing_checks_it() {
    gives(
        "CREATE TABLE m (a TEXT NOT NULL, n BIGINT);
         INSERT INTO m SELECT a, n FROM src;
         INSERT INTO o SELECT coalesce(a, 'was null'), n FROM m;",
        &[r#"{"a":"x","n":5}"#, r#"{"a":"y","n":0}"#, r#"{"a":"was null","n":2}"#],
    );
}

#[test]
fn structs_are_filled_by_position() {
    gives(
        "CREATE TABLE p (s STRUCT<k TEXT, v BIGINT>) WITH (connector = 'stdout', format = 'json');
         INSERT INTO p SELECT named_struct('v', a, 'other', n) FROM src WHERE n > 0;",
        &[r#"{"s":{"k":"x","v":5}}"#, r#"{"s":{"k":null,"v":2}}"#],
    );
}

#[test]
fn a_filter_protects_what_a_subquery_computes() {
    gives(
        "INSERT INTO o SELECT a, q FROM (SELECT a, n, 10 / n AS q FROM src) WHERE n <> 0;",
        &[r#"{"a":"x","n":2}"#, r#"{"a":null,"n":5}"#],
    );
}

#[test]
fn what_would_lose_or_freeze_a_value_is_refused() {
    is_refused(
        "CREATE TABLE p (s STRUCT<k TEXT, v BIGINT>) WITH (connector = 'stdout', format = 'json');
         INSERT INTO p SELECT named_struct('k', a) FROM src;",
        "Q103",
    );
    is_refused(
        "CREATE TABLE q (a TEXT) WITH (connector = 'single_file', path = 'in.json', format = 'json', type = 'sink');
         INSERT INTO q SELECT a FROM src;",
        "T107",
    );
    is_refused(
        "CREATE TABLE c (x TEXT);
         INSERT INTO c VALUES ('1');
         INSERT INTO o SELECT (SELECT CAST(now() AS TEXT) FROM c), n FROM src;",
        "Q110",
    );
}

#[test]
fn a_pipelines_own_constants_are_not_mixed_with_the_catalogues() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["sql", "pipelines"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    let agents = "CREATE TABLE agents (name TEXT); INSERT INTO agents VALUES";
    fs::write(folder.path().join("sql/agents.sql"), format!("{agents} ('Theirs');")).expect("a file");
    fs::write(folder.path().join("in.json"), ROWS).expect("a file");
    let sql =
        format!("{TABLES}{agents} ('Mine'); INSERT INTO o SELECT (SELECT json_agg(name) FROM agents), n FROM src;");
    fs::write(folder.path().join("pipelines/job.sql"), sql).expect("a file");
    let ended = run(folder.path(), &["run", "job"], &[]).expect_code(0);
    assert_eq!(ended.stdout.lines().next(), Some(r#"{"a":"[\"Mine\"]","n":5}"#));
}

#[test]
fn a_source_that_fails_ends_the_pipeline_while_another_still_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    // Held open for reading and writing, it neither blocks nor ends.
    let _held = fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("the pipe");
    fs::write(folder.path().join("in.json"), "{\"a\":\"x\",\"n\":5}\nno json\n").expect("a file");
    let sql = format!(
        "{TABLES}CREATE TABLE live (a TEXT, n BIGINT) WITH (connector = 'single_file', path = 'pipe', format = 'json', type = 'source');
         INSERT INTO o SELECT a, n FROM src UNION ALL SELECT a, n FROM live;"
    );
    fs::write(folder.path().join("job.sql"), sql).expect("a file");
    let mut running = Running::start(folder.path(), &["run", "job.sql"], &[]);
    until("the pipeline has ended", Duration::from_secs(30), || !running.is_running());
    let ended = running.wait(Duration::from_secs(5)).expect_code(1);
    assert!(ended.stderr.contains("error[R003]"), "{}", ended.stderr);
}

#[test]
fn a_condition_is_asked_before_the_select_below_it_is_worked_out() {
    gives(
        "INSERT INTO o SELECT a, q FROM (SELECT a, n, 10 / n AS q FROM src) WHERE n > 0;",
        &[r#"{"a":"x","n":2}"#, r#"{"a":null,"n":5}"#],
    );
    // A view is worked out as it stands, whoever reads it.
    let folder = tempfile::tempdir().expect("a folder");
    let sql = "CREATE VIEW v AS SELECT a, n, 10 / n AS q FROM src; INSERT INTO o SELECT a, q FROM v WHERE n > 0;";
    let ended = query(folder.path(), sql).expect_code(1);
    assert!(ended.stderr.contains("error[R004]"), "{}", ended.stderr);
}

#[test]
fn an_insert_may_list_its_columns() {
    gives("INSERT INTO o (n, a) SELECT n, a FROM src WHERE n = 5;", &[r#"{"a":"x","n":5}"#]);
    gives("INSERT INTO o (n) SELECT n FROM src WHERE n = 5;", &[r#"{"a":null,"n":5}"#]);
    is_refused("INSERT INTO o (n, m) SELECT n, a FROM src;", "Q104");
    is_refused("INSERT INTO o (n, n) SELECT n, a FROM src;", "Q104");
    is_refused("INSERT INTO o (n) SELECT n, a FROM src;", "Q104");
}

#[test]
fn a_sink_without_columns_has_those_of_what_is_inserted() {
    const OPEN: &str = "CREATE TABLE p WITH (connector = 'stdout', format = 'json');";
    gives(&format!("{OPEN} INSERT INTO p SELECT n + 1 AS Next, a FROM src WHERE n = 5;"), &[r#"{"next":6,"a":"x"}"#]);
    is_refused(&format!("{OPEN} INSERT INTO p SELECT n FROM src; INSERT INTO p SELECT a FROM src;"), "Q104");
    is_refused(&format!("{OPEN} INSERT INTO o SELECT a, n FROM p;"), "T105");
}

#[test]
fn a_select_by_itself_shows_its_rows() {
    gives(
        "SELECT a, n * 2 AS m FROM src WHERE n = 5; SELECT 1 AS one FROM src WHERE n = 0;",
        &[r#"{"a":"x","m":10}"#, r#"{"one":1}"#],
    );
}

#[test]
fn a_table_made_from_a_query_is_a_view() {
    gives(
        "CREATE TABLE v AS SELECT upper(a) AS a, n FROM src; INSERT INTO o SELECT a, n FROM v WHERE n = 5;",
        &[r#"{"a":"X","n":5}"#],
    );
    is_refused("CREATE TABLE v (a TEXT) AS SELECT a FROM src; INSERT INTO o SELECT a, 1 FROM v;", "S002");
}

#[test]
fn columns_keep_their_capitals_and_queries_quote_them() {
    gives(
        "CREATE TABLE p (userId BIGINT, s STRUCT<zipCode TEXT>) WITH (connector = 'stdout', format = 'json');
         INSERT INTO P SELECT N, named_struct('zipCode', A) FROM SRC WHERE n = 5;",
        &[r#"{"userId":5,"s":{"zipCode":"x"}}"#],
    );
    let wide = "CREATE TABLE w (userId BIGINT) WITH
                (connector = 'single_file', path = 'in.json', format = 'json', type = 'source');";
    let folder = tempfile::tempdir().expect("a folder");
    let ended = query(folder.path(), &format!("{wide} SELECT userId FROM w;")).expect_code(78);
    assert!(ended.stderr.contains("did you mean `\"userId\"`?"), "{}", ended.stderr);
    gives(&format!("{wide} SELECT \"userId\" AS u FROM w;"), &[r#"{"u":null}"#; 3]);
}

#[test]
fn a_watermark_and_a_primary_key_change_no_row() {
    const SOURCE: &str = "(connector = 'single_file', path = 'in.json', format = 'json', type = 'source')";
    gives(
        &format!(
            "CREATE TABLE w (n BIGINT PRIMARY KEY, t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL '5 seconds') WITH {SOURCE};
             SELECT n FROM w WHERE n = 5;"
        ),
        &[r#"{"n":5}"#],
    );
    is_refused(&format!("CREATE TABLE w (n BIGINT, watermark for n) WITH {SOURCE}; SELECT n FROM w;"), "T003");
    is_refused(&format!("CREATE TABLE w (n BIGINT, watermark for m) WITH {SOURCE}; SELECT n FROM w;"), "T003");
}

#[test]
fn a_text_is_read_from_top_to_bottom() {
    is_refused("INSERT INTO o SELECT a, n FROM v; CREATE VIEW v AS SELECT a, n FROM src;", "T002");
    is_refused("CREATE VIEW v AS SELECT * FROM w; CREATE VIEW w AS SELECT a, n FROM src; SELECT a FROM v;", "T002");
    is_refused("CREATE TABLE m (a TEXT); SELECT a FROM m; INSERT INTO m SELECT a FROM src;", "T002");
    is_refused(
        "CREATE TABLE m (a TEXT) WITH (connector = 'memory', format = 'json'); INSERT INTO m SELECT a FROM src;",
        "T101",
    );
    gives(
        "CREATE TABLE m (a TEXT) WITH (connector = 'memory'); INSERT INTO m SELECT a FROM src WHERE n = 5; SELECT a FROM m;",
        &[r#"{"a":"x"}"#],
    );
}

#[test]
fn option_values_are_written_as_arroyo_wants_them() {
    const COLUMNS: &str = "CREATE TABLE p (a TEXT) WITH (connector = 'stdout', ";
    is_refused(&format!("{COLUMNS} format = json); INSERT INTO p SELECT a FROM src;"), "S001");
    is_refused(&format!("{COLUMNS} format = 5); INSERT INTO p SELECT a FROM src;"), "T103");
    for flag in ["true", "'true'", "'yes'"] {
        let sql = format!(
            "CREATE TABLE p (value JSON) WITH (connector = 'stdout', format = 'json', 'json.unstructured' = {flag});
                           INSERT INTO p SELECT concat('{{\"k\":', CAST(n AS TEXT), '}}') FROM src WHERE n = 5;"
        );
        let folder = tempfile::tempdir().expect("a folder");
        query(folder.path(), &sql).expect_code(0);
    }
}

#[test]
fn a_file_sink_makes_its_folder_and_is_shared() {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = "CREATE TABLE p (n BIGINT) WITH (connector = 'single_file', path = 'deep/er/out.json', format = 'json', type = 'sink');
               INSERT INTO p SELECT n FROM src WHERE n > 2; INSERT INTO p SELECT n FROM src WHERE n < 2;";
    query(folder.path(), sql).expect_code(0);
    let written = fs::read_to_string(folder.path().join("deep/er/out.json")).expect("a file");
    assert_eq!(written, "{\"n\":5}\n{\"n\":0}\n");
}

#[test]
fn rows_of_a_constant_table_may_list_their_columns() {
    const AGENTS: &str = "CREATE TABLE agents (name TEXT, what TEXT);";
    gives(
        &format!(
            "{AGENTS} INSERT INTO agents (what, name) VALUES ('does it', 'Ann'); INSERT INTO agents (name) VALUES ('Ben');
             SELECT (SELECT json_agg(named_struct('n', name, 'w', what)) FROM agents) AS s FROM src WHERE n = 5;"
        ),
        &[r#"{"s":"[{\"n\":\"Ann\",\"w\":\"does it\"},{\"n\":\"Ben\",\"w\":null}]"}"#],
    );
    is_refused(
        &format!("{AGENTS} INSERT INTO agents (nope) VALUES ('x'); SELECT (SELECT name FROM agents) FROM src;"),
        "Q110",
    );
}

#[test]
fn what_needs_another_engine_or_none_has_is_refused_by_name() {
    is_refused("SELECT a, count(*) FROM src GROUP BY a, tumble(INTERVAL '1 minute');", "Q105");
    is_refused("SELECT unnest(range(0, n)) AS u, unnest(range(0, 1)) AS w FROM src;", "Q106");
    is_refused("SELECT unnest(named_struct('k', a)) FROM src;", "Q106");
    is_refused("SELECT a, (SELECT 1) AS one FROM src;", "Q106");
    is_refused("SELECT a FROM src TABLESAMPLE (10 PERCENT);", "Q106");
    is_refused("SELECT a FROM src FOR UPDATE;", "Q106");
    is_refused("INSERT INTO o SELECT a, n FROM src ON CONFLICT DO NOTHING;", "S001");
    is_refused("INSERT INTO o SELECT a, n FROM src RETURNING a;", "S001");
    is_refused("CREATE TEMPORARY TABLE t (a TEXT); INSERT INTO o SELECT a, n FROM src;", "S001");
    is_refused("CREATE TABLE t LIKE src; INSERT INTO o SELECT a, n FROM src;", "S001");
    let framed =
        "CREATE TABLE w (n BIGINT) WITH (connector = 'single_file', path = 'in.json', format = 'json', type = 'source',
                  framing = 'newline', 'framing.newline.max_length' = '0'); SELECT n FROM w;";
    is_refused(framed, "T103");
}

#[test]
fn a_sink_does_not_look_at_not_null() {
    gives(
        "CREATE TABLE p (a TEXT NOT NULL, n BIGINT NOT NULL) WITH (connector = 'stdout', format = 'json');
         INSERT INTO p (a) SELECT a FROM src WHERE n = 2;",
        &[r#"{"a":null,"n":null}"#],
    );
}

#[test]
fn a_generated_column_may_be_any_expression() {
    gives(
        "CREATE TABLE w (n BIGINT, t TEXT GENERATED ALWAYS AS (n::TEXT), u TEXT GENERATED ALWAYS AS (n::TEXT),
                         m BIGINT GENERATED ALWAYS AS (n), h BIGINT GENERATED ALWAYS AS (n >> 1))
         WITH (connector = 'single_file', path = 'in.json', format = 'json', type = 'source');
         SELECT * FROM w WHERE n = 5;",
        &[r#"{"n":5,"t":"5","u":"5","m":5,"h":2}"#],
    );
}

#[test]
fn a_function_that_panics_fails_its_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = "INSERT INTO o SELECT lpad('x', 2147483647 + n - n), n FROM src;";
    fs::write(folder.path().join("in.json"), ROWS).expect("a file");
    fs::write(folder.path().join("job.sql"), format!("{TABLES}{sql}")).expect("a file");
    let ended = run(folder.path(), &["run", "job.sql"], &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("error[R004]") && ended.stderr.contains("job.sql:4"), "{}", ended.stderr);
}
