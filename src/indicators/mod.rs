//! Indicators: what reports, lists and feeds say is bad, read from the forms in which they come.
//!
//! [`read`] takes any of the [`Format`]s, finds out which one it is unless it is told, and hands out each [`Indicator`] as it
//! is met: a [`Value`] in the ledger's own words, and the [`Reference`] to where it came from. What is not taken is counted
//! by its [`Reason`], with the first few of each as examples. Nothing here knows a ledger.
//!
//! A feed is hostile input: bytes, lines, indicators and memory are bounded, what is inflated is counted, and what is no list
//! at all (a page of HTML, an archive, an error of a server) is refused as a whole and not read as an empty list.
//!
//! | what a list says | is |
//! |---|---|
//! | a MISP `domain`, a name in a plain, adblock, dnsmasq or wildcard list, in a text, `*.x` of a zone, `LIKE '%.x'` | that domain: at and below |
//! | a MISP `hostname`, a name in a hosts file, an owner of a zone, the host of a URL, `=` of STIX, `Intel::DOMAIN` | that name |
//!
//! [`Options::below`] overrides it for a whole feed.

mod allow;
mod behind;
pub mod broken_lines;
mod collect;
mod csv;
mod files;
mod host;
mod input;
mod json;
mod left_out;
mod lenient;
mod list;
mod mail;
mod misp;
mod objects;
mod prose;
mod reason;
mod recognise;
mod rpz;
mod stix;
mod stix_pattern;
pub mod text;
pub mod value;
pub mod words;
mod wrapped;
mod zeek;

pub use allow::AllowList;
pub use behind::{in_base64, in_path};
pub use csv::{cells, said_sign};
pub use files::is_file_ending;
pub use host::{has_known_end, has_tail, is_host, is_scheme, range_end};
pub use left_out::LeftOut;
pub use prose::parts;
pub use reason::{Reason, Skipped};
pub use value::{Network, Value, ValueKind};
pub use wrapped::mirrored;

use std::io::{self, Read};

use collect::Collect;
use input::Input;

/// The most indicators of one list.
pub const MAX_INDICATORS: u64 = 5_000_000;
/// The most bytes of one list, inflated.
pub const MAX_BYTES: u64 = 256 << 20;

//--- Indicator ------------------------------------------------------------------------------------------------------

/// One indicator of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indicator {
    /// The name, address or network.
    pub value: Value,
    /// Whether to look for it, or to except it.
    pub action: Action,
    /// Where it came from.
    pub reference: Reference,
}

/// Whether an indicator is looked for, or an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is looked for.
    Watch,
    /// It is harmless, and so is what is below or in it.
    Allow,
}

/// Where an indicator came from, and what is said of it there. Texts are cut at a bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// The line in the source, from 1; of JSON the number of the attribute or object.
    pub line: u64,
    /// Its id in the source: a UUID of MISP, an id of STIX, a number.
    pub id: Option<String>,
    /// The title of what it is in: an event, an indicator, a family of malware.
    pub title: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its tags and labels.
    pub tags: Vec<String>,
    /// Where there is more to read.
    pub link: Option<String>,
    /// How sure its source is, from 0 to 100.
    pub confidence: Option<u8>,
    /// Sightings after this time are no hits, epoch seconds.
    pub valid_until: Option<u64>,
    /// When its source last confirmed it, epoch seconds.
    pub time: Option<u64>,
}

impl Reference {
    /// One with a line alone.
    pub fn at(line: u64) -> Reference {
        Reference { line, ..Reference::default() }
    }
}

//--- Format ---------------------------------------------------------------------------------------------------------

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// A name, an address, a network or a URL a line.
    Plain,
    /// A hosts file.
    Hosts,
    /// Rules of adblockers, as far as they are about names.
    Adblock,
    /// Rules of dnsmasq.
    Dnsmasq,
    /// A response policy zone.
    Rpz,
    /// A file of Zeek's intelligence framework.
    Zeek,
    /// Cells with titles, those of URLhaus, ThreatFox, Feodo and MISP among them.
    Csv,
    /// MISP's JSON: events, attributes, a feed.
    Misp,
    /// A bundle of STIX 2.1, or an envelope of TAXII 2.1.
    Stix,
    /// JSON of others: objects with a key as `domain`, `ip`, `url` or `indicator`, in lists, a line each or by number; those of URLhaus, ThreatFox,
    /// Feodo and OTX among them.
    Json,
    /// A text in which names and addresses stand, most of them defanged.
    Prose,
    /// A ranking of popular domains: an allow list.
    Tranco,
    /// A warning list of MISP: an allow list.
    Warninglist,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 13] = [
        Format::Plain,
        Format::Hosts,
        Format::Adblock,
        Format::Dnsmasq,
        Format::Rpz,
        Format::Zeek,
        Format::Csv,
        Format::Misp,
        Format::Stix,
        Format::Json,
        Format::Prose,
        Format::Tranco,
        Format::Warninglist,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Plain => "plain",
            Format::Hosts => "hosts",
            Format::Adblock => "adblock",
            Format::Dnsmasq => "dnsmasq",
            Format::Rpz => "rpz",
            Format::Zeek => "zeek",
            Format::Csv => "csv",
            Format::Misp => "misp",
            Format::Stix => "stix",
            Format::Json => "objects",
            Format::Prose => "prose",
            Format::Tranco => "tranco",
            Format::Warninglist => "warninglist",
        }
    }

    /// The one that is called so; `wildcard`, `text`, `taxii` and `urlhaus` and its like are other words for some.
    pub fn from_name(name: &str) -> Option<Format> {
        Some(match name {
            "wildcard" | "text" => Format::Plain,
            "taxii" => Format::Stix,
            "otx" | "ndjson" => Format::Json,
            "urlhaus" | "threatfox" | "feodo" => Format::Csv,
            _ => return Format::ALL.into_iter().find(|format| format.name() == name),
        })
    }
}

