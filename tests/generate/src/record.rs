//! One record of a DNS log, and the text Zeek makes of it.
//!
//! The text is that of Zeek 4.2 and later: `src/threading/formatters/Ascii.cc` and `JSON.cc`, `src/Desc.cc`
//! (`ODesc::AddBytes`), `src/util.cc` (`escape_utf8`). Columns are those of Zeek 8.0.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;

use jiff::Timestamp;

/// Column names and types of dns.log, in their order.
const COLUMNS: [(&str, &str); 24] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("trans_id", "count"),
    ("rtt", "interval"),
    ("query", "string"),
    ("qclass", "count"),
    ("qclass_name", "string"),
    ("qtype", "count"),
    ("qtype_name", "string"),
    ("rcode", "count"),
    ("rcode_name", "string"),
    ("AA", "bool"),
    ("TC", "bool"),
    ("RD", "bool"),
    ("RA", "bool"),
    ("Z", "count"),
    ("answers", "vector[string]"),
    ("TTLs", "vector[interval]"),
    ("rejected", "bool"),
];
const UNSET: &[u8] = b"-";
const EMPTY: &[u8] = b"(empty)";

//--- Format ---------------------------------------------------------------------------------------------------------

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tab-separated, with a header: Zeek's default.
    Tsv,
    /// One object a line, no header.
    Json {
        /// How times are written.
        times: JsonTimes,
        /// Whether each object begins with `_path` and `_write_ts`, as the package json-streaming-logs has it.
        path: bool,
    },
}

/// `LogAscii::json_timestamps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonTimes {
    /// Seconds as a number with a fraction, Zeek's default.
    Epoch,
    /// Milliseconds, whole.
    Millis,
    /// `2018-03-24T17:15:20.865716Z`.
    Iso8601,
}

impl Format {
    /// The lines a log begins with when it is opened at this second. Zeek writes each with a `write` of its own.
    pub fn header(self, opened: u64) -> Vec<String> {
        if self != Format::Tsv {
            return Vec::new();
        }
        let columns = |word: &str, pick: fn(&(&'static str, &'static str)) -> &'static str| {
            COLUMNS.iter().fold(word.to_owned(), |line, column| line + "\t" + pick(column)) + "\n"
        };
        vec![
            "#separator \\x09\n".to_owned(),
            "#set_separator\t,\n".to_owned(),
            "#empty_field\t(empty)\n".to_owned(),
            "#unset_field\t-\n".to_owned(),
            "#path\tdns\n".to_owned(),
            format!("#open\t{}\n", dashed(opened)),
            columns("#fields", |column| column.0),
            columns("#types", |column| column.1),
        ]
    }

    /// The line a log ends with when it is closed in order at this second.
    pub fn close(self, closed: u64) -> Option<String> {
        (self == Format::Tsv).then(|| format!("#close\t{}\n", dashed(closed)))
    }
}

/// `2024-04-12-19-29-12`, as in `#open` and in the names of rotated logs.
pub(super) fn dashed(secs: u64) -> String {
    time_as("%Y-%m-%d-%H-%M-%S", secs)
}

/// A time in seconds since the epoch as text, in UTC; see [`jiff::fmt::strtime`].
pub(super) fn time_as(format: &str, secs: u64) -> String {
    let time = Timestamp::from_second(secs.cast_signed()).unwrap_or(Timestamp::MAX);
    time.strftime(format).to_string()
}

//--- Record ---------------------------------------------------------------------------------------------------------

/// One record. Texts are raw bytes, as they were on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When the query was seen, in microseconds since the epoch.
    pub ts_micros: u64,
    /// When the record is written, in microseconds since the epoch; never before an earlier record's.
    pub written_micros: u64,
    /// The connection: `C` and 17 random letters and digits.
    pub uid: [u8; 18],
    /// The client.
    pub orig_h: IpAddr,
    /// The client's port.
    pub orig_p: u16,
    /// The server.
    pub resp_h: IpAddr,
    /// The server's port.
    pub resp_p: u16,
    /// `udp` or `tcp`.
    pub proto: &'static str,
    /// The identifier of query and reply.
    pub trans_id: u16,
    /// From query to reply, in microseconds; only where a reply held an answer.
    pub rtt_micros: Option<u64>,
    /// The name that was asked; empty is the root.
    pub query: Option<Vec<u8>>,
    /// The question's class.
    pub qclass: Option<u16>,
    /// The question's type.
    pub qtype: Option<u16>,
    /// How the reply ended; unset when there was none.
    pub rcode: Option<u16>,
    /// Authoritative answer.
    pub aa: bool,
    /// Recursion desired.
    pub rd: bool,
    /// Recursion available.
    pub ra: bool,
    /// The answers with their TTLs; none at all is logged as unset.
    pub answers: Vec<(Vec<u8>, u32)>,
    /// A reply without any record.
    pub rejected: bool,
}

