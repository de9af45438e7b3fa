//! The cluster that is shipped into: whether it can be, and how far it has what the ledger has.

use super::{DaemonStatus, Findings};
use crate::base::clock::now;
use crate::base::time::format_utc;
use crate::cli::access::daemon_of;
use crate::daemon::config::Config;
use crate::fleet::cluster::Cluster;
use crate::fleet::registry::{self, LATE, Registry};
use crate::fleet::rows::ClusterTable;
use crate::fleet::source::ChangeSource;
use crate::fleet::{Address, FleetError, tables};
use crate::http::ChangesHead;

/// A forwarder tells after each shipment; one that was silent for so long, seconds, is not there.
const SILENT: u64 = 300;

/// Looks at the cluster that the configuration names, if it names one.
pub(super) fn check(findings: &mut Findings, config: &Config, status: Option<&DaemonStatus>) {
    let to = &config.forward.to;
    if to.is_empty() {
        return;
    }
    let cluster = Address::parse(to).map_err(|error| (error.to_string(), error.hint().to_owned()));
    let cluster = cluster.and_then(|address| Cluster::new(&address).map_err(|error| told(&error)));
    let cluster = match cluster {
        Ok(cluster) => cluster,
        Err((says, advice)) => return findings.bad("cluster", says, advice),
    };
    if let Err(error) = tables::check(&cluster) {
        let (says, advice) = told(&error);
        return findings.bad("cluster", says, advice);
    }
    let (mut hosts, mut away) = (0, Vec::new());
    for shard in cluster.shards() {
        for (host, answer) in shard.ping_each() {
            hosts += 1;
            if let Err(error) = answer {
                away.push(format!("shard {}: {host}: {error}", shard.number()));
            }
        }
        if shard.rows("SELECT 1").is_err() {
            let says =
                format!("shard {} of the cluster is away: nothing is shipped meanwhile", shard.number());
            findings.bad(
                "cluster",
                says,
                "start its servers; nothing is lost, what has changed since is shipped later",
            );
        }
    }
    for says in &away {
        findings.warn(
            "cluster",
            says,
            "the other servers of the shard do its work; with forward.quorum = 2 shipping waits for it",
        );
    }
    if away.is_empty() {
        findings.good("cluster", format!("{hosts} of its servers answer, and have the tables"));
    }
    match status {
        None => findings.good("forward", "no daemon is running, so nothing is shipped"),
        Some(status) => {
            check_forwarder(findings, status);
            if let Err(error) = check_shipped(findings, config, &cluster) {
                let (says, advice) = told(&error);
                findings.bad("forward", says, advice);
            }
        }
    }
}

/// An error and what can be done about it.
fn told(error: &FleetError) -> (String, String) {
    let advice = match error.is_refused() {
        true => {
            "give the user and its password: ?user=NAME&password_file=FILE in forward.to, and the same in the server's users"
        }
        false => error.hint().unwrap_or("see docs/fleet.md"),
    };
    (error.to_string(), advice.to_owned())
}

/// Looks at what the forwarder told the daemon.
fn check_forwarder(findings: &mut Findings, status: &DaemonStatus) {
    let started =
        "systemctl enable --now dnsledger-forward, or `dnsledger forward`; its log says why it ended";
    let Some(told) = &status.forwarding else {
        return findings.warn("forward", "no forwarder has told the daemon anything", started);
    };
    let silent = now().saturating_sub(told.at);
    if silent > SILENT {
        findings.warn("forward", format!("the forwarder has told nothing for {silent} s"), started);
    }
    if !told.error.is_empty() {
        let says = format!("nothing can be shipped: {}", told.error);
        findings.bad("forward", says, "the lines on the cluster say more; nothing is lost");
    }
}

/// Looks at how far the cluster has what the ledger has.
fn check_shipped(findings: &mut Findings, config: &Config, cluster: &Cluster) -> Result<(), FleetError> {
    let Some(client) = daemon_of(&config.data_dir)? else { return Ok(()) };
    let ChangesHead { identity, mark, .. } = ChangeSource::Daemon(client).head()?;
    let registry = Registry::load(cluster)?;
    let Some(shipped) = registry.ledgers.get(&identity.generation) else {
        let advice = "start `dnsledger forward`; the first shipment is all of the ledger";
        findings.warn("forward", "the cluster has nothing of this ledger yet", advice);
        return Ok(());
    };
    let behind = mark.0.saturating_sub(shipped.mark);
    let late = now().saturating_sub(shipped.as_of);
    let since = if shipped.as_of == 0 {
        "it never was".to_owned()
    } else {
        format!("{} UTC", format_utc(shipped.as_of))
    };
    let says = format!("the cluster has the ledger as of {since}, {behind} commits behind");
    if shipped.mark > mark.0 {
        let says = "the cluster has more of this ledger than it holds itself: it was put back to an older state, or its folder is in use twice";
        findings.bad(
            "forward",
            says,
            "a copy begins with an empty folder instead; what was put back is compared, and repaired",
        );
    } else if late > LATE {
        findings.warn(
            "forward",
            says,
            "see that the forwarder runs, and what it logs; a first shipment may take minutes",
        );
    } else {
        findings.good("forward", says);
    }
    let equal = registry::found_equal(cluster)?.get(&identity.generation).copied().unwrap_or_default();
    let tables = if registry.has_hits { ClusterTable::ALL.as_slice() } else { &ClusterTable::OF_ROWS };
    if equal.never(tables) > 0 {
        let says = format!(
            "{} buckets of the ledger were never found equal with the cluster's",
            equal.never(tables)
        );
        findings.warn(
            "forward",
            says,
            "the first comparison is made after the first shipment; on a busy ledger it may take several",
        );
    }
    for sensor in registry.undecided().filter(|sensor| sensor.generation == identity.generation) {
        let says =
            format!("another ledger has shipped for the sensor {}: this one does not count", sensor.name);
        let advice = format!(
            "`dnsledger fleet stand {} {:016x}` if this one is to stand",
            sensor.name, sensor.generation
        );
        findings.warn("forward", says, advice);
    }
    Ok(())
}
