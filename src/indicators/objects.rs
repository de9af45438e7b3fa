//! Objects of JSON that say what is bad in words of their own: those of URLhaus, ThreatFox, Feodo and OTX, and whatever people write a line each.
//!
//! An object is read as a row of a table is: its keys are the titles. What it does not say of itself, the object that it is in says: a pulse
//! of OTX has a name and tags, which may stand behind its indicators.

use serde_json::json;

use super::ReadError;
use super::collect::Collect;
use super::csv::{self, CsvColumns};
use super::lenient::Scalar;
use super::reason::Reason;
use super::stix;

/// Objects that wait for what is said of all of them, and their bytes.
const MAX_WAITING: usize = 5000;
const MAX_BYTES: usize = 4 << 20;
/// Bytes of a text that are kept.
const MAX_TEXT: usize = 4096;
/// Texts of an object that are kept.
const MAX_CELLS: usize = 64;

/// Keys that say something of an indicator, beside those of tables.
const OTHERS: &[&str] = &[
    "type",
    "name",
    "pattern",
    "pattern_type",
    "revoked",
    "deleted",
    "is_active",
    "as_number",
    "valid_until",
    "modified",
    "references",
];

/// What a key of an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// An indicator stands there, or many.
    Value,
    /// Something is said of one.
    Note,
    /// Anything.
    Other,
}

/// A key as tables have titles.
pub fn title(key: &str) -> String {
    key.trim().to_ascii_lowercase().replace([' ', '-'], "_")
}

/// What a key, as [`title`] has it, is.
pub fn key(title: &str) -> Key {
    if csv::is_value(title) {
        Key::Value
    } else if csv::is_note(title) || OTHERS.contains(&title) {
        Key::Note
    } else {
        Key::Other
    }
}

/// The texts of an object, by their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts(Vec<(String, String)>);

impl Texts {
    /// Adds one, cut where it is too long.
    pub fn push(&mut self, title: String, mut text: String) {
        let mut end = MAX_TEXT.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        if self.0.len() < MAX_CELLS && !csv::is_nothing(text.trim()) {
            self.0.push((title, text));
        }
    }

    fn get(&self, title: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == title).map(|(_, text)| text.trim())
    }

    fn first(&self, titles: &[&str]) -> Option<&str> {
        titles.iter().find_map(|title| self.get(title))
    }

    /// Whether it is an indicator, and says so itself.
    pub fn is_indicator(&self) -> bool {
        self.is_pattern() || self.0.iter().any(|(title, _)| csv::is_value(title))
    }

    /// Whether all that makes it an indicator are names that were asked for.
    pub fn is_question(&self) -> bool {
        !self.is_pattern()
            && self
                .0
                .iter()
                .filter(|(title, _)| csv::is_value(title))
                .all(|(title, _)| csv::is_question(title))
    }

    /// The texts that are taken where an object is one of a list, and what it is called, with their keys.
    pub fn values_and_names(&self) -> impl Iterator<Item = (&str, &str)> {
        let texts = self.0.iter().filter(|(title, _)| csv::is_value(title) || title == "name");
        texts.map(|(title, text)| (title.as_str(), text.as_str()))
    }

    /// The texts that are taken of it.
    pub fn values(&self) -> Vec<&str> {
        self.0.iter().filter(|(title, _)| csv::is_value(title)).map(|(_, text)| text.as_str()).collect()
    }

    fn is_pattern(&self) -> bool {
        self.get("type") == Some("indicator") && self.get("pattern").is_some()
    }

    /// What it is called.
    pub fn name(&self) -> Option<&str> {
        self.first(&["name", "title"])
    }
}

/// Objects that wait.
#[derive(Debug, Default)]
pub struct Waiting {
    rows: Vec<(u64, Texts)>,
    bytes: usize,
    columns: Option<CsvColumns>,
}

impl Waiting {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds one; whether no more are to wait.
    pub fn push(&mut self, line: u64, texts: Texts) -> bool {
        self.bytes += texts.0.iter().map(|(title, text)| title.len() + text.len() + 64).sum::<usize>();
        self.rows.push((line, texts));
        self.rows.len() >= MAX_WAITING || self.bytes >= MAX_BYTES
    }

    /// Has those from a place on say what the object that they are in says.
    pub fn inherit(&mut self, from: usize, of: &Texts) {
        let [title, tags, link] =
            [of.name(), of.first(&["tags", "labels"]), of.first(&["references", "reference", "link"])];
        for (_, texts) in self.rows.iter_mut().skip(from) {
            for (key, known, text) in
                [("title", csv::TITLE, title), ("tags", csv::TAGS, tags), ("link", csv::LINK, link)]
            {
                if let (None, Some(text)) = (texts.first(known), text) {
                    texts.push(key.to_owned(), text.to_owned());
                }
            }
        }
    }

    /// Gives those from a place on the number by which they are known, where they have none.
    pub fn number(&mut self, from: usize, number: &str) {
        for (_, texts) in self.rows.iter_mut().skip(from) {
            if texts.first(csv::ID).is_none() {
                texts.push("id".to_owned(), number.to_owned());
            }
        }
    }

    /// Takes all of them.
    ///
    /// # Errors
    ///
    /// As [`super::read`].
    pub fn take(&mut self, collect: &mut Collect<'_>) -> Result<(), ReadError> {
        self.bytes = 0;
        for (line, texts) in std::mem::take(&mut self.rows) {
            if texts.is_pattern() {
                let object: serde_json::Map<_, _> =
                    texts.0.into_iter().map(|(title, text)| (title, json!(text))).collect();
                if let Ok(object) = serde_json::from_value(object.into()) {
                    stix::take(&object, line, collect)?;
                }
                continue;
            }
            let flag = |title: &str| Scalar(texts.get(title).map(str::to_owned));
            if flag("deleted").is_yes() || flag("revoked").is_yes() || flag("is_active").is_no() {
                let value = texts.0.iter().find(|(title, _)| csv::is_value(title));
                collect.skip(Reason::Revoked, line, value.map_or("", |(_, text)| text));
                continue;
            }
            // Of a server in a network somebody's name for its address is no indicator.
            let is_host_of = texts.get("as_number").is_some() && texts.get("ip_address").is_some();
            let (titles, cells): (Vec<String>, Vec<String>) =
                texts.0.into_iter().filter(|(title, _)| !(is_host_of && title == "hostname")).unzip();
            let columns = match self.columns.take().filter(|columns| columns.are_of(&titles)) {
                Some(known) => self.columns.insert(known),
                None => self.columns.insert(CsvColumns::of_keys(titles)),
            };
            columns.take(&cells, line, collect)?;
        }
        Ok(())
    }
}
