//! `fleet`: the tables of a cluster, who ships into it, and which ledger of a sensor stands.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;

use super::access::FolderArgs;
use super::{Exit, Misuse};
use crate::base::clock::now;
use crate::base::time::{DAY, format_utc, parse_date};
use crate::base::units;
use crate::fleet::bucket::BUCKETS;
use crate::fleet::cluster::{Cluster, UNKNOWN};
use crate::fleet::registry::{self, Equal, EqualBuckets, Registry, Sensor, Stands};
use crate::fleet::rows::ClusterTable;
use crate::fleet::{Address, retention, tables};
use crate::output::sanitise;

/// Replicas that must have what is noted here, where there are so many.
const QUORUM: usize = 2;
/// How long a server may take to begin to delete.
const DELETING: Duration = Duration::from_secs(86_400);

/// What `fleet` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make database and tables on every server, where they are not there
    Init(InitArgs),
    /// Bring the tables to the version of this program
    Upgrade(ClusterArgs),
    /// Print the statements that make database and tables, for who runs them by hand
    Print(PrintArgs),
    /// Show the ledgers that ship into the cluster, how far, and their sensors
    Status(StatusArgs),
    /// Say which ledger stands for a sensor: the one that was rebuilt, or its former self
    Stand(StandArgs),
    /// Drop what was not seen for long by any sensor's ledger, whatever the ledgers keep
    Expire(ExpireArgs),
    /// Say that a sensor will ship no more: its rows stay, and answers are as of the others (`stand` takes that back)
    Close(CloseArgs),
}

/// Which cluster.
#[derive(Debug, clap::Args)]
pub struct ClusterArgs {
    /// The cluster, as clickhouse://HOST:8123,REPLICA:8123/DATABASE [default: forward.to in the configuration]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Debug, clap::Args)]
struct InitArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Make replicated tables: servers need ZooKeeper or a Keeper, and the macros shard and replica
    #[arg(long)]
    replicated: bool,
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Say of each bucket of each ledger, too, when it was last found equal and how many rows it had
    #[arg(long)]
    buckets: bool,
}

#[derive(Debug, clap::Args)]
struct PrintArgs {
    /// The database
    #[arg(value_name = "DATABASE")]
    database: String,
    /// Print those of replicated tables
    #[arg(long)]
    replicated: bool,
    /// How many shards there are: each is told which one it is, by a statement for it alone
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    shards: u8,
    /// Print those for servers of version 20 and newer, which compress by ZSTD
    #[arg(long)]
    zstd: bool,
}

#[derive(Debug, clap::Args)]
struct StandArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Let the ledger count beside those that count already: its logs are others
    #[arg(long)]
    beside: bool,
    /// The sensor
    #[arg(value_name = "SENSOR")]
    sensor: String,
    /// The number of the ledger, as `dnsledger fleet status` shows it
    #[arg(value_name = "LEDGER", value_parser = parse_ledger)]
    ledger: u64,
}

#[derive(Debug, clap::Args)]
struct ExpireArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Drop what was last seen before this day, such as 2024-04-12
    #[arg(long, value_name = "DATE", value_parser = parse_date, conflicts_with = "older_than", required_unless_present = "older_than")]
    before: Option<u64>,
    /// Drop what was not seen for so long, such as 400d, counted from the start of today
    #[arg(long, value_name = "AGE", value_parser = units::parse_duration)]
    older_than: Option<Duration>,
    /// Only say what would be dropped
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct CloseArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The sensor
    #[arg(value_name = "SENSOR")]
    sensor: String,
}

/// Reads the number of a ledger.
fn parse_ledger(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16)
        .map_err(|_| "it is not a number of a ledger, which has 16 hexadecimal digits".to_owned())
}

impl ClusterArgs {
    /// The cluster that is meant.
    fn address(&self) -> anyhow::Result<Address> {
        let url = match &self.store {
            Some(url) => url.clone(),
            None => self.folder.load()?.forward.to,
        };
        if url.is_empty() {
            let message = "no cluster is named".to_owned();
            return Err(Misuse {
                message,
                hint: "--store clickhouse://HOST:8123/DATABASE, or forward.to in the configuration",
            }
            .into());
        }
        Ok(Address::parse(&url)?)
    }

    fn cluster(&self) -> anyhow::Result<Cluster> {
        Ok(Cluster::new(&self.address()?)?)
    }
}

fn form(is_replicated: bool) -> tables::Form {
    if is_replicated { tables::Form::Replicated } else { tables::Form::Plain }
}

