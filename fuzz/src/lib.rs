//! What every line must obey, whatever is in it. Shared by the fuzz targets.
//!
//! Run a target for half a minute with `RUSTC_BOOTSTRAP=1 cargo fuzz run tsv_line -- -max_total_time=30`.

use dnsledger::observation::{Observations, SensorId, Tuple, question_from_row_key};
use dnsledger::observe::{self, Observer};
use dnsledger::tally::{Fate, Skip, Tally};
use dnsledger::zeek::{Line, LogRecord, Reader};

/// Reads a line and observes it; checks that it is accounted for and that what comes out is well formed.
pub fn check(reader: &mut Reader, line: &[u8]) {
    let mut record = LogRecord::default();
    let mut tally = Tally::default();
    match reader.read(line, &mut record) {
        Line::Directive | Line::Close => return,
        Line::OtherLog => tally.add(Fate::Skipped(Skip::OtherLog)),
        Line::Malformed(reason) => tally.add(Fate::Malformed(reason)),
        Line::Record => tally.add(observe(&record)),
    }
    assert_eq!(tally.lines(), 1);

    // A buffer that was used before changes nothing.
    let mut used = LogRecord::default();
    reader.clone().read(br#"{"ts":7.0,"query":"old","answers":["192.0.2.1"],"TTLs":[9]}"#, &mut used);
    if reader.clone().read(line, &mut used) == Line::Record {
        assert_eq!(used, record);
    }
}

/// Observes a record; every row and question must decode.
fn observe(record: &LogRecord) -> Fate {
    let mut out = Observations::new(SensorId(7));
    let fate = Observer::new(&observe::Options::default()).observe(record, &mut out);
    assert_eq!(fate == Fate::Counted, !out.is_empty());
    for observation in out.iter() {
        let (tuple, sensor) = Tuple::from_row_key(observation.row_key).expect("a row key");
        assert_eq!(sensor, SensorId(7));
        assert!(tuple.rdata.to_string().bytes().all(|byte| matches!(byte, 0x20..=0x7e)));
        assert!(observation.ttl <= i32::MAX as u32);
        let mut key = Vec::new();
        tuple.push_key(&mut key);
        assert_eq!(Some(key.as_slice()), observation.row_key.strip_suffix(&[0, 7]));
    }
    if let Some((row_key, _)) = out.question() {
        question_from_row_key(row_key).expect("a question key");
        assert!(matches!(fate, Fate::Counted | Fate::Skipped(Skip::NoAnswer)));
    }
    fate
}
