//! What is wanted of a scan, as a part of a statement that the engine leaves out the rest by. It may let through more, and never less.
//!
//! Keys decide before `FINAL` is done, and what is seen of a row does not: so what must be seen is asked of all stored states in a statement
//! inside, which gives the keys of what may be wanted.

use super::names::ODD;
use super::rowbinary::literal;
use super::rows::ClusterTable;
use crate::dns::{Name, Rdata};
use crate::store::{Condition, Edge, Fence, LabelRegex, Looks, Side};

/// What the engine is told of what is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Where tables say which rows are odd.
    with_odd: KeyConditions,
    /// Where they do not.
    without: KeyConditions,
    /// How tuples must be seen.
    seen: Vec<Fence>,
}

/// What the columns of the key must be; empty where they may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct KeyConditions {
    /// Of all rows.
    keys: String,
    /// Of rows that are left, where it takes long to look at all.
    after: String,
}

/// The first columns of a page.
pub struct Bounds<'a> {
    /// From this on.
    pub from: &'a [u8],
    /// Up to this, if there is an end, and whether that is within.
    pub to: Option<(&'a [u8], bool)>,
}

impl Bounds<'_> {
    /// The same as a condition on a column.
    pub fn of(&self, column: &str) -> String {
        let mut condition = at_least(column, self.from);
        if let Some((to, is_within)) = self.to {
            condition += &format!(" AND {column} {} {}", if is_within { "<=" } else { "<" }, literal(to));
        }
        condition
    }
}

/// That a column is not less than some bytes. What begins behind a key, which is that key with a byte 0, is said by the key: servers of
/// 18.16 take a text for not less than the same with more such bytes behind it, so a key would be met on either side.
pub fn at_least(column: &str, from: &[u8]) -> String {
    match from.strip_suffix(&[0]) {
        Some(before) => format!("{column} > {}", literal(before)),
        None => format!("{column} >= {}", literal(from)),
    }
}

/// The first two labels of a name: all names of a registrable domain have them in common.
pub const DOMAIN: &str = "substring(name, 1, position(name, '\\x00') + position(substring(name, position(name, '\\x00') + 1), '\\x00'))";

impl Filter {
    /// What is told of a condition; `None` where nothing can be.
    pub fn of(condition: &Condition) -> Option<Filter> {
        let mut seen = Vec::new();
        keys(condition, Telling { part: Told::All, has_odd: false }, &mut seen);
        let [with_odd, without] = [true, false].map(|has_odd| KeyConditions::of(condition, has_odd));
        let filter = Filter { with_odd, without, seen };
        (filter != Filter::default()).then_some(filter)
    }

    fn told(&self, has_odd: bool) -> &KeyConditions {
        if has_odd { &self.with_odd } else { &self.without }
    }

    /// The condition of rows that the page has otherwise; empty where there is none.
    pub fn after(&self, has_odd: bool) -> &str {
        &self.told(has_odd).after
    }

    /// Whether what was seen of rows decides, which needs memory for each of them.
    pub fn looks_at_times(&self) -> bool {
        !self.seen.is_empty()
    }

    /// The conditions within a page.
    pub fn conditions(
        &self,
        database: &str,
        table: ClusterTable,
        has_odd: bool,
        bounds: &Bounds<'_>,
    ) -> Vec<String> {
        let keys = &self.told(has_odd).keys;
        let keys = (!keys.is_empty()).then(|| format!("({keys})"));
        let seen = self.seen.iter().map(|fence| {
            // Rows of a name are everywhere in the order of data.
            let what = if table == ClusterTable::Questions { "name, rrtype" } else { "name, rrtype, rdata" };
            let first = table.first_column();
            let (name, bounds, seen) = (table.name(), bounds.of(first), seen(table, *fence));
            format!("({what}) IN (SELECT {what} FROM {database}.{name} PREWHERE {bounds} WHERE {seen})")
        });
        keys.into_iter().chain(seen).collect()
    }
}

