//! What every input must obey, whatever is in it: one function for each fuzz target.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run tsv_line -- -max_total_time=30` hunts for half a minute, `just fuzz-smoke` with each of
//! them. The test `fuzz` of the project calls the same functions with mutated samples, so that a short form runs everywhere.

use dnsledger::dns::Name;
use dnsledger::indicators::{self, Action, Format};
use dnsledger::lookup::{Cursor, FILTER_KEYS, Filters, Limits, Query, Search, Slice, Walk};
use dnsledger::observation::{Observations, SensorId, Tuple, question_from_row_key};
use dnsledger::observe::{self, Observer};
use dnsledger::pull::Arrived;
use dnsledger::pull::answer::{Envelope, Manifest, attribute_mark, attributes, check_event, line_of};
use dnsledger::store::ReadStore;
use dnsledger::store::memory::MemoryStore;
use dnsledger::tally::{Fate, Malformed, Skip, Tally};
use dnsledger::zeek::{Line, LogRecord, Options, Reader};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

//--- logs -----------------------------------------------------------------------------------------------------------

/// The headers that [`tsv_line`] chooses from.
const HEADERS: [&[&str]; 4] = [
    &[
        "#separator \\x09",
        "#fields\tts\tid.resp_h\tid.resp_p\tquery\tqclass\tqtype\trcode\tanswers\tTTLs\topcode",
    ],
    &["#separator |", "#set_separator|;", "#unset_field|", "#fields|query|qtype_name|answers|ts"],
    &["#separator =>", "#set_separator=><>", "#fields=>ts=>query=>qtype=>answers=>TTLs"],
    &["ts\tuid\tquery\tanswers"],
];

/// Lines of a TSV log, behind the header that the first byte chooses.
pub fn tsv_line(data: &[u8]) {
    let Some((&first, lines)) = data.split_first() else { return };
    let mut reader = Reader::new(&Options::default());
    for directive in HEADERS[usize::from(first) % HEADERS.len()] {
        reader.read(directive.as_bytes(), &mut LogRecord::default());
    }
    for line in lines.split(|&byte| byte == b'\n') {
        check(&mut reader, line);
    }
}

/// Any lines as a log: what is in force behind them can be stored, and reads on as before.
pub fn header(data: &[u8]) {
    let options = Options { separator: Some(b";".to_vec()), ..Options::default() };
    let mut reader = Reader::new(&options);
    for line in data.split(|&byte| byte == b'\n') {
        check(&mut reader, line);
    }
    let stored = reader.header();
    let mut continued = Reader::with_header(&options, stored.as_deref().unwrap_or_default());
    assert_eq!(continued.header(), stored);
    let (mut one, mut other) = (LogRecord::default(), LogRecord::default());
    for line in data.split(|&byte| byte == b'\n') {
        assert_eq!(reader.read(line, &mut one), continued.read(line, &mut other));
        assert_eq!(one, other);
    }
}

/// Letters that all needed keys have in common with few others; a line without them has none of those keys.
const NEEDED: [&str; 4] = ["id", "q", "TTLs", "code"];

