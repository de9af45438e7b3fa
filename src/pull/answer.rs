//! What servers answer, taken apart: a manifest and an event of a feed of MISP, attributes of a MISP, an envelope of TAXII.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::base::time::parse_rfc3339;

/// Events of a feed at most.
const MAX_EVENTS: usize = 100_000;

//--- a feed of MISP -------------------------------------------------------------------------------------------------

/// The manifest of a feed of MISP.
#[derive(Debug, Deserialize)]
pub struct Manifest(BTreeMap<String, Listed>);

/// What it says of an event.
#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(default)]
    timestamp: Value,
}

impl Manifest {
    /// Whether it is one, and not too long.
    ///
    /// # Errors
    ///
    /// With what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.0.is_empty() {
            return Err("the manifest names no events");
        }
        if self.0.len() > MAX_EVENTS {
            return Err("the manifest names more than 100,000 events");
        }
        // They become names of files.
        if self.0.keys().any(|uuid| !is_uuid(uuid)) {
            return Err("it is not a manifest of a feed of MISP: it has names that are not UUIDs");
        }
        Ok(())
    }

    /// How many events it names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it names this event.
    pub fn has(&self, uuid: &str) -> bool {
        self.0.contains_key(uuid)
    }

    /// Its events, and the file in which each is kept as it is now.
    pub fn events(&self) -> impl Iterator<Item = (&str, String)> {
        self.0
            .iter()
            .map(|(uuid, listed)| (uuid.as_str(), format!("{uuid}-{}.json", stamp(&listed.timestamp))))
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// A time of change as a part of a name.
fn stamp(timestamp: &Value) -> String {
    let text = timestamp.as_str().map_or_else(|| timestamp.to_string(), str::to_owned);
    let digits: String = text.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
    if digits.is_empty() { "0".to_owned() } else { digits }
}

/// Whether a text is an event.
///
/// # Errors
///
/// Where it is none.
pub fn check_event(text: &[u8]) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct EventFile {
        #[serde(rename = "Event")]
        _event: IgnoredAny,
    }
    // What is passed over may say what has no meaning, which who reads all of it would refuse each time.
    serde_json::from_slice::<AnyJson>(text)?;
    serde_json::from_slice::<EventFile>(text).map(drop)
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

//--- a MISP ---------------------------------------------------------------------------------------------------------

/// The attributes of an answer of restSearch: in one list, or in several; nothing where it is none.
pub fn attributes(document: &Value) -> Option<Vec<&Value>> {
    let response = document.get("response").unwrap_or(document);
    match response {
        Value::Object(map) => Some(map.get("Attribute")?.as_array()?.iter().collect()),
        Value::Array(list) => {
            let mut all = Vec::new();
            for part in list {
                match part.get("Attribute") {
                    Some(Value::Array(attributes)) => all.extend(attributes),
                    Some(attribute @ Value::Object(_)) => all.push(attribute),
                    _ => return None,
                }
            }
            Some(all)
        }
        _ => None,
    }
}

/// What an attribute is called, and since when it is so.
pub fn attribute_mark(attribute: &Value) -> (String, u64) {
    let text = |key: &str| match attribute.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let id = Some(text("uuid")).filter(|id| !id.is_empty()).unwrap_or_else(|| text("id"));
    (id, text("timestamp").parse().unwrap_or(0))
}

//--- TAXII ----------------------------------------------------------------------------------------------------------

/// A page of objects of TAXII 2.1 (3.7, Envelope Resource).
#[derive(Debug, Deserialize)]
pub struct Envelope {
    /// Whether there is another.
    #[serde(default)]
    pub more: bool,
    /// Where that is.
    #[serde(default)]
    pub next: Option<String>,
    #[serde(default)]
    objects: Vec<Value>,
}

impl Envelope {
    /// Its indicators: what each is called, since when it is so, and all of it.
    pub fn indicators(&self) -> impl Iterator<Item = (&str, u64, &Value)> {
        let text = |object: &'_ Value, key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        let indicators = self
            .objects
            .iter()
            .filter(|object| object.get("type").and_then(Value::as_str) == Some("indicator"));
        indicators.map(move |object| {
            let id = object.get("id").and_then(Value::as_str).unwrap_or_default();
            (id, parse_rfc3339(&text(object, "modified").unwrap_or_default()).unwrap_or(0), object)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_would_be_refused_each_time_it_is_read_is_none() {
        assert!(check_event(b"{\"Event\": {\"info\": \"x\", \"n\": [1, -2, 0.5, null, true]}}").is_ok());
        for bad in [
            "{\"Event\": {\"x\": \"\\ud800\"}}",
            "{\"x\": \"\\ud800\", \"Event\": {}}",
            "{\"events\": []}",
            "{\"Event\": 1e999}",
        ] {
            assert!(check_event(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
