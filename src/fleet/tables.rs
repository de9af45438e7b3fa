//! The tables: how they are made, and whether they are as they must be.
//!
//! One dialect, which ClickHouse 18.16 and the newest one both speak. Names and record data are the key forms of the ledger, as raw bytes:
//! strings compare byte by byte on both.

use super::FleetError;
use super::bucket::BUCKETS;
use super::cluster::{Cluster, Shard};
use super::condition::says_odd;
use super::names::ODD;
use super::rowbinary::{ColumnReader, put_u32, put_u64};
use super::rows::ClusterTable;

pub use super::names::{
    BY_DATA, BY_NAME, COMPARED, CUTS, HIT_MARKS, HITS, LAYOUT, LEDGERS, QUESTIONS, SENSORS,
};

/// The version of what is here.
pub const VERSION: u32 = 5;
/// The oldest one that does as well. Tables that were made at 3 have the last sighting where newer ones have how long after the first it was,
/// which takes more room; before 5 there are none of hits.
const OLDEST: u32 = 3;

/// Whether tables are replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Each shard is one server.
    Plain,
    /// Each shard has replicas, which ZooKeeper or a Keeper holds together; servers have the macros `shard` and `replica`.
    Replicated,
}

const IDENTITY: &str = "sensor String, gen UInt64, epoch UInt32, ver UInt64, bucket UInt16";
// What was seen once only has no span, and most was.
const VALUES: &str = "count UInt64, first UInt64, span UInt64, days UInt64, ttl UInt32, \
    a_count UInt64, a_first UInt64, a_span UInt64, a_days UInt64, a_ttl UInt32, names UInt64";
const LASTS: &str = ", last UInt64 ALIAS first + span, a_last UInt64 ALIAS a_first + a_span";
const OUTCOMES: &str = "o0 UInt64, o1 UInt64, o2 UInt64, o3 UInt64, o4 UInt64, o5 UInt64, o6 UInt64, o7 UInt64, \
    first UInt64, span UInt64, names UInt64";
const LAST: &str = ", last UInt64 ALIAS first + span";

/// Versions from which on a table says how its columns are compressed.
const SAYS_CODECS: u32 = 20;

/// How columns are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As the server has it: by LZ4, where it is not told otherwise.
    OfServer,
    /// By ZSTD, which takes half of that; only newer servers can be told so by a table.
    Zstd,
}

/// The statements that make a database and its tables, where they are not there.
pub fn statements(database: &str, form: Form, codec: Codec) -> Vec<String> {
    let table_with = |name: &str, columns: &str, computed: &str, order: &str, granularity: u32| {
        let columns = match codec {
            Codec::OfServer => columns.to_owned(),
            Codec::Zstd => columns.replace(", ", " CODEC(ZSTD(1)), ") + " CODEC(ZSTD(1))",
        };
        // Of what is computed only the last one is stored.
        let stored = if codec == Codec::Zstd && !computed.is_empty() { " CODEC(ZSTD(1))" } else { "" };
        let engine = match form {
            Form::Plain => "ReplacingMergeTree(ver)".to_owned(),
            Form::Replicated => format!(
                "ReplicatedReplacingMergeTree('/clickhouse/tables/{{shard}}/{database}/{name}', '{{replica}}', ver)"
            ),
        };
        format!(
            "CREATE TABLE IF NOT EXISTS {database}.{name} ({columns}{computed}{stored}) ENGINE = {engine} ORDER BY ({order}) \
             SETTINGS index_granularity = {granularity}"
        )
    };
    let table = |name: &str, columns: &str, order: &str, granularity: u32| {
        table_with(name, columns, "", order, granularity)
    };
    let rows = |first: &str| format!("{first}, {IDENTITY}, {VALUES}");
    vec![
        format!("CREATE DATABASE IF NOT EXISTS {database}"),
        table_with(
            BY_NAME,
            &rows("name String, rrtype UInt16, rdata String"),
            &format!("{LASTS}, {}", odd(ClusterTable::ByName)),
            "name, rrtype, rdata, sensor, gen, epoch",
            1024,
        ),
        table_with(
            BY_DATA,
            &rows("rdata String, name String, rrtype UInt16"),
            &format!("{LASTS}, {}", odd(ClusterTable::ByData)),
            "rdata, name, rrtype, sensor, gen, epoch",
            1024,
        ),
        table_with(
            QUESTIONS,
            &format!("name String, rrtype UInt16, {IDENTITY}, {OUTCOMES}"),
            &format!("{LAST}, {}", odd(ClusterTable::Questions)),
            "name, rrtype, sensor, gen, epoch",
            1024,
        ),
        table(
            HITS,
            &format!(
                "number UInt64, name String, indicator String, address String, {IDENTITY}, \
                 noted UInt64, time UInt64, note String, seen_at UInt64, seen_by String"
            ),
            "gen, number, name, indicator, address, sensor, epoch",
            1024,
        ),
        table(HIT_MARKS, "gen UInt64, ver UInt64, last UInt64", "gen", 8192),
        table(
            LEDGERS,
            "gen UInt64, ver UInt64, mark UInt64, drops UInt32, expired UInt64, as_of UInt64, compared UInt64, base UInt64",
            "gen",
            8192,
        ),
        table(
            SENSORS,
            "sensor String, gen UInt64, ver UInt64, stands UInt8, since UInt64",
            "sensor, gen",
            8192,
        ),
        table(
            COMPARED,
            "gen UInt64, kind UInt8, bucket UInt16, ver UInt64, rows UInt64",
            "gen, kind, bucket",
            8192,
        ),
        table(CUTS, "one UInt8, ver UInt64, before UInt64, at UInt64", "one", 8192),
        table(LAYOUT, "one UInt8, ver UInt64, version UInt32, buckets UInt32, shards UInt32", "one", 8192),
    ]
}

