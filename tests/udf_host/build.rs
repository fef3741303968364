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
    insta::assert_snapshot!(errors_of(&FOLDER, &[fixture("broken_types")]), @r#"
    error[U003]: cannot find value `missing` in this scope
      --> broken_types.rs:10:13
       |
    10 |     länge + missing
       |             ^^^^^^^

    error[U003]: mismatched types: expected `i64`, found `usize`
     --> broken_types.rs:9:22
      |
    9 |     let länge: i64 = count(text);
      |                      ^^^^^^^^^^^
      |
    help: you can convert a `usize` to an `i64` and panic if the converted value doesn't fit: `.try_into().unwrap()`
    "#);
    insta::assert_snapshot!(errors_of(&FOLDER, &[fixture("broken_macro")]), @r#"
    error[U003]: 2 positional arguments in format string, but there is 1 argument
      --> broken_macro.rs:10:14
       |
    10 |     format!("{} {}", text)
       |              ^^
    "#);

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
    insta::assert_snapshot!(text.replace(&parent, "[PARENT]"), @r#"
    error[U003]: failed to load manifest for dependency `scoring`: failed to read `[PARENT]/no_such_crate/Cargo.toml`: No such file or directory (os error 2)
     --> [DIR]/score.rs:3:1
      |
    3 | scoring = { path = "../no_such_crate" }
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: correct the dependency in this comment
    "#);
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
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test])
        .envs([("PATH", ""), ("CARGO_HOME", "/nowhere"), ("RUSTC", "/nowhere/rustc")])
        .output()
        .unwrap();
    let (said, log) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && said.contains("1 passed"), "{said}{log}");
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
    insta::assert_snapshot!(errors_of(dir.path(), &discover(dir.path()).unwrap()), @r#"
    error[U005]: UDFs have to be compiled, and cargo is not installed
     |
    help: install Rust (https://rustup.rs), or bring `target/baton/lib` from a machine that has it
    "#);
}

#[test]
fn a_library_that_is_none_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("libshout-0.so");
    fs::write(&library, "this is no library").unwrap();
    let source = &BUILT["shout"].source;
    let error = baton::udf::load(source, &library, std::sync::Arc::new(|_: &baton::udf::RowError| ())).unwrap_err();
    let text = shown(&[error]).replace(&dir.path().display().to_string(), "[DIR]").replace("target/udf-fixtures/", "");
    insta::assert_snapshot!(text, @r#"
    error[U004]: `shout` is compiled but cannot be loaded: [DIR]/libshout-0.so: file too short
     --> shout.rs:9:4
      |
    9 | fn shout(text: &str) -> String {
      |    ^^^^^
      |
    help: delete `target/baton` in the folder of the UDFs, and Baton compiles them again
    "#);

    // A sync UDF's library has none of an async one's functions.
    let (source, library) = (&BUILT["behave"].source, &BUILT["shout"].library);
    assert!(baton::udf::load(source, library, std::sync::Arc::new(|_: &baton::udf::RowError| ())).is_err());
}
