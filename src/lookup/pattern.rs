//! Patterns: text, globs and regexes that rows are looked through for.
//!
//! They run on names and data as these are shown: in presentation form, lower-case, without the final dot unless one is
//! asked for. Case never matters, except to a regex that says `(?-i)`.

use std::collections::BTreeSet;

use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use super::required::of_regex;
use crate::dns::{Name, Rdata, other_form};
use crate::observation::Tuple;
use crate::store::{Condition, Side};

/// The compiled size a regex may have, in bytes; it bounds the time to compile one, too.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// A regex or a glob that is none: what is wrong, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}: character {}", .at + 1)]
pub struct PatternError {
    /// What is wrong, in one line.
    pub message: String,
    /// The byte that it fails at, from 0.
    pub at: usize,
}

//--- Pattern --------------------------------------------------------------------------------------------------------

/// What a row must look like: its rrname, or its data, or either of the two.
#[derive(Debug, Clone)]
pub struct Pattern {
    rrname: Option<Matcher>,
    rdata: Option<Matcher>,
    /// A row that passes for one side must not match this on that side.
    but_not: Option<Matcher>,
    /// Whether names end in a dot while they are looked at, as the DNSDB API has them.
    final_dot: bool,
    /// A name that every rrname which matches is at or below.
    under: Option<Name>,
}

impl Pattern {
    fn of(matcher: Matcher) -> Pattern {
        Pattern {
            rrname: Some(matcher.clone()),
            rdata: Some(matcher),
            but_not: None,
            final_dot: false,
            under: None,
        }
    }

    /// Rows that contain text, in any case. What is not ASCII is looked for as it is shown, as `\DDD`, and as A-labels, and A-labels
    /// are looked for as what they stand for, too. A final
    /// dot is one between labels or the one behind a name, which is not shown.
    pub fn text(needle: &str) -> Pattern {
        Pattern::texts(&[Some(needle)])
    }

    /// The same for one of several.
    pub fn texts(needles: &[Option<&str>]) -> Pattern {
        let mut any = Vec::new();
        for needle in needles.iter().flatten() {
            any.extend(in_any_case("", needle, ""));
            any.extend(needle.strip_suffix('.').and_then(|bare| in_any_case("", bare, "$")));
        }
        for shown in needles.iter().flatten().flat_map(|needle| spellings(needle)) {
            any.push(Matcher::Text(Box::new(Finder::new(&shown).into_owned())));
            any.extend(without_final_dot(&shown).map(Matcher::End));
        }
        Pattern::of(Matcher::of_any(any))
    }

    /// Rows whose rrname ends in text, or whose data begins with it, by character: zeek-pdns' "like".
    pub fn like(text: &str) -> Pattern {
        let bare = text.strip_suffix('.').unwrap_or(text);
        let mut ends: Vec<Matcher> = in_any_case("", bare, "$").into_iter().collect();
        let whole = if bare.len() < text.len() { "$" } else { "" };
        let mut starts: Vec<Matcher> = in_any_case("^", bare, whole).into_iter().collect();
        for shown in spellings(text) {
            let bare = without_final_dot(&shown);
            ends.push(Matcher::End(bare.clone().unwrap_or_else(|| shown.clone())));
            starts.extend(bare.map(Matcher::Whole));
            starts.push(Matcher::Start(shown));
        }
        Pattern {
            rrname: Some(Matcher::of_any(ends)),
            rdata: Some(Matcher::of_any(starts)),
            but_not: None,
            final_dot: false,
            under: None,
        }
    }

    /// Rows that match a regex somewhere. Matching takes time linear in the text.
    ///
    /// # Errors
    ///
    /// When it is no regex, or too large a one.
    pub fn regex(regex: &str) -> Result<Pattern, PatternError> {
        compile(regex).map(Matcher::Regex).map(Pattern::of)
    }

