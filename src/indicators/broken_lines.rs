//! Lines of a text that belong together: those that quoted-printable breaks (`=` at the end), and a URL or a defanged name whose
//! host goes on in the next line. What cannot be told for sure is left as it is: no name is made up.

use std::borrow::Cow;

use super::host::{has_known_end, is_host};
use super::text::{SEEN, prepared};
use super::value::{self, Value, Values};

/// The longest word that is kept until the next line, in bytes.
const MAX_KEPT: usize = 8 << 10;
/// Lines of quoted-printable are about as long where they are broken.
const LONG: usize = 60;
/// Where a line may be broken within a word.
const SOFT_HYPHEN: char = '\u{ad}';
/// A text, line by line.
#[derive(Debug, Default)]
pub struct Folded {
    kept: OpenLine,
    is_quoted_printable: bool,
}

/// The end of a line that may go on in the next.
#[derive(Debug, Default)]
enum OpenLine {
    #[default]
    Nothing,
    /// It goes on, whatever comes.
    Broken(String),
    /// It goes on where that makes a name.
    Open(String),
}

impl Folded {
    /// What there is to read now that a line came: without what may go on in the next one, with what the line before left.
    pub fn line<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        let mut whole = match std::mem::take(&mut self.kept) {
            OpenLine::Nothing if !may_go_on(text) && !self.is_quoted_printable && !text.contains("=3D") => {
                return Cow::Borrowed(text);
            }
            OpenLine::Nothing => text.to_owned(),
            OpenLine::Broken(start) => start + text,
            OpenLine::Open(start) => {
                let rest = text.trim_start();
                let (first, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                match joined(&start, first, behind.trim().is_empty()) {
                    Some(word) => format!("{word} {behind}"),
                    None => format!("{start} {text}"),
                }
            }
        };
        self.look_for_coding(&whole);
        let end = whole.trim_end();
        if let Some(start) = self.broken(end).or_else(|| end.strip_suffix(SOFT_HYPHEN)) {
            let at = start.rfind(char::is_whitespace).map_or(0, |at| at + 1);
            let kept = start.get(at..).unwrap_or_default().to_owned();
            whole.truncate(at);
            self.kept = OpenLine::Broken(kept);
        } else {
            let at = end.rfind(char::is_whitespace).map_or(0, |at| at + 1);
            let last = end.get(at..).unwrap_or_default();
            if last.len() <= MAX_KEPT && is_open(last) {
                self.kept = OpenLine::Open(last.to_owned());
                whole.truncate(at);
            }
        }
        Cow::Owned(if self.is_quoted_printable { decoded(&whole) } else { whole })
    }

    /// What the last line left.
    pub fn end(&mut self) -> Option<String> {
        match std::mem::take(&mut self.kept) {
            OpenLine::Nothing => None,
            OpenLine::Broken(word) | OpenLine::Open(word) => Some(word),
        }
    }

    /// Finds out whether a text is in quoted-printable.
    fn look_for_coding(&mut self, text: &str) {
        let key = "content-transfer-encoding:";
        match text.get(..key.len()) {
            Some(start) if start.eq_ignore_ascii_case(key) => {
                self.is_quoted_printable = text.to_ascii_lowercase().contains("quoted-printable");
            }
            _ => self.is_quoted_printable |= text.contains("=3D"),
        }
    }

    /// A line without the sign that breaks it.
    fn broken<'a>(&self, text: &'a str) -> Option<&'a str> {
        let start = text.strip_suffix('=').filter(|start| !start.ends_with('='))?;
        let last = start.rsplit(char::is_whitespace).next().unwrap_or_default();
        // No character of Base64, which has this sign at its end as well; and `key=` is a key.
        let is_sure = last.contains(['.', ':', '%', '@']);
        let fits = is_sure || self.is_quoted_printable && text.len() >= LONG;
        (fits && last.len() <= MAX_KEPT).then_some(start)
    }
}

/// Whether a line may go on in the next, by its last character.
fn may_go_on(text: &str) -> bool {
    text.trim_end().ends_with(['=', '-', '.', ']', ')', '}', SOFT_HYPHEN, '\u{2010}', '\u{2011}'])
        || text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("content-"))
}

/// The host at the end of a URL, or of what was defanged, with a sign before each dot that was; nothing of other words.
fn open_host(word: &str) -> Option<String> {
    let plain = prepared(word);
    let host = match plain.split_once("://") {
        Some((_, host)) => host,
        None if plain.contains(SEEN) => plain.as_str(),
        // No name ends in a hyphen: `update.evil-` goes on.
        None if plain.ends_with('-') && is_host(plain.trim_end_matches('-')) => plain.as_str(),
        None => return None,
    };
    (!host.is_empty() && !host.contains(['/', '?', '#'])).then(|| host.to_owned())
}

