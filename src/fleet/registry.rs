//! What the cluster knows of the ledgers that ship into it: how far each has shipped, which sensors it has, and which ledger of a sensor
//! stands where there are several.
//!
//! Every shard keeps all of it: what is noted is noted on each, and is read from those that answer, where the newest version of a note wins.
//! A forwarder notes again what a shard lacks that was away.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::FleetError;
use super::bucket::BUCKETS;
use super::cluster::{Cluster, Shard, UNKNOWN, is_behind};
use super::rowbinary::{ColumnReader, put_bytes, put_u32, put_u64};
use super::rows::ClusterTable;
use super::tables::{COMPARED, CUTS, HIT_MARKS, LEDGERS, SENSORS};
use crate::base::clock::{now, now_ms};
use crate::base::time::format_utc;
use crate::output::sanitise;
use crate::store::{Fed, SensorAsOf};

/// A sensor of which nothing newer came for so long is late, seconds: forwarders ship every few.
pub const LATE: u64 = 600;
/// So many seconds may clocks differ.
const AHEAD: u64 = 60;

/// How far a ledger has shipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shipped {
    /// Its generation.
    pub generation: u64,
    /// The version of this note.
    pub version: u64,
    /// The number of the commit up to which all is here.
    pub mark: u64,
    /// How often it had dropped rows that were not old, when what it has was last compared for that.
    pub drops: u32,
    /// The time before which it keeps nothing, as far as that was seen to here.
    pub expired: u64,
    /// When it was as it is here, epoch seconds.
    pub as_of: u64,
    /// When all of it was last compared, epoch seconds; 0 before.
    pub compared: u64,
    /// What its commits are counted on from: more than 0 where the ledger was put back to an older state.
    pub base: u64,
}

/// Whether a ledger stands for a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// Nobody has said.
    Unsaid,
    /// It does.
    Yes,
    /// It does not: another one does.
    No,
    /// It does, and will ship no more.
    Closed,
}

impl Stands {
    fn code(self) -> u8 {
        match self {
            Stands::Unsaid => 0,
            Stands::Yes => 1,
            Stands::No => 2,
            Stands::Closed => 3,
        }
    }
}

/// A sensor of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sensor {
    /// Its name.
    pub name: Arc<str>,
    /// The generation of the ledger.
    pub generation: u64,
    /// The version of this note.
    pub version: u64,
    /// Whether the ledger stands for it.
    pub stands: Stands,
    /// When it was first met, epoch seconds.
    pub since: u64,
}

/// Up to which number the hits of a ledger are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HitMark {
    /// The version of this note.
    pub version: u64,
    /// The number.
    pub last: u64,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    /// The ledgers, by generation.
    pub ledgers: BTreeMap<u64, Shipped>,
    /// The sensors, by name, and those of one name in the order in which they were met.
    pub sensors: BTreeMap<Arc<str>, Vec<Sensor>>,
    /// Up to which number the hits of a ledger are there, by generation; none where nothing was shipped since there are tables for them.
    pub hits: BTreeMap<u64, HitMark>,
    /// Whether tables have hits.
    pub has_hits: bool,
    /// Rows of which the last sighting is before this are not kept, whatever ships them, epoch seconds.
    pub cut: u64,
    /// Shards that answered and lack some of it, from 0 on.
    pub behind: Vec<usize>,
    /// Others that did not answer, from 1 on, and why.
    pub away: Vec<(usize, String)>,
}

impl Registry {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// When no shard answers.
    pub fn load(cluster: &Cluster) -> Result<Registry, FleetError> {
        Registry::load_without(cluster, &[])
    }

