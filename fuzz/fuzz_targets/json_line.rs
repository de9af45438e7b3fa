//! A line of a JSON log. What a full parser takes for an object is never called no JSON without a reason.
#![no_main]

use dnsledger::tally::Malformed;
use dnsledger::zeek::{Line, LogRecord, Options, Reader};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// Letters that all needed keys have in common with few others; a line without them has none of those keys.
const NEEDED: [&str; 4] = ["id", "q", "TTLs", "code"];

fuzz_target!(|data: &[u8]| {
    for json_tsv_escapes in [false, true] {
        let mut reader = Reader::new(&Options { json_tsv_escapes, ..Options::default() });
        for line in data.split(|&byte| byte == b'\n') {
            dnsledger_fuzz::check(&mut reader, line);
        }
    }
    let Ok(object) = serde_json::from_slice::<Map<String, Value>>(data) else { return };
    let needed = |key: &String| {
        ["ts", "answers", "_path", "@stream"].contains(&key.as_str())
            || NEEDED.iter().any(|part| key.contains(part))
    };
    let depth = data.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if data.first() != Some(&b'{') || data.contains(&b'\n') || depth > 60 || object.keys().any(needed) {
        return;
    }
    let line = Reader::new(&Options::default()).read(data, &mut LogRecord::default());
    assert_eq!(line, Line::Malformed(Malformed::Time));
});
