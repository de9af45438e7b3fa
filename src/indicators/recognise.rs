//! Finding out what a list is, by its start.

use std::net::IpAddr;

use super::csv::{self, SIGNS};
use super::text::readable;
use super::words::TO;
use super::{Format, ReadError, list, value};

/// Lines that are looked at.
const SAMPLE: usize = 300;
/// Bytes in which there is no zero byte, in a text.
const TEXT: usize = 4096;

/// Refuses what is no list at all.
///
/// # Errors
///
/// [`ReadError::NoList`], and what it is.
pub fn check(head: &[u8]) -> Result<(), ReadError> {
    let no_list = |what: &str, hint: &'static str| Err(ReadError::NoList { what: what.to_owned(), hint });
    if head.get(..TEXT.min(head.len())).is_some_and(|start| start.contains(&0)) {
        return no_list("it is not text", "a text: a list, JSON, CSV");
    }
    let start: String = readable(head.get(..TEXT.min(head.len())).unwrap_or_default()).to_lowercase();
    let text = start.trim_start();
    let markup = ["<!doctype html", "<html", "<head", "<body", "<script", "<!--", "<div", "<p>", "<title"];
    if markup.iter().any(|tag| text.starts_with(tag)) || text.starts_with("<?xml") && text.contains("<html") {
        let hint = "the address of the list itself: servers answer with a page where one must log in, or where there is nothing";
        return no_list("it is a page of HTML, and no list", hint);
    }
    if text.starts_with("<?xml")
        || text.starts_with("<stix")
        || text.starts_with("<rss")
        || text.starts_with("<feed")
    {
        return no_list("it is XML", "JSON or text of the same: STIX 2.1, MISP's JSON");
    }
    let is_rule = |line: &str| {
        ["alert ", "drop ", "reject ", "pass "].iter().any(|word| line.starts_with(word))
            && line.contains("sid:")
    };
    if start.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).take(3).any(is_rule) {
        return no_list(
            "these are rules of Suricata or Snort",
            "the indicators that they were made of: MISP's JSON",
        );
    }
    Ok(())
}

/// Finds out how a list is written.
///
/// # Errors
///
/// As [`check`].
pub fn format(head: &[u8], has_column: bool) -> Result<Format, ReadError> {
    check(head)?;
    if has_column {
        return Ok(Format::Csv);
    }
    let text = readable(head);
    let start = text.trim_start();
    if let Some(format) = json(start) {
        return Ok(format);
    }
    let mut lines: Vec<&str> = start.lines().take(SAMPLE + 1).collect();
    // The last one may have been cut.
    if lines.len() > 1 {
        lines.pop_if(|_| !start.ends_with('\n') || lines_are_many(start));
    }
    if lines.iter().any(|line| line.starts_with("#fields\t")) {
        return Ok(Format::Zeek);
    }
    if lines.iter().any(is_mail_header) {
        return Ok(Format::Prose);
    }
    if csv::CsvColumns::of_head(&lines).is_some() {
        return Ok(Format::Csv);
    }
    let is_comment = |line: &&str| {
        line.is_empty()
            || line.starts_with(['#', ';', '!'])
            || line.starts_with("//")
            || line.starts_with('[')
    };
    let is_adblock = lines.iter().any(|line| line.starts_with("[Adblock") || line.starts_with("! "));
    let data: Vec<&str> = lines.iter().map(|line| line.trim()).filter(|line| !is_comment(line)).collect();
    let count = |is_so: fn(&str) -> bool| data.iter().filter(|line| is_so(line)).count();
    let most = |part: usize| part * 2 > data.len();
    if count(is_zone_start) > 0 || most(count(is_record)) {
        return Ok(Format::Rpz);
    }
    if is_adblock || most(count(|line| line.starts_with("||") || line.starts_with("@@"))) {
        return Ok(Format::Adblock);
    }
    if most(count(is_dnsmasq)) {
        return Ok(Format::Dnsmasq);
    }
    if most(count(is_hosts)) {
        return Ok(Format::Hosts);
    }
    if !data.is_empty() && count(is_rank) == data.len() {
        return Ok(Format::Tranco);
    }
    if !data.is_empty() && data.iter().all(|line| list::dataset(line).is_some()) {
        return Ok(Format::Plain);
    }
    if lines.iter().any(|line| line.starts_with(';')) && !data.is_empty() && data.iter().all(has_remark) {
        return Ok(Format::Plain);
    }
    if is_table(&data) {
        return Ok(Format::Csv);
    }
    let words = count(|line| without_comment(line).split_whitespace().count() > 2);
    Ok(if words * 3 >= data.len().max(1) { Format::Prose } else { Format::Plain })
}

