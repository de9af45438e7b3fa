//! The tables of bro-pdns and zeek-pdns, as their databases write them out, turned into lines of the Common Output Format.
//!
//! # What is taken
//!
//! The rows of every table that has the columns `query`, `type`, `answer`, `count`, `first` and `last`, whatever its name:
//! `dns` of bro-pdns, `tuples` of zeek-pdns. `individual` holds sums of them and is passed over. `type` is the type that was
//! asked and `answer` a column of the log, so each row is read as a record of a log with that one answer would be
//! ([`crate::observe`]): a name that stands under A is a CNAME. Chains cannot be had back; every row is direct.
//!
//! A row without an answer, or with one that would not have been kept of a log, is a line without data, which
//! [`super::cof`] skips. One that cannot be read is a line that it finds malformed. So each row has its line.
//!
//! # Names backwards
//!
//! zeek-pdns keeps names backwards since it has more than one kind of database, `moc.elpmaxe.www`, and did not before. The
//! dump does not say so: of the first rows it is seen which way round more of them end as names do (publicsuffix.org).

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use serde::Serialize;

use super::sql::{SqlRow, Statements, Value};
use crate::base::time::parse_rfc3339;
use crate::observation::{Observations, SensorId, Tuple};
use crate::observe::{Observer, Options};
use crate::output::json::{Text, push_line};
use crate::zeek::{self, Line, LogRecord};

/// Rows that are looked at to see which way round names are.
const LOOKED_AT: usize = 512;
/// The columns that a table must have.
const NEEDED: &[&str] = &["query", "type", "answer", "count", "first", "last"];
/// What a database of SQLite begins with.
const SQLITE: &[u8] = b"SQLite format 3\0";
/// Bytes that a reader asks for at a time.
const BUFFER_BYTES: usize = 64 << 10;
/// Bytes of lines that are made at a time.
const LINES_BYTES: usize = 32 << 10;
/// Separates answers in the lines that are made: no character of a name or a text of Zeek's.
const SET_SEPARATOR: u8 = 0x1f;

//--- Dump -----------------------------------------------------------------------------------------------------------

/// Which database wrote a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// MySQL or MariaDB, by `mysqldump`.
    Mysql,
    /// SQLite, by `.dump` of `sqlite3`.
    Sqlite,
}

/// How a dump is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    /// What wrote it.
    pub database: Database,
    /// How far the clock of its times was ahead of UTC, as `+02:00`: bro-pdns kept local time.
    pub utc_offset: Arc<str>,
}

impl Dump {
    /// The rows of a dump, as lines of COF. Reading fails where the dump is cut, is none, or has no such table.
    pub fn lines<R: Read + Send + 'static>(&self, dump: R) -> impl Read + Send + use<R> {
        Rows::new(BufReader::with_capacity(BUFFER_BYTES, dump), self)
    }
}

/// What the first bytes of a file are, and what to do about them, if they are of a database.
pub(super) fn looks_like(first: &[u8]) -> Option<&'static str> {
    let begins = |text: &str| first.starts_with(text.as_bytes());
    if first.starts_with(SQLITE) {
        return Some(NOT_WRITTEN_OUT);
    }
    if begins("-- MySQL dump") || begins("-- MariaDB dump") || begins("/*M!999999") {
        return Some("it was written out by mysqldump; try: --from mysql-dump");
    }
    begins("PRAGMA foreign_keys=").then_some("it was written out by sqlite3; try: --from sqlite")
}

const NOT_WRITTEN_OUT: &str = "it is the database itself, whose text is read; try: sqlite3 FILE .dump | dnsledger import \
                               --from sqlite --sensor NAME -";

//--- Rows -----------------------------------------------------------------------------------------------------------

/// A row of a table, in its own words.
#[derive(Debug, Default)]
struct Told {
    query: Vec<u8>,
    rrtype: Vec<u8>,
    answer: Vec<u8>,
    count: Option<u64>,
    ttl: u64,
    first: Option<u64>,
    last: Option<u64>,
}

