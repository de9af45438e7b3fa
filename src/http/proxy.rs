//! A proxy in front: the names under which it may pass requests on, and which proxies are believed when they say that a
//! request came by TLS.

use std::net::IpAddr;

use hyper::header::{self, HeaderMap, HeaderName};

use crate::lookup::Query;

/// What a proxy says of how a request came to it.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How a request was made, as far as its sender sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Over TLS, to the daemon or to the proxy in front of it.
    Https,
    /// Plain HTTP.
    #[default]
    Http,
}

impl Scheme {
    /// The scheme as a URL spells it.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Https => "https",
            Scheme::Http => "http",
        }
    }
}

//--- Hosts ----------------------------------------------------------------------------------------------------------

/// Names, besides those of this machine, that a request may be for where no token is wanted.
#[derive(Debug, Default, Clone)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Takes names or addresses, without a port.
    ///
    /// # Errors
    ///
    /// Which one is neither.
    pub fn parse(texts: &[String]) -> Result<Hosts, &str> {
        let host = |text: &String| {
            let bare = text.strip_suffix('.').unwrap_or(text);
            let is_label = |label: &str| {
                !label.is_empty()
                    && label.len() <= 63
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            };
            let is_host = text.parse::<IpAddr>().is_ok() || bare.split('.').all(is_label);
            is_host.then(|| bare.to_ascii_lowercase())
        };
        texts.iter().map(|text| host(text).ok_or(text.as_str())).collect::<Result<_, _>>().map(Hosts)
    }

    /// Whether the `Host` header names this machine to itself, or is one of the names. A browser that was led here by a
    /// name of someone else's, whose address was changed to ours (DNS rebinding), sends that name.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(header::HOST) else { return true };
        let Ok(host) = host.to_str() else { return false };
        let name = match host.strip_prefix('[') {
            Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let is_own = match name.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => {
                name == "localhost" || name.strip_suffix(".localhost").is_some_and(|name| !name.is_empty())
            }
        };
        is_own || self.0.contains(&name)
    }
}

//--- Proxies --------------------------------------------------------------------------------------------------------

/// The addresses of proxies that are believed.
#[derive(Debug, Default, Clone)]
pub struct Proxies(Vec<(IpAddr, IpAddr)>);

impl Proxies {
    /// Takes addresses, networks and ranges.
    ///
    /// # Errors
    ///
    /// Which one is none of them.
    pub fn parse(texts: &[String]) -> Result<Proxies, &str> {
        let range = |text: &String| match Query::parse(text) {
            Ok(Query::Addresses(first, last)) => Some((first, last)),
            _ => None,
        };
        texts.iter().map(|text| range(text).ok_or(text.as_str())).collect::<Result<_, _>>().map(Proxies)
    }

    /// How a request was made: as a proxy that is believed says, else as the connection is.
    pub fn scheme(&self, peer: Option<IpAddr>, headers: &HeaderMap, is_tls: bool) -> Scheme {
        let said = headers.get(FORWARDED_PROTO).filter(|_| peer.is_some_and(|peer| self.trust(peer)));
        // With several proxies in a row, the first one met who asks.
        let said = said.and_then(|said| said.to_str().ok()?.split(',').next());
        match said.map(|said| said.trim().to_ascii_lowercase()).as_deref() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            _ if is_tls => Scheme::Https,
            _ => Scheme::Http,
        }
    }

    fn trust(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        // Addresses of one family come after all of the other.
        self.0.iter().any(|(first, last)| *first <= peer && peer <= *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn only_names_of_this_machine_and_those_that_are_named_are_let_in() {
        let none = Hosts::default();
        let is_in = |hosts: &Hosts, host: &str| hosts.allow(&headers(header::HOST, host));
        for host in [
            "localhost",
            "LOCALHOST:8081",
            "127.0.0.1:8081",
            "127.9.9.9",
            "[::1]:8081",
            "[::1]",
            "a.localhost",
        ] {
            assert!(is_in(&none, host), "{host}");
        }
        for host in [
            "example.com",
            "192.0.2.1:8081",
            "localhost.example.com",
            "evillocalhost",
            ".localhost",
            "[2001:db8::1]",
            "",
        ] {
            assert!(!is_in(&none, host), "{host}");
        }
        assert!(none.allow(&HeaderMap::new()));
        let named = texts(&["Ledger.example.", "192.0.2.1", "2001:db8::1"]);
        let hosts = Hosts::parse(&named).unwrap();
        for host in
            ["ledger.example", "LEDGER.example.:443", "192.0.2.1:8081", "[2001:db8::1]:1", "localhost"]
        {
            assert!(is_in(&hosts, host), "{host}");
        }
        for host in ["evil.example", "x.ledger.example", "ledger.example.evil.example", "192.0.2.2"] {
            assert!(!is_in(&hosts, host), "{host}");
        }
        for wrong in ["", "*", "*.example", "https://ledger.example", "ledger.example:443", "a b", "a..b"] {
            assert_eq!(Hosts::parse(&texts(&[wrong])).unwrap_err(), wrong);
        }
    }

    #[test]
    fn only_a_proxy_that_is_trusted_says_that_a_request_came_by_tls() {
        let named = texts(&["127.0.0.1", "10.0.0.0/8", "2001:db8::/64"]);
        let proxies = Proxies::parse(&named).unwrap();
        let scheme = |peer: &str, said: &str, is_tls: bool| {
            proxies.scheme(peer.parse().ok(), &headers(FORWARDED_PROTO, said), is_tls)
        };
        for peer in ["127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7"] {
            for said in ["https", "HTTPS", "https, http", " https "] {
                assert_eq!(scheme(peer, said, false), Scheme::Https, "{peer} {said}");
            }
            assert_eq!(scheme(peer, "http", true), Scheme::Http, "{peer}");
            assert_eq!(scheme(peer, "gopher", true), Scheme::Https, "{peer}");
        }
        for peer in ["127.0.0.2", "11.0.0.0", "9.255.255.255", "2001:db8:0:1::", "192.0.2.1", "the socket"] {
            assert_eq!(scheme(peer, "https", false), Scheme::Http, "{peer}");
        }
        assert_eq!(proxies.scheme("10.0.0.1".parse().ok(), &HeaderMap::new(), true), Scheme::Https);
        for wrong in ["", "proxy.example", "10.0.0.0/33", "*", "rdata:a.example"] {
            assert_eq!(Proxies::parse(&texts(&[wrong])).unwrap_err(), wrong);
        }
    }
}
