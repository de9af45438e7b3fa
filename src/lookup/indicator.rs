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
use std::net::{IpAddr, Ipv6Addr};

use super::literal::as_query;
use super::pasted::{is_whole, looks_like_regex, tidied};
use super::query::{Query, QueryError};
use super::refused::{
    AS_NUMBER, CUT, FOREIGN_HINT, a_digest, check, clean, foreign, is_as_number, refused, several,
};
use crate::indicators::has_known_end;
use crate::indicators::text::{ONE_A_LINE, SEEN, edges, is_digest, is_plain, joined, prepared, refang, seen};
use crate::indicators::words::{is_pattern, without_dot, words};
use crate::indicators::{inner, is_wrapped, led_to, mirrored, parts};

/// The longest text that is looked into, in bytes: a URL may be long.
const MAX_BYTES: usize = 32 << 10;
/// How many things one in the other may be around an indicator.
const MOST_LAYERS: usize = 8;
/// The longest text whose words are looked at one by one, in bytes: beyond it, it is a text.
const MAX_AMONG: usize = 300;
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
        // What was around it may have had something of the kind around it.
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
            // Of several URLs or mail addresses one host alone would be asked for.
            Ok(one) if one.is_one() => {
                let many = match text.trim().contains(char::is_whitespace) {
                    true => taken_out(text).len(),
                    false => joined_without_blanks(text),
                };
                several(text, many).map_or_else(|| Ok(one.with_inner(text)), Err)
            }
            Ok(one) => Ok(one),
            // A part of it is another name.
            Err(error) if error.message.starts_with(CUT) => Err(error),
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

    /// The same with what a URL has in it besides: of a link of whoever leads on, both are asked for.
    fn with_inner(self, given: &str) -> Indicator {
        let Some(inner) = inner_of(given, &self) else { return self };
        let both = match (&self.query, &inner.query) {
            (Query::Name(one), Query::Name(other)) => Query::Names(one.clone(), other.clone()),
            (Query::Name(name), Query::Addresses(address, _))
            | (Query::Addresses(address, _), Query::Name(name)) => Query::Pair(name.clone(), *address),
            _ => return self,
        };
        let asked = as_query(&both, self.asked.clone());
        let is_read_back = Indicator::of(&asked).is_ok_and(|again| again.asked == asked);
        if is_read_back { Indicator { query: both, asked, is_changed: true } } else { self }
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
                // An arrow has a hyphen.
                Err(_) if part.contains("->") => {
                    part.split(signs).map(|word| word.trim_end_matches('-')).collect()
                }
                Err(_) => part.split(signs).collect(),
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
        // Two names, as a link with another one in it is asked for.
        if let Some((first, last)) = given.split_once('|')
            && is_plain(first)
            && is_plain(last)
            && let Ok(query @ Query::Names(..)) = Query::parse(given)
        {
            let asked = as_query(&query, given.to_owned());
            return Ok(Indicator { is_changed: asked != given, query, asked });
        }
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
            if side.is_empty() && looks_like_regex(given) {
                return Err(refused(given, "this looks like a regex", "/regex/"));
            }
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
        // A question ends so; a glob has its sign before the end, or before an end that names do not have.
        let whole = text.trim_end_matches(['?', '!']);
        if whole.len() < text.len() && is_whole(whole) {
            text.truncate(whole.len());
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
        Ok(Indicator { query, asked, is_changed })
    }
}

/// What an address may have been meant as, where its end looks like a port: `2001:db8::66:443`.
pub fn maybe_port(asked: &str) -> Option<String> {
    asked.parse::<Ipv6Addr>().ok()?;
    let (front, port) = asked.rsplit_once(':')?;
    let is_port = port.len() > 1 && port.parse::<u16>().is_ok() && !front.ends_with(':');
    let front: Ipv6Addr = front.parse().ok().filter(|_| is_port)?;
    Some(format!("if {port} is a port: ask for {front}"))
}

