//! Room on the disk: what a copy of the ledger may take, and what is kept in reserve for it.

use std::sync::atomic::Ordering;

use super::Shared;
use crate::store::StoreError;
use crate::store::space::{in_file, of_copy};

/// One in so many of the bytes that a ledger may take, by which it may be larger until archives wait for room to be made.
const BEYOND: u64 = 16;

/// Bytes that commits leave free while room is made, beside those that a copy needs.
const LEFT: u64 = 4 << 20;

/// Bytes that can be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Those that are free.
    pub free: u64,
    /// The same with the reserve: a copy beside the ledger may take them.
    pub beside: u64,
    /// The same with what is free in the ledger's own file: a copy in place may take them.
    pub within: u64,
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
        Ok(Some(Room { free, beside, within: beside.saturating_add(free_in_file) }))
    }

    /// Where what is merged of so many bytes of blocks is written: into the ledger's own file; or, where that would make it larger
    /// than the ledger may be, beside it with all else. `None` where there is no room: a merge that fills the disk would stop all writing.
    pub(super) fn place_of_merge(&self, bytes: u64) -> Result<Option<MergePlace>, StoreError> {
        let Some(room) = self.room()? else { return Ok(Some(MergePlace::Within)) };
        let free_in_file = room.within - room.beside;
        let most = self.max_disk.load(Ordering::Relaxed);
        let may_grow = most.saturating_sub(self.handle().disk_bytes()?);
        let is_left_alone = !self.is_to_take_less()?;
        let all = self.view().block_bytes();
        Ok(if in_file(bytes) <= free_in_file.saturating_add(room.free.min(may_grow)) {
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
        self.site.use_reserve(live);
    }

    /// The reserve is no longer needed by one of those who make room.
    pub(super) fn keep_reserve(&self) {
        *self.making_room.lock() -= 1;
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

    /// Refuses a commit where what is free is needed to make room, or for a copy that is being written: a disk that is full would stop
    /// that, too. What is not committed stays staged, or is read from the logs again.
    pub(super) fn leave_room(&self) -> Result<(), StoreError> {
        let copying = self.copying.lock().clone();
        if copying.is_none() && !self.is_making_room() {
            return Ok(());
        }
        let Some(free) = self.handle().place().free_bytes() else { return Ok(()) };
        let missing = match copying {
            Some((handle, bytes)) => bytes.saturating_sub(handle.disk_bytes()?),
            None => 0,
        };
        let needed = LEFT.saturating_add(missing);
        if free >= needed {
            return Ok(());
        }
        Err(StoreError::NoRoom { what: "committing while room is made", needed, free })
    }

    /// Waits while room is made for a ledger that takes clearly more than it may: archives are read faster than what goes is found.
    pub(super) fn wait_until_room_is_made(&self) -> Result<(), StoreError> {
        let most = self.max_disk.load(Ordering::Relaxed);
        loop {
            let seen = self.notifier.count();
            if !self.is_making_room() || self.handle().disk_bytes()? <= most.saturating_add(most / BEYOND) {
                return Ok(());
            }
            self.handle().failure().map_or(Ok(()), Err)?;
            self.check_stop()?;
            self.notifier.wait(seen, Some(super::CLEAR_PAUSE));
        }
    }
}
