//! A cluster as a store: lookups, the page and every API ask it as they ask a ledger. Nothing is written by it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::FleetError;
use super::cluster::{Cluster, Shard};
use super::domains::ByDomain;
use super::firsts::ByFirst;
use super::hits;
use super::pages::{KeyColumn, Keys, Merged, Next, Range, Stored};
use super::registry::{Known, Registry, Whole};
use super::rowbinary::ColumnReader;
use super::rows::{ClusterTable, Values};
use super::tables;
use crate::base::clock::now;
use crate::base::shutdown::Stop;
use crate::dns::{Name, Rdata, RrType};
use crate::observation::{Asked, Halves, SensorId, Tuple};
use crate::progress::{LineageId, Progress};
use crate::store::batch::Batch;
use crate::store::{
    Acknowledged, Changed, Condition, Domains, Entries, Entry, Expired, Fed, Firsts, FirstsOf, Hit, HitSpan,
    Mark, OnPiece, OnProgress, Pair, PartialStore, Position, Question, Questions, ReadStore, Reduce, Reduced,
    Scan, Snapshot, Stats, StoreError, Survey, Verification, WriteStore,
};

/// How long what is known of sensors is taken for true.
const KNOWN_FOR: Duration = Duration::from_secs(3);
/// How often it is asked for meanwhile, where somebody serves.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Scans of one view that are kept where they were left.
const MOST_PARKED: usize = 3;
/// The last rows of such a scan that are kept, too: who counts the rows ahead before he says how many there are goes back then. Of one whose
/// rows are found quickly the last two.
const MOST_RECENT: [usize; 2] = [2, 16_384];
/// Scans of one key that are read at once, at most, and rows of those that are read together.
const READ_SOON: usize = 16;
const ROWS_SOON: usize = 1000;
/// How often it is asked which shards answer.
const PING_EVERY: Duration = Duration::from_secs(5);

/// A cluster that is asked.
pub struct FleetStore {
    shared: Arc<Shared>,
    /// What is left out of all answers.
    away: Away,
}

/// Shards that do not answer, from 0 on, and what is said of that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Away {
    shards: Vec<usize>,
    says: Vec<String>,
}

struct Shared {
    cluster: Arc<Cluster>,
    known: Mutex<Option<(Instant, Arc<Known>)>>,
    /// What servers have.
    whole: Mutex<Whole>,
    /// The names of sensors, by the numbers that they were given here.
    numbers: Mutex<Vec<Arc<str>>>,
    /// Shards that did not answer when they were asked last, and why the first one did not.
    away: Mutex<Away>,
    failing: Mutex<Option<String>>,
}

impl FleetStore {
    /// Makes sure that the tables are there.
    ///
    /// # Errors
    ///
    /// When they are not, or cannot be asked.
    pub fn open(cluster: Cluster) -> Result<FleetStore, FleetError> {
        tables::check(&cluster)?;
        let shared = Arc::new(Shared {
            cluster: Arc::new(cluster),
            known: Mutex::default(),
            whole: Mutex::default(),
            numbers: Mutex::default(),
            away: Mutex::default(),
            failing: Mutex::default(),
        });
        shared.known()?;
        Ok(FleetStore { shared, away: Away::default() })
    }

    /// As [`FleetStore::open`], without shards that are away; [`ReadStore::fed`] says which those are.
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn open_partial(cluster: Cluster) -> Result<FleetStore, FleetError> {
        let store = FleetStore::open(cluster)?;
        let away = store.shared.ping();
        Ok(FleetStore { away, ..store })
    }

