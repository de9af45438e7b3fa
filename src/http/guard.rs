//! Access control: the one place where a request is admitted or refused, before any route sees it.
//!
//! | door | without tokens | with tokens |
//! |---|---|---|
//! | network | on a loopback address only, and only if `Host` is a loopback name, or one of `allowed_hosts` | everything but health needs one |
//! | control socket | its owner may do everything | the same |
//!
//! A token comes as `Authorization: Bearer`, as `X-API-Key`, or as the password of `Authorization: Basic`, which is what
//! a browser sends when it is asked for one. What carried it is taken out of the request here, so that nothing behind this
//! place can log it. A missing or wrong token is 401; clients of DNSDB know that as 403. What changes the ledger needs the
//! scope `admin`, and does not take Basic: a browser sends that by itself, also when another site makes it. Hits are acknowledged with the scope
//! `watch`, or `admin`, also by Basic, where the browser says that a page of this very site asks.
//!
//! A token may ask so often from one address; who has none shares what an address has. Ten seconds' worth may be asked
//! at once. Whoever has a token never shares with who has none.
//!
//! What a browser sends by itself, without a token or with Basic, it also sends when a page of another site makes it. Such a
//! page can't read the answer, but it can tell how long it took, and so what is in the ledger: a request that a browser
//! marks as cross-site is refused, unless it leads its user here, or is of an origin that is named in the configuration.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, StatusCode, Uri};
use parking_lot::{Mutex, RwLock};

use percent_encoding::percent_decode_str;

use super::error::ApiError;
use super::proxy::{Hosts, Scheme};
use super::token::{self, Scope, Token, Tokens};

/// Carries a token, as DNSDB's clients send it.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Headers by which a browser says where a request comes from (Fetch Metadata).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
/// Paths that answer without a token: whether the process lives, for who starts and stops it.
const OPEN: &[&str] = &["/healthz", "/readyz"];
/// Paths of the control socket that a token of scope `admin` opens on the network too.
const ADMIN: &[&str] = &["/control/import", "/control/flush", "/control/export"];
/// The prefix of all paths that change the ledger.
const CONTROL: &str = "/control/";
/// Where clients of DNSDB ask, for which a wrong key is 403.
const DNSDB: &[&str] = &["/dnsdb/", "/lookup/", "/summarize/"];
/// Seconds' worth of requests that may come at once.
const BURST_SECONDS: f64 = 10.0;
/// How many callers have a bucket of their own; all others share one.
const MAX_BUCKETS: usize = 10_000;
/// How often those are looked for that have not asked for long. It costs a walk over all buckets.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Which way a request came in, and so what it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Over the network.
    Network {
        /// Whether it listens on a loopback address, which only this machine reaches.
        loopback: bool,
    },
    /// Over the socket in the data folder, which only its owner can open.
    Control,
}

/// The caller of an admitted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Through the control socket.
    Owner,
    /// Anybody: no token is wanted here.
    Anyone,
    /// The holder of a token.
    Token {
        /// The name.
        name: Arc<str>,
        /// Whether the request may change the ledger: the paths of the control socket are open to it.
        admin: bool,
        /// Whether it may see lines of logs.
        evidence: bool,
        /// Whether it may acknowledge hits.
        watch: bool,
    },
}

/// The caller as the routes need it: for limits by address, and for what it may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asker {
    /// The network that it asks from; none for the control socket.
    pub network: Option<IpAddr>,
    /// Whether it has a token, or is the owner of the ledger.
    pub is_known: bool,
    /// Whether it may see lines of logs, where these are handed out.
    pub may_see_lines: bool,
    /// Set where it may acknowledge hits: the name of its token; empty for the owner, who gives a name.
    pub may_acknowledge: Option<Arc<str>>,
    /// How it asked.
    pub scheme: Scheme,
}

