//! Notes: what is stored about the origin of an indicator, and with a hit.

use serde::{Deserialize, Serialize};

use crate::indicators::Reference;

/// Characters of a text that are kept, and tags.
const MAX_TEXT: usize = 120;
const MAX_TAGS: usize = 4;

/// A feed's note on an indicator. Names are short: there are millions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    #[serde(rename = "l")]
    pub line: u64,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(rename = "g", default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<u8>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<u64>,
}

fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

impl From<Reference> for Note {
    fn from(reference: Reference) -> Note {
        let Reference { line, id, title, description, tags, link, confidence, valid_until, .. } = reference;
        Note {
            line,
            id: id.map(cut),
            title: title.map(cut),
            description: description.map(cut),
            tags: tags.into_iter().take(MAX_TAGS).map(cut).collect(),
            link: link.map(cut),
            confidence,
            valid_until,
        }
    }
}

impl Note {
    /// Encodes it as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Plain values to memory: nothing that can fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Decodes a stored note; an empty one where it is none.
    pub fn from_bytes(stored: &[u8]) -> Note {
        serde_json::from_slice(stored).unwrap_or_default()
    }
}

/// A hit's note: the feeds that had the indicator then, and the note of one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HitNote {
    #[serde(rename = "f", default)]
    pub feeds: Vec<String>,
    #[serde(flatten)]
    pub note: Note,
}

impl HitNote {
    /// As it is kept: no longer than the store keeps it.
    pub fn to_bytes(&self) -> Vec<u8> {
        const MOST: usize = 900;
        let bytes = |note: &HitNote| serde_json::to_vec(note).unwrap_or_default();
        let all = bytes(self);
        if all.len() <= MOST {
            return all;
        }
        let mut less = self.clone();
        less.feeds.truncate(3);
        (less.note.description, less.note.tags) = (None, Vec::new());
        let some = bytes(&less);
        if some.len() <= MOST {
            return some;
        }
        less.feeds.truncate(1);
        bytes(&HitNote { note: Note { line: self.note.line, ..Note::default() }, ..less })
    }

    /// Decodes a stored note; an empty one where it is none.
    pub fn from_bytes(stored: &[u8]) -> HitNote {
        serde_json::from_slice(stored).unwrap_or_default()
    }
}
