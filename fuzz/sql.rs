//! The SQL front end under libFuzzer: text to statements, definitions, plans and the dataflow. What must hold is in
//! `check_sql.rs`; how it is started, in `fuzz/run`.

#![no_main]

#[path = "check_sql.rs"]
mod check_sql;
#[path = "tokens.rs"]
mod tokens;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = str::from_utf8(data) {
        check_sql::check(text);
    }
});

// Most changes of bytes end in the tokenizer. Changes of tokens get further.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed.is_multiple_of(4) {
        return fuzzer_mutate(data, size, max_size);
    }
    match str::from_utf8(&data[..size]) {
        Ok(text) => {
            let mut changed = tokens::mutate(text, seed).into_bytes();
            changed.truncate(max_size);
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        Err(_) => fuzzer_mutate(data, size, max_size),
    }
});
