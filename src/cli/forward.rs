//! `forward`: ships what changes in the ledger into a cluster.
//!
//! A process of its own, for the daemon may open no connection: it asks that over the control socket. Only `--once` opens a ledger itself
//! that no daemon has: whoever goes on for ever would keep the daemon from starting.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::access::{Access, FolderArgs, Purpose, daemon_of};
use super::{Exit, Misuse};
use crate::base::priority;
use crate::daemon::{logging, stop_on_signals};
use crate::fleet::cluster::Cluster;
use crate::fleet::forward::{Forwarder, Options};
use crate::fleet::source::ChangeSource;
use crate::fleet::{Address, FleetError};

/// How long it waits after a failure at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What `forward` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// Ship into this cluster, as clickhouse://HOST:8123,REPLICA:8123/DATABASE, instead of forward.to
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Ship what has changed, compare all, and end
    #[arg(long)]
    once: bool,
    /// Log what is at least this grave: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<logging::Level>,
}

/// Ships until it is told to stop.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let mut config = args.folder.load()?;
    config.log.level = args.log_level.unwrap_or(config.log.level);
    let url = args.to.clone().unwrap_or_else(|| config.forward.to.clone());
    if url.is_empty() {
        let message = "no cluster is named".to_owned();
        let hint = "forward.to in the configuration, or --to clickhouse://HOST:8123/DATABASE";
        return Err(Misuse { message, hint }.into());
    }
    let address = Address::parse(&url)?;
    let options = Options { quorum: config.forward.quorum, compare_every: config.forward.compare_every };
    let open = || -> anyhow::Result<Forwarder> {
        let source = match args.once {
            true => match Access::open_folder(&args.folder, Purpose::Change)? {
                Access::Socket(client) | Access::Server(client) => ChangeSource::Daemon(client),
                Access::Folder(ledger, _) => ChangeSource::Ledger(ledger),
            },
            false => {
                ChangeSource::Daemon(daemon_of(&config.data_dir)?.ok_or_else(|| no_daemon(&config.data_dir))?)
            }
        };
        // A password does not belong into a status.
        let to = format!(
            "clickhouse://{}/{}",
            address.shards.iter().map(|hosts| hosts.join(",")).collect::<Vec<_>>().join(";"),
            address.database
        );
        Ok(Forwarder::new(Cluster::new(&address)?, source, &to, options.clone()))
    };
    if args.once {
        let mut forwarder = open()?;
        forwarder.pass()?;
        let told = forwarder.told();
        writeln!(
            io::stdout(),
            "{} rows and questions shipped, {} buckets differed, {} rows shipped again",
            told.shipped,
            told.differing,
            told.mended
        )?;
        return Ok(Exit::Done);
    }
    logging::start(&config.log);
    let stop = stop_on_signals()?;
    priority::give_way();
    let mut forwarder: Option<Forwarder> = None;
    let (mut wait, mut failing) = (config.forward.every, false);
    loop {
        let passed = match &mut forwarder {
            Some(forwarder) => forwarder.pass().map_err(anyhow::Error::from),
            None => open().map(|opened| {
                tracing::info!(to = opened.told().to, "Forwarding.");
                forwarder = Some(opened);
            }),
        };
        match passed {
            Ok(()) => {
                if failing {
                    tracing::info!("Shipping goes on.");
                }
                (wait, failing) = (config.forward.every, false);
            }
            Err(error) => {
                if !failing {
                    let hint = error.downcast_ref::<FleetError>().and_then(FleetError::hint);
                    tracing::warn!(hint, "Nothing can be shipped just now: {error:#}");
                }
                wait = if failing { (wait * 2).min(LONGEST_WAIT) } else { config.forward.every };
                failing = true;
                // The daemon may have gone, or come.
                let source_is_away =
                    matches!(error.downcast_ref(), Some(FleetError::Client(_) | FleetError::Daemon(_)));
                if source_is_away {
                    forwarder = None;
                }
            }
        }
        if stop.wait(wait) {
            return Ok(Exit::Done);
        }
    }
}

/// Nobody has the ledger from which it is to be shipped.
fn no_daemon(folder: &Path) -> anyhow::Error {
    anyhow::anyhow!("no daemon has {}, and it is waited for one; `--once` needs none", folder.display())
}
