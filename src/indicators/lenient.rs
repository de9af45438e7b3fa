//! JSON of others, read without trust: whatever type a value has, however long a text or a list is.

use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Items of a list that are kept.
const MAX_ITEMS: usize = 50;
/// Members of an object that are kept.
const MAX_MEMBERS: usize = 100_000;
/// Bytes of a text that are kept, about.
const MAX_TEXT: usize = 64 << 10;
/// Bytes of a text that may be of escapes alone.
const MAX_ESCAPES: usize = 1 << 20;

/// What a visitor makes of a text, a number or a flag; what is nothing is the default.
macro_rules! plain_values {
    ($made:ty, $value:ident => $make:expr) => {
        fn visit_str<E>(self, $value: &str) -> Result<$made, E> {
            Ok($make)
        }

        fn visit_bool<E>(self, $value: bool) -> Result<$made, E> {
            Ok($make)
        }

        fn visit_u64<E>(self, $value: u64) -> Result<$made, E> {
            Ok($make)
        }

        fn visit_i64<E>(self, $value: i64) -> Result<$made, E> {
            Ok($make)
        }

        fn visit_f64<E>(self, $value: f64) -> Result<$made, E> {
            Ok($make)
        }

        fn visit_unit<E>(self) -> Result<$made, E> {
            Ok(<$made>::default())
        }
    };
}
pub(super) use plain_values;

//--- Scalar ---------------------------------------------------------------------------------------------------------

/// A text, a number or a flag, as text; nothing where it is anything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scalar(pub Option<String>);

impl Scalar {
    /// Its text, if there is any.
    pub fn text(&self) -> Option<&str> {
        self.0.as_deref().map(str::trim).filter(|text| !text.is_empty())
    }

    /// Whether it says yes.
    pub fn is_yes(&self) -> bool {
        matches!(self.text(), Some("1" | "true" | "True"))
    }

    /// Whether it says no.
    pub fn is_no(&self) -> bool {
        matches!(self.text(), Some("0" | "false" | "False"))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(AnyScalar).map(Scalar)
    }
}

struct AnyScalar;

impl<'de> Visitor<'de> for AnyScalar {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    plain_values!(Option<String>, value => Some(value.to_string()));

    fn visit_string<E>(self, text: String) -> Result<Option<String>, E> {
        Ok(Some(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<String>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

//--- Few ------------------------------------------------------------------------------------------------------------

/// The first items of a list; none where it is anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Few<T>(pub Vec<T>);

impl<T> Default for Few<T> {
    fn default() -> Few<T> {
        Few(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Few<T>, D::Error> {
        deserializer.deserialize_any(FewItems(PhantomData)).map(Few)
    }
}

struct FewItems<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FewItems<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while items.len() < MAX_ITEMS {
            match list.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(items),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<T>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Vec::new())
    }

    plain_values!(Vec<T>, _value => Vec::new());
}

//--- Members --------------------------------------------------------------------------------------------------------

/// What stands at the keys of an object, whatever they are; none where it is anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members<T>(pub Vec<T>);

impl<T> Default for Members<T> {
    fn default() -> Members<T> {
        Members(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<T>, D::Error> {
        deserializer.deserialize_any(AnyMembers(PhantomData)).map(Members)
    }
}

struct AnyMembers<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AnyMembers<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some((_, item)) = map.next_entry::<IgnoredAny, T>()? {
            if items.len() >= MAX_MEMBERS {
                return Err(serde::de::Error::custom("an object has too many members"));
            }
            items.push(item);
        }
        Ok(items)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Vec::new())
    }

    plain_values!(Vec<T>, _value => Vec::new());
}

//--- Map ------------------------------------------------------------------------------------------------------------

/// What an object is read as, and what is not an object as the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        deserializer.deserialize_any(AnyObject(PhantomData)).map(Object)
    }
}

struct AnyObject<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for AnyObject<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(serde::de::value::MapAccessDeserializer::new(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<T, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }

    plain_values!(T, _value => T::default());
}

//--- ShortTexts -----------------------------------------------------------------------------------------------------

/// Leaves out what is beyond a bound of each text in JSON: a file in base64 that is attached to an event is not to be held in
/// memory, only to be passed over.
pub struct ShortTexts<R> {
    inner: R,
    /// Bytes of the text that is open, if one is.
    open: Option<usize>,
    /// How far an escape is: 1 behind the backslash, 5 to 2 before each digit of `\\u`.
    escape: u8,
    /// Whether the byte before was plain, so that what comes may be left out.
    is_plain: bool,
    is_left_out: bool,
}

impl<R: Read> ShortTexts<R> {
    /// Those of an input.
    pub fn of(inner: R) -> ShortTexts<R> {
        ShortTexts { inner, open: None, escape: 0, is_plain: false, is_left_out: false }
    }

    /// Whether a byte stays.
    fn step(&mut self, byte: u8) -> io::Result<bool> {
        let Some(length) = &mut self.open else {
            if byte == b'"' {
                self.open = Some(0);
                self.is_left_out = false;
                self.escape = 0;
            }
            return Ok(true);
        };
        *length += 1;
        // No text of JSON goes over lines: that line is broken, and the next one is not.
        if byte == b'\n' {
            self.open = None;
            return Ok(true);
        }
        if !self.is_left_out && *length > MAX_ESCAPES {
            return Err(io::Error::other("a text in it has no end"));
        }
        match (self.escape, byte) {
            (0, b'"') => {
                self.open = None;
                return Ok(true);
            }
            (0, b'\\') => {
                self.escape = 1;
                self.is_plain = false;
            }
            (1, b'u') => self.escape = 5,
            (0, _) => {
                if *length > MAX_TEXT && self.is_plain && byte.is_ascii() {
                    self.is_left_out = true;
                }
                self.is_plain = byte.is_ascii();
            }
            (1 | 2, _) => self.escape = 0,
            (left, _) => self.escape = left - 1,
        }
        Ok(!self.is_left_out)
    }
}

impl<R: Read> Read for ShortTexts<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.inner.read(out)?;
            if read == 0 {
                return Ok(0);
            }
            let mut kept = 0;
            for at in 0..read {
                let byte = out.get(at).copied().unwrap_or_default();
                if self.step(byte)? {
                    if let Some(place) = out.get_mut(kept) {
                        *place = byte;
                    }
                    kept += 1;
                }
            }
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn through(text: &str) -> String {
        let mut out = String::new();
        ShortTexts::of(text.as_bytes()).read_to_string(&mut out).unwrap();
        out
    }

    #[test]
    fn a_text_that_is_long_is_cut_and_what_is_behind_it_is_there() {
        let text = format!(r#"{{"data":"{}\u00e9\"x","value":"a\\"}}"#, "A".repeat(10 << 20));
        let out = through(&text);
        assert!(out.len() < MAX_TEXT + 100);
        let parsed: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(parsed["value"], "a\\");
        let escapes = format!(r#"{{"data":"{}"}}"#, r"\u00e9".repeat(1 << 20));
        assert!(ShortTexts::of(escapes.as_bytes()).read_to_end(&mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn short_texts_stay_as_they_are(text: String, other: String) {
            let json = serde_json::json!({ "a": text, "b": [other] }).to_string();
            prop_assert_eq!(through(&json), json);
        }
    }
}
