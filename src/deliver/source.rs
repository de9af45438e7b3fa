//! Where hits come from: the daemon that has the ledger, by its control socket, or the ledger itself.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::http::Delivering;
use crate::http::client::Client;
use crate::store::WriteStore;
use crate::watch::{HitLine, ledger_name};

/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 << 20;

/// A ledger whose hits are delivered.
pub enum HitSource {
    /// Through its daemon.
    Daemon(Client),
    /// It is this process's own.
    Ledger(Arc<dyn WriteStore>),
}

/// Some hits.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    /// Which ledger they are of.
    pub ledger: String,
    /// The number of the last hit there is.
    pub last: u64,
    /// Those behind the number that was asked for, the oldest first.
    pub hits: Vec<HitLine>,
}

impl HitSource {
    /// Hits behind a number, so many at most. Where there is none it is waited for one, so long.
    ///
    /// # Errors
    ///
    /// Why they cannot be had, for people.
    pub(super) fn hits(&self, after: u64, limit: usize, wait: Duration) -> Result<Page, String> {
        match self {
            HitSource::Ledger(ledger) => {
                let now = ledger.now();
                let all = now.hits(after).map_err(|error| error.to_string())?;
                let hits = all.take(limit).map(|hit| hit.map(|hit| HitLine::from(&hit)));
                Ok(Page {
                    ledger: ledger_name(&*now).map_err(|error| error.to_string())?,
                    last: ledger.last_hit().0,
                    hits: hits.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
                })
            }
            HitSource::Daemon(client) => {
                let (after, limit, wait) =
                    (after.to_string(), limit.to_string(), format!("{}s", wait.as_secs().max(1)));
                let params = [
                    ("order", "oldest"),
                    ("cursor", after.as_str()),
                    ("limit", limit.as_str()),
                    ("wait", wait.as_str()),
                ];
                let mut text = Vec::new();
                let answer = client.get("/api/v1/hits", &params).map_err(|error| error.to_string())?;
                answer.take(MAX_ANSWER).read_to_end(&mut text).map_err(|error| error.to_string())?;
                serde_json::from_slice(&text).map_err(|error| format!("the daemon's answer: {error}"))
            }
        }
    }

    /// Tells the daemon how delivery goes, for its status and metrics.
    pub fn tell(&self, told: &[Delivering]) {
        let HitSource::Daemon(client) = self else { return };
        // Plain values: nothing that can fail. A daemon that is away has nobody who asks it.
        let report = serde_json::to_string(told).unwrap_or_default();
        if let Err(error) = client.post("/control/delivering", &[("report", &report)], None) {
            tracing::debug!(%error, "The daemon could not be told how delivery goes.");
        }
    }
}