/// Whether a word ends within a name.
fn is_open(word: &str) -> bool {
    match open_host(word) {
        Some(host) if host.ends_with('-') => true,
        Some(host) if host.ends_with('.') => {
            let is_defanged = host.strip_suffix('.').is_some_and(|rest| rest.ends_with(SEEN));
            is_defanged || !is_known(word)
        }
        _ => false,
    }
}

/// A word and what it goes on with, where they make a name.
fn joined(start: &str, first: &str, is_alone: bool) -> Option<String> {
    if !first.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    if start.ends_with('-') {
        // The hyphen is of the name, or it was put there.
        let kept = format!("{start}{first}");
        let forms = [kept.clone(), format!("{}{first}", start.trim_end_matches('-'))];
        // No host ends in a hyphen: with more labels behind it goes on there, whatever it ends in.
        let goes_on = || {
            let host = first.split(['/', '?', '#', ':']).next().unwrap_or_default();
            is_host(host).then_some(kept)
        };
        return forms.into_iter().find(|word| is_known(word)).or_else(goes_on);
    }
    // A sentence may have ended there.
    let goes_on = is_alone || first.trim_end_matches(['.', ',', ';', ')']).contains(['/', '.', '[']);
    let is_defanged = !start.ends_with('.');
    Some(format!("{start}{first}")).filter(|word| (goes_on || is_defanged) && is_known(word))
}

/// Whether a word is an address, or a name with an end that names have.
fn is_known(word: &str) -> bool {
    match value::read(word, false) {
        Ok(Values::One(Value::Name(name) | Value::Domain(name))) => has_known_end(&name),
        Ok(Values::One(Value::Address(_))) => true,
        _ => false,
    }
}

/// Text without the escapes of quoted-printable, as far as they stand for characters that can be seen.
fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('=') {
        out.push_str(before);
        let code = behind.get(..2).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(u8::is_ascii_graphic) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                out.push('=');
                rest = behind;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut folded = Folded::default();
        let mut out = String::new();
        for line in text.lines() {
            out.push_str(&folded.line(line));
            out.push(' ');
        }
        out.push_str(&folded.end().unwrap_or_default());
        out.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_url_that_goes_on_in_the_next_line_is_one() {
        for (text, word) in [
            ("see https://update.evil-\nc2.example/x now", "https://update.evil-c2.example/x"),
            ("see https://very-long-\nhost.badtld/x now", "https://very-long-host.badtld/x"),
            ("see https://evil.exam-\n  ple/x now", "https://evil.example/x"),
            ("see evil.exam\u{ad}\nple now", "evil.example"),
            ("see update.evil-\nc2.example now", "update.evil-c2.example"),
            ("see update.evil\u{2010}\nc2.example now", "update.evil\u{2010}c2.example"),
            ("hxxps://update[.]evil[.]\nexample/x", "hxxps://update[.]evil[.]example/x"),
            ("from 203.0.113[.]\n66 on", "203.0.113[.]66"),
            ("update[.]evil-\nc2[.]example", "update[.]evil-c2[.]example"),
            ("https://update.evil-c2.\nexample/gate.php", "https://update.evil-c2.example/gate.php"),
            ("https://update.ev=\nil.example/a=3Db", "https://update.evil.example/a=b"),
            ("<a href=3D\"https://upd=\nate.ev=\nil.example/\">", "href=\"https://update.evil.example/\">"),
            ("Content-Transfer-Encoding: quoted-printable\nevil=2Eexample", "evil.example"),
        ] {
            assert!(words(text).contains(&word.to_owned()), "{text}: {:?}", words(text));
        }
    }

    #[test]
    fn what_is_not_sure_to_go_on_is_left_as_it_is() {
        for text in [
            "see https://evil.example.\nThen more",
            "it was 203.0.113[.]66.\nThen more",
            "see https://update.evil-c2.\nis bad",
            "a well-\nknown.example thing",
            "https://evil.example/very/long-\npath.html",
            "dGVzdA==\nevil.example",
            "dGVzdGU=\nevil.example",
            "host=\nevil.example",
            "hxxps://evil-\n- and more",
        ] {
            assert_eq!(words(text), text.split_whitespace().collect::<Vec<_>>(), "{text}");
        }
    }
}
