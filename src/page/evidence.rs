//! The lines of logs behind a row or a query, and who asked.

use maud::{Markup, html};

use super::link::{Trail, evidence_href};
use super::shell::{Frame, counted, document, safe, utc};
use crate::base::time::spaced_utc;
use crate::evidence::{Answer, LogLine};
use crate::status::Freshness;

/// What was asked, and what was found.
#[derive(Debug)]
pub struct EvidenceLines {
    /// The query, as it was understood.
    pub asked: String,
    /// What it was asked with, by the names of the API; without the limit.
    pub params: Vec<(String, String)>,
    /// The lines.
    pub lines: Vec<LogLine>,
    /// How it ended.
    pub answer: Answer,
}

/// The page of lines.
pub fn evidence_page(found: &EvidenceLines, trail: &Trail, as_of: Option<&Freshness>) -> String {
    let EvidenceLines { asked, params, lines, answer } = found;
    let params: Vec<(&str, &str)> =
        params.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let of_row = |key: &str| params.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
    let whole = evidence_href("/api/v1/evidence", &params, &Trail::default());
    let raw =
        evidence_href("/api/v1/evidence", &[&params[..], &[("raw", "true")]].concat(), &Trail::default());
    let content = html! {
        div.title {
            h1 { "Evidence: " span.dns { (safe(asked)) } @if let Some(kind) = of_row("type") { " " (safe(kind)) } @if let Some(rdata) = of_row("rdata") { " " span.dns { (safe(rdata)) } } }
            p.lede { "Lines of the logs, the newest first. They were read for this page: nothing of them is in the ledger." }
        }
        @for sentence in answer.sentences() {
            p.warning role="status" { (safe(&sentence)) }
        }
        div.tools {
            p role="status" {
                strong { (counted(lines.len() as u64, "line", "lines")) }
                @if answer.ended == crate::evidence::Ended::Limit { ", and perhaps more" }
            }
            p.exports {
                "All as "
                a href=(whole) download="evidence.jsonl" { "JSON" } " "
                a href=(raw) download="evidence-raw.jsonl" { "JSON with the lines as Zeek wrote them" }
            }
        }
        @if lines.is_empty() {
            p { "No line was found." }
        } @else {
            (table(lines))
        }
    };
    document(&Frame { title: asked, query: asked, trail: trail.clone(), as_of, live: false }, content)
}

fn table(lines: &[LogLine]) -> Markup {
    let with_port = |address: &Option<String>, port: Option<u16>| match (address, port) {
        (Some(address), Some(port)) => format!("{address} {port}"),
        (address, _) => address.clone().unwrap_or_default(),
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    html! {
        div.wide tabindex="0" role="region" aria-label="Lines of logs" {
            table.lines {
                caption.hidden { "Lines of logs" }
                thead {
                    tr {
                        th scope="col" { "Time (" (utc()) ")" }
                        @for head in ["Client", "Server", "Uid", "Query", "Type", "Code", "Answers", "Log and line"] { th scope="col" { (head) } }
                    }
                }
                tbody {
                    @for line in lines {
                        tr {
                            td { (safe(spaced_utc(&line.time).as_str())) }
                            td { (safe(&with_port(&line.client, line.client_port))) }
                            td { (safe(&with_port(&line.server, line.server_port))) }
                            td { (safe(&text(&line.uid))) }
                            td.dns { (safe(&text(&line.query))) }
                            td { (safe(&text(&line.qtype))) }
                            td { (safe(&text(&line.rcode))) }
                            td.dns { (safe(&line.answers.join(", "))) }
                            td { (safe(&line.log)) ":" (line.line) }
                        }
                    }
                }
            }
        }
    }
}
