//! What must hold of the JSON format, whatever the bytes: each message is a row or is bad, nothing else; what is JSON is
//! what serde_json says; rows are written as JSON that reads as the same rows. Shared by the fuzz target and the test
//! that replays what was found.
//!
//! The first byte of an input chooses the table, each further line is a message.

use std::sync::{Arc, LazyLock};

use baton::config::Environment;
use baton::diag::SourceText;
use baton::formats::{Decoder, Direction, Encoder, FORMAT_OPTIONS, Format};
use baton::sql::definition::{Definition, read};
use baton::sql::option_reader::OptionReader;
use baton::sql::statement::parse;
use baton::sql::table::TableDef;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use serde_json::Value;

/// The columns of the tables, and whether what is written can be read again by the same table.
const TABLES: [(&str, &str, bool); 8] = [
    (
        "id BIGINT NOT NULL, name TEXT, score DOUBLE, employees INT, vip BOOLEAN, created_at TIMESTAMP, tags TEXT[], \
         company STRUCT<name TEXT, address STRUCT<city TEXT, zip TEXT> >, payload JSON, day DATE",
        "",
        true,
    ),
    (
        "a TINYINT, b SMALLINT, c INT NOT NULL, d BIGINT, e TINYINT UNSIGNED, f SMALLINT UNSIGNED, g INT UNSIGNED, \
      h BIGINT UNSIGNED, i FLOAT, j DOUBLE",
        "",
        true,
    ),
    ("a DECIMAL(10, 2), b DECIMAL(38, 10), c DECIMAL(5, 5), d DECIMAL(38, 0)", "", true),
    ("a BIGINT[], b STRUCT<x TEXT, y JSON>[], c STRUCT<x BOOLEAN[], y TIMESTAMP[]>, d STRUCT<e DOUBLE[] >[]", "", true),
    ("a JSON NOT NULL, b JSON, c TEXT NOT NULL, d DATE", "", true),
    (
        "a TIMESTAMP, b DATE, c DECIMAL(20, 3)",
        ", 'json.timestamp_format' = 'unix_millis', 'json.decimal_encoding' = 'string'",
        false,
    ),
    (
        "a TIMESTAMP, b TEXT, c DECIMAL(20, 3)",
        ", 'json.include_schema' = 'true', 'json.decimal_encoding' = 'bytes'",
        false,
    ),
    ("value JSON", ", 'json.unstructured' = 'true'", false),
];

struct Table {
    definition: TableDef,
    format: Format,
    again: bool,
}

static KNOWN: LazyLock<Vec<Table>> = LazyLock::new(|| TABLES.iter().map(|(c, o, again)| table(c, o, *again)).collect());

fn table(columns: &str, options: &str, again: bool) -> Table {
    let text = format!("CREATE TABLE t ({columns}) WITH (format = 'json'{options})");
    let source = SourceText::new("t.sql", text);
    let script = parse(&source).and_then(|statements| read(&source, statements)).expect("the table is right");
    let Some(Definition::Table(definition)) = script.definitions.into_iter().next() else {
        panic!("`{columns}` is no table")
    };
    let environment = Environment::only([]);
    let mut reader = OptionReader::new(&definition, &environment, FORMAT_OPTIONS);
    let format = Format::read(&mut reader, Direction::Source);
    reader.finish().unwrap_or_else(|e| panic!("{columns}: {e:?}"));
    Table { format: format.expect("a format"), definition, again }
}

