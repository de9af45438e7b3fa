//! TAXII 2.1: from a server, an API root or a collection to its indicators, page by page, and from then on those added since.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Collections, Discovery, Envelope, line_of};
use super::remote::parsed;
use super::spool::{Arrived, Spool};
use super::{Pull, PullError, Pulled};
use crate::http::fetch::{Location, encoded};
use crate::indicators::Format;

/// What TAXII calls its JSON.
const ACCEPT: (&str, &str) = ("accept", "application/taxii+json;version=2.1");
/// Objects of a page; a server may give fewer.
const PAGE: usize = 1000;
/// Pages at most.
const MAX_PAGES: usize = 10_000;
/// API roots that are looked through for a collection.
const MAX_ROOTS: usize = 20;
/// Collections that are told where none of them is the one.
const MAX_SEEN: usize = 50;
/// After so long all is asked for: objects that were removed for good are not told of otherwise.
const FULL: u64 = 86_400;

#[derive(Deserialize)]
struct Collection {
    id: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    alias: String,
    #[serde(default = "yes")]
    can_read: bool,
}

fn yes() -> bool {
    true
}

impl Pull<'_> {
    pub(super) fn taxii(&mut self) -> Result<Pulled, PullError> {
        let objects = self.objects()?;
        let spool = Spool::of(self.folder.pulled(&self.source.name));
        let since = self.note.since.clone().filter(|_| {
            self.goes_on && spool.is_there() && self.now.saturating_sub(self.note.full_at) < FULL
        });
        // The place in a list dies soon: then all of it is asked for once more.
        let (arrived, last) = match self.pages(&objects, since.as_deref()) {
            Err((PullError::Answered { status, .. }, 2..)) if !matches!(status, 401 | 403) => {
                self.pages(&objects, since.as_deref()).map_err(|(error, _)| error)?
            }
            pages => pages.map_err(|(error, _)| error)?,
        };
        let whole = since.is_none();
        if whole && arrived.is_empty() {
            let what = "the collection has no indicators that this key may see".to_owned();
            return Err(PullError::Unexpected { at: objects.to_string(), what });
        }
        // A server that does not say when what it gave was added is asked for all each time.
        self.note.since = last.or(since);
        if whole {
            self.note.full_at = self.now;
        }
        self.import_spool(&spool, arrived, whole, Format::Stix)
    }

    fn taxii_document(&self, at: &Location) -> Result<(Location, Box<RawValue>), PullError> {
        let (at, reply) = self.remote.get(at, &[ACCEPT])?;
        if reply.status != 200 {
            return Err(self.remote.answered(&at, reply));
        }
        let document = self.remote.document(&at, reply)?;
        Ok((at, document))
    }

    /// Where the objects of the collection are.
    fn objects(&self) -> Result<Location, PullError> {
        let url = &self.source.url;
        let path = url.path().trim_end_matches('/');
        if let Some((root, id)) = path.rsplit_once("/collections/") {
            let id = id.split('/').next().unwrap_or_default();
            return Ok(url.with_target(&format!("{root}/collections/{id}/objects/")));
        }
        let path = path.strip_suffix("/collections").unwrap_or(path);
        let (at, document) = self.taxii_document(&url.with_target(&format!("{path}/")))?;
        let unexpected = |what: String| PullError::Unexpected { at: at.to_string(), what };
        let said: Discovery = parsed(&at, &document)?;
        let roots = match said.roots(MAX_ROOTS) {
            Some(roots) => roots,
            // It is an API root itself.
            None if said.is_root() => vec![at.path().to_owned()],
            None => {
                return Err(unexpected("it is neither a server of TAXII 2.1, nor an API root".to_owned()));
            }
        };
        let mut seen = Vec::new();
        for root in &roots {
            let to = match at.led_to(root) {
                Ok(to) => to,
                Err(why) => {
                    seen.push(format!("the API root {root:?} is not asked: {why}"));
                    continue;
                }
            };
            let root = to.path().trim_end_matches('/').to_owned();
            let list = to.with_target(&format!("{root}/collections/"));
            let (list, found) = match self.taxii_document(&list) {
                Ok(found) => found,
                // Others may be for this user.
                Err(error @ PullError::Answered { .. }) if roots.len() > 1 => {
                    seen.push(error.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            };
            let wanted = self.source.collection.as_str();
            let (mut chosen, mut readable) = (None, 0);
            for one in parsed::<Collections>(&list, &found)?.each() {
                let Collection { id, title, alias, can_read } = parsed(&list, one)?;
                readable += u32::from(can_read);
                let is_it = match wanted {
                    "" => can_read && readable == 1,
                    wanted => {
                        chosen.is_none() && [&id, &title, &alias].into_iter().any(|name| name == wanted)
                    }
                };
                if seen.len() < MAX_SEEN {
                    seen.push(format!("{id} ({title})"));
                }
                if is_it {
                    chosen = Some(id);
                }
            }
            if let Some(id) = chosen.filter(|_| !wanted.is_empty() || readable == 1) {
                return Ok(to.with_target(&format!("{root}/collections/{}/objects/", encoded(&id))));
            }
        }
        let which = match self.source.collection.as_str() {
            "" => "collection of the feed must say which one".to_owned(),
            wanted => format!("unknown collection {wanted:?}"),
        };
        let seen: String = seen.join(", ").chars().take(300).collect();
        Err(unexpected(format!("{which}; there are: {seen}")))
    }

    /// All pages of what was added after a time, and when the last of it was; with the number of the page that failed.
    fn pages(
        &self,
        objects: &Location,
        since: Option<&str>,
    ) -> Result<(Arrived, Option<String>), (PullError, usize)> {
        let mut arrived = Arrived::default();
        let (mut next, mut last): (Option<String>, Option<String>) = (None, None);
        let mut after = since.map(str::to_owned);
        for number in 1..=MAX_PAGES {
            // The same each time, as the next page wants it.
            let mut target = format!("{}?limit={PAGE}&match%5Btype%5D=indicator", objects.path());
            for (key, value) in [("added_after", &after), ("next", &next)] {
                if let Some(value) = value {
                    target += &format!("&{key}={}", encoded(value));
                }
            }
            let failed = |error| (error, number);
            let (at, reply) = self.remote.get(&objects.with_target(&target), &[ACCEPT]).map_err(failed)?;
            if reply.status != 200 {
                return Err(failed(self.remote.answered(&at, reply)));
            }
            let added = reply.header("x-taxii-date-added-last").map(str::to_owned);
            let spans = reply.header("x-taxii-date-added-first") != added.as_deref();
            let document = self.remote.document(&at, reply).map_err(failed)?;
            let page: Envelope = parsed(&at, &document).map_err(failed)?;
            let mut is_new = false;
            let no_indicator = |error: serde_json::Error| {
                let what = format!("an indicator: {error}");
                failed(PullError::Unexpected { at: at.to_string(), what })
            };
            for indicator in page.indicators() {
                let (id, time, object) = indicator.map_err(no_indicator)?;
                let line = line_of(object).map_err(no_indicator)?;
                is_new |= arrived.add(&at.to_string(), &id, time, "objects", &line).map_err(failed)?;
            }
            let is_further = added.is_some() && added != last;
            last = added.or(last);
            match (page.more, page.next) {
                (false, _) => return Ok((arrived, last)),
                // Some servers call each place of one list alike.
                (true, Some(place)) if next.as_ref() != Some(&place) || is_new => {
                    next = Some(place);
                }
                // One that gives no place goes on by the time. Where all of a page came at one time, others of that time would be left out.
                (true, None) if is_further && spans => (next, after) = (None, last.clone()),
                _ => {
                    let what = "it says that there is more, and not where".to_owned();
                    return Err(failed(PullError::Unexpected { at: at.to_string(), what }));
                }
            }
        }
        let what = format!("it has more than {MAX_PAGES} pages");
        Err((PullError::Unexpected { at: objects.to_string(), what }, MAX_PAGES))
    }
}
