//! File descriptors: how many this process may have, and who may have how many of them.
//!
//! Each open log and each connection takes one. Systems give a process 1,024 at first, which is soon too few, and let it ask
//! for more. What there is is divided beforehand, so that no number of clients can keep a log from being opened, and no
//! number of logs the control socket from answering.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as are ever asked for.
const WANTED: u64 = 65_536;
/// For the ledger, the event loop, readers of archives, and files that are open for a moment.
const OWN: u64 = 96;
/// Connections to the control socket at once: commands on this machine are answered whatever the network does.
pub const FOR_CONTROL: u64 = 64;
/// Live logs of which the descriptor is held, at most.
const MOST_LIVE: u64 = 4096;
/// Live logs, at least, however few descriptors there are.
const LEAST_LIVE: u64 = 32;
/// Connections, at least.
const LEAST_CONNECTIONS: u64 = 16;

/// Asks for as many descriptors as this process may have, within reason; says how many it has now, `None` for no limit.
/// What is refused stays as it was: it is divided all the same.
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let now = current?;
    let wanted = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if wanted <= now {
        return Some(now);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => Some(wanted),
        Err(error) => {
            tracing::warn!(%error, limit = now, "The limit of open files could not be raised; set LimitNOFILE=65536.");
            Some(now)
        }
    }
}

/// Connections from the network that there are descriptors for; `None` when there is no limit.
pub fn for_connections() -> Option<u64> {
    getrlimit(Resource::Nofile).current.map(connections_of)
}

/// Live logs that there are descriptors for, of all sources together.
pub fn for_live_logs() -> u64 {
    getrlimit(Resource::Nofile).current.map_or(MOST_LIVE, live_logs_of)
}

fn live_logs_of(limit: u64) -> u64 {
    (limit / 4).clamp(LEAST_LIVE, MOST_LIVE)
}

fn connections_of(limit: u64) -> u64 {
    limit.saturating_sub(OWN + FOR_CONTROL + live_logs_of(limit)).max(LEAST_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_suffices_for_everybody() {
        for limit in [256, 1024, 4096, 65_536, 1 << 20] {
            let (live, connections) = (live_logs_of(limit), connections_of(limit));
            assert!(live >= LEAST_LIVE && connections >= LEAST_CONNECTIONS);
            assert!(live + connections + OWN + FOR_CONTROL <= limit, "{limit}: {live} and {connections}");
        }
        assert_eq!((live_logs_of(1024), connections_of(1024)), (256, 608));
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be() {
        let before = getrlimit(Resource::Nofile);
        let raised = raise();
        assert!(raised >= before.current || raised.is_none());
        if let (Some(raised), Some(maximum)) = (raised, before.maximum) {
            assert!(raised >= maximum.min(WANTED));
        }
    }
}
