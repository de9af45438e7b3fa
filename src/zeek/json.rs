//! One record of a JSON log: a flat object, scanned once, with everything that is not needed passed over.
//!
//! # Bytes
//!
//! Zeek's names are bytes and JSON's strings are not, so the writer has changed its mind about them
//! (`src/threading/formatters/JSON.cc`, `LogAscii::json_string_escape_policy`). Each way is read back:
//!
//! - `\u0000` to `\u00ff` written as escapes are bytes: up to 2.6 every byte that is not plain was written so, and later
//!   versions write what lies above ASCII as it is;
//! - the text `\xHH` is a byte: the default since 3.0, and what TSV would have;
//! - U+F0000 to U+F00FF written as escapes are the bytes 00 to ff (`PUA`, since 9.0);
//! - where `TSV` is the policy (since 9.0), a backslash is doubled as well. That cannot be told from the text, so it has
//!   to be configured.
//!
//! The default cannot be undone exactly, since Zeek writes the text `\x00` and the byte 00 alike.

use memchr::memchr;

use super::header::{Role, is_dns_path};
use super::record::{LogRecord, Span};
use super::tsv::{hex, interval};
use super::words::find_either;
use super::{Line, count, qtype_of_name, time};
use crate::tally::Malformed;

/// How deep values that are passed over may be nested.
const MAX_DEPTH: u32 = 64;

/// Why a line gives no record.
enum Stop {
    Malformed(Malformed),
    OtherLog,
}

const NOT_JSON: Stop = Stop::Malformed(Malformed::Json);

/// Reads one line.
///
/// `tsv_escapes` says that backslashes are doubled before JSON sees them; `keys` is kept from line to line.
pub(super) fn read(line: &[u8], tsv_escapes: bool, keys: &mut Keys, record: &mut LogRecord) -> Line {
    match read_object(line, tsv_escapes, keys, record) {
        Ok(()) => Line::Record,
        Err(Stop::OtherLog) => Line::OtherLog,
        Err(Stop::Malformed(reason)) => Line::Malformed(reason),
    }
}

fn read_object(line: &[u8], tsv_escapes: bool, keys: &mut Keys, record: &mut LogRecord) -> Result<(), Stop> {
    let mut cursor = Cursor { rest: line, tsv_escapes };
    let mut place = 0;
    let mut ts = None;
    let mut qtype_name = None;
    cursor.expect(b'{')?;
    if cursor.next_is(b'}') {
        return Err(Stop::Malformed(Malformed::Time));
    }
    loop {
        cursor.skip_space();
        let role = cursor.key(keys, &mut place)?;
        cursor.skip_space();
        match role {
            Role::Other => cursor.skip_value()?,
            Role::Ts => ts = Some(cursor.ts()?),
            Role::RespH => record.resp_h = cursor.optional_string(record)?,
            Role::RespP => record.resp_p = cursor.count()?,
            Role::Query => record.query = cursor.optional_string(record)?,
            Role::Qclass => record.qclass = cursor.count()?,
            Role::Qtype => record.qtype = cursor.count()?,
            Role::QtypeName if cursor.null() => {}
            Role::QtypeName => qtype_name = Some(cursor.string()?),
            Role::Rcode => record.rcode = cursor.count()?,
            Role::Opcode => record.opcode = cursor.count()?,
            Role::Answers => cursor.answers(record)?,
            Role::Ttls => cursor.ttls(record)?,
            Role::Path if cursor.null() => {}
            Role::Path => {
                if !is_dns_path(cursor.string()?.raw) {
                    return Err(Stop::OtherLog);
                }
            }
        }
        if !cursor.more(b'}')? {
            break;
        }
    }
    cursor.skip_space();
    if !cursor.rest.is_empty() {
        return Err(NOT_JSON); // two lines in one
    }
    record.ts_micros = ts.ok_or(Stop::Malformed(Malformed::Time))?;
    if record.qtype.is_none() {
        record.qtype = qtype_name.and_then(|name| qtype_of_name(name.raw));
    }
    record.agree().map_err(Stop::Malformed)
}

//--- keys -----------------------------------------------------------------------------------------------------------

/// The keys met so far, in the order of the log: the next one is nearly always the next of these, and then neither has
/// to be searched for its end nor looked up. It changes how fast a line is read, never how.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    /// With its quotes and the colon.
    text: Box<[u8]>,
    role: Role,
}

impl Keys {
    /// How many keys are kept, and how long one may be.
    const MAX: usize = 64;
    /// How many keys a line may leave out without the search for the next one being given up.
    const AHEAD: usize = 8;

