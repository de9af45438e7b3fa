//! First sightings of registrable domains: the cluster keeps none of its own, and sums up rows and questions, a page at a time.
//!
//! Servers know no public suffixes. So they sum up by the first two labels, which all names of a domain have in common; only where these are
//! a suffix themselves, or a further label decides, by three, and by whole names where that does not decide either.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::FleetError;
use super::bucket;
use super::cluster::Cluster;
use super::condition::{DOMAIN, seen};
use super::pages::Keys;
use super::registry::Known;
use super::rowbinary::{ColumnReader, literal};
use super::rows::ClusterTable;
use super::sweep::Sweep;
use crate::dns::{Name, is_registrable_prefix, registrable, registrable_length};
use crate::observation::FirstSeen;
use crate::store::{DomainSeen, Fence, StoreError, after_prefix};

/// What has names.
const TABLES: [ClusterTable; 2] = [ClusterTable::ByName, ClusterTable::Questions];
/// The first three labels of a name; of one with fewer all of it.
const THREE: &str =
    "concat(arrayStringConcat(arraySlice(splitByChar('\\x00', name), 1, 3), '\\x00'), '\\x00')";
/// That a domain of two labels may be parted among shards: buckets are by three labels of it, see `bucket.rs`.
const IS_PARTED: &str = "(substring(name, 3, 1) = '\\x00' AND position(substring(name, 4), '\\x00') <= 4)";
/// Bytes of keys that one statement names, as they are: there they take four times as many.
const NAMED_AT_ONCE: usize = 32 << 10;
/// The same of keys that all others of a statement begin with.
const BELOW_AT_ONCE: usize = 4 << 10;

/// Domains in their order.
pub(super) struct ByDomain<'a> {
    sweep: Sweep<'a>,
    known: Arc<Known>,
    database: String,
    /// The name at or below which a domain must be.
    within: Option<Name>,
    /// Domains of which nothing was first seen then or later are not wanted.
    since: Option<u64>,
    ready: VecDeque<DomainSeen>,
    is_over: bool,
}

/// What was found of domains.
type DomainTimes = BTreeMap<(Name, Arc<str>), FirstSeen>;

/// A sum: the key that it is of, the sensor, the first sighting and the last.
struct SummedKey {
    key: Vec<u8>,
    sensor: Arc<str>,
    first: u64,
    last: u64,
}

