//! Whether a file is a DNS log of Zeek, by its first lines: a name proves nothing.

use super::{Line, LogRecord, Options, Reader};

/// Other logs of Zeek. Only these are named: what is in a file that is none of ours is nobody's business.
const OTHER_LOGS: &[&str] = &[
    "analyzer",
    "capture_loss",
    "conn",
    "dce_rpc",
    "dhcp",
    "dnp3",
    "files",
    "ftp",
    "http",
    "irc",
    "kerberos",
    "known_certs",
    "known_hosts",
    "known_services",
    "ldap",
    "ldap_search",
    "loaded_scripts",
    "modbus",
    "mqtt_publish",
    "mysql",
    "notice",
    "ntlm",
    "ntp",
    "ocsp",
    "packet_filter",
    "pe",
    "quic",
    "radius",
    "rdp",
    "reporter",
    "rfb",
    "sip",
    "smb_files",
    "smb_mapping",
    "smtp",
    "snmp",
    "socks",
    "software",
    "ssh",
    "ssl",
    "stats",
    "syslog",
    "telemetry",
    "tunnel",
    "weird",
    "x509",
];

/// Looks at the first lines of a file, one after the other.
#[derive(Debug, Clone)]
pub struct Recogniser {
    reader: Reader,
    record: LogRecord,
    /// What the first line that is no header was.
    first: Option<First>,
    /// Whether some line has names of a DNS log in it, and could not be read.
    names_fields: bool,
}

#[derive(Debug, Clone, Copy)]
enum First {
    OtherLog,
    Json,
    Columns,
    Text,
    Binary,
}

impl Recogniser {
    /// Begins at the start of a file.
    pub fn new(options: &Options) -> Recogniser {
        Recogniser {
            reader: Reader::new(options),
            record: LogRecord::default(),
            first: None,
            names_fields: false,
        }
    }

    /// Takes a line, given without its newline. Says whether the file is a DNS log: it holds a record of one, or lines
    /// behind the header of one.
    pub fn take(&mut self, line: &[u8]) -> bool {
        let read = self.reader.read(line, &mut self.record);
        if self.reader.shows_dns(read, &self.record) {
            return true;
        }
        let first = match read {
            Line::Directive | Line::Close => return false,
            Line::OtherLog => First::OtherLog,
            Line::Record => First::Json,
            Line::Malformed(_) if names_fields(line) => {
                self.names_fields = true;
                match line.trim_ascii_start().first() {
                    Some(b'{' | b'[') => First::Json,
                    _ => First::Columns,
                }
            }
            Line::Malformed(_) => match line.trim_ascii_start().first() {
                Some(b'{' | b'[') => First::Json,
                _ if !is_text(line) => First::Binary,
                _ if line.iter().filter(|byte| **byte == b'\t').count() >= 8 => First::Columns,
                _ => First::Text,
            },
        };
        self.first.get_or_insert(first);
        false
    }

    /// Whether the header so far is that of a DNS log: then the file is one, though it holds no record yet.
    pub fn has_header(&self) -> bool {
        self.reader.header_shows_dns()
    }

    /// Whether the file may be a DNS log all the same, whose columns nobody has named, or in a form that is not read.
    pub fn may_hold_records(&self) -> bool {
        (matches!(self.first, Some(First::Columns)) || self.names_fields) && self.reader.other_log().is_none()
    }

    /// What the file is, if it is no DNS log.
    pub fn why_not(&self) -> String {
        let other =
            self.reader.other_log().and_then(|path| OTHER_LOGS.iter().find(|name| name.as_bytes() == path));
        let what = match (self.first, other) {
            (_, Some(name)) => return format!("no DNS log: its header says that it is Zeek's {name} log"),
            _ if let Some(name) = self.reader.other_log().and_then(part_of_dns) => {
                return format!(
                    "no DNS log: its header says that it is the log {name}, which a filter of Zeek made as a part or a copy of the DNS \
                     log; only one that is called dns is read"
                );
            }
            (Some(First::OtherLog), None) => "its records say that they are of another log",
            (Some(First::Json), _) if self.names_fields => {
                "it holds JSON with fields of a DNS log, and no line of it is a record with a time; as Zeek writes it, and \
                 `jq -c .` too, each record is an object on a line of its own"
            }
            (Some(First::Json), _) => {
                "it holds JSON, and no record in it has columns of a DNS log (query, qtype, answers)"
            }
            (Some(First::Columns), _) => {
                "its lines have no header that names their columns; if they are Zeek's, set `fields` of the source"
            }
            (Some(First::Text), _) if self.names_fields => {
                "its lines name fields of a DNS log behind something else; where each line is JSON, or a line of Zeek without \
                 anything before it, they are read"
            }
            (Some(First::Text), _) => "it holds text that is not a log of Zeek",
            (Some(First::Binary), _) => "it is not text",
            (None, _) => "there is not one whole line of a log in it",
        };
        format!("no DNS log: {what}")
    }
}

/// The name of a log that some filter has made of the DNS log, if it can be shown.
fn part_of_dns(name: &[u8]) -> Option<&str> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_one = name.len() <= 64 && name.get(..3)?.eq_ignore_ascii_case(b"dns") && name.iter().all(is_plain);
    std::str::from_utf8(name).ok().filter(|_| is_one)
}

