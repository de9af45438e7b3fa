//! Runs in the engine: reading one, and writing one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::ScopedJoinHandle;

use bytes::Bytes;

use super::Shared;
use crate::base::fault::point;
use crate::base::threads;
use crate::store::block::Restarts;
use crate::store::engine::Pairs;
use crate::store::engine_handle::EngineHandle;
use crate::store::filter::Pages;
use crate::store::key::Family;
use crate::store::manifest::RunMeta;
use crate::store::run::{Block, BlockSource, CommitRange, Counts, Extents, Reach, Sink, Writer};
use crate::store::stored::{FILTER_PAGE_BYTES, block_key, filter_key, open_block, read_filter_page};
use crate::store::{Pair, StoreError, block, damaged};

/// Raw bytes of a block on disk. Compressed it is 3 to 4 KB: sixteen of them are one page of sled.
pub(super) const BLOCK_BYTES: usize = 8 << 10;
/// Blocks of a run that are handed to the engine together.
pub(super) const APPEND: usize = 256;

/// Where less than this is free, what is appended is synced after each so many bytes: the engine holds several MiB back, which nobody
/// sees on the disk before.
const SCARCE: u64 = 64 << 20;
const SYNC_EVERY: u64 = 1 << 20;

/// A run in the engine.
pub(super) struct Run {
    pub(super) meta: RunMeta,
    pub(super) filter: Arc<Pages>,
    pub(super) handle: Arc<EngineHandle>,
    /// The manifest no longer names it: it is removed with its last reader.
    pub(super) obsolete: AtomicBool,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.handle.release(self.meta.id);
        self.handle.cache().forget(self.meta.id);
        if *self.obsolete.get_mut() {
            self.handle.mark_obsolete(self.meta.id);
        }
    }
}

impl Run {
    /// One that is there. Its filter is read where there is room for it; else as it is asked.
    pub(super) fn load(meta: RunMeta, handle: &Arc<EngineHandle>) -> Result<Run, StoreError> {
        let pairs = RunPairs { handle, id: meta.id };
        let page = |at| read_filter_page(&meta, &pairs, at);
        let bad = || damaged(&format!("the filter of run {}", meta.id), "invalid filter length");
        let last = meta.filter_pages.checked_sub(1).ok_or_else(bad)?;
        let pages: Vec<Bytes> = if handle.cache().has_room(meta.filter_pages as usize * FILTER_PAGE_BYTES) {
            (0..=last).map(page).collect::<Result<_, _>>()?
        } else {
            vec![page(0)?, page(last)?]
        };
        let (first, last) = pages.first().zip(pages.last()).ok_or_else(bad)?;
        let filter = Arc::new(Pages::new(meta.filter_pages as usize, first, last).ok_or_else(bad)?);
        if pages.len() == filter.count() {
            handle.cache().offer_pages(meta.id, &filter, &pages);
        }
        Ok(Run::new(meta, filter, handle))
    }

    /// One whose filter says nothing, since it may be damaged.
    pub(super) fn without_filter(meta: RunMeta, handle: &Arc<EngineHandle>) -> Result<Run, StoreError> {
        Ok(Run::new(meta, Arc::new(Pages::of_anything()), handle))
    }

    pub(super) fn new(meta: RunMeta, filter: Arc<Pages>, handle: &Arc<EngineHandle>) -> Run {
        handle.hold(meta.id);
        Run { meta, filter, handle: Arc::clone(handle), obsolete: AtomicBool::new(false) }
    }

    pub(super) fn missing(&self) -> StoreError {
        damaged(&format!("run {}", self.meta.id), "a block is missing")
    }

    /// The block of a family, which has rows, where a key is, with its bound.
    pub(super) fn read_floor(&self, family: Family, key: &[u8]) -> Result<(Vec<u8>, Block), StoreError> {
        let key = block_key(family, key);
        match self.handle.in_run(self.meta.id, |pairs| pairs.at_most(&key))? {
            Some((key, sealed)) if key.first() == Some(&family.byte()) => {
                let block = open_block(self.meta.id, &key, &sealed)?;
                Ok((key.get(1..).unwrap_or_default().to_vec(), block))
            }
            _ => Err(self.missing()),
        }
    }
}

impl BlockSource for Run {
    fn floor(&self, family: Family, key: &[u8]) -> Result<Option<Block>, StoreError> {
        if self.meta.counts().of(family) == 0 {
            return Ok(None);
        }
        self.read_floor(family, key).map(|(_, block)| Some(block))
    }

    fn at(&self, family: Family, bound: &[u8]) -> Result<Block, StoreError> {
        let key = block_key(family, bound);
        let sealed = self.handle.in_run(self.meta.id, |pairs| pairs.get(&key))?;
        let sealed = sealed.ok_or_else(|| self.missing())?;
        open_block(self.meta.id, &key, &sealed)
    }

