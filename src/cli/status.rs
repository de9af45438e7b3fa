//! `status`: how far each log was read, and how its lines ended.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use anyhow::Context;
use serde_json::Value;

use super::Exit;
use super::access::{Access, LedgerArgs, Purpose};
use super::import::human_size;
use super::progress::seconds;
use crate::base::clock::now;
use crate::base::time::format_utc;
use crate::http::{of_fed, report};
use crate::ingest::NotRead;
use crate::output::{sanitise, sanitise_json, shortened};
use crate::status::Status;

/// Bytes of a status at most, of the daemon here and of a server anywhere: in memory it may take ten times that.
const MAX_STATUS_BYTES: u64 = 256 << 20;
const MAX_FOREIGN_BYTES: u64 = 32 << 20;
/// Bytes of a line that is shown at most: a path, and what is said of it.
const LONGEST: usize = 8 << 10;
/// Logs that are listed for each source; the rest is counted.
const LISTED: usize = 10;

/// What `status` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// How it is written; json is the same document as /api/v1/status
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// List every log, not only those read last
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Shows the status, of the daemon or of a ledger at rest.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let access = Access::open_for(&args.ledger, Purpose::Look)?;
    let (document, running) = match access {
        Access::Folder(ref ledger, ref config) => {
            let mut status = Status::at_rest(&ledger.lineages()?, now());
            status.incomplete.extend(NotRead::of(&config.data_dir).in_words());
            let mut report = report(status, &ledger.stats()?);
            if let Some(fed) = ledger.fed() {
                report = report.with_fed(of_fed(&fed, &[]));
            }
            (serde_json::to_value(report).context("writing the status")?, false)
        }
        Access::Socket(ref client) | Access::Server(ref client) => {
            let most = if matches!(access, Access::Socket(_)) { MAX_STATUS_BYTES } else { MAX_FOREIGN_BYTES };
            let mut text = Vec::new();
            let answer = client.get("/api/v1/status", &[])?;
            answer.take(most).read_to_end(&mut text).context("reading the status")?;
            (serde_json::from_slice(&text).context("reading the status")?, true)
        }
    };
    let text = match args.format {
        Format::Json => sanitise_json(&format!("{document:#}\n")),
        Format::Table => describe(&document, running, args.all),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

/// The status for people.
fn describe(document: &Value, running: bool, all: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10}{}", shortened(&sanitise(value), LONGEST));
    };
    let lacks = document["incomplete"].as_array().is_some_and(|reasons| !reasons.is_empty());
    let state = match (running, document["caught_up"].as_bool()) {
        (false, _) => "no daemon is running".to_owned(),
        (true, Some(true)) if !lacks => "running, everything visible is read".to_owned(),
        (true, _) if lacks => "running, not everything visible is read".to_owned(),
        (true, _) => "running, still reading".to_owned(),
    };
    line("state", &state);
    for warning in document["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        line("warning", warning);
    }
    for reason in document["incomplete"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        line("not read", reason);
    }
    if let Some(as_of) = document["as_of"].as_str() {
        line("as of", as_of);
    }
    for sensor in document["sensors"].as_array().into_iter().flatten() {
        let closed = if sensor["closed"] == true { ", closed" } else { "" };
        let as_of = sensor["as_of"].as_str().unwrap_or("nothing yet");
        line("sensor", &format!("{}: {as_of}{closed}", sensor["sensor"].as_str().unwrap_or_default()));
    }
    if let Some(newest) = document["newest"].as_u64() {
        line("newest", &format!("{} UTC", format_utc(newest)));
    }
    let store = &document["store"];
    let (rows, disk) = (number(&store["rows"]), number(&store["disk_bytes"]));
    let most = store["max_disk"].as_u64().map(|most| format!(" of at most {}", human_size(most)));
    let disk = human_size(disk) + " on disk" + &most.unwrap_or_default();
    line("ledger", &format!("{rows} rows, {disk}, format {}", document["format"]));
    let filters = &document["evidence"];
    if number(&filters["logs"]) > 0 {
        let [made, logs, bytes] = ["filters", "logs", "bytes"].map(|key| number(&filters[key]));
        let most = filters["max_bytes"].as_u64().map(|most| format!(" of at most {}", human_size(most)));
        let most = most.unwrap_or_default();
        line("evidence", &format!("filters of {made} of {logs} complete logs, {}{most}", human_size(bytes)));
    }
    let forwarding = &document["forwarding"];
    if let Some(to) = forwarding["to"].as_str() {
        let has = match number(&forwarding["acknowledged_at"]) {
            0 => "which is not known to have all yet".to_owned(),
            at => format!("which has all as of {} UTC", format_utc(at)),
        };
        let lacks = match number(&forwarding["lag_rows"]) {
            0 => String::new(),
            rows => format!(", and lacks about {rows} rows and questions"),
        };
        let why = forwarding["error"].as_str().filter(|why| !why.is_empty());
        let why = why.map(|why| format!("; it fails: {why}")).unwrap_or_default();
        line("forward", &format!("to {to}, {has}{lacks}{why}"));
    }
    for told in document["delivering"].as_array().into_iter().flatten() {
        let text = |key: &str| told[key].as_str().unwrap_or_default();
        let [delivered, refused, waiting] = ["delivered", "refused", "waiting"].map(|key| number(&told[key]));
        let mut says =
            format!("{} ({}): {delivered} hits delivered, {waiting} wait", text("outlet"), text("kind"));
        if refused > 0 {
            says += &format!(", {refused} refused or given up");
        }
        if number(&told["failing_since"]) > 0 {
            says += &format!(
                "; it fails since {}: {}",
                format_utc(number(&told["failing_since"])),
                text("error")
            );
        }
        line("deliver", &says);
    }
    for pull in document["pulls"].as_array().into_iter().flatten() {
        let feed = pull["feed"].as_str().unwrap_or_default();
        let last = match number(&pull["pulled_at"]) {
            0 => "never pulled".to_owned(),
            at => format!("pulled {} UTC", format_utc(at)),
        };
        let why = pull["error"].as_str().map(|why| format!("; it fails: {why}")).unwrap_or_default();
        line("feed", &format!("{feed}: {last}{why}"));
    }
    let missing = number(&store["missing_logs"]);
    if missing > 0 {
        let says = "logs lack rows that were there: the ledger was damaged; `dnsledger verify` names them";
        line("MISSING", &format!("{missing} {says}"));
    }
    let expired = &store["expired"];
    if number(&expired["before"]) > 0 {
        let (rows, questions) = (number(&expired["rows"]), number(&expired["questions"]));
        let before = format_utc(number(&expired["before"]));
        let at = format_utc(number(&expired["at"]));
        let dropped = format!("{rows} rows and {questions} questions last seen before {before} UTC");
        line("expired", &format!("{dropped}, the last at {at} UTC"));
    }
    let folded = &store["folded"];
    if number(&folded["at"]) > 0 {
        let sum = |a: &str, b: &str| number(&folded[a]) + number(&folded[b]);
        let (rows, questions) = (sum("rows", "pressed_rows"), sum("questions", "pressed_questions"));
        let domains = number(&folded["domains"]);
        let at = format_utc(number(&folded["at"]));
        line(
            "folded",
            &format!("{rows} rows and {questions} questions of {domains} domains, the last at {at} UTC"),
        );
        let room = number(&folded["pressed_rows"]) + number(&folded["pressed_questions"]);
        if room > 0 {
            line("", &format!("{room} of them for room, of domains with many names"));
        }
        if number(&folded["unresolved"]) > 0 {
            let dropped = number(&folded["unresolved"]);
            line(
                "",
                &format!("{dropped} questions dropped for room, which never resolved and were asked once"),
            );
        }
    }
    if let Some(read) = store["first_sightings"].as_u64() {
        let says = "rows read to tell when each domain was first seen; until then `new` takes longer";
        line("new", &format!("{read} older {says}"));
    }
    for (at, growth) in store["growth"].as_array().into_iter().flatten().enumerate() {
        let (domain, names) = (growth["domain"].as_str().unwrap_or_default(), number(&growth["names_a_day"]));
        let name = if at == 0 { "growing" } else { "" };
        line(name, &format!("{domain}: {names} names a day, {} in all", number(&growth["names"])));
    }
    line("lines", &lines(&document["totals"]));
    for (what, reasons) in
        [("skipped", reasons(document, "skipped")), ("malformed", reasons(document, "malformed"))]
    {
        if !reasons.is_empty() {
            line("", &format!("{what}: {reasons}"));
        }
    }
    let cut = document["totals"].get("answers_cut").map_or(0, number);
    if cut > 0 {
        line("", &format!("answers cut: {cut}, of records with more than observe.max_observations"));
    }
    for source in document["sources"].as_array().into_iter().flatten() {
        let logs = source["logs"].as_str().unwrap_or_default();
        let logs = if logs.is_empty() { "imported" } else { logs };
        let state = source["state"].as_str().unwrap_or_default();
        let sensor = source["sensor"].as_str().unwrap_or_default();
        line("source", &format!("{logs}: sensor {sensor}, {state}"));
        if let Some(reason) = source["reason"].as_str() {
            line("", reason);
        }
        let behind = source["lag_seconds"].as_f64().filter(|_| document["caught_up"] != true);
        if let Some(behind) = behind {
            let unread = human_size(number(&source["lag_bytes"]));
            line("", &format!("{} behind, {unread} of live logs not read", seconds(behind)));
        }
        if let Some(backfill) = source["backfill"].as_object() {
            let get = |key: &str| backfill.get(key).map(number).unwrap_or_default();
            let left = backfill.get("seconds_left").and_then(Value::as_f64);
            let left = left.map(|left| format!(", {} left", seconds(left))).unwrap_or_default();
            let rate = backfill.get("lines_per_second").and_then(Value::as_f64).unwrap_or_default();
            let (done, total) = (human_size(get("bytes_done")), human_size(get("bytes_total")));
            let (files, of) = (get("files_done"), get("files_total"));
            line("", &format!("archives: {files} of {of} read, {done} of {total}, {rate:.0} lines/s{left}"));
        }
        let unread: Vec<&Value> = source["unread"].as_array().into_iter().flatten().collect();
        let shown = if all { unread.len() } else { LISTED };
        for file in unread.iter().take(shown) {
            let (path, reason) = (file["path"].as_str(), file["reason"].as_str());
            line("", &format!("not read: {}: {}", path.unwrap_or_default(), reason.unwrap_or_default()));
        }
        let counts = source["unread_counts"].as_object();
        let total = counts.map_or(0, |counts| counts.values().map(number).sum::<u64>());
        let more = total.saturating_sub(unread.len().min(shown) as u64);
        if more > 0 {
            line("", &format!("and {more} more files or folders that are not read"));
        }
        line("", &lines(&source["totals"]));
        let mut files: Vec<&Value> = source["files"].as_array().into_iter().flatten().collect();
        files.sort_by_key(|file| std::cmp::Reverse(number(&file["read_at"])));
        let shown = if all { files.len() } else { LISTED };
        for file in files.iter().take(shown) {
            let path = file["path"].as_str().unwrap_or_default();
            let more = if number(&file["prefix_changed"]) > 0 { ", changed after it was read" } else { "" };
            line("", &format!("{path}: {}{more}", lines(file)));
        }
        if files.len() > shown {
            line("", &format!("and {} more logs (--all lists them)", files.len() - shown));
        }
    }
    text
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// How lines ended, in one phrase.
fn lines(tally: &Value) -> String {
    let sum =
        |key: &str| tally[key].as_object().map_or(0, |reasons| reasons.values().map(number).sum::<u64>());
    format!(
        "{} lines = {} counted + {} skipped + {} malformed",
        number(&tally["lines_read"]),
        number(&tally["counted"]),
        sum("skipped"),
        sum("malformed")
    )
}

