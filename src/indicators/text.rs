//! Indicators as text: out of a report, a mail, an address bar, a spreadsheet.
//!
//! This undoes what reports do so that nobody clicks (`evil[.]example`, `hxxp://`), takes away what surrounds (quotes, brackets,
//! a final comma), and takes the host out of URLs, `host:port`, `user@host` and the like. What the text that is left means
//! is for who asked: a query ([`crate::lookup`]), or the value of a feed ([`super::value`]).

use std::net::{IpAddr, Ipv4Addr};

use percent_encoding::percent_decode_str;

use super::host::{has_known_end, is_host, is_reached, is_scheme, range_end, without_port, without_scheme};
use super::wrapped;
use crate::dns::Name;

pub use super::host::numeric;

/// Why a text cannot be understood, and what would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What is wrong.
    pub message: String,
    /// What would be valid.
    pub hint: &'static str,
}

impl Unreadable {
    fn new(message: impl Into<String>, hint: &'static str) -> Unreadable {
        Unreadable { message: message.into(), hint }
    }
}

/// Parts of a name that may have blanks between them.
const MOST_LABELS: usize = 8;
/// Characters between brackets that may stand for another.
const MAX_BETWEEN: usize = 12;
/// Bytes that are looked through for the other ones of signs around an indicator; around a long one there are few.
const LOOKED_THROUGH: usize = 16 << 10;
/// Pairs that surround.
const PAIRS: &[(char, char)] = &[
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('\u{201c}', '\u{201d}'),
    ('\u{201e}', '\u{201c}'),
    ('\u{201e}', '\u{201d}'),
    ('\u{201d}', '\u{201d}'),
    ('\u{2018}', '\u{2019}'),
    ('\u{201a}', '\u{2018}'),
    ('\u{2019}', '\u{2019}'),
    ('\u{ab}', '\u{bb}'),
    ('\u{bb}', '\u{ab}'),
    ('\u{2039}', '\u{203a}'),
    ('<', '>'),
    ('(', ')'),
    ('[', ']'),
    ('{', '}'),
];
/// Keys of logs and mails before an indicator and a sign of equality.
pub(super) const KEYS: &[&str] = &[
    "host",
    "hostname",
    "domain",
    "fqdn",
    "name",
    "query",
    "qname",
    "rrname",
    "dns",
    "server",
    "ip",
    "src",
    "dst",
    "srcip",
    "dstip",
    "src_ip",
    "dst_ip",
    "addr",
    "address",
    "url",
    "uri",
    "c2",
    "ioc",
    "indicator",
    "value",
    "dest",
    "destination",
    "source",
    "sni",
    "ip4",
    "ip6",
    "ipv4",
    "ipv6",
];
/// What to do about more than one indicator in a line.
pub const ONE_A_LINE: &str = "one in a line, or --extract (extract=true) to take all of them out of a text";

/// Bytes as text, with U+FFFD for each that is none: for what is only looked at or shown.
pub fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend((!chunk.invalid().is_empty()).then_some('\u{fffd}'));
    }
    text
}

/// Whether a text has only what names and addresses of IPv4 are made of, and nothing doubled.
pub fn is_plain(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    text.bytes().all(is_plain) && !text.contains("..") && !text.is_empty() && !text.ends_with('.')
}

/// What was taken out of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// A host, an address, a block, a pair, or a query.
    pub text: String,
    /// What was behind the host, where that is of a URL: its path, its parameters, its fragment.
    pub rest: String,
}

impl Cleaned {
    fn whole(text: impl Into<String>) -> Cleaned {
        Cleaned { text: text.into(), rest: String::new() }
    }
}

//--- cleaning -------------------------------------------------------------------------------------------------------

/// The indicator in some text; none where the text is a query that is left as it is.
///
/// # Errors
///
/// When nothing is left of it, or it is what nobody means as an indicator.
pub fn clean(text: &str) -> Result<Option<String>, Unreadable> {
    Ok(taken(text)?.map(|taken| taken.text))
}