/// Whether a line is of the header of a mail that says how it is written.
fn is_mail_header(line: &&str) -> bool {
    ["content-transfer-encoding:", "mime-version:"]
        .iter()
        .any(|key| line.get(..key.len()).is_some_and(|start| start.eq_ignore_ascii_case(key)))
}

/// Whether there is one indicator in a line, and behind a semicolon what is said of it: `192.0.2.0/24 ; SBL1`.
fn has_remark(line: &&str) -> bool {
    let value = line.split(';').next().unwrap_or_default().trim();
    !value.contains(char::is_whitespace) && value.contains(['.', ':']) && value::read(value, true).is_ok()
}

/// Whether there are more lines than are looked at.
fn lines_are_many(text: &str) -> bool {
    text.lines().nth(SAMPLE).is_some()
}

fn without_comment(line: &str) -> &str {
    line.split(" #").next().unwrap_or_default().split("\t#").next().unwrap_or_default()
}

/// Whether it is JSON.
pub fn is_json(head: &[u8]) -> bool {
    json(readable(head).trim_start()).is_some()
}

/// Which JSON it is, if it is any.
fn json(text: &str) -> Option<Format> {
    let rest = text.strip_prefix(['{', '['])?.trim_start();
    let is_json = match text.starts_with('{') {
        true => rest.starts_with(['"', '}']),
        // `[Adblock Plus]` and `[2001:db8::1]` are none.
        false => rest.starts_with(['{', '[', '"', ']']),
    };
    if !is_json {
        return None;
    }
    let has = |key: &str| text.contains(&format!("\"{key}\""));
    Some(if has("list") && (has("matching_attributes") || has("version")) && !has("Event") {
        Format::Warninglist
    } else if has("objects") || has("spec_version") || has("bundle") {
        Format::Stix
    } else if has("Event") || has("Attribute") || has("response") {
        Format::Misp
    } else {
        Format::Json
    })
}

fn is_zone_start(line: &str) -> bool {
    let line = line.to_ascii_uppercase();
    line.starts_with("$TTL")
        || line.starts_with("$ORIGIN")
        || line.split_whitespace().take(4).any(|word| word == "SOA")
}

fn is_record(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.len() >= 3 && words.iter().skip(1).take(3).any(|word| matches!(*word, "CNAME" | "cname"))
}

fn is_dnsmasq(line: &str) -> bool {
    ["local=/", "address=/", "server=/"].iter().any(|key| line.starts_with(key))
}

fn is_hosts(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split_whitespace();
    words.next().is_some_and(|first| first.parse::<IpAddr>().is_ok())
        // `192.0.2.3 - 192.0.2.9` is a range.
        && words.next().is_some_and(|name| {
            name.parse::<f64>().is_err()
                && name.contains(char::is_alphanumeric)
                && !(TO.contains(&name) && words.next().is_some_and(|last| last.parse::<IpAddr>().is_ok()))
        })
}

/// `1,google.com`
fn is_rank(line: &str) -> bool {
    line.split_once(',').is_some_and(|(rank, name)| {
        !rank.is_empty()
            && rank.bytes().all(|b| b.is_ascii_digit())
            && name.contains('.')
            && !name.contains(',')
    })
}

/// Whether all lines have as many cells, two at least.
fn is_table(data: &[&str]) -> bool {
    data.len() > 1
        && SIGNS.iter().any(|sign| {
            let first = data.first().map_or(0, |line| csv::cells(line, *sign).0.len());
            first > 1 && data.iter().all(|line| csv::cells(line, *sign).0.len() == first)
        })
}
