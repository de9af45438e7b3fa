//! Outlets of hits: whether their keys can be used, whether they take what they get, and what they refused.

use super::user::User;
use super::{DaemonStatus, Findings};
use crate::base::clock::now;
use crate::base::time::format_utc;
use crate::daemon::config::Config;
use crate::deliver::{self, OutletConfig, OutletState};
use crate::http::Delivering;

/// Who delivers tells every few seconds; one that was silent for so long, seconds, is not there.
const SILENT: u64 = 300;
/// An outlet that has taken nothing for so long, seconds, needs somebody.
const LONG: u64 = 3600;

const STARTED: &str =
    "systemctl enable --now dnsledger-deliver, or `dnsledger deliver`; its log says why it ended";

/// Looks at the outlets that are configured.
pub(super) fn check(findings: &mut Findings, config: &Config, user: &User, status: Option<&DaemonStatus>) {
    let outlets = config.outlets();
    if let Some(status) = status.filter(|_| !outlets.is_empty()) {
        let told = status.delivering.iter().map(|told| told.at).max();
        match told.map(|at| now().saturating_sub(at)) {
            None => {
                findings.warn("outlets", "nobody has delivered hits since the daemon was started", STARTED);
            }
            Some(silent @ SILENT..) => {
                findings.warn(
                    "outlets",
                    format!("who delivers hits has told nothing for {silent} s"),
                    STARTED,
                );
            }
            Some(_) => {}
        }
    }
    for outlet in &outlets {
        let told = status.and_then(|status| status.delivering.iter().find(|told| told.outlet == outlet.name));
        check_one(findings, config, outlet, user, told);
    }
}

fn check_one(
    findings: &mut Findings,
    config: &Config,
    outlet: &OutletConfig,
    user: &User,
    told: Option<&Delivering>,
) {
    let name = &outlet.name;
    let mut is_usable = true;
    for file in [&outlet.key_file, &outlet.ca].into_iter().flatten() {
        if let Some((path, metadata)) = user.barred(file) {
            is_usable = false;
            findings.bad(
                "outlets",
                format!("{name}: {}", user.says(file, &path)),
                user.advice(&path, &metadata, None),
            );
        }
    }
    if let (true, Err(error)) = (is_usable, deliver::check(outlet)) {
        is_usable = false;
        findings.bad("outlets", format!("{name}: {error}"), error.hint().unwrap_or_default());
    }
    let OutletState { failing_since, dead, again } = match deliver::kept(&config.data_dir, name) {
        Ok(kept) => kept,
        Err(error) => {
            return findings.bad("outlets", format!("{name}: {error}"), error.hint().unwrap_or_default());
        }
    };
    let failing_since = told.map_or(failing_since, |told| told.failing_since);
    if failing_since > 0 {
        let (error, waiting) = told.map_or(("", 0), |told| (told.error.as_str(), told.waiting));
        let why = if error.is_empty() { String::new() } else { format!(": {error}") };
        let wait = if waiting > 0 { format!(", {waiting} hits wait") } else { String::new() };
        let says = format!("{name} takes nothing since {} UTC{wait}{why}", format_utc(failing_since));
        let hours = outlet.give_up_after.as_secs() / LONG;
        let advice = format!(
            "repair it, or correct its address and key: hits wait, and those that are {hours} hours old are given up"
        );
        match now().saturating_sub(failing_since) >= LONG {
            true => findings.bad("outlets", says, advice),
            false => findings.warn("outlets", says, advice),
        }
    }
    if again > 0 {
        let says = format!("{name}: {again} dead letters are to be delivered once more");
        findings.warn("outlets", says, "they go out when the outlet takes something, by `dnsledger deliver`");
    }
    if dead > 0 {
        let file = config.data_dir.join("deliver").join(format!("{name}.dead"));
        let says =
            format!("{name}: {dead} dead letters, refused by the outlet or given up: {}", file.display());
        let advice = format!(
            "`dnsledger deliver --resend --outlet {name}` when it works again; or remove the file once you have read why"
        );
        findings.warn("outlets", says, advice);
    }
    if is_usable && failing_since == 0 && dead == 0 && again == 0 {
        let said = told
            .map_or_else(String::new, |told| format!(", {} delivered since it was started", told.delivered));
        findings.good("outlets", format!("{name}{said}"));
    }
}
