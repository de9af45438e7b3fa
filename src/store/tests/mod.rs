//! Tests of the store as a whole, on an engine that loses what was not synced.

pub(super) mod crash;
