//! That the functions are there, and that they compute what Arroyo's do.

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
        ("CAST(decode('YQ==', 'base64') AS TEXT)", "a"),
        ("encode('a', 'hex')", "61"),
        ("md5('a')", "0cc175b9c0f1b6a831c399e269772661"),
        ("encode(sha256('a'), 'hex')", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("encode(digest('a', 'sha256'), 'hex')", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        // Of a key that is there twice, JSONPath takes the last and these take the first; so it is with Arroyo.
        ("d->>'agent'", "Lead Scoring Agent"),
        ("json_get_str(d, 'agent')", "Lead Scoring Agent"),
        ("json_get_int('{\"a\": 12.0}', 'a')", "NULL"),
        ("json_get_int('{\"a\": \"12\"}', 'a')", "NULL"),
        ("json_as_text('{\"a\": 12.0}', 'a')", "12.0"),
        ("json_get_json('{\"a\": [\"x\",\"y\"]}', 'a')", "[\"x\",\"y\"]"),
        ("json_get_float('{\"a\": 91}', 'a')", "91.0"),
        ("json_length('[1,2]')", "2"),
        ("d ? 'agent'", "true"),
        ("(d->'emails'->0->>'to')", "a"),
        ("array_has(make_array('x'), 'x')", "true"),
        ("btrim('  a ')", "a"),
        ("character_length('Zoë')", "3"),
        ("split_part('a@b', '@', 2)", "b"),
        ("substr_index('a.b.c', '.', 2)", "a.b"),
        ("to_char(CAST('2026-03-01T08:15:30Z' AS TIMESTAMP), '%Y-%m-%dT%H:%M:%SZ')", "2026-03-01T08:15:30Z"),
    ] {
        let sql = format!("SELECT {expression} FROM (SELECT '{decision}' AS d)");
        assert_eq!(value(&sql).await, expected, "{expression}");
    }
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
