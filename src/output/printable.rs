//! Text of others, as it may be shown on a terminal, and as the name of a file.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::observation::is_unsafe_char;

/// Characters of a query that are in the name of a file, at most.
const FILE_NAME_LONGEST: usize = 100;

/// The name of a file with the answer to a query: of characters that no system and no header takes for something else.
pub fn file_name(asked: &str, extension: &str) -> String {
    let mut name = String::from("dnsledger");
    if !asked.is_empty() {
        name.push('-');
    }
    for c in asked.chars().take(FILE_NAME_LONGEST) {
        match c {
            '*' => name.push_str("any"),
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => name.push(c),
            _ => name.push('_'),
        }
    }
    name.truncate(name.trim_end_matches('.').len());
    format!("{name}.{extension}")
}

/// Makes text safe for a terminal: control characters, and those that change the direction of text or cannot be seen, are
/// shown as `\u{…}`.
pub fn sanitise(text: &str) -> Cow<'_, str> {
    if !is_unsafe(text) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe_char(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    safe.into()
}

pub(super) fn is_unsafe(text: &str) -> bool {
    text.chars().any(is_unsafe_char)
}

/// Text of a JSON document, safe for a terminal: what cannot be seen is escaped as JSON has it.
pub fn sanitise_json(document: &str) -> String {
    let mut safe = String::with_capacity(document.len());
    for c in document.chars() {
        if c != '\n' && is_unsafe_char(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| safe.push_str(&format!("\\u{unit:04x}")));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Text of which everything but printable ASCII is escaped, cut to so many characters.
pub(super) fn printable(text: &str, most: usize) -> String {
    let mut out = String::new();
    for c in text.chars().take(most + 1) {
        if matches!(c, ' '..='~') { out.push(c) } else { out.extend(c.escape_unicode()) }
    }
    shortened(&out, most)
}

/// The first so many bytes of a text at most, with a mark where it goes on.
pub fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub(3));
    format!("{}...", text.get(..end).unwrap_or_default())
}

/// Writes to a terminal what a server has sent that may be anybody's: lines of ASCII. All other bytes become `?`.
pub struct PrintableAscii<W>(pub W);

impl<W: Write> Write for PrintableAscii<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let tame = |&byte: &u8| if matches!(byte, b'\n' | 0x20..=0x7e) { byte } else { b'?' };
        self.0.write_all(&bytes.iter().map(tame).collect::<Vec<u8>>())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