/// Runs the subcommand.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let mut out = io::stdout();
    match args.command {
        Command::Init(args) => {
            let cluster = args.cluster.cluster()?;
            tables::init(&cluster, form(args.replicated))?;
            tell_tables(&cluster)?;
        }
        Command::Upgrade(args) => {
            let cluster = args.cluster()?;
            tables::upgrade(&cluster)?;
            tell_tables(&cluster)?;
        }
        Command::Print(args) => {
            let address = Address::parse(&format!("clickhouse://localhost/{}", args.database))?;
            let codec = if args.zstd { tables::Codec::Zstd } else { tables::Codec::OfServer };
            for statement in tables::statements(&address.database, form(args.replicated), codec) {
                writeln!(out, "{statement};")?;
            }
            for shard in 1..=args.shards {
                if args.shards > 1 {
                    writeln!(out, "-- on one server of shard {shard} alone:")?;
                }
                writeln!(out, "{};", tables::layout_statement(&address.database, shard, args.shards))?;
            }
        }
        Command::Status(args) => {
            let cluster = args.cluster.cluster()?;
            tables::check(&cluster)?;
            let registry = Registry::load(&cluster)?;
            let text = describe(&registry, &registry::found_equal(&cluster)?, now());
            out.write_all(text.as_bytes())?;
            if args.buckets {
                let buckets = describe_buckets(&registry, &registry::equal_buckets(&cluster)?);
                out.write_all(buckets.as_bytes())?;
            }
            for shard in cluster.shards() {
                for (host, lag) in shard.lags().into_iter().filter(|(_, lag)| *lag > 0) {
                    let (number, host) = (shard.number(), sanitise(host));
                    match lag {
                        UNKNOWN => writeln!(out, "note   shard {number}: {host} has lost ZooKeeper")?,
                        lag => writeln!(out, "note   shard {number}: {host} is {lag} s behind")?,
                    }
                }
            }
        }
        Command::Stand(args) => {
            let cluster = args.cluster.cluster()?;
            tables::check(&cluster)?;
            let registry = Registry::load(&cluster)?;
            let of_one = registry.sensors.get(args.sensor.as_str()).map_or([].as_slice(), Vec::as_slice);
            if !of_one.iter().any(|sensor| sensor.generation == args.ledger) {
                let message = format!(
                    "no ledger {:016x} has shipped for the sensor {}",
                    args.ledger,
                    sanitise(&args.sensor)
                );
                return Err(
                    Misuse { message, hint: "dnsledger fleet status names sensors and ledgers" }.into()
                );
            }
            let standing = registry.standing(&args.sensor);
            let said: Vec<Sensor> = of_one
                .iter()
                .map(|sensor| {
                    let counts = standing.contains(&sensor.generation) && args.beside;
                    let stands =
                        if sensor.generation == args.ledger || counts { Stands::Yes } else { Stands::No };
                    Sensor { stands, version: sensor.version + 1, ..sensor.clone() }
                })
                .collect();
            registry::note_sensors(&cluster, &said, tables::quorum(&cluster, QUORUM)?)
                .context("noting which ledger stands")?;
        }
        Command::Expire(args) => {
            let cluster = Cluster::with_patience(&args.cluster.address()?, DELETING)?;
            tables::check(&cluster)?;
            let today = now() / DAY * DAY;
            let before = match (args.before, args.older_than) {
                (Some(before), _) => before,
                (None, age) => today.saturating_sub(age.map_or(u64::MAX, |age| age.as_secs())),
            };
            let until = format_utc(before);
            if before > today {
                let message = format!("{until} UTC is not over yet");
                return Err(Misuse { message, hint: "a day in the past, or --older-than 400d" }.into());
            }
            let told = retention::forecast(&cluster, before)?;
            let told = told.iter().map(|(table, rows)| format!("{rows} of {}", table.name()));
            let told = told.collect::<Vec<_>>().join(", ");
            if args.dry_run {
                writeln!(out, "would drop what was last seen before {until} UTC: {told}")?;
                return Ok(Exit::Done);
            }
            retention::cut(&cluster, before, QUORUM)?;
            retention::delete(&cluster, before).context(
                "nothing of it is answered any more, but the servers have not deleted all: run it once more",
            )?;
            writeln!(
                out,
                "dropped what was last seen before {until} UTC: {told}; its space comes back as servers merge"
            )?;
        }
        Command::Close(args) => {
            let cluster = args.cluster.cluster()?;
            tables::check(&cluster)?;
            let registry = Registry::load(&cluster)?;
            let standing = registry.standing(&args.sensor);
            let of_one = registry.sensors.get(args.sensor.as_str()).map_or([].as_slice(), Vec::as_slice);
            let said: Vec<Sensor> = of_one
                .iter()
                .filter(|sensor| standing.contains(&sensor.generation))
                .map(|sensor| Sensor {
                    stands: Stands::Closed,
                    version: sensor.version + 1,
                    ..sensor.clone()
                })
                .collect();
            if said.is_empty() {
                let message = format!("no ledger has shipped for the sensor {}", sanitise(&args.sensor));
                return Err(Misuse { message, hint: "dnsledger fleet status names sensors" }.into());
            }
            registry::note_sensors(&cluster, &said, tables::quorum(&cluster, QUORUM)?)
                .context("noting that the sensor is closed")?;
        }
    }
    Ok(Exit::Done)
}

