//! Pipelines on files and on stdout, run from a folder that is no project.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::{Ended, Running, run, until};

/// What the leads of most tests here are.
const LEADS: &str = r#"{"id": 1, "email": "ada@north.example", "score": 91.5, "tags": ["warehouse", "sql"], "note": "{\"next\": \"Actively Engage\", \"points\": [1, 2]}"}
{"id": 2, "email": "bo@south.example", "score": 12.0, "tags": [], "note": "{\"next\": \"Nurture\"}"}
{"id": 3, "email": null, "score": null, "tags": null, "note": "not JSON"}
{"id": 4, "email": "ümit@ost.example", "score": 50.0, "tags": ["x"], "note": null}
"#;

const LEADS_TABLE: &str = "
CREATE TABLE leads (id BIGINT NOT NULL, email TEXT, score DOUBLE, tags TEXT[], note TEXT)
WITH (connector = 'single_file', path = 'in/leads.json', format = 'json', type = 'source');
";

/// A folder with `in/leads.json` and an empty `out`; the pipelines are in another one.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["in", "out", "sql of mine"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let place = Self { folder };
        place.write("in/leads.json", LEADS);
        place
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("a file");
    }

    /// Puts a pipeline into the other folder; gives its path.
    fn pipeline(&self, name: &str, sql: &str) -> String {
        let path = format!("sql of mine/{name}.sql");
        self.write(&path, sql);
        path
    }

    #[track_caller]
    fn run(&self, sql: &str) -> Ended {
        let path = self.pipeline("job", sql);
        run(self.folder.path(), &["run", &path], &[])
    }

    #[track_caller]
    fn rows(&self, name: &str) -> Vec<Value> {
        let path = self.folder.path().join("out").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}"))).collect()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A sink table that writes `out/NAME.json`.
fn sink(name: &str, columns: &str) -> String {
    format!(
        "CREATE TABLE {name} ({columns}) \
         WITH (connector = 'single_file', path = 'out/{name}.json', format = 'json', type = 'sink');\n"
    )
}

#[test]
fn three_inserts_read_one_view() {
    let place = Place::new();
    let sql = [
        LEADS_TABLE,
        &sink("best", "id BIGINT, rank TEXT"),
        &sink("rest", "id BIGINT"),
        &sink("unread", "id BIGINT, note TEXT"),
        "CREATE VIEW judged AS
           SELECT id, note, json_get_str(note, 'next') AS next,
             CASE WHEN score >= 60 THEN 'high' WHEN score >= 20 THEN 'middle' WHEN score IS NULL THEN 'none' ELSE 'low' END AS rank
           FROM leads;
         INSERT INTO best SELECT id, rank FROM judged WHERE rank IN ('high', 'middle');
         INSERT INTO rest SELECT id FROM judged WHERE rank NOT IN ('high', 'middle');
         INSERT INTO unread SELECT id, note FROM judged WHERE next IS NULL;",
    ]
    .concat();
    place.run(&sql).expect_code(0);
    assert_eq!(place.rows("best.json"), [json!({"id": 1, "rank": "high"}), json!({"id": 4, "rank": "middle"})]);
    assert_eq!(place.rows("rest.json"), [json!({"id": 2}), json!({"id": 3})]);
    assert_eq!(place.rows("unread.json"), [json!({"id": 3, "note": "not JSON"}), json!({"id": 4, "note": null})]);
}

#[test]
fn a_memory_table_is_filled_once_and_read_by_many() {
    let place = Place::new();
    let sql = [
        LEADS_TABLE,
        "CREATE TABLE known (id BIGINT, domain TEXT);",
        &sink("a", "id BIGINT, domain TEXT"),
        &sink("b", "domain TEXT"),
        "INSERT INTO known SELECT id, split_part(email, '@', 2) FROM leads WHERE email IS NOT NULL;
         INSERT INTO a SELECT id, domain FROM known;
         INSERT INTO b SELECT upper(domain) FROM known WHERE id > 1;",
    ]
    .concat();
    place.run(&sql).expect_code(0);
    let domains = ["north.example", "south.example", "ost.example"];
    let a: Vec<Value> = [1, 2, 4].iter().zip(domains).map(|(id, d)| json!({"id": id, "domain": d})).collect();
    assert_eq!(place.rows("a.json"), a);
    assert_eq!(place.rows("b.json"), [json!({"domain": "SOUTH.EXAMPLE"}), json!({"domain": "OST.EXAMPLE"})]);
}

