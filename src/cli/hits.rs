//! `hits`: what feeds say is bad and was met.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::PossibleValuesParser;
use serde::Deserialize;

use super::access::{Access, LedgerArgs, Purpose, only_of_a_ledger, tell_at_rest, tell_fed, whole};
use super::columns::ColumnWriter;
use super::lookup::tell_lacks_of;
use super::{Exit, Misuse};
use crate::base::clock::now;
use crate::base::shutdown::Stop;
use crate::base::time::spaced_utc;
use crate::daemon::config::Config;
use crate::http::client::{Client, ClientError};
use crate::lookup::parse_since;
use crate::output::{sanitise, sanitise_json};
use crate::store::{Acknowledged, StoreError, WriteStore};
use crate::watch::{
    HitFilter, HitLine, HitPlace, HitsWanted, KINDS, Sought, Summed, Watching, find_hits, ledger_name, misp,
    parse_numbers, stix,
};

/// How long it waits before it looks for a daemon again that is away.
const AWAY: Duration = Duration::from_millis(500);
/// Bytes of a line of a stream at most.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// What `hits` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = FORMS)]
pub struct Args {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Noted at this time or after: an age 24h, today, a day 2026-03-24, a time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only of indicators that this feed has, or had when they were met
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    /// Only what this sensor saw
    #[arg(short, long, value_name = "NAME")]
    sensor: Option<String>,
    /// Only of this kind: name, domain, address, network; new, new_retracted, new_summed for events of what is new
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(KINDS), hide_possible_values = true)]
    kind: Option<String>,
    /// Only those about this: a name with all below it, an address, a network; be it what was met or what met it
    #[arg(long, value_name = "VALUE")]
    value: Option<String>,
    /// Only those that nobody has acknowledged
    #[arg(long)]
    open: bool,
    /// Note that somebody has seen to the hits of these numbers, such as 3,7-9
    #[arg(long, value_name = "NUMBERS", conflicts_with_all = ["since", "feed", "sensor", "kind", "value", "open", "limit", "follow"])]
    acknowledge: Option<String>,
    /// With --acknowledge: who has, where no token says it [default: the user]
    #[arg(long, value_name = "NAME", requires = "acknowledge")]
    by: Option<String>,
    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    limit: u64,
    /// Write each hit as it comes, until this is ended; the daemon is asked
    #[arg(long, conflicts_with_all = ["since", "limit"])]
    follow: bool,
    /// With --follow: go on behind the hit of this number
    #[arg(long, value_name = "NUMBER", requires = "follow")]
    after: Option<u64>,
    /// How they are written; json is an object a line, misp an event of MISP, stix a bundle of STIX 2.1
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

const FORMS: &str = "The newest comes first. A hit is one indicator with one name, by one sensor (and one address, where the indicator is about \
addresses): it is noted once, however often it is seen.

  dnsledger hits --since 24h
  dnsledger hits --feed urlhaus -f json
  dnsledger hits --since 24h -f stix >bundle.json
  dnsledger hits --value evil.example
  dnsledger hits --follow
  dnsledger hits --open
  dnsledger hits --acknowledge 3,7-9";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Misp,
    Stix,
}

