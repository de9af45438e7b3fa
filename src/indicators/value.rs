//! What is looked for, in the ledger's own words.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::host::{has_tail, range_end};
use super::reason::Reason;
use super::text::{clean, edges, is_digest, is_plain, numeric, seen};
use crate::dns::{Name, push_address_key, registrable_length};

/// The longest text that is looked into, in bytes.
const MAX_TEXT: usize = 32 << 10;
/// How many things one in the other may be around a value.
const MOST_LAYERS: usize = 8;
/// The widest network of IPv4 that says something.
const WIDEST_V4: u8 = 10;
/// The same of IPv6.
const WIDEST_V6: u8 = 20;
/// Names of the machine itself, as hosts files have them.
const LOCAL: &[&str] = &[
    "localhost",
    "localhost.localdomain",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
];

//--- Value ----------------------------------------------------------------------------------------------------------

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueKind {
    /// One name.
    Name,
    /// A name and all below it.
    Domain,
    /// One address.
    Address,
    /// A network of addresses.
    Network,
}

impl ValueKind {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            ValueKind::Name => "name",
            ValueKind::Domain => "domain",
            ValueKind::Address => "address",
            ValueKind::Network => "network",
        }
    }
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// This name.
    Name(Name),
    /// This name and all below it.
    Domain(Name),
    /// This address; one of IPv4 that is written as one of IPv6 is one of IPv4.
    Address(IpAddr),
    /// An address in this network.
    Network(Network),
}

impl Value {
    /// Its kind.
    pub fn kind(&self) -> ValueKind {
        match self {
            Value::Name(_) => ValueKind::Name,
            Value::Domain(_) => ValueKind::Domain,
            Value::Address(_) => ValueKind::Address,
            Value::Network(_) => ValueKind::Network,
        }
    }

    /// The name, if it is about one.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Value::Name(name) | Value::Domain(name) => Some(name),
            Value::Address(_) | Value::Network(_) => None,
        }
    }

    /// The addresses, if it is about such.
    pub fn network(&self) -> Option<Network> {
        match self {
            Value::Name(_) | Value::Domain(_) => None,
            Value::Address(address) => Some(Network::of(*address)),
            Value::Network(network) => Some(*network),
        }
    }

    /// That of a network; one of a single address is that address.
    pub fn of_network(network: Network) -> Value {
        match network.is_one() {
            true => Value::Address(network.first()),
            false => Value::Network(network),
        }
    }

    /// Why it is not looked for, if that is so: everybody would be hit.
    pub fn refused(&self) -> Option<Reason> {
        match self {
            Value::Name(name) if is_local(name) => Some(Reason::Local),
            // A label and the end of the name.
            Value::Name(name) => {
                let is_word = memchr::memchr_iter(0, name.key()).count() <= 2;
                is_word.then_some(Reason::PublicSuffix)
            }
            Value::Domain(name) if is_local(name) => Some(Reason::Local),
            Value::Domain(name) => registrable_length(name.key()).is_none().then_some(Reason::PublicSuffix),
            Value::Address(_) | Value::Network(_) => self.network().and_then(Network::refused),
        }
    }
}

impl fmt::Display for Value {
    /// The name in presentation form, the address, or the network with its length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Name(name) | Value::Domain(name) => name.fmt(f),
            Value::Address(address) => address.fmt(f),
            Value::Network(network) => network.fmt(f),
        }
    }
}

fn is_local(name: &Name) -> bool {
    // Those names are short, and this is asked of millions.
    name.key().len() <= 24 && LOCAL.contains(&name.to_string().as_str())
}

//--- Network --------------------------------------------------------------------------------------------------------

/// Addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    first: IpAddr,
    length: u8,
}

