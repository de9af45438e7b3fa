//! The strings of TXT and SPF records, from the text that Zeek makes of them.

use crate::dns::push_text_presentation;

/// Appends the strings of a TXT or SPF record, each quoted, separated by spaces (typing 2.4).
///
/// Zeek writes each as its marker, its length in bytes, and itself, joined by spaces; a string may hold anything, even
/// a marker, so only the lengths divide them. Where they do not fit (Zeek cuts texts at 4096 bytes since 8.1), all that
/// follows the first length is one string.
pub(super) fn push_strings(answer: &[u8], marker: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = answer;
    while let Some((Some(length), text)) = string_head(rest, marker)
        && let Some((string, after)) = text.split_at_checked(length)
    {
        push_quoted(string, out);
        match after {
            [] => return,
            [b' ', after @ ..] => rest = after,
            _ => break,
        }
        out.push(b' ');
    }
    out.truncate(start);
    push_quoted(string_head(answer, marker).map_or(answer, |(_, text)| text), out);
}

/// Splits off a marker and a length; `None` for a length that no text can have.
fn string_head<'a>(text: &'a [u8], marker: &[u8]) -> Option<(Option<usize>, &'a [u8])> {
    let text = text.strip_prefix(marker)?;
    let space = memchr::memchr(b' ', text)?;
    let length = std::str::from_utf8(text.get(..space)?).ok()?.parse().ok();
    Some((length, text.get(space + 1..)?))
}

/// Appends a string in quotes; quotes, backslashes and what is not printable ASCII are escaped (RFC 1035 5.1).
pub(super) fn push_quoted(string: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for part in string.split_inclusive(|&b| b == b'"') {
        match part.strip_suffix(b"\"") {
            Some(part) => {
                push_text_presentation(part, out);
                out.extend_from_slice(b"\\\"");
            }
            None => push_text_presentation(part, out),
        }
    }
    out.push(b'"');
}
