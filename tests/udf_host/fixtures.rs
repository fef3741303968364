//! The compiled fixtures, and ways to call them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use baton::udf::{
    AsyncCalls, AsyncLibrary, AsyncOptions, BuiltUdf, LoadedUdf, RowError, Slot, SyncUdf, UdfSource, build, discover,
    load,
};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};

pub use crate::udf_fixtures::FOLDER;

/// Every fixture that compiles.
pub static BUILT: LazyLock<HashMap<String, BuiltUdf>> = LazyLock::new(|| {
    let sources = compilable();
    assert!(sources.len() > 20, "the fixtures are missing");
    let built = build(&FOLDER, &sources, &mut |line: &str| eprintln!("{line}"));
    let built = built.unwrap_or_else(|errors| panic!("{}", shown(&errors)));
    built.into_iter().map(|b| (b.source.name.clone(), b)).collect()
});

/// The sources of the fixtures that are meant to compile.
pub fn compilable() -> Vec<UdfSource> {
    discover(&FOLDER).unwrap().into_iter().filter(|s| !s.name.starts_with("broken_")).collect()
}

pub fn shown(diagnostics: &[baton::diag::Diagnostic]) -> String {
    baton::diag::to_text(diagnostics, baton::diag::Style::Plain)
}

/// A sync fixture, and what it reports.
pub fn sync(name: &str) -> (SyncUdf, Arc<Mutex<Vec<RowError>>>) {
    let errors: Arc<Mutex<Vec<RowError>>> = Arc::default();
    let told = Arc::clone(&errors);
    let BuiltUdf { source, library } = &BUILT[name];
    match load(source, library, Arc::new(move |e: &RowError| told.lock().unwrap().push(e.clone()))).unwrap() {
        LoadedUdf::Sync(udf) => (udf, errors),
        LoadedUdf::Async(_) => panic!("{name} is async"),
    }
}

/// An async fixture.
pub fn library(name: &str) -> AsyncLibrary {
    let BuiltUdf { source, library } = &BUILT[name];
    match load(source, library, Arc::new(|_: &RowError| ())).unwrap() {
        LoadedUdf::Async(library) => library,
        LoadedUdf::Sync(_) => panic!("{name} is sync"),
    }
}

/// Calls a UDF on every row, and gives the answers in the order in which they came: the row and its value's index in
/// the array, or its error.
pub async fn call_all(
    name: &str,
    options: AsyncOptions,
    args: &[ArrayRef],
    rows: usize,
) -> Vec<(u64, Result<ArrayRef, String>)> {
    let mut udf = library(name).start(options);
    let args = udf.calls.prepare(args, rows).unwrap();
    let mut calls = (rows > 0).then_some(udf.calls);
    let mut next = 0;
    let mut answered = Vec::new();
    loop {
        let answers = tokio::select! {
            slot = reserve(calls.as_ref()) => {
                slot.submit(next as u64, &args, next);
                next += 1;
                if next == rows {
                    calls = None;
                }
                continue;
            }
            answers = udf.answers.next() => answers,
        };
        let Some(answers) = answers else { break };
        assert_eq!(answers.ids.len(), answers.values.len());
        let errors: HashMap<usize, &RowError> = answers.errors.iter().map(|(i, e)| (*i, e)).collect();
        for (i, id) in answers.ids.iter().enumerate() {
            let value = match errors.get(&i) {
                Some(error) => {
                    assert!(answers.values.is_null(i));
                    Err(error.to_string())
                }
                None => Ok(answers.values.slice(i, 1)),
            };
            answered.push((*id, value));
        }
    }
    answered
}

async fn reserve(calls: Option<&AsyncCalls>) -> Slot {
    match calls {
        Some(calls) => calls.reserve().await,
        None => std::future::pending().await,
    }
}

/// The same for a UDF of one text, with texts as answers.
pub async fn call_texts(name: &str, options: AsyncOptions, texts: &[String]) -> Vec<(u64, Result<String, String>)> {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    let answers = call_all(name, options, &[column], texts.len()).await;
    answers.into_iter().map(|(id, value)| (id, value.map(|v| v.as_string::<i32>().value(0).to_string()))).collect()
}

/// Options for a test that does not care.
pub fn options() -> AsyncOptions {
    AsyncOptions { ordered: false, allowed_in_flight: 500, timeout: Duration::from_millis(700) }
}
