//! All feeds together: what of a batch, a row or a question they look for.
//!
//! In memory is a filter of the keys of all feeds, and of each where its entries are. What passes the filter is looked for in the
//! files. A row is asked for its owner name, and all above it; for the address that it has; and for the name that it leads to. So what
//! is met is told by the row, the question and the indicators alone, whatever came before.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::feed::Feed;
use super::key::{self, Present};
use super::note::{HitNote, Note};
use crate::base::{clock, seeded_hash};
use crate::dns::{Name, Rdata, RrType, other_form, split_name_key};
use crate::indicators::{Action, AllowList, Value};
use crate::observation::{Asked, Halves, SensorId};
use crate::store::batch::Batch;
use crate::store::{LogFilter, NewHit, Watch};

/// A feed with what it excepts.
struct Member {
    feed: Arc<Feed>,
    allow: Arc<AllowList>,
}

/// All feeds together.
pub struct Set {
    members: Vec<Member>,
    filter: Option<LogFilter>,
    /// The lengths of networks that there are, of IPv4 (`true`) and IPv6.
    lengths: Vec<(bool, u8)>,
    present: Present,
    /// Indicators, exceptions not among them.
    pub indicators: u64,
    /// What was met and is excepted.
    pub muted: AtomicU64,
    /// Looks in a file that failed.
    pub failed: AtomicU64,
}

/// Puts a set together.
#[derive(Default)]
pub struct SetBuilder {
    hashes: Vec<u64>,
    seed: u64,
    lengths: Vec<(bool, u8)>,
    present: Present,
    indicators: u64,
    members: Vec<Member>,
}

impl SetBuilder {
    /// A builder without feeds.
    pub fn new() -> SetBuilder {
        SetBuilder { seed: seeded_hash::new_seed(), ..SetBuilder::default() }
    }

    /// Adds a feed by opening its file, with what else it excepts.
    ///
    /// # Errors
    ///
    /// When it cannot be read; nothing of it is in the set then but a little of the filter.
    pub fn open(&mut self, path: &std::path::Path, also: &AllowList) -> std::io::Result<Arc<Feed>> {
        let mut allow = also.clone();
        let mut indicators = 0;
        let feed = Feed::open(path, &mut |stored| match key::read(stored) {
            Some((value, Action::Allow)) => allow.add(&value),
            Some((value, Action::Watch)) => {
                if let Value::Network(network) = value {
                    let length = (network.first().is_ipv4(), network.length());
                    if !self.lengths.contains(&length) {
                        self.lengths.push(length);
                    }
                }
                indicators += 1;
                self.present.add(stored);
                self.hashes.push(LogFilter::hash(self.seed, stored));
            }
            None => {}
        })?;
        let feed = Arc::new(feed);
        self.indicators += indicators;
        self.members.push(Member { feed: Arc::clone(&feed), allow: Arc::new(allow) });
        Ok(feed)
    }

    /// Makes the set.
    pub fn finish(self) -> Set {
        let SetBuilder { hashes, seed, mut lengths, present, indicators, members } = self;
        lengths.sort_unstable();
        let filter = (!hashes.is_empty()).then(|| LogFilter::of(seed, hashes.into_iter()));
        Set {
            members,
            filter,
            lengths,
            present,
            indicators,
            muted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }
}

/// The name that was looked for before, and how much of it nobody looks for: names that come in order share most of it.
#[derive(Default)]
pub(super) struct Before {
    name: Vec<u8>,
    /// No indicator passes the filter that lies within so many bytes of it.
    clear: usize,
}

impl Before {
    /// How many bytes of a name are known to be looked for by nobody.
    fn known(&self, name: &[u8]) -> usize {
        let same = self.name.iter().zip(name).take_while(|(one, other)| one == other).count();
        same.min(self.clear)
    }