#[test]
fn union_with_and_unnest() {
    let place = Place::new();
    let sql = [
        LEADS_TABLE,
        &sink("words", "id BIGINT, word TEXT"),
        "INSERT INTO words
         WITH tagged AS (SELECT id, unnest(tags) AS word FROM leads WHERE array_length(tags) > 0),
              points AS (SELECT id, unnest(extract_json(note, '$.points[*]')) AS word FROM leads WHERE id = 1)
         SELECT id, word FROM tagged UNION ALL SELECT id, concat('point ', word) FROM points;",
    ]
    .concat();
    place.run(&sql).expect_code(0);
    let mut words: Vec<String> =
        place.rows("words.json").iter().map(|r| format!("{} {}", r["id"], r["word"])).collect();
    words.sort();
    let expected = [r#"1 "point 1""#, r#"1 "point 2""#, r#"1 "sql""#, r#"1 "warehouse""#, r#"4 "x""#];
    assert_eq!(words, expected);
}

#[test]
fn generated_columns_follow_from_the_others() {
    let place = Place::new();
    let sql = [
        "CREATE TABLE leads (
           id BIGINT NOT NULL, email TEXT, domain TEXT GENERATED ALWAYS AS (lower(split_part(email, '@', 2))), score DOUBLE,
           good BOOLEAN GENERATED ALWAYS AS (score > 60)
         ) WITH (connector = 'single_file', path = 'in/leads.json', format = 'json', type = 'source');",
        &sink("found", "id BIGINT, domain TEXT, good BOOLEAN"),
        "INSERT INTO found SELECT id, domain, good FROM leads WHERE id < 4;",
    ]
    .concat();
    place.run(&sql).expect_code(0);
    let expected = [
        json!({"id": 1, "domain": "north.example", "good": true}),
        json!({"id": 2, "domain": "south.example", "good": false}),
        json!({"id": 3, "domain": null, "good": null}),
    ];
    assert_eq!(place.rows("found.json"), expected);
}

#[test]
fn a_constant_table_becomes_one_value() {
    let place = Place::new();
    let sql = [
        LEADS_TABLE,
        "CREATE TABLE agents (name TEXT, input TEXT);
         INSERT INTO agents VALUES ('Scoring \"A\"', 'a report'), ('It''s B', NULL);",
        &sink("asked", "id BIGINT, agents TEXT, many BIGINT, known BOOLEAN"),
        "INSERT INTO asked SELECT id, (SELECT json_agg(named_struct('name', name, 'input', input)) FROM agents),
           (SELECT count(*) FROM agents), 'It''s B' IN (SELECT name FROM agents) FROM leads WHERE id = 2;",
    ]
    .concat();
    place.run(&sql).expect_code(0);
    let rows = place.rows("asked.json");
    assert_eq!(rows.len(), 1);
    let agents: Value = serde_json::from_str(rows[0]["agents"].as_str().expect("text")).expect("JSON");
    assert_eq!(agents, json!([{"name": "Scoring \"A\"", "input": "a report"}, {"name": "It's B", "input": null}]));
    assert_eq!((&rows[0]["many"], &rows[0]["known"]), (&json!(2), &json!(true)));
}