    /// The same without asking some shards, from 0 on, which are away.
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn load_without(cluster: &Cluster, without: &[usize]) -> Result<Registry, FleetError> {
        let (there, away) = cluster.any(without, |_, shard| Registry::of_shard(cluster.database(), shard))?;
        let mut registry = Registry::default();
        there.iter().for_each(|(_, of_shard)| registry.merge(of_shard));
        registry.has_hits = there.iter().all(|(_, of_shard)| of_shard.has_hits);
        registry.behind =
            there.iter().filter(|(_, other)| !registry.is_as(other)).map(|(at, _)| *at).collect();
        registry.away.extend(away.into_iter().filter_map(|(_, error)| match error {
            FleetError::Shard { shard, why } => Some((shard, why)),
            _ => None,
        }));
        Ok(registry)
    }

    /// The same where every shard must answer.
    ///
    /// # Errors
    ///
    /// When one does not.
    pub fn load_whole(cluster: &Cluster) -> Result<Registry, FleetError> {
        let mut registry = Registry::load(cluster)?;
        match registry.away.pop() {
            None => Ok(registry),
            Some((shard, why)) => Err(FleetError::Shard { shard, why }),
        }
    }

    /// What a shard keeps.
    fn of_shard(database: &str, shard: &Shard) -> Result<Registry, FleetError> {
        let mut registry = Registry::default();
        let rows = shard.rows(&format!(
            "SELECT gen, ver, mark, drops, expired, as_of, compared, base FROM {database}.{LEDGERS} FINAL"
        ))?;
        let mut columns = ColumnReader(&rows);
        while !columns.is_empty() {
            let shipped = Shipped {
                generation: columns.u64()?,
                version: columns.u64()?,
                mark: columns.u64()?,
                drops: columns.u32()?,
                expired: columns.u64()?,
                as_of: columns.u64()?,
                compared: columns.u64()?,
                base: columns.u64()?,
            };
            registry.ledgers.insert(shipped.generation, shipped);
        }
        let rows = shard.rows(&format!(
            "SELECT sensor, gen, ver, toUInt64(stands), since FROM {database}.{SENSORS} FINAL"
        ))?;
        let mut columns = ColumnReader(&rows);
        while !columns.is_empty() {
            let sensor = Sensor {
                name: columns.text()?.into(),
                generation: columns.u64()?,
                version: columns.u64()?,
                stands: match columns.u64()? {
                    1 => Stands::Yes,
                    2 => Stands::No,
                    3 => Stands::Closed,
                    _ => Stands::Unsaid,
                },
                since: columns.u64()?,
            };
            registry.sensors.entry(Arc::clone(&sensor.name)).or_default().push(sensor);
        }
        registry.has_hits = shard.has_hits(database)?;
        if registry.has_hits {
            let rows = shard.rows(&format!("SELECT gen, ver, last FROM {database}.{HIT_MARKS} FINAL"))?;
            let mut columns = ColumnReader(&rows);
            while !columns.is_empty() {
                let generation = columns.u64()?;
                let mark = HitMark { version: columns.u64()?, last: columns.u64()? };
                registry.hits.insert(generation, mark);
            }
        }
        let rows = shard.rows(&format!("SELECT before FROM {database}.{CUTS} FINAL"))?;
        let mut columns = ColumnReader(&rows);
        while !columns.is_empty() {
            registry.cut = registry.cut.max(columns.u64()?);
        }
        Ok(registry)
    }

    /// Adds what another shard keeps, or what was read before: the newest version of each note.
    pub fn merge(&mut self, other: &Registry) {
        for (generation, shipped) in &other.ledgers {
            let known = self.ledgers.entry(*generation).or_insert(*shipped);
            if known.version < shipped.version {
                *known = *shipped;
            }
        }
        for (name, of_one) in &other.sensors {
            let known = self.sensors.entry(Arc::clone(name)).or_default();
            for sensor in of_one {
                match known.iter_mut().find(|known| known.generation == sensor.generation) {
                    Some(known) if known.version >= sensor.version => {}
                    Some(known) => *known = sensor.clone(),
                    None => known.push(sensor.clone()),
                }
            }
            known.sort_by_key(|sensor| (sensor.since, sensor.generation));
        }
        for (generation, mark) in &other.hits {
            let known = self.hits.entry(*generation).or_insert(*mark);
            if known.version < mark.version {
                *known = *mark;
            }
        }
        self.cut = self.cut.max(other.cut);
    }

