//! Orders that no index has: all rows of an answer are looked at, and the first so many of them are kept.

use std::cmp::Ordering;

use super::walk::Found;
use crate::observation::Seen;
use crate::store::Entry;

/// Rows that are kept at most.
pub const MAX_SORTED: u64 = 10_000;

/// What rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortColumn {
    /// The owner name, as a tree.
    Name,
    /// The record type.
    Type,
    /// The record data.
    Data,
    /// The first sighting.
    First,
    /// The last sighting.
    Last,
    /// The number of sightings.
    Count,
    /// The time to live.
    Ttl,
}

impl SortColumn {
    const ALL: [(SortColumn, &'static str); 7] = [
        (SortColumn::Name, "name"),
        (SortColumn::Type, "type"),
        (SortColumn::Data, "data"),
        (SortColumn::First, "first"),
        (SortColumn::Last, "last"),
        (SortColumn::Count, "count"),
        (SortColumn::Ttl, "ttl"),
    ];

    fn key(self) -> &'static str {
        SortColumn::ALL.iter().find(|(column, _)| *column == self).map_or("", |(_, key)| key)
    }

    /// Whether people look for the greatest first.
    pub fn is_descending_at_first(self) -> bool {
        matches!(self, SortColumn::First | SortColumn::Last | SortColumn::Count | SortColumn::Ttl)
    }
}

/// An order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// The column that rows are sorted by.
    pub column: SortColumn,
    /// Whether the greatest comes first.
    pub descending: bool,
}

impl Sort {
    /// Reads `last`, or `-last` for the latest first.
    pub fn parse(text: &str) -> Option<Sort> {
        let (descending, key) = text.strip_prefix('-').map_or((false, text), |key| (true, key));
        let (column, _) = SortColumn::ALL.iter().find(|(_, known)| *known == key)?;
        Some(Sort { column: *column, descending })
    }

    /// The same as text.
    pub fn text(self) -> String {
        format!("{}{}", if self.descending { "-" } else { "" }, self.column.key())
    }

    /// The order of two rows; what is equal in it keeps the order of names.
    pub fn compare(self, a: (&Entry, &Seen), b: (&Entry, &Seen)) -> Ordering {
        let ((a, a_seen), (b, b_seen)) = (a, b);
        let by = match self.column {
            SortColumn::Name => a.tuple.rrname.cmp(&b.tuple.rrname),
            SortColumn::Type => a.tuple.rrtype.cmp(&b.tuple.rrtype),
            SortColumn::Data => a.tuple.rdata.cmp(&b.tuple.rdata),
            SortColumn::First => a_seen.time_first.cmp(&b_seen.time_first),
            SortColumn::Last => a_seen.time_last.cmp(&b_seen.time_last),
            SortColumn::Count => a_seen.count.cmp(&b_seen.count),
            SortColumn::Ttl => a_seen.ttl.cmp(&b_seen.ttl),
        };
        let by = if self.descending { by.reverse() } else { by };
        by.then_with(|| a.tuple.cmp(&b.tuple)).then_with(|| a.sensor.cmp(&b.sensor))
    }
}

/// The first rows in an order, of all that it is given.
#[derive(Debug)]
pub struct Top {
    sort: Sort,
    most: usize,
    given: u64,
    rows: Vec<(Entry, Seen)>,
}

impl Top {
    /// Keeps so many, and no more than [`MAX_SORTED`].
    pub fn new(sort: Sort, most: u64) -> Top {
        let most = usize::try_from(most.min(MAX_SORTED)).unwrap_or(usize::MAX);
        Top { sort, most, given: 0, rows: Vec::new() }
    }

    /// Looks at a row.
    pub fn push(&mut self, found: &Found<'_>) {
        self.given += 1;
        self.rows.push((found.entry.clone(), found.seen));
        if self.rows.len() > self.most * 2 + 1_024 {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let sort = self.sort;
        self.rows.sort_by(|a, b| sort.compare((&a.0, &a.1), (&b.0, &b.1)));
        self.rows.truncate(self.most);
    }

    /// The rows in their order, and how many it was given.
    pub fn into_rows(mut self) -> (Vec<(Entry, Seen)>, u64) {
        self.cut();
        (self.rows, self.given)
    }
}
