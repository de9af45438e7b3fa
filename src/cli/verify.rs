//! `verify`: whether the ledger is sound.

use std::io::{self, BufRead, BufReader, Write};

use anyhow::{Context, bail};

use super::access::{FolderArgs, daemon_of, no_ledger};
use super::progress::Progress;
use super::{Exit, Misuse};
use crate::config::Config;
use crate::http::VerifyLine;
use crate::http::client::Client;
use crate::output::sanitise;
use crate::store::sled::{repair, verify};
use crate::store::{StoreError, Verification};

/// What `verify` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// Make a damaged index anew from the rows; no daemon may have the ledger open
    #[arg(long)]
    repair: bool,
}

/// Reads the whole ledger, itself or through the daemon, and says what is wrong with it.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let config = args.folder.load()?;
    let progress = Progress::new();
    let found = match daemon_of(&config.data_dir)? {
        Some(_) if args.repair => {
            let message = format!("a daemon has {} open", config.data_dir.display());
            return Err(Misuse { message, hint: "stop it first: a ledger is repaired at rest" }.into());
        }
        Some(daemon) => ask(&daemon, &progress),
        None => {
            let mut show = |done, total| {
                progress.show_count(done, total, "rows");
                true
            };
            let found = verify(&config.data_dir, &config.store(), &mut show);
            found
                .map_err(anyhow::Error::from)
                .and_then(|found| found.ok_or_else(|| no_ledger(&config.data_dir)))
        }
    };
    progress.finish();
    let found = found?;
    io::stdout().write_all(describe(&found).as_bytes())?;
    if found.is_sound() {
        return Ok(Exit::Done);
    }
    if args.repair {
        return mend(&config, &progress);
    }
    // When nobody listens there is nobody to tell.
    let _ = writeln!(
        io::stderr(),
        "try: `dnsledger verify --repair`, which makes a damaged index anew; for rows, restore a snapshot"
    );
    Ok(Exit::Failed)
}

/// Makes the index anew, and says whether all is sound then.
fn mend(config: &Config, progress: &Progress) -> anyhow::Result<Exit> {
    let mut show = |done, total| {
        progress.show_count(done, total, "rows");
        true
    };
    let (folder, options) = (&config.data_dir, config.store());
    let mended = repair(folder, &options, &mut show)
        .and_then(|mended| mended.map_or(Ok(None), |()| verify(folder, &options, &mut show)));
    progress.finish();
    let found = match mended {
        Ok(Some(found)) => found,
        Ok(None) => return Err(no_ledger(folder)),
        Err(error @ StoreError::Damaged { .. }) => {
            let message = format!("it cannot be repaired, and nothing was changed: {error}");
            return Err(Unrepaired(message).into());
        }
        Err(error) => return Err(error.into()),
    };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "The index and the filters were made anew from the rows.")?;
    stdout.write_all(describe(&found).as_bytes())?;
    Ok(if found.is_sound() { Exit::Done } else { Exit::Failed })
}

/// What is damaged is not the index.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unrepaired(String);

impl Unrepaired {
    /// What the operator can do.
    pub fn hint(&self) -> &'static str {
        "stop the daemon and restore a snapshot; the logs are read on from there"
    }
}

/// Has the daemon verify its ledger, while it serves.
fn ask(daemon: &Client, progress: &Progress) -> anyhow::Result<Verification> {
    let answer = daemon.post("/control/verify", &[], None)?;
    for line in BufReader::new(answer).lines() {
        let line = line.context("reading the daemon's answer")?;
        match serde_json::from_str(&line).context("reading the daemon's answer")? {
            VerifyLine::Progress { done, total } => progress.show_count(done, total, "rows"),
            VerifyLine::Found(found) => return Ok(*found),
            VerifyLine::Failed(why) => bail!("{why}"),
        }
    }
    bail!("the daemon ended before it had verified everything")
}

/// What was read and found, for people.
pub fn describe(found: &Verification) -> String {
    let Verification { runs, blocks, rows, index_entries, questions, .. } = found;
    let Verification { journal_entries, journal_rows, logs, sensors, unnamed_runs, .. } = found;
    let mut lines = vec![
        format!(
            "{runs} runs: {blocks} blocks, {rows} rows, {index_entries} index entries, {questions} questions"
        ),
        format!("journal: {journal_entries} commits, {journal_rows} rows and questions"),
        format!("progress of {logs} logs, {sensors} sensors"),
    ];
    if *unnamed_runs > 0 {
        lines.push(format!(
            "{unnamed_runs} runs that are no longer needed: they do not count, and will be removed"
        ));
    }
    lines.extend(found.faults.iter().map(|fault| format!("DAMAGED {}: {}", fault.what, fault.why)));
    if found.more_faults > 0 {
        lines.push(format!("and {} more faults", found.more_faults));
    }
    lines.push(if found.is_sound() { "sound" } else { "damaged" }.to_owned());
    lines.iter().flat_map(|line| [sanitise(line), "\n".into()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Fault;

    #[test]
    fn a_verification_is_told_in_a_few_lines() {
        let mut found = Verification { runs: 2, rows: 30, journal_rows: 4, ..Verification::default() };
        let text = describe(&found);
        assert!(text.starts_with("2 runs: 0 blocks, 30 rows, ") && text.ends_with("\nsound\n"), "{text}");
        found.faults.push(Fault { what: "run 1\u{1b}[2J".to_owned(), why: "it is missing".to_owned() });
        found.more_faults = 7;
        let text = describe(&found);
        assert!(
            text.ends_with("DAMAGED run 1\\u{1b}[2J: it is missing\nand 7 more faults\ndamaged\n"),
            "{text}"
        );
    }
}