impl<'a> ByDomain<'a> {
    /// Those at or below a name, or all.
    pub(super) fn open(
        cluster: &'a Cluster,
        known: Arc<Known>,
        without: &[usize],
        within: Option<Name>,
        since: Option<u64>,
    ) -> ByDomain<'a> {
        let prefix = within.as_ref().map_or([].as_slice(), Name::subtree_key);
        let keys = Keys::Between(prefix.to_vec(), after_prefix(prefix));
        let sweep = Sweep::open(cluster, &TABLES, keys, bucket::of_subtree(prefix), without);
        ByDomain { within, since, ..ByDomain::by(sweep, cluster, known) }
    }

    /// Those at or below each of some names, and maybe others.
    pub(super) fn of_each(
        cluster: &'a Cluster,
        known: &Arc<Known>,
        without: &[usize],
        wanted: BTreeSet<Name>,
    ) -> impl Iterator<Item = Result<DomainSeen, StoreError>> + use<'a> {
        let (known, without) = (Arc::clone(known), without.to_vec());
        let wanted = chunks(wanted.iter().map(|name| name.subtree_key().to_vec()).collect(), BELOW_AT_ONCE);
        let sweep = move |prefixes| Sweep::below(cluster, &TABLES, prefixes, &without);
        wanted
            .into_iter()
            .flat_map(move |prefixes| ByDomain::by(sweep(prefixes), cluster, Arc::clone(&known)))
    }

    fn by(sweep: Sweep<'a>, cluster: &Cluster, known: Arc<Known>) -> ByDomain<'a> {
        let database = cluster.database().to_owned();
        ByDomain { sweep, known, database, within: None, since: None, ready: VecDeque::new(), is_over: false }
    }

    /// Sums up the next names.
    fn read_page(&mut self) -> Result<(), FleetError> {
        let Some(part) = self.sweep.next(behind_domain)? else {
            self.is_over = true;
            return Ok(());
        };
        let (bounds, database) = (part.of("name"), &self.database);
        let mut wanted = bounds.clone();
        if let Some(since) = self.since {
            let each = TABLES.map(|table| {
                let (name, seen) = (table.name(), seen(table, Fence::FirstFrom(since)));
                format!("SELECT {DOMAIN} FROM {database}.{name} PREWHERE {bounds} WHERE {seen}")
            });
            let is_new = format!("{DOMAIN} IN ({})", each.join(" UNION ALL "));
            // What is old of a domain may be in another shard than what is new.
            wanted += &match self.sweep.shards() {
                1 => format!(" AND {is_new}"),
                _ => format!(" AND ({IS_PARTED} OR {is_new})"),
            };
        }
        let mut found = DomainTimes::new();
        let open = self.sum_up(DOMAIN, &wanted, "", &mut found)?;
        let mut still_open = BTreeSet::new();
        for keys in chunks(open, NAMED_AT_ONCE) {
            let within = format!("{bounds} AND {DOMAIN} IN ({})", literals(keys.iter().map(Vec::as_slice)));
            still_open.append(&mut self.sum_up(THREE, &within, "", &mut found)?);
        }
        for keys in chunks(still_open, NAMED_AT_ONCE) {
            // By two labels rows are left out quickly.
            let two: BTreeSet<&[u8]> = keys.iter().map(|key| two_labels(key)).collect();
            let within = format!("{bounds} AND {DOMAIN} IN ({})", literals(two.into_iter()));
            let exactly = format!(" AND {THREE} IN ({})", literals(keys.iter().map(Vec::as_slice)));
            self.sum_up("name", &within, &exactly, &mut found)?;
        }
        self.ready.extend(found.into_iter().map(|((domain, sensor), times)| DomainSeen {
            domain,
            sensor,
            times,
        }));
        Ok(())
    }

    /// Adds what is there by a key, of rows that meet conditions: one that is met quickly, and more. Gives the keys that decide nothing.
    fn sum_up(
        &self,
        key: &str,
        within: &str,
        more: &str,
        found: &mut DomainTimes,
    ) -> Result<BTreeSet<Vec<u8>>, FleetError> {
        let mut open = BTreeSet::new();
        for (table, sums) in self.sums(key, within, more)? {
            for sum in sums {
                let is_whole = key == "name" || sum.key.ends_with(&[0, 0]);
                let domain = match is_whole {
                    true => Some(sum.key.clone()),
                    false if is_registrable_prefix(&sum.key) => Some([sum.key.as_slice(), &[0]].concat()),
                    false => None,
                };
                let Some(domain) = domain else {
                    // The root is of no domain.
                    open.extend((sum.key.len() > 1).then_some(sum.key));
                    continue;
                };
                let name = Name::from_key(&domain).map_err(|_| FleetError::cut())?;
                if let Some(domain) = registrable(&name) {
                    self.add(domain, table, &sum, found);
                }
            }
        }
        Ok(open)
    }

    /// What is there by a key.
    fn sums(
        &self,
        key: &str,
        within: &str,
        more: &str,
    ) -> Result<Vec<(ClusterTable, Vec<SummedKey>)>, FleetError> {
        let (database, cut) = (&self.database, self.known.registry.cut);
        self.sweep.each_table(|shard, table| {
            let (name, first, last, alive) = (table.name(), table.first(), table.last(), table.is_alive());
            let rows = shard.rows(&format!(
                "SELECT k, sensor, gen, min(f), max(l) FROM (SELECT {key} AS k, sensor, gen, {first} AS f, {last} AS l \
                 FROM {database}.{name} FINAL PREWHERE {within} WHERE ({alive}) AND {last} >= {cut}{more}) GROUP BY k, sensor, gen"
            ))?;
            let (mut columns, mut sums) = (ColumnReader(&rows), Vec::new());
            while !columns.is_empty() {
                let (key, sensor, generation) = (columns.bytes()?, columns.text()?, columns.u64()?);
                let (first, last) = (columns.u64()?, columns.u64()?);
                // One that is not known yet was met by a forwarder just now.
                let sensor = self.known.sensor(sensor).filter(|sensor| self.known.stands(sensor, generation));
                sums.extend(sensor.map(|sensor| SummedKey {
                    key: key.to_vec(),
                    sensor: Arc::clone(sensor),
                    first,
                    last,
                }));
            }
            Ok(sums)
        })
    }

    fn add(
        &self,
        domain: Name,
        table: ClusterTable,
        sum: &SummedKey,
        found: &mut BTreeMap<(Name, Arc<str>), FirstSeen>,
    ) {
        if !self.within.as_ref().is_none_or(|within| within.is_at_or_above(&domain)) {
            return;
        }
        let (asked, answered) = match table {
            ClusterTable::Questions => (Some(sum.first), None),
            ClusterTable::ByName | ClusterTable::ByData | ClusterTable::Hits => (None, Some(sum.first)),
        };
        let times = FirstSeen { asked, answered, last: sum.last };
        let known = found.entry((domain, Arc::clone(&sum.sensor)));
        known.and_modify(|known| known.merge(&times)).or_insert(times);
    }
}

