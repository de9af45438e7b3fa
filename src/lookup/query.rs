//! The query language: text to [`Query`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::pattern::{Pattern, has_wildcard};
use crate::dns::{Name, NameError, Rdata};
use crate::indicators::{is_host, range_end};

/// The longest query, in bytes.
const MAX_QUERY_BYTES: usize = 4096;
/// Names and addresses in one query.
pub(super) const MOST_PARTS: usize = 8;

//--- QueryError -----------------------------------------------------------------------------------------------------

/// Text that is no query, or no value of a filter: what is wrong, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}: character {} of {text:?}", .at + 1)]
pub struct QueryError {
    /// What is wrong.
    pub message: String,
    /// The text as it was given, shortened when it is very long.
    pub text: String,
    /// The character that it fails at, from 0; the length of the text when something is missing at its end.
    pub at: usize,
    /// What would be valid.
    pub hint: &'static str,
}

impl QueryError {
    /// An error at a byte of the text.
    pub(super) fn new(text: &str, byte: usize, message: impl Into<String>, hint: &'static str) -> QueryError {
        let at = text.char_indices().take_while(|&(i, _)| i < byte).count();
        let text = text.chars().take(200).collect();
        QueryError { message: message.into(), text, at, hint }
    }
}

const FORMS: &str =
    "a name, *.name, name.*, a glob, an address, a CIDR block, a range, rdata:name, ~text or /regex/";

//--- Query ----------------------------------------------------------------------------------------------------------

/// What to look for.
#[derive(Debug, Clone)]
pub enum Query {
    /// Every row.
    All,
    /// Rows of one rrname.
    Name(Name),
    /// Rows at a name and below it.
    Subtree(Name),
    /// Rows whose rrname starts with the labels of this name.
    Prefix(Name),
    /// Rows whose rdata is an address from the first to the last, of one family.
    Addresses(IpAddr, IpAddr),
    /// Rows whose rdata is this name.
    Target(Name),
    /// Rows whose rdata is this name or one below it.
    TargetSubtree(Name),
    /// Rows of one rrname, and those whose rdata is that name, or the address that it reads as.
    Either(Name),
    /// Rows of each of a few names (with or without all below) and addresses: a pair as MISP has them, or a link and what it leads to.
    Several(Vec<Query>),
    /// Rows whose rdata is this text, as it is shown.
    RdataText(String),
    /// Rows whose rdata is one of these, of which there is at least one.
    Data(Vec<Rdata>),
    /// Rows of which a part matches.
    Pattern(Pattern),
}

impl Query {
    /// Parses a query.
    ///
    /// # Errors
    ///
    /// When the text is of none of the forms; the error points at the character.
    pub fn parse(text: &str) -> Result<Query, QueryError> {
        let query = text.trim();
        if query.len() > MAX_QUERY_BYTES {
            return Err(QueryError::new(query, MAX_QUERY_BYTES, "a query has at most 4096 bytes", FORMS));
        }
        let parser = Parser { text: query };
        if query.is_empty() {
            return Err(parser.error(0, "the query is empty", FORMS));
        }
        if let Some(regex) = query.strip_prefix('/') {
            let Some(regex) = regex.strip_suffix('/') else {
                return Err(parser.error(query.len(), "the regex does not end", "/regex/"));
            };
            return Pattern::regex(regex).map(Query::Pattern).map_err(|error| {
                let hint =
                    "the syntax of RE2, without look-around and back-references, such as /^mail[0-9]+\\./";
                parser.error(1 + error.at, error.message, hint)
            });
        }
        if let Some(needle) = query.strip_prefix('~') {
            if needle.is_empty() {
                return Err(parser.error(1, "no text to look for", "~text"));
            }
            return Ok(Query::Pattern(Pattern::text(needle)));
        }
        match behind_rdata(query) {
            Some(from) => parser.rdata(from),
            None => parser.side(0, false),
        }
    }

    /// The address, the block or the range that a text is as a query, if it is one: what [`Query::parse`] makes of it, without a look at
    /// what else it may be.
    pub fn of_addresses(text: &str) -> Option<Query> {
        let text = text.trim();
        (Parser { text }).addresses(behind_rdata(text).unwrap_or_default())?.ok()
    }

