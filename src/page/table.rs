//! Rows as a table: one line each, with its bar.

use maud::{Markup, html};

use super::gather::ShownRow;
use super::link::{Subject, Trail, View, evidence_href};
use super::shell::{grouped, moment, pivot, safe, utc};
use super::timeline::Axis;
use crate::dns::{Rdata, RrType};
use crate::lookup::{During, Sort, SortColumn, literal};
use crate::observation::Tuple;

/// What a table shows, and where its links lead.
pub struct Table<'a> {
    /// What it holds, in words, for those who do not see it.
    pub caption: &'a str,
    /// Whether rows have different names.
    pub names: bool,
    /// Whether rows have different data.
    pub data: bool,
    /// Whether rows have different sensors.
    pub sensors: bool,
    /// The view whose order the head can change, and the order shown.
    pub sort: Option<(&'a View, Option<Sort>)>,
    /// The trail of links out of it.
    pub trail: &'a Trail,
}

impl<'a> Table<'a> {
    /// One of rows of different names, of different data, or both, whose order cannot be changed.
    pub fn new(caption: &'a str, names: bool, data: bool, trail: &'a Trail) -> Table<'a> {
        Table { caption, names, data, sensors: false, sort: None, trail }
    }

    /// The table of some rows.
    pub fn of(&self, rows: &[ShownRow], axis: &Axis) -> Markup {
        html! {
            table.rows role="table" {
                caption.hidden { (self.caption) }
                thead role="rowgroup" {
                    tr role="row" {
                        @if self.names { (self.head(html! { "Name" }, "name", SortColumn::Name)) }
                        (self.head(html! { "Type" }, "type", SortColumn::Type))
                        @if self.data { (self.head(html! { "Data" }, "data", SortColumn::Data)) }
                        th.time role="columnheader" scope="col" { span.hidden { "When it was seen" } (axis.head()) }
                        (self.head(html! { "First (" (utc()) ")" }, "when", SortColumn::First))
                        (self.head(html! { "Last (" (utc()) ")" }, "when", SortColumn::Last))
                        (self.head(html! { "Count" }, "number", SortColumn::Count))
                        (self.head(html! { "TTL" }, "number ttl", SortColumn::Ttl))
                        @if self.sensors { th.sensor role="columnheader" scope="col" { "Sensor" } }
                    }
                }
                tbody role="rowgroup" {
                    @for row in rows { (self.row(row, axis)) }
                }
            }
        }
    }

    fn head(&self, title: Markup, class: &str, column: SortColumn) -> Markup {
        let Some((view, shown)) = self.sort else {
            return html! { th class=(class) role="columnheader" scope="col" { (title) } };
        };
        let active = shown.filter(|sort| sort.column == column);
        let direction = active.map(|sort| if sort.descending { "descending" } else { "ascending" });
        let arrow = active.map_or("", |sort| if sort.descending { " ↓" } else { " ↑" });
        html! {
            th class=(class) role="columnheader" scope="col" aria-sort=[direction] {
                a href=(view.sorted_by(column, shown).href()) { (title) span aria-hidden="true" { (arrow) } }
            }
        }
    }

    fn row(&self, row: &ShownRow, axis: &Axis) -> Markup {
        let ShownRow { entry, seen, during } = row;
        let kind = entry.tuple.rrtype.to_string();
        let (direct, alias) = (!entry.halves.direct.is_none(), !entry.halves.alias.is_none());
        html! {
            tr role="row" {
                @if self.names {
                    td.name role="cell" { (pivot(&Subject::name(&entry.tuple.rrname), self.trail)) }
                }
                // A type and its mark are one thing; only the longest types go on in a second line.
                td.type.whole[kind.len() <= 6] role="cell" {
                    (kind)
                    @if alias {
                        " "
                        span.mark title=(if direct { "seen directly, and through a chain of CNAMEs" } else { "seen through a chain of CNAMEs" }) {
                            (if direct { "+alias" } else { "alias" })
                        }
                    }
                }
                @if self.data { td.data role="cell" {
                    (data(&entry.tuple.rdata, self.trail))
                    @if let Some(names) = entry.names { span.note { " about " (grouped(names)) " names" } }
                } }
                td.time role="cell" { (axis.bar(seen, row.is_alias())) }
                td.when role="cell" data-label="First" { (moment(seen.time_first)) }
                td.when role="cell" data-label="Last" { (moment(seen.time_last))
                    @if let Some(words) = during.map(During::in_words).filter(|words| !words.is_empty()) { " " span.note { (words) } } }
                td.number role="cell" data-label="Count" {
                    (grouped(seen.count))
                    @if self.trail.has_evidence() && entry.tuple.rrtype != RrType::FOLDED {
                        " "
                        a.evidence href=(evidence_of(&entry.tuple, &entry.sensor, self.trail)) { "evidence" }
                    }
                }
                td.number.ttl role="cell" data-label="TTL" { (grouped(u64::from(seen.ttl))) }
                @if self.sensors { td.sensor role="cell" data-label="Sensor" { (safe(&entry.sensor)) } }
            }
        }
    }
}

/// The way to the lines behind a row.
fn evidence_of(tuple: &Tuple, sensor: &str, trail: &Trail) -> String {
    let mut rdata = Vec::new();
    tuple.rdata.push_presentation(&mut rdata);
    let (name, kind) = (literal(&tuple.rrname), tuple.rrtype.to_string());
    let rdata = String::from_utf8(rdata).unwrap_or_default();
    let params = [("q", name.as_str()), ("type", &kind), ("rdata", &rdata), ("sensor", sensor)];
    evidence_href("/evidence", &params, trail)
}

/// Record data: a link where it is a name or an address.
fn data(rdata: &Rdata, trail: &Trail) -> Markup {
    match rdata {
        Rdata::V4(address) => pivot(&Subject::address((*address).into()), trail),
        Rdata::V6(address) => pivot(&Subject::address((*address).into()), trail),
        Rdata::Name(name) => pivot(&Subject::name(name), trail),
        Rdata::Text(text) => html! { span.dns { (text) } },
    }
}