/// The column that says which rows of a table are odd. The server fills it, whoever inserts.
fn odd(table: ClusterTable) -> String {
    format!("{ODD} UInt8 MATERIALIZED {}", says_odd(table))
}

/// The statement that notes on one of so many shards, from 1 on, what its tables are: without it they are not taken for any.
pub fn layout_statement(database: &str, shard: u8, shards: u8) -> String {
    format!("INSERT INTO {database}.{LAYOUT} VALUES ({shard}, {VERSION}, {VERSION}, {BUCKETS}, {shards})")
}

/// Brings the tables to this version, in the form that they have.
///
/// # Errors
///
/// As [`init`], and when there are none.
pub fn upgrade(cluster: &Cluster) -> Result<(), FleetError> {
    found(cluster)?;
    let form = if is_replicated(cluster)? { Form::Replicated } else { Form::Plain };
    init(cluster, form)
}

/// Makes database and tables on every server, where they are not there, and notes the version.
///
/// # Errors
///
/// When a server does not do it, or has tables of a newer version or of another number of shards.
pub fn init(cluster: &Cluster, form: Form) -> Result<(), FleetError> {
    for shard in cluster.shards() {
        if form == Form::Plain && shard.replicas() > 1 {
            return Err(FleetError::Tables {
                what: format!(
                    "shard {} has several servers, which plain tables do not keep equal",
                    shard.number()
                ),
                hint: "dnsledger fleet init --replicated, or a semicolon between servers that are shards of their own",
            });
        }
        let is_new = |(_, version): &(String, String)| {
            version
                .split('.')
                .next()
                .and_then(|major| major.parse().ok())
                .is_some_and(|major: u32| major >= SAYS_CODECS)
        };
        let codec = if shard.versions()?.iter().all(is_new) { Codec::Zstd } else { Codec::OfServer };
        for statement in statements(cluster.database(), form, codec) {
            shard.execute_on_each(&statement)?;
        }
        add_base(cluster.database(), shard)?;
        add_odd(cluster.database(), shard)?;
    }
    let shards = cluster.shards().len();
    for (at, layout) in cluster.each(&[], |_, shard| layout(cluster, shard)) {
        if let Some(Layout { version, buckets, shards: made_for, number }) = layout? {
            // Of an older version it is no longer.
            fits(Layout { version: version.max(OLDEST), buckets, shards: made_for, number }, at, shards)?;
        }
    }
    for (at, shard) in cluster.shards().iter().enumerate() {
        let mut row = vec![number(at)];
        let version = if shard.has_spans(cluster.database())? { VERSION } else { OLDEST };
        put_u64(u64::from(version), &mut row);
        for number in [version, u32::from(BUCKETS), u32::try_from(shards).unwrap_or(u32::MAX)] {
            put_u32(number, &mut row);
        }
        cluster.insert(at, LAYOUT, &row, 0)?;
    }
    Ok(())
}

/// Adds the column that tables of versions before 3 lack.
fn add_base(database: &str, shard: &Shard) -> Result<(), FleetError> {
    let there = shard.rows(&format!(
        "SELECT count() FROM system.columns WHERE database = '{database}' AND table = '{LEDGERS}' AND name = 'base'"
    ))?;
    if ColumnReader(&there).u64()? > 0 {
        return Ok(());
    }
    // Replicas tell one another.
    shard.execute(&format!("ALTER TABLE {database}.{LEDGERS} ADD COLUMN base UInt64"))
}

/// The number of a shard as the layout has it.
fn number(at: usize) -> u8 {
    (at as u8).wrapping_add(1)
}

/// Makes sure that the tables are those of this version, for as many shards, on each shard that answers.
///
/// # Errors
///
/// When they are not, or no shard answers.
pub fn check(cluster: &Cluster) -> Result<(), FleetError> {
    let shards = cluster.shards().len();
    let (found, _) = found(cluster)?;
    let none = found.iter().find(|(_, layout)| layout.is_none()).map(|(at, _)| at + 1);
    for (at, layout) in found {
        if let Some(layout) = layout {
            fits(layout, at, shards)?;
        }
    }
    match none {
        None => Ok(()),
        Some(number) => Err(FleetError::Tables {
            what: format!("shard {number} has no tables of dnsledger, and others have"),
            hint: "name all shards, in the order in which they were named when the tables were made; for a new one: dnsledger fleet init",
        }),
    }
}