/// The same, with what is behind the host of a URL.
///
/// # Errors
///
/// As [`clean`].
pub fn taken(text: &str) -> Result<Option<Cleaned>, Unreadable> {
    // A line that quoted-printable broke.
    let unbroken;
    let text = match text.contains("=\n") || text.contains("=\r\n") {
        true => {
            unbroken = text.replace("=\r\n", "").replace("=\n", "");
            unbroken.as_str()
        }
        false => text,
    };
    let whole = text;
    let is_query = |text: &str| {
        // `//host/` is a URL without its scheme.
        let host = text.strip_prefix("//").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let is_struck = text.len() > 4 && text.starts_with("~~") && text.ends_with("~~");
        text.starts_with('~') && !is_struck || text.starts_with('/') && !is_host(without_port(host))
    };
    if is_query(text) {
        return Ok(None);
    }
    let visible: String = text.chars().filter_map(seen).collect();
    let scheme = visible.trim_end_matches([':', '/', '\\', ' ']);
    if scheme.len() < visible.trim_end().len() && is_scheme(scheme) {
        return Err(only_a_scheme());
    }
    let text = backslashes(joined(&refang(edges(&visible), "")));
    if text.contains('\\') {
        return Ok(None);
    }
    let text = edges(&text);
    // A share of Windows, `\\server\c$`, is no regex.
    if is_query(text) && !(visible.trim_start().starts_with("\\\\") && text.starts_with("//")) {
        return Ok((text != whole).then(|| Cleaned::whole(text)));
    }
    indicator(text).map(Some)
}

/// A character as it is meant; none for one that cannot be seen.
pub fn seen(c: char) -> Option<char> {
    match c {
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}' => None,
        '\u{3002}' | '\u{ff0e}' | '\u{ff61}' | '\u{2024}' => Some('.'),
        '\u{ff1a}' => Some(':'),
        '\u{ff0f}' | '\u{2215}' => Some('/'),
        '\u{ff20}' => Some('@'),
        // As programs that set text make them of hyphens.
        '\u{2010}'..='\u{2013}' | '\u{2212}' => Some('-'),
        c if c.is_whitespace() => Some(' '),
        c => Some(c),
    }
}

/// Takes away what surrounds an indicator in a text, unless it is more than anybody would put around one.
pub fn edges(text: &str) -> &str {
    let mut text = text.trim();
    let mut looks = (LOOKED_THROUGH / text.len().max(1)).clamp(2, 64);
    loop {
        let before = text;
        // Each of them is held against all of the text.
        if text.starts_with(is_one_of_two) || text.ends_with(is_one_of_two) {
            if looks == 0 {
                return text;
            }
            looks -= 1;
        }
        for &(open, close) in PAIRS {
            if surrounds(text, open, close) {
                text = text.get(open.len_utf8()..text.len() - close.len_utf8()).unwrap_or_default().trim();
            }
        }
        // Bold and struck out, in Markdown.
        for mark in ["**", "~~", "```", "``"] {
            let inner = text.strip_prefix(mark).and_then(|text| text.strip_suffix(mark));
            text =
                inner.filter(|inner| !inner.contains(['*', '~', '`']) && !inner.is_empty()).unwrap_or(text);
        }
        for bullet in ["- ", "* ", "+ ", "> ", "\u{2022}", "\u{2013} ", "||"] {
            text = text.strip_prefix(bullet).unwrap_or(text).trim_start();
        }
        let count = |c: char| text.matches(c).count();
        let last = text.chars().next_back().unwrap_or_default();
        let is_over = match last {
            ',' | ';' | '!' | '\u{2026}' => true,
            '^' => !text.contains(['[', '(']),
            '.' => text.contains(|c| c != '.') && !text.ends_with("\\."),
            ':' => text.parse::<IpAddr>().is_err() && !text.starts_with('['),
            '"' | '\'' | '`' => count(last) % 2 == 1,
            ')' | ']' | '}' | '>' | '\u{201d}' | '\u{2019}' | '\u{bb}' | '\u{203a}' => {
                PAIRS.iter().filter(|(_, close)| *close == last).all(|(open, _)| count(*open) < count(last))
            }
            _ => false,
        };
        if is_over {
            text = text.get(..text.len() - last.len_utf8()).unwrap_or_default();
        }
        let first = text.chars().next().unwrap_or_default();
        let is_over = match first {
            '"' | '\'' | '`' => text.matches(first).count() % 2 == 1,
            '(' | '[' | '{' | '<' | '\u{201c}' | '\u{201e}' | '\u{2018}' | '\u{ab}' => PAIRS
                .iter()
                .filter(|(open, _)| *open == first)
                .all(|(_, close)| text.matches(*close).count() < text.matches(first).count()),
            ',' | ';' | '\u{2026}' => true,
            _ => false,
        };
        if is_over {
            text = text.get(first.len_utf8()..).unwrap_or_default();
        }
        text = text.trim();
        if text == before {
            return text;
        }
    }
}

