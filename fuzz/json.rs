//! The JSON format under libFuzzer: bytes to rows and back. What must hold is in `check_json.rs`; how it is started, in
//! `fuzz/run`.

#![no_main]

#[path = "check_json.rs"]
mod check_json;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check_json::check(data));