    /// What the recipe's API looks for: rows whose query or whose answer is exactly the text, whatever it is.
    ///
    /// There is no index of other text, so text that cannot be a name, or is in quotation marks as TXT data is shown,
    /// means reading the whole ledger.
    pub fn exact(text: &str) -> Query {
        match Name::parse(text) {
            Ok(name) if !text.starts_with('"') => Query::Either(name),
            _ => Query::RdataText(text.to_owned()),
        }
    }

    /// What the recipe's API looks for under an address and a prefix length.
    ///
    /// # Errors
    ///
    /// When there is no such block.
    pub fn block(address: &str, length: &str) -> Result<Query, QueryError> {
        let text = format!("{address}/{length}");
        let parser = Parser { text: &text };
        let block = parser.addresses(0).transpose()?;
        let hint = "an address and a length, such as 192.0.2.0/24";
        block.ok_or_else(|| parser.error(0, "not an address", hint))
    }

    /// The one address that it is about, if it is about one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Query::Addresses(first, last) if first == last => Some(*first),
            _ => None,
        }
    }

    /// Several, names before addresses.
    pub(super) fn several(mut parts: Vec<Query>) -> Query {
        parts.sort_by_key(|part| matches!(part, Query::Addresses(..)));
        Query::Several(parts)
    }

    /// What it is made of: itself, or each of several.
    pub fn parts(&self) -> &[Query] {
        match self {
            Query::Several(parts) => parts,
            one => std::slice::from_ref(one),
        }
    }

    /// The names, with or without all below, that it is about.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.parts().iter().filter_map(|part| match part {
            Query::Name(name) | Query::Either(name) | Query::Subtree(name) => Some(name),
            _ => None,
        })
    }

    /// Whether rows that point at its name belong to its answer.
    pub fn is_pointed_at(&self) -> bool {
        self.parts().iter().any(|part| matches!(part, Query::Name(_)))
    }

    /// Whether it is about one name, one address or one other value, which an index leads to at once.
    pub fn is_exact(&self) -> bool {
        match self {
            Query::Name(_) | Query::Either(_) | Query::Target(_) => true,
            Query::Addresses(first, last) => first == last,
            Query::Several(parts) => parts.iter().all(Query::is_exact),
            _ => false,
        }
    }

    /// Whether the answer needs a walk over the whole ledger, or a large part of it that no index narrows.
    pub fn is_scan(&self) -> bool {
        match self {
            Query::Data(data) => data.iter().any(|rdata| matches!(rdata, Rdata::Text(_))),
            _ => matches!(self, Query::All | Query::Prefix(_) | Query::RdataText(_) | Query::Pattern(_)),
        }
    }
}

/// Where a query begins that is for record data alone.
fn behind_rdata(query: &str) -> Option<usize> {
    const WORD: &str = "rdata:";
    query.get(..WORD.len()).filter(|word| word.eq_ignore_ascii_case(WORD)).map(str::len)
}

/// The address that text reads as, with or without the brackets of a URL.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    bare.unwrap_or(text).parse().ok()
}

/// The parts of a text between bars that are no part of a name (`\\|`).
pub(super) fn between_bars(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut is_escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '|' => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

/// Names and addresses with bars between them; none where a part is neither. One name may be any, where the others are addresses.
fn several(text: &str) -> Option<Query> {
    let texts = between_bars(text);
    if !(2..=MOST_PARTS).contains(&texts.len()) {
        return None;
    }
    let is_address = |text: &&str| matches!((Parser { text }).addresses(0), Some(Ok(_)));
    let are_others = texts.iter().filter(|text| !is_address(text)).count() < 2;
    let part = |text: &str| {
        let bare = text.strip_prefix("*.").unwrap_or(text);
        let fits = is_address(&text) || is_host(bare) || are_others && !has_wildcard(bare);
        match (Parser { text }).side(0, false) {
            Ok(query @ (Query::Name(_) | Query::Subtree(_) | Query::Addresses(..))) if fits => Some(query),
            _ => None,
        }
    };
    texts.into_iter().map(part).collect::<Option<Vec<_>>>().map(Query::several)
}

struct Parser<'a> {
    text: &'a str,
}

