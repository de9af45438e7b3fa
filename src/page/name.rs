//! All about a name: what was asked of it, what it had and has, what points at it, and what stands beside it.

use maud::{Markup, html};

use super::gather::{Profile, ShownRow, Sibling, is_address};
use super::hits;
use super::link::{Subject, Trail};
use super::shell::{Frame, counted, day, document, grouped, moment, pivot, utc};
use super::table::Table;
use super::timeline::Axis;
use crate::base::time::DAY;
use crate::dns::Name;
use crate::lookup::literal;
use crate::observation::{Asked, Outcome};
use crate::status::Freshness;
use crate::store::Question;

/// The page of a name, as it is read `now`.
pub fn name_page(
    profile: &Profile,
    named: &[(String, Vec<String>)],
    trail: &Trail,
    as_of: Option<&Freshness>,
    now: u64,
) -> String {
    let shown = profile.name.to_string();
    let text = literal(&profile.name);
    let here = Subject::name(&profile.name);
    let onward = trail.then(&here);
    let (addresses, others): (Vec<ShownRow>, Vec<ShownRow>) =
        profile.rows.iter().cloned().partition(|row| is_address(&row.entry.tuple.rdata));
    let (latest, before) = split_by_age(addresses);
    // What was seen long ago may be anything by now.
    let last = latest.iter().map(|row| row.seen.time_last).max().unwrap_or_default();
    let heading = if last.saturating_add(DAY) >= now { "Addresses now" } else { "Addresses last seen" };
    let spans = profile.rows.iter().chain(&profile.pointing).map(ShownRow::span);
    let asked = profile.questions.iter().map(|q| (q.asked.time_first, q.asked.time_last));
    let siblings = profile.siblings.iter().map(|s| (s.seen.time_first, s.seen.time_last));
    // Siblings have the axis to themselves only where there is nothing else.
    let axis = Axis::over(spans.chain(asked)).or_else(|| Axis::over(siblings));
    let table = |caption, names, data| Table::new(caption, names, data, &onward);
    let content = html! {
        div.title {
            h1.dns { (labels(&profile.name, trail)) }
            p.lede { (story(profile)) }
            (hits::listed(named))
            p.about {
                a href=(Subject::Search(below(&profile.name)).href(&onward)) { "Everything at and below it" }
                " "
                a href=(Subject::Search(text.clone()).href(&onward)) { "As a search" }
            }
        }
        @if let Some(axis) = &axis {
            @if !latest.is_empty() {
                section { h2 { (heading) } p.note { "Seen on " (day(last)) ", or within a day before. It may have others by now." }
                    (table(heading, false, true).of(&latest, axis)) }
            }
            @if !before.is_empty() {
                section { h2 { "Addresses before" } (table("Addresses before", false, true).of(&before, axis)) }
            }
            @if !others.is_empty() {
                section { h2 { "Other data" } (table("Other data", false, true).of(&others, axis)) }
            }
            @if profile.more_rows { p.note { "There are more rows than fit here; the search has them all." } }
            @if !profile.pointing.is_empty() {
                section { h2 { "Names that point at it" } (table("Names that point at it", true, false).of(&profile.pointing, axis))
                    @if profile.more_pointing {
                        p.note { a href=(Subject::Search(format!("rdata:{text}")).href(&onward)) { "All rows that point at it" } }
                    }
                }
            }
            @if !profile.questions.is_empty() {
                section { h2 { "Questions" } (questions(&profile.questions, axis)) }
            }
        }
        @if let Some(domain) = &profile.domain {
            @let siblings: Vec<&Sibling> = profile.siblings.iter().filter(|s| s.name != profile.name).collect();
            section {
                h2 { "Under " (pivot(&Subject::name(domain), &onward)) }
                @if siblings.is_empty() {
                    p.note { "No other name under this registrable domain has rows." }
                } @else {
                    (siblings_list(&siblings, &onward))
                    @if profile.more_siblings {
                        p.note { "The first of them, in the order of names. "
                            a href=(Subject::Search(below(domain)).href(&onward)) { "All of them" } }
                    }
                }
                @if let Some(asked) = profile.asked_under.as_ref().filter(|asked| asked.unanswered > 0) {
                    p.note { "Without an answer: "
                        @for (at, name) in asked.unanswered_names.iter().enumerate() {
                            @if at > 0 { ", " }
                            a.dns href=(Subject::Name(name.clone()).href(&onward)) { (name) }
                        }
                        @let more = asked.unanswered.saturating_sub(asked.unanswered_names.len() as u64);
                        @if more > 0 { " and " a href=(Subject::Search(below(domain)).href(&onward)) { (grouped(more)) " more" } }
                        "." }
                }
            }
        } @else {
            section { h2 { "Siblings" } p.note { "Names can be registered below this one, so those beside it need not belong together." } }
        }
    };
    document(&Frame { title: &shown, query: &text, trail: trail.clone(), as_of, live: false }, content)
}

/// The query for everything at and below a name.
fn below(name: &Name) -> String {
    if name.is_root() { "*".to_owned() } else { format!("*.{}", literal(name)) }
}