impl KeyConditions {
    fn of(condition: &Condition, has_odd: bool) -> KeyConditions {
        let of = |part| keys(condition, Telling { part, has_odd }, &mut Vec::new());
        let all = of(Told::All).unwrap_or_default();
        // Engines look at all parts of a condition, whatever the first one says.
        match of(Told::Text).and_then(|_| of(Told::Quick)) {
            Some(quick) if quick != all => KeyConditions { keys: quick, after: all },
            _ => KeyConditions { keys: all, after: String::new() },
        }
    }
}

/// That some state of a row was seen so.
pub fn seen(table: ClusterTable, fence: Fence) -> String {
    let (column, compare, time) = match fence {
        Fence::FirstFrom(time) => ("first", ">=", time),
        Fence::FirstUpTo(time) => ("first", "<=", time),
        Fence::LastFrom(time) => ("last", ">=", time),
        Fence::LastUpTo(time) => ("last", "<=", time),
    };
    match table {
        ClusterTable::Questions | ClusterTable::Hits => format!("{column} {compare} {time}"),
        ClusterTable::ByName | ClusterTable::ByData => format!(
            "(count > 0 AND {column} {compare} {time}) OR (a_count > 0 AND a_{column} {compare} {time})"
        ),
    }
}

/// Of what parts of a condition is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Of all.
    All,
    /// Of all that is looked at quickly.
    Quick,
    /// Of that as far as it is about names and data, and few rows meet it.
    Text,
}

/// What is told to which tables.
#[derive(Debug, Clone, Copy)]
struct Telling {
    part: Told,
    /// Whether they say which rows are odd.
    has_odd: bool,
}

/// A condition on the columns of the key; `None` where all rows meet it as far as these say.
fn keys(condition: &Condition, telling: Telling, seen: &mut Vec<Fence>) -> Option<String> {
    let Telling { part, has_odd } = telling;
    match condition {
        Condition::Always => None,
        Condition::All(all) => joined(all.iter().filter_map(|one| keys(one, telling, seen)), " AND "),
        Condition::OneOf(any) => {
            // What is seen does not decide where it is one of several.
            let any: Option<Vec<String>> =
                any.iter().map(|one| keys(one, telling, &mut Vec::new())).collect();
            joined(any?.into_iter(), " OR ")
        }
        Condition::Shows(Side::Rrname, text) => in_name(text, "name", telling),
        Condition::Shows(Side::Rdata, text) => in_data(text, telling),
        Condition::Looks(_, _) if part != Told::All => None,
        Condition::Looks(Side::Rrname, looks) => name_looks(looks, has_odd),
        Condition::Looks(Side::Rdata, looks) => data_looks(looks, has_odd),
        Condition::BeginsWith(name) => Some(has("name", name.key())),
        Condition::Below(name) => Some(below(name)),
        Condition::Data(data) => joined(data.iter().map(exactly), " OR "),
        Condition::Types(_) | Condition::Sensor(_) if part == Told::Text => None,
        Condition::Types(types) => {
            let types: Vec<String> = types.iter().map(|rrtype| rrtype.0.to_string()).collect();
            (!types.is_empty()).then(|| format!("rrtype IN ({})", types.join(", ")))
        }
        Condition::Sensor(sensor) => Some(format!("sensor = {}", literal(sensor.as_bytes()))),
        Condition::Seen(fence) => {
            seen.push(*fence);
            None
        }
    }
}

/// That a name is another one or below it.
pub fn below(name: &Name) -> String {
    let prefix = name.subtree_key();
    format!("substring(name, 1, {}) = {}", prefix.len(), literal(prefix))
}

/// That a column matches a regex.
fn matches(column: &str, regex: &str) -> String {
    format!("match({column}, {})", literal(regex.as_bytes()))
}

/// That record data has a tag.
fn is_tagged(tag: u8) -> String {
    format!("substring(rdata, 1, 1) = {}", literal(&[tag]))
}