impl Record {
    /// Appends the record as one line, newline included.
    pub fn push_line(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Tsv => self.push_tsv(out),
            Format::Json { times, path } => self.push_json(times, path, out),
        }
    }

    fn push_tsv(&self, out: &mut Vec<u8>) {
        let seconds = |micros: u64| Text(move |f| write!(f, "{}.{:06}", micros / MICROS, micros % MICROS));
        let mut row = Row { out, first: true };
        row.put(seconds(self.ts_micros));
        row.text(&self.uid);
        row.put(self.orig_h);
        row.put(self.orig_p);
        row.put(self.resp_h);
        row.put(self.resp_p);
        row.put(self.proto);
        row.put(self.trans_id);
        row.put_if(self.rtt_micros.map(seconds));
        match &self.query {
            Some(query) => row.text(query),
            None => row.unset(),
        }
        row.put_if(self.qclass);
        row.put_if(self.qclass.map(|class| Text(move |f| push_qclass_name(class, f))));
        row.put_if(self.qtype);
        row.put_if(self.qtype.map(|qtype| Text(move |f| push_qtype_name(qtype, f))));
        row.put_if(self.rcode);
        row.put_if(self.rcode.map(rcode_name));
        for flag in [self.aa, false, self.rd, self.ra] {
            row.put(if flag { 'T' } else { 'F' });
        }
        row.put(0);
        row.next();
        for (at, (answer, _)) in self.answers.iter().enumerate() {
            if at > 0 {
                row.out.push(b',');
            }
            push_tsv_text(answer, true, row.out);
        }
        row.unset_if(self.answers.is_empty());
        row.next();
        for (at, (_, ttl)) in self.answers.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            push(row.out, format_args!("{comma}{ttl}.000000"));
        }
        row.unset_if(self.answers.is_empty());
        row.put(if self.rejected { 'T' } else { 'F' });
        out.push(b'\n');
    }

    fn push_json(&self, times: JsonTimes, path: bool, out: &mut Vec<u8>) {
        let time = |micros: u64| {
            Text(move |f| match times {
                JsonTimes::Epoch => write!(f, "{:?}", micros as f64 / MICROS as f64),
                JsonTimes::Millis => write!(f, "{}", (micros as f64 / MICROS as f64 * 1_000.0) as u64),
                JsonTimes::Iso8601 => {
                    let text = time_as("%Y-%m-%dT%H:%M:%S", micros / MICROS);
                    write!(f, "\"{text}.{:06}Z\"", micros % MICROS)
                }
            })
        };
        let mut object = Object { out, first: true };
        object.out.push(b'{');
        if path {
            object.text("_path", b"dns");
            object.put("_write_ts", time(self.written_micros));
        }
        object.put("ts", time(self.ts_micros));
        object.text("uid", &self.uid);
        object.put("id.orig_h", Text(|f| write!(f, "\"{}\"", self.orig_h)));
        object.put("id.orig_p", self.orig_p);
        object.put("id.resp_h", Text(|f| write!(f, "\"{}\"", self.resp_h)));
        object.put("id.resp_p", self.resp_p);
        object.text("proto", self.proto.as_bytes());
        object.put("trans_id", self.trans_id);
        if let Some(rtt) = self.rtt_micros {
            // Zeek subtracts two times that are doubles, and writes all that this leaves.
            let rtt = (self.ts_micros + rtt) as f64 / MICROS as f64 - self.ts_micros as f64 / MICROS as f64;
            object.put("rtt", Text(move |f| write!(f, "{rtt:?}")));
        }
        if let Some(query) = &self.query {
            object.text("query", query);
        }
        if let Some(class) = self.qclass {
            object.put("qclass", class);
            object.put("qclass_name", Text(move |f| quoted(f, |f| push_qclass_name(class, f))));
        }
        if let Some(qtype) = self.qtype {
            object.put("qtype", qtype);
            object.put("qtype_name", Text(move |f| quoted(f, |f| push_qtype_name(qtype, f))));
        }
        if let Some(rcode) = self.rcode {
            object.put("rcode", rcode);
            object.text("rcode_name", rcode_name(rcode).as_bytes());
        }
        for (key, flag) in [("AA", self.aa), ("TC", false), ("RD", self.rd), ("RA", self.ra)] {
            object.put(key, flag);
        }
        object.put("Z", 0);
        if !self.answers.is_empty() {
            object.key("answers");
            for (at, (answer, _)) in self.answers.iter().enumerate() {
                object.out.push(if at > 0 { b',' } else { b'[' });
                push_json_text(answer, object.out);
            }
            object.out.push(b']');
            object.key("TTLs");
            for (at, (_, ttl)) in self.answers.iter().enumerate() {
                let before = if at > 0 { ',' } else { '[' };
                push(object.out, format_args!("{before}{ttl}.0"));
            }
            object.out.push(b']');
        }
        object.put("rejected", self.rejected);
        out.extend_from_slice(b"}\n");
    }
}

