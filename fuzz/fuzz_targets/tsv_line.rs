//! Lines of a TSV log, behind one of a few headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dnsledger_fuzz::tsv_line(data));
