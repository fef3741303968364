//! Tests that the functions exist and compute the same as Arroyo's.

use std::collections::BTreeSet;

use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Volatility;
use datafusion::prelude::SessionConfig;

use super::*;

fn context() -> SessionContext {
    let mut config = SessionConfig::new();
    config.options_mut().sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let context = SessionContext::new_with_config(config);
    register(&context);
    context
}

/// The one value of a query, as text.
async fn value(sql: &str) -> String {
    let batches = match context().sql(sql).await {
        Ok(frame) => frame.collect().await,
        Err(error) => Err(error),
    };
    match batches {
        Ok(batches) => {
            let options = FormatOptions::default().with_null("NULL");
            let formatter = ArrayFormatter::try_new(batches[0].column(0), &options).unwrap();
            formatter.value(0).to_string()
        }
        Err(error) => format!("error: {}", error.strip_backtrace()),
    }
}

#[test]
fn exactly_arroyos_functions_are_there() {
    let there: BTreeSet<String> = context().state().scalar_functions().keys().cloned().collect();
    let wanted: BTreeSet<String> = NAMES.lines().filter(|name| *name != "unnest").map(str::to_string).collect();
    let missing: Vec<_> = wanted.difference(&there).collect();
    let more: Vec<_> = there.difference(&wanted).collect();
    assert!(missing.is_empty() && more.is_empty(), "missing {missing:?}, more than Arroyo has {more:?}");
    assert!(!is_known("trim") && is_known("btrim"));
}

