//! The header of a TSV log: how its text is written, and which column is what.
//!
//! Zeek writes eight directives (`src/logging/writers/ascii/Ascii.cc`, `WriteHeader`): `#separator`, always followed
//! by one space, then `#set_separator`, `#empty_field`, `#unset_field`, `#path`, `#open`, `#fields` and `#types`, each
//! followed by the separator. Only names tell the columns: their order and number differ by version and by site.

use super::words::unescape;

/// A column that the ledger needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Role {
    Ts,
    RespH,
    RespP,
    Query,
    Qclass,
    Qtype,
    QtypeName,
    Rcode,
    Answers,
    Ttls,
    Opcode,
    Path,
    /// The next three are needed only where it is asked who asked: [`super::LogRecord::with_client`].
    Uid,
    OrigH,
    OrigP,
    /// Any other column.
    Other,
    /// In JSON alone: `id` as an object that holds the addresses and ports.
    Id,
}

/// How many roles are needed columns.
pub(super) const ROLES: usize = Role::Other as usize;

impl Role {
    /// What a column or a JSON key of this name holds.
    ///
    /// `id.resp_h` is `id_resp_h` or the like where `Log::default_scope_sep` or a shipper has changed it.
    #[inline]
    pub(super) fn of(name: &[u8]) -> Role {
        match name {
            b"ts" => Role::Ts,
            b"id.resp_h" => Role::RespH,
            b"id.resp_p" => Role::RespP,
            b"query" => Role::Query,
            b"qclass" => Role::Qclass,
            b"qtype" => Role::Qtype,
            b"qtype_name" => Role::QtypeName,
            b"rcode" => Role::Rcode,
            b"answers" => Role::Answers,
            b"TTLs" => Role::Ttls,
            b"opcode" => Role::Opcode,
            b"_path" | b"@stream" => Role::Path,
            b"uid" => Role::Uid,
            b"id.orig_h" => Role::OrigH,
            b"id.orig_p" => Role::OrigP,
            [b'i', b'd', scope @ .., b'r', b'e', b's', b'p', b'_', end @ (b'h' | b'p')]
                if is_scope(scope) =>
            {
                if *end == b'h' {
                    Role::RespH
                } else {
                    Role::RespP
                }
            }
            [b'i', b'd', scope @ .., b'o', b'r', b'i', b'g', b'_', end @ (b'h' | b'p')]
                if is_scope(scope) =>
            {
                if *end == b'h' {
                    Role::OrigH
                } else {
                    Role::OrigP
                }
            }
            _ => Role::Other,
        }
    }
}

/// Whether this may stand between `id` and what is in it.
fn is_scope(scope: &[u8]) -> bool {
    !scope.is_empty() && !scope.iter().any(u8::is_ascii_alphanumeric)
}

/// Whether a log of this path (`#path`, `_path`, `@stream`) is Zeek's DNS log.
///
/// A filter that conflicts with another one writes `dns-2`: the same events again, so that is another log.
pub(super) fn is_dns_path(path: &[u8]) -> bool {
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
    name == b"dns" || name == b"json_streaming_dns"
}

/// What a directive was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directive {
    Close,
    Other,
}

/// The directives in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Between columns; one byte or more, never empty.
    pub(super) separator: Vec<u8>,
    /// Between the elements of a vector or set; never empty.
    pub(super) set_separator: Vec<u8>,
    /// An empty string, vector or set.
    pub(super) empty_field: Vec<u8>,
    /// A value that is not set.
    pub(super) unset_field: Vec<u8>,
    /// Whether `#path` names another log.
    pub(super) other_log: bool,
    /// What each column holds; empty before `#fields`.
    pub(super) roles: Vec<Role>,
    path: Option<Vec<u8>>,
    /// Whether the path, or the columns, are those of a DNS log.
    says_dns: bool,
    fields: Vec<Vec<u8>>,
    fields_from: FieldsFrom,
    /// Whether the log has said anything of this.
    from_log: bool,
}

/// Who named the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldsFrom {
    /// Nobody yet, or the configuration.
    Elsewhere,
    /// A plain line of names, as `tsv` mode writes.
    ColumnLine,
    /// `#fields`.
    Directive,
}

impl Header {
    /// Zeek's defaults, with a separator of one's own if given.
    pub(super) fn new(separator: Option<&[u8]>) -> Header {
        Header {
            separator: separator.filter(|s| !s.is_empty() && !s.contains(&b'\n')).unwrap_or(b"\t").to_vec(),
            set_separator: b",".to_vec(),
            empty_field: b"(empty)".to_vec(),
            unset_field: b"-".to_vec(),
            other_log: false,
            roles: Vec::new(),
            path: None,
            says_dns: false,
            fields: Vec::new(),
            fields_from: FieldsFrom::Elsewhere,
            from_log: false,
        }
    }

