//! Owner names: normalised, comparable, printable.
//!
//! - A *name* is a sequence of labels; a *label* is 1 to 63 bytes, any bytes but NUL. Names are bytes, not text.
//! - *Log form* is what Zeek writes: labels joined by dots, no final dot, the root as the empty string. A dot inside a
//!   label cannot be told from one between labels there (Zeek loses it), so every dot separates.
//! - *Presentation form* is RFC 1035 section 5.1: `\.` and `\\` for those bytes in a label, `\DDD` for bytes that are
//!   not printable ASCII, the root as `.`; no final dot otherwise.
//! - *Key form* is the labels from the root down, each followed by `0x00`, and one more `0x00` to end the name, so that
//!   byte order is the order of the domain tree: `example.com`, then everything below it, then `example.net`.
//!
//! Names compare without ASCII case (RFC 4343), so ASCII letters are lower-cased on the way in. The root is in
//! every name and never written.

use std::fmt;
use std::net::IpAddr;

/// The longest name in log form, in bytes (RFC 1035 2.3.4: 255 bytes on the wire).
const MAX_NAME: usize = 253;
/// The longest label, in bytes (RFC 1035 2.3.4).
const MAX_LABEL: usize = 63;
/// Ends a label in key form, and once more the name.
const END: u8 = 0x00;
/// Escapes the bytes `0x00` and `0x01` inside a label in key form: `0x01 0x01` and `0x01 0x02`.
const ESCAPE: u8 = 0x01;

/// Why some bytes are not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// More than 253 bytes in log form.
    #[error("a name has at most 253 bytes")]
    TooLong,
    /// A label of more than 63 bytes.
    #[error("a label has at most 63 bytes")]
    LabelTooLong,
    /// Two dots in a row, or a dot at the start.
    #[error("a label is empty")]
    EmptyLabel,
    /// A NUL byte: legal on the wire, never a real name in a log.
    #[error("a name holds a NUL byte")]
    Nul,
    /// A `\` that starts no valid escape in presentation form.
    #[error("a backslash needs three digits up to 255, or one other character, after it")]
    BadEscape,
    /// A Unicode name that IDNA (RFC 5891) does not allow.
    #[error("not a valid internationalised name")]
    BadUnicode,
    /// Bytes that are no key form; only a damaged store holds such.
    #[error("not a name in key form")]
    BadKey,
}

//--- Name -----------------------------------------------------------------------------------------------------------

