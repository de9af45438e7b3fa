//! Where to go on: a place in an answer, as text that a client hands back.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::dns::{Name, Rdata, RrType, split_name_key};
use crate::observation::Tuple;
use crate::store::Position;

/// The first byte of the encoded form. Another form gets another number, so that an old cursor is refused, not misread.
const VERSION: u8 = 1;

/// The text is no cursor, or not one of this search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this query")]
pub struct CursorError;

/// A place in an answer: in which of its scans, and after which row of it.
///
/// Its text is URL-safe and opaque. It stays valid while the ledger grows: it names a row by content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The scan of the search that it is in, by its index.
    pub(super) step: u8,
    /// After which row; from the start of the scan where there is none.
    pub(super) after: Option<Position>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![VERSION, self.step];
        if let Some(after) = &self.after {
            after.tuple.push_key(&mut bytes);
            bytes.extend_from_slice(after.sensor.as_bytes());
        }
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Cursor, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let Some((&[VERSION, step], rest)) = bytes.split_first_chunk::<2>() else { return Err(CursorError) };
        if rest.is_empty() {
            return Ok(Cursor { step, after: None });
        }
        let (name, rest) = split_name_key(rest).ok_or(CursorError)?;
        let (rrtype, rest) = rest.split_first_chunk::<2>().ok_or(CursorError)?;
        let (rdata, sensor) = Rdata::split_key(rest).map_err(|_| CursorError)?;
        let rrname = Name::from_key(name).map_err(|_| CursorError)?;
        let rrtype = RrType(u16::from_be_bytes(*rrtype));
        let sensor = Arc::from(std::str::from_utf8(sensor).map_err(|_| CursorError)?);
        Ok(Cursor { step, after: Some(Position { tuple: Tuple { rrname, rrtype, rdata }, sensor }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let tuple = Tuple {
            rrname: Name::parse("www.example.com").unwrap(),
            rrtype: RrType::TXT,
            rdata: Rdata::text(b"\"a b\""),
        };
        for after in [None, Some(Position { tuple, sensor: "dmz \u{fc}".into() })] {
            let cursor = Cursor { step: 1, after };
            let text = cursor.to_string();
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{text}");
            assert_eq!(text.parse(), Ok(cursor));
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "x", "AgA", "AQ", "AQBjb20", "AQA=", "AQAé"] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = URL_SAFE_NO_PAD.encode(&bytes).parse::<Cursor>();
            let _ = URL_SAFE_NO_PAD.encode([&[VERSION, 0], bytes.as_slice()].concat()).parse::<Cursor>();
        }
    }
}