    /// Rows that match a glob as a whole: `*` is any text, `?` one character, `[a-z]` or `[!a-z]` one of a class, and a
    /// backslash takes its meaning from the character behind it.
    ///
    /// # Errors
    ///
    /// When a class does not end or makes no sense, or the glob is too large.
    pub fn glob(glob: &str) -> Result<Pattern, PatternError> {
        let ascii = labels_in_ascii(glob).ok_or_else(|| not_ascii(glob))?;
        // Any other error would be about a regex that nobody wrote.
        let cut = |error: PatternError| PatternError { at: error.at.min(glob.len()), ..error };
        let regex = compile(&glob_to_regex(&ascii).map_err(cut)?);
        let matcher = Matcher::Regex(
            regex.map_err(|_| PatternError { message: "the glob makes no sense".to_owned(), at: 0 })?,
        );
        Ok(Pattern { under: literal_end(&ascii), ..Pattern::of(matcher) })
    }

    /// The same for rrnames only.
    pub fn on_rrname(self) -> Pattern {
        Pattern { rdata: None, ..self }
    }

    /// The same for record data only.
    pub fn on_rdata(self) -> Pattern {
        Pattern { rrname: None, ..self }
    }

    /// The same for names, on either side, with their final dot.
    pub fn with_final_dot(self) -> Pattern {
        Pattern { final_dot: true, ..self }
    }

    /// The same without what another pattern matches on the side that this one does.
    pub fn but_not(self, other: Pattern) -> Pattern {
        Pattern { but_not: other.rrname.or(other.rdata), ..self }
    }

    /// A name that all rows which match are at or below, where the pattern tells one.
    pub(super) fn under(&self) -> Option<&Name> {
        self.under.as_ref().filter(|_| self.rdata.is_none())
    }

    /// Whether names are held against it.
    pub(super) fn is_about_names(&self) -> bool {
        self.rrname.is_some()
    }

    /// Whether a name matches. `shown` is scratch.
    pub(super) fn matches_name(&self, name: &Name, shown: &mut Vec<u8>) -> bool {
        let Some(matcher) = &self.rrname else { return false };
        shown.clear();
        name.push_presentation(shown);
        if self.final_dot && !name.is_root() {
            shown.push(b'.');
        }
        self.passes(matcher, shown)
    }

    /// Whether a row matches. `shown` is scratch.
    pub(super) fn matches(&self, tuple: &Tuple, shown: &mut Vec<u8>) -> bool {
        if self.matches_name(&tuple.rrname, shown) {
            return true;
        }
        if let Some(matcher) = &self.rdata {
            shown.clear();
            tuple.rdata.push_presentation(shown);
            match &tuple.rdata {
                Rdata::Name(name) if self.final_dot && !name.is_root() => shown.push(b'.'),
                Rdata::Text(_) => shown.make_ascii_lowercase(),
                _ => {}
            }
            return self.passes(matcher, shown);
        }
        false
    }

    /// What each row meets that matches.
    pub(super) fn condition(&self) -> Condition {
        let rrname = self.rrname.iter().map(|matcher| matcher.condition(Side::Rrname));
        let rdata = self.rdata.iter().map(|matcher| matcher.condition(Side::Rdata));
        Condition::one_of(rrname.chain(rdata))
    }

    /// What each name meets that matches.
    pub(super) fn condition_of_names(&self) -> Condition {
        self.rrname.as_ref().map_or(Condition::Always, |matcher| matcher.condition(Side::Rrname))
    }

    fn passes(&self, matcher: &Matcher, shown: &[u8]) -> bool {
        matcher.matches(shown) && self.but_not.as_ref().is_none_or(|but_not| !but_not.matches(shown))
    }
}

/// Text as it is shown, lower-cased.
fn as_shown(text: &str) -> Vec<u8> {
    let mut shown = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            0x20..=0x7e => shown.push(byte.to_ascii_lowercase()),
            _ => shown.extend_from_slice(format!("\\{byte:03}").as_bytes()),
        }
    }
    shown
}

/// How a text may be shown: its bytes, with A-labels where it has labels in Unicode, and in Unicode where it has A-labels.
fn spellings(text: &str) -> impl Iterator<Item = Vec<u8>> {
    let ascii = (!text.is_ascii()).then(|| labels_in_ascii(text)).flatten();
    let unicode = text.to_ascii_lowercase().contains("xn--").then(|| labels_in_unicode(text));
    let others = ascii.map(|ascii| as_shown(&ascii)).into_iter().chain(unicode.map(String::into_bytes));
    std::iter::once(as_shown(text)).chain(others)
}

