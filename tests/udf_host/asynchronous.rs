//! Async UDFs: every type there and back, order, many in flight, and what becomes of rows when the UDF dies.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use baton::udf::AsyncOptions;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::Int64Type;

use super::fixtures::{call_all, call_texts, library, options};
use super::synchronous::{described, typed};

#[tokio::test(flavor = "multi_thread")]
async fn every_type_goes_there_and_back() {
    for (name, required, optional, expected) in typed() {
        if matches!(name, "i8" | "i16" | "u8" | "u16") {
            continue; // An async UDF cannot return them; `async_describe` takes them.
        }
        let (name, rows) = (format!("async_{name}"), required.len());
        let ordered = AsyncOptions { ordered: true, ..options() };
        let answers = call_all(&name, ordered, &[required, Arc::clone(&optional)], rows).await;
        assert!(answers.iter().map(|(id, _)| *id).eq(0..rows as u64), "{name}");
        let values: Vec<ArrayRef> = answers.into_iter().map(|(_, value)| value.unwrap()).collect();
        let values = concat(&values.iter().map(AsRef::as_ref).collect::<Vec<_>>()).unwrap();
        // As in Arroyo, a NULL for what is no `Option` is a call with zero or an empty text.
        let null = (0..expected.len()).find(|row| expected.is_null(*row) && optional.is_valid(*row)).unwrap();
        assert_eq!(&values.slice(0, null), &expected.slice(0, null), "{name}");
        assert_eq!(&values.slice(null, 1), &optional.slice(null, 1), "{name}");
        assert_eq!(&values.slice(null + 1, rows - null - 1), &expected.slice(null + 1, rows - null - 1), "{name}");
    }
}

#[tokio::test]
async fn a_null_is_a_call_with_nothing_whatever_lies_in_memory() {
    let hidden = StringArray::from(vec!["hidden"; 3]);
    let nulls = datafusion::arrow::buffer::NullBuffer::from(vec![true, false, true]);
    let hidden = StringArray::new(hidden.offsets().clone(), hidden.values().clone(), Some(nulls));
    let answers = call_all("behave", options(), &[Arc::new(hidden)], 3).await;
    let values: HashMap<u64, String> =
        answers.into_iter().map(|(id, v)| (id, v.unwrap().as_string::<i32>().value(0).to_string())).collect();
    assert_eq!((values[&0].as_str(), values[&1].as_str()), ("hidden", ""));
}