    /// Asks again and again what is known of sensors, and which shards answer, for as long as the store is there.
    ///
    /// # Errors
    ///
    /// When there is no thread for it.
    pub fn watch(&self, stop: Stop) -> std::io::Result<()> {
        let shared = Arc::downgrade(&self.shared);
        let look = move || {
            let mut pinged: Option<Instant> = None;
            while let Some(shared) = shared.upgrade().filter(|_| !stop.is_stopped()) {
                let looked = shared.look();
                *shared.failing.lock() = looked.err().map(|error| error.to_string());
                if pinged.is_none_or(|at| at.elapsed() >= PING_EVERY) {
                    shared.cluster.shards().iter().for_each(Shard::look_for_newer);
                    let away = shared.ping();
                    *shared.away.lock() = away;
                    pinged = Some(Instant::now());
                }
                drop(shared);
                stop.wait(LOOK_EVERY);
            }
        };
        std::thread::Builder::new().name("fleet".to_owned()).spawn(look).map(drop)
    }
}

impl Shared {
    fn known(&self) -> Result<Arc<Known>, FleetError> {
        if let Some((at, known)) = &*self.known.lock()
            && at.elapsed() < KNOWN_FOR
        {
            return Ok(Arc::clone(known));
        }
        self.look()
    }

    /// Asks what is known of sensors.
    fn look(&self) -> Result<Arc<Known>, FleetError> {
        // Those that were away a moment ago take their time to say so.
        let away = self.away.lock().shards.clone();
        let without = if away.len() < self.cluster.shards().len() { away.as_slice() } else { &[] };
        let mut registry = Registry::load_without(&self.cluster, without)?;
        if let Some(before) = self.last_known().filter(|_| !without.is_empty() || !registry.away.is_empty()) {
            // What a shard said before it was away still holds.
            registry.merge(&before.registry);
        }
        // What is noted by now a server that is not behind has.
        let asked = self.whole.lock().ask(&self.cluster, &registry, without);
        let known = Arc::new(Known::of(registry, asked));
        {
            let mut numbers = self.numbers.lock();
            for name in known.registry.sensors.keys() {
                if !numbers.contains(name) {
                    numbers.push(Arc::clone(name));
                }
            }
        }
        *self.known.lock() = Some((Instant::now(), Arc::clone(&known)));
        Ok(known)
    }
}

impl Shared {
    /// Which shards do not answer.
    fn ping(&self) -> Away {
        let shards = self.cluster.shards();
        let mut away = Away::default();
        // One that is away may take its time to be so.
        for (at, answer) in self.cluster.each(&[], |_, shard| shard.rows("SELECT 1").map(drop)) {
            if answer.is_ok() {
                continue;
            }
            if let Err(error) = answer {
                tracing::debug!(%error, "A shard does not answer.");
            }
            away.shards.push(at);
            away.says.push(format!(
                "Shard {} of {} of the cluster is away, and its rows are missing.",
                at + 1,
                shards.len()
            ));
        }
        away
    }

    /// What was known last, however long ago.
    fn last_known(&self) -> Option<Arc<Known>> {
        self.known.lock().as_ref().map(|(_, known)| Arc::clone(known))
    }

    fn stats(&self) -> Result<Stats, FleetError> {
        let cluster = &self.cluster;
        let mut stats = Stats { format: crate::store::FORMAT, ..Stats::default() };
        let away = self.away.lock().shards.clone();
        for (_, shard) in cluster.shards().iter().enumerate().filter(|(at, _)| !away.contains(at)) {
            let rows = shard.rows(&format!(
                "SELECT table, toUInt64(sum(rows)), toUInt64(count()), toUInt64(sum(bytes_on_disk)) FROM system.parts \
                 WHERE database = '{}' AND active GROUP BY table",
                cluster.database()
            ))?;
            let mut columns = ColumnReader(&rows);
            while !columns.is_empty() {
                let table = columns.text()?;
                let is_counted = ClusterTable::OF_ROWS.iter().any(|counted| counted.name() == table);
                let (rows, parts, bytes) = (columns.u64()?, columns.u64()?, columns.u64()?);
                stats.rows += if is_counted { rows } else { 0 };
                stats.runs += parts;
                stats.disk_bytes += bytes;
                stats.live_bytes += bytes;
            }
        }
        Ok(stats)
    }
}

//--- Snapshot -------------------------------------------------------------------------------------------------------

