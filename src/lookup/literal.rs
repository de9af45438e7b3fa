//! Names, addresses and queries as text that is understood as the same.

use std::net::IpAddr;

use super::query::{Query, block_of};
use super::refused::{check, has_brace, is_as_number};
use crate::dns::Name;
use crate::indicators::text::{self, is_digest, is_plain, numeric};

/// A name as text that is understood as that name, whatever is in it.
pub fn literal(name: &Name) -> String {
    let shown = name.to_string();
    let is_plain_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_address = || shown.parse::<IpAddr>().is_ok();
    if is_plain(&shown)
        && numeric(&shown).is_none()
        && !is_digest(&shown)
        && !is_as_number(&shown)
        && !is_address()
    {
        return shown;
    }
    let is_read_back = || {
        (!is_as_number(&shown) && !has_brace(&shown)).then_some(())?;
        let stays = |text: String| matches!(text::clean(&text), Ok(Some(clean)) if clean == text);
        let forms = [shown.clone(), format!("*.{shown}"), format!("{shown}.*")];
        forms.into_iter().all(stays).then_some(())?;
        let query = Query::parse(&shown).ok()?;
        check(&shown, &query, &shown).ok()?;
        matches!(query, Query::Name(read) if read == *name).then_some(())
    };
    if name.is_root() || is_read_back().is_some() {
        return shown;
    }
    let mut out = String::with_capacity(shown.len() + 8);
    let mut chars = shown.chars();
    while let Some(c) = chars.next() {
        match c {
            // Two backslashes, or one before every dot, would be taken away.
            '\\' => match chars.next() {
                Some(c @ ('.' | '\\')) => out.push_str(&format!("\\{:03}", u32::from(c))),
                next => {
                    out.push(c);
                    out.extend(next);
                }
            },
            c if is_plain_char(c) => out.push(c),
            // Brackets around a dot are none, whether there is a backslash or not.
            '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' => out.push_str(&format!("\\{:03}", u32::from(c))),
            c => out.extend(['\\', c]),
        }
    }
    match out.chars().next() {
        Some(first) if !out.contains('\\') => {
            format!("\\{:03}{}", u32::from(first), out.get(1..).unwrap_or_default())
        }
        _ => out,
    }
}

/// An address as text that is understood as that address.
pub fn address(address: IpAddr) -> String {
    if address == address.to_canonical() { address.to_string() } else { format!("{address}/128") }
}

/// A query as text, in the form that is read back as the same.
pub(super) fn as_query(query: &Query, clean: String) -> String {
    let below = |name: &Name| if name.is_root() { "*".to_owned() } else { format!("*.{}", literal(name)) };
    match query {
        Query::Name(name) | Query::Either(name) => literal(name),
        Query::Subtree(name) => below(name),
        Query::Prefix(name) => format!("{}.*", literal(name)),
        Query::Target(name) => format!("rdata:{}", literal(name)),
        Query::TargetSubtree(name) => format!("rdata:{}", below(name)),
        Query::Several(parts) => {
            let parts: Vec<String> = parts.iter().map(|part| as_query(part, String::new())).collect();
            parts.join("|")
        }
        Query::Addresses(first, last) if first == last => address(*first),
        Query::Addresses(first, last) => match block_of(*first, *last) {
            Some(length) => format!("{first}/{length}"),
            None => format!("{first}-{last}"),
        },
        _ => clean,
    }
}
