//! `serve`: a front end of a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

use super::Exit;
use super::access::FolderArgs;
use crate::base::shutdown::Stop;
use crate::daemon::config::Config;
use crate::daemon::{front, logging};
use crate::fleet::Address;
use crate::fleet::cluster::Cluster;
use crate::fleet::store::FleetStore;
use crate::http::parse_listen;

/// What `serve` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cluster, as clickhouse://HOST:8123,REPLICA:8123/DATABASE; a semicolon separates shards
    #[arg(long, value_name = "URL")]
    store: String,
    /// The configuration file, of which [http] and [log] count [default: /etc/dnsledger/dnsledger.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve on this address and port; port 0 takes any that is free, and all but loopback needs tokens
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    listen: Option<SocketAddr>,
    /// Write the address that is served to this file
    #[arg(long, value_name = "FILE")]
    announce: Option<PathBuf>,
    /// Log what is at least this grave: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<logging::Level>,
}

impl Args {
    fn load(&self) -> anyhow::Result<Config> {
        let mut config = FolderArgs { data: None, config: self.config.clone() }.load()?;
        config.http.listen = self.listen.unwrap_or(config.http.listen);
        config.log.level = self.log_level.unwrap_or(config.log.level);
        config.check()?;
        Ok(config)
    }
}

/// Serves until it is told to stop.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let config = args.load()?;
    let cluster = Cluster::new(&Address::parse(&args.store)?)?;
    logging::start(&config.log);
    let store = Arc::new(FleetStore::open(cluster)?);
    store.watch(Stop::new()).context("starting the thread that looks for sensors")?;
    let announce = args.announce.clone();
    front::run(config, store, announce.as_deref(), move || args.load())?;
    Ok(Exit::Done)
}
