//! Reads and writes rows in each format, compared with Arroyo's results.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use proptest::prelude::*;

use super::*;
use crate::config::Environment;
use crate::connectors::testing::{column, json_column, table};
use crate::sql::table::{ColumnDef, TableDef};

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

fn structure(fields: &[(&str, DataType)]) -> DataType {
    DataType::Struct(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Fields>())
}

const NANOS: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

fn leads() -> Vec<ColumnDef> {
    let address = structure(&[("city", DataType::Utf8), ("zip", DataType::Utf8)]);
    vec![
        ColumnDef { nullable: false, ..column("id", DataType::Int64) },
        column("name", DataType::Utf8),
        column("email", DataType::Utf8),
        column("score", DataType::Float64),
        column("employees", DataType::Int32),
        column("vip", DataType::Boolean),
        column("created_at", NANOS),
        column("tags", list(DataType::Utf8)),
        column("company", structure(&[("name", DataType::Utf8), ("site", DataType::Utf8), ("address", address)])),
        json_column("payload"),
        column("note", DataType::Utf8),
    ]
}

fn read(table: &TableDef, direction: Direction) -> Result<Format, Vec<Diagnostic>> {
    let environment = Environment::only([]);
    let mut options = OptionReader::new(table, &environment, FORMAT_OPTIONS);
    let format = Format::read(&mut options, direction);
    options.finish()?;
    Ok(format.expect("a format when nothing is wrong"))
}

struct Pipe {
    table: TableDef,
    decoder: Decoder,
    encoder: Encoder,
}

impl Pipe {
    fn new(columns: Vec<ColumnDef>, options: &[(&str, &str)]) -> Self {
        let options: Vec<_> = [("format", "json")].iter().chain(options).copied().collect();
        let table = table(columns, &options);
        let format = read(&table, Direction::Source).unwrap();
        let decoder = Decoder::new(&format, &table);
        let encoder = Encoder::new(&format, table.data_schema());
        Self { table, decoder, encoder }
    }

    fn batch(&mut self) -> RecordBatch {
        RecordBatch::try_new(self.table.data_schema(), self.decoder.finish().unwrap()).unwrap()
    }

    fn rows(&mut self) -> Vec<String> {
        let batch = self.batch();
        let rows = self.encoder.encode(&batch).unwrap();
        rows.iter().map(|row| String::from_utf8(row.to_vec()).unwrap()).collect()
    }

    fn one(&mut self, message: &str) -> String {
        assert!(self.decoder.push(message.as_bytes()).unwrap());
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1);
        rows.remove(0)
    }

    fn error(&mut self, message: &[u8]) -> String {
        self.decoder.push(message).expect_err("bad data").message
    }
}

