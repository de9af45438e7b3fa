//! A server that a feed is pulled from: the key that is sent to it, redirects, times, and bounds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{FeedSource, PATIENCE, PullError};
use crate::http::client::Client;
use crate::http::fetch::{Location, Reply};

/// Redirects that are followed, one after the other.
const MOST_REDIRECTS: usize = 5;
/// Bytes of a key, of what a server says of an error, and of a document that is read as a whole.
const MAX_KEY: u64 = 8 << 10;
const MAX_ERROR: u64 = 64 << 10;
const MAX_DOCUMENT: u64 = 64 << 20;
/// Characters of what a server says that are told.
const MAX_SAID: usize = 200;

/// A server, and others on the same host that it leads to.
pub struct Remote<'a> {
    source: &'a FeedSource,
    /// The header with the key.
    key: Option<(String, String)>,
    deadline: Instant,
    clients: Mutex<BTreeMap<String, Rc<Client>>>,
}

impl<'a> Remote<'a> {
    /// The one that a source names, until then.
    ///
    /// # Errors
    ///
    /// When the key cannot be read.
    pub fn new(source: &'a FeedSource, deadline: Instant) -> Result<Remote<'a>, PullError> {
        let key = match source.key_file.as_os_str().is_empty() {
            true => None,
            false => Some(header_of(source, &read_key(&source.key_file)?)),
        };
        Ok(Remote { source, key, deadline, clients: Mutex::default() })
    }

    fn client(&self, at: &Location) -> Result<Rc<Client>, PullError> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&at.origin()) {
            return Ok(Rc::clone(client));
        }
        let ca = Some(self.source.ca.as_path()).filter(|ca| !ca.as_os_str().is_empty());
        let client = Rc::new(Client::of_location(at, ca, PATIENCE)?);
        clients.insert(at.origin(), Rc::clone(&client));
        Ok(client)
    }

    fn send(
        &self,
        at: &Location,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Reply, PullError> {
        if Instant::now() >= self.deadline {
            return Err(PullError::Late);
        }
        let mut all = headers.to_vec();
        all.push(("accept-encoding", "gzip"));
        all.extend(self.key.as_ref().map(|(name, value)| (name.as_str(), value.as_str())));
        Ok(self.client(at)?.fetch(at, &all, body)?)
    }

    /// Gets what is at a location, or where that leads; with where it was.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it leads elsewhere.
    pub fn get(&self, at: &Location, headers: &[(&str, &str)]) -> Result<(Location, Reply), PullError> {
        let mut at = at.clone();
        for _ in 0..=MOST_REDIRECTS {
            let reply = self.send(&at, headers, None)?;
            if !matches!(reply.status, 301 | 302 | 303 | 307 | 308) {
                return Ok((at, reply));
            }
            let Some(link) = reply.header("location") else { return Ok((at, reply)) };
            let refused = |why| {
                let to = link.chars().take(MAX_SAID).collect();
                PullError::Redirect { at: at.to_string(), to, why }
            };
            at = at.led_to(link).map_err(refused)?;
        }
        let what = format!("it leads from one place to the next, more than {MOST_REDIRECTS} times");
        Err(PullError::Unexpected { at: self.source.url.to_string(), what })
    }

    /// Posts a document of JSON; a redirect is an answer then.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn post(&self, at: &Location, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Reply, PullError> {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.send(at, &headers, Some(body))
    }

    /// What an answer was that was not asked for.
    pub fn answered(&self, at: &Location, reply: Reply) -> PullError {
        let status = reply.status;
        let mut text = Vec::new();
        if let Ok(body) = reply.into_body(self.deadline.min(Instant::now() + PATIENCE)) {
            // What can be read of an error is enough.
            let _ = body.take(MAX_ERROR).read_to_end(&mut text);
        }
        PullError::Answered { at: at.to_string(), status, said: said(&text) }
    }

    /// The body of an answer, as far as it comes in time.
    ///
    /// # Errors
    ///
    /// When it is sent in a way that is not read.
    pub fn body(&self, at: &Location, reply: Reply) -> Result<Box<dyn Read>, PullError> {
        let unexpected = |what| PullError::Unexpected { at: at.to_string(), what };
        reply.into_body(self.deadline).map_err(unexpected)
    }

    /// The body of an answer as a document of JSON.
    ///
    /// # Errors
    ///
    /// When it is none, or is too long.
    pub fn document(&self, at: &Location, reply: Reply) -> Result<Box<RawValue>, PullError> {
        let unexpected = |what: String| PullError::Unexpected { at: at.to_string(), what };
        let mut text = Vec::new();
        let read = self.body(at, reply)?.take(MAX_DOCUMENT + 1).read_to_end(&mut text);
        read.map_err(|error| unexpected(format!("reading its answer: {error}")))?;
        if text.len() as u64 > MAX_DOCUMENT {
            return Err(unexpected(format!("its answer has more than {} MiB", MAX_DOCUMENT >> 20)));
        }
        if text.starts_with(b"\xef\xbb\xbf") {
            text.drain(..3);
        }
        let is_page = text.trim_ascii_start().starts_with(b"<");
        // A byte that is no text spoils the text that it is in, and nothing else.
        let text = String::from_utf8(text).unwrap_or_else(|error| {
            let chunks = error.as_bytes().utf8_chunks();
            let marked = |invalid: &[u8]| if invalid.is_empty() { "" } else { "\u{fffd}" };
            chunks.flat_map(|chunk| [chunk.valid(), marked(chunk.invalid())]).collect()
        });
        RawValue::from_string(text).map_err(|error| {
            unexpected(match is_page {
                true => "its answer is a page, and no JSON".to_owned(),
                false => unlike(&error),
            })
        })
    }
}