/// The cluster as it is asked. Each page is as of its own moment.
struct FleetView {
    shared: Arc<Shared>,
    /// Shards that are left out.
    without: Vec<usize>,
    /// What is known of sensors; what is known then, where that is not given.
    known: Option<Arc<Known>>,
    /// How often servers had been taken that may have less than others, when it was said what they have.
    lowered: u64,
    /// Scans that were left in the middle: whoever walks goes on where he was.
    parked: Mutex<Vec<Parked>>,
    /// Scans that were read before they were asked for.
    ready: Mutex<Vec<(Range, Groups)>>,
}

/// A scan that was left in the middle.
struct Parked {
    range: Range,
    groups: Groups,
    /// The last rows that were handed out.
    recent: VecDeque<Entry>,
}

/// Rows of a scan as they are handed out.
struct Handed<'a> {
    view: &'a FleetView,
    range: Range,
    groups: Option<Groups>,
    recent: VecDeque<Entry>,
    /// Those that were handed out before, and are wanted again.
    again: VecDeque<Entry>,
}

impl FleetView {
    /// What is known of sensors.
    fn known(&self) -> Result<Arc<Known>, FleetError> {
        self.known.as_ref().map_or_else(|| self.shared.known(), |known| Ok(Arc::clone(known)))
    }

    /// What comes next of an answer, unless it may be less than what it was said to be.
    fn told<T>(&self, next: Option<Result<T, StoreError>>) -> Option<Result<T, StoreError>> {
        if self.shared.cluster.lowered() == self.lowered {
            return next;
        }
        let why = "a server has gone, and another one that is behind took its place: ask again";
        Some(Err(StoreError::Cluster(why.to_owned())))
    }

    /// Goes on with a scan that was left there, or begins it.
    fn hand_out(&self, range: Range, after: Option<&Position>) -> Result<Handed<'_>, FleetError> {
        let is_at =
            |row: &Entry| after.is_some_and(|after| after.tuple == row.tuple && after.sensor == row.sensor);
        let mut parked = self.parked.lock();
        let places = parked.iter().enumerate().filter(|(_, parked)| parked.range == range);
        let mut found = places.filter_map(|(at, parked)| Some((at, parked.recent.iter().rposition(is_at)?)));
        if let Some((at, last)) = found.next() {
            drop(found);
            let Parked { range, groups, mut recent } = parked.swap_remove(at);
            // Who looked ahead wants what comes behind once more.
            let again = recent.split_off(last + 1);
            return Ok(Handed { view: self, range, groups: Some(groups), recent, again });
        }
        drop(found);
        drop(parked);
        let mut ready = self.ready.lock();
        let found = ready.iter().position(|(of, _)| after.is_none() && *of == range);
        let groups = found.map(|at| ready.swap_remove(at).1);
        drop(ready);
        let groups = groups.map_or_else(|| Groups::open(self, &range, after), Ok)?;
        let (recent, again) = (VecDeque::new(), VecDeque::new());
        Ok(Handed { view: self, range, groups: Some(groups), recent, again })
    }
}

