//! A list of indicators, and what is known of each.

use maud::{Markup, html};

use super::link::{Subject, Trail};
use super::shell::{Frame, counted, document, grouped, incomplete, moment, safe, utc};
use crate::output::hunt::{HuntLine, HuntSum};
use crate::output::summary::{Questions, SummaryLine};
use crate::status::Freshness;

/// What a hunt for a list came to.
#[derive(Debug, Default)]
pub struct Hunted {
    /// Indicators that the ledger has, the first of them.
    pub hits: Vec<HuntLine>,
    /// What came of all of them; none where there was no time for that.
    pub sum: Option<HuntSum>,
}

/// A list as it was given, and what came of it.
#[derive(Debug, Default)]
pub struct Listed {
    /// The text.
    pub text: String,
    /// The column of a CSV that is asked for.
    pub column: String,
    /// Whether names and addresses are taken out of a text.
    pub extract: bool,
    /// What is known of each, in the order of the lines; none where nothing was asked yet.
    pub lines: Option<Vec<SummaryLine>>,
    /// What a hunt came to, where that was asked for.
    pub hunted: Option<Hunted>,
    /// Why no line could be read.
    pub fault: Option<String>,
    /// Indicators that were left out, for there were too many.
    pub left_out: u64,
}

/// The page of a list.
pub fn list_page(listed: &Listed, as_of: Option<&Freshness>) -> String {
    let content = html! {
        div.title {
            h1 { "Ask for a list" }
            p.lede { "An indicator a line, as it was pasted; comments begin with #. Or a CSV of which a column is asked for, or a report." }
            p { "Hunt takes whatever there is: a report, a blocklist, a zone, a bundle of STIX, an export of MISP. It shows which of its indicators were ever seen." }
        }
        form.list action="/list" method="post" {
            label.hidden for="list" { "Indicators" }
            textarea #list name="list" rows="10" spellcheck="false" autocomplete="off" autocapitalize="none" { (listed.text) }
            p {
                label.check { input type="checkbox" name="extract" value="true" checked[listed.extract]; span { "It is a text: take the names and addresses out of it" } }
                " "
                label { span { "Column of a CSV " } input name="column" value=(listed.column) placeholder="indicator, or 2" autocomplete="off" spellcheck="false"; }
                " "
                button type="submit" { "Ask" }
                " "
                button type="submit" name="how" value="hunt" { "Hunt" }
            }
        }
        @if let Some(fault) = &listed.fault {
            section.fault role="alert" { p { (safe(fault)) } }
        }
        @if let Some(lines) = &listed.lines {
            (incomplete(as_of))
            (found(lines, listed.left_out))
        }
        @if let Some(hunted) = &listed.hunted {
            (incomplete(as_of))
            (hits(hunted))
        }
    };
    document(&Frame { title: "A list", as_of, ..Frame::default() }, content)
}

fn found(lines: &[SummaryLine], left_out: u64) -> Markup {
    let asked = lines.iter().filter(|line| line.error.is_none()).count() as u64;
    let seen = lines.iter().filter(|line| line.rows > 0).count() as u64;
    let wrong = lines.len() as u64 - asked;
    html! {
        p role="status" {
            strong { (counted(asked, "indicator", "indicators")) } ", " (grouped(seen)) " seen"
            @if wrong > 0 { ", " span.warning { (counted(wrong, "line that is not a query", "lines that are not queries")) } }
            "."
            @if left_out > 0 { span.warning { " The " (grouped(left_out)) " after these were left out: ask for them by themselves, or by `dnsledger lookup --file`." } }
        }
        div.scroll tabindex="0" role="region" aria-label="What is known of each" {
            table.plain {
                thead { tr {
                    th.number scope="col" { "Line" } th scope="col" { "Indicator" } th.number scope="col" { "Rows" }
                    th.number scope="col" { "Names" } th scope="col" { "First (" (utc()) ")" } th scope="col" { "Last (" (utc()) ")" }
                    th.number scope="col" { "Asked" } th scope="col" { "Outcome" }
                } }
                tbody { @for line in lines { (row(line)) } }
            }
        }
    }
}