    /// The role of the key that `rest` begins with, and what follows its colon.
    #[inline]
    fn find<'a>(&self, place: &mut usize, rest: &'a [u8]) -> Option<(Role, &'a [u8])> {
        let ahead = self.0.get(*place..)?.iter().take(Keys::AHEAD);
        let (skipped, key, rest) =
            ahead.enumerate().find_map(|(at, key)| Some((at, key, rest.strip_prefix(&*key.text)?)))?;
        *place += skipped + 1;
        Some((key.role, rest))
    }

    /// Keeps a key that was met at a place.
    fn learn(&mut self, place: &mut usize, text: &[u8], role: Role) {
        if let Some(at) = self.0.iter().position(|key| *key.text == *text) {
            *place = at + 1;
        } else if self.0.len() < Keys::MAX && text.len() <= Keys::MAX {
            let at = (*place).min(self.0.len());
            self.0.insert(at, Key { text: text.into(), role });
            *place = at + 1;
        }
    }
}

//--- Cursor ---------------------------------------------------------------------------------------------------------

/// A string as it stands between its quotes.
#[derive(Clone, Copy)]
struct RawString<'a> {
    raw: &'a [u8],
    escaped: bool,
}

struct Cursor<'a> {
    rest: &'a [u8],
    tsv_escapes: bool,
}

impl<'a> Cursor<'a> {
    fn skip_space(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// Passes over a byte if it is the next one.
    fn next_is(&mut self, byte: u8) -> bool {
        self.skip_space();
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.next_is(byte) { Ok(()) } else { Err(NOT_JSON) }
    }

    /// After an element: whether there is one more, or the end that was named.
    fn more(&mut self, end: u8) -> Result<bool, Stop> {
        if self.next_is(b',') {
            return Ok(true);
        }
        self.expect(end).map(|()| false)
    }

    /// A key and its colon.
    #[inline]
    fn key(&mut self, keys: &mut Keys, place: &mut usize) -> Result<Role, Stop> {
        if let Some((role, rest)) = keys.find(place, self.rest) {
            self.rest = rest;
            return Ok(role);
        }
        let before = self.rest;
        let key = self.string()?;
        let role = Role::of(key.raw);
        self.expect(b':')?;
        // Only without a space before the colon is the text so long.
        if let Some(text) = before.get(..key.raw.len() + 3)
            && text.ends_with(b"\":")
        {
            keys.learn(place, text, role);
        }
        Ok(role)
    }

    fn string(&mut self) -> Result<RawString<'a>, Stop> {
        let [b'"', text @ ..] = self.rest else { return Err(NOT_JSON) };
        let mut from = 0;
        let mut escaped = false;
        loop {
            let at = from + find_either(b'"', b'\\', text.get(from..).unwrap_or_default()).ok_or(NOT_JSON)?;
            if text.get(at) == Some(&b'"') {
                self.rest = text.get(at + 1..).unwrap_or_default();
                return Ok(RawString { raw: text.get(..at).unwrap_or_default(), escaped });
            }
            escaped = true;
            from = at + 2; // whatever is escaped, it does not end the string
        }
    }

