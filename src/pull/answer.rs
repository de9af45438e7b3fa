//! What servers answer, taken apart: a manifest and an event of a feed of MISP, attributes of a MISP, an envelope of TAXII.
//!
//! Only what is asked for is made a value of, and the rest stays text: a tree of values takes a hundred times the room of its text, which is sent packed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::iter;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::time::parse_rfc3339;

/// Events of a feed at most.
const MAX_EVENTS: usize = 100_000;

/// The text of a value, if it is one or a number.
fn plain(value: Option<&RawValue>) -> String {
    let text = value.map_or("", RawValue::get);
    match text.as_bytes() {
        [b'"', ..] => serde_json::from_str(text).unwrap_or_default(),
        [b'-' | b'0'..=b'9', ..] => text.to_owned(),
        _ => String::new(),
    }
}

/// The items of a list, one by one; of what is none there are none.
pub fn items(list: &RawValue) -> impl Iterator<Item = &RawValue> {
    let mut rest = list.get().strip_prefix('[').unwrap_or_default();
    iter::from_fn(move || {
        rest = rest.trim_ascii_start().trim_start_matches(',');
        if rest.starts_with(']') {
            return None;
        }
        let mut items = serde_json::Deserializer::from_str(rest).into_iter();
        let item = items.next()?.ok();
        rest = rest.get(items.byte_offset()..).unwrap_or_default();
        item
    })
}

//--- a feed of MISP -------------------------------------------------------------------------------------------------

/// The manifest of a feed of MISP.
#[derive(Debug, Default)]
pub struct Manifest {
    /// Events, and when each was changed, as a part of a name.
    events: BTreeMap<String, String>,
    /// Whether there are names that are not UUIDs.
    has_others: bool,
    /// Whether there are more events than are read.
    is_cut: bool,
}

/// What it says of an event.
#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Manifest, D::Error> {
        deserializer.deserialize_map(Manifest::default())
    }
}

impl<'de> Visitor<'de> for Manifest {
    type Value = Manifest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Manifest, A::Error> {
        while let Some(uuid) = map.next_key::<String>()? {
            let listed: Listed = map.next_value()?;
            // They become names of files.
            if !is_uuid(&uuid) {
                self.has_others = true;
            } else if self.events.len() < MAX_EVENTS || self.events.contains_key(&uuid) {
                self.events.insert(uuid, stamp(listed.timestamp));
            } else {
                self.is_cut = true;
            }
        }
        Ok(self)
    }
}

impl Manifest {
    /// Whether it is one, and not too long.
    ///
    /// # Errors
    ///
    /// With what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.is_cut {
            return Err("the manifest names more than 100,000 events");
        }
        if self.has_others {
            return Err("it is not a manifest of a feed of MISP: it has names that are not UUIDs");
        }
        if self.events.is_empty() {
            return Err("the manifest names no events");
        }
        Ok(())
    }

    /// How many events it names.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether it names this event.
    pub fn has(&self, uuid: &str) -> bool {
        self.events.contains_key(uuid)
    }

    /// Its events, and the file in which each is kept as it is now.
    pub fn events(&self) -> impl Iterator<Item = (&str, String)> {
        self.events.iter().map(|(uuid, stamp)| (uuid.as_str(), format!("{uuid}-{stamp}.json")))
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// A time of change as a part of a name.
fn stamp(timestamp: Option<&RawValue>) -> String {
    let digits: String = plain(timestamp).chars().filter(char::is_ascii_alphanumeric).take(20).collect();
    if digits.is_empty() { "0".to_owned() } else { digits }
}

/// Whether a text is an event.
///
/// # Errors
///
/// Where it is none.
pub fn check_event(text: impl Read) -> Result<(), serde_json::Error> {
    // All of it: what is passed over may say what has no meaning, which who reads all of it would refuse each time.
    serde_json::from_reader::<_, EventFile>(text).map(drop)
}

/// An object with an event, of which nothing is kept.
struct EventFile;

impl<'de> Deserialize<'de> for EventFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EventFile, D::Error> {
        deserializer.deserialize_map(EventFile)
    }
}

impl<'de> Visitor<'de> for EventFile {
    type Value = EventFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EventFile, A::Error> {
        let mut has_event = false;
        while let Some((key, AnyJson)) = map.next_entry::<String, AnyJson>()? {
            has_event |= key == "Event";
        }
        if has_event { Ok(self) } else { Err(A::Error::missing_field("Event")) }
    }
}

/// Any JSON, read to its last text and number, of which nothing is kept.
struct AnyJson;

impl<'de> Deserialize<'de> for AnyJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AnyJson, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