/// A name whose parents are links.
fn labels(name: &Name, trail: &Trail) -> Markup {
    let shown = name.to_string();
    let Some(parent) = name.parent().filter(|parent| !parent.is_root()) else { return html! { (shown) } };
    let parent_shown = parent.to_string();
    let first = shown.strip_suffix(&parent_shown).unwrap_or(&shown);
    let mut rest = Vec::new();
    let mut at = Some(parent);
    while let Some(name) = at.filter(|name| !name.is_root()) {
        let next = name.parent();
        let (whole, tail) = (name.to_string(), next.as_ref().map_or(String::new(), Name::to_string));
        let label =
            if tail == "." { whole.clone() } else { whole.strip_suffix(&tail).unwrap_or(&whole).to_owned() };
        rest.push((Subject::Name(whole), label));
        at = next;
    }
    html! { (first) @for (place, label) in rest { a href=(place.href(trail)) { (label) } } }
}

/// In a sentence: when it was seen, and how often it was asked for.
fn story(profile: &Profile) -> Markup {
    let asked = profile.questions.iter().fold(Asked::default(), |mut sum, question| {
        sum.merge(&question.asked);
        sum
    });
    let spans = profile.rows.iter().map(ShownRow::span).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    html! {
        @match spans {
            Some((first, last)) => { "Seen from " (moment(first)) " to " (moment(last)) " " (utc()) },
            None if asked.count() > 0 => { "Asked for, and never answered with anything the ledger keeps" },
            None => { "Never seen" },
        }
        @if asked.count() > 0 { "; asked for " (counted(asked.count(), "time", "times")) }
        "."
    }
}

/// Rows that were seen within a day of the latest of them, and the others.
fn split_by_age(rows: Vec<ShownRow>) -> (Vec<ShownRow>, Vec<ShownRow>) {
    let latest = rows.iter().map(|row| row.seen.time_last).max().unwrap_or_default();
    rows.into_iter().partition(|row| row.seen.time_last + DAY >= latest)
}

/// What was asked, by type: how it ended, and when.
fn questions(questions: &[Question], axis: &Axis) -> Markup {
    let most = questions.iter().map(|question| question.asked.count()).max().unwrap_or(1).max(1);
    let ended: Vec<Outcome> = Outcome::ALL
        .iter()
        .copied()
        .filter(|outcome| questions.iter().any(|question| question.asked.outcome(*outcome) > 0))
        .collect();
    html! {
        p.legend {
            @for outcome in &ended { span { (swatch(*outcome)) (words(*outcome)) } }
        }
        table.rows.questions role="table" {
            caption.hidden { "Questions by type" }
            thead role="rowgroup" {
                tr role="row" {
                    th.type role="columnheader" scope="col" { "Type" }
                    th.outcome role="columnheader" scope="col" { "How they ended" }
                    th.time role="columnheader" scope="col" { span.hidden { "When it was asked" } (axis.head()) }
                    th.when role="columnheader" scope="col" { "First (" (utc()) ")" }
                    th.when role="columnheader" scope="col" { "Last (" (utc()) ")" }
                    th.number role="columnheader" scope="col" { "Count" }
                }
            }
            tbody role="rowgroup" {
                @for Question { qtype, asked, .. } in questions {
                    tr role="row" {
                        td.type role="cell" { (qtype) }
                        td.outcome role="cell" { (outcome_bar(asked, most)) }
                        td.time role="cell" { (axis.plain_bar(asked.time_first, asked.time_last)) }
                        td.when role="cell" data-label="First" { (moment(asked.time_first)) }
                        td.when role="cell" data-label="Last" { (moment(asked.time_last)) }
                        td.number role="cell" data-label="Count" { (grouped(asked.count())) }
                    }
                }
            }
        }
    }
}

/// How questions of one type ended: a bar as long as they are many, one part for each outcome.
fn outcome_bar(asked: &Asked, most: u64) -> Markup {
    let mut parts = Vec::new();
    let (mut at, mut text) = (0.0, Vec::new());
    for outcome in Outcome::ALL {
        let count = asked.outcome(*outcome);
        if count > 0 {
            let width = count as f64 / most as f64 * 100.0;
            parts.push((outcome.name(), format!("{at:.2}%"), format!("{:.2}%", width.max(0.5))));
            text.push(format!("{} {}", words(*outcome), grouped(count)));
            at += width;
        }
    }
    let text = text.join(", ");
    html! {
        svg.bar.outcomes role="img" aria-label=(text) {
            title { (text) }
            @for (name, x, width) in parts { rect class=(name) x=(x) width=(width) y="3" height="10" {} }
        }
        span.split { (text) }
    }
}

fn swatch(outcome: Outcome) -> Markup {
    html! { svg.swatch.outcomes aria-hidden="true" { rect class=(outcome.name()) width="100%" height="100%" {} } }
}

fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::NoData => "no data",
        Outcome::NxDomain => "no such name",
        Outcome::ServFail => "server failed",
        Outcome::Refused => "refused",
        Outcome::Other => "other error",
        Outcome::NoResponse => "no response",
        Outcome::NotLogged => "answer not logged",
    }
}

/// Names with their last sighting, in columns.
fn siblings_list(siblings: &[&Sibling], trail: &Trail) -> Markup {
    html! {
        ul.siblings {
            @for sibling in siblings {
                li {
                    (pivot(&Subject::name(&sibling.name), trail))
                    span.note { (day(sibling.seen.time_last)) }
                }
            }
        }
    }
}