impl Network {
    /// That of an address and a length; bits behind that are ignored. `None` when there is no such length.
    pub fn new(address: IpAddr, length: u8) -> Option<Network> {
        // `::ffff:192.0.2.0/120`
        let (address, length) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if length >= 96 => (v4, length - 96),
            _ => (address, length),
        };
        let first = match address {
            IpAddr::V4(v4) if length <= 32 => {
                let host = u32::MAX.checked_shr(length.into()).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & !host))
            }
            IpAddr::V6(v6) if length <= 128 => {
                let host = u128::MAX.checked_shr(length.into()).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !host))
            }
            _ => return None,
        };
        Some(Network { first, length })
    }

    /// That of one address.
    pub fn of(address: IpAddr) -> Network {
        let first = address.to_canonical();
        Network { first, length: if first.is_ipv4() { 32 } else { 128 } }
    }

    /// The first address.
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// The last address.
    pub fn last(self) -> IpAddr {
        match self.first {
            IpAddr::V4(v4) => {
                let host = u32::MAX.checked_shr(self.length.into()).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() | host).into()
            }
            IpAddr::V6(v6) => {
                let host = u128::MAX.checked_shr(self.length.into()).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() | host).into()
            }
        }
    }

    /// How many bits are shared.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether it is one address.
    pub fn is_one(self) -> bool {
        self.length == if self.first.is_ipv4() { 32 } else { 128 }
    }

    /// Whether an address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last()
    }

    fn overlaps(self, other: Network) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    /// The networks that make up a range, the widest that fit.
    pub fn of_range(first: IpAddr, last: IpAddr) -> Vec<Network> {
        let mut networks = Vec::new();
        let (v4, widest) = (first.is_ipv4(), if first.is_ipv4() { 32 } else { 128 });
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        if v4 != last.is_ipv4() || first > last {
            return networks;
        }
        let (mut from, to) = (bits(first), bits(last));
        loop {
            // As many host bits as the start has zeros behind, and as fit.
            let mut host = from.trailing_zeros().min(widest);
            let end = |host: u32| from | 1u128.checked_shl(host).map_or(u128::MAX, |size| size - 1);
            while end(host) > to {
                host -= 1;
            }
            let address = match v4 {
                true => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(from).unwrap_or(u32::MAX))),
                false => IpAddr::V6(Ipv6Addr::from_bits(from)),
            };
            networks
                .extend(u8::try_from(widest - host).ok().and_then(|length| Network::new(address, length)));
            match end(host) {
                end if end >= to => return networks,
                end => from = end + 1,
            }
        }
    }

    fn refused(self) -> Option<Reason> {
        let (widest, reserved) = match self.first {
            IpAddr::V4(_) => (WIDEST_V4, RESERVED_V4),
            IpAddr::V6(_) => (WIDEST_V6, RESERVED_V6),
        };
        // `10.0.0.0/8` is private first of all.
        let is_reserved = |reserved: &Network| reserved.length <= self.length && reserved.overlaps(self);
        if reserved.iter().any(is_reserved) {
            return Some(Reason::Private);
        }
        if self.length < widest {
            return Some(Reason::TooWide);
        }
        reserved.iter().any(|reserved| reserved.overlaps(self)).then_some(Reason::Private)
    }

    /// Appends what sorts as the ledger's addresses do, a wide network before those in it.
    pub fn push_key(self, out: &mut Vec<u8>) {
        push_address_key(self.first, out);
        out.push(self.length);
    }

    /// The one that such bytes are of.
    pub fn from_key(key: &[u8]) -> Option<Network> {
        let (&length, address) = key.split_last()?;
        let (tag, bytes) = address.split_first()?;
        let first = match (tag, bytes.len()) {
            (4, 4) => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
            (6, 16) => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
            _ => return None,
        };
        Some(Network { first, length })
    }
}

const fn v4(a: u8, b: u8, length: u8) -> Network {
    Network { first: IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)), length }
}

const fn v6(a: u16, h: u16, length: u8) -> Network {
    Network { first: IpAddr::V6(Ipv6Addr::new(a, 0, 0, 0, 0, 0, 0, h)), length }
}

/// RFC 6890, but for what is set apart for documents: that is in samples, and in no real log.
const RESERVED_V4: &[Network] = &[
    v4(0, 0, 8),
    v4(10, 0, 8),
    v4(100, 64, 10),
    v4(127, 0, 8),
    v4(169, 254, 16),
    v4(172, 16, 12),
    v4(192, 168, 16),
    v4(224, 0, 4),
    v4(240, 0, 4),
];
const RESERVED_V6: &[Network] =
    &[v6(0, 0, 128), v6(0, 1, 128), v6(0xfc00, 0, 7), v6(0xfe80, 0, 10), v6(0xff00, 0, 8)];

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}

//--- values of texts ------------------------------------------------------------------------------------------------

/// The values that one text is: mostly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// One.
    One(Value),
    /// A name and its address, or a range.
    Many(Vec<Value>),
}

