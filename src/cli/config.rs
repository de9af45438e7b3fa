//! `config`: the effective configuration, or whether a file is sound.

use std::io::{self, Write};
use std::path::PathBuf;

use super::Exit;
use crate::daemon::config::Config;

/// What `config` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only check it: prints nothing, opens nothing
    #[arg(long)]
    check: bool,
    /// The configuration file [default: /etc/dnsledger/dnsledger.toml, if there is one]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Prints or checks the configuration.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let mut config = match &args.file {
        Some(path) => Config::load(path)?,
        None => Config::load_default()?,
    };
    if !args.check {
        config.sources = config.sources();
        io::stdout().write_all(config.print()?.as_bytes())?;
    }
    Ok(Exit::Done)
}
