//! All about an address: the names that had it over time, its own name, and the block around it.

use std::net::IpAddr;

use maud::{Markup, html};

use super::gather::{Address, Neighbour, ShownRow};
use super::hits;
use super::link::{Subject, Trail};
use super::shell::{Frame, counted, document, grouped, moment, pivot, safe, utc};
use super::table::Table;
use super::timeline::Axis;
use crate::lookup::literal_address;
use crate::status::Freshness;

/// Names of the address that are listed; a search has all of them.
const LISTED: usize = 200;
/// The side of a cell of the block, in the units of its picture.
const CELL: usize = 16;

/// The page of an address.
pub fn address_page(
    found: &Address,
    named: &[(String, Vec<String>)],
    trail: &Trail,
    as_of: Option<&Freshness>,
) -> String {
    let here = Subject::address(found.address);
    let onward = trail.then(&here);
    let search = Subject::Search(literal_address(found.address));
    let block = format!("{}/{}", found.block, found.block_length());
    let listed = found.rows.get(..LISTED).unwrap_or(&found.rows);
    let neighbours = found.neighbours.iter().map(|n| (n.seen.time_first, n.seen.time_last));
    let rows = found.rows.iter().chain(&found.reverse_rows).chain(&found.named_rows);
    let axis = Axis::over(rows.map(ShownRow::span));
    let axis = axis.or_else(|| Axis::over(neighbours));
    let table = |caption, names, data| Table::new(caption, names, data, &onward);
    let content = html! {
        div.title {
            h1.dns { (here.text()) }
            p.lede { (story(found))
                @if let Some(asked) = &found.asked { " It was " (safe(&asked.in_words())) " (" (utc()) ")." }
            }
            (hits::listed(named))
            p.about {
                a href=(Subject::Search(block.clone()).href(&onward)) { "Everything in " span.dns { (block) } }
                " "
                a href=(search.href(&onward)) { "As a search" }
            }
        }
        @if let Some(axis) = &axis {
            @if !listed.is_empty() {
                section { h2 { "Names that had it" } (table("Names that had it", true, false).of(listed, axis))
                    @if found.more_rows || found.rows.len() > listed.len() {
                        p.note { a href=(search.href(&onward)) { "All names that had it" } }
                    }
                }
            }
            @if !found.reverse_rows.is_empty() {
                section { h2 { "What its own name leads to" }
                    p.note.dns { (pivot(&Subject::name(&found.reverse), &onward)) }
                    (table("What its own name leads to", false, true).of(&found.reverse_rows, axis)) }
            }
        }
        @if let Some(axis) = axis.as_ref().filter(|_| !found.named_rows.is_empty()) {
            section { h2 { "As a name" }
                (table("As a name", true, true).of(&found.named_rows, axis)) }
        }
        section {
            h2 { "Around it: " span.dns { (block) } }
            @if found.neighbours.is_empty() {
                p.note { "No address of this block was seen." }
            } @else {
                div.around {
                    @if found.address.is_ipv4() { (grid(found, &onward)) }
                    (neighbours_table(&found.neighbours, found.address, &onward))
                }
                @if found.more_neighbours {
                    p.note { "The first of them. " a href=(Subject::Search(block.clone()).href(&onward)) { "All of them" } }
                }
            }
        }
    };
    document(
        &Frame { title: here.text(), query: here.text(), trail: trail.clone(), as_of, live: false },
        content,
    )
}

fn story(found: &Address) -> Markup {
    let spans = found.rows.iter().map(ShownRow::span).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let mut names: Vec<_> = found.rows.iter().map(|row| &row.entry.tuple.rrname).collect();
    names.sort();
    names.dedup();
    let more = if found.more_rows { "at least " } else { "" };
    html! {
        @match spans {
            Some((first, last)) => {
                (more) (counted(names.len() as u64, "name", "names")) " had it, from " (moment(first)) " to " (moment(last)) " " (utc()) "."
            },
            None => "No name was seen to have it.",
        }
    }
}

/// The 256 addresses of a /24 as a square; the more names had one, the fuller its cell.
fn grid(found: &Address, trail: &Trail) -> Markup {
    let side = 16 * CELL;
    let cell = |neighbour: &Neighbour| match neighbour.address {
        IpAddr::V4(address) => usize::from(address.octets().last().copied().unwrap_or_default()),
        IpAddr::V6(_) => 0,
    };
    let text = format!("{} of 256 addresses were seen", found.neighbours.len());
    html! {
        figure.block {
            svg viewBox={ "0 0 " (side) " " (side) } role="group" aria-label=(text) {
                @for at in 0..256 {
                    rect.none x=(at % 16 * CELL + 1) y=(at / 16 * CELL + 1) width=(CELL - 2) height=(CELL - 2) rx="2" {}
                }
                @for neighbour in &found.neighbours {
                    @let at = cell(neighbour);
                    @let label = format!("{}: {}", neighbour.address, counted(neighbour.names, "name", "names"));
                    a href=(Subject::address(neighbour.address).href(trail)) aria-label=(label) {
                        title { (label) }
                        rect class=(fullness(neighbour.names)) x=(at % 16 * CELL + 1) y=(at / 16 * CELL + 1)
                            width=(CELL - 2) height=(CELL - 2) rx="2" {}
                        @if neighbour.address == found.address {
                            rect.here x=(at % 16 * CELL) y=(at / 16 * CELL) width=(CELL) height=(CELL) rx="3" {}
                        }
                    }
                }
            }
            figcaption { (text) }
        }
    }
}

/// The class of a cell by its names.
fn fullness(names: u64) -> &'static str {
    match names {
        0..=1 => "few",
        2..=9 => "some",
        _ => "many",
    }
}

fn neighbours_table(neighbours: &[Neighbour], here: IpAddr, trail: &Trail) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Addresses around it" {
            table.plain {
                thead { tr {
                    th scope="col" { "Address" } th.number scope="col" { "Names" } th scope="col" { "Seen last as" }
                    th scope="col" { "Last (" (utc()) ")" }
                } }
                tbody {
                    @for neighbour in neighbours {
                        tr.here[neighbour.address == here] {
                            td { (pivot(&Subject::address(neighbour.address), trail)) }
                            td.number { (grouped(neighbour.names)) }
                            td.name { (pivot(&Subject::name(&neighbour.name), trail)) }
                            td.when { (moment(neighbour.seen.time_last)) }
                        }
                    }
                }
            }
        }
    }
}