/// Reads one indicator, as it may have been pasted. `below` says whether a bare name means all below it; a name out of a URL
/// never does, and one behind `*.` always.
///
/// # Errors
///
/// Why it is none.
pub fn read(text: &str, below: bool) -> Result<Values, Reason> {
    let text = text.trim();
    let bare = text.strip_suffix('.').unwrap_or(text);
    // As squid, dnsmasq and queries for ends of names write a name and all below it.
    let (bare, is_below) = match bare.strip_prefix('.') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') => (rest, true),
        _ => (bare, below),
    };
    let name = |name: Name| if is_below { Value::Domain(name) } else { Value::Name(name) };
    // Most are plain.
    if is_plain(bare) {
        if bare.ends_with(|c: char| c.is_ascii_digit()) || bare.len() > 9 && is_hex_at_end(bare) {
            if let Ok(address) = bare.parse::<IpAddr>() {
                return Ok(Values::One(Value::Address(address)));
            }
            if is_digest(bare) {
                return Err(Reason::Hash);
            }
            if let Some((first, last)) = bare.split_once('-')
                && let Ok(first) = first.parse::<IpAddr>()
                && let Some(last) = range_end(first, last)
            {
                return range(first, last);
            }
            if numeric(bare).is_some() {
                return Err(Reason::NoIndicator);
            }
        }
        if has_tail(bare) {
            return Err(Reason::NoIndicator);
        }
        return Name::from_log(bare.as_bytes())
            .map(|found| Values::One(name(found)))
            .map_err(|_| Reason::NoIndicator);
    }
    if text.len() > MAX_TEXT || text.is_empty() {
        return Err(Reason::NoIndicator);
    }
    if text.len() > 2 && text.starts_with('/') && text.ends_with('/') && !text.starts_with("//") {
        return Err(Reason::Regex);
    }
    let visible: String = text.chars().filter_map(seen).collect();
    if is_mail(&super::text::refang(edges(&visible), "")) {
        return Err(Reason::Mail);
    }
    let mut clear = text.to_owned();
    for _ in 0..MOST_LAYERS {
        match clean(&clear) {
            Ok(Some(inner)) if inner != clear => clear = inner,
            Ok(_) => break,
            Err(_) => return Err(Reason::NoIndicator),
        }
    }
    if let Some((front, address)) = clear.split_once('|') {
        let address = address.parse::<IpAddr>().map_err(|_| Reason::NoIndicator)?;
        let front = one(front, below, false)?;
        return Ok(Values::Many(vec![front, Value::Address(address.to_canonical())]));
    }
    if let Some((first, last)) = clear.split_once('-')
        && let (Ok(first), Ok(last)) = (first.parse::<IpAddr>(), last.parse::<IpAddr>())
    {
        return range(first, last);
    }
    let is_of_url = visible.contains('/') || visible.contains('\u{2044}');
    one(&clear, below, is_of_url).map(Values::One)
}

/// The networks of a range.
fn range(first: IpAddr, last: IpAddr) -> Result<Values, Reason> {
    let networks = Network::of_range(first.to_canonical(), last.to_canonical());
    match networks.is_empty() {
        true => Err(Reason::NoIndicator),
        false => Ok(Values::Many(networks.into_iter().map(Value::of_network).collect())),
    }
}

