//! Input that is not what its table says: each message is a row or is told, counted and kept, and none ends the process
//! or fills its memory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::binary::{Ended, Running, run};

const COLUMNS: &str = "id BIGINT NOT NULL, name TEXT, vip BOOLEAN, score DOUBLE, price DECIMAL(10, 2), payload JSON";

/// A table `leads` over `in.json` and one over `out.json` that gets all of it.
fn pipeline(options: &str, more: &str) -> String {
    format!(
        "CREATE TABLE leads ({COLUMNS}) \
           WITH (connector = 'single_file', path = 'in.json', format = 'json', type = 'source'{options});\n\
         CREATE TABLE copied (id BIGINT, name TEXT, vip BOOLEAN, score DOUBLE, price DECIMAL(10, 2), payload JSON) \
           WITH (connector = 'single_file', path = 'out.json', format = 'json', type = 'sink');\n\
         {more}\n\
         INSERT INTO copied SELECT * FROM leads;\n"
    )
}

const KEPT: &str = ", 'baton.dead_letters' = 'rejected'";
const REJECTED: &str = "CREATE TABLE rejected (workflow_id TEXT, pipeline TEXT, topic TEXT, partition INT, offset_id BIGINT, \
    timestamp BIGINT, payload TEXT, status TEXT, error TEXT, created_at TEXT, note DOUBLE) \
    WITH (connector = 'single_file', path = 'rejected.json', format = 'json', type = 'sink');";

fn in_folder(folder: &Path, sql: &str, input: &[u8]) -> Ended {
    fs::write(folder.join("copy.sql"), sql).expect("a file");
    fs::write(folder.join("in.json"), input).expect("a file");
    run(folder, &["run", "copy.sql"], &[])
}

