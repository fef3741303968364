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
fn a_comment_gives_the_embedded_engine_another_timeout() {
    let timeout = |text: &str| match read(text).kind {
        UdfKind::Async(options) => options.timeout,
        UdfKind::Sync => panic!("{text} is async"),
    };
    let function = "#[udf(timeout = \"1s\")]\nasync fn f(x: i64) -> i64 { x }\n";
    assert_eq!(timeout(function), Duration::from_secs(1));
    let forever = AsyncOptions::NO_TIMEOUT;
    // The plugin takes microseconds in 64 bits.
    assert!(u64::try_from(forever.as_micros()).is_ok());
    for (comment, expected) in [
        ("// baton: timeout = \"none\"\n", forever),
        ("//baton:timeout=\"2m\"", Duration::from_mins(2)),
        ("    // baton: timeout = \"3s\" # TOML has comments", Duration::from_secs(3)),
        ("use a::b; // baton: timeout = \"none\"", forever),
        ("#[cfg(all())] // baton: timeout = 'none'", forever),
    ] {
        assert_eq!(timeout(&format!("{comment}\n{function}")), expected, "{comment}");
    }
    assert_eq!(timeout(&format!("{function}// baton: timeout = \"none\"")), forever);
    // Where it is no line comment, it says nothing.
    for other in [
        "/// baton: timeout = \"none\"",
        "/* // baton: timeout = \"none\"\n // baton: timeout = \"none\" */",
        "/* /* */ // baton: timeout = \"none\"\n*/",
        "const A: &str = \"\n// baton: timeout = \\\"none\\\"\n\";",
        "const A: &str = r#\"\n// baton: timeout = \"none\"\n\"#;",
        "// a baton: timeout = \"none\"",
    ] {
        assert_eq!(timeout(&format!("{other}\n{function}")), Duration::from_secs(1), "{other}");
    }
}

