//! The words of a text in which names and addresses stand, without what surrounds them there.
//!
//! Sentences end in marks, notes hang at names (`evil.example¹`, `evil.example[1]`), and Markdown, HTML and JSON leave theirs. A
//! range that is written with blanks is one word.

use std::borrow::Cow;
use std::net::IpAddr;

use super::files::is_file_ending;
use super::host::has_known_end;
use super::reason::Reason;
use super::text::{SEEN, prepared};
use super::value::{self, Value, Values};

/// What divides the words of a text beside spaces.
const BETWEEN: &str = ",;<>\"`|{}()\u{201c}\u{201d}\u{201e}\u{ab}\u{bb}\u{2039}\u{203a}\u{2014}\u{2015}\u{2190}\u{2192}\u{21d2}\u{2022}\
    \u{2026}\u{bf}\u{a1}\u{ff1f}\u{ff01}\u{ff0c}\u{ff1b}\u{3001}\u{ff08}\u{ff09}";
/// Characters of HTML by their names.
pub const ENTITIES: &[(&str, &str)] = &[
    ("&amp;", "&"),
    ("&#46;", "."),
    ("&#x2e;", "."),
    ("&#x2E;", "."),
    ("&period;", "."),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&nbsp;", " "),
    ("&quot;", "\""),
    ("&apos;", "'"),
    ("&#39;", "'"),
    ("&#34;", "\""),
];
/// Line ends and tabs as programs write them behind a name.
pub const ESCAPES: &[&str] = &["\\n", "\\r", "\\t"];
/// What stands between two addresses of a range.
pub const TO: &[&str] = &["-", "to", "through", "until", "bis", "..", "\u{2014}"];
/// Words of RTF that end a line or a run of text.
const CONTROLS: &[&str] = &[
    "b",
    "cb",
    "cell",
    "cf",
    "f",
    "fs",
    "highlight",
    "i",
    "insrsid",
    "intbl",
    "lang",
    "li",
    "line",
    "nestcell",
    "page",
    "par",
    "pard",
    "plain",
    "qc",
    "qj",
    "ql",
    "qr",
    "row",
    "sa",
    "sb",
    "sect",
    "sectd",
    "sl",
    "strike",
    "tab",
    "ul",
    "ulnone",
];
/// Bytes behind an escape that are looked at, and escapes one behind the other.
const MOST_BEHIND: usize = 300;
const MOST_ESCAPES: usize = 8;
/// The most digits of a note, `[12]`.
const NOTE_DIGITS: usize = 3;

