//! One record of a DNS log, in Zeek's own words, before anything is concluded from it.

use std::fmt;

use crate::tally::Malformed;

/// What one line of a DNS log said: the columns that the ledger needs, unescaped.
///
/// It owns its bytes and is used again for the next line, so that reading a line allocates nothing once the buffers
/// have grown. [`super::Reader::read`] empties it first: nothing of an earlier line is ever seen in a later one.
#[derive(Clone, Default)]
pub struct LogRecord {
    /// Microseconds since the epoch, UTC.
    pub(super) ts_micros: u64,
    pub(super) resp_h: Option<Span>,
    pub(super) resp_p: Option<u16>,
    pub(super) query: Option<Span>,
    pub(super) qclass: Option<u16>,
    pub(super) qtype: Option<u16>,
    pub(super) rcode: Option<u16>,
    pub(super) opcode: Option<u16>,
    /// Whether the record itself says that it is one of the DNS log (`_path`, `@stream`).
    pub(super) says_dns: bool,
    /// Who asked, and where that was, if this is wanted.
    pub(super) client: Option<Client>,
    /// The elements of `answers`; `None` for an unset element, so that places agree with `ttls`.
    pub(super) answers: Vec<Option<Span>>,
    /// Whole seconds, one for each of `answers`, or empty when the log does not tell.
    pub(super) ttls: Vec<u32>,
    /// What the spans point into.
    pub(super) buffer: Vec<u8>,
}

/// Who asked: what the ledger does not keep.
#[derive(Clone, Copy, Default)]
pub(super) struct Client {
    pub(super) uid: Option<Span>,
    pub(super) orig_h: Option<Span>,
    pub(super) orig_p: Option<u16>,
}

/// A piece of the record's buffer.
#[derive(Clone, Copy)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

impl LogRecord {
    /// One that also takes down who asked, of each line that is read into it.
    pub fn with_client() -> LogRecord {
        LogRecord { client: Some(Client::default()), ..LogRecord::default() }
    }

    /// The address of who asked, as text (`id.orig_h`).
    pub fn orig_h(&self) -> Option<&[u8]> {
        self.client?.orig_h.and_then(|span| self.bytes(span))
    }

    /// The port of who asked (`id.orig_p`).
    pub fn orig_p(&self) -> Option<u16> {
        self.client?.orig_p
    }

    /// Zeek's name for the connection (`uid`).
    pub fn uid(&self) -> Option<&[u8]> {
        self.client?.uid.and_then(|span| self.bytes(span))
    }

    /// When Zeek saw the query, or the reply if it saw no query: microseconds since the epoch, UTC.
    pub fn ts_micros(&self) -> u64 {
        self.ts_micros
    }

    /// The address of the responder as text (`id.resp_h`).
    pub fn resp_h(&self) -> Option<&[u8]> {
        self.resp_h.and_then(|span| self.bytes(span))
    }

    /// The port of the responder (`id.resp_p`).
    pub fn resp_p(&self) -> Option<u16> {
        self.resp_p
    }

    /// The name that was asked: bytes, not text. The root is empty.
    pub fn query(&self) -> Option<&[u8]> {
        self.query.and_then(|span| self.bytes(span))
    }

    /// The class of the question; 1 is IN.
    pub fn qclass(&self) -> Option<u16> {
        self.qclass
    }

    /// The type of the question. `None` when Zeek saw only the reply.
    pub fn qtype(&self) -> Option<u16> {
        self.qtype
    }

    /// The response code. `None` when no response was seen.
    pub fn rcode(&self) -> Option<u16> {
        self.rcode
    }

    /// The opcode; Zeek logs it since 8.1.
    pub fn opcode(&self) -> Option<u16> {
        self.opcode
    }

    /// The answers with their times to live in seconds, in the order of the log. A time to live that the log does not
    /// tell is 0.
    pub fn answers(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.answers.iter().enumerate().filter_map(|(at, &span)| {
            let ttl = self.ttls.get(at).copied().unwrap_or_default();
            Some((self.bytes(span?)?, ttl))
        })
    }

    fn bytes(&self, span: Span) -> Option<&[u8]> {
        self.buffer.get(span.start..span.end)
    }

    //--- for the readers ---

    /// How many of the fields are set that only a DNS log has.
    pub(super) fn dns_fields(&self) -> usize {
        let set = [
            self.query.is_some(),
            self.qclass.is_some(),
            self.qtype.is_some(),
            self.rcode.is_some(),
            !self.answers.is_empty(),
        ];
        set.into_iter().filter(|set| *set).count()
    }

    /// Whether this can only be a record of a DNS log.
    pub(super) fn is_of_dns(&self) -> bool {
        let fields = self.dns_fields();
        self.says_dns || fields > 1 || (fields == 1 && self.resp_p.is_some())
    }

    /// Forgets the record before.
    pub(super) fn clear(&mut self) {
        let LogRecord { answers, ttls, buffer, client, .. } = self;
        let client = client.map(|_| Client::default());
        let (mut answers, mut ttls, mut buffer) =
            (std::mem::take(answers), std::mem::take(ttls), std::mem::take(buffer));
        answers.clear();
        ttls.clear();
        buffer.clear();
        *self = LogRecord { answers, ttls, buffer, client, ..LogRecord::default() };
    }

    /// What was appended to the buffer since it was `start` bytes long.
    pub(super) fn span_from(&self, start: usize) -> Span {
        Span { start, end: self.buffer.len() }
    }

    /// Checks that answers and their times to live are as many as each other, as Zeek writes them, where both are
    /// told. Anything else was overwritten.
    pub(super) fn agree(&self) -> Result<(), Malformed> {
        let (answers, ttls) = (self.answers.len(), self.ttls.len());
        if answers == ttls || answers == 0 || ttls == 0 { Ok(()) } else { Err(Malformed::Value) }
    }

    /// Copies bytes that need no unescaping.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        self.span_from(start)
    }
}

impl PartialEq for LogRecord {
    /// By what they say, not by how their bytes lie.
    fn eq(&self, other: &LogRecord) -> bool {
        self.ts_micros == other.ts_micros
            && self.resp_h() == other.resp_h()
            && self.resp_p == other.resp_p
            && self.query() == other.query()
            && self.qclass == other.qclass
            && self.qtype == other.qtype
            && self.rcode == other.rcode
            && self.opcode == other.opcode
            && self.answers().eq(other.answers())
    }
}

impl fmt::Debug for LogRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers: Vec<_> =
            self.answers().map(|(answer, ttl)| (answer.escape_ascii().to_string(), ttl)).collect();
        f.debug_struct("LogRecord")
            .field("ts_micros", &self.ts_micros)
            .field("resp_h", &self.resp_h().map(|bytes| bytes.escape_ascii().to_string()))
            .field("resp_p", &self.resp_p)
            .field("query", &self.query().map(|bytes| bytes.escape_ascii().to_string()))
            .field("qclass", &self.qclass)
            .field("qtype", &self.qtype)
            .field("rcode", &self.rcode)
            .field("opcode", &self.opcode)
            .field("answers", &answers)
            .finish()
    }
}