impl Asker {
    /// A caller at an address.
    pub fn new(peer: Option<IpAddr>, caller: &Caller, scheme: Scheme) -> Asker {
        let may_see_lines = matches!(caller, Caller::Owner | Caller::Token { evidence: true, .. });
        let may_acknowledge = match caller {
            Caller::Owner => Some("".into()),
            Caller::Token { name, watch: true, .. } => Some(Arc::clone(name)),
            _ => None,
        };
        let is_known = *caller != Caller::Anyone;
        Asker { network: peer.map(network), is_known, may_see_lines, may_acknowledge, scheme }
    }
}

impl Caller {
    /// Whether the paths of the control socket are open.
    pub fn may_control(&self) -> bool {
        matches!(self, Caller::Owner | Caller::Token { admin: true, .. })
    }

    fn name(&self) -> &str {
        match self {
            Caller::Owner => "(owner)",
            Caller::Anyone => "(anyone)",
            Caller::Token { name, .. } => name,
        }
    }
}

/// Knows the tokens and how often each was used.
pub struct Guard {
    tokens: RwLock<Option<Arc<Tokens>>>,
    /// Requests a second; 0 is no limit.
    rate: f64,
    audit: bool,
    /// Names that a request may be for where no token is wanted.
    hosts: Hosts,
    buckets: Mutex<Buckets>,
}

impl Guard {
    /// A guard without tokens. `rate` is in requests a second, 0 for no limit; `audit` logs each request.
    pub fn new(rate: u32, audit: bool, hosts: Hosts) -> Guard {
        Guard { tokens: RwLock::default(), rate: rate.into(), audit, hosts, buckets: Mutex::default() }
    }

    /// From now on these are let in, and nobody else.
    pub fn set_tokens(&self, tokens: Tokens) {
        *self.tokens.write() = Some(Arc::new(tokens));
    }

    /// Lets a request in, or says why not. Takes the headers that carry a token away.
    ///
    /// # Errors
    ///
    /// 401 (DNSDB: 403), 403 for a missing scope or a foreign `Host`, 429.
    pub fn admit(
        &self,
        door: Door,
        peer: Option<IpAddr>,
        method: &Method,
        uri: &Uri,
        headers: &mut HeaderMap,
        known_origin: bool,
    ) -> Result<Caller, ApiError> {
        let credentials = Credentials::take(headers);
        let Door::Network { loopback } = door else { return Ok(Caller::Owner) };
        let path = uri.path().trim_end_matches('/');
        let by_itself = credentials.token.is_none() || credentials.is_basic;
        if by_itself && !known_origin && is_made_by_another_site(method, headers) {
            return Err(ApiError::cross_site());
        }
        let tokens = self.tokens.read().clone();
        let Some(tokens) = tokens else {
            return match loopback {
                true if self.hosts.allow(headers) => Ok(Caller::Anyone),
                true => Err(ApiError::bad_host()),
                // The configuration does not allow this; should it come to it, nobody is let in.
                false => Err(ApiError::unauthorized(is_dnsdb(path))),
            };
        };
        let token = credentials.token.as_deref().and_then(|presented| tokens.recognise(presented));
        if OPEN.contains(&path) {
            return Ok(match token {
                Some(token) => Caller::Token {
                    name: Arc::clone(&token.name),
                    admin: false,
                    evidence: false,
                    watch: false,
                },
                None => Caller::Anyone,
            });
        }
        self.spend(peer, token)?;
        let Some(token) = token else { return Err(ApiError::unauthorized(is_dnsdb(path))) };
        let mut admin = false;
        if uri.path().starts_with(CONTROL) {
            if token.scope < Scope::Admin {
                return Err(ApiError::forbidden("this token lacks the admin scope", "admin"));
            }
            if credentials.is_basic {
                return Err(ApiError::forbidden(
                    "what changes the ledger takes a Bearer token only",
                    "admin",
                ));
            }
            admin = ADMIN.contains(&path);
        }
        let evidence = token.scope == Scope::Evidence;
        // Credentials that a browser adds by itself are also sent with requests that other pages make.
        let made_here = !credentials.is_basic || is_made_by_own_page(headers);
        let watch = matches!(token.scope, Scope::Watch | Scope::Admin) && made_here;
        Ok(Caller::Token { name: Arc::clone(&token.name), admin, evidence, watch })
    }

