//! What every part of the process stands on: time, units, threads, and what they share. It knows nothing of DNS.

pub mod clock;
pub mod descriptors;
pub mod fault;
pub mod liveness;
pub mod priority;
pub mod replace;
pub mod seeded_hash;
pub mod shutdown;
pub mod threads;
pub mod time;
pub mod units;
