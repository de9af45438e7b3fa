//! A whole copy of a ledger on its way: what is stored at one moment, in pieces.
//!
//! | piece | bytes |
//! |---|---|
//! | of the main map | `m`, pairs |
//! | of a run | `r`, its number (4), how many pairs of it came before (8), pairs |
//! | what rows are missing of | `k`, a table as [`super::acknowledged`] has it; only where some are |
//! | the end | `z`, how many pairs there were (8) |
//!
//! Pairs are: the length of the key (4), of the value (4), key, value. Integers are big-endian. What is in the pairs is
//! sealed, as it is on disk: what breaks on the way is noticed where the copy is verified, and a piece that is missing here.

use std::path::Path;

use super::acknowledged::Acknowledged;
use super::engine::{self, Engine};
use super::stored::FORMAT;
use super::{Pair, StoreError, damaged};
use crate::base::fault::point;

/// Takes the pieces of a copy; `false` ends it.
pub type OnPiece<'a> = &'a mut dyn FnMut(Vec<u8>) -> bool;

/// Bytes of a piece from which on it is handed out.
const PIECE_BYTES: usize = 256 << 10;

const MAIN: u8 = b'm';
const RUN: u8 = b'r';
const LOST: u8 = b'k';
const END: u8 = b'z';

/// Puts pairs together to pieces.
pub(super) struct Pieces<'a> {
    take: OnPiece<'a>,
    /// The piece that is put together.
    piece: Vec<u8>,
    pairs: u64,
}

impl<'a> Pieces<'a> {
    pub fn new(take: OnPiece<'a>) -> Pieces<'a> {
        Pieces { take, piece: Vec::new(), pairs: 0 }
    }

    /// Hands out the pairs of the main map.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] when it was ended, or what reading them has.
    pub fn main(&mut self, pairs: impl Iterator<Item = Result<Pair, StoreError>>) -> Result<(), StoreError> {
        self.part(|_| vec![MAIN], pairs)
    }

    /// Hands out the pairs of a run.
    ///
    /// # Errors
    ///
    /// As [`Pieces::main`].
    pub fn run(
        &mut self,
        id: u32,
        pairs: impl Iterator<Item = Result<Pair, StoreError>>,
    ) -> Result<(), StoreError> {
        self.part(|before| [[RUN].as_slice(), &id.to_be_bytes(), &before.to_be_bytes()].concat(), pairs)
    }

    /// Hands out of which logs rows are missing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] when it was ended.
    pub fn lost(&mut self, lost: &Acknowledged) -> Result<(), StoreError> {
        self.piece = [[LOST].as_slice(), &lost.to_bytes()].concat();
        self.hand_out()
    }

    /// Hands out the end.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] when it was ended.
    pub fn end(mut self) -> Result<(), StoreError> {
        self.piece = [[END].as_slice(), &self.pairs.to_be_bytes()].concat();
        self.hand_out()
    }

    fn part(
        &mut self,
        header: impl Fn(u64) -> Vec<u8>,
        pairs: impl Iterator<Item = Result<Pair, StoreError>>,
    ) -> Result<(), StoreError> {
        for (before, pair) in (0..).zip(pairs) {
            let (key, value) = pair?;
            if self.piece.is_empty() {
                self.piece = header(before);
            }
            for length in [key.len(), value.len()] {
                let length =
                    u32::try_from(length).map_err(|_| damaged("the ledger", "a pair is too long"))?;
                self.piece.extend_from_slice(&length.to_be_bytes());
            }
            self.piece.extend_from_slice(&key);
            self.piece.extend_from_slice(&value);
            self.pairs += 1;
            if self.piece.len() >= PIECE_BYTES {
                self.hand_out()?;
            }
        }
        if self.piece.is_empty() { Ok(()) } else { self.hand_out() }
    }

    fn hand_out(&mut self) -> Result<(), StoreError> {
        point("piece_sent");
        if (self.take)(std::mem::take(&mut self.piece)) { Ok(()) } else { Err(StoreError::Closed) }
    }
}

/// Puts the pieces of a copy into an engine.
#[derive(Debug, Default)]
pub(super) struct CopyReceiver {
    pairs: u64,
    /// Of which logs rows are missing, if any.
    lost: Option<Acknowledged>,
    ended: bool,
}

impl CopyReceiver {
    /// Takes the next piece of a copy that will be at `target`.
    ///
    /// # Errors
    ///
    /// When it is none, or comes after the end, or the engine refuses it.
    pub fn piece(&mut self, piece: &[u8], engine: &dyn Engine, target: &Path) -> Result<(), StoreError> {
        let bad = |why: &str| damaged("a copy on its way", why);
        if self.ended {
            return Err(bad("a piece comes after its end"));
        }
        match piece.split_first() {
            Some((&MAIN, rest)) => {
                let pairs = pairs(rest).ok_or_else(|| bad("a piece is cut"))?;
                self.pairs += pairs.len() as u64;
                check_format(&pairs, target)?;
                engine.write(pairs.into_iter().map(|(key, value)| (key, Some(value))).collect())
            }
            Some((&RUN, rest)) => {
                let header = rest.split_first_chunk::<4>();
                let header = header.and_then(|(id, rest)| Some((id, rest.split_first_chunk::<8>()?)));
                let (id, (before, rest)) = header.ok_or_else(|| bad("a piece is cut"))?;
                let pairs = pairs(rest).ok_or_else(|| bad("a piece is cut"))?;
                self.pairs += pairs.len() as u64;
                engine.append(u32::from_be_bytes(*id), u64::from_be_bytes(*before), pairs)
            }
            Some((&LOST, table)) => match Acknowledged::from_bytes(table) {
                (lost, true) => {
                    self.lost = Some(lost);
                    Ok(())
                }
                _ => Err(bad("a piece is cut")),
            },
            Some((&END, count)) if *count == self.pairs.to_be_bytes() => {
                self.ended = true;
                Ok(())
            }
            Some((&END, _)) => Err(bad("a piece is missing")),
            _ => Err(bad("an invalid piece")),
        }
    }

    /// Of which logs rows are missing in it that were there once.
    pub fn lost(&self) -> Option<&Acknowledged> {
        self.lost.as_ref()
    }

    /// Whether all of it has come.
    pub fn is_whole(&self) -> bool {
        self.ended
    }
}

/// Refuses the ledger of a daemon of another version.
fn check_format(pairs: &[Pair], target: &Path) -> Result<(), StoreError> {
    let stored = pairs.iter().find(|(key, _)| key == engine::FORMAT);
    let found = stored.and_then(|(_, value)| Some(u32::from_be_bytes(value.as_slice().try_into().ok()?)));
    let (path, known) = (target.to_owned(), FORMAT);
    match found {
        Some(found) if found < FORMAT => Err(StoreError::OlderFormat { path, found, known }),
        Some(found) if found > FORMAT => Err(StoreError::NewerFormat { path, found, known, before: None }),
        _ => Ok(()),
    }
}

/// The pairs of a piece.
fn pairs(mut rest: &[u8]) -> Option<Vec<Pair>> {
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_first_chunk::<4>()?;
        let (value, after) = after.split_first_chunk::<4>()?;
        let (key, after) = after.split_at_checked(u32::from_be_bytes(*key) as usize)?;
        let (value, after) = after.split_at_checked(u32::from_be_bytes(*value) as usize)?;
        pairs.push((key.to_vec(), value.to_vec()));
        rest = after;
    }
    Some(pairs)
}
