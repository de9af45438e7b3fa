//! What can be no indicator, and is refused with a hint: "nothing found" would be taken for an answer.

use super::pattern::has_wildcard;
use super::query::{Query, QueryError, between_bars};
use crate::indicators::has_tail;
use crate::indicators::text::{self, Cleaned, ONE_A_LINE, Unreadable, is_digest, numeric};

pub(super) const CUT: &str = "this is cut";

const LITERAL: &str =
    "a backslash before a character that is part of a name; or ~text, which looks for any text";

pub(super) fn refused(given: &str, message: impl Into<String>, hint: &'static str) -> QueryError {
    QueryError::new(given, 0, message, hint)
}

/// Refuses what is more than one.
pub(super) fn several(given: &str, many: usize) -> Option<QueryError> {
    let message = match many {
        0 | 1 => return None,
        2 => "there are two indicators in it".to_owned(),
        many => format!("there are {many} indicators in it"),
    };
    Some(refused(given, message, ONE_A_LINE))
}

/// As [`text::taken`], with what was given for the error.
pub(super) fn clean(given: &str, text: &str) -> Result<Option<Cleaned>, QueryError> {
    text::taken(text).map_err(|Unreadable { message, hint }| refused(given, message, hint))
}

/// Refuses what the parser takes for a name and nobody means as one.
pub(super) fn check(given: &str, query: &Query, clean: &str) -> Result<(), QueryError> {
    let text = match query {
        Query::Name(_)
        | Query::Target(_)
        | Query::Subtree(_)
        | Query::TargetSubtree(_)
        | Query::Prefix(_) => clean,
        Query::Several(_) => {
            let mut texts = between_bars(clean).into_iter();
            return texts.try_for_each(|text| check(given, &Query::parse(text)?, text));
        }
        Query::Pattern(_) => clean,
        _ => return Ok(()),
    };
    if text.starts_with(['~', '/']) {
        return Ok(());
    }
    if has_wildcard(text) && is_numeric_pattern(text) {
        let hint = "a block such as 192.0.2.0/24, or a range such as 192.0.2.3-192.0.2.9";
        return Err(refused(given, "an address has no pattern", hint));
    }
    let bare = text.trim_start_matches("*.").trim_start_matches('.').trim_end_matches(".*");
    if let Some(last @ ('-' | '=')) =
        bare.chars().next_back().filter(|_| bare.contains('.') && !has_wildcard(bare))
    {
        let hint = "the whole of it; or --extract (extract=true), which puts lines together that were broken";
        return Err(refused(given, format!("{CUT}: no name ends in {last}"), hint));
    }
    if text.starts_with('^') {
        return Err(refused(given, "this looks like a regex", "/regex/"));
    }
    if !has_wildcard(text) && has_tail(bare) {
        let hint = "the address alone; or, where it is a name, a backslash before its first sign";
        return Err(refused(given, "this is an address with something behind it", hint));
    }
    if let Some((at, c)) = text.char_indices().find(|(at, c)| is_foreign_sign(text, *at, *c)) {
        let (message, hint) = match c {
            ':' if text.matches(':').count() > 1 => {
                ("this is not an address", "an address such as 2001:db8::1")
            }
            ',' | ';' => {
                ("this is more than one, or no name", "one in a line; a list: --file, with --column for CSV")
            }
            '%' => ("a percent sign stands for nothing here", "* for any text"),
            _ => ("this is not a name", LITERAL),
        };
        return Err(QueryError::new(text, at, format!("{message} ({c})"), hint));
    }
    if text.contains('[') && !text.contains(['*', '?']) && !without_classes(text).contains('.') {
        let hint = "the name as it was; or, for a pattern, with its dots: ns[12].example.com";
        return Err(refused(given, "what stands in brackets here is unclear", hint));
    }
    if text.contains('/') && !bare.ends_with("arpa") && !text.contains('\\') {
        return Err(refused(
            given,
            "no name has a slash in it",
            "dots between labels; a block is 192.0.2.0/24",
        ));
    }
    if text.contains(['<', '>']) {
        return Err(refused(given, "this is not a name (< or > in it)", LITERAL));
    }
    if (has_wildcard(text) || text.starts_with('.')) && has_brace(text) {
        return Err(refused(
            given,
            "what stands in braces here is unclear",
            "*.name, or a glob such as ns[12].example.com",
        ));
    }
    if !has_wildcard(text) && is_digest(text) {
        return Err(a_digest(given));
    }
    match numeric(bare) {
        Some(message) if !has_wildcard(bare) => Err(refused(given, message, "an address such as 192.0.2.7")),
        _ => Ok(()),
    }
}

/// Whether a sign is of no name as people have them. What a tunnel encodes has signs too: `=` at the end of a label, `+` in it.
fn is_foreign_sign(text: &str, at: usize, c: char) -> bool {
    let before_a_word = || text.get(at + 1..).is_some_and(|rest| rest.starts_with(char::is_alphanumeric));
    match c {
        '=' => before_a_word(),
        '+' | '!' => at == 0,
        _ => ",;:|@%$#&".contains(c),
    }
}

/// Whether there is a brace with no backslash before it.
pub(super) fn has_brace(text: &str) -> bool {
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' => drop(signs.next()),
            '{' | '}' => return true,
            _ => {}
        }
    }
    false
}

pub(super) fn a_digest(given: &str) -> QueryError {
    refused(given, "this looks like the hash of a file, which no DNS log has", FOREIGN_HINT)
}

pub(super) const AS_NUMBER: &str = "the number of an AS";

/// Whether a text is the number of an autonomous system: `AS64500`.
pub(super) fn is_as_number(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    let number = text
        .strip_prefix("asn")
        .or_else(|| text.strip_prefix("as"))
        .map(|rest| rest.trim_start_matches([' ', ':']));
    number
        .is_some_and(|number| (3..=10).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) const FOREIGN_HINT: &str = "the names and addresses that belong to it";

/// What reports list beside names and addresses, and a parser of names would take for one: what it is.
pub(super) fn foreign(text: &str) -> Option<&'static str> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || "\"'`<>()".contains(c));
    let lower = text.to_ascii_lowercase();
    let is_path = matches!(text.as_bytes(), [drive, b':', b'\\', ..] if drive.is_ascii_alphabetic());
    let keys = ["hklm\\", "hkcu\\", "hkcr\\", "hku\\", "hkey_"];
    let vulnerability = || {
        let (year, number) = lower.strip_prefix("cve-")?.split_once('-')?;
        let is_number = |text: &str| text.len() >= 4 && text.bytes().all(|b| b.is_ascii_digit());
        (year.len() == 4 && is_number(year) && is_number(number)).then_some(())
    };
    if is_path || lower.starts_with("%") && lower.contains("%\\") {
        Some("the path of a file")
    } else if keys.iter().any(|key| lower.starts_with(key)) {
        Some("a key of the Windows registry")
    } else if is_as_number(text) {
        Some(AS_NUMBER)
    } else {
        vulnerability().map(|()| "the number of a vulnerability")
    }
}

/// A pattern without what is in brackets.
fn without_classes(text: &str) -> String {
    text.split('[')
        .enumerate()
        .map(|(at, part)| if at == 0 { part } else { part.rsplit(']').next().unwrap_or(part) })
        .collect()
}

/// Whether a pattern is an address with wildcards in it.
fn is_numeric_pattern(text: &str) -> bool {
    let mut numbers = 0;
    let parts_fit = text.split('.').all(|part| {
        let is_number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        numbers += usize::from(is_number);
        is_number || !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || b"*?[]-!".contains(&b))
    });
    parts_fit && numbers > 0
}
