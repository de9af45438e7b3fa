//! Where a link leads: places, the way that led to them, and a view of results as its URL has it.

use std::net::IpAddr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::dns::Name;
use crate::lookup::{FILTER_KEYS, Sort, SortColumn, parse_bool};

/// What is percent-encoded: everything but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Steps of a way that are kept.
const MAX_STEPS: usize = 5;
/// The longest step that is kept, in bytes.
const MAX_STEP_BYTES: usize = 300;
/// Rows on a page when nothing else is asked for.
pub const DEFAULT_ROWS: u64 = 50;
/// Rows on a page at most.
pub const MAX_ROWS: u64 = 500;
/// Rows up to the end of a sorted page, at most: so many are held in memory.
pub const MAX_SORTED: u64 = 5_000;

/// Text as part of a URL.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// A URL being put together.
struct Url {
    text: String,
    first: bool,
}

impl Url {
    fn new(path: &str) -> Url {
        Url { text: path.to_owned(), first: true }
    }

    fn param(&mut self, key: &str, value: &str) {
        self.text.push(if std::mem::take(&mut self.first) { '?' } else { '&' });
        self.text.push_str(key);
        self.text.push('=');
        self.text.push_str(&encoded(value));
    }
}

//--- Subject ----------------------------------------------------------------------------------------------------------

/// Something that has a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// What a query finds.
    Search(String),
    /// All about a name, in presentation form.
    Name(String),
    /// All about an address.
    Address(String),
}

impl Subject {
    /// The place of a name.
    pub fn name(name: &Name) -> Subject {
        Subject::Name(name.to_string())
    }

    /// The place of an address.
    pub fn address(address: IpAddr) -> Subject {
        Subject::Address(address.to_string())
    }

    /// What it is about.
    pub fn text(&self) -> &str {
        match self {
            Subject::Search(text) | Subject::Name(text) | Subject::Address(text) => text,
        }
    }

    /// The way there, having come by a trail.
    pub fn href(&self, trail: &Trail) -> String {
        let mut url = match self {
            Subject::Search(query) => {
                let mut url = Url::new("/");
                url.param("q", query);
                url
            }
            // A browser takes a dot for the folder itself, however it is written.
            Subject::Name(name) if name == "." => Url::new("/name/"),
            Subject::Name(name) => Url::new(&format!("/name/{}", encoded(name))),
            Subject::Address(address) => Url::new(&format!("/address/{}", encoded(address))),
        };
        trail.push_to(&mut url);
        url.text
    }

    fn tag(&self) -> char {
        match self {
            Subject::Search(_) => 'q',
            Subject::Name(_) => 'n',
            Subject::Address(_) => 'a',
        }
    }

    fn parse(step: &str) -> Option<Subject> {
        let (tag, text) = step.split_once(':')?;
        if text.is_empty() || text.len() > MAX_STEP_BYTES {
            return None;
        }
        match tag {
            "q" => Some(Subject::Search(text.to_owned())),
            "n" => Some(Subject::Name(text.to_owned())),
            "a" => Some(Subject::Address(text.to_owned())),
            _ => None,
        }
    }
}

//--- Trail ----------------------------------------------------------------------------------------------------------

/// The places that led to a page, the first one first: its breadcrumbs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail {
    places: Vec<Subject>,
    /// Whether rows lead on to the lines of logs that they were counted from.
    evidence: bool,
}

impl Trail {
    /// Takes the trail from the parameters of a request; what is no step is left out.
    pub fn from_params(params: &[(String, String)]) -> Trail {
        let steps =
            params.iter().filter(|(key, _)| key == "via").filter_map(|(_, step)| Subject::parse(step));
        Trail { places: steps.take(MAX_STEPS).collect(), evidence: false }
    }

    /// The same for who may or may not see the lines of logs.
    pub fn with_evidence(self, evidence: bool) -> Trail {
        Trail { evidence, ..self }
    }

    /// Whether rows lead on to the lines of logs.
    pub fn has_evidence(&self) -> bool {
        self.evidence
    }

    /// The places.
    pub fn places(&self) -> &[Subject] {
        &self.places
    }

    /// The trail that led to one of its own places.
    pub fn up_to(&self, at: usize) -> Trail {
        Trail { places: self.places.iter().take(at).cloned().collect(), evidence: self.evidence }
    }