impl FleetView {
    /// Reads ranges of one key each before they are asked for: the first one by itself, and the others of a table together, all at once.
    fn read_soon(&self, ranges: Vec<Range>) -> Result<(), FleetError> {
        let Some((first, others)) = ranges.split_first() else { return Ok(()) };
        if others.is_empty() || self.ready.lock().iter().any(|(of, _)| of == first) {
            return Ok(());
        }
        let of =
            |table: ClusterTable| others.iter().filter(move |range| range.table == table).collect::<Vec<_>>();
        let together = ClusterTable::OF_ROWS.map(of);
        let read = std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                let mut groups = Groups::open(self, first, None)?;
                groups.rows.peek()?;
                Ok(vec![(first.clone(), groups)])
            });
            let others = together.iter().filter(|of| !of.is_empty());
            let others = others.map(|of| scope.spawn(|| self.read_together(of)));
            let all: Vec<_> = std::iter::once(first).chain(others).collect();
            let read = all.into_iter().map(|thread| thread.join().unwrap_or(Err(FleetError::Stopped)));
            read.collect::<Result<Vec<_>, FleetError>>()
        })?;
        *self.ready.lock() = read.into_iter().flatten().collect();
        Ok(())
    }

    /// Reads ranges of one key of one table. Those are left out of which there is more than is read at once.
    fn read_together(&self, ranges: &[&Range]) -> Result<Vec<(Range, Groups)>, FleetError> {
        let Some(together) = Range::together(ranges) else { return Ok(Vec::new()) };
        let mut groups = Groups::open(self, &together, None)?;
        let mut read: BTreeMap<Vec<u8>, VecDeque<Group>> = BTreeMap::new();
        let mut rows = 0;
        let mut end = None;
        while let Some(step) = groups.next()? {
            let Step::Group(group) = step else { continue };
            let Some(KeyColumn::Bytes(first)) = group.key.first().cloned() else {
                return Err(FleetError::cut());
            };
            rows += 1;
            if rows > ROWS_SOON {
                end = Some(first);
                break;
            }
            read.entry(first).or_default().push_back(group);
        }
        let mut whole = Vec::new();
        for range in ranges {
            let Keys::Exactly(key) = &range.keys else { continue };
            if end.as_ref().is_none_or(|end| key < end) {
                let ready = read.remove(key).unwrap_or_default();
                let known = Arc::clone(&groups.known);
                whole
                    .push(((*range).clone(), Groups { ready, rows: Merged::empty(), known, is_over: false }));
            }
        }
        Ok(whole)
    }
}

impl Iterator for Handed<'_> {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (table, groups) = (self.range.table, self.groups.as_mut()?);
        let row = match self.again.pop_front() {
            Some(row) => Some(Ok(row)),
            None => self.view.told(groups.step(|step| match step {
                Step::Group(group) => entry(table, group),
                Step::Passed(first) => mark(table, first),
            })),
        };
        if let Some(Err(_)) = &row {
            // What ended early is not gone on with.
            self.groups = None;
        }
        if let Some(Ok(row)) = &row {
            let [few, many] = MOST_RECENT;
            while self.recent.len() >= if self.range.is_told() { many } else { few } {
                self.recent.pop_front();
            }
            self.recent.push_back(row.clone());
        }
        row
    }
}

impl Drop for Handed<'_> {
    fn drop(&mut self) {
        // One that is over is begun again as quickly, where the engine need not look through much.
        let is_kept = |groups: &Groups| !groups.is_over || self.range.is_told();
        let Some(groups) = self.groups.take().filter(is_kept) else { return };
        // Those that are wanted again are, still.
        self.recent.append(&mut self.again);
        let mut parked = self.view.parked.lock();
        if parked.len() >= MOST_PARKED {
            parked.remove(0);
        }
        parked.push(Parked { range: self.range.clone(), groups, recent: std::mem::take(&mut self.recent) });
    }
}

/// Rows of one key and sensor together.
struct Group {
    key: Vec<KeyColumn>,
    sensor: Arc<str>,
    values: Values,
    names: Option<u64>,
}

/// What comes next of a scan.
enum Step {
    Group(Group),
    /// Up to this first column there is nothing that is wanted.
    Passed(Vec<u8>),
}

struct Groups {
    /// Those that come first, if they were read before.
    ready: VecDeque<Group>,
    rows: Merged,
    known: Arc<Known>,
    is_over: bool,
}

impl Groups {
    fn open(view: &FleetView, range: &Range, after: Option<&Position>) -> Result<Groups, FleetError> {
        Ok(Groups {
            ready: VecDeque::new(),
            rows: Merged::open(&view.shared.cluster, range, after, &view.without),
            known: view.known()?,
            is_over: false,
        })
    }

