//! What the tables are called.

/// Rows by name.
pub const BY_NAME: &str = "by_name";
/// Rows by record data: addresses and names.
pub const BY_DATA: &str = "by_data";
/// The column of these and of questions that says which rows are odd: names in them have bytes that are escaped when they are shown.
pub const ODD: &str = "odd";
/// Questions.
pub const QUESTIONS: &str = "questions";
/// Hits.
pub const HITS: &str = "hits";
/// Up to which number the hits of each ledger are there.
pub const HIT_MARKS: &str = "hit_marks";
/// Ledgers that ship, and how far.
pub const LEDGERS: &str = "ledgers";
/// Sensors of them, and which ledger of one stands.
pub const SENSORS: &str = "sensors";
/// When each bucket was last found equal.
pub const COMPARED: &str = "compared";
/// The time before which nothing is kept.
pub const CUTS: &str = "cuts";
/// The version, for how many shards, and which of them this is.
pub const LAYOUT: &str = "layout";