/// What a pasted URL has in it besides what was understood: another one, of whoever leads on to it.
pub fn another(given: &str, asked: &str) -> Option<String> {
    let one = Indicator::of(given).ok().filter(|one| one.asked == asked && one.is_one())?;
    let inner = inner_of(given, &one);
    // The name of a mirror has the name of another site in it.
    let inner = inner.or_else(|| Indicator::of(&mirrored(asked)?).ok().filter(Indicator::is_one))?;
    Some(format!("there is another URL in it: ask for {} as well", inner.asked))
}

/// What another URL that a URL has in it asks for, if that is something else.
fn inner_of(given: &str, outer: &Indicator) -> Option<Indicator> {
    if !given.contains(['/', '?']) {
        return None;
    }
    let given = refang(given.trim(), "");
    let inner = Indicator::of(&led_to(&given)?).ok().filter(Indicator::is_one)?;
    // It is a part of the URL, and of no text around it.
    let is_of = Indicator::of(&given).is_ok_and(|again| again.asked == outer.asked);
    (is_of && inner.asked != outer.asked).then_some(inner)
}

/// What was pasted to an endpoint whose clients have rules of their own, where it can be nothing by these and is one name or
/// address, or a name with all below it, by ours: defanged, as a URL, with a port.
pub fn understood(text: &str) -> Option<Indicator> {
    if let Some(query) = starred_block(text) {
        let asked = as_query(&query, text.to_owned());
        return Some(Indicator { query, asked, is_changed: true });
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
    let is_theirs = text.starts_with('"')
        || text.contains(char::is_whitespace)
        || matches!(Query::parse(text), Ok(Query::Addresses(..)));
    if is_theirs || is_plain(text) {
        return None;
    }
    // Of a link the site is asked for that has it.
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

/// What is among words.
enum Among {
    One(Indicator),
    /// So many.
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
    // What is behind the question mark of a URL are its parameters, unless another URL begins there.
    let mut is_free = true;
    for (at, part) in text.split(signs).enumerate() {
        let is_begun = at == 0 || part.contains("://");
        if is_begun || is_free {
            found.extend(
                asked_by(&prepared(part))
                    .filter(|_| is_begun || is_whole(&refang(part, "")) || part.contains('/')),
            );
        }
        is_free &= !part.contains('?');
    }
    found.len()
}

/// The names and addresses in a text, each once.
pub(super) fn taken_out(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for word in words(text).iter().map(String::as_str) {
        for word in [Some(word), inner(word).filter(|_| !is_wrapped(word))].into_iter().flatten() {
            let asked = parts(word).find_map(asked_by);
            found.extend(asked.filter(|asked| known.insert(asked.clone())));
        }
    }
    found
}

/// What a word of a text asks for, if it is a name or an address.
fn asked_by(word: &str) -> Option<String> {
    let plain = word.replace(SEEN, "");
    let plain = without_dot(&plain);
    if is_pattern(plain) {
        return None;
    }
    let is_meant = word.contains(SEEN) || plain.contains("://");
    let Indicator { query, asked, .. } = Indicator::of(plain).ok()?;
    let fits = match &query {
        Query::Addresses(first, _) => !first.is_unspecified(),
        Query::Name(name) | Query::Subtree(name) | Query::Pair(name, _) => {
            let shown = name.to_string();
            let (front, last) = shown.rsplit_once('.')?;
            !front.is_empty() && !last.ends_with(['-', '=']) && (is_meant || has_known_end(name))
        }
        _ => false,
    };
    fits.then_some(asked)
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
        // As Zeek writes bytes, and as a query has them.
        assert_eq!(asked(r"\xc8bin.evil.example"), asked(r"\200bin.evil.example"));
        assert!(asked(r"\xc8bin.evil.example").starts_with(r"\200bin"));
        // Either order of a pair.
        assert_eq!(asked("198.51.100.67|nope.example"), "nope.example|198.51.100.67");
        assert_eq!(asked("2001:db8::1|nope.example"), "nope.example|2001:db8::1");
        assert_eq!(asked("<subdomain>.evil.example"), "*.evil.example");
        assert_eq!(asked("ns.example.n?"), "ns.example.n?");
        assert_eq!(asked("ns?.example.net"), "ns?.example.net");
        assert_eq!(asked("https://a.example/x,y.html?u=b.example,c"), "a.example");
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
