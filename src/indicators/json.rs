//! JSON of MISP, STIX and TAXII, read as a stream: whatever is around events, attributes and objects is walked through.
//!
//! Several documents may follow each other: the events of a feed, the pages of a collection.

use std::fmt;
use std::io::{BufRead, BufReader, Read};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::collect::Collect;
use super::lenient::{Few, Object, Scalar, ShortTexts};
use super::misp::{self, Attribute, Event, Named};
use super::reason::Reason;
use super::stix::{self, StixObject};
use super::value::{self, Value, Values};
use super::{Action, Format, ReadError, Reference};

/// Attributes of an event that wait for what is behind them.
const MAX_WAITING: usize = 20_000;
/// Bytes of a list of MISP's that wait for its type.
const MAX_LIST: usize = 64 << 20;

/// Reads such documents.
///
/// # Errors
///
/// As [`super::read`]; also when it is no JSON, or nothing in it is known.
pub fn read(input: &mut impl Read, collect: &mut Collect<'_>) -> Result<(), ReadError> {
    let mut input = BufReader::with_capacity(64 << 10, ShortTexts::of(input));
    let mut state = State { collect, failed: None, is_known: false, is_manifest: false, message: None };
    while has_more(&mut input)? {
        let mut document = serde_json::Deserializer::from_reader(&mut input);
        let read = Any { state: &mut state, depth: 0 }.deserialize(&mut document);
        if let Some(failed) = state.failed.take() {
            return Err(failed);
        }
        read.map_err(|error| match error.io_error_kind() {
            Some(kind) => ReadError::Io(std::io::Error::new(kind, error.to_string())),
            None => ReadError::Malformed {
                line: error.line() as u64,
                message: format!("this is no JSON: {error}"),
            },
        })?;
    }
    let no_list = |what: String, hint: &'static str| Err(ReadError::NoList { what, hint });
    match (state.is_known, state.is_manifest, state.message) {
        (true, ..) => Ok(()),
        (_, true, _) => no_list(
            "it is the manifest of a feed of MISP, without its events".to_owned(),
            "the folder that it is in, or the events",
        ),
        (.., Some(message)) => no_list(
            format!("it is JSON without indicators: {message}"),
            "what the server says there, mended; or the list itself",
        ),
        _ => no_list(
            "it is JSON without indicators that are known here".to_owned(),
            "events or attributes of MISP, a bundle of STIX 2.1, a list of texts",
        ),
    }
}

/// Whether there is another document.
fn has_more(input: &mut impl BufRead) -> Result<bool, ReadError> {
    loop {
        let bytes = input.fill_buf()?;
        let blank =
            bytes.iter().take_while(|b| b.is_ascii_whitespace() || **b == b',' || **b == 0x1e).count();
        if bytes.is_empty() || blank < bytes.len() {
            let is_more = !bytes.is_empty();
            input.consume(blank);
            return Ok(is_more);
        }
        input.consume(blank);
    }
}

struct State<'c, 'a> {
    collect: &'c mut Collect<'a>,
    /// Why reading ends, if it is not for its JSON.
    failed: Option<ReadError>,
    /// Whether anything was in it that is known.
    is_known: bool,
    is_manifest: bool,
    /// What a server said instead.
    message: Option<String>,
}

impl State<'_, '_> {
    /// Keeps an error while it goes through the parser.
    fn kept<E: Error>(&mut self, result: Result<(), ReadError>) -> Result<(), E> {
        result.map_err(|error| {
            self.failed = Some(error);
            E::custom("")
        })
    }

    fn line(&mut self, format: Format) -> u64 {
        self.is_known = true;
        self.collect.line();
        self.collect.format(format);
        self.collect.number()
    }

    fn attribute<E: Error>(&mut self, waiting: &mut Vec<(u64, Attribute)>, event: &Event) -> Result<(), E> {
        for (line, attribute) in waiting.drain(..) {
            let result = misp::take(&attribute, line, event, self.collect);
            self.kept(result)?;
        }
        Ok(())
    }
}

//--- anything -------------------------------------------------------------------------------------------------------