    /// Takes a name in.
    fn set(&mut self, name: &[u8], clear: usize) {
        self.name.clear();
        self.name.extend_from_slice(name);
        self.clear = clear;
    }
}

/// What is looked through: who saw it, and when first.
#[derive(Clone, Copy)]
struct Sight {
    sensor: SensorId,
    time: u64,
}

impl Set {
    /// Whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.filter.is_none()
    }

    /// The feeds.
    pub fn feeds(&self) -> impl Iterator<Item = &Arc<Feed>> {
        self.members.iter().map(|member| &member.feed)
    }

    /// Whether a feed may have an indicator, by its key.
    fn may_hold(&self, key: &[u8]) -> bool {
        self.filter.as_ref().is_some_and(|filter| filter.may_hold(key))
    }

    /// What feeds say of an indicator by its key, of what was seen at a time: those that have it.
    fn said(&self, key: &[u8], time: u64, is_excepted: impl Fn(&AllowList) -> bool) -> Option<HitNote> {
        let mut said: Option<HitNote> = None;
        for Member { feed, allow } in &self.members {
            let stored = match feed.find(key) {
                Ok(Some(stored)) => stored,
                Ok(None) => continue,
                Err(error) => {
                    if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                        tracing::error!(feed = feed.meta.name, %error, "A feed cannot be read: hits may be missing.");
                    }
                    continue;
                }
            };
            let note = Note::from_bytes(&stored);
            if note.valid_until.is_some_and(|until| time > until) {
                continue;
            }
            if is_excepted(allow) {
                self.muted.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            said.get_or_insert_with(|| HitNote { feeds: Vec::new(), note })
                .feeds
                .push(feed.meta.name.clone());
        }
        said
    }

    /// What names a name, which stands in a row or a question of another or of itself.
    fn of_name(
        &self,
        name: &[u8],
        owner: &[u8],
        sight: Sight,
        before: Option<&mut Before>,
        found: &mut Vec<NewHit>,
    ) {
        let mut look = |form: &[u8], known: usize| {
            let mut clear = form.len();
            key::of_name(form, known, &self.present, |key| {
                if !self.may_hold(key) {
                    return;
                }
                // The kind stands before what it is of, and an end behind.
                clear = clear.min(key.len().saturating_sub(3));
                let is_excepted =
                    |allow: &AllowList| allow.has_name(name) || allow.has_name(form) || allow.has_name(owner);
                if let Some(note) = self.said(key, sight.time, is_excepted) {
                    push(key, owner, None, sight, &note, found);
                }
            });
            clear
        };
        let clear = look(name, before.as_ref().map_or(0, |before| before.known(name)));
        let mut other_is_clear = true;
        // Feeds have A-labels, and not all programs that ask.
        if !name.is_ascii()
            && let Some(other) = Name::from_key(name).ok().as_ref().and_then(other_form)
        {
            other_is_clear = look(other.key(), 0) == other.key().len();
        }
        if let Some(before) = before {
            before.set(name, if other_is_clear { clear } else { 0 });
        }
    }

    fn of_address(&self, address: IpAddr, owner: &[u8], sight: Sight, found: &mut Vec<NewHit>) {
        key::of_address(address, &self.lengths, &self.present, |key| {
            let is_excepted = |allow: &AllowList| allow.has_address(address) || allow.has_name(owner);
            if self.may_hold(key)
                && let Some(note) = self.said(key, sight.time, is_excepted)
            {
                push(key, owner, Some(address), sight, &note, found);
            }
        });
    }

    /// Looks through a row: its key without the sensor, and what was seen. Where rows come in order, the name before is given.
    #[expect(clippy::too_many_arguments, reason = "parts of a row, as the ledger and a batch have them")]
    pub(super) fn row(
        &self,
        owner: &[u8],
        rrtype: RrType,
        rdata: &Rdata,
        halves: &Halves,
        sensor: SensorId,
        before: Option<&mut Before>,
        found: &mut Vec<NewHit>,
    ) {
        if rrtype == RrType::FOLDED {
            return;
        }
        let sight = Sight { sensor, time: halves.combined().time_first };
        self.of_name(owner, owner, sight, before, found);
        if let Some(address) = rdata.address() {
            self.of_address(address, owner, sight, found);
        } else if let Some(target) = rdata.name() {
            self.of_name(target.key(), owner, sight, None, found);
        }
    }

