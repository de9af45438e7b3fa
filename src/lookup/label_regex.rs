//! What a regex that tells no text can match, in simpler regexes that an engine understands: for the labels of names one by one, since
//! an engine may keep them in another order than they are shown in, and for addresses as a whole.
//!
//! What is made here holds for all that the regex matches, and for more: what it says of places other than begin and end is left out, and so
//! is what reaches over a dot.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

use crate::store::{Condition, Edge, LabelRegex, Looks, Side};

/// Bytes of a regex that is made, at most, and times that a part is repeated in it.
const MOST_BYTES: usize = 1000;
const MOST_TIMES: u32 = 64;
/// Labels that are looked for at most: each is looked for in every row.
const MOST_LABELS: usize = 2;
/// What is so long at least says something by that.
const LONG: usize = 16;

/// What a side of a row meets that a regex matches.
pub(super) fn of_regex(hir: &Hir, side: Side) -> Condition {
    let mut parts = Parts::default();
    parts.add(hir);
    parts.end_label(Edge::Open);
    let mut labels = parts.labels;
    labels.sort_by_key(|(least, _)| usize::MAX - least);
    labels.truncate(MOST_LABELS);
    let labels: Vec<LabelRegex> = labels.into_iter().map(|(_, label)| label).collect();
    let of_v4 = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let of_v6 = |byte: u8| byte.is_ascii_hexdigit() || b".:".contains(&byte);
    let v4 = Shape { allowed: of_v4, longest: 3, has_ends: true }.print(hir);
    let v6 = Shape { allowed: of_v6, longest: 4, has_ends: true }.print(hir);
    // No address is shown longer than this.
    let least = hir.properties().minimum_len().unwrap_or(0);
    let (v4, v6) = (v4.filter(|_| least <= 15), v6.filter(|_| least <= 39));
    let is_short = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= MOST_BYTES);
    if (labels.is_empty() && least < LONG) || !is_short(&v4) || !is_short(&v6) {
        return Condition::Always;
    }
    Condition::Looks(side, Looks { labels, least, v4, v6 })
}

/// What is gathered of a regex.
#[derive(Default)]
struct Parts {
    /// Each with the least bytes that it matches.
    labels: Vec<(usize, LabelRegex)>,
    /// What lies behind one another since a dot, and where it begins.
    open: Vec<Hir>,
    starts: Edge,
}

impl Parts {
    fn add(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Look(Look::Start) => self.begin_label(Edge::Text),
            HirKind::Look(Look::End) => self.end_label(Edge::Text),
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Capture(capture) => self.add(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.add(part)),
            HirKind::Literal(literal) => {
                for (at, part) in literal.0.split(|byte| *byte == b'.').enumerate() {
                    if at > 0 {
                        self.end_label(Edge::Label);
                        self.begin_label(Edge::Label);
                    }
                    if !part.is_empty() {
                        self.open.push(Hir::literal(part.to_vec()));
                    }
                }
            }
            _ if shows_dot(hir) => {
                self.end_label(Edge::Open);
                self.begin_label(Edge::Open);
            }
            _ => self.open.push(hir.clone()),
        }
    }

    fn begin_label(&mut self, starts: Edge) {
        self.open.clear();
        self.starts = starts;
    }

    fn end_label(&mut self, ends: Edge) {
        let hir = Hir::concat(std::mem::take(&mut self.open));
        let starts = std::mem::take(&mut self.starts);
        let least = hir.properties().minimum_len().unwrap_or(0);
        // What may be nothing is everywhere.
        if least == 0 {
            return;
        }
        let shape = Shape { allowed: |byte| byte != b'.', longest: u32::MAX, has_ends: false };
        let printed = shape.print(&hir);
        if let Some(regex) = printed.filter(|regex| regex.len() <= MOST_BYTES) {
            // A dot that is escaped is no border of labels, and bytes that are escaped are not gone over.
            let may_be_escape = starts == Edge::Label
                || (starts == Edge::Open && ends == Edge::Text)
                || shows(&hir, |byte| byte.is_ascii_digit() || byte == b'\\');
            self.labels.push((least, LabelRegex { regex, starts, ends, may_be_escape }));
        }
    }
}

/// Whether a regex can match some byte.
fn shows(hir: &Hir, byte: fn(u8) -> bool) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(literal) => literal.0.iter().any(|one| byte(*one)),
        HirKind::Class(class) => !printable(class, byte).is_empty(),
        HirKind::Repetition(repeated) => shows(&repeated.sub, byte),
        HirKind::Capture(capture) => shows(&capture.sub, byte),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(|part| shows(part, byte)),
    }
}

fn shows_dot(hir: &Hir) -> bool {
    shows(hir, |byte| byte == b'.')
}

