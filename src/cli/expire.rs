//! `expire`: drop what was not seen for long.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;

use super::access::{Access, FolderArgs, Purpose};
use super::import::human_size;
use super::{Exit, Misuse};
use crate::base::clock::now;
use crate::base::time::{DAY, format_utc, parse_date};
use crate::base::units;
use crate::http::ExpireLine;
use crate::http::client::Client;
use crate::output::sanitise;
use crate::store::retention::{self, Bounds, Forecast, LEAST_AGE, Reduction};
use crate::store::{LEAST_DISK, Stats};

/// What `expire` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// Drop what was not seen for so long before the newest record, such as 400d, counted from the start of a day [default:
    /// store.retention of the configuration]
    #[arg(long, value_name = "AGE", value_parser = units::parse_duration)]
    older_than: Option<Duration>,
    /// Drop what was not seen for longest until the ledger takes no more disk than this, such as 20GiB [default:
    /// store.max_disk]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    max_disk: Option<u64>,
    /// Drop what was last seen before this day, such as 2024-04-12, also where nothing newer comes
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    before: Option<u64>,
    /// Only say what would be dropped
    #[arg(long)]
    dry_run: bool,
    /// Do not ask on a terminal
    #[arg(short, long)]
    yes: bool,
}

/// Brings the ledger within the bounds, itself or through the daemon, and says what was dropped.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let typed = Bounds { retention: args.older_than, max_disk: args.max_disk, before: args.before };
    let config = args.folder.load()?;
    check(&typed, typed.is_empty() && config.is_unbounded())?;
    let access = Access::open_folder(&args.folder, Purpose::Change)?;
    let bounds = if typed.is_empty() { config.bounds(&stats(&access)?) } else { typed };
    let forecast = || match &access {
        Access::Folder(ledger, _) => Ok(retention::forecast(&**ledger, &bounds, now())?),
        Access::Socket(client) | Access::Server(client) => {
            match ask(client, "/control/expire/forecast", &bounds)? {
                ExpireLine::Forecast(told) => Ok(told),
                _ => Err(Refused::misunderstood()),
            }
        }
    };
    if args.dry_run {
        io::stdout().write_all(describe_forecast(&forecast()?, &bounds, now()).as_bytes())?;
        return Ok(Exit::Done);
    }
    if !args.yes && io::stdin().is_terminal() && io::stderr().is_terminal() {
        let told = forecast()?;
        let question = describe_forecast(&told, &bounds, now());
        if told.before > 0 && !confirm(&question, &mut io::stdin().lock(), &mut io::stderr())? {
            writeln!(io::stdout(), "nothing was dropped")?;
            return Ok(Exit::Nothing);
        }
    }
    let kept = match &access {
        Access::Folder(ledger, _) => retention::keep(&**ledger, &bounds, now())?,
        Access::Socket(client) | Access::Server(client) => match ask(client, "/control/expire", &bounds)? {
            ExpireLine::Kept(kept) => kept,
            _ => return Err(Refused::misunderstood()),
        },
    };
    io::stdout().write_all(describe(&kept).as_bytes())?;
    if kept.fits {
        return Ok(Exit::Done);
    }
    let why = kept.why_larger();
    let hint = if kept.no_room { "make room on the disk, and once more" } else { "a larger --max-disk" };
    // When nobody listens there is nobody to tell.
    let _ = writeln!(io::stderr(), "dnsledger: it is still larger than that: {why}\ntry: {hint}");
    Ok(Exit::Failed)
}

/// How much disk the ledger may take, as it knows itself.
fn stats(access: &Access) -> anyhow::Result<Stats> {
    match access {
        Access::Folder(ledger, _) => Ok(ledger.stats()?),
        Access::Socket(client) | Access::Server(client) => {
            let answer = client.get("/api/v1/status", &[])?;
            let status: serde_json::Value =
                serde_json::from_reader(answer).context("reading the daemon's status")?;
            let max_disk = status.pointer("/store/max_disk").and_then(serde_json::Value::as_u64);
            Ok(Stats { max_disk, ..Stats::default() })
        }
    }
}

/// Asks whether that is meant. Only a yes is one.
fn confirm(question: &str, answer: &mut impl BufRead, ask: &mut impl Write) -> io::Result<bool> {
    write!(ask, "{question}Drop that for good? [y/N] ")?;
    ask.flush()?;
    let mut line = String::new();
    answer.read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes" | "Yes" | "YES"))
}

/// What would be dropped, for people.
fn describe_forecast(told: &Forecast, bounds: &Bounds, now: u64) -> String {
    let mut text = match told.before {
        0 => "nothing would be dropped\n".to_owned(),
        _ => format!("{told}: they would be dropped\n"),
    };
    if bounds.retention.is_some() && told.newest > 0 && told.newest.saturating_add(DAY) < now {
        let newest = format_utc(told.newest);
        text.push_str(&format!(
            "ages are counted from the newest record, {newest} UTC; --before DATE drops what is older than a day that is named\n"
        ));
    }
    text
}