/// Whether a sign comes with another one, or means something else where one is before it.
fn is_one_of_two(c: char) -> bool {
    matches!(c, ':' | '^' | '*' | '~') || PAIRS.iter().any(|(open, close)| c == *open || c == *close)
}

/// Whether a text begins and ends with a pair of which the one belongs to the other.
fn surrounds(text: &str, open: char, close: char) -> bool {
    let Some(inner) = text.strip_prefix(open).and_then(|text| text.strip_suffix(close)) else { return false };
    if open == close {
        return !inner.contains(open);
    }
    // `[12].[34]` does not; a class of a glob, `[ab]`, is all there is.
    let mut depth = 0_i32;
    let is_balanced = inner.chars().all(|c| {
        depth += i32::from(c == open) - i32::from(c == close);
        depth >= 0
    });
    is_balanced && depth == 0 && (open != '[' || inner.contains(['.', ':']))
}

/// Stands before a dot that was written so that nobody clicks: whoever did that meant an indicator.
pub const SEEN: char = '\u{e000}';

/// Text of which words can be read one by one: refanged, with a sign before each dot that was not bare.
pub fn prepared(text: &str) -> String {
    let visible: String = text.chars().filter(|c| *c != SEEN).filter_map(seen).collect();
    refang(&visible, &SEEN.to_string())
}

