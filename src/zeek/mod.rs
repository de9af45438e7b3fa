//! Zeek's DNS log, line by line: from bytes to [`LogRecord`]s.
//!
//! A [`Reader`] belongs to one log. It tells TSV from JSON by the first byte of each line, never by a file's name;
//! keeps the header in force; and reads only the columns that the ledger needs. It does no I/O, knows no clock and
//! cannot fail: what cannot be read is [`Line::Malformed`] with its reason, and leaves no trace in the next line.
//!
//! What the records mean is [`crate::observe`]'s business. How each Zeek version writes is told in `docs/dev/typing.md`,
//! section 1.

mod envelope;
mod header;
mod json;
mod recognise;
mod record;
mod time;
mod tsv;
mod words;

use memchr::{memchr, memmem};

pub use recognise::Recogniser;
pub use record::LogRecord;

use self::header::{Directive, Header};
use crate::dns::RrType;
use crate::tally::Malformed;

/// How many texts may be in each other: a record in a message in a message.
const MAX_TEXTS_DEEP: usize = 3;

/// What a log does not say about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The columns of logs without a header (`LogAscii::include_meta=F`), by Zeek's names; empty when there are none.
    pub fields: Vec<String>,
    /// What separates the columns of logs without a header; a tab when not given.
    pub separator: Option<Vec<u8>>,
    /// What directives begin with (`LogAscii::meta_prefix`); `#` when not given.
    pub meta_prefix: Option<Vec<u8>>,
    /// Whether JSON strings are escaped as in TSV (`LogAscii::json_string_escape_policy=TSV`, since Zeek 9.0): then a
    /// backslash in a name was doubled. The other policies need no telling.
    pub json_tsv_escapes: bool,
}

/// What a line was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A directive, a line of column names, or a blank line: not a line of the log's accounting.
    Directive,
    /// `#close`: Zeek has finished this log.
    Close,
    /// A record; it is in the [`LogRecord`] given.
    Record,
    /// A record of another log than the DNS log, by `#path`, `_path` or `@stream`.
    OtherLog,
    /// Nothing that can be read.
    Malformed(Malformed),
}

/// Whether a TSV log begins with this line. In the middle of a file it is where another log was appended.
pub fn starts_log(line: &[u8]) -> bool {
    strip_hole(line).starts_with(b"#separator ")
}

/// Reads the lines of one log, in order.
#[derive(Debug, Clone)]
pub struct Reader {
    meta_prefix: Vec<u8>,
    json_tsv_escapes: bool,
    json_keys: json::Keys,
    outline: envelope::Outline,
    /// Texts in JSON strings with their escapes undone, one for each level.
    texts: Vec<Vec<u8>>,
    /// The columns configured.
    fields: Vec<Vec<u8>>,
    header: Header,
}

impl Reader {
    /// Begins a log at its start.
    pub fn new(options: &Options) -> Reader {
        Reader::with_header(options, &[])
    }

    /// Continues a log behind its header, which [`Reader::header`] gave; empty if there was none.
    pub fn with_header(options: &Options, header: &[u8]) -> Reader {
        let prefix = options.meta_prefix.as_deref().filter(|prefix| !prefix.is_empty()).unwrap_or(b"#");
        let mut reader = Reader {
            meta_prefix: prefix.to_vec(),
            json_tsv_escapes: options.json_tsv_escapes,
            json_keys: json::Keys::default(),
            outline: envelope::Outline::default(),
            texts: Vec::new(),
            fields: options.fields.iter().map(|field| field.clone().into_bytes()).collect(),
            header: Header::from_bytes(options.separator.as_deref(), header),
        };
        reader.complete_header();
        reader
    }

    /// The directives in force, as bytes for [`Reader::with_header`]; `None` if the log has shown none.
    pub fn header(&self) -> Option<Vec<u8>> {
        self.header.to_bytes()
    }

    /// Whether a line begins as a directive does, or holds a text that does. Cheap, and changes nothing.
    pub fn is_directive(&self, line: &[u8]) -> bool {
        let line = strip_hole(line);
        line.starts_with(&self.meta_prefix)
            || (line.first() == Some(&b'{')
                && memmem::find_iter(line, &self.meta_prefix)
                    .any(|at| at.checked_sub(1).and_then(|before| line.get(before)) == Some(&b'"')))
    }

    /// Reads a line, given without its newline; one carriage return at its end is ignored, and so are NULs at its
    /// start, which a log truncated under Zeek's hands begins with. `record` is emptied first.
    ///
    /// An element of an array is a line, too, with the bracket or comma that stands beside it.
    pub fn read(&mut self, line: &[u8], record: &mut LogRecord) -> Line {
        record.clear();
        let line = strip_hole(line.strip_suffix(b"\r").unwrap_or(line));
        let Some(&first) = line.first() else { return Line::Directive };
        if memchr(0, line).is_some() {
            return Line::Malformed(Malformed::Nul);
        }
        match first {
            b'{' => self.read_json(line, record, 0),
            0xef | b'[' | b']' | b',' | b' ' => self.read_odd(line, record),
            _ => self.read_text(line, record, 0),
        }
    }

