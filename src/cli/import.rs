//! `import`: read logs once.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use parking_lot::Mutex;

use super::access::{Access, FolderArgs, Purpose};
use super::progress::Progress;
use super::{Exit, Misuse, allocator};
use crate::base::clock::now;
use crate::base::time::parse_rfc3339;
use crate::base::units;
use crate::daemon::{self, logging};
use crate::evidence::{LogFilters, make_while_reading};
use crate::http::client::{Client, ClientError};
use crate::http::{ImportReport, NotReadReport};
use crate::ingest::{
    self, Database, Dump, ImportOptions, ImportProgress, ImportSummary, NotRead, STANDARD_INPUT, files_under,
};
use crate::observation::check_sensor_name;
use crate::output::sanitise;
use crate::store::retention::{Bounds, Keeper, Reduction, Upkeep};
use crate::store::{StoreError, WriteStore};
use crate::tail::decode::Decoder;
use crate::tail::open::open;
use crate::tally::{Malformed, Skip};

/// Problems that are listed one by one.
const LISTED: usize = 10;

/// Characters of a reason that a daemon is told.
const MOST_TOLD: usize = 1000;

/// Bytes of rows that are sent at a time.
const LINES_BYTES: usize = 64 << 10;

/// What `import` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// The sensor that the records are counted under [default: default; for passive DNS of others, the name of the file]
    #[arg(long, value_name = "NAME")]
    sensor: Option<String>,
    /// The paths are what a database of bro-pdns or zeek-pdns wrote out: `mysqldump DB dns`, or `sqlite3 FILE .dump`
    #[arg(long, value_name = "DATABASE")]
    from: Option<DumpOf>,
    /// How far the clock behind the times of such a database was ahead of UTC; bro-pdns kept local time
    #[arg(long, value_name = "OFFSET", value_parser = utc_offset, default_value = "+00:00", requires = "from", allow_hyphen_values = true)]
    utc_offset: Arc<str>,
    /// Let one file of passive DNS take the place of what was imported of its origin before
    #[arg(long)]
    replace: bool,
    /// Nobody misses these archives, or those in this folder, that could not be read: answers say so no longer
    #[arg(long, conflicts_with_all = ["from", "replace", "sensor"])]
    dismiss: bool,
    /// Logs of Zeek, or passive DNS in the Common Output Format: files, folders or globs, plain or compressed; - is
    /// standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

/// What wrote a dump.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum DumpOf {
    /// mysqldump or mariadb-dump
    MysqlDump,
    /// .dump of sqlite3
    Sqlite,
}

fn utc_offset(text: &str) -> Result<Arc<str>, &'static str> {
    let is_one = text.starts_with(['+', '-']) && parse_rfc3339(&format!("2000-01-01 00:00:00{text}")).is_ok();
    if is_one { Ok(text.into()) } else { Err("expected +HH:MM or -HH:MM") }
}

