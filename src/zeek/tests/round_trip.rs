//! What Zeek writes, this module reads back: properties over a small model of Zeek's two writers.
//!
//! The writers follow `src/Desc.cc`, `src/threading/formatters/Ascii.cc` and `src/threading/formatters/JSON.cc`.

use proptest::prelude::*;

use crate::base::time::civil;
use crate::zeek::{Line, LogRecord, Options, Reader};

//--- the model of the writers ---------------------------------------------------------------------------------------

/// How a TSV log is written.
#[derive(Debug, Clone, Copy)]
struct Tsv {
    separator: &'static [u8],
    set_separator: &'static [u8],
    empty: &'static [u8],
    unset: &'static [u8],
    /// `LogAscii::enable_utf_8`.
    utf_8: bool,
}

const TSV: [Tsv; 3] = [
    Tsv { separator: b"\t", set_separator: b",", empty: b"(empty)", unset: b"-", utf_8: true },
    Tsv { separator: b"|", set_separator: b";", empty: b"EMPTY", unset: b"NOT-SET", utf_8: false },
    Tsv { separator: b"=>", set_separator: b"<>", empty: b"", unset: b"?", utf_8: false },
];

impl Tsv {
    /// `ODesc::AddBytes`, and what `formatter::Ascii` does to a value that would read as unset or empty.
    fn escape(&self, value: &[u8], in_vector: bool) -> Vec<u8> {
        if value.is_empty() {
            return self.empty.to_vec();
        }
        let mut out = Vec::new();
        let raw_utf_8 =
            self.utf_8 && std::str::from_utf8(value).is_ok_and(|text| !text.chars().any(char::is_control));
        let mut rest = value;
        if value == self.unset || value == self.empty {
            out.extend(format!("\\x{:02x}", value[0]).bytes());
            rest = &value[1..];
        }
        while let Some((&byte, behind)) = rest.split_first() {
            let sequence = [Some(self.separator), in_vector.then_some(self.set_separator)]
                .into_iter()
                .flatten()
                .find(|sequence| rest.starts_with(sequence));
            match (byte, sequence) {
                (_, Some(sequence)) => {
                    sequence.iter().for_each(|b| out.extend(format!("\\x{b:02x}").bytes()));
                    rest = &rest[sequence.len()..];
                    continue;
                }
                (b'\\', _) => out.extend(b"\\\\"),
                (0x20..=0x7e, _) => out.push(byte),
                (0x80.., _) if raw_utf_8 => out.push(byte),
                _ => out.extend(format!("\\x{byte:02x}").bytes()),
            }
            rest = behind;
        }
        out
    }

    fn header(&self) -> Vec<Vec<u8>> {
        let escaped =
            |value: &[u8]| value.iter().map(|b| format!("\\x{b:02x}")).collect::<String>().into_bytes();
        let fields = [
            &b"#fields"[..],
            b"ts",
            b"uid",
            b"id.resp_h",
            b"id.resp_p",
            b"query",
            b"qtype",
            b"answers",
            b"TTLs",
        ];
        vec![
            [b"#separator ", escaped(self.separator).as_slice()].concat(),
            [b"#set_separator", self.separator, self.set_separator].concat(),
            [b"#empty_field", self.separator, self.empty].concat(),
            [b"#unset_field", self.separator, self.unset].concat(),
            fields.join(self.separator),
        ]
    }

    fn line(&self, record: &Written) -> Vec<u8> {
        let unset = || self.unset.to_vec();
        let vector = |elements: Vec<Vec<u8>>| match elements.is_empty() {
            true => unset(),
            false => elements.join(self.set_separator),
        };
        [
            format!("{:.6}", record.seconds()).into_bytes(),
            b"CqKst53mF3det3eDV9".to_vec(),
            b"192.0.2.53".to_vec(),
            record.resp_p.to_string().into_bytes(),
            record.query.as_ref().map_or_else(unset, |query| self.escape(query, false)),
            record.qtype.map_or_else(unset, |qtype| qtype.to_string().into_bytes()),
            vector(record.answers.iter().map(|(answer, _)| self.escape(answer, true)).collect()),
            vector(record.answers.iter().map(|(_, ttl)| format!("{ttl}.000000").into_bytes()).collect()),
        ]
        .join(self.separator)
    }
}

/// How a JSON log writes what is not plain text.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Json {
    /// Bro 2.3 to 2.6: a `\u00XX` for every byte.
    PerByte,
    /// Zeek 3.0 and later: `\xHH`.
    Hex,
    /// Zeek 9.0: private characters.
    Pua,
    /// Zeek 9.0: as in TSV.
    Tsv,
}