    /// The next one that has sightings, or how far there is none.
    fn next(&mut self) -> Result<Option<Step>, FleetError> {
        if let Some(group) = self.ready.pop_front() {
            return Ok(Some(Step::Group(group)));
        }
        while let Some(next) = self.rows.take()? {
            let mut of_one = match next {
                Next::Row(first) => vec![first],
                Next::Passed(first) => return Ok(Some(Step::Passed(first))),
            };
            while let Some(next) = self.rows.peek()? {
                if of_one.first().is_none_or(|first| first.key != next.key) {
                    break;
                }
                match self.rows.take()? {
                    Some(Next::Row(next)) => of_one.push(next),
                    _ => break,
                }
            }
            if let Some(group) = self.merge(of_one)? {
                return Ok(Some(Step::Group(group)));
            }
        }
        Ok(None)
    }

    /// All that counts of the rows of one key and sensor.
    fn merge(&self, of_one: Vec<Stored>) -> Result<Option<Group>, FleetError> {
        let Some(mut key) = of_one.first().map(|row| row.key.clone()) else { return Ok(None) };
        let Some(KeyColumn::Bytes(sensor)) = key.pop() else { return Err(FleetError::cut()) };
        let sensor = std::str::from_utf8(&sensor).map_err(|_| FleetError::cut())?;
        // One that is not known yet was met by a forwarder just now.
        let Some(sensor) = self.known.sensor(sensor) else { return Ok(None) };
        let (mut values, mut names): (Option<Values>, u64) = (None, 0);
        // The first sighting of what a ledger has now, which comes first of it.
        let mut live: Option<(u64, u64)> = None;
        let cut = self.known.registry.cut;
        let counts = |row: &Stored| self.known.stands(sensor, row.generation) && row.values.last() >= cut;
        for row in of_one.into_iter().filter(counts) {
            let first = match &row.values {
                Values::Seen(halves) if halves.direct.is_none() && halves.alias.is_none() => continue,
                Values::Asked(asked) if asked.time_last == 0 && asked.count() == 0 => continue,
                Values::Seen(halves) => halves.combined().time_first,
                Values::Asked(asked) => asked.time_first,
            };
            match (row.epoch, live) {
                (0, _) => live = Some((row.generation, first)),
                // What the ledger has includes it: it was not dropped after all.
                (_, Some((generation, live))) if generation == row.generation && live <= first => continue,
                _ => {}
            }
            names = names.max(row.names);
            match (&mut values, &row.values) {
                (Some(Values::Seen(sum)), Values::Seen(more)) => sum.merge(more),
                (Some(Values::Asked(sum)), Values::Asked(more)) => sum.merge(more),
                (values, _) => *values = Some(row.values),
            }
        }
        let sensor = Arc::clone(sensor);
        Ok(values.map(|values| Group { key, sensor, values, names: names.checked_sub(1) }))
    }