    /// Whether a shard keeps the same.
    fn is_as(&self, other: &Registry) -> bool {
        let has = |name: &Arc<str>, of_one: &Vec<Sensor>| {
            let others = other.sensors.get(name).map_or([].as_slice(), Vec::as_slice);
            of_one.iter().all(|sensor| others.contains(sensor))
        };
        self.ledgers == other.ledgers
            && (self.hits == other.hits || !other.has_hits)
            && self.cut == other.cut
            && self.sensors.iter().all(|(name, of_one)| has(name, of_one))
    }

    /// Notes all of it once more where a shard lacks some.
    ///
    /// # Errors
    ///
    /// When such a shard does not take it.
    pub fn spread(&self, cluster: &Cluster, quorum: usize) -> Result<(), FleetError> {
        for at in &self.behind {
            let mut rows = Vec::new();
            self.ledgers.values().for_each(|shipped| shipped.push(&mut rows));
            cluster.insert(*at, LEDGERS, &rows, quorum)?;
            rows.clear();
            self.sensors.values().flatten().for_each(|sensor| sensor.push(&mut rows));
            cluster.insert(*at, SENSORS, &rows, quorum)?;
            rows.clear();
            self.hits.iter().for_each(|(generation, mark)| mark.push(*generation, &mut rows));
            if self.has_hits && !rows.is_empty() {
                cluster.insert(*at, HIT_MARKS, &rows, quorum)?;
            }
            if self.cut > 0 {
                cluster.insert(*at, CUTS, &cut_row(self.cut), quorum)?;
            }
        }
        Ok(())
    }

    /// The generations whose rows count for a sensor: those of which it was said, or the one that was met first.
    pub fn standing(&self, sensor: &str) -> Vec<u64> {
        let of_one = self.sensors.get(sensor).map_or([].as_slice(), Vec::as_slice);
        let said = of_one.iter().filter(|sensor| matches!(sensor.stands, Stands::Yes | Stands::Closed));
        let said: Vec<u64> = said.map(|sensor| sensor.generation).collect();
        if !said.is_empty() {
            return said;
        }
        let first = of_one.iter().find(|sensor| sensor.stands == Stands::Unsaid);
        first.map(|sensor| sensor.generation).into_iter().collect()
    }

    /// Sensors of which several ledgers ship, and nobody has said yet of one of them whether it stands.
    pub fn undecided(&self) -> impl Iterator<Item = &Sensor> {
        self.sensors.iter().flat_map(|(name, of_one)| {
            let standing = self.standing(name);
            let is_open = move |sensor: &&Sensor| {
                sensor.stands == Stands::Unsaid && !standing.contains(&sensor.generation)
            };
            of_one.iter().filter(is_open)
        })
    }

    /// When a sensor was as it is told here: the earliest time of the ledgers that stand for it and are to ship more; the latest where
    /// none is.
    pub fn as_of(&self, sensor: &str) -> SensorAsOf {
        let standing = self.standing(sensor);
        let of_one = self.sensors.get(sensor).map_or([].as_slice(), Vec::as_slice);
        let as_of = |sensor: &Sensor| self.ledgers.get(&sensor.generation).map_or(0, |shipped| shipped.as_of);
        let counts = of_one.iter().filter(|sensor| standing.contains(&sensor.generation));
        let (closed, open): (Vec<&Sensor>, Vec<&Sensor>) =
            counts.partition(|sensor| sensor.stands == Stands::Closed);
        let earliest = open.iter().map(|sensor| as_of(sensor)).min();
        let latest = closed.iter().map(|sensor| as_of(sensor)).max();
        SensorAsOf {
            sensor: sensor.into(),
            as_of: earliest.or(latest).unwrap_or(0),
            is_closed: earliest.is_none() && latest.is_some(),
        }
    }