/// Reads the logs, itself or through the daemon, and says what came of it.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    if args.dismiss {
        return dismiss(&args);
    }
    allocator::set(allocator::IMPORT);
    let dump = args.from.map(|from| Dump {
        database: match from {
            DumpOf::MysqlDump => Database::Mysql,
            DumpOf::Sqlite => Database::Sqlite,
        },
        utc_offset: Arc::clone(&args.utc_offset),
    });
    let dump = dump.as_ref();
    if let Some(Err(why)) = args.sensor.as_deref().map(check_sensor_name) {
        let message = format!("--sensor: {why}");
        return Err(Misuse { message, hint: "dnsledger import --sensor dmz dns.log" }.into());
    }
    let how = ImportOptions { sensor: args.sensor.as_deref(), replace: args.replace };
    if args.replace && files_under(&args.paths)?.paths().len() != 1 {
        // Two of one origin would each take the place of the other.
        let message = "--replace takes one file at a time".to_owned();
        return Err(Misuse { message, hint: "dnsledger import --replace site-b.json.gz" }.into());
    }
    let access = Access::open_folder(&args.folder, Purpose::Make)?;
    let progress = Arc::new(Progress::new());
    let summary = match access {
        Access::Folder(ledger, config) => {
            logging::start(&config.log);
            let stop = daemon::stop_on_signals()?;
            daemon::heal(&*ledger, &config.bounds(&ledger.stats()?));
            super::feeds::watch(&ledger, &config);
            let mut feeding = ingest::Config { sources: Vec::new(), ..config.ingest() };
            let filters = Arc::new(LogFilters::of(&config.data_dir, &feeding.observe));
            feeding.listening = make_while_reading(&filters, &ledger, config.evidence.disk);
            feeding.not_read = NotRead::of(&config.data_dir);
            // A flood that is read from archives fills a disk before all of it is read.
            let disk = WithinDisk::new(&*ledger, config.bounds(&ledger.stats()?).max_disk);
            let shown = |done: &ImportProgress| {
                progress.show(done);
                disk.look_if_due();
            };
            let summary = ingest::import(&ledger, &feeding, how, dump, &args.paths, &shown, &stop);
            progress.finish();
            let summary = summary?;
            ledger.flush()?;
            disk.end();
            let missing = ledger.stats()?.missing_logs;
            if missing > 0 {
                // When nobody listens there is nobody to tell.
                let _ = writeln!(
                    io::stderr(),
                    "Rows of {missing} logs are still missing: the ledger was damaged; `dnsledger verify` names them."
                );
            }
            summary
        }
        Access::Socket(client) | Access::Server(client) => {
            let summary = send(&client, how, dump, &args.paths, &progress);
            progress.finish();
            summary?
        }
    };
    tell(&summary)?;
    Ok(match (summary.failed.is_empty(), summary.no_log.is_empty()) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Nothing,
        (true, true) => Exit::Done,
    })
}

/// Has archives forgotten that could not be read.
fn dismiss(args: &Args) -> anyhow::Result<Exit> {
    let mut dismissed = 0;
    match Access::open_folder(&args.folder, Purpose::Change)? {
        Access::Folder(_, config) => {
            let not_read = NotRead::of(&config.data_dir);
            for path in &args.paths {
                dismissed += not_read.dismiss(path).context("writing which archives were not read")?;
            }
        }
        Access::Socket(client) | Access::Server(client) => {
            for path in &args.paths {
                dismissed += tell_not_read(&client, path, None)?;
            }
        }
    }
    writeln!(io::stdout(), "{dismissed} archives that could not be read are dismissed")?;
    Ok(if dismissed == 0 { Exit::Nothing } else { Exit::Done })
}

/// Tells the daemon why an archive could not be read, or that it is not missed; of how many that was known.
fn tell_not_read(client: &Client, path: &Path, why: Option<&str>) -> anyhow::Result<u64> {
    let name = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let mut params = vec![("name", name.as_str())];
    params.extend(why.map(|why| ("why", why)));
    let answer = client.post("/control/not-read", &params, None)?;
    let NotReadReport { archives } =
        serde_json::from_reader(answer).context("reading the daemon's answer")?;
    Ok(archives)
}

/// Brings the ledger within the disk that it may take, as a daemon does: while archives are read, and at the end. What was imported is
/// there, also where that cannot be done.
struct WithinDisk<'a> {
    ledger: &'a dyn WriteStore,
    /// What looks, and what went so far.
    state: Mutex<(Keeper, Option<Reduction>)>,
}