    /// Takes one request off what its sender may ask.
    fn spend(&self, peer: Option<IpAddr>, token: Option<&Token>) -> Result<(), ApiError> {
        if self.rate <= 0.0 {
            return Ok(());
        }
        let key = Key { network: peer.map(network), token: token.map(|token| Arc::clone(&token.name)) };
        let mut buckets = self.buckets.lock();
        match buckets.spend(key, self.rate, Instant::now()) {
            None => Ok(()),
            Some(wait) => Err(ApiError::too_often(wait)),
        }
    }

    /// Writes down who asked what, where that is wanted; who asked for lines of logs always.
    pub fn record(
        &self,
        caller: Option<&Caller>,
        peer: Option<IpAddr>,
        method: &Method,
        uri: &Uri,
        status: StatusCode,
    ) {
        if self.audit || asks_for_lines(uri.path()) {
            let caller = caller.map_or("(refused)", Caller::name);
            let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
            // `?` escapes what a terminal must not see.
            let asked = without_tokens(uri.path_and_query().map_or("", |asked| asked.as_str()));
            tracing::info!(caller, peer, %method, ?asked, status = status.as_u16(), "Asked.");
        }
    }
}

/// Whether a path is one at which lines of logs are handed out, however it is written.
fn asks_for_lines(path: &str) -> bool {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    decoded.split('/').rfind(|part| !part.is_empty()) == Some("evidence")
}

/// Whether a browser says that a page of another site made this request, and does not lead its user here by it.
fn is_made_by_another_site(method: &Method, headers: &HeaderMap) -> bool {
    let says = |name: &HeaderName, what: &[u8]| {
        headers.get_all(name).iter().any(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(what))
    };
    let leads_here = says(&FETCH_MODE, b"navigate") && says(&FETCH_DEST, b"document");
    says(&FETCH_SITE, b"cross-site") && !(leads_here && matches!(*method, Method::GET | Method::HEAD))
}

/// Whether a browser says that a page of this site made this request, or its user by hand.
fn is_made_by_own_page(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(&FETCH_SITE).iter().map(|value| value.as_bytes().trim_ascii());
    let Some(first) = sites.next() else { return false };
    sites.next().is_none() && [b"same-origin".as_slice(), b"none"].contains(&first)
}

/// The path and query for the log, with anything that may be a token masked: text after a token's prefix, however encoded,
/// and values of parameters with such names. Tokens belong in headers; one in a URL must not end up in a log.
fn without_tokens(asked: &str) -> String {
    let (path, query) = asked.split_once('?').map_or((asked, None), |(path, query)| (path, Some(query)));
    let mut shown = masked(path);
    if let Some(query) = query {
        shown.push('?');
        for (i, pair) in query.split('&').enumerate() {
            if i > 0 {
                shown.push('&');
            }
            match pair.split_once('=') {
                Some((key, _)) if is_secret(key) => shown.push_str(&format!("{key}={MASK}")),
                _ => shown.push_str(&masked(pair)),
            }
        }
    }
    shown
}

/// Shown in place of a token.
const MASK: &str = "***";

/// Whether a parameter is called as one that carries a secret.
fn is_secret(key: &str) -> bool {
    let key = percent_decode_str(key).decode_utf8_lossy().to_ascii_lowercase();
    ["token", "key", "secret", "password", "passwd", "auth", "credential"]
        .iter()
        .any(|word| key.contains(word))
}