/// A row as a line of the Common Output Format.
#[derive(Serialize)]
struct CofLine<'a> {
    rrname: Text<'a>,
    rrtype: u16,
    rdata: Option<Text<'a>>,
    /// A line whose time cannot be read has none, and is malformed for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_last: Option<u64>,
    count: u64,
    ttl: u64,
}

/// The lines of a dump.
struct Rows<R> {
    statements: Statements<R>,
    utc_offset: Arc<str>,
    /// The rows that wait until it is known which way round names are; `None` once it is.
    waiting: Option<Vec<Option<Told>>>,
    backwards: bool,
    has_begun: bool,
    has_ended: bool,
    teller: Teller,
    /// Lines that were made, and how much of them was taken.
    out: Vec<u8>,
    taken: usize,
}

impl<R: BufRead> Rows<R> {
    fn new(reader: R, dump: &Dump) -> Rows<R> {
        let is_mysql = dump.database == Database::Mysql;
        Rows {
            statements: Statements::new(reader, is_mysql),
            utc_offset: Arc::clone(&dump.utc_offset),
            waiting: (!is_mysql).then(Vec::new),
            backwards: false,
            has_begun: false,
            has_ended: false,
            teller: Teller::new(),
            out: Vec::new(),
            taken: 0,
        }
    }

    /// Makes more lines.
    fn fill(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.has_begun, true) && self.statements.starts_with(SQLITE)? {
            return Err(io::Error::new(io::ErrorKind::InvalidData, NOT_WRITTEN_OUT));
        }
        while self.out.len() < LINES_BYTES && !self.has_ended {
            let told = match self.statements.next()? {
                None => {
                    self.has_ended = true;
                    if !self.statements.has_table(NEEDED) {
                        let why = format!("no table with the columns {} is in it", NEEDED.join(", "));
                        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                    }
                    self.decide();
                    return Ok(());
                }
                Some(row) if NEEDED.iter().all(|name| row.columns.iter().any(|other| other == name)) => {
                    told(&row, &self.utc_offset)
                }
                Some(_) => continue,
            };
            match &mut self.waiting {
                Some(waiting) => {
                    waiting.push(told);
                    if waiting.len() == LOOKED_AT {
                        self.decide();
                    }
                }
                None => self.teller.tell(told, self.backwards, &mut self.out),
            }
        }
        Ok(())
    }

    /// Sees which way round the names are that wait, and tells them.
    fn decide(&mut self) {
        let waiting = self.waiting.take().unwrap_or_default();
        let (mut as_written, mut backwards) = (0, 0);
        for told in waiting.iter().flatten() {
            as_written += usize::from(ends_as_a_name(&told.query));
            backwards += usize::from(ends_as_a_name(&reversed(&told.query)));
        }
        self.backwards = backwards > as_written;
        for told in waiting {
            self.teller.tell(told, self.backwards, &mut self.out);
        }
    }
}

impl<R: BufRead> Read for Rows<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.out.len() && !self.has_ended {
            self.out.clear();
            self.taken = 0;
            self.fill()?;
        }
        let rest = self.out.get(self.taken..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        self.taken += n;
        Ok(n)
    }
}

/// Takes a row apart; `None` when a value is of a kind that it cannot be.
fn told(row: &SqlRow<'_>, utc_offset: &str) -> Option<Told> {
    if row.columns.len() != row.values.len() {
        return None;
    }
    let mut told = Told { count: Some(1), ..Told::default() };
    let (mut first, mut last) = (None, None);
    for (column, value) in row.columns.iter().zip(&row.values) {
        let text = || match value {
            Value::Text(text) => Some(text.clone()),
            Value::Null => Some(b"-".to_vec()),
            Value::Number(_) | Value::Other => None,
        };
        match column.as_str() {
            "query" => told.query = text()?,
            "type" => told.rrtype = text()?,
            "answer" => told.answer = text()?,
            "count" if *value != Value::Null => told.count = number(value),
            "ttl" => told.ttl = number(value).unwrap_or(0),
            "first" => first = time(value, utc_offset),
            "last" => last = time(value, utc_offset),
            _ => {}
        }
    }
    // bro-pdns took the time of the log it read last for the last one.
    told.first = first.min(last).or(first).or(last);
    told.last = first.max(last);
    Some(told)
}

