//! The tables: how they are made, and whether they are as they must be.
//!
//! One dialect, which ClickHouse 18.16 and the newest one both speak. Names and record data are the key forms of the ledger, as raw bytes:
//! strings compare byte by byte on both.

use super::FleetError;
use super::bucket::BUCKETS;
use super::cluster::{Cluster, Shard};
use super::rowbinary::{Columns, put_u32, put_u64};

/// The version of what is here.
pub const VERSION: u32 = 2;

/// Rows by name.
pub const BY_NAME: &str = "by_name";
/// Rows by record data: addresses and names.
pub const BY_DATA: &str = "by_data";
/// Questions.
pub const QUESTIONS: &str = "questions";
/// Ledgers that ship, and how far.
pub const LEDGERS: &str = "ledgers";
/// Sensors of them, and which ledger of one stands.
pub const SENSORS: &str = "sensors";
/// When each bucket was last found equal.
pub const COMPARED: &str = "compared";
/// The time before which nothing is kept.
pub const CUTS: &str = "cuts";
/// The version, and for how many shards.
pub const LAYOUT: &str = "layout";

/// Whether tables are replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Each shard is one server.
    Plain,
    /// Each shard has replicas, which ZooKeeper or a Keeper holds together; servers have the macros `shard` and `replica`.
    Replicated,
}

const IDENTITY: &str = "sensor String, gen UInt64, epoch UInt32, ver UInt64, bucket UInt16";
const VALUES: &str = "count UInt64, first UInt64, last UInt64, days UInt64, ttl UInt32, \
    a_count UInt64, a_first UInt64, a_last UInt64, a_days UInt64, a_ttl UInt32, names UInt64";
const OUTCOMES: &str = "o0 UInt64, o1 UInt64, o2 UInt64, o3 UInt64, o4 UInt64, o5 UInt64, o6 UInt64, o7 UInt64, \
    first UInt64, last UInt64, names UInt64";

/// The statements that make a database and its tables, where they are not there.
pub fn statements(database: &str, form: Form) -> Vec<String> {
    let table = |name: &str, columns: &str, order: &str, granularity: u32| {
        let engine = match form {
            Form::Plain => "ReplacingMergeTree(ver)".to_owned(),
            Form::Replicated => format!(
                "ReplicatedReplacingMergeTree('/clickhouse/tables/{{shard}}/{database}/{name}', '{{replica}}', ver)"
            ),
        };
        format!(
            "CREATE TABLE IF NOT EXISTS {database}.{name} ({columns}) ENGINE = {engine} ORDER BY ({order}) \
             SETTINGS index_granularity = {granularity}"
        )
    };
    let rows = |first: &str| format!("{first}, {IDENTITY}, {VALUES}");
    vec![
        format!("CREATE DATABASE IF NOT EXISTS {database}"),
        table(
            BY_NAME,
            &rows("name String, rrtype UInt16, rdata String"),
            "name, rrtype, rdata, sensor, gen, epoch",
            1024,
        ),
        table(
            BY_DATA,
            &rows("rdata String, name String, rrtype UInt16"),
            "rdata, name, rrtype, sensor, gen, epoch",
            1024,
        ),
        table(
            QUESTIONS,
            &format!("name String, rrtype UInt16, {IDENTITY}, {OUTCOMES}"),
            "name, rrtype, sensor, gen, epoch",
            1024,
        ),
        table(
            LEDGERS,
            "gen UInt64, ver UInt64, mark UInt64, drops UInt32, expired UInt64, as_of UInt64, compared UInt64",
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
        for statement in statements(cluster.database(), form) {
            shard.execute_on_each(&statement)?;
        }
    }
    let shards = cluster.shards().len();
    let first = cluster.first()?;
    if let Some((version, buckets, made_for)) = layout(cluster, first)? {
        // Of an older version it is no longer.
        fits((version.max(VERSION), buckets, made_for), shards)?;
    }
    let mut row = vec![1];
    put_u64(u64::from(VERSION), &mut row);
    for number in [VERSION, u32::from(BUCKETS), u32::try_from(shards).unwrap_or(u32::MAX)] {
        put_u32(number, &mut row);
    }
    cluster.insert(0, LAYOUT, &row, 0)
}

/// Makes sure that the tables are those of this version, for as many shards.
///
/// # Errors
///
/// When they are not, or cannot be asked.
pub fn check(cluster: &Cluster) -> Result<(), FleetError> {
    fits(found(cluster)?, cluster.shards().len())
}

/// The layout that is there.
fn found(cluster: &Cluster) -> Result<Layout, FleetError> {
    let first = cluster.first()?;
    // A database that is not there, and a table: both are told as an error of the server.
    let found = first.rows(&format!(
        "SELECT count() FROM system.tables WHERE database = '{}' AND name = '{LAYOUT}'",
        cluster.database()
    ))?;
    let layout = if Columns(&found).u64()? == 0 { None } else { layout(cluster, first)? };
    layout.ok_or_else(|| FleetError::Tables {
        what: format!("the database {} has no tables of dnsledger", cluster.database()),
        hint: "dnsledger fleet init makes them",
    })
}

/// Version, buckets and shards.
type Layout = (u32, u32, u32);

fn layout(cluster: &Cluster, shard: &Shard) -> Result<Option<Layout>, FleetError> {
    let rows =
        shard.rows(&format!("SELECT version, buckets, shards FROM {}.{LAYOUT} FINAL", cluster.database()))?;
    let mut columns = Columns(&rows);
    if columns.is_empty() {
        return Ok(None);
    }
    Ok(Some((columns.u32()?, columns.u32()?, columns.u32()?)))
}

fn fits((version, buckets, shards): Layout, named: usize) -> Result<(), FleetError> {
    if version > VERSION || buckets != u32::from(BUCKETS) {
        return Err(FleetError::Tables {
            what: format!("the tables are of version {version}, and this program knows {VERSION}"),
            hint: "install the version that made them, or a newer one",
        });
    }
    if version < VERSION {
        return Err(FleetError::Tables {
            what: format!("the tables are of version {version}, and this program needs {VERSION}"),
            hint: "dnsledger fleet upgrade",
        });
    }
    if shards as usize != named {
        return Err(FleetError::Tables {
            what: format!("the tables were made for {shards} shards, and {named} are named"),
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
    let rows = cluster.first()?.rows(&format!(
        "SELECT engine FROM system.tables WHERE database = '{}' AND name = '{BY_NAME}'",
        cluster.database()
    ))?;
    Ok(Columns(&rows).text()?.starts_with("Replicated"))
}
