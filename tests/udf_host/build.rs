//! Compiling: errors at the author's own lines, what is up to date is left alone, what is missing is said.

use std::fs;
use std::path::Path;
use std::process::Command;

use baton::udf::{UdfSource, build, discover};

use super::fixtures::{BUILT, FOLDER, compilable, shown};

fn fixture(name: &str) -> UdfSource {
    discover(&FOLDER).unwrap().into_iter().find(|s| s.name == name).unwrap()
}

fn errors_of(dir: &Path, sources: &[UdfSource]) -> String {
    let errors = build(dir, sources, &mut |_: &str| ()).unwrap_err();
    let text = shown(&errors);
    text.replace(&dir.display().to_string(), "[DIR]").replace("target/udf-fixtures/", "")
}

#[test]
fn errors_of_the_compiler_are_at_the_authors_own_lines() {
    assert!(!BUILT.is_empty());
    insta::assert_snapshot!(errors_of(&FOLDER, &[fixture("broken_types")]), @"");
    insta::assert_snapshot!(errors_of(&FOLDER, &[fixture("broken_macro")]), @"");

    let mut said = Vec::new();
    build(&FOLDER, &[fixture("broken_types")], &mut |line: &str| said.push(line.to_string())).unwrap_err();
    said.retain(|line| !line.starts_with("waiting for another process"));
    assert_eq!(said[0], "compiling 1 UDF (broken_types): looking up dependencies");
    assert!(said.last().unwrap().ends_with(" crates"), "{said:?}");
}

#[test]
fn dependencies_that_do_not_exist_are_told_at_the_comment() {
    let dir = tempfile::tempdir().unwrap();
    let source = "/*\n[dependencies]\nscoring = { path = \"../no_such_crate\" }\n*/\nuse arroyo_udf_plugin::udf;\n\n\
                  #[udf]\nfn score(x: i64) -> i64 {\n    x\n}\n";
    fs::write(dir.path().join("score.rs"), source).unwrap();
    let sources = discover(dir.path()).unwrap();
    let text = errors_of(dir.path(), &sources);
    let parent = dir.path().parent().unwrap().display().to_string();
    insta::assert_snapshot!(text.replace(&parent, "[PARENT]"), @"");
    assert!(!dir.path().join("udfs.lock").exists(), "a failed build leaves no lock file");
}

#[test]
fn what_is_up_to_date_runs_no_cargo() {
    assert!(!BUILT.is_empty());
    let mut said = Vec::new();
    let built = build(&FOLDER, &compilable(), &mut |line: &str| said.push(line.to_string())).unwrap();
    assert_eq!(said, Vec::<String>::new());
    for again in built {
        assert_eq!(again.library, BUILT[&again.source.name].library);
    }
    assert!(FOLDER.join("udfs.lock").is_file());
}

/// Runs one of the ignored tests below in a process without a toolchain.
fn without_toolchain(test: &str) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test])
        .envs([("PATH", ""), ("CARGO_HOME", "/nowhere"), ("RUSTC", "/nowhere/rustc")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&status.stdout);
    assert!(status.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&status.stderr));
}

#[test]
fn a_machine_without_cargo_uses_what_is_compiled() {
    assert!(!BUILT.is_empty());
    without_toolchain("udf_host::build::without_cargo_what_is_compiled_is_used");
    without_toolchain("udf_host::build::without_cargo_what_is_not_compiled_is_told");
}

#[test]
#[ignore = "run by a_machine_without_cargo_uses_what_is_compiled"]
fn without_cargo_what_is_compiled_is_used() {
    build(&FOLDER, &compilable(), &mut |line: &str| panic!("{line}")).unwrap();
}

#[test]
#[ignore = "run by a_machine_without_cargo_uses_what_is_compiled"]
fn without_cargo_what_is_not_compiled_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f.rs"), "#[arroyo_udf_plugin::udf]\nfn f(x: i64) -> i64 { x }\n").unwrap();
    insta::assert_snapshot!(errors_of(dir.path(), &discover(dir.path()).unwrap()), @"");
}

#[test]
fn a_library_that_is_none_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("libshout-0.so");
    fs::write(&library, "this is no library").unwrap();
    let mut built = BUILT["shout"].clone();
    built.library = library;
    let error = baton::udf::load(&built, std::sync::Arc::new(|_: &baton::udf::RowError| ())).unwrap_err();
    let text = shown(&[error]).replace(&dir.path().display().to_string(), "[DIR]").replace("target/udf-fixtures/", "");
    insta::assert_snapshot!(text, @"");

    // A sync UDF's library has none of an async one's functions.
    let mut built = BUILT["behave"].clone();
    built.library = BUILT["shout"].library.clone();
    assert!(baton::udf::load(&built, std::sync::Arc::new(|_: &baton::udf::RowError| ())).is_err());
}
