//! Columns and keys that hold names or addresses and are not taken: who hunts for the addresses of an export must hear that there are
//! names in it, too.

use super::Format;
use super::files::is_file_ending;
use super::host::has_known_end;
use super::value::{self, Value, Values};
use crate::dns::Name;

/// Cells that are looked at.
const MOST_CELLS: usize = 20_000;
/// Columns that are told apart.
const MOST_COLUMNS: usize = 64;
/// Parts of a cell that are looked at, and its bytes.
const MOST_PARTS: usize = 16;
const MOST_BYTES: usize = 1024;
/// Who asked, and not what was asked for.
const ASKERS: &[&str] = &[
    "id.orig_h",
    "orig_h",
    "client",
    "client_ip",
    "clientip",
    "src",
    "src_ip",
    "source_ip",
    "source.ip",
    "client.ip",
    "host.name",
    "host.ip",
    "agent.hostname",
    "agent.name",
    "computer",
];

/// A column, or a key of objects, that holds indicators and was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its title, or its number from 1.
    pub column: String,
    /// Cells with names.
    pub names: u64,
    /// Cells with addresses.
    pub addresses: u64,
}

impl LeftOut {
    /// That it was not taken, and how it would be.
    pub fn in_words(&self, format: Format) -> String {
        let what = match (self.names, self.addresses) {
            (_, 0) => "names",
            (0, _) => "addresses",
            _ => "names and addresses",
        };
        let column = &self.column;
        match format {
            Format::Csv => format!(
                "Column {column} has {what} that were not taken: --column {column} takes them, --format prose all that is in the list."
            ),
            _ => format!(
                "Key {column} has {what} that were not taken: --format prose takes all that is in the list."
            ),
        }
    }
}

/// What was seen in columns that are not taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOutColumns {
    of: Vec<Looked>,
    cells: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Looked {
    /// Cells that are not empty.
    cells: u64,
    found: LeftOut,
}

impl LeftOutColumns {
    /// Whether more cells are looked at.
    pub fn is_open(&self) -> bool {
        self.cells < MOST_CELLS
    }

    /// Looks at a cell. What is in one that was `taken` of the same row says nothing new.
    pub fn look(&mut self, column: &str, cell: &str, taken: &[&str]) {
        let cell = cell.trim();
        if cell.is_empty() || !self.is_open() || ASKERS.contains(&column) {
            return;
        }
        self.cells += 1;
        let at = match self.of.iter().position(|known| known.found.column == column) {
            Some(at) => at,
            None if self.of.len() < MOST_COLUMNS => {
                let found = LeftOut { column: column.to_owned(), names: 0, addresses: 0 };
                self.of.push(Looked { cells: 0, found });
                self.of.len() - 1
            }
            None => return,
        };
        let Some(looked) = self.of.get_mut(at) else { return };
        if let Some((has_names, has_addresses)) = what(cell, taken) {
            looked.found.names += u64::from(has_names);
            looked.found.addresses += u64::from(has_addresses);
        }
        looked.cells += 1;
    }

    /// Those of which most cells are names or addresses.
    pub fn found(&self) -> Vec<LeftOut> {
        let most = |looked: &&Looked| {
            let found = looked.found.names.max(looked.found.addresses);
            found > 0 && found * 2 >= looked.cells
        };
        self.of.iter().filter(most).map(|looked| looked.found.clone()).collect()
    }
}

/// Whether there are names, and addresses, in a cell that has nothing else in it.
fn what(cell: &str, taken: &[&str]) -> Option<(bool, bool)> {
    if cell.len() > MOST_BYTES || !cell.contains(['.', ':']) {
        return None;
    }
    let (mut has_names, mut has_addresses) = (false, false);
    let parts = cell.split(|c: char| c.is_whitespace() || ",;|[]\"'".contains(c));
    for part in parts.filter(|part| !part.is_empty()).take(MOST_PARTS) {
        if taken.iter().any(|taken| taken.contains(part)) {
            continue;
        }
        let Ok(Values::One(value)) = value::read(part, true) else { return None };
        match &value {
            Value::Name(name) | Value::Domain(name) if is_name(name) && value.refused().is_none() => {
                has_names = true;
            }
            Value::Name(_) | Value::Domain(_) => return None,
            // One of the own network is neither.
            Value::Address(_) | Value::Network(_) => has_addresses |= value.refused().is_none(),
        }
    }
    (has_names || has_addresses).then_some((has_names, has_addresses))
}

/// Whether it is no name of a file, as `setup.zip` may be.
fn is_name(name: &Name) -> bool {
    has_known_end(name) && !is_file_ending(name.labels().last().map(Vec::as_slice).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_which_most_cells_are_indicators_are_told_and_no_others() {
        let mut columns = LeftOutColumns::default();
        for row in 0..10 {
            columns.look("query", &format!("n{row}.evil.example"), &[]);
            columns.look("answers", "203.0.113.66, 2001:db8::66", &[]);
            columns.look("as_name", if row == 0 { "Shop.com" } else { "Shop.com, Inc." }, &[]);
            columns.look("file", "setup.zip", &[]);
            columns.look("id.orig_h", "203.0.113.9", &[]);
            columns.look("server", "10.0.0.1", &[]);
            columns.look("host", "evil.example", &["https://evil.example/x"]);
            columns.look("version", "1.2.3", &[]);
        }
        let found: Vec<_> =
            columns.found().into_iter().map(|one| (one.column, one.names, one.addresses)).collect();
        assert_eq!(found, [("query".to_owned(), 10, 0), ("answers".to_owned(), 0, 10)]);
    }

    #[test]
    fn no_more_cells_and_columns_are_looked_at_than_a_bound() {
        let mut columns = LeftOutColumns::default();
        (0..1000).for_each(|at| columns.look(&format!("c{at}"), "evil.example", &[]));
        assert_eq!(columns.found().len(), MOST_COLUMNS);
        (0..2 * MOST_CELLS).for_each(|_| columns.look("c0", "evil.example", &[]));
        assert!(!columns.is_open());
    }
}