impl Parser<'_> {
    fn error(&self, byte: usize, message: impl Into<String>, hint: &'static str) -> QueryError {
        QueryError::new(self.text, byte, message, hint)
    }

    fn rest(&self, from: usize) -> &str {
        self.text.get(from..).unwrap_or_default()
    }

    fn rdata(&self, from: usize) -> Result<Query, QueryError> {
        if self.rest(from).is_empty() {
            return Err(self.error(from, "no rdata given", "rdata:name or rdata:*.name"));
        }
        self.side(from, true)
    }

    /// Everything but the scans: addresses, names, and names with a star, on the left or (`rdata`) on the right.
    fn side(&self, from: usize, rdata: bool) -> Result<Query, QueryError> {
        if let Some(query) = self.addresses(from) {
            return query;
        }
        let text = self.rest(from);
        if let Some(at) = text.find("://") {
            return Err(self.error(from + at, "a URL is not a query", "only its host name"));
        }
        if let (false, Some(several)) = (rdata, several(text)) {
            return Ok(several);
        }
        let subtree = |name| if rdata { Query::TargetSubtree(name) } else { Query::Subtree(name) };
        if matches!(text, "*" | "*.") {
            return Ok(subtree(Name::root()));
        }
        if let Some(top) = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')) {
            let start = self.text.len() - top.len();
            if text != "." && !has_wildcard(top) {
                return self.name(start, self.text.len()).map(subtree);
            }
        }
        if let Some(start) = text.strip_suffix(".*").filter(|start| !rdata && !has_wildcard(start)) {
            return self.name(from, from + start.len()).map(Query::Prefix);
        }
        if has_wildcard(text) {
            return self.glob(from, rdata);
        }
        let name = self.name(from, self.text.len())?;
        Ok(if rdata { Query::Target(name) } else { Query::Name(name) })
    }

    /// An address, a block or a range, if the text begins as one; an error when it goes on wrongly.
    fn addresses(&self, from: usize) -> Option<Result<Query, QueryError>> {
        let text = self.rest(from);
        if let Some(one) = address(text) {
            return Some(Ok(Query::Addresses(one, one)));
        }
        if let Some((first, length)) = text.split_once(['/', ',']) {
            let first = address(first)?;
            let at = self.text.len() - length.len();
            let widest = if first.is_ipv4() { 32 } else { 128 };
            let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
            return Some(match length.parse::<u32>() {
                Ok(length) if digits && length <= widest => {
                    let (first, last) = block(first, length);
                    Ok(Query::Addresses(first, last))
                }
                _ => {
                    let message = format!("the prefix length is 0 to {widest}");
                    Err(self.error(at, message, "a block such as 192.0.2.0/24 or 2001:db8::/32"))
                }
            });
        }
        let (first, last) = text.split_once('-')?;
        let first = address(first)?;
        let at = self.text.len() - last.len();
        let hint = "a range such as 192.0.2.3-192.0.2.9";
        let Some(last) = range_end(first, last) else {
            // `192.0.2.3-static.example.net` is a name.
            let cut = last.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b':'));
            return cut.then(|| Err(self.error(at, "the range has no last address", hint)));
        };
        if first.is_ipv4() != last.is_ipv4() {
            return Some(Err(self.error(at, "a range lies in one family of addresses", hint)));
        }
        if first > last {
            return Some(Err(self.error(at, "the range ends before it starts", hint)));
        }
        Some(Ok(Query::Addresses(first, last)))
    }

    /// A name with wildcards anywhere.
    fn glob(&self, from: usize, rdata: bool) -> Result<Query, QueryError> {
        let text = self.rest(from);
        if let Some(at) = text.find(|c: char| c.is_whitespace() || c.is_control()) {
            let hint = "one name or address in a line, --extract to take them out of a text; \\032 for a space that is part of a name, ~text to look for text";
            return Err(self.error(from + at, "a name has no space or control character", hint));
        }
        // Names are matched as they are shown, without the final dot.
        let text = text.strip_suffix('.').unwrap_or(text);
        let glob = Pattern::glob(text).map_err(|error| {
            let hint = "* for any characters, ? for one, [a-z] for one of these, \\* for a star itself";
            self.error(from + error.at, error.message, hint)
        })?;
        Ok(Query::Pattern(if rdata { glob.on_rdata() } else { glob.on_rrname() }))
    }

    /// A name without a star, at these bytes of the text.
    fn name(&self, from: usize, to: usize) -> Result<Name, QueryError> {
        let text = self.text.get(from..to).unwrap_or_default();
        if text.is_empty() {
            return Err(self.error(from, "the name is empty", "`.` is the root"));
        }
        let mut escaped = false;
        for (i, c) in text.char_indices() {
            let at = from + i;
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c.is_whitespace() || c.is_control() => {
                    let hint = "one name or address in a line, --extract to take them out of a text; \\032 for a space that is part of a name, ~text to look for text";
                    return Err(self.error(at, "a name has no space or control character", hint));
                }
                _ => {}
            }
        }
        Name::parse(text).map_err(|error| {
            let at = from + name_error_at(text, error);
            self.error(at, error.to_string(), FORMS)
        })
    }
}