/// An owner name, lower-cased, in key form. Its order is the order of the domain tree.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The root of the tree, `.`.
    pub fn root() -> Name {
        Name(Box::new([END]))
    }

    /// Takes a name as Zeek logs it, after its escaping was undone. One final dot is allowed.
    ///
    /// # Errors
    ///
    /// When the bytes are no name: see [`NameError`].
    pub fn from_log(raw: &[u8]) -> Result<Name, NameError> {
        let mut key = Vec::with_capacity(raw.len() + 2);
        push_key(raw, &mut key)?;
        Ok(Name(key.into()))
    }

    /// Parses presentation form, as people and clients write it. Unicode is converted to A-labels (RFC 5890).
    ///
    /// # Errors
    ///
    /// When the text is no name: see [`NameError`].
    pub fn parse(text: &str) -> Result<Name, NameError> {
        let ascii;
        let text = if text.is_ascii() {
            text
        } else {
            ascii = idna::domain_to_ascii(text).map_err(|_| NameError::BadUnicode)?;
            &ascii
        };
        let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' => labels.push(Vec::new()),
                _ => {
                    let byte = if byte == b'\\' { unescape(&mut bytes)? } else { byte };
                    if let Some(label) = labels.last_mut() {
                        label.push(byte);
                    }
                }
            }
        }
        if labels.last().is_some_and(Vec::is_empty) {
            labels.pop(); // the final dot, or the empty name
        }
        if labels.len() == 1 && labels.first().is_some_and(Vec::is_empty) {
            labels.clear(); // "." is the root
        }
        Name::from_labels(labels.iter().map(Vec::as_slice))
    }

    /// Puts a name together from its labels, the leftmost first.
    ///
    /// # Errors
    ///
    /// When a label, or the name as a whole, is out of bounds.
    pub fn from_labels<'a>(labels: impl DoubleEndedIterator<Item = &'a [u8]>) -> Result<Name, NameError> {
        let mut key = Vec::new();
        let mut length = 0;
        for label in labels.rev() {
            length += label.len() + 1;
            push_label(label, &mut key)?;
        }
        if length > MAX_NAME + 1 {
            return Err(NameError::TooLong);
        }
        key.push(END);
        Ok(Name(key.into()))
    }

    /// Takes a name back from its key form.
    ///
    /// # Errors
    ///
    /// [`NameError::BadKey`] when the bytes are anything but one whole name in key form.
    pub fn from_key(key: &[u8]) -> Result<Name, NameError> {
        match split_key(key) {
            Some((name, [])) => Ok(Name(name.into())),
            _ => Err(NameError::BadKey),
        }
    }

    /// The key form: labels from the root down, each ended by `0x00`, and a final `0x00`.
    pub fn key(&self) -> &[u8] {
        &self.0
    }

    /// What the key forms of this name and of all names below it start with.
    pub fn subtree_key(&self) -> &[u8] {
        self.0.split_last().map_or(&[], |(_, labels)| labels)
    }

    /// Whether another name is this one or below it.
    pub fn is_at_or_above(&self, other: &Name) -> bool {
        other.key().starts_with(self.subtree_key())
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        *self.0 == [END]
    }

    /// The labels, the leftmost (deepest) first.
    pub fn labels(&self) -> Vec<Vec<u8>> {
        let mut labels: Vec<Vec<u8>> = self
            .subtree_key()
            .split_inclusive(|&b| b == END)
            .map(|label| {
                let mut out = Vec::with_capacity(label.len());
                let mut bytes = label.iter();
                while let Some(&byte) = bytes.next() {
                    match byte {
                        END => {}
                        ESCAPE => out.extend(bytes.next().map(|b| b - 1)),
                        _ => out.push(byte),
                    }
                }
                out
            })
            .collect();
        labels.reverse();
        labels
    }

    /// Appends presentation form (printable ASCII), as [`Display`](fmt::Display) writes it, without another allocation.
    pub fn push_presentation(&self, out: &mut Vec<u8>) {
        let Some((_, mut rest)) = self.0.split_last() else { return };
        if rest.is_empty() {
            out.push(b'.');
        }
        // Each label ends with END and holds none, so the labels are taken off the back one by one.
        while let Some((_, labels)) = rest.split_last() {
            let start = memchr::memrchr(END, labels).map_or(0, |end| end + 1);
            let (before, label) = labels.split_at(start);
            push_label_presentation(label, out);
            if !before.is_empty() {
                out.push(b'.');
            }
            rest = before;
        }
    }

    /// The name one label up; `None` for the root.
    pub fn parent(&self) -> Option<Name> {
        let labels = self.labels();
        let (_, rest) = labels.split_first()?;
        Name::from_labels(rest.iter().map(Vec::as_slice)).ok()
    }
}

