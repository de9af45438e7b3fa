//! What the daemon takes away from itself before it reads the first byte of a log (Landlock, Linux 5.13 and later).
//!
//! From then on no thread of it can write anywhere but below its data folder, run a program, or open a connection. Reading
//! stays open: logs are links into other folders, and come later. It does from within, on every system, what the systemd
//! unit does from outside.

use std::path::Path;

use landlock::{
    ABI, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};

/// The newest rights that are known here; an older kernel takes those it knows.
const RIGHTS: ABI = ABI::V5;

/// How much of it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restricted {
    /// All of it.
    Fully,
    /// What this kernel knows of it.
    Partly,
    /// Nothing: the kernel has no Landlock, or it is switched off.
    Not,
}

/// Restricts this thread and all that it starts from now on: writing only below `folder`, which must be there.
///
/// # Errors
///
/// When the folder cannot be opened, or the kernel refuses what it said it knows.
pub fn restrict(folder: &Path) -> Result<Restricted, Box<dyn std::error::Error + Send + Sync>> {
    let write = AccessFs::from_write(RIGHTS);
    let status = Ruleset::default()
        .handle_access(write | AccessFs::Execute)?
        .handle_access(AccessNet::ConnectTcp)?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new(folder)?, write))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Restricted::Fully,
        RulesetStatus::PartiallyEnforced => Restricted::Partly,
        RulesetStatus::NotEnforced => Restricted::Not,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nothing_is_written_outside_of_the_folder() {
        let [inside, outside] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        fs::write(outside.path().join("log"), "x").unwrap();
        let (a, b) = (inside.path().to_owned(), outside.path().to_owned());
        // The restriction is this thread's alone.
        let thread = std::thread::spawn(move || {
            let restricted = restrict(&a).unwrap();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).is_ok();
            let ran = std::process::Command::new("true").status().is_ok();
            assert!(fs::write(a.join("ledger"), "x").is_ok() && fs::read(b.join("log")).is_ok());
            (
                restricted,
                fs::write(b.join("new"), "x").is_ok(),
                fs::remove_file(b.join("log")).is_ok(),
                connected,
                ran,
            )
        });
        let (restricted, wrote, removed, connected, ran) = thread.join().unwrap();
        match restricted {
            Restricted::Fully => assert!(!wrote && !removed && !connected && !ran),
            Restricted::Partly => assert!(!wrote && !removed && !ran),
            Restricted::Not => eprintln!("SKIPPED: this kernel has no Landlock"),
        }
    }
}
