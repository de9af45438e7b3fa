//! Response policy zones (draft-vixie-dnsop-dns-rpz): which names and addresses are not to be resolved.
//!
//! An owner without `*.` is that name alone, one with it all below it; the name itself is taken with these, for whoever
//! lists what is below a domain means it. `rpz-ip` is an address backwards with a length in front. What a trigger does is not
//! looked at, but for `rpz-passthru`, which is an exception.

use std::io::Read;
use std::net::IpAddr;

use super::collect::Collect;
use super::input::ListLines;
use super::reason::Reason;
use super::value::{self, Network, Value, Values};
use super::{Action, ReadError, Reference};

/// Reads a zone.
///
/// # Errors
///
/// As [`super::read`].
pub fn read(input: &mut impl Read, collect: &mut Collect<'_>) -> Result<(), ReadError> {
    let mut lines = ListLines::of(input);
    let mut zone = Zone::default();
    while let Some((number, line)) = lines.next(collect)? {
        zone.line(line, number, collect)?;
    }
    Ok(())
}

#[derive(Default)]
struct Zone {
    /// What owners are relative to, in lower case, without its dot.
    origin: String,
    /// The owner of the record before.
    owner: String,
    /// How many parentheses are open.
    open: usize,
}

impl Zone {
    fn line(&mut self, line: &str, number: u64, collect: &mut Collect<'_>) -> Result<(), ReadError> {
        let text = line.split(';').next().unwrap_or_default();
        let was_open = self.open > 0;
        for c in text.chars() {
            match c {
                '(' => self.open += 1,
                ')' => self.open = self.open.saturating_sub(1),
                _ => {}
            }
        }
        let mut words = text.split_whitespace();
        if was_open || text.trim().is_empty() {
            return Ok(());
        }
        if text.starts_with('$') {
            if let (Some(directive), Some(value)) = (words.next(), words.next())
                && directive.eq_ignore_ascii_case("$ORIGIN")
            {
                self.origin = value.trim_end_matches('.').to_ascii_lowercase();
                collect.title(&self.origin);
            }
            return Ok(());
        }
        if !text.starts_with(char::is_whitespace) {
            self.owner = words.next().unwrap_or_default().to_owned();
        }
        let Some((kind, data)) = record(words) else {
            collect.skip(Reason::NoIndicator, number, line);
            return Ok(());
        };
        if kind == "SOA" {
            if self.origin.is_empty() && self.owner.ends_with('.') {
                self.origin = self.owner.trim_end_matches('.').to_ascii_lowercase();
                collect.title(&self.origin);
            }
            return Ok(());
        }
        let owner = self.relative(&self.owner);
        if owner == "@"
            || owner.is_empty()
            || matches!(kind.as_str(), "NS" | "RRSIG" | "NSEC" | "NSEC3" | "DNSKEY")
        {
            return Ok(());
        }
        self.trigger(&owner, &kind, &data, number, collect)
    }

    /// An owner without the name of the zone.
    fn relative(&self, owner: &str) -> String {
        let Some(absolute) = owner.strip_suffix('.') else { return owner.to_owned() };
        let lower = absolute.to_ascii_lowercase();
        match lower.strip_suffix(self.origin.as_str()) {
            Some("") => "@".to_owned(),
            Some(rest) if !self.origin.is_empty() && rest.ends_with('.') => {
                rest.trim_end_matches('.').to_owned()
            }
            _ => absolute.to_owned(),
        }
    }

