//! Indicators as people paste them: out of a report, a mail, an address bar, a spreadsheet.
//!
//! [`Indicator::read`] stands before the query parser. It undoes what reports do so that nobody clicks (`evil[.]example`,
//! `hxxp://`), takes away what surrounds (quotes, brackets, a final comma), and takes the host out of URLs, `host:port`,
//! `user@host` and the like. Whatever it changed is said: [`Indicator::asked`] is what was understood, as a query. What it
//! cannot understand is an error with a hint, for "nothing found" would be taken for an answer.
//!
//! A query stays what it is: `/regex/` and `~text` are not looked into, nor is text with a backslash that makes its next
//! character part of a name.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use percent_encoding::percent_decode_str;

use super::pattern::has_wildcard;
use super::query::{Query, QueryError, block_of};
use crate::dns::{Name, has_listed_suffix};

/// The longest text that is looked into, in bytes: a URL may be long.
const MAX_BYTES: usize = 32 << 10;
/// How many things one in the other may be around an indicator.
const MOST_LAYERS: usize = 8;
/// The longest text whose words are looked at one by one, in bytes: beyond it, it is a text.
const MAX_AMONG: usize = 300;
/// Characters between brackets that may stand for another.
const MAX_BETWEEN: usize = 12;
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
const KEYS: &[&str] = &[
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
];
/// Names under which no suffix is listed and names are met all the same: in labs, in offices, in examples.
const UNLISTED: &[&str] = &[
    "arpa",
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localhost",
    "onion",
    "private",
    "test",
];
const ONE_A_LINE: &str = "one in a line, or --extract (extract=true) to take all of them out of a text";
const LITERAL: &str =
    "a backslash before a character that is part of a name; or ~text, which looks for any text";

//--- Indicator ------------------------------------------------------------------------------------------------------

/// What was pasted, understood.
#[derive(Debug, Clone)]
pub struct Indicator {
    /// What to look for.
    pub query: Query,
    /// The same as text of the query language.
    pub asked: String,
    /// Whether that is something else than what was pasted, but for case and a final dot.
    pub is_changed: bool,
}

impl Indicator {
    /// Understands what was pasted.
    ///
    /// # Errors
    ///
    /// When it is neither an indicator nor a query.
    pub fn read(text: &str) -> Result<Indicator, QueryError> {
        match Indicator::of(text) {
            // Of several URLs or mail addresses one host alone would be asked for.
            Ok(one) if one.is_one() && text.trim().contains(char::is_whitespace) => {
                several(text, taken_out(text).len()).map_or(Ok(one), Err)
            }
            Ok(one) => Ok(one),
            Err(error) => match Indicator::among_words(text) {
                Among::One(one) => Ok(one),
                Among::Several(many) => several(text, many).map_or(Err(error), Err),
                Among::Unclear => several(text, taken_out(text).len()).map_or(Err(error), Err),
            },
        }
    }

    /// Whether it is one name or one address, and not a query that may have words in it.
    fn is_one(&self) -> bool {
        match &self.query {
            Query::Addresses(first, last) => first == last,
            Query::Name(_) | Query::Either(_) | Query::Subtree(_) => !self.asked.contains('\\'),
            _ => false,
        }
    }