    fn counts(&self) -> &Counts {
        self.meta.counts()
    }

    fn extents(&self) -> &Extents {
        &self.meta.contents.extents
    }

    fn filter_seed(&self) -> u64 {
        self.filter.seed()
    }

    fn may_hold(&self, hash: u64, reach: Reach) -> Result<bool, StoreError> {
        if let Some(found) = self.filter.look(hash) {
            return Ok(found);
        }
        if reach == Reach::Memory {
            return Err(StoreError::NotInMemory);
        }
        let at = self.filter.page_of(hash);
        let page =
            read_filter_page(&self.meta, &RunPairs { handle: &self.handle, id: self.meta.id }, at as u32)?;
        self.handle.cache().keep_page(self.meta.id, &self.filter, at, &page);
        Ok(self.filter.look_in(&page, hash))
    }

    fn first(&self, family: Family, key: &[u8]) -> Result<Option<Block>, StoreError> {
        if self.meta.counts().of(family) == 0 {
            return Ok(None);
        }
        if let Some(block) = self.handle.cache().floor(self.meta.id, family, key) {
            return Ok(Some(block));
        }
        let (bound, mut block) = self.read_floor(family, key)?;
        block.restarts = Restarts::of(&block.rows)?;
        self.handle.cache().keep(self.meta.id, family, &bound, &block);
        Ok(Some(block))
    }

    fn extract(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        reach: Reach,
    ) -> Result<Option<Block>, StoreError> {
        if self.meta.counts().of(family) == 0 {
            return Ok(None);
        }
        let cache = self.handle.cache();
        if let Some(extract) = cache.extract(self.meta.id, family, from) {
            return Ok(Some(extract));
        }
        if let Some(block) = cache.floor(self.meta.id, family, from) {
            return Ok(Some(block));
        }
        if reach == Reach::Memory {
            return Err(StoreError::NotInMemory);
        }
        let (_, block) = self.read_floor(family, from)?;
        let extract = block.extract(from, to)?;
        cache.keep_extract(self.meta.id, family, from, &extract);
        Ok(Some(extract))
    }
}

/// The map of a run in an engine.
pub(super) struct RunPairs<'a> {
    pub(super) handle: &'a EngineHandle,
    pub(super) id: u32,
}

impl Pairs for RunPairs<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.handle.in_run(self.id, |pairs| pairs.get(key))
    }

    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.handle.in_run(self.id, |pairs| pairs.at_most(key))
    }

    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.handle.in_run(self.id, |pairs| pairs.above(key))
    }
}

/// Takes the blocks of a run that is written to the engine.
pub(super) struct RunSink<'a> {
    waiting: Vec<Pair>,
    appending: Appending<'a>,
}

/// Where blocks are sealed and appended.
enum Appending<'a> {
    Here(Appender<'a>),
    /// By another thread, where all cores are free for it.
    Beside(SyncSender<Vec<Pair>>, ScopedJoinHandle<'a, Result<Appender<'a>, StoreError>>),
    /// Appending has failed.
    Failed,
}

/// Seals blocks and appends them to a run.
struct Appender<'a> {
    shared: &'a Shared,
    handle: &'a EngineHandle,
    /// The run is written in this one, or not at all.
    generation: u64,
    id: u32,
    /// Pairs that were handed to the engine, and their bytes.
    written: u64,
    bytes: u64,
    /// Those that were synced, where little is free.
    synced: u64,
    /// What was free before it.
    free: Option<u64>,
}

impl<'a> Appender<'a> {
    fn append(&mut self, blocks: Vec<Pair>) -> Result<(), StoreError> {
        self.shared.check_stop()?;
        if self.free.is_some_and(|free| free < SCARCE) && self.bytes >= self.synced + SYNC_EVERY {
            self.handle.sync_in(self.generation)?;
            self.synced = self.bytes;
        }
        self.shared.check_left(self.free)?;
        let seal = |(key, raw): Pair| {
            let sealed = block::seal(&key, &raw);
            (key, sealed)
        };
        let pairs: Vec<Pair> = blocks.into_iter().map(seal).collect();
        let count = pairs.len() as u64;
        let bytes = pairs.iter().map(|(key, sealed)| (key.len() + sealed.len()) as u64).sum::<u64>();
        self.handle.append(self.generation, self.id, self.written, pairs)?;
        self.written += count;
        self.bytes += bytes;
        Ok(())
    }

    fn append_all(mut self, blocks: &Receiver<Vec<Pair>>) -> Result<Appender<'a>, StoreError> {
        blocks.iter().try_for_each(|blocks| self.append(blocks))?;
        Ok(self)
    }
}

