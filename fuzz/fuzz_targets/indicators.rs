//! Lists, bundles and feeds of indicators, in each of their formats.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dnsledger_fuzz::indicators(data));