#[test]
fn options_come_from_the_environment() {
    let place = Place::new();
    let sql = "CREATE TABLE leads (id BIGINT) WITH (connector = 'single_file', path = '${LEADS}/leads.json', format = 'json');
      CREATE TABLE found (id BIGINT)
      WITH (connector = 'single_file', path = 'out/${FOUND:-by_default}.json', format = '${FORMAT:-json}', type = 'sink');
      INSERT INTO found SELECT id FROM leads;";
    let path = place.pipeline("job", sql);
    let arguments = ["run", path.as_str()];

    let refused = run(place.path(), &arguments, &[]).expect_code(78);
    assert!(refused.stderr.contains("error[P004]") && refused.stderr.contains("`LEADS`"), "{}", refused.stderr);
    assert_eq!(fs::read_dir(place.path().join("out")).expect("out").count(), 0, "nothing is written before");

    run(place.path(), &arguments, &[("LEADS", "in")]).expect_code(0);
    assert_eq!(place.rows("by_default.json").len(), 4);
    run(place.path(), &arguments, &[("LEADS", "in"), ("FOUND", "by_name")]).expect_code(0);
    assert_eq!(place.rows("by_name.json").len(), 4);

    // A value may be a secret: what is wrong is shown as it is written.
    let wrong = run(place.path(), &arguments, &[("LEADS", "in"), ("FORMAT", "s3cr3t-value")]).expect_code(78);
    assert!(wrong.stderr.contains("${FORMAT:-json}") && !wrong.stderr.contains("s3cr3t"), "{}", wrong.stderr);
}

#[test]
fn not_null_is_held_where_it_is_declared() {
    let place = Place::new();
    place.write(
        "in/leads.json",
        "{\"id\": 1, \"email\": \"a@x.example\"}\n{\"id\": null, \"email\": \"b@x.example\"}\n",
    );
    let job = |source: &str| {
        [source, &sink("found", "id BIGINT, email TEXT"), "INSERT INTO found SELECT id, email FROM leads;"].concat()
    };
    let table = |null: &str, more: &str| {
        format!(
            "CREATE TABLE leads (id BIGINT {null}, email TEXT)
             WITH (connector = 'single_file', path = 'in/leads.json', format = 'json', type = 'source'{more});"
        )
    };
    place.run(&job(&table("NULL", ""))).expect_code(0);
    assert_eq!(place.rows("found.json")[1], json!({"id": null, "email": "b@x.example"}));

    let failed = place.run(&job(&table("NOT NULL", ""))).expect_code(1);
    assert!(failed.stderr.contains("error[R003]") && failed.stderr.contains("line 2"), "{}", failed.stderr);

    let dropped = place.run(&job(&table("NOT NULL", ", bad_data = 'drop'"))).expect_code(0);
    assert_eq!(place.rows("found.json"), [json!({"id": 1, "email": "a@x.example"})]);
    assert!(
        dropped.stderr.contains("are dropped table=leads total=1 "),
        "it says how many are gone: {}",
        dropped.stderr
    );
}

#[test]
fn an_empty_file_gives_an_empty_file() {
    let place = Place::new();
    place.write("in/leads.json", "");
    let sql = [LEADS_TABLE, &sink("found", "id BIGINT"), "INSERT INTO found SELECT id FROM leads;"].concat();
    place.run(&sql).expect_code(0);
    assert_eq!(place.rows("found.json"), Vec::<Value>::new());
}

#[test]
fn a_hundred_thousand_rows_go_through_in_order() {
    const ROWS: usize = 100_000;
    let place = Place::new();
    let mut file = BufWriter::new(fs::File::create(place.path().join("in/leads.json")).expect("a file"));
    for id in 0..ROWS {
        let note = format!("{{\\\"n\\\": {}}}", id * 7);
        writeln!(
            file,
            "{{\"id\": {id}, \"email\": \"p{id}@x.example\", \"score\": {}.5, \"note\": \"{note}\"}}",
            id % 100
        )
        .expect("a line");
    }
    file.flush().expect("a file");
    let sql = [
        LEADS_TABLE,
        "CREATE VIEW parsed AS SELECT id, email, score, json_get_int(note, 'n') AS n FROM leads;",
        &sink("every", "id BIGINT, n BIGINT"),
        &sink("best", "id BIGINT, email TEXT"),
        "INSERT INTO every SELECT id, n FROM parsed;
         INSERT INTO best SELECT id, upper(email) FROM parsed WHERE score > 90;",
    ]
    .concat();
    // Far more than it takes; it is no benchmark, but what grows with the square of the rows does not end in time.
    let ended = place.run(&sql).expect_code(0);
    assert!(ended.took < Duration::from_secs(40), "it took {:?}", ended.took);
    let rows = place.rows("every.json");
    assert_eq!(rows.len(), ROWS);
    for (id, row) in rows.iter().enumerate() {
        assert_eq!((&row["id"], &row["n"]), (&json!(id), &json!(id * 7)));
    }
    let best = place.rows("best.json");
    assert_eq!(best.len(), ROWS / 10);
    assert_eq!(best[1], json!({"id": 91, "email": "P91@X.EXAMPLE"}));
}

