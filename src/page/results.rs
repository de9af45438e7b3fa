//! The first page, and what a query finds.

use maud::{Markup, html};

use super::gather::{Next, Results};
use super::link::{DEFAULT_ROWS, Subject, View};
use super::shell::{Frame, counted, document, grouped, incomplete, moment, safe, size};
use super::table::Table;
use super::timeline::Axis;
use crate::lookup::{During, Indicator, NewFound, Query, another, literal, maybe_meant};
use crate::output::file_name;
use crate::status::Freshness;
use crate::store::Stats;

/// Queries that show the language, with what they mean.
const EXAMPLES: [(&str, &str); 9] = [
    ("www.example.com", "a name, and what points at it"),
    ("*.example.com", "every name at and below it"),
    ("www.example.*", "every name that starts so"),
    ("192.0.2.7", "names that had this address"),
    ("192.0.2.0/24", "names that had an address in it"),
    ("2001:db8::1-2001:db8::ff", "the same for a range"),
    ("rdata:*.example.net", "rows that lead to it: CNAME, NS, MX, PTR"),
    ("~login", "any row that contains the text"),
    ("/^mail[0-9]+\\./", "any row that matches"),
];

/// Types that can be picked where rows may have any; others are typed into the URL. Answers of HTTPS, SVCB and CAA are in no log
/// of Zeek.
const TYPES: [&str; 12] =
    ["A", "AAAA", "A,AAAA", "CNAME", "NS", "MX", "TXT", "PTR", "SRV", "SOA", "ANY", "ANY-DNSSEC"];
/// Types whose data is a name.
const TYPES_OF_NAMES: [&str; 6] = ["CNAME", "NS", "MX", "PTR", "SRV", "SOA"];

/// The types that rows of a query may have.
fn types(query: Option<&Query>) -> &'static [&'static str] {
    match query {
        // One of IPv4 may be written as one of IPv6.
        Some(Query::Addresses(first, _)) if first.is_ipv4() => &["A", "AAAA"],
        Some(Query::Addresses(..)) => &["AAAA"],
        Some(Query::Target(_) | Query::TargetSubtree(_)) => &TYPES_OF_NAMES,
        _ => &TYPES,
    }
}

/// Times in which rows were seen that can be picked.
const PRESETS: [(&str, &str); 3] = [("today..today", "today"), ("7d..", "7 days"), ("30d..", "a month")];

/// Numbers of rows on a page that can be picked.
const ROWS: [u64; 4] = [25, DEFAULT_ROWS, 100, 500];

/// The first page.
pub fn home_page(stats: &Stats, new: Option<&NewFound>, as_of: Option<&Freshness>) -> String {
    let content = html! {
        section.home {
            h1 { "What was it called, and when?" }
            p.lede {
                "The ledger holds " strong { (counted(stats.rows, "row", "rows")) } " in "
                (size(stats.disk_bytes)) ": every name, type and answer that the logs held."
            }
            p {
                a href="/?q=%2A&first_after=today&sort=-first" { "New today" } " · "
                a href="/?q=%2A&first_after=7d&sort=-first" { "New within 7 days" }
                ": rows that were first seen then, the newest first."
            }
            @if let Some(new) = new { (new_domains(new)) }
            h2 { "Ask for" }
            dl.examples {
                @for (query, meaning) in EXAMPLES {
                    div {
                        dt { a.dns href=(Subject::Search(query.to_owned()).href(&Default::default())) { (query) } }
                        dd { (meaning) }
                    }
                }
            }
        }
    };
    document(&Frame { as_of, ..Frame::default() }, content)
}

/// The registrable domains that are new, the newest first.
fn new_domains(found: &NewFound) -> Markup {
    html! {
        section.new-domains {
            h2 { "New domains within 24 hours" }
            @if found.new.is_empty() {
                p { "None: all that was asked for was asked for before." }
            } @else {
                ul {
                    @for new in &found.new {
                        li {
                            (moment(new.first_seen)) " "
                            a.dns href=(Subject::Search(format!("*.{}", new.value)).href(&Default::default())) { (safe(&new.value)) }
                            @if new.first_answered.is_none() { " · only asked" }
                            @if let Some(like) = &new.lookalike { " · looks like " strong.dns { (safe(&like.brand)) } }
                        }
                    }
                }
                @if found.total > found.new.len() as u64 {
                    p { "These are the newest of " (grouped(found.total)) ": " a href="/api/v1/new" { "all of them, as JSON" } "." }
                }
            }
        }
    }
}

