//! JSON of rows. Each face has a struct that borrows from the row and says what is in its objects; serde writes it.
//!
//! Two of them are written straight into the buffer, value by value: the lines of an export and the native rows, of which an
//! answer may have millions. By serde one took twice as long.

use std::borrow::Cow;
use std::cell::RefCell;

use serde::{Serialize, Serializer};

use crate::dns::{Name, Rdata, RrType};
use crate::store::Entry;

/// Text of the ledger that is shown as a string of JSON. It is made byte by byte and kept nowhere.
#[derive(Debug, Clone, Copy)]
pub enum Text<'a> {
    /// A name without its final dot.
    Name(&'a Name),
    /// A name with its final dot.
    Dotted(&'a Name),
    /// Record data.
    Data(&'a Rdata),
    /// Record data; of a folded row with how many names it stands for.
    DataOf(&'a Entry),
    /// Record data, a name with its final dot.
    DottedData(&'a Rdata),
    /// What was made so before.
    Made(&'a [u8]),
    /// Bytes in hexadecimal, in upper case.
    Hex(&'a [u8]),
}

impl Text<'_> {
    /// Appends it.
    pub fn push(self, out: &mut Vec<u8>) {
        match self {
            Text::Name(name) => name.push_presentation(out),
            Text::Data(rdata) => rdata.push_presentation(out),
            Text::DataOf(entry) => entry.push_rdata(out),
            Text::Dotted(name) | Text::DottedData(Rdata::Name(name)) => {
                name.push_presentation(out);
                if !name.is_root() {
                    out.push(b'.');
                }
            }
            Text::DottedData(rdata) => rdata.push_presentation(out),
            Text::Made(bytes) => out.extend_from_slice(bytes),
            Text::Hex(bytes) => out.extend(bytes.iter().flat_map(|byte| {
                let hex = |digit: u8| if digit < 10 { b'0' + digit } else { b'A' + digit - 10 };
                [hex(byte >> 4), hex(byte & 15)]
            })),
        }
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        thread_local! {
            static SHOWN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        SHOWN.with_borrow_mut(|shown| {
            shown.clear();
            self.push(shown);
            // It is ASCII always.
            serializer.serialize_str(std::str::from_utf8(shown).unwrap_or_default())
        })
    }
}

/// A type by its mnemonic, or `TYPE` and its number.
pub fn type_name(rrtype: RrType) -> Cow<'static, str> {
    rrtype.mnemonic().map_or_else(|| rrtype.to_string().into(), Cow::Borrowed)
}

/// Appends an object.
pub fn push_object(object: &impl Serialize, out: &mut Vec<u8>) {
    // Plain values to memory: nothing that can fail.
    drop(serde_json::to_writer(out, object));
}

/// Appends an object and the end of its line.
pub fn push_line(object: &impl Serialize, out: &mut Vec<u8>) {
    push_object(object, out);
    out.push(b'\n');
}

//--- written straight ------------------------------------------------------------------------------------------------

/// Appends a number.
pub fn push_number(mut number: u64, out: &mut Vec<u8>) {
    let start = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

/// Appends a truth value.
pub fn push_bool(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends a string of any text.
pub fn push_str(text: &str, out: &mut Vec<u8>) {
    push_string(out, |out| out.extend_from_slice(text.as_bytes()));
}

/// Appends a string whose text, valid UTF-8, the closure appends.
pub fn push_string(out: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    let start = out.len();
    push(out);
    let special = |b: &u8| matches!(b, b'"' | b'\\' | 0x00..=0x1f);
    if let Some(first) = out.get(start..).and_then(|text| text.iter().position(special)) {
        let rest = out.split_off(start + first);
        for byte in rest {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0x00..=0x1f => {
                    let hex = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
                    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
                }
                _ => out.push(byte),
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_shown_in_the_form_that_a_face_has() {
        let shown = |text: Text<'_>| serde_json::to_string(&text).unwrap();
        let name = Name::from_log(b"a\"b.example").unwrap();
        assert_eq!(shown(Text::Name(&name)), "\"a\\\"b.example\"");
        assert_eq!(shown(Text::Dotted(&name)), "\"a\\\"b.example.\"");
        assert_eq!(shown(Text::Dotted(&Name::root())), "\".\"");
        assert_eq!(
            shown(Text::DottedData(&Rdata::Name(Name::parse("ns1.example").unwrap()))),
            "\"ns1.example.\""
        );
        assert_eq!(shown(Text::DottedData(&Rdata::text(b"\"x.\""))), "\"\\\"x.\\\"\"");
        assert_eq!(shown(Text::Hex(&[0, 0xaf])), "\"00AF\"");
        assert_eq!(type_name(RrType(65280)), "TYPE65280");
    }
    proptest! {
        #[test]
        fn any_text_is_read_back(text: String, number: u64, value: bool) {
            let mut out = b"[".to_vec();
            push_str(&text, &mut out);
            out.push(b',');
            push_number(number, &mut out);
            out.push(b',');
            push_bool(value, &mut out);
            out.push(b']');
            prop_assert_eq!(serde_json::from_slice::<(String, u64, bool)>(&out).unwrap(), (text, number, value));
        }
    }

    #[test]
    fn control_characters_and_quotes_are_escaped() {
        let mut out = Vec::new();
        push_str("a\"b\\c\u{1}\u{1f}\n\u{7f}ü", &mut out);
        assert_eq!(out, "\"a\\\"b\\\\c\\u0001\\u001f\\n\u{7f}ü\"".as_bytes());
    }
}
