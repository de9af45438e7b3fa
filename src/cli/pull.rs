//! `feeds pull`: gets feeds from their servers.
//!
//! A process of its own, for the daemon may open no connection: it writes feeds beside the ledger and tells the daemon to take them up.
//! With `--due`, as its timer runs it, it never opens a ledger itself: whoever does so keeps the daemon from starting.

use std::io::{self, Write};

use super::access::{FolderArgs, daemon_of, give_back, no_ledger};
use super::apply_feeds::take_up;
use super::{Exit, Misuse};
use crate::base::clock::now;
use crate::base::priority;
use crate::daemon::logging;
use crate::output::sanitise;
use crate::pull::{self, FeedSource, Pulled};
use crate::store::sled::is_ledger;
use crate::watch::{FeedFolder, Imported};

/// What `feeds pull` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// Only those whose time has come (`every`), and told by log lines: what the timer does
    #[arg(long, conflicts_with = "feeds")]
    due: bool,
    /// Only these
    #[arg(value_name = "FEED")]
    feeds: Vec<String>,
}

/// Pulls feeds, one after the other; one that fails keeps no other from being pulled.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.folder.load()?;
    let mut sources = config.pulls();
    if args.due {
        logging::start(&config.log);
        priority::give_way();
        if sources.is_empty() {
            tracing::info!("No feed has a url: nothing is pulled.");
            return Ok(Exit::Done);
        }
    }
    if let Some(none) = args.feeds.iter().find(|name| !sources.iter().any(|source| source.name == **name)) {
        let message = format!("no feed {none:?} with a url is configured");
        return Err(Misuse { message, hint: "a [[feed]] with a name and a url in the configuration" }.into());
    }
    if sources.is_empty() {
        let message = "no feed with a url is configured".to_owned();
        return Err(Misuse { message, hint: "a [[feed]] with a name and a url in the configuration" }.into());
    }
    let daemon = daemon_of(&config.data_dir)?;
    if !is_ledger(&config.data_dir) && daemon.is_none() {
        return Err(no_ledger(&config.data_dir));
    }
    let folder = FeedFolder::of(&config.data_dir);
    let Some(_alone) = pull::alone(&folder)? else {
        if args.due {
            tracing::info!("Another process pulls already.");
            return Ok(Exit::Done);
        }
        let message = "another process pulls feeds just now".to_owned();
        return Err(Misuse {
            message,
            hint: "it again when that has ended; `dnsledger feeds` shows how it went",
        }
        .into());
    };
    sources.retain(|source| match args.due {
        true => source.is_due(&folder.pull_note(&source.name), now()),
        false => args.feeds.is_empty() || args.feeds.contains(&source.name),
    });
    let configs = config.feeds();
    let (mut failed, mut changed) = (0, false);
    for source in &sources {
        let now = now();
        let reading = configs.iter().find(|feed| feed.name == source.name).map(|feed| feed.reading(now));
        let pulled = pull::pull(&folder, source, &reading.unwrap_or_default(), now);
        changed |= matches!(&pulled, Ok(Pulled::Imported(imported)) if !imported.held);
        failed += u64::from(pulled.is_err());
        tell(source, pulled, args.due)?;
    }
    // The daemon notes beside them how far it is with them.
    give_back()?;
    if changed && args.due {
        // Where there is no daemon it takes them up when it starts.
        if let Some(client) = daemon {
            io::copy(&mut client.until_done().post("/control/watch", &[], None)?, &mut io::sink())?;
        }
    } else if changed {
        take_up(&args.folder)?;
    }
    // The timer comes again; what failed is told by status, metrics and alerts.
    Ok(if failed > 0 && !args.due { Exit::Failed } else { Exit::Done })
}

fn tell(source: &FeedSource, pulled: Result<Pulled, pull::PullError>, logs: bool) -> io::Result<()> {
    let feed = &source.name;
    if logs {
        match pulled {
            Ok(Pulled::Unchanged) => tracing::debug!(feed, "Nothing has changed."),
            Ok(Pulled::Imported(imported)) => {
                let Imported { before, entries, held, .. } = *imported;
                tracing::info!(feed, before, indicators = entries, held, "Pulled.");
            }
            Err(error) => {
                let hint = error.hint();
                tracing::warn!(feed, %error, hint, "A feed cannot be pulled. What is there of it stays.");
            }
        }
        return Ok(());
    }
    let line = match pulled {
        Ok(Pulled::Unchanged) => format!("{feed}: nothing has changed"),
        Ok(Pulled::Imported(imported)) => {
            let Imported { taken, before, entries, held } = *imported;
            let skipped: Vec<String> = taken
                .skipped
                .iter()
                .map(|(reason, count)| format!("{count} {}", reason.in_words()))
                .collect();
            let skipped = if skipped.is_empty() {
                String::new()
            } else {
                format!("; not taken: {}", skipped.join(", "))
            };
            let is_held = if held {
                format!(
                    "; it shrank by over half and is held back: `dnsledger indicators confirm --feed {feed}` takes it, or the next pull"
                )
            } else {
                String::new()
            };
            format!(
                "{feed}: {entries} indicators, before {before} ({}){skipped}{is_held}",
                taken.format.name()
            )
        }
        Err(error) => {
            let mut stderr = io::stderr().lock();
            writeln!(stderr, "dnsledger: {}", sanitise(&format!("{feed}: {error}")))?;
            return writeln!(stderr, "try: {}", sanitise(error.hint()));
        }
    };
    writeln!(io::stdout(), "{}", sanitise(&line))
}