/// Says which servers have the tables.
fn tell_tables(cluster: &Cluster) -> anyhow::Result<()> {
    let mut out = io::stdout();
    for shard in cluster.shards() {
        let tables = tables::version(cluster, shard)?;
        for (host, version) in shard.versions()? {
            let (host, version) = (sanitise(&host), sanitise(&version));
            writeln!(
                out,
                "shard {}: {host}, ClickHouse {version}: tables of version {tables}",
                shard.number()
            )?;
        }
    }
    Ok(())
}

/// The tables that are compared.
fn compared(registry: &Registry) -> &'static [ClusterTable] {
    if registry.has_hits { &ClusterTable::ALL } else { &ClusterTable::OF_ROWS }
}

/// The buckets of all ledgers, a line each.
fn describe_buckets(registry: &Registry, equal: &EqualBuckets) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for generation in registry.ledgers.keys() {
        for (table, kind) in compared(registry).iter().zip(0..) {
            for bucket in 0..BUCKETS {
                let _ = write!(text, "bucket {generation:016x} {} {bucket}: ", table.name());
                // Writing to memory cannot fail.
                let _ = match equal.get(&(*generation, kind, bucket)) {
                    Some((at, rows)) => writeln!(text, "found equal {}, {rows} rows", format_utc(*at)),
                    None => writeln!(text, "never found equal"),
                };
            }
        }
    }
    text
}

/// The ledgers and the sensors, a line each.
fn describe(registry: &Registry, equal: &BTreeMap<u64, Equal>, now: u64) -> String {
    use std::fmt::Write;
    let tables = compared(registry);
    let time = |at: u64| if at == 0 { "never".to_owned() } else { format_utc(at) };
    let mut text = String::new();
    // Writing to memory cannot fail.
    if registry.cut > 0 {
        let _ = writeln!(text, "cut    nothing is kept that was last seen before {} UTC", time(registry.cut));
    }
    for ledger in registry.ledgers.values() {
        let _ = writeln!(
            text,
            "ledger {:016x}: as of {} ({} s ago), commit {}, last compared {}",
            ledger.generation,
            time(ledger.as_of),
            now.saturating_sub(ledger.as_of),
            ledger.mark,
            time(ledger.compared),
        );
        let equal = equal.get(&ledger.generation).copied().unwrap_or_default();
        let never = match equal.never(tables) {
            0 => String::new(),
            never => format!("; {never} never were"),
        };
        let _ = writeln!(
            text,
            "       {} of {} buckets were found equal, the one longest ago {}, the last {}{never}",
            equal.buckets,
            Equal::all(tables),
            time(equal.oldest),
            time(equal.newest),
        );
    }
    for (shard, why) in &registry.away {
        let why = sanitise(why);
        let _ = writeln!(
            text,
            "note   shard {shard} of the cluster is away, and nothing is shipped meanwhile: {why}"
        );
    }
    for lack in &registry.fed(now).lacks {
        let _ = writeln!(text, "note   {lack}");
    }
    for (name, of_one) in &registry.sensors {
        let standing = registry.standing(name);
        for sensor in of_one {
            let counts = match (standing.contains(&sensor.generation), sensor.stands) {
                (true, Stands::Closed) => "counts, and ships no more",
                (true, _) => "counts",
                (false, Stands::Unsaid) => {
                    "DOES NOT COUNT: another ledger has shipped for this sensor; `dnsledger fleet stand` says which one stands"
                }
                (false, _) => "does not count",
            };
            let name = sanitise(name);
            let _ = writeln!(
                text,
                "sensor {name}: ledger {:016x} since {}: {counts}",
                sensor.generation,
                time(sensor.since)
            );
        }
    }
    text
}