    fn step<T>(&mut self, make: impl Fn(Step) -> Result<T, FleetError>) -> Option<Result<T, StoreError>> {
        if self.is_over {
            return None;
        }
        let made = match self.next() {
            Ok(Some(step)) => make(step).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        // Nothing comes after an error.
        self.is_over = !matches!(made, Ok(Some(_)));
        made.map_err(FleetError::into_store_error).transpose()
    }
}

fn name(column: &KeyColumn) -> Result<Name, FleetError> {
    match column {
        KeyColumn::Bytes(bytes) => Name::from_key(bytes).map_err(|_| FleetError::cut()),
        KeyColumn::Number(_) => Err(FleetError::cut()),
    }
}

fn rrtype(column: &KeyColumn) -> Result<RrType, FleetError> {
    match column {
        KeyColumn::Number(number) => u16::try_from(*number).map(RrType).map_err(|_| FleetError::cut()),
        KeyColumn::Bytes(_) => Err(FleetError::cut()),
    }
}

fn rdata(column: &KeyColumn) -> Result<Rdata, FleetError> {
    match column {
        KeyColumn::Bytes(bytes) => match Rdata::split_key(bytes) {
            Ok((rdata, [])) => Ok(rdata),
            _ => Err(FleetError::cut()),
        },
        KeyColumn::Number(_) => Err(FleetError::cut()),
    }
}

fn entry(table: ClusterTable, group: Group) -> Result<Entry, FleetError> {
    let tuple = match (table, group.key.as_slice()) {
        (ClusterTable::ByName, [a, b, c]) => Tuple { rrname: name(a)?, rrtype: rrtype(b)?, rdata: rdata(c)? },
        (ClusterTable::ByData, [a, b, c]) => Tuple { rrname: name(b)?, rrtype: rrtype(c)?, rdata: rdata(a)? },
        _ => return Err(FleetError::cut()),
    };
    let halves: Halves = match group.values {
        Values::Seen(halves) => halves,
        Values::Asked(_) => return Err(FleetError::cut()),
    };
    Ok(Entry { tuple, sensor: group.sensor, halves, names: group.names })
}

/// Says how far nothing was found that is wanted: no row comes before it that was not handed out.
fn mark(table: ClusterTable, first: Vec<u8>) -> Result<Entry, FleetError> {
    let first = KeyColumn::Bytes(first);
    let (rrname, rdata) = match table {
        ClusterTable::ByData => (Name::root(), rdata(&first)?),
        ClusterTable::ByName | ClusterTable::Questions | ClusterTable::Hits => {
            (name(&first)?, Rdata::V4([0; 4].into()))
        }
    };
    let tuple = Tuple { rrname, rrtype: RrType(0), rdata };
    Ok(Entry { tuple, sensor: "".into(), halves: Halves::default(), names: None })
}

/// The same among questions.
fn question_mark(first: Vec<u8>) -> Result<Question, FleetError> {
    let rrname = name(&KeyColumn::Bytes(first))?;
    Ok(Question { rrname, qtype: RrType(0), sensor: "".into(), asked: Asked::default(), names: None })
}

fn question(group: Group) -> Result<Question, FleetError> {
    let [a, b] = group.key.as_slice() else { return Err(FleetError::cut()) };
    let asked: Asked = match group.values {
        Values::Asked(asked) => asked,
        Values::Seen(_) => return Err(FleetError::cut()),
    };
    Ok(Question { rrname: name(a)?, qtype: rrtype(b)?, sensor: group.sensor, asked, names: group.names })
}

impl FleetView {
    fn domains_of<'a>(&'a self, scan: &Scan, since: Option<u64>) -> Result<Domains<'a>, StoreError> {
        let Some(below) = scan.domains_below() else { return Ok(Box::new(std::iter::empty())) };
        let within = (!below.is_root()).then_some(below);
        let known = self.known().map_err(FleetError::into_store_error)?;
        let mut domains = ByDomain::open(&self.shared.cluster, known, &self.without, within, since);
        Ok(Box::new(std::iter::from_fn(move || self.told(domains.next()))))
    }
}