    /// As of when all sensors are here, and what is to be said of them at a time: who is late, and who does not count.
    pub fn fed(&self, now: u64) -> Fed {
        let sensors: Vec<SensorAsOf> = self.sensors.keys().map(|name| self.as_of(name)).collect();
        let mut lacks = Vec::new();
        for SensorAsOf { sensor, as_of, is_closed } in &sensors {
            if as_of.saturating_sub(now) > AHEAD {
                let (name, ahead) = (sanitise(sensor), as_of - now);
                lacks.push(format!(
                    "The clock of the sensor {name} is {ahead} s ahead: it is there as of less than is said."
                ));
            }
            if *is_closed || now.saturating_sub(*as_of) < LATE {
                continue;
            }
            let name = sanitise(sensor);
            lacks.push(match as_of {
                0 => format!("Of the sensor {name} nothing is there yet that is whole."),
                _ => format!("The sensor {name} has shipped nothing since {} UTC.", format_utc(*as_of)),
            });
        }
        lacks.extend(self.undecided().map(|sensor| {
            let name = sanitise(&sensor.name);
            format!("A second ledger ships for the sensor {name}, and does not count: `dnsledger fleet stand` says which one stands.")
        }));
        Fed { sensors, lacks }
    }
}

/// As of when each ledger is there, and up to which number its hits, by generation.
type Times = BTreeMap<u64, (u64, u64)>;

/// What servers that are asked are known to have: a replica may have a note that a ledger has shipped before it has the rows.
///
/// A note is made when all rows are there. So what is noted when a replica is not behind, it has; and one that is has what was noted
/// before it was.
#[derive(Debug, Default)]
pub struct Whole {
    /// By shard and host.
    known: HashMap<(usize, String), Times>,
}

/// The same of the servers that are asked just now.
#[derive(Debug, Default)]
pub struct ServersAsked {
    /// As of when each of them has the ledgers, at least.
    times: Vec<Times>,
    /// What is to be said of those that are far behind.
    says: Vec<String>,
    /// How often servers were taken that may have less than others.
    lowered: u64,
}

impl Whole {
    /// Asks the servers that a registry was read from how far they are behind.
    pub fn ask(&mut self, cluster: &Cluster, registry: &Registry, without: &[usize]) -> ServersAsked {
        let mut asked = ServersAsked { lowered: cluster.lowered(), ..ServersAsked::default() };
        for (at, answer) in cluster.each(without, |_, shard| shard.lag()) {
            // One that does not answer is away, which is said elsewhere.
            let Ok((host, lag)) = answer else { continue };
            let key = (at, host);
            if lag == 0 || !self.known.contains_key(&key) {
                let until = now().saturating_sub(lag);
                let ledgers = registry.ledgers.iter();
                let is_there = |shipped: &Shipped| lag == 0 || shipped.version / 1000 < until;
                let times = ledgers.filter(|(_, shipped)| is_there(shipped));
                let marks = |mark: &&HitMark| lag == 0 || mark.version / 1000 < until;
                let hits = |of: &u64| registry.hits.get(of).filter(marks).map_or(0, |mark| mark.last);
                self.known.insert(
                    key.clone(),
                    times.map(|(of, shipped)| (*of, (shipped.as_of, hits(of)))).collect(),
                );
            }
            asked.times.extend(self.known.get(&key).cloned());
            if is_behind(lag) {
                let (shard, host) = (at + 1, sanitise(&key.1));
                asked.says.push(match lag {
                    UNKNOWN => format!(
                        "Shard {shard} of the cluster is read from {host}, which has lost ZooKeeper: it may lack what came since."
                    ),
                    lag => format!(
                        "Shard {shard} of the cluster is read from {host}, which is {lag} s behind: it lacks what came since."
                    ),
                });
            }
        }
        asked
    }
}