    /// Reads a line that begins as none of Zeek's does: behind a byte order mark, or as a part of an array.
    fn read_odd(&mut self, line: &[u8], record: &mut LogRecord) -> Line {
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let is_array = self.header.roles.is_empty();
        let element = text.trim_ascii_start();
        let element = element.strip_prefix(b"[").filter(|_| is_array).unwrap_or(element).trim_ascii();
        match element {
            [b'{', ..] => self.read_json(element, record, 0),
            b"" | b"]" | b"]," | b"," if is_array => Line::Directive,
            _ => self.read_text(text, record, 0),
        }
    }

    fn read_text(&mut self, line: &[u8], record: &mut LogRecord, level: usize) -> Line {
        if let Some(directive) = line.strip_prefix(self.meta_prefix.as_slice()) {
            return self.read_directive(directive);
        }
        match line.first() {
            Some(b'{') => self.read_json(line, record, level),
            _ => self.read_columns(line, record),
        }
    }

    fn read_json(&mut self, line: &[u8], record: &mut LogRecord, level: usize) -> Line {
        let flat = match json::read(line, self.json_tsv_escapes, &mut self.json_keys, record) {
            json::Flat::Is(line) => return line,
            json::Flat::Unless(line) => line,
        };
        self.read_envelope(line, flat, record, level)
    }

    /// Reads an object in which something is missing; `flat` is what it is if that is nowhere in it.
    #[cold]
    fn read_envelope(&mut self, line: &[u8], flat: Line, record: &mut LogRecord, level: usize) -> Line {
        if !self.outline.note(line) {
            return flat;
        }
        if let Some(line) = self.outline.read(line, self.json_tsv_escapes, record) {
            return line;
        }
        let texts = self.outline.texts();
        let is_of_another_log = flat != Line::Record && self.outline.is_of_another_log();
        for &(start, end) in texts.iter().filter(|_| level < MAX_TEXTS_DEEP) {
            let Some(text) = line.get(start..end).filter(|text| !text.is_empty()) else { continue };
            if self.texts.len() <= level {
                self.texts.resize_with(level + 1, Vec::new);
            }
            let mut inner = self.texts.get_mut(level).map(std::mem::take).unwrap_or_default();
            inner.clear();
            let read =
                json::decode_text(text, &mut inner).and_then(|()| self.read_inner(&inner, record, level));
            if let Some(kept) = self.texts.get_mut(level) {
                *kept = inner;
            }
            if let Some(line) = read {
                return line;
            }
        }
        record.clear();
        if is_of_another_log {
            return Line::OtherLog;
        }
        if flat == Line::Record {
            json::read(line, self.json_tsv_escapes, &mut self.json_keys, record);
        }
        flat
    }

    /// Reads a text that was in a string, if it is a line of a log.
    fn read_inner(&mut self, text: &[u8], record: &mut LogRecord, level: usize) -> Option<Line> {
        record.clear();
        let end = text.iter().rposition(|b| !matches!(b, b'\n' | b'\r'))?;
        let text = text.get(..=end).filter(|text| memchr(b'\n', text).is_none())?;
        if memchr(0, text).is_some() {
            return Some(Line::Malformed(Malformed::Nul));
        }
        let is_json = text.first() == Some(&b'{');
        match self.read_text(text, record, level + 1) {
            Line::Record if is_json && !record.is_of_dns() => None,
            Line::Malformed(Malformed::Json | Malformed::Time) if is_json => None,
            line => Some(line),
        }
    }

    fn read_directive(&mut self, directive: &[u8]) -> Line {
        match self.header.read_directive(directive) {
            Directive::Close => Line::Close,
            Directive::Other => {
                self.complete_header();
                Line::Directive
            }
        }
    }

    fn read_columns(&mut self, line: &[u8], record: &mut LogRecord) -> Line {
        if self.header.other_log {
            return Line::OtherLog;
        }
        let read = match self.header.roles.is_empty() {
            true => self.read_behind_prefix(line, record).unwrap_or(Line::Malformed(Malformed::NoHeader)),
            false => tsv::read(&self.header, line, record),
        };
        match read {
            Line::Malformed(_) if self.header.read_column_line(line) => Line::Directive,
            Line::Record => {
                record.says_dns = self.header.says_dns();
                read
            }
            _ => read,
        }
    }

    /// Reads a record behind a prefix, in a line of which no header says what it is.
    #[cold]
    fn read_behind_prefix(&mut self, line: &[u8], record: &mut LogRecord) -> Option<Line> {
        let object = envelope::behind_prefix(line)?;
        match self.read_json(object, record, 0) {
            Line::Record if record.is_of_dns() => Some(Line::Record),
            Line::OtherLog => Some(Line::OtherLog),
            _ => {
                record.clear();
                None
            }
        }
    }

