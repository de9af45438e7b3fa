//! A webhook: each hit is posted to a URL, signed.
//!
//! | answer | means |
//! |---|---|
//! | 2xx | it is delivered |
//! | 408, 409, 425, 429, 5xx, none | later, and not before `Retry-After` |
//! | 3xx | likewise: no redirect is followed, whoever has the URL must name where it leads |
//! | 400, 411, 413, 414, 415, 422, 431 | refused for good: it says that it is about the hit |
//! | any other 4xx, such as 401, 403, 404 | barred: about whoever asks, or the URL; then it is later. Or about the hit, which what comes behind it shows |

use std::time::Duration;

use super::message::Message;
use super::secret::Signer;
use super::{DeliverError, Outcome, OutletConfig, Sink};
use crate::base::clock::now;
use crate::http::client::{Client, Pushed};

/// A URL that hits are posted to.
pub(super) struct Webhook {
    client: Client,
    target: String,
    signer: Option<Signer>,
    timeout: Duration,
}

impl Webhook {
    /// Reads the key and the certificates.
    pub fn open(config: &OutletConfig, url: &str) -> Result<Webhook, DeliverError> {
        let (client, target) = Client::of_endpoint(url, config.ca.as_deref())?;
        let signer = config.key_file.as_deref().map(Signer::open).transpose()?;
        Ok(Webhook { client, target, signer, timeout: config.timeout })
    }

    fn post(&self, message: &Message) -> Outcome {
        let (id, timestamp) = (message.id(), now());
        // Plain values: nothing that can fail.
        let body = serde_json::to_vec(&message.document()).unwrap_or_default();
        let signature = self.signer.as_ref().map(|signer| signer.sign(&id, timestamp, &body));
        let timestamp = timestamp.to_string();
        let agent = concat!("dnsledger/", env!("CARGO_PKG_VERSION"));
        let mut headers = vec![
            ("content-type", "application/json"),
            ("user-agent", agent),
            ("idempotency-key", id.as_str()),
            ("webhook-id", id.as_str()),
            ("webhook-timestamp", timestamp.as_str()),
        ];
        headers.extend(signature.as_deref().map(|signature| ("webhook-signature", signature)));
        match self.client.push(&self.target, &headers, body, self.timeout) {
            Ok(pushed) => judge(&pushed),
            Err(error) => Outcome::failed(error),
        }
    }
}

/// What an answer means.
pub(super) fn judge(pushed: &Pushed) -> Outcome {
    match pushed.status {
        200..=299 => Outcome::Delivered,
        300..=399 => Outcome::failed(format!(
            "it answered {}: it leads elsewhere, and redirects are not followed",
            pushed.status
        )),
        408 | 409 | 425 | 429 | 500.. => {
            Outcome::Failed { why: format!("it answered {}", pushed.text()), retry_after: pushed.retry_after }
        }
        400 | 411 | 413..=415 | 422 | 431 => Outcome::Refused(format!("it answered {}", pushed.text())),
        400..=499 => {
            Outcome::Barred { why: format!("it answered {}", pushed.text()), retry_after: pushed.retry_after }
        }
        _ => Outcome::failed(format!("it answered {}, which is not an answer", pushed.status)),
    }
}

impl Sink for Webhook {
    fn together(&self) -> usize {
        1
    }

    fn send(&mut self, messages: &[Message]) -> Outcome {
        for message in messages {
            match self.post(message) {
                Outcome::Delivered => {}
                otherwise => return otherwise,
            }
        }
        Outcome::Delivered
    }
}