impl fmt::Display for Name {
    /// Writes presentation form without the final dot; the root is `.`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(self.0.len());
        self.push_presentation(&mut text);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// Reads what follows a backslash: `DDD` or one character (RFC 1035 5.1).
fn unescape(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, NameError> {
    let first = bytes.next().ok_or(NameError::BadEscape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or(NameError::BadEscape)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::BadEscape)
}

//--- key form -------------------------------------------------------------------------------------------------------

/// Appends the key form of a name in log form, without any other allocation: the hot path of an import.
///
/// # Errors
///
/// When the bytes are no name; `out` is then as it was.
pub fn push_key(raw: &[u8], out: &mut Vec<u8>) -> Result<(), NameError> {
    let raw = raw.strip_suffix(b".").unwrap_or(raw);
    if raw.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    let start = out.len();
    if !raw.is_empty() {
        for label in raw.rsplit(|&b| b == b'.') {
            if let Err(error) = push_label(label, out) {
                out.truncate(start);
                return Err(error);
            }
        }
    }
    out.push(END);
    Ok(())
}

/// Appends one label, lower-cased, escaped and ended.
fn push_label(label: &[u8], out: &mut Vec<u8>) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    if label.len() > MAX_LABEL {
        return Err(NameError::LabelTooLong);
    }
    if label.iter().all(|&b| b > ESCAPE) {
        let start = out.len();
        out.extend_from_slice(label);
        if let Some(label) = out.get_mut(start..) {
            label.make_ascii_lowercase();
        }
    } else {
        for &byte in label {
            match byte {
                0x00 => return Err(NameError::Nul),
                ESCAPE => out.extend_from_slice(&[ESCAPE, 0x02]),
                _ => out.push(byte.to_ascii_lowercase()),
            }
        }
    }
    out.push(END);
    Ok(())
}

/// Appends one label in key form, without its end, as presentation form.
fn push_label_presentation(label: &[u8], out: &mut Vec<u8>) {
    let plain = |b: &u8| matches!(b, 0x21..=0x7e) && *b != b'.' && *b != b'\\';
    if label.iter().all(plain) {
        out.extend_from_slice(label);
        return;
    }
    let mut bytes = label.iter();
    while let Some(&byte) = bytes.next() {
        let byte = match byte {
            ESCAPE => bytes.next().map_or(ESCAPE, |b| b.wrapping_sub(1)),
            _ => byte,
        };
        match byte {
            b'.' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x21..=0x7e => out.push(byte),
            _ => out.extend_from_slice(&[b'\\', b'0' + byte / 100, b'0' + byte / 10 % 10, b'0' + byte % 10]),
        }
    }
}

/// Splits a name in key form off the front of `key`. `None` when there is no whole name.
pub fn split_key(key: &[u8]) -> Option<(&[u8], &[u8])> {
    if key.first() == Some(&END) {
        return key.split_at_checked(1);
    }
    // A label never starts with END, so the first two ENDs in a row are the end of the name.
    let mut from = 0;
    loop {
        let end = from + memchr::memchr(END, key.get(from..)?)?;
        match key.get(end + 1) {
            Some(&END) => return key.split_at_checked(end + 2),
            Some(_) => from = end + 1,
            None => return None,
        }
    }
}

/// A name as a person reads it, its A-labels in Unicode; labels that are none stay as they are.
pub fn to_unicode(name: &Name) -> String {
    idna::domain_to_unicode(&name.to_string()).0
}

/// The name that is written as an address: some programs ask for `192.0.2.7` as for any name.
pub fn name_of_address(address: IpAddr) -> Option<Name> {
    Name::from_log(address.to_string().as_bytes()).ok()
}

/// The other form of a name that is not all ASCII: of one with A-labels its bytes as UTF-8, as they are asked for by programs that
/// know no A-labels, and of one in UTF-8 its A-labels. `None` where there is none.
pub fn other_form(name: &Name) -> Option<Name> {
    let key = name.key();
    let other = if key.is_ascii() {
        if !key.windows(4).any(|part| part == b"xn--") {
            return None;
        }
        Name::from_log(to_unicode(name).as_bytes()).ok()?
    } else {
        let labels = name.labels();
        let mut text = Vec::new();
        for label in &labels {
            text.extend_from_slice(label);
            text.push(b'.');
        }
        let text = String::from_utf8(text).ok().filter(|text| !text.contains('\\'))?;
        Name::parse(&text).ok()?
    };
    (other != *name).then_some(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn log_form_is_lower_cased_and_loses_its_final_dot() {
        assert_eq!(Name::from_log(b"WWW.Example.COM.").unwrap(), name("www.example.com"));
        assert_eq!(name("www.example.com").key(), b"com\0example\0www\0\0");
    }

    #[test]
    fn the_root_is_a_dot() {
        assert_eq!(Name::from_log(b"").unwrap(), Name::root());
        assert_eq!(name("."), Name::root());
        assert_eq!(Name::root().to_string(), ".");
        assert!(Name::root().labels().is_empty());
    }

    #[test]
    fn bounds_of_rfc_1035_hold() {
        let label = "a".repeat(63);
        assert!(Name::parse(&label).is_ok());
        assert_eq!(Name::parse(&"a".repeat(64)), Err(NameError::LabelTooLong));
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), 253);
        assert!(Name::from_log(longest.as_bytes()).is_ok());
        assert!(Name::parse(&longest).is_ok());
        assert_eq!(Name::from_log(format!("{longest}a").as_bytes()), Err(NameError::TooLong));
        assert_eq!(Name::parse(&format!("{longest}a")), Err(NameError::TooLong));
        assert_eq!(Name::from_log(b"a..b"), Err(NameError::EmptyLabel));
        assert_eq!(Name::from_log(b".a"), Err(NameError::EmptyLabel));
        assert_eq!(Name::from_log(b"a\0b"), Err(NameError::Nul));
        assert_eq!(Name::from_log(b"a.."), Err(NameError::EmptyLabel));
    }

