//! Cells with titles: what people export, and URLhaus, ThreatFox, Feodo and MISP.
//!
//! Titles are in the first line, or in the comment before it, as abuse.ch has them. A column that is called as indicators
//! are holds them; where there is none, all that are called as a kind of them are (`domain`, `ip`, `url`). Without titles it is
//! the first column whose cell is an indicator.

use std::io::Read;

use super::collect::Collect;
use super::files::is_file_ending;
use super::host::has_known_end;
use super::input::ListLines;
use super::misp::{Use, moment, use_of_words};
use super::reason::Reason;
use super::value::{self, Value, Values};
use super::{Action, Format, ReadError, Reference};

/// What may divide cells.
pub const SIGNS: [char; 4] = [',', ';', '\t', '|'];
/// Bytes of a row whose cells go over lines.
const MAX_ROW: usize = 256 << 10;

/// Titles of a column of indicators of any kind, the surest first.
const VALUES: &[&str] =
    &["indicator", "ioc_value", "indicator_value", "ioc", "iocs", "indicators", "value", "observable"];
/// Titles of columns of one kind.
const KINDS: &[&str] = &[
    "domain",
    "domain_name",
    "domainname",
    "fqdn",
    "hostname",
    "host",
    "dst_ip",
    "dest_ip",
    "src_ip",
    "ip",
    "ipv4",
    "ipv6",
    "ip_address",
    "ipaddress",
    "ip address",
    "cidr",
    "network",
    "subnet",
    "url",
    "address",
    "dst",
    "dest",
    "dst_host",
    "dest_host",
    "remote_ip",
    "remoteip",
    "remoteurl",
    "remote_url",
    "destination_ip",
    "destination.ip",
    "destination.domain",
    "url.domain",
    "url.full",
];
/// Titles of names that were asked for, as SIEMs and logs have them. Beside an address it is the name that is looked for, too.
const QUESTIONS: &[&str] = &[
    "query",
    "qname",
    "rrname",
    "dns_query",
    "dns.query",
    "dnsquery",
    "query_name",
    "queryname",
    "question_name",
    "dns.question.name",
    "dns.rrname",
    "queried_domain",
    "requested_domain",
];
/// Titles of a column where there is no other.
const LAST: &[&str] = &["name", "id.resp_h", "resp_h"];
const TYPE: &[&str] = &["type", "ioc_type", "indicator_type", "observable_type", "kind"];
pub const ID: &[&str] = &["uuid", "ioc_id", "id", "attribute_uuid"];
pub const TITLE: &[&str] =
    &["malware_printable", "malware", "threat", "family", "event_info", "title", "threat_type", "campaign"];
const DESCRIPTION: &[&str] = &["comment", "description", "desc", "notes", "note", "context"];
pub const TAGS: &[&str] = &["tags", "attribute_tag", "labels", "tag", "label"];
pub const LINK: &[&str] =
    &["reference", "urlhaus_link", "urlhaus_reference", "link", "source_url", "references"];
const CONFIDENCE: &[&str] = &["confidence_level", "confidence", "score"];
const UNTIL: &[&str] = &[
    "valid_until",
    "expires",
    "expiration",
    "expiry",
    "expire",
    "expiration_date",
    "expiry_date",
    "expire_date",
    "expiration_time",
    "expiration_datetime",
    "expirationdatetime",
    "expires_at",
    "expires_on",
    "valid_to",
    "validuntil",
];
const TIME: &[&str] = &[
    "last_seen_utc",
    "last_seen",
    "last_online",
    "timestamp",
    "date",
    "dateadded",
    "first_seen_utc",
    "first_seen",
    "date_added",
    "created",
];
const FOR_DETECTION: &[&str] = &["to_ids"];

/// Whether a title is one of indicators.
pub fn is_value(title: &str) -> bool {
    VALUES.contains(&title) || KINDS.contains(&title) || is_question(title)
}

/// Whether it is one of names that were asked for.
pub fn is_question(title: &str) -> bool {
    QUESTIONS.contains(&title)
}

/// Whether it is one of what is said of them.
pub fn is_note(title: &str) -> bool {
    [TYPE, ID, TITLE, DESCRIPTION, TAGS, LINK, CONFIDENCE, UNTIL, TIME, FOR_DETECTION]
        .iter()
        .any(|titles| titles.contains(&title))
}