/// The reasons that there were, with their lines.
fn reasons(document: &Value, kind: &str) -> String {
    let reasons = document["totals"].get(kind).and_then(Value::as_object);
    let named = reasons.into_iter().flatten().filter(|(_, lines)| number(lines) > 0);
    named.map(|(reason, lines)| format!("{reason} {lines}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{LineageId, Progress};
    use crate::store::{Expired, Stats};
    use crate::tally::{Fate, Skip};

    #[test]
    fn a_status_is_told_in_a_few_lines() {
        let mut progress = Progress::start(LineageId([1; 16]), "dmz");
        progress.path = "/logs/dns\u{1b}[2J.log".into();
        progress.newest = 1_767_323_045;
        progress.tally.add(Fate::Counted);
        progress.tally.add(Fate::Skipped(Skip::NoAnswer));
        let report = report(
            Status::at_rest(&[progress], 1_800_000_000),
            &Stats {
                rows: 7,
                disk_bytes: 1 << 20,
                max_disk: Some(20 << 30),
                format: 1,
                expired: Expired { before: 86_400, at: 90_000, rows: 5, questions: 2 },
                missing_logs: 2,
                ..Stats::default()
            },
        );
        let text = describe(&serde_json::to_value(report).unwrap(), false, false);
        assert_eq!(
            text,
            "state     no daemon is running\n\
             newest    2026-01-02 03:04:05 UTC\n\
             ledger    7 rows, 1.0 MiB on disk of at most 20.0 GiB, format 1\n\
             MISSING   2 logs lack rows that were there: the ledger was damaged; `dnsledger verify` names them\n\
             expired   5 rows and 2 questions last seen before 1970-01-02 00:00:00 UTC, the last at 1970-01-02 01:00:00 UTC\n\
             lines     2 lines = 1 counted + 1 skipped + 0 malformed\n          \
             skipped: no_answer 1\n\
             source    imported: sensor dmz, imported\n          \
             2 lines = 1 counted + 1 skipped + 0 malformed\n          \
             /logs/dns\\u{1b}[2J.log: 2 lines = 1 counted + 1 skipped + 0 malformed\n"
        );
    }
}