/// Whether a line has names in it that fields of a DNS log have, and those of few others.
fn names_fields(line: &[u8]) -> bool {
    let line = line.get(..64 << 10).unwrap_or(line);
    // One field a line is as a record looks that was made pretty.
    let pretty = line.trim_ascii_start();
    let has = |name: &[u8]| memchr::memmem::find(line, name).is_some();
    [&b"\"qtype_name\":"[..], b"\"qclass_name\":", b"\"rcode_name\":"]
        .iter()
        .any(|name| pretty.starts_with(name))
        || (has(b"query") && has(b"answers") && has(b"uid"))
}

/// Whether a line is text, as far as can be told without knowing its language.
fn is_text(line: &[u8]) -> bool {
    let line = line.get(..4096).unwrap_or(line);
    let is_utf_8 = std::str::from_utf8(line).err().is_none_or(|error| error.error_len().is_none());
    is_utf_8 && !line.iter().any(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127))
}

impl Reader {
    /// Whether a line that was just read shows that its log is a DNS log: by its record, or by the header before it.
    pub fn shows_dns(&self, line: Line, record: &LogRecord) -> bool {
        match line {
            Line::Record => record.is_of_dns(),
            Line::Malformed(_) => self.header_shows_dns(),
            Line::Directive | Line::Close | Line::OtherLog => false,
        }
    }

    /// Whether the log has named its columns, and they are those of a DNS log.
    pub fn header_shows_dns(&self) -> bool {
        self.header.is_from_log() && self.header.says_dns()
    }

    /// The log that the header names, if it is another one.
    fn other_log(&self) -> Option<&[u8]> {
        self.header.path().filter(|_| self.header.other_log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &[u8], options: &Options) -> Result<(), String> {
        let mut recogniser = Recogniser::new(options);
        match text.split(|byte| *byte == b'\n').any(|line| recogniser.take(line)) || recogniser.has_header() {
            true => Ok(()),
            false => Err(recogniser.why_not()),
        }
    }

    #[test]
    fn a_dns_log_is_known_by_what_it_holds() {
        for text in [
            "#separator \\x09\n#path\tdns\n#fields\tts\tuid\tquery\n",
            "#separator \\x09\n#fields\tts\tquery\tanswers\n1.0\ta\tb",
            "torn off\tline\n#separator \\x09\n#path\tdns\n#fields\tts\tquery\n1.0\ta",
            "#separator \\x09\n#path\tconn\n#fields\tts\n1.0\n#separator \\x09\n#path\tdns\n#fields\tts\tquery\n1.0\ta",
            "ts\tuid\tquery\tqtype\tanswers\n1.0\tC\ta\t1\tb",
            r#"{"ts":1.0,"id.resp_p":53,"query":"a"}"#,
            r#"{"ts":1.0,"rcode":0,"qtype":1}"#,
            r#"{"_path":"dns","ts":1.0}"#,
            "{\"a\":1}\n{\"zeek\":{\"dns\":{\"ts\":1.0,\"query\":\"a\",\"qtype\":1}}}",
            "{torn\n{\"ts\":1.0,\"id\":{\"resp_p\":53},\"query\":\"a\"}",
        ] {
            assert_eq!(look(text.as_bytes(), &Options::default()), Ok(()), "{text}");
        }
        let fields = ["ts", "uid", "query", "qtype"].map(String::from).to_vec();
        let options = Options { fields, ..Options::default() };
        assert_eq!(look(b"1.0\tC\ta\t1", &options), Ok(()));
        assert!(look(b"root:x:0:0", &options).is_err());
    }

    #[test]
    fn what_is_none_is_told_what_it_is() {
        let columns = "1.0\tC\t10.0.0.1\t1\t10.0.0.2\t53\tudp\t1\t0.1\tq\n";
        for (text, why) in [
            (&b""[..], "not one whole line"),
            (b"# Read me\n\nThis is how it works.\n", "not a log of Zeek"),
            (b"root:x:0:0:root:/root:/bin/bash\n", "not a log of Zeek"),
            (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "not text"),
            (b"#separator \\x09\n#path\tconn\n#fields\tts\tuid\n1.0\tC", "Zeek's conn log"),
            (b"#separator \\x09\n#path\tdns_lan\n#fields\tts\tuid\n1.0\tC", "the log dns_lan"),
            (b"#separator \\x09\n#path\tSECRET\n#fields\tts\tuid\n1.0\tC", "another log"),
            (b"{\"_path\":\"conn\",\"ts\":1.0}", "another log"),
            (b"{\"ts\":1.0,\"id.orig_h\":\"10.0.0.1\",\"id.resp_p\":80,\"history\":\"S\"}", "JSON"),
            (b"{\"level\":\"info\",\"ts\":1.0,\"msg\":\"x\"}", "JSON"),
            (columns.as_bytes(), "`fields`"),
            (b"ts,uid,id.orig_h,query,answers\n1.0,C,10.0.0.1,a,b\n", "`fields`"),
            (b"{\n  \"ts\": 1.0,\n  \"query\": \"a\",\n  \"qtype_name\": \"A\"\n}\n", "line of its own"),
            (b"{\"ts\":1.0,\"uid\":\"C\",\"query\":\"a\",\"answers\":[]}{\"ts\":2.0}\n", "line of its own"),
        ] {
            let said = look(text, &Options::default()).unwrap_err();
            assert!(said.contains(why) && !said.contains("SECRET"), "{said}");
            let mut recogniser = Recogniser::new(&Options::default());
            assert!(!text.split(|byte| *byte == b'\n').any(|line| recogniser.take(line)));
            let may = ["`fields`", "line of its own"].contains(&why);
            assert_eq!(recogniser.may_hold_records(), may, "{said}");
        }
    }
}