/// An address as servers show it, which is as it is shown but where the first bytes of one of IPv6 are zero.
const SHOWN_V4: &str = "IPv4NumToString(reinterpretAsUInt32(reverse(substring(rdata, 2, 4))))";
const SHOWN_V6: &str = "IPv6NumToString(toFixedString(substring(rdata, 2, 16), 16))";

/// That a name may look so.
fn name_looks(looks: &Looks, has_odd: bool) -> Option<String> {
    let odd = odd("name", has_odd);
    if looks.labels.is_empty() {
        return joined([has_length("name", looks.least), odd].into_iter(), " OR ");
    }
    let labels = joined(looks.labels.iter().map(|label| matches("name", &label.of_name())), " AND ")?;
    let may_be_odd = looks.labels.iter().any(|label| label.may_be_escape);
    joined([labels].into_iter().chain(may_be_odd.then_some(odd)), " OR ")
}

/// That a name in key form is so long that it has so many bytes as it is shown, where none of them is escaped.
fn has_length(key: &str, least: usize) -> String {
    format!("length({key}) >= {least}")
}

/// That bytes of a name in key form are escaped when it is shown.
fn is_odd(key: &str) -> String {
    format!("NOT {}", matches(key, &format!("^{}$", LabelRegex::PLAIN)))
}

/// That record data is a name of which some are: what is no name ends the regex with its first byte.
fn is_odd_data() -> String {
    let plain = matches("rdata", &format!(r"^[\x10]{}$", LabelRegex::PLAIN));
    format!("{} AND NOT {plain}", is_tagged(Rdata::NAME_TAG))
}

/// What the column [`ODD`] of a table says of a row: that names in it have bytes that are escaped when they are shown.
pub fn says_odd(table: ClusterTable) -> String {
    match table {
        ClusterTable::ByName | ClusterTable::ByData => format!("({}) OR ({})", is_odd("name"), is_odd_data()),
        ClusterTable::Questions | ClusterTable::Hits => is_odd("name"),
    }
}

/// That it may be so of the name, or of that in record data: few rows are odd, and looking at all of them for that takes long.
fn odd(column: &str, has_odd: bool) -> String {
    match (has_odd, column) {
        (true, _) => format!("{ODD} = 1"),
        (false, "name") => is_odd("name"),
        (false, _) => is_odd_data(),
    }
}

/// That record data may.
fn data_looks(looks: &Looks, has_odd: bool) -> Option<String> {
    let mut any = Vec::new();
    let is_anywhere = |label: &LabelRegex| (label.starts, label.ends) == (Edge::Open, Edge::Open);
    let is_name = is_tagged(Rdata::NAME_TAG);
    if looks.labels.is_empty() {
        any.push(is_tagged(Rdata::TEXT_TAG));
        // The tag is one byte more.
        let is_long = has_length("rdata", looks.least + 1);
        any.push(format!("{is_name} AND {is_long}"));
        any.push(odd("rdata", has_odd));
    } else if looks.labels.iter().all(is_anywhere) {
        any.extend(joined(looks.labels.iter().map(|label| matches("rdata", &label.of_text())), " AND "));
    } else {
        let text = joined(looks.labels.iter().map(|label| matches("rdata", &label.of_text())), " AND ")?;
        let names =
            joined(looks.labels.iter().map(|label| matches("rdata", &label.of_data_name())), " AND ")?;
        any.push(format!("{is_name} AND {names}"));
        any.push(format!("{} AND {text}", is_tagged(Rdata::TEXT_TAG)));
    }
    if looks.labels.iter().any(|label| label.may_be_escape) {
        any.push(odd("rdata", has_odd));
    }
    any.extend(looks.v4.iter().map(|v4| format!("{} AND {}", is_tagged(4), matches(SHOWN_V4, v4))));
    if let Some(v6) = &looks.v6 {
        any.push(begins_with_zeros());
        any.push(format!("{} AND {}", is_tagged(6), matches(SHOWN_V6, v6)));
    }
    joined(any.into_iter(), " OR ")
}

