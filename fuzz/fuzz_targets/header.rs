//! Any lines as a log, headers among them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dnsledger_fuzz::header(data));
