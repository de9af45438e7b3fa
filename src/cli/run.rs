//! `run`: follow and serve.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::access::SourceArgs;
use super::{Exit, Misuse};
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

/// What glibc's allocator is told, which reads it when a process starts: without it a daemon keeps twice the memory
/// (docs/dev/performance.md). Whoever has set one of these knows better.
const ALLOCATOR: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072")];

/// Starts this program once more, in this process, with the allocator told. Where that cannot be done (without `/proc` the
/// program is not found) it goes on as it is.
fn tell_allocator() {
    let untold = |(name, _): &(&str, &str)| std::env::var_os(name).is_none();
    if ALLOCATOR.iter().any(untold)
        && let Ok(program) = std::env::current_exe()
    {
        let told = ALLOCATOR.into_iter().filter(untold);
        let failed = Command::new(program).args(std::env::args_os().skip(1)).envs(told).exec();
        tracing::debug!(error = %failed, "The allocator could not be told to keep less.");
    }
}

/// Runs the daemon.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    tell_allocator();
    let config = args.load()?;
    if config.sources().is_empty() {
        let message = "there is no log folder of Zeek in any usual place".to_owned();
        return Err(Misuse { message, hint: "--logs PATH, or a [[source]] in the configuration" }.into());
    }
    logging::start(&config.log);
    daemon::run(config, move || args.load())?;
    Ok(Exit::Done)
}
