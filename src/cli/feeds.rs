//! `indicators` and `feeds`: what is watched for.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use serde::Deserialize;

use super::access::{Access, FolderArgs, LedgerArgs, Purpose, daemon_of, only_of_a_ledger, whole};
use super::apply_feeds::take_up;
use super::{Exit, Misuse, pull};
use crate::base::clock::now;
use crate::base::time::format_utc;
use crate::daemon;
use crate::indicators::Format as ListFormat;
use crate::output::{sanitise, sanitise_json};
use crate::store::sled::is_ledger;
use crate::watch::{Feed, FeedFolder, FeedStatus, PullStatus, WatchError, Watching};

/// What `indicators` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read a list, report, bundle or export into a feed, and look through all that is there with it
    Import(ImportArgs),
    /// Write the indicators of a feed, one a line
    List(NamedArgs),
    /// Remove a feed; its hits stay
    Remove(NamedArgs),
    /// Take a feed that shrank by over half, or to nothing, and is held back
    Confirm(NamedArgs),
}

/// What `indicators import` is told.
#[derive(Debug, clap::Args)]
struct ImportArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// The feed it belongs to
    #[arg(long, value_name = "NAME")]
    feed: String,
    /// It takes the place of what the feed had, in one step; without this it is added
    #[arg(long)]
    replace: bool,
    /// Also where the feed shrinks by over half, or to nothing
    #[arg(long, requires = "replace")]
    confirm: bool,
    /// The format of the list, where it is not recognised rightly: plain, hosts, adblock, dnsmasq, rpz, zeek, csv, misp, stix, objects, prose
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Whether names are meant with all below them, whatever the format says
    #[arg(long, value_name = "BOOL")]
    below: Option<bool>,
    /// Leave out what is said with less confidence, 0 to 100
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(0..=100))]
    confidence_min: Option<u8>,
    /// The column of a CSV, by its title or number
    #[arg(long, value_name = "COLUMN")]
    column: Option<String>,
    /// The file; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Which feed.
#[derive(Debug, clap::Args)]
struct NamedArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// The feed
    #[arg(long, value_name = "NAME")]
    feed: String,
}

/// What `feeds` is told.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct FeedsArgs {
    #[command(subcommand)]
    command: Option<FeedsCommand>,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// How they are written; json is an object a line
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum FeedsCommand {
    /// Get the feeds that have a url from their servers, and look through all that is there with what is new
    Pull(pull::Args),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Changes or shows a feed.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    match args.command {
        Command::Import(args) => import(&args),
        Command::List(args) => list(&args),
        Command::Remove(args) => {
            let config = args.folder.load()?;
            FeedFolder::of(&config.data_dir).remove(&args.feed)?;
            if let Some(client) = daemon_of(&config.data_dir)? {
                io::copy(&mut client.until_done().post("/control/watch", &[], None)?, &mut io::sink())?;
            }
            let feed = sanitise(&args.feed);
            let mut out = io::stdout().lock();
            match config.feeds().iter().any(|configured| configured.name == args.feed) {
                true => writeln!(
                    out,
                    "{feed} is removed until it is read or pulled again: it is configured. Its hits stay: `dnsledger hits`"
                )?,
                false => writeln!(
                    out,
                    "{feed} is removed and watched for no more; its hits stay: `dnsledger hits`"
                )?,
            }
            Ok(Exit::Done)
        }
        Command::Confirm(args) => {
            FeedFolder::of(&args.folder.load()?.data_dir).confirm(&args.feed)?;
            take_up(&args.folder)?;
            Ok(Exit::Done)
        }
    }
}

fn import(args: &ImportArgs) -> anyhow::Result<Exit> {
    let config = args.folder.load()?;
    if !is_ledger(&config.data_dir) && daemon_of(&config.data_dir)?.is_none() {
        return Err(super::access::no_ledger(&config.data_dir));
    }
    let known = config.feeds().into_iter().find(|feed| feed.name == args.feed).unwrap_or_default();
    let now = now();
    let mut reading = known.reading(now);
    (reading.replace, reading.confirm) = (args.replace, args.confirm);
    let options = &mut reading.options;
    if let Some(format) = &args.format {
        let hint = "plain, hosts, adblock, dnsmasq, rpz, zeek, csv, misp, stix, objects, prose, tranco or warninglist";
        let none = || Misuse { message: format!("unknown format {format:?}"), hint };
        options.format = Some(ListFormat::from_name(format).ok_or_else(none)?);
    }
    options.below = args.below.or(options.below);
    options.confidence_min = args.confidence_min.or(options.confidence_min);
    options.column = args.column.clone().or(options.column.take());
    let folder = FeedFolder::of(&config.data_dir);
    let input: io::Result<Box<dyn Read>> = match args.file.as_os_str() == "-" {
        true => Ok(Box::new(io::stdin().lock())),
        false => File::open(&args.file).map(|file| Box::new(file) as Box<dyn Read>),
    };
    let input = input.with_context(|| format!("opening {}", args.file.display()))?;
    let imported = folder.import(&args.feed, &mut [Ok(input)].into_iter(), &reading, now)?;
    let mut out = io::stdout().lock();
    let (taken, allowed) = (imported.taken.taken, imported.taken.allowed);
    writeln!(
        out,
        "{taken} indicators and {allowed} exceptions of {} lines ({}); the feed has {}, and had {}",
        imported.taken.lines,
        imported.taken.format.name(),
        imported.entries,
        imported.before
    )?;
    for (reason, count) in imported.taken.skipped.iter() {
        writeln!(out, "  {count} not taken: {}", reason.in_words())?;
    }
    for (line, reason, text) in imported.taken.skipped.examples() {
        writeln!(out, "    line {line}: {}: {}", sanitise(text), reason.name())?;
    }
    for words in imported.taken.left_out_in_words() {
        writeln!(out, "  {}", sanitise(&words))?;
    }
    out.flush()?;
    drop(out);
    if imported.held {
        writeln!(
            io::stderr(),
            "It {} and is held back: what was there stays in use. `dnsledger indicators confirm --feed {}` takes it, or \
             the same import once more.",
            if imported.entries == 0 { "has no indicator left" } else { "shrank by over half" },
            args.feed
        )?;
        return Ok(Exit::Nothing);
    }
    if config.pulls().iter().any(|pulled| pulled.name == args.feed) {
        writeln!(
            io::stderr(),
            "This feed has a url: `dnsledger feeds pull` puts what is there in place of this."
        )?;
    }
    take_up(&args.folder)?;
    Ok(Exit::Done)
}