#[test]
fn a_comment_for_the_embedded_engine_that_says_something_else() {
    let with = |comment: &str| refused(&format!("{comment}\n#[udf]\nasync fn f(x: i64) -> i64 {{ x }}\n"));
    insta::assert_snapshot!(with("// baton: timeout = \"never\""), @r#"
    error[U001]: `timeout` takes `none`, or a time above zero: a whole number and `ms`, `s`, `m` or `h`
     --> udfs/f.rs:1:21
      |
    1 | // baton: timeout = "never"
      |                     ^^^^^^^
      |
    help: write `// baton: timeout = "none"`
    "#);
    insta::assert_snapshot!(with("// baton: timout = \"none\""), @r#"
    error[U001]: `timout` is not a setting for Baton
     --> udfs/f.rs:1:11
      |
    1 | // baton: timout = "none"
      |           ^^^^^^
      |
    help: did you mean `timeout`?
    "#);
    insta::assert_snapshot!(with("// baton: retries = 3"), @r#"
    error[U001]: `retries` is not a setting for Baton
     --> udfs/f.rs:1:11
      |
    1 | // baton: retries = 3
      |           ^^^^^^^
      |
    help: write `// baton: timeout = "none"`
    "#);
    insta::assert_snapshot!(with("// baton: timeout = none"), @r#"
    error[U001]: this comment for Baton is not of the form `key = "value"`
     --> udfs/f.rs:1:21
      |
    1 | // baton: timeout = none
      |                     ^^^^
      |
    help: write `// baton: timeout = "none"`
    "#);
    insta::assert_snapshot!(with("// baton: no time-out"), @r#"
    error[U001]: this comment for Baton is not of the form `key = "value"`
     --> udfs/f.rs:1:14
      |
    1 | // baton: no time-out
      |              ^
      |
    help: write `// baton: timeout = "none"`
    "#);
    insta::assert_snapshot!(with("// baton:"), @r#"
    error[U001]: this comment has no setting for Baton
     --> udfs/f.rs:1:10
      |
    1 | // baton:
      |          ^
      |
    help: write `// baton: timeout = "none"`
    "#);
    insta::assert_snapshot!(with("// baton: timeout = \"1s\"\n// baton: timeout = \"2s\""), @r#"
    error[U001]: `timeout` is given to Baton twice
     --> udfs/f.rs:2:21
      |
    2 | // baton: timeout = "2s"
      |                     ^^^^
      |
    help: remove one: the other is at udfs/f.rs:1:21
    "#);
    let text = "// baton: timeout = \"none\"\n#[udf]\nfn f(x: i64) -> i64 { x }\n";
    insta::assert_snapshot!(refused(text), @r#"
    error[U001]: a time-out is for async functions, this one is not
     --> udfs/f.rs:1:21
      |
    1 | // baton: timeout = "none"
      |                     ^^^^^^
      |
    help: remove the comment, or make it an `async fn`
    "#);
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
    insta::assert_snapshot!(refused("fn f(x: i64) -> i64 { x }\n"), @r#"
    error[U001]: no function is marked `#[udf]`
     --> udfs/f.rs:1:1
      |
    1 | fn f(x: i64) -> i64 { x }
      | ^
      |
    help: write `use arroyo_udf_plugin::udf;`, and `#[udf]` above the function that SQL calls
    "#);
    insta::assert_snapshot!(refused("#[udf]\nfn f(x: i64) -> i64 {\n    let y = ;\n    x\n}\n"), @r#"
    error[U001]: this is not Rust: expected an expression
     --> udfs/f.rs:3:13
      |
    3 |     let y = ;
      |             ^
      |
    help: correct the syntax here
    "#);
    insta::assert_snapshot!(refused("#[udf]\nfn f(x: i64) -> i64 { x }\n\n#[udf]\nfn g(x: i64) -> i64 { x }\n"), @r#"
    error[U001]: a UDF's file has one `#[udf]` function, this is the second
     --> udfs/f.rs:5:4
      |
    5 | fn g(x: i64) -> i64 { x }
      |    ^
      |
    help: move it to a file of its own
    "#);
    insta::assert_snapshot!(refused("mod helper;\n\n#[udf]\nfn f(x: i64) -> i64 { x }\n"), @r#"
    error[U001]: a UDF is one file, `helper` would be another
     --> udfs/f.rs:1:1
      |
    1 | mod helper;
      | ^^^^^^^^^^^
      |
    help: put its text here: `mod helper { … }`, or make it a `path` dependency
    "#);
}

#[test]
fn a_function_that_sql_cannot_call() {
    insta::assert_snapshot!(refused("#[udf]\nfn f(x: i64) {}\n"), @r#"
    error[U001]: `f` returns nothing
     --> udfs/f.rs:2:4
      |
    2 | fn f(x: i64) {}
      |    ^
      |
    help: say what it returns, for example `-> String`
    "#);
    insta::assert_snapshot!(refused("#[udf]\nfn f(self, x: i64) -> i64 { x }\n"), @r#"
    error[U001]: `f` takes `self`, but SQL has no object to call it on
     --> udfs/f.rs:2:6
      |
    2 | fn f(self, x: i64) -> i64 { x }
      |      ^^^^
      |
    help: remove `self`
    "#);
    insta::assert_snapshot!(refused("#[udf]\nfn f() -> i64 { 1 }\n"), @r#"
    error[U001]: `f` takes no argument, so the number of rows would be unknown
     --> udfs/f.rs:2:4
      |
    2 | fn f() -> i64 { 1 }
      |    ^
      |
    help: give it an argument, or make it an `async fn`
    "#);
    insta::assert_snapshot!(refused("#[udf]\nfn f<T: Into<i64>>(x: i64, y: i64) -> i64 { x }\n"), @r#"
    error[U001]: `f` cannot be generic: SQL calls it with fixed types
     --> udfs/f.rs:2:6
      |
    2 | fn f<T: Into<i64>>(x: i64, y: i64) -> i64 { x }
      |      ^^^^^^^^^^^^
      |
    help: name the types of its arguments
    "#);
}

#[test]
fn types_that_a_udf_cannot_have() {
    insta::assert_snapshot!(
        refused("#[udf]\nfn f(name: String, tags: Vec<i64>, raw: Vec<u8>, ok: Option<bool>) -> Option<&str> { None }\n"),
        @r#"
    error[U002]: a UDF cannot take `String`
     --> udfs/f.rs:2:12
      |
    2 | fn f(name: String, tags: Vec<i64>, raw: Vec<u8>, ok: Option<bool>) -> Option<&str> { None }
      |            ^^^^^^
      |
    help: write `&str`

    error[U002]: a UDF cannot take `Vec<i64>`
     --> udfs/f.rs:2:26
      |
    2 | fn f(name: String, tags: Vec<i64>, raw: Vec<u8>, ok: Option<bool>) -> Option<&str> { None }
      |                          ^^^^^^^^
      |
    help: a `Vec` would make it an aggregate, which is not supported: take one value a call

    error[U002]: a UDF cannot take `Vec<u8>`
     --> udfs/f.rs:2:41
      |
    2 | fn f(name: String, tags: Vec<i64>, raw: Vec<u8>, ok: Option<bool>) -> Option<&str> { None }
      |                                         ^^^^^^^
      |
    help: write `&[u8]`

    error[U002]: a UDF cannot take `Option<bool>`
     --> udfs/f.rs:2:54
      |
    2 | fn f(name: String, tags: Vec<i64>, raw: Vec<u8>, ok: Option<bool>) -> Option<&str> { None }
      |                                                      ^^^^^^^^^^^^
      |
    help: take an `i32`, and write `CAST(… AS INT)` in SQL

    error[U002]: a UDF cannot return `Option<&str>`
     --> udfs/f.rs:2:71
      |
    2 | fn f(name: String, tags: Vec<i64>, raw: Vec<u8>, ok: Option<bool>) -> Option<&str> { None }
      |                                                                       ^^^^^^^^^^^^
      |
    help: write `Option<String>`
    "#
    );
    insta::assert_snapshot!(
        refused("#[udf]\nfn f(a: &i64, b: SystemTime, c: &mut str, d: Option<Option<i64>>) -> Result<String, Error> { a }\n"),
        @r#"
    error[U002]: a UDF cannot take `&i64`
     --> udfs/f.rs:2:9
      |
    2 | fn f(a: &i64, b: SystemTime, c: &mut str, d: Option<Option<i64>>) -> Result<String, Error> { a }
      |         ^^^^
      |
    help: write `i64`

    error[U002]: a UDF cannot take `SystemTime`
     --> udfs/f.rs:2:18
      |
    2 | fn f(a: &i64, b: SystemTime, c: &mut str, d: Option<Option<i64>>) -> Result<String, Error> { a }
      |                  ^^^^^^^^^^
      |
    help: take its text (`&str`) or a number (`i64`)

    error[U002]: a UDF cannot take `&mut str`
     --> udfs/f.rs:2:33
      |
    2 | fn f(a: &i64, b: SystemTime, c: &mut str, d: Option<Option<i64>>) -> Result<String, Error> { a }
      |                                 ^^^^^^^^
      |
    help: write `&str`

    error[U002]: a UDF cannot take `Option<Option<i64>>`
     --> udfs/f.rs:2:46
      |
    2 | fn f(a: &i64, b: SystemTime, c: &mut str, d: Option<Option<i64>>) -> Result<String, Error> { a }
      |                                              ^^^^^^^^^^^^^^^^^^^
      |
    help: one `Option` is enough: NULL is its `None`

    error[U002]: a UDF cannot return `Result<String, Error>`
     --> udfs/f.rs:2:70
      |
    2 | fn f(a: &i64, b: SystemTime, c: &mut str, d: Option<Option<i64>>) -> Result<String, Error> { a }
      |                                                                      ^^^^^^^^^^^^^^^^^^^^^
      |
    help: return an `Option`, `None` for a failure, or one of `i8` to `i64`, `u8` to `u64`, `f32`, `f64`, `String`, `Vec<u8>`
    "#
    );
    insta::assert_snapshot!(refused("#[udf]\nasync fn f(x: usize, y: (i64, i64)) -> u8 { 0 }\n"), @r#"
    error[U002]: a UDF cannot take `usize`
     --> udfs/f.rs:2:15
      |
    2 | async fn f(x: usize, y: (i64, i64)) -> u8 { 0 }
      |               ^^^^^
      |
    help: write `u64`

    error[U002]: a UDF cannot take `(i64, i64)`
     --> udfs/f.rs:2:25
      |
    2 | async fn f(x: usize, y: (i64, i64)) -> u8 { 0 }
      |                         ^^^^^^^^^^
      |
    help: an argument is one of `i8` to `i64`, `u8` to `u64`, `f32`, `f64`, `&str`, `&[u8]`, or an `Option` of one of these

    error[U002]: an async UDF cannot return `u8`
     --> udfs/f.rs:2:40
      |
    2 | async fn f(x: usize, y: (i64, i64)) -> u8 { 0 }
      |                                        ^^
      |
    help: write `u32`
    "#);
    insta::assert_snapshot!(refused("#[udf]\nfn f(x: &Vec<u8>, y: &String, z: HashMap<String, i64>) -> bool { true }\n"), @r#"
    error[U002]: a UDF cannot take `&Vec<u8>`
     --> udfs/f.rs:2:9
      |
    2 | fn f(x: &Vec<u8>, y: &String, z: HashMap<String, i64>) -> bool { true }
      |         ^^^^^^^^
      |
    help: write `&[u8]`

    error[U002]: a UDF cannot take `&String`
     --> udfs/f.rs:2:22
      |
    2 | fn f(x: &Vec<u8>, y: &String, z: HashMap<String, i64>) -> bool { true }
      |                      ^^^^^^^
      |
    help: write `&str`

    error[U002]: a UDF cannot take `HashMap<String, i64>`
     --> udfs/f.rs:2:34
      |
    2 | fn f(x: &Vec<u8>, y: &String, z: HashMap<String, i64>) -> bool { true }
      |                                  ^^^^^^^^^^^^^^^^^^^^
      |
    help: an argument is one of `i8` to `i64`, `u8` to `u64`, `f32`, `f64`, `&str`, `&[u8]`, or an `Option` of one of these

    error[U002]: a UDF cannot return `bool`
     --> udfs/f.rs:2:59
      |
    2 | fn f(x: &Vec<u8>, y: &String, z: HashMap<String, i64>) -> bool { true }
      |                                                           ^^^^
      |
    help: return an `i32`, and compare it with 1 in SQL
    "#);
    insta::assert_snapshot!(refused("#[udf]\nfn f(x: i64) -> Vec<String> { vec![] }\n"), @r#"
    error[U002]: a UDF cannot return `Vec<String>`
     --> udfs/f.rs:2:17
      |
    2 | fn f(x: i64) -> Vec<String> { vec![] }
      |                 ^^^^^^^^^^^
      |
    help: return several values as one JSON text: write `String`
    "#);
}

#[test]
fn wrong_options() {
    let with = |attribute: &str| refused(&format!("{attribute}\nasync fn f(x: i64) -> i64 {{ x }}\n"));
    insta::assert_snapshot!(with("#[udf(orderd, max = 3, allowed_in_flight = \"many\", timeout = 10)]"), @r#"
    error[U001]: `orderd` is not an option of `#[udf]`
     --> udfs/f.rs:1:7
      |
    1 | #[udf(orderd, max = 3, allowed_in_flight = "many", timeout = 10)]
      |       ^^^^^^
      |
    help: did you mean `ordered`?

    error[U001]: `max` is not an option of `#[udf]`
     --> udfs/f.rs:1:15
      |
    1 | #[udf(orderd, max = 3, allowed_in_flight = "many", timeout = 10)]
      |               ^^^
      |
    help: the options are `ordered`, `unordered`, `allowed_in_flight = N` and `timeout = "10s"`

    error[U001]: `allowed_in_flight` takes a whole number from 1 to 1000000
     --> udfs/f.rs:1:44
      |
    1 | #[udf(orderd, max = 3, allowed_in_flight = "many", timeout = 10)]
      |                                            ^^^^^^
      |
    help: write `allowed_in_flight = 100`

    error[U001]: `timeout` takes a time above zero: a whole number and `ms`, `s`, `m` or `h`
     --> udfs/f.rs:1:62
      |
    1 | #[udf(orderd, max = 3, allowed_in_flight = "many", timeout = 10)]
      |                                                              ^^
      |
    help: write `timeout = "10s"`
    "#);
    insta::assert_snapshot!(with("#[udf(allowed_in_flight = 0, timeout = \"soon\")]"), @r#"
    error[U001]: `allowed_in_flight` takes a whole number from 1 to 1000000
     --> udfs/f.rs:1:27
      |
    1 | #[udf(allowed_in_flight = 0, timeout = "soon")]
      |                           ^
      |
    help: write `allowed_in_flight = 100`

    error[U001]: `timeout` takes a time above zero: a whole number and `ms`, `s`, `m` or `h`
     --> udfs/f.rs:1:40
      |
    1 | #[udf(allowed_in_flight = 0, timeout = "soon")]
      |                                        ^^^^^^
      |
    help: write `timeout = "10s"`
    "#);
    insta::assert_snapshot!(with("#[udf(timeout = \"0s\")]"), @r#"
    error[U001]: `timeout` takes a time above zero: a whole number and `ms`, `s`, `m` or `h`
     --> udfs/f.rs:1:17
      |
    1 | #[udf(timeout = "0s")]
      |                 ^^^^
      |
    help: write `timeout = "10s"`
    "#);
    insta::assert_snapshot!(with("#[udf(,)]"), @r#"
    error[U001]: the options of `#[udf(…)]` cannot be read: unexpected token in nested attribute, expected ident
     --> udfs/f.rs:1:7
      |
    1 | #[udf(,)]
      |       ^
      |
    help: write, for example, `#[udf(ordered, allowed_in_flight = 100, timeout = "10s")]`
    "#);
    insta::assert_snapshot!(with("#[arroyo_udf_plugin::udf(ordered)]"), @r#"
    error[U001]: options are read from `#[udf(…)]` only, without a path before it
     --> udfs/f.rs:1:1
      |
    1 | #[arroyo_udf_plugin::udf(ordered)]
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: write `use arroyo_udf_plugin::udf;` above, and `#[udf(…)]` here
    "#);
    insta::assert_snapshot!(refused("#[udf(ordered)]\nfn f(x: i64) -> i64 { x }\n"), @r#"
    error[U001]: options are for async functions, this one is not
     --> udfs/f.rs:1:1
      |
    1 | #[udf(ordered)]
      | ^^^^^^^^^^^^^^^
      |
    help: write `#[udf]`, or make it an `async fn`
    "#);
}

#[test]
fn wrong_dependency_comments() {
    let with = |comment: &str| refused(&format!("{comment}\n#[udf]\nfn f(x: i64) -> i64 {{ x }}\n"));
    insta::assert_snapshot!(with("/*\n[dependencies]\nserde = 1.0\n*/"), @r#"
    error[U001]: the dependency `serde` has neither a version nor a table
     --> udfs/f.rs:3:9
      |
    3 | serde = 1.0
      |         ^^^
      |
    help: write `name = "1.2"` or `name = { version = "1.2" }`
    "#);
    insta::assert_snapshot!(with("/*\n[dependencies]\nserde = \"1\nregex = \"1\"\n*/"), @r#"
    error[U001]: the dependencies are not valid TOML: invalid basic string, expected `"`
     --> udfs/f.rs:3:11
      |
    3 | serde = "1
      |           ^
      |
    help: write them as in a Cargo.toml: `name = "1.2"` or `name = { version = "1.2", features = ["…"] }`
    "#);
    insta::assert_snapshot!(with("/* [dependencies]\nserde = \"1\"\n*/"), @r#"
    error[U001]: Arroyo would ignore this dependencies comment
     --> udfs/f.rs:1:1
      |
    1 | /* [dependencies]
      | ^^
      |
    help: put `/*` alone on a line, `[dependencies]` alone on the next
    "#);
    insta::assert_snapshot!(with("/*\n[dependencies]\nserde = \"1\"\n*/\n/*\n[dependencies]\nregex = \"1\"\n*/"), @r#"
    error[U001]: a UDF has only one dependencies comment, this is the second
     --> udfs/f.rs:5:1
      |
    5 | /*
      | ^^
      |
    help: move its lines into the first one
    "#);
    insta::assert_snapshot!(with("/*\n[dependencies]\nserde = \"1\"\n[profile.release]\nlto = true\n*/"), @r#"
    error[U001]: `profile` cannot stand in the dependencies comment
     --> udfs/f.rs:4:1
      |
    4 | [profile.release]
      | ^^^^^^^^
      |
    help: only `[dependencies]` is read there
    "#);
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
    insta::assert_snapshot!(text, @r#"
    error[U001]: `Score` is defined twice
     --> [DIR]/b.rs:1:11
      |
    1 | #[udf] fn Score(x: i64) -> i64 { x }
      |           ^^^^^
      |
    help: rename one: the other is in [DIR]/a.rs:1:11

    error[U001]: no function is marked `#[udf]`
     --> [DIR]/c.rs:1:1
      |
    1 | fn f() {}
      | ^
      |
    help: write `use arroyo_udf_plugin::udf;`, and `#[udf]` above the function that SQL calls

    error[P001]: cannot read `[DIR]/d.rs`: it is not UTF-8 text
     |
    help: save the file as UTF-8
    "#);
    let text = shown(&discover(Path::new("no/such/folder")).unwrap_err());
    insta::assert_snapshot!(text, @r#"
    error[P001]: cannot read the folder `no/such/folder`: No such file or directory (os error 2)
     |
    help: check the path
    "#);
}
