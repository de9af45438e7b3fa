//! How the daemon is doing: what is followed, how far, how fast, and how every line ended.

use maud::{Markup, html};

use super::shell::{Frame, counted, document, facts, grouped, length, moment, safe, sensor_time, size, utc};
use crate::evidence::FiltersStatus;
use crate::status::history::{INTERVAL, SAMPLES, Sample};
use crate::status::{BackfillStatus, FileStatus, Freshness, SourceState, SourceStatus, Status};
use crate::store::Stats;
use crate::tally::{Malformed, Skip, Tally};

/// Files of a source that are listed; the native API has all of them.
const LISTED: usize = 50;
/// The height of a graph, in its own units; its width is one unit for each sample.
const HEIGHT: f64 = 60.0;

/// Everything the page shows.
#[derive(Debug)]
pub struct StatusPage {
    /// The status of the readers.
    pub status: Status,
    /// The figures of the store.
    pub stats: Stats,
    /// Why the ledger cannot be written, if it cannot.
    pub failing: Option<String>,
    /// The last hour.
    pub samples: Vec<Sample>,
    /// How far the filters of logs are made.
    pub filters: FiltersStatus,
}

/// The status page.
pub fn status_page(page: &StatusPage, as_of: Option<&Freshness>) -> String {
    let StatusPage { status, stats, failing, samples, filters } = page;
    let content = html! {
        div.title { h1 { "Status" } }
        @if let Some(reason) = failing {
            section.fault role="alert" {
                h2 { "The ledger cannot be written" }
                p { (safe(reason)) ". Lookups go on; nothing is lost, since the logs are read again from where the ledger stands." }
            }
        }
        @if !status.warnings.is_empty() {
            section.fault role="alert" {
                h2 { "This needs you" }
                ul { @for warning in &status.warnings { li { (safe(warning)) } } }
            }
        }
        @if !status.incomplete.is_empty() {
            section.fault role="status" {
                h2 { @if as_of.is_some_and(|fresh| fresh.sensors.is_some()) { "Not all is there" } @else { "Not all logs are read" } }
                ul { @for reason in &status.incomplete { li { (safe(reason)) } } }
            }
        }
        @if let Some(sensors) = as_of.and_then(|fresh| fresh.sensors.as_ref()) {
            section {
                h2 { "Sensors" }
                p { "What each has seen is there as of:" }
                ul { @for sensor in sensors { li { (sensor_time(sensor)) } } }
            }
        }
        (facts(&[
            ("Caught up", html! { (if status.caught_up { "yes" } else { "not yet" }) }),
            ("Newest record", html! { @match status.newest { Some(newest) => { (moment(newest)) " " (utc()) }, None => "none yet" } }),
            ("Lines read", html! { (grouped(status.totals.lines())) }),
            ("Rows", html! { (grouped(stats.rows)) }),
            ("On disk", html! { (size(stats.disk_bytes)) @if let Some(most) = stats.max_disk { " of at most " (size(most)) } }),
            ("Not on disk yet", html! { (counted(stats.pending_rows, "row", "rows")) }),
            ("Filters of logs", html! {
                @if filters.logs == 0 { "none yet" } @else {
                    (grouped(filters.filters)) " of " (grouped(filters.logs)) ", " (size(filters.bytes))
                    @if let Some(most) = filters.max_bytes { " of at most " (size(most)) }
                }
            }),
            ("Expired", html! {
                @if stats.expired.before == 0 { "nothing" } @else {
                    (counted(stats.expired.rows, "row", "rows")) " last seen before " (moment(stats.expired.before))
                }
            }),
            ("Folded", html! {
                @let folded = stats.folded;
                @let rows = folded.rows + folded.pressed_rows;
                @let questions = folded.questions + folded.pressed_questions;
                @if folded.at == 0 { "nothing" } @else {
                    (counted(rows, "row", "rows")) " and " (counted(questions, "question", "questions")) " of "
                    (counted(folded.domains, "domain", "domains"))
                    @if folded.unresolved > 0 {
                        ", " (counted(folded.unresolved, "unresolved question", "unresolved questions")) " dropped"
                    }
                }
            }),
            ("Version", html! { (env!("CARGO_PKG_VERSION")) ", ledger of format " (stats.format) }),
        ]))
        section.graphs {
            h2.hidden { "The last hour" }
            (graph("Lines a second", samples.iter().map(|s| Some(s.lines_per_second)).collect(), |v| grouped(v.round() as u64)))
            (graph("Lag", samples.iter().map(|s| s.lag_seconds).collect(), length))
        }
        @if !stats.growth.is_empty() {
            section {
                h2 { "Domains that grow most" }
                ol {
                    @for growth in &stats.growth {
                        li {
                            span.dns { (growth.domain) } " " strong { (counted(growth.names_a_day, "name", "names")) " a day" }
                            span.note { " " (grouped(growth.names)) " in all" }
                        }
                    }
                }
            }
        }
        section { h2 { "How lines ended" } (tally(&status.totals)) }
        @for source in &status.sources { (self::source(source)) }
        @if status.sources.is_empty() && as_of.is_none_or(|fresh| fresh.sensors.is_none()) {
            section.empty { h2 { "Nothing is followed" } p { "Start it with --logs and the folder of Zeek's logs, or name a source in the configuration." } }
        }
    };
    document(&Frame { title: "Status", as_of, live: true, ..Frame::default() }, content)
}