/// Where in a name an error is, as well as its text tells.
fn name_error_at(text: &str, error: NameError) -> usize {
    match error {
        NameError::EmptyLabel => text.find("..").map_or(0, |at| at + 1),
        NameError::LabelTooLong => {
            let mut start = 0;
            for label in text.split('.') {
                if label.len() > 63 {
                    break;
                }
                start += label.len() + 1;
            }
            start
        }
        NameError::BadEscape => text.find('\\').unwrap_or_default(),
        NameError::BadUnicode => text.find(|c: char| !c.is_ascii()).unwrap_or_default(),
        NameError::TooLong => 253,
        NameError::Nul | NameError::BadKey => 0,
    }
}

/// The length of the prefix of a block with these first and last addresses; none where they are no block.
pub(super) fn block_of(first: IpAddr, last: IpAddr) -> Option<u32> {
    let length = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (first.to_bits() ^ last.to_bits()).leading_zeros(),
        (IpAddr::V6(first), IpAddr::V6(last)) => (first.to_bits() ^ last.to_bits()).leading_zeros(),
        _ => return None,
    };
    (block(first, length) == (first, last)).then_some(length)
}

/// The first and the last address of a block; bits behind the prefix are ignored.
fn block(address: IpAddr, length: u32) -> (IpAddr, IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            let bits = address.to_bits();
            (Ipv4Addr::from_bits(bits & !host).into(), Ipv4Addr::from_bits(bits | host).into())
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            let bits = address.to_bits();
            (Ipv6Addr::from_bits(bits & !host).into(), Ipv6Addr::from_bits(bits | host).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        match Query::parse(text).unwrap() {
            Query::All => "all".to_owned(),
            Query::Name(name) => format!("name {name}"),
            Query::Subtree(name) => format!("subtree {name}"),
            Query::Prefix(name) => format!("prefix {name}"),
            Query::Addresses(from, to) => format!("{from} {to}"),
            Query::Target(name) => format!("target {name}"),
            Query::TargetSubtree(name) => format!("target subtree {name}"),
            Query::Either(name) => format!("either {name}"),
            Query::Several(parts) => format!("several {parts:?}"),
            Query::RdataText(text) => format!("rdata {text}"),
            Query::Data(data) => format!("data {data:?}"),
            Query::Pattern(_) => "pattern".to_owned(),
        }
    }

    #[test]
    fn every_form_is_understood() {
        for (text, means) in [
            ("www.example.com", "name www.example.com"),
            (" WWW.Example.COM. ", "name www.example.com"),
            ("bücher.example", "name xn--bcher-kva.example"),
            (".", "name ."),
            (r"\*.example.com", "name *.example.com"),
            ("*.example.com", "subtree example.com"),
            (".example.com", "subtree example.com"),
            ("*", "subtree ."),
            ("*.", "subtree ."),
            ("www.example.*", "prefix www.example"),
            ("192.0.2.7", "192.0.2.7 192.0.2.7"),
            ("[2001:db8::1]", "2001:db8::1 2001:db8::1"),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.1 ::ffff:192.0.2.1"),
            ("192.0.2.77/24", "192.0.2.0 192.0.2.255"),
            ("192.0.2.0,24", "192.0.2.0 192.0.2.255"),
            ("0.0.0.0/0", "0.0.0.0 255.255.255.255"),
            ("192.0.2.7/32", "192.0.2.7 192.0.2.7"),
            ("2001:db8::/32", "2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("::/0", ":: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("192.0.2.3-192.0.2.9", "192.0.2.3 192.0.2.9"),
            ("192.0.2.3-static.example.net", "name 192.0.2.3-static.example.net"),
            ("0/25.2.0.192.in-addr.arpa", "name 0/25.2.0.192.in-addr.arpa"),
            ("rdata:ns1.example.net", "target ns1.example.net"),
            ("RDATA:*.example.net", "target subtree example.net"),
            ("rdata:192.0.2.7", "192.0.2.7 192.0.2.7"),
            ("mail*.example.com", "pattern"),
            ("*.example.*", "pattern"),
            ("ns?.example.com", "pattern"),
            ("ns[12].example.com", "pattern"),
            ("*.[!a-c].example", "pattern"),
            ("www[0-9].*", "pattern"),
            ("mail*.b\u{fc}cher.example", "pattern"),
            ("rdata:www.*", "pattern"),
            ("~mail", "pattern"),
            ("/^mail[0-9]+/", "pattern"),
        ] {
            assert_eq!(shown(text), means, "{text}");
        }
    }

    #[test]
    fn errors_point_at_the_character() {
        let long = format!("a.{}.b", "x".repeat(64));
        for (text, at, message) in [
            ("", 0, "the query is empty"),
            ("a..b", 2, "a label is empty"),
            ("www.ex*[a-.com", 7, "the class of characters does not end"),
            ("ns[12.example.com", 2, "the class of characters does not end"),
            ("ma*l x", 4, "a name has no space or control character"),
            ("two words", 3, "a name has no space or control character"),
            ("192.0.2.0/33", 10, "the prefix length is 0 to 32"),
            ("192.0.2.0/", 10, "the prefix length is 0 to 32"),
            ("2001:db8::/+1", 11, "the prefix length is 0 to 128"),
            ("192.0.2.9-192.0.2.3", 10, "the range ends before it starts"),
            ("192.0.2.9-2001:db8::1", 10, "a range lies in one family of addresses"),
            ("192.0.2.9-", 10, "the range has no last address"),
            ("rdata:", 6, "no rdata given"),
            ("/abc", 4, "the regex does not end"),
            ("/a(b/", 2, "unclosed group"),
            ("~", 1, "no text to look for"),
            (r"a.b\25", 3, "a backslash needs three digits up to 255, or one other character, after it"),
            ("http://example.com", 4, "a URL is not a query"),
            (long.as_str(), 2, "a label has at most 63 bytes"),
        ] {
            let error = Query::parse(text).unwrap_err();
            assert_eq!((error.at, error.message.as_str()), (at, message), "{text}");
        }
        let error = Query::parse("bü r").unwrap_err();
        assert_eq!(error.at, 2);
        assert_eq!(error.to_string(), "a name has no space or control character: character 3 of \"bü r\"");
    }

    #[test]
    fn a_regex_that_would_take_too_much_is_refused() {
        let error = Query::parse("/((a{500}){500}){500}/").unwrap_err();
        assert_eq!(error.message, "the regex is too large");
        assert!(Query::parse(&"a".repeat(5000)).is_err());
    }

    #[test]
    fn the_recipe_asks_for_exactly_this_on_either_side() {
        assert!(matches!(Query::exact("192.0.2.7"), Query::Either(_)));
        assert!(
            matches!(Query::exact("*.example.com"), Query::Either(name) if name.to_string() == "*.example.com")
        );
        assert!(matches!(Query::exact("\"v=spf1 -all\""), Query::RdataText(_)));
        assert!(matches!(Query::exact("a..b"), Query::RdataText(_)));
        assert!(matches!(Query::block("192.0.2.7", "24"), Ok(Query::Addresses(..))));
        assert!(Query::block("www.example", "24").is_err());
        assert!(Query::block("192.0.2.7", "24-").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            if let Err(error) = Query::parse(&text) {
                prop_assert!(error.at <= text.chars().count());
            }
            let _ = Query::exact(&text);
            let _ = Query::block(&text, &text);
        }

        #[test]
        fn addresses_are_what_the_whole_parser_finds(text in "(rdata:|RDATA:| )?[0-9./:a-f,-]{0,30}( |x)?") {
            let whole = Query::parse(&text).ok().filter(|query| matches!(query, Query::Addresses(..)));
            prop_assert_eq!(format!("{:?}", Query::of_addresses(&text)), format!("{whole:?}"));
        }

        #[test]
        fn every_name_shown_finds_itself(labels in proptest::collection::vec(proptest::collection::vec(1u8..=255, 1..8), 1..5)) {
            let name = Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap();
            let shown = name.to_string();
            // A name that looks like another form is asked for with its first character escaped.
            let unlike = shown.bytes().all(|b| b.is_ascii_alphanumeric() || b"._\\".contains(&b));
            if unlike && shown.parse::<IpAddr>().is_err() {
                prop_assert!(matches!(Query::parse(&shown), Ok(Query::Name(found)) if found == name));
            }
        }
    }
}