/// Undoes what keeps an indicator from being clicked on. `sign` is put before each dot that is meant.
pub fn refang(text: &str, sign: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (taken, meant) = match c {
            '[' | '(' | '{' | '<' => bracketed(&out, rest),
            '.' if rest.get(1..).is_some_and(|rest| rest.starts_with([']', ')', '}']))
                && !out.contains(['[', '(', '{']) =>
            {
                Some((2, "."))
            }
            _ => None,
        }
        .unwrap_or((c.len_utf8(), rest.get(..c.len_utf8()).unwrap_or_default()));
        if taken > 1 && meant.len() < taken {
            // A backslash or a space before the bracket belongs to it, and so does a space behind.
            let kept = out.trim_end_matches(['\\', ' ']).len();
            out.truncate(kept);
            out.push_str(if meant == "." { sign } else { "" });
            out.push_str(meant);
            rest = rest.get(taken..).unwrap_or_default().trim_start();
        } else {
            out.push_str(meant);
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
    out
}

/// Joins the words of `evil dot example` and `evil . example`.
pub fn joined(text: &str) -> String {
    if let Some(whole) = without_blanks(text) {
        return whole;
    }
    let mut joined = String::with_capacity(text.len());
    let mut glue = true;
    for word in text.split_whitespace() {
        let is_dot = word == "." || word.eq_ignore_ascii_case("dot");
        if !(glue || is_dot || word.starts_with('.')) {
            joined.push(' ');
        }
        joined.push_str(if is_dot { "." } else { word });
        glue = is_dot;
    }
    joined
}

/// A name or an address with a blank at each of some of its dots, `update. evil.example`, where that is all there is.
fn without_blanks(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().take(MOST_LABELS + 1).collect();
    let is_of_name = |word: &str| Name::parse(word).is_ok_and(|name| has_known_end(&name));
    let goes_on = |pair: &[&str]| match pair {
        [front, next] if next.starts_with('.') => front.ends_with(char::is_alphanumeric),
        // A sentence ends, and another begins.
        [front, next] => front.strip_suffix('.').is_some_and(|front| {
            let begins = next.starts_with(char::is_uppercase) && front.contains(char::is_lowercase);
            // `h4. evil.example`: what follows is a name by itself.
            let is_whole = is_of_name(next.trim_end_matches('.'));
            front.ends_with(char::is_alphanumeric) && !is_whole && !(begins && is_of_name(front))
        }),
        _ => false,
    };
    if !(2..=MOST_LABELS).contains(&words.len()) || !words.windows(2).all(goes_on) {
        return None;
    }
    let whole = words.concat();
    // `1. evil.example` is a line of a list.
    let is_numbered =
        words.first().is_some_and(|word| word.trim_end_matches('.').bytes().all(|b| b.is_ascii_digit()));
    let host = without_port(without_path(without_scheme(&whole).split(['/', '?', '#']).next()?));
    let host = edges(host);
    (host.parse::<IpAddr>().is_ok() || !is_numbered && is_host(host) && is_of_name(host)).then_some(whole)
}

/// What an opening bracket and what follows it stand for, and how many bytes that takes.
fn bracketed(before: &str, text: &str) -> Option<(usize, &'static str)> {
    let end = text.char_indices().take(MAX_BETWEEN).find(|(_, c)| matches!(c, ']' | ')' | '}' | '>'));
    let Some((end, _)) = end else {
        // `evil[.example`
        let is_dot = text.get(1..).is_some_and(|rest| rest.starts_with('.'));
        return is_dot.then_some((2, "."));
    };
    let between = text.get(1..end)?.trim_end_matches('\\').trim();
    let meant = match between.to_ascii_lowercase().as_str() {
        "*." => "*.",
        "." | "dot" | "d0t" | "punkt" | "punto" | "point" => ".",
        "@" | "at" => "@",
        ":" => ":",
        "::" if before.ends_with(|c: char| c.is_ascii_hexdigit()) => "::",
        "/" => "/",
        "//" | ":/" => return Some((end + 1, if between == "//" { "//" } else { ":/" })),
        "://" => "://",
        "s" if before.len() == 4 && before.to_ascii_lowercase().starts_with('h') => "s",
        // `evil[.example]`
        other if other.len() > 1 && other.starts_with('.') => {
            let is_tail = other.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
            return is_tail.then_some((2, "."));
        }
        _ => return None,
    };
    Some((end + 1, meant))
}

/// Takes away backslashes that a regex, JSON or Windows left.
fn backslashes(mut text: String) -> String {
    if !text.contains('\\') {
        return text;
    }
    if text.contains(":\\/") {
        text = text.replace("\\/", "/");
    }
    if let Some(share) = text.strip_prefix("\\\\")
        && !share.starts_with(['.', '\\'])
    {
        // Of WebDAV the host has a port behind it, or says that it is reached by TLS: `\\host@SSL\x`.
        let (host, path) = share.split_at(share.find(['\\', '/']).unwrap_or(share.len()));
        text = format!("//{}{path}", host.split('@').next().unwrap_or_default());
    }
    if text.contains(":\\\\") || text.starts_with("//") {
        text = text.replace('\\', "/");
    }
    // Escaped twice, as in a regex in JSON.
    if text.contains("\\\\.") && !text.replace("\\\\.", "").contains(['.', '\\']) {
        text = text.replace("\\\\.", ".");
    }
    let without = text.replace("\\.", "");
    // Where a dot is bare, one with a backslash is part of a label.
    if without.contains(['.', '\\']) { text } else { text.replace("\\.", ".") }
}

//--- structure ------------------------------------------------------------------------------------------------------

/// Takes the host, the address, the block or the range out of a text without backslashes.
fn indicator(text: &str) -> Result<Cleaned, Unreadable> {
    let empty = || {
        Unreadable::new("nothing is left of it to ask for", "a name such as www.example.com, or an address")
    };
    if text.is_empty() {
        return Err(empty());
    }
    if let Some((key, rest)) = text.split_once('=')
        && is_key(key)
    {
        return indicator(edges(rest)); // `host=evil.example`, out of a log
    }
    // `domain:evil.example`, `"query":"evil.example"`; what is a host of that name has a port behind it.
    if let Some((key, rest)) = text.split_once(':')
        && is_key(key)
        && is_reached(edges(rest))
    {
        return indicator(edges(rest));
    }
    if let Some(last) = text.rsplit_once("](").and_then(|(_, link)| link.strip_suffix(')')) {
        return indicator(edges(last)); // a link in Markdown
    }
    if let Some((_, mail)) = text.strip_suffix('>').and_then(|text| text.rsplit_once('<'))
        && mail.contains('@')
    {
        return indicator(edges(mail));
    }
    match wrapped::target(text) {
        Ok(Some(inner)) => return Ok(Cleaned::whole(inner)),
        Ok(None) => {}
        Err(host) => {
            let message = format!("this is a link of {host}, and what it leads to cannot be told from it");
            return Err(Unreadable::new(message, "where it leads, or the name of that host by itself"));
        }
    }
    if text.find('|').is_some_and(|at| text.find("://").is_none_or(|url| at < url)) {
        return composite(text).map(Cleaned::whole);
    }
    if let Some(block) = block(text)? {
        return Ok(Cleaned::whole(block));
    }
    let bare = without_scheme(text);
    let is_url = bare.len() < text.len();
    let cut: &[char] = if is_url { &['/', '?', '#', '\\'] } else { &[] };
    let mut host = bare.split(cut).next().unwrap_or_default();
    if !is_url {
        host = without_path(host);
    }
    // A URL has no blanks in it.
    let rest = bare.get(host.len()..).and_then(|rest| rest.split(char::is_whitespace).next());
    let rest = rest.unwrap_or_default().to_owned();
    if is_url && host.is_empty() {
        return Err(only_a_scheme());
    }
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = without_port(host);
    let decoded;
    let host = match host.contains('%') {
        true => {
            decoded = percent_decode_str(host).decode_utf8().unwrap_or_default().into_owned();
            decoded.as_str()
        }
        false => host,
    };
    let host = edges(without_port(host));
    if host.is_empty() {
        return Err(empty());
    }
    // `fe80::1%eth0`
    if let Some((address, _)) = host.split_once('%')
        && address.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return Ok(Cleaned { text: address.to_owned(), rest });
    }
    if !host.is_ascii()
        && let Ok(name) = Name::parse(host)
        && name.to_string().parse::<IpAddr>().is_ok()
    {
        return Ok(Cleaned { text: name.to_string(), rest }); // in full-width digits
    }
    Ok(Cleaned { text: host.to_owned(), rest })
}

