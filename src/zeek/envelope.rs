//! A DNS record inside another JSON object, as those leave it who carry logs from one place to another.
//!
//! Shippers put a record into an object of their own (`{"zeek": {"dns": {…}}}`), keep it as text (`{"message": "…"}`),
//! split or join names at their dots, and move the address of the responder and the time elsewhere. No list of such
//! tools is kept: one pass over the line notes for each object in it which of the fields of a DNS record it holds. The
//! object with the most is the record; what it lacks of time, address and port is taken from around it. Where there is
//! no such object, the texts in the line are looked at that look like a record themselves.
//!
//! The pass is linear in the length of the line, whatever is in it: objects, texts and depth have bounds.

use memchr::memmem;

use super::Line;
use super::header::{Role, is_dns_path};
use super::json::{JsonCursor, MAX_DEPTH, NOT_JSON, Stop, is_list_rest, role_of};
use super::record::LogRecord;
use crate::tally::Malformed;

/// Objects of a line that may be the record.
const MAX_OBJECTS: usize = 64;
/// Texts of a line that are tried.
const MAX_TEXTS: usize = 4;
/// How far into a text an object may begin: a syslog header fits in.
const MAX_LEAD: usize = 512;

/// Where things are in a line. It is kept from line to line for its memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Outline {
    objects: Vec<Object>,
    /// Texts that may be records, as they stand between their quotes.
    texts: [(usize, usize); MAX_TEXTS],
    texts_found: usize,
    /// The first address and port of a responder.
    resp_h: Option<usize>,
    resp_p: Option<usize>,
    /// The first address, port and connection of who asked.
    orig_h: Option<usize>,
    orig_p: Option<usize>,
    uid: Option<usize>,
    /// Whether something says that it is a record of another log.
    other_log: bool,
    /// Whether something says when it was.
    has_time: bool,
}

/// An object of the line.
#[derive(Debug, Clone)]
struct Object {
    /// Its brace.
    start: usize,
    /// The object that it is in, if that is in the list.
    parent: Option<usize>,
    /// Its own `ts`, and its `@timestamp` or the like.
    ts: Option<usize>,
    time: Option<usize>,
    /// Which fields of a DNS record it holds, one bit for each.
    fields: u16,
}

/// What a key says of the object behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Anything,
    /// Zeek's `id`.
    Id,
    /// The responder in the Elastic Common Schema and its like.
    Destination,
    /// Who asked, likewise.
    Source,
    /// One of several elements of an array: which of them would be meant?
    Several,
}

impl Outline {
    /// Notes what is in a line. Says whether it is one object.
    pub(super) fn note(&mut self, line: &[u8]) -> bool {
        self.objects.clear();
        self.texts_found = 0;
        (self.resp_h, self.resp_p) = (None, None);
        (self.orig_h, self.orig_p, self.uid) = (None, None, None);
        (self.other_log, self.has_time) = (false, false);
        let mut cursor = JsonCursor { rest: line, tsv_escapes: false };
        let mut walk = OutlinePass { outline: self, length: line.len() };
        if walk.object(&mut cursor, None, 0, Inside::Anything).is_err() {
            return false;
        }
        cursor.skip_space();
        cursor.rest.is_empty() || is_list_rest(cursor.rest)
    }

    /// Reads the record in the line that was noted, if an object in it is one.
    pub(super) fn read(&self, line: &[u8], tsv_escapes: bool, record: &mut LogRecord) -> Option<Line> {
        let held = |object: &Object| object.fields.count_ones();
        // The first of those that hold the most.
        let most = self.objects.iter().map(held).max().filter(|most| *most > 0)?;
        let at = self.objects.iter().position(|object| held(object) == most)?;
        if self.other_log {
            return Some(Line::OtherLog);
        }
        record.clear();
        Some(match self.read_object(at, line, tsv_escapes, record) {
            Ok(()) => Line::Record,
            Err(stop) => stop.into(),
        })
    }

