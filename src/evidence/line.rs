//! A line of a log as it is handed out, and how an answer ended.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::time::format_rfc3339;
use crate::dns::{RrType, push_text_presentation};
use crate::zeek::LogRecord;

/// A line of a log that a row or a question was counted from. All text but paths and sensors is printable ASCII.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When Zeek saw the query, or the reply if it saw no query: RFC 3339, UTC, with microseconds.
    pub time: String,
    /// The same as Zeek has it: seconds since the epoch, UTC.
    pub ts: f64,
    /// The address of who asked (`id.orig_h`).
    pub client: Option<String>,
    /// Its port.
    pub client_port: Option<u16>,
    /// The address of who was asked (`id.resp_h`).
    pub server: Option<String>,
    /// Its port.
    pub server_port: Option<u16>,
    /// Zeek's name for the connection.
    pub uid: Option<String>,
    /// The name that was asked, in presentation form.
    pub query: Option<String>,
    /// The type that was asked for: a mnemonic, or `TYPE` and a number.
    pub qtype: Option<String>,
    /// The response code: a mnemonic, or a number.
    pub rcode: Option<String>,
    /// The answers as Zeek has them, with what is not printable escaped.
    pub answers: Vec<String>,
    /// The sensor that it was counted under.
    pub sensor: String,
    /// The file that it was found in.
    pub log: String,
    /// The number of the line in that, unpacked, from 1.
    pub line: u64,
    /// The line as Zeek wrote it, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Raw>,
    /// The header that the line is read with, where it has one and the line before had none or another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Raw>,
}

/// Bytes of a log. In JSON they are a string, or if they are not UTF-8 an object with their base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw(pub Arc<[u8]>);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Base64 { base64: STANDARD.encode(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Bytes(Base64),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Text(text) => Raw(text.into_bytes().into()),
            Either::Bytes(Base64 { base64 }) => {
                Raw(STANDARD.decode(base64).map_err(serde::de::Error::custom)?.into())
            }
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Base64 {
    base64: String,
}

impl LogLine {
    /// The fields of a record; the caller adds where it was found.
    pub(super) fn of(record: &LogRecord) -> LogLine {
        let micros = record.ts_micros();
        let qtype = record.qtype().map(|qtype| RrType(qtype).to_string());
        LogLine {
            time: format_micros(micros),
            ts: micros as f64 / 1e6,
            client: record.orig_h().map(shown),
            client_port: record.orig_p(),
            server: record.resp_h().map(shown),
            server_port: record.resp_p(),
            uid: record.uid().map(shown),
            query: record.query().map(|query| if query.is_empty() { ".".to_owned() } else { shown(query) }),
            qtype,
            rcode: record.rcode().map(rcode_name),
            answers: record.answers().map(|(answer, _)| shown(answer)).collect(),
            sensor: String::new(),
            log: String::new(),
            line: 0,
            raw: None,
            header: None,
        }
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.client, &self.server, &self.uid, &self.query, &self.qtype, &self.rcode];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        let answers: usize = self.answers.iter().map(|answer| answer.len() + 24).sum();
        let raw = self.raw.as_ref().map_or(0, |raw| raw.0.len());
        512 + texts + answers + raw + self.log.len() + self.sensor.len()
    }
}

/// `2018-03-24T17:15:20.865716Z`.
fn format_micros(micros: u64) -> String {
    let seconds = format_rfc3339(micros / 1_000_000);
    format!("{}.{:06}Z", seconds.trim_end_matches('Z'), micros % 1_000_000)
}

fn shown(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len());
    push_text_presentation(bytes, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// The names of response codes (IANA, "DNS RCODEs"), as far as they are in replies without extensions.
fn rcode_name(rcode: u16) -> String {
    const NAMES: [&str; 12] = [
        "NOERROR",
        "FORMERR",
        "SERVFAIL",
        "NXDOMAIN",
        "NOTIMP",
        "REFUSED",
        "YXDOMAIN",
        "YXRRSET",
        "NXRRSET",
        "NOTAUTH",
        "NOTZONE",
        "DSOTYPENI",
    ];
    NAMES.get(usize::from(rcode)).map_or_else(|| rcode.to_string(), |name| (*name).to_owned())
}

//--- Answer ---------------------------------------------------------------------------------------------------------

/// Why no more lines are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All logs that may hold some were read.
    #[default]
    Complete,
    /// There are as many as were asked for; there may be more.
    Limit,
    /// The time for it was over.
    Time,
    /// The caller wanted no more lines.
    Stopped,
}

/// Faults of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFault {
    /// Neither it nor a copy of it is there.
    Gone,
    /// Another log lies where it was, and it is nowhere else.
    Replaced,
    /// The system does not let it be read.
    Unreadable,
    /// Its end is missing.
    Cut,
    /// It is packed, and cannot be unpacked to its end.
    Damaged,
    /// It holds something else than was counted.
    Changed,
}