/// What text that is not ASCII matches in any case, as it is shown.
fn in_any_case(front: &str, text: &str, end: &str) -> Option<Matcher> {
    if text.is_ascii() {
        return None;
    }
    let mut regex = front.to_owned();
    let shown = |text: &str| regex::escape(&as_shown(text).into_iter().map(char::from).collect::<String>());
    for c in text.chars() {
        let forms: [String; 3] = [c.to_string(), c.to_lowercase().collect(), c.to_uppercase().collect()];
        let forms: BTreeSet<String> = forms.iter().map(|form| shown(form)).collect();
        regex.push_str(&format!("(?:{})", Vec::from_iter(forms).join("|")));
    }
    regex.push_str(end);
    compile(&regex).ok().map(Matcher::Regex)
}

/// A text whose A-labels are as they are shown in Unicode, byte by byte.
fn labels_in_unicode(text: &str) -> String {
    let label = |label: &str| {
        let name = Name::parse(label).ok().filter(|name| name.labels().len() == 1);
        name.and_then(|name| other_form(&name))
            .map_or_else(|| label.to_ascii_lowercase(), |other| other.to_string())
    };
    text.split('.').map(label).collect::<Vec<_>>().join(".")
}

/// A text whose labels in Unicode are A-labels; none where one of them has no such form.
fn labels_in_ascii(text: &str) -> Option<String> {
    let label = |label: &str| match label.is_ascii() {
        true => Some(label.to_owned()),
        false if has_wildcard(label) => None,
        false => Name::parse(label).ok().map(|name| name.to_string()),
    };
    let labels: Option<Vec<String>> = text.split('.').map(label).collect();
    labels.map(|labels| labels.join("."))
}

/// Text without its final dot, where it has one and something else.
fn without_final_dot(shown: &[u8]) -> Option<Vec<u8>> {
    shown.strip_suffix(b".").filter(|bare| !bare.is_empty() && !bare.ends_with(b"\\")).map(<[u8]>::to_vec)
}

//--- Matcher --------------------------------------------------------------------------------------------------------

/// A test on one side of a row, as it is shown.
#[derive(Debug, Clone)]
enum Matcher {
    Text(Box<Finder<'static>>),
    Whole(Vec<u8>),
    Any(Vec<Matcher>),
    Start(Vec<u8>),
    End(Vec<u8>),
    Regex(Regex),
}

impl Matcher {
    /// One of several; of one, that one.
    fn of_any(mut any: Vec<Matcher>) -> Matcher {
        match any.pop() {
            Some(one) if any.is_empty() => one,
            last => {
                any.extend(last);
                Matcher::Any(any)
            }
        }
    }

    /// What a side of a row meets that this matches.
    fn condition(&self, side: Side) -> Condition {
        match self {
            Matcher::Text(finder) => Condition::Shows(side, finder.needle().to_vec()),
            Matcher::Whole(text) | Matcher::Start(text) | Matcher::End(text) => {
                Condition::Shows(side, text.clone())
            }
            Matcher::Any(any) => Condition::one_of(any.iter().map(|one| one.condition(side))),
            Matcher::Regex(regex) => of_regex(regex.as_str(), side),
        }
    }