    /// The one indicator among words that can be none: `domain: evil.example`, `1. evil.example (C2)`.
    fn among_words(text: &str) -> Among {
        if text.len() > MAX_AMONG || text.starts_with(['~', '/']) {
            return Among::Unclear;
        }
        let visible = joined(&refang(&text.chars().filter_map(seen).collect::<String>(), ""));
        let (mut found, mut is_clear): (Vec<Indicator>, bool) = (Vec::new(), true);
        let signs = [',', ';', '|', '>', '='];
        for part in visible.split_whitespace() {
            let whole = Indicator::of(part);
            // `a.example,b.example` is more than one, and a URL with a comma in it is not.
            let words: Vec<&str> = match &whole {
                Ok(_) => vec![part],
                Err(_) => part.split(signs).map(|word| word.trim_end_matches('-')).collect(),
            };
            for word in words {
                let bare = edges(word);
                let could_be = bare.contains(['.', ':', '@', '/', '%', '|', '\\']);
                if !could_be && bare.chars().all(|c| c.is_alphanumeric() || "-_'&+#=()".contains(c)) {
                    continue;
                }
                let Ok(one) = Indicator::of(word) else {
                    is_clear = false;
                    continue;
                };
                let is_meant = match &one.query {
                    // A label of services may have a space in it, and then this is a part of that name.
                    Query::Name(name) => {
                        name.labels().len() > 1 && !one.asked.starts_with('_') && !one.asked.contains("._")
                    }
                    Query::Subtree(_) | Query::Addresses(..) | Query::Pair(..) => true,
                    _ => false,
                };
                is_clear &= is_meant;
                if is_meant && found.iter().all(|other| other.asked != one.asked) {
                    found.push(one);
                }
            }
        }
        match (found.len(), found.pop()) {
            (1, Some(one)) if is_clear => Among::One(Indicator { is_changed: true, ..one }),
            (0 | 1, _) => Among::Unclear,
            (many, _) => Among::Several(many),
        }
    }

    fn of(text: &str) -> Result<Indicator, QueryError> {
        let given = text.trim();
        if given.len() > MAX_BYTES {
            return Err(refused(given, "this is too long", "a name, an address, a URL or a query"));
        }
        let (side, rest) = match given.split_at_checked(6) {
            Some((word, rest)) if word.eq_ignore_ascii_case("rdata:") => ("rdata:", rest.trim_start()),
            _ => ("", given),
        };
        if side.is_empty() && is_plain(given) {
            // Most are: nothing is to be taken away from them.
            if is_digest(given) {
                return Err(a_digest(given));
            }
            let query = Query::parse(given)?;
            check(given, &query, given)?;
            let asked = as_query(&query, given.to_owned());
            return Ok(Indicator { query, asked, is_changed: false });
        }
        let first = if rest.is_empty() { Some(String::new()) } else { clean(given, rest)? };
        let Some(mut text) = first else {
            // A query as it is.
            let asked = given.to_owned();
            return Ok(Indicator { query: Query::parse(given)?, asked, is_changed: false });
        };
        // What was within something may be within something else.
        for _ in 0..MOST_LAYERS {
            match clean(given, &text)? {
                Some(inner) if inner != text => text = inner,
                _ => break,
            }
        }
        let clean = format!("{side}{text}");
        let query = match Query::parse(&clean)? {
            // What a socket of IPv6 calls an address of IPv4. One that an answer holds is asked for as a block, `/128`.
            Query::Addresses(IpAddr::V6(first), last) if first == last && !clean.contains('/') => {
                let address = IpAddr::from(first).to_canonical();
                Query::Addresses(address, address)
            }
            query => query,
        };
        check(given, &query, clean.strip_prefix(side).unwrap_or(&clean))?;
        let asked = as_query(&query, clean);
        let plain = |text: &str| text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        // `.example.com` is another spelling of `*.example.com`.
        let is_changed = plain(&asked) != plain(given) && asked.strip_prefix('*') != Some(&plain(given));
        Ok(Indicator { query, asked, is_changed })
    }
}

/// What is among words.
enum Among {
    One(Indicator),
    /// So many.
    Several(usize),
    /// None, or one and something that may be another.
    Unclear,
}

/// Refuses what is more than one.
fn several(given: &str, many: usize) -> Option<QueryError> {
    let message = match many {
        0 | 1 => return None,
        2 => "there are two indicators in it".to_owned(),
        many => format!("there are {many} indicators in it"),
    };
    Some(refused(given, message, ONE_A_LINE))
}

/// The names and addresses in a text, each once.
pub(super) fn taken_out(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for word in prepared(text)
        .split(|c: char| c.is_whitespace() || ",;<>\"`|{}()\u{201c}\u{201d}\u{ab}\u{bb}".contains(c))
    {
        let value = word.rsplit_once('=').map(|(_, value)| value);
        let labelled = word.split_once(':').map(|(_, value)| value);
        let parts =
            if word.contains("://") { [Some(word), value, None] } else { [value, Some(word), labelled] };
        let asked = parts.into_iter().flatten().find_map(asked_by);
        found.extend(asked.filter(|asked| known.insert(asked.clone())));
    }
    found
}