/// A value of which nothing is known.
struct Any<'s, 'c, 'a> {
    state: &'s mut State<'c, 'a>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Any<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Any { state, depth } = self;
        let (mut kind, mut name) = (Scalar::default(), Scalar::default());
        let mut texts: Option<Texts> = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "Event" => map.next_value_seed(EventSeed { state })?,
                "Attribute" => {
                    state.is_known = true;
                    let mut waiting = Vec::new();
                    let event = Event::default();
                    map.next_value_seed(Attributes { state, waiting: &mut waiting, event: &event })?;
                    state.attribute(&mut waiting, &event)?;
                }
                "objects" => {
                    state.is_known = true;
                    map.next_value_seed(Objects { state })?;
                }
                "list" => {
                    let mut found = Texts::default();
                    map.next_value_seed(&mut found)?;
                    texts = Some(found);
                }
                "type" => kind = map.next_value()?,
                "name" => name = map.next_value()?,
                "error" | "message" | "errors" | "title" | "description" => {
                    let said: Scalar = map.next_value()?;
                    let said = said.text().map(|text| text.chars().take(200).collect());
                    state.message = state.message.take().or(said);
                }
                "response" | "results" | "data" | "Events" | "events" if depth < 8 => {
                    // An answer without a hit is one.
                    state.is_known |= key == "response";
                    map.next_value_seed(Any { state, depth: depth + 1 })?;
                }
                _ => {
                    state.is_manifest |= depth == 0 && key.len() == 36 && key.matches('-').count() == 4;
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if let Some(texts) = texts {
            let title = name.text().map(str::to_owned);
            let result = warning_list(&texts, kind.text().unwrap_or_default(), title.as_deref(), state);
            state.kept(result)?;
        }
        // A bundle may have nothing in it.
        state.is_known |= kind.text() == Some("bundle");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Any { state, depth } = self;
        if depth >= 8 {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        while list.next_element_seed(Any { state, depth: depth + 1 })?.is_some() {}
        Ok(())
    }

    /// A list of texts.
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.depth == 0 {
            return Ok(());
        }
        let line = self.state.line(Format::Plain);
        let result = self.state.collect.text(text, true, Action::Watch, Reference::at(line));
        self.state.kept(result)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Visits the items of a list, or the one thing that stands in its place.
macro_rules! each_item {
    ($name:ident) => {
        impl<'de> DeserializeSeed<'de> for $name<'_, '_, '_> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
                deserializer.deserialize_any(self)
            }
        }

        impl<'de> Visitor<'de> for $name<'_, '_, '_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
                while let Some(item) = list.next_element()? {
                    self.item(item)?;
                }
                Ok(())
            }

            fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                self.item(serde::Deserialize::deserialize(map)?)
            }

            fn visit_unit<E>(self) -> Result<(), E> {
                Ok(())
            }
        }
    };
}

//--- MISP -----------------------------------------------------------------------------------------------------------

/// Attributes, which wait until their event is known.
struct Attributes<'s, 'c, 'a> {
    state: &'s mut State<'c, 'a>,
    waiting: &'s mut Vec<(u64, Attribute)>,
    event: &'s Event,
}

each_item!(Attributes);

impl Attributes<'_, '_, '_> {
    fn item<E: Error>(&mut self, attribute: Object<Attribute>) -> Result<(), E> {
        let line = self.state.line(Format::Misp);
        self.waiting.push((line, attribute.0));
        if self.waiting.len() >= MAX_WAITING {
            return self.state.attribute(self.waiting, self.event);
        }
        Ok(())
    }
}

/// An event.
struct EventSeed<'s, 'c, 'a> {
    state: &'s mut State<'c, 'a>,
}

