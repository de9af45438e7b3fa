//! `verify`: whether the ledger is sound.

use std::io::{self, BufRead, BufReader, Write};
use std::sync::Arc;

use anyhow::{Context, bail};

use super::access::{SourceArgs, daemon_of, no_ledger};
use super::progress::Progress;
use super::{Exit, Misuse};
use crate::base::shutdown::Stop;
use crate::daemon::config::Config;
use crate::daemon::recovery::{Recovery, begin_anew_if_safe};
use crate::http::VerifyLine;
use crate::http::client::Client;
use crate::ingest::ImportProgress;
use crate::output::sanitise;
use crate::store::sled::{begin_anew, open_to_read, repair, verify};
use crate::store::{StoreError, Verification, WriteStore};
use crate::watch::{FeedFolder, Watching};

/// What `verify` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    sources: SourceArgs,
    /// Make a damaged index anew from the rows, or if rows are damaged the ledger from the logs, where all it had read is
    /// still there; no daemon may have it open
    #[arg(long)]
    repair: bool,
    /// Set a ledger that cannot be repaired aside and begin another one, also where logs are gone; nothing is deleted
    #[arg(long, requires = "repair")]
    begin_anew: bool,
}

/// Reads the whole ledger, itself or through the daemon, and says what is wrong with it.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let config = args.sources.load()?;
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
                .and_then(|found| with_hits(found, &config))
        }
    };
    progress.finish();
    let found = found?;
    io::stdout().write_all(describe(&found).as_bytes())?;
    if found.is_sound() {
        return Ok(Exit::Done);
    }
    if args.repair {
        return repair_or_begin_anew(&config, &progress, args.begin_anew, found.missing_logs);
    }
    let advice = if found.is_damaged() {
        "`dnsledger verify --repair`, which makes a damaged index anew from the rows, and the ledger from logs that are all there; \
         or restore a snapshot"
    } else {
        "`dnsledger run`, or `dnsledger import` of the logs: what is missing is read again; `dnsledger verify --repair` goes on \
         without what no log has any more"
    };
    // When nobody listens there is nobody to tell.
    let _ = writeln!(io::stderr(), "try: {advice}");
    Ok(Exit::Failed)
}

/// Also says which hits are missing, where there are feeds and the ledger is sound.
fn with_hits(mut found: Verification, config: &Config) -> anyhow::Result<Verification> {
    if found.is_sound() && !FeedFolder::of(&config.data_dir).names()?.is_empty() {
        let ledger = open_to_read(&config.data_dir, &config.store(), &mut |_, _| true)?;
        let ledger = ledger.map(|ledger| Arc::new(ledger) as Arc<dyn WriteStore>);
        if let Some(ledger) = ledger {
            let watching = Watching::start(ledger, &config.data_dir, config.watching());
            found.missing_hits(watching.missing(&|| Ok(()))?);
        }
    }
    Ok(found)
}

/// Makes the index anew, and says whether all is sound then. Where rows are damaged it sets the ledger aside, if the logs still
/// hold all that it had read, or that is wanted all the same.
fn repair_or_begin_anew(
    config: &Config,
    progress: &Progress,
    begins_anew: bool,
    missing: u64,
) -> anyhow::Result<Exit> {
    let mut show = |done, total| {
        progress.show_count(done, total, "rows");
        true
    };
    let (folder, options) = (&config.data_dir, config.store());
    let repaired = repair(folder, &options, &mut show)
        .and_then(|repaired| repaired.map_or(Ok(None), |()| verify(folder, &options, &mut show)));
    progress.finish();
    let found = match repaired {
        Ok(Some(found)) => found,
        Ok(None) => return Err(no_ledger(folder)),
        Err(error @ StoreError::Damaged { .. }) => return replace(config, progress, begins_anew, &error),
        Err(error) => return Err(error.into()),
    };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "The index and the filters were made anew from the rows.")?;
    if missing > 0 {
        writeln!(
            stdout,
            "What is missing of {missing} logs is no longer asked for: it is read again if it is still there."
        )?;
    }
    stdout.write_all(describe(&found).as_bytes())?;
    Ok(if found.is_sound() { Exit::Done } else { Exit::Failed })
}

/// Sets a ledger aside that cannot be repaired, and begins another one.
fn replace(
    config: &Config,
    progress: &Progress,
    begins_anew: bool,
    damage: &StoreError,
) -> anyhow::Result<Exit> {
    let (folder, options) = (&config.data_dir, config.store());
    let shown = |done: &ImportProgress| progress.show(done);
    let recovery = if begins_anew {
        Recovery::Begun(begin_anew(folder, &options)?, 0)
    } else {
        begin_anew_if_safe(folder, &options, &config.ingest(), &shown, &Stop::new())?
    };
    progress.finish();
    match recovery {
        Recovery::Begun(aside, _) => {
            let aside: Vec<String> = aside.iter().map(|path| path.display().to_string()).collect();
            let said = format!(
                "It cannot be repaired ({damage}), and is now {}. Another ledger was begun: `dnsledger run`, or `dnsledger import` of \
                 the logs, reads them again. Until then `dnsledger verify` names what is missing.\n",
                aside.join(" and ")
            );
            io::stdout().write_all(sanitise(said.trim_end()).as_bytes())?;
            writeln!(io::stdout())?;
            Ok(Exit::Done)
        }
        Recovery::Unsafe(why) => {
            let message = format!("it cannot be repaired, and nothing was changed: {damage}; {why}");
            Err(Unrepaired(message).into())
        }
    }
}

/// What is damaged is not the index.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unrepaired(String);

impl Unrepaired {
    /// What the operator can do.
    pub fn hint(&self) -> &'static str {
        "restore a snapshot, from which the logs are read on; or `dnsledger verify --repair --begin-anew`, which sets the ledger \
         aside and reads again what logs still hold"
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
    use crate::store::LedgerFault;

    #[test]
    fn a_verification_is_told_in_a_few_lines() {
        let mut found = Verification { runs: 2, rows: 30, journal_rows: 4, ..Verification::default() };
        let text = describe(&found);
        assert!(text.starts_with("2 runs: 0 blocks, 30 rows, ") && text.ends_with("\nsound\n"), "{text}");
        found.faults.push(LedgerFault { what: "run 1\u{1b}[2J".to_owned(), why: "it is missing".to_owned() });
        found.more_faults = 7;
        let text = describe(&found);
        assert!(
            text.ends_with("DAMAGED run 1\\u{1b}[2J: it is missing\nand 7 more faults\ndamaged\n"),
            "{text}"
        );
    }
}
