//! Integration tests, one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails may panic"
)]

/// The contract of `Store`, on both of its implementations, and what only the one on disk can do wrong.
mod store_suite;
