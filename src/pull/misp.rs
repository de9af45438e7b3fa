//! A MISP, asked by its REST API: `attributes/restSearch`, page by page; once a day for all, and else for what has changed.

use serde_json::{Map, Value, json};

use super::answer::{attribute_mark, attributes, line_of};
use super::spool::{Arrived, Spool};
use super::{Pull, PullError, Pulled};
use crate::indicators::Format;

/// Attributes of a page: a short one is the last.
const PAGE: usize = 10_000;
/// Pages at most.
const MAX_PAGES: u64 = 1000;
/// After so long all is asked for: attributes that were removed for good are not told of otherwise.
const FULL: u64 = 86_400;
/// The types that a DNS log may have.
const TYPES: [&str; 11] = [
    "domain",
    "domain|ip",
    "hostname",
    "hostname|port",
    "ip-dst",
    "ip-dst|port",
    "ip-src",
    "ip-src|port",
    "url",
    "uri",
    "link",
];

impl Pull<'_> {
    pub(super) fn misp(&mut self) -> Result<Pulled, PullError> {
        let is_whole_path = self.source.url.path().trim_end_matches('/').ends_with("restSearch");
        let at = if is_whole_path { self.source.url.clone() } else { self.below("attributes/restSearch") };
        let spool = Spool::of(self.folder.pulled(&self.source.name));
        let since = self.note.since.clone().filter(|_| {
            self.goes_on && spool.is_there() && self.now.saturating_sub(self.note.full_at) < FULL
        });
        let unexpected = |what: String| PullError::Unexpected { at: at.to_string(), what };
        let mut search = self.search()?;
        let mut default = |key: &str, value: Value| {
            search.entry(key).or_insert(value);
        };
        default("type", json!(TYPES));
        default("includeEventTags", json!(1));
        match &since {
            // What was taken back since is told, too, so that it is dropped.
            Some(since) => {
                search.insert("timestamp".to_owned(), json!(since));
                search.insert("deleted".to_owned(), json!([0, 1]));
            }
            None => default("to_ids", json!(1)),
        }
        search.insert("returnFormat".to_owned(), json!("json"));
        search.insert("limit".to_owned(), json!(PAGE));
        let mut arrived = Arrived::default();
        let mut newest = since.clone().and_then(|since| since.parse().ok()).unwrap_or(0);
        for page in 1.. {
            if page > MAX_PAGES {
                return Err(unexpected(format!("it has more than {MAX_PAGES} pages")));
            }
            search.insert("page".to_owned(), json!(page));
            let body = Value::Object(search.clone()).to_string().into_bytes();
            let reply = self.remote.post(&at, &[("accept", "application/json")], body)?;
            if reply.status != 200 {
                return Err(self.remote.answered(&at, reply));
            }
            let document = self.remote.document(&at, reply)?;
            let (mut count, mut is_new) = (0, false);
            for attribute in attributes(&document) {
                let attribute =
                    attribute.ok_or_else(|| unexpected("its answer is none of restSearch".to_owned()))?;
                let failed = |error| unexpected(format!("an attribute: {error}"));
                let (id, time) = attribute_mark(attribute).map_err(failed)?;
                let line = line_of(attribute).map_err(failed)?;
                count += 1;
                is_new |= arrived.add(&at.to_string(), &id, time, "Attribute", &line)?;
                newest = newest.max(time);
            }
            if count < PAGE {
                break;
            }
            if !is_new {
                return Err(unexpected(format!("page {page} is like the one before")));
            }
        }
        let whole = since.is_none();
        if whole && arrived.is_empty() {
            // A search that finds nothing takes nothing away: it is more likely a key that may see nothing.
            return Err(unexpected(
                "it has no attributes that this key may see and that search finds".to_owned(),
            ));
        }
        self.note.since = Some(newest.to_string());
        if whole {
            self.note.full_at = self.now;
        }
        self.import_spool(&spool, arrived, whole, Format::Misp)
    }

    /// What is searched for, besides.
    fn search(&self) -> Result<Map<String, Value>, PullError> {
        match self.source.search.as_str() {
            "" => Ok(Map::new()),
            // What is none was refused when the configuration was read.
            text => serde_json::from_str(text).map_err(|error| PullError::Unexpected {
                at: self.source.name.clone(),
                what: format!("search: {error}"),
            }),
        }
    }
}