    /// The trail that leads on from a place. One that was met before is gone back to.
    pub fn then(&self, place: &Subject) -> Trail {
        let known = self.places.iter().position(|earlier| earlier == place).unwrap_or(self.places.len());
        let mut steps: Vec<Subject> = self.places.iter().take(known).cloned().collect();
        if place.text().len() <= MAX_STEP_BYTES {
            steps.push(place.clone());
        }
        let over = steps.len().saturating_sub(MAX_STEPS);
        Trail { places: steps.into_iter().skip(over).collect(), evidence: self.evidence }
    }

    fn push_to(&self, url: &mut Url) {
        for place in &self.places {
            url.param("via", &format!("{}:{}", place.tag(), place.text()));
        }
    }

    /// The steps as form fields have them, so that a form keeps the trail.
    pub fn steps(&self) -> Vec<String> {
        self.places.iter().map(|place| format!("{}:{}", place.tag(), place.text())).collect()
    }
}

/// The way to the lines of logs behind what was asked.
pub fn evidence_href(path: &str, params: &[(&str, &str)], trail: &Trail) -> String {
    let mut url = Url::new(path);
    params.iter().for_each(|(key, value)| url.param(key, value));
    trail.push_to(&mut url);
    url.text
}

//--- View -----------------------------------------------------------------------------------------------------------

/// A view of results, as its URL has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The query, as it was typed; empty where nothing is asked.
    pub q: String,
    /// Filters with a value, as they were typed, but for the limit.
    pub filters: Vec<(&'static str, String)>,
    /// Rows on a page.
    pub rows: u64,
    /// The order asked for; that of the index, or by the last sighting where the result is small, if none is.
    pub sort: Option<Sort>,
    /// Which page of a sorted result, from 1.
    pub page: u64,
    /// Where a page in the order of the index begins.
    pub cursor: Option<String>,
    /// Rows on the pages before, where that is known: only for show.
    pub before: u64,
    /// Whether what can be had is enough, where parts of a cluster are away.
    pub partial: bool,
    /// The pages that led here.
    pub trail: Trail,
}

