//! JSON of MISP, STIX and TAXII, and of others ([`super::objects`]), read as a stream: whatever is around events, attributes and objects is walked
//! through.
//!
//! Several documents may follow each other: the events of a feed, the pages of a collection.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use memchr::memchr;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::collect::Collect;
use super::input::Input;
use super::lenient::{Few, Object, Scalar, ShortTexts, plain_values};
use super::misp::{self, Attribute, Event, Named};
use super::objects::{self, Key, Waiting};
use super::reason::Reason;
use super::stix::{self, StixObject};
use super::value::{self, Value, Values};
use super::{Action, Format, ReadError, Reference};

/// Attributes of an event that wait for what is behind them.
const MAX_WAITING: usize = 20_000;
/// Bytes of a list of MISP's that wait for its type.
const MAX_LIST: usize = 64 << 20;

/// Texts that are not taken and looked at, and the bytes of one.
const MAX_OTHERS: usize = 64;
const MAX_OTHER: usize = 300;

/// How deep it is gone into what is not known.
const MAX_DEPTH: usize = 8;

/// Reads such documents.
///
/// # Errors
///
/// As [`super::read`]; also when it is no JSON, or nothing in it is known.
pub fn read(input: &mut Input<'_>, collect: &mut Collect<'_>) -> Result<(), ReadError> {
    let is_by_line = is_by_line(input.head());
    let mut input = Source::of(BufReader::with_capacity(64 << 10, ShortTexts::of(input)), is_by_line);
    let mut state = State {
        collect,
        failed: None,
        is_known: false,
        is_manifest: false,
        message: None,
        waiting: Waiting::default(),
        others: Others::default(),
    };
    while has_more(&mut input)? {
        let before = input.line;
        let mut document = serde_json::Deserializer::from_reader(&mut input);
        let read =
            Any { state: &mut state, depth: 0, is_item: true, has_texts: true }.deserialize(&mut document);
        if let Some(failed) = state.failed.take() {
            return Err(failed);
        }
        if let Err(error) = read {
            if let Some(kind) = error.io_error_kind() {
                return Err(ReadError::Io(std::io::Error::new(kind, error.to_string())));
            }
            // Of many documents a line each, one that is broken says nothing of the others; one that breaks off at the end does.
            if !input.is_by_line || error.is_eof() && input.is_over()? {
                let line = before + error.line().max(1) as u64;
                return Err(ReadError::Malformed { line, message: format!("this is not JSON: {error}") });
            }
            input.pass_over_line()?;
            state.others.0.clear();
            state.collect.line();
            state.collect.skip(Reason::Line, before + 1, &format!("this is not JSON: {error}"));
        }
        state.waiting.take(state.collect)?;
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
            "events or attributes of MISP, a bundle of STIX 2.1, a pulse of OTX, a list of texts or of objects with a key as domain, ip, url or indicator",
        ),
    }
}

/// Lines at the start that are looked at to find out whether each is a document.
const SAMPLE: usize = 20;

/// Whether documents stand in lines of their own, by the start: the first line is one, or two thirds are, and none is a piece of one.
fn is_by_line(head: &[u8]) -> bool {
    let lines = head.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n"));
    let lines: Vec<&[u8]> =
        lines.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).take(SAMPLE).collect();
    let is_whole = |line: &[u8]| {
        let line = line.strip_suffix(b",").unwrap_or(line);
        line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok()
    };
    let is_piece = |line: &[u8]| {
        line.ends_with(b"[") || line.ends_with(b"{") || matches!(line, b"}" | b"]" | b"}," | b"],")
    };
    let whole = lines.iter().filter(|line| is_whole(line)).count();
    let is_first = lines.first().is_some_and(|line| is_whole(line));
    let is_most = whole * 3 >= lines.len() * 2 && lines.first().is_some_and(|line| !line.ends_with(b","));
    whole > 0 && (is_first || is_most) && !lines.iter().any(|line| is_piece(line))
}

/// Documents one after the other, which end at the end of a line where each has its own.
struct Source<R> {
    inner: BufReader<R>,
    /// Line ends so far.
    line: u64,
    is_by_line: bool,
}

impl<R: Read> Source<R> {
    fn of(inner: BufReader<R>, is_by_line: bool) -> Source<R> {
        Source { inner, line: 0, is_by_line }
    }

    /// Whether nothing follows, not even the end of a line.
    fn is_over(&mut self) -> io::Result<bool> {
        Ok(self.inner.fill_buf()?.is_empty())
    }