/// Whether a text is a key of a log, a query or a pattern, as its last word says: `dst`, `dns.question.name`, `domain-name:value`.
pub fn is_key(text: &str) -> bool {
    let text = edges(text);
    let last = text.rsplit(['.', ':', '-', '_']).next().unwrap_or_default();
    !text.contains(['/', '?', '@', '%'])
        && KEYS.iter().any(|known| known.eq_ignore_ascii_case(text) || known.eq_ignore_ascii_case(last))
}

fn only_a_scheme() -> Unreadable {
    Unreadable::new("there is only a scheme", "what follows it, such as the name in http://example.com/")
}

/// Text before the path, the parameters or the fragment of a URL without scheme. `0/25.2.0.192.in-addr.arpa` is a name.
fn without_path(text: &str) -> &str {
    let cuts = ['/', '?', '#'];
    match text.split_once(cuts) {
        Some((host, rest)) if is_reached(host) => {
            // `?` alone is a wildcard.
            let is_wildcard =
                text.get(host.len()..).is_some_and(|rest| rest.starts_with('?')) && !rest.contains('=');
            if is_wildcard { text } else { host }
        }
        _ => text,
    }
}

/// A block or a range, however its parts are divided.
fn block(text: &str) -> Result<Option<String>, Unreadable> {
    let address = |text: &str| edges(text).parse::<IpAddr>().ok();
    if let Some((first, last)) = text.split_once(['\u{2013}', '\u{2014}', '-'])
        // An arrow has a hyphen, too.
        && !last.trim_start_matches('-').starts_with('>')
        && let Some(first) = address(first)
        && let Some(last) = range_end(first, edges(last))
    {
        return Ok(Some(format!("{first}-{last}")));
    }
    let Some((first, length)) = text.split_once(['/', ',']) else { return Ok(None) };
    let (Some(first), length) = (address(first), length.trim()) else { return Ok(None) };
    if text.contains('/')
        && let (IpAddr::V4(_), Ok(mask)) = (first, length.parse::<Ipv4Addr>())
    {
        let ones = mask.to_bits().leading_ones();
        if mask.to_bits().count_ones() != ones {
            return Err(Unreadable::new(format!("{mask} is neither a netmask nor a path"), "192.0.2.0/24"));
        }
        return Ok(Some(format!("{first}/{ones}")));
    }
    let is_length = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    Ok(is_length.then(|| format!("{first}/{length}")))
}

/// MISP's pairs: `domain|ip`, `ip|port`, `hostname|port`.
fn composite(text: &str) -> Result<String, Unreadable> {
    let (mut name, mut address) = (None, None);
    for part in text.split('|').map(edges).filter(|part| !part.is_empty()) {
        if part.len() <= 5 && part.bytes().all(|b| b.is_ascii_digit()) {
            continue; // a port
        }
        let part = indicator(part)?.text;
        let place = if part.parse::<IpAddr>().is_ok() { &mut address } else { &mut name };
        if place.replace(part).is_some() {
            return Err(Unreadable::new("there are two indicators in it", ONE_A_LINE));
        }
    }
    match (name, address) {
        (Some(name), Some(address)) => Ok(format!("{name}|{address}")),
        (Some(one), None) | (None, Some(one)) => Ok(one),
        (None, None) => {
            Err(Unreadable::new("there is neither a name nor an address in it", "name|address, address|port"))
        }
    }
}

/// Whether a text is the hash of a file.
pub fn is_digest(text: &str) -> bool {
    matches!(text.len(), 32 | 40 | 64 | 128) && text.bytes().all(|b| b.is_ascii_hexdigit())
}