impl Json {
    fn string(self, value: &[u8]) -> Vec<u8> {
        let valid = std::str::from_utf8(value).is_ok();
        let mut out = vec![b'"'];
        for &byte in value {
            match (byte, self) {
                (b'"' | b'\\' | b'&' | b'\'', Json::PerByte) => {
                    out.extend(format!("\\u00{byte:02x}").bytes());
                }
                (b'\\', Json::Tsv) => out.extend(br"\\\\"),
                (b'"' | b'\\', _) => out.extend([b'\\', byte]),
                (0x20..=0x7e, _) => out.push(byte),
                (0x80.., Json::Hex | Json::Pua | Json::Tsv) if valid => out.push(byte),
                (_, Json::PerByte) => out.extend(format!("\\u00{byte:02x}").bytes()),
                (_, Json::Hex | Json::Tsv) => out.extend(format!("\\\\x{byte:02x}").bytes()),
                (_, Json::Pua) => out.extend(format!("\\udb80\\udc{byte:02x}").bytes()),
            }
        }
        out.push(b'"');
        out
    }

    fn line(self, record: &Written, time: JsonTime) -> Vec<u8> {
        let mut pairs = vec![
            [b"\"ts\":", time.write(record).as_bytes()].concat(),
            b"\"uid\":\"CqKst53mF3det3eDV9\"".to_vec(),
            b"\"id.resp_h\":\"192.0.2.53\"".to_vec(),
            format!("\"id.resp_p\":{}", record.resp_p).into_bytes(),
        ];
        pairs.extend(
            record.query.as_ref().map(|query| [b"\"query\":", self.string(query).as_slice()].concat()),
        );
        pairs.extend(record.qtype.map(|qtype| format!("\"qtype\":{qtype}").into_bytes()));
        if !record.answers.is_empty() {
            let answers: Vec<_> = record.answers.iter().map(|(answer, _)| self.string(answer)).collect();
            let ttls: Vec<_> = record.answers.iter().map(|(_, ttl)| format!("{ttl}.0")).collect();
            pairs.push([b"\"answers\":[", answers.join(&b","[..]).as_slice(), b"]"].concat());
            pairs.push(format!("\"TTLs\":[{}]", ttls.join(",")).into_bytes());
        }
        [b"{", pairs.join(&b","[..]).as_slice(), b"}"].concat()
    }
}

/// `LogAscii::json_timestamps`.
#[derive(Debug, Clone, Copy)]
enum JsonTime {
    Epoch,
    Iso8601,
}

impl JsonTime {
    fn write(self, record: &Written) -> String {
        match self {
            JsonTime::Epoch => format!("{:?}", record.seconds()),
            JsonTime::Iso8601 => {
                let (seconds, micros) = (record.micros / 1_000_000, record.micros % 1_000_000);
                format!("\"{}.{micros:06}Z\"", civil(seconds))
            }
        }
    }
}

/// What is written.
#[derive(Debug, Clone)]
struct Written {
    micros: u64,
    resp_p: u16,
    query: Option<Vec<u8>>,
    qtype: Option<u16>,
    answers: Vec<(Vec<u8>, u32)>,
}

impl Written {
    /// Zeek's `time` is a double.
    fn seconds(&self) -> f64 {
        self.micros as f64 / 1e6
    }

    fn assert_is(&self, record: &LogRecord) {
        assert_eq!(record.ts_micros(), self.micros);
        assert_eq!(record.resp_h(), Some(&b"192.0.2.53"[..]));
        assert_eq!((record.resp_p(), record.qtype()), (Some(self.resp_p), self.qtype));
        assert_eq!(record.query(), self.query.as_deref());
        let answers: Vec<_> = record.answers().map(|(answer, ttl)| (answer.to_vec(), ttl)).collect();
        assert_eq!(answers, self.answers);
    }
}

fn read(options: &Options, header: &[Vec<u8>], line: &[u8]) -> LogRecord {
    let mut reader = Reader::new(options);
    let mut record = LogRecord::default();
    for line in header {
        assert_eq!(reader.read(line, &mut record), Line::Directive);
    }
    assert_eq!(reader.read(line, &mut record), Line::Record, "{}", line.escape_ascii());
    record
}

//--- what is generated ----------------------------------------------------------------------------------------------

