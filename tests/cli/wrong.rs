//! Wrong SQL, wrong options, wrong UDF sources, and the exact message that each is answered with.
//!
//! A case is `wrong/NAME.sql`, or a folder `wrong/NAME` whose file `arguments` is the command line (and whose file
//! `environment`, if it is there, sets variables). `wrong/NAME.txt` holds the exit code and all of stderr;
//! `UPDATE_EXPECT=1` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use baton::sql::errors::INTERNAL;

use crate::binary::{root, run};

/// Codes that need something else than a text to be seen, the tests that see them, and how those call them.
const ELSEWHERE: [(&str, &str, &str); 5] = [
    ("U003", "tests/udf_host", "error[U003]"),
    ("U004", "tests/udf_host", "error[U004]"),
    ("R005", "tests/kafka", "Code::BROKER"),
    ("R006", "tests/kafka", "Code::TOPIC_MISSING"),
    ("R007", "tests/cli/waiting", "error[R007]"),
];

/// The exit codes of what is found before anything is read, and of what is found while rows flow.
const WRONG: i32 = 78;
const FAILED: i32 = 1;

struct Case {
    name: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    /// What stands in the folder in which it runs.
    files: BTreeMap<PathBuf, Vec<u8>>,
}

#[test]
fn every_mistake_has_its_message() {
    let folder = root().join("tests/cli/wrong");
    let update = std::env::var_os("UPDATE_EXPECT").is_some_and(|v| v == "1");
    let cases = cases(&folder);
    assert!(cases.len() >= 60, "{} cases in {}", cases.len(), folder.display());

    let mut problems = String::new();
    let mut goldens = BTreeSet::new();
    for case in &cases {
        goldens.insert(format!("{}.txt", case.name));
        let golden = folder.join(format!("{}.txt", case.name));
        let (said, problem) = match said(case) {
            Ok(said) => said,
            Err(problem) => {
                let _ = writeln!(problems, "## {}: {problem}", case.name);
                continue;
            }
        };
        if let Some(problem) = problem {
            let _ = writeln!(problems, "## {}: {problem}\n{said}", case.name);
        }
        if update {
            fs::write(&golden, &said).expect("a golden can be written");
            continue;
        }
        match fs::read_to_string(&golden) {
            Err(error) => {
                let _ = writeln!(problems, "## {}: {}: {error}", case.name, golden.display());
            }
            Ok(expected) if expected == said => {}
            Ok(expected) => {
                let _ = writeln!(problems, "## {} says something else\n{}", case.name, differences(&expected, &said));
            }
        }
    }
    for orphan in files(&folder, "txt") {
        let name = orphan.file_name().expect("a name").to_string_lossy().into_owned();
        if !goldens.contains(&name) {
            let _ = writeln!(problems, "## {name} belongs to no case");
        }
    }
    assert!(problems.is_empty(), "UPDATE_EXPECT=1 writes the messages anew; read what has changed.\n{problems}");
}

#[test]
fn every_code_has_a_case() {
    let source = fs::read_to_string(root().join("src/diag/codes.rs")).expect("the list of codes");
    let codes: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.trim().split_once(" = \"")?.1.split_once("\", \""))
        .map(|(code, _)| code)
        .collect();
    assert!(codes.len() >= 30, "only {codes:?} found in src/diag/codes.rs");

    let mut shown = BTreeSet::new();
    for golden in files(&root().join("tests/cli/wrong"), "txt") {
        let text = fs::read_to_string(&golden).expect("a golden");
        for line in text.lines() {
            let told = line.strip_prefix("error[").or_else(|| line.strip_prefix("warning["));
            if let Some((code, _)) = told.and_then(|l| l.split_once(']')) {
                shown.insert(code.to_string());
            }
        }
    }
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(code, ..)| *code).collect();
    let missing: Vec<_> = codes.iter().filter(|c| !shown.contains(**c) && !elsewhere.contains(**c)).collect();
    assert!(missing.is_empty(), "no case in tests/cli/wrong shows {missing:?}");
    let unknown: Vec<_> = shown.iter().filter(|c| !codes.contains(c.as_str())).collect();
    assert!(unknown.is_empty(), "src/diag/codes.rs has no {unknown:?}");
    for (code, place, called) in ELSEWHERE {
        assert!(codes.contains(code), "{code} is no code");
        assert!(!shown.contains(code), "{code} has a case here: take it from the list");
        let place = root().join(place);
        let sources = if place.is_dir() { files(&place, "rs") } else { Vec::new() };
        let sources = sources.into_iter().chain([place.with_extension("rs")]);
        let covered = sources.filter_map(|p| fs::read_to_string(p).ok()).any(|text| text.contains(called));
        assert!(covered, "{} says nothing of {code} (`{called}`)", place.display());
    }
}