/// A part of what was asked, with what looks like a token left out.
fn masked(part: &str) -> String {
    // Any of its characters may be percent-encoded, even more than once.
    let mut decoded = part.to_owned();
    for _ in 0..3 {
        let again = percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
        if again == decoded {
            break;
        }
        decoded = again;
    }
    let Some(at) = decoded.find(token::PREFIX) else { return part.to_owned() };
    match part.find(token::PREFIX) {
        Some(at) => {
            let (before, rest) = part.split_at(at);
            let end =
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_%".contains(c))).unwrap_or(rest.len());
            let after = rest.get(end..).unwrap_or_default();
            format!("{before}{MASK}{}", masked(after))
        }
        None => format!("{}{MASK}", decoded.get(..at).unwrap_or_default()),
    }
}

fn is_dnsdb(path: &str) -> bool {
    DNSDB.iter().any(|prefix| path.starts_with(prefix))
}

//--- Credentials ----------------------------------------------------------------------------------------------------

/// The credentials in a request.
#[derive(Default)]
struct Credentials {
    token: Option<Vec<u8>>,
    is_basic: bool,
}

impl Credentials {
    /// Takes them out of the headers; where there are several, Bearer counts before the key, and that before Basic.
    fn take(headers: &mut HeaderMap) -> Credentials {
        let authorization = headers.remove(header::AUTHORIZATION);
        let key = headers.remove(API_KEY);
        let split = authorization.as_ref().and_then(|value| {
            let bytes = value.as_bytes();
            let at = bytes.iter().position(|&b| b == b' ')?;
            let (scheme, rest) = bytes.split_at_checked(at)?;
            Some((scheme, rest.trim_ascii()))
        });
        match (split, key) {
            (Some((scheme, token)), _) if scheme.eq_ignore_ascii_case(b"bearer") => {
                Credentials { token: Some(token.to_vec()), is_basic: false }
            }
            (_, Some(key)) => {
                Credentials { token: Some(key.as_bytes().trim_ascii().to_vec()), is_basic: false }
            }
            (Some((scheme, pair)), None) if scheme.eq_ignore_ascii_case(b"basic") => {
                let pair = STANDARD.decode(pair).ok();
                let password = pair.and_then(|mut pair| {
                    let colon = pair.iter().position(|&b| b == b':')?;
                    Some(pair.split_off(colon + 1))
                });
                Credentials { token: password, is_basic: true }
            }
            _ => Credentials::default(),
        }
    }
}

//--- Buckets --------------------------------------------------------------------------------------------------------

/// The key of a rate limit: callers with the same key share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    /// The address, or its /64: one host of IPv6 has many addresses.
    network: Option<IpAddr>,
    token: Option<Arc<str>>,
}

/// The address, or its /64: one host of IPv6 has many addresses.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

/// The requests that each caller has left.
#[derive(Default)]
struct Buckets {
    /// The requests that a caller had left, and when.
    left: HashMap<Key, (f64, Instant)>,
    swept: Option<Instant>,
}

impl Buckets {
    /// Takes one request; how long to wait where there is none left.
    fn spend(&mut self, key: Key, rate: f64, now: Instant) -> Option<Duration> {
        let burst = rate * BURST_SECONDS;
        let refilled =
            |left: f64, at: Instant| burst.min(left + now.saturating_duration_since(at).as_secs_f64() * rate);
        let mut key = key;
        if self.left.len() >= MAX_BUCKETS && !self.left.contains_key(&key) {
            if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_EVERY) {
                self.left.retain(|_, &mut (left, at)| refilled(left, at) < burst);
                self.swept = Some(now);
            }
            if self.left.len() >= MAX_BUCKETS {
                // There are few tokens; each has an allowance of its own, whoever else asks.
                key.network = None;
            }
        }
        let (left, at) = self.left.entry(key).or_insert((burst, now));
        let available = refilled(*left, *at);
        *at = now;
        if available < 1.0 {
            *left = available;
            return Some(Duration::from_secs_f64((1.0 - available) / rate));
        }
        *left = available - 1.0;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::make;
    use super::*;
    use hyper::header::HeaderValue;