/// Names and texts, with all that has a meaning to some writer.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z0-9.-]{0,20}".prop_map(String::into_bytes),
        2 => r#"([a-f0-9x\\]|\\x|[-,;|"()<>=?]|EMPTY|\(empty\)|NOT-SET|[é₡🚀]){0,8}"#.prop_map(String::into_bytes),
        2 => proptest::collection::vec(any::<u8>(), 0..12),
        1 => Just(b"-".to_vec()),
        1 => Just(b"(empty)".to_vec()),
    ]
}

fn written() -> impl Strategy<Value = Written> {
    (
        0u64..4_102_444_800_000_000, // to the year 2100
        any::<u16>(),
        proptest::option::of(bytes()),
        proptest::option::of(any::<u16>()),
        proptest::collection::vec((bytes(), any::<u32>()), 0..6),
    )
        .prop_map(|(micros, resp_p, query, qtype, answers)| Written {
            micros,
            resp_p,
            query,
            qtype,
            answers,
        })
}

/// Whether a text holds what two of Zeek's policies cannot tell from an escaped byte.
fn is_ambiguous(record: &Written) -> bool {
    let holds = |text: &[u8]| {
        text.windows(4).any(|w| w.starts_with(b"\\x") && w[2..].iter().all(u8::is_ascii_hexdigit))
    };
    record.query.as_deref().is_some_and(holds) || record.answers.iter().any(|(answer, _)| holds(answer))
}

proptest! {
    #[test]
    fn tsv_reads_back_exactly(record in written(), form in 0..TSV.len()) {
        let form = TSV[form];
        record.assert_is(&read(&Options::default(), &form.header(), &form.line(&record)));
    }

    #[test]
    fn json_reads_back_where_the_policy_allows(record in written()) {
        for policy in [Json::PerByte, Json::Hex, Json::Pua, Json::Tsv] {
            if matches!(policy, Json::Hex | Json::Pua) && is_ambiguous(&record) {
                continue;
            }
            let options = Options { json_tsv_escapes: policy == Json::Tsv, ..Options::default() };
            for time in [JsonTime::Epoch, JsonTime::Iso8601] {
                record.assert_is(&read(&options, &[], &policy.line(&record, time)));
            }
        }
    }

    #[test]
    fn tsv_and_json_of_one_record_are_one(record in written()) {
        prop_assume!(!is_ambiguous(&record));
        let tsv = read(&Options::default(), &TSV[0].header(), &TSV[0].line(&record));
        prop_assert_eq!(tsv, read(&Options::default(), &[], &Json::Hex.line(&record, JsonTime::Epoch)));
    }

    #[test]
    fn any_lines_are_read_and_poison_nothing(lines in proptest::collection::vec(line(), 0..12)) {
        let mut reader = Reader::new(&Options::default());
        let mut record = LogRecord::default();
        for line in &lines {
            reader.read(line, &mut record);
        }
        // Whatever is in force now, it can be stored, and reads on as before.
        let stored = reader.header();
        let mut continued = Reader::with_header(&Options::default(), stored.as_deref().unwrap_or_default());
        prop_assert_eq!(continued.header(), stored);
        for line in &lines {
            let mut other = LogRecord::default();
            prop_assert_eq!(reader.read(line, &mut record), continued.read(line, &mut other));
            prop_assert_eq!(&record, &other);
        }
        // A new log begins clean.
        for line in TSV[0].header() {
            prop_assert_eq!(reader.read(&line, &mut record), Line::Directive);
        }
        let sound = Written { micros: 1, resp_p: 53, query: Some(b"a".to_vec()), qtype: None, answers: vec![] };
        prop_assert_eq!(reader.read(&TSV[0].line(&sound), &mut record), Line::Record);
        sound.assert_is(&record);
    }
}

/// Lines that look more or less like those of a log.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let directive = r"#(separator (\\x09|\||\\x0a|)|set_separator|fields|path|types|close|unset_field|empty_field)([\t|](ts|query|answers|TTLs|dns|conn|-|,)){0,4}";
    let columns = r"((ts|query|[0-9]{1,3}\.[0-9]{1,6}|-|a\\x09|\(empty\)|[a-z]{1,3}),?[\t|]?){0,6}";
    let json = r#"\{"(ts|query|answers|TTLs|x)":(1\.5|"a\\x2c\\u00e9"|\[("a",?)*\]|\{\}|null)(,"(ts|answers|TTLs)":(2|\[1.0\]))?\}?"#;
    prop_oneof![
        directive.prop_map(String::into_bytes),
        columns.prop_map(String::into_bytes),
        json.prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..40),
    ]
}
