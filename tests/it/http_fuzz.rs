//! Requests of every kind, sound and broken, over sockets: none of them makes a thread panic, is answered with 500, or leaves
//! a server that answers no more.
//!
//! `DNSLEDGER_FUZZ_SECONDS=300` goes on for so long, each time with other requests; without it there are a few hundred, the
//! same each time.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dnsledger::http::Config;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::http::Server;

/// Threads that served and panicked.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts panics of threads that serve; all others are told as ever.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some("served") {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(panic);
        }));
    });
}

//--- requests -------------------------------------------------------------------------------------------------------

const METHODS: &[&str] = &[
    "GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "get", "",
    "X-Y_Z", "G\u{e9}T",
];
const PREFIXES: &[&str] = &[
    "/dns/",
    "/dns/full/",
    "/dns/tuples/",
    "/pdns/query/",
    "/passivedns/",
    "/query/",
    "/fquery/",
    "/info",
    "/v2pssl/query/",
    "/dnsdb/v2/lookup/rrset/name/",
    "/dnsdb/v2/lookup/rdata/ip/",
    "/dnsdb/v2/lookup/rrset/raw/",
    "/dnsdb/v2/lookup/rdata/raw/",
    "/dnsdb/v2/summarize/rdata/name/",
    "/dnsdb/v2/regex/rrnames/",
    "/dnsdb/v2/glob/rdata/",
    "/dnsdb/v2/ping",
    "/lookup/rate_limit",
    "/lookup/rrset/name/",
    "/summarize/rdata/ip/",
    "/api/v1/records",
    "/api/v1/export",
    "/api/v1/status",
    "/api/v1/names/",
    "/api/v1/seen/",
    "/api/v1/lookup",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/name/",
    "/address/",
    "/status",
    "/assets/",
    "/control/import",
    "/control/flush",
    "/control/verify",
    "/",
    "//",
    "/.",
    "/..",
    "",
];
const VALUES: &[&str] = &[
    "www.example.com",
    "*.example.com",
    "example.*",
    "192.0.2.10",
    "192.0.2.0/24",
    "192.0.2.3-192.0.2.9",
    "2001:db8::/32",
    "::",
    "a..b",
    "~text",
    "/regex(/",
    "/(a+)+$/",
    "rdata:ns1.example.net",
    "rdata:*",
    "*",
    "?",
    "[a-",
    "%00",
    "%ff%fe",
    "%2e%2e%2f",
    "%",
    "%zz",
    "..",
    "%C3%A4",
    "xn--",
    "-1",
    "0",
    "18446744073709551616",
    "99999999999999999999999",
    "1e9",
    "NaN",
    "true",
    "",
    "+",
    "&",
    "=",
    "a=b",
    "%0d%0aX: y",
    "json",
    "csv",
    "cof",
    "ndjson",
    "A",
    "ANY",
    "TYPE65280",
    "<script>",
    "\\x00",
    "01",
    "0377777706",
    "null",
];
const KEYS: &[&str] = &[
    "q",
    "limit",
    "cursor",
    "format",
    "type",
    "sensor",
    "direct",
    "aliases",
    "pointing",
    "first_after",
    "first_before",
    "last_after",
    "last_before",
    "below",
    "offset",
    "humantime",
    "aggr",
    "max_count",
    "time_first_after",
    "time_last_before",
    "swclient",
    "exclude",
    "name",
    "replace",
    "older_than",
    "max_disk",
    "rows",
    "page",
    "token",
    "v",
];
const HEADERS: &[&str] = &[
    "Host",
    "Host",
    "Accept",
    "Accept-Encoding",
    "Authorization",
    "X-API-Key",
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "Expect",
    "Origin",
    "Access-Control-Request-Method",
    "Sec-Fetch-Site",
    "Range",
    "If-None-Match",
    "Cookie",
    "Upgrade",
    "TE",
    "dribble-paginate-count",
    "dribble-paginate-cursor",
    "dribble-filter-rrtype",
    "Content-Type",
    "Content-Encoding",
    "Via",
    "X",
    " ",
    ":",
];
const HEADER_VALUES: &[&str] = &[
    "localhost",
    "127.0.0.1",
    "[::1]",
    "[",
    "evil.example",
    "",
    "gzip",
    "gzip;q=0, *",
    "text/csv",
    "application/json;;;",
    "Bearer x",
    "Basic %%%",
    "Basic Og==",
    "chunked",
    "chunked, chunked",
    "gzip, chunked",
    "0",
    "5",
    "-1",
    "99999999999999999999",
    "close",
    "keep-alive",
    "100-continue",
    "cross-site",
    "none",
    "GET",
    "websocket",
    "\u{fffd}",
    "a b",
    "\t",
    "bytes=0-",
    "\"x\"",
    "10",
    "0x10",
    "TXT",
];
const BODIES: &[&str] = &[
    "",
    "hello",
    "www.example.com\n192.0.2.10\n",
    "\"www.example.com\"\n{\"q\": \"a..b\"}\n{",
    "5\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "0\r\n\r\n",
    "-1\r\n",
    "{\"ts\":1.0,\"query\":\"a.example\",\"answers\":[\"192.0.2.1\"]}\n",
    "#fields\tts\tquery\n",
    "\u{0}\u{0}\u{0}",
];

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(texts).prop_map(str::to_owned),
        1 => "[ -~]{0,40}",
        1 => "\\PC{0,12}",
    ]
}

