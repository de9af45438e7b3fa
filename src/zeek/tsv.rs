//! One record of a TSV log: split at the separator, needed columns decoded.

use memchr::{memchr, memmem};

use super::header::{Header, ROLES, Role, is_dns_path};
use super::record::{Client, LogRecord};
use super::words::{Places, unescape};
use super::{Line, count, qtype_of_name, time};
use crate::tally::Malformed;

/// Reads a line by the header in force. A line of another number of columns than the header has is no record: it was
/// cut, merged with another or overwritten.
pub(super) fn read(header: &Header, line: &[u8], record: &mut LogRecord) -> Line {
    let mut columns = [None; ROLES];
    let whole = match header.separator.as_slice() {
        [separator] => split(line, 1, Places::new(*separator, line), &header.roles, &mut columns),
        separator => {
            split(line, separator.len(), memmem::find_iter(line, separator), &header.roles, &mut columns)
        }
    };
    if !whole {
        return Line::Malformed(Malformed::Columns);
    }
    match decode(header, &columns, record) {
        Ok(line) => line,
        Err(reason) => Line::Malformed(reason),
    }
}

/// Puts needed columns into their places; says whether there are as many columns as there should be.
fn split<'a>(
    line: &'a [u8],
    width: usize,
    separators: impl Iterator<Item = usize>,
    roles: &[Role],
    columns: &mut [Option<&'a [u8]>; ROLES],
) -> bool {
    let mut roles = roles.iter();
    let mut start = 0;
    for end in separators.chain([line.len()]) {
        let Some(&role) = roles.next() else { return false };
        if let Some(column) = columns.get_mut(role as usize) {
            *column = line.get(start..end);
        }
        start = end + width;
    }
    roles.next().is_none()
}

fn decode(
    header: &Header,
    columns: &[Option<&[u8]>; ROLES],
    record: &mut LogRecord,
) -> Result<Line, Malformed> {
    let set = |role: Role| {
        let value = columns.get(role as usize).copied().flatten()?;
        (value != header.unset_field).then_some(value)
    };
    let number = |role: Role| set(role).map(|value| count(value).ok_or(Malformed::Value)).transpose();

    if set(Role::Path).is_some_and(|path| !is_dns_path(path)) {
        return Ok(Line::OtherLog);
    }
    // Zeek writes seconds; `zeek-cut -D` and its like make dates of them.
    let ts = set(Role::Ts).and_then(|ts| time::seconds(ts).or_else(|| time::text(ts)));
    record.ts_micros = ts.ok_or(Malformed::Time)?;
    record.resp_p = number(Role::RespP)?;
    record.qclass = number(Role::Qclass)?;
    record.qtype = number(Role::Qtype)?;
    record.rcode = number(Role::Rcode)?;
    record.opcode = number(Role::Opcode)?;
    if record.qtype.is_none() {
        record.qtype = set(Role::QtypeName).and_then(qtype_of_name);
    }
    record.resp_h = set(Role::RespH).map(|address| record.keep(address));
    if let Some(query) = set(Role::Query) {
        let start = record.buffer.len();
        if query != header.empty_field {
            unescape(query, &mut record.buffer);
        }
        record.query = Some(record.span_from(start));
    }
    if let Some(ttls) = set(Role::Ttls)
        && ttls != header.empty_field
    {
        for ttl in Elements::new(ttls, &header.set_separator) {
            let ttl = if ttl == header.unset_field { 0 } else { interval(ttl).ok_or(Malformed::Value)? };
            record.ttls.push(ttl);
        }
    }
    if let Some(answers) = set(Role::Answers) {
        // A vector of one empty string, the root as the target of an MX or SRV, looks like an empty vector.
        let none = answers == header.empty_field && set(Role::Ttls).is_some() && record.ttls.is_empty();
        if !none {
            read_answers(header, answers, record);
        }
    }
    record.agree()?;
    if record.client.is_some() {
        let uid = set(Role::Uid).map(|uid| record.keep(uid));
        let orig_h = set(Role::OrigH).map(|address| record.keep(address));
        // It counts for nothing: one that is none is not told, and makes no line malformed.
        let orig_p = set(Role::OrigP).and_then(count);
        record.client = Some(Client { uid, orig_h, orig_p });
    }
    Ok(Line::Record)
}

fn read_answers(header: &Header, answers: &[u8], record: &mut LogRecord) {
    for answer in Elements::new(answers, &header.set_separator) {
        if answer == header.unset_field {
            record.answers.push(None);
            continue;
        }
        let start = record.buffer.len();
        if answer != header.empty_field {
            unescape(answer, &mut record.buffer);
        }
        let span = record.span_from(start);
        record.answers.push(Some(span));
    }
}

/// The elements of a vector or set.
struct Elements<'a> {
    rest: Option<&'a [u8]>,
    separator: &'a [u8],
}

impl<'a> Elements<'a> {
    fn new(value: &'a [u8], separator: &'a [u8]) -> Elements<'a> {
        Elements { rest: Some(value), separator }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let at = match self.separator {
            [separator] => memchr(*separator, rest),
            separator => memmem::find(rest, separator),
        };
        let Some(at) = at else {
            self.rest = None;
            return Some(rest);
        };
        self.rest = rest.get(at + self.separator.len()..);
        rest.get(..at)
    }
}

/// Whole seconds of an interval; above what a u32 holds, that.
pub(super) fn interval(text: &[u8]) -> Option<u32> {
    let mut seconds = 0u32;
    let mut digits = 0;
    let mut bytes = text.iter();
    for byte in bytes.by_ref() {
        match byte {
            b'0'..=b'9' => seconds = seconds.saturating_mul(10).saturating_add(u32::from(byte - b'0')),
            b'.' if digits > 0 => break,
            _ => return None,
        }
        digits += 1;
    }
    (digits > 0 && bytes.all(u8::is_ascii_digit)).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_whole_seconds() {
        for (text, seconds) in [
            ("60.000000", Some(60)),
            ("0.9", Some(0)),
            ("7", Some(7)),
            ("7.", Some(7)),
            ("4294967296.0", Some(u32::MAX)),
            ("", None),
            (".5", None),
            ("-1.0", None),
            ("1.x", None),
            ("1e3", None),
        ] {
            assert_eq!(interval(text.as_bytes()), seconds, "{text}");
        }
    }
}