/// What is known of sensors, as rows are read by it.
#[derive(Debug, Default)]
pub struct Known {
    /// All of it.
    pub registry: Registry,
    /// The generations that count, by sensor.
    standing: HashMap<Arc<str>, HashSet<u64>>,
    /// What the servers have that are asked.
    asked: ServersAsked,
}

impl Known {
    /// What a registry says, where these servers are asked.
    pub fn of(registry: Registry, asked: ServersAsked) -> Known {
        let names = registry.sensors.keys();
        let standing = names.map(|name| (Arc::clone(name), registry.standing(name).into_iter().collect()));
        Known { standing: standing.collect(), registry, asked }
    }

    /// As of when all sensors are in the servers that are asked, and what is to be said of them at a time. `lowered` is how often
    /// servers were taken by then that may have less than others.
    pub fn fed(&self, now: u64, lowered: u64) -> Fed {
        let mut there = self.registry.clone();
        for shipped in there.ledgers.values_mut() {
            let of_one = |times: &Times| times.get(&shipped.generation).map_or(0, |(as_of, _)| *as_of);
            shipped.as_of = self.asked.times.iter().map(of_one).fold(shipped.as_of, u64::min);
        }
        let fed = there.fed(now);
        let mut lacks = self.asked.says.clone();
        if lowered != self.asked.lowered {
            lacks.push(
                "Another replica is asked since a moment ago, which may lack what came last.".to_owned(),
            );
        }
        lacks.extend(fed.lacks);
        Fed { lacks, ..fed }
    }

    /// The number of the last hit of each ledger up to which all are in the servers that are asked, where a sensor of it counts.
    pub fn last_hits(&self) -> BTreeMap<u64, u64> {
        let standing: HashSet<u64> = self.standing.values().flatten().copied().collect();
        let marks = self.registry.hits.iter().filter(|(of, _)| standing.contains(of));
        let there = |(of, mark): (&u64, &HitMark)| {
            let of_one = |times: &Times| times.get(of).map_or(0, |(_, hits)| *hits);
            (*of, self.asked.times.iter().map(of_one).fold(mark.last, u64::min))
        };
        marks.map(there).collect()
    }

    /// A sensor by its name, if it is known.
    pub fn sensor(&self, name: &str) -> Option<&Arc<str>> {
        self.standing.get_key_value(name).map(|(name, _)| name)
    }

    /// The generations that count of some sensors.
    pub fn standing<'a>(&'a self, sensors: &'a [Arc<str>]) -> impl Iterator<Item = (&'a str, u64)> {
        sensors.iter().flat_map(|sensor| {
            let standing = self.standing.get(sensor).into_iter().flatten();
            standing.map(|generation| (&**sensor, *generation))
        })
    }

    /// Whether rows of a sensor that a ledger has shipped count.
    pub fn stands(&self, sensor: &str, generation: u64) -> bool {
        self.standing.get(sensor).is_some_and(|standing| standing.contains(&generation))
    }
}

/// When the buckets of a ledger were last found equal with what the cluster has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Equal {
    /// Buckets of tables that ever were.
    pub buckets: u64,
    /// When that was of the one of which it is longest ago, epoch seconds.
    pub oldest: u64,
    /// When it was of the one of which it was last.
    pub newest: u64,
}

impl Equal {
    /// Buckets that some tables have together.
    pub fn all(tables: &[ClusterTable]) -> u64 {
        tables.len() as u64 * u64::from(BUCKETS)
    }

    /// Those of them that never were found equal.
    pub fn never(&self, tables: &[ClusterTable]) -> u64 {
        Equal::all(tables).saturating_sub(self.buckets)
    }
}