    fn read_object(
        &self,
        at: usize,
        line: &[u8],
        tsv_escapes: bool,
        record: &mut LogRecord,
    ) -> Result<(), Stop> {
        let from = |start: usize| JsonCursor { rest: line.get(start..).unwrap_or_default(), tsv_escapes };
        let Some(object) = self.objects.get(at) else { return Err(NOT_JSON) };
        let mut has_others = false;
        let mut times = from(object.start).members(record, |cursor| {
            let key = cursor.string()?;
            cursor.expect(b':')?;
            cursor.skip_space();
            let role = scoped_role(key.raw);
            // What has the right name and holds something else is not Zeek's.
            if role == Role::Id || fits(role, cursor.rest) {
                return Ok(role);
            }
            has_others |= role == Role::Answers && matches!(cursor.rest.first(), Some(b'{' | b'['));
            Ok(Role::Other)
        })?;
        // Answers that are there and cannot be read are not none.
        if has_others && record.answers.is_empty() {
            return Err(Stop::Malformed(Malformed::Value));
        }
        if times.ts.is_none() {
            let time = self.time_around(at);
            times.ts = time.and_then(|time| from(time).ts().ok());
        }
        times.settle(record)?;
        if record.resp_p.is_none()
            && let Some(start) = self.resp_p
        {
            record.resp_p = from(start).port();
        }
        if record.resp_h.is_none()
            && let Some(start) = self.resp_h
        {
            record.resp_h = from(start).optional_string(record)?;
        }
        if let Some(client) = record.client {
            for (role, start, known) in [
                (Role::Uid, self.uid, client.uid.is_some()),
                (Role::OrigH, self.orig_h, client.orig_h.is_some()),
                (Role::OrigP, self.orig_p, client.orig_p.is_some()),
            ] {
                if let Some(start) = start.filter(|_| !known) {
                    from(start).client(role, record)?;
                }
            }
        }
        Ok(())
    }

    /// Where the time of an object stands: the nearest `ts` around it, else the nearest other time.
    fn time_around(&self, at: usize) -> Option<usize> {
        let around = || {
            let mut next = self.objects.get(at);
            std::iter::from_fn(move || {
                let object = next?;
                next = object.parent.and_then(|parent| self.objects.get(parent));
                Some(object)
            })
        };
        around().find_map(|object| object.ts).or_else(|| around().find_map(|object| object.time))
    }

    /// Where the texts are in the line that may be records; what is empty is none.
    pub(super) fn texts(&self) -> [(usize, usize); MAX_TEXTS] {
        let mut texts = self.texts;
        texts.iter_mut().skip(self.texts_found).for_each(|text| *text = (0, 0));
        texts
    }

    /// Whether the line is a message of a shipper about something else: it has a time, and an object inside, and nothing
    /// of a DNS record.
    pub(super) fn is_of_another_log(&self) -> bool {
        self.other_log || (self.has_time && self.objects.len() > 1 && self.texts_found == 0)
    }
}

/// The pass over a line.
struct OutlinePass<'o> {
    outline: &'o mut Outline,
    length: usize,
}

