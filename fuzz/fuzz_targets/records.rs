//! Gives libFuzzer's input to `roomlog::fuzzing::records`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roomlog::fuzzing::records(bytes));