    #[test]
    fn bytes_are_shown_in_presentation_form() {
        let odd = Name::from_log(b"a\\b\xe9 c\x01.x").unwrap();
        assert_eq!(odd.to_string(), r"a\\b\233\032c\001.x");
        assert_eq!(name(&odd.to_string()), odd);
        assert_eq!(name(r"a\.b.c").labels(), [b"a.b".to_vec(), b"c".to_vec()]);
        assert_eq!(Name::parse(r"a\25"), Err(NameError::BadEscape));
        assert_eq!(Name::parse(r"a\256"), Err(NameError::BadEscape));
    }

    #[test]
    fn unicode_becomes_a_labels() {
        assert_eq!(name("Bücher.example").to_string(), "xn--bcher-kva.example");
    }

    #[test]
    fn a_subtree_holds_the_name_and_what_is_below_and_no_more() {
        let top = name("example.com");
        for below in ["example.com", "www.example.com", r"a\000b.example.com"] {
            if let Ok(below) = Name::parse(below) {
                assert!(below.key().starts_with(top.subtree_key()));
            }
        }
        assert!(!name("notexample.com").key().starts_with(top.subtree_key()));
        assert!(!name("example.community").key().starts_with(top.subtree_key()));
    }

    #[test]
    fn parents_lead_to_the_root() {
        assert_eq!(name("www.example.com").parent(), Some(name("example.com")));
        assert_eq!(name("com").parent(), Some(Name::root()));
        assert_eq!(Name::root().parent(), None);
    }

    fn label() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(1u8..=255, 1..20)
    }

    proptest! {
        #[test]
        fn presentation_form_round_trips(labels in proptest::collection::vec(label(), 0..8)) {
            let name = Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap();
            prop_assert_eq!(&Name::parse(&name.to_string()).unwrap(), &name);
            prop_assert_eq!(&Name::from_key(name.key()).unwrap(), &name);
            let lower: Vec<Vec<u8>> = labels.iter().map(|l| l.to_ascii_lowercase()).collect();
            prop_assert_eq!(name.labels(), lower);
        }

        #[test]
        fn byte_order_is_tree_order(a in proptest::collection::vec(label(), 0..4), b in proptest::collection::vec(label(), 0..4)) {
            let key = |labels: &[Vec<u8>]| -> Vec<Vec<u8>> {
                labels.iter().rev().map(|l| l.to_ascii_lowercase()).collect()
            };
            let (x, y) = (Name::from_labels(a.iter().map(Vec::as_slice)).unwrap(), Name::from_labels(b.iter().map(Vec::as_slice)).unwrap());
            prop_assert_eq!(x.cmp(&y), key(&a).cmp(&key(&b)));
        }

        #[test]
        fn any_bytes_are_a_name_or_an_error(raw in proptest::collection::vec(any::<u8>(), 0..300), rest in proptest::collection::vec(any::<u8>(), 0..9)) {
            if let Ok(name) = Name::from_log(&raw) {
                let mut key = name.key().to_vec();
                key.extend_from_slice(&rest);
                prop_assert_eq!(split_key(&key), Some((name.key(), rest.as_slice())));
            }
            let _ = Name::from_key(&raw);
        }
    }
}
