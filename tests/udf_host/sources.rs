//! Sources that are read, and those that are refused, in the exact words.

use std::fs;
use std::path::Path;
use std::time::Duration;

use baton::diag::SourceText;
use baton::udf::{AsyncOptions, UdfKind, UdfSource, discover, parse};

use super::fixtures::shown;

fn read(text: &str) -> UdfSource {
    parse(Path::new("udfs/f.rs"), &SourceText::new("udfs/f.rs", text)).unwrap_or_else(|e| panic!("{}", shown(&e)))
}

fn refused(text: &str) -> String {
    let source = SourceText::new("udfs/f.rs", text);
    shown(&parse(Path::new("udfs/f.rs"), &source).expect_err(text))
}

#[test]
fn options_and_their_defaults() {
    let kind = |attribute: &str| read(&format!("{attribute}\nasync fn f(x: i64) -> i64 {{ x }}")).kind;
    assert_eq!(kind("#[udf]"), UdfKind::Async(AsyncOptions::default()));
    assert_eq!(kind("#[arroyo_udf_plugin::udf]"), UdfKind::Async(AsyncOptions::default()));
    for (attribute, millis) in [("500ms", 500), ("2 seconds", 2000), ("3m", 180_000), ("1   hrs", 3_600_000)] {
        let options = AsyncOptions { ordered: true, allowed_in_flight: 7, timeout: Duration::from_millis(millis) };
        let attribute = format!("#[udf(ordered, allowed_in_flight = 7, timeout = \"{attribute}\")]");
        assert_eq!(kind(&attribute), UdfKind::Async(options));
    }
    assert_eq!(read("#[udf] fn f(x: i64) -> i64 { x }").kind, UdfKind::Sync);
    assert_eq!(AsyncOptions::default().allowed_in_flight, 1000);
}

#[test]
fn dependencies_are_read_from_the_comment() {
    let source = read(
        "// first\n/*\n[dependencies]\nserde_json = \"1\"\nreqwest = { version = \"0.12\", features = [\"json\"] }\n*/\n\
         #[udf] fn f(x: i64) -> i64 { x }",
    );
    assert_eq!(source.dependencies["serde_json"].as_str(), Some("1"));
    assert_eq!(source.dependencies["reqwest"]["version"].as_str(), Some("0.12"));
    assert!(source.dependencies_span.unwrap().text().starts_with("[dependencies]\n"));
}

#[test]
fn a_file_that_is_no_udf() {
    insta::assert_snapshot!(refused("fn f(x: i64) -> i64 { x }\n"), @"");
    insta::assert_snapshot!(refused("#[udf]\nfn f(x: i64) -> i64 {\n    let y = ;\n    x\n}\n"), @"");
    insta::assert_snapshot!(refused("#[udf]\nfn f(x: i64) -> i64 { x }\n\n#[udf]\nfn g(x: i64) -> i64 { x }\n"), @"");
    insta::assert_snapshot!(refused("mod helper;\n\n#[udf]\nfn f(x: i64) -> i64 { x }\n"), @"");
}

#[test]
fn a_function_that_sql_cannot_call() {
    insta::assert_snapshot!(refused("#[udf]\nfn f(x: i64) {}\n"), @"");
    insta::assert_snapshot!(refused("#[udf]\nfn f(self, x: i64) -> i64 { x }\n"), @"");
    insta::assert_snapshot!(refused("#[udf]\nfn f() -> i64 { 1 }\n"), @"");
    insta::assert_snapshot!(refused("#[udf]\nfn f<T: Into<i64>>(x: i64, y: i64) -> i64 { x }\n"), @"");
}

#[test]
fn types_that_a_udf_cannot_have() {
    insta::assert_snapshot!(
        refused("#[udf]\nfn f(name: String, tags: Vec<i64>, raw: Vec<u8>, ok: Option<bool>) -> Option<&str> { None }\n"),
        @""
    );
    insta::assert_snapshot!(
        refused("#[udf]\nfn f(a: &i64, b: SystemTime, c: &mut str, d: Option<Option<i64>>) -> Result<String, Error> { a }\n"),
        @""
    );
    insta::assert_snapshot!(refused("#[udf]\nasync fn f(x: usize, y: (i64, i64)) -> u8 { 0 }\n"), @"");
    insta::assert_snapshot!(refused("#[udf]\nfn f(x: &Vec<u8>, y: &String, z: HashMap<String, i64>) -> bool { true }\n"), @"");
    insta::assert_snapshot!(refused("#[udf]\nfn f(x: i64) -> Vec<String> { vec![] }\n"), @"");
}

#[test]
fn wrong_options() {
    let with = |attribute: &str| refused(&format!("{attribute}\nasync fn f(x: i64) -> i64 {{ x }}\n"));
    insta::assert_snapshot!(with("#[udf(orderd, max = 3, allowed_in_flight = \"many\", timeout = 10)]"), @"");
    insta::assert_snapshot!(with("#[udf(allowed_in_flight = 0, timeout = \"soon\")]"), @"");
    insta::assert_snapshot!(with("#[udf(timeout = \"0s\")]"), @"");
    insta::assert_snapshot!(with("#[udf(,)]"), @"");
    insta::assert_snapshot!(with("#[arroyo_udf_plugin::udf(ordered)]"), @"");
    insta::assert_snapshot!(refused("#[udf(ordered)]\nfn f(x: i64) -> i64 { x }\n"), @"");
}

#[test]
fn wrong_dependency_comments() {
    let with = |comment: &str| refused(&format!("{comment}\n#[udf]\nfn f(x: i64) -> i64 {{ x }}\n"));
    insta::assert_snapshot!(with("/*\n[dependencies]\nserde = 1.0\n*/"), @"");
    insta::assert_snapshot!(with("/*\n[dependencies]\nserde = \"1\nregex = \"1\"\n*/"), @"");
    insta::assert_snapshot!(with("/* [dependencies]\nserde = \"1\"\n*/"), @"");
    insta::assert_snapshot!(with("/*\n[dependencies]\nserde = \"1\"\n*/\n/*\n[dependencies]\nregex = \"1\"\n*/"), @"");
    insta::assert_snapshot!(with("/*\n[dependencies]\nserde = \"1\"\n[profile.release]\nlto = true\n*/"), @"");
}

#[test]
fn all_mistakes_of_all_files_are_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.rs"), "#[udf] fn score(x: i64) -> i64 { x }").unwrap();
    fs::write(dir.path().join("b.rs"), "#[udf] fn Score(x: i64) -> i64 { x }").unwrap();
    fs::write(dir.path().join("c.rs"), "fn f() {}").unwrap();
    fs::write(dir.path().join("d.rs"), [0xff, 0xfe]).unwrap();
    fs::write(dir.path().join("notes.txt"), "not Rust").unwrap();
    fs::create_dir(dir.path().join("library")).unwrap();
    fs::write(dir.path().join("library/lib.rs"), "not Rust").unwrap();
    let text = shown(&discover(dir.path()).unwrap_err()).replace(&dir.path().display().to_string(), "[DIR]");
    insta::assert_snapshot!(text, @"");
    let text = shown(&discover(Path::new("no/such/folder")).unwrap_err());
    insta::assert_snapshot!(text, @"");
}