impl<'de> DeserializeSeed<'de> for EventSeed<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EventSeed<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(EventSeed { state: self.state })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let EventSeed { state } = self;
        state.is_known = true;
        state.collect.format(Format::Misp);
        let mut event = Event::default();
        let mut waiting = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "info" => event.info = map.next_value()?,
                "uuid" => event.uuid = map.next_value()?,
                "deleted" => event.deleted = map.next_value::<Scalar>()?.is_yes(),
                "Orgc" => event.org = map.next_value::<Object<Named>>()?.0.name,
                "Tag" => event.tags = map.next_value::<Few<Object<Named>>>()?.0,
                "Attribute" => {
                    map.next_value_seed(Attributes { state, waiting: &mut waiting, event: &event })?;
                }
                "Object" => {
                    map.next_value_seed(MispObjects { state, waiting: &mut waiting, event: &event })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if let (Some(info), None) = (event.info.text(), event.org.text()) {
            state.collect.title(info);
        } else if let (Some(info), Some(org)) = (event.info.text(), event.org.text()) {
            state.collect.title(&format!("{info} ({org})"));
        }
        state.attribute(&mut waiting, &event)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Objects of MISP, for their attributes.
struct MispObjects<'s, 'c, 'a> {
    state: &'s mut State<'c, 'a>,
    waiting: &'s mut Vec<(u64, Attribute)>,
    event: &'s Event,
}

impl<'de> DeserializeSeed<'de> for MispObjects<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MispObjects<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let MispObjects { state, waiting, event } = self;
        while list.next_element_seed(MispObjects { state, waiting, event })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let MispObjects { state, waiting, event } = self;
        // Whether it was deleted may be said behind its attributes.
        let mut own = Vec::new();
        let mut is_deleted = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "Attribute" => map.next_value_seed(Attributes { state, waiting: &mut own, event })?,
                "deleted" => is_deleted = map.next_value::<Scalar>()?.is_yes(),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if is_deleted {
            let deleted = Event { deleted: true, ..Event::default() };
            return state.attribute(&mut own, &deleted);
        }
        waiting.append(&mut own);
        if waiting.len() >= MAX_WAITING {
            return state.attribute(waiting, event);
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

//--- STIX -----------------------------------------------------------------------------------------------------------

/// Objects of a bundle or an envelope.
struct Objects<'s, 'c, 'a> {
    state: &'s mut State<'c, 'a>,
}

each_item!(Objects);

impl Objects<'_, '_, '_> {
    fn item<E: Error>(&mut self, object: Object<StixObject>) -> Result<(), E> {
        let line = self.state.line(Format::Stix);
        let result = stix::take(&object.0, line, self.state.collect);
        self.state.kept(result)
    }
}

//--- lists of MISP --------------------------------------------------------------------------------------------------

/// Texts that wait for their type, one behind the other.
#[derive(Default)]
struct Texts {
    lines: String,
}

impl<'de> DeserializeSeed<'de> for &mut Texts {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Texts {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(text) = list.next_element::<Scalar>()? {
            let text = text.text().unwrap_or_default();
            if self.lines.len() + text.len() > MAX_LIST {
                return Err(A::Error::custom("the list is too long"));
            }
            self.lines.extend(text.chars().map(|c| if c == '\n' { ' ' } else { c }));
            self.lines.push('\n');
        }
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A list of MISP: `hostname` is a name and all below it, `cidr` networks, `string` that text. Parts of texts and regular expressions
/// would make harmless what is not.
fn warning_list(
    texts: &Texts,
    kind: &str,
    title: Option<&str>,
    state: &mut State<'_, '_>,
) -> Result<(), ReadError> {
    state.is_known = true;
    if let Some(title) = title {
        state.collect.title(title);
    }
    for text in texts.lines.lines() {
        let line = state.line(Format::Warninglist);
        if matches!(kind, "substring" | "regex") {
            state.collect.skip(Reason::Substring, line, text);
            continue;
        }
        let is_below = kind == "hostname" || text.starts_with('.');
        match value::read(text.trim_start_matches('.'), is_below) {
            Ok(Values::One(value)) => {
                // A list of whole texts says nothing of what is below.
                let value = match (value, is_below) {
                    (Value::Domain(name), false) => Value::Name(name),
                    (value, _) => value,
                };
                state.collect.value(value, Action::Allow, Reference::at(line))?;
            }
            Ok(Values::Many(values)) => {
                for value in values {
                    state.collect.value(value, Action::Allow, Reference::at(line))?;
                }
            }
            Err(reason) => state.collect.skip(reason, line, text),
        }
    }
    Ok(())
}
