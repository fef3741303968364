//! Every function, operator and CAST as DataFusion 48 has it, which Arroyo embeds: `tests/cli/functions` says what each
//! expression gives for the rows of `rows.json`, and each is run through the binary, many in one pipeline.
//!
//! The answers were not written by Baton: `gives.txt` says where they come from.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::binary::{root, run};

/// A pipeline of so many columns plans fast enough, and fails in few enough when one is wrong.
const COLUMNS: usize = 60;

const SOURCE: &str = "CREATE TABLE t (
  id BIGINT NOT NULL, i INT, si SMALLINT, ti TINYINT, ub BIGINT UNSIGNED, f FLOAT, d DOUBLE, b BOOLEAN, s TEXT, s2 TEXT,
  n TEXT, ts TIMESTAMP, dt DATE, dec DECIMAL(10, 2), js TEXT, arr TEXT[], ia BIGINT[], st STRUCT<a TEXT, b BIGINT>,
  da DOUBLE[]
) WITH (connector = 'single_file', path = 'rows.json', format = 'json', type = 'source');
";

fn folder() -> PathBuf {
    root().join("tests/cli/functions")
}

/// The lines of a file, each cut at its tabs; comments left out.
fn cases(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder().join(name)).expect("the cases");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split('\t').map(str::to_string).collect()).collect()
}

/// What a pipeline came to: its exit code, what it said, and what it wrote.
fn pipeline(sql: &str) -> (Option<i32>, String, Vec<String>) {
    let place = tempfile::tempdir().expect("a folder");
    fs::copy(folder().join("rows.json"), place.path().join("rows.json")).expect("the rows");
    fs::write(place.path().join("job.sql"), format!("{SOURCE}{sql}")).expect("a file");
    let ended = run(place.path(), &["run", "job.sql"], &[]);
    assert!(!ended.stderr.contains("panicked"), "{sql}\n{}", ended.stderr);
    let out = fs::read_to_string(place.path().join("out.json")).unwrap_or_default();
    (ended.code, ended.stderr, out.lines().map(str::to_string).collect())
}

fn sink(columns: &str) -> String {
    let columns = if columns.is_empty() { String::new() } else { format!("({columns})") };
    format!(
        "CREATE TABLE out {columns} WITH (connector = 'single_file', path = 'out.json', format = 'json', type = 'sink');\n"
    )
}

#[test]
fn each_expression_gives_what_it_gives_on_arroyo() {
    let cases = cases("gives.txt");
    assert!(cases.len() > 400, "{} expressions", cases.len());
    let mut wrong = String::new();
    // No column can be declared as a list of lists, but a sink that declares none can have one.
    let (nested, plain): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case[1].contains("[][]"));
    for some in plain.chunks(COLUMNS).chain([nested.as_slice()]) {
        let column = |(at, case): (usize, &Vec<String>)| format!("c{at} {}, t{at} TEXT", case[1]);
        let columns: Vec<String> = some.iter().enumerate().map(column).collect();
        let value =
            |(at, case): (usize, &Vec<String>)| format!("{} AS c{at}, arrow_typeof({}) AS t{at}", case[0], case[0]);
        let values: Vec<String> = some.iter().enumerate().map(value).collect();
        let declared = if some[0][1].contains("[][]") { String::new() } else { columns.join(", ") };
        let sql = format!("{}INSERT INTO out SELECT {} FROM t;", sink(&declared), values.join(",\n"));
        let (code, said, rows) = pipeline(&sql);
        assert_eq!(code, Some(0), "{said}");
        let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row).expect("JSON")).collect();
        for (at, case) in some.iter().enumerate() {
            let given: Vec<String> = rows.iter().map(|row| row[format!("c{at}")].to_string()).collect();
            let wanted: Vec<String> = case[3..].iter().map(|row| value_of(row).to_string()).collect();
            if given != wanted {
                let _ =
                    writeln!(wrong, "{}\n  gives    {}\n  not      {}", case[0], given.join("  "), wanted.join("  "));
            }
            // Text is text: how it is kept in memory shows nowhere else.
            let text = |name: &str| name.replace("Utf8View", "Utf8");
            let named = text(rows[0][format!("t{at}")].as_str().unwrap_or_default());
            if named != text(&case[2]) {
                let _ = writeln!(wrong, "{}\n  is       {named}\n  not      {}", case[0], case[2]);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn value_of(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|e| panic!("{json}: {e}"))
}

#[test]
fn what_arroyo_refuses_is_refused() {
    let cases = cases("refused.txt");
    assert!(cases.len() > 20, "{} expressions", cases.len());
    let mut sql = sink("v TEXT");
    for case in &cases {
        let _ = writeln!(sql, "INSERT INTO out SELECT {} AS v FROM t;", case[0]);
    }
    let (code, said, rows) = pipeline(&sql);
    assert_eq!((code, rows.len()), (Some(78), 0), "{said}");
    for (at, case) in cases.iter().enumerate() {
        // The statements stand in a line each, behind the tables. What is wrong with types shows in some only when all
        // queries are right, so those are asked alone.
        let line = format!("job.sql:{}:", SOURCE.lines().count() + 2 + at);
        if !said.contains(&line) {
            let (code, said, _) =
                pipeline(&format!("{}INSERT INTO out SELECT {} AS v FROM t;", sink("v TEXT"), case[0]));
            assert_eq!(code, Some(78), "`{}` is not refused\n{said}", case[0]);
        }
    }
}

#[test]
fn what_ends_the_job_on_arroyo_ends_it_here() {
    let cases = cases("fails.txt");
    assert!(cases.len() > 10, "{} expressions", cases.len());
    for case in &cases {
        let (code, said, rows) =
            pipeline(&format!("{}INSERT INTO out SELECT {} AS v FROM t;", sink("v TEXT"), case[0]));
        assert_eq!(code, Some(1), "{}: {rows:?}\n{said}", case[0]);
    }
}

/// A function that is added to the list needs an answer.
#[test]
fn every_function_of_arroyo_has_a_case() {
    let listed = fs::read_to_string(root().join("src/sql/functions/arroyo.txt")).expect("the list");
    // They give something else each time, or the version; `unnest` makes rows.
    let elsewhere = ["current_date", "current_time", "now", "random", "unnest", "uuid", "version"];
    let cases = cases("gives.txt");
    let part_of_a_name = |c: char| c.is_alphanumeric() || c == '_';
    let called = |name: &str| {
        let call = format!("{name}(");
        cases.iter().any(|case| case[0].match_indices(&call).any(|(at, _)| !case[0][..at].ends_with(part_of_a_name)))
    };
    let missing: BTreeSet<&str> = listed.lines().filter(|name| !elsewhere.contains(name) && !called(name)).collect();
    assert!(missing.is_empty(), "no case calls {missing:?}");
}