fn target() -> impl Strategy<Value = String> {
    let path = (one_of(PREFIXES), proptest::collection::vec(one_of(VALUES), 0..4), 0..3usize)
        .prop_map(|(prefix, values, slashes)| format!("{prefix}{}{}", values.join("/"), "/".repeat(slashes)));
    let params = proptest::collection::vec((one_of(KEYS), one_of(VALUES)), 0..6).prop_map(|pairs| {
        pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
    });
    let origin = (path, params)
        .prop_map(|(path, params)| if params.is_empty() { path } else { format!("{path}?{params}") })
        .boxed();
    prop_oneof![
        12 => origin.clone(),
        1 => origin.prop_map(|path| format!("http://localhost{path}")),
        1 => Just("*".to_owned()),
        1 => one_of(VALUES),
        1 => Just("localhost:80".to_owned()),
        1 => (1..40_000usize).prop_map(|length| format!("/dns/{}", "a".repeat(length))),
    ]
}

/// A request as text; it need not be sound.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let version = prop_oneof![12 => Just("HTTP/1.1"), 1 => Just("HTTP/1.0"), 1 => Just("HTTP/2.0"), 1 => Just(""), 1 => Just("HTTP/9")];
    let headers = proptest::collection::vec((one_of(HEADERS), one_of(HEADER_VALUES)), 0..6);
    (one_of(METHODS), target(), version, headers, one_of(BODIES), any::<bool>()).prop_map(
        |(method, target, version, headers, body, sound)| {
            let target = if sound { target.replace(' ', "%20") } else { target };
            let mut text = format!("{method} {target} {version}\r\n");
            if sound {
                text.push_str("Host: localhost\r\n");
                text.push_str(&format!("Content-Length: {}\r\n", body.len()));
            }
            for (name, value) in headers {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            text.push_str("\r\n");
            text.push_str(&body);
            text.into_bytes()
        },
    )
}

/// What is sent over one connection: requests one behind the other, some of them with bytes changed, or bytes alone.
fn sent() -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3u8), 0..6);
    let requests = proptest::collection::vec(request(), 1..4).prop_map(|requests| requests.concat()).boxed();
    let changed = (requests.clone(), changes).prop_map(|(mut bytes, changes)| {
        for (at, byte, how) in changes {
            let at = at.index(bytes.len().max(1));
            match how {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at.min(bytes.len()), byte),
                _ => bytes.truncate(at.max(1)),
            }
        }
        bytes
    });
    prop_oneof![6 => requests, 3 => changed, 1 => proptest::collection::vec(any::<u8>(), 0..600)]
}

//--- the test -------------------------------------------------------------------------------------------------------

/// Sends bytes and gives what is answered until the server closes.
fn answered(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // One that has enough closes early: neither writing nor reading need come to its end.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    answer
}

fn statuses(answer: &[u8]) -> Vec<String> {
    let text = answer.escape_ascii().to_string();
    text.split("HTTP/1.1 ").skip(1).map(|rest| rest.chars().take(3).collect()).collect()
}

#[test]
fn requests_of_every_kind_are_survived() {
    count_panics();
    let short = Duration::from_secs(2);
    let server = Server::with(Config { request_timeout: short, header_timeout: short, ..Config::default() });
    server.feed("lan", &[(1_767_323_045, "www.example.com", "A", 1, &["192.0.2.10"], 600)]);
    let before = PANICS.load(Ordering::SeqCst);
    let check = |bytes: Vec<u8>| {
        let answer = answered(&server, &bytes);
        let shown = || bytes.escape_ascii().to_string();
        prop_assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1."),
            "{}: {}",
            shown(),
            answer.escape_ascii()
        );
        let statuses = statuses(&answer);
        prop_assert!(!statuses.iter().any(|status| status == "500"), "{}: {statuses:?}", shown());
        prop_assert_eq!(PANICS.load(Ordering::SeqCst), before, "a thread panicked: {}", shown());
        Ok(())
    };
    let seconds: Option<u64> =
        std::env::var("DNSLEDGER_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    match seconds.map(Duration::from_secs) {
        None => {
            let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            TestRunner::new_with_rng(config, rng).run(&sent(), check).unwrap();
        }
        Some(length) => {
            let (began, mut cases) = (Instant::now(), 0);
            while began.elapsed() < length {
                TestRunner::new(config.clone()).run(&sent(), check).unwrap();
                cases += 300;
                assert_eq!(server.get("/healthz").status, 200);
            }
            println!("{cases} connections");
        }
    }
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/dns/www.example.com").status, 200);
}
