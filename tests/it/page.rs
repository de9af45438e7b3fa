//! The page as a browser without a script gets it: links, headers, errors. What needs a browser is in `tests/browser`.

use std::collections::BTreeSet;

use serde_json::json;

use crate::env::{Daemon, TestEnv};

/// Seconds since 1970.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

const LINES: u64 = 7;

/// A daemon over a small log with names that no page may take for markup.
fn daemon(env: &TestEnv) -> Daemon {
    let record = |ts: u64, query: &str, qtype: (u16, &str), rcode: u16, answers: &[&str]| {
        let ttls: Vec<u32> = answers.iter().map(|_| 300).collect();
        let record = json!({
            "ts": ts, "uid": format!("CP{ts}"), "id.resp_h": "192.0.2.53", "id.resp_p": 53, "query": query, "qclass": 1,
            "qtype": qtype.0, "qtype_name": qtype.1, "rcode": rcode, "answers": answers, "TTLs": ttls,
        });
        format!("{record}\n")
    };
    let log = [
        record(1_709_294_400, "www.example.com", (1, "A"), 0, &["192.0.2.10"]),
        record(1_709_380_800, "shop.example.com", (1, "A"), 0, &["cdn.example.net", "192.0.2.77"]),
        record(1_709_380_801, "10.2.0.192.in-addr.arpa", (12, "PTR"), 0, &["www.example.com"]),
        record(1_709_380_802, "gone.example.com", (1, "A"), 3, &[]),
        record(1_709_380_803, "<script>\"'&.example.org", (1, "A"), 0, &["192.0.2.66"]),
        record(now() - 60, "fresh.example.com", (1, "A"), 0, &["198.18.0.9"]),
        record(1_709_380_804, "text.example.org", (16, "TXT"), 0, &["TXT 17 </table><script>x"]),
    ];
    std::fs::create_dir(env.path("logs")).unwrap();
    std::fs::write(env.path("logs/dns.log"), log.concat()).unwrap();
    let daemon = env.daemon("logs", "ledger");
    daemon.wait_for_lines(LINES);
    daemon
}

fn page(daemon: &Daemon, path: &str, status: u16) -> String {
    let response = daemon.get(path);
    let body = String::from_utf8(response.body).unwrap();
    assert_eq!(response.status, status, "{path}: {body}");
    assert!(response.head.contains("content-type: text/html; charset=utf-8"), "{path}: {}", response.head);
    body
}

/// Where the links of a page lead, as they are in the URL.
fn links(page: &str) -> BTreeSet<String> {
    let hrefs = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    hrefs.filter(|href| href.starts_with('/')).map(|href| href.replace("&amp;", "&")).collect()
}

#[test]
fn every_link_leads_somewhere_and_no_name_becomes_markup() {
    let env = TestEnv::new();
    let daemon = daemon(&env);
    // How one came to a page does not make it another one, and orders are many.
    let bare = |link: &str| link.split("via=").next().unwrap().trim_end_matches(['?', '&']).to_owned();
    let mut left: BTreeSet<String> =
        ["/", "/?q=~e", "/?q=198.51.100.0/24&type=A", "/?q=~e&during=7d..", "/status"]
            .map(str::to_owned)
            .into();
    let mut met = left.clone();
    while let Some(path) = left.pop_first() {
        let response = daemon.get(&path);
        let body = String::from_utf8(response.body).unwrap();
        assert_eq!(response.status, 200, "{path}: {body}");
        if response.head.contains("content-type: text/html") {
            assert_eq!(body.matches("<script").count(), 1, "{path}: {body}");
            assert!(!body.contains(" style=") && !body.contains(" onerror"), "{path}");
            left.extend(links(&body).into_iter().filter(|link| {
                !(link.contains("sort=") || link.contains("during=")) && met.insert(bare(link))
            }));
        }
        assert!(met.len() < 400, "links lead on and on: {path}");
    }
    let has = |part: &str| met.iter().any(|path| path.contains(part));
    assert!(has("/name/%3Cscript%3E%22%27%26.example.org"), "{met:?}");
    assert!(has("/address/192.0.2.77") && has("/assets/page.css") && has("/api/v1/export?"));
}

