//! MISP: attributes and events, and its words for types.

use serde::Deserialize;

use super::collect::Collect;
use super::lenient::{Few, Object, Scalar};
use super::reason::Reason;
use super::{Action, ReadError, Reference};
use crate::base::time::{parse_date, parse_rfc3339};

//--- types ----------------------------------------------------------------------------------------------------------

/// What is made of a type of indicator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Its value is read; whether a bare name means all below it.
    Take {
        /// So it is.
        below: bool,
    },
    /// Its value is a URL, of which the host is taken.
    Host,
    /// It is of no use here.
    Skip(Reason),
    /// Nobody knows it.
    Unknown,
}

/// What is made of a type as MISP, ThreatFox and other tables call it, in lower case.
pub fn use_of(kind: &str) -> Use {
    match kind {
        "" | "domain" | "domain|ip" | "domain-name" | "domain_name" | "domainname" | "fqdn" | "indicator"
        | "dns" => Use::Take { below: true },
        "hostname" | "hostname|port" | "host" | "domain:port" | "hostname:port" => Use::Take { below: false },
        "ip-dst" | "ip-src" | "ip-dst|port" | "ip-src|port" | "ip" | "ipv4" | "ipv6" | "ip:port"
        | "ipv4-addr" | "ipv6-addr" | "ip_address" | "ipaddress" | "ip address" | "address" | "addr"
        | "cidr" | "network" | "subnet" | "ip-range" | "netblock" | "dst_ip" | "dest_ip" | "src_ip"
        | "ip-cidr" | "dst" | "dest" | "dst_host" | "dest_host" | "remote_ip" | "remoteip"
        | "destination_ip" | "destination.ip" | "destination.domain" | "url.domain" => {
            Use::Take { below: false }
        }
        "url" | "c2-url" | "download-url" | "remoteurl" | "remote_url" | "url.full" => Use::Host,
        _ if kind.starts_with("email") || kind.contains("e-mail") => Use::Skip(Reason::Mail),
        _ if is_hash(kind) => Use::Skip(Reason::Hash),
        _ => Use::Unknown,
    }
}

/// The same of a type as people call it in tables, in lower case: `ipv4 address`, `**domain**`, `domains`, `c2 domain`.
pub fn use_of_words(kind: &str) -> Use {
    let known = use_of(kind);
    if known != Use::Unknown {
        return known;
    }
    let words: Vec<&str> = kind
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| match word.strip_suffix("es") {
            Some(address) if address.ends_with("ss") => address,
            _ if word.ends_with("ss") || word == "dns" => word,
            _ => word.strip_suffix('s').unwrap_or(word),
        })
        .collect();
    let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
    if has(&["mail", "email"]) {
        Use::Skip(Reason::Mail)
    } else if has(NOT_OF_DNS) {
        Use::Skip(Reason::Type)
    } else if has(&["url", "uri"]) {
        Use::Host
    } else if has(&["host", "hostname"]) {
        Use::Take { below: false }
    } else if has(&["domain", "fqdn", "domainname", "dns", "subdomain", "nameserver"]) {
        Use::Take { below: true }
    } else if has(&["ip", "ipv4", "ipv6", "ipaddress", "cidr", "netblock", "network", "subnet"]) {
        Use::Take { below: false }
    } else {
        Use::Unknown
    }
}

/// Words of types that no DNS log has.
const NOT_OF_DNS: &[&str] = &[
    "account",
    "actor",
    "agent",
    "asn",
    "attachment",
    "bitcoin",
    "btc",
    "campaign",
    "certificate",
    "cookie",
    "cve",
    "dkim",
    "file",
    "filename",
    "filepath",
    "key",
    "mac",
    "malware",
    "mutex",
    "path",
    "pattern",
    "pipe",
    "port",
    "process",
    "regkey",
    "registry",
    "serial",
    "service",
    "sigma",
    "snort",
    "soa",
    "target",
    "text",
    "user",
    "vulnerability",
    "wallet",
    "whois",
    "x509",
    "yara",
];

