//! UDFs in `DataFusion` plans: what is cast without asking, what is refused in which words, and a query that runs.

use baton::sql::errors::argument_error;
use baton::udf::{LoadedSlot, LoadedUdf, hosted, scalar_udf};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;

use super::fixtures::{FOLDER, compilable, library, sync};

/// A session that knows some fixtures; those that are sync are loaded when `loaded`.
fn session(names: &[&str], loaded: bool) -> SessionContext {
    let session = SessionContext::new();
    assert!(FOLDER.is_dir());
    for source in compilable().iter().filter(|s| names.contains(&s.name.as_str())) {
        let slot = LoadedSlot::new();
        if loaded {
            slot.fill(match source.async_options() {
                None => LoadedUdf::Sync(sync(&source.name).0),
                Some(_) => LoadedUdf::Async(library(&source.name)),
            });
        }
        let udf = scalar_udf(source, slot);
        assert_eq!(hosted(&udf).unwrap().source().name, source.name);
        session.register_udf(udf);
    }
    session
}

async fn refused(sql: &str, names: &[&str]) -> String {
    let session = session(names, false);
    let plan = session.sql(sql).await.and_then(datafusion::dataframe::DataFrame::into_optimized_plan);
    let error = plan.expect_err(sql).to_string();
    argument_error(&error).unwrap_or_else(|| panic!("{error}")).to_string()
}

#[tokio::test]
async fn a_query_calls_a_udf_on_every_row() {
    let session = session(&["shout", "sync_i64", "die_on_13", "plain_f32"], true);
    let sql = "SELECT shout(t) AS loud, sync_i64(CAST(n AS INT), NULL) AS nothing, sync_i64(1, n) AS n,
                 die_on_13(n) AS twice, sync_i64(1, 0) AS fixed
               FROM (VALUES ('ab', 13), (NULL, 2), ('ü', NULL)) AS v (t, n)";
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    insta::assert_snapshot!(pretty_format_batches(&batches).unwrap(), @r#"
    +------+---------+----+-------+-------+
    | loud | nothing | n  | twice | fixed |
    +------+---------+----+-------+-------+
    | AB   |         | 13 |       | 1     |
    |      |         | 2  | 4     | 1     |
    | Ü    |         |    |       | 1     |
    +------+---------+----+-------+-------+
    "#);
}

#[tokio::test]
async fn wrong_arguments_are_refused_in_sql_words() {
    insta::assert_snapshot!(refused("SELECT shout(1)", &["shout"]).await, @"argument 1 of `shout` is BIGINT, it takes TEXT");
    insta::assert_snapshot!(refused("SELECT sync_i64(1, 'x')", &["sync_i64"]).await, @"argument 2 of `sync_i64` is TEXT, it takes BIGINT");
    insta::assert_snapshot!(refused("SELECT sync_i64(1)", &["sync_i64"]).await, @"`sync_i64` takes 2 arguments, 1 given");
    insta::assert_snapshot!(refused("SELECT shout('a', 'b')", &["shout"]).await, @"`shout` takes 1 argument, 2 given");
    // What could fail at a row is asked for by a CAST.
    insta::assert_snapshot!(refused("SELECT sync_i32(1, CAST(2 AS INT))", &["sync_i32"]).await, @"argument 1 of `sync_i32` is BIGINT, it takes INT");
    insta::assert_snapshot!(refused("SELECT shout([1, 2])", &["shout"]).await, @"argument 1 of `shout` is BIGINT[], it takes TEXT");
    insta::assert_snapshot!(refused("SELECT behave(now())", &["behave"]).await, @"argument 1 of `behave` is TIMESTAMP, it takes TEXT");
}

#[tokio::test]
async fn a_plan_needs_no_library_but_a_run_does() {
    let unloaded = session(&["shout", "behave"], false);
    let frame = unloaded.sql("SELECT shout('a'), behave('b')").await.unwrap();
    assert!(frame.collect().await.unwrap_err().to_string().contains("before it was loaded"));
    let loaded = session(&["behave"], true);
    let error = loaded.sql("SELECT behave('b')").await.unwrap().collect().await.unwrap_err();
    assert!(error.to_string().contains("the async UDF `behave` was left in a plan"), "{error}");
}

#[tokio::test]
async fn two_calls_are_never_one() {
    // A UDF may ask a model: the planner must neither share nor fold its calls.
    let session = session(&["shout"], true);
    let frame = session.sql("SELECT shout(t) AS a, shout(t) AS b FROM (VALUES ('x')) AS v (t)").await.unwrap();
    let plan = frame.into_optimized_plan().unwrap().display_indent().to_string();
    assert_eq!(plan.matches("shout(").count(), 2, "{plan}");
}
