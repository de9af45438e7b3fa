//! Feeds of indicators: whether they can be read and pulled, whether one is held back, and whether one is too old.

use std::path::Path;

use serde::Deserialize;

use super::{Findings, ask};
use crate::watch::FeedStatus;

#[derive(Default, Deserialize)]
struct Feeds {
    feeds: Vec<FeedStatus>,
}

/// Asks the daemon for the feeds that it has, and says what is the matter with them.
pub(super) fn check(findings: &mut Findings, socket: &Path) {
    let Feeds { feeds } = ask(socket, "/api/v1/feeds");
    for feed in &feeds {
        tell(findings, feed);
    }
}

fn tell(findings: &mut Findings, feed: &FeedStatus) {
    let name = &feed.name;
    if let Some(fault) = &feed.fault {
        findings.bad(
            "feeds",
            format!("{name}: {fault}"),
            "what it had before is watched for; `dnsledger feeds` tells of each",
        );
    }
    if feed.held {
        findings.warn(
            "feeds",
            format!("{name} is much smaller than before and is held back"),
            format!("look at its list; `dnsledger indicators confirm --feed {name}` takes it"),
        );
    }
    if feed.stale {
        findings.warn(
            "feeds",
            format!("{name} was not renewed for longer than its max_age"),
            "see whether its source still writes it",
        );
    }
    if let Some(pull) = feed.pull.as_ref().filter(|pull| pull.failures > 0) {
        let why = pull.error.as_deref().unwrap_or("unknown");
        let says = format!("{name} could not be pulled {} times, last: {why}", pull.failures);
        findings.bad("feeds", says, format!("`dnsledger feeds pull {name}` says what is wrong"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::PullStatus;

    #[test]
    fn each_fault_of_a_feed_is_told_and_a_sound_one_is_not() {
        let sound = FeedStatus {
            name: "bad-names".to_owned(),
            indicators: 7,
            read_at: 1,
            age: 1,
            stale: false,
            format: "plain".to_owned(),
            title: None,
            skipped: Vec::new(),
            held: false,
            walked: true,
            fault: None,
            pull: None,
        };
        let told = |feed: &FeedStatus| {
            let mut findings = Findings::default();
            tell(&mut findings, feed);
            findings
                .0
                .iter()
                .map(|(_, _, says, advice)| format!("{says}\n{}\n", advice.as_deref().unwrap_or_default()))
                .collect::<String>()
        };
        assert_eq!(told(&sound), "");
        let failing = PullStatus {
            pulled_at: 0,
            tried_at: 1,
            failures: 2,
            error: Some("it answered 403".to_owned()),
            remark: None,
        };
        for (feed, says) in [
            (FeedStatus { fault: Some("this is HTML".to_owned()), ..sound.clone() }, "this is HTML"),
            (FeedStatus { held: true, ..sound.clone() }, "indicators confirm --feed bad-names"),
            (FeedStatus { stale: true, ..sound.clone() }, "max_age"),
            (FeedStatus { pull: Some(failing), ..sound.clone() }, "2 times, last: it answered 403"),
        ] {
            assert!(told(&feed).contains(says), "{says}: {}", told(&feed));
        }
    }
}