/// Keys in parts of about so many bytes, that fit into a statement.
fn chunks(keys: BTreeSet<Vec<u8>>, most: usize) -> Vec<Vec<Vec<u8>>> {
    let (mut chunks, mut bytes) = (Vec::<Vec<Vec<u8>>>::new(), most);
    for key in keys {
        if bytes >= most {
            bytes = 0;
            chunks.push(Vec::new());
        }
        bytes += key.len();
        chunks.last_mut().into_iter().for_each(|chunk| chunk.push(key.clone()));
    }
    chunks
}

fn literals<'a>(keys: impl Iterator<Item = &'a [u8]>) -> String {
    keys.map(literal).collect::<Vec<_>>().join(", ")
}

fn two_labels(key: &[u8]) -> &[u8] {
    memchr::memchr_iter(0, key).nth(1).and_then(|end| key.get(..=end)).unwrap_or(key)
}

/// The first key behind all names of the outermost domain that a name is in; behind the name where it is in none. A domain may lie in
/// another one, and between its names.
fn behind_domain(key: Vec<u8>) -> Vec<u8> {
    let ends = memchr::memchr_iter(0, &key).skip(1);
    let mut prefixes = ends.filter_map(|end| key.get(..=end));
    let outermost = prefixes.find(|prefix| registrable_length(prefix) == Some(prefix.len()));
    let mut end = outermost.unwrap_or(&key).to_vec();
    if let Some(last) = end.last_mut() {
        *last = 1;
    }
    end
}

impl Iterator for ByDomain<'_> {
    type Item = Result<DomainSeen, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            if self.is_over {
                return None;
            }
            if let Err(error) = self.read_page() {
                self.is_over = true;
                return Some(Err(error.into_store_error()));
            }
            if self.ready.is_empty() && !self.is_over && self.since.is_some() {
                // So that who waits can look at the clock.
                let (domain, times) = (Name::root(), FirstSeen::default());
                return Some(Ok(DomainSeen { domain, sensor: "".into(), times }));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_behind_all_names_of_a_domain_and_of_those_that_lie_in_it() {
        let behind = |name: &str| behind_domain(Name::parse(name).unwrap().key().to_vec());
        assert_eq!(behind("www.example.com"), b"com\0example\x01");
        assert_eq!(behind("example.com"), b"com\0example\x01");
        assert_eq!(behind("a.b.example.co.uk"), b"uk\0co\0example\x01");
        assert_eq!(behind("a.b.s3.amazonaws.com"), b"com\0amazonaws\x01");
        assert_eq!(behind("co.uk"), b"uk\0co\0\x01");
        assert_eq!(behind("com"), b"com\0\x01");
        assert_eq!(behind("."), b"\x01");
    }
}
