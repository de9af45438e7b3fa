//! Any lines as a log: what is in force behind them can be stored, and reads on as before.
#![no_main]

use dnsledger::zeek::{LogRecord, Options, Reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let options = Options { separator: Some(b";".to_vec()), ..Options::default() };
    let mut reader = Reader::new(&options);
    for line in data.split(|&byte| byte == b'\n') {
        dnsledger_fuzz::check(&mut reader, line);
    }
    let stored = reader.header();
    let mut continued = Reader::with_header(&options, stored.as_deref().unwrap_or_default());
    assert_eq!(continued.header(), stored);
    let (mut one, mut other) = (LogRecord::default(), LogRecord::default());
    for line in data.split(|&byte| byte == b'\n') {
        assert_eq!(reader.read(line, &mut one), continued.read(line, &mut other));
        assert_eq!(one, other);
    }
});