/// One page of what a query finds.
pub fn results_page(
    view: &View,
    indicator: &Indicator,
    results: &Results,
    max_limit: u64,
    as_of: Option<&Freshness>,
) -> String {
    let query = &indicator.query;
    let trail = view.trail.then(&view.place());
    let axis = Axis::over(results.rows.iter().map(|row| row.span()));
    let mut sensors: Vec<&str> = results.rows.iter().map(|row| &*row.entry.sensor).collect();
    sensors.dedup();
    let table = Table {
        caption: "Rows found",
        names: true,
        data: true,
        sensors: sensors.iter().any(|sensor| *sensor != "default"),
        sort: Some((view, results.sort)),
        trail: &trail,
    };
    let content = html! {
        div.title {
            h1.dns { (safe(&view.q)) }
            @if indicator.is_changed {
                p.lede role="status" { "Asked for " a.dns href=(Subject::Search(indicator.asked.clone()).href(&view.trail)) { (safe(&indicator.asked)) } "."
                    @if let Some(hint) = another(&indicator.asked) { " But " (safe(&hint)) "." } }
            }
            p.lede { (meaning(query)) }
            @if let (Some(questions), Some(_)) = (&results.questions, &axis) {
                p.lede { (subject(query)) " " (safe(&questions.in_words())) " (UTC)." }
            }
            @if let Some(place) = place(query) {
                p.about { a href=(place.href(&trail)) { "All about " span.dns { (place.text()) } } }
            }
        }
        (filters(view, Some(query)))
        @match &axis {
            Some(axis) => {
                div.tools {
                    p role="status" { (summary(view, results)) }
                    (exports(view, indicator, max_limit))
                }
                (table.of(&results.rows, axis))
                (pager(view, results))
            },
            None => { (nothing(view, indicator, results, as_of)) (incomplete(as_of)) },
        }
    };
    let frame = Frame { title: &view.q, query: &view.q, trail: view.trail.clone(), as_of, live: false };
    document(&frame, content)
}

/// What a query asks for, in words.
fn meaning(query: &Query) -> &'static str {
    match query {
        Query::All => "Every row",
        Query::Name(_) | Query::Either(_) => "Rows of this name, and rows that point at it",
        Query::Several(parts) if parts.len() == 2 && query.names().count() == 1 => {
            "Rows of this name, and names that had this address"
        }
        Query::Several(_) => "Rows of each of these, and rows that point at them",
        Query::Subtree(_) => "Rows of every name at and below it",
        Query::Prefix(_) => "Rows of every name that starts so",
        Query::Addresses(first, last) if first == last => "Names that had this address",
        Query::Addresses(..) => "Names that had an address in it",
        Query::Target(_) => "Rows that lead to this name",
        Query::TargetSubtree(_) => "Rows that lead to a name at or below it",
        Query::Data(_) | Query::RdataText(_) => "Rows with this data",
        Query::Pattern(_) => "Rows whose name or data contains it",
    }
}

/// What was asked for, as the beginning of a sentence.
fn subject(query: &Query) -> &'static str {
    match query {
        Query::Name(_) | Query::Either(_) | Query::Subtree(_) => "It was",
        Query::Addresses(first, last) if first == last => "It was",
        Query::Several(_) if query.names().count() < 2 => "It was",
        Query::Several(_) => "They were",
        _ => "Names that match were",
    }
}

/// The place that a query is about, if it is about one thing.
fn place(query: &Query) -> Option<Subject> {
    match query {
        Query::Name(name) | Query::Target(name) | Query::Subtree(name) | Query::TargetSubtree(name) => {
            Some(Subject::name(name))
        }
        Query::Several(parts) => parts.iter().find_map(place),
        Query::Addresses(first, last) if first == last => Some(Subject::address(*first)),
        _ => None,
    }
}

