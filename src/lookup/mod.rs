//! Asking the ledger: one query language for command line, HTTP and page, and the walk that answers it.
//!
//! A [`Search`] is what is asked: a [`Query`], parsed from text, and [`Filters`]. A [`Walk`] answers it over one moment
//! of the ledger, page by page: it holds no lock and no thread between pages, its memory does not grow with the
//! answer, and it stops by itself at a limit of rows or at its budget, saying where to go on ([`Cursor`]).
//!
//! | query | means |
//! |---|---|
//! | `www.example.com` | rrname, exactly |
//! | `*.example.com`, `.example.com` | every rrname at and below example.com, by label |
//! | `www.example.*` | every rrname that starts with these labels |
//! | `mail*.example.com`, `ns?.*.net` | every rrname that matches: `*` any text, `?` one character, `[a-z]` a class |
//! | `www.example.com|192.0.2.7` | both of a pair, as MISP has them |
//! | `192.0.2.7`, `2001:db8::1` | names that had this address |
//! | `192.0.2.0/24`, `192.0.2.3-192.0.2.9` | names that had an address in it |
//! | `rdata:ns1.example.net`, `rdata:*.example.net` | rows whose rdata is that name, or at or below it |
//! | `~text` | rrname or rdata contains the text as it is shown |
//! | `/regex/` | rrname or rdata matches |
//!
//! The last two and stars elsewhere than in front read the whole ledger, or all below the labels they end in, so they have
//! a budget. Case never matters.

mod cursor;
mod filters;
mod indicator;
mod label_regex;
mod list;
mod literal;
mod lookalike;
mod new;
mod order;
mod pasted;
mod pattern;
mod queries;
mod query;
mod questions;
mod refused;
mod required;

mod summary;
mod walk;

pub use cursor::{Cursor, CursorError};
pub use filters::{During, FILTER_KEYS, Filters, Types, no_such_sensor, parse_bool, sensors};
pub use indicator::{Indicator, another, maybe_meant, refuse_nothing, understood};
pub use list::{List, ListForm};
pub use literal::{address as literal_address, literal};
pub use lookalike::{Brands, Likeness, Lookalike};
pub use new::{MAX_NEW, New, NewCursor, NewFound, NewSearch, NewSettings, What, find_new, parse_since};
pub use order::{MAX_SORTED, Sort, SortColumn, Top};
pub use pattern::{Pattern, PatternError};
pub use queries::{AnswerPart, Queries, QueriesWalk, QueryRef, is_regex};
pub use query::{Query, QueryError};
pub use questions::{AskedOf, Below, QuestionLimits, Questions};
pub use summary::Summary;
pub use walk::{End, Found, Limits, RowTest, Search, Slice, Walk};
