//! What a table, a page, a program or a log of Windows leaves around a name, where that is sure.

use std::net::IpAddr;

use super::pattern::has_wildcard;
use crate::dns::Name;
use crate::indicators::has_known_end;
use crate::indicators::text::is_plain;
use crate::indicators::words::{ENTITIES, ESCAPES, trimmed, unescaped};

/// Whether a text is a whole name with an end that names have, or an address.
pub(super) fn is_whole(text: &str) -> bool {
    let is_name = || !has_wildcard(text) && Name::parse(text).is_ok_and(|name| has_known_end(&name));
    text.parse::<IpAddr>().is_ok() || text.contains('.') && is_name()
}

/// Whether a text with backslashes is a regex without its slashes: `.*\.example\.com$`.
pub(super) fn looks_like_regex(text: &str) -> bool {
    let is_anchored = text.starts_with('^') || text.ends_with('$') && !text.ends_with("\\$");
    let has_signs = [".*\\", ".+\\", "\\d", "\\w", ")\\"].iter().any(|sign| text.contains(sign));
    !text.starts_with(['~', '/']) && text.contains('\\') && (is_anchored || has_signs)
}

/// A text without what a table, a page, a program or a log of Windows puts around a name, where that is sure.
pub(super) fn tidied(given: &str) -> Option<String> {
    let given = given.trim();
    // Most are: nothing is to be taken away from them.
    if is_plain(given) && !given.ends_with('_') || given.starts_with(['~', '/']) {
        return None;
    }
    let mut text = given.to_owned();
    if text.contains('&') {
        for (entity, sign) in ENTITIES {
            text = text.replace(entity, sign);
        }
    }
    if text.contains('\\') {
        text = unescaped(text.trim_start_matches("\\t"));
    }
    if text.contains('<') {
        for tag in
            ["td", "th", "tr", "br", "br/", "p", "b", "i", "li", "code", "pre", "span", "strong", "em", "div"]
        {
            text = text.replace(&format!("<{tag}>"), " ").replace(&format!("</{tag}>"), " ");
        }
    }
    let mut bare = text.trim();
    while let Some(rest) = ESCAPES.iter().find_map(|end| bare.strip_suffix(end)) {
        bare = rest.trim_end();
    }
    bare = bare.strip_prefix('=').filter(|rest| rest.starts_with('"')).unwrap_or(bare);
    for (open, close) in [("\"\"", "\"\""), ("b'", "'"), ("b\"", "\""), ("u'", "'"), ("u\"", "\"")] {
        bare = bare.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).unwrap_or(bare);
    }
    // Marks, notes and signs of Markdown, as in any text; a star may be meant, and `!` in front as "not".
    let plain = if has_wildcard(bare) || bare.starts_with('!') { bare } else { trimmed(bare) };
    bare = if is_whole(plain) { plain } else { bare };
    // `x.example[a note]`, `x.example(seen)`
    let noted =
        bare.strip_suffix([']', ')']).and_then(|rest| rest.rsplit_once(['[', '('])).map(|(front, _)| front);
    bare = noted.filter(|front| is_whole(front)).unwrap_or(bare);
    // `(6)update(7)example(0)`
    let counted = bare
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix("(0)"))
        .and_then(|rest| rest.split_once(')'));
    let counted =
        counted.filter(|(count, _)| count.bytes().all(|b| b.is_ascii_digit())).map(|(_, rest)| {
            let labels = rest.split('(').enumerate();
            let labels = labels.map(|(at, label)| {
                if at == 0 { label } else { label.split_once(')').map_or(label, |(_, label)| label) }
            });
            labels.collect::<Vec<_>>().join(".")
        });
    let tidy = counted.filter(|name| is_whole(name)).unwrap_or_else(|| bare.to_owned());
    (tidy != given).then_some(tidy)
}
