//! Sightings for a MISP: each hit is told as one, of the attribute that the indicator came from.
//!
//! MISP takes the same sighting twice as two. So each has the id of the message as its source, and where it is not certain whether the last attempt
//! arrived (after a start, and after a failure) MISP is asked for that source first.
//!
//! An indicator of a MISP has the UUID of its attribute, which is sighted then; of any other, all attributes with its value are.

use std::time::Duration;

use serde_json::{Value, json};

use super::message::Message;
use super::{DeliverError, Outcome, OutletConfig, Sink, secret, webhook};
use crate::http::client::{Client, Pushed};
use crate::watch::{HitLine, Sent};

/// An outlet that is a MISP.
pub(super) struct Misp {
    client: Client,
    /// The path that all others are below.
    base: String,
    key: String,
    timeout: Duration,
    /// Whether what was sent last is known to have arrived, or not to have.
    is_certain: bool,
}

impl Misp {
    /// Reads the key and the certificates.
    pub fn open(config: &OutletConfig, url: &str) -> Result<Misp, DeliverError> {
        let (client, base) = Client::of_endpoint(url, config.ca.as_deref())?;
        // Without one it was refused with the configuration.
        let key = config.key_file.as_deref().map(secret::read).transpose()?.unwrap_or_default();
        let base = base.trim_end_matches('/').to_owned();
        Ok(Misp { client, base, key, timeout: config.timeout, is_certain: false })
    }

    fn post(&self, path: &str, body: &Value) -> Result<Pushed, Outcome> {
        let headers = [
            ("authorization", self.key.as_str()),
            ("accept", "application/json"),
            ("content-type", "application/json"),
            ("user-agent", concat!("dnsledger/", env!("CARGO_PKG_VERSION"))),
        ];
        let target = format!("{}{path}", self.base);
        self.client
            .push(&target, &headers, body.to_string().into_bytes(), self.timeout)
            .map_err(Outcome::failed)
    }

    /// Whether MISP has the sighting of this source.
    fn has(&self, id: &str, attribute: Option<&str>) -> Result<bool, Outcome> {
        let pushed = match attribute {
            Some(uuid) => {
                let ask = json!({ "returnFormat": "json", "id": uuid, "source": id });
                self.post("/sightings/restSearch/attribute", &ask)?
            }
            None => self.post("/sightings/restSearch", &json!({ "returnFormat": "json", "source": id }))?,
        };
        match judge(&pushed) {
            Outcome::Delivered => {}
            // No such attribute: there is no sighting of it.
            Outcome::Refused(_) => return Ok(false),
            failed => return Err(failed),
        }
        let document: Value = serde_json::from_slice(&pushed.body)
            .map_err(|error| Outcome::failed(format!("what MISP answers is not JSON: {error}")))?;
        let all = document.get("response").unwrap_or(&document).as_array();
        let is_it = |found: &Value| {
            let sighting = found.get("Sighting").unwrap_or(found);
            sighting.get("source").and_then(Value::as_str) == Some(id)
        };
        Ok(all.is_some_and(|all| all.iter().any(is_it)))
    }

    fn tell(&mut self, id: &str, hit: &HitLine) -> Result<(), Outcome> {
        let attribute = hit.id.as_deref().filter(|id| is_uuid(id));
        if !self.is_certain && self.has(id, attribute)? {
            self.is_certain = true;
            return Ok(());
        }
        self.is_certain = false;
        let mut sighting = json!({ "source": id, "type": "0", "timestamp": hit.time });
        let path = match attribute {
            Some(uuid) => format!("/sightings/add/{uuid}"),
            None => {
                if let Some(sighting) = sighting.as_object_mut() {
                    sighting.insert("values".to_owned(), json!([hit.indicator]));
                }
                "/sightings/add".to_owned()
            }
        };
        let pushed = self.post(&path, &sighting)?;
        let outcome = judge(&pushed);
        // What it answered to is done, or is not.
        self.is_certain = matches!(outcome, Outcome::Delivered | Outcome::Refused(_));
        if outcome == Outcome::Delivered { Ok(()) } else { Err(outcome) }
    }
}

/// What an answer means: as of a webhook, but of a key and of rights it says what they are, and all else is about the attribute.
fn judge(pushed: &Pushed) -> Outcome {
    let said = std::str::from_utf8(&pushed.body).unwrap_or_default().to_ascii_lowercase();
    match pushed.status {
        401 | 407 => Outcome::failed("MISP does not take the key"),
        403 if said.contains("authentication failed") => Outcome::failed("MISP does not take the key"),
        403 if said.contains("permission") => {
            Outcome::failed("MISP does not let the user of this key do that")
        }
        _ => match webhook::judge(pushed) {
            Outcome::Barred { why, .. } => Outcome::Refused(why),
            outcome => outcome,
        },
    }
}

fn is_uuid(text: &str) -> bool {
    let is_place = |(at, c): (usize, char)| match at {
        8 | 13 | 18 | 23 => c == '-',
        _ => c.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.chars().enumerate().all(is_place)
}

impl Sink for Misp {
    fn together(&self) -> usize {
        1
    }

    fn send(&mut self, messages: &[Message]) -> Outcome {
        for message in messages {
            // A sum is a sighting of nothing, and neither is what is new.
            let Sent::Hit(hit) = &message.sent else { continue };
            if hit.is_event() {
                continue;
            }
            if let Err(outcome) = self.tell(&message.id(), hit) {
                return outcome;
            }
        }
        Outcome::Delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_known_by_its_uuid_and_a_wrong_key_is_no_fault_of_a_hit() {
        assert!(is_uuid("5b582e17-fee8-4d3c-b1a2-5a2f950d210f"));
        for none in ["", "77", "5b582e17-fee8-4d3c-b1a2-5a2f950d210", "5b582e17/fee8-4d3c-b1a2-5a2f950d210f"]
        {
            assert!(!is_uuid(none), "{none}");
        }
        let said = |status, body: &str| Pushed { status, retry_after: None, body: body.as_bytes().to_vec() };
        assert!(matches!(
            judge(&said(403, "{\"message\":\"Authentication failed.\"}")),
            Outcome::Failed { .. }
        ));
        let no_right = "{\"message\":\"You do not have permission to use this functionality.\"}";
        assert!(matches!(judge(&said(403, no_right)), Outcome::Failed { .. }));
        assert!(matches!(judge(&said(403, "{\"message\":\"No valid attributes\"}")), Outcome::Refused(_)));
        assert!(matches!(judge(&said(404, "{\"message\":\"Invalid attribute.\"}")), Outcome::Refused(_)));
        assert_eq!(judge(&said(200, "")), Outcome::Delivered);
    }
}
