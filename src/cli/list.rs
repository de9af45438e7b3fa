//! Reading lists of indicators: from a file or standard input.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::Misuse;
use crate::lookup::{Indicator, List, ListForm};
use crate::output::summary::Fault;

/// The longest list, in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// What one line says at most.
const MAX_SHOWN: usize = 200;

/// Where a list is and how it is written.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Lists")]
pub struct ListArgs {
    /// Ask for each line of this file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The list is a CSV: ask for this column, a title of its first line or a number from 1
    #[arg(long, value_name = "COLUMN", conflicts_with = "extract")]
    pub column: Option<String>,
    /// The list is a text, such as a report: ask for the names and addresses in it
    #[arg(long)]
    pub extract: bool,
    /// A line for each indicator: how many rows and names, first and last seen, and how it was asked for
    #[arg(long)]
    pub summary: bool,
}

/// A query that is asked for.
pub struct Item {
    /// The line it was on, from 1; none where it was typed.
    pub line: Option<u64>,
    /// As it came.
    pub given: String,
    /// As it was understood.
    pub indicator: Indicator,
}

/// A line that is no query.
pub struct Refused {
    /// Which.
    pub line: u64,
    /// What is on it.
    pub given: String,
    /// What is wrong.
    pub fault: Fault,
}

impl ListArgs {
    /// How the list is written.
    pub fn form(&self) -> ListForm {
        ListForm { column: self.column.clone(), extract: self.extract }
    }

    /// Reads a list; `-` is standard input.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is too long, or has no such column.
    pub fn read(&self, path: &Path) -> anyhow::Result<(Vec<Item>, Vec<Refused>)> {
        let mut bytes = Vec::new();
        if path == Path::new("-") {
            io::stdin()
                .lock()
                .take(MAX_BYTES + 1)
                .read_to_end(&mut bytes)
                .context("reading standard input")?;
        } else {
            let reading = || format!("reading {}", path.display());
            let file = std::fs::File::open(path).with_context(reading)?;
            file.take(MAX_BYTES + 1).read_to_end(&mut bytes).with_context(reading)?;
        }
        if bytes.len() as u64 > MAX_BYTES {
            bail!("a list has at most 64 MiB: divide it");
        }
        let bytes = in_utf8(bytes)?;
        let mut list = List::new(self.form());
        let (mut items, mut refused) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            let mut refuse = |given: &str, message: &str, hint: &str| {
                let given = given.trim().chars().take(MAX_SHOWN).collect();
                let fault = Fault { message: message.to_owned(), hint: hint.to_owned() };
                refused.push(Refused { line: number, given, fault });
            };
            let Ok(line) = std::str::from_utf8(line) else {
                refuse("", "the line is not UTF-8", "the list in UTF-8, as `iconv -t UTF-8` writes it");
                continue;
            };
            let queries = match list.line(line) {
                Ok(queries) => queries,
                Err(error) if list.fault().is_some() => {
                    return Err(Misuse { message: error.message, hint: error.hint }.into());
                }
                Err(error) => {
                    refuse(line, &error.message, error.hint);
                    continue;
                }
            };
            for given in queries {
                match Indicator::read(&given) {
                    Ok(indicator) => items.push(Item { line: Some(number), given, indicator }),
                    Err(error) => refuse(&given, &error.message, error.hint),
                }
            }
        }
        Ok((items, refused))
    }
}

/// The text of a file that may be in UTF-16, as some programs on Windows write it.
fn in_utf8(bytes: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let unit: fn([u8; 2]) -> u16 = match bytes.get(..2) {
        Some([0xff, 0xfe]) => |pair| u16::from(pair[0]) | u16::from(pair[1]) << 8,
        Some([0xfe, 0xff]) => |pair| u16::from(pair[1]) | u16::from(pair[0]) << 8,
        _ => return Ok(bytes),
    };
    let (pairs, _) = bytes.as_chunks::<2>();
    let text: Result<String, _> = char::decode_utf16(pairs.iter().copied().map(unit)).collect();
    Ok(text.context("the list is neither UTF-8 nor UTF-16")?.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_utf_16_is_read() {
        let text = "\u{feff}a.example\r\nb\u{fc}.example";
        for swap in [false, true] {
            let bytes = text.encode_utf16().flat_map(|unit| {
                let [high, low] = [(unit >> 8) as u8, unit as u8];
                if swap { [high, low] } else { [low, high] }
            });
            assert_eq!(in_utf8(bytes.collect()).unwrap(), text.as_bytes());
        }
        assert_eq!(in_utf8(b"plain".to_vec()).unwrap(), b"plain");
    }
}