/// A graph of the last hour: its greatest and its latest value in words, and the line between.
fn graph(title: &str, values: Vec<Option<f64>>, shown: impl Fn(f64) -> String) -> Markup {
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let latest = values.last().copied().flatten();
    let scale = if most > 0.0 { (HEIGHT - 4.0) / most } else { 0.0 };
    let start = SAMPLES.saturating_sub(values.len());
    let minutes = SAMPLES as u64 * INTERVAL.as_secs() / 60;
    // A value that is not there breaks the line.
    let mut lines: Vec<Vec<(usize, f64)>> = vec![Vec::new()];
    for (at, value) in values.iter().enumerate() {
        match (value, lines.last_mut()) {
            (Some(value), Some(line)) => line.push((start + at, HEIGHT - 1.0 - value * scale)),
            _ => lines.push(Vec::new()),
        }
    }
    lines.retain(|line| !line.is_empty());
    let points = |line: &[(usize, f64)]| {
        let points: Vec<String> = line.iter().map(|(x, y)| format!("{x},{y:.1}")).collect();
        points.join(" ")
    };
    let closed = |line: &[(usize, f64)]| {
        let (first, last) = (line.first().map_or(0, |p| p.0), line.last().map_or(0, |p| p.0));
        format!("{first},{HEIGHT} {} {last},{HEIGHT}", points(line))
    };
    let text = match latest {
        Some(latest) => format!("{title}: {} now, {} at most in the last hour", shown(latest), shown(most)),
        None => format!("{title}: nothing yet"),
    };
    html! {
        figure.graph {
            figcaption {
                span { (title) }
                strong { @match latest { Some(latest) => (shown(latest)), None => "–" } }
                span.note { "at most " (shown(most)) }
            }
            svg viewBox={ "0 0 " (SAMPLES - 1) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(text) {
                line.base x1="0" x2=(SAMPLES - 1) y1=(HEIGHT - 0.5) y2=(HEIGHT - 0.5) {}
                @for line in &lines {
                    polygon points=(closed(line)) {}
                    polyline points=(points(line)) {}
                }
            }
            p.note.ends { span { (minutes) " min ago" } span { "now" } }
        }
    }
}

/// How lines ended: three figures that add up, and the reasons that occurred.
fn tally(tally: &Tally) -> Markup {
    let skipped: Vec<(&str, u64)> = Skip::ALL
        .iter()
        .map(|r| (why_skipped(*r), tally.skipped(*r)))
        .filter(|(_, lines)| *lines > 0)
        .collect();
    let malformed: Vec<(&str, u64)> = Malformed::ALL
        .iter()
        .map(|r| (why_malformed(*r), tally.malformed(*r)))
        .filter(|(_, lines)| *lines > 0)
        .collect();
    let sum = |reasons: &[(&str, u64)]| reasons.iter().map(|(_, lines)| lines).sum::<u64>();
    let all = tally.lines().max(1) as f64;
    let parts = [
        ("counted", "Counted", tally.counted, &[][..]),
        ("skipped", "Skipped", sum(&skipped), skipped.as_slice()),
        ("malformed", "Malformed", sum(&malformed), malformed.as_slice()),
    ];
    let mut at = 0.0;
    let bars: Vec<(&str, String, String)> = parts
        .iter()
        .map(|(class, _, lines, _)| {
            let width = *lines as f64 / all * 100.0;
            at += width;
            (*class, format!("{:.2}%", at - width), format!("{width:.2}%"))
        })
        .collect();
    html! {
        div.tally {
            svg.bar.fates aria-hidden="true" {
                @for (class, x, width) in bars { rect class=(class) x=(x) width=(width) y="0" height="8" {} }
            }
            dl {
                @if tally.answers_cut > 0 {
                    div { dt { "Answers cut" } dd { strong { (grouped(tally.answers_cut)) } } }
                }
                @for (class, title, lines, reasons) in parts {
                    div {
                        dt { svg.swatch.fates aria-hidden="true" { rect class=(class) width="100%" height="100%" {} } (title) }
                        dd {
                            strong { (grouped(lines)) }
                            @if !reasons.is_empty() {
                                ul { @for (reason, lines) in reasons { li { (reason) ": " span { (grouped(*lines)) } } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Why a record is not kept, for who reads the page; programs get [`Skip::name`].
fn why_skipped(reason: Skip) -> &'static str {
    match reason {
        Skip::OtherLog => "of another log of Zeek",
        Skip::Port => "NetBIOS, mDNS or LLMNR",
        Skip::Class => "of another class than IN",
        Skip::Opcode => "no query: NOTIFY or an update",
        Skip::Transfer => "transfer of a zone",
        Skip::NoQuery => "without the name that was asked for",
        Skip::BadName => "with a name that cannot be",
        Skip::Expired => "older than what is kept",
        Skip::NoAnswer => "without an answer; the question is counted",
        Skip::UnusableAnswers => "with no answer that can be kept",
        Skip::TimeRange => "of a time that cannot be",
    }
}

/// Why a line could not be read, likewise.
fn why_malformed(reason: Malformed) -> &'static str {
    match reason {
        Malformed::Columns => "with other columns than its header",
        Malformed::Time => "without a time",
        Malformed::Value => "with a value that cannot be",
        Malformed::Json => "no JSON object of a record",
        Malformed::TooLong => "too long",
        Malformed::NoHeader => "before any header",
        Malformed::Unterminated => "cut off at the end of its file",
        Malformed::Nul => "with zeros in it",
    }
}

fn source(source: &SourceStatus) -> Markup {
    let (class, state) = match source.state {
        SourceState::Waiting => ("waiting", "waiting"),
        SourceState::Backfilling => ("busy", "reading archives"),
        SourceState::Following => ("good", "following"),
        SourceState::Failing => ("bad", "failing"),
        SourceState::Imported => ("waiting", "imported"),
    };
    let title = if source.logs.as_os_str().is_empty() { "Imported".into() } else { shown(&source.logs) };
    let mut files: Vec<&FileStatus> = source.files.iter().collect();
    files.sort_by(|a, b| (b.read_at, &b.path).cmp(&(a.read_at, &a.path)));
    let listed = files.get(..LISTED).unwrap_or(&files);
    html! {
        section.source {
            h2 { span.path { (title) } " " span class={ "state " (class) } { (state) } }
            @if let Some(reason) = &source.reason { p.warning { (safe(reason)) } }
            (facts(&[
                ("Sensor", html! { (safe(&source.sensor)) }),
                ("Lag", html! {
                    @match source.lag_seconds { Some(seconds) => (length(seconds)), None => "–" }
                    @if source.lag_bytes > 0 { ", " (size(source.lag_bytes)) " unread" }
                }),
                ("Logs", html! { (grouped(source.files.len() as u64)) }),
                ("Lines read", html! { (grouped(source.totals.lines())) }),
            ]))
            @if let Some(backfill) = &source.backfill { (self::backfill(backfill)) }
            @if !source.unread.is_empty() {
                details open[source.unread_counts.may_hold_records() > 0] {
                    summary { "Seen and not read: " (counted(source.unread_counts.total(), "file or folder", "files and folders")) }
                    ul { @for unread in &source.unread { li { span.path { (shown(&unread.path)) } ": " (safe(&unread.reason)) } } }
                }
            }
            @if !files.is_empty() {
                details open[files.len() <= 10] {
                    summary { "Logs, those read last first" }
                    div.scroll tabindex="0" role="region" aria-label={ "Logs of " (title) } {
                        table.plain {
                            thead { tr {
                                th scope="col" { "Log" } th.number scope="col" { "Read up to" } th scope="col" { "Newest (" (utc()) ")" }
                                th.number scope="col" { "Lines" } th.number scope="col" { "Counted" }
                                th.number scope="col" { "Skipped" } th.number scope="col" { "Malformed" } th scope="col" { "End" }
                            } }
                            tbody { @for file in listed { (self::file(file, source)) } }
                        }
                    }
                    @if listed.len() < files.len() {
                        p.note { (grouped((files.len() - listed.len()) as u64)) " more are in " a href="/api/v1/status" { "/api/v1/status" } "." }
                    }
                }
            }
        }
    }
}

fn file(file: &FileStatus, source: &SourceStatus) -> Markup {
    let path = file.path.strip_prefix(&source.logs).unwrap_or(&file.path);
    let skipped = file.tally.lines() - file.tally.counted - malformed(&file.tally);
    html! {
        tr {
            td.path { (shown(if path.as_os_str().is_empty() { &file.path } else { path })) }
            td.number { (size(file.consumed)) }
            td.when { @if let Some(newest) = file.newest { (moment(newest)) } }
            td.number { (grouped(file.tally.lines())) }
            td.number { (grouped(file.tally.counted)) }
            td.number { (grouped(skipped)) }
            td.number { (grouped(malformed(&file.tally))) }
            td {
                (if file.complete { "complete" } else { "open" })
                @if file.prefix_changed > 0 { span.warning { "changed " (counted(file.prefix_changed, "time", "times")) } }
            }
        }
    }
}

fn malformed(tally: &Tally) -> u64 {
    Malformed::ALL.iter().map(|reason| tally.malformed(*reason)).sum()
}

/// How far the reading of archives is.
fn backfill(backfill: &BackfillStatus) -> Markup {
    html! {
        p.backfill {
            progress max=(backfill.bytes_total.max(1)) value=(backfill.bytes_done) aria-label="Archives read" {}
            span {
                (grouped(backfill.files_done)) " of " (counted(backfill.files_total, "archive", "archives")) ", "
                (size(backfill.bytes_done)) " of " (size(backfill.bytes_total)) ", "
                (grouped(backfill.lines_per_second.round() as u64)) " lines/s"
                @if let Some(left) = backfill.seconds_left.filter(|_| backfill.files_done < backfill.files_total) {
                    ", " (length(left)) " left"
                }
            }
        }
    }
}

/// A path as it may be shown.
fn shown(path: &std::path::Path) -> String {
    safe(&path.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{LineageId, Progress};
    use crate::tally::Fate;

    #[test]
    fn a_source_and_a_graph_are_drawn_and_paths_are_escaped() {
        let mut progress = Progress::start(LineageId([1; 16]), "dmz\u{202e}");
        progress.path = "/logs/<b>.log".into();
        progress.tally.add(Fate::Counted);
        progress.tally.add(Fate::Skipped(Skip::NoAnswer));
        let sample = |lines_per_second, lag_seconds| Sample { lines_per_second, lag_seconds };
        let page = StatusPage {
            status: Status::at_rest(&[progress], 1_800_000_000),
            stats: Stats::default(),
            failing: Some("disk <full>".to_owned()),
            filters: FiltersStatus { logs: 1200, filters: 1000, bytes: 3 << 20, max_bytes: Some(16 << 20) },
            samples: vec![sample(10.0, Some(0.5)), sample(20.0, None), sample(5.0, Some(1.0))],
        };
        let page = status_page(&page, None);
        assert!(page.contains("1,000 of 1,200, 3.0 MiB of at most 16.0 MiB"), "{page}");
        assert!(page.contains("/logs/&lt;b&gt;.log") && page.contains("dmz\\u{202e}"));
        assert!(
            page.contains("disk &lt;full&gt;")
                && page.contains("without an answer; the question is counted: <span>1</span>")
        );
        assert!(
            page.contains("5 now, 20 at most") && page.contains("points=\"357,31.0 358,3.0 359,45.0\""),
            "{page}"
        );
        assert_eq!(page.matches("<polyline").count(), 3);
    }
}