impl Snapshot for FleetView {
    fn entries<'a>(&'a self, scan: &Scan, after: Option<&Position>) -> Result<Entries<'a>, StoreError> {
        self.entries_where(scan, after, &Condition::Always)
    }

    fn entries_where<'a>(
        &'a self,
        scan: &Scan,
        after: Option<&Position>,
        condition: &Condition,
    ) -> Result<Entries<'a>, StoreError> {
        let Some(range) = Range::of_rows(scan) else { return Ok(Box::new(std::iter::empty())) };
        let handed = self.hand_out(range.with(condition), after);
        Ok(Box::new(handed.map_err(FleetError::into_store_error)?))
    }

    fn entries_in_memory<'a>(&'a self, _: &Scan, _: Option<&Position>) -> Result<Entries<'a>, StoreError> {
        Err(StoreError::NotInMemory)
    }

    fn entries_soon(&self, scans: &[Scan], condition: &Condition) -> Result<(), StoreError> {
        let ranges = scans.iter().take(READ_SOON).filter_map(Range::of_rows);
        let ranges = ranges.filter(|range| matches!(range.keys, Keys::Exactly(_)));
        let mut of_one_key: Vec<Range> = Vec::new();
        for range in ranges.map(|range| range.with(condition)) {
            if !of_one_key.contains(&range) {
                of_one_key.push(range);
            }
        }
        self.read_soon(of_one_key).map_err(FleetError::into_store_error)
    }

    fn questions<'a>(&'a self, scan: &Scan) -> Result<Questions<'a>, StoreError> {
        self.questions_where(scan, &Condition::Always)
    }

    fn questions_where<'a>(
        &'a self,
        scan: &Scan,
        condition: &Condition,
    ) -> Result<Questions<'a>, StoreError> {
        let Some(range) = Range::of_questions(scan) else { return Ok(Box::new(std::iter::empty())) };
        let groups = Groups::open(self, &range.with(condition), None);
        let mut groups = groups.map_err(FleetError::into_store_error)?;
        Ok(Box::new(std::iter::from_fn(move || {
            self.told(groups.step(|step| match step {
                Step::Group(group) => question(group),
                Step::Passed(first) => question_mark(first),
            }))
        })))
    }

    fn domains<'a>(&'a self, scan: &Scan) -> Result<Domains<'a>, StoreError> {
        self.domains_of(scan, None)
    }

    fn domains_since<'a>(&'a self, scan: &Scan, since: u64) -> Result<Domains<'a>, StoreError> {
        self.domains_of(scan, Some(since))
    }

    fn domains_of_each<'a>(&'a self, wanted: BTreeSet<Name>) -> Result<Domains<'a>, StoreError> {
        let known = self.known().map_err(FleetError::into_store_error)?;
        let mut domains = ByDomain::of_each(&self.shared.cluster, &known, &self.without, wanted);
        Ok(Box::new(std::iter::from_fn(move || self.told(domains.next()))))
    }

    fn firsts<'a>(&'a self, of: FirstsOf) -> Result<Option<Firsts<'a>>, StoreError> {
        let known = self.known().map_err(FleetError::into_store_error)?;
        let firsts = ByFirst::open(&self.shared.cluster, known, &self.without, of);
        let told = |mut firsts: ByFirst<'a>| std::iter::from_fn(move || self.told(firsts.next()));
        Ok(firsts.map(|firsts| Box::new(told(firsts)) as Firsts<'a>))
    }

    fn hits_within(&self, spans: &[HitSpan]) -> Result<Vec<(u64, Hit)>, StoreError> {
        let known = self.known().map_err(FleetError::into_store_error)?;
        let found = hits::within(&self.shared.cluster, &known, &self.without, spans);
        self.told(Some(found.map_err(FleetError::into_store_error))).unwrap_or_else(|| Ok(Vec::new()))
    }

    fn changed_since<'a>(&'a self, _: Mark) -> Result<Changed<'a>, StoreError> {
        Err(StoreError::OnlyAsked)
    }
}

//--- ReadStore and WriteStore ----------------------------------------------------------------------------------------

impl ReadStore for FleetStore {
    fn now(&self) -> Arc<dyn Snapshot> {
        Arc::new(FleetView {
            shared: Arc::clone(&self.shared),
            without: self.away.shards.clone(),
            known: None,
            lowered: self.shared.cluster.lowered(),
            parked: Mutex::default(),
            ready: Mutex::default(),
        })
    }

    fn fed(&self) -> Option<Arc<Fed>> {
        let lowered = self.shared.cluster.lowered();
        let mut fed = self.shared.last_known().map(|known| known.fed(now(), lowered)).unwrap_or_default();
        let mut says = self.away.says.clone();
        says.append(&mut fed.lacks);
        if self.away.says.is_empty() {
            // Lookups that need it fail, so it is said behind what answers lack.
            says.extend(self.shared.away.lock().shards.iter().map(|at| {
                format!(
                    "Shard {} of the cluster is away: lookups that need it fail, unless they are partial.",
                    at + 1
                )
            }));
        }
        Some(Arc::new(Fed { lacks: says, ..fed }))
    }

