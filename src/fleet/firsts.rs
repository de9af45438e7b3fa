//! First sightings of names and record data, summed up by servers. All of a name is in one shard, and all of an address or a target: so
//! each shard says what is new itself, and hands out no more than the newest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::FleetError;
use super::cluster::Cluster;
use super::condition::{below, seen};
use super::pages::Range;
use super::registry::Known;
use super::rowbinary::{ColumnReader, literal};
use super::rows::ClusterTable;
use super::sweep::{KeyPart, Sweep, behind};
use crate::dns::{Name, Rdata, RrType};
use crate::observation::FirstSeen;
use crate::store::{About, Fence, First, FirstsOf, StoreError};

/// Sensors by their names: a first sighting and the number of the sensor are one number, of which the least is that of the first sensor by
/// name in the first second.
const SENSORS: u64 = 1 << 20;
/// Where one row in so many is about something new, that is much.
const MUCH: u64 = 5;

/// First sightings, a part of the keys at a time.
pub(super) struct ByFirst<'a> {
    sweep: Sweep<'a>,
    known: Arc<Known>,
    database: String,
    of: FirstsOf,
    /// What numbers mean that servers give to sensors, from 1 on.
    sensors: Vec<Arc<str>>,
    /// Whether much of what the last part had was new: then what is old is not looked for before.
    is_dense: bool,
    ready: VecDeque<First>,
    is_over: bool,
}

