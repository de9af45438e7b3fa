//! `run`: follow and serve.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::access::FolderArgs;
use super::{Exit, Misuse};
use crate::config::Source;
use crate::{daemon, logging};

/// What `run` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// Follow this folder, file or glob instead of the configured ones; may be repeated
    #[arg(long, value_name = "PATH")]
    logs: Vec<PathBuf>,
    /// Serve on this loopback address and port; port 0 takes any that is free
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Log what is at least this grave: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<logging::Level>,
    /// Log as auto, text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<logging::Format>,
}

/// Runs the daemon.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let mut config = args.folder.load()?;
    if !args.logs.is_empty() {
        config.sources = args.logs.into_iter().map(|logs| Source { logs, ..Source::default() }).collect();
    }
    config.http.listen = args.listen.unwrap_or(config.http.listen);
    config.log.level = args.log_level.unwrap_or(config.log.level);
    config.log.format = args.log_format.unwrap_or(config.log.format);
    config.check()?;
    if config.sources().is_empty() {
        let message = "there is no log folder of Zeek in any usual place".to_owned();
        return Err(Misuse { message, hint: "--logs PATH, or a [[source]] in the configuration" }.into());
    }
    logging::start(&config.log);
    daemon::run(&config)?;
    Ok(Exit::Done)
}
