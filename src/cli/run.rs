//! `run`: follow and serve.

use std::net::SocketAddr;

use super::access::SourceArgs;
use super::{Exit, Misuse, allocator};
use crate::daemon::config::Config;
use crate::daemon::{self, logging};
use crate::http::parse_listen;

/// What `run` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    sources: SourceArgs,
    /// Serve on this address and port; port 0 takes any that is free, and all but loopback needs tokens
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    listen: Option<SocketAddr>,
    /// Log what is at least this grave: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<logging::Level>,
    /// Log as auto, text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<logging::Format>,
}

impl Args {
    /// The configuration as the file has it now, with what was typed.
    fn load(&self) -> anyhow::Result<Config> {
        let mut config = self.sources.load()?;
        config.http.listen = self.listen.unwrap_or(config.http.listen);
        config.log.level = self.log_level.unwrap_or(config.log.level);
        config.log.format = self.log_format.unwrap_or(config.log.format);
        config.check()?;
        Ok(config)
    }
}

/// Runs the daemon.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    allocator::set(allocator::DAEMON);
    let config = args.load()?;
    if config.sources().is_empty() {
        let message = "there is no log folder of Zeek in any usual place".to_owned();
        return Err(Misuse { message, hint: "--logs PATH, or a [[source]] in the configuration" }.into());
    }
    logging::start(&config.log);
    daemon::run(config, move || args.load())?;
    Ok(Exit::Done)
}