/// One value without what surrounds it.
fn one(text: &str, below: bool, is_of_url: bool) -> Result<Value, Reason> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Value::Address(address.to_canonical()));
    }
    if let Some((address, length)) = text.split_once('/')
        && let Ok(address) = address.parse::<IpAddr>()
    {
        let network = length.parse::<u8>().ok().and_then(|length| Network::new(address, length));
        return network.map(Value::of_network).ok_or(Reason::NoIndicator);
    }
    let (text, is_star) = match text.strip_prefix("*.").or_else(|| text.strip_prefix('.')) {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    if text.contains(['*', '?', '^', '\\']) {
        return Err(Reason::Regex);
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    if is_digest(bare) {
        return Err(Reason::Hash);
    }
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || ",;:|@%$#/[](){}<>\"'`=&!~+".contains(c);
    if bare.is_empty() || bare.contains(is_odd) || numeric(bare).is_some() || has_tail(bare) {
        return Err(Reason::NoIndicator);
    }
    let name = Name::parse(bare).map_err(|_| Reason::NoIndicator)?;
    let is_below = is_star || below && !is_of_url;
    Ok(if is_below { Value::Domain(name) } else { Value::Name(name) })
}

/// Whether its last character may end a hash or a number, `0x1f`.
fn is_hex_at_end(text: &str) -> bool {
    text.bytes().next_back().is_some_and(|b| b.is_ascii_hexdigit())
}

/// Whether a text without what defangs it is a mail address, and no URL with a user in it.
pub(super) fn is_mail(text: &str) -> bool {
    let text = text.strip_prefix("mailto:").unwrap_or(text);
    !text.contains("//")
        && text.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && !user.contains(['/', '?', '|']) && host.contains('.') && !host.contains('/')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let show = |value: &Value| format!("{} {value}", value.kind().name());
        match read(text, true) {
            Ok(Values::One(value)) => match value.refused() {
                Some(reason) => reason.name().to_owned(),
                None => show(&value),
            },
            Ok(Values::Many(values)) => values.iter().map(show).collect::<Vec<_>>().join(", "),
            Err(reason) => reason.name().to_owned(),
        }
    }

    #[test]
    fn a_value_is_taken_out_of_what_surrounds_it() {
        for (text, value) in [
            ("WWW.Bad.Example.", "domain www.bad.example"),
            ("*.bad.example", "domain bad.example"),
            ("b\u{fc}cher.example", "domain xn--bcher-kva.example"),
            ("hxxps[:]//cdn[.]bad[.]example:8443/a?b=c", "name cdn.bad.example"),
            ("bad.example/path?x=1", "name bad.example"),
            ("http://user@bad2.example:81/x,y?q=\"1\"", "name bad2.example"),
            ("http://[2001:db8::bad]/x", "address 2001:db8::bad"),
            ("198.51.100.7", "address 198.51.100.7"),
            ("198.51.100.7/32", "address 198.51.100.7"),
            ("198[.]51[.]100[.]7:8080", "address 198.51.100.7"),
            ("198.51.100.22|443", "address 198.51.100.22"),
            ("::ffff:198.51.100.7", "address 198.51.100.7"),
            ("::ffff:198.51.100.0/120", "network 198.51.100.0/24"),
            ("203.0.113.9/24", "network 203.0.113.0/24"),
            ("203.0.113.0/255.255.255.0", "network 203.0.113.0/24"),
            ("203.0.113.4-203.0.113.7", "network 203.0.113.4/30"),
            ("203.0.113.4-7", "network 203.0.113.4/30"),
            ("203[.]0[.]113[.]4-7,", "network 203.0.113.4/30"),
            ("203.0.113.4\u{2013}7", "network 203.0.113.4/30"),
            ("203.0.113.4-static.bad.example", "domain 203.0.113.4-static.bad.example"),
            (".bad.example", "domain bad.example"),
            (".bad.example.", "domain bad.example"),
            ("fluxy.example|198.51.100.9", "domain fluxy.example, address 198.51.100.9"),
            ("h.example|8443", "domain h.example"),
        ] {
            assert_eq!(shown(text), value, "{text}");
        }
    }

    #[test]
    fn what_everybody_is_below_or_in_is_refused() {
        for (text, reason) in [
            ("com", "public_suffix"),
            ("*.com", "public_suffix"),
            ("*.co.uk", "public_suffix"),
            ("github.io", "public_suffix"),
            (".", "no_indicator"),
            ("*", "regex"),
            ("", "no_indicator"),
            ("0.0.0.0/0", "too_wide"),
            ("::/0", "too_wide"),
            ("8.0.0.0/7", "too_wide"),
            ("2a00::/12", "too_wide"),
            ("0.0.0.0", "private"),
            ("10.0.0.0/8", "private"),
            ("10.1.2.3", "private"),
            ("192.168.0.0/16", "private"),
            ("172.20.0.1", "private"),
            ("127.0.0.1", "private"),
            ("169.254.1.1", "private"),
            ("100.64.0.1", "private"),
            ("255.255.255.255", "private"),
            ("::1", "private"),
            ("fe80::1", "private"),
            ("fd00::/8", "private"),
            ("localhost", "local"),
            ("d41d8cd98f00b204e9800998ecf8427e", "hash"),
            ("x@mail.example", "mail"),
            ("soc[@]corp[.]example", "mail"),
            ("/regex[0-9]+\\.example/", "regex"),
            ("ad*.example", "regex"),
            ("1.2.3", "no_indicator"),
            ("203.0.113.70-8", "no_indicator"),
            ("203.0.113.70-443", "no_indicator"),
            ("203.0.113.70_80", "no_indicator"),
            ("203[.]0[.]113[.]70_80", "no_indicator"),
            ("203.0.113.70-x", "no_indicator"),
            ("203.0.113.70x", "no_indicator"),
            (".com", "public_suffix"),
            ("free text", "no_indicator"),
            ("/x", "no_indicator"),
            ("a..b", "no_indicator"),
        ] {
            assert_eq!(shown(text), reason, "{text}");
        }
    }

    #[test]
    fn a_range_is_the_networks_that_it_is_made_of() {
        let networks = |first: &str, last: &str| {
            let networks = Network::of_range(first.parse().unwrap(), last.parse().unwrap());
            networks.iter().map(Network::to_string).collect::<Vec<_>>()
        };
        assert_eq!(networks("192.0.2.3", "192.0.2.9"), ["192.0.2.3/32", "192.0.2.4/30", "192.0.2.8/31"]);
        assert_eq!(networks("0.0.0.0", "255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(networks("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
        assert_eq!(networks("255.255.255.255", "255.255.255.255"), ["255.255.255.255/32"]);
        assert!(networks("192.0.2.3", "192.0.2.1").is_empty());
    }

    #[test]
    fn a_network_is_read_back_from_its_key() {
        for text in ["198.51.100.7/32", "203.0.113.0/24", "2001:db8::/32"] {
            let Ok(Values::One(value)) = read(text, true) else { panic!("{text}") };
            let network = value.network().unwrap();
            let mut key = Vec::new();
            network.push_key(&mut key);
            assert_eq!(Network::from_key(&key), Some(network));
        }
    }
}
