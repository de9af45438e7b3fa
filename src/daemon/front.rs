//! A front end: serves what a cluster has, over every API and the page. It follows no logs and keeps nothing, so there can be any number
//! of them behind a balancer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tracing::info;

use super::config::Config;
use super::supervisor::Supervisor;
use super::{DRAIN, Keys, bind, end_in_time, event_loop, reload_on_hangup, stop_on_signals};
use crate::base::descriptors;
use crate::evidence::LogFilters;
use crate::http::{Listener, State, serve};
use crate::ingest;
use crate::store::WriteStore;

/// Serves a store that is only asked, until it is told to stop. The address is written to `announce` once it is served, and `again`
/// reads the configuration anew.
///
/// # Errors
///
/// When it cannot start.
pub fn run(
    config: Config,
    store: Arc<dyn WriteStore>,
    announce: Option<&Path>,
    again: impl Fn() -> anyhow::Result<Config> + Send + 'static,
) -> anyhow::Result<()> {
    let keys = Keys::load(&config)?;
    let tcp = bind(config.http.listen)?;
    let address = tcp.local_addr().context("asking for the port")?;
    let _ = descriptors::raise();
    let stop = stop_on_signals()?;
    end_in_time(stop.clone())?;
    let feeding = ingest::Config { sources: Vec::new(), ..config.ingest() };
    let ingest = Arc::new(ingest::start(feeding, Arc::clone(&store), stop.clone())?);
    // There are no logs, so there is nothing to be filtered.
    let filters = Arc::new(LogFilters::of(&PathBuf::new(), &ingest.config().observe));
    let runtime = event_loop()?;
    let supervisor = Supervisor::of_environment();
    let served = {
        let state = State::new(store, Arc::clone(&ingest), filters, config.http.clone());
        keys.give(&state);
        let _reloads = reload_on_hangup(config, state.clone(), again)?;
        let _inside = runtime.enter();
        let listener = Listener::tcp(tcp).context("taking the port into the event loop")?;
        if let Some(path) = announce {
            fs::write(path, format!("{address}\n")).with_context(|| format!("writing {}", path.display()))?;
        }
        info!(%address, version = env!("CARGO_PKG_VERSION"), "Listening.");
        supervisor.ready(address);
        runtime
            .block_on(async { runtime.spawn(serve(listener, state, stop.clone())).await.context("serving") })
    };
    stop.stop();
    supervisor.stopping();
    info!("Stopping.");
    runtime.shutdown_timeout(DRAIN);
    if let Ok(ingest) = Arc::try_unwrap(ingest) {
        ingest.join()?;
    }
    info!("Stopped.");
    served
}
