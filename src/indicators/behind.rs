//! Names and addresses that stand in a URL behind its host: where a site leads, or what a database is asked about.

use std::collections::HashSet;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;

use super::files::is_file_ending;
use super::text::KEYS;
use super::value::Network;
use super::wrapped::{is_name, is_target};

/// How often a URL may be encoded in another.
const MOST_TIMES: usize = 3;
/// What is divided by these is a part of a path, a key or a value of a parameter.
const DIVIDES: &[char] =
    &['/', '?', '#', '&', '=', ';', ',', '|', '"', '\'', '(', ')', '<', '>', ' ', '+', '{', '}'];
/// Ends of names of programs that sites are made of, beside those of files.
const OF_SITES: &[&str] = &["do"];

/// Names, addresses and URLs that stand in a URL behind its host (`rest`), whoever that is: where a site leads, what it is asked about. As
/// they are, encoded, or in Base64. What may be the name of a file is one of a host where it says so: `/domain/evil.zip`.
pub fn in_path(rest: &str) -> Vec<String> {
    let mut text = rest.to_owned();
    for _ in 0..MOST_TIMES {
        match percent_decode_str(&text).decode_utf8() {
            Ok(once) if once != text => text = once.into_owned(),
            _ => break,
        }
    }
    let mut found = Vec::new();
    // What a URL has for a host may end in anything.
    let mut urls = text.split("://");
    let mut free = vec![urls.next().unwrap_or_default().to_owned()];
    for url in urls {
        let (host, behind) =
            url.split_at_checked(url.find(DIVIDES).unwrap_or(url.len())).unwrap_or((url, ""));
        let at_the_end = |c: char| !c.is_alphanumeric() && c != ']';
        if is_target(host.trim_end_matches(at_the_end)) {
            found.push(format!("http://{}/", host.trim_end_matches(at_the_end)));
        }
        free.push(behind.to_owned());
    }
    for text in &free {
        let (mut before, mut parts) = ("", text.split(DIVIDES).filter(|part| !part.is_empty()).peekable());
        while let Some(part) = parts.next() {
            let (key, value) = labelled(before, part);
            let length = parts.peek().and_then(|next| next.parse::<u8>().ok());
            found.extend(of_part(value, says_host(key), length));
            before = part;
        }
        // Base64 has signs that divide.
        let coded = text.split(['?', '#', '&', '=']).filter(|part| part.contains(['/', '+']));
        found.extend(coded.filter_map(in_base64).flat_map(|text| of_coded(&text)));
    }
    let mut known = HashSet::new();
    found.retain(|text| known.insert(text.clone()));
    found
}

/// What says what a part is, and that part: `domain:evil.example`, as queries have it. A port goes.
fn labelled<'a>(before: &'a str, part: &'a str) -> (&'a str, &'a str) {
    match part.split_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (before, host),
        Some((key, value)) if !part.starts_with('[') && part.parse::<IpAddr>().is_err() => (key, value),
        _ => (before, part),
    }
}

/// Whether a word says that a host comes behind it: `domain`, `ip-address`, `hosts`.
fn says_host(word: &str) -> bool {
    word.split(['-', '_', '.']).any(|word| {
        let word = word.to_ascii_lowercase();
        KEYS.contains(&word.as_str()) || word.strip_suffix('s').is_some_and(|word| KEYS.contains(&word))
    })
}

/// The name, address or URL that a part of a path is. `length` is what comes behind it, where that may be the length of a block.
fn of_part(part: &str, is_said: bool, length: Option<u8>) -> Vec<String> {
    let bare = part.trim_start_matches('[').trim_end_matches([']', '.']);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let is_block = |length: &u8| {
            *length > 7
                && Network::new(address, *length)
                    .is_some_and(|network| network.first() == address && !network.is_one())
        };
        return match length.filter(is_block) {
            Some(length) => vec![format!("{address}/{length}")],
            None if address.is_unspecified() => Vec::new(),
            None => vec![address.to_string()],
        };
    }
    // All below it, as databases and certificates have it.
    let below = bare.strip_prefix("%.").or_else(|| bare.strip_prefix("*."));
    let name = below.unwrap_or(bare);
    let name = name.strip_prefix("3D").unwrap_or(name); // `=` in quoted-printable
    if is_name(name) && !name.contains('*') {
        let end = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let may_be_file = is_file_ending(end.as_bytes()) || OF_SITES.contains(&end.as_str());
        let star = if below.is_some() { "*." } else { "" };
        return if is_said || !may_be_file { vec![format!("{star}{name}")] } else { Vec::new() };
    }
    in_base64(part).map(|text| of_coded(&text)).unwrap_or_default()
}

/// What a text that was in Base64 has in it: a URL and what that has, or a name or an address alone.
fn of_coded(text: &str) -> Vec<String> {
    match text.contains("://") {
        true => in_path(text),
        false if is_name(text) || text.parse::<IpAddr>().is_ok() => vec![text.to_owned()],
        false => Vec::new(),
    }
}

