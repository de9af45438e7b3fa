//! What a table, a page, a program or a log of Windows leaves around a name, where that is sure.

use std::net::IpAddr;

use super::pattern::has_wildcard;
use crate::dns::Name;
use crate::indicators::has_known_end;
use crate::indicators::text::{edges, is_plain};
use crate::indicators::words::{ENTITIES, ESCAPES, trimmed, unescaped};

/// Tags that stand alone.
const EMPTY_TAGS: &[&str] = &["br", "p", "li", "td", "tr", "th", "hr"];

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

/// A text without the tags of HTML and XML: those that end, and those that have something in them. What a link leads to stays.
fn without_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((front, behind)) = rest.split_once('<') {
        out.push_str(front);
        let tag = behind.split_once('>').map_or("", |(tag, _)| tag);
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        let is_named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
        let ends = tag.starts_with('/') || tag.ends_with('/') || text.contains(&format!("</{name}>"));
        if is_named && (ends || tag.contains("=\"") || tag.contains("='") || EMPTY_TAGS.contains(&name)) {
            out.push(' ');
            // What a link leads to and says is the same, or the text is of several.
            let link = ["href=", "src="].iter().find_map(|key| tag.split_once(key)).map(|(_, link)| link);
            let link = link.map(|link| {
                link.trim_matches(['"', '\'']).split(['"', '\'', ' ']).next().unwrap_or_default()
            });
            out.extend(link.filter(|link| link.contains("://")).map(|link| format!("{link} ")));
            rest = behind.get(tag.len() + 1..).unwrap_or_default();
        } else {
            out.push('<');
            rest = behind;
        }
    }
    out.push_str(rest);
    out
}

/// A text without what a table, a page, a program or a log of Windows puts around a name, where that is sure.
pub(super) fn tidied(given: &str) -> Option<String> {
    let given = given.trim();
    // Most are: nothing is to be taken away from them.
    let is_plain = is_plain(given) && !given.ends_with('_') && !given.starts_with(['-', '.']);
    // Struck out, in Markdown.
    let struck =
        given.strip_prefix('~').and_then(|text| text.strip_suffix('~')).filter(|text| is_whole(text));
    if is_plain || struck.is_none() && given.starts_with(['~', '/']) {
        return struck.map(str::to_owned);
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
        text = without_tags(&text);
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
    let plain = if has_wildcard(bare) || bare.starts_with('!') { bare } else { edges(trimmed(bare)) };
    bare = if is_whole(plain) { plain } else { bare };
    // A sign of a list, and a dot that is none of a name.
    let unlisted = bare.trim_start_matches('-');
    bare = if is_whole(unlisted) { unlisted } else { bare };
    bare = bare.strip_prefix('.').filter(|rest| rest.parse::<IpAddr>().is_ok()).unwrap_or(bare);
    // As repositories are written.
    let host = bare.split_once('@').and_then(|(user, rest)| {
        let (host, path) = rest.split_once(':').filter(|_| !user.contains(['/', ':', ' ']))?;
        (is_whole(host) && path.contains('/')).then_some(host)
    });
    bare = host.unwrap_or(bare);
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
    // A final dot is nothing that is taken away.
    (tidy != given && given.strip_suffix('.') != Some(&tidy)).then_some(tidy)
}