/// That record data is an address of IPv6 whose first bytes are zero: servers show those in another way.
fn begins_with_zeros() -> String {
    format!("substring(rdata, 1, 11) = {}", literal(&[&[6][..], &[0; 10]].concat()))
}

fn exactly(rdata: &Rdata) -> String {
    let mut key = Vec::new();
    rdata.push_key(&mut key);
    match rdata {
        Rdata::Text(_) => format!("lower(rdata) = {}", literal(&key.to_ascii_lowercase())),
        _ => format!("rdata = {}", literal(&key)),
    }
}

fn joined(each: impl Iterator<Item = String>, by: &str) -> Option<String> {
    let each: Vec<String> = each.map(|one| format!("({one})")).collect();
    (!each.is_empty()).then(|| each.join(by))
}

fn has(column: &str, bytes: &[u8]) -> String {
    format!("position({column}, {}) > 0", literal(bytes))
}

/// Whether names show a byte as it is.
fn is_plain(byte: &u8) -> bool {
    matches!(byte, 0x21..=0x7e) && *byte != b'.' && *byte != b'\\'
}

/// So many bytes tell enough: engines look for each text in all rows.
const TELLS_ENOUGH: usize = 4;

/// That a name in key form, as it is shown, may have a text in it: labels are in another order there, and bytes are not escaped.
fn in_name(text: &[u8], column: &str, telling: Telling) -> Option<String> {
    if let Some(labels) = whole_labels(text) {
        return Some(has(column, &labels));
    }
    let mut parts: Vec<String> = Vec::new();
    let mut longest: Option<(usize, String)> = None;
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        let length = rest.iter().take_while(|byte| is_plain(byte)).count();
        let (label, behind) = rest.split_at_checked(length)?;
        if label.is_empty() {
            // An escape, a dot, or what is never shown.
            let escaped = match (byte, behind.get(1)) {
                (b'\\', Some(next)) if next.is_ascii_digit() => {
                    behind.iter().skip(1).take(3).take_while(|byte| byte.is_ascii_digit()).count()
                }
                (b'\\', Some(_)) => 1,
                _ => 0,
            };
            rest = behind.get(1 + escaped..).unwrap_or_default();
            continue;
        }
        // A dot behind a character ends a label.
        let end: &[u8] = if behind.first() == Some(&b'.') { &[0] } else { &[] };
        let bytes = [label, end].concat().to_ascii_lowercase();
        if rest.len() == text.len() && byte.is_ascii_digit() {
            parts.extend(with_digits_first(&bytes, column, telling));
        } else {
            let part = has(column, &bytes);
            if bytes.len() >= TELLS_ENOUGH && longest.as_ref().is_none_or(|(length, _)| *length < bytes.len())
            {
                longest = Some((bytes.len(), part.clone()));
            }
            parts.push(part);
        }
        rest = behind;
    }
    match longest {
        Some((_, part)) => Some(part),
        None => joined(parts.into_iter(), " AND "),
    }
}

/// The labels of a text that are whole, one behind the other in key form, where these tell enough.
fn whole_labels(text: &[u8]) -> Option<Vec<u8>> {
    let labels: Vec<&[u8]> = text.split(|byte| *byte == b'.').collect();
    let is_label = |label: &&[u8]| !label.is_empty() && label.iter().all(is_plain);
    let [first, inner @ .., last] = labels.as_slice() else { return None };
    // A dot that nothing is in front of may be an escaped one.
    if !is_label(first) || !inner.iter().all(is_label) || !last.iter().all(is_plain) {
        return None;
    }
    // Behind a final dot there may be no label.
    let mut key = if last.is_empty() { Vec::new() } else { vec![0] };
    for label in inner.iter().rev() {
        key.extend(label.to_ascii_lowercase());
        key.push(0);
    }
    (key.len() > TELLS_ENOUGH).then_some(key)
}

