//! `deliver`: hands hits to the outlets that are configured.
//!
//! A process of its own, for the daemon may open no connection: it asks that over the control socket. Only `--once` opens a ledger itself
//! that no daemon has.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::access::{Access, FolderArgs, Purpose};
use super::{Exit, Misuse};
use crate::base::clock::now;
use crate::base::shutdown::Stop;
use crate::base::threads;
use crate::daemon::{CONTROL_SOCKET, logging, stop_on_signals};
use crate::deliver::{self, DeliverError, Delivery, HitSource, OutletConfig, OutletFolder};
use crate::http::Delivering;
use crate::http::client::Client;
use crate::output::sanitise;

/// How often the daemon is told how it goes.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked whether an outlet has ended.
const LOOK: Duration = Duration::from_millis(100);
/// How long what is under way may take when it is told to stop.
const GRACE: Duration = Duration::from_secs(3);

/// What `deliver` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = OUTLETS)]
pub struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// Deliver to this outlet only; may be repeated
    #[arg(long, value_name = "NAME")]
    outlet: Vec<String>,
    /// Deliver what is there, and end
    #[arg(long)]
    once: bool,
    /// Deliver dead letters once more: by the process that delivers, or here where there is none, with what else is there
    #[arg(long)]
    resend: bool,
    /// Log what is at least this grave: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<logging::Level>,
}

const OUTLETS: &str = "Outlets are configured, each in a section [[outlet]] of /etc/dnsledger/dnsledger.toml. Each gets every hit at least once, \
with an id by which a second time is recognised. How far each is, is kept in the folder deliver of the data folder, and so is what an outlet refused for good or what was given up: the dead letters (NAME.dead).

Exit code of --once, and of --resend: 0 when all is delivered, 2 when an outlet or the daemon could not be reached.";

/// Delivers until it is told to stop.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let mut config = args.folder.load()?;
    config.log.level = args.log_level.unwrap_or(config.log.level);
    let mut outlets = config.outlets();
    for name in &args.outlet {
        if !outlets.iter().any(|outlet| outlet.name == *name) {
            let message = format!("unknown outlet {name}");
            return Err(Misuse { message, hint: "each has a section [[outlet]] in the configuration" }.into());
        }
    }
    outlets.retain(|outlet| args.outlet.is_empty() || args.outlet.contains(&outlet.name));
    if outlets.is_empty() {
        let message = "no outlet is configured".to_owned();
        let hint = "[[outlet]] with name, kind and to in /etc/dnsledger/dnsledger.toml; `dnsledger config` shows what is configured";
        return Err(Misuse { message, hint }.into());
    }
    if args.resend {
        let letters = send_again(&config.data_dir, &outlets)?;
        if letters == 0 {
            writeln!(io::stderr(), "There are no dead letters.")?;
            return Ok(Exit::Nothing);
        }
    }
    let once = args.once || args.resend;
    let folder = match OutletFolder::take(&config.data_dir) {
        Err(DeliverError::Running { .. }) if args.resend => {
            writeln!(
                io::stdout(),
                "They are delivered by the process that delivers: `dnsledger status` says how it goes."
            )?;
            return Ok(Exit::Done);
        }
        taken => taken?,
    };
    let daemon = || anyhow::Ok(Client::of_socket(&config.data_dir.join(CONTROL_SOCKET))?);
    let source: Box<dyn Fn() -> anyhow::Result<HitSource>> = match once {
        false => Box::new(|| Ok(HitSource::Daemon(daemon()?))),
        true => match Access::open_folder(&args.folder, Purpose::Change)? {
            Access::Folder(ledger, _) => Box::new(move || Ok(HitSource::Ledger(Arc::clone(&ledger)))),
            Access::Socket(_) | Access::Server(_) => Box::new(|| Ok(HitSource::Daemon(daemon()?))),
        },
    };
    if !once {
        logging::start(&config.log);
    }
    let stop = stop_on_signals()?;
    let names: Vec<String> = outlets.iter().map(|outlet| outlet.name.clone()).collect();
    let running = Running::start(outlets, &*source, &folder, &stop, once)?;
    tracing::info!(outlets = names.join(", "), "Delivering.");
    if once { running.finish(&source()?) } else { Ok(running.go_on(&source()?, &stop)) }
}