/// Reads such a table.
///
/// # Errors
///
/// As [`super::read`]; also when there is no such column as was asked for.
pub fn read(input: &mut impl Read, format: Format, collect: &mut Collect<'_>) -> Result<(), ReadError> {
    let mut lines = ListLines::of(input);
    let mut columns = (format == Format::Tranco).then(CsvColumns::of_ranks);
    let mut comments: Vec<String> = Vec::new();
    let mut row = String::new();
    let mut row_at = 0;
    while let Some((number, line)) = lines.next(collect)? {
        if row.is_empty() {
            let line = line.trim_start_matches('\u{feff}');
            if line.trim().is_empty() {
                continue;
            }
            if columns.is_none() && said_sign(line).is_some() {
                continue;
            }
            if let Some(comment) = line.strip_prefix('#') {
                if columns.is_none() {
                    comments = vec![comment.trim().to_owned()];
                }
                continue;
            }
            row_at = number;
            row.push_str(line);
        } else {
            row.push('\n');
            row.push_str(line);
        }
        let columns = match &mut columns {
            Some(columns) => columns,
            None => {
                let comment = comments.last().map(String::as_str);
                let (found, is_title) = CsvColumns::find(comment, &row, collect.options().column.as_deref())
                    .map_err(|message| ReadError::Malformed { line: number, message })?;
                let found = columns.insert(found);
                if is_title {
                    row.clear();
                    continue;
                }
                found
            }
        };
        let (cells, is_open) = cells(&row, columns.sign);
        if is_open && row.len() < MAX_ROW {
            continue;
        }
        columns.take(&cells, row_at, collect)?;
        row.clear();
    }
    // A quotation mark that was never closed.
    if let (false, Some(columns)) = (row.is_empty(), &columns) {
        for (at, line) in (row_at..).zip(row.lines()) {
            columns.take(&cells(line, columns.sign).0, at, collect)?;
        }
    }
    Ok(())
}

/// Which columns there are.
#[derive(Debug)]
pub struct CsvColumns {
    sign: char,
    /// Those of indicators, with their titles.
    values: Vec<(usize, String)>,
    titles: Vec<String>,
    /// Whether all of it is harmless.
    is_allow: bool,
}

impl CsvColumns {
    fn of_ranks() -> CsvColumns {
        CsvColumns { sign: ',', values: vec![(1, String::new())], titles: Vec::new(), is_allow: true }
    }

    /// Those of an object whose keys these are.
    pub fn of_keys(titles: Vec<String>) -> CsvColumns {
        let place = |title: &&str| titles.iter().position(|known| known == title);
        let values = match VALUES.iter().find_map(place) {
            Some(at) => vec![at],
            None => KINDS.iter().chain(QUESTIONS).filter_map(place).collect(),
        };
        let values = values.into_iter().map(|at| (at, titles.get(at).cloned().unwrap_or_default())).collect();
        CsvColumns { sign: ',', values, titles, is_allow: false }
    }

    /// Whether they are called so.
    pub fn are_of(&self, titles: &[String]) -> bool {
        self.titles == titles
    }

