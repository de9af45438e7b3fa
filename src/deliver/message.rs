//! What is on its way to an outlet.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::watch::{HitLine, Sent, Summed};

/// A hit, or a sum in the place of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The name of the ledger.
    pub ledger: String,
    /// The hit, or the sum of hits.
    pub sent: Sent,
}

impl Message {
    /// The message of one hit.
    pub fn hit(ledger: &str, hit: HitLine) -> Message {
        Message { ledger: ledger.to_owned(), sent: Sent::Hit(Box::new(hit)) }
    }

    /// The message that sums up hits.
    pub fn summed(ledger: &str, summed: Summed) -> Message {
        Message { ledger: ledger.to_owned(), sent: Sent::Summed(summed) }
    }

    /// That in a dead letter; nothing where the line is none.
    pub fn of_letter(line: &[u8]) -> Option<Message> {
        #[derive(Deserialize)]
        struct Letter {
            message: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            ledger: String,
            hit: Option<HitLine>,
            summed: Option<Summed>,
        }
        let Letter { message: Inner { ledger, hit, summed } } = serde_json::from_slice(line).ok()?;
        match (hit, summed) {
            (Some(hit), _) => Some(Message::hit(&ledger, hit)),
            (None, summed) => Some(Message::summed(&ledger, summed?)),
        }
    }

    /// The same however often it is sent, and of nothing else.
    pub fn id(&self) -> String {
        match &self.sent {
            Sent::Hit(hit) => format!("dnsledger/{}/{}", self.ledger, hit.sequence),
            Sent::Summed(Summed { from, to, .. }) => format!("dnsledger/{}/{from}-{to}", self.ledger),
        }
    }

    /// When the hit was noted; that of a sum does not matter.
    pub fn noted(&self) -> Option<u64> {
        match &self.sent {
            Sent::Hit(hit) => Some(hit.noted),
            Sent::Summed(_) => None,
        }
    }

    /// The number up to which all is settled with it.
    pub fn sequence(&self) -> u64 {
        self.sent.sequence()
    }

    /// How many hits it stands for.
    pub fn hits(&self) -> u64 {
        match &self.sent {
            Sent::Hit(_) => 1,
            Sent::Summed(summed) => summed.hits,
        }
    }

    /// The message as JSON.
    pub fn document(&self) -> Value {
        match &self.sent {
            Sent::Hit(hit) => json!({ "type": "hit", "id": self.id(), "ledger": self.ledger, "hit": hit }),
            Sent::Summed(summed) => {
                json!({ "type": "summed", "id": self.id(), "ledger": self.ledger, "summed": summed })
            }
        }
    }
}
