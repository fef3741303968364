//! What fuzzing has found, and what it begins with, through the same checks: `fuzz/run` finds more.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[path = "../fuzz/check_json.rs"]
mod check_json;
#[path = "../fuzz/check_sql.rs"]
mod check_sql;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|e| e.expect("a folder can be listed").path()).collect();
    files.retain(|p| p.is_file());
    files.sort();
    files
}

fn replay(folder: &str, at_least: usize, check: impl Fn(&[u8])) {
    let files = files(folder);
    assert!(files.len() >= at_least, "only {} files in {folder}", files.len());
    for file in files {
        let data = fs::read(&file).expect("a file");
        let holds = catch_unwind(AssertUnwindSafe(|| check(&data)));
        assert!(holds.is_ok(), "{} does not keep a rule; see above", file.display());
    }
}

fn sql(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        check_sql::check(text);
    }
}

#[test]
fn what_was_found_in_sql_stays_mended() {
    replay("fuzz/regressions/sql", 1, sql);
}

#[test]
fn what_was_found_in_json_stays_mended() {
    replay("fuzz/regressions/json", 1, check_json::check);
}

#[test]
fn pipelines_and_mistakes_keep_the_rules_too() {
    replay("pipelines", 8, sql);
    replay("sql", 8, sql);
    replay("tests/cli/wrong", 60, sql);
    replay("tests/parity/cases", 20, sql);
}

#[test]
fn rows_of_every_table_keep_the_rules() {
    for input in files("tests/parity/inputs") {
        let data = fs::read(&input).expect("a file");
        for choice in 0..8 {
            check_json::check(&[&[choice], data.as_slice()].concat());
        }
    }
}
