//! Tests of the store as a whole, on an engine that loses what was not synced.

use proptest::prelude::ProptestConfig;

pub(super) mod crash;

/// How often a property is tried whose cases take long: so many times, or as often as `PROPTEST_CASES` says.
fn cases(few: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => ProptestConfig { cases: few, ..config },
    }
}
