//! What `tests/leak-check.sh` runs under valgrind; nobody else does.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Int64Array, StringArray};

use super::fixtures::{call_texts, options, sync};

#[test]
#[ignore = "run by tests/leak-check.sh, under valgrind"]
fn rows_for_valgrind() {
    let rows: usize = std::env::var("BATON_LEAK_ROWS").unwrap().parse().unwrap();
    let (shout, _) = sync("shout");
    let (die, _) = sync("die_on_13");
    for start in (0..rows).step_by(100) {
        let texts: ArrayRef = Arc::new((start..start + 100).map(|n| Some(format!("row {n}"))).collect::<StringArray>());
        assert_eq!(shout.call(&[texts], 100).unwrap().len(), 100);
        let numbers: ArrayRef = Arc::new((14..114).collect::<Int64Array>());
        assert_eq!(die.call(&[numbers], 100).unwrap().null_count(), 0);
    }
    let texts: Vec<String> = (0..rows).map(|n| format!("row {n}")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let patient = baton::udf::AsyncOptions { timeout: std::time::Duration::from_mins(10), ..options() };
    let answers = runtime.block_on(call_texts("behave", patient, &texts));
    assert_eq!(answers.iter().filter(|(_, answer)| answer.is_ok()).count(), rows);
}