    fn trigger(
        &self,
        owner: &str,
        kind: &str,
        data: &str,
        number: u64,
        collect: &mut Collect<'_>,
    ) -> Result<(), ReadError> {
        let lower = owner.to_ascii_lowercase();
        let (front, last) = lower.rsplit_once('.').unwrap_or(("", &lower));
        // The old way to say that a name is to be left alone: an alias of itself.
        let is_itself = kind == "CNAME" && data.trim_end_matches('.').eq_ignore_ascii_case(owner);
        let is_pass = kind == "CNAME" && data.trim_end_matches('.').eq_ignore_ascii_case("rpz-passthru");
        let action = if is_pass || is_itself { Action::Allow } else { Action::Watch };
        let reference = Reference::at(number);
        match last {
            "rpz-ip" => match address(front) {
                Some(network) => collect.value(Value::of_network(network), action, reference),
                None => {
                    collect.skip(Reason::NoIndicator, number, owner);
                    Ok(())
                }
            },
            last if last.starts_with("rpz-") => {
                collect.skip(Reason::Trigger, number, owner);
                Ok(())
            }
            _ => match value::read(owner, false) {
                Ok(Values::One(value)) if value.name().is_some() => collect.value(value, action, reference),
                Ok(_) => {
                    collect.skip(Reason::NoIndicator, number, owner);
                    Ok(())
                }
                Err(reason) => {
                    collect.skip(reason, number, owner);
                    Ok(())
                }
            },
        }
    }
}

/// Type and data of a record, behind its time to live and its class.
fn record<'a>(words: impl Iterator<Item = &'a str>) -> Option<(String, String)> {
    const TYPES: &[&str] = &[
        "A", "AAAA", "CNAME", "DNAME", "DNSKEY", "MX", "NS", "NSEC", "NSEC3", "PTR", "RRSIG", "SOA", "SRV",
        "TXT", "CAA", "HTTPS", "SVCB", "NAPTR",
    ];
    let mut words = words.skip_while(|word| {
        word.starts_with(|c: char| c.is_ascii_digit())
            || matches!(word.to_ascii_uppercase().as_str(), "IN" | "CH" | "HS")
    });
    let kind = words.next()?.to_ascii_uppercase();
    (TYPES.contains(&kind.as_str()) || kind.starts_with("TYPE"))
        .then(|| (kind, words.collect::<Vec<_>>().join(" ")))
}

/// The network that `24.0.113.0.203` and `128.bad.zz.db8.2001` are.
fn address(text: &str) -> Option<Network> {
    let mut labels: Vec<&str> = text.split('.').collect();
    let length: u8 = labels.first()?.parse().ok()?;
    labels.remove(0);
    labels.reverse();
    let is_v4 = labels.len() == 4 && labels.iter().all(|label| label.parse::<u8>().is_ok()) && length <= 32;
    let address: IpAddr = match is_v4 {
        true => labels.join(".").parse().ok()?,
        false => {
            let has_gap = labels.contains(&"zz");
            let text = labels.join(":").replace("zz", "");
            let text = match (has_gap, text.starts_with(':'), text.ends_with(':')) {
                (false, ..) => text,
                (true, true, true) => "::".to_owned(),
                (true, true, false) | (true, false, true) if text.contains("::") => text,
                (true, true, false) => format!(":{text}"),
                (true, false, true) => format!("{text}:"),
                (true, false, false) => text,
            };
            IpAddr::V6(text.parse().ok()?)
        }
    };
    Network::new(address, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_backwards() {
        for (text, network) in [
            ("32.7.100.51.198", "198.51.100.7/32"),
            ("24.0.113.0.203", "203.0.113.0/24"),
            ("128.bad.zz.db8.2001", "2001:db8::bad/128"),
            ("48.zz.1.db8.2001", "2001:db8:1::/48"),
            ("128.1.zz", "::1/128"),
            ("128.1.2.3.4.5.6.db8.2001", "2001:db8:6:5:4:3:2:1/128"),
        ] {
            assert_eq!(address(text).map(|network| network.to_string()).as_deref(), Some(network), "{text}");
        }
        for none in ["", "33.1.2.3.4", "32", "32.1.2.3", "x.1.2.3.4", "129.bad.zz.db8.2001"] {
            assert_eq!(address(none), None, "{none}");
        }
    }
}