    /// Those of lines at the start that have titles, be it in a comment.
    pub fn of_head(lines: &[&str]) -> Option<CsvColumns> {
        let at = lines.iter().position(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let comment = lines.get(..at.unwrap_or(lines.len()))?.iter().rfind(|line| line.len() > 1);
        let of_comment =
            comment.and_then(|line| CsvColumns::of_titles(line.trim_start_matches(['#', ' ']), 3));
        of_comment.or_else(|| CsvColumns::of_titles(lines.get(at?)?, 2))
    }

    /// Those of a line with titles, so many at least.
    fn of_titles(line: &str, least: usize) -> Option<CsvColumns> {
        let sign = *SIGNS.iter().rev().max_by_key(|sign| cells(line, **sign).0.len())?;
        let titles: Vec<String> =
            cells(line, sign).0.iter().map(|title| title.trim().to_ascii_lowercase()).collect();
        if titles.len() < least {
            return None;
        }
        // `Domain Name` is `domain_name`.
        let joined: Vec<String> = titles.iter().map(|title| title.replace([' ', '-'], "_")).collect();
        let place = |title: &str| {
            let is = |known: &String| known == title;
            titles.iter().position(is).or_else(|| joined.iter().position(is))
        };
        let values = match VALUES.iter().find_map(|title| place(title)) {
            Some(at) => vec![at],
            None => {
                let kinds: Vec<usize> =
                    KINDS.iter().chain(QUESTIONS).filter_map(|title| place(title)).collect();
                match kinds.is_empty() {
                    true => vec![LAST.iter().find_map(|title| place(title))?],
                    false => kinds,
                }
            }
        };
        let mut values = values;
        values.sort_unstable();
        values.dedup();
        let values = values.into_iter().map(|at| (at, titles.get(at).cloned().unwrap_or_default())).collect();
        Some(CsvColumns { sign, values, titles, is_allow: false })
    }

    /// Those of a table that begins with this row, and whether the row is the titles.
    fn find(comment: Option<&str>, first: &str, wanted: Option<&str>) -> Result<(CsvColumns, bool), String> {
        if let Some(wanted) = wanted {
            return CsvColumns::wanted(comment, first, wanted.trim());
        }
        if let Some(columns) = comment.and_then(|comment| CsvColumns::of_titles(comment, 3)) {
            // The line may be there once more.
            let is_title =
                CsvColumns::of_titles(first, 3).is_some_and(|again| again.titles == columns.titles);
            return Ok((columns, is_title));
        }
        if let Some(columns) = CsvColumns::of_titles(first, 1) {
            return Ok((columns, true));
        }
        let sign = SIGNS.iter().rev().max_by_key(|sign| cells(first, **sign).0.len()).copied().unwrap_or(',');
        let is_value = |cell: &String| {
            let could_be = cell.contains(['.', ':', '/']) || cell.len() >= 32;
            could_be && matches!(value::read(cell, true), Ok(_) | Err(Reason::Hash))
        };
        let at = cells(first, sign).0.iter().position(is_value);
        match at {
            Some(at) => {
                Ok((CsvColumns { sign, values: vec![(at, String::new())], titles: Vec::new(), is_allow: false }, false))
            }
            None => Err("no column is called as indicators are, nor has any in the first row: --column NAME says which".to_owned()),
        }
    }

    fn wanted(comment: Option<&str>, first: &str, wanted: &str) -> Result<(CsvColumns, bool), String> {
        let sign_of = |line: &str| SIGNS.iter().rev().max_by_key(|sign| cells(line, **sign).0.len()).copied();
        let titles_of = |line: &str, sign: char| -> Vec<String> {
            cells(line, sign).0.iter().map(|title| title.trim().to_ascii_lowercase()).collect()
        };
        let sign = sign_of(first).unwrap_or(',');
        for (line, is_title) in [(Some(first), true), (comment, false)] {
            let Some(line) = line else { continue };
            let sign = if is_title { sign } else { sign_of(line).unwrap_or(',') };
            let titles = titles_of(line, sign);
            let place =
                |wanted: &str| titles.iter().position(|title| title.eq_ignore_ascii_case(wanted.trim()));
            // One that is called so, or several of them.
            let found: Option<Vec<usize>> = match place(wanted) {
                Some(at) => Some(vec![at]),
                None => wanted.split(',').map(place).collect(),
            };
            if let Some(found) = found {
                let values = found.into_iter().map(|at| (at, String::new())).collect();
                return Ok((CsvColumns { sign, values, titles, is_allow: false }, is_title));
            }
        }
        match wanted.parse::<usize>().ok().and_then(|number| number.checked_sub(1)) {
            Some(at) => {
                // Titles where there are such.
                let titled = CsvColumns::of_titles(first, 1).map(|columns| columns.titles);
                let is_title = titled.is_some();
                let titles = titled.unwrap_or_default();
                Ok((
                    CsvColumns { sign, values: vec![(at, String::new())], titles, is_allow: false },
                    is_title,
                ))
            }
            None => {
                let titles: Vec<String> = titles_of(first, sign).into_iter().take(20).collect();
                Err(format!("unknown column {wanted}; there are: {}", titles.join(", ")))
            }
        }
    }

    /// Takes what is in a row.
    pub fn take(&self, cells: &[String], number: u64, collect: &mut Collect<'_>) -> Result<(), ReadError> {
        let cell = |titles: &[&str]| {
            let at =
                titles.iter().filter_map(|title| self.titles.iter().position(|known| is_same(known, title)));
            at.filter_map(|at| cells.get(at)).map(|cell| cell.trim()).find(|cell| !is_nothing(cell))
        };
        let reference = Reference {
            line: number,
            id: cell(ID).map(str::to_owned),
            title: cell(TITLE).map(str::to_owned),
            description: cell(DESCRIPTION).map(str::to_owned),
            tags: cell(TAGS).map(tags).unwrap_or_default(),
            link: cell(LINK).map(str::to_owned),
            confidence: cell(CONFIDENCE).and_then(confidence),
            valid_until: cell(UNTIL).and_then(moment),
            time: cell(TIME).and_then(moment),
        };
        let mut is_any = false;
        for (at, title) in &self.values {
            let Some(text) = cells.get(*at).map(|cell| cell.trim()).filter(|cell| !is_nothing(cell)) else {
                continue;
            };
            is_any = true;
            let kind = cell(TYPE).map(str::to_ascii_lowercase).unwrap_or_default();
            let kind = match title.as_str() {
                title if is_question(title) => "dns",
                title if KINDS.contains(&title) => title,
                _ => kind.as_str(),
            };
            let action = if self.is_allow { Action::Allow } else { Action::Watch };
            let is_context = cell(FOR_DETECTION).is_some_and(|flag| matches!(flag, "0" | "false" | "False"));
            match use_of_words(kind) {
                Use::Take { .. } | Use::Host if is_context => {
                    collect.skip(Reason::NotForDetection, number, text);
                }
                Use::Take { below } => collect.text(text, below, action, reference.clone())?,
                Use::Host => {
                    let url = if text.contains("//") { text.to_owned() } else { format!("http://{text}") };
                    collect.text(&url, false, action, reference.clone())?;
                }
                // A type that nobody knows does not hide what the cell says plainly.
                Use::Unknown if cell(TYPE).is_none() || !is_context && is_plainly(text) => {
                    collect.text(text, true, action, reference.clone())?;
                }
                Use::Unknown => collect.skip(Reason::Type, number, &format!("{kind} {text}")),
                Use::Skip(reason) => collect.skip(reason, number, text),
            }
        }
        if !is_any {
            collect.skip(Reason::NoIndicator, number, cells.first().map_or("", String::as_str));
        }
        if collect.left_out().is_open() && !self.is_allow {
            self.look_at_others(cells, collect);
        }
        Ok(())
    }

    /// Looks for indicators in the columns that are not taken.
    fn look_at_others(&self, cells: &[String], collect: &mut Collect<'_>) {
        let is_taken = |at: usize| self.values.iter().any(|(value, _)| *value == at);
        let taken: Vec<&str> =
            self.values.iter().filter_map(|(at, _)| cells.get(*at)).map(String::as_str).collect();
        for (at, cell) in cells.iter().enumerate().filter(|(at, _)| !is_taken(*at)) {
            match self.titles.get(at) {
                Some(title) if is_note(title) => {}
                Some(title) => collect.left_out().look(title, cell, &taken),
                None => collect.left_out().look(&(at + 1).to_string(), cell, &taken),
            }
        }
    }
}

/// Whether a title is this one, but for blanks and hyphens.
fn is_same(known: &str, title: &str) -> bool {
    let signs = |b: u8| if matches!(b, b' ' | b'-') { b'_' } else { b };
    known.len() == title.len() && known.bytes().map(signs).eq(title.bytes())
}

/// Whether a cell is an address, a URL, or a name with an end that names have and no name of a file.
fn is_plainly(text: &str) -> bool {
    match value::read(text, false) {
        Ok(Values::One(Value::Name(name) | Value::Domain(name))) => {
            let last = name.labels().last().map(Vec::as_slice).unwrap_or_default().to_vec();
            has_known_end(&name) && (text.contains("://") || !is_file_ending(&last))
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

pub fn is_nothing(cell: &str) -> bool {
    matches!(cell, "" | "None" | "none" | "null" | "NULL" | "-" | "n/a" | "N/A")
}

fn tags(cell: &str) -> Vec<String> {
    cell.split([',', '|', ';']).map(str::trim).filter(|tag| !is_nothing(tag)).map(str::to_owned).collect()
}

fn confidence(cell: &str) -> Option<u8> {
    let number = cell.trim_end_matches('%').parse::<f64>().ok()?;
    (0.0..=100.0).contains(&number).then_some(number as u8)
}

/// What divides cells by a line that says nothing else, as Excel writes it before a table: `sep=;`.
pub fn said_sign(line: &str) -> Option<char> {
    let sign = line.trim_start_matches('\u{feff}').trim_matches('"').strip_prefix("sep=")?;
    let mut signs = sign.trim_end_matches(['\r', '\n']).chars();
    signs.next().filter(|sign| SIGNS.contains(sign) && signs.next().is_none())
}

/// The cells of a row (RFC 4180, and spaces around cells), and whether a quotation mark is open at its end.
pub fn cells(line: &str, sign: char) -> (Vec<String>, bool) {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' if quoted => quoted = false,
            '"' if cell.trim().is_empty() => {
                cell.clear();
                quoted = true;
            }
            c if c == sign && !quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    (cells, quoted)
}
