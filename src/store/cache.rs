//! Blocks that lookups opened, and pages of filters: what is found here needs no word with the engine, and so no disk.
//!
//! A lookup that must not wait, because it runs within the event loop, answers from here and from what is in memory
//! anyway, or not at all ([`StoreError::NotInMemory`]); who may wait then asks the engine and leaves here what it found.
//! Only exact lookups do, and the first step of one of a network or a domain: what a scan or a merge reads once would leave
//! nothing of use. Of an exact lookup its rows alone are kept, also where there are none: they are a fraction of the block,
//! and names that are asked for are seldom neighbours. Of the others it is the block, with restart points, so that a row is
//! found without going through half of it.
//!
//! The blocks of a run never change and its number is never given again, so nothing here is ever out of date.
//!
//! [`StoreError::NotInMemory`]: super::StoreError::NotInMemory

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::{RwLock, RwLockReadGuard};

use super::block::Restarts;
use super::filter::Pages;
use super::key::Family;
use super::run::Block;

/// Bytes of memory that a block takes beside its rows and bounds, about.
const OVERHEAD: usize = 192;
/// A block that takes a larger part of the cache than this is not kept.
const LARGEST_SHARE: usize = 16;
/// How often a lock that somebody holds just now is tried again.
const TRIES: usize = 32;

/// The blocks of one family of one run.
type RunFamily = (u32, u8);

/// Opened blocks, within a bound of bytes. Those that were not asked for since they were looked at last go first.
pub(crate) struct Cache {
    capacity: usize,
    kept: RwLock<CachedBlocks>,
}

#[derive(Default)]
struct CachedBlocks {
    blocks: HashMap<RunFamily, BTreeMap<Bytes, Slot>>,
    /// Rows of exact lookups, by the key that they begin at.
    extracts: HashMap<RunFamily, HashMap<Bytes, Slot>>,
    /// All of them, in the order in which they are looked at when there is no room.
    order: VecDeque<Item>,
    bytes: usize,
}

/// Something that the cache keeps.
enum Item {
    Block(RunFamily, Bytes),
    Extract(RunFamily, Bytes),
    Page { run: u32, filter: Weak<Pages>, at: usize, cost: usize },
}

impl Item {
    fn run(&self) -> u32 {
        match self {
            Item::Block((run, _), _) | Item::Extract((run, _), _) | Item::Page { run, .. } => *run,
        }
    }
}

struct Slot {
    block: Block,
    /// Whether it was asked for since it was looked at last.
    asked_for: AtomicBool,
}

impl Slot {
    fn was_not_asked_for(&self) -> bool {
        !self.asked_for.swap(false, Ordering::Relaxed)
    }

    fn give(&self) -> Block {
        // A write only where it changes something: the line of memory is shared by all who read.
        if !self.asked_for.load(Ordering::Relaxed) {
            self.asked_for.store(true, Ordering::Relaxed);
        }
        self.block.clone()
    }
}

fn cost(bound: &[u8], block: &Block) -> usize {
    let next = block.next.as_ref().map_or(0, Bytes::len);
    block.rows.len() + block.restarts.bytes() + 2 * bound.len() + next + OVERHEAD
}

impl Cache {
    /// An empty one of so many bytes.
    pub fn new(capacity: u64) -> Cache {
        Cache { capacity: usize::try_from(capacity).unwrap_or(usize::MAX), kept: RwLock::default() }
    }