/// A line of a JSON log. What a full parser takes for an object is never called no JSON without a reason.
pub fn json_line(data: &[u8]) {
    for json_tsv_escapes in [false, true] {
        let mut reader = Reader::new(&Options { json_tsv_escapes, ..Options::default() });
        for line in data.split(|&byte| byte == b'\n') {
            check(&mut reader, line);
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
    // A record, or a line of another log, may be in an object or a text inside.
    assert_ne!(line, Line::Malformed(Malformed::Json));
}

/// Reads a line and observes it; checks that it is accounted for and that what comes out is well formed.
fn check(reader: &mut Reader, line: &[u8]) {
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

//--- names ----------------------------------------------------------------------------------------------------------

/// Names: from a log, from a key or from text, and back.
pub fn name(data: &[u8]) {
    if let Ok(name) = Name::from_log(data) {
        check_name(&name);
    }
    if let Ok(name) = Name::from_key(data) {
        assert_eq!(name.key(), data);
    }
    let text = std::str::from_utf8(data).ok();
    if let Some(name) = text.and_then(|text| Name::parse(text).ok()) {
        check_name(&name);
    }
}

fn check_name(name: &Name) {
    let text = name.to_string();
    assert!(text.bytes().all(|byte| matches!(byte, 0x21..=0x7e)), "{text}");
    assert_eq!(Name::parse(&text).as_ref(), Ok(name));
    assert_eq!(Name::from_key(name.key()).as_ref(), Ok(name));
    let labels = name.labels();
    assert_eq!(Name::from_labels(labels.iter().map(Vec::as_slice)).as_ref(), Ok(name));
    assert_eq!(name.parent().is_none(), name.is_root());
}

//--- queries --------------------------------------------------------------------------------------------------------

/// What people and programs ask: a query, the value of any filter, a cursor. It is answered, or refused with a reason.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Query::parse(text) {
        Ok(query) => answer(query),
        Err(error) => {
            assert!(error.at <= text.chars().count(), "{error}");
            assert!(!error.message.is_empty() && !error.hint.is_empty());
        }
    }
    answer(Query::exact(text));
    for key in FILTER_KEYS {
        assert_ne!(Filters::default().set(key, text, 1_700_000_000).ok(), Some(false), "{key} is a filter");
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
}

/// Walks an empty ledger to the end.
fn answer(query: Query) {
    let mut walk =
        Walk::start(&MemoryStore::default().now(), &Search::new(query), Limits::NONE, None).expect("a walk");
    walk.advance(Slice { examined: 10 }, |_| true).expect("an empty ledger can be read");
    assert!(walk.end().is_some() && walk.found() == 0);
}

//--- indicators -----------------------------------------------------------------------------------------------------

/// A list of indicators, in the format that the first byte chooses or, beyond them, in the one that is found out. What is handed
/// out is what is counted, and is neither a public suffix nor a network that everybody is in.
pub fn indicators(data: &[u8]) {
    let Some((&first, mut list)) = data.split_first() else { return };
    let format = Format::ALL.get(usize::from(first) % (Format::ALL.len() + 3)).copied();
    let options = indicators::Options {
        format,
        observed: first & 0x80 > 0,
        most: 10_000,
        most_bytes: 1 << 20,
        ..Default::default()
    };
    let (mut watched, mut allowed) = (0, 0);
    let taken = indicators::read(&mut list, &options, &mut |indicator| {
        match indicator.action {
            Action::Watch => {
                assert_eq!(indicator.value.refused(), None);
                watched += 1;
            }
            Action::Allow => allowed += 1,
        }
        Ok(())
    });
    match taken {
        Ok(taken) => assert_eq!((taken.taken, taken.allowed), (watched, allowed)),
        Err(error) => assert!(!error.to_string().is_empty() && !error.hint().is_empty()),
    }
}

//--- what servers of feeds answer -----------------------------------------------------------------------------------

/// An answer as of a feed of MISP, a MISP, or a server of TAXII: what a manifest names is a file in a folder, and what is kept of objects is read
/// back as it came.
pub fn pull(data: &[u8]) {
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(data)
        && manifest.check().is_ok()
    {
        for (uuid, file) in manifest.events() {
            assert!(
                manifest.has(uuid) && file.starts_with(uuid) && file.ends_with(".json") && file.len() <= 64
            );
            assert!(file.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')), "{file}");
        }
    }
    // What is kept as an event is JSON to its last text, for it is read again and again.
    if check_event(data).is_ok() {
        assert!(serde_json::from_slice::<Value>(data).is_ok_and(|event| event.get("Event").is_some()));
    }
    let Ok(document) = serde_json::from_slice::<&RawValue>(data) else { return };
    if let Ok(envelope) = serde_json::from_str::<Envelope>(document.get()) {
        let mut arrived = Arrived::default();
        for (id, time, object) in envelope.indicators().flatten() {
            let Ok(line) = line_of(object) else { continue };
            arrived.add("x", &id, time, "objects", &line).expect("there is room");
        }
        lines_read_back(&arrived, Format::Stix);
    }
    let mut arrived = Arrived::default();
    for attribute in attributes(document).flatten() {
        let Ok((id, time)) = attribute_mark(attribute) else { continue };
        let Ok(line) = line_of(attribute) else { continue };
        arrived.add("x", &id, time, "Attribute", &line).expect("there is room");
    }
    lines_read_back(&arrived, Format::Misp);
}

fn lines_read_back(arrived: &Arrived, format: Format) {
    let text: String = arrived.lines().map(|line| format!("{line}\n")).collect();
    assert_eq!(text.lines().count(), arrived.lines().count(), "a line each");
    if !arrived.is_empty() {
        reads_back(text.as_bytes(), format);
    }
}

fn reads_back(text: &[u8], format: Format) {
    let options = indicators::Options { format: Some(format), ..indicators::Options::default() };
    let read = indicators::read(&mut &*text, &options, &mut |_| Ok(()));
    assert!(!matches!(read, Err(indicators::ReadError::Malformed { .. })), "{read:?}");
}
