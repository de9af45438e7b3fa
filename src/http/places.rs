//! Places: how much of one kind of work may go on at once, all together and for one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Addresses that are remembered without need.
const REMEMBERED: usize = 1024;

/// The places of one kind.
pub struct Places {
    all: Arc<Semaphore>,
    /// As many of them as one address may have at once.
    each: usize,
    of: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// The places of one kind, as far as one address may have them.
#[derive(Clone)]
pub struct PlacesOf {
    all: Arc<Semaphore>,
    /// The places of one address; `None` for a caller who may have all places.
    own: Option<Arc<Semaphore>>,
}

/// A place; it is free again when this is dropped.
pub struct Place {
    _one_of_all: OwnedSemaphorePermit,
    _own: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// So many, of which one address may have so many.
    pub fn new(all: usize, each: usize) -> Places {
        let each = if each < all { each } else { usize::MAX };
        Places { all: Arc::new(Semaphore::new(all)), each, of: Mutex::default() }
    }

    /// Those that somebody at an address may have; none is the owner of the ledger.
    pub fn of(&self, address: Option<IpAddr>) -> PlacesOf {
        let own = address.filter(|_| self.each != usize::MAX).map(|address| {
            let mut of = self.of.lock();
            if of.len() >= REMEMBERED && !of.contains_key(&address) {
                // Who has or wants one holds it.
                of.retain(|_, own| Arc::strong_count(own) > 1);
            }
            Arc::clone(of.entry(address).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
        });
        PlacesOf { all: Arc::clone(&self.all), own }
    }
}

impl PlacesOf {
    /// Waits for a place.
    pub async fn take(&self) -> Option<Place> {
        // First the own one: who waits for that is in nobody else's way.
        let own = match &self.own {
            Some(own) => Some(Arc::clone(own).acquire_owned().await.ok()?),
            None => None,
        };
        let one_of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place { _one_of_all: one_of_all, _own: own })
    }

    /// A place, if there is one just now.
    pub fn try_take(&self) -> Option<Place> {
        let own = match &self.own {
            Some(own) => Some(Arc::clone(own).try_acquire_owned().ok()?),
            None => None,
        };
        let one_of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _one_of_all: one_of_all, _own: own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_places_for_others() {
        let places = Places::new(4, 3);
        let at = |last: u8| places.of(Some([192, 0, 2, last].into()));
        let taken: Vec<_> = (0..3).filter_map(|_| at(1).try_take()).collect();
        assert_eq!(taken.len(), 3);
        assert!(at(1).try_take().is_none());
        let other = at(2).try_take();
        assert!(other.is_some() && at(2).try_take().is_none(), "that was the last");
        drop(taken);
        assert!(at(2).try_take().is_some() && at(1).try_take().is_some());
    }

    #[test]
    fn the_owner_may_have_all_and_few_addresses_are_remembered() {
        let places = Places::new(4, 1);
        let held: Vec<_> = (0..4).filter_map(|_| places.of(None).try_take()).collect();
        assert_eq!(held.len(), 4);
        for i in 0..10 * REMEMBERED as u32 {
            drop(places.of(Some(i.to_be_bytes().into())));
        }
        assert!(places.of.lock().len() <= REMEMBERED);
        let one = Places::new(1, 3);
        assert!(one.of(Some([192, 0, 2, 1].into())).try_take().is_some());
    }
}
