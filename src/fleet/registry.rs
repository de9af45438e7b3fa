//! What the cluster knows of the ledgers that ship into it: how far each has shipped, which sensors it has, and which ledger of a sensor
//! stands where there are several. The first shard keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::FleetError;
use super::bucket::BUCKETS;
use super::cluster::Cluster;
use super::rowbinary::{Columns, literal, put_bytes, put_u32, put_u64};
use super::rows::Table;
use super::tables::{COMPARED, CUTS, LEDGERS, SENSORS};
use crate::base::clock::{now, now_ms};
use crate::base::time::format_utc;
use crate::output::sanitise;
use crate::store::{Fed, SensorAsOf};

/// A sensor of which nothing newer came for so long is late, seconds: forwarders ship every few.
pub const LATE: u64 = 600;

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

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    /// The ledgers, by generation.
    pub ledgers: BTreeMap<u64, Shipped>,
    /// The sensors, by name, and those of one name in the order in which they were met.
    pub sensors: BTreeMap<Arc<str>, Vec<Sensor>>,
    /// Rows of which the last sighting is before this are not kept, whatever ships them, epoch seconds.
    pub cut: u64,
}

impl Registry {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// When the first shard does not answer.
    pub fn load(cluster: &Cluster) -> Result<Registry, FleetError> {
        let (database, first) = (cluster.database(), cluster.first()?);
        let mut registry = Registry::default();
        let rows = first.rows(&format!(
            "SELECT gen, ver, mark, drops, expired, as_of, compared FROM {database}.{LEDGERS} FINAL"
        ))?;
        let mut columns = Columns(&rows);
        while !columns.is_empty() {
            let shipped = Shipped {
                generation: columns.u64()?,
                version: columns.u64()?,
                mark: columns.u64()?,
                drops: columns.u32()?,
                expired: columns.u64()?,
                as_of: columns.u64()?,
                compared: columns.u64()?,
            };
            registry.ledgers.insert(shipped.generation, shipped);
        }
        let rows = first.rows(&format!(
            "SELECT sensor, gen, ver, toUInt64(stands), since FROM {database}.{SENSORS} FINAL"
        ))?;
        let mut columns = Columns(&rows);
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
        let rows = first.rows(&format!("SELECT before FROM {database}.{CUTS} FINAL"))?;
        let mut columns = Columns(&rows);
        while !columns.is_empty() {
            registry.cut = registry.cut.max(columns.u64()?);
        }
        for of_one in registry.sensors.values_mut() {
            of_one.sort_by_key(|sensor| (sensor.since, sensor.generation));
        }
        Ok(registry)
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
    /// Buckets that all tables have together.
    pub const ALL: u64 = Table::ALL.len() as u64 * BUCKETS as u64;

    /// Those that never were found equal.
    pub fn never(&self) -> u64 {
        Equal::ALL.saturating_sub(self.buckets)
    }
}

/// When the buckets of each ledger were last found equal.
///
/// # Errors
///
/// When the first shard does not answer.
pub fn found_equal(cluster: &Cluster) -> Result<BTreeMap<u64, Equal>, FleetError> {
    let rows = cluster.first()?.rows(&format!(
        "SELECT gen, count(), min(ver), max(ver) FROM {}.{COMPARED} FINAL GROUP BY gen",
        cluster.database()
    ))?;
    let (mut columns, mut all) = (Columns(&rows), BTreeMap::new());
    while !columns.is_empty() {
        let generation = columns.u64()?;
        let equal = Equal { buckets: columns.u64()?, oldest: columns.u64()?, newest: columns.u64()? };
        all.insert(generation, equal);
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
    let mut row = vec![1];
    // The latest time counts, whoever notes it when.
    for number in [before, before, now()] {
        put_u64(number, &mut row);
    }
    cluster.insert(0, CUTS, &row, quorum)
}

/// Notes how far a ledger has shipped.
///
/// # Errors
///
/// When the first shard does not take it.
pub fn note(cluster: &Cluster, shipped: &Shipped, quorum: usize) -> Result<(), FleetError> {
    let mut row = Vec::new();
    put_u64(shipped.generation, &mut row);
    put_u64(shipped.version, &mut row);
    put_u64(shipped.mark, &mut row);
    put_u32(shipped.drops, &mut row);
    put_u64(shipped.expired, &mut row);
    put_u64(shipped.as_of, &mut row);
    put_u64(shipped.compared, &mut row);
    cluster.insert(0, LEDGERS, &row, quorum)
}

/// Notes sensors.
///
/// # Errors
///
/// As [`note`].
pub fn note_sensors(cluster: &Cluster, sensors: &[Sensor], quorum: usize) -> Result<(), FleetError> {
    let mut rows = Vec::new();
    for sensor in sensors {
        put_bytes(sensor.name.as_bytes(), &mut rows);
        put_u64(sensor.generation, &mut rows);
        put_u64(sensor.version, &mut rows);
        rows.push(sensor.stands.code());
        put_u64(sensor.since, &mut rows);
    }
    if rows.is_empty() { Ok(()) } else { cluster.insert(0, SENSORS, &rows, quorum) }
}

/// What one ledger has shipped, as last noted.
///
/// # Errors
///
/// When the first shard does not answer.
pub fn shipped(cluster: &Cluster, generation: u64) -> Result<Shipped, FleetError> {
    let known = Registry::load(cluster)?.ledgers.get(&generation).copied();
    Ok(known.unwrap_or(Shipped { generation, ..Shipped::default() }))
}

/// A condition on rows of one of some sensors, as a statement says it.
pub fn of_sensor(sensor: &str) -> String {
    format!("sensor = {}", literal(sensor.as_bytes()))
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
            cut: 0,
        };
        let fed = registry.fed(5100);
        let times: Vec<(u64, bool)> =
            fed.sensors.iter().map(|sensor| (sensor.as_of, sensor.is_closed)).collect();
        assert_eq!(times, [(4900, false), (100, false), (90, true)]);
        assert_eq!(fed.as_of(), Some(100));
        assert_eq!(fed.lacks, ["The sensor b has shipped nothing since 1970-01-01 00:01:40 UTC."]);
    }
}