impl RunSink<'_> {
    fn put(&mut self, key: Vec<u8>, raw: Vec<u8>) -> Result<(), StoreError> {
        self.waiting.push((key, raw));
        if self.waiting.len() >= APPEND { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let blocks = std::mem::take(&mut self.waiting);
        match &mut self.appending {
            Appending::Here(appender) => appender.append(blocks),
            Appending::Beside(to, _) => match to.send(blocks) {
                Ok(()) => Ok(()),
                // It has ended, and says why.
                Err(_) => self.finish().map(drop),
            },
            Appending::Failed => Err(StoreError::Closed),
        }
    }

    /// Waits until everything is handed to the engine, and gives the bytes.
    fn finish(&mut self) -> Result<u64, StoreError> {
        match std::mem::replace(&mut self.appending, Appending::Failed) {
            Appending::Here(appender) => Ok(appender.bytes),
            Appending::Beside(to, appender) => {
                drop(to);
                // One that panics ends the process.
                appender.join().map_or(Err(StoreError::Closed), |done| done.map(|appender| appender.bytes))
            }
            Appending::Failed => Err(StoreError::Closed),
        }
    }
}

impl Sink for RunSink<'_> {
    fn block(
        &mut self,
        family: Family,
        bound: &[u8],
        next: Option<&[u8]>,
        rows: &[u8],
    ) -> Result<(), StoreError> {
        let mut raw = Vec::with_capacity(rows.len() + 64);
        block::push_length(next.map_or(0, |next| next.len() + 1), &mut raw);
        raw.extend_from_slice(next.unwrap_or_default());
        raw.extend_from_slice(rows);
        self.put(block_key(family, bound), raw)
    }
}

impl Shared {
    /// Writes a run that nobody knows yet. It is on stable storage when this returns.
    pub(super) fn write_run(
        &self,
        handle: &Arc<EngineHandle>,
        lookup_keys: u64,
        commits: CommitRange,
        fill: impl FnOnce(&mut Writer<RunSink<'_>>) -> Result<(), StoreError>,
    ) -> Result<Arc<Run>, StoreError> {
        // In this order: a number that was given before the engine was opened again is not written to after it.
        let generation = handle.generation();
        let id = self.next_run.fetch_add(1, Ordering::SeqCst);
        // From its first block on: whoever opens the engine again must not take it for one that was left behind.
        handle.hold(id);
        self.try_write_run(handle, generation, id, (lookup_keys, commits), fill).inspect_err(|_| {
            handle.release(id);
            handle.mark_obsolete(id);
        })
    }

    pub(super) fn try_write_run(
        &self,
        handle: &Arc<EngineHandle>,
        generation: u64,
        id: u32,
        (lookup_keys, commits): (u64, CommitRange),
        fill: impl FnOnce(&mut Writer<RunSink<'_>>) -> Result<(), StoreError>,
    ) -> Result<Arc<Run>, StoreError> {
        let free = handle.place().free_bytes();
        let appender =
            Appender { shared: self, handle, generation, id, written: 0, bytes: 0, synced: 0, free };
        let (bytes, contents, pages) = std::thread::scope(|scope| {
            let appending = if self.uses_all_cores.load(Ordering::Relaxed) {
                let (to, blocks) = sync_channel(2);
                let append = move || threads::guarded(|| appender.append_all(&blocks));
                let named = std::thread::Builder::new().name("ledger-append".to_owned());
                let started = named.spawn_scoped(scope, append);
                let what = || "could not start a thread of the ledger".to_owned();
                Appending::Beside(to, started.map_err(|error| StoreError::Io { what: what(), error })?)
            } else {
                Appending::Here(appender)
            };
            let sink = RunSink { waiting: Vec::new(), appending };
            let mut writer = Writer::new(sink, BLOCK_BYTES, lookup_keys, self.filter_seed);
            fill(&mut writer)?;
            let (mut sink, contents, filter) = writer.finish()?;
            let stored = Bytes::from(filter.to_bytes());
            drop(filter);
            let from = (0..stored.len()).step_by(FILTER_PAGE_BYTES);
            let pages: Vec<Bytes> =
                from.map(|from| stored.slice(from..stored.len().min(from + FILTER_PAGE_BYTES))).collect();
            (0u32..).zip(&pages).try_for_each(|(at, page)| sink.put(filter_key(at), page.to_vec()))?;
            sink.write()?;
            Ok((sink.finish()?, contents, pages))
        })?;
        handle.sync_in(generation)?;
        let filter_pages = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        let meta = RunMeta { id, contents, commits, bytes, filter_pages };
        let filter =
            pages.first().zip(pages.last()).and_then(|(first, last)| Pages::new(pages.len(), first, last));
        let filter = Arc::new(filter.ok_or_else(|| damaged("a filter", "invalid filter length"))?);
        // Each for itself: one that is let go of must not keep the memory of all.
        let pages: Vec<Bytes> = pages.iter().map(|page| Bytes::copy_from_slice(page)).collect();
        handle.cache().offer_pages(id, &filter, &pages);
        point("run_written");
        Ok(Arc::new(Run::new(meta, filter, handle)))
    }
}