const MICROS: u64 = 1_000_000;

/// Something to be written by a function.
struct Text<F: Fn(&mut std::fmt::Formatter<'_>) -> std::fmt::Result>(F);

impl<F: Fn(&mut std::fmt::Formatter<'_>) -> std::fmt::Result> std::fmt::Display for Text<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (self.0)(f)
    }
}

fn quoted(
    f: &mut std::fmt::Formatter<'_>,
    inside: impl FnOnce(&mut std::fmt::Formatter<'_>) -> std::fmt::Result,
) -> std::fmt::Result {
    f.write_char('"')?;
    inside(f)?;
    f.write_char('"')
}

/// Writes to memory, which cannot fail.
fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}

/// A line of fields being written.
struct Row<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Row<'_> {
    fn next(&mut self) {
        if !self.first {
            self.out.push(b'\t');
        }
        self.first = false;
    }

    fn put(&mut self, field: impl std::fmt::Display) {
        self.next();
        push(self.out, format_args!("{field}"));
    }

    fn put_if(&mut self, field: Option<impl std::fmt::Display>) {
        match field {
            Some(field) => self.put(field),
            None => self.unset(),
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        self.next();
        push_tsv_text(bytes, false, self.out);
    }

    fn unset(&mut self) {
        self.next();
        self.unset_if(true);
    }

    fn unset_if(&mut self, unset: bool) {
        if unset {
            self.out.extend_from_slice(UNSET);
        }
    }
}

/// An object being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Object<'_> {
    fn key(&mut self, key: &str) {
        let comma = if self.first { "" } else { "," };
        self.first = false;
        push(self.out, format_args!("{comma}\"{key}\":"));
    }

    fn put(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        push(self.out, format_args!("{value}"));
    }

    fn text(&mut self, key: &str, bytes: &[u8]) {
        self.key(key);
        push_json_text(bytes, self.out);
    }
}

//--- Names of numbers -----------------------------------------------------------------------------------------------

/// As `base/protocols/dns/consts.zeek` has them; `*` for 255 is Zeek's own.
fn push_qtype_name(qtype: u16, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    f.write_str(match qtype {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        32 => "NIMLOC",
        33 => "SRV",
        35 => "NAPTR",
        39 => "DNAME",
        43 => "DS",
        46 => "RRSIG",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        252 => "AXFR",
        255 => "*",
        257 => "CAA",
        other => return write!(f, "query-{other}"),
    })
}

fn push_qclass_name(qclass: u16, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    match qclass {
        1 => f.write_str("C_INTERNET"),
        3 => f.write_str("C_CHAOS"),
        other => write!(f, "qclass-{other}"),
    }
}

fn rcode_name(rcode: u16) -> &'static str {
    match rcode {
        0 => "NOERROR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        5 => "REFUSED",
        _ => "NOTIMP",
    }
}

//--- Escapes --------------------------------------------------------------------------------------------------------

/// Appends a string as TSV shows it, in a field of its own or as one of a vector.
///
/// `\` is doubled; the separators are written `\xHH`; and between those, bytes that are not printable are written so
/// too, unless the whole piece is valid UTF-8. A string that reads like "unset" or "empty" has its first byte escaped.
pub(super) fn push_tsv_text(bytes: &[u8], in_vector: bool, out: &mut Vec<u8>) {
    let rest = match bytes {
        [] => return out.extend_from_slice(EMPTY),
        [first, rest @ ..] if bytes == UNSET || bytes == EMPTY => {
            push_hex(*first, out);
            rest
        }
        _ => bytes,
    };
    let special = |byte: &u8| matches!(byte, b'\\' | b'\t') || (in_vector && *byte == b',');
    for piece in rest.split_inclusive(special) {
        match piece.split_last() {
            Some((last, before)) if special(last) => {
                push_piece(before, |_| false, out);
                if *last == b'\\' {
                    out.extend_from_slice(b"\\\\");
                } else {
                    push_hex(*last, out);
                }
            }
            _ => push_piece(piece, |_| false, out),
        }
    }
}

