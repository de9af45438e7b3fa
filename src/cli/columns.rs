//! A table for people: its columns are as wide as what is in the first lines.

use std::io::{self, Write};

use crate::output::sanitise;

/// Lines that are kept back to find the widths of the columns.
const MEASURED: usize = 200;
/// The widest that a column is made.
const WIDEST: usize = 64;

/// Lines on their way into a table.
pub(super) struct ColumnWriter {
    head: &'static [&'static str],
    /// Lines that wait for the widths.
    held: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

impl ColumnWriter {
    /// A table with these titles, which are not written where no line comes.
    pub(super) fn new(head: &'static [&'static str]) -> ColumnWriter {
        ColumnWriter { head, held: Vec::new(), widths: None }
    }

    /// Adds a line.
    pub(super) fn push(&mut self, cells: Vec<String>, out: &mut dyn Write) -> io::Result<()> {
        let cells: Vec<String> = cells.into_iter().map(|cell| sanitise(&cell).into_owned()).collect();
        match &self.widths {
            Some(widths) => writeln!(out, "{}", filled(&cells, widths)),
            None => {
                self.held.push(cells);
                if self.held.len() < MEASURED { Ok(()) } else { self.settle(out) }
            }
        }
    }

    /// Writes what waits still.
    pub(super) fn settle(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.widths.is_some() || self.held.is_empty() {
            return Ok(());
        }
        let width = |(at, head): (usize, &&str)| {
            let cells = self.held.iter().filter_map(|cells| cells.get(at));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or_default().min(WIDEST);
            widest.max(head.len())
        };
        let widths: Vec<usize> = self.head.iter().enumerate().map(width).collect();
        let head: Vec<String> = self.head.iter().map(|head| (*head).to_owned()).collect();
        writeln!(out, "{}", filled(&head, &widths))?;
        for cells in std::mem::take(&mut self.held) {
            writeln!(out, "{}", filled(&cells, &widths))?;
        }
        self.widths = Some(widths);
        Ok(())
    }
}

fn filled(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (at, cell) in cells.iter().enumerate() {
        line.push_str(cell);
        if at + 1 < cells.len() {
            let width = widths.get(at).copied().unwrap_or_default();
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
    }
    line.truncate(line.trim_end().len());
    line
}
