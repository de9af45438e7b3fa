//! One record of a JSON log: a flat object, scanned once, with everything that is not needed passed over.
//!
//! Zeek's own form is read here, with dots or underscores in its names, and with `id` as an object of its own. Where
//! something is missing, [`super::envelope`] looks whether a shipper has put the record into another object.
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
use super::tsv::interval;
use super::words::find_either;
use super::words::hex;
use super::{Line, count, qtype_of_name, time};
use crate::tally::Malformed;

/// How deep values that are passed over may be nested.
pub(super) const MAX_DEPTH: u32 = 64;

/// Why a line gives no record.
pub(super) enum Stop {
    Malformed(Malformed),
    OtherLog,
}

pub(super) const NOT_JSON: Stop = Stop::Malformed(Malformed::Json);

impl From<Stop> for Line {
    fn from(stop: Stop) -> Line {
        match stop {
            Stop::OtherLog => Line::OtherLog,
            Stop::Malformed(reason) => Line::Malformed(reason),
        }
    }
}

/// What a line is as a flat object.
pub(super) enum Flat {
    /// A DNS record with nothing missing, or a record of another log, or one with values that make no sense.
    Is(Line),
    /// This, unless the record is somewhere inside of it or some of its fields are.
    Unless(Line),
}

/// Reads one line as a flat object.
///
/// `tsv_escapes` says that backslashes are doubled before JSON sees them; `keys` is kept from line to line.
pub(super) fn read(line: &[u8], tsv_escapes: bool, keys: &mut Keys, record: &mut LogRecord) -> Flat {
    match read_object(line, tsv_escapes, keys, record) {
        // Zeek always tells the responder's port.
        Ok(()) if record.resp_p.is_some() && record.dns_fields() > 0 => Flat::Is(Line::Record),
        Ok(()) => Flat::Unless(Line::Record),
        Err(Stop::Malformed(reason @ (Malformed::Json | Malformed::Time))) => {
            Flat::Unless(Line::Malformed(reason))
        }
        Err(stop) => Flat::Is(stop.into()),
    }
}

fn read_object(line: &[u8], tsv_escapes: bool, keys: &mut Keys, record: &mut LogRecord) -> Result<(), Stop> {
    let mut cursor = JsonCursor { rest: line, tsv_escapes };
    let mut place = 0;
    let times = cursor.members(record, |cursor| cursor.key(keys, &mut place))?;
    cursor.skip_space();
    if !cursor.rest.is_empty() && !is_list_rest(cursor.rest) {
        return Err(NOT_JSON); // two lines in one
    }
    times.settle(record)
}

/// Whether this follows an element of an array that is written one element a line.
pub(super) fn is_list_rest(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii_end(), b"," | b"]" | b"],")
}

/// The role of a key; `id` is an object of its own where a shipper has split names at their dots.
#[inline]
pub(super) fn role_of(name: &[u8]) -> Role {
    if name == b"id" { Role::Id } else { Role::of(name) }
}

/// What is known of a record only when all of its members were seen.
#[derive(Default)]
pub(super) struct Times<'a> {
    pub(super) ts: Option<u64>,
    qtype_name: Option<RawString<'a>>,
}

impl Times<'_> {
    /// Completes a record.
    pub(super) fn settle(self, record: &mut LogRecord) -> Result<(), Stop> {
        record.ts_micros = self.ts.ok_or(Stop::Malformed(Malformed::Time))?;
        if record.qtype.is_none() {
            record.qtype = self.qtype_name.and_then(|name| qtype_of_name(name.raw));
        }
        record.agree().map_err(Stop::Malformed)
    }
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

//--- JsonCursor ---------------------------------------------------------------------------------------------------------

/// A string as it stands between its quotes.
#[derive(Clone, Copy)]
pub(super) struct RawString<'a> {
    pub(super) raw: &'a [u8],
    escaped: bool,
}

pub(super) struct JsonCursor<'a> {
    pub(super) rest: &'a [u8],
    pub(super) tsv_escapes: bool,
}