    /// A number, `true`, `false` or `null`. What stands behind it is for the caller to judge.
    fn scalar(&mut self) -> Result<&'a [u8], Stop> {
        let length = match self.rest {
            [b'0'..=b'9' | b'-', ..] => {
                let numeric = |b: &u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                self.rest.iter().position(|b| !numeric(b)).unwrap_or(self.rest.len())
            }
            [b't', b'r', b'u', b'e', ..] | [b'n', b'u', b'l', b'l', ..] => 4,
            [b'f', b'a', b'l', b's', b'e', ..] => 5,
            _ => return Err(NOT_JSON),
        };
        let (scalar, rest) = self.rest.split_at_checked(length).ok_or(NOT_JSON)?;
        self.rest = rest;
        Ok(scalar)
    }

    /// Passes over `null` if it is next.
    fn null(&mut self) -> bool {
        match self.rest.strip_prefix(b"null") {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Passes over any value. Objects and arrays need only to be balanced.
    fn skip_value(&mut self) -> Result<(), Stop> {
        let mut open: u64 = 0; // one bit for each level: 1 is an object
        let mut depth = 0;
        loop {
            self.skip_space();
            match self.rest {
                [bracket @ (b'{' | b'['), rest @ ..] => {
                    if depth == MAX_DEPTH {
                        return Err(NOT_JSON);
                    }
                    open = open << 1 | u64::from(*bracket == b'{');
                    depth += 1;
                    self.rest = rest;
                }
                [bracket @ (b'}' | b']'), rest @ ..] => {
                    if depth == 0 || open & 1 != u64::from(*bracket == b'}') {
                        return Err(NOT_JSON);
                    }
                    open >>= 1;
                    depth -= 1;
                    self.rest = rest;
                }
                [b',' | b':', rest @ ..] if depth > 0 => self.rest = rest,
                [b'"', ..] => {
                    self.string()?;
                }
                _ => {
                    self.scalar()?;
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn ts(&mut self) -> Result<u64, Stop> {
        let micros = match self.rest.first() {
            Some(b'"') => time::text(self.string()?.raw),
            _ => time::number(self.scalar()?),
        };
        micros.ok_or(Stop::Malformed(Malformed::Time))
    }

    fn count(&mut self) -> Result<Option<u16>, Stop> {
        match self.scalar()? {
            b"null" => Ok(None),
            b"true" | b"false" => Err(NOT_JSON),
            number => count(number).map(Some).ok_or(Stop::Malformed(Malformed::Value)),
        }
    }

    fn optional_string(&mut self, record: &mut LogRecord) -> Result<Option<Span>, Stop> {
        if self.null() {
            return Ok(None);
        }
        let string = self.string()?;
        let start = record.buffer.len();
        if string.escaped {
            decode(string.raw, self.tsv_escapes, &mut record.buffer).ok_or(NOT_JSON)?;
        } else {
            record.buffer.extend_from_slice(string.raw);
        }
        Ok(Some(record.span_from(start)))
    }

    fn answers(&mut self, record: &mut LogRecord) -> Result<(), Stop> {
        record.answers.clear();
        self.array(|cursor| {
            let answer = cursor.optional_string(record)?;
            record.answers.push(answer);
            Ok(())
        })
    }

    fn ttls(&mut self, record: &mut LogRecord) -> Result<(), Stop> {
        record.ttls.clear();
        self.array(|cursor| {
            let ttl = match cursor.scalar()? {
                b"null" => 0,
                b"true" | b"false" => return Err(NOT_JSON),
                number => {
                    interval(number).or_else(|| large(number)).ok_or(Stop::Malformed(Malformed::Value))?
                }
            };
            record.ttls.push(ttl);
            Ok(())
        })
    }

    /// An array, or `null`.
    fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        if self.null() {
            return Ok(());
        }
        self.expect(b'[')?;
        if self.next_is(b']') {
            return Ok(());
        }
        loop {
            self.skip_space();
            element(self)?;
            if !self.more(b']')? {
                return Ok(());
            }
        }
    }
}

/// Whole seconds of an interval with an exponent.
fn large(text: &[u8]) -> Option<u32> {
    let seconds: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (seconds >= 0.0).then_some(seconds as u32) // saturates
}

/// Undoes the escapes of a JSON string and Zeek's own below them; see the head of this file.
fn decode(raw: &[u8], tsv_escapes: bool, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match escape {
            [_, b'\\', b'x', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                rest
            }
            [_, b'\\', b'\\', b'\\', rest @ ..] if tsv_escapes => {
                out.push(b'\\');
                rest
            }
            [_, b'u', rest @ ..] => decode_unit(rest, out)?,
            [_, simple, rest @ ..] => {
                out.push(match simple {
                    b'"' | b'\\' | b'/' => *simple,
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    _ => return None,
                });
                rest
            }
            _ => return None,
        };
    }
    out.extend_from_slice(rest);
    Some(())
}

/// Decodes what follows `\u`; gives back what follows that.
fn decode_unit<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (unit, mut rest) = hex4(text)?;
    let mut code = u32::from(unit);
    if (0xd800..0xdc00).contains(&unit) {
        let (low, after) = hex4(rest.strip_prefix(b"\\u")?)?;
        let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        code = 0x10000 + (u32::from(unit - 0xd800) << 10) + u32::from(low);
        rest = after;
    }
    match code {
        0..=0xff => out.push(code as u8),
        0xf0000..=0xf00ff => out.push((code - 0xf0000) as u8),
        _ => out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes()),
    }
    Some(rest)
}

fn hex4(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<4>()?;
    let unit = digits.iter().try_fold(0, |unit: u16, digit| {
        digit.is_ascii_hexdigit().then(|| unit << 4 | u16::from(hex(*digit)))
    })?;
    Some((unit, rest))
}