/// Sets the dead letters of outlets apart, to be delivered once more, and says how many they are.
fn send_again(data: &std::path::Path, outlets: &[OutletConfig]) -> anyhow::Result<u64> {
    let mut all = 0;
    for outlet in outlets {
        let letters = deliver::send_again(data, &outlet.name)?;
        if letters > 0 {
            writeln!(
                io::stdout(),
                "{}: {letters} dead letters are delivered once more",
                sanitise(&outlet.name)
            )?;
        }
        all += letters;
    }
    Ok(all)
}

/// Outlets under way.
struct Running {
    told: Vec<Arc<parking_lot::Mutex<Delivering>>>,
    busy: Vec<Arc<AtomicBool>>,
    /// Which one has ended, and how.
    ended: mpsc::Receiver<(String, anyhow::Result<bool>)>,
}

impl Running {
    fn start(
        outlets: Vec<OutletConfig>,
        source: &dyn Fn() -> anyhow::Result<HitSource>,
        folder: &OutletFolder,
        stop: &Stop,
        once: bool,
    ) -> anyhow::Result<Running> {
        // All keys are read before anything is delivered.
        let all = outlets.into_iter().map(|outlet| {
            let name = outlet.name.clone();
            Ok((name, Delivery::open(outlet, source()?, folder, stop.clone(), once)?))
        });
        let all = all.collect::<anyhow::Result<Vec<_>>>()?;
        let told = all.iter().map(|(_, delivery)| delivery.told()).collect();
        let busy = all.iter().map(|(_, delivery)| delivery.busy()).collect();
        let (end, ended) = mpsc::channel();
        for (name, delivery) in all {
            let end = end.clone();
            threads::spawn("outlet", move || {
                let done = delivery.run().map_err(anyhow::Error::from);
                // Who has gone does not want to know.
                let _ = end.send((name, done));
            })?;
        }
        Ok(Running { told, busy, ended })
    }

    fn told(&self) -> Vec<Delivering> {
        let at = now();
        self.told.iter().map(|told| Delivering { at, ..told.lock().clone() }).collect()
    }

    /// Waits until all have ended that deliver what is there.
    fn finish(&self, source: &HitSource) -> anyhow::Result<Exit> {
        let mut exit = Exit::Done;
        for (name, done) in self.ended.iter().take(self.told.len()) {
            if !done.with_context(|| format!("outlet {name}"))? {
                exit = Exit::Failed;
            }
        }
        let mut out = io::stdout().lock();
        for Delivering { outlet, delivered, summed, refused, waiting, error, .. } in self.told() {
            let why = if error.is_empty() { String::new() } else { format!("; it fails: {error}") };
            let line = format!(
                "{outlet}: {delivered} delivered, {summed} as a sum, {refused} refused, {waiting} wait{why}"
            );
            writeln!(out, "{}", sanitise(&line))?;
        }
        source.tell(&self.told());
        Ok(exit)
    }

    /// Tells the daemon how it goes until it is told to stop.
    fn go_on(&self, source: &HitSource, stop: &Stop) -> Exit {
        while !stop.is_stopped() {
            source.tell(&self.told());
            let until = Instant::now() + TELL_EVERY;
            while Instant::now() < until && !stop.wait(LOOK) {
                if let Ok((name, Err(error))) = self.ended.try_recv() {
                    // Started again it may be better: of a disk that was full. The others end with it, and go on then too.
                    tracing::error!(outlet = name, "An outlet cannot go on: {error:#}. The process ends.");
                    return Exit::Failed;
                }
            }
        }
        // What is on its way is given some time: what is delivered and not noted is delivered again.
        let until = Instant::now() + GRACE;
        while Instant::now() < until && self.busy.iter().any(|busy| busy.load(Ordering::SeqCst)) {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Exit::Done
    }
}