#[test]
fn stdout_has_rows_and_stderr_has_the_rest() {
    let place = Place::new();
    let sql = [
        LEADS_TABLE,
        "CREATE TABLE screen (id BIGINT, email TEXT) WITH (connector = 'stdout', format = 'json', type = 'sink');
         INSERT INTO screen SELECT id, email FROM leads;",
    ]
    .concat();
    let path = place.pipeline("job", &sql);
    for (format, is_json) in [("text", false), ("json", true)] {
        let arguments = ["run", &path, "--log-format", format];
        let ended = run(place.path(), &arguments, &[("BATON_LOG", "info")]).expect_code(0);
        let rows: Vec<Value> =
            ended.stdout.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}"))).collect();
        let ids: Vec<_> = rows.iter().map(|r| r["id"].as_i64().expect("a number")).collect();
        assert_eq!(ids, [1, 2, 3, 4], "{}", ended.stdout);
        assert_eq!(rows[3], json!({"id": 4, "email": "ümit@ost.example"}));
        assert!(ended.stdout.ends_with('\n'));
        assert!(!ended.stderr.contains("@north.example"), "rows are no log: {}", ended.stderr);
        if is_json {
            for line in ended.stderr.lines() {
                let log: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
                assert!(log["level"].is_string(), "{line}");
            }
        }
    }
}

#[test]
fn a_row_that_cannot_be_computed_stops_the_pipeline_with_its_place() {
    let place = Place::new();
    let sql = [
        LEADS_TABLE,
        &sink("shares", "id BIGINT, share BIGINT"),
        "CREATE VIEW shared AS SELECT id, 100 / (id - 3) AS share FROM leads;
         INSERT INTO shares SELECT id, share FROM shared;",
    ]
    .concat();
    let ended = place.run(&sql).expect_code(1);
    for part in ["pipeline `job`", "error[R004]", "`shared`", "zero", "sql of mine/job.sql:", "CREATE VIEW shared"] {
        assert!(ended.stderr.contains(part), "no {part}:\n{}", ended.stderr);
    }
}

#[test]
fn a_missing_file_is_named() {
    let place = Place::new();
    fs::remove_file(place.path().join("in/leads.json")).expect("it was there");
    let sql = [LEADS_TABLE, &sink("found", "id BIGINT"), "INSERT INTO found SELECT id FROM leads;"].concat();
    let ended = place.run(&sql).expect_code(1);
    let message = "error[R001]: table `leads` cannot read `in/leads.json`: the file does not exist";
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
}

#[test]
fn sigterm_ends_a_long_run_cleanly() {
    let place = Place::new();
    let pipe = place.path().join("in/endless");
    // A named pipe that the test holds open: an input that does not end by itself.
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there").success());
    let sql = [
        &LEADS_TABLE.replace("in/leads.json", "in/endless"),
        sink("found", "id BIGINT").as_str(),
        "INSERT INTO found SELECT id FROM leads;",
    ]
    .concat();
    let path = place.pipeline("job", &sql);
    let mut running = Running::start(place.path(), &["run", &path], &[]);
    // Opening for reading as well does not wait for the other side.
    let mut input = fs::File::options().read(true).write(true).open(&pipe).expect("a pipe");
    for id in 0..1000 {
        writeln!(input, "{{\"id\": {id}}}").expect("a line");
    }
    let written = || fs::read_to_string(place.path().join("out/found.json")).map_or(0, |t| t.matches('\n').count());
    until("the rows are through while the input goes on", Duration::from_secs(30), || written() == 1000);
    assert!(running.is_running(), "the input has not ended");
    let asked = std::time::Instant::now();
    running.terminate();
    let ended = running.wait(Duration::from_secs(20)).expect_code(0);
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?} to stop", asked.elapsed());
    assert!(ended.stderr.contains("stopping"), "{}", ended.stderr);
    let ids: Vec<_> = place.rows("found.json").iter().map(|r| r["id"].as_i64().expect("a number")).collect();
    assert_eq!(ids, (0..1000).collect::<Vec<_>>());
}