impl<'de> Visitor<'de> for AnyJson {
    type Value = AnyJson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, _: &str) -> Result<AnyJson, E> {
        Ok(AnyJson)
    }

    fn visit_bool<E>(self, _: bool) -> Result<AnyJson, E> {
        Ok(AnyJson)
    }

    fn visit_u64<E>(self, _: u64) -> Result<AnyJson, E> {
        Ok(AnyJson)
    }

    fn visit_i64<E>(self, _: i64) -> Result<AnyJson, E> {
        Ok(AnyJson)
    }

    fn visit_f64<E>(self, _: f64) -> Result<AnyJson, E> {
        Ok(AnyJson)
    }

    fn visit_unit<E>(self) -> Result<AnyJson, E> {
        Ok(AnyJson)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<AnyJson, A::Error> {
        while list.next_element::<AnyJson>()?.is_some() {}
        Ok(AnyJson)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyJson, A::Error> {
        while map.next_entry::<AnyJson, AnyJson>()?.is_some() {}
        Ok(AnyJson)
    }
}

/// An object in one line, without what stands between its parts.
///
/// # Errors
///
/// Where it would be refused when it is read again.
pub fn line_of(object: &RawValue) -> Result<String, serde_json::Error> {
    serde_json::from_str::<AnyJson>(object.get())?;
    let (mut in_text, mut is_escaped) = (false, false);
    let keep = |c: &char| {
        in_text ^= *c == '"' && !is_escaped;
        is_escaped = in_text && *c == '\\' && !is_escaped;
        in_text || !c.is_ascii_whitespace()
    };
    Ok(object.get().chars().filter(keep).collect())
}

//--- a MISP ---------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Answered<'a> {
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default, rename = "Attribute")]
    attributes: Option<&'a RawValue>,
}

/// The attributes of an answer of restSearch, in one list or in several; `None` in the place of what is none.
pub fn attributes(document: &RawValue) -> Box<dyn Iterator<Item = Option<&RawValue>> + '_> {
    let answered = is_object(document).then(|| serde_json::from_str(document.get()).ok()).flatten();
    let response = answered.and_then(|answered: Answered| answered.response).unwrap_or(document);
    match response.get().starts_with('[') {
        true => Box::new(items(response).flat_map(|part| attributes_of(part, true))),
        false => attributes_of(response, false),
    }
}

/// Those of a part of an answer, which may be one alone.
fn attributes_of(part: &RawValue, may_be_one: bool) -> Box<dyn Iterator<Item = Option<&RawValue>> + '_> {
    let part = is_object(part).then(|| serde_json::from_str(part.get()).ok()).flatten();
    match part.and_then(|part: Part| part.attributes) {
        Some(list) if list.get().starts_with('[') => Box::new(items(list).map(Some)),
        Some(one) if may_be_one && is_object(one) => Box::new(iter::once(Some(one))),
        _ => Box::new(iter::once(None)),
    }
}

fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// What an attribute is called, and since when it is so.
///
/// # Errors
///
/// When it is no object, or says that twice.
pub fn attribute_mark(attribute: &RawValue) -> Result<(String, u64), serde_json::Error> {
    #[derive(Deserialize)]
    struct Mark<'a> {
        #[serde(borrow, default)]
        uuid: Option<&'a RawValue>,
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
        #[serde(borrow, default)]
        timestamp: Option<&'a RawValue>,
    }
    let mark: Mark = serde_json::from_str(attribute.get())?;
    let id = Some(plain(mark.uuid)).filter(|id| !id.is_empty()).unwrap_or_else(|| plain(mark.id));
    Ok((id, plain(mark.timestamp).parse().unwrap_or(0)))
}

//--- TAXII ----------------------------------------------------------------------------------------------------------

/// What a server of TAXII 2.1 says of itself, or of an API root.
#[derive(Deserialize)]
pub struct Discovery<'a> {
    #[serde(borrow, default)]
    default: Option<&'a RawValue>,
    #[serde(borrow, default)]
    api_roots: Option<&'a RawValue>,
    #[serde(default)]
    versions: Option<IgnoredAny>,
    #[serde(default)]
    title: Option<IgnoredAny>,
}

impl Discovery<'_> {
    /// The first API roots of a server, and the one for who has no wish before the others; `None` where it is no server.
    pub fn roots(&self, most: usize) -> Option<Vec<String>> {
        let list = self.api_roots.filter(|roots| roots.get().starts_with('['))?;
        let first = Some(plain(self.default)).filter(|root| !root.is_empty());
        let others = items(list).map(|root| plain(Some(root)));
        let others = others.filter(|root| !root.is_empty() && Some(root) != first.as_ref());
        Some(first.clone().into_iter().chain(others).take(most).collect())
    }

    /// Whether it may be an API root.
    pub fn is_root(&self) -> bool {
        self.versions.is_some() || self.title.is_some()
    }
}

