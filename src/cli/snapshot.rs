//! `snapshot`: a whole copy of the ledger at one moment, which is the backup.

use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;

use anyhow::Context;

use super::access::{Access, FolderArgs, Purpose};
use super::import::human_size;
use super::progress::Progress;
use super::verify::describe;
use super::{Exit, Misuse};
use crate::http::SnapshotFrame;
use crate::http::client::Client;
use crate::output::sanitise;
use crate::store::Replica;

/// What `snapshot` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// The folder to make; it becomes a data folder of its own
    #[arg(value_name = "TARGET")]
    target: PathBuf,
}

/// Copies the ledger, itself or as the daemon hands it out, and verifies the copy before it has its name.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let Args { folder, target } = args;
    // Also a link that leads nowhere.
    if target.symlink_metadata().is_ok() {
        let message = format!("{} is there already", target.display());
        return Err(
            Misuse { message, hint: "name a folder that there is not yet; nothing is overwritten" }.into()
        );
    }
    let access = Access::open_folder(&folder, Purpose::Ask)?;
    let mut replica = Replica::begin(&target, &folder.load()?.store())?;
    let progress = Progress::new();
    let copied = match access {
        Access::Folder(ledger, _) => {
            let total = ledger.stats()?.live_bytes;
            let (mut done, mut refused) = (0, None);
            let copied = ledger.copy(&mut |piece| {
                done += piece.len() as u64;
                show(&progress, done, total);
                replica.take(&piece).map_err(|error| refused = Some(error)).is_ok()
            });
            // It was ended because the copy could not be written.
            refused.map_or(copied, Err).map_err(anyhow::Error::from)
        }
        Access::Socket(client) | Access::Server(client) => receive(&client, &mut replica, &progress),
    };
    let missing = replica.missing_logs();
    let finished = copied.and_then(|()| {
        let mut verified = |done, total| {
            progress.show_count(done, total, "rows verified");
            true
        };
        replica.finish(&mut verified).map_err(anyhow::Error::from)
    });
    progress.finish();
    let (found, bytes) = finished?;
    if found.is_sound() {
        writeln!(
            io::stdout(),
            "{}: {}, verified",
            sanitise(&target.display().to_string()),
            human_size(bytes)
        )?;
        if missing > 0 {
            // When nobody listens there is nobody to tell.
            let _ = writeln!(
                io::stderr(),
                "Rows of {missing} logs are missing in it, as they are in the ledger, which was damaged: a daemon that has the copy \
                 reads them again from logs that are still there."
            );
        }
        return Ok(Exit::Done);
    }
    io::stdout().write_all(describe(&found).as_bytes())?;
    // When nobody listens there is nobody to tell.
    let _ = writeln!(
        io::stderr(),
        "dnsledger: the copy is damaged, as the ledger must be, and was not kept\ntry: `dnsledger verify`"
    );
    Ok(Exit::Failed)
}

fn show(progress: &Progress, done: u64, total: u64) {
    progress.show_count(done >> 20, total.max(done) >> 20, "MiB copied");
}

/// Takes a copy as the daemon hands it out, while it serves.
fn receive(daemon: &Client, replica: &mut Replica, progress: &Progress) -> anyhow::Result<()> {
    let answer = daemon.at_length().post("/control/snapshot", &[], None)?;
    let mut answer = BufReader::new(answer);
    let (mut done, mut total) = (0, 0);
    loop {
        let frame = SnapshotFrame::read(&mut answer).context("the daemon ended before the copy was whole")?;
        match frame {
            SnapshotFrame::Total(bytes) => total = bytes,
            SnapshotFrame::Piece(piece) => {
                done += piece.len() as u64;
                show(progress, done, total);
                replica.take(&piece)?;
                if replica.is_whole() {
                    // What else is sent is nothing.
                    io::copy(&mut answer.by_ref().take(1), &mut io::sink())
                        .context("reading the daemon's answer")?;
                    return Ok(());
                }
            }
            SnapshotFrame::Failed(why) => return Err(Failed(why).into()),
        }
    }
}

/// The daemon could not read its ledger.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);