    /// For who reads; `None` when somebody is changing it just now, which is not waited for.
    fn read(&self) -> Option<RwLockReadGuard<'_, CachedBlocks>> {
        for _ in 0..TRIES {
            if let Some(kept) = self.kept.try_read() {
                return Some(kept);
            }
            std::hint::spin_loop();
        }
        None
    }

    /// The block of a run where a key is, if it is anywhere and the block is here.
    pub fn floor(&self, run: u32, family: Family, key: &[u8]) -> Option<Block> {
        let kept = self.read()?;
        let upto = (Bound::Unbounded, Bound::Included(key));
        let (_, slot) = kept.blocks.get(&(run, family.byte()))?.range::<[u8], _>(upto).next_back()?;
        // Blocks between this one and the key may not be here.
        slot.block.is_before_next(key).then(|| slot.give())
    }

    /// Rows of a run that were kept for an exact lookup, if they are those from this key on, or all of the name or the data in it.
    pub fn extract(&self, run: u32, family: Family, from: &[u8]) -> Option<Block> {
        let kept = self.read()?;
        let of_part = kept.extracts.get(&(run, family.byte()))?;
        let all = || of_part.get(family.lookup_part(from)?).filter(|all| all.block.is_before_next(from));
        of_part.get(from).or_else(all).map(Slot::give)
    }

    /// Keeps the rows of an exact lookup from this key on, and lets others go for them.
    pub fn keep_extract(&self, run: u32, family: Family, from: &[u8], extract: &Block) {
        let needed = cost(from, extract);
        if needed > self.capacity / LARGEST_SHARE {
            return;
        }
        // One allocation for all of it.
        let next = extract.next.as_deref();
        let mut bytes = Vec::with_capacity(from.len() + next.map_or(0, <[u8]>::len) + extract.rows.len());
        bytes.extend_from_slice(from);
        bytes.extend_from_slice(next.unwrap_or_default());
        bytes.extend_from_slice(&extract.rows);
        let rows = bytes.len() - extract.rows.len();
        let bytes = Bytes::from(bytes);
        let block = Block {
            next: next.map(|_| bytes.slice(from.len()..rows)),
            rows: bytes.slice(rows..),
            restarts: Restarts::default(),
        };
        let (part, from) = ((run, family.byte()), bytes.slice(..from.len()));
        let mut kept = self.kept.write();
        let of_part = kept.extracts.entry(part).or_default();
        if of_part.contains_key(&from) {
            return;
        }
        of_part.insert(from.clone(), Slot { block, asked_for: AtomicBool::new(false) });
        kept.order.push_back(Item::Extract(part, from));
        kept.bytes += needed;
        while kept.bytes > self.capacity && kept.let_one_go() {}
    }

    /// Keeps a block, and lets others go for it.
    pub fn keep(&self, run: u32, family: Family, bound: &[u8], block: &Block) {
        let needed = cost(bound, block);
        if needed > self.capacity / LARGEST_SHARE {
            return;
        }
        let mut kept = self.kept.write();
        let (part, bound) = ((run, family.byte()), Bytes::copy_from_slice(bound));
        let of_part = kept.blocks.entry(part).or_default();
        if of_part.contains_key(&bound) {
            return;
        }
        of_part.insert(bound.clone(), Slot { block: block.clone(), asked_for: AtomicBool::new(false) });
        kept.order.push_back(Item::Block(part, bound));
        kept.bytes += needed;
        while kept.bytes > self.capacity && kept.let_one_go() {}
    }

    /// Keeps a page of the filter of a run, and lets others go for it.
    pub fn keep_page(&self, run: u32, filter: &Arc<Pages>, at: usize, page: &Bytes) {
        let needed = page.len() + OVERHEAD;
        if needed > self.capacity / LARGEST_SHARE {
            return;
        }
        let mut kept = self.kept.write();
        kept.add_page(run, filter, at, page);
        while kept.bytes > self.capacity && kept.let_one_go() {}
    }

    /// Whether there is room for so many bytes in a half of it, without letting anything go.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.kept.read().bytes.saturating_add(bytes) <= self.capacity / 2
    }

    /// Keeps the first pages of the filter of a run, as far as there is room in a half of it.
    pub fn offer_pages(&self, run: u32, filter: &Arc<Pages>, pages: &[Bytes]) {
        let mut kept = self.kept.write();
        for (at, page) in pages.iter().enumerate() {
            if kept.bytes + page.len() + OVERHEAD > self.capacity / 2 {
                return;
            }
            kept.add_page(run, filter, at, page);
        }
    }

    /// Lets the blocks of a run go, and the pages of its filter, which nobody reads any more.
    pub fn forget(&self, run: u32) {
        let mut kept = self.kept.write();
        let CachedBlocks { blocks, extracts, order, bytes } = &mut *kept;
        let mut any = false;
        for family in Family::ALL {
            if let Some(part) = blocks.remove(&(run, family.byte())) {
                *bytes -= part.iter().map(|(bound, slot)| cost(bound, &slot.block)).sum::<usize>();
                any = true;
            }
            if let Some(part) = extracts.remove(&(run, family.byte())) {
                *bytes -= part.iter().map(|(from, slot)| cost(from, &slot.block)).sum::<usize>();
                any = true;
            }
        }
        let paged = order.iter().any(|item| matches!(item, Item::Page { run: of, .. } if *of == run));
        if any || paged {
            order.retain(|item| {
                if let Item::Page { run: of, cost, .. } = item
                    && *of == run
                {
                    *bytes -= cost;
                }
                item.run() != run
            });
        }
    }
}