    /// Falls back to the columns configured while the log has named none.
    fn complete_header(&mut self) {
        if self.header.roles.is_empty() && !self.fields.is_empty() {
            self.header.set_columns(self.fields.clone());
        }
    }
}

/// Takes off the NULs that a line begins with when the file was truncated while Zeek had it open (`copytruncate`): Zeek
/// goes on writing at its old place, and what is before it reads as zeros.
fn strip_hole(line: &[u8]) -> &[u8] {
    match line {
        [0, ..] => line.get(line.iter().take_while(|&&b| b == 0).count()..).unwrap_or_default(),
        _ => line,
    }
}

/// A number of at most 16 bits, in decimal digits.
fn count(text: &[u8]) -> Option<u16> {
    if text.is_empty() || text.len() > 5 {
        return None;
    }
    let value = text
        .iter()
        .try_fold(0u32, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))?;
    u16::try_from(value).ok()
}

/// The number of a type that Zeek has named (`scripts/base/protocols/dns/consts.zeek`): a mnemonic, `*` for ANY, or
/// `query-65` for what it has no name for.
fn qtype_of_name(name: &[u8]) -> Option<u16> {
    let name = std::str::from_utf8(name).ok()?;
    match name {
        "*" => Some(RrType::ANY.0),
        "EDNS" => Some(RrType::OPT.0),
        "NB" => Some(RrType::NB.0),
        "NBSTAT" => Some(RrType::SRV.0), // the same number, on port 137
        "BINDS" => Some(RrType::BINDS.0),
        _ => match name.strip_prefix("query-") {
            Some(number) => count(number.as_bytes()),
            None => name.parse().ok().map(|RrType(number)| number),
        },
    }
}

#[cfg(test)]
mod tests {
    mod round_trip;

    use super::*;

    const HEADER: &[&str] = &[
        "#separator \\x09",
        "#set_separator\t,",
        "#empty_field\t(empty)",
        "#unset_field\t-",
        "#path\tdns",
        "#open\t2024-04-12-19-29-12",
        "#fields\tts\tuid\tid.resp_h\tid.resp_p\tquery\tqclass\tqtype\tqtype_name\trcode\tanswers\tTTLs",
        "#types\ttime\tstring\taddr\tport\tstring\tcount\tcount\tstring\tcount\tvector[string]\tvector[interval]",
    ];

    fn reader(lines: &[&str]) -> Reader {
        let mut reader = Reader::new(&Options::default());
        for line in lines {
            assert_eq!(reader.read(line.as_bytes(), &mut LogRecord::default()), Line::Directive, "{line}");
        }
        reader
    }

    fn read(reader: &mut Reader, line: &[u8]) -> LogRecord {
        let mut record = LogRecord::default();
        assert_eq!(reader.read(line, &mut record), Line::Record, "{}", line.escape_ascii());
        record
    }

    fn fate(reader: &mut Reader, line: &[u8]) -> Line {
        reader.read(line, &mut LogRecord::default())
    }

    fn answers(record: &LogRecord) -> Vec<(&[u8], u32)> {
        record.answers().collect()
    }

    const LINE: &[u8] = b"1521911720.865716\tCq\t10.0.0.100\t53\tise.wrccdc.org\t1\t1\tA\t0\tise.wrccdc.cpp.edu,134.71.3.16\t2230.000000,41830.000000";
    const JSON: &[u8] = br#"{"_path":"dns","_write_ts":"2018-03-24T17:15:20.866586Z","ts":"2018-03-24T17:15:20.865716Z","uid":"Cq","id.resp_h":"10.0.0.100","id.resp_p":53,"rtt":0.0008699893951416016,"query":"ise.wrccdc.org","qclass":1,"qtype":1,"qtype_name":"A","rcode":0,"AA":false,"answers":["ise.wrccdc.cpp.edu","134.71.3.16"],"TTLs":[2230.0,41830.0],"rejected":false}"#;

    #[test]
    fn tsv_and_json_of_one_record_are_equal() {
        let mut reader = reader(HEADER);
        let record = read(&mut reader, LINE);
        assert_eq!(record.ts_micros(), 1_521_911_720_865_716);
        assert_eq!(record.resp_h(), Some(&b"10.0.0.100"[..]));
        assert_eq!(
            (record.resp_p(), record.qclass(), record.qtype(), record.rcode()),
            (Some(53), Some(1), Some(1), Some(0))
        );
        assert_eq!(record.query(), Some(&b"ise.wrccdc.org"[..]));
        assert_eq!(record.opcode(), None);
        assert_eq!(answers(&record), [(&b"ise.wrccdc.cpp.edu"[..], 2230), (b"134.71.3.16", 41830)]);
        assert_eq!(read(&mut reader, JSON), record);
    }

