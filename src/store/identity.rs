//! Which ledger this is, for those who keep what it has told them: see [`Identity`].

use bincode::{Decode, Encode};

use super::engine::{self, Pairs};
use super::{Identity, StoreError, manifest};
use crate::base::seeded_hash::new_seed;

const WHAT: &str = "the identity of the ledger";

#[derive(Encode, Decode)]
enum StoredIdentity {
    V1 { generation: u64, drops: u32 },
}

impl Identity {
    /// That of a ledger that is just being made.
    pub(crate) fn new() -> Identity {
        Identity { generation: new_seed(), drops: 0 }
    }

    /// The same after something was dropped that was not old.
    pub(crate) fn after_a_drop(self) -> Identity {
        Identity { drops: self.drops.saturating_add(1), ..self }
    }

    /// The stored form.
    pub(crate) fn to_bytes(self) -> Result<Vec<u8>, StoreError> {
        let Identity { generation, drops } = self;
        manifest::seal(engine::IDENTITY, &StoredIdentity::V1 { generation, drops })
    }

    /// What is stored; `None` in a ledger that was made before there were any.
    pub(crate) fn load(main: &dyn Pairs) -> Result<Option<Identity>, StoreError> {
        match main.get(engine::IDENTITY)? {
            None => Ok(None),
            stored => {
                let StoredIdentity::V1 { generation, drops } =
                    manifest::open(engine::IDENTITY, stored, WHAT)?;
                // None was to be had when it was written.
                Ok((generation != 0).then_some(Identity { generation, drops }))
            }
        }
    }
}