impl<'a> WithinDisk<'a> {
    fn new(ledger: &'a dyn WriteStore, max_disk: Option<u64>) -> WithinDisk<'a> {
        let bounds = Bounds { max_disk, ..Bounds::default() };
        WithinDisk { ledger, state: Mutex::new((Keeper::new(bounds), None)) }
    }

    /// Looks where the ledger is too large, unless somebody else just does.
    fn look_if_due(&self) {
        if let Some(mut state) = self.state.try_lock()
            && state.0.is_due(self.ledger, now())
        {
            // What fails is tried again at the end, and told then.
            drop(self.look(&mut state));
        }
    }

    fn look(&self, (keeper, went): &mut (Keeper, Option<Reduction>)) -> Result<Upkeep, StoreError> {
        let look = keeper.look(self.ledger, now());
        if let Ok(Upkeep::Reduced(kept)) = &look {
            *went = Some(match *went {
                None => *kept,
                Some(before) => Reduction {
                    rows: before.rows + kept.rows,
                    questions: before.questions + kept.questions,
                    folded: before.folded + kept.folded,
                    unresolved: before.unresolved + kept.unresolved,
                    ..*kept
                },
            });
        }
        look
    }

    /// Looks a last time, and says what went and what could not.
    fn end(&self) {
        let mut state = self.state.lock();
        let look = self.look(&mut state);
        let mut said = String::new();
        if let Some(kept) = state.1 {
            let Reduction { rows, questions, folded, unresolved, .. } = kept;
            let why = kept.why_larger();
            let larger = if why.is_empty() { String::new() } else { format!(" It still is: {why}.") };
            said = format!(
                "The ledger was larger than store.max_disk.{larger} {folded} rows and questions were folded into those of their domains, \
                 {unresolved} questions that never resolved and {rows} rows with {questions} questions that were not seen for longest were dropped.\n"
            );
        }
        match look {
            Ok(Upkeep::Within | Upkeep::Reduced(_)) => {}
            Ok(Upkeep::Asks(told)) => said.push_str(&format!(
                "The ledger is larger than store.max_disk: {told}, more than half of all. They stay until `dnsledger expire` drops them.\n"
            )),
            Err(error) => said.push_str(&format!(
                "The ledger is larger than store.max_disk, and could not be made smaller: {error}\n"
            )),
        }
        // When nobody listens there is nobody to tell.
        let _ = write!(io::stderr(), "{said}");
    }
}

/// Sends each file to the daemon, which may not be allowed to read them itself.
fn send(
    client: &Client,
    how: ImportOptions<'_>,
    dump: Option<&Dump>,
    paths: &[PathBuf],
    progress: &Arc<Progress>,
) -> anyhow::Result<ImportSummary> {
    let listed = files_under(paths)?;
    let files = listed.paths();
    let size = |path: &PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
    let so_far = ImportProgress {
        files_total: files.len() as u64,
        bytes_total: files.iter().map(size).sum(),
        ..ImportProgress::default()
    };
    let so_far = Arc::new(Mutex::new(so_far));
    let mut summary = listed.summary.clone();
    for path in &files {
        match send_one(client, how, dump, path, progress, &so_far) {
            Ok(one) => summary.merge(one),
            // The daemon is there and says no to this one, or this one cannot be read: the others may do better.
            Err(error) if can_go_on(&error) => {
                summary.files += 1;
                summary.failed.push((path.clone(), format!("{error:#}")));
            }
            Err(error) => return Err(error),
        }
        let mut so_far = so_far.lock();
        so_far.files_done += 1;
        so_far.lines = summary.tally.lines();
    }
    listed.judge(&mut summary);
    // The daemon knows nothing of files that were not sent.
    for (path, why) in summary.not_read().into_iter().filter(|(path, _)| path.as_os_str() != "-") {
        let why: String = why.chars().take(MOST_TOLD).collect();
        tell_not_read(client, path, Some(&why))?;
    }
    Ok(summary)
}

fn send_one(
    client: &Client,
    how: ImportOptions<'_>,
    dump: Option<&Dump>,
    path: &Path,
    progress: &Arc<Progress>,
    so_far: &Arc<Mutex<ImportProgress>>,
) -> anyhow::Result<ImportSummary> {
    let file: Box<dyn Read + Send> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(open(path).map_err(Unreadable)?.0),
    };
    let (progress, so_far) = (Arc::clone(progress), Arc::clone(so_far));
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let watched = Watched {
        inner: file,
        seen: move |bytes| {
            counted.fetch_add(bytes, Ordering::Relaxed);
            let mut so_far = so_far.lock();
            so_far.bytes_done += bytes;
            progress.show(&so_far);
        },
    };
    let body: Box<dyn Read + Send> = match dump {
        None => Box::new(watched),
        Some(dump) => {
            // The daemon gets the rows as COF. What is no dump is seen before anything is sent.
            let decoder = Decoder::new(Box::new(watched)).map_err(Unreadable)?;
            let mut lines = BufReader::with_capacity(LINES_BYTES, dump.lines(decoder));
            lines.fill_buf().map_err(Unreadable)?;
            Box::new(lines)
        }
    };
    let name = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let name = if path.as_os_str() == "-" { "-".into() } else { name.display().to_string() };
    let mut params = vec![("name", name.as_str())];
    params.extend(how.sensor.map(|sensor| ("sensor", sensor)));
    params.extend(how.replace.then_some(("replace", "true")));
    let mut answer = client.at_length().post("/control/import", &params, Some(body))?;
    let mut report = Vec::new();
    answer.read_to_end(&mut report).context("reading the daemon's answer")?;
    let report: ImportReport = serde_json::from_slice(&report).context("reading the daemon's answer")?;
    // The daemon sees a stream; what file it comes from, and how large that is, is known here.
    let mut summary = ImportSummary { bytes: sent.load(Ordering::Relaxed), ..report.into() };
    let asked = if path.as_os_str() == "-" { Path::new(STANDARD_INPUT) } else { path };
    summary.no_log.iter_mut().for_each(|(named, _)| asked.clone_into(named));
    Ok(summary)
}