impl OutlinePass<'_> {
    fn at(&self, cursor: &JsonCursor<'_>) -> usize {
        self.length - cursor.rest.len()
    }

    fn object(
        &mut self,
        cursor: &mut JsonCursor<'_>,
        parent: Option<usize>,
        depth: u32,
        inside: Inside,
    ) -> Result<(), Stop> {
        if depth == MAX_DEPTH {
            return Err(NOT_JSON);
        }
        let start = self.at(cursor);
        let index = (self.outline.objects.len() < MAX_OBJECTS && inside != Inside::Several).then(|| {
            self.outline.objects.push(Object { start, parent, ts: None, time: None, fields: 0 });
            self.outline.objects.len() - 1
        });
        cursor.expect(b'{')?;
        if cursor.next_is(b'}') {
            return Ok(());
        }
        loop {
            cursor.skip_space();
            let key = cursor.string()?.raw;
            cursor.expect(b':')?;
            cursor.skip_space();
            if inside != Inside::Several {
                self.member(key, cursor, index, inside)?;
            }
            let within = match key {
                _ if inside == Inside::Several => Inside::Several,
                b"id" => Inside::Id,
                b"destination" | b"dest" | b"dst" | b"server" | b"responder" | b"resp" => Inside::Destination,
                b"source" | b"src" | b"client" | b"originator" | b"orig" => Inside::Source,
                _ => Inside::Anything,
            };
            self.value(cursor, index, depth, within)?;
            if !cursor.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Notes what a member is; the cursor stands at its value and stays there.
    fn member(
        &mut self,
        key: &[u8],
        cursor: &JsonCursor<'_>,
        index: Option<usize>,
        inside: Inside,
    ) -> Result<(), Stop> {
        let at = self.at(cursor);
        let role = scoped_role(key);
        let outline = &mut *self.outline;
        let Some(object) = index.and_then(|index| outline.objects.get_mut(index)) else { return Ok(()) };
        match role {
            Role::Ts if fits(role, cursor.rest) => {
                object.ts = Some(at);
                outline.has_time = true;
            }
            Role::Path if cursor.rest.first() == Some(&b'"') => {
                let mut value = JsonCursor { ..*cursor };
                outline.other_log |= !is_dns_path(value.string()?.raw);
            }
            Role::RespP if fits(role, cursor.rest) => {
                outline.resp_p.get_or_insert(at);
            }
            Role::RespH if fits(role, cursor.rest) => {
                outline.resp_h.get_or_insert(at);
            }
            Role::OrigP => _ = outline.orig_p.get_or_insert(at),
            Role::OrigH => _ = outline.orig_h.get_or_insert(at),
            Role::Uid => _ = outline.uid.get_or_insert(at),
            // Opcodes and their like are in other logs, too.
            Role::Query
            | Role::Qclass
            | Role::Qtype
            | Role::QtypeName
            | Role::Rcode
            | Role::Answers
            | Role::Ttls
                if fits(role, cursor.rest) =>
            {
                object.fields |= 1 << role as u16;
            }
            Role::Other if cursor.rest.first().is_some_and(|byte| *byte == b'"' || byte.is_ascii_digit()) => {
                match key {
                    b"@timestamp" | b"timestamp" | b"time" => {
                        object.time = Some(at);
                        outline.has_time = true;
                    }
                    b"resp_p" if inside == Inside::Id => outline.resp_p = outline.resp_p.or(Some(at)),
                    b"resp_h" if inside == Inside::Id => outline.resp_h = outline.resp_h.or(Some(at)),
                    b"orig_p" if inside == Inside::Id => outline.orig_p = outline.orig_p.or(Some(at)),
                    b"orig_h" if inside == Inside::Id => outline.orig_h = outline.orig_h.or(Some(at)),
                    b"port" | b"p" if inside == Inside::Source => {
                        outline.orig_p = outline.orig_p.or(Some(at));
                    }
                    b"ip" | b"address" | b"addr" | b"h" if inside == Inside::Source => {
                        outline.orig_h = outline.orig_h.or(Some(at));
                    }
                    b"source.port" | b"source_port" | b"src_port" | b"client.port" => {
                        outline.orig_p = outline.orig_p.or(Some(at));
                    }
                    b"source.ip" | b"source.address" | b"source_ip" | b"src_ip" | b"client.ip" => {
                        outline.orig_h = outline.orig_h.or(Some(at));
                    }
                    b"port" | b"p" if inside == Inside::Destination => {
                        outline.resp_p = outline.resp_p.or(Some(at));
                    }
                    b"ip" | b"address" | b"addr" | b"h" if inside == Inside::Destination => {
                        outline.resp_h = outline.resp_h.or(Some(at));
                    }
                    b"destination.port" | b"destination_port" | b"dest_port" | b"dst_port"
                    | b"server.port" => {
                        outline.resp_p = outline.resp_p.or(Some(at));
                    }
                    b"destination.ip"
                    | b"destination.address"
                    | b"destination_ip"
                    | b"dest_ip"
                    | b"dst_ip"
                    | b"server.ip" => outline.resp_h = outline.resp_h.or(Some(at)),
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Passes over a value and notes what is in it.
    fn value(
        &mut self,
        cursor: &mut JsonCursor<'_>,
        parent: Option<usize>,
        depth: u32,
        inside: Inside,
    ) -> Result<(), Stop> {
        match cursor.rest.first() {
            Some(b'{') => self.object(cursor, parent, depth + 1, inside),
            Some(b'[') => self.array(cursor, parent, depth + 1, inside),
            Some(b'"') => {
                let start = self.at(cursor) + 1;
                let text = cursor.string()?.raw;
                let outline = &mut *self.outline;
                if inside != Inside::Several
                    && let Some(place) = outline.texts.get_mut(outline.texts_found)
                    && let Some(lead) = begins_record(text)
                {
                    *place = (start + lead, start + text.len());
                    outline.texts_found += 1;
                }
                Ok(())
            }
            _ => cursor.scalar().map(|_| ()),
        }
    }

    fn array(
        &mut self,
        cursor: &mut JsonCursor<'_>,
        parent: Option<usize>,
        depth: u32,
        inside: Inside,
    ) -> Result<(), Stop> {
        if depth == MAX_DEPTH {
            return Err(NOT_JSON);
        }
        cursor.expect(b'[')?;
        if cursor.next_is(b']') {
            return Ok(());
        }
        // One element is as good as none around it; of several records in one line none could be counted apart.
        let (objects, texts) = (self.outline.objects.len(), self.outline.texts_found);
        let mut inside = inside;
        loop {
            cursor.skip_space();
            self.value(cursor, parent, depth, inside)?;
            if !cursor.more(b']')? {
                return Ok(());
            }
            inside = Inside::Several;
            self.outline.objects.truncate(objects);
            self.outline.texts_found = texts;
        }
    }
}

/// The role of a key that may have the names of objects around it before its own, joined by dots or the like:
/// `zeek.dns.query`, `dns.id.resp_h`.
fn scoped_role(key: &[u8]) -> Role {
    match role_of(key) {
        Role::Other => {
            let Some(at) = memmem::rfind(key, b"dns") else { return Role::Other };
            match key.get(at + 3..) {
                Some([b'.' | b'_' | b':' | b'/' | b'-', name @ ..]) => role_of(name),
                _ => Role::Other,
            }
        }
        role => role,
    }
}

/// Whether a value is of the kind that Zeek writes for a role.
fn fits(role: Role, value: &[u8]) -> bool {
    let is_number = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-');
    // One element may stand alone.
    let element = || value.strip_prefix(b"[").map_or(value, <[u8]>::trim_ascii_start).first();
    match role {
        Role::Ts => value.first().is_some_and(|byte| *byte == b'"' || byte.is_ascii_digit() || *byte == b'-'),
        Role::RespH | Role::Query | Role::QtypeName | Role::Path => value.first() == Some(&b'"'),
        Role::RespP | Role::Qclass | Role::Qtype | Role::Rcode | Role::Opcode => is_number(value.first()),
        Role::Answers => matches!(element(), Some(b'"' | b'n' | b']')),
        Role::Ttls => matches!(element(), Some(b'"' | b'n' | b']')) || is_number(element()),
        // Whatever it is, it counts for nothing.
        Role::Uid | Role::OrigH | Role::OrigP => true,
        Role::Other | Role::Id => false,
    }
}

/// Whether a string, as it stands between its quotes, may be a record or a header line as text, and where that begins:
/// an object, perhaps behind what syslog puts before it, or columns between tabs.
fn begins_record(text: &[u8]) -> Option<usize> {
    let lead = text.get(..MAX_LEAD).unwrap_or(text);
    match lead.first()? {
        b'{' | b'#' => return Some(0),
        _ => {}
    }
    // A quote inside is escaped; an object with a first member begins so.
    let object = memchr::memchr_iter(b'{', lead).find(|at| {
        let rest = text.get(at + 1..).unwrap_or_default().trim_ascii_start();
        rest.starts_with(b"\\\"")
    });
    object.or_else(|| memmem::find(lead, b"\\t").map(|_| 0))
}

/// Where the object begins that a line ends with, behind what syslog, a collector or `docker compose logs` has put before it.
pub(super) fn behind_prefix(line: &[u8]) -> Option<&[u8]> {
    let line = Some(line.trim_ascii_end()).filter(|line| line.ends_with(b"}"))?;
    let lead = line.get(..MAX_LEAD).unwrap_or(line);
    // An object with a first member begins so.
    let at = memchr::memchr_iter(b'{', lead)
        .find(|at| line.get(at + 1..).unwrap_or_default().trim_ascii_start().first() == Some(&b'"'))?;
    line.get(at..)
}

#[cfg(test)]
mod tests {
    use super::super::{Line, LogRecord, Options, Reader};
    use crate::tally::Malformed;
    use std::time::{Duration, Instant};

    const FLAT: &str = r#"{"ts":5.25,"uid":"C1","id.resp_h":"192.0.2.9","id.resp_p":5353,"query":"a.example","qclass":1,"qtype":1,"rcode":0,"answers":["192.0.2.7"],"TTLs":[60.0]}"#;
    const NESTED: &str = r#"{"ts":5.25,"id":{"resp_h":"192.0.2.9","resp_p":5353},"query":"a.example","qclass":1,"qtype":1,"rcode":0,"answers":["192.0.2.7"],"TTLs":[60.0]}"#;
    const BARE: &str =
        r#"{"query":"a.example","qclass":1,"qtype":1,"rcode":0,"answers":["192.0.2.7"],"TTLs":[60.0]}"#;

    fn read(line: &str) -> Result<LogRecord, Line> {
        let mut record = LogRecord::default();
        match Reader::new(&Options::default()).read(line.as_bytes(), &mut record) {
            Line::Record => Ok(record),
            other => Err(other),
        }
    }

    fn text(inner: &str) -> String {
        serde_json::to_string(inner).unwrap()
    }

    #[test]
    fn a_record_is_found_wherever_it_is_in_an_object() {
        let flat = read(FLAT).unwrap();
        let message = text(FLAT);
        let twice = text(&format!(r#"{{"log":{message}}}"#));
        for line in [
            NESTED.to_owned(),
            format!(r#"{{"dns":{FLAT}}}"#),
            format!(r#"{{"zeek":{{"dns":{NESTED}}}}}"#),
            format!(
                r#"{{"@timestamp":"2030-01-01T00:00:00Z","log":{{"offset":1}},"host":{{"ip":["192.0.2.1","192.0.2.2"]}},"zeek":{{"dns":{FLAT}}},"event":{{"kind":"event"}}}}"#
            ),
            format!(r#"{{"ts":7.0,"level":"info","event":{FLAT}}}"#),
            format!(r#"{{"a":{{"b":{{"c":{{"d":{{"query":"b.example","x":{NESTED}}}}}}}}}}}"#),
            format!(r#"{{"records":[{FLAT}]}}"#),
            format!(r#"{{"message":{message}}}"#),
            format!(
                r#"{{"@timestamp":"2030-01-01T00:00:00Z","message":{message},"log":{{"file":{{"path":"/x"}}}}}}"#
            ),
            format!(r#"{{"event":{{"original":{message}}},"ts":9.0}}"#),
            format!(r#"{{"message":{}}}"#, text(&format!("{FLAT}\r\n"))),
            format!(r#"{{"message":{}}}"#, text(&format!("<14>1 - s zeek {{x}} - - {FLAT}"))),
            format!(r#"{{"_raw":{twice}}}"#),
            format!("{FLAT},"),
            format!("[{FLAT},"),
            format!(" {FLAT}]"),
            format!("\u{feff}{FLAT}"),
            format!(
                r#"{{"@timestamp":"1970-01-01T00:00:05.250Z","destination":{{"ip":"192.0.2.9","port":5353}},"source":{{"port":1}},"dns":{{"answers":[{{"data":"x"}}],"question":{{"name":"y"}}}},"zeek":{{"dns":{BARE}}}}}"#
            ),
            format!(
                r#"{{"zeek":{{"ts":5.25,"dns":{BARE}}},"destination.address":"192.0.2.9","destination.port":5353,"@timestamp":"2030-01-01T00:00:00Z"}}"#
            ),
            format!(r#"{{"timestamp":5.25,"id":{{"resp_h":"192.0.2.9","resp_p":5353}},"dns":{BARE}}}"#),
            BARE.replace("{\"query", "{\"ts\":5.25,\"dest_ip\":\"192.0.2.9\",\"dest_port\":\"5353\",\"query"),
            FLAT.replace("\"uid", "\"zeek.dns.uid")
                .replace("\"q", "\"zeek.dns.q")
                .replace("\"id.", "\"zeek.dns.id."),
        ] {
            assert_eq!(read(&line).as_ref(), Ok(&flat), "{line}");
        }
    }

    #[test]
    fn a_tsv_log_may_be_in_texts() {
        let mut reader = Reader::new(&Options::default());
        let mut record = LogRecord::default();
        for header in ["#separator \\x09", "#path\tdns", "#fields\tts\tid.resp_p\tquery"] {
            let line = format!(r#"{{"message":{},"host":"s"}}"#, text(header));
            assert!(reader.is_directive(line.as_bytes()));
            assert_eq!(reader.read(line.as_bytes(), &mut record), Line::Directive);
        }
        let line = format!(r#"{{"message":{},"host":"s"}}"#, text("1.5\t53\ta\\x09é.example"));
        assert!(!reader.is_directive(line.as_bytes()));
        assert_eq!(reader.read(line.as_bytes(), &mut record), Line::Record);
        assert_eq!(record.query(), Some("a\té.example".as_bytes()));
        assert_eq!(reader.read(br##"{"message":"#close\t2024-04-12-19-34-07"}"##, &mut record), Line::Close);
    }

    #[test]
    fn what_is_of_another_log_is_said_to_be_and_two_records_in_one_line_are_none() {
        for line in [
            format!(r#"{{"_path":"conn","dns":{FLAT}}}"#),
            format!(r#"{{"zeek":{{"dns":{}}}}}"#, FLAT.replace("{\"ts", "{\"_path\":\"dns_red\",\"ts")),
            r#"{"@timestamp":"2030-01-01T00:00:00Z","zeek":{"conn":{"history":"ShAD"}}}"#.to_owned(),
            format!(r#"{{"message":{}}}"#, text(r#"{"_path":"http","ts":1.0}"#)),
        ] {
            assert_eq!(read(&line), Err(Line::OtherLog), "{line}");
        }
        for line in [
            format!(r#"{{"records":[{FLAT},{FLAT}]}}"#),
            format!(r#"{{"message":{}}}"#, text(&format!("{FLAT}\n{FLAT}"))),
            r#"{"message":"just a message"}"#.to_owned(),
            format!(r#"{{"message":{}}}"#, text(r#"{"msg":"no record"}"#)),
        ] {
            assert_eq!(read(&line), Err(Line::Malformed(Malformed::Time)), "{line}");
        }
        assert_eq!(read(&format!("{FLAT}{FLAT}")), Err(Line::Malformed(Malformed::Json)));
        assert_eq!(read(&format!(r#"{{"x":{{"y":[{FLAT}}}}}"#)), Err(Line::Malformed(Malformed::Json)));
        assert_eq!(
            read(&format!(r#"{{"dns":{}}}"#, FLAT.replace("[60.0]", "[1,2]"))),
            Err(Line::Malformed(Malformed::Value))
        );
    }

    #[test]
    fn hostile_nesting_is_linear() {
        const BYTES: usize = 1 << 18;
        let of = |piece: &str, end: &str| {
            let times = BYTES / (piece.len() + end.len());
            piece.repeat(times) + &end.repeat(times)
        };
        let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        let mut inside = FLAT.to_owned();
        while inside.len() < BYTES / 2 {
            inside = format!(r#"{{"message":{}}}"#, text(&inside));
        }
        for line in [
            of(r#"{"a":"#, "}"),
            format!(r#"{{"a":[{}]}}"#, of("[", "]")),
            format!(r#"{{"a":[{}1]}}"#, format!("{},", deep(60)).repeat(BYTES / 400)),
            format!(r#"{{{}"z":1}}"#, r#""a":{"query":"x"},"#.repeat(BYTES / 20)),
            format!(r#"{{{}"z":1}}"#, r#""a":"{\"b\":1}","#.repeat(BYTES / 20)),
            format!(r#"{{"a":"{}"}}"#, "{".repeat(BYTES)),
            format!(r#"{{"a":"{}"}}"#, "\\\\".repeat(BYTES / 2)),
            inside,
        ] {
            let begun = Instant::now();
            drop(read(&line));
            assert!(begun.elapsed() < Duration::from_millis(500), "{:?} {}", begun.elapsed(), &line[..60]);
        }
    }
}