/// Shows hits.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    if let Some(numbers) = &args.acknowledge {
        return acknowledge(&args, numbers);
    }
    let since = args.since.as_deref().map(|text| parse_since(text, now())).transpose()?;
    let acknowledged = args.open.then_some(false);
    let misuse = |message| Misuse { message, hint: "--value www.example.com, --value 192.0.2.0/24" };
    let value = args.value.as_deref().map(Sought::parse).transpose().map_err(misuse)?;
    let filter = HitFilter {
        since,
        value,
        feed: args.feed.clone(),
        sensor: args.sensor.clone(),
        kind: args.kind.clone(),
        acknowledged,
    };
    let access = Access::open(&args.ledger)?;
    if args.follow && matches!(args.format, Format::Misp | Format::Stix) {
        let message = "an event or a bundle is written as a whole".to_owned();
        return Err(Misuse {
            message,
            hint: "--follow -f json, or `dnsledger hits -f stix` without --follow",
        }
        .into());
    }
    if let Access::Folder(ledger, _) = &access {
        tell_fed(&**ledger)?;
    }
    let Answer { hits, ledger, last, feeds, indicators, pending } = match &access {
        Access::Folder(ledger, _) if args.follow && ledger.fed().is_some() => {
            return follow_cluster(&**ledger, &args, filter);
        }
        Access::Folder(..) if args.follow => {
            let message = "no daemon has the ledger: there is nobody to follow".to_owned();
            return Err(
                Misuse { message, hint: "`dnsledger run`, or `dnsledger hits` without --follow" }.into()
            );
        }
        Access::Folder(ledger, config) => find(ledger, config, &args, &filter)?,
        Access::Socket(client) | Access::Server(client) if args.follow => {
            return follow(client, &args, &filter);
        }
        Access::Socket(client) | Access::Server(client) => ask(client, &args)?,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.format {
        Format::Misp | Format::Stix if hits.is_empty() => {}
        Format::Misp => writeln!(out, "{}", sanitise_json(&misp(&ledger, &hits).to_string()))?,
        Format::Stix => writeln!(out, "{}", sanitise_json(&stix(&ledger, &hits).to_string()))?,
        Format::Json => hits.iter().try_for_each(|hit| write_json(hit, &mut out))?,
        Format::Table => {
            let mut table = ColumnWriter::new(&TITLES);
            hits.iter().try_for_each(|hit| table.push(cells(hit).to_vec(), &mut out))?;
            table.settle(&mut out)?;
        }
    }
    out.flush()?;
    let mut err = io::stderr();
    for feed in &pending {
        let feed = sanitise(feed);
        writeln!(
            err,
            "Not all that is there was held against feed {feed} yet: `dnsledger feeds` says more."
        )?;
    }
    let is_cluster = matches!(&access, Access::Folder(ledger, _) if ledger.fed().is_some());
    match (indicators, last) {
        _ if !hits.is_empty() => {}
        (0, 0) if is_cluster => writeln!(err, "No hits: no sensor has shipped any.")?,
        (0, 0) => writeln!(
            err,
            "No hits: nothing is watched for. `dnsledger indicators import --feed NAME FILE` begins it."
        )?,
        (_, 0) => writeln!(err, "No hits: none of the {indicators} indicators of {feeds} feeds was met.")?,
        _ => writeln!(err, "No hits that fit: {last} were noted in all.")?,
    }
    tell_at_rest(&args.ledger, &access, !hits.is_empty())?;
    Ok(if hits.is_empty() { Exit::Nothing } else { Exit::Done })
}

/// The answer to a request for hits, and what there is to say of it.
#[derive(Deserialize)]
struct Answer {
    hits: Vec<HitLine>,
    #[serde(default)]
    ledger: String,
    #[serde(default)]
    last: u64,
    #[serde(default)]
    feeds: usize,
    #[serde(default)]
    indicators: u64,
    #[serde(default)]
    pending: Vec<String>,
}

/// Finds hits in a ledger that no daemon has.
fn find(
    ledger: &Arc<dyn WriteStore>,
    config: &Config,
    args: &Args,
    filter: &HitFilter,
) -> anyhow::Result<Answer> {
    // What is watched for only a sensor's own folder knows.
    let is_own = ledger.fed().is_none();
    let watched = match is_own {
        true => Watching::start(Arc::clone(ledger), &config.data_dir, config.watching()).watched(),
        false => Default::default(),
    };
    let snapshot = ledger.now();
    let last = ledger.last_hits()?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let wanted = HitsWanted { newest: true, filter: filter.clone(), limit, from: None };
    let hits = find_hits(&*snapshot, watched.set.as_deref(), &last, &wanted)?.hits;
    if let (true, Some(feed)) = (hits.is_empty(), args.feed.as_ref())
        && is_own
        && !watched.feeds.contains(feed)
    {
        let message =
            format!("unknown feed {}, and no hit of a former one; {}", sanitise(feed), watched.feeds_hint());
        return Err(Misuse { message, hint: "`dnsledger feeds` lists them" }.into());
    }
    Ok(Answer {
        hits,
        ledger: if is_own { ledger_name(&*snapshot)? } else { "cluster".to_owned() },
        last: last.values().sum(),
        feeds: watched.feeds.len(),
        indicators: watched.indicators,
        pending: watched.pending,
    })
}