fn is_hash(kind: &str) -> bool {
    ["md5", "sha1", "sha-1", "sha2", "sha3", "sha5", "sha-", "hash", "ssdeep", "tlsh", "ja3", "jarm", "fuzzy"]
        .iter()
        .any(|part| kind.contains(part))
}

/// A moment as lists write it: RFC 3339, a day, epoch seconds.
pub fn moment(text: &str) -> Option<u64> {
    let text = text.trim().trim_end_matches(" UTC");
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Milliseconds have so many digits that they would be far away.
        let number = text.parse::<u64>().ok().filter(|secs| *secs > 0);
        return number.map(|number| if number >= 100_000_000_000 { number / 1000 } else { number });
    }
    parse_rfc3339(text).or_else(|_| parse_date(text)).ok()
}

//--- attributes -----------------------------------------------------------------------------------------------------

/// An attribute, as far as it is of use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Attribute {
    #[serde(rename = "type")]
    kind: Scalar,
    value: Scalar,
    uuid: Scalar,
    comment: Scalar,
    to_ids: Scalar,
    deleted: Scalar,
    timestamp: Scalar,
    last_seen: Scalar,
    event_uuid: Scalar,
    #[serde(rename = "Event")]
    event: Object<Named>,
    #[serde(rename = "Tag")]
    tags: Few<Object<Named>>,
}

/// What has a name: an event, an organisation, a tag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Named {
    pub info: Scalar,
    pub name: Scalar,
    pub uuid: Scalar,
}

/// An event, as far as its attributes inherit of it.
#[derive(Debug, Clone, Default)]
pub struct Event {
    /// What it is about.
    pub info: Scalar,
    /// Its id.
    pub uuid: Scalar,
    /// Who wrote it.
    pub org: Scalar,
    /// Its tags.
    pub tags: Vec<Object<Named>>,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// Takes an attribute, with what it inherits.
///
/// # Errors
///
/// As [`super::read`].
pub fn take(
    attribute: &Attribute,
    line: u64,
    event: &Event,
    collect: &mut Collect<'_>,
) -> Result<(), ReadError> {
    let kind = attribute.kind.text().unwrap_or_default().to_ascii_lowercase();
    let value = attribute.value.text().unwrap_or_default();
    if attribute.deleted.is_yes() || event.deleted {
        collect.skip(Reason::Revoked, line, value);
        return Ok(());
    }
    let (below, is_url) = match use_of(&kind) {
        Use::Take { below } if !kind.is_empty() => (below, false),
        Use::Host => (false, true),
        Use::Skip(reason) => {
            collect.skip(reason, line, value);
            return Ok(());
        }
        Use::Take { .. } | Use::Unknown => {
            collect.skip(Reason::Type, line, &format!("{kind} {value}"));
            return Ok(());
        }
    };
    if attribute.to_ids.is_no() {
        collect.skip(Reason::NotForDetection, line, value);
        return Ok(());
    }
    let named = &attribute.event.0;
    let text = |own: &Scalar, other: &Scalar| own.text().or(other.text()).map(str::to_owned);
    let mut tags: Vec<String> = Vec::new();
    for tag in attribute.tags.0.iter().chain(&event.tags).filter_map(|tag| tag.0.name.text()) {
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    let event_id = named.uuid.text().or(attribute.event_uuid.text()).or(event.uuid.text());
    let reference = Reference {
        line,
        id: attribute.uuid.text().map(str::to_owned),
        title: text(&named.info, &event.info),
        description: attribute.comment.text().map(str::to_owned),
        tags,
        link: event_id.map(|id| format!("misp:event:{id}")),
        confidence: None,
        valid_until: None,
        time: attribute.last_seen.text().or(attribute.timestamp.text()).and_then(moment),
    };
    if is_url && !value.contains("//") {
        return collect.text(&format!("http://{value}"), false, Action::Watch, reference);
    }
    collect.text(value, below, Action::Watch, reference)
}