#[tokio::test]
async fn results_that_are_no_option_and_functions_without_arguments() {
    let (columns, first) = described();
    let answers = call_all("async_describe", options(), &columns, 1).await;
    assert_eq!(answers[0].1.as_ref().unwrap().as_string::<i32>().value(0), first);

    let answers = call_all("count_calls", options(), &[], 100).await;
    let mut counts: Vec<i64> =
        answers.into_iter().map(|(_, v)| v.unwrap().as_primitive::<Int64Type>().value(0)).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn ordered_answers_keep_the_order_and_unordered_ones_come_when_they_are_there() {
    let texts: Vec<String> = (0..40).map(|n| format!("sleep {} {n}", (40 - n) * 5)).collect();
    let ordered = call_texts("behave", AsyncOptions { ordered: true, ..options() }, &texts).await;
    assert!(ordered.iter().map(|(id, _)| *id).eq(0..40));
    let unordered = call_texts("behave", options(), &texts).await;
    assert_eq!(unordered.len(), 40);
    assert_eq!(unordered[0].0, 39, "the quickest call is answered first");
    for (id, answer) in ordered.iter().chain(&unordered) {
        assert_eq!(answer.as_ref().unwrap(), &texts[usize::try_from(*id).unwrap()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rows_in_flight() {
    let options = AsyncOptions { allowed_in_flight: 10_000, timeout: Duration::from_mins(1), ordered: false };
    let texts: Vec<String> = (0..10_000).map(|n| format!("sleep 300 {n}")).collect();
    let begin = Instant::now();
    let mut answers = call_texts("behave", options, &texts).await;
    // One after another they would take fifty minutes.
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    answers.sort_by_key(|(id, _)| *id);
    assert!(answers.iter().map(|(id, _)| *id).eq(0..10_000));
    for (id, answer) in &answers {
        assert_eq!(answer.as_ref().unwrap(), &texts[usize::try_from(*id).unwrap()]);
    }
}

#[tokio::test]
async fn no_more_calls_have_room_than_the_udf_allows() {
    let mut udf = library("behave").start(AsyncOptions { allowed_in_flight: 2, ..options() });
    let column: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let args = udf.calls.prepare(&[column], 3).unwrap();
    udf.calls.submit(0, &args, 0).await;
    udf.calls.submit(1, &args, 1).await;
    assert!(udf.calls.try_reserve().is_none());
    let first = udf.answers.next().await.unwrap();
    assert!(udf.calls.try_reserve().is_some(), "{first:?}");
    udf.calls.submit(2, &args, 2).await;
    let mut ids = first.ids;
    drop(udf.calls);
    while let Some(answers) = udf.answers.next().await {
        ids.extend(answers.ids);
    }
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2]);
}

/// Calls with bad ones among good ones: each is answered once, the bad ones with `error`, and no text was called more
/// than twice.
async fn bad_among_good(bad: &str, ordered: bool, error: &str) {
    // One word, which `behave` does not know.
    let unique = format!("{bad}-{ordered}");
    let texts: Vec<String> = (0..200)
        .map(|n| if n == 77 { format!("sleep 5 {bad} {unique}") } else { format!("sleep {} {unique} {n}", n % 50) })
        .collect();
    let mut answers = call_texts("behave", AsyncOptions { ordered, ..options() }, &texts).await;
    if ordered {
        assert!(answers.iter().map(|(id, _)| *id).eq(0..200), "order is kept through a death");
    }
    answers.sort_by_key(|(id, _)| *id);
    assert!(answers.iter().map(|(id, _)| *id).eq(0..200), "each is answered once");
    for (id, answer) in &answers {
        match answer {
            Ok(answer) => assert_eq!(answer, &texts[usize::try_from(*id).unwrap()]),
            Err(message) => {
                assert_eq!(*id, 77);
                assert_eq!(message, error);
            }
        }
    }
    assert!(answers[77].1.is_err());
    let questions: Vec<String> = texts.iter().map(|text| format!("count {text}")).collect();
    for (id, count) in call_texts("behave", options(), &questions).await {
        let count: usize = count.unwrap().parse().unwrap();
        assert!((1..=2).contains(&count), "{:?} was called {count} times", questions[usize::try_from(id).unwrap()]);
        assert!(id != 77 || count == 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_among_200_in_flight() {
    let begin = Instant::now();
    bad_among_good("panic", false, "`behave` panicked on this row").await;
    assert!(begin.elapsed() < Duration::from_secs(5), "a panic is found without waiting for a time-out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_among_200_in_flight_in_order() {
    bad_among_good("panic", true, "`behave` panicked on this row").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_among_200_in_flight() {
    bad_among_good("hang", false, "`behave` did not answer within 700ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_among_200_in_flight_in_order() {
    bad_among_good("hang", true, "`behave` did not answer within 700ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_blocks_its_thread() {
    bad_among_good("block", false, "`behave` did not answer within 1.7s and blocks its thread").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_blocks_its_thread_in_order() {
    bad_among_good("block", true, "`behave` did not answer within 1.7s and blocks its thread").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_row_that_panics_is_found_at_once_and_the_next_one_is_answered() {
    let mut udf = library("behave").start(AsyncOptions { timeout: Duration::from_mins(10), ..options() });
    let column: ArrayRef = Arc::new(StringArray::from(vec!["panic lone", "fine"]));
    let args = udf.calls.prepare(&[column], 2).unwrap();
    let begin = Instant::now();
    udf.calls.submit(0, &args, 0).await;
    let answers = udf.answers.next().await.unwrap();
    assert_eq!(answers.errors[0].1.to_string(), "`behave` panicked on this row");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    udf.calls.submit(1, &args, 1).await;
    let answers = udf.answers.next().await.unwrap();
    assert_eq!((answers.ids.as_slice(), answers.values.as_string::<i32>().value(0)), ([1].as_slice(), "fine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_may_be_bad() {
    let texts: Vec<String> = (0..60).map(|n| format!("panic all {n}")).collect();
    let answers = call_texts("behave", AsyncOptions { ordered: true, ..options() }, &texts).await;
    assert!(answers.iter().map(|(id, _)| *id).eq(0..60));
    assert!(answers.iter().all(|(_, answer)| answer.is_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_odd_texts() {
    let texts = [String::new(), "Zürich 🚃 \u{0}".into(), "ü".repeat(1 << 19), "x".repeat(1 << 20)];
    let answers = call_texts("behave", AsyncOptions { ordered: true, ..options() }, &texts).await;
    assert!(answers.into_iter().map(|(_, answer)| answer.unwrap()).eq(texts));
}

/// What waiting costs: run with `--ignored --nocapture` when `session` changes.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten seconds, and says something on a quiet machine only"]
async fn waiting_costs_little_and_answers_come_at_once() {
    fn cpu() -> Duration {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }
    let slow = AsyncOptions { allowed_in_flight: 1000, timeout: Duration::from_mins(1), ordered: false };
    let texts: Vec<String> = (0..1000).map(|n| format!("sleep 10000 {n}")).collect();
    let before = cpu();
    call_texts("behave", slow, &texts).await;
    let waiting = cpu().saturating_sub(before);

    let mut udf = library("behave").start(slow);
    let args = udf.calls.prepare(&[Arc::new(StringArray::from(vec!["now"]))], 1).unwrap();
    let mut latencies = Vec::new();
    for id in 0..1000 {
        let begin = Instant::now();
        udf.calls.submit(id, &args, 0).await;
        udf.answers.next().await.unwrap();
        latencies.push(begin.elapsed());
    }
    latencies.sort();
    let texts: Vec<String> = (0..200_000).map(|n| n.to_string()).collect();
    let begin = Instant::now();
    call_texts("behave", slow, &texts).await;
    println!(
        "1000 calls of 10 s: {waiting:?} of CPU; a call: p50 {:?}, p99 {:?}; {:.0} calls a second",
        latencies[500],
        latencies[990],
        200_000.0 / begin.elapsed().as_secs_f64()
    );
    assert!(waiting < Duration::from_millis(500), "{waiting:?}");
    assert!(latencies[500] < Duration::from_millis(2), "{:?}", latencies[500]);
}

#[tokio::test]
async fn arguments_of_another_kind_are_refused_before_the_call() {
    let udf = library("behave").start(options());
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    assert!(udf.calls.prepare(&[Arc::clone(&numbers), numbers], 1).is_err());
}
