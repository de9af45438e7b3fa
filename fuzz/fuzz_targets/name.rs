//! Names: from a log, from a key or from text, and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dnsledger_fuzz::name(data));