/// Adds the column that says which rows are odd, where a table was made without it. Of rows that are there the server works it out as they are
/// read, and keeps it as they are merged.
fn add_odd(database: &str, shard: &Shard) -> Result<(), FleetError> {
    for table in ClusterTable::OF_ROWS {
        let name = table.name();
        let there = shard.rows(&format!(
            "SELECT count() FROM system.columns WHERE database = '{database}' AND table = '{name}' AND name = '{ODD}'"
        ))?;
        if ColumnReader(&there).u64()? == 0 {
            shard.execute(&format!("ALTER TABLE {database}.{name} ADD COLUMN {}", odd(table)))?;
        }
    }
    Ok(())
}

/// The version of the tables of a shard.
///
/// # Errors
///
/// When it cannot be asked, or has none.
pub fn version(cluster: &Cluster, shard: &Shard) -> Result<u32, FleetError> {
    layout(cluster, shard)?.map(|layout| layout.version).ok_or_else(|| none(cluster))
}

fn none(cluster: &Cluster) -> FleetError {
    FleetError::Tables {
        what: format!("the database {} has no tables of dnsledger", cluster.database()),
        hint: "dnsledger fleet init makes them",
    }
}

/// What a layout says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    version: u32,
    buckets: u32,
    shards: u32,
    /// Which of the shards this is, from 1 on.
    number: u8,
}

/// The layouts of the shards that answer: some of them.
type ShardLayouts = (Vec<(usize, Option<Layout>)>, Vec<(usize, FleetError)>);

fn found(cluster: &Cluster) -> Result<ShardLayouts, FleetError> {
    let (found, away) = cluster.any(&[], |_, shard| layout(cluster, shard))?;
    if found.iter().all(|(_, layout)| layout.is_none()) {
        return Err(none(cluster));
    }
    Ok((found, away))
}

/// The layout that a shard has.
fn layout(cluster: &Cluster, shard: &Shard) -> Result<Option<Layout>, FleetError> {
    // A database that is not there, and a table: both are told as an error of the server.
    let found = shard.rows(&format!(
        "SELECT count() FROM system.tables WHERE database = '{}' AND name = '{LAYOUT}'",
        cluster.database()
    ))?;
    if ColumnReader(&found).u64()? == 0 {
        return Ok(None);
    }
    let rows = shard.rows(&format!(
        "SELECT version, buckets, shards, toUInt16(one) FROM {}.{LAYOUT} FINAL ORDER BY version DESC LIMIT 1",
        cluster.database()
    ))?;
    let mut columns = ColumnReader(&rows);
    if columns.is_empty() {
        return Ok(None);
    }
    let (version, buckets, shards) = (columns.u32()?, columns.u32()?, columns.u32()?);
    Ok(Some(Layout { version, buckets, shards, number: columns.u16()? as u8 }))
}

fn fits(layout: Layout, at: usize, named: usize) -> Result<(), FleetError> {
    let Layout { version, buckets, shards, number: found } = layout;
    if version > VERSION || buckets != u32::from(BUCKETS) {
        return Err(FleetError::Tables {
            what: format!("the tables are of version {version}, and this program knows {VERSION}"),
            hint: "install the version that made them, or a newer one",
        });
    }
    if version < OLDEST {
        return Err(FleetError::Tables {
            what: format!("the tables are of version {version}, and this program needs {OLDEST}"),
            hint: "dnsledger fleet upgrade",
        });
    }
    if shards as usize != named {
        return Err(FleetError::Tables {
            what: format!("the tables were made for {shards} shards, and {named} are named"),
            hint: "name all shards, in the order in which they were named when the tables were made",
        });
    }
    if found != number(at) {
        return Err(FleetError::Tables {
            what: format!("shard {found} is named as shard {}", at + 1),
            hint: "name all shards, in the order in which they were named when the tables were made",
        });
    }
    Ok(())
}

/// Replicas that must have a row before it counts as there, of as many as are wanted; 0 where an insert has no quorum.
///
/// # Errors
///
/// When it cannot be asked whether the tables are replicated.
pub fn quorum(cluster: &Cluster, wanted: usize) -> Result<usize, FleetError> {
    let replicas = cluster.shards().iter().map(Shard::replicas).min().unwrap_or(1);
    let quorum = if is_replicated(cluster)? { wanted.min(replicas) } else { 0 };
    // One is what an insert without a quorum has.
    Ok(if quorum > 1 { quorum } else { 0 })
}

/// Whether the tables are replicated.
///
/// # Errors
///
/// When that cannot be asked.
pub fn is_replicated(cluster: &Cluster) -> Result<bool, FleetError> {
    let statement = format!(
        "SELECT engine FROM system.tables WHERE database = '{}' AND name = '{BY_NAME}'",
        cluster.database()
    );
    let (there, _) = cluster.any(&[], |_, shard| shard.rows(&statement))?;
    let engines = there.iter().map(|(_, rows)| ColumnReader(rows).text());
    Ok(engines.collect::<Result<Vec<_>, _>>()?.iter().all(|engine| engine.starts_with("Replicated")))
}