#[tokio::test]
async fn arroyos_rows() {
    let decision = r#"{"agent": "Lead Scoring Agent", "confidence": 1, "n": [1e2, 1.0], "emails": [{"to": "a", "subject": "Hi"}, {"to": "b"}], "agent": "NONE"}"#;
    let mut wrong = Vec::new();
    for (expression, expected) in [
        ("extract_json_string(d, '$.agent')", "NONE"),
        ("extract_json_string(d, '$.confidence')", "NULL"),
        ("extract_json_string(d, '$.none')", "NULL"),
        ("extract_json_string('not json', '$.agent')", "NULL"),
        ("extract_json_string(NULL, '$.agent')", "NULL"),
        ("get_first_json_object(d, '$.confidence')", "1"),
        ("get_first_json_object(d, '$.agent')", "\"NONE\""),
        ("get_first_json_object(d, '$.n[*]')", "1e2"),
        ("get_first_json_object('{\"a\": null}', '$.a')", "null"),
        ("get_first_json_object('[]', '$.a')", "NULL"),
        ("extract_json(d, '$.emails[*]')", r#"[{"subject":"Hi","to":"a"}, {"to":"b"}]"#),
        ("extract_json(d, '$.agent')", "[\"NONE\"]"),
        ("extract_json(d, '$.x')", "[]"),
        ("extract_json(d, '$.emails[?@.to == ''b''].to')", "[\"b\"]"),
        ("extract_json('x', '$')", "NULL"),
        ("encode('any', 'base64')", "YW55"),
        ("encode('an', 'base64')", "YW4"),
        ("encode('a', 'base64')", "YQ"),
        ("CAST(decode('YQ', 'base64') AS TEXT)", "a"),
        ("encode('a', 'hex')", "61"),
        ("md5('a')", "0cc175b9c0f1b6a831c399e269772661"),
        ("encode(sha256('a'), 'hex')", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("encode(digest('a', 'sha256'), 'hex')", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        // Of duplicate keys, JSONPath takes the last and these functions take the first, as in Arroyo.
        ("d->>'agent'", "Lead Scoring Agent"),
        ("json_get_str(d, 'agent')", "Lead Scoring Agent"),
        ("json_get_int('{\"a\": 12.0}', 'a')", "NULL"),
        ("json_get_int('{\"a\": \"12\"}', 'a')", "NULL"),
        ("json_get_int('{\"a\": -12}', 'a')", "NULL"),
        ("json_get_int('{\"a\": 9007199254740993}', 'a')", "9007199254740993"),
        ("json_get_int('{\"a\": 12345678901234567890}', 'a')", "NULL"),
        ("json_get_float('{\"a\": -1.5}', 'a')", "NULL"),
        ("json_get_float('{\"a\": \"1.5\"}', 'a')", "NULL"),
        ("json_get_float('{\"a\": 1.5e3}', 'a')", "1500.0"),
        ("json_get_bool('{\"a\": \"true\"}', 'a')", "NULL"),
        ("json_get_bool('{\"a\": true}', 'a')", "true"),
        ("json_get_int(CAST(NULL AS TEXT), 'a')", "NULL"),
        ("json_get_int('[1, [2, 3]]', 1, 0)", "2"),
        ("json_get_int('[1, 2]', -1)", "NULL"),
        ("'[1, 2]' ->> -1", "NULL"),
        ("CAST(d->'confidence' AS BIGINT)", "1"),
        ("CAST(d->'confidence' AS TEXT)", "NULL"),
        ("CAST(d->>'confidence' AS TEXT)", "1"),
        ("'{\"a\": \"{\\\"b\\\": 1}\"}'->>'a'->>'b'", "NULL"),
        ("json_as_text('{\"a\": 12.0}', 'a')", "12.0"),
        ("json_get_json('{\"a\": [\"x\",\"y\"]}', 'a')", "[\"x\",\"y\"]"),
        ("json_get_float('{\"a\": 91}', 'a')", "91.0"),
        ("json_length('[1,2]')", "2"),
        ("d ? 'agent'", "true"),
        ("(d->'emails'->0->>'to')", "a"),
        ("array_has(make_array('x'), 'x')", "true"),
        ("array_has(string_to_array(NULL, ','), 'x')", "NULL"),
        ("array_has(array_remove(make_array('x'), 'x'), 'x')", "NULL"),
        ("btrim('  a ')", "a"),
        ("character_length('Zoë')", "3"),
        ("split_part('a@b', '@', 2)", "b"),
        ("substr_index('a.b.c', '.', 2)", "a.b"),
        ("to_char(CAST('2026-03-01T08:15:30Z' AS TIMESTAMP), '%Y-%m-%dT%H:%M:%SZ')", "2026-03-01T08:15:30Z"),
    ] {
        let found = value(&format!("SELECT {expression} FROM (SELECT '{decision}' AS d)")).await;
        if found != expected {
            wrong.push(format!("{expression} is {found}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn functions_without_a_name_in_arroyo_are_unknown() {
    for call in ["trim('a')", "length('a')", "json_get_array('[]')", "to_time('10:00')"] {
        assert!(value(&format!("SELECT {call}")).await.starts_with("error: "), "{call}");
    }
}

#[tokio::test]
async fn wrong_paths_are_refused_when_planned() {
    for (call, expected) in [
        ("extract_json('{}', 'agent')", "the path `agent` of extract_json is not JSONPath"),
        ("extract_json_string('{}', NULL)", "the path of extract_json_string is NULL"),
        ("get_first_json_object(d, d)", "the path of get_first_json_object must be a literal"),
    ] {
        let sql = format!("SELECT {call} FROM (VALUES ('{{}}'), ('[]')) AS t(d)");
        let error = context().sql(&sql).await.expect_err(call).to_string();
        assert!(error.contains(expected), "{call}: {error}");
    }
}

#[tokio::test]
async fn the_time_is_not_that_of_planning() {
    let context = context();
    for name in ["now", "current_date", "current_time", "random", "uuid"] {
        assert_eq!(context.udf(name).unwrap().signature().volatility, Volatility::Volatile, "{name}");
    }
    let frame =
        context.sql("SELECT CAST(now() AS BIGINT) AS at, now() AS t, current_date(), current_time()").await.unwrap();
    let fields = frame.schema().fields().clone();
    let types: Vec<_> = fields.iter().skip(1).map(|f| f.data_type().to_string()).collect();
    assert_eq!(types, ["Timestamp(ns, \"+00:00\")", "Date32", "Time64(ns)"]);
    let plan =
        context.state().create_physical_plan(&context.state().optimize(frame.logical_plan()).unwrap()).await.unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let batches = datafusion::physical_plan::collect(plan.clone(), context.task_ctx()).await.unwrap();
        seen.insert(ScalarValue::try_from_array(batches[0].column(0), 0).unwrap().to_string());
        std::thread::sleep(std::time::Duration::from_micros(10));
    }
    assert_eq!(seen.len(), 3, "one plan, three times: {seen:?}");
}

/// Runs the SELECT of each parity case over its input as a table: functions and formats without an engine.
#[tokio::test]
async fn the_selects_of_the_parity_cases_give_arroyos_rows() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity");
    let mut checked = 0;
    let mut wrong = Vec::new();
    for case in std::fs::read_dir(folder.join("cases")).unwrap() {
        let case = case.unwrap().path();
        let name = case.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&case).unwrap();
        let expected = folder.join("expected").join(&name);
        let finished = std::fs::read_to_string(expected.join("result.json")).unwrap().contains("Finished");
        // Only the planner handles views and generated columns.
        if !finished || text.contains("CREATE VIEW") || text.contains("GENERATED") {
            continue;
        }
        checked += 1;
        let rows = match parity::rows(&folder, &text).await {
            Ok(rows) => rows,
            Err(error) => {
                wrong.push(format!("{name}: {}", error.strip_backtrace()));
                continue;
            }
        };
        let expected = std::fs::read_to_string(expected.join("out.json")).unwrap();
        let sorted = |text: &str| {
            let mut lines: Vec<String> =
                text.lines().map(|line| crate::sql::json::parse(line).unwrap().to_string()).collect();
            lines.sort();
            lines
        };
        let (rows, expected) = (sorted(&rows), sorted(&expected));
        if rows != expected {
            wrong.push(format!("{name}:\n  {}\nnot\n  {}", rows.join("\n  "), expected.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked >= 24, "only {checked} cases");
}

mod parity {
    use std::path::Path;
    use std::sync::Arc;

    use datafusion::arrow::compute::{cast, concat_batches};
    use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
    use datafusion::arrow::record_batch::RecordBatch;
    use datafusion::common::Result;

    use crate::config::Environment;
    use crate::connectors::testing::{column, json_column, table};
    use crate::formats::{Decoder, Direction, Encoder, FORMAT_OPTIONS, Format};
    use crate::sql::option_reader::OptionReader;
    use crate::sql::table::{ColumnDef, TableDef};

    fn data_type(name: &str) -> DataType {
        match name.trim() {
            "BIGINT" => DataType::Int64,
            "INT" => DataType::Int32,
            "DOUBLE" => DataType::Float64,
            "BOOLEAN" => DataType::Boolean,
            "TEXT" | "JSON" => DataType::Utf8,
            "TIMESTAMP" => DataType::Timestamp(TimeUnit::Nanosecond, None),
            "TEXT[]" => DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))),
            other => {
                let fields = other.strip_prefix("STRUCT<").and_then(|o| o.strip_suffix('>')).expect(other);
                DataType::Struct(split(fields).map(|(n, t)| Field::new(n, data_type(t), true)).collect::<Fields>())
            }
        }
    }

    /// `name type, name type`, where commas and spaces inside `<…>` belong to the type.
    fn split(list: &str) -> impl Iterator<Item = (&str, &str)> {
        let mut depth = 0;
        list.split(move |c| {
            depth += i32::from(c == '<') - i32::from(c == '>');
            c == ',' && depth == 0
        })
        .map(|part| {
            let part = part.trim();
            let quoted = part.strip_prefix('"').map(|rest| rest.split_once('"').unwrap());
            let (name, declared) = quoted.unwrap_or_else(|| part.split_once(' ').unwrap());
            (name, declared.trim())
        })
    }

    fn columns(list: &str) -> Vec<ColumnDef> {
        split(list)
            .map(|(name, declared)| match declared.trim_end_matches(" NOT NULL") {
                "JSON" => json_column(name),
                plain => column(name, data_type(plain)),
            })
            .collect()
    }

    /// The table of a `CREATE TABLE name (columns) WITH (options);`, and its name.
    fn definition(statement: &str) -> (String, TableDef) {
        let (head, options) = statement.split_once("WITH (").unwrap();
        let (head, list) = head.split_once('(').unwrap();
        let list = list.trim().strip_suffix(')').unwrap();
        let options: Vec<(&str, &str)> = options
            .trim_end_matches([')', ';'])
            .split(',')
            .filter_map(|o| o.split_once('='))
            .map(|(key, value)| (key.trim().trim_matches('\''), value.trim().trim_matches('\'')))
            .filter(|(key, _)| key.starts_with("json.") || *key == "format")
            .collect();
        (head.trim().trim_start_matches("CREATE TABLE ").to_string(), table(columns(list), &options))
    }

    fn format(table: &TableDef, direction: Direction) -> Format {
        let environment = Environment::only([]);
        let mut options = OptionReader::new(table, &environment, FORMAT_OPTIONS);
        let format = Format::read(&mut options, direction);
        options.finish().unwrap();
        format.unwrap()
    }

    pub async fn rows(folder: &Path, text: &str) -> Result<String> {
        let statements: Vec<&str> = text.split(';').map(str::trim).filter(|s| !s.is_empty()).collect();
        let [source, sink, insert] = statements.as_slice() else { panic!("three statements") };
        let (name, from) = definition(source);
        let (_, to) = definition(sink);
        let input = source.split_once("$IN/").unwrap().1.split_once('\'').unwrap().0;
        let mut decoder = Decoder::new(&format(&from, Direction::Source), &from);
        for line in std::fs::read_to_string(folder.join("inputs").join(input)).unwrap().lines() {
            assert!(decoder.push(line.as_bytes()).unwrap());
        }
        let batch = RecordBatch::try_new(from.data_schema(), decoder.finish().unwrap())?;
        let context = super::context();
        context.register_batch(&name, batch)?;
        let frame = context.sql(insert.trim_start_matches("INSERT INTO out").trim()).await?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let batch = concat_batches(&schema, &frame.collect().await?)?;
        let mut columns = Vec::new();
        let mut fields = Vec::new();
        for ((column, given), wanted) in batch.columns().iter().zip(schema.fields()).zip(&to.columns) {
            columns.push(cast(column, &wanted.data_type)?);
            fields.push(given.as_ref().clone().with_data_type(wanted.data_type.clone()).with_nullable(true));
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let encoder = Encoder::new(&format(&to, Direction::Sink), to.data_schema());
        Ok(String::from_utf8(encoder.encode(&batch).unwrap().lines()).unwrap())
    }
}