/// The text that is in Base64, with or without what Bing puts before it.
pub fn in_base64(part: &str) -> Option<String> {
    let coded = part.strip_prefix("a1").filter(|rest| rest.starts_with("aHR0c")).unwrap_or(part);
    let bytes = URL_SAFE_NO_PAD.decode(coded.replace('+', "-").replace('/', "_")).ok()?;
    String::from_utf8(bytes).ok().filter(|text| text.len() > 3 && !text.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(url: &str) -> Vec<String> {
        let (_, rest) = url.split_once("//").unwrap();
        in_path(rest.get(rest.find(['/', '?', '#']).unwrap_or(rest.len())..).unwrap())
    }

    #[test]
    fn what_a_database_is_asked_about_is_found() {
        for (url, name) in [
            ("https://www.virustotal.com/gui/domain/evil.example", "evil.example"),
            ("https://www.virustotal.com/gui/domain/www.evil.example/relations", "www.evil.example"),
            ("https://www.virustotal.com/gui/ip-address/203.0.113.66/detection", "203.0.113.66"),
            ("https://www.virustotal.com/gui/search/evil.example/domains", "evil.example"),
            ("https://www.virustotal.com/#/domain/evil.example", "evil.example"),
            ("https://www.virustotal.com/gui/domain/evil.zip/details", "evil.zip"),
            (
                "https://www.virustotal.com/gui/search/https%253A%252F%252Fevil.badtld%252Fx",
                "http://evil.badtld/",
            ),
            ("https://www.virustotal.com/gui/url/aHR0cHM6Ly9ldmlsLmV4YW1wbGUveA", "http://evil.example/"),
            ("https://db.example/d/ZXZpbC5leGFtcGxl", "evil.example"),
            ("https://db.example/d?i=MjAzLjAuMTEzLjY2", "203.0.113.66"),
            ("https://www.shodan.io/host/203.0.113.66", "203.0.113.66"),
            ("https://www.shodan.io/search?query=hostname%3Aevil.example", "evil.example"),
            ("https://search.censys.io/hosts/203.0.113.66?resource=hosts", "203.0.113.66"),
            ("https://search.censys.io/hosts/2001%3Adb8%3A%3A66", "2001:db8::66"),
            ("https://crt.sh/?q=evil.example", "evil.example"),
            ("https://crt.sh/?q=%25.evil.example", "*.evil.example"),
            ("https://crt.sh/?Identity=%.evil.example&exclude=expired", "*.evil.example"),
            ("https://urlscan.io/search/#page.domain%3Aevil.example", "evil.example"),
            ("https://urlscan.io/search/#ip:%22203.0.113.66%22", "203.0.113.66"),
            ("https://urlscan.io/domain/evil.example", "evil.example"),
            ("https://who.is/whois/evil.example", "evil.example"),
            ("https://bgp.he.net/net/203.0.113.0/24#_dns", "203.0.113.0/24"),
            ("https://bgp.he.net/ip/203.0.113.66/32", "203.0.113.66"),
            ("https://mxtoolbox.com/SuperTool.aspx?action=mx%3aevil.example&run=toolpage", "evil.example"),
            ("https://dns.google/resolve?name=evil.example.&type=A", "evil.example"),
            ("https://www.google.com/search?q=site:evil.example+login", "evil.example"),
            ("https://to.example/?u=https%3A%2F%2Fevil.example%2Fx", "http://evil.example/"),
            ("https://to.example/?u=https://user:pw@evil.badtld:8443/x", "http://user:pw@evil.badtld:8443/"),
            ("https://to.example/?u=http://[2001:db8::66]:80/", "http://[2001:db8::66]:80/"),
            ("https://to.example/r?url=evil.example", "evil.example"),
            ("https://to.example/r?url=3Devil.example", "evil.example"),
            ("https://to.example/r?url=aHR0cHM6Ly9ldmlsLmV4YW1wbGUveA==", "http://evil.example/"),
            ("https://to.example/r?url=aHR0cHM6Ly9ldmlsLmV4YW1wbGUvPz8/Pg==", "http://evil.example/"),
            ("https://cdn.ampproject.org/v/s/evil.example/x?amp_js_v=0.1", "evil.example"),
            ("https://db.example/check?host=evil.example:8443", "evil.example"),
        ] {
            assert_eq!(found(url), [name], "{url}");
        }
    }

    #[test]
    fn files_versions_and_mail_addresses_are_none() {
        for url in [
            "https://evil.example/gate.php?id=1#top",
            "https://evil.example/a/install.sh",
            "https://evil.example/x/login.do;jsessionid=1A",
            "https://evil.example/payload.zip",
            "https://evil.example/lib/jquery-3.5.1.min.js?v=1.2.3",
            "https://evil.example/?email=bob@corp.example",
            "https://evil.example/?u=john.doe&next=/login.html",
            "https://evil.example/0.0.0.0",
            "https://evil.example/dGVzdGluZyB0aGlz",
            "https://evil.example:8443",
            "https://evil.example/x.",
        ] {
            assert_eq!(found(url), [""; 0], "{url}");
        }
    }
}