/// The same of a text that begins with digits, which may be the last ones of an escape: a byte that is not shown as it is. Only where all is
/// looked at names are left out that have no such byte.
fn with_digits_first(text: &[u8], column: &str, telling: Telling) -> Option<String> {
    let without_first = text.get(1..).filter(|text| !text.is_empty())?;
    let mut any = vec![has(column, without_first)];
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count().min(3);
    for (of_escape, modulus) in [(2, 100), (3, 1000)].into_iter().filter(|(count, _)| *count <= digits) {
        let (escape, behind) = text.split_at_checked(of_escape)?;
        let value = escape.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
        let bytes = (1..=u8::MAX).filter(|byte| u32::from(*byte) % modulus == value && !is_plain(byte));
        any.extend(bytes.map(|byte| {
            let byte: &[u8] = if byte == 1 { &[1, 2] } else { &[byte] };
            has(column, &[byte, behind].concat())
        }));
    }
    let any = joined(any.into_iter(), " OR ")?;
    let Telling { part, has_odd } = telling;
    let odd = odd(column, has_odd);
    let of_odd = match (part, has_odd) {
        (Told::All, _) => format!("({any}) AND {odd}"),
        (_, true) => odd,
        (_, false) => return Some(any),
    };
    joined([has(column, text), of_odd].into_iter(), " OR ")
}

/// That an IPv4 address may be shown with a text in it; `None` where none is.
fn in_v4(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let parts: Vec<&str> = text.split('.').collect();
    let last = parts.len().checked_sub(1).filter(|last| *last < 4)?;
    // What numbers show as a part, and which bytes are known.
    let mut known = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let shows = |number: &u8| {
            let shown = number.to_string();
            match (at == 0, at == last) {
                (true, true) => shown.contains(part),
                (true, false) => shown.ends_with(part),
                (false, true) => shown.starts_with(part),
                (false, false) => shown == *part,
            }
        };
        let mut numbers = (0..=u8::MAX).filter(shows);
        let first = numbers.next()?;
        if (at > 0 && at < last) || (part.len() == 3 && numbers.next().is_none()) {
            known.push(first);
        }
    }
    let shown = match known.is_empty() {
        // Bytes of an address come in their order, those of a number in the other.
        true => has(SHOWN_V4, text.as_bytes()),
        false => has("rdata", &known),
    };
    Some(format!("substring(rdata, 1, 1) = '\\x04' AND {shown}"))
}

/// That an IPv6 address, whose first bytes are not zero, may be shown with a text in it; `None` where none is.
fn in_v6(text: &[u8]) -> Option<String> {
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if text.contains(&b'.') || (text.len() > 4 && !text.contains(&b':')) {
        return None;
    }
    if text.len() < 3 || text.contains(&b':') {
        return Some(has(SHOWN_V6, text));
    }
    // Two of the digits are one byte: the first two, or the next two.
    let pairs = text.windows(2).take(2).filter_map(digits);
    joined(pairs.map(|byte| has("rdata", &[byte])), " OR ").map(|bytes| format!("({bytes})"))
}