/// Notes that somebody has seen to hits.
fn acknowledge(args: &Args, numbers: &str) -> anyhow::Result<Exit> {
    #[derive(Deserialize)]
    struct Done {
        acknowledged: u64,
        unknown: Vec<u64>,
    }
    let misuse = |message| Misuse { message, hint: "--acknowledge 3,7-9" };
    let wanted = parse_numbers(numbers).map_err(misuse)?;
    let user = || ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let by = args.by.clone().or_else(user).filter(|by| !by.is_empty()).unwrap_or_else(|| "owner".to_owned());
    let (new, unknown) = match Access::open_for(&args.ledger, Purpose::Change)? {
        Access::Folder(ledger, _) => {
            only_of_a_ledger(&*ledger, "acknowledgements")?;
            ledger.acknowledge_hits(&wanted, &Acknowledged { at: now(), by: sanitise(&by).into_owned() })?
        }
        Access::Socket(client) | Access::Server(client) => {
            let answer = client.post("/api/v1/hits/acknowledge", &[("hits", numbers), ("by", &by)], None)?;
            let Done { acknowledged, unknown } =
                serde_json::from_slice(&whole(answer)?).context("reading the answer")?;
            (acknowledged, unknown)
        }
    };
    writeln!(io::stdout(), "{new} hits acknowledged")?;
    if unknown.is_empty() {
        return Ok(Exit::Done);
    }
    let unknown: Vec<String> = unknown.iter().take(20).map(u64::to_string).collect();
    writeln!(io::stderr(), "No hit has the number {}.", unknown.join(", "))?;
    Ok(Exit::Nothing)
}

fn ask(client: &Client, args: &Args) -> anyhow::Result<Answer> {
    let limit = args.limit.to_string();
    let mut params = vec![("limit", limit.as_str())];
    params.extend(args.since.as_deref().map(|since| ("since", since)));
    params.extend(args.feed.as_deref().map(|feed| ("feed", feed)));
    params.extend(args.sensor.as_deref().map(|sensor| ("sensor", sensor)));
    params.extend(args.open.then_some(("acknowledged", "false")));
    params.extend(args.value.as_deref().map(|value| ("value", value)));
    params.extend(args.kind.as_deref().map(|kind| ("kind", kind)));
    let text = whole(client.get("/api/v1/hits", &params)?)?;
    tell_lacks_of(&text)?;
    serde_json::from_slice(&text).context("reading the answer")
}

/// Writes hits as they come, until this is ended. While the daemon is away it waits, and goes on behind the last hit then.
fn follow(client: &Client, args: &Args, filter: &HitFilter) -> anyhow::Result<Exit> {
    let mut after = match args.after {
        Some(after) => after,
        None => newest(client)?,
    };
    if args.format == Format::Table {
        writeln!(io::stdout(), "{}", TITLES.join("  "))?;
    }
    let mut stream = client.without_end().get("/api/v1/hits/stream", &[("after", &after.to_string())])?;
    loop {
        let why = follow_one(stream, &mut after, args.format, filter)?;
        // When nobody listens there is nobody to tell.
        let _ =
            writeln!(io::stderr(), "{why}: it goes on behind hit {after} when the daemon is there again.");
        stream = loop {
            Stop::new().wait(AWAY);
            match client.without_end().get("/api/v1/hits/stream", &[("after", &after.to_string())]) {
                Ok(stream) => break stream,
                // It says no; but for that it has no time yet.
                Err(error @ ClientError::Refused { status, .. }) if status != 503 => return Err(error.into()),
                // It is away, or was going away just then.
                Err(_) => {}
            }
        };
    }
}

/// How often a cluster is asked for what came.
const POLL: Duration = Duration::from_secs(1);
/// Hits that are written together.
const TOGETHER: usize = 1000;

