//! Reading lists of indicators: from a file or standard input.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Misuse;
use crate::indicators::text_of;
use crate::lookup::{Indicator, List, ListForm};
use crate::output::sanitise;
use crate::output::summary::QueryFault;

/// The longest list, in bytes, inflated.
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
    /// The text as it came.
    pub given: String,
    /// What the text was understood as.
    pub indicator: Indicator,
}

/// A line that is no query.
pub struct Refused {
    /// The number of the line, from 1.
    pub line: u64,
    /// The text of the line.
    pub given: String,
    /// What is wrong with it.
    pub fault: QueryFault,
}

fn refusal(line: u64, given: &str, message: &str, hint: &str) -> Refused {
    let given = given.trim().chars().take(MAX_SHOWN).collect();
    let fault = QueryFault { message: message.to_owned(), hint: hint.to_owned() };
    Refused { line, given, fault }
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
        let bytes = if path == Path::new("-") {
            text_of(&mut io::stdin().lock(), MAX_BYTES).context("standard input")?
        } else {
            let shown = || sanitise(&path.display().to_string()).into_owned();
            let mut file = std::fs::File::open(path).with_context(|| format!("reading {}", shown()))?;
            text_of(&mut file, MAX_BYTES).with_context(shown)?
        };
        let mut list = List::new(self.form());
        let (mut items, mut refused, mut last) = (Vec::new(), Vec::new(), 1);
        for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            last = number;
            let mut refuse = |given: &str, message: &str, hint: &str| {
                refused.push(refusal(number, given, message, hint));
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
        for given in list.end() {
            match Indicator::read(&given) {
                Ok(indicator) => items.push(Item { line: Some(last), given, indicator }),
                Err(error) => refused.push(refusal(last, &given, &error.message, error.hint)),
            }
        }
        Ok((items, refused))
    }
}