/// That record data, as it is shown, may have a text in it.
fn in_data(text: &[u8], telling: Telling) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let mut any = vec![in_name(&text, "rdata", telling)?];
    any.push(format!("positionCaseInsensitive(rdata, {}) > 0", literal(&text)));
    if text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        any.extend(in_v4(&text));
    }
    if text.iter().all(|byte| byte.is_ascii_hexdigit() || b".:".contains(byte)) {
        any.push(begins_with_zeros());
        any.extend(in_v6(&text).map(|shown| format!("{} AND {shown}", is_tagged(6))));
    }
    joined(any.into_iter(), " OR ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(condition: Condition) -> String {
        Filter::of(&condition).map(|filter| filter.without.keys).unwrap_or_default()
    }

    #[test]
    fn a_text_is_looked_for_by_its_labels() {
        let name = |text: &str| filter(Condition::Shows(Side::Rrname, text.as_bytes().to_vec()));
        assert_eq!(name("mail"), r"position(name, '\x6D\x61\x69\x6C') > 0");
        assert_eq!(name("a.b"), r"(position(name, '\x61\x00') > 0) AND (position(name, '\x62') > 0)");
        assert_eq!(name("a.bcde.f"), r"position(name, '\x00\x62\x63\x64\x65\x00') > 0");
        assert_eq!(name("a.b.c.d"), r"position(name, '\x00\x63\x00\x62\x00') > 0");
        assert_eq!(name("a.bc.de."), r"position(name, '\x64\x65\x00\x62\x63\x00') > 0");
        assert_eq!(name("a.mail"), r"position(name, '\x6D\x61\x69\x6C') > 0");
        assert!(name(".bcde.f").contains(r"'\x62\x63\x64\x65\x00'"), "a label may begin before it");
        assert_eq!(name(r"\195x"), r"(position(name, '\x78') > 0)");
        assert_eq!(name(r"\.x"), r"(position(name, '\x78') > 0)");
        // Digits at the beginning may be those of an escape.
        let any = [r"\x39\x35\x61", r"\x13\x35\x61", r"\xDB\x35\x61", r"\xC3\x61"];
        let any = any.map(|bytes| format!("(position(name, '{bytes}') > 0)")).join(" OR ");
        assert_eq!(name("195a"), format!("({any})"));
        assert_eq!(name("1"), "");
        // They are left out when little is left.
        let shown = Condition::Shows(Side::Rrname, b"365".to_vec());
        let digits = Filter::of(&shown).unwrap();
        let whole = r"position(name, '\x33\x36\x35') > 0";
        let after = &digits.without.after;
        assert!(after.starts_with(&format!("(({whole}) OR (")) && after.contains("NOT match"), "{after}");
        // Where it is known which rows are odd, these are left for then.
        assert_eq!(digits.with_odd.keys, format!("(({whole}) OR (odd = 1))"));
        let after = &digits.with_odd.after;
        assert!(after.starts_with(&format!("(({whole}) OR (")) && after.contains("AND odd = 1"), "{after}");
        for nothing in [".", r"\195", r"\.", ""] {
            assert_eq!(Filter::of(&Condition::Shows(Side::Rdata, nothing.into())), None, "{nothing}");
        }
        let one = Condition::Shows(Side::Rrname, b"a".to_vec());
        let nothing = Condition::Shows(Side::Rrname, b".".to_vec());
        assert_eq!(filter(Condition::OneOf(vec![one.clone(), nothing.clone()])), "");
        assert_eq!(filter(Condition::All(vec![one, nothing])), r"((position(name, '\x61') > 0))");
    }

    #[test]
    fn what_is_long_is_looked_for_by_its_length() {
        let looks = Looks { labels: Vec::new(), least: 40, v4: None, v6: None };
        let name = filter(Condition::Looks(Side::Rrname, looks.clone()));
        assert!(name.starts_with("(length(name) >= 40) OR (NOT match(name, "), "{name}");
        let with_odd = Filter::of(&Condition::Looks(Side::Rrname, looks.clone())).unwrap().with_odd.keys;
        assert_eq!(with_odd, "(length(name) >= 40) OR (odd = 1)");
        let data = filter(Condition::Looks(Side::Rdata, looks));
        assert!(data.contains("length(rdata) >= 41") && !data.contains("NumToString"), "{data}");
    }

    #[test]
    fn an_address_is_looked_for_by_the_bytes_that_a_text_tells() {
        let v4 = |text: &str| in_v4(text.as_bytes());
        let known = |bytes: &str| {
            Some(format!(r"substring(rdata, 1, 1) = '\x04' AND position(rdata, '{bytes}') > 0"))
        };
        assert_eq!(v4("192.0.2.17"), known(r"\xC0\x00\x02"));
        assert_eq!(v4("92.0.255"), known(r"\x00\xFF"));
        assert_eq!(v4(".0."), known(r"\x00"));
        assert!(v4("2.1").is_some_and(|condition| condition.contains("IPv4NumToString")));
        for none in ["365", "1.300.1", "1..2", "1.02.3", "1.2.3.4.", "1.2.3.4.5", "999.1"] {
            assert_eq!(v4(none), None, "{none}");
        }
    }
}