/// When the buckets of each ledger were last found equal.
///
/// # Errors
///
/// When no shard answers.
pub fn found_equal(cluster: &Cluster) -> Result<BTreeMap<u64, Equal>, FleetError> {
    let statement = format!(
        "SELECT gen, count(), min(ver), max(ver) FROM {}.{COMPARED} FINAL GROUP BY gen",
        cluster.database()
    );
    let (there, _) = cluster.any(&[], |_, shard| shard.rows(&statement))?;
    let mut all: BTreeMap<u64, Equal> = BTreeMap::new();
    for (_, rows) in there {
        let mut columns = ColumnReader(&rows);
        while !columns.is_empty() {
            let generation = columns.u64()?;
            let equal = Equal { buckets: columns.u64()?, oldest: columns.u64()?, newest: columns.u64()? };
            let known = all.entry(generation).or_insert(equal);
            // One that was away lacks some.
            if (known.buckets, known.newest) < (equal.buckets, equal.newest) {
                *known = equal;
            }
        }
    }
    Ok(all)
}

/// When each bucket of each ledger was last found equal, epoch seconds, and how many rows it had: by ledger, place in [`ClusterTable::ALL`] and
/// bucket. Those that never were are not there.
pub type EqualBuckets = BTreeMap<(u64, u16, u16), (u64, u64)>;

/// Which buckets were found equal, and when.
///
/// # Errors
///
/// When no shard answers.
pub fn equal_buckets(cluster: &Cluster) -> Result<EqualBuckets, FleetError> {
    let statement =
        format!("SELECT gen, toUInt16(kind), bucket, ver, rows FROM {}.{COMPARED} FINAL", cluster.database());
    let (there, _) = cluster.any(&[], |_, shard| shard.rows(&statement))?;
    let mut all = EqualBuckets::new();
    for (_, rows) in there {
        let mut columns = ColumnReader(&rows);
        while !columns.is_empty() {
            let at = (columns.u64()?, columns.u16()?, columns.u16()?);
            let found = (columns.u64()?, columns.u64()?);
            // One that was away lacks some.
            let known = all.entry(at).or_insert(found);
            *known = (*known).max(found);
        }
    }
    Ok(all)
}

/// A version of a note that is greater than one which was read, and than those which are noted at other times: what was read may come
/// from a replica that is behind.
pub fn next_version(read: u64) -> u64 {
    now_ms().max(read.saturating_add(1))
}

/// Notes that nothing is kept of which the last sighting is before a time.
///
/// # Errors
///
/// As [`note`].
pub fn note_cut(cluster: &Cluster, before: u64, quorum: usize) -> Result<(), FleetError> {
    cluster.insert_everywhere(CUTS, &cut_row(before), quorum)
}

fn cut_row(before: u64) -> Vec<u8> {
    let mut row = vec![1];
    // The latest time counts, whoever notes it when.
    for number in [before, before, now()] {
        put_u64(number, &mut row);
    }
    row
}

impl Shipped {
    fn push(&self, rows: &mut Vec<u8>) {
        put_u64(self.generation, rows);
        put_u64(self.version, rows);
        put_u64(self.mark, rows);
        put_u32(self.drops, rows);
        put_u64(self.expired, rows);
        put_u64(self.as_of, rows);
        put_u64(self.compared, rows);
        put_u64(self.base, rows);
    }
}

impl HitMark {
    fn push(&self, generation: u64, rows: &mut Vec<u8>) {
        put_u64(generation, rows);
        put_u64(self.version, rows);
        put_u64(self.last, rows);
    }
}

impl Sensor {
    fn push(&self, rows: &mut Vec<u8>) {
        put_bytes(self.name.as_bytes(), rows);
        put_u64(self.generation, rows);
        put_u64(self.version, rows);
        rows.push(self.stands.code());
        put_u64(self.since, rows);
    }
}

/// Notes how far a ledger has shipped.
///
/// # Errors
///
/// When a shard does not take it.
pub fn note(cluster: &Cluster, shipped: &Shipped, quorum: usize) -> Result<(), FleetError> {
    let mut row = Vec::new();
    shipped.push(&mut row);
    cluster.insert_everywhere(LEDGERS, &row, quorum)
}