/// The collections of an API root.
#[derive(Deserialize)]
pub struct Collections<'a> {
    #[serde(borrow, default)]
    collections: Option<&'a RawValue>,
}

impl Collections<'_> {
    /// One by one.
    pub fn each(&self) -> impl Iterator<Item = &RawValue> {
        self.collections.into_iter().flat_map(items)
    }
}

/// A page of objects of TAXII 2.1 (3.7, Envelope Resource).
#[derive(Deserialize)]
pub struct Envelope<'a> {
    /// Whether there is another.
    #[serde(default)]
    pub more: bool,
    /// Where that is.
    #[serde(default)]
    pub next: Option<String>,
    #[serde(borrow, default)]
    objects: Option<&'a RawValue>,
}

impl Envelope<'_> {
    /// Its indicators: what each is called, since when it is so, and all of it. One that says so twice is an error.
    pub fn indicators(&self) -> impl Iterator<Item = Result<(String, u64, &RawValue), serde_json::Error>> {
        #[derive(Deserialize)]
        struct Mark<'a> {
            #[serde(borrow, default, rename = "type")]
            kind: Option<&'a RawValue>,
            #[serde(borrow, default)]
            id: Option<&'a RawValue>,
            #[serde(borrow, default)]
            modified: Option<&'a RawValue>,
        }
        self.objects.into_iter().flat_map(items).filter(|object| is_object(object)).filter_map(|object| {
            let mark: Mark = match serde_json::from_str(object.get()) {
                Ok(mark) => mark,
                Err(error) => return Some(Err(error)),
            };
            let is_indicator = plain(mark.kind) == "indicator";
            let time = || parse_rfc3339(&plain(mark.modified)).unwrap_or(0);
            is_indicator.then(|| Ok((plain(mark.id), time(), object)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_would_be_refused_each_time_it_is_read_is_none() {
        assert!(check_event(&b"{\"Event\": {\"info\": \"x\", \"n\": [1, -2, 0.5, null, true]}}"[..]).is_ok());
        for bad in [
            "{\"Event\": {\"x\": \"\\ud800\"}}",
            "{\"x\": \"\\ud800\", \"Event\": {}}",
            "{\"events\": []}",
            "{\"Event\": 1e999}",
        ] {
            assert!(check_event(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn what_is_taken_out_of_an_answer_is_one_line_each() {
        let list = raw("[ 1,\n{\"a\": [1, 2]} ,\"x, ]\" ,null]");
        assert_eq!(
            items(&list).map(RawValue::get).collect::<Vec<_>>(),
            ["1", "{\"a\": [1, 2]}", "\"x, ]\"", "null"]
        );
        for none in ["{}", "1", "[]", "[ ]"] {
            assert_eq!(items(&raw(none)).count(), 0, "{none}");
        }
        let object = raw("{\n \"a b\\\" \\\\\" : [ 1 ,\t2 ] }");
        assert_eq!(line_of(&object).unwrap(), "{\"a b\\\" \\\\\":[1,2]}");
        assert!(line_of(&raw("{\"x\": \"\\ud800\"}")).is_err());
        let found = |text: &str| -> Vec<Option<String>> {
            attributes(&raw(text)).map(|one| one.map(|one| one.get().to_owned())).collect()
        };
        let [a, b] = ["{\"id\":1}", "{\"id\":2}"].map(|one| Some(one.to_owned()));
        for (text, attributes) in [
            ("{\"response\":{\"Attribute\":[{\"id\":1},{\"id\":2}]}}", vec![a.clone(), b.clone()]),
            ("{\"Attribute\":[]}", vec![]),
            ("{\"response\":[{\"Attribute\":[{\"id\":1}]},{\"Attribute\":{\"id\":2}}]}", vec![a.clone(), b]),
            ("[{\"Attribute\":[{\"id\":1}]},{}]", vec![a, None]),
            ("{\"response\":{\"Attribute\":{\"id\":2}}}", vec![None]),
            ("{\"errors\":1}", vec![None]),
            ("1", vec![None]),
        ] {
            assert_eq!(found(text), attributes, "{text}");
        }
        assert_eq!(attribute_mark(&raw("{\"id\":7,\"timestamp\":\"5\"}")).unwrap(), ("7".to_owned(), 5));
        assert!(attribute_mark(&raw("{\"id\":7,\"id\":8}")).is_err() && attribute_mark(&raw("1")).is_err());
    }
}