impl<'a> JsonCursor<'a> {
    /// Reads an object's members into a record. `key` reads a key with its colon and says what its value is.
    #[inline]
    pub(super) fn members(
        &mut self,
        record: &mut LogRecord,
        mut key: impl FnMut(&mut Self) -> Result<Role, Stop>,
    ) -> Result<Times<'a>, Stop> {
        let mut times = Times::default();
        self.expect(b'{')?;
        if self.next_is(b'}') {
            return Ok(times);
        }
        loop {
            self.skip_space();
            let role = key(self)?;
            self.skip_space();
            match role {
                Role::Other => self.skip_value()?,
                Role::Ts => times.ts = Some(self.ts()?),
                Role::RespH => record.resp_h = self.optional_string(record)?,
                Role::RespP => record.resp_p = self.count()?,
                Role::Query => record.query = self.optional_string(record)?,
                Role::Qclass => record.qclass = self.count()?,
                Role::Qtype => record.qtype = self.count()?,
                Role::QtypeName if self.null() => {}
                Role::QtypeName => times.qtype_name = Some(self.string()?),
                Role::Rcode => record.rcode = self.count()?,
                Role::Opcode => record.opcode = self.count()?,
                Role::Answers => self.answers(record)?,
                Role::Ttls => self.ttls(record)?,
                Role::Path if self.null() => {}
                Role::Path => {
                    if !is_dns_path(self.string()?.raw) {
                        return Err(Stop::OtherLog);
                    }
                    record.says_dns = true;
                }
                Role::Uid | Role::OrigH | Role::OrigP => self.client(role, record)?,
                Role::Id if self.rest.first() == Some(&b'{') => self.id(record)?,
                Role::Id => self.skip_value()?,
            }
            if !self.more(b'}')? {
                return Ok(times);
            }
        }
    }

    /// Reads `id` as an object: `{"orig_h": …, "orig_p": …, "resp_h": …, "resp_p": …}`.
    fn id(&mut self, record: &mut LogRecord) -> Result<(), Stop> {
        self.expect(b'{')?;
        if self.next_is(b'}') {
            return Ok(());
        }
        loop {
            self.skip_space();
            let key = self.string()?;
            self.expect(b':')?;
            self.skip_space();
            match key.raw {
                b"resp_h" => record.resp_h = self.optional_string(record)?,
                b"resp_p" => record.resp_p = self.count()?,
                b"orig_h" => self.client(Role::OrigH, record)?,
                b"orig_p" => self.client(Role::OrigP, record)?,
                _ => self.skip_value()?,
            }
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Reads a part of who asked. It counts for nothing: what is no such value is passed over, as if nobody had asked.
    pub(super) fn client(&mut self, role: Role, record: &mut LogRecord) -> Result<(), Stop> {
        let value = self.rest;
        self.skip_value()?;
        let Some(mut client) = record.client else { return Ok(()) };
        let mut value = JsonCursor { rest: value, tsv_escapes: self.tsv_escapes };
        match (role, value.rest.first()) {
            (Role::Uid, Some(b'"')) => client.uid = value.optional_string(record).ok().flatten(),
            (Role::OrigH, Some(b'"')) => client.orig_h = value.optional_string(record).ok().flatten(),
            (Role::OrigP, _) => client.orig_p = value.port(),
            _ => {}
        }
        record.client = Some(client);
        Ok(())
    }

    /// A port, perhaps in quotes; nothing where it is none.
    pub(super) fn port(&mut self) -> Option<u16> {
        match self.rest.first() {
            Some(b'"') => count(self.string().ok()?.raw),
            _ => count(self.scalar().ok()?),
        }
    }

    pub(super) fn skip_space(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// Passes over a byte if it is the next one.
    pub(super) fn next_is(&mut self, byte: u8) -> bool {
        self.skip_space();
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.next_is(byte) { Ok(()) } else { Err(NOT_JSON) }
    }

    /// After an element: whether there is one more, or the end that was named.
    pub(super) fn more(&mut self, end: u8) -> Result<bool, Stop> {
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
        let role = role_of(key.raw);
        self.expect(b':')?;
        // Only without a space before the colon is the text so long.
        if let Some(text) = before.get(..key.raw.len() + 3)
            && text.ends_with(b"\":")
        {
            keys.learn(place, text, role);
        }
        Ok(role)
    }

    pub(super) fn string(&mut self) -> Result<RawString<'a>, Stop> {
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
    pub(super) fn scalar(&mut self) -> Result<&'a [u8], Stop> {
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
    pub(super) fn null(&mut self) -> bool {
        match self.rest.strip_prefix(b"null") {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Passes over any value. Objects and arrays need only to be balanced.
    pub(super) fn skip_value(&mut self) -> Result<(), Stop> {
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

    pub(super) fn ts(&mut self) -> Result<u64, Stop> {
        let micros = match self.rest.first() {
            Some(b'"') => time::text(self.string()?.raw),
            _ => time::number(self.scalar()?),
        };
        micros.ok_or(Stop::Malformed(Malformed::Time))
    }

    pub(super) fn count(&mut self) -> Result<Option<u16>, Stop> {
        match self.scalar()? {
            b"null" => Ok(None),
            b"true" | b"false" => Err(NOT_JSON),
            number => count(number).map(Some).ok_or(Stop::Malformed(Malformed::Value)),
        }
    }

    pub(super) fn optional_string(&mut self, record: &mut LogRecord) -> Result<Option<Span>, Stop> {
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
            let ttl = match cursor.scalar_or_text()? {
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

    /// A number and its like, or one that somebody has quoted.
    fn scalar_or_text(&mut self) -> Result<&'a [u8], Stop> {
        match self.rest.first() {
            Some(b'"') => Ok(self.string()?.raw),
            _ => self.scalar(),
        }
    }

    /// An array, or `null`. Some make one element of an array of one (Elasticsearch and its like know no arrays).
    fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        let [b'[', rest @ ..] = self.rest else {
            return if self.null() { Ok(()) } else { element(self) };
        };
        self.rest = rest;
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
                out.push(unescaped(*simple)?);
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

/// Undoes the escapes of a JSON string by the letter of RFC 8259 section 7: what is inside is text of its own.
pub(super) fn decode_text(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match escape {
            [_, b'u', digits @ ..] => {
                let (unit, after) = hex4(digits)?;
                match unit {
                    // Above ASCII an escape is a character here, where `decode_unit` takes those below U+0100 for bytes.
                    0x80..=0xff => {
                        let character = char::from_u32(u32::from(unit))?;
                        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                        after
                    }
                    _ => decode_unit(digits, out)?,
                }
            }
            [_, simple, after @ ..] => {
                out.push(unescaped(*simple)?);
                after
            }
            _ => return None,
        };
    }
    out.extend_from_slice(rest);
    Some(())
}

/// What a backslash and this letter stand for.
fn unescaped(simple: u8) -> Option<u8> {
    Some(match simple {
        b'"' | b'\\' | b'/' => simple,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}
