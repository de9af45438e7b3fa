//! A line of a TSV log, behind one of a few headers.
#![no_main]

use dnsledger::zeek::{LogRecord, Options, Reader};
use libfuzzer_sys::fuzz_target;

const HEADERS: [&[&str]; 4] = [
    &[
        "#separator \\x09",
        "#fields\tts\tid.resp_h\tid.resp_p\tquery\tqclass\tqtype\trcode\tanswers\tTTLs\topcode",
    ],
    &["#separator |", "#set_separator|;", "#unset_field|", "#fields|query|qtype_name|answers|ts"],
    &["#separator =>", "#set_separator=><>", "#fields=>ts=>query=>qtype=>answers=>TTLs"],
    &["ts\tuid\tquery\tanswers"],
];

fuzz_target!(|data: &[u8]| {
    let Some((&first, line)) = data.split_first() else { return };
    let mut reader = Reader::new(&Options::default());
    for directive in HEADERS[usize::from(first) % HEADERS.len()] {
        reader.read(directive.as_bytes(), &mut LogRecord::default());
    }
    for line in line.split(|&byte| byte == b'\n') {
        dnsledger_fuzz::check(&mut reader, line);
    }
});
