//! The pipelines that a real Arroyo cluster ran (tests/parity): Baton writes the same rows, refuses what it refused
//! and dies of the rows that it died of. What was recorded there is never changed to fit.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::binary::{Ended, root, run};

/// How many there are; fewer mean that the files were not found.
const LEAST: usize = 30;

#[test]
fn what_arroyo_did_baton_does() {
    let parity = root().join("tests/parity");
    let cases = names(&parity.join("cases"), |p| p.extension().is_some_and(|e| e == "sql"));
    let expected = names(&parity.join("expected"), Path::is_dir);
    assert!(cases.len() >= LEAST, "{} cases, there were {LEAST}", cases.len());
    assert_eq!(cases, expected, "each case has a folder of what is expected, and each folder a case");

    let mut report = String::new();
    let mut failed = 0;
    for name in &cases {
        if let Err(difference) = case(&parity, name) {
            failed += 1;
            let _ = write!(report, "\n## {name}\n{difference}\n");
        }
    }
    assert!(failed == 0, "{failed} of {} cases differ:\n{report}", cases.len());
}

fn names(folder: &Path, wanted: impl Fn(&Path) -> bool) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|e| e.expect("a folder can be listed").path()).filter(|p| wanted(p));
    paths.map(|p| p.file_stem().expect("a name").to_string_lossy().into_owned()).collect()
}

fn case(parity: &Path, name: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    fs::create_dir(&out).expect("a folder");
    let sql = read(&parity.join("cases").join(format!("{name}.sql")));
    assert!(sql.contains("$IN") && sql.contains("$OUT"), "{name} has no $IN or no $OUT");
    let text = sql.replace("$IN", &parity.join("inputs").to_string_lossy()).replace("$OUT", &out.to_string_lossy());
    let file = folder.path().join(format!("{name}.sql"));
    fs::write(&file, text).expect("a file");

    let recorded = parity.join("expected").join(name);
    let result: Value = serde_json::from_str(&read(&recorded.join("result.json"))).expect("result.json is JSON");
    let ended = run(folder.path(), &["run", &file.to_string_lossy()], &[]);
    if ended.stderr.contains("panicked") {
        return Err(format!("it panicked:\n{}", ended.stderr));
    }
    match result["state"].as_str() {
        Some("Finished") => finished(&ended, &recorded, &out),
        Some("Failed") => died(&ended, &result, name),
        Some("Invalid") => refused(&ended, &out),
        other => panic!("{name}: the state {other:?} is unknown"),
    }
}

fn finished(ended: &Ended, recorded: &Path, out: &Path) -> Result<(), String> {
    code(ended, 0)?;
    let sinks = |folder: &Path| names(folder, |p| p.file_name().is_some_and(|n| n != "result.json"));
    let (wanted, written) = (sinks(recorded), sinks(out));
    assert!(!wanted.is_empty(), "{} says no rows", recorded.display());
    if wanted != written {
        return Err(format!("Arroyo wrote {wanted:?}, Baton {written:?}"));
    }
    let mut difference = String::new();
    for sink in &wanted {
        let lines = |folder: &Path| sorted_rows(&read(&folder.join(format!("{sink}.json"))));
        let (wanted, written) = (lines(recorded), lines(out));
        if wanted == written {
            continue;
        }
        let _ = writeln!(difference, "{sink}: Arroyo has {} rows, Baton {}", wanted.len(), written.len());
        for row in without(&wanted, &written) {
            let _ = writeln!(difference, "  only Arroyo: {row}");
        }
        for row in without(&written, &wanted) {
            let _ = writeln!(difference, "  only Baton:  {row}");
        }
    }
    if difference.is_empty() { Ok(()) } else { Err(difference) }
}

fn died(ended: &Ended, result: &Value, name: &str) -> Result<(), String> {
    code(ended, 1)?;
    let message = result.to_string().to_lowercase();
    // The engines word it differently; what it died of is the same.
    let cause = ["divide by zero", "division by zero", "cast", "parse", "overflow"];
    let cause = cause.iter().find(|c| message.contains(**c)).unwrap_or_else(|| panic!("{name}: cause in {message}"));
    let said = ended.stderr.to_lowercase().replace("division by zero", "divide by zero");
    if !said.contains(&cause.replace("division by zero", "divide by zero")) {
        return Err(format!("Arroyo died of `{cause}`, Baton says:\n{}", ended.stderr));
    }
    if said.contains(name) { Ok(()) } else { Err(format!("it does not name the pipeline:\n{}", ended.stderr)) }
}

fn refused(ended: &Ended, out: &Path) -> Result<(), String> {
    code(ended, 78)?;
    if !ended.stderr.contains("error[") || !ended.stderr.contains(".sql:") {
        return Err(format!("no code or no place:\n{}", ended.stderr));
    }
    let written = names(out, |_| true);
    if written.is_empty() { Ok(()) } else { Err(format!("it was refused, but wrote {written:?}")) }
}

fn code(ended: &Ended, code: i32) -> Result<(), String> {
    if ended.code == Some(code) {
        return Ok(());
    }
    Err(format!("exit code {:?}, not {code}:\n{}", ended.code, ended.stderr))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn without(rows: &[String], known: &[String]) -> Vec<String> {
    let mut known: Vec<&String> = known.iter().collect();
    let mut rest = Vec::new();
    for row in rows {
        match known.iter().position(|r| *r == row) {
            Some(at) => drop(known.swap_remove(at)),
            None => rest.push(row.clone()),
        }
    }
    rest
}

/// The rows, each with its keys sorted and its numbers as they were written.
fn sorted_rows(text: &str) -> Vec<String> {
    let mut rows: Vec<String> = text
        .lines()
        .map(|line| match serde_json::from_str::<Value>(line) {
            Ok(value) => sorted_keys(value).to_string(),
            Err(_) => format!("no JSON: {line}"),
        })
        .collect();
    rows.sort();
    rows
}

fn sorted_keys(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().map(|(k, v)| (k, sorted_keys(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted_keys).collect()),
        other => other,
    }
}

#[test]
fn rows_are_compared_as_they_should_be() {
    assert_eq!(sorted_rows(r#"{"b":1.0,"a":{"d":[1],"c":2}}"#), sorted_rows(r#"{"a":{"c":2,"d":[1]},"b":1.0}"#));
    assert_ne!(sorted_rows(r#"{"a":1.0}"#), sorted_rows(r#"{"a":1}"#));
    assert_ne!(sorted_rows(r#"{"a":[1,2]}"#), sorted_rows(r#"{"a":[2,1]}"#));
    assert_ne!(sorted_rows("{\"a\":1}\n{\"a\":1}"), sorted_rows(r#"{"a":1}"#));
    let twice = ["x".to_string(), "x".to_string()];
    assert_eq!(without(&twice, &twice[..1]), ["x"]);
}