    /// Takes in a directive, given without the prefix (`#`).
    pub(super) fn read_directive(&mut self, line: &[u8]) -> Directive {
        if let Some(separator) = line.strip_prefix(b"separator ") {
            // The first directive of a log: whatever was in force belongs to another one.
            *self = Header::new(Some(&unescaped(separator)));
            self.from_log = true;
            return Directive::Other;
        }
        let (word, value) = match memchr::memmem::find(line, &self.separator) {
            Some(at) => (line.get(..at), line.get(at + self.separator.len()..)),
            None => (Some(line), None),
        };
        let (Some(word), value) = (word, value.unwrap_or_default()) else { return Directive::Other };
        match word {
            b"set_separator" if !value.is_empty() => self.set_separator = unescaped(value),
            b"empty_field" => self.empty_field = unescaped(value),
            b"unset_field" => self.unset_field = unescaped(value),
            b"path" => {
                self.other_log = !is_dns_path(value);
                self.path = Some(value.to_vec());
                self.judge();
            }
            b"fields" => self.set_fields(value, FieldsFrom::Directive),
            b"close" => return Directive::Close,
            _ => return Directive::Other, // #open, #types, or a comment
        }
        self.from_log = true;
        Directive::Other
    }

    /// Takes in a line if it is one of column names, as `tsv` mode begins with. Only where no `#fields` is in force:
    /// a log with a header has no such line.
    pub(super) fn read_column_line(&mut self, line: &[u8]) -> bool {
        let is_one = self.fields_from != FieldsFrom::Directive && self.is_column_line(line);
        if is_one {
            self.set_fields(line, FieldsFrom::ColumnLine);
            self.from_log = true;
        }
        is_one
    }

    fn set_fields(&mut self, line: &[u8], from: FieldsFrom) {
        let separator = self.separator.clone();
        let mut fields = Vec::new();
        let mut start = 0;
        for at in memchr::memmem::find_iter(line, &separator) {
            fields.extend(line.get(start..at).map(<[u8]>::to_vec));
            start = at + separator.len();
        }
        fields.extend(line.get(start..).map(<[u8]>::to_vec));
        self.set_columns(fields);
        self.fields_from = from;
    }

    /// Sets the columns from their names, as the configuration has them. A name that occurs twice counts where it is
    /// first.
    pub(super) fn set_columns(&mut self, fields: Vec<Vec<u8>>) {
        self.roles.clear();
        for field in &fields {
            let role = Role::of(field);
            let known = self.roles.contains(&role);
            self.roles.push(if known { Role::Other } else { role });
        }
        self.fields = fields;
        self.fields_from = FieldsFrom::Elsewhere;
        self.judge();
    }

    /// Finds out whether this is the header of a DNS log: it is called so, or has two columns that no other log has.
    fn judge(&mut self) {
        let of_dns = |role: &&Role| {
            matches!(
                role,
                Role::Query
                    | Role::Qclass
                    | Role::Qtype
                    | Role::QtypeName
                    | Role::Answers
                    | Role::Ttls
                    | Role::Rcode
            )
        };
        let is_called_so = self.path.is_some() && !self.other_log;
        self.says_dns = !self.other_log && (is_called_so || self.roles.iter().filter(of_dns).count() > 1);
    }

    /// Whether this is the header of a DNS log.
    pub(super) fn says_dns(&self) -> bool {
        self.says_dns
    }

    /// Whether the log itself has named its columns or itself.
    pub(super) fn is_from_log(&self) -> bool {
        self.from_log
    }

    /// What the log calls itself.
    pub(super) fn path(&self) -> Option<&[u8]> {
        self.path.as_deref()
    }

    /// Whether a line is one of column names: plain ones, `ts` among them.
    fn is_column_line(&self, line: &[u8]) -> bool {
        let mut has_ts = false;
        let mut columns = 0;
        let mut start = 0;
        let ends = memchr::memmem::find_iter(line, &self.separator).chain([line.len()]);
        for end in ends {
            let Some(name) = line.get(start..end) else { return false };
            let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.');
            if !name.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_') || !name.iter().all(plain)
            {
                return false;
            }
            has_ts |= name == b"ts";
            columns += 1;
            start = end + self.separator.len();
        }
        has_ts && columns > 1
    }

    /// The directives as bytes for [`Header::from_bytes`]; `None` when there were none.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        if !self.from_log {
            return None;
        }
        let mut out = b"#separator ".to_vec();
        push_escaped(&self.separator, &mut out);
        out.push(b'\n');
        let values = [
            ("set_separator", &self.set_separator),
            ("empty_field", &self.empty_field),
            ("unset_field", &self.unset_field),
        ];
        for (word, value) in values {
            self.push_word(word, &mut out);
            push_escaped(value, &mut out);
            out.push(b'\n');
        }
        if let Some(path) = &self.path {
            self.push_word("path", &mut out);
            out.extend_from_slice(path);
            out.push(b'\n');
        }
        match self.fields_from {
            FieldsFrom::Elsewhere => return Some(out),
            FieldsFrom::ColumnLine => {}
            FieldsFrom::Directive => self.push_word("fields", &mut out),
        }
        out.extend_from_slice(&self.fields.join(self.separator.as_slice()));
        Some(out)
    }

    /// Takes back what [`Header::to_bytes`] gave.
    pub(super) fn from_bytes(separator: Option<&[u8]>, bytes: &[u8]) -> Header {
        let mut header = Header::new(separator);
        for line in bytes.split(|&b| b == b'\n') {
            match line.strip_prefix(b"#") {
                Some(directive) => _ = header.read_directive(directive),
                None => _ = header.read_column_line(line),
            }
        }
        header
    }

    fn push_word(&self, word: &str, out: &mut Vec<u8>) {
        out.push(b'#');
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(&self.separator);
    }
}

fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    unescape(value, &mut out);
    out
}

/// Appends every byte as `\xHH`, which needs to know nothing about separators.
fn push_escaped(value: &[u8], out: &mut Vec<u8>) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    for &byte in value {
        let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or_default();
        out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Header {
        let mut header = Header::new(None);
        for line in lines {
            header.read_directive(line.as_bytes());
        }
        header
    }

    #[test]
    fn columns_are_known_by_name() {
        let header =
            read(&["separator \\x09", "path\tdns", "fields\tquery\tts\textra\tid_resp_h\tid.resp_p\tquery"]);
        assert_eq!(header.roles, [Role::Query, Role::Ts, Role::Other, Role::RespH, Role::RespP, Role::Other]);
        assert!(!header.other_log);
    }

    #[test]
    fn separators_may_have_several_bytes() {
        let header = read(&[
            "separator ||",
            "set_separator||;;",
            "empty_field||EMPTY",
            "unset_field||NOT-SET",
            "fields||ts||query",
        ]);
        assert_eq!((header.separator.as_slice(), header.set_separator.as_slice()), (&b"||"[..], &b";;"[..]));
        assert_eq!(
            (header.empty_field.as_slice(), header.unset_field.as_slice()),
            (&b"EMPTY"[..], &b"NOT-SET"[..])
        );
        assert_eq!(header.roles, [Role::Ts, Role::Query]);
    }

    #[test]
    fn a_separator_directive_forgets_the_log_before() {
        let header =
            read(&["separator ,", "set_separator,;", "path,conn", "fields,ts,uid", "separator \\x09"]);
        assert_eq!(header, read(&["separator \\x09"]));
        assert!(header.roles.is_empty() && !header.other_log);
    }

    #[test]
    fn an_empty_separator_is_not_taken() {
        let header = read(&["separator ", "set_separator\t", "fields\tts\tquery"]);
        assert_eq!(header.separator, b"\t");
        assert_eq!(header.set_separator, b",");
        assert_eq!(header.roles.len(), 2);
    }

    #[test]
    fn a_line_of_column_names_is_plain_names_with_ts_among_them() {
        for (line, columns) in [
            ("ts\tuid\tid.resp_p", 3),
            ("_path\tts", 2),
            ("ts", 0),
            ("uid\tquery", 0),
            ("1.0\tts", 0),
            ("ts\t", 0),
            ("ts\tA B", 0),
            ("", 0),
        ] {
            let mut header = Header::new(None);
            assert_eq!(header.read_column_line(line.as_bytes()), columns > 0, "{line}");
            assert_eq!(header.roles.len(), columns, "{line}");
        }
        assert!(!read(&["fields\tts\tquery"]).read_column_line(b"ts\tquery"));
    }

    #[test]
    fn close_is_told_from_other_directives() {
        let mut header = Header::new(None);
        assert_eq!(header.read_directive(b"close\t2024-04-12-19-34-07"), Directive::Close);
        assert_eq!(header.read_directive(b"close"), Directive::Close);
        assert_eq!(header.read_directive(b"closed"), Directive::Other);
        assert_eq!(header.to_bytes(), None);
    }

    #[test]
    fn other_logs_are_known_by_their_path() {
        for (path, dns) in [
            ("dns", true),
            ("json_streaming_dns", true),
            ("logs/dns", true),
            ("conn", false),
            ("dns-2", false),
            ("", false),
        ] {
            assert_eq!(is_dns_path(path.as_bytes()), dns, "{path}");
        }
    }

    #[test]
    fn stored_bytes_give_the_header_back() {
        for lines in [
            &["separator \\x09", "path\tdns", "fields\tts\tid.resp_p\tquery\tanswers"][..],
            &[
                "separator ||",
                "set_separator||;\\x2c",
                "empty_field||",
                "unset_field||\\xff\\x0a",
                "path||ssh",
            ],
            &["fields\tts\tquery"],
            &["separator \\x0a", "path\tdns"],
            &["separator |"],
        ] {
            let header = read(lines);
            let bytes = header.to_bytes().unwrap();
            assert_eq!(Header::from_bytes(Some(b";"), &bytes), header, "{lines:?}");
        }
        let mut header = Header::new(None);
        assert!(header.read_column_line(b"ts\tuid\tid.resp_p"));
        assert_eq!(Header::from_bytes(None, &header.to_bytes().unwrap()), header);
        assert_eq!(Header::new(None).to_bytes(), None);
    }
}