/// A text with bytes as a query has them (`\200`) where Zeek wrote `\xc8`, and with characters where JSON wrote `\u002e`.
pub fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (front, escape) = rest.split_at(at);
        out.push_str(front);
        let number = |digits: usize| {
            let hex = escape.get(2..2 + digits)?;
            let is_hex = hex.bytes().all(|b| b.is_ascii_hexdigit());
            is_hex.then(|| u32::from_str_radix(hex, 16).ok()).flatten()
        };
        let (taken, said) = match escape.as_bytes().get(1) {
            Some(b'x') => (
                4,
                number(2).map(|byte| match char::from_u32(byte).filter(|c| is_of_names(*c)) {
                    Some(sign) => sign.to_string(),
                    None => format!("\\{byte:03}"),
                }),
            ),
            Some(b'u') => (6, number(4).and_then(char::from_u32).map(String::from)),
            _ => (0, None),
        };
        match said {
            Some(said) => {
                out.push_str(&said);
                rest = escape.get(taken..).unwrap_or_default();
            }
            None => {
                // An escape of a query: the sign behind it is no escape of its own.
                let next = escape.char_indices().nth(2).map_or(escape.len(), |(at, _)| at);
                let (taken, behind) = escape.split_at(next);
                out.push_str(taken);
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

fn is_of_names(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_./:@".contains(c)
}

/// A text whose words have no signs of names, and of what stands around them, as escapes: `evil\x2eexample`, `\u003cevil.example\u003e`.
fn without_signs_escaped(text: &str) -> Cow<'_, str> {
    let has_sign = |word: &str| {
        let word = word.to_ascii_lowercase();
        ["\\x2e", "\\x3a", "\\x2f", "\\x40", "\\u00", "\\u3002"].iter().any(|sign| word.contains(sign))
    };
    if !text.contains('\\') || !has_sign(text) {
        return Cow::Borrowed(text);
    }
    let words = text.split_inclusive(char::is_whitespace);
    words.map(|word| if has_sign(word) { unescaped(word) } else { word.to_owned() }).collect()
}

/// The words of a text: refanged, and with a sign before each dot that was not bare.
pub fn words(text: &str) -> Vec<String> {
    // Lines that quoted-printable broke are one.
    let text = text.replace("=\r\n", "").replace("=\n", "");
    let mut text = with_ranges(&prepared(&without_signs_escaped(&text)));
    // Those that neither a name nor a URL has in it divide.
    for (entity, sign) in ENTITIES {
        if text.contains(entity) {
            text = text.replace(entity, if matches!(*sign, "." | "&") { sign } else { " " });
        }
    }
    let text = without_escapes(text);
    let words = text.split(|c: char| c.is_whitespace() || BETWEEN.contains(c));
    words
        .flat_map(between_parameters)
        .map(trimmed)
        .flat_map(two_addresses)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Whether a word, without signs, is a path, a regex, or has an escape or a wildcard: no name and no address.
pub fn is_pattern(plain: &str) -> bool {
    if plain.starts_with(['/', '~', '.']) && !plain.starts_with("//") {
        return true;
    }
    let host = plain.split(['/', '?', '#']).next().unwrap_or_default();
    let has_wildcard = host.contains('*') && !plain.starts_with("*.");
    !plain.contains("://") && (host.contains('\\') || has_wildcard)
}

/// Takes away what a text puts around a name or an address.
pub fn trimmed(word: &str) -> &str {
    let is_mark = |c: char| {
        matches!(
            c,
            '\'' | '\u{2018}'
                | '\u{2019}'
                | '~'
                | '!'
                | '\u{2122}'
                | '\u{ae}'
                | '\u{a9}'
                | '\u{2020}'
                | '\u{2021}'
                | '\u{ff1b}'
                | '\u{ff0c}'
                | '\u{3001}'
        ) || matches!(c, '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{2070}'..='\u{2079}')
    };
    let mut word = word;
    loop {
        let before = word;
        word = word
            .trim_matches(is_mark)
            .trim_start_matches(['#', '=', '&'])
            .trim_end_matches(['?', '=', '*', '&', '+']);
        // `*.evil.example` is a name with all below it, and `_dmarc.evil.example` one with a sign.
        if word.starts_with('*') && !word.starts_with("*.") {
            word = word.trim_start_matches('*');
        }
        if word.ends_with('_') {
            word = word.trim_matches('_');
        }
        for tail in ["'s", "\u{2019}s"].iter().chain(ESCAPES) {
            word = word.strip_suffix(tail).unwrap_or(word);
        }
        word = without_note(word);
        if word == before {
            return word;
        }
    }
}

/// Text without a note behind it, `[1]`.
fn without_note(word: &str) -> &str {
    let Some((rest, digits)) = word.strip_suffix(']').and_then(|word| word.rsplit_once('[')) else {
        return word;
    };
    let is_note =
        !digits.is_empty() && digits.len() <= NOTE_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    if is_note && !rest.is_empty() { rest } else { word }
}

/// Whether there are line breaks that were written as `\n` or as RTF has them, behind a name or before one.
pub fn has_escapes(text: &str) -> bool {
    text.contains('\\') && without_escapes(prepared(text)) != prepared(text)
}

/// Text without the dot in front of a name that is meant with all below it: `endswith ".evil.example"`.
pub fn without_dot(plain: &str) -> &str {
    let rest = plain.strip_prefix('.').filter(|rest| rest.starts_with(char::is_alphanumeric));
    rest.filter(|rest| rest.parse::<IpAddr>().is_err()).unwrap_or(plain)
}

/// Makes spaces of line breaks and tabs that were written as `\n` and `\t` behind a name or before one, and of words of RTF behind one; those
/// of paths stay.
fn without_escapes(text: String) -> String {
    if !text.contains('\\') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    // Of the word so far: hostile text may be one long one, so it is not looked through again.
    let (mut has_dot, mut has_percent, mut is_path, mut length) = (false, false, false, 0);
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        let behind = rest.get(c.len_utf8()..).unwrap_or_default();
        let mut taken = None;
        if c == '\\' && !is_path {
            // Escaped twice, as of JSON in JSON; at the start of a word it is a share, `\\nas.example`.
            let is_glued = out.ends_with(|c: char| c.is_alphanumeric() || c == ':');
            let behind = behind.strip_prefix('\\').filter(|_| is_glued).unwrap_or(behind);
            let end = behind.strip_prefix(['n', 'r', 't']).map(behind_escapes);
            // `c:\new`, `%temp%\new`
            let is_drive = has_percent || length == 2 && out.ends_with(':');
            taken = match (control(behind).filter(|_| has_dot), end) {
                (None, Some(end)) if has_dot || !is_drive && is_before_indicator(end) => Some(end),
                (control, _) => control,
            };
            is_path = taken.is_none() && (end.is_none() || is_drive);
        }
        rest = taken.unwrap_or(behind);
        let c = if taken.is_some() { ' ' } else { c };
        if c.is_whitespace() {
            (has_dot, has_percent, is_path, length) = (false, false, false, 0);
        } else {
            (has_dot, has_percent, length) = (has_dot || c == '.', has_percent || c == '%', length + 1);
        }
        out.push(c);
    }
    out
}

/// What follows on a word of RTF.
fn control(behind: &str) -> Option<&str> {
    let word = behind.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(behind.len());
    let (word, rest) = behind.split_at_checked(word)?;
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_end = rest.is_empty() || rest.starts_with([' ', '\\', '{', '}']);
    (is_end && CONTROLS.contains(&word)).then_some(rest)
}

/// What follows on line breaks and tabs, each with one backslash or two.
fn behind_escapes(text: &str) -> &str {
    let mut rest = text;
    for _ in 0..MOST_ESCAPES {
        let one = rest.strip_prefix('\\').filter(|one| one.starts_with('\\')).unwrap_or(rest);
        rest = ESCAPES.iter().find_map(|escape| one.strip_prefix(escape)).unwrap_or(rest);
    }
    rest
}

/// Whether a name, an address or a URL follows on a line break.
fn is_before_indicator(behind: &str) -> bool {
    let rest = behind.get(..behind.floor_char_boundary(MOST_BEHIND)).unwrap_or_default();
    let word = rest.split(|c: char| c.is_whitespace() || c == '\\' || BETWEEN.contains(c)).next();
    let word = trimmed(word.unwrap_or_default());
    if !word.contains(['.', ':']) {
        return false;
    }
    let is_name = |name: &crate::dns::Name| {
        has_known_end(name) && !is_file_ending(name.labels().last().map(Vec::as_slice).unwrap_or_default())
    };
    word.contains("://")
        || word.contains(SEEN)
        || match value::read(word, false) {
            Ok(Values::One(Value::Name(name) | Value::Domain(name))) => is_name(&name),
            Ok(_) | Err(Reason::Hash) => true,
            Err(_) => false,
        }
}

fn address(word: &str) -> Option<IpAddr> {
    trimmed(word).trim_end_matches(['.', ',', ';', ')']).replace(SEEN, "").parse().ok()
}

/// Joins ranges that are written with blanks: `192.0.2.0 - 192.0.2.9`, `192.0.2.0 to 192.0.2.9`.
fn with_ranges(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if at > 0 {
            out.push(' ');
        }
        if let (Some(between), Some(last)) = (words.get(at + 1), words.get(at + 2))
            && TO.contains(&between.to_lowercase().as_str())
            && let (Some(first), Some(last)) =
                (address(word.trim_start_matches(['(', '[', '"'])), address(last))
            && first.is_ipv4() == last.is_ipv4()
            && first <= last
        {
            out.push_str(&format!("{first}-{last}"));
            at += 3;
            continue;
        }
        out.push_str(word);
        at += 1;
    }
    out
}

