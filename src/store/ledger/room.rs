//! Room on the disk: what a copy of the ledger may take, and what is kept in reserve for it.

use std::sync::atomic::Ordering;

use super::Shared;
use crate::store::StoreError;
use crate::store::space::{in_file, of_copy};

/// One in so many of the bytes that a ledger may take, by which it may be larger until archives wait for room to be made.
const BEYOND: u64 = 16;

/// Bytes that commits leave free while room is made, beside those that a copy needs: half of what a
/// ledger takes that is a quarter above its bound, where that is not known.
const LEFT: u64 = 4 << 20;

/// Bytes that can be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Those that are free.
    pub free: u64,
    /// The same with the reserve: a copy beside the ledger may take them.
    pub beside: u64,
    /// Those that are free in the ledger's own file. How many of them can be used is known by writing only.
    pub free_in_file: u64,
}

impl Room {
    /// What a copy in place may take: half of what is free in the file, and nothing beside it. More was seen to fill a disk for good.
    pub fn within(self) -> u64 {
        self.free_in_file / 2
    }
}

/// Where what is merged is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MergePlace {
    /// Into the ledger's own file.
    Within,
    /// Beside it, with all else: the ledger is written anew.
    Beside,
}

impl Shared {
    /// How much room there is; `None` where nobody knows.
    pub(super) fn room(&self) -> Result<Option<Room>, StoreError> {
        let handle = self.handle();
        let Some(free) = handle.place().free_bytes() else { return Ok(None) };
        let beside = free.saturating_add(self.site.reserved());
        let free_in_file = handle.disk_bytes()?.saturating_sub(in_file(self.view().block_bytes()));
        Ok(Some(Room { free, beside, free_in_file }))
    }

    /// Where what is merged of so many bytes of blocks is written: into the ledger's own file; or, where that would make it larger
    /// than the ledger may be, beside it with all else. `None` where there is no room: a merge that fills the disk would stop all writing.
    pub(super) fn place_of_merge(&self, bytes: u64) -> Result<Option<MergePlace>, StoreError> {
        let Some(room) = self.room()? else { return Ok(Some(MergePlace::Within)) };
        let most = self.max_disk.load(Ordering::Relaxed);
        let may_grow = most.saturating_sub(self.handle().disk_bytes()?);
        let is_left_alone = !self.is_to_take_less()?;
        let all = self.view().block_bytes();
        let fits = in_file(bytes).saturating_add(LEFT) <= room.free;
        Ok(if fits && in_file(bytes) <= room.free_in_file.saturating_add(room.free.min(may_grow)) {
            Some(MergePlace::Within)
        } else if is_left_alone && of_copy(all) <= room.beside {
            Some(MergePlace::Beside)
        } else {
            None
        })
    }

    /// Whether room is made, or is about to be: whoever does that needs what is free, and writes anew what stays.
    pub(super) fn is_to_take_less(&self) -> Result<bool, StoreError> {
        Ok(self.is_making_room() || self.handle().disk_bytes()? > self.max_disk.load(Ordering::Relaxed))
    }

    /// The most disk that it may take, if that is bounded.
    pub(super) fn max_disk(&self) -> Option<u64> {
        Some(self.max_disk.load(Ordering::Relaxed)).filter(|most| *most < u64::MAX)
    }

    /// Somebody makes room, and the reserve goes where there is less free than a copy of so many bytes of blocks needs.
    pub(super) fn use_reserve(&self, live: u64) {
        *self.making_room.lock() += 1;
        self.released.fetch_max(self.site.use_reserve(live), Ordering::Relaxed);
    }

    /// The reserve is no longer needed by one of those who make room.
    pub(super) fn keep_reserve(&self) {
        let mut making_room = self.making_room.lock();
        *making_room -= 1;
        if *making_room == 0 {
            self.released.store(0, Ordering::Relaxed);
        }
        drop(making_room);
        self.notifier.notify();
        self.renew_reserve();
    }