//--- reading --------------------------------------------------------------------------------------------------------

/// How a list is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How it is written; found out where that is not said.
    pub format: Option<Format>,
    /// Whether names are meant with all that is below them, whatever the format says.
    pub below: Option<bool>,
    /// The column of a CSV that holds the indicators: a title, or a number from 1.
    pub column: Option<String>,
    /// Indicators with less confidence are not taken; those without a confidence are.
    pub confidence_min: Option<u8>,
    /// Observables of a bundle are taken, too, and not its indicators alone.
    pub observed: bool,
    /// Indicators that have expired (`valid_until`) are taken, too.
    pub ended: bool,
    /// All of it is harmless: it is an allow list.
    pub allow: bool,
    /// The most indicators.
    pub most: u64,
    /// The most bytes, inflated.
    pub most_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            format: None,
            below: None,
            column: None,
            confidence_min: None,
            observed: false,
            ended: false,
            allow: false,
            most: MAX_INDICATORS,
            most_bytes: MAX_BYTES,
        }
    }
}

/// The result of reading a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSummary {
    /// How it was written.
    pub format: Format,
    /// Its title, where it has one.
    pub title: Option<String>,
    /// Lines, or attributes and objects, that were looked at.
    pub lines: u64,
    /// Indicators that were handed out to be looked for, duplicates among them.
    pub taken: u64,
    /// Exceptions that were handed out.
    pub allowed: u64,
    /// Entries that were not taken.
    pub skipped: Skipped,
    /// Columns, or keys of objects, that hold names or addresses and were not taken.
    pub left_out: Vec<LeftOut>,
}

impl ListSummary {
    /// Which columns were not taken, a line each.
    pub fn left_out_in_words(&self) -> impl Iterator<Item = String> {
        self.left_out.iter().map(|left| left.in_words(self.format))
    }
}

/// Why a list could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is something else.
    #[error("{what}")]
    NoList {
        /// What it is instead.
        what: String,
        /// Advice for the user.
        hint: &'static str,
    },
    /// It says what has no meaning in its format.
    #[error("line {line}: {message}")]
    Malformed {
        /// Where.
        line: u64,
        /// The reason.
        message: String,
    },
    /// It has more bytes than may be.
    #[error("it has more than {} MiB{}", .most >> 20, if *.inflated { " when it is inflated" } else { "" })]
    TooLarge {
        /// The most there may be.
        most: u64,
        /// Whether that is of what is packed in it.
        inflated: bool,
    },
    /// It has more indicators than may be.
    #[error("it has more than {most} indicators")]
    TooMany {
        /// The most there may be.
        most: u64,
    },
    /// Whoever takes the indicators has no room for more.
    #[error("its indicators need more than {} MiB of memory", .most >> 20)]
    NoRoom {
        /// The most there may be.
        most: u64,
    },
    /// It could not be read.
    #[error("reading it: {0}")]
    Io(#[from] io::Error),
    /// Whoever takes the indicators wants no more.
    #[error("it was not read to its end")]
    Stopped,
}

impl ReadError {
    /// Advice for the user.
    pub fn hint(&self) -> &'static str {
        match self {
            ReadError::NoList { hint, .. } => hint,
            ReadError::Malformed { .. } => "the format that it is in, where it was mistaken: --format",
            ReadError::TooLarge { .. } | ReadError::TooMany { .. } | ReadError::NoRoom { .. } => {
                "parts of it, one after the other"
            }
            ReadError::Io(_) | ReadError::Stopped => "it again",
        }
    }
}

/// The text of a list as it is, inflated, in UTF-8 and with line feeds, for who reads its lines otherwise.
///
/// # Errors
///
/// When it cannot be read, is packed in a way that is not read, or has more bytes than `most`.
pub fn text_of(input: &mut dyn Read, most: u64) -> Result<Vec<u8>, ReadError> {
    Input::open(input, most)?.all()
}

/// Reads a list, and hands out its indicators in the order in which they are met.
///
/// # Errors
///
/// When it is no list, or more than may be; what was handed out is not all of it then.
pub fn read(
    input: &mut dyn Read,
    options: &Options,
    sink: &mut dyn FnMut(Indicator) -> Result<(), ReadError>,
) -> Result<ListSummary, ReadError> {
    let mut input = Input::open(input, options.most_bytes)?;
    let format = match options.format {
        Some(format) => {
            recognise::check(input.head())?;
            format
        }
        None => recognise::format(input.head(), options.column.is_some())?,
    };
    // URLhaus and its like are there as both.
    let format = match format {
        Format::Csv if options.column.is_none() && recognise::is_json(input.head()) => Format::Json,
        format => format,
    };
    let mut collect = Collect::new(format, options, sink);
    let read = match format {
        Format::Plain | Format::Hosts | Format::Adblock | Format::Dnsmasq => {
            list::read(&mut input, format, &mut collect)
        }
        Format::Prose => prose::read(&mut input, &mut collect),
        Format::Rpz => rpz::read(&mut input, &mut collect),
        Format::Zeek => zeek::read(&mut input, &mut collect),
        Format::Csv | Format::Tranco => csv::read(&mut input, format, &mut collect),
        Format::Misp | Format::Stix | Format::Json | Format::Warninglist => {
            json::read(&mut input, &mut collect)
        }
    };
    // The bound on bytes comes through layers that know nothing of it.
    input.check_bound()?;
    read?;
    Ok(collect.end())
}

#[cfg(test)]
mod tests;