    fn matches(&self, shown: &[u8]) -> bool {
        match self {
            Matcher::Text(finder) => finder.find(shown).is_some(),
            Matcher::Whole(whole) => shown == whole,
            Matcher::Any(any) => any.iter().any(|one| one.matches(shown)),
            Matcher::Start(start) => shown.starts_with(start),
            Matcher::End(end) => shown.ends_with(end),
            Matcher::Regex(regex) => regex.is_match(shown),
        }
    }
}

fn not_ascii(text: &str) -> PatternError {
    let message = "names and data are shown in ASCII, so what they are to match is ASCII too".to_owned();
    PatternError { message, at: text.find(|c: char| !c.is_ascii()).unwrap_or_default() }
}

fn compile(regex: &str) -> Result<Regex, PatternError> {
    if !regex.is_ascii() {
        return Err(not_ascii(regex));
    }
    let built = RegexBuilder::new(regex)
        .case_insensitive(true)
        .unicode(false)
        .size_limit(MAX_REGEX_BYTES)
        .dfa_size_limit(MAX_REGEX_BYTES)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            PatternError { message: "the regex is too large".to_owned(), at: 0 }
        }
        error => {
            // A drawing: a title, the regex behind four spaces, a line with carets below it, and what is wrong.
            let drawing = error.to_string();
            let mut lines = drawing.lines().skip(2);
            let at = lines.next().and_then(|carets| carets.find('^')).map_or(0, |at| at.saturating_sub(4));
            let last = drawing.lines().last().unwrap_or_default();
            let message = last.strip_prefix("error: ").unwrap_or(last).to_owned();
            PatternError { message, at: at.min(regex.len()) }
        }
    })
}

//--- globs ----------------------------------------------------------------------------------------------------------

/// Whether text has a character that stands for others.
pub(super) fn has_wildcard(text: &str) -> bool {
    let mut escaped = false;
    text.bytes().any(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        _ => matches!(byte, b'*' | b'?' | b'['),
    })
}

fn glob_to_regex(glob: &str) -> Result<String, PatternError> {
    let mut regex = String::from("^(?s:");
    let mut chars = glob.char_indices().peekable();
    let literal = |c: char, regex: &mut String| regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    while let Some((at, c)) = chars.next() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => {
                regex.push('[');
                if chars.next_if(|&(_, c)| matches!(c, '!' | '^')).is_some() {
                    regex.push('^');
                }
                let mut first = true;
                loop {
                    match chars.next() {
                        Some((_, ']')) if !first => break,
                        Some((_, '-')) if !first && chars.peek().is_some_and(|&(_, c)| c != ']') => {
                            regex.push('-');
                        }
                        Some((_, c)) => literal(c, &mut regex),
                        None => {
                            let message = "the class of characters does not end".to_owned();
                            return Err(PatternError { message, at });
                        }
                    }
                    first = false;
                }
                regex.push(']');
            }
            '\\' => {
                // Names are shown with escapes of their own, so an escaped dot or backslash is looked for as it is shown.
                match chars.next() {
                    Some((_, c @ ('.' | '\\' | '0'..='9'))) => {
                        literal('\\', &mut regex);
                        literal(c, &mut regex);
                    }
                    Some((_, c)) => literal(c, &mut regex),
                    None => literal('\\', &mut regex),
                }
            }
            c => literal(c, &mut regex),
        }
    }
    regex.push_str(")$");
    Ok(regex)
}