    /// Fills the reserve, where nobody is making room.
    pub(super) fn renew_reserve(&self) {
        // Where the engine cannot be asked it is for another time.
        let (Ok(own), Ok(held)) = (self.handle().disk_bytes(), self.replaced_bytes()) else { return };
        // What is pending takes more once it is in a run, with its indexes.
        let live = self.view().block_bytes();
        let making_room = self.making_room.lock();
        if *making_room == 0 {
            self.site.keep_reserve(own.saturating_add(held), live);
        }
    }

    /// Refuses to go on with a run that takes more than was thought: a disk that is filled by it would stop all writing. Where there was
    /// as little before, nothing is made worse.
    pub(super) fn check_left(&self, before: Option<u64>) -> Result<(), StoreError> {
        let (Some(before), Some(free)) = (before, self.handle().place().free_bytes()) else { return Ok(()) };
        if free >= before.min(LEFT / 2) {
            return Ok(());
        }
        Err(StoreError::NoRoom { what: "writing a run", needed: LEFT / 2, free })
    }

    /// Refuses a commit where what is free is needed to make room, or for a copy that is being written: a disk that is full would stop
    /// that, too. What is not committed stays staged, or is read from the logs again.
    pub(super) fn leave_room(&self) -> Result<(), StoreError> {
        let copying = self.copying.lock().clone();
        if copying.is_none() && !self.is_making_room() {
            return Ok(());
        }
        let Some(free) = self.handle().place().free_bytes() else { return Ok(()) };
        let needed = match copying {
            // One that cannot be asked has been given up.
            Some((handle, bytes)) => {
                LEFT.saturating_add(bytes.saturating_sub(handle.disk_bytes().unwrap_or(bytes)))
            }
            None => {
                let (own, most) = (self.handle().disk_bytes()?, self.max_disk.load(Ordering::Relaxed));
                // A flood that is ahead of who makes room. How much stays is not known yet.
                let needed = if own > most.saturating_add(most / 4) { LEFT.max(own / 2) } else { LEFT };
                // What was in reserve is theirs.
                match self.released.load(Ordering::Relaxed) {
                    0 => needed,
                    released => needed.max(released.saturating_add(LEFT / 2)),
                }
            }
        };
        if free >= needed {
            return Ok(());
        }
        Err(StoreError::MakingRoom)
    }

    /// Waits while room is made for a ledger that takes clearly more than it may, or what is free is needed for that or for a copy: archives
    /// are read faster than what goes is found, and an import is to go on afterwards.
    pub(super) fn wait_until_room_is_made(&self) -> Result<(), StoreError> {
        let most = self.max_disk.load(Ordering::Relaxed);
        loop {
            let seen = self.notifier.count();
            let is_large =
                self.is_making_room() && self.handle().disk_bytes()? > most.saturating_add(most / BEYOND);
            match self.leave_room() {
                Ok(()) if !is_large => return Ok(()),
                Ok(()) | Err(StoreError::MakingRoom) => {}
                Err(error) => return Err(error),
            }
            self.handle().failure().map_or(Ok(()), Err)?;
            self.check_stop()?;
            self.notifier.wait(seen, Some(super::CLEAR_PAUSE));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::store::StoreError;
    use crate::store::ledger::Ledger;
    use crate::store::tests::crash::{VolatileSite, tiny};

    #[test]
    fn a_run_fills_no_disk_and_goes_on_where_it_is_full_already() {
        let site = VolatileSite::new(usize::MAX, 1);
        let ledger = Ledger::open_site(Arc::new(site.clone()), true, &tiny()).unwrap();
        let goes_on = |before: Option<u64>, free: u64| {
            site.say_free(free);
            ledger.shared.check_left(before)
        };
        assert!(
            goes_on(None, 0).is_ok()
                && goes_on(Some(0), 0).is_ok()
                && goes_on(Some(1 << 20), 1 << 20).is_ok()
        );
        assert!(goes_on(Some(10 << 20), 2 << 20).is_ok());
        for free in [0, 1 << 20] {
            assert!(matches!(goes_on(Some(10 << 20), free), Err(StoreError::NoRoom { .. })));
        }
    }
}