    #[test]
    fn who_asked_is_taken_down_where_it_is_wanted_and_nowhere_else() {
        let header = |fields: &str| [HEADER[0], HEADER[4], fields].map(str::to_owned);
        let tsv = header("#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_p\tquery\tqtype");
        let text = b"5.5\tC1\t10.9.8.7\t4711\t53\ta.example\t1";
        let mut reader = reader(&tsv.each_ref().map(String::as_str));
        let json = [
            r#"{"ts":5.5,"uid":"C1","id.orig_h":"10.9.8.7","id.orig_p":4711,"id.resp_p":53,"query":"a.example","qtype":1}"#,
            r#"{"ts":5.5,"uid":"C1","id_orig_h":"10.9.8.7","id_orig_p":4711,"id_resp_p":53,"query":"a.example","qtype":1}"#,
            r#"{"ts":5.5,"uid":"C1","id":{"orig_h":"10.9.8.7","orig_p":4711,"resp_p":53},"query":"a.example","qtype":1}"#,
            r#"{"@timestamp":"1970-01-01T00:00:05.5Z","source":{"ip":"10.9.8.7","port":4711},"destination":{"port":53},"uid":"C1","zeek":{"dns":{"query":"a.example","qtype":1,"rcode":0}}}"#,
        ];
        for line in [&text[..]].into_iter().chain(json.map(str::as_bytes)) {
            let mut record = LogRecord::with_client();
            for _ in 0..2 {
                assert_eq!(reader.read(line, &mut record), Line::Record, "{}", line.escape_ascii());
                assert_eq!(
                    (record.uid(), record.orig_h(), record.orig_p()),
                    (Some(&b"C1"[..]), Some(&b"10.9.8.7"[..]), Some(4711)),
                    "{}",
                    line.escape_ascii()
                );
            }
            let plain = read(&mut reader, line);
            assert_eq!(plain, record);
            assert_eq!((plain.uid(), plain.orig_h(), plain.orig_p()), (None, None, None));
        }
        // What counts for nothing makes no line malformed.
        let odd = br#"{"ts":5.5,"uid":7,"id.orig_h":["x"],"id.orig_p":"no","id.resp_p":53,"query":"a.example","qtype":1}"#;
        let mut record = LogRecord::with_client();
        assert_eq!(reader.read(odd, &mut record), Line::Record);
        assert_eq!((record.uid(), record.orig_h(), record.orig_p()), (None, None, None));
        reader.read(text, &mut record);
        reader.read(b"5.5\t-\t-\t-\t53\ta.example\t1", &mut record);
        assert_eq!((record.uid(), record.orig_h(), record.orig_p()), (None, None, None));
    }

    #[test]
    fn a_record_leaves_no_trace_in_the_next() {
        let mut reader = reader(HEADER);
        let mut record = LogRecord::default();
        let bare = b"2.000000\tC\t-\t-\t-\t-\t-\t-\t-\t-\t-";
        for before in [
            LINE,
            JSON,
            b"{\"ts\":1.0,\"query\":\"x\",\"answers\":[\"y\"],",
            b"9.0\tC\t1.1.1.1\t53\tq\tx\t1\tA\t0\t-\t-",
        ] {
            reader.read(before, &mut record);
            assert_eq!(reader.read(bare, &mut record), Line::Record);
            assert_eq!(record, read(&mut reader, b"{\"ts\":2.0}"));
            assert_eq!((record.query(), record.qtype(), record.answers().count()), (None, None, 0));
        }
    }

    #[test]
    fn another_number_of_columns_is_malformed() {
        let mut reader = reader(HEADER);
        for line in [&b"1.0\tC"[..], b"1.0", &[LINE, b"\tmore"].concat(), &[LINE, LINE].concat(), b"x"] {
            assert_eq!(
                fate(&mut reader, line),
                Line::Malformed(Malformed::Columns),
                "{}",
                line.escape_ascii()
            );
        }
    }

    #[test]
    fn values_of_another_type_are_malformed() {
        let mut reader = reader(HEADER);
        for (line, reason) in [
            ("-\tC\t-\t-\tq\t1\t1\tA\t0\t-\t-", Malformed::Time),
            ("XXXXXXXXXX.XXXXXX\tC\t-\t-\tq\t1\t1\tA\t0\t-\t-", Malformed::Time),
            ("-1.000000\tC\t-\t-\tq\t1\t1\tA\t0\t-\t-", Malformed::Time),
            ("1.0\tC\t-\t65536\tq\t1\t1\tA\t0\t-\t-", Malformed::Value),
            ("1.0\tC\t-\t53\tq\t1\tA\tA\t0\t-\t-", Malformed::Value),
            ("1.0\tC\t-\t53\tq\t1\t1\tA\t0\ta,b\t1.0,x", Malformed::Value),
            ("1.0\tC\t-\t53\tq\t1\t1\tA\t0\ta,b\t1.0", Malformed::Value),
            ("1.0\tC\t-\t53\tq\t1\t1\tA\t0\ta\t-1.0", Malformed::Value),
        ] {
            assert_eq!(fate(&mut reader, line.as_bytes()), Line::Malformed(reason), "{line}");
        }
    }