    fn part(&self) -> Result<PartialStore, StoreError> {
        let away = self.shared.ping();
        let known = self.shared.known().or_else(|error| self.shared.last_known().ok_or(error));
        let known = known.map_err(FleetError::into_store_error)?;
        if away.shards.len() == self.shared.cluster.shards().len() {
            return Err(StoreError::Cluster("every shard of the cluster".to_owned()));
        }
        let snapshot = FleetView {
            shared: Arc::clone(&self.shared),
            without: away.shards,
            known: Some(known),
            lowered: self.shared.cluster.lowered(),
            parked: Mutex::default(),
            ready: Mutex::default(),
        };
        Ok(PartialStore { snapshot: Arc::new(snapshot), missing: away.says })
    }

    fn sensor_name(&self, sensor: SensorId) -> Option<Arc<str>> {
        self.shared.numbers.lock().get(usize::from(sensor.0)).cloned()
    }

    fn lineage(&self, _: &LineageId) -> Result<Option<Progress>, StoreError> {
        Ok(None)
    }

    fn lineages(&self) -> Result<Vec<Progress>, StoreError> {
        Ok(Vec::new())
    }

    fn stats(&self) -> Result<Stats, StoreError> {
        self.shared.stats().map_err(FleetError::into_store_error)
    }

    fn expired_before(&self) -> u64 {
        self.shared.last_known().map_or(0, |known| known.registry.cut)
    }

    fn survey(&self, _: u64, _: &mut dyn FnMut() -> bool) -> Result<Survey, StoreError> {
        Ok(Survey::default())
    }

    fn failing(&self) -> Option<StoreError> {
        self.shared.failing.lock().clone().map(StoreError::Cluster)
    }

    fn copy(&self, _: OnPiece<'_>) -> Result<(), StoreError> {
        Err(StoreError::OnlyAsked)
    }

    fn verify(&self, _: OnProgress<'_>) -> Result<Verification, StoreError> {
        Err(StoreError::OnlyAsked)
    }
}

impl WriteStore for FleetStore {
    fn sensor(&self, name: &str) -> Result<SensorId, StoreError> {
        let number = self.shared.numbers.lock().iter().position(|known| **known == *name);
        number.and_then(|number| u16::try_from(number).ok()).map(SensorId).ok_or(StoreError::OnlyAsked)
    }

    fn last_hits(&self) -> Result<BTreeMap<u64, u64>, StoreError> {
        let known = self.shared.known().map_err(FleetError::into_store_error)?;
        if known.registry.has_hits { Ok(known.last_hits()) } else { Err(StoreError::OlderTables) }
    }

    fn acknowledge_hits(&self, _: &BTreeSet<u64>, _: &Acknowledged) -> Result<(u64, Vec<u64>), StoreError> {
        Err(StoreError::OnlyAsked)
    }

    fn stage(&self, _: &Batch) -> Result<(), StoreError> {
        Err(StoreError::OnlyAsked)
    }

    fn staged_bytes(&self) -> usize {
        0
    }

    fn commit(&self) -> Result<Vec<Progress>, StoreError> {
        // Nothing is staged.
        Ok(Vec::new())
    }

    fn apply(&self, _: &Batch) -> Result<(), StoreError> {
        Err(StoreError::OnlyAsked)
    }

    fn cached(&self) -> Result<Vec<Pair>, StoreError> {
        Ok(Vec::new())
    }

    fn cache(&self, _: &[Pair], _: &[Vec<u8>]) -> Result<(), StoreError> {
        Ok(())
    }

    fn expire(&self, _: u64, _: u64) -> Result<Expired, StoreError> {
        Err(StoreError::OnlyAsked)
    }

    fn lower_expired(&self, _: u64, _: u64) -> Result<Expired, StoreError> {
        Err(StoreError::OnlyAsked)
    }

    fn forget(&self, _: SensorId, _: &LineageId) -> Result<(), StoreError> {
        Err(StoreError::OnlyAsked)
    }

    fn rewrite(&self) -> Result<(), StoreError> {
        Err(StoreError::OnlyAsked)
    }

    fn reduce(&self, _: Reduce, _: u64) -> Result<Reduced, StoreError> {
        Err(StoreError::OnlyAsked)
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