    /// Passes over the rest of a line, but not its end.
    fn pass_over_line(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.inner.fill_buf()?;
            let end = memchr(b'\n', bytes);
            let (taken, is_end) = (end.unwrap_or(bytes.len()), end.is_some() || bytes.is_empty());
            self.inner.consume(taken);
            if is_end {
                return Ok(());
            }
        }
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.is_by_line {
            let bytes = self.inner.fill_buf()?;
            // Mostly it is a byte that is asked for.
            let most = bytes.get(..out.len().min(bytes.len())).unwrap_or_default();
            let end = memchr(b'\n', most).unwrap_or(most.len());
            let taken = most.get(..end).unwrap_or_default();
            if let Some(place) = out.get_mut(..end) {
                place.copy_from_slice(taken);
            }
            self.inner.consume(end);
            return Ok(end);
        }
        let read = self.inner.read(out)?;
        let ends = out.get(..read).unwrap_or_default().iter().filter(|b| **b == b'\n').count();
        self.line += ends as u64;
        Ok(read)
    }
}

/// Whether there is another document.
fn has_more<R: Read>(input: &mut Source<R>) -> Result<bool, ReadError> {
    loop {
        let bytes = input.inner.fill_buf()?;
        let is_blank = |b: &&u8| b.is_ascii_whitespace() || **b == b',' || **b == 0x1e;
        let blank = bytes.iter().take_while(is_blank).count();
        let is_end = bytes.is_empty() || blank < bytes.len();
        let is_more = !bytes.is_empty();
        let ends = bytes.iter().take(blank).filter(|b| **b == b'\n').count();
        input.line += ends as u64;
        input.inner.consume(blank);
        if is_end {
            return Ok(is_more);
        }
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
    /// Objects of others that wait for what is said of all of them.
    waiting: Waiting,
    /// Texts of the objects at hand that are not taken.
    others: Others,
}

/// Texts that are not taken, by the keys that lead to them.
#[derive(Default)]
struct Others(Vec<(String, String)>);

impl Others {
    fn push(&mut self, text: &str) {
        if self.0.len() < MAX_OTHERS && text.len() <= MAX_OTHER && text.contains(['.', ':']) {
            self.0.push((String::new(), text.to_owned()));
        }
    }

    /// Says that those from a place on stand at a key.
    fn at_key(&mut self, from: usize, key: &str) {
        for (path, _) in self.0.iter_mut().skip(from) {
            *path = if path.is_empty() { key.to_owned() } else { format!("{key}.{path}") };
            path.truncate(path.floor_char_boundary(MAX_OTHER));
        }
    }
}

impl State<'_, '_> {
    /// Keeps an error while it goes through the parser.
    fn kept<E: Error>(&mut self, result: Result<(), ReadError>) -> Result<(), E> {
        result.map_err(|error| {
            self.failed = Some(error);
            E::custom("")
        })
    }

    /// Something that may be what a server says in the place of a list.
    fn says(&mut self, text: Option<&str>) {
        if let (None, Some(text)) = (&self.message, text.map(str::trim).filter(|text| !text.is_empty())) {
            self.message = Some(text.chars().take(200).collect());
        }
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

/// Whatever a value is, it is given to the visitor that stands for it.
macro_rules! reads_any {
    ($visitor:ty => $value:ty) => {
        impl<'de> DeserializeSeed<'de> for $visitor {
            type Value = $value;

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<$value, D::Error> {
                deserializer.deserialize_any(self)
            }
        }
    };
}

/// A value of which nothing is known.
struct Any<'s, 'c, 'a> {
    state: &'s mut State<'c, 'a>,
    depth: usize,
    /// Whether an object may be an indicator: it is one of a list, or alone.
    is_item: bool,
    /// Whether a text in a list is an indicator.
    has_texts: bool,
}

reads_any!(Any<'_, '_, '_> => ());

impl<'de> Visitor<'de> for Any<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Any { state, depth, is_item, .. } = self;
        let (before, others) = (state.waiting.len(), state.others.0.len());
        let (mut kind, mut is_error) = (String::new(), false);
        let (mut list, mut said) = (None, objects::Texts::default());
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
                    list = Some(found);
                }
                "error" | "message" | "errors" => {
                    let text: Scalar = map.next_value()?;
                    is_error |= depth == 0;
                    state.says(text.text());
                }
                // As Elasticsearch and Splunk write out an event.
                "_source" | "result" if depth < MAX_DEPTH => {
                    map.next_value_seed(Any { state, depth: depth + 1, is_item: true, has_texts: false })?;
                }
                "response" | "results" | "data" | "Events" | "events" if depth < MAX_DEPTH => {
                    // An answer without a hit is one.
                    state.is_known |= key == "response";
                    map.next_value_seed(Any { state, depth: depth + 1, is_item: false, has_texts: true })?;
                }
                _ => {
                    let title = objects::title(&key);
                    let what = objects::key(&title);
                    if what != Key::Other {
                        let text =
                            map.next_value_seed(Cell { state, depth, is_value: what == Key::Value })?;
                        if depth == 0 && matches!(title.as_str(), "title" | "description") {
                            state.says(text.as_deref());
                        }
                        if title == "type" {
                            kind = text.clone().unwrap_or_default();
                        }
                        said.push(title, text.unwrap_or_default());
                    } else if depth < MAX_DEPTH {
                        state.is_manifest |= depth == 0 && key.len() == 36 && key.matches('-').count() == 4;
                        let (place, from) = (state.waiting.len(), state.others.0.len());
                        map.next_value_seed(Any {
                            state,
                            depth: depth + 1,
                            is_item: false,
                            has_texts: false,
                        })?;
                        state.others.at_key(from, &key);
                        if key.bytes().all(|b| b.is_ascii_digit()) {
                            state.waiting.number(place, &key);
                        }
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
            }
        }
        if let Some(list) = list {
            let title = said.name().map(str::to_owned);
            let result = warning_list(&list, &kind, title.as_deref(), state);
            state.kept(result)?;
        }
        // A bundle may have nothing in it.
        state.is_known |= kind == "bundle";
        // Of what was found for a question, the question is none.
        let is_echo = state.waiting.len() > before && said.is_question();
        let is_indicator = is_item && !is_error && said.is_indicator() && !is_echo;
        if is_indicator && state.collect.left_out().is_open() {
            let taken = said.values();
            for (key, text) in state.others.0.get(others..).unwrap_or_default() {
                state.collect.left_out().look(key, text, &taken);
            }
        }
        if is_indicator || is_item && depth <= 1 {
            state.others.0.truncate(others);
        } else if !is_item {
            for (title, text) in said.values_and_names() {
                let from = state.others.0.len();
                state.others.push(text);
                state.others.at_key(from, title);
            }
        }
        if is_indicator {
            let line = state.line(Format::Json);
            if state.waiting.push(line, said) {
                let result = state.waiting.take(state.collect);
                state.kept(result)?;
            }
        } else if state.waiting.len() > before {
            if let (0, Some(name)) = (depth, said.name()) {
                state.collect.title(name);
            }
            state.waiting.inherit(before, &said);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Any { state, depth, has_texts, .. } = self;
        if depth >= MAX_DEPTH {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        while list.next_element_seed(Any { state, depth: depth + 1, is_item: true, has_texts })?.is_some() {}
        Ok(())
    }

    /// A list of texts.
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.depth == 0 || !self.has_texts {
            self.state.others.push(text);
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

/// What a key says that may be of an indicator: a text, or texts one behind the other. Where indicators themselves stand, each text of a list
/// is one, and each object may be.
struct Cell<'s, 'c, 'a> {
    state: &'s mut State<'c, 'a>,
    depth: usize,
    is_value: bool,
}

reads_any!(Cell<'_, '_, '_> => Option<String>);

impl<'de> Visitor<'de> for Cell<'_, '_, '_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Option<String>, A::Error> {
        let list = SeqAccessDeserializer::new(list);
        if self.is_value {
            let any = Any { state: self.state, depth: self.depth + 1, is_item: false, has_texts: true };
            return any.deserialize(list).map(|()| None);
        }
        let few = Few::<Scalar>::deserialize(list)?;
        let texts: Vec<&str> = few.0.iter().filter_map(Scalar::text).collect();
        Ok(Some(texts.join(",")))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<String>, A::Error> {
        let any = Any { state: self.state, depth: self.depth + 1, is_item: false, has_texts: false };
        match self.depth < MAX_DEPTH {
            true => any.deserialize(MapAccessDeserializer::new(map))?,
            false => drop(IgnoredAny::deserialize(MapAccessDeserializer::new(map))?),
        }
        Ok(None)
    }

    plain_values!(Option<String>, value => Some(value.to_string()));
}

/// Visits the items of a list, or the one thing that stands in its place.
macro_rules! each_item {
    ($name:ident) => {
        reads_any!($name<'_, '_, '_> => ());

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
                let map = MapAccessDeserializer::new(map);
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

reads_any!(EventSeed<'_, '_, '_> => ());

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

reads_any!(MispObjects<'_, '_, '_> => ());

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

reads_any!(&mut Texts => ());

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