fn rows(folder: &Path, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l:.200}: {e}"))).collect()
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// Messages that cannot be read, and a part of what is said of each.
fn bad() -> Vec<(Vec<u8>, &'static str)> {
    let digits = "9".repeat(10_000);
    let text = |text: String| text.into_bytes();
    vec![
        (b"garbage".to_vec(), "a value is missing or not JSON"),
        (b"\xef\xbb\xbf{\"id\":2}".to_vec(), "begins with a byte order mark"),
        (b"\xff\xfe{\"id\":2}".to_vec(), "byte 1 is not valid UTF-8"),
        (b"{\"id\":2,\"name\":\"\xc3\x28\"}".to_vec(), "byte 17 is not valid UTF-8"),
        (b"\x00".to_vec(), "a value is missing or not JSON"),
        (b"{\"id\":2,\"name\":\"a\x00b\"}".to_vec(), "a control character that is not escaped"),
        (br#"{"id":2,"name":"\ud800"}"#.to_vec(), "is half a character"),
        (br#"{"id":2,"name":"\udc00\ud800"}"#.to_vec(), "is half a character"),
        (br#"{"id":2,"other":"\ud800"}"#.to_vec(), "is half a character"),
        (text(format!(r#"{{"id":2,"payload":{}}}"#, nested(100_000))), "nested deeper than 128 levels"),
        (text(format!(r#"{{"id":2,"other":{}}}"#, nested(100_000))), "nested deeper than 128 levels"),
        (text(nested(100_000)), "nested deeper than 128 levels"),
        (text(r#"{"payload":"#.repeat(100_000)), "nested deeper than 128 levels"),
        (text(format!(r#"{{"id":{digits}}}"#)), "a number has more than 4,300 digits"),
        (text(format!(r#"{{"id":"{digits}"}}"#)), "column `id` is BIGINT, which"),
        (br#"{"id":1e999}"#.to_vec(), "column `id` is BIGINT, which `1e999` is not"),
        (br#"{"id":2,"price":1e999}"#.to_vec(), "column `price` is DECIMAL(10, 2), which `1e999` is not"),
        (br#"{"id":2,"price":"1e99999999999999999999"}"#.to_vec(), "column `price` is DECIMAL(10, 2), which"),
        (text(format!(r#"{{"id":2,"price":"{}"}}"#, "9".repeat(300))), "column `price` is DECIMAL(10, 2), which"),
        (br#"{"name":"without an id"}"#.to_vec(), "column `id` is NOT NULL, but the message does not have it"),
        (br#"{"id":null}"#.to_vec(), "column `id` is NOT NULL, but the message has null"),
        (br#"{"id":2,"id":null}"#.to_vec(), "column `id` is NOT NULL, but the message has null"),
        (br#"{"id":2,"vip":"true"}"#.to_vec(), "column `vip` is BOOLEAN"),
        (br#"{"id":2,"name":{"a":1}}"#.to_vec(), "column `name` is TEXT"),
        (b"[1]".to_vec(), "a row must be a JSON object"),
        (b"null".to_vec(), "a row must be a JSON object"),
        (b" \t".to_vec(), "nothing but white space"),
        (br#"{"id":2"#.to_vec(), "it ends before it is complete"),
        (br#"{"id":2}{"id":3}"#.to_vec(), "something follows after its end"),
        (vec![b'y'; 10 << 20], "a value is missing or not JSON"),
    ]
}

/// Messages that can be read, odd as they are, and their rows.
fn odd() -> Vec<(String, Value)> {
    let row = |id: i64, name: Value, vip: Value, score: Value, price: Value, payload: Value| json!({ "id": id, "name": name, "vip": vip, "score": score, "price": price, "payload": payload });
    let none = Value::Null;
    let named = |id, name: &str| row(id, name.into(), none.clone(), none.clone(), none.clone(), none.clone());
    let just = |id| row(id, none.clone(), none.clone(), none.clone(), none.clone(), none.clone());
    let large = "x".repeat(10 << 20);
    vec![
        // Of a key that is there twice the last counts, whatever the others are.
        (r#"{"id":1,"id":2}"#.into(), just(2)),
        (r#"{"id":"x","id":{"y":[]},"id":3,"vip":7,"vip":null}"#.into(), just(3)),
        (r#"{"id":4,"name":"a\u0000b"}"#.into(), named(4, "a\u{0}b")),
        (r#"{"id":5,"name":"\ud83d\ude00"}"#.into(), named(5, "😀")),
        (format!(r#"{{"id":6,"name":"{large}"}}"#), named(6, &large)),
        // Larger than any DOUBLE: it has no JSON, and is written as null, as on Arroyo.
        (r#"{"id":7,"score":1e999}"#.into(), just(7)),
        (format!(r#"{{"id":8,"price":0.25{}}}"#, "1".repeat(4_000)), {
            row(8, none.clone(), none.clone(), none.clone(), json!(0.25), none.clone())
        }),
        (r#"{"id":9,"other":{"a":[{"b":null}]},"\u006eame":"n"}"#.into(), named(9, "n")),
        (" \t{ \"id\" : 10 } \t".into(), just(10)),
        // A line of a file may end as on Windows.
        ("{\"id\":11}\r".into(), just(11)),
        (format!(r#"{{"id":12,"payload":{}}}"#, nested(100)), {
            let payload = serde_json::from_str(&nested(100)).expect("JSON");
            row(12, none.clone(), none.clone(), none.clone(), none.clone(), payload)
        }),
    ]
}

#[test]
fn what_cannot_be_read_is_kept_with_its_bytes_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (bad, odd) = (bad(), odd());
    let mut input = Vec::new();
    let mut places = BTreeMap::new();
    let mut line = 0;
    let mut good = odd.iter();
    let mut expected: Vec<&Value> = Vec::new();
    for (bytes, error) in &bad {
        if let Some((message, row)) = good.next() {
            input.extend_from_slice(message.as_bytes());
            input.push(b'\n');
            expected.push(row);
            line += 1;
        }
        // An empty line is no message.
        input.extend_from_slice(b"\n");
        input.extend_from_slice(bytes);
        input.push(b'\n');
        line += 2;
        places.insert(line, (bytes, *error));
    }
    // The last line has no end.
    input.extend_from_slice(br#"{"id":99}"#);
    let last = json!({ "id": 99, "name": null, "vip": null, "score": null, "price": null, "payload": null });
    expected.push(&last);

    let ended = in_folder(folder.path(), &pipeline(KEPT, REJECTED), &input).expect_code(0);
    assert!(ended.stderr.contains(&format!("total={}", bad.len())), "{}", ended.stderr);
    assert!(ended.stderr.len() < 10_000, "the log shows {} bytes", ended.stderr.len());

    let copied = rows(folder.path(), "out.json");
    assert_eq!(copied.len(), expected.len());
    for (row, expected) in copied.iter().zip(expected) {
        let (row, expected) = (row.to_string(), expected.to_string());
        assert!(row == expected, "{row:.300}\n{expected:.300}");
    }
    let letters = rows(folder.path(), "rejected.json");
    assert_eq!(letters.len(), bad.len());
    for letter in &letters {
        let at = letter["offset_id"].as_i64().expect("a line");
        let (bytes, error) = places.remove(&at).unwrap_or_else(|| panic!("line {at} is not bad, or was twice"));
        let payload = BASE64_STANDARD.decode(letter["payload"].as_str().expect("base64")).expect("base64");
        assert!(payload == *bytes, "line {at} has other bytes");
        let said = letter["error"].as_str().expect("a reason");
        assert!(said.contains(error) && said.len() < 500, "line {at}: {said}\nnot: {error}");
        assert_eq!(letter["workflow_id"], format!("in.json/{at}"));
        assert_eq!((&letter["pipeline"], &letter["topic"]), (&json!("copy"), &json!("in.json")));
        assert_eq!(letter["status"], "unreadable");
        for empty in ["partition", "timestamp", "created_at", "note"] {
            assert_eq!(letter[empty], Value::Null, "{empty}");
        }
    }
    assert!(places.is_empty());
}

#[test]
fn each_of_them_ends_a_pipeline_that_says_nothing_of_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (bytes, error) in bad() {
        let input = [b"{\"id\":1}\n".as_slice(), &bytes, b"\n{\"id\":3}\n"].concat();
        let ended = in_folder(folder.path(), &pipeline("", ""), &input).expect_code(1);
        assert!(ended.stderr.contains("error[R003]: table `leads`: line 2 of `in.json`: "), "{}", ended.stderr);
        assert!(ended.stderr.contains(error) && ended.stderr.len() < 2_000, "{error}: {}", ended.stderr);
        assert_eq!(rows(folder.path(), "out.json").len(), 1, "what comes before it is delivered");
    }
}

#[test]
fn formats_without_columns_take_everything() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages: Vec<Vec<u8>> = bad().into_iter().map(|(bytes, _)| bytes).collect();
    let input: Vec<u8> = messages.iter().flat_map(|m| [m.as_slice(), b"\n"].concat()).collect();
    for (column, format, size) in [
        ("value TEXT", "format = 'raw_string'", "octet_length(value)"),
        ("value JSON", "format = 'json', 'json.unstructured' = 'true'", "octet_length(value)"),
        ("value BYTEA", "format = 'raw_bytes'", "0"),
    ] {
        let sql = format!(
            "CREATE TABLE messages ({column}) WITH (connector = 'single_file', path = 'in.json', {format});\n\
             CREATE TABLE copied (size BIGINT, value {}) \
               WITH (connector = 'single_file', path = 'out.json', format = 'json');\n\
             INSERT INTO copied SELECT {size}, value FROM messages;\n",
            column.trim_start_matches("value ")
        );
        let ended = in_folder(folder.path(), &sql, &input).expect_code(0);
        assert!(!ended.stderr.contains("cannot be read"), "{}", ended.stderr);
        let text = fs::read_to_string(folder.path().join("out.json")).expect("rows");
        assert_eq!(text.lines().count(), messages.len(), "{format}");
        for (row, message) in text.lines().zip(&messages) {
            let row: Value = serde_json::from_str(row).unwrap_or_else(|e| panic!("{format}: {e}: {row:.200}"));
            if column == "value BYTEA" {
                assert_eq!(row["value"], BASE64_STANDARD.encode(message));
            } else {
                assert_eq!(row["size"], String::from_utf8_lossy(message).len());
            }
        }
    }
}

#[test]
fn plan_shows_where_dead_letters_go() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("copy.sql"), pipeline(KEPT, REJECTED)).expect("a file");
    let plan = |format| run(folder.path(), &["plan", "--format", format, "copy.sql"], &[]).expect_code(0).stdout;
    assert_eq!(
        plan("text"),
        "\
copy (ends by itself: run by hand)
└─ leads (file in.json)
   ├→ copied (file out.json)
   └→ rejected (file rejected.json), when a message cannot be read
"
    );
    let graph: Value = serde_json::from_str(&plan("json")).expect("JSON");
    assert_eq!(graph["edges"][1], json!({ "from": 0, "to": 2, "when": "a message cannot be read" }));
}

#[test]
fn sources_share_a_table_of_dead_letters_with_an_insert() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("more.json"), "{\"id\":7}\nnonsense\n").expect("a file");
    let more = format!(
        "{REJECTED}\n\
         CREATE TABLE others (id INT NOT NULL) WITH (connector = 'single_file', path = 'more.json', format = 'json', \
           'baton.dead_letters' = 'rejected');\n\
         INSERT INTO rejected SELECT 'w', 'p', 't', 0 AS partition, id, 0 AS timestamp, 'cGF5', 'late', 'it is late', NULL, 1.5 FROM others;"
    );
    in_folder(folder.path(), &pipeline(KEPT, &more), b"{\"id\":1}\n{}\n").expect_code(0);
    let mut letters: Vec<String> =
        rows(folder.path(), "rejected.json").iter().map(|r| format!("{} {}", r["workflow_id"], r["status"])).collect();
    letters.sort();
    assert_eq!(letters, [r#""in.json/2" "unreadable""#, r#""more.json/2" "unreadable""#, r#""w" "late""#]);
    assert_eq!(rows(folder.path(), "out.json").len(), 1);
}

/// Runs to the end; gives the log and the most memory that was seen.
fn measured(folder: &Path, sql: &str) -> (String, u64) {
    fs::write(folder.join("copy.sql"), sql).expect("a file");
    let mut running = Running::start(folder, &["run", "copy.sql"], &[]);
    let mut peak = 0;
    while running.is_running() {
        peak = running.peak_memory().unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(5));
    }
    (running.wait(Duration::from_secs(1)).expect_code(0).stderr, peak)
}

#[test]
fn a_million_messages_of_garbage_are_counted_and_fill_no_memory() {
    const MILLION: usize = 1_000_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut input = BufWriter::new(File::create(folder.path().join("in.json")).expect("a file"));
    for n in 0..MILLION {
        writeln!(input, "garbage number {n}").expect("a line");
    }
    writeln!(input, "{{\"id\":1}}").expect("a line");
    input.into_inner().expect("written");
    let rejected = "CREATE TABLE rejected (payload TEXT, error TEXT, offset_id BIGINT) \
                    WITH (connector = 'single_file', path = 'rejected.json', format = 'json');";
    for (options, more) in [(", bad_data = 'drop'", ""), (KEPT, rejected)] {
        let (log, peak) = measured(folder.path(), &pipeline(options, more));
        assert!(log.contains(&format!("total={MILLION} ")), "{log}");
        assert!(log.lines().count() < 30, "{log}");
        assert_eq!(rows(folder.path(), "out.json").len(), 1);
        assert!(peak < 400 << 20, "{} MB", peak >> 20);
    }
    let letters = BufReader::new(File::open(folder.path().join("rejected.json")).expect("dead letters"));
    assert_eq!(letters.lines().count(), MILLION);
}

/// SQL that is as deep or as long as no person writes it: it is planned or refused, soon, and never ends the process.
#[test]
fn endless_sql_is_refused_or_planned_in_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tables = pipeline("", "");
    let many = 20_000;
    let chain = |link: &str, count: usize| format!("INSERT INTO copied SELECT id{} FROM leads;", link.repeat(count));
    let around = |open: &str, close: &str| {
        format!("INSERT INTO copied SELECT {}id{} FROM leads;", open.repeat(many), close.repeat(many))
    };
    let views = |count: usize| {
        let view = |n: usize| format!("CREATE VIEW v{} AS SELECT id FROM v{n};\n", n + 1);
        format!("CREATE VIEW v0 AS SELECT id FROM leads;\n{}", (0..count).map(view).collect::<String>())
    };
    let mut cases = vec![
        around("(", ")"),
        around("- ", ""),
        around("upper(", ")"),
        around("CASE WHEN true THEN id ELSE ", " END"),
        around("[", "]"),
        format!("CREATE TABLE deep (a {}TEXT{});", "STRUCT<a ".repeat(many), " >".repeat(many)),
        format!("CREATE TABLE deep (a TEXT{});", "[]".repeat(many)),
        "/*".repeat(many),
        views(many),
        views(190),
    ];
    for link in [" + id", " || name", " -> 'a'", " -> name", "::TEXT", " IS NULL", "[1]", ".a", " UNION ALL SELECT id"]
    {
        cases.push(chain(link, many));
        cases.push(chain(link, 60));
    }
    for case in cases {
        fs::write(folder.path().join("deep.sql"), format!("{tables}{case}")).expect("a file");
        let ended = run(folder.path(), &["plan", "deep.sql"], &[]);
        assert!(matches!(ended.code, Some(0 | 78)), "{:?}: {case:.80}\n{:.500}", ended.code, ended.stderr);
        assert!(ended.took < Duration::from_secs(30), "{:?}: {case:.80}", ended.took);
    }
}