fn number(value: &Value) -> Option<u64> {
    let (Value::Text(text) | Value::Number(text)) = value else { return None };
    let text = std::str::from_utf8(text).ok()?;
    let whole = || text.parse::<f64>().ok().filter(|number| (0.0..9e15).contains(number));
    text.parse().ok().or_else(|| whole().map(|number| number as u64))
}

/// A time: of a calendar, or seconds since the epoch.
fn time(value: &Value, utc_offset: &str) -> Option<u64> {
    let calendar = match value {
        Value::Text(text) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    let calendar = calendar.and_then(|text| {
        let is_plain =
            text.len() > 10 && !text.ends_with(['Z', 'z']) && !text.get(10..)?.contains(['+', '-']);
        if is_plain { parse_rfc3339(&format!("{text}{utc_offset}")) } else { parse_rfc3339(text) }.ok()
    });
    calendar.or_else(|| number(value))
}

/// A text, its characters backwards.
fn reversed(text: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(text) {
        Ok(text) => text.chars().rev().collect::<String>().into_bytes(),
        Err(_) => text.iter().rev().copied().collect(),
    }
}

/// Whether a name has more than one label and ends as one that is registered.
fn ends_as_a_name(name: &[u8]) -> bool {
    name.contains(&b'.') && psl::suffix(name).is_some_and(|suffix| suffix.is_known())
}

//--- Teller ---------------------------------------------------------------------------------------------------------

/// Makes lines of rows.
struct Teller {
    reader: zeek::Reader,
    record: LogRecord,
    observer: Observer,
    seen: Observations,
    line: Vec<u8>,
}

impl Teller {
    fn new() -> Teller {
        let mut reader = zeek::Reader::new(&zeek::Options::default());
        let mut record = LogRecord::default();
        let separator = [b"#set_separator\t".as_slice(), &[SET_SEPARATOR]].concat();
        for directive in [&b"#separator \\x09"[..], &separator, b"#fields\tts\tquery\tqtype_name\tanswers"] {
            reader.read(directive, &mut record);
        }
        Teller {
            reader,
            record,
            // Whether a time can be is for who reads the line that becomes of it.
            observer: Observer::new(&Options { not_before: 0, ..Options::default() }),
            seen: Observations::new(SensorId(0)),
            line: Vec::new(),
        }
    }

    fn tell(&mut self, told: Option<Told>, backwards: bool, out: &mut Vec<u8>) {
        let start = out.len();
        if told.and_then(|told| self.push_line(&told, backwards, out)).is_none() {
            out.truncate(start);
            out.extend_from_slice(b"{\"rrname\":\"\",\"rrtype\":\"unreadable\",\"rdata\":\"\"}\n");
        }
    }

    /// Appends the line of a row; `None` when it cannot be read.
    fn push_line(&mut self, told: &Told, backwards: bool, out: &mut Vec<u8>) -> Option<()> {
        let Told { query, rrtype, answer, count, ttl, first, last } = told;
        let query = if backwards { &reversed(query) } else { query };
        self.line.clear();
        self.line.push(b'0');
        for text in [query, rrtype, answer] {
            if text.iter().any(|&byte| byte < 0x20) {
                return None;
            }
            self.line.push(b'\t');
            self.line.extend_from_slice(text);
        }
        if self.reader.read(&self.line, &mut self.record) != Line::Record {
            return None;
        }
        self.observer.observe(&self.record, &mut self.seen);
        let tuple = match self.seen.iter().next() {
            Some(seen) => Some(Tuple::from_row_key(seen.row_key).ok()?.0),
            None => None,
        };
        let line = match &tuple {
            Some(Tuple { rrname, rrtype, rdata }) => CofLine {
                rrname: Text::Name(rrname),
                rrtype: rrtype.0,
                rdata: Some(Text::Data(rdata)),
                time_first: *first,
                time_last: *last,
                count: (*count)?,
                ttl: *ttl,
            },
            None => CofLine {
                rrname: Text::Made(b"."),
                rrtype: 0,
                rdata: None,
                time_first: *first,
                time_last: *last,
                count: (*count)?,
                ttl: *ttl,
            },
        };
        push_line(&line, out);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(database: Database, utc_offset: &str) -> Dump {
        Dump { database, utc_offset: utc_offset.into() }
    }

    fn lines_of(dump: &Dump, text: &str) -> (String, Option<String>) {
        let mut lines = dump.lines(io::Cursor::new(text.to_owned()));
        let (mut out, mut buffer) = (Vec::new(), [0; 50]);
        loop {
            match lines.read(&mut buffer) {
                Ok(0) => return (String::from_utf8(out).unwrap(), None),
                Ok(n) => out.extend_from_slice(&buffer[..n]),
                Err(error) => return (String::from_utf8(out).unwrap(), Some(error.to_string())),
            }
        }
    }

    /// The lines of rows of bro-pdns.
    fn mysql(rows: &str) -> Vec<String> {
        let table = "CREATE TABLE `dns` (`query` varchar(255), `type` varchar(20), `answer` varchar(255), `count` int, \
                     `ttl` int, `first` datetime, `last` datetime);";
        let (lines, error) =
            lines_of(&dump(Database::Mysql, "+00:00"), &format!("{table} INSERT INTO `dns` VALUES {rows};"));
        assert_eq!(error, None);
        lines.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_row_is_read_as_a_log_with_that_one_answer() {
        let times = "'1970-01-01 00:00:05','1970-01-02 00:00:00.250000'";
        for (row, line) in [
            (
                "'WWW.example.com','A','192.0.2.1',42,300",
                r#"{"rrname":"www.example.com","rrtype":1,"rdata":"192.0.2.1","#,
            ),
            (
                "'www.example.com','A','cdn.example.net',42,300",
                r#"{"rrname":"www.example.com","rrtype":5,"rdata":"cdn.example.net","#,
            ),
            (
                "'example.com','MX','mx.example.com',42,300",
                r#"{"rrname":"example.com","rrtype":15,"rdata":"mx.example.com","#,
            ),
            (
                "'example.com','TXT','TXT 3 a,b',42,300",
                r#"{"rrname":"example.com","rrtype":16,"rdata":"\"a,b\"","#,
            ),
            (
                "'example.com','*','2001:db8::1',42,300",
                r#"{"rrname":"example.com","rrtype":28,"rdata":"2001:db8::1","#,
            ),
            ("'example.com','A','-',42,300", r#"{"rrname":".","rrtype":0,"rdata":null,"#),
            ("'example.com','*','ns.example.com',42,300", r#"{"rrname":".","rrtype":0,"rdata":null,"#),
        ] {
            let rest = r#""time_first":5,"time_last":86400,"count":42,"ttl":300}"#;
            assert_eq!(mysql(&format!("({row},{times})")), [format!("{line}{rest}")]);
        }
    }

    #[test]
    fn what_cannot_be_read_has_a_line_that_cannot_be_read_either() {
        let bad = r#"{"rrname":"","rrtype":"unreadable","rdata":""}"#;
        let times = "'1970-01-01 00:00:05','1970-01-01 00:00:09'";
        for row in
            ["'a.com','A','192.0.2.1',CONCAT('1'),1", "'a.com','A',7,1,1", "'a\tb','A','192.0.2.1',1,1"]
        {
            assert_eq!(mysql(&format!("({row},{times})")), [bad], "{row}");
        }
        assert_eq!(mysql("('a.com','A','192.0.2.1',1)"), [bad]);
        let untimed = mysql("('a.com','A','192.0.2.1',1,NULL,'0000-00-00 00:00:00',NULL)");
        assert_eq!(untimed, [r#"{"rrname":"a.com","rrtype":1,"rdata":"192.0.2.1","count":1,"ttl":0}"#]);
    }

    #[test]
    fn times_are_put_in_order_and_moved_to_utc() {
        let last_is_first =
            mysql("('a.com','A','192.0.2.1',1,1,'1970-01-01 00:00:09','1970-01-01 00:00:05')");
        assert!(last_is_first[0].contains(r#""time_first":5,"time_last":9,"#), "{last_is_first:?}");
        let one = mysql("('a.com','A','192.0.2.1',1,1,NULL,'1970-01-01 00:00:05')");
        assert!(one[0].contains(r#""time_first":5,"time_last":5,"#), "{one:?}");
        let text = |text: &str| Value::Text(text.as_bytes().to_vec());
        for (value, seconds) in [
            (text("1970-01-01 02:00:05"), Some(5)),
            (text("1970-01-01T02:00:05.9"), Some(5)),
            (text("1970-01-01T00:00:05Z"), Some(5)),
            (text("1970-01-01 01:00:05+01:00"), Some(5)),
            (text("7"), Some(7)),
            (Value::Number(b"1459468800.75".to_vec()), Some(1_459_468_800)),
            (Value::Number(b"-1".to_vec()), None),
            (text("soon"), None),
            (Value::Null, None),
        ] {
            assert_eq!(time(&value, "+02:00"), seconds, "{value:?}");
        }
    }

    /// A dump of zeek-pdns with these names.
    fn sqlite(names: &[&str]) -> String {
        let rows: String = names
            .iter()
            .map(|name| {
                format!(
                    "INSERT INTO tuples VALUES('{name}','A','192.0.2.1',1,1,'1970-01-01 00:00:05',7.5);\n"
                )
            })
            .collect();
        format!(
            "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE tuples (query character varying, type character \
             varying, answer character varying, count integer, ttl integer, first REAL, last REAL, PRIMARY KEY (query, \
             type, answer));\n{rows}CREATE TABLE individual (which char(1), value text, count integer, first REAL, last \
             REAL);\nINSERT INTO individual VALUES('Q','moc.elpmaxe',1,1,1);\nCOMMIT;\n"
        )
    }

    #[test]
    fn names_that_are_kept_backwards_are_turned() {
        for names in [
            ["moc.elpmaxe.www", "tset.lacol", "apra.rdda-ni.291.0.2.1"],
            ["www.example.com", "local.test", "1.2.0.192.in-addr.arpa"],
        ] {
            let (lines, error) = lines_of(&dump(Database::Sqlite, "+00:00"), &sqlite(&names));
            assert_eq!(error, None);
            assert_eq!(lines.lines().count(), 3, "individual is passed over");
            for name in ["www.example.com", "local.test", "1.2.0.192.in-addr.arpa"] {
                assert!(lines.contains(&format!("{{\"rrname\":\"{name}\",\"rrtype\":1,")), "{lines}");
            }
            assert!(lines.contains(r#""time_first":5,"time_last":7,"#), "{lines}");
        }
        // It stays so behind the rows that were looked at.
        let mut many = vec!["moc.elpmaxe.www"; LOOKED_AT];
        many.push("zyx.cba");
        let (lines, _) = lines_of(&dump(Database::Sqlite, "+00:00"), &sqlite(&many));
        assert!(lines.lines().last().unwrap().starts_with(r#"{"rrname":"abc.xyz""#), "{lines}");
    }

    #[test]
    fn what_is_no_dump_is_refused_and_says_what_to_do() {
        let read = |database, text: &str| lines_of(&dump(database, "+00:00"), text).1.unwrap_or_default();
        assert!(read(Database::Sqlite, "SQLite format 3\0\u{10}").contains("sqlite3 FILE .dump"));
        for text in ["", "nonsense", "CREATE TABLE t (query text);"] {
            let why = read(Database::Mysql, text);
            assert!(why.contains("no table with the columns query, type"), "{text}: {why}");
        }
        let whole = sqlite(&["www.example.com"]);
        assert!(
            read(Database::Sqlite, whole.trim_end().strip_suffix("COMMIT;").unwrap()).contains("was cut")
        );
        assert!(looks_like(whole.as_bytes()).unwrap().contains("--from sqlite"));
        assert!(looks_like(b"-- MySQL dump 10.13").unwrap().contains("--from mysql-dump"));
        assert_eq!(looks_like(b"#separator \\x09\n"), None);
    }
}