/// Appends a string as JSON shows it, quotes included: first as a TSV piece, then as JSON wants its strings.
pub(super) fn push_json_text(bytes: &[u8], out: &mut Vec<u8>) {
    let mut piece = Vec::with_capacity(bytes.len());
    push_piece(bytes, |byte| matches!(byte, 0x08 | 0x09 | 0x0a | 0x0c | 0x0d), &mut piece);
    out.push(b'"');
    for byte in piece {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

/// `escape_utf8`: as it is when all of it is printable UTF-8 (or a byte to be kept), else each byte that is not
/// printable ASCII (or to be kept) as `\xHH`.
fn push_piece(bytes: &[u8], keep: fn(u8) -> bool, out: &mut Vec<u8>) {
    let plain = |byte: u8| matches!(byte, 0x20..=0x7e) || keep(byte);
    let printable = |c: char| match u32::from(c) {
        code @ 0..=0x7f => plain(code as u8),
        // C1 controls, a private-use area, and the specials with the noncharacters behind them.
        code => !matches!(code, 0x80..=0x9f | 0xe000..=0xf8ff | 0xfff0..=0xffff),
    };
    let all_plain = bytes.iter().all(|&byte| plain(byte));
    if all_plain || std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(printable)) {
        return out.extend_from_slice(bytes);
    }
    for &byte in bytes {
        if plain(byte) {
            out.push(byte);
        } else {
            push_hex(byte, out);
        }
    }
}

fn push_hex(byte: u8, out: &mut Vec<u8>) {
    push(out, format_args!("\\x{byte:02x}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        Record {
            ts_micros: 1_521_911_720_865_716,
            written_micros: 1_521_911_720_866_586,
            uid: *b"CqKst53mF3det3eDV9",
            orig_h: [10, 47, 1, 100].into(),
            orig_p: 41_772,
            resp_h: [10, 0, 0, 100].into(),
            resp_p: 53,
            proto: "udp",
            trans_id: 36_329,
            rtt_micros: Some(870),
            query: Some(b"www.koralu.example".to_vec()),
            qclass: Some(1),
            qtype: Some(1),
            rcode: Some(0),
            aa: false,
            rd: true,
            ra: true,
            answers: vec![(b"edge.koralu.example".to_vec(), 2_230), (b"192.0.2.16".to_vec(), 41_830)],
            rejected: false,
        }
    }

    fn line(record: &Record, format: Format) -> String {
        let mut out = Vec::new();
        record.push_line(format, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn tsv(bytes: &[u8], in_vector: bool) -> Vec<u8> {
        let mut out = Vec::new();
        push_tsv_text(bytes, in_vector, &mut out);
        out
    }

    fn json(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push_json_text(bytes, &mut out);
        out
    }

    #[test]
    fn a_record_is_one_line_of_tabs() {
        assert_eq!(
            line(&sample(), Format::Tsv),
            "1521911720.865716\tCqKst53mF3det3eDV9\t10.47.1.100\t41772\t10.0.0.100\t53\tudp\t36329\t0.000870\t\
             www.koralu.example\t1\tC_INTERNET\t1\tA\t0\tNOERROR\tF\tF\tT\tT\t0\t\
             edge.koralu.example,192.0.2.16\t2230.000000,41830.000000\tF\n"
        );
    }

    #[test]
    fn a_record_is_one_json_object() {
        assert_eq!(
            line(&sample(), Format::Json { times: JsonTimes::Iso8601, path: true }),
            "{\"_path\":\"dns\",\"_write_ts\":\"2018-03-24T17:15:20.866586Z\",\
             \"ts\":\"2018-03-24T17:15:20.865716Z\",\"uid\":\"CqKst53mF3det3eDV9\",\
             \"id.orig_h\":\"10.47.1.100\",\"id.orig_p\":41772,\"id.resp_h\":\"10.0.0.100\",\"id.resp_p\":53,\
             \"proto\":\"udp\",\"trans_id\":36329,\"rtt\":0.0008699893951416016,\
             \"query\":\"www.koralu.example\",\"qclass\":1,\"qclass_name\":\"C_INTERNET\",\"qtype\":1,\
             \"qtype_name\":\"A\",\"rcode\":0,\"rcode_name\":\"NOERROR\",\"AA\":false,\"TC\":false,\"RD\":true,\
             \"RA\":true,\"Z\":0,\"answers\":[\"edge.koralu.example\",\"192.0.2.16\"],\"TTLs\":[2230.0,41830.0],\
             \"rejected\":false}\n"
        );
        let epoch = line(&sample(), Format::Json { times: JsonTimes::Epoch, path: false });
        assert!(epoch.starts_with("{\"ts\":1521911720.865716,\"uid\""), "{epoch}");
        let millis = line(&sample(), Format::Json { times: JsonTimes::Millis, path: false });
        assert!(millis.starts_with("{\"ts\":1521911720865,\"uid\""), "{millis}");
    }

    #[test]
    fn what_is_unset_is_a_dash_or_absent() {
        let record = Record {
            rtt_micros: None,
            query: None,
            qclass: None,
            qtype: None,
            rcode: None,
            answers: Vec::new(),
            ..sample()
        };
        let text = line(&record, Format::Tsv);
        assert_eq!(text.split('\t').filter(|field| *field == "-").count(), 10, "{text}");
        assert_eq!(text.split('\t').count(), COLUMNS.len());
        let text = line(&record, Format::Json { times: JsonTimes::Epoch, path: false });
        for key in ["rtt", "query", "qclass", "qtype", "rcode", "answers", "TTLs", "null"] {
            assert!(!text.contains(key), "{key} in {text}");
        }
    }

    #[test]
    fn the_header_is_zeeks_to_the_byte() {
        let lines = Format::Tsv.header(1_712_950_152);
        let text = lines.concat();
        assert_eq!((lines.len(), text.len()), (8, 442));
        assert_eq!(&text[79..106], "#open\t2024-04-12-19-29-12\n#");
        assert!(text.ends_with("\tvector[string]\tvector[interval]\tbool\n"));
        assert_eq!(Format::Tsv.close(1_712_950_152).unwrap(), "#close\t2024-04-12-19-29-12\n");
        let json = Format::Json { times: JsonTimes::Epoch, path: false };
        assert_eq!((json.header(0).len(), json.close(0)), (0, None));
    }

    #[test]
    fn tsv_escapes_separators_backslashes_and_reserved_words() {
        assert_eq!(tsv(b"", false), b"(empty)");
        assert_eq!(tsv(b"-", false), b"\\x2d");
        assert_eq!(tsv(b"(empty)", true), b"\\x28empty)");
        assert_eq!(tsv(b"--", false), b"--");
        assert_eq!(tsv(b"a\\b\tc", false), b"a\\\\b\\x09c");
        assert_eq!(tsv(b"a,b", true), b"a\\x2cb");
        assert_eq!(tsv(b"a,b", false), b"a,b");
        assert_eq!(tsv(b"\\", false), b"\\\\");
        assert_eq!(tsv(b"a\x00b\x7f", false), b"a\\x00b\\x7f");
    }

    #[test]
    fn tsv_leaves_utf8_alone_where_a_whole_piece_is_valid() {
        assert_eq!(tsv("caf\u{e9}".as_bytes(), false), "caf\u{e9}".as_bytes());
        assert_eq!(tsv(b"\xc3\xa9 \xff", false), b"\\xc3\\xa9 \\xff");
        assert_eq!(tsv(b"\xc3\xa9\\\xff", false), b"\xc3\xa9\\\\\\xff");
        assert_eq!(tsv("\u{e000}".as_bytes(), false), b"\\xee\\x80\\x80");
        assert_eq!(tsv("\u{85}".as_bytes(), false), b"\\xc2\\x85");
        // As Zeek 8.2.2 wrote a TXT record with a tab, valid and invalid UTF-8.
        assert_eq!(
            tsv(b"TXT 3 a\tb TXT 2 \xc3\xa9 TXT 2 \xff\xfe", true),
            b"TXT 3 a\\x09b TXT 2 \\xc3\\xa9 TXT 2 \\xff\\xfe"
        );
    }

    #[test]
    fn json_escapes_bytes_as_text_and_then_as_json() {
        assert_eq!(json(b"a\"b\\c"), b"\"a\\\"b\\\\c\"");
        assert_eq!(json(b"\x00"), b"\"\\\\x00\"");
        assert_eq!(json("caf\u{e9}".as_bytes()), "\"caf\u{e9}\"".as_bytes());
        assert_eq!(json(b"-"), b"\"-\"");
        assert_eq!(json(b""), b"\"\"");
        // As Zeek 8.2.2 wrote it.
        assert_eq!(
            json(b"TXT 3 a\tb TXT 2 \xc3\xa9 TXT 2 \xff\xfe"),
            b"\"TXT 3 a\\tb TXT 2 \\\\xc3\\\\xa9 TXT 2 \\\\xff\\\\xfe\"".as_slice()
        );
    }
}