fn hits(hunted: &Hunted) -> Markup {
    let words = hunted.sum.as_ref().map(HuntSum::in_words).unwrap_or_default();
    let left = hunted.sum.as_ref().map_or(0, |sum| sum.hits.saturating_sub(hunted.hits.len() as u64));
    html! {
        div role="status" {
            @for (at, line) in words.iter().enumerate() {
                p { @if at == 0 { strong { (safe(line)) } } @else { (safe(line)) } }
            }
            @if hunted.sum.is_none() { p.warning { "There was no time to look for all of them: `dnsledger hunt FILE` takes as long as it needs." } }
            @if left > 0 { p.warning { (grouped(left)) " more are not shown: `dnsledger hunt FILE` shows all." } }
        }
        @if !hunted.hits.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="Indicators that were seen" {
                table.plain {
                    thead { tr {
                        th.number scope="col" { "Line" } th scope="col" { "Indicator" } th scope="col" { "Kind" } th.number scope="col" { "Names" }
                        th.number scope="col" { "Rows" } th.number scope="col" { "Asked only" } th scope="col" { "First (" (utc()) ")" }
                        th scope="col" { "Last (" (utc()) ")" } th scope="col" { "Source" }
                    } }
                    tbody { @for hit in &hunted.hits { (hit_row(hit)) } }
                }
            }
        }
        @if let Some(sum) = hunted.sum.as_ref().filter(|sum| !sum.examples.is_empty()) {
            details {
                summary { "Some of what was not taken" }
                ul { @for example in &sum.examples { li { "Line " (grouped(example.line)) ": " (safe(&example.text)) " (" (safe(&example.reason)) ")" } } }
            }
        }
    }
}

fn hit_row(hit: &HuntLine) -> Markup {
    let asked = if hit.kind == "domain" { format!("*.{}", hit.value) } else { hit.value.clone() };
    let least = if hit.too_wide { ">" } else { "" };
    html! {
        tr {
            td.number { (grouped(hit.line)) }
            td.name { a.dns href=(Subject::Search(asked).href(&Trail::default())) { (safe(&hit.value)) } }
            td { (safe(&hit.kind)) }
            td.number { (least) (grouped(hit.names)) }
            td.number { (least) (grouped(hit.rows)) }
            td.number { (grouped(hit.asked_only)) }
            td.when { (moment(hit.time_first)) }
            td.when { (moment(hit.time_last)) }
            td { (safe(hit.title.as_deref().or(hit.id.as_deref()).unwrap_or_default())) }
        }
    }
}

fn row(line: &SummaryLine) -> Markup {
    let asked = line.asked.as_deref().unwrap_or(&line.query);
    html! {
        tr {
            td.number { @if let Some(number) = line.line { (grouped(number)) } }
            td.name {
                @if line.asked.is_some() { a.dns href=(Subject::Search(asked.to_owned()).href(&Trail::default())) { (safe(asked)) } }
                @else { span.dns { (safe(asked)) } }
                @if !asked.eq_ignore_ascii_case(&line.query) { " " span.note { (safe(&line.query)) } }
            }
            @match &line.error {
                Some(fault) => td colspan="6" { span.warning { (safe(&fault.message)) } " " span.note { "Try: " (safe(&fault.hint)) } },
                None => {
                    td.number { (grouped(line.rows)) }
                    td.number { (grouped(line.names)) }
                    td.when { @if let Some(time) = line.time_first { (moment(time)) } }
                    td.when { @if let Some(time) = line.time_last { (moment(time)) } }
                    td.number { @if let Some(questions) = &line.questions { (grouped(questions.count)) } }
                    td { (safe(&line.questions.as_ref().map(Questions::outcome).unwrap_or_default()))
                        @if let Some(below) = line.questions.as_ref().filter(|_| line.rows == 0).and_then(|questions| questions.below.as_ref()) {
                            "; " (below.in_words()) ": " a.dns href=(Subject::Search(below.query.clone()).href(&Trail::default())) { (safe(&below.query)) }
                        }
                        @if line.ended.as_deref() != Some("complete") { span.warning { " not looked through to the end" } } }
                }
            }
        }
    }
}