    /// Looks through a question.
    pub(super) fn question(
        &self,
        name: &[u8],
        qtype: RrType,
        asked: &Asked,
        sensor: SensorId,
        before: Option<&mut Before>,
        found: &mut Vec<NewHit>,
    ) {
        if qtype != RrType::FOLDED {
            self.of_name(name, name, Sight { sensor, time: asked.time_first }, before, found);
        }
    }

    /// The feeds that have an indicator now, by its key, and do not except what was met.
    pub(super) fn feeds_with(&self, indicator: &[u8], met: &Name, address: Option<IpAddr>) -> Vec<String> {
        if !self.may_hold(indicator) {
            return Vec::new();
        }
        let has = |Member { feed, allow }: &&Member| match feed.find(indicator) {
            Ok(found) => {
                let is_excepted =
                    || allow.has_name(met.key()) || address.is_some_and(|address| allow.has_address(address));
                found.is_some() && !is_excepted()
            }
            Err(error) => {
                if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::error!(feed = feed.meta.name, %error, "A feed cannot be read: hits may be missing.");
                }
                false
            }
        };
        self.members.iter().filter(has).map(|member| member.feed.meta.name.clone()).collect()
    }

    /// The feeds that name a name or an address now, with what is named.
    pub fn listed(&self, value: &Rdata) -> Vec<(String, Vec<String>)> {
        let mut found = Vec::new();
        let sight = Sight { sensor: SensorId(0), time: clock::now() };
        match (value.address(), value.name()) {
            (Some(address), _) => self.of_address(address, Name::root().key(), sight, &mut found),
            (_, Some(name)) => self.of_name(name.key(), name.key(), sight, None, &mut found),
            _ => {}
        }
        let listed = found.iter().filter_map(|hit| {
            let (value, _) = key::read(&hit.indicator)?;
            Some((value.to_string(), HitNote::from_bytes(&hit.note).feeds))
        });
        listed.collect()
    }
}

fn push(
    indicator: &[u8],
    owner: &[u8],
    address: Option<IpAddr>,
    sight: Sight,
    note: &HitNote,
    found: &mut Vec<NewHit>,
) {
    if let Ok(rrname) = Name::from_key(owner) {
        let (indicator, note, Sight { sensor, time }) = (indicator.to_vec(), note.to_bytes(), sight);
        found.push(NewHit { rrname, indicator, address, sensor, time, note });
    }
}

impl Watch for Set {
    fn look(&self, batch: &Batch, found: &mut Vec<NewHit>) {
        if self.is_empty() {
            return;
        }
        let sensor_of =
            |key: &[u8]| key.split_last_chunk().map(|(_, number)| SensorId(u16::from_be_bytes(*number)));
        for (row, halves) in batch.tuples().iter() {
            if let (Some((owner, rest)), Some(sensor)) = (split_name_key(row), sensor_of(row))
                && let Some((rrtype, rest)) = rest.split_first_chunk()
                && let Ok((rdata, _)) = Rdata::split_key(rest)
            {
                self.row(owner, RrType(u16::from_be_bytes(*rrtype)), &rdata, halves, sensor, None, found);
            }
        }
        for (row, asked) in batch.questions().iter() {
            if let (Some((name, rest)), Some(sensor)) = (split_name_key(row), sensor_of(row))
                && let Some((qtype, _)) = rest.split_first_chunk()
            {
                self.question(name, RrType(u16::from_be_bytes(*qtype)), asked, sensor, None, found);
            }
        }
    }
}