impl View {
    /// Takes a view from the parameters of a request. Fields of a form that were left empty mean nothing.
    pub fn from_params(params: &[(String, String)]) -> View {
        let mut view =
            View { rows: DEFAULT_ROWS, page: 1, trail: Trail::from_params(params), ..View::default() };
        // Two fields of the form are one filter.
        let field = |name: &str| {
            let value = params.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.trim());
            value.unwrap_or_default()
        };
        let between = [field("from"), field("to")];
        if between.iter().any(|end| !end.is_empty()) {
            view.filters.push(("during", between.join("..")));
        }
        for (key, value) in params {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            let number = value.parse().ok().filter(|n| *n > 0);
            match key.as_str() {
                "q" => view.q = value.to_owned(),
                "limit" => view.rows = number.unwrap_or(DEFAULT_ROWS).min(MAX_ROWS),
                "sort" => view.sort = Sort::parse(value),
                "page" => view.page = number.unwrap_or(1),
                "cursor" => view.cursor = Some(value.to_owned()),
                "partial" => view.partial = parse_bool(value).unwrap_or(false),
                "before" => view.before = number.unwrap_or(0),
                _ => {
                    if let Some(key) = FILTER_KEYS.iter().find(|known| *known == key) {
                        view.filters.retain(|(earlier, _)| earlier != key);
                        view.filters.push((key, value.to_owned()));
                    }
                }
            }
        }
        view.page = view.page.min(MAX_SORTED / view.rows.max(1)).max(1);
        view
    }

    /// The value of a filter, empty where it is not set.
    pub fn filter(&self, key: &str) -> &str {
        self.filters.iter().find(|(known, _)| *known == key).map_or("", |(_, value)| value)
    }

    /// The two ends of the time in which rows were seen, as fields of the form have them.
    pub fn between(&self) -> (&str, &str) {
        let during = self.filter("during");
        during.split_once("..").unwrap_or((during, during))
    }

    /// The first page of the same with another time in which rows were seen.
    pub fn during(&self, during: &str) -> View {
        let mut view = self.first_page();
        view.filters.retain(|(key, _)| *key != "during");
        view.filters.push(("during", during.to_owned()));
        view
    }

    /// The place it shows.
    pub fn place(&self) -> Subject {
        Subject::Search(self.q.clone())
    }

    /// The view itself as a link.
    pub fn href(&self) -> String {
        let mut url = Url::new("/");
        self.push_search(&mut url);
        if self.rows != DEFAULT_ROWS {
            url.param("limit", &self.rows.to_string());
        }
        if let Some(sort) = self.sort {
            url.param("sort", &sort.text());
        }
        if self.page > 1 {
            url.param("page", &self.page.to_string());
        }
        if let Some(cursor) = &self.cursor {
            url.param("cursor", cursor);
            url.param("before", &self.before.to_string());
        }
        self.trail.push_to(&mut url);
        url.text
    }

    fn push_search(&self, url: &mut Url) {
        url.param("q", &self.q);
        for (key, value) in &self.filters {
            url.param(key, value);
        }
        if self.partial {
            url.param("partial", "1");
        }
    }

    /// The first page of the same result.
    pub fn first_page(&self) -> View {
        View { page: 1, cursor: None, before: 0, ..self.clone() }
    }

    /// The first page in the other order of a column, or in its own.
    pub fn sorted_by(&self, column: SortColumn, shown: Option<Sort>) -> View {
        let descending = match shown {
            Some(sort) if sort.column == column => !sort.descending,
            _ => column.is_descending_at_first(),
        };
        View { sort: Some(Sort { column, descending }), ..self.first_page() }
    }

    /// A page of a sorted result.
    pub fn sorted_page(&self, sort: Sort, page: u64) -> View {
        View { sort: Some(sort), page, ..self.first_page() }
    }

    /// The page at a cursor, behind so many rows.
    pub fn page_at(&self, cursor: String, before: u64) -> View {
        View { cursor: Some(cursor), before, ..self.first_page() }
    }

    /// The whole result by the native API, in a format of it.
    pub fn export_href(&self, path: &str, format: &str, limit: Option<u64>, pointing: bool) -> String {
        let mut url = Url::new(path);
        self.push_search(&mut url);
        url.param("format", format);
        if pointing {
            url.param("pointing", "true");
        }
        if let Some(limit) = limit {
            url.param("limit", &limit.to_string());
        }
        url.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_view_is_a_link_and_back() {
        let view = View::from_params(&params(&[
            ("q", " *.example.com "),
            ("type", "A,AAAA"),
            ("sensor", ""),
            ("last_after", "7d"),
            ("limit", "100"),
            ("sort", "-count"),
            ("page", "3"),
            ("via", "n:a&b"),
            ("via", "x:nothing"),
            ("unknown", "1"),
        ]));
        assert_eq!(
            view.href(),
            "/?q=%2A.example.com&type=A%2CAAAA&last_after=7d&limit=100&sort=-count&page=3&via=n%3Aa%26b"
        );
        assert_eq!(view.trail.places(), [Subject::Name("a&b".to_owned())]);
        assert_eq!(view.first_page().page, 1);
    }

    #[test]
    fn places_have_paths_that_no_browser_changes() {
        let href = |name: &str| Subject::Name(name.to_owned()).href(&Trail::default());
        assert_eq!(href("."), "/name/");
        assert_eq!(href("a/..\\046\"<b>"), "/name/a%2F..%5C046%22%3Cb%3E");
        assert_eq!(
            Subject::Address("2001:db8::1".to_owned()).href(&Trail::default()),
            "/address/2001%3Adb8%3A%3A1"
        );
    }

    #[test]
    fn a_trail_is_short_and_goes_back_to_where_it_was() {
        let place = |i: usize| Subject::Name(format!("n{i}.example"));
        let mut trail = Trail::default();
        for i in 0..9 {
            trail = trail.then(&place(i));
        }
        assert_eq!(trail.places(), [place(4), place(5), place(6), place(7), place(8)]);
        assert_eq!(trail.then(&place(6)).places(), [place(4), place(5), place(6)]);
        let back = Trail::from_params(&params(&[("via", "n:a"), ("via", "q:*.x"), ("via", "a:::1")]));
        assert_eq!(back.steps(), ["n:a", "q:*.x", "a:::1"]);
        assert_eq!(back.up_to(1).steps(), ["n:a"]);
        assert!(Trail::default().then(&Subject::Name("x".repeat(400))).places().is_empty());
    }

    #[test]
    fn a_page_far_behind_is_not_reached_by_sorting() {
        let view = View::from_params(&params(&[("q", "x"), ("page", "99999999"), ("limit", "100000")]));
        assert!(view.page * view.rows <= MAX_SORTED);
    }
}