fn cases(folder: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for path in files(folder, "sql") {
        let file = PathBuf::from(path.file_name().expect("a name"));
        cases.push(Case {
            name: stem(&path),
            arguments: vec!["run".into(), file.to_string_lossy().into_owned()],
            variables: Vec::new(),
            files: BTreeMap::from([(file, fs::read(&path).expect("a case"))]),
        });
    }
    for path in list(folder).into_iter().filter(|p| p.is_dir()) {
        let mut files = BTreeMap::new();
        read_tree(&path, Path::new(""), &mut files);
        let mut text = |name: &str| files.remove(Path::new(name)).map(|b| String::from_utf8(b).expect("UTF-8"));
        let arguments = text("arguments").unwrap_or_else(|| panic!("{} has no `arguments`", path.display()));
        let variables = text("environment").unwrap_or_default();
        let variables = variables.lines().filter_map(|l| l.split_once('='));
        cases.push(Case {
            name: stem(&path),
            arguments: arguments.split_whitespace().map(str::to_string).collect(),
            variables: variables.map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            files,
        });
    }
    cases
}

/// Runs a case in a folder of its own; gives the exit code and stderr as the golden has them, and what is bad about the
/// message whatever the golden says.
fn said(case: &Case) -> Result<(String, Option<String>), String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (path, bytes) in &case.files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
    let arguments: Vec<&str> = case.arguments.iter().map(String::as_str).collect();
    let mut variables: Vec<(&str, &str)> = case.variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    variables.push(("BATON_LOG", "off"));
    let ended = run(folder.path(), &arguments, &variables);
    let Some(code) = ended.code else { return Err(format!("it was killed: {}", ended.stderr)) };
    // What goes wrong while rows flow has codes R…, and another exit code. So have warnings that are denied.
    let is_warned = case.name.starts_with("warned_");
    let expected = if is_warned || case.name.starts_with("running_") { FAILED } else { WRONG };
    if code != expected {
        return Err(format!("exit code {code}, not {expected}\n{}", ended.stderr));
    }
    if !ended.stderr.contains(if is_warned { "warning[" } else { "error[" }) {
        return Err(format!("no message with a code:\n{}", ended.stderr));
    }
    if is_warned || code == WRONG {
        if !ended.stdout.is_empty() {
            return Err(format!("stdout is for data, it has\n{}", ended.stdout));
        }
        let mut left = BTreeMap::new();
        read_tree(folder.path(), Path::new(""), &mut left);
        // Where UDFs are compiled is a cache.
        left.retain(|path, _| !path.starts_with("udfs/target"));
        if left != case.files {
            return Err(format!("it wrote something: {:?}", left.keys().collect::<Vec<_>>()));
        }
    }
    let messages = messages(&ended.stderr);
    let internal = INTERNAL.iter().find(|w| messages.contains(**w));
    let problem = match internal {
        Some(word) => Some(format!("it speaks of `{word}`, which is no word of SQL")),
        None => wrong_shape(&ended.stderr),
    };
    let place = folder.path().to_string_lossy().into_owned();
    Ok((format!("exit {code}\n{}", ended.stderr.replace(&place, "$FOLDER")), problem))
}

/// Each error has a place, if it is about a text, and one hint that says what to do.
fn wrong_shape(stderr: &str) -> Option<String> {
    let mut marks: Vec<usize> =
        ["error[", "warning["].iter().flat_map(|m| stderr.match_indices(m)).map(|m| m.0).collect();
    marks.sort_unstable();
    for (i, start) in marks.iter().enumerate() {
        let error = &stderr[*start..marks.get(i + 1).copied().unwrap_or(stderr.len())];
        let first = error.lines().next().unwrap_or_default();
        let hints = error.lines().filter(|l| l.starts_with("help: ")).count();
        if hints != 1 {
            return Some(format!("{hints} hints for `{first}`"));
        }
        if error.contains("help: see the statement") {
            return Some(format!("the hint for `{first}` says nothing"));
        }
        // Files that are not there, names on the command line, settings of all calls, and tools have no place.
        let placeless = ["P001", "P002", "P003", "U005"].iter().any(|c| error.starts_with(&format!("error[{c}]")))
            || first.starts_with("warning[W105]")
            || first.contains("there is no UDF")
            || first.contains(": BATON_LLM_");
        if !placeless && !error.contains("--> ") {
            return Some(format!("no place for `{first}`"));
        }
    }
    None
}

/// What was said, without the lines of the source that it shows.
fn messages(stderr: &str) -> String {
    let is_source = |line: &&str| {
        let line = line.trim_start();
        line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|')
    };
    stderr.lines().filter(|l| !is_source(l)).collect::<Vec<_>>().join("\n")
}

fn differences(expected: &str, said: &str) -> String {
    let mut out = String::new();
    for line in expected.lines().filter(|l| !said.lines().any(|s| s == *l)) {
        let _ = writeln!(out, "  - {line}");
    }
    for line in said.lines().filter(|l| !expected.lines().any(|e| e == *l)) {
        let _ = writeln!(out, "  + {line}");
    }
    if out.is_empty() { "  the same lines in another order or number".into() } else { out }
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("a folder can be listed").path()).collect();
    paths.sort();
    paths
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    list(folder).into_iter().filter(|p| p.is_file() && p.extension().is_some_and(|e| e == extension)).collect()
}

fn read_tree(folder: &Path, below: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for path in list(folder) {
        let name = below.join(path.file_name().expect("a name"));
        if path.is_dir() {
            read_tree(&path, &name, into);
        } else {
            into.insert(name, fs::read(&path).expect("a file"));
        }
    }
}
