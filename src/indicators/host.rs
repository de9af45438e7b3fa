//! Hosts in texts: behind a scheme, with a port, as a name or an address; and numbers that are neither.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::dns::{Name, has_listed_suffix};

/// Names under which no suffix is listed and names are met all the same: in labs, in offices, in examples.
const UNLISTED: &[&str] = &[
    "arpa",
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localhost",
    "onion",
    "private",
    "test",
];

/// Whether a name has an end that names have.
pub fn has_known_end(name: &Name) -> bool {
    let shown = name.to_string();
    let last = shown.rsplit('.').next().unwrap_or_default();
    shown.contains('.') && (UNLISTED.contains(&last) || has_listed_suffix(name))
}

/// Text behind a scheme, whatever that is: `https://`, `hxxp:\\`, `meow://`, `mailto:`.
pub fn without_scheme(text: &str) -> &str {
    if let Some(rest) = text.strip_prefix("//") {
        return rest;
    }
    let in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '+' | '-' | '_' | ':' | ' ');
    if let Some((scheme, rest)) = text.split_once("://") {
        let scheme = scheme.trim_end();
        if !scheme.is_empty() && scheme.chars().all(in_scheme) {
            return rest.trim_start_matches(['/', ' ']);
        }
    }
    let (scheme, rest) = match text.split_once("//") {
        Some((scheme, rest)) => (scheme, rest), // `http//`
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let scheme = scheme.trim_end_matches([':', ' ']);
    let has_sign = text.contains(':') || text.contains("//");
    // A port is no host: `http:443` is a host of that name.
    let is_port = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    if has_sign && !is_port && is_scheme(scheme) { rest.trim_start_matches(['/', ' ']) } else { text }
}

/// Whether this is a scheme that also stands in front of a host where its slashes are missing.
pub fn is_scheme(text: &str) -> bool {
    const KNOWN: &[&str] = &[
        "http", "https", "hxxp", "hxxps", "hxtp", "hxtps", "htxp", "htxps", "h**p", "h**ps", "ftp", "ftps",
        "fxp", "meow", "mailto", "sip", "sips", "ws", "wss", "tcp", "udp", "dns",
    ];
    KNOWN.iter().any(|known| known.eq_ignore_ascii_case(text))
}

/// Whether this is a host, with or without a port and a user, that can be reached.
pub fn is_reached(host: &str) -> bool {
    let host = without_port(host.rsplit_once('@').map_or(host, |(_, host)| host));
    is_host(host) || host.parse::<IpAddr>().is_ok()
}

/// Whether this can only be a host name: two labels at least, of which the last is no number.
pub fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
    let Some((front, last)) = text.trim_end_matches('.').rsplit_once('.') else { return false };
    !front.is_empty() && text.chars().all(plain) && !last.is_empty() && numeric(text).is_none()
}

/// Text without brackets around an address and without a port.
pub fn without_port(text: &str) -> &str {
    if let Some((inner, behind)) = text.strip_prefix('[').and_then(|text| text.split_once(']'))
        && inner.contains(['.', ':'])
        && (behind.is_empty() || behind.starts_with(':'))
    {
        return inner;
    }
    // Behind an address of IPv6 it is none where that makes no other address: `2001:db8::66:50000`, `2001:db8::66.443`.
    let is_v6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    let is_port = |port: &str| port.parse::<u16>().is_ok() && port.bytes().all(|b| b.is_ascii_digit());
    if text.contains("::") || text.matches(':').count() > 6 {
        let split = text.rsplit_once([':', '.']).filter(|(host, port)| is_port(port) && is_v6(host));
        if let (Some((host, _)), false) = (split, is_v6(text)) {
            return host;
        }
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => text,
    }
}

/// The last address of a range: as it is written, or by its last part alone, `192.0.2.3-9`.
pub fn range_end(first: IpAddr, last: &str) -> Option<IpAddr> {
    if let Ok(last) = last.parse::<IpAddr>() {
        return Some(last);
    }
    let IpAddr::V4(first) = first else { return None };
    let [a, b, c, from] = first.octets();
    let is_number = last.bytes().all(|b| b.is_ascii_digit());
    let to = last.parse::<u8>().ok().filter(|to| is_number && *to > from)?;
    Some(Ipv4Addr::new(a, b, c, to).into())
}

/// Whether a text is an address of IPv4 with something behind it that makes it neither that nor a name: `192.0.2.7-x`, `192.0.2.7_80`.
pub fn has_tail(text: &str) -> bool {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (address, tail) = text.split_at_checked(end).unwrap_or_default();
    !tail.is_empty() && !tail.contains('.') && address.parse::<Ipv4Addr>().is_ok()
}

/// Why a text that ends in a number, as an address of IPv4 does and a name does not, is no address.
pub fn numeric(text: &str) -> Option<String> {
    let text = text.trim_end_matches('.');
    let parts: Vec<&str> = text.split('.').collect();
    let last = parts.last().copied().unwrap_or_default();
    let is_decimal = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_open = |part: &&str| is_decimal(part) || matches!(*part, "x" | "X" | "xx" | "xxx");
    if is_open(&last) && !is_decimal(&last) && parts.len() == 4 && parts.iter().all(is_open) {
        return Some("an address has no pattern: a block is 192.0.2.0/24".to_owned());
    }
    let hex = |part: &str| part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")).map(str::to_owned);
    let is_hex = hex(last).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    if !is_decimal(&last) && !is_hex {
        return None;
    }
    if parts.len() == 4 && parts.iter().all(is_decimal) {
        if text.parse::<IpAddr>().is_ok() {
            return None;
        }
        let wrong = parts.iter().find(|part| part.parse::<u64>().map_or(true, |number| number > 255));
        return Some(match wrong {
            Some(part) => format!("{part} is not a part of an address, which is 0 to 255"),
            None => "a part of the address begins with 0, which some take for octal and some for decimal"
                .to_owned(),
        });
    }
    // As `inet_aton` and browsers read it: the last part fills what is left.
    let number = |part: &str| match (hex(part), part) {
        (Some(digits), _) => u64::from_str_radix(&digits, 16).ok(),
        (None, part) => part.parse::<u64>().ok(),
    };
    let numbers: Option<Vec<u64>> = parts.iter().map(|part| number(part)).collect();
    let address = numbers.filter(|numbers| numbers.len() <= 4).and_then(|numbers| {
        let (last, front) = numbers.split_last()?;
        let mut bits = *last;
        for (at, part) in front.iter().enumerate() {
            bits |= part.checked_shl(24 - 8 * u32::try_from(at).ok()?)?;
        }
        u32::try_from(bits).ok().filter(|bits| *bits > 0xff_ffff).map(Ipv4Addr::from_bits)
    });
    Some(match address {
        Some(address) => format!("this is not a name; as an address it may be {address}"),
        None => "a name does not end in a number, and this is not an address".to_owned(),
    })
}