/// Refuses bounds that mean nothing, or less than can be kept.
fn check(bounds: &Bounds, none: bool) -> Result<(), Misuse> {
    let misuse = |message: &str, hint| Err(Misuse { message: message.to_owned(), hint });
    if none {
        return misuse(
            "neither an age nor a size is given, and the configuration has none",
            "--older-than 400d, --max-disk 20GiB, or --before 2024-04-12",
        );
    }
    if bounds.retention.is_some_and(|age| age < LEAST_AGE) {
        return misuse(
            "the age is below 1d: what was seen in the last day is never dropped",
            "--older-than 400d",
        );
    }
    if bounds.max_disk.is_some_and(|bytes| bytes < LEAST_DISK) {
        return misuse("the size is below 16MiB", "--max-disk 20GiB");
    }
    Ok(())
}

/// The daemon failed at it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    message: String,
    /// What can be done.
    pub hint: Option<String>,
}

impl Refused {
    fn misunderstood() -> anyhow::Error {
        let hint = Some("restart it, so that both are of one version".to_owned());
        Refused { message: "the daemon answered something else".to_owned(), hint }.into()
    }
}

/// Has the daemon do it, while it serves.
fn ask(daemon: &Client, path: &str, bounds: &Bounds) -> anyhow::Result<ExpireLine> {
    let age = bounds.retention.map(|age| age.as_secs().to_string());
    let disk = bounds.max_disk.map(|bytes| bytes.to_string());
    let before = bounds.before.map(|before| before.to_string());
    let params = [("older_than", &age), ("max_disk", &disk), ("before", &before)];
    let params: Vec<(&str, &str)> =
        params.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    let answer = daemon.until_done().post(path, &params, None)?;
    let line = BufReader::new(answer).lines().next().context("the daemon ended before it was done")?;
    let line = line.context("reading the daemon's answer")?;
    match serde_json::from_str(&line).context("reading the daemon's answer")? {
        ExpireLine::Failed(message, hint) => Err(Refused { message, hint }.into()),
        line => Ok(line),
    }
}

/// What was dropped, for people.
fn describe(kept: &Reduction) -> String {
    let Reduction { rows, questions, before, disk_before, disk, .. } = *kept;
    let dropped = match before {
        0 => "nothing was dropped".to_owned(),
        before => {
            format!(
                "{rows} rows and {questions} questions dropped; none is left that was last seen before {} UTC",
                format_utc(before)
            )
        }
    };
    let mut dropped = dropped;
    if kept.folded + kept.unresolved > 0 {
        let Reduction { folded, unresolved, .. } = *kept;
        dropped = format!(
            "{folded} rows and questions folded into those of their domains, {unresolved} that never resolved dropped\n{dropped}"
        );
    }
    let disk = format!("{} on disk, {} before", human_size(disk), human_size(disk_before));
    let lines = dropped.lines().chain([disk.as_str()]);
    lines.flat_map(|line| [sanitise(line), "\n".into()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_would_drop_nearly_all_are_refused() {
        let day = Some(Duration::from_secs(86_400));
        for (bounds, says) in [
            (Bounds::default(), "neither"),
            (Bounds { retention: Some(Duration::from_secs(3600)), ..Bounds::default() }, "below 1d"),
            (Bounds { retention: day, max_disk: Some(1 << 20), before: None }, "below 16MiB"),
        ] {
            assert!(check(&bounds, bounds.is_empty()).unwrap_err().message.contains(says), "{bounds:?}");
        }
        assert!(check(&Bounds { retention: day, max_disk: Some(LEAST_DISK), before: None }, false).is_ok());
    }

    #[test]
    fn it_is_asked_before_and_only_a_yes_is_one() {
        let told = Forecast {
            before: 86_400 * 365,
            newest: 86_400 * 400,
            rows: 7,
            all_rows: 9,
            questions: 1,
            all_questions: 2,
        };
        let bounds = Bounds { retention: Some(Duration::from_secs(35 * 86_400)), ..Bounds::default() };
        let says = describe_forecast(&told, &bounds, 86_400 * 402);
        assert_eq!(
            says,
            "7 of 9 rows and 1 of 2 questions were last seen before 1971-01-01 00:00:00 UTC: they would be dropped\n\
             ages are counted from the newest record, 1971-02-05 00:00:00 UTC; --before DATE drops what is older than a day that is named\n"
        );
        assert_eq!(describe_forecast(&Forecast::default(), &bounds, 0), "nothing would be dropped\n");
        for (answer, meant) in
            [("y\n", true), ("yes", true), ("\n", false), ("", false), ("no\n", false), ("yesterday", false)]
        {
            let mut asked = Vec::new();
            assert_eq!(confirm(&says, &mut answer.as_bytes(), &mut asked).unwrap(), meant, "{answer}");
            assert!(String::from_utf8(asked).unwrap().ends_with("Drop that for good? [y/N] "));
        }
    }

    #[test]
    fn what_was_dropped_is_told_in_two_lines() {
        let kept = Reduction {
            rows: 3,
            questions: 1,
            folded: 0,
            unresolved: 0,
            before: 86_400,
            disk_before: 2 << 20,
            disk: 1 << 20,
            fits: true,
            no_room: false,
        };
        assert_eq!(
            describe(&kept),
            "3 rows and 1 questions dropped; none is left that was last seen before 1970-01-02 00:00:00 UTC\n\
             1.0 MiB on disk, 2.0 MiB before\n"
        );
        let kept = Reduction { rows: 0, questions: 0, before: 0, ..kept };
        assert!(describe(&kept).starts_with("nothing was dropped\n"));
    }
}