/// The whole labels that a glob ends in.
fn literal_end(glob: &str) -> Option<Name> {
    let last = glob.rfind(['*', '?', ']', '\\'])?;
    let (special, mut tail) = glob.split_at_checked(last + 1)?;
    if special.ends_with('\\') {
        tail = tail.get(1..)?; // what it escapes is no border of labels
    }
    let name = Name::parse(tail.split_once('.')?.1).ok()?;
    (!name.is_root()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::RrType;
    use proptest::prelude::*;

    fn finds(pattern: &Pattern, rrname: &str, rdata: &str) -> bool {
        let rdata = match rdata.strip_prefix("text:") {
            Some(text) => Rdata::text(text.as_bytes()),
            None => rdata.parse().map(Rdata::V4).unwrap_or_else(|_| Rdata::Name(Name::parse(rdata).unwrap())),
        };
        let tuple = Tuple { rrname: Name::parse(rrname).unwrap(), rrtype: RrType::A, rdata };
        pattern.matches(&tuple, &mut Vec::new())
    }

    #[test]
    fn text_is_found_in_any_case_and_as_it_is_shown() {
        let contains = |needle: &str, rdata: &str| finds(&Pattern::text(needle), "x", rdata);
        assert!(contains("MAIL", "mail.example"));
        assert!(contains("spf1 -ALL", "text:\"v=spf1 -All\""));
        assert!(contains("é", r"caf\195\169.example"));
        assert!(contains("b\u{fc}cher.Example", "www.xn--bcher-kva.example"));
        for needle in ["M\u{d6}WE.Example", "m\u{f6}WE", "XN--mwe-sna", "M\u{d6}we.example."] {
            for name in [r"m\195\182we.example", r"m\195\150we.example", "xn--mwe-sna.example"] {
                let is_other_case = needle.starts_with("XN") && name.contains("150");
                assert!(is_other_case || contains(needle, name), "{needle} {name}");
            }
        }
        assert!(contains("\u{44f}", "text:\"\u{42f}\""));
        assert!(contains("mail.example.", "mail.example") && contains("mail.", "mail.example"));
        assert!(!contains("mail.", "mailer") && contains("192.0.2.1.", "192.0.2.1"));
        assert!(!contains("%", "mail.example"));
        assert!(finds(&Pattern::text("AIL"), "mail.example", "192.0.2.1"));
    }

    #[test]
    fn a_regex_may_match_anywhere_and_says_where_it_is_wrong() {
        let regex = Pattern::regex("^MAIL[0-9]$").unwrap();
        assert!(finds(&regex, "mail7", "192.0.2.1") && !finds(&regex, "mail7.example", "192.0.2.1"));
        assert!(finds(&Pattern::regex(r"2\.0").unwrap(), "a", "192.0.2.0"));
        assert!(!finds(&Pattern::regex("(?-i)MAIL").unwrap(), "mail", "192.0.2.1"));
        for (wrong, at, message) in [
            ("a(b", 1, "unclosed group"),
            ("a|*", 2, "repetition operator missing expression"),
            (r"(a)\1", 3, "backreferences are not supported"),
            ("bü", 1, "names and data are shown in ASCII, so what they are to match is ASCII too"),
            ("((a{500}){500}){500}", 0, "the regex is too large"),
        ] {
            let error = Pattern::regex(wrong).unwrap_err();
            assert_eq!((error.at, error.message.as_str()), (at, message), "{wrong}");
        }
    }

    #[test]
    fn a_glob_matches_the_whole() {
        let matches = |glob: &str, name: &str| finds(&Pattern::glob(glob).unwrap(), name, "192.0.2.1");
        assert!(matches("MAIL*.example.com", "mail7.example.com"));
        assert!(!matches("mail*.example.com", "mail7.example.com.org"));
        assert!(!matches("mail", "mail.example"));
        assert!(matches("m?il[0-9].*", "mail7.example"));
        assert!(!matches("mail[!0-9].*", "mail7.example") && matches("mail[^0-8].*", "mail9.example"));
        assert!(matches("a[]x]b", "a]b") && matches("a[x-]b", "a-b"));
        assert!(matches(r"\*.example", r"\*.example") && !matches(r"\*.example", "x.example"));
        assert!(matches(r"a\.b*", r"a\.b.example") && !matches(r"a\.b*", "a.b.example"));
        assert!(!matches("a+b", "aab") && matches("a+b", "a+b"));
        assert_eq!(Pattern::glob("ab[c").unwrap_err().at, 2);
        assert_eq!(Pattern::glob("bü*").unwrap_err().at, 1);
    }

    #[test]
    fn a_glob_tells_where_in_the_tree_it_looks() {
        let under = |glob: &str| {
            let pattern = Pattern::glob(glob).unwrap().on_rrname();
            pattern.under().map(ToString::to_string)
        };
        assert_eq!(under("mail*.example.com").as_deref(), Some("example.com"));
        assert_eq!(under("*ail.example.com.").as_deref(), Some("example.com"));
        assert_eq!(under(r"*\.example.com").as_deref(), Some("com"));
        for nowhere in ["mail*", "*example", "*.", "*..com"] {
            assert_eq!(under(nowhere), None, "{nowhere}");
        }
        assert_eq!(Pattern::glob("*.example.com").unwrap().under(), None, "data may be anywhere");
    }

    #[test]
    fn sides_final_dots_and_exceptions_are_as_asked() {
        let text = Pattern::text("mail");
        assert!(!finds(&text.clone().on_rrname(), "x", "mail") && finds(&text.on_rdata(), "x", "mail"));
        let dotted = Pattern::regex(r"\.com\.$").unwrap().with_final_dot();
        assert!(finds(&dotted, "example.com", "192.0.2.1") && finds(&dotted, "x", "example.com"));
        assert!(!finds(&dotted, "x", "text:.com") && !finds(&dotted, "x", "192.0.2.1"));
        let root = Pattern::regex(r"^\.$").unwrap().with_final_dot();
        assert!(finds(&root, ".", "192.0.2.1") && finds(&root, "x", "."));
        let some = Pattern::text("mail").on_rrname().but_not(Pattern::glob("*.example").unwrap());
        assert!(finds(&some, "mail.test", "a.example") && !finds(&some, "mail.example", "a.test"));
    }

    #[test]
    fn like_is_the_end_of_a_name_or_the_start_of_an_answer() {
        let like = Pattern::like("EXAMPLE.com");
        assert!(finds(&like, "badexample.com", "192.0.2.1") && finds(&like, "x", "example.com.test"));
        assert!(!finds(&like, "example.com.test", "www.example.com"));
        assert!(finds(&Pattern::like("192.0"), "x", "192.0.2.1"));
        let dotted = Pattern::like("Example.com.");
        assert!(finds(&dotted, "www.example.com", "192.0.2.1") && finds(&dotted, "x", "example.com"));
        assert!(!finds(&dotted, "x", "example.computer"));
        assert!(finds(&Pattern::like("M\u{d6}WE.example."), r"m\195\182we.example", "192.0.2.1"));
        assert!(finds(&Pattern::like("b\u{fc}cher.example"), "www.xn--bcher-kva.example", "192.0.2.1"));
    }

    proptest! {
        #[test]
        fn a_glob_without_wildcards_matches_itself_only(name in "[a-z.+^$(){}|]{1,12}", other in "[a-z.+]{1,12}") {
            let regex = compile(&glob_to_regex(&name).unwrap()).unwrap();
            prop_assert!(regex.is_match(name.as_bytes()));
            prop_assert_eq!(regex.is_match(other.as_bytes()), name == other);
        }

        #[test]
        fn a_row_that_matches_meets_what_the_store_is_told(
            labels in proptest::collection::vec("[a-cA1-3.\\\\\u{e9}]{1,4}", 1..4),
            text in "[a-cA1-3.\\\\ \u{e9}]{0,8}",
            from in 0usize..12,
            length in 0usize..8,
            is_text in any::<bool>(),
        ) {
            let Ok(name) = Name::from_labels(labels.iter().map(String::as_bytes)) else { return Ok(()) };
            let other = if is_text { Rdata::text(text.as_bytes()) } else { Rdata::Name(name.clone()) };
            let tuple = Tuple { rrname: name.clone(), rrtype: RrType::A, rdata: other };
            // What is looked for is a part of what is shown, so that it is often found.
            let shown = tuple.rrname.to_string() + "." + &tuple.rdata.to_string();
            let needle: String = shown.chars().skip(from).take(length).collect();
            let escaped = regex::escape(&needle);
            let regexes = [
                escaped.clone(), format!("(?-i){escaped}$"), format!("^.?({escaped}|nothing)+"), format!("[{}]+.*b?{escaped}", "a-c"),
            ];
            let patterns = regexes.iter().filter_map(|regex| Pattern::regex(regex).ok());
            let globs = [format!("*{needle}*"), needle.clone()].into_iter().filter_map(|glob| Pattern::glob(&glob).ok());
            for pattern in patterns.chain(globs).chain([Pattern::text(&needle), Pattern::like(&needle)]) {
                for pattern in [pattern.clone().on_rrname(), pattern.clone().on_rdata(), pattern.clone(), pattern.with_final_dot()] {
                    if pattern.matches(&tuple, &mut Vec::new()) {
                        prop_assert!(pattern.condition().is_met_by(&tuple, "lan"), "{:?} {}", pattern, tuple.rrname);
                    }
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            for error in [Pattern::glob(&text).err(), Pattern::regex(&text).err()].into_iter().flatten() {
                prop_assert!(error.at <= text.len());
            }
            let _ = (Pattern::text(&text), Pattern::like(&text));
        }
    }
}