/// The bytes of a class that may be shown, and are allowed.
fn printable(class: &Class, allowed: fn(u8) -> bool) -> Vec<u8> {
    let within = |byte: u8| match class {
        Class::Bytes(class) => class.iter().any(|range| (range.start()..=range.end()).contains(&byte)),
        Class::Unicode(class) => {
            class.iter().any(|range| (range.start()..=range.end()).contains(&char::from(byte)))
        }
    };
    (0x20..=0x7e).filter(|byte| allowed(*byte) && within(*byte)).collect()
}

/// What is shown on a side.
struct Shape {
    /// The bytes that it is made of.
    allowed: fn(u8) -> bool,
    /// So many digits or letters lie side by side at most.
    longest: u32,
    /// Whether it is looked at from its begin to its end, as it is shown.
    has_ends: bool,
}

impl Shape {
    /// A regex as an engine reads it; `None` where it matches nothing of this shape.
    ///
    /// Old engines look for text in a regex themselves, and take the digits of an escape for some: so these are in classes only.
    fn print(&self, hir: &Hir) -> Option<String> {
        Some(match hir.kind() {
            HirKind::Empty => String::new(),
            HirKind::Look(Look::Start) if self.has_ends => "^".to_owned(),
            HirKind::Look(Look::End) if self.has_ends => "$".to_owned(),
            HirKind::Look(_) => String::new(),
            HirKind::Literal(literal) => {
                let is_shown =
                    literal.0.iter().all(|byte| (0x20..=0x7e).contains(byte) && (self.allowed)(*byte));
                is_shown.then(|| literal.0.iter().map(|byte| class(&[*byte])).collect())?
            }
            HirKind::Class(of) => {
                let bytes = printable(of, self.allowed);
                (!bytes.is_empty()).then(|| class(&bytes))?
            }
            HirKind::Capture(capture) => self.print(&capture.sub)?,
            HirKind::Concat(parts) => {
                parts.iter().map(|part| self.print(part)).collect::<Option<String>>()?
            }
            HirKind::Alternation(branches) => {
                let branches: Vec<String> = branches.iter().filter_map(|branch| self.print(branch)).collect();
                (!branches.is_empty()).then(|| format!("(?:{})", branches.join("|")))?
            }
            HirKind::Repetition(repeated) => {
                let (least, most) = (repeated.min, repeated.max);
                let Some(sub) = self.print(&repeated.sub).filter(|_| most != Some(0)) else {
                    return (least == 0).then(String::new);
                };
                let is_word = !shows(&repeated.sub, |byte| !byte.is_ascii_alphanumeric())
                    && repeated.sub.properties().minimum_len().is_some_and(|least| least > 0);
                if is_word && least > self.longest {
                    return None;
                }
                let times = most.unwrap_or(least).max(least);
                let is_long = times > MOST_TIMES || sub.len().saturating_mul(times as usize) > MOST_BYTES;
                match (sub.is_empty(), least, most) {
                    (true, ..) => String::new(),
                    (_, 0, None) => format!("(?:{sub})*"),
                    (_, 0, Some(_)) if is_long => format!("(?:{sub})*"),
                    (_, 1, None) => format!("(?:{sub})+"),
                    _ if is_long => format!("(?:{sub})+"),
                    (_, least, None) => format!("(?:{sub}){{{least},}}"),
                    (_, least, Some(most)) => format!("(?:{sub}){{{least},{most}}}"),
                }
            }
        })
    }
}