/// Reads messages; panics when something does not hold.
pub fn check(data: &[u8]) {
    let Some((choice, messages)) = data.split_first() else { return };
    let table = &KNOWN[usize::from(*choice) % KNOWN.len()];
    let structured = table.again || !matches!(TABLES[usize::from(*choice) % TABLES.len()].0, "value JSON");
    let mut decoder = Decoder::new(&table.format, &table.definition);
    let mut rows = 0;
    for message in messages.split(|b| *b == b'\n') {
        match decoder.push(message) {
            Ok(true) => rows += 1,
            Ok(false) => assert!(message.is_empty(), "no row and not bad"),
            Err(bad) => {
                told(&bad.message);
                assert!(structured, "whatever comes is a row here");
                let no_json = bad.message.starts_with("it is not JSON") || bad.message.starts_with("it is not text");
                agrees(message, !no_json, &bad.message);
                continue;
            }
        }
        if structured && !message.is_empty() {
            agrees(message, true, "a row");
        }
    }
    let batch = batch(table, decoder.finish().expect("columns"));
    assert_eq!(batch.num_rows(), rows, "a message that is good is one row, one that is bad leaves no trace");
    let encoder = Encoder::new(&table.format, table.definition.data_schema());
    let written = encoder.encode(&batch).expect("what can be read can be written");
    assert_eq!(written.len(), rows);
    for row in written.iter() {
        let value = serde_json::from_slice::<Value>(row);
        assert!(value.is_ok_and(|v| v.is_object()), "no JSON was written: {}", String::from_utf8_lossy(row));
    }
    if table.again && !batch.columns().iter().any(endless) {
        let mut decoder = Decoder::new(&table.format, &table.definition);
        for row in written.iter() {
            assert_eq!(decoder.push(row), Ok(true), "it was written: {}", String::from_utf8_lossy(row));
        }
        let again = self::batch(table, decoder.finish().expect("columns"));
        let rewritten = encoder.encode(&again).expect("what can be read can be written");
        assert_eq!(written, rewritten);
        assert_eq!(without_json(&batch), without_json(&again));
    }
}

/// Whether a message is JSON. Where serde_json's limit of depth is reached, it does not know.
fn agrees(message: &[u8], is_json: bool, said: &str) {
    match serde_json::from_slice::<Value>(message) {
        Ok(value) => {
            let limited = said.contains("nested deeper") || said.contains("digits");
            assert!(is_json || limited, "this is JSON, but it is said: {said}: {value}");
        }
        Err(error) => {
            let deep = error.to_string().contains("recursion limit");
            assert!(
                !is_json || deep,
                "serde_json says {error}, but it is {said}: {}",
                String::from_utf8_lossy(message)
            );
        }
    }
}

/// One line that is short enough to be read.
fn told(message: &str) {
    assert!(!message.is_empty() && message.chars().count() < 400, "{message}");
    assert!(!message.contains(char::is_control), "{message:?}");
}

fn batch(table: &Table, columns: Vec<ArrayRef>) -> RecordBatch {
    let batch = RecordBatch::try_new(table.definition.data_schema(), columns).expect("the columns fit the table");
    for column in batch.columns() {
        column.to_data().validate_full().expect("an array as Arrow has them");
    }
    batch
}

/// JSON text loses its order of keys when it is written, as on Arroyo; how it is written again is compared instead.
fn without_json(batch: &RecordBatch) -> Vec<ArrayRef> {
    fn has_json(field: &datafusion::arrow::datatypes::Field) -> bool {
        !field.metadata().is_empty()
            || match field.data_type() {
                DataType::Struct(fields) => fields.iter().any(|f| has_json(f)),
                DataType::List(item) => has_json(item),
                _ => false,
            }
    }
    let schema = batch.schema();
    let plain = schema.fields().iter().zip(batch.columns()).filter(|(field, _)| !has_json(field));
    plain.map(|(_, column)| Arc::clone(column)).collect()
}

/// Whether there is a number that JSON has not: `1e999` is one as DOUBLE, and is written as null.
fn endless(column: &ArrayRef) -> bool {
    match column.data_type() {
        DataType::Float32 => column.as_primitive::<Float32Type>().iter().flatten().any(|v| !v.is_finite()),
        DataType::Float64 => column.as_primitive::<Float64Type>().iter().flatten().any(|v| !v.is_finite()),
        DataType::List(_) => endless(column.as_list::<i32>().values()),
        DataType::Struct(_) => column.as_struct().columns().iter().any(endless),
        _ => false,
    }
}
