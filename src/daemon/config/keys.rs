//! Refuses keys that there are not, with the nearest one.

use toml::de::{DeTable, DeValue};

use super::error::ConfigFault;
use super::{Config, FeedEntry, OutletEntry, Source};

/// The line of a byte, from 1.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|&b| b == b'\n').count() + 1
}

/// All keys there are: those of the defaults, with one source.
pub(super) fn known() -> toml::Table {
    let with_a_source = Config {
        sources: vec![Source::default()],
        feeds: vec![FeedEntry::default()],
        outlets: vec![OutletEntry::default()],
        ..Config::default()
    };
    // The defaults are plain text and numbers: they are always a table.
    toml::Table::try_from(with_a_source).unwrap_or_default()
}

/// Refuses a key that there is not, with the nearest one.
pub(super) fn check(
    text: &str,
    table: &DeTable<'_>,
    known: &toml::Table,
    within: &str,
) -> Result<(), ConfigFault> {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let line = line_of(text, key.span().start);
        let Some(expected) = known.get(name) else {
            let nearest = known.keys().map(|key| (strsim::levenshtein(key, name), key)).min();
            let hint = match nearest {
                Some((distance, key)) if distance <= key.len().div_ceil(2) => format!("{within}{key}"),
                _ => format!("one of {}", known.keys().cloned().collect::<Vec<_>>().join(", ")),
            };
            let message = format!("unknown key {within}{name}");
            return Err(ConfigFault { line: Some(line), message, hint: Some(hint) });
        };
        let within = format!("{within}{name}.");
        match (value.get_ref(), expected) {
            (DeValue::Table(inner), toml::Value::Table(known)) => check(text, inner, known, &within)?,
            (DeValue::Array(items), toml::Value::Array(known)) => {
                let known = known.first().and_then(toml::Value::as_table);
                for item in items {
                    if let (DeValue::Table(inner), Some(known)) = (item.get_ref(), known) {
                        check(text, inner, known, &within)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}
