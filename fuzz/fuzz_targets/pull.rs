//! What servers of feeds answer: manifests and events of MISP, its attributes, envelopes of TAXII.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dnsledger_fuzz::pull(data));