/// The values in Arroyo's own output files of the parity cases, for the same rows.
#[test]
fn leads_come_out_as_arroyo_writes_them() {
    let mut pipe = Pipe::new(leads(), &[]);
    let input = include_str!("../../tests/parity/inputs/leads.json");
    for line in input.lines() {
        assert!(pipe.decoder.push(line.as_bytes()).unwrap());
    }
    let rows = pipe.rows();
    let mut compared = 0;
    for (case, keys) in [
        ("01_passthrough_scalars", ["name", "email", "score", "employees", "vip"].as_slice()),
        ("02_timestamp_out", &["created_at"]),
        ("05_list_out", &["tags"]),
        ("06_json_column_text", &["payload"]),
    ] {
        let path = format!("{}/tests/parity/expected/{case}/out.json", env!("CARGO_MANIFEST_DIR"));
        let expected = std::fs::read_to_string(path).unwrap();
        assert_eq!(expected.lines().count(), rows.len());
        for (expected, row) in expected.lines().zip(&rows) {
            let (expected, row) = (crate::sql::json::parse(expected).unwrap(), crate::sql::json::parse(row).unwrap());
            for key in [&["id"], keys].concat() {
                assert_eq!(row[key].to_string(), expected[key].to_string(), "{case} {key}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 7 * 12);
    assert_eq!(
        rows[1],
        r#"{"id":2,"name":"Bo","email":"bo@example.com","score":12.0,"employees":3,"vip":false,"created_at":"2026-03-01T23:59:59","tags":[],"company":{"name":"Bo's Bakery","site":null,"address":null},"payload":{"next":null,"score":"12"},"note":""}"#
    );
    assert_eq!(
        rows[3],
        r#"{"id":4,"name":null,"email":"missing@fields.example","score":null,"employees":null,"vip":null,"created_at":null,"tags":null,"company":null,"payload":null,"note":null}"#
    );
}

#[test]
fn unstructured_messages_come_out_as_arroyo_writes_them() {
    let mut pipe = Pipe::new(vec![json_column("value")], &[("json.unstructured", "true")]);
    let input = include_str!("../../tests/parity/inputs/json.json");
    for line in input.lines() {
        assert!(pipe.decoder.push(line.as_bytes()).unwrap());
    }
    let expected = include_str!("../../tests/parity/expected/58_unstructured/out.json");
    let expected: Vec<_> = expected.lines().map(|l| crate::sql::json::parse(l).unwrap()["value"].to_string()).collect();
    let rows: Vec<_> = pipe.rows().iter().map(|r| crate::sql::json::parse(r).unwrap()["value"].to_string()).collect();
    assert_eq!(rows, expected);
}

#[test]
fn what_is_no_json_is_text_in_a_json_column() {
    let mut pipe = Pipe::new(vec![json_column("value")], &[("json.unstructured", "true")]);
    assert_eq!(pipe.one("not \"json\""), r#"{"value":"not \"json\""}"#);
    assert!(pipe.decoder.push(b"\xff{").unwrap());
    assert_eq!(pipe.rows(), ["{\"value\":\"\u{fffd}{\"}"]);
}

#[test]
fn a_json_column_keeps_escapes_order_and_numbers() {
    let mut pipe = Pipe::new(vec![json_column("j")], &[]);
    let message = r#"{"j": {"z": "say \"hi\"\\ \u00e9", "a": [1.0, 1e2, 12345678901234567890], "z2": null}}"#;
    pipe.decoder.push(message.as_bytes()).unwrap();
    let batch = pipe.batch();
    let text = batch.column(0).as_string::<i32>().value(0).to_string();
    assert_eq!(text, r#"{"z":"say \"hi\"\\ é","a":[1.0,1e2,12345678901234567890],"z2":null}"#);
    assert_eq!(pipe.one(message), r#"{"j":{"a":[1.0,1e2,12345678901234567890],"z":"say \"hi\"\\ é","z2":null}}"#);
}

#[test]
fn whether_text_is_json_is_said_by_the_batch() {
    let format = read(&table(vec![json_column("j")], &[("format", "json")]), Direction::Sink).unwrap();
    let text: ArrayRef = Arc::new(StringArray::from(vec![r#"{"b":1,"a":2}"#]));
    let encode = |declared: ColumnDef, given: ColumnDef| {
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![given.field()])), vec![Arc::clone(&text)]).unwrap();
        let schema = Arc::new(Schema::new(vec![declared.field()]));
        String::from_utf8(Encoder::new(&format, schema).encode(&batch).unwrap().get(0).unwrap().to_vec()).unwrap()
    };
    assert_eq!(encode(column("out", DataType::Utf8), json_column("j")), r#"{"out":{"a":2,"b":1}}"#);
    assert_eq!(encode(json_column("out"), column("j", DataType::Utf8)), r#"{"out":"{\"b\":1,\"a\":2}"}"#);
}

#[test]
fn values_fit_their_types_as_with_arroyo() {
    let decimal = DataType::Decimal128(10, 2);
    let columns = || {
        vec![
            column("b", DataType::Int64),
            column("i", DataType::Int32),
            column("f", DataType::Float64),
            column("d", decimal.clone()),
            column("day", DataType::Date32),
            column("at", NANOS),
        ]
    };
    let mut pipe = Pipe::new(columns(), &[]);
    let row = pipe.one(
        r#"{"b":"12","i":12.7,"f":"1e3","d":"3.14","day":"2026-03-01","at":1772352930123000000,"more":[{"x":1}]}"#,
    );
    assert_eq!(row, r#"{"b":12,"i":12,"f":1000.0,"d":3.14,"day":"2026-03-01","at":"2026-03-01T08:15:30.123"}"#);
    let row = pipe.one(r#"{"b":-9223372036854775808,"i":-1e9,"f":-0.0,"d":7,"at":"2026-03-01 08:15:30+02:00"}"#);
    assert_eq!(
        row,
        r#"{"b":-9223372036854775808,"i":-1000000000,"f":-0.0,"d":7.00,"day":null,"at":"2026-03-01T06:15:30"}"#
    );
    // The last of duplicate keys counts.
    let last = r#"{"b":3,"i":2,"f":null,"d":null,"day":null,"at":null}"#;
    for twice in [
        r#"{"b":1,"i":2,"b":3}"#,
        r#"{"b":null,"i":2,"b":3}"#,
        r#"{"b":"one","i":2,"b":{"x":[1]},"b":3}"#,
        r#"{"b":[1,{"b":2}],"b":"x","i":2,"b":"3"}"#,
    ] {
        assert_eq!(pipe.one(twice), last, "{twice}");
    }
    assert_eq!(pipe.error(br#"{"b":1,"i":2,"b":"x"}"#), r#"column `b` is BIGINT, which `"x"` is not"#);
    let nested = vec![column("s", structure(&[("x", DataType::Int64)])), column("l", list(DataType::Boolean))];
    let mut pipe = Pipe::new(nested, &[]);
    assert_eq!(pipe.one(r#"{"s":{"x":"a","x":1,"x":2},"l":[1],"l":[true]}"#), r#"{"s":{"x":2},"l":[true]}"#);
    assert_eq!(pipe.one(r#"{"s":{"x":"a"},"s":{"x":1},"l":7,"l":null}"#), r#"{"s":{"x":1},"l":null}"#);
}

#[test]
fn writing_options_change_what_is_written() {
    let columns = || vec![column("at", NANOS), column("d", DataType::Decimal128(5, 3))];
    let message = r#"{"at":"1969-12-31T23:59:59.999999Z","d":-0.399}"#;
    let with = |options: &[(&str, &str)]| Pipe::new(columns(), options).one(message);
    assert_eq!(with(&[("json.timestamp_format", "unix_millis")]), r#"{"at":0,"d":-0.399}"#);
    assert_eq!(with(&[("json.decimal_encoding", "string")]), r#"{"at":"1969-12-31T23:59:59.999999","d":"-0.399"}"#);
    assert_eq!(
        with(&[("json.decimal_encoding", "bytes"), ("json.timestamp_format", "unix_millis")]),
        r#"{"at":0,"d":"///////////////////+cQ=="}"#
    );
    let with_schema = with(&[("json.include_schema", "true"), ("json.timestamp_format", "unix_millis")]);
    let with_schema = crate::sql::json::parse(&with_schema).unwrap();
    assert_eq!(with_schema["payload"].to_string(), r#"{"at":0,"d":-0.399}"#);
    assert_eq!(
        with_schema["schema"].to_string(),
        r#"{"fields":[{"field":"at","name":"org.apache.kafka.connect.data.Timestamp","optional":true,"type":"int64"},{"field":"d","name":"org.apache.kafka.connect.data.Decimal","optional":true,"scale":3,"type":"bytes"}],"name":"ArroyoJson","optional":false,"type":"struct"}"#
    );
}

#[test]
fn raw_formats_take_messages_whole() {
    let text = table(vec![column("value", DataType::Utf8)], &[("format", "raw_string")]);
    let format = read(&text, Direction::Source).unwrap();
    let mut decoder = Decoder::new(&format, &text);
    assert!(decoder.push("héllo".as_bytes()).unwrap());
    assert!(decoder.push(b"a\xffb").unwrap());
    assert_eq!(format.framing().frames(b"").count(), 0, "empty messages never arrive");
    let batch = RecordBatch::try_new(text.data_schema(), decoder.finish().unwrap()).unwrap();
    let rows = Encoder::new(&format, text.data_schema()).encode(&batch).unwrap();
    assert_eq!(rows.iter().collect::<Vec<_>>(), ["héllo".as_bytes(), "a\u{fffd}b".as_bytes()]);

    let bytes = table(vec![column("value", DataType::Binary)], &[("format", "raw_bytes")]);
    let format = read(&bytes, Direction::Source).unwrap();
    let mut decoder = Decoder::new(&format, &bytes);
    assert!(decoder.push(b"\xff\x00").unwrap());
    let batch = RecordBatch::try_new(bytes.data_schema(), decoder.finish().unwrap()).unwrap();
    let rows = Encoder::new(&format, bytes.data_schema()).encode(&batch).unwrap();
    assert_eq!(rows.iter().collect::<Vec<_>>(), [b"\xff\x00"]);
    // The same bytes in a JSON row are base64.
    let json = read(&table(vec![column("value", DataType::Binary)], &[("format", "json")]), Direction::Sink).unwrap();
    let rows = Encoder::new(&json, bytes.data_schema()).encode(&batch).unwrap();
    assert_eq!(rows.get(0), Some(br#"{"value":"/wA="}"#.as_slice()));
}

#[test]
fn bad_messages_are_told_in_plain_words() {
    let mut pipe = Pipe::new(leads(), &[]);
    let long = format!(r#"{{"id":1,"score":"{}"}}"#, "x".repeat(5000));
    let deep = format!(r#"{{"id":1,"payload":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    for (message, expected) in [
        (r#"{"id":1,"score":"high"}"#, r#"column `score` is DOUBLE, which `"high"` is not"#),
        (r#"{"id":1,"name":12}"#, "column `name` is TEXT, which `12` is not"),
        (r#"{"id":1,"vip":"true"}"#, r#"column `vip` is BOOLEAN, which `"true"` is not"#),
        (r#"{"id":1,"employees":2147483648}"#, "column `employees` is INT, which `2147483648` is not"),
        (r#"{"id":1,"employees":1e99}"#, "column `employees` is INT, which `1e99` is not"),
        (r#"{"id":1,"created_at":"soon"}"#, r#"column `created_at` is TIMESTAMP, which `"soon"` is not"#),
        (r#"{"id":1,"tags":["a",2]}"#, "column `tags[2]` is TEXT, which `2` is not"),
        (r#"{"id":1,"tags":"a"}"#, r#"column `tags` is a list, which `"a"` is not"#),
        (r#"{"id":1,"company":{"address":{"zip":[1]}}}"#, "column `company.address.zip` is TEXT, which `[1]` is not"),
        (r#"{"id":1,"company":7}"#, "column `company` is a STRUCT, which `7` is not"),
        (r#"{"id":null}"#, "column `id` is NOT NULL, but the message has null"),
        (r#"{"name":"x"}"#, "column `id` is NOT NULL, but the message does not have it"),
        ("[1, 2]", "a row must be a JSON object, this is `[1, 2]`"),
        ("null", "a row must be a JSON object, this is `null`"),
        ("  ", "it is not JSON: it has nothing but white space"),
        (r#"{"id":1"#, "it is not JSON: it ends before it is complete; character 8, near `{\"id\":1`"),
        (
            r#"{"id":1} {"id":2}"#,
            "it is not JSON: something follows after its end (one message holds one JSON object); character 9, near `{\"id\":1} {\"id\":2}`",
        ),
        (
            r#"{"id":1}x"#,
            "it is not JSON: something follows after its end (one message holds one JSON object); character 9, near `{\"id\":1}x`",
        ),
        ("{'id':1}", "it is not JSON: a key is not in double quotes; character 2, near `{'id':1}`"),
        (
            r#"{"id":NaN}"#,
            "it is not JSON: a value is missing or not JSON (text needs double quotes); character 7, near `{\"id\":NaN}`",
        ),
        (
            r#"{"id":1,"name":"\ud83d"}"#,
            "it is not JSON: an escape like `\\ud83d` is half a character; character 23, near `{\"id\":1,\"name\":\"\\ud83d\"}`",
        ),
        ("\u{feff}{\"id\":1}", "it is not JSON: it begins with a byte order mark, which JSON must not have"),
        (
            long.as_str(),
            "column `score` is DOUBLE, which `\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…` is not",
        ),
        (
            deep.as_str(),
            "it is not JSON: it is nested deeper than 128 levels; character 147, near `[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[`",
        ),
    ] {
        assert_eq!(pipe.error(message.as_bytes()), expected, "{message:.100}");
    }
    assert_eq!(pipe.error(b"{\"id\":\"\xff\"}"), "it is not text: byte 8 is not valid UTF-8");
    assert!(pipe.rows().is_empty(), "a bad message leaves no trace");
}

#[test]
fn one_bad_message_spoils_no_other() {
    let mut pipe = Pipe::new(leads(), &[]);
    let good = r#"{"id":1,"name":"a","tags":["x","y"],"company":{"name":"c","address":{"city":"d"}},"payload":[1],"vip":true}"#;
    assert!(pipe.decoder.push(good.as_bytes()).unwrap());
    let bad = [
        r#"{"id":2,"name":"b","tags":["z",3]}"#,
        r#"{"id":2,"company":{"name":"q","address":{"city":5}}}"#,
        r#"{"id":2,"payload":{"deep":[1,2,{"x":"#,
        r#"{"id":2,"vip":false,"vip":7}"#,
        r#"{"id":2,"name":"b","created_at":"never"}"#,
    ];
    for message in bad {
        assert!(pipe.decoder.push(message.as_bytes()).is_err(), "{message}");
        assert!(pipe.decoder.push(good.as_bytes()).unwrap());
    }
    let rows = pipe.rows();
    assert_eq!(rows.len(), 1 + bad.len());
    assert!(rows.iter().all(|row| *row == rows[0]));
    assert!(pipe.rows().is_empty(), "finishing starts anew");
    assert!(pipe.decoder.push(good.as_bytes()).unwrap());
    assert_eq!(pipe.rows(), [rows[0].clone()]);
}

#[test]
fn a_row_of_ten_megabytes_goes_through() {
    let mut pipe = Pipe::new(leads(), &[]);
    let text = "é".repeat(5 << 20);
    let row = pipe.one(&format!(r#"{{"id":1,"note":"{text}","payload":{{"t":"{text}"}}}}"#));
    assert!(row.len() > 20 << 20);
    assert!(row.ends_with(&format!(r#""note":"{text}"}}"#)));
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    let metadata = ColumnDef { kind: ColumnKind::Metadata("offset_id".into()), ..column("o", DataType::Int64) };
    let refused = |columns: Vec<ColumnDef>, options: &[(&str, &str)], direction| {
        let errors = read(&table(columns, options), direction).expect_err("refused");
        errors.iter().map(|e| format!("{} {}", e.code.0, e.message)).collect::<Vec<_>>()
    };
    let value = |data_type| vec![column("value", data_type), metadata.clone()];
    assert!(read(&table(value(DataType::Utf8), &[("format", "raw_string")]), Direction::Source).is_ok());
    assert_eq!(
        refused(value(DataType::Int64), &[("format", "raw_string")], Direction::Source),
        ["T105 `raw_string` needs exactly one column, `value TEXT`"]
    );
    assert_eq!(
        refused(vec![column("body", DataType::Binary)], &[("format", "raw_bytes")], Direction::Sink),
        ["T105 `raw_bytes` needs exactly one column, `value BYTEA`"]
    );
    assert_eq!(
        refused(value(DataType::Utf8), &[("format", "json"), ("json.unstructured", "true")], Direction::Source),
        ["T105 `json.unstructured` needs exactly one column, `value JSON`"]
    );
    assert_eq!(
        refused(value(DataType::Binary), &[("format", "json")], Direction::Source),
        ["T105 column `value` cannot be BYTEA: JSON has no such value"]
    );
    assert_eq!(
        refused(vec![], &[("format", "avro")], Direction::Source),
        ["Q105 format `avro` is not in the embedded engine yet"]
    );
    assert_eq!(refused(vec![], &[], Direction::Source), ["T102 table `t` needs the option `format`"]);
    assert_eq!(
        refused(
            vec![],
            &[
                ("format", "jsn"),
                ("bad_data", "ignore"),
                ("json.confluent_schema_registry", "true"),
                ("json.time", "x")
            ],
            Direction::Source
        ),
        [
            "T103 option `bad_data` cannot be `ignore`",
            "T103 option `json.confluent_schema_registry` cannot be `true`",
            "T103 option `format` cannot be `jsn`",
            "T101 table `t` has no option `json.time`",
        ]
    );
}

fn typed_row() -> impl Strategy<Value = serde_json::Value> {
    let text = prop_oneof![Just("\u{0}\"\\\n\u{1f680}".to_string()), ".*"];
    let json = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i64>().prop_map(serde_json::Value::from),
        ".*".prop_map(serde_json::Value::from),
    ]
    .prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            proptest::collection::btree_map(".*", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    });
    let scalars = (
        any::<i64>(),
        proptest::option::of(text.clone()),
        proptest::option::of(any::<i32>()),
        proptest::option::of(any::<bool>()),
        proptest::option::of(-1e15..1e15_f64),
        proptest::option::of(0..4_000_000_000_000_i64),
    );
    let nested = (
        proptest::option::of(proptest::collection::vec(proptest::option::of(text.clone()), 0..5)),
        proptest::option::of((proptest::option::of(text.clone()), proptest::option::of(proptest::option::of(text)))),
        json,
    );
    (scalars, nested).prop_map(|((id, name, employees, vip, score, millis), (tags, company, payload))| {
        let company = company.map(|(name, address)| {
            serde_json::json!({ "name": name, "address": address.map(|city| serde_json::json!({ "city": city })) })
        });
        serde_json::json!({
            "company": company, "id": id, "name": name, "employees": employees, "vip": vip, "score": score,
            "created_at": millis.map(|ms| ms * 1_000_000), "tags": tags, "payload": payload,
        })
    })
}

proptest! {
    #[test]
    fn written_rows_are_read_as_themselves(rows in proptest::collection::vec(typed_row(), 1..8)) {
        let mut pipe = Pipe::new(leads(), &[]);
        for row in &rows {
            prop_assert!(pipe.decoder.push(row.to_string().as_bytes()).unwrap());
        }
        let batch = pipe.batch();
        prop_assert_eq!(batch.num_rows(), rows.len());
        let written = pipe.encoder.encode(&batch).unwrap();
        for (message, row) in written.iter().zip(&rows) {
            let message = str::from_utf8(message).unwrap();
            let value = crate::sql::json::parse(message).unwrap();
            for key in ["id", "name", "employees", "vip", "tags"] {
                prop_assert_eq!(&value[key], &row[key]);
            }
            prop_assert_eq!(value["company"]["address"]["city"].clone(), row["company"]["address"]["city"].clone());
            prop_assert!(pipe.decoder.push(message.as_bytes()).unwrap());
        }
        let again = pipe.batch();
        prop_assert_eq!(pipe.encoder.encode(&again).unwrap(), written);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(messages in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
        for options in [[].as_slice(), &[("json.unstructured", "true")]] {
            let columns = if options.is_empty() { leads() } else { vec![json_column("value")] };
            let mut pipe = Pipe::new(columns, options);
            let good = messages.iter().filter(|m| pipe.decoder.push(m) == Ok(true)).count();
            prop_assert_eq!(pipe.rows().len(), good);
        }
    }

    #[test]
    fn no_broken_json_makes_the_decoder_panic(row in typed_row(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut pipe = Pipe::new(leads(), &[]);
        let mut message = row.to_string().into_bytes();
        let at = cut.index(message.len());
        prop_assert_ne!(pipe.decoder.push(&message[..at]), Ok(true), "a part is no row");
        message[at] = byte;
        let good = pipe.decoder.push(&message) == Ok(true);
        prop_assert_eq!(pipe.rows().len(), usize::from(good));
    }
}