/// Parameters that are of no URL: `dom=evil.example&ip=192.0.2.7`.
fn between_parameters(word: &str) -> impl Iterator<Item = &str> {
    let is_url = word.contains("://") || word.contains(['/', '?']);
    word.split(move |c: char| c == '&' && !is_url)
}

/// Two addresses with a slash between them are no block.
fn two_addresses(word: &str) -> impl Iterator<Item = &str> {
    let both = word.split_once('/').filter(|(first, last)| {
        let is_mask = |last: IpAddr| matches!(last, IpAddr::V4(mask) if mask.octets()[0] == 255);
        address(first).is_some() && address(last).is_some_and(|last| !is_mask(last))
    });
    let (first, last) = both.map_or((word, None), |(first, last)| (first, Some(last)));
    [Some(first), last].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_puts_around_a_name_is_no_part_of_it() {
        for text in [
            "x evil.example? y",
            "evil.example?!",
            "evil.example?,",
            "evil.example\u{ff1f}",
            "\u{bf}evil.example?",
            "evil.example\u{b9}",
            "evil.example\u{2122}",
            "evil.example[1]",
            "evil.example[12],",
            "evil.example\u{2026}",
            "evil.example\u{2014}y",
            "\u{2192}evil.example",
            "evil.example's",
            "evil.example\u{2019}s",
            "evil.example_",
            "evil.example~",
            "evil.example=",
            "evil.example&nbsp;",
            "&lt;evil.example&gt;",
            "evil.example\\n",
            r"evil\x2eexample",
            r"\x65\x76\x69\x6c\x2eexample",
            r"evil\u002eexample",
            r"\u003ca\u003eevil.example\u003c/a\u003e",
            "evil&#46;example",
            "see evil.example&amp;",
            "evil.example\\r\\n",
            "evil.example\\tx",
            "C2:\\nevil.example\\nother.example",
            "these\\r\\nevil.example",
            "C2:\\\\r\\\\nevil.example\\\\nother.example",
            "evil.example\\\\nother.example",
            "Hello\\nall,\\n\\nevil.example",
            "\\tevil.example\\n",
            "evil.example\\par y",
            "evil.example\\cf1\\par",
            "evil.example\\line\\par",
            "*evil.example*",
            "**evil.example**",
            "_evil.example_",
            "__evil.example__",
            "==evil.example==",
            "#evil.example",
            "'evil.example'",
            "(evil.example)?",
            "~~evil.example~~",
            "evil[.]example?",
        ] {
            let words: Vec<String> = words(text).iter().map(|word| word.replace(SEEN, "")).collect();
            assert!(words.contains(&"evil.example".to_owned()), "{text}: {words:?}");
        }
        for (text, expected) in [
            ("192.0.2.7?", "192.0.2.7"),
            ("192.0.2.7:443?", "192.0.2.7:443"),
            ("Block 192.0.2.0 - 192.0.2.9, now", "192.0.2.0-192.0.2.9"),
            ("(192.0.2.0 to 192.0.2.9)", "192.0.2.0-192.0.2.9"),
            ("192[.]0[.]2[.]0 \u{2013} 192[.]0[.]2[.]9", "192.0.2.0-192.0.2.9"),
            ("192.0.2.7/192.0.2.9", "192.0.2.9"),
            ("192.0.2.7/255.255.255.0", "192.0.2.7/255.255.255.0"),
            ("_dmarc.evil.example", "_dmarc.evil.example"),
            ("*.evil.example", "*.evil.example"),
            ("c:\\temp\\new.example", "c:\\temp\\new.example"),
            ("c:\\new.example", "c:\\new.example"),
            ("%temp%\\new.example", "%temp%\\new.example"),
            ("\\\\server\\new.example", "\\\\server\\new.example"),
            ("C2:\\n203.0.113.7\\n", "203.0.113.7"),
            ("203.0.113.77\\par", "203.0.113.77"),
            ("evil.example/*", "evil.example/"),
        ] {
            let words: Vec<String> = words(text).iter().map(|word| word.replace(SEEN, "")).collect();
            assert!(words.contains(&expected.to_owned()), "{text}: {words:?}");
        }
    }

    #[test]
    fn a_long_word_of_escapes_is_gone_through_once() {
        let long = format!("evil.example {}", "\\x.".repeat(300_000));
        assert!(words(&long).contains(&"evil.example".to_owned()));
    }
}