    const LOOPBACK: Door = Door::Network { loopback: true };
    const OUTSIDE: Door = Door::Network { loopback: false };

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    /// The status of a refusal, or who was let in.
    fn ask(guard: &Guard, door: Door, path: &str, pairs: &[(&'static str, &str)]) -> Result<Caller, u16> {
        let peer = Some([192, 0, 2, 1].into());
        guard
            .admit(door, peer, &Method::GET, &path.parse().unwrap(), &mut headers(pairs), false)
            .map_err(|error| error.into_response("").status().as_u16())
    }

    /// A guard with a token of each scope.
    fn with_tokens() -> (Guard, String, String) {
        let guard = Guard::new(0, false, Hosts::default());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let (read, read_line) = make("misp", Scope::Read, "now").unwrap();
        let (admin, admin_line) = make("ops", Scope::Admin, "now").unwrap();
        std::fs::write(&file, read_line + &admin_line).unwrap();
        guard.set_tokens(Tokens::load(&file).unwrap());
        (guard, read, admin)
    }

    #[test]
    fn without_tokens_only_loopback_is_served() {
        let guard = Guard::new(0, false, Hosts::default());
        assert_eq!(ask(&guard, LOOPBACK, "/dns/a", &[("host", "localhost")]), Ok(Caller::Anyone));
        assert_eq!(ask(&guard, LOOPBACK, "/dns/a", &[("host", "evil.example")]), Err(403));
        assert_eq!(ask(&guard, OUTSIDE, "/dns/a", &[("host", "localhost")]), Err(401));
        assert_eq!(ask(&guard, Door::Control, "/control/flush", &[("host", "x")]), Ok(Caller::Owner));
    }

    #[test]
    fn a_token_is_taken_in_each_of_its_forms() {
        let (guard, read, admin) = with_tokens();
        let basic = format!("Basic {}", STANDARD.encode(format!("anyone:{read}")));
        for pair in [
            ("authorization", format!("Bearer {read}")),
            ("authorization", format!("bearer  {read} ")),
            ("authorization", basic),
            ("x-api-key", read.clone()),
            ("x-api-key", admin.clone()),
        ] {
            let caller = ask(&guard, OUTSIDE, "/api/v1/status", &[(pair.0, &pair.1)]);
            assert!(matches!(caller, Ok(Caller::Token { admin: false, .. })), "{pair:?} {caller:?}");
        }
        let wrong = format!("{}x", &read[..46]);
        for pair in [
            ("authorization", format!("Bearer {wrong}")),
            ("authorization", read.clone()),
            ("authorization", format!("Basic {}", STANDARD.encode(&read))),
            ("authorization", "Basic %%%".to_owned()),
            ("x-api-key", wrong),
            ("x-api-key", String::new()),
            ("cookie", format!("token={read}")),
        ] {
            assert_eq!(ask(&guard, OUTSIDE, "/dns/a", &[(pair.0, &pair.1)]), Err(401), "{pair:?}");
            assert_eq!(ask(&guard, LOOPBACK, "/dns/a", &[(pair.0, &pair.1)]), Err(401), "{pair:?}");
        }
    }

    #[test]
    fn without_a_token_there_is_nothing_but_health() {
        let (guard, read, _) = with_tokens();
        for path in ["/healthz", "/readyz", "/readyz/"] {
            assert_eq!(ask(&guard, OUTSIDE, path, &[]), Ok(Caller::Anyone), "{path}");
            let known = ask(&guard, OUTSIDE, path, &[("x-api-key", &read)]);
            assert!(matches!(known, Ok(Caller::Token { .. })), "{path}");
        }
        for path in [
            "/",
            "/dns/a",
            "/metrics",
            "/api/v1/status",
            "/control/flush",
            "/healthz/x",
            "/x",
            "/pdns/query/a",
        ] {
            assert_eq!(ask(&guard, OUTSIDE, path, &[]), Err(401), "{path}");
        }
        for path in ["/dnsdb/v2/lookup/rrset/name/a", "/lookup/rdata/ip/192.0.2.1", "/summarize/rrset/name/a"]
        {
            assert_eq!(ask(&guard, OUTSIDE, path, &[]), Err(403), "{path}");
        }
    }

    #[test]
    fn what_changes_the_ledger_needs_admin_and_no_browser() {
        let (guard, read, admin) = with_tokens();
        let bearer = |token: &str| format!("Bearer {token}");
        assert_eq!(ask(&guard, OUTSIDE, "/control/flush", &[("authorization", &bearer(&read))]), Err(403));
        let basic = format!("Basic {}", STANDARD.encode(format!(":{admin}")));
        assert_eq!(ask(&guard, OUTSIDE, "/control/flush", &[("authorization", &basic)]), Err(403));
        let may =
            |path| ask(&guard, OUTSIDE, path, &[("authorization", &bearer(&admin))]).unwrap().may_control();
        assert!(may("/control/flush") && may("/control/import?name=x"));
        assert!(!may("/control/anything-else") && !may("/dns/control/"));
    }

    #[test]
    fn nothing_behind_the_guard_sees_a_token() {
        let (guard, read, _) = with_tokens();
        let mut headers = headers(&[("authorization", &format!("Bearer {read}")), ("x-api-key", &read)]);
        guard.admit(OUTSIDE, None, &Method::GET, &Uri::from_static("/dns/a"), &mut headers, false).unwrap();
        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn who_asks_too_often_is_told_when_to_come_back() {
        let mut buckets = Buckets::default();
        let began = Instant::now();
        let key = |last: u8| Key { network: Some([192, 0, 2, last].into()), token: None };
        for _ in 0..20 {
            assert_eq!(buckets.spend(key(1), 2.0, began), None);
        }
        let wait = buckets.spend(key(1), 2.0, began).unwrap();
        assert_eq!(wait, Duration::from_millis(500));
        assert_eq!(buckets.spend(key(2), 2.0, began), None, "another address has its own");
        assert_eq!(buckets.spend(key(1), 2.0, began + wait), None);
        assert!(buckets.spend(key(1), 2.0, began + wait).is_some());
    }

    #[test]
    fn a_token_never_shares_with_who_has_none() {
        let mut buckets = Buckets::default();
        let began = Instant::now();
        let token = |network: u32| Key {
            network: Some(IpAddr::from(network.to_be_bytes())),
            token: Some(Arc::from("misp")),
        };
        for i in 0..3 * MAX_BUCKETS as u32 {
            let key = Key { network: Some(IpAddr::from(i.to_be_bytes())), token: None };
            buckets.spend(key, 0.1, began);
        }
        let anonymous = Key { network: Some(IpAddr::from([255, 1, 1, 1])), token: None };
        assert!(buckets.spend(anonymous, 0.1, began).is_some(), "all others share, and they have used it up");
        assert_eq!(buckets.spend(token(7), 0.1, began), None);
    }

    #[test]
    fn what_a_page_of_another_site_makes_a_browser_ask_is_refused() {
        let (guard, read, _) = with_tokens();
        let open = Guard::new(0, false, Hosts::default());
        let basic = format!("Basic {}", STANDARD.encode(format!("anyone:{read}")));
        let bearer = format!("Bearer {read}");
        let asked = |guard: &Guard, path: &str, more: &[(&'static str, &str)]| {
            let pairs = [[("host", "localhost")].as_slice(), more].concat();
            ask(guard, LOOPBACK, path, &pairs).map(drop)
        };
        let site = ("sec-fetch-site", "cross-site");
        for path in ["/dns/a", "/", "/assets/style.css", "/healthz", "/metrics"] {
            assert_eq!(asked(&open, path, &[site]), Err(403), "{path}");
            assert_eq!(asked(&open, path, &[site, ("sec-fetch-mode", "no-cors")]), Err(403), "{path}");
            let frame = [site, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
            assert_eq!(asked(&open, path, &frame), Err(403), "{path}");
            for same in ["same-origin", "same-site", "none"] {
                assert_eq!(asked(&open, path, &[("sec-fetch-site", same)]), Ok(()), "{path}");
            }
        }
        let link = [site, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert_eq!(asked(&open, "/?q=a", &link), Ok(()), "a link that a user follows");
        // Basic is what a browser sends by itself, and a Bearer token is not.
        assert_eq!(asked(&guard, "/dns/a", &[site, ("authorization", &basic)]), Err(403));
        assert_eq!(asked(&guard, "/dns/a", &[link[0], link[1], link[2], ("authorization", &basic)]), Ok(()));
        assert_eq!(asked(&guard, "/dns/a", &[site, ("authorization", &bearer)]), Ok(()));
        let mut sent = headers(&[("host", "localhost"), site]);
        let uri = Uri::from_static("/dns/a");
        assert!(
            open.admit(LOOPBACK, None, &Method::GET, &uri, &mut sent, true).is_ok(),
            "an origin that is named"
        );
        let mut sent = headers(&[("host", "localhost"), link[0], link[1], link[2]]);
        assert!(
            open.admit(LOOPBACK, None, &Method::POST, &uri, &mut sent, false).is_err(),
            "a form that is sent"
        );
    }

    #[test]
    fn no_token_comes_into_the_audit_log() {
        let (token, _) = make("misp", Scope::Read, "now").unwrap();
        let encoded: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let twice = encoded.replace('%', "%25");
        for asked in [
            format!("/dns/a?token={token}"),
            format!("/dns/a?q=1&Api_Key={encoded}&b=2"),
            format!("/dns/a?x={token}&y={token}"),
            format!("/dns/a?x={encoded}"),
            format!("/dns/a?x={twice}"),
            format!("/dns/{token}/b?c=d"),
            format!("/dns/x{encoded}"),
            format!("/dns/a?{token}"),
            format!("/dns/a?dnl_=dnl_{token}"),
        ] {
            let shown = without_tokens(&asked);
            let decoded = percent_decode_str(&percent_decode_str(&shown).decode_utf8_lossy())
                .decode_utf8_lossy()
                .into_owned();
            for text in [&shown, &decoded] {
                assert!(!text.contains(token.get(4..20).unwrap()), "{asked}: {shown}");
            }
            assert!(shown.starts_with("/dns/") && shown.contains(MASK), "{asked}: {shown}");
        }
        assert_eq!(without_tokens("/dns/a?token=abc&q=%2A"), "/dns/a?token=***&q=%2A");
        for whole in ["/api/v1/records?q=www.example.com&limit=3", "/dns/%ff", "/dns/a%2Fb?c=d%3De", "*"] {
            assert_eq!(without_tokens(whole), whole);
        }
    }

    #[test]
    fn the_memory_of_who_asked_has_a_bound() {
        let mut buckets = Buckets::default();
        let began = Instant::now();
        let key = |i: u32| Key { network: Some(IpAddr::from(i.to_be_bytes())), token: None };
        for i in 0..2 * MAX_BUCKETS as u32 {
            buckets.spend(key(i), 1e6, began);
        }
        assert_eq!(buckets.left.len(), MAX_BUCKETS + 1);
        buckets.spend(key(u32::MAX), 1e6, began + SWEEP_EVERY / 2);
        assert_eq!(buckets.left.len(), MAX_BUCKETS + 1, "they are not looked through for each request");
        buckets.spend(key(u32::MAX), 1e6, began + SWEEP_EVERY);
        assert_eq!(buckets.left.len(), 1, "who has not asked for long is forgotten");
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_share() {
        let at = |text: &str| network(text.parse().unwrap());
        assert_eq!(at("2001:db8:0:1:2:3:4:5"), at("2001:db8:0:1::9"));
        assert_ne!(at("2001:db8:0:1::1"), at("2001:db8:0:2::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    }
}