/// Notes up to which number the hits of a ledger are there.
///
/// # Errors
///
/// As [`note`].
pub fn note_hits(
    cluster: &Cluster,
    generation: u64,
    mark: &HitMark,
    quorum: usize,
) -> Result<(), FleetError> {
    let mut row = Vec::new();
    mark.push(generation, &mut row);
    cluster.insert_everywhere(HIT_MARKS, &row, quorum)
}

/// Notes sensors.
///
/// # Errors
///
/// As [`note`].
pub fn note_sensors(cluster: &Cluster, sensors: &[Sensor], quorum: usize) -> Result<(), FleetError> {
    let mut rows = Vec::new();
    sensors.iter().for_each(|sensor| sensor.push(&mut rows));
    if rows.is_empty() { Ok(()) } else { cluster.insert_everywhere(SENSORS, &rows, quorum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebuilt_sensor_does_not_count_beside_its_former_self_before_somebody_says_so() {
        let sensor =
            |generation, stands, since| Sensor { name: "dmz".into(), generation, version: 1, stands, since };
        let standing = |sensors: Vec<Sensor>| {
            let registry = Registry { sensors: [("dmz".into(), sensors)].into(), ..Registry::default() };
            let undecided = registry.undecided().map(|sensor| sensor.generation).collect::<Vec<_>>();
            (registry.standing("dmz"), undecided)
        };
        use Stands::{Closed, No, Unsaid, Yes};
        assert_eq!(standing(vec![sensor(7, Unsaid, 1)]), (vec![7], vec![]));
        assert_eq!(standing(vec![sensor(7, Unsaid, 1), sensor(3, Unsaid, 2)]), (vec![7], vec![3]));
        assert_eq!(standing(vec![sensor(7, No, 1), sensor(3, Yes, 2)]), (vec![3], vec![]));
        assert_eq!(standing(vec![sensor(7, Yes, 1), sensor(3, Yes, 2)]), (vec![7, 3], vec![]));
        assert_eq!(standing(vec![sensor(7, Closed, 1), sensor(3, Unsaid, 2)]), (vec![7], vec![3]));
        // And one that is rebuilt once more.
        assert_eq!(
            standing(vec![sensor(7, No, 1), sensor(3, Yes, 2), sensor(9, Unsaid, 3)]),
            (vec![3], vec![9])
        );
    }

    #[test]
    fn a_sensor_is_as_of_its_ledger_that_is_furthest_behind_and_one_that_is_late_is_said() {
        let sensor = |name: &str, generation, stands| Sensor {
            name: name.into(),
            generation,
            version: 1,
            stands,
            since: generation,
        };
        let shipped = |generation, as_of| (generation, Shipped { generation, as_of, ..Shipped::default() });
        let registry = Registry {
            ledgers: [shipped(1, 5000), shipped(2, 4900), shipped(3, 100), shipped(4, 90)].into(),
            sensors: [
                ("a".into(), vec![sensor("a", 1, Stands::Yes), sensor("a", 2, Stands::Yes)]),
                ("b".into(), vec![sensor("b", 3, Stands::Unsaid)]),
                ("c".into(), vec![sensor("c", 4, Stands::Closed)]),
            ]
            .into(),
            ..Registry::default()
        };
        let fed = registry.fed(5100);
        let times: Vec<(u64, bool)> =
            fed.sensors.iter().map(|sensor| (sensor.as_of, sensor.is_closed)).collect();
        assert_eq!(times, [(4900, false), (100, false), (90, true)]);
        assert_eq!(fed.as_of(), Some(100));
        assert_eq!(fed.lacks, ["The sensor b has shipped nothing since 1970-01-01 00:01:40 UTC."]);
        let lacks = registry.fed(4800).lacks;
        assert!(lacks[0].starts_with("The clock of the sensor a is 100 s ahead"), "{lacks:?}");
    }
}