/// How much was found, and how it is ordered.
fn summary(view: &View, results: &Results) -> Markup {
    let before = if results.sort.is_some() { (view.page - 1) * view.rows } else { view.before };
    let shown = results.rows.len() as u64;
    let of = match results.total {
        Some(total) if total == shown && before == 0 => counted(total, "row", "rows"),
        Some(total) => {
            format!("Rows {}–{} of {}", grouped(before + 1), grouped(before + shown), grouped(total))
        }
        None => format!("Rows {}–{}", grouped(before + 1), grouped(before + shown)),
    };
    html! {
        strong { (of) }
        @if results.total.is_none() && results.next.is_some() { ", and more" }
        @if results.sort.is_some_and(|_| view.sort.is_none()) { ", the latest first" }
        @if results.sort.is_none() { ", in the order of the ledger" }
        @let outside = results.rows.iter().filter(|row| row.during.is_some_and(|during| during != During::Seen)).count() as u64;
        @if outside > 0 {
            ". " (counted(outside, "row was", "rows were")) " seen before and after that time; on no day in it, or nobody knows, as is said behind the last time"
        }
        @if results.stopped_early {
            span.warning { "Looking took long and stopped early: there may be more. Narrow the query, or go on." }
        }
    }
}

/// Links to the whole result as files.
fn exports(view: &View, indicator: &Indicator, max_limit: u64) -> Markup {
    let pointing = indicator.query.is_pointed_at();
    let name = |extension| file_name(&indicator.asked, extension);
    let cof = view.export_href("/api/v1/export", "cof", None, pointing);
    let csv = view.export_href("/api/v1/export", "csv", None, pointing);
    let json = view.export_href("/api/v1/records", "json", Some(max_limit), pointing);
    html! {
        p.exports {
            "Export "
            a href=(cof) download=(name("jsonl")) { "COF" } " "
            a href=(csv) download=(name("csv")) { "CSV" } " "
            a href=(json) download=(name("json")) { "JSON" }
        }
    }
}

fn pager(view: &View, results: &Results) -> Markup {
    let before = view.before + results.rows.len() as u64;
    let next = results.next.as_ref().map(|next| match (next, results.sort) {
        (Next::Page(page), Some(sort)) => view.sorted_page(sort, *page),
        (Next::Page(page), None) => View { page: *page, ..view.first_page() },
        (Next::Cursor(cursor), _) => view.page_at(cursor.to_string(), before),
    });
    let is_first = view.page == 1 && view.cursor.is_none();
    html! {
        @if next.is_some() || !is_first {
            nav.pager aria-label="Pages of the result" {
                @if !is_first {
                    a href=(view.first_page().href()) { "First page" }
                    @if let (Some(sort), true) = (results.sort, view.page > 2) {
                        a rel="prev" href=(view.sorted_page(sort, view.page - 1).href()) { "Previous page" }
                    }
                }
                @if let Some(next) = next { a rel="next" href=(next.href()) { "Next page" } }
            }
        }
    }
}