    #[test]
    fn unset_and_empty_are_told_from_their_escaped_literals() {
        let mut reader = reader(HEADER);
        let query = |reader: &mut Reader, text: &str| {
            let line = format!("1.0\tC\t-\t53\t{text}\t1\t1\tA\t0\t-\t-");
            read(reader, line.as_bytes()).query().map(<[u8]>::to_vec)
        };
        assert_eq!(query(&mut reader, "-"), None);
        assert_eq!(query(&mut reader, "(empty)"), Some(Vec::new()));
        assert_eq!(query(&mut reader, r"\x2d"), Some(b"-".to_vec()));
        assert_eq!(query(&mut reader, r"\x28empty)"), Some(b"(empty)".to_vec()));
        assert_eq!(query(&mut reader, r"a\x09\\x\xC8\x0"), Some(b"a\x09\\x\xc8\\x0".to_vec()));
    }

    #[test]
    fn vectors_may_hold_empty_and_unset_elements_and_escaped_separators() {
        let mut reader = reader(HEADER);
        let mut vector = |answers: &str, ttls: &str| {
            let line = format!("1.0\tC\t-\t53\tq\t1\t1\tA\t0\t{answers}\t{ttls}");
            read(&mut reader, line.as_bytes()).answers().map(|(a, ttl)| (a.to_vec(), ttl)).collect::<Vec<_>>()
        };
        assert_eq!(
            vector(r"a\x2cb,(empty),-,c", "1.0,2.0,-,4294967295.000000"),
            [(b"a,b".to_vec(), 1), (Vec::new(), 2), (b"c".to_vec(), u32::MAX)]
        );
        // The root as the only answer, as of a null MX (RFC 7505), and no answers.
        assert_eq!(vector("(empty)", "300.000000"), [(Vec::new(), 300)]);
        assert_eq!(vector("(empty)", "(empty)"), []);
        assert_eq!(vector("-", "-"), []);
        assert_eq!(vector("a", "-"), [(b"a".to_vec(), 0)]);
        assert_eq!(vector("a", "99999999999.000000"), [(b"a".to_vec(), u32::MAX)]);
    }

    #[test]
    fn every_schema_since_2_0_is_read_by_name() {
        for (version, fields) in [
            (
                "2.0",
                "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto trans_id query qclass qclass_name qtype qtype_name rcode rcode_name QR AA TC RD RA Z TTL answers",
            ),
            (
                "2.4",
                "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto trans_id query qclass qclass_name qtype qtype_name rcode rcode_name AA TC RD RA Z answers TTLs rejected",
            ),
            (
                "6.2",
                "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto trans_id rtt query qclass qclass_name qtype qtype_name rcode rcode_name AA TC RD RA Z answers TTLs rejected",
            ),
            (
                "8.2",
                "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto trans_id rtt query qclass qclass_name qtype qtype_name rcode rcode_name AA TC RD RA Z answers TTLs rejected opcode opcode_name",
            ),
            (
                "extended",
                "_path _write_ts ts uid id_orig_h id_orig_p id_resp_h id_resp_p query original_query qtype qclass rcode answers TTLs auth addl",
            ),
        ] {
            let value = |field: &str| match field {
                "_path" => "dns",
                "ts" => "5.5",
                "id.resp_h" | "id_resp_h" => "192.0.2.1",
                "id.resp_p" | "id_resp_p" => "53",
                "query" => "a.example",
                "qtype" | "qclass" => "1",
                "rcode" => "0",
                "answers" => "192.0.2.7",
                _ => "-",
            };
            let mut reader =
                reader(&["#separator \\x09", &format!("#fields\t{}", fields.replace(' ', "\t"))]);
            let line: Vec<&str> = fields.split(' ').map(value).collect();
            let record = read(&mut reader, line.join("\t").as_bytes());
            let json = br#"{"ts":5.5,"id_resp_h":"192.0.2.1","id_resp_p":53,"query":"a.example","qclass":1,"qtype":1,"rcode":0,"answers":["192.0.2.7"]}"#;
            assert_eq!(record, read(&mut reader, json), "{version}");
        }
    }

    #[test]
    fn a_header_may_come_again_or_change_inside_a_file() {
        let mut reader = reader(HEADER);
        read(&mut reader, LINE);
        assert_eq!(fate(&mut reader, b"#close\t2024-04-12-19-34-07"), Line::Close);
        for line in ["#separator |", "#unset_field|NONE", "#fields|query|ts"] {
            assert!(reader.is_directive(line.as_bytes()));
            assert_eq!(fate(&mut reader, line.as_bytes()), Line::Directive);
        }
        let record = read(&mut reader, b"-|7.0");
        assert_eq!((record.query(), record.ts_micros()), (Some(&b"-"[..]), 7_000_000));
        assert_eq!(fate(&mut reader, LINE), Line::Malformed(Malformed::Columns));
    }