/// A file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unreadable(io::Error);

fn can_go_on(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Unreadable>().is_some()
        || error
            .downcast_ref::<ClientError>()
            .is_some_and(|error| matches!(error, ClientError::Refused { .. }))
}

/// A reader that says how much was read.
struct Watched<R, F> {
    inner: R,
    seen: F,
}

impl<R: Read, F: FnMut(u64)> Read for Watched<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        (self.seen)(n as u64);
        Ok(n)
    }
}

/// Says what came of an import: on standard output what was read, on standard error what was not.
fn tell(summary: &ImportSummary) -> anyhow::Result<()> {
    let ImportSummary { files, bytes, tally, already, incomplete, failed, no_log, passed_over, .. } = summary;
    let mut stdout = io::stdout().lock();
    let skipped: u64 = Skip::ALL.iter().map(|&reason| tally.skipped(reason)).sum();
    let malformed: u64 = Malformed::ALL.iter().map(|&reason| tally.malformed(reason)).sum();
    let known = match already {
        0 => String::new(),
        known => format!(", {known} of them without anything new"),
    };
    writeln!(stdout, "{files} files ({}){known}", human_size(*bytes))?;
    writeln!(
        stdout,
        "{} new lines: {} counted, {skipped} skipped, {malformed} malformed",
        tally.lines(),
        tally.counted
    )?;
    let skips = Skip::ALL.iter().map(|&reason| (reason.name(), tally.skipped(reason)));
    let faults = Malformed::ALL.iter().map(|&reason| (reason.name(), tally.malformed(reason)));
    for (what, reasons) in [("skipped", skips.collect::<Vec<_>>()), ("malformed", faults.collect())] {
        let named: Vec<String> = reasons
            .into_iter()
            .filter(|(_, lines)| *lines > 0)
            .map(|(reason, lines)| format!("{reason} {lines}"))
            .collect();
        if !named.is_empty() {
            writeln!(stdout, "  {what}: {}", named.join(", "))?;
        }
    }
    if tally.answers_cut > 0 {
        writeln!(stdout, "  answers cut: {} (observe.max_observations)", tally.answers_cut)?;
    }
    let mut stderr = io::stderr().lock();
    for (what, problems) in [
        ("Not read", failed),
        ("Nothing read", no_log),
        ("Read as far as it goes", incomplete),
        ("Passed over", passed_over),
    ] {
        for (path, why) in problems.iter().take(LISTED) {
            let problem = format!("{what}: {}: {why}", path.display());
            writeln!(stderr, "{}", sanitise(&problem))?;
        }
        if problems.len() > LISTED {
            writeln!(stderr, "{what}: {} more", problems.len() - LISTED)?;
        }
    }
    Ok(())
}

/// A size for people.
pub fn human_size(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, factor)| bytes >= *factor) {
        Some((unit, factor)) => format!("{:.1} {unit}", bytes as f64 / *factor as f64),
        None => units::format_size(bytes),
    }
}