#[test]
fn pipelines_of_one_process_end_together_when_one_fails() {
    let place = Place::new();
    let good = place.pipeline(
        "good_one",
        &[LEADS_TABLE, &sink("good", "id BIGINT"), "INSERT INTO good SELECT id FROM leads;"].concat(),
    );
    let other = place.pipeline(
        "other_one",
        &[LEADS_TABLE, &sink("other", "email TEXT"), "INSERT INTO other SELECT email FROM leads;"].concat(),
    );
    run(place.path(), &["run", &good, &other], &[]).expect_code(0);
    assert_eq!((place.rows("good.json").len(), place.rows("other.json").len()), (4, 4));

    // One that would never end by itself, and one that fails.
    let pipe = place.path().join("in/endless");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there").success());
    let _held_open = fs::File::options().read(true).write(true).open(&pipe).expect("a pipe");
    let endless = place.pipeline(
        "endless_one",
        &[
            &LEADS_TABLE.replace("in/leads.json", "in/endless"),
            sink("never", "id BIGINT").as_str(),
            "INSERT INTO never SELECT id FROM leads;",
        ]
        .concat(),
    );
    let failing = place.pipeline(
        "failing_one",
        &[LEADS_TABLE, &sink("bad", "n BIGINT"), "INSERT INTO bad SELECT 1 / (id - 2) FROM leads;"].concat(),
    );
    let ended = run(place.path(), &["run", &endless, &failing], &[]).expect_code(1);
    assert!(ended.stderr.contains("pipeline `failing_one` failed"), "{}", ended.stderr);
    assert!(ended.stderr.to_lowercase().contains("zero"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("`endless_one` failed"), "the other stopped cleanly: {}", ended.stderr);
    assert!(ended.took < Duration::from_secs(20), "it took {:?}", ended.took);

    // What is wrong in one is told before any of them writes.
    let wrong = place.pipeline("wrong_one", "INSERT INTO nowhere SELECT 1 FROM nothing;");
    fs::remove_file(place.path().join("out/good.json")).expect("it was written");
    run(place.path(), &["run", &good, &wrong], &[]).expect_code(78);
    assert!(!place.path().join("out/good.json").exists());
}

#[test]
fn plan_draws_and_opens_nothing() {
    let place = Place::new();
    let sql = [
        LEADS_TABLE,
        &sink("found", "id BIGINT"),
        "CREATE VIEW v AS SELECT id FROM leads; INSERT INTO found SELECT id FROM v;",
    ]
    .concat();
    let path = place.pipeline("job", &sql);
    fs::remove_file(place.path().join("in/leads.json")).expect("it was there");
    for format in ["text", "mermaid", "json", "svg"] {
        let drawn = run(place.path(), &["plan", &path, "--format", format], &[]).expect_code(0);
        for name in ["leads", "found"] {
            assert!(drawn.stdout.contains(name), "{format} has no {name}:\n{}", drawn.stdout);
        }
        if format == "json" {
            let graph: Value = serde_json::from_str(&drawn.stdout).expect("JSON");
            assert!(graph["nodes"].as_array().is_some_and(|n| n.len() == 2), "{graph}");
        }
    }
    assert!(!place.path().join("out/found.json").exists());
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    let place = Place::new();
    for arguments in [&["walk"][..], &["run", "job.sql", "--drain-timeout", "30"], &[]] {
        let ended = run(place.path(), arguments, &[]).expect_code(2);
        assert!(ended.stdout.is_empty() && ended.stderr.contains("--help"), "{arguments:?}: {}", ended.stderr);
    }
    let help = run(place.path(), &["--help"], &[]).expect_code(0);
    for command in ["run", "plan", "build", "demo"] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command}: {}", help.stdout);
    }
    let version = run(place.path(), &["--version"], &[]).expect_code(0);
    let mut expected = String::new();
    let _ = writeln!(expected, "baton {}", env!("CARGO_PKG_VERSION"));
    if option_env!("CARGO_BIN_EXE_baton").is_some() {
        assert_eq!(version.stdout, expected);
    }
}