    #[test]
    fn separators_of_several_bytes_divide_columns_and_elements() {
        let mut reader =
            reader(&["#separator ||", "#set_separator||::", "#fields||ts||query||answers||TTLs"]);
        let record = read(&mut reader, br"1.0||a|b||x:y::\x3a\x3az||1.0::2.0");
        assert_eq!(record.query(), Some(&b"a|b"[..]));
        assert_eq!(answers(&record), [(&b"x:y"[..], 1), (b"::z", 2)]);
    }

    #[test]
    fn a_header_of_another_log_makes_its_records_other_log() {
        let mut reader = reader(&["#separator \\x09", "#path\tconn", "#fields\tts\tuid"]);
        assert_eq!(fate(&mut reader, b"1.0\tC"), Line::OtherLog);
        for json in [r#"{"_path":"conn","ts":1.0}"#, r#"{"ts":1.0,"@stream":"files","query":5}"#] {
            assert_eq!(fate(&mut reader, json.as_bytes()), Line::OtherLog, "{json}");
        }
    }

    #[test]
    fn without_a_header_columns_come_from_the_configuration_or_a_column_line() {
        assert_eq!(fate(&mut reader(&[]), LINE), Line::Malformed(Malformed::NoHeader));
        let fields = ["ts", "query"].map(String::from).to_vec();
        let options = Options { fields, separator: Some(b";".to_vec()), ..Options::default() };
        let mut configured = Reader::new(&options);
        assert_eq!(read(&mut configured, b"1.0;a.example").query(), Some(&b"a.example"[..]));
        assert_eq!(configured.header(), None);
        // What the log says of itself counts more.
        assert_eq!(fate(&mut configured, b"query;ts"), Line::Directive);
        assert_eq!(read(&mut configured, b"a.example;1.0").query(), Some(&b"a.example"[..]));
        fate(&mut configured, b"#separator ,");
        assert_eq!(read(&mut configured, b"1.0,b.example").query(), Some(&b"b.example"[..]));
        fate(&mut configured, b"#fields,uid,query,ts");
        assert_eq!(read(&mut configured, b"C,c.example,1.0").query(), Some(&b"c.example"[..]));

        let mut named = reader(&["ts\tuid\tid.resp_p\tquery", "ts\tuid\tid.resp_p\tquery"]);
        assert_eq!(read(&mut named, b"1.0\tC\t53\td.example").query(), Some(&b"d.example"[..]));
        assert_eq!(fate(&mut named, b"ts\tquery"), Line::Directive);
        assert_eq!(read(&mut named, b"1.0\te.example").query(), Some(&b"e.example"[..]));
    }

    #[test]
    fn a_log_is_continued_with_its_stored_header() {
        let mut log = reader(HEADER);
        let header = log.header().unwrap();
        let options = Options { meta_prefix: Some(b"PREFIX<>".to_vec()), ..Options::default() };
        let mut continued = Reader::with_header(&options, &header);
        assert_eq!(read(&mut continued, LINE), read(&mut log, LINE));
        assert_eq!(continued.header(), Some(header));
        assert_eq!(reader(&[]).header(), None);
    }

    #[test]
    fn directives_may_have_a_prefix_of_their_own() {
        let options = Options { meta_prefix: Some(b"PREFIX<>".to_vec()), ..Options::default() };
        let mut reader = Reader::new(&options);
        for line in ["PREFIX<>separator |", "PREFIX<>path|dns", "PREFIX<>fields|ts|query"] {
            assert_eq!(fate(&mut reader, line.as_bytes()), Line::Directive);
        }
        assert_eq!(read(&mut reader, b"1.0|a").query(), Some(&b"a"[..]));
        assert_eq!(fate(&mut reader, b"PREFIX<>close|now"), Line::Close);
        assert!(!reader.is_directive(b"#close"));
    }

    #[test]
    fn blank_lines_and_carriage_returns_do_not_matter() {
        let mut reader = reader(&["", "\r", "#separator \\x09\r", "#fields\tts\tquery\r"]);
        assert_eq!(read(&mut reader, b"1.0\ta\r").query(), Some(&b"a"[..]));
        assert_eq!(read(&mut reader, b"{\"ts\":1.0,\"query\":\"a\"}\r").query(), Some(&b"a"[..]));
    }

    #[test]
    fn a_hole_before_a_record_is_passed_over_and_nuls_inside_are_malformed() {
        let mut reader = reader(&["\0\0\0#separator \\x09", "#fields\tts\tquery", "\0\0\0\0"]);
        assert!(starts_log(b"\0\0#separator \\x09") && !starts_log(b"#fields"));
        assert_eq!(read(&mut reader, b"\0\0\x001.0\ta").query(), Some(&b"a"[..]));
        assert_eq!(read(&mut reader, b"\0{\"ts\":1.0,\"query\":\"a\"}").query(), Some(&b"a"[..]));
        for line in [&b"1.0\ta\0"[..], b"1.0\0\0\0", b"{\"ts\":1.0,\"query\":\"a\0\"}", b"#fields\tts\0\0"] {
            assert_eq!(fate(&mut reader, line), Line::Malformed(Malformed::Nul), "{}", line.escape_ascii());
        }
        read(&mut reader, b"1.0\ta");
    }