/// What a word of a text asks for, if it is a name or an address.
fn asked_by(word: &str) -> Option<String> {
    let plain = word.replace(SEEN, "");
    // A path, a regex or a word with an escape is none.
    if plain.starts_with(['/', '~', '.']) && !plain.starts_with("//")
        || plain.contains(['\\', '*', '?']) && !plain.contains("://") && !plain.starts_with("*.")
    {
        return None;
    }
    let is_meant = word.contains(SEEN) || plain.contains("://");
    let Indicator { query, asked, .. } = Indicator::of(&plain).ok()?;
    let fits = match &query {
        Query::Addresses(first, _) => !first.is_unspecified(),
        Query::Name(name) | Query::Subtree(name) | Query::Pair(name, _) => {
            let shown = name.to_string();
            let (front, last) = shown.trim_start_matches("*.").rsplit_once('.')?;
            !front.is_empty() && (is_meant || UNLISTED.contains(&last) || has_listed_suffix(name))
        }
        _ => false,
    };
    fits.then_some(asked)
}

/// A name as text that is understood as that name, whatever is in it.
pub fn literal(name: &Name) -> String {
    let shown = name.to_string();
    let is_plain_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_address = || shown.parse::<IpAddr>().is_ok();
    if is_plain(&shown) && numeric(&shown).is_none() && !is_digest(&shown) && !is_address() {
        return shown;
    }
    let is_read_back = || {
        let stays = |text: String| matches!(clean(&text, &text), Ok(Some(clean)) if clean == text);
        let forms = [shown.clone(), format!("*.{shown}"), format!("{shown}.*")];
        forms.into_iter().all(stays).then_some(())?;
        let query = Query::parse(&shown).ok()?;
        check(&shown, &query, &shown).ok()?;
        matches!(query, Query::Name(read) if read == *name).then_some(())
    };
    if name.is_root() || is_read_back().is_some() {
        return shown;
    }
    let mut out = String::with_capacity(shown.len() + 8);
    let mut chars = shown.chars();
    while let Some(c) = chars.next() {
        match c {
            // Two backslashes, or one before every dot, would be taken away.
            '\\' => match chars.next() {
                Some(c @ ('.' | '\\')) => out.push_str(&format!("\\{:03}", u32::from(c))),
                next => {
                    out.push(c);
                    out.extend(next);
                }
            },
            c if is_plain_char(c) => out.push(c),
            // Brackets around a dot are none, whether there is a backslash or not.
            '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' => out.push_str(&format!("\\{:03}", u32::from(c))),
            c => out.extend(['\\', c]),
        }
    }
    match out.chars().next() {
        Some(first) if !out.contains('\\') => {
            format!("\\{:03}{}", u32::from(first), out.get(1..).unwrap_or_default())
        }
        _ => out,
    }
}

/// An address as text that is understood as that address.
pub fn address(address: IpAddr) -> String {
    if address == address.to_canonical() { address.to_string() } else { format!("{address}/128") }
}

/// Whether a text has only what names and addresses of IPv4 are made of, and nothing doubled.
fn is_plain(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    text.bytes().all(is_plain) && !text.contains("..") && !text.is_empty() && !text.ends_with('.')
}

/// A query as text, in the form that is read back as the same.
fn as_query(query: &Query, clean: String) -> String {
    let below = |name: &Name| if name.is_root() { "*".to_owned() } else { format!("*.{}", literal(name)) };
    match query {
        Query::Name(name) | Query::Either(name) => literal(name),
        Query::Subtree(name) => below(name),
        Query::Prefix(name) => format!("{}.*", literal(name)),
        Query::Target(name) => format!("rdata:{}", literal(name)),
        Query::TargetSubtree(name) => format!("rdata:{}", below(name)),
        Query::Pair(name, address) => format!("{}|{address}", literal(name)),
        Query::Addresses(first, last) if first == last => address(*first),
        Query::Addresses(first, last) => match block_of(*first, *last) {
            Some(length) => format!("{first}/{length}"),
            None => format!("{first}-{last}"),
        },
        _ => clean,
    }
}

