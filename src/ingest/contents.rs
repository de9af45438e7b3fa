//! Telling somebody what a log holds, while it is read for the ledger anyway.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::progress::Progress;
use crate::store::batch::NewKey;

/// Wants to know what logs hold that are read as a whole.
pub trait Listener: Send + Sync {
    /// A log is read from its beginning.
    fn begin(&self) -> Box<dyn Contents>;
}

/// What one log holds.
pub trait Contents: Send {
    /// A row or a question of it; perhaps more than once.
    fn take(&mut self, met: NewKey<'_>);

    /// It was read to its end, and all that is in it was told. What is said here is not committed yet.
    fn finish(self: Box<Self>, log: &Progress);
}

/// Who listens, if anybody does.
#[derive(Clone, Default)]
pub struct Listening(Option<Arc<dyn Listener>>);

impl Listening {
    /// This one does.
    pub fn to(listener: Arc<dyn Listener>) -> Listening {
        Listening(Some(listener))
    }

    /// A log is read from its beginning.
    pub(super) fn begin(&self) -> Option<Telling> {
        /// Each log has its turn, which is not 0.
        static TURN: AtomicU32 = AtomicU32::new(1);
        let contents = self.0.as_ref()?.begin();
        Some(Telling { turn: TURN.fetch_add(1, Ordering::Relaxed).max(1), contents })
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listening").field(&self.0.is_some()).finish()
    }
}

impl PartialEq for Listening {
    fn eq(&self, other: &Listening) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

/// A log whose contents are being told.
pub(super) struct Telling {
    /// By which a batch knows what it has told of this log.
    pub turn: u32,
    pub contents: Box<dyn Contents>,
}