#[test]
fn a_page_may_load_its_own_files_only_and_is_not_kept() {
    let env = TestEnv::new();
    let daemon = daemon(&env);
    for path in
        ["/", "/?q=www.example.com", "/name/www.example.com", "/address/192.0.2.10", "/status", "/?q=a%20b"]
    {
        let head = daemon.get(path).head;
        let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(head.contains("cache-control: no-store") && head.contains("x-dnsledger-as-of: "), "{head}");
    }
}

#[test]
fn files_of_the_page_are_kept_by_their_content_and_small() {
    let env = TestEnv::new();
    let daemon = daemon(&env);
    let home = page(&daemon, "/", 200);
    let results = page(&daemon, "/?q=nothing.example", 200);
    let mut bytes = home.len().max(results.len());
    let assets: Vec<String> =
        home.split('"').filter(|part| part.starts_with("/assets/")).map(str::to_owned).collect();
    assert_eq!(assets.len(), 3);
    for path in assets {
        let response = daemon.get(&path);
        assert_eq!(response.status, 200, "{path}");
        assert!(
            response.head.contains("cache-control: public, max-age=31536000, immutable"),
            "{}",
            response.head
        );
        assert!(response.head.contains("etag: \""), "{}", response.head);
        bytes += response.body.len();
        let other = daemon.get(path.split('?').next().unwrap());
        assert!(other.head.contains("cache-control: no-cache"), "{}", other.head);
    }
    assert!(bytes <= 60_000, "a page without rows and its files are {bytes} bytes");
    assert_eq!(daemon.get("/assets/other.css").status, 404);
}

#[test]
fn what_cannot_be_answered_says_so_on_a_page() {
    let env = TestEnv::new();
    let daemon = daemon(&env);
    let fault = page(&daemon, "/?q=a%20b&type=A", 400);
    assert!(fault.contains("role=\"alert\"") && fault.contains("value=\"a b\""), "{fault}");
    assert!(page(&daemon, "/?q=x&last_after=some+day", 400).contains("value=\"some day\""));
    page(&daemon, "/?q=www.example.com&cursor=AAAA", 400);
    page(&daemon, "/address/nonsense", 400);
    page(&daemon, "/name/a..b", 400);
    page(&daemon, "/name/a/b", 404);
    page(&daemon, "/status/more", 404);
}

#[test]
fn a_name_that_never_resolved_tells_what_was_asked() {
    let env = TestEnv::new();
    let daemon = daemon(&env);
    let gone = page(&daemon, "/name/gone.example.com", 200);
    assert!(gone.contains("never answered") && gone.contains("no such name 1"), "{gone}");
    assert!(page(&daemon, "/name/unheard.example.com", 200).contains("Never seen"));
    let www = page(&daemon, "/name/WWW.example.com", 200);
    assert!(www.contains("10.2.0.192.in-addr.arpa") && www.contains("shop.example.com"), "{www}");
    let address = page(&daemon, "/address/192.0.2.77", 200);
    assert!(address.contains("3 of 256 addresses were seen") && address.contains("alias"), "{address}");
}

#[test]
fn only_addresses_that_were_seen_lately_are_those_of_now() {
    let env = TestEnv::new();
    let daemon = daemon(&env);
    let fresh = page(&daemon, "/name/fresh.example.com", 200);
    assert!(fresh.contains("<h2>Addresses now</h2>"), "{fresh}");
    let old = page(&daemon, "/name/www.example.com", 200);
    assert!(old.contains("<h2>Addresses last seen</h2>") && !old.contains("Addresses now"), "{old}");
    assert!(
        old.contains("datetime=\"2024-03-01T12:00:00Z\">2024-03-01</time>, or within a day before"),
        "{old}"
    );
}

#[test]
fn the_status_page_speaks_to_who_operates_it() {
    let env = TestEnv::new();
    let daemon = daemon(&env);
    let status = page(&daemon, "/status", 200);
    assert!(status.contains("without an answer; the question is counted: <span>1</span>"), "{status}");
    for word in ["no_answer", "lineage", "Waiting for a run", "<dt>Runs"] {
        assert!(!status.contains(word), "{word}: {status}");
    }
    assert_eq!(daemon.json("/api/v1/status")["totals"]["skipped"]["no_answer"], 1, "programs get the name");
}