    #[test]
    fn a_missing_qtype_is_taken_from_its_name() {
        let mut reader = reader(&["#separator \\x09", "#fields\tts\tqtype_name"]);
        for (name, qtype) in [
            ("A", Some(1)),
            ("*", Some(255)),
            ("query-65", Some(65)),
            ("query-65536", None),
            ("NB", Some(32)),
            ("NBSTAT", Some(33)),
            ("EDNS", Some(41)),
            ("BINDS", Some(65534)),
            ("nonsense", None),
            ("-", None),
        ] {
            let record = read(&mut reader, format!("1.0\t{name}").as_bytes());
            assert_eq!(record.qtype(), qtype, "{name}");
            if name != "-" {
                let json = format!(r#"{{"ts":1.0,"qtype_name":"{name}"}}"#);
                assert_eq!(read(&mut reader, json.as_bytes()), record);
            }
        }
        assert_eq!(read(&mut reader, br#"{"ts":1.0,"qtype":28,"qtype_name":"A"}"#).qtype(), Some(28));
    }

    #[test]
    fn json_may_be_spaced_nested_null_and_in_any_order() {
        let mut reader = reader(&[]);
        let record = read(
            &mut reader,
            br#" {"x":[[{"a":"]}\"","b":[1,-2.5e3,true,null]}],{}] , "TTLs" : [ 5.0 , null,1e12 ], "answers":["a",null,"c"],
               "query":null,"qtype":null,"log":{"file":{"path":"/x"}},"ts":1.5}  "#.strip_prefix(b" ").unwrap(),
        );
        assert_eq!((record.query(), record.qtype(), record.ts_micros()), (None, None, 1_500_000));
        assert_eq!(answers(&record), [(&b"a"[..], 5), (b"c", u32::MAX)]);
        assert_eq!(
            read(&mut reader, br#"{"ts":1.5,"answers":null,"TTLs":[],"_path":null,"qtype_name":null}"#)
                .answers()
                .count(),
            0
        );
        assert_eq!(answers(&read(&mut reader, br#"{"ts":1.5,"answers":[""],"TTLs":[1]}"#)), [(&b""[..], 1)]);
    }

    #[test]
    fn keys_met_before_change_nothing() {
        let mut reader = reader(&[]);
        let plain = br#"{"ts":2.0,"qtype":1,"query":"a","rcode":3}"#;
        let expected = read(&mut reader.clone(), plain);
        let many: Vec<String> = (0..100).map(|at| format!(r#""key{at}":{at}"#)).collect();
        let long = "k".repeat(100);
        for before in [
            r#"{"rcode":3,"query":"a","ts":2.0,"qtype":1}"#.to_string(),
            r#"{ "ts" : 2.0 , "qtype" : 1 , "query" : "a" , "rcode" : 3 }"#.to_string(),
            format!(r#"{{{},"ts":2.0,"qtype":1,"query":"a","rcode":3}}"#, many.join(",")),
            format!(r#"{{"ts":2.0,"qtype":1,"{long}":[],"\"ts\":":5,"query":"a","rcode":3}}"#),
            r#"{"ts":1.0,"qtype":28,"ts":2.0,"qtype":1,"query":"b","query":"a","rcode":3}"#.to_string(),
        ] {
            assert_eq!(read(&mut reader, before.as_bytes()), expected, "{before}");
            assert_eq!(read(&mut reader, plain), expected, "{before}");
        }
    }

    #[test]
    fn what_is_no_json_object_of_the_right_types_is_malformed() {
        let mut reader = reader(&[]);
        let deep = format!(r#"{{"ts":1.0,"x":{}1{}}}"#, "[".repeat(65), "]".repeat(65));
        for (line, reason) in [
            ("{", Malformed::Json),
            ("{}x", Malformed::Json),
            ("{}", Malformed::Time),
            (r#"{"ts":1.0"#, Malformed::Json),
            (r#"{"ts":1.0,}"#, Malformed::Json),
            (r#"{"ts":1.0}{"ts":1.0}"#, Malformed::Json),
            (r#"{"ts":1.0,"x":[1}"#, Malformed::Json),
            (r#"{"ts":1.0,"x":[1}}"#, Malformed::Json),
            (r#"{"ts":1.0,"x":nul}"#, Malformed::Json),
            (r#"{"ts":1.0,"x":}"#, Malformed::Json),
            (r#"{"ts":1.0,"x":"\"}"#, Malformed::Json),
            (r#"{"ts":1.0,"query":"\q"}"#, Malformed::Json),
            (r#"{"ts":1.0,"query":"\ud800"}"#, Malformed::Json),
            (r#"{"ts":1.0,"query":"\ud800\u0041"}"#, Malformed::Json),
            (r#"{"ts":1.0,"query":"\u00g0"}"#, Malformed::Json),
            (r#"{"ts":1.0,"query":7}"#, Malformed::Json),
            (r#"{"ts":1.0,"qtype":"1"}"#, Malformed::Json),
            (r#"{"ts":1.0,"qtype":true}"#, Malformed::Json),
            (r#"{"ts":1.0,"qtype":65536}"#, Malformed::Value),
            (r#"{"ts":1.0,"answers":7}"#, Malformed::Json),
            (r#"{"ts":1.0,"query":"a","qtype":1,"answers":{"0":"a"}}"#, Malformed::Value),
            (r#"{"ts":1.0,"answers":["a","b"],"TTLs":[1.0]}"#, Malformed::Value),
            (r#"{"ts":1.0,"TTLs":[-1.0]}"#, Malformed::Value),
            (r#"{"query":"a"}"#, Malformed::Time),
            (r#"{"ts":null}"#, Malformed::Time),
            (r#"{"ts":-315619200.0}"#, Malformed::Time),
            (r#"{"ts":"XXXXXXXXXX.XXXXXX"}"#, Malformed::Time),
            (&deep, Malformed::Json),
        ] {
            assert_eq!(fate(&mut reader, line.as_bytes()), Line::Malformed(reason), "{line}");
        }
    }

    #[test]
    fn one_element_may_stand_for_an_array_of_one_and_numbers_may_be_quoted() {
        let plain =
            br#"{"ts":1.0,"id.resp_p":53,"query":"a","qtype":1,"answers":["192.0.2.1"],"TTLs":[60.0]}"#;
        let plain = read(&mut reader(&[]), plain);
        for (answers, ttls) in
            [(r#""192.0.2.1""#, "60.0"), (r#""192.0.2.1""#, r#""60.0""#), (r#"["192.0.2.1"]"#, r#"["60.0"]"#)]
        {
            let line = format!(
                r#"{{"ts":1.0,"id.resp_p":53,"query":"a","qtype":1,"answers":{answers},"TTLs":{ttls}}}"#
            );
            assert_eq!(read(&mut reader(&[]), line.as_bytes()), plain, "{line}");
            // In an object of a shipper, too.
            assert_eq!(read(&mut reader(&[]), format!(r#"{{"dns":{line}}}"#).as_bytes()), plain, "{line}");
        }
    }

    #[test]
    fn a_record_may_stand_behind_what_a_collector_puts_before_each_line() {
        let json = std::str::from_utf8(JSON).unwrap();
        let plain = read(&mut reader(&[]), JSON);
        for prefix in [
            "Apr 19 00:00:00 sensor zeek_dns: ",
            "<14>1 2024-04-19T00:00:00Z sensor zeek - - - @cee: ",
            "2024-04-19T00:00:00+00:00\tzeek.dns\t",
            "zeek_1  | ",
            "\u{1e}",
        ] {
            let line = format!("{prefix}{json}");
            assert_eq!(read(&mut reader(&[]), line.as_bytes()), plain, "{line}");
        }
        for line in
            ["Apr 19 sensor app: {\"level\":\"info\",\"ts\":1.0}", "text {", "{} }", "x {\"query\":1}"]
        {
            assert!(matches!(fate(&mut reader(&[]), line.as_bytes()), Line::Malformed(_)), "{line}");
        }
        // Behind a header a line is columns, whatever is in them.
        let line = format!("prefix {json}");
        assert_eq!(fate(&mut reader(HEADER), line.as_bytes()), Line::Malformed(Malformed::Columns));
    }

    #[test]
    fn each_way_of_writing_a_byte_in_json_gives_that_byte() {
        let mut reader = reader(&[]);
        for (version, text) in [
            ("2.6", r#"a\u0000\u00e9\u0022\u005c"#),
            ("3.0", r#"a\\x00\\xe9\"\\"#),
            ("8.1", r#"a\u0000\\xe9\"\\"#),
            ("9.0, PUA", r#"a\udb80\udc00\udb80\udce9\"\\"#),
        ] {
            let line = format!(r#"{{"ts":1.0,"query":"{text}","answers":["{text}"]}}"#);
            let record = read(&mut reader, line.as_bytes());
            assert_eq!(record.query(), Some(&b"a\0\xe9\"\\"[..]), "{version}");
            assert_eq!(answers(&record), [(&b"a\0\xe9\"\\"[..], 0)], "{version}");
        }
        let line = r#"{"ts":1.0,"query":"é\u20a1\ud83d\ude80\/\b\f\n\r\t"}"#;
        assert_eq!(read(&mut reader, line.as_bytes()).query(), Some("é₡🚀/\u{8}\u{c}\n\r\t".as_bytes()));
    }
}