/// Takes a document, or a part of one, apart.
///
/// # Errors
///
/// When it is not what was asked for.
pub fn parsed<'a, T: Deserialize<'a>>(at: &Location, document: &'a RawValue) -> Result<T, PullError> {
    serde_json::from_str(document.get())
        .map_err(|error| PullError::Unexpected { at: at.to_string(), what: unlike(&error) })
}

fn unlike(error: &impl std::fmt::Display) -> String {
    format!("its answer is not what was asked for: {error}")
}

/// The first line of a file.
fn read_key(path: &Path) -> Result<String, PullError> {
    let failed = |error| PullError::Key { path: path.to_owned(), error };
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_KEY).read_to_string(&mut text)).map_err(failed)?;
    let key = text.lines().next().unwrap_or_default().trim();
    if key.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "its first line is empty")));
    }
    Ok(key.to_owned())
}

/// The header that a key is sent in.
fn header_of(source: &FeedSource, key: &str) -> (String, String) {
    if !source.key_header.is_empty() {
        return (source.key_header.to_ascii_lowercase(), key.to_owned());
    }
    let value = match (source.user.as_str(), source.kind.takes_bare_key()) {
        ("", true) => key.to_owned(),
        ("", false) => format!("Bearer {key}"),
        (user, _) => format!("Basic {}", STANDARD.encode(format!("{user}:{key}"))),
    };
    ("authorization".to_owned(), value)
}

/// What a server says of an error: what its JSON has for that, or its first words.
fn said(text: &[u8]) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    let part = |key: &str| document.as_ref()?.get(key)?.as_str().map(str::to_owned);
    let told = ["message", "title", "name", "description", "error"].into_iter().find_map(part);
    let is_page = text.trim_ascii_start().starts_with(b"<");
    let plain = || match is_page || document.is_some() {
        true => String::new(),
        false => text.trim_ascii().escape_ascii().to_string(),
    };
    let told = told.unwrap_or_else(plain);
    told.chars().take(MAX_SAID).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
