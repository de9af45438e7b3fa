//! What follows a change of feeds: they are taken up, and what is there is looked through.

use std::io::{self, Write};
use std::sync::Arc;

use super::access::{Access, FolderArgs, Purpose};
use crate::base::shutdown::Stop;
use crate::watch::Watching;

/// Has the daemon take feeds up, or looks through the ledger here where there is none; and says so.
pub fn take_up(folder: &FolderArgs) -> anyhow::Result<()> {
    match Access::open_folder(folder, Purpose::Change) {
        Ok(Access::Folder(ledger, config)) => {
            let before = ledger.last_hit().0;
            let watching = Watching::start(Arc::clone(&ledger), &config.data_dir, config.watching());
            watching.pass(&Stop::new());
            ledger.flush()?;
            let new = ledger.last_hit().0.saturating_sub(before);
            writeln!(io::stdout(), "{new} new hits in what is there: `dnsledger hits`")?;
        }
        Ok(Access::Socket(client) | Access::Server(client)) => {
            io::copy(&mut client.until_done().post("/control/watch", &[], None)?, &mut io::sink())?;
            writeln!(
                io::stdout(),
                "the daemon has taken it up, and looks through what is there: `dnsledger hits`"
            )?;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