impl<'a> ByFirst<'a> {
    /// `None` where a scan can find none.
    pub(super) fn open(
        cluster: &'a Cluster,
        known: Arc<Known>,
        without: &[usize],
        of: FirstsOf,
    ) -> Option<ByFirst<'a>> {
        let (tables, range): (&[ClusterTable], _) = match of.about {
            About::Rrname => {
                (&[ClusterTable::ByName, ClusterTable::Questions], Range::of_questions(&of.scan))
            }
            About::Rdata => (&[ClusterTable::ByData], Range::of_rows(&of.scan)),
        };
        let range = range?;
        let wanted = |name: &&Arc<str>| of.sensor.as_ref().is_none_or(|sensor| **sensor == ***name);
        // They are in the order of their names.
        let sensors: Vec<Arc<str>> = known.registry.sensors.keys().filter(wanted).cloned().collect();
        let is_over = known.standing(&sensors).next().is_none();
        Some(ByFirst {
            sweep: Sweep::open(cluster, tables, range.keys, range.bucket, without),
            database: cluster.database().to_owned(),
            is_over,
            known,
            of,
            sensors,
            is_dense: false,
            ready: VecDeque::new(),
        })
    }

    fn read_part(&mut self) -> Result<(), FleetError> {
        let Some(part) = self.sweep.next(behind)? else {
            self.is_over = true;
            return Ok(());
        };
        let floor = self.of.floor.load(Ordering::Relaxed);
        let statement = self.statement(&part, floor);
        let answers = self.sweep.each(|shard| shard.rows(&statement))?;
        let (mut older, mut new) = (0, 0);
        for rows in answers {
            let mut columns = ColumnReader(&rows);
            while !columns.is_empty() {
                let (key, count) = (columns.bytes()?, columns.u64()?);
                let (asked, answered) = (columns.u64()?, columns.u64()?);
                let (last, first) = (columns.u64()?, columns.u64()?);
                new += count;
                if key.is_empty() {
                    older += count;
                    continue;
                }
                let of = match self.of.about {
                    About::Rrname => Rdata::Name(Name::from_key(key).map_err(|_| FleetError::cut())?),
                    About::Rdata => Rdata::split_key(key).map_err(|_| FleetError::cut())?.0,
                };
                let time = |time: u64| (time != u64::MAX).then_some(time);
                let times = FirstSeen { asked: time(asked), answered: time(answered), last };
                let number = usize::try_from(first % SENSORS).unwrap_or(0);
                let sensor = number.checked_sub(1).and_then(|at| self.sensors.get(at));
                let sensor = sensor.ok_or_else(FleetError::cut)?;
                self.ready.push_back(First::Of(of, times, Arc::clone(sensor)));
            }
        }
        let rows = part.rows.saturating_mul(self.sweep.shards() as u64);
        self.is_dense = new.saturating_mul(MUCH) >= rows;
        self.ready.push_back(First::Older(older));
        Ok(())
    }

    /// What is asked of a shard within a part.
    fn statement(&self, part: &KeyPart, floor: u64) -> String {
        let ByFirst { database, of: FirstsOf { about, since, sensor, under, .. }, .. } = self;
        let (cut, folded) = (self.known.registry.cut, RrType::FOLDED.0);
        let (key, tables): (_, &[ClusterTable]) = match about {
            About::Rrname => ("name", &[ClusterTable::ByName, ClusterTable::Questions]),
            About::Rdata => ("rdata", &[ClusterTable::ByData]),
        };
        let mut wanted = format!("{} AND rrtype != {folded}", part.of(key));
        if !self.is_dense {
            // Of what is new some row was first seen since, which is found quickly.
            let bounds = part.of(key);
            let each = tables.iter().map(|table| {
                let (name, seen) = (table.name(), seen(*table, Fence::FirstFrom(*since)));
                format!("SELECT {key} FROM {database}.{name} PREWHERE {bounds} WHERE {seen}")
            });
            wanted += &format!(" AND {key} IN ({})", each.collect::<Vec<_>>().join(" UNION ALL "));
        }
        if let Some(sensor) = sensor {
            wanted += &format!(" AND sensor = {}", literal(sensor.as_bytes()));
        }
        let is_below: Vec<String> = under.iter().map(below).collect();
        let is_below = match (about, is_below.as_slice()) {
            (About::Rrname, _) | (_, []) => "1".to_owned(),
            (About::Rdata, all) => all.join(" OR "),
        };
        let each = tables.iter().map(|table| {
            let (name, first, last, alive) = (table.name(), table.first(), table.last(), table.is_alive());
            let is_asked = u8::from(*table == ClusterTable::Questions);
            format!(
                "SELECT {key} AS k, sensor, gen, {first} AS f, {last} AS l, {is_asked} AS asked, {is_below} AS is_below \
                 FROM {database}.{name} FINAL PREWHERE {wanted} WHERE ({alive}) AND {last} >= {cut}"
            )
        });
        let each = each.collect::<Vec<_>>().join(" UNION ALL ");
        let names: Vec<String> = self.sensors.iter().map(|sensor| literal(sensor.as_bytes())).collect();
        let numbers: Vec<String> = (1..=self.sensors.len()).map(|number| number.to_string()).collect();
        let stands = self
            .known
            .standing(&self.sensors)
            .map(|(sensor, generation)| format!("({}, {generation})", literal(sensor.as_bytes())));
        let stands = stands.collect::<Vec<_>>().join(", ");
        let (none, least) = (u64::MAX, since.saturating_mul(SENSORS));
        let summed = format!(
            "SELECT k, min(if(asked = 1, f, {none})) AS a, min(if(asked = 1, {none}, f)) AS b, max(l) AS m, \
             min(f * {SENSORS} + transform(sensor, [{}], [{}], 0)) AS c FROM ({each}) WHERE (sensor, gen) IN ({stands}) \
             GROUP BY k HAVING c >= {least} AND max(is_below) = 1",
            names.join(", "),
            numbers.join(", "),
        );
        if floor <= *since {
            return format!("SELECT k, toUInt64(1), a, b, m, c FROM ({summed})");
        }
        // Of those that are older nothing but their number is wanted.
        format!(
            "SELECT if(c >= {}, k, '') AS shown, count(), min(a), min(b), max(m), min(c) FROM ({summed}) GROUP BY shown",
            floor.saturating_mul(SENSORS),
        )
    }
}

impl Iterator for ByFirst<'_> {
    type Item = Result<First, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.is_over {
            if let Err(error) = self.read_part() {
                self.is_over = true;
                return Some(Err(error.into_store_error()));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}
