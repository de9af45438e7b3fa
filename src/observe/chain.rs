//! The chain of CNAMEs of one record: the name that was asked, and where it leads.

use super::bounded;
use crate::base::seeded_hash;
use crate::dns::{NameError, RrType, push_name_key, push_name_rdata_key};
use crate::observation::{Half, Observations};

/// The longest chain that is followed; Zeek logs at most 100 answers since 8.1.
pub(super) const MAX_CHAIN: usize = 100;

/// The owners of a record in key form: the name that was asked, and where it leads.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    keys: Vec<u8>,
    /// Where each key ends.
    ends: Vec<usize>,
    /// The hash of each key: an answer may name the same few names thousands of times.
    hashes: Vec<u64>,
    /// Where the last key begins; `None` when it is not known where the chain leads.
    end: Option<usize>,
}

impl Chain {
    pub fn begin(&mut self, query: &[u8]) -> Result<(), NameError> {
        self.keys.clear();
        self.ends.clear();
        self.hashes.clear();
        self.end = Some(0);
        push_name_key(query, &mut self.keys)?;
        self.ends.push(self.keys.len());
        self.hashes.push(seeded_hash::hash(&self.keys));
        Ok(())
    }

    /// Records that the last name leads to another one; says whether the end is known still.
    ///
    /// A name that is already in the chain adds nothing. Behind one that is no valid name the end is unknown.
    pub fn link(&mut self, target: &[u8], ttl: u32, rdata: &mut Vec<u8>, out: &mut Observations) -> bool {
        rdata.clear();
        if self.ends.len() > MAX_CHAIN || push_name_rdata_key(target, rdata).is_err() {
            self.end = None;
            return false;
        }
        // Record data that is a name is one byte and then the name's own key form.
        let name = rdata.get(1..).unwrap_or_default();
        let hash = seeded_hash::hash(name);
        if !self.contains(name, hash) {
            if let Some(owner) = self.last()
                && !out.push(owner, RrType::CNAME, rdata, Half::Direct, bounded(ttl))
            {
                out.cut_answer();
            }
            self.push(name, hash);
        }
        true
    }

    fn push(&mut self, name: &[u8], hash: u64) {
        self.end = Some(self.keys.len());
        self.keys.extend_from_slice(name);
        self.ends.push(self.keys.len());
        self.hashes.push(hash);
    }

    /// The name that was asked.
    pub fn first(&self) -> &[u8] {
        self.ends.first().and_then(|&end| self.keys.get(..end)).unwrap_or_default()
    }

    /// The name at the end, if it is known.
    pub fn last(&self) -> Option<&[u8]> {
        self.keys.get(self.end?..)
    }

    /// Whether the end is another name than the one that was asked, or unknown.
    pub fn has_moved(&self) -> bool {
        self.end != Some(0)
    }

    fn contains(&self, name: &[u8], hash: u64) -> bool {
        let key = |at: usize| {
            let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
            self.keys.get(start..*self.ends.get(at)?)
        };
        let mut known = self.hashes.iter().enumerate().filter(|(_, known)| **known == hash);
        known.any(|(at, _)| key(at) == Some(name))
    }
}