fn refused(given: &str, message: impl Into<String>, hint: &'static str) -> QueryError {
    QueryError::new(given, 0, message, hint)
}

//--- cleaning -------------------------------------------------------------------------------------------------------

/// The indicator in some text; none where the text is a query that is left as it is.
fn clean(given: &str, text: &str) -> Result<Option<String>, QueryError> {
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
        return Err(only_a_scheme(given));
    }
    let text = backslashes(joined(&refang(edges(&visible), "")));
    if text.contains('\\') {
        return Ok(None);
    }
    let text = edges(&text);
    if is_query(text) {
        return Ok((text != given).then(|| text.to_owned()));
    }
    indicator(given, text).map(Some)
}

/// A character as it is meant; none for one that cannot be seen.
fn seen(c: char) -> Option<char> {
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
        c if c.is_whitespace() => Some(' '),
        c => Some(c),
    }
}

/// Takes away what surrounds an indicator in a text.
fn edges(text: &str) -> &str {
    let mut text = text.trim();
    loop {
        let before = text;
        for &(open, close) in PAIRS {
            if surrounds(text, open, close) {
                text = text.get(open.len_utf8()..text.len() - close.len_utf8()).unwrap_or_default().trim();
            }
        }
        // Bold and struck out, in Markdown.
        for mark in ["**", "~~"] {
            let inner = text.strip_prefix(mark).and_then(|text| text.strip_suffix(mark));
            text = inner.filter(|inner| !inner.contains(['*', '~']) && !inner.is_empty()).unwrap_or(text);
        }
        for bullet in ["- ", "* ", "+ ", "> ", "\u{2022}", "\u{2013} ", "||"] {
            text = text.strip_prefix(bullet).unwrap_or(text).trim_start();
        }
        let count = |c: char| text.matches(c).count();
        let last = text.chars().next_back().unwrap_or_default();
        let is_over = match last {
            ',' | ';' | '!' => true,
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
            ',' | ';' => true,
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
const SEEN: char = '\u{e000}';

/// Text of which words can be read one by one: refanged, with a sign before each dot that was not bare.
fn prepared(text: &str) -> String {
    let visible: String = text.chars().filter(|c| *c != SEEN).filter_map(seen).collect();
    refang(&visible, &SEEN.to_string())
}

/// Undoes what keeps an indicator from being clicked on. `sign` is put before each dot that is meant.
fn refang(text: &str, sign: &str) -> String {
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
fn joined(text: &str) -> String {
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
    if text.contains(":\\\\") || text.starts_with("\\\\") {
        text = text.replace('\\', "/");
    }
    let without = text.replace("\\.", "");
    // Where a dot is bare, one with a backslash is part of a label.
    if without.contains(['.', '\\']) { text } else { text.replace("\\.", ".") }
}

//--- structure ------------------------------------------------------------------------------------------------------

/// Takes the host, the address, the block or the range out of a text without backslashes.
fn indicator(given: &str, text: &str) -> Result<String, QueryError> {
    let empty = || {
        refused(given, "nothing is left of it to ask for", "a name such as www.example.com, or an address")
    };
    if text.is_empty() {
        return Err(empty());
    }
    if let Some((key, rest)) = text.split_once('=')
        && KEYS.iter().any(|known| known.eq_ignore_ascii_case(key.trim()))
    {
        return indicator(given, edges(rest)); // `host=evil.example`, out of a log
    }
    if let Some(last) = text.rsplit_once("](").and_then(|(_, link)| link.strip_suffix(')')) {
        return indicator(given, edges(last)); // a link in Markdown
    }
    if let Some((_, mail)) = text.strip_suffix('>').and_then(|text| text.rsplit_once('<'))
        && mail.contains('@')
    {
        return indicator(given, edges(mail));
    }
    if text.find('|').is_some_and(|at| text.find("://").is_none_or(|url| at < url)) {
        return composite(given, text);
    }
    if let Some(block) = block(given, text)? {
        return Ok(block);
    }
    let bare = without_scheme(text);
    let is_url = bare.len() < text.len();
    let cut: &[char] = if is_url { &['/', '?', '#', '\\'] } else { &[] };
    let mut host = bare.split(cut).next().unwrap_or_default();
    if !is_url {
        host = without_path(host);
    }
    if is_url && host.is_empty() {
        return Err(only_a_scheme(given));
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
        return Ok(address.to_owned());
    }
    if !host.is_ascii()
        && let Ok(name) = Name::parse(host)
        && name.to_string().parse::<IpAddr>().is_ok()
    {
        return Ok(name.to_string()); // in full-width digits
    }
    Ok(host.to_owned())
}

/// Text behind a scheme, whatever that is: `https://`, `hxxp:\\`, `meow://`, `mailto:`.
fn without_scheme(text: &str) -> &str {
    if let Some(rest) = text.strip_prefix("//") {
        return rest;
    }
    let in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '+' | '-' | '_' | ':' | ' ');
    if let Some((scheme, rest)) = text.split_once("://") {
        let scheme = scheme.trim_end();
        if !scheme.is_empty() && scheme.chars().all(in_scheme) {
            return rest.trim_start_matches(['/', ' ']);
        }
    }
    let (scheme, rest) = match text.split_once("//") {
        Some((scheme, rest)) => (scheme, rest), // `http//`
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let scheme = scheme.trim_end_matches([':', ' ']);
    let has_sign = text.contains(':') || text.contains("//");
    // A port is no host: `http:443` is a host of that name.
    let is_port = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    if has_sign && !is_port && is_scheme(scheme) { rest.trim_start_matches(['/', ' ']) } else { text }
}

/// Whether this is a scheme that also stands in front of a host where its slashes are missing.
fn is_scheme(text: &str) -> bool {
    const KNOWN: &[&str] = &[
        "http", "https", "hxxp", "hxxps", "hxtp", "hxtps", "htxp", "htxps", "h**p", "h**ps", "ftp", "ftps",
        "fxp", "meow", "mailto", "sip", "sips", "ws", "wss", "tcp", "udp", "dns",
    ];
    KNOWN.iter().any(|known| known.eq_ignore_ascii_case(text))
}

fn only_a_scheme(given: &str) -> QueryError {
    refused(given, "there is only a scheme", "what follows it, such as the name in http://example.com/")
}

/// Text before the path, the parameters or the fragment of a URL without scheme. `0/25.2.0.192.in-addr.arpa` is a name.
fn without_path(text: &str) -> &str {
    let is_reached = |host: &str| {
        let host = without_port(host.rsplit_once('@').map_or(host, |(_, host)| host));
        is_host(host) || host.parse::<IpAddr>().is_ok()
    };
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

/// Whether this can only be a host name: two labels at least, of which the last is no number.
fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
    let Some((front, last)) = text.trim_end_matches('.').rsplit_once('.') else { return false };
    !front.is_empty() && text.chars().all(plain) && !last.is_empty() && numeric(text).is_none()
}

/// Text without brackets around an address and without a port.
fn without_port(text: &str) -> &str {
    if let Some((inner, _)) = text.strip_prefix('[').and_then(|text| text.split_once(']'))
        && inner.contains(['.', ':'])
    {
        return inner;
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => text,
    }
}

/// A block or a range, however its parts are divided.
fn block(given: &str, text: &str) -> Result<Option<String>, QueryError> {
    let address = |text: &str| edges(text).parse::<IpAddr>().ok();
    if let Some((first, last)) = text.split_once(['\u{2013}', '\u{2014}', '-'])
        && let (Some(first), Some(last)) = (address(first), address(last))
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
            return Err(refused(given, format!("{mask} is neither a netmask nor a path"), "192.0.2.0/24"));
        }
        return Ok(Some(format!("{first}/{ones}")));
    }
    let is_length = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    Ok(is_length.then(|| format!("{first}/{length}")))
}

/// MISP's pairs: `domain|ip`, `ip|port`, `hostname|port`.
fn composite(given: &str, text: &str) -> Result<String, QueryError> {
    let (mut name, mut address) = (None, None);
    for part in text.split('|').map(edges).filter(|part| !part.is_empty()) {
        if part.len() <= 5 && part.bytes().all(|b| b.is_ascii_digit()) {
            continue; // a port
        }
        let part = indicator(given, part)?;
        let place = if part.parse::<IpAddr>().is_ok() { &mut address } else { &mut name };
        if place.replace(part).is_some() {
            return Err(refused(given, "there are two indicators in it", ONE_A_LINE));
        }
    }
    match (name, address) {
        (Some(name), Some(address)) => Ok(format!("{name}|{address}")),
        (Some(one), None) | (None, Some(one)) => Ok(one),
        (None, None) => {
            Err(refused(given, "there is neither a name nor an address in it", "name|address, address|port"))
        }
    }
}

//--- what can be no indicator ---------------------------------------------------------------------------------------

/// Refuses what the parser takes for a name and nobody means as one.
fn check(given: &str, query: &Query, clean: &str) -> Result<(), QueryError> {
    let text = match query {
        Query::Name(_)
        | Query::Target(_)
        | Query::Subtree(_)
        | Query::TargetSubtree(_)
        | Query::Prefix(_) => clean,
        Query::Pair(..) => clean.split('|').next().unwrap_or_default(),
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
    if let Some((at, c)) = text.char_indices().find(|(_, c)| ",;:|@%$#".contains(*c)) {
        let (message, hint) = match c {
            ':' if text.matches(':').count() > 1 => ("this is no address", "an address such as 2001:db8::1"),
            ',' | ';' => {
                ("this is more than one, or no name", "one in a line; a list: --file, with --column for CSV")
            }
            '%' => ("a percent sign stands for nothing here", "* for any text"),
            _ => ("this is no name", LITERAL),
        };
        return Err(QueryError::new(text, at, format!("{message} ({c})"), hint));
    }
    if text.contains('[') && !text.contains(['*', '?']) && !without_classes(text).contains('.') {
        let hint = "the name as it was; or, for a pattern, with its dots: ns[12].example.com";
        return Err(refused(given, "what stands in brackets here is unclear", hint));
    }
    if text.starts_with('^') {
        return Err(refused(given, "this looks like a regex", "/regex/"));
    }
    if !has_wildcard(text) && is_digest(text) {
        return Err(a_digest(given));
    }
    match numeric(bare) {
        Some(message) if !has_wildcard(bare) => Err(refused(given, message, "an address such as 192.0.2.7")),
        _ => Ok(()),
    }
}

fn a_digest(given: &str) -> QueryError {
    let hint = "the names and addresses that belong to it";
    refused(given, "this looks like the hash of a file, which no DNS log has", hint)
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

/// Why a text that ends in a number, as an address of IPv4 does and a name does not, is no address.
fn numeric(text: &str) -> Option<String> {
    let text = text.trim_end_matches('.');
    let parts: Vec<&str> = text.split('.').collect();
    let last = parts.last().copied().unwrap_or_default();
    let is_decimal = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_open = |part: &&str| is_decimal(part) || matches!(*part, "x" | "X" | "xx" | "xxx");
    if is_open(&last) && !is_decimal(&last) && parts.len() == 4 && parts.iter().all(is_open) {
        return Some("an address has no pattern: a block is 192.0.2.0/24".to_owned());
    }
    let hex = |part: &str| part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")).map(str::to_owned);
    let is_hex = hex(last).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    if !is_decimal(&last) && !is_hex {
        return None;
    }
    if parts.len() == 4 && parts.iter().all(is_decimal) {
        if text.parse::<IpAddr>().is_ok() {
            return None;
        }
        let wrong = parts.iter().find(|part| part.parse::<u64>().map_or(true, |number| number > 255));
        return Some(match wrong {
            Some(part) => format!("{part} is no part of an address, which is 0 to 255"),
            None => "a part of the address begins with 0, which some take for octal and some for decimal"
                .to_owned(),
        });
    }
    // As `inet_aton` and browsers read it: the last part fills what is left.
    let number = |part: &str| match (hex(part), part) {
        (Some(digits), _) => u64::from_str_radix(&digits, 16).ok(),
        (None, part) => part.parse::<u64>().ok(),
    };
    let numbers: Option<Vec<u64>> = parts.iter().map(|part| number(part)).collect();
    let address = numbers.filter(|numbers| numbers.len() <= 4).and_then(|numbers| {
        let (last, front) = numbers.split_last()?;
        let mut bits = *last;
        for (at, part) in front.iter().enumerate() {
            bits |= part.checked_shl(24 - 8 * u32::try_from(at).ok()?)?;
        }
        u32::try_from(bits).ok().filter(|bits| *bits > 0xff_ffff).map(Ipv4Addr::from_bits)
    });
    Some(match address {
        Some(address) => format!("this is no name; as an address it may be {address}"),
        None => "a name does not end in a number, and this is no address".to_owned(),
    })
}

/// Whether a text is the hash of a file.
fn is_digest(text: &str) -> bool {
    matches!(text.len(), 32 | 40 | 64 | 128) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(text: &str) -> String {
        match Indicator::read(text) {
            Ok(indicator) => indicator.asked,
            Err(error) => format!("error: {}", error.message),
        }
    }

    #[test]
    fn a_query_stays_the_query_that_it_is() {
        for text in [
            "www.example.com",
            "*.example.com",
            "www.example.*",
            "mail*.example.com",
            "ns?.example.net",
            "192.0.2.7",
            "2001:db8::1",
            "192.0.2.0/24",
            "192.0.2.3-192.0.2.9",
            "192.0.2.3-static.example.net",
            "0/25.2.0.192.in-addr.arpa",
            "1.0/25.2.0.192.in-addr.arpa",
            "rdata:ns1.example.net",
            "rdata:*.example.net",
            "rdata:*mail*",
            "~v=spf1 include:_spf.example",
            "~a[.]b",
            "/^mail[0-9]+\\.example\\.com$/",
            "/hxxp:\\/\\//",
            r"\*.example.com",
            r"a\.b.example.com",
            r"two\032words.example",
            "_dmarc.example.com",
            "_http._tcp.example.com",
            "dGVzdA==.tunnel.example",
            "\"odd\".example",
            "printer",
            "*",
            ".",
        ] {
            let indicator = Indicator::read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(!indicator.is_changed, "{text}: {}", indicator.asked);
            assert_eq!(
                format!("{:?}", indicator.query),
                format!("{:?}", Query::parse(text).unwrap()),
                "{text}"
            );
        }
        assert!(!Indicator::read(".Example.com.").unwrap().is_changed);
    }

    #[test]
    fn a_name_that_looks_like_something_else_has_a_text_that_finds_it() {
        for (shown, text) in [
            ("www.example.com", "www.example.com"),
            ("a,b.example", r"a\,b.example"),
            ("192.0.2.7", r"\04992.0.2.7"),
            (r"a\.b", r"a\046b"),
            ("d41d8cd98f00b204e9800998ecf8427e", r"\10041d8cd98f00b204e9800998ecf8427e"),
        ] {
            let name = Name::parse(shown).unwrap();
            assert_eq!(literal(&name), text, "{shown}");
            assert_eq!(asked(text), text);
        }
    }

    proptest! {
        #[test]
        fn what_was_understood_is_understood_as_the_same(text in "[a-z0-9.:/@|%\\[\\](){}<>\"' \\\\*?,;~-]{0,24}") {
            if let Ok(first) = Indicator::read(&text) {
                let again = Indicator::read(&first.asked);
                prop_assert!(again.is_ok(), "{text:?} {:?} {again:?}", first.asked);
                prop_assert_eq!(again.unwrap().asked, first.asked, "{}", text);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Indicator::read(&text);
        }

        #[test]
        fn every_name_has_a_text_that_finds_it(labels in proptest::collection::vec(proptest::collection::vec(1u8..=255, 1..8), 1..5)) {
            let name = Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap();
            for (text, what) in [(literal(&name), "name"), (format!("*.{}", literal(&name)), "below")] {
                let found = Indicator::read(&text);
                let fits = match &found.as_ref().map(|found| &found.query) {
                    Ok(Query::Name(found)) => what == "name" && *found == name,
                    Ok(Query::Subtree(found)) => what == "below" && *found == name,
                    _ => false,
                };
                prop_assert!(fits, "{text:?} {found:?}");
            }
        }
    }
}
