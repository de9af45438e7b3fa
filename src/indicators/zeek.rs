//! Files of Zeek's intelligence framework: a line with the names of the fields, and values between tabs.

use std::io::Read;

use super::collect::Collect;
use super::input::ListLines;
use super::reason::Reason;
use super::text::readable;
use super::value::{self, Values};
use super::{Action, ReadError, Reference};

/// Reads such a file.
///
/// # Errors
///
/// As [`super::read`]; also when there is no line with the fields before the first value.
pub fn read(input: &mut impl Read, collect: &mut Collect<'_>) -> Result<(), ReadError> {
    let mut lines = ListLines::of(input);
    let mut fields: Vec<String> = Vec::new();
    while let Some((number, line)) = lines.next(collect)? {
        if let Some(names) = line.strip_prefix("#fields") {
            fields = names
                .split('\t')
                .filter(|name| !name.is_empty())
                .map(|name| name.trim().to_owned())
                .collect();
            if !fields.iter().any(|name| name == "indicator") {
                let message = "there is no field called indicator".to_owned();
                return Err(ReadError::Malformed { line: number, message });
            }
            continue;
        }
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if fields.is_empty() {
            let message = "there is no line #fields before it".to_owned();
            return Err(ReadError::Malformed { line: number, message });
        }
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |name: &str| {
            let at = fields.iter().position(|field| field == name)?;
            cells.get(at).copied().filter(|cell| !matches!(*cell, "-" | "" | "(empty)"))
        };
        let Some(indicator) = cell("indicator").map(unescaped) else {
            collect.skip(Reason::NoIndicator, number, line);
            continue;
        };
        let reference = Reference {
            line: number,
            title: cell("meta.source").map(unescaped),
            description: cell("meta.desc").map(unescaped),
            link: cell("meta.url").map(unescaped),
            confidence: cell("meta.confidence").and_then(|number| number.parse::<f64>().ok()).map(percent),
            ..Reference::default()
        };
        let kind = cell("indicator_type").unwrap_or_default();
        let text = match kind.strip_prefix("Intel::").unwrap_or(kind) {
            // A URL of Zeek has no scheme.
            "URL" if !indicator.contains("://") => format!("http://{indicator}"),
            "URL" | "ADDR" | "SUBNET" | "DOMAIN" => indicator,
            "FILE_HASH" | "CERT_HASH" | "PUBKEY_HASH" => {
                collect.skip(Reason::Hash, number, &indicator);
                continue;
            }
            "EMAIL" => {
                collect.skip(Reason::Mail, number, &indicator);
                continue;
            }
            _ => {
                collect.skip(Reason::Type, number, &format!("{kind} {indicator}"));
                continue;
            }
        };
        let is_address = kind.ends_with("ADDR") || kind.ends_with("SUBNET");
        match value::read(&text, false) {
            Ok(Values::One(value)) if value.name().is_none() || !is_address => {
                collect.value(value, Action::Watch, reference)?;
            }
            Ok(_) => collect.skip(Reason::NoIndicator, number, &text),
            Err(reason) => collect.skip(reason, number, &text),
        }
    }
    Ok(())
}

fn percent(number: f64) -> u8 {
    // Saturates.
    number.clamp(0.0, 100.0) as u8
}

/// Undoes `\x09` and its like.
fn unescaped(cell: &str) -> String {
    if !cell.contains("\\x") {
        return cell.to_owned();
    }
    let mut bytes = Vec::with_capacity(cell.len());
    let mut rest = cell;
    while let Some(at) = rest.find("\\x") {
        let (before, escape) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        match escape.get(2..4).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = escape.get(4..).unwrap_or_default();
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                rest = escape.get(2..).unwrap_or_default();
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    readable(&bytes)
}