impl LogFault {
    const ALL: [LogFault; 6] = [
        LogFault::Gone,
        LogFault::Replaced,
        LogFault::Unreadable,
        LogFault::Cut,
        LogFault::Damaged,
        LogFault::Changed,
    ];

    fn words(self) -> &'static str {
        match self {
            LogFault::Gone => "no longer there",
            LogFault::Replaced => "in the place of which another log is",
            LogFault::Unreadable => "that cannot be read",
            LogFault::Cut => "that were cut",
            LogFault::Damaged => "that are damaged",
            LogFault::Changed => "that hold something else than was counted",
        }
    }
}

/// A log that may hold more lines and was not read, or not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Where it was seen last.
    pub log: String,
    /// What is wrong with the log.
    pub fault: LogFault,
    /// Details of the fault.
    pub why: String,
    /// The sensor of the log.
    pub sensor: String,
    /// Lines that were counted from it.
    pub lines: u64,
    /// The time of its oldest record, epoch seconds; 0 where it is not known.
    pub time_first: u64,
    /// The time of its latest record, epoch seconds.
    pub time_last: u64,
}

/// How many were counted, and how many of them were found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// As the ledger has them.
    pub counted: u64,
    /// In the logs. Those that were written since are among them.
    pub found: u64,
    /// How many are missing: what one row has too many does not make good for another.
    pub missing: u64,
    /// How many more were found than were counted.
    pub more: u64,
}

/// How an answer ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Lines that were handed out.
    pub lines: u64,
    /// Why there are no more.
    pub ended: Ended,
    /// Whether these are all lines there were, or as many as were asked for.
    pub complete: bool,
    /// The sightings of the rows that were asked for; absent where they cannot be compared with what was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sightings: Option<Compared>,
    /// How often names were asked for, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub questions: Option<Compared>,
    /// Logs that may hold more; the first hundred.
    pub missing: Vec<Missing>,
    /// How many of these there are.
    pub missing_logs: u64,
    /// Further notes.
    pub notes: Vec<String>,
    /// Logs that may hold some.
    pub logs: u64,
    /// Logs of these that were read.
    pub logs_read: u64,
    /// Logs that hold none, by their filters.
    #[serde(default)]
    pub logs_passed_over: u64,
}

/// Logs of one kind that are named in a sentence.
const NAMED: usize = 5;

impl Answer {
    /// Notes for the user, a sentence each: why the answer is incomplete, if it is, and others.
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if !self.complete {
            sentences.push(self.why_not_whole());
        }
        match self.ended {
            Ended::Time => {
                sentences.push("The time for this answer was over before all logs were read.".to_owned());
            }
            Ended::Stopped => sentences.push("It was ended before all logs were read.".to_owned()),
            Ended::Complete | Ended::Limit => {}
        }
        sentences.extend(self.notes.iter().cloned());
        sentences
    }

    fn why_not_whole(&self) -> String {
        let parts: Vec<String> = [(self.sightings, "sightings"), (self.questions, "questions")]
            .into_iter()
            .filter_map(|(compared, what)| {
                let compared = compared.filter(|compared| compared.missing > 0)?;
                Some(format!("{} of {} {what}", compared.missing, compared.counted))
            })
            .collect();
        let faults: Vec<LogFault> = LogFault::ALL
            .into_iter()
            .filter(|fault| self.missing.iter().any(|missing| missing.fault == *fault))
            .collect();
        let logs = |fault: LogFault| {
            let of: Vec<&Missing> = self.missing.iter().filter(|missing| missing.fault == fault).collect();
            let named: Vec<String> = of
                .iter()
                .take(NAMED)
                .map(|missing| match missing.why.as_str() {
                    "" => missing.log.clone(),
                    why => format!("{} ({why})", missing.log),
                })
                .collect();
            let more = match of.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{}{more}", named.join(", "))
        };
        match (parts.is_empty(), faults.as_slice()) {
            (true, []) => "Not all of it was read.".to_owned(),
            (false, []) => {
                format!(
                    "{} were not found, though the logs are there: other options may have been in force when they were \
                     counted.",
                    parts.join(" and ")
                )
            }
            (true, [fault]) => format!("There may be more in logs {}: {}.", fault.words(), logs(*fault)),
            (false, [fault]) => {
                let are = if *fault == LogFault::Gone { "that are " } else { "" };
                format!("{} lie in logs {are}{}: {}.", parts.join(" and "), fault.words(), logs(*fault))
            }
            (_, faults) => {
                let begin = match parts.is_empty() {
                    true => "There may be more in logs that are not there, or not whole".to_owned(),
                    false => format!("{} lie in logs that are not there, or not whole", parts.join(" and ")),
                };
                let each: Vec<String> =
                    faults.iter().map(|fault| format!("{}: {}", fault.words(), logs(*fault))).collect();
                format!("{begin}: {}.", each.join("; "))
            }
        }
    }
}