/// A class of these bytes, which are in their order.
fn class(bytes: &[u8]) -> String {
    if let [byte] = bytes
        && byte.is_ascii_alphanumeric()
    {
        return char::from(*byte).to_string();
    }
    let mut class = "[".to_owned();
    for range in bytes.chunk_by(|a, b| a + 1 == *b) {
        match range {
            [] => {}
            [one] => class += &format!("\\x{one:02x}"),
            [first, .., last] => class += &format!("\\x{first:02x}-\\x{last:02x}"),
        }
    }
    class + "]"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Name;
    use proptest::prelude::*;
    use regex::bytes::{Regex, RegexBuilder};
    use regex_syntax::ParserBuilder;

    fn parsed(regex: &str) -> Hir {
        ParserBuilder::new().unicode(false).utf8(false).case_insensitive(true).build().parse(regex).unwrap()
    }

    fn looks(regex: &str) -> Option<Looks> {
        match of_regex(&parsed(regex), Side::Rrname) {
            Condition::Looks(_, looks) => Some(looks),
            _ => None,
        }
    }

    fn is_match(regex: &str, bytes: &[u8]) -> bool {
        RegexBuilder::new(regex).unicode(false).build().unwrap().is_match(bytes)
    }

    fn is_plain(name: &Name) -> bool {
        is_match(&format!("^{}$", LabelRegex::PLAIN), name.key())
    }

    #[test]
    fn a_regex_is_told_by_its_runs_between_dots() {
        let labels = |regex: &str| {
            let looks = looks(regex).unwrap();
            looks.labels.iter().map(LabelRegex::of_name).collect::<Vec<_>>()
        };
        assert_eq!(labels("^[a-z]{20}$"), [r"(?:^(?:[\x41-\x5a\x61-\x7a]){20,20}[\x00][\x00]$)"]);
        assert_eq!(labels("[0-9]{5}"), [r"(?:(?:[\x30-\x39]){5,5})"]);
        assert_eq!(looks(".*"), None);
        assert_eq!(looks("(x|.)*"), None);
        let long = looks("^.{40,}$").unwrap();
        assert_eq!((long.labels.len(), long.least, long.v4), (0, 40, None));
        assert_eq!(looks("[a-z]{20}").map(|looks| (looks.v4, looks.v6)), Some((None, None)));
        assert_eq!(looks("[0-9]{4}").unwrap().v4, None);
        assert!(looks(r"^[0-9]+\.[a-f]").unwrap().v6.is_some());
    }

    proptest! {
        #[test]
        fn what_a_regex_matches_has_its_runs(
            labels in proptest::collection::vec("[a-c1-3\\.\\\\\u{e9}\u{1}-]{1,5}", 1..4),
            parts in proptest::collection::vec(prop_oneof![
                Just("[a-c]"), Just("[a-z0-9]{2}"), Just("[0-9]{3}"), Just(r"\."), Just("."), Just("^"), Just("$"), Just("(a|b1)+"), Just("[^a]"),
                Just("c?"), Just(r"\\"), Just(r"[0-9]\."), Just("(^|b)"), Just("[a-c.]{2,4}"), Just(r"\b"), Just("(?-i)[A-C]"), Just("[a-c]{70,}"),
            ], 1..6),
        ) {
            let Ok(name) = Name::from_labels(labels.iter().map(String::as_bytes)) else { return Ok(()) };
            let regex = parts.concat();
            let Ok(real) = RegexBuilder::new(&regex).unicode(false).case_insensitive(true).build() else { return Ok(()) };
            let shown = name.to_string();
            let Some(looks) = looks(&regex) else { return Ok(()) };
            for shown in [shown.clone(), format!("{shown}.")] {
                if real.is_match(shown.as_bytes()) {
                    prop_assert!(name.key().len() >= looks.least || !is_plain(&name), "{regex} {shown}");
                    for label in &looks.labels {
                        let is_odd = !is_plain(&name);
                        prop_assert!(
                            is_match(&label.of_name(), name.key()) || (label.may_be_escape && is_odd), "{regex} {shown} {}", label.of_name()
                        );
                        prop_assert!(is_match(&label.of_text(), shown.as_bytes()) , "{regex} {shown} {}", label.of_text());
                    }
                }
            }
        }

        #[test]
        fn what_a_regex_matches_of_an_address_its_simpler_form_matches(
            v4: [u8; 4], v6: [u16; 8], zero in 0u8..=255,
            parts in proptest::collection::vec(prop_oneof![
                Just("[0-9]"), Just("[0-9]{3}"), Just("[a-f0-9]{2,9}"), Just(r"\."), Just("."), Just("^"), Just("$"), Just(":"), Just("(a|1)+"),
                Just("[0-9.]{5}"), Just("([0-9]+.){2}"), Just("2?"), Just("(x|[0-9]:)"),
            ], 1..5),
        ) {
            let regex = parts.concat();
            let Ok(real) = RegexBuilder::new(&regex).unicode(false).case_insensitive(true).build() else { return Ok(()) };
            let Some(looks) = looks(&regex) else { return Ok(()) };
            let mut v6 = v6;
            (0..8).filter(|at| zero & 1 << at != 0).for_each(|at| v6[at] = 0);
            let v4 = std::net::Ipv4Addr::from(v4).to_string();
            let v6 = std::net::Ipv6Addr::from(v6).to_string();
            for (shown, simpler) in [(v4, looks.v4), (v6, looks.v6)] {
                if real.is_match(shown.as_bytes()) {
                    prop_assert!(simpler.as_ref().is_some_and(|simpler| is_match(simpler, shown.as_bytes())), "{regex} {shown} {simpler:?}");
                }
            }
        }
    }

    #[test]
    fn a_regex_that_repeats_much_is_told_by_less() {
        for regex in ["[a-z]{500}", "(([a-z]{60}){60}){3}", "([ab]{3}x?){2,900}"] {
            let label = &looks(regex).unwrap().labels[0];
            assert!(label.regex.len() < MOST_BYTES && Regex::new(&label.regex).is_ok(), "{}", label.regex);
        }
    }
}