/// Writes hits as they come into a cluster, until this is ended. While it is away this waits, and goes on behind the last hit then.
fn follow_cluster(ledger: &dyn WriteStore, args: &Args, filter: HitFilter) -> anyhow::Result<Exit> {
    if args.after.is_some() {
        let message = "a cluster has hits of several ledgers, each with numbers of its own".to_owned();
        return Err(Misuse { message, hint: "--follow without --after" }.into());
    }
    let at = HitPlace::new(ledger.last_hits()?);
    // What comes from now on is told.
    if args.format == Format::Table {
        writeln!(io::stdout(), "{}", TITLES.join("  "))?;
        io::stdout().flush()?;
    }
    let mut wanted = HitsWanted { newest: false, filter, limit: TOGETHER, from: Some(at) };
    let mut is_away = false;
    loop {
        let snapshot = ledger.now();
        let found = ledger.last_hits().and_then(|last| find_hits(&*snapshot, None, &last, &wanted));
        let found = match found {
            Ok(found) => found,
            Err(error @ StoreError::Cluster(_)) => {
                if !std::mem::replace(&mut is_away, true) {
                    // When nobody listens there is nobody to tell.
                    let _ = writeln!(io::stderr(), "{error}: it goes on when that is there again.");
                }
                Stop::new().wait(POLL);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        is_away = false;
        let mut out = io::stdout().lock();
        found.hits.iter().try_for_each(|hit| write_line(hit, args.format, &mut out))?;
        out.flush()?;
        let is_all = found.next.is_none();
        wanted.from = Some(found.at);
        if is_all {
            Stop::new().wait(POLL);
        }
    }
}

/// The number of the newest hit; 0 where there is none.
fn newest(client: &Client) -> anyhow::Result<u64> {
    #[derive(Deserialize)]
    struct One {
        hits: Vec<HitLine>,
    }
    let answer = client.get("/api/v1/hits", &[("limit", "1")])?;
    let One { hits } = serde_json::from_slice(&whole(answer)?).context("reading the answer")?;
    Ok(hits.first().map_or(0, |hit| hit.sequence))
}

/// Writes the hits of a stream until it ends; why it did. `after` is the last that was written or summed.
fn follow_one(
    stream: impl Read,
    after: &mut u64,
    format: Format,
    filter: &HitFilter,
) -> anyhow::Result<String> {
    let mut events = BufReader::new(stream);
    let mut line = Vec::new();
    let mut is_sum = false;
    loop {
        line.clear();
        match events.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => return Ok("The daemon has ended".to_owned()),
            Err(error) => return Ok(format!("The stream broke ({error})")),
            Ok(read) if read as u64 == MAX_LINE_BYTES => bail!("a line of the stream is too long"),
            Ok(_) => {}
        }
        let text = line.trim_ascii();
        if let Some(event) = text.strip_prefix(b"event: ") {
            is_sum = event == b"summed";
        } else if let Some(data) = text.strip_prefix(b"data: ") {
            let mut out = io::stdout().lock();
            if is_sum {
                let Summed { from, to, hits } = serde_json::from_slice(data).context("reading the stream")?;
                *after = to;
                writeln!(io::stderr(), "{hits} more hits, {from} to {to}: `dnsledger hits` shows them.")?;
            } else {
                let hit: HitLine = serde_json::from_slice(data).context("reading the stream")?;
                *after = hit.sequence;
                if filter.wants(&hit) {
                    write_line(&hit, format, &mut out)?;
                }
            }
            out.flush()?;
        }
    }
}

fn write_line(hit: &HitLine, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    match format {
        Format::Json => write_json(hit, out),
        _ => {
            let cells = cells(hit).map(|cell| sanitise(&cell).into_owned());
            Ok(writeln!(out, "{}", cells.join("  ").trim_end())?)
        }
    }
}

fn write_json(hit: &HitLine, out: &mut dyn Write) -> anyhow::Result<()> {
    Ok(writeln!(out, "{}", sanitise_json(&serde_json::to_string(hit)?))?)
}

/// The titles of a table.
const TITLES: [&str; 9] =
    ["HIT", "NOTED (UTC)", "SEEN (UTC)", "NAME", "KIND", "INDICATOR", "FEEDS", "SENSOR", "WHAT IT SAYS"];

fn cells(hit: &HitLine) -> [String; 9] {
    let met = match &hit.address {
        Some(address) => format!("{} ({address})", hit.rrname),
        None => hit.rrname.clone(),
    };
    let kind = if hit.retracted { format!("{} (retracted)", hit.kind) } else { hit.kind.clone() };
    let said = hit.title.as_deref().or(hit.description.as_deref()).unwrap_or_default();
    let seen_to = hit.acknowledged_by.as_deref().map(|by| format!("(acknowledged by {by})"));
    let said: Vec<&str> =
        [said, seen_to.as_deref().unwrap_or_default()].into_iter().filter(|text| !text.is_empty()).collect();
    [
        hit.sequence.to_string(),
        spaced_utc(&hit.noted_utc),
        spaced_utc(&hit.time_utc),
        met,
        kind,
        hit.indicator.clone(),
        hit.feeds_in_words(),
        hit.sensor.clone(),
        said.join("  "),
    ]
}
