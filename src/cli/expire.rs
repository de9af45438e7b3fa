//! `expire`: drop what was not seen for long.

use std::io::{self, BufRead, BufReader, Write};
use std::time::Duration;

use anyhow::Context;

use super::access::{Access, FolderArgs, Purpose};
use super::import::human_size;
use super::{Exit, Misuse};
use crate::clock::now;
use crate::http::ExpireLine;
use crate::http::client::Client;
use crate::output::sanitise;
use crate::retention::{self, Bounds, Kept, LEAST_AGE, LEAST_DISK};
use crate::time::format_utc;
use crate::units;

/// What `expire` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// Drop what was not seen for so long, such as 400d, counted from the start of a day [default: store.retention of the
    /// configuration]
    #[arg(long, value_name = "AGE", value_parser = units::parse_duration)]
    older_than: Option<Duration>,
    /// Drop what was not seen for longest until the ledger takes no more disk than this, such as 20GiB [default:
    /// store.max_disk]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    max_disk: Option<u64>,
}

/// Brings the ledger within the bounds, itself or through the daemon, and says what was dropped.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let typed = Bounds { retention: args.older_than, max_disk: args.max_disk };
    let bounds = if typed.is_empty() { args.folder.load()?.bounds() } else { typed };
    check(&bounds)?;
    let kept = match Access::open_folder(&args.folder, Purpose::Change)? {
        Access::Folder(ledger, _) => retention::keep(&ledger, &bounds, now())?,
        Access::Socket(client) | Access::Server(client) => ask(&client, &bounds)?,
    };
    io::stdout().write_all(describe(&kept).as_bytes())?;
    if kept.fits {
        return Ok(Exit::Done);
    }
    // When nobody listens there is nobody to tell.
    let _ = writeln!(
        io::stderr(),
        "dnsledger: it is still larger than that: what was seen in the last day is never dropped\ntry: a larger --max-disk"
    );
    Ok(Exit::Failed)
}

/// Refuses bounds that mean nothing, or less than can be kept.
fn check(bounds: &Bounds) -> Result<(), Misuse> {
    let misuse = |message: &str, hint| Err(Misuse { message: message.to_owned(), hint });
    if bounds.is_empty() {
        return misuse(
            "neither an age nor a size is given, and the configuration has none",
            "--older-than 400d, or --max-disk 20GiB",
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

/// Has the daemon do it, while it serves.
fn ask(daemon: &Client, bounds: &Bounds) -> anyhow::Result<Kept> {
    let age = bounds.retention.map(|age| age.as_secs().to_string());
    let disk = bounds.max_disk.map(|bytes| bytes.to_string());
    let params = [("older_than", &age), ("max_disk", &disk)];
    let params: Vec<(&str, &str)> =
        params.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    let answer = daemon.post("/control/expire", &params, None)?;
    let line = BufReader::new(answer).lines().next().context("the daemon ended before it was done")?;
    let line = line.context("reading the daemon's answer")?;
    match serde_json::from_str(&line).context("reading the daemon's answer")? {
        ExpireLine::Kept(kept) => Ok(kept),
        ExpireLine::Failed(message, hint) => Err(Refused { message, hint }.into()),
    }
}

/// What was dropped, for people.
fn describe(kept: &Kept) -> String {
    let Kept { rows, questions, before, disk_before, disk, .. } = *kept;
    let dropped = match before {
        0 => "nothing was dropped".to_owned(),
        before => {
            format!(
                "{rows} rows and {questions} questions dropped; none is left that was last seen before {} UTC",
                format_utc(before)
            )
        }
    };
    let disk = format!("{} on disk, {} before", human_size(disk), human_size(disk_before));
    [dropped, disk].iter().flat_map(|line| [sanitise(line), "\n".into()]).collect()
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
            (Bounds { retention: day, max_disk: Some(1 << 20) }, "below 16MiB"),
        ] {
            assert!(check(&bounds).unwrap_err().message.contains(says), "{bounds:?}");
        }
        assert!(check(&Bounds { retention: day, max_disk: Some(LEAST_DISK) }).is_ok());
    }

    #[test]
    fn what_was_dropped_is_told_in_two_lines() {
        let kept =
            Kept { rows: 3, questions: 1, before: 86_400, disk_before: 2 << 20, disk: 1 << 20, fits: true };
        assert_eq!(
            describe(&kept),
            "3 rows and 1 questions dropped; none is left that was last seen before 1970-01-02 00:00:00 UTC\n\
             1.0 MiB on disk, 2.0 MiB before\n"
        );
        let kept = Kept { rows: 0, questions: 0, before: 0, ..kept };
        assert!(describe(&kept).starts_with("nothing was dropped\n"));
    }
}