impl CachedBlocks {
    fn add_page(&mut self, run: u32, filter: &Arc<Pages>, at: usize, page: &Bytes) {
        if filter.put(at, page) {
            let cost = page.len() + OVERHEAD;
            self.order.push_back(Item::Page { run, filter: Arc::downgrade(filter), at, cost });
            self.bytes += cost;
        }
    }

    /// Looks at what is kept until something was not asked for, and lets that go; `false` when there is nothing at all.
    fn let_one_go(&mut self) -> bool {
        while let Some(item) = self.order.pop_front() {
            let gone = match &item {
                Item::Block(part, bound) => {
                    let Some(of_part) = self.blocks.get_mut(part) else { continue };
                    let Some(slot) = of_part.get(bound) else { continue };
                    let cost = slot.was_not_asked_for().then(|| cost(bound, &slot.block));
                    if cost.is_some() {
                        of_part.remove(bound);
                    }
                    cost
                }
                Item::Extract(part, from) => {
                    let Some(of_part) = self.extracts.get_mut(part) else { continue };
                    let Some(slot) = of_part.get(from) else { continue };
                    let cost = slot.was_not_asked_for().then(|| cost(from, &slot.block));
                    if cost.is_some() {
                        of_part.remove(from);
                    }
                    cost
                }
                Item::Page { filter, at, cost, .. } => {
                    filter.upgrade().is_none_or(|filter| filter.take(*at)).then_some(*cost)
                }
            };
            match gone {
                Some(cost) => {
                    self.bytes -= cost;
                    return true;
                }
                None => self.order.push_back(item),
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: Family = Family::ByName;

    fn block(next: Option<&'static str>, rows: usize) -> Block {
        let next = next.map(|next| Bytes::from_static(next.as_bytes()));
        Block { next, rows: vec![0; rows].into(), restarts: Default::default() }
    }

    #[test]
    fn a_block_answers_for_the_keys_between_its_bound_and_the_next() {
        let cache = Cache::new(1 << 20);
        cache.keep(1, FAMILY, b"b", &block(Some("d"), 10));
        cache.keep(1, FAMILY, b"f", &block(None, 11));
        let found = |run, key: &[u8]| cache.floor(run, FAMILY, key).map(|block| block.rows.len());
        assert_eq!([found(1, b"a"), found(1, b"b"), found(1, b"c")], [None, Some(10), Some(10)]);
        // The block of these keys is not here, whatever lies before it.
        assert_eq!([found(1, b"d"), found(1, b"e")], [None, None]);
        assert_eq!([found(1, b"f"), found(1, b"z")], [Some(11), Some(11)]);
        assert_eq!((found(2, b"c"), cache.floor(1, Family::ByRdata, b"c").is_some()), (None, false));
    }

    #[test]
    fn there_is_a_bound_and_what_is_asked_for_stays() {
        let cache = Cache::new(20 * (1000 + OVERHEAD as u64));
        for i in 0..200u8 {
            cache.keep(1, FAMILY, &[i], &block(None, if i == 0 { 481 } else { 480 }));
            cache.keep_extract(1, FAMILY, &[i], &block(None, 480 - OVERHEAD));
            assert_eq!(
                cache.floor(1, FAMILY, &[0]).map(|block| block.rows.len()),
                Some(481),
                "it is asked for"
            );
            assert!(cache.kept.read().bytes <= cache.capacity);
        }
        let kept = cache.kept.read();
        let here = (kept.blocks[&(1, FAMILY.byte())].len(), kept.extracts[&(1, FAMILY.byte())].len());
        assert!((14..=24).contains(&here.0) && (14..=24).contains(&here.1), "{here:?}");
        drop(kept);
        cache.keep(1, FAMILY, b"long", &block(None, 5000));
        assert!(
            !cache.kept.read().blocks[&(1, FAMILY.byte())].contains_key(&b"long"[..]),
            "one alone must not take the place of all"
        );
    }

    #[test]
    fn rows_of_one_lookup_are_for_that_lookup() {
        let cache = Cache::new(1 << 20);
        cache.keep_extract(1, FAMILY, b"b", &block(Some("c"), 3));
        cache.keep_extract(1, FAMILY, b"x", &block(None, 0));
        let found = |from: &[u8]| cache.extract(1, FAMILY, from).map(|e| (e.next, e.rows.len()));
        assert_eq!(found(b"b"), Some((Some(Bytes::from_static(b"c")), 3)));
        assert_eq!(found(b"x"), Some((None, 0)), "that there are none is known too");
        assert_eq!([found(b"ba"), found(b"c")], [None, None]);
        assert!(cache.floor(1, FAMILY, b"b").is_none(), "for a scan it is not a block");
    }

    #[test]
    fn a_run_that_is_gone_leaves_nothing() {
        let cache = Cache::new(1 << 20);
        for run in [1, 2] {
            cache.keep_extract(run, FAMILY, b"k", &block(None, 100));
            cache.keep(run, FAMILY, b"", &block(None, 100));
            cache.keep(run, Family::Questions, b"", &block(None, 100));
        }
        cache.forget(1);
        assert!(cache.floor(1, FAMILY, b"x").is_none() && cache.floor(2, FAMILY, b"x").is_some());
        cache.forget(2);
        let kept = cache.kept.read();
        assert_eq!((kept.bytes, kept.order.len(), kept.blocks.len()), (0, 0, 0));
    }

    #[test]
    fn pages_of_filters_share_the_bound_with_blocks() {
        let page = Bytes::from(vec![0u8; 1024 - OVERHEAD]);
        let filter = |pages| Arc::new(Pages::new(pages, &[0; 64], &[0; 64]).unwrap());
        let (first, second) = (filter(16), filter(64));
        let cache = Cache::new(20 << 10);
        cache.offer_pages(1, &first, &vec![page.clone(); 16]);
        assert_eq!(cache.kept.read().bytes, 10 << 10, "no more than a half is taken by itself");
        assert!(!cache.has_room(1 << 10));
        for at in 0..64 {
            cache.keep_page(2, &second, at, &page);
            cache.keep(3, FAMILY, &[at as u8], &block(None, 500));
            assert!(cache.kept.read().bytes <= cache.capacity);
        }
        let bytes = cache.kept.read().bytes;
        cache.forget(2);
        assert!(cache.kept.read().bytes < bytes);
        cache.forget(3);
        cache.forget(1);
        let kept = cache.kept.read();
        assert_eq!((kept.bytes, kept.order.len()), (0, 0));
    }

    #[test]
    fn what_is_being_changed_is_not_waited_for() {
        let cache = Cache::new(1 << 20);
        cache.keep(1, FAMILY, b"", &block(None, 100));
        let changing = cache.kept.write();
        assert!(cache.floor(1, FAMILY, b"x").is_none());
        drop(changing);
        assert!(cache.floor(1, FAMILY, b"x").is_some());
    }
}