fn list(args: &NamedArgs) -> anyhow::Result<Exit> {
    crate::watch::check_name(&args.feed)?;
    let path = FeedFolder::of(&args.folder.load()?.data_dir).feed(&args.feed);
    let feed = Feed::open(&path, &mut |_| ()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => WatchError::NoFeed(args.feed.clone()),
        _ => WatchError::Io { path: path.clone(), error },
    })?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut failed = None;
    feed.indicators(&mut |kind, value, is_exception| {
        let mark = if is_exception { "\texception" } else { "" };
        failed = writeln!(out, "{kind}\t{}{mark}", sanitise(&value)).err();
        failed.is_none()
    })?;
    failed.map_or(Ok(()), Err)?;
    out.flush()?;
    Ok(if feed.entries > 0 { Exit::Done } else { Exit::Nothing })
}

/// Shows the feeds.
pub fn feeds(args: &FeedsArgs) -> anyhow::Result<Exit> {
    if let Some(FeedsCommand::Pull(args)) = &args.command {
        return pull::run(args);
    }
    #[derive(Deserialize)]
    struct Answer {
        feeds: Vec<FeedStatus>,
    }
    let feeds = match Access::open_for(&args.ledger, Purpose::Look)? {
        Access::Folder(ledger, config) => {
            only_of_a_ledger(&*ledger, "feeds")?;
            Watching::start(ledger, &config.data_dir, config.watching()).feeds()
        }
        Access::Socket(client) | Access::Server(client) => {
            let text = whole(client.get("/api/v1/feeds", &[])?)?;
            serde_json::from_slice::<Answer>(&text).context("reading the answer")?.feeds
        }
    };
    let mut out = io::stdout().lock();
    if args.format == Format::Json {
        for feed in &feeds {
            writeln!(out, "{}", sanitise_json(&serde_json::to_string(feed)?))?;
        }
    } else {
        for feed in &feeds {
            let mut remarks = Vec::new();
            remarks.extend(feed.stale.then(|| "stale".to_owned()));
            remarks.extend(feed.held.then(|| "a smaller one is held back".to_owned()));
            remarks.extend((!feed.walked).then(|| "history is not looked through yet".to_owned()));
            let skipped: u64 = feed.skipped.iter().map(|(_, count)| count).sum();
            remarks.extend((skipped > 0).then(|| {
                let reasons = feed.skipped.iter().map(|(reason, count)| format!("{count} {reason}"));
                format!("{skipped} not taken ({})", reasons.collect::<Vec<_>>().join(", "))
            }));
            remarks.extend(feed.pull.as_ref().map(pulled));
            remarks.extend(feed.fault.clone().map(|fault| format!("FAULT: {fault}")));
            let read_at = match feed.read_at {
                0 => "never read".to_owned(),
                at => format!("{} UTC", format_utc(at)),
            };
            let line = format!(
                "{:<24}  {:>9} indicators  {read_at:<23}  {:<8}  {}",
                feed.name,
                feed.indicators,
                feed.format,
                remarks.join("; ")
            );
            writeln!(out, "{}", sanitise(line.trim_end()))?;
        }
    }
    if feeds.is_empty() {
        writeln!(
            io::stderr(),
            "There are no feeds; `dnsledger indicators import --feed NAME FILE` makes one."
        )?;
        return Ok(Exit::Nothing);
    }
    Ok(Exit::Done)
}

/// How pulling a feed goes, in words.
fn pulled(pull: &PullStatus) -> String {
    let last = match pull.pulled_at {
        0 => "never pulled".to_owned(),
        at => format!("pulled {} UTC", format_utc(at)),
    };
    let remark = pull.remark.as_ref().map(|remark| format!(" ({remark})")).unwrap_or_default();
    let last = last + &remark;
    match &pull.error {
        None => last,
        Some(error) => format!("{last}; PULL FAILED at {} UTC: {error}", format_utc(pull.tried_at)),
    }
}

/// Looks through what a command reads into a ledger that it has.
pub fn watch(ledger: &Arc<dyn crate::store::WriteStore>, config: &daemon::config::Config) {
    drop(Watching::start(Arc::clone(ledger), &config.data_dir, config.watching()));
}
