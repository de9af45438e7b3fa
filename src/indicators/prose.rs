//! Reports: a text in which names and addresses stand.
//!
//! Taken is what was defanged, a URL, an address, and a name under a suffix that is listed. A version, a file or a mail
//! address is none; where it looks like one it is counted.

use std::io::Read;

use super::broken_lines::Folded;
use super::collect::Collect;
use super::files::{FILES, FILES_TOO};
use super::host::has_tail;
use super::input::ListLines;
use super::mail::Mail;
use super::reason::Reason;
use super::text::{SEEN, edges};
use super::value::{self, Value, Values, is_mail};
use super::words::{is_pattern, without_dot, words};
use super::wrapped;
use super::{Action, ReadError, Reference};
use crate::dns::has_listed_suffix;

/// Reads a text.
///
/// # Errors
///
/// As [`super::read`].
pub fn read(input: &mut impl Read, collect: &mut Collect<'_>) -> Result<(), ReadError> {
    let (mut lines, mut folded, mut last) = (ListLines::of(input), Folded::default(), 0);
    let mut mail = Mail::default();
    while let Some((number, text)) = lines.next(collect)? {
        last = number;
        let part = mail.line(text);
        if let Some(kind) = part.unread {
            collect.skip(Reason::Line, number, &format!("a part in Base64 that was not read: {kind}"));
        }
        for text in part.text.iter().flat_map(|text| text.lines()) {
            line(&folded.line(text), number, false, collect)?;
        }
        if !part.is_coded {
            line(&folded.line(text), number, false, collect)?;
        }
    }
    for text in mail.end().iter().flat_map(|text| text.lines()) {
        line(&folded.line(text), last, false, collect)?;
    }
    match folded.end() {
        Some(rest) => line(&rest, last, false, collect),
        None => Ok(()),
    }
}

/// Takes what is in a line. One of a list (`is_list`) has something in it, or is skipped.
///
/// # Errors
///
/// As [`super::read`].
pub fn line(text: &str, number: u64, is_list: bool, collect: &mut Collect<'_>) -> Result<(), ReadError> {
    let mut is_any = false;
    let words = words(text);
    let words = words.iter().map(String::as_str);
    for word in words.flat_map(|word| [Some(word), inner(word).filter(|_| !is_wrapped(word))]).flatten() {
        let found = match found(word, is_list) {
            Some(found) => found,
            None => continue,
        };
        is_any = true;
        match found {
            Ok(Values::One(value)) => collect.of_text(word, value, Action::Watch, Reference::at(number))?,
            Ok(Values::Many(values)) => {
                for value in values {
                    collect.of_text(word, value, Action::Watch, Reference::at(number))?;
                }
            }
            Err(reason) => collect.skip(reason, number, &word.replace(SEEN, "")),
        }
    }
    if is_list && !is_any {
        collect.skip(Reason::NoIndicator, number, text);
    }
    Ok(())
}

/// What a word is; `None` where it is a word.
fn found(word: &str, is_list: bool) -> Option<Result<Values, Reason>> {
    if !word.contains(['.', ':', '@', '/']) && word.len() < 32 {
        return None;
    }
    let plain = word.replace(SEEN, "");
    if is_mail(plain.trim_matches(|c: char| !c.is_alphanumeric())) {
        return Some(Err(Reason::Mail));
    }
    let mut refused = None;
    for part in parts(word) {
        match of_part(part, is_list) {
            Some(Ok(values)) => return Some(Ok(values)),
            Some(Err(reason)) => refused = refused.or(Some(reason)),
            None => {}
        }
    }
    refused.map(Err)
}

/// Whether a word is a link whose target alone counts.
pub fn is_wrapped(word: &str) -> bool {
    !matches!(wrapped::target(&word.replace(SEEN, "")), Ok(None))
}

/// The URL that is in another one, of whoever leads on: `https://a.example/?to=https://b.example/`.
pub fn inner(word: &str) -> Option<&str> {
    let (at, _) = word.match_indices("://").nth(1)?;
    let front = word.get(..at)?;
    let start = front.rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
    word.get(start..).filter(|inner| !inner.starts_with("://"))
}

/// The parts of a word in which a value may be, the likeliest first: `host=a.example`, `ip:192.0.2.7`, `href=https://a.example/?b=c`.
pub fn parts(word: &str) -> impl Iterator<Item = &str> {
    let value = word.rsplit_once('=').map(|(_, value)| value);
    let labelled = word.split_once(':').map(|(_, value)| value);
    let of_url = |(front, _): (&str, &str)| {
        let at = front.rfind('=')? + 1;
        word.get(at..)
    };
    let parts = match word.split_once("://") {
        Some(both) => [of_url(both), Some(word), value],
        None => [value, Some(word), labelled],
    };
    parts.into_iter().flatten()
}

fn of_part(word: &str, is_list: bool) -> Option<Result<Values, Reason>> {
    let is_defanged = word.contains(SEEN);
    let plain = word.replace(SEEN, "");
    let plain = without_dot(&plain);
    if is_pattern(plain) {
        return None;
    }
    let is_url = plain.contains("://");
    let values = match value::read(plain, true) {
        Ok(values) => values,
        // An address that cannot be read is said.
        Err(Reason::NoIndicator) if has_tail(edges(plain)) => return Some(Err(Reason::NoIndicator)),
        // What is no indicator is a word.
        Err(Reason::Hash) => return Some(Err(Reason::Hash)),
        Err(_) => return None,
    };
    let first = match &values {
        Values::One(value) => value,
        Values::Many(values) => values.first()?,
    };
    let Some(name) = first.name() else { return Some(Ok(values)) };
    let shown = name.to_string();
    let (front, last) = shown.rsplit_once('.')?;
    if last.ends_with(['-', '=']) {
        return None; // it was cut
    }
    if is_defanged || is_url {
        return (!front.is_empty()).then_some(Ok(values));
    }
    // `c:/temp/a.exe` has a host that is none.
    let file =
        plain.trim_end_matches(|c: char| !c.is_alphanumeric()).rsplit(['/', '\\']).next().unwrap_or_default();
    let end = file.rsplit_once('.').map_or(last, |(_, end)| end).to_ascii_lowercase();
    let is_page = file.len() < plain.len() && matches!(first, Value::Name(_)) && has_listed_suffix(name);
    if FILES.contains(&end.as_str()) && !is_page
        || FILES_TOO.contains(&last) && !front.contains('.') && !is_list
    {
        return Some(Err(Reason::File));
    }
    (has_listed_suffix(name) || is_list).then_some(Ok(values))
}