/// Filters as controls of the search form; of a query, where what was typed is one.
pub fn filters(view: &View, query: Option<&Query>) -> Markup {
    let types = types(query);
    let more = ["first_after", "first_before", "last_after", "last_before", "sensor", "direct"];
    let (from, to) = view.between();
    let open = more.iter().any(|key| !view.filter(key).is_empty()) || view.rows != DEFAULT_ROWS;
    let kind = view.filter("type");
    let listed = kind.is_empty() || types.contains(&kind);
    let field = |key: &str, label: &str, example: &str| {
        html! {
            label { span { (label) }
                input form="search" name=(key) value=(view.filter(key)) placeholder=(example) autocomplete="off" spellcheck="false";
            }
        }
    };
    html! {
        fieldset.filters {
            legend.hidden { "Filters" }
            label { span { "Type" }
                select form="search" name="type" {
                    option value="" { "all" }
                    @if !listed { option value=(kind) selected { (safe(kind)) } }
                    @for known in types { option value=(known) selected[*known == kind] { (known) } }
                }
            }
            label { span { "Seen between" }
                input form="search" name="from" value=(from) placeholder="2026-03 or 7d" autocomplete="off" spellcheck="false" aria-describedby="times";
            }
            label { span { "and" }
                input form="search" name="to" value=(to) placeholder="2026-03 or today" autocomplete="off" spellcheck="false" aria-describedby="times";
            }
            p.presets {
                @for (during, words) in PRESETS {
                    a href=(view.during(during).href()) aria-current=[(view.filter("during") == during).then_some("true")] { (words) } " "
                }
            }
            details open[open] {
                summary { "More filters" }
                div {
                    (field("last_after", "Last seen since", "7d or 2024-03-01"))
                    (field("last_before", "Not seen after", "2024-03-31"))
                    (field("first_after", "First seen since", "24h"))
                    (field("first_before", "First seen before", "2024-03-01"))
                    (field("sensor", "Sensor", "default"))
                    label { span { "Rows" }
                        select form="search" name="limit" {
                            @if !ROWS.contains(&view.rows) {
                                option value=(view.rows) selected { (view.rows) }
                            }
                            @for rows in ROWS {
                                option value=(if rows == DEFAULT_ROWS { String::new() } else { rows.to_string() }) selected[rows == view.rows] { (rows) }
                            }
                        }
                    }
                    label.check {
                        input form="search" type="checkbox" name="direct" value="true"
                            checked[!["", "false", "f", "0", "no"].contains(&view.filter("direct").to_ascii_lowercase().as_str())];
                        span { "Without aliases" }
                    }
                }
            }
            p.note #times { "Times that are typed here are UTC: 2026-03-24, a month 2026-03, an hour 2026-03-24T17, today, yesterday, or an age such as 7d." }
            @for step in view.trail.steps() { input form="search" type="hidden" name="via" value=(step); }
            button form="search" type="submit" { "Apply" }
            @if !view.filters.is_empty() {
                a href=(View { filters: Vec::new(), ..view.first_page() }.href()) { "Clear" }
            }
        }
    }
}

/// An answer without a row.
fn nothing(view: &View, indicator: &Indicator, results: &Results, as_of: Option<&Freshness>) -> Markup {
    let query = &indicator.query;
    let (text, trail) = (safe(&indicator.asked), view.trail.then(&view.place()));
    let wider = match query {
        Query::Name(name) => Some(format!("*.{}", literal(name))),
        _ => None,
    };
    html! {
        section.empty {
            h2 { @if results.stopped_early { "Nothing so far" } @else { "Nothing found" } }
            @if results.stopped_early {
                p { "Looking took long and stopped before the end of the ledger." }
            } @else if view.cursor.is_some() || view.page > 1 {
                p { "There are no more rows." }
            } @else {
                p { "No row of the ledger fits " span.dns { (text) }
                    @if view.filters.is_empty() { "." } @else { " with these filters." }
                    @if let Some(questions) = &results.questions { " " (subject(query)) " " (safe(&questions.in_words())) @if questions.count > 0 { " (UTC)" } "." }
                    @else if let Some(before) = as_of.and_then(|fresh| fresh.expired_before) { " Nothing is kept of what was last seen before " (moment(before)) "." }
                }
                @if let Some(hint) = maybe_meant(&indicator.asked) { p { "But " (hint) "." } }
                @if let Some(below) = results.questions.as_ref().and_then(|questions| questions.below.as_ref()) {
                    p { strong { "But " (below.in_words()) } ": " a.dns href=(Subject::Search(below.query.clone()).href(&view.trail)) { (safe(&below.query)) } "." }
                }
            }
            ul {
                @if let Some(Next::Cursor(cursor)) = &results.next {
                    li { a rel="next" href=(view.page_at(cursor.to_string(), view.before).href()) { "Look further" } }
                }
                @if view.cursor.is_some() || view.page > 1 {
                    li { a href=(view.first_page().href()) { "The first page" } }
                }
                @if !view.filters.is_empty() {
                    li { a href=(View { filters: Vec::new(), ..view.first_page() }.href()) { "The same without filters" } }
                }
                @if let Some(wider) = wider {
                    li { a.dns href=(Subject::Search(wider.clone()).href(&view.trail)) { (wider) } " and everything below it" }
                }
                @if let Query::Name(name) = query {
                    li { a href=(Subject::name(name).href(&trail)) { "All about what was asked" } }
                }
                @if let Query::Name(name) = query {
                    @let loose = format!("~{name}");
                    li { a.dns href=(Subject::Search(loose.clone()).href(&view.trail)) { (loose) } " anywhere in a row" }
                }
            }
        }
    }
}
