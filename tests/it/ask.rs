//! Asking as people ask. An empty answer must mean that it is not there.

use serde_json::{Value, json};

use crate::env::TestEnv;

/// A line of a log as Zeek writes it as JSON.
pub fn record(ts: u64, query: &str, qtype: (u16, &str), rcode: u16, answers: &[&str]) -> String {
    let ttls: Vec<u32> = answers.iter().map(|_| 300).collect();
    let record = json!({
        "ts": ts, "uid": format!("C{ts}{query}"), "id.resp_h": "192.0.2.53", "id.resp_p": 53, "query": query, "qclass": 1,
        "qtype": qtype.0, "qtype_name": qtype.1, "rcode": rcode, "answers": answers, "TTLs": ttls,
    });
    format!("{record}\n")
}

pub const A: (u16, &str) = (1, "A");
const AAAA: (u16, &str) = (28, "AAAA");

/// A ledger `data` of a few names, some of which were asked for in vain, and their log in `logs`.
fn ledger() -> TestEnv {
    let env = TestEnv::new();
    let log = [
        record(1_709_294_400, "update.evil-c2.example", A, 0, &["203.0.113.66"]),
        record(1_709_294_401, "update.evil-c2.example", AAAA, 0, &["2001:db8::66"]),
        record(1_709_294_402, "xn--bcher-kva.example", A, 0, &["203.0.113.67"]),
        record(1_709_294_403, "ns1.example.com", A, 0, &["192.0.2.8"]),
        record(1_709_294_404, "www.example.com", A, 0, &["192.0.2.7"]),
        record(1_709_294_405, "gone.evil-c2.example", A, 3, &[]),
        record(1_709_294_406, "gone.evil-c2.example", A, 3, &[]),
        record(1_709_294_407, "update.evil-c2.example", (16, "TXT"), 3, &[]),
        record(1_709_294_408, "link.example.com", A, 0, &["fe80.example.com"]),
        record(1_709_294_409, "link.example.com", AAAA, 0, &["fe80::1"]),
    ];
    std::fs::create_dir(env.path("logs")).unwrap();
    std::fs::write(env.path("logs/dns.log"), log.concat()).unwrap();
    env.ok(&["import", "--data", "data", "logs"]);
    env
}

pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

pub fn lines(bytes: Vec<u8>) -> Vec<Value> {
    text(bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

//--- indicators -----------------------------------------------------------------------------------------------------

const NAME: &str = "update.evil-c2.example";
const V4: &str = "203.0.113.66";
const V6: &str = "2001:db8::66";
/// Refused, with a hint.
const NO: &str = "";

/// What people paste, by kind, and what they mean.
const PASTED: &[(&str, &[(&str, &str)])] = &[
    (
        "dots in brackets and words",
        &[
            ("update[.]evil-c2[.]example", NAME),
            ("update(.)evil-c2(.)example", NAME),
            ("update{.}evil-c2{.}example", NAME),
            ("update[dot]evil-c2[dot]example", NAME),
            ("update(DOT)evil-c2(dot)example", NAME),
            ("update dot evil-c2 dot example", NAME),
            ("update . evil-c2 . example", NAME),
            ("update[.evil-c2[.example", NAME),
            ("update.]evil-c2.]example", NAME),
            ("update.evil-c2[.example]", NAME),
            ("update.evil\u{2011}c2[.]example", NAME),
            ("update.evil\u{2013}c2.example", NAME),
            ("d=update.evil-c2.example", NAME),
            ("update [.] evil-c2 [.] example", NAME),
            ("203[.]0[.]113[.]66", V4),
            ("203.0.113[.]66", V4),
            ("2001[:]db8[:][:]66", V6),
            ("2001[:]db8[::]66", V6),
        ],
    ),
    (
        "backslashes",
        &[
            (r"update\.evil-c2\.example", NAME),
            (r"update\[.\]evil-c2\[.\]example", NAME),
            (r"203\.0\.113\.66", V4),
            (r"http:\\update.evil-c2.example\x", NAME),
            (r"https:\/\/update.evil-c2.example\/gate.php", NAME),
            (r"\\update.evil-c2.example\share\x.dll", NAME),
            (r"\\update.evil-c2.example\d$\x.dll", NAME),
        ],
    ),
    (
        "what surrounds",
        &[
            ("\"update.evil-c2.example\"", NAME),
            ("'update.evil-c2.example'", NAME),
            ("`update.evil-c2.example`", NAME),
            ("\u{201c}update.evil-c2.example\u{201d}", NAME),
            ("\u{ab} update.evil-c2.example \u{bb}", NAME),
            ("<update.evil-c2.example>", NAME),
            ("(update.evil-c2.example)", NAME),
            ("update.evil-c2.example,", NAME),
            ("update.evil-c2.example;", NAME),
            ("update.evil-c2.example).", NAME),
            ("update.evil-c2.example\",", NAME),
            ("update.evil-c2.example...", NAME),
            ("203.0.113.66.", V4),
            ("- update[.]evil-c2[.]example", NAME),
            ("\u{feff}update.evil-c2.\u{200b}example\u{a0}", NAME),
            ("[c2](https://update.evil-c2.example/x)", NAME),
            ("||update.evil-c2.example^", NAME),
            ("**update.evil-c2.example**", NAME),
            ("~~update[.]evil-c2[.]example~~", NAME),
            ("host=update.evil-c2.example", NAME),
            ("dst_ip=203.0.113.66,", V4),
            ("domain:update.evil-c2.example", NAME),
            ("\"query\":\"update.evil-c2.example\",", NAME),
            ("{\"ip\":\"203.0.113.66\"}", V4),
            ("#update.evil-c2.example", NAME),
            ("dom=update.evil-c2.example&y=1", NAME),
            ("update.evil-c2.example&ttl", NAME),
            ("domain=update.evil-c2.example&y=1", NAME),
        ],
    ),
    (
        "words around it",
        &[
            ("domain: update.evil-c2.example", NAME),
            ("Domain = update[.]evil-c2[.]example", NAME),
            ("IP: 203.0.113.66", V4),
            ("1. update.evil-c2.example", NAME),
            ("2) 203[.]0[.]113[.]66", V4),
            ("update.evil-c2.example (C2)", NAME),
            ("mallory AT update DOT evil-c2 DOT example", NAME),
            ("C2 server hxxps://update[.]evil-c2[.]example/x", NAME),
            ("see 203.0.113.77/24", "203.0.113.0/24"),
            ("update.evil-c2.example (update[.]evil-c2[.]example)", NAME),
            ("http://update.evil-c2.example/my file.html", NAME),
        ],
    ),
    (
        "URLs",
        &[
            ("http://update.evil-c2.example/gate.php?id=1#top", NAME),
            ("hxxp://update.evil-c2.example/", NAME),
            ("hXXps[:]//update[.]evil-c2[.]example:8443/a(b),c", NAME),
            ("hxxps[://]update.evil-c2.example", NAME),
            ("hxxp[s]://update.evil-c2.example", NAME),
            ("meow://update.evil-c2.example/x", NAME),
            ("h**ps://update.evil-c2.example/x", NAME),
            ("https://user:pa@ss@update.evil-c2.example/x", NAME),
            ("//update.evil-c2.example/x", NAME),
            ("//update.evil-c2.example:8080", NAME),
            ("update.evil-c2.example/gate.php", NAME),
            ("update.evil-c2.example?id=7", NAME),
            ("HTTPS://UPDATE.EVIL-C2.EXAMPLE.:443/", NAME),
            ("http://203.0.113.66:8080/x", V4),
            ("https://[2001:db8::66]:8443/x", V6),
            ("https://b\u{fc}cher.example/x", "xn--bcher-kva.example"),
            ("http:/update.evil-c2.example", NAME),
        ],
    ),
    (
        "links to databases, and of whoever leads on",
        &[
            (
                "https://www.virustotal.com/gui/domain/update.evil-c2.example/relations",
                "www.virustotal.com|update.evil-c2.example",
            ),
            ("https://www.virustotal.com/gui/ip-address/203.0.113.66", "www.virustotal.com|203.0.113.66"),
            (
                "hxxps://urlscan[.]io/search/#domain%3Aupdate.evil-c2.example",
                "urlscan.io|update.evil-c2.example",
            ),
            ("<https://www.shodan.io/host/203.0.113.66>", "www.shodan.io|203.0.113.66"),
            ("https://crt.sh/?q=%25.evil-c2.example", "crt.sh|*.evil-c2.example"),
            ("see https://crt.sh/?q=update.evil-c2.example", "crt.sh|update.evil-c2.example"),
            ("https://bgp.he.net/net/203.0.113.0/24#_dns", "bgp.he.net|203.0.113.0/24"),
            (
                "https://to.example/?u=https%253A%252F%252Fupdate.evil-c2.example%252Fx",
                "to.example|update.evil-c2.example",
            ),
            (
                "https://to.example/r/aHR0cHM6Ly91cGRhdGUuZXZpbC1jMi5leGFtcGxlL3g=",
                "to.example|update.evil-c2.example",
            ),
            ("64:ff9b::203.0.113.66", "64:ff9b::cb00:7142|203.0.113.66"),
            ("https://update.evil-c2.example/install.sh", NAME),
        ],
    ),
    (
        "blanks, and what a PDF leaves",
        &[
            ("update. evil-c2. example", NAME),
            ("update.evil-c2 .example", NAME),
            ("203. 0. 113. 66", V4),
            ("update.evil-c2.example...", NAME),
            ("up\u{ad}date.evil-c2.ex\u{ad}ample", NAME),
            ("update\u{a0}.evil-c2\u{202f}.example", NAME),
        ],
    ),
    (
        "ports, users, zones",
        &[
            ("update.evil-c2.example:443", NAME),
            ("203.0.113.66:443", V4),
            ("203.0.113.66#53", V4),
            ("[2001:db8::66]:53", V6),
            ("[2001:db8::66]", V6),
            ("2001:0DB8:0:0::66", V6),
            ("::ffff:203.0.113.66", V4),
            ("[::FFFF:203.0.113.66]:443", V4),
            ("mallory@update.evil-c2.example", NAME),
            ("mallory[at]update[.]evil-c2[.]example", NAME),
            ("mailto:mallory@update.evil-c2.example", NAME),
            ("Mallory <mallory@update.evil-c2.example>", NAME),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:80", "fe80::1"),
        ],
    ),
    (
        "pairs, blocks, ranges",
        &[
            ("update.evil-c2.example|203.0.113.66", "update.evil-c2.example|203.0.113.66"),
            ("203.0.113.66|443", V4),
            ("update.evil-c2.example|443", NAME),
            ("203.0.113.77/24", "203.0.113.0/24"),
            ("203.0.113[.]0/24", "203.0.113.0/24"),
            ("203.0.113.0/255.255.255.0", "203.0.113.0/24"),
            ("203.0.113.60 - 203.0.113.69", "203.0.113.60-203.0.113.69"),
            ("2001:db8::66/32", "2001:db8::/32"),
        ],
    ),
    (
        "queries",
        &[
            ("*.evil-c2[.]example", "*.evil-c2.example"),
            ("rdata:fe80[.]example[.]com", "rdata:fe80.example.com"),
            ("ns[12].example.com", "ns[12].example.com"),
            ("~evil-c2.example.", "~evil-c2.example."),
            ("B\u{dc}CHER.example.", "xn--bcher-kva.example"),
        ],
    ),
    (
        "what is refused",
        &[
            ("203.0.113.256", NO),
            ("203.0.113.066", NO),
            ("203.0.113", NO),
            ("3405803842", NO),
            ("0xCB007142", NO),
            ("203.0.113.*", NO),
            ("203.0.113.x", NO),
            ("203.0.113.0/33", NO),
            ("2001:db8::zz", NO),
            ("2001:db8:*", NO),
            ("https://", NO),
            ("http:", NO),
            ("\"\"", NO),
            ("update.evil-c2.example,www.example.com", NO),
            ("update.evil-c2.example www.example.com", NO),
            ("http://update.evil-c2.example/a http://www.example.com/b", NO),
            ("mallory@update.evil-c2.example bob@www.example.com", NO),
            ("update.evil-c2.example -> 203.0.113.66", NO),
            ("203.0.113.66 -> 203.0.113.67", NO),
            ("d41d8cd98f00b204e9800998ecf8427e", NO),
            ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", NO),
            (r"C:\Windows\Temp\x.exe", NO),
            (r"%APPDATA%\x\y.dll", NO),
            (r"HKLM\Software\Microsoft\Run", NO),
            ("CVE-2024-21413", NO),
            ("smtp.mailfrom=update.evil-c2.example", NO),
            ("!update.evil-c2.example", NO),
            ("see 203.0.113.256", NO),
            ("203.0.113.256 or update.evil-c2.example", NO),
            ("My Printer._ipp._tcp.example.com", NO),
            ("%.evil-c2.example", NO),
            ("^update.*example$", NO),
            ("aa:bb:cc:dd:ee:ff", NO),
            ("update..example", NO),
        ],
    ),
];

fn pasted() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    PASTED.iter().flat_map(|(kind, forms)| forms.iter().map(move |(text, means)| (*kind, *text, *means)))
}

#[test]
fn what_is_pasted_is_understood_as_it_is_meant_or_refused_with_a_hint() {
    assert!(pasted().count() >= 80, "{}", pasted().count());
    let env = ledger();
    let daemon = env.daemon("logs", "data");
    for (kind, text, means) in pasted() {
        let answer = daemon.get(&format!("/api/v1/records?pointing=true&q={}", encoded(text)));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        if means == NO {
            assert_eq!(answer.status, 400, "{kind}: {text}: {body}");
            assert!(body["error"]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{text}: {body}");
        } else {
            assert_eq!((answer.status, &body["asked"]), (200, &json!(means)), "{kind}: {text}: {body}");
            assert!(!body["records"].as_array().unwrap().is_empty(), "{kind}: {text}: {body}");
        }
    }
}

#[test]
fn more_than_one_indicator_is_refused_as_that_and_never_taken_for_one_of_them() {
    let env = ledger();
    for (pasted, many) in [
        ("update.evil-c2.example www.example.com", "two"),
        ("update.evil-c2.example, www.example.com", "two"),
        ("update.evil-c2.example;www.example.com", "two"),
        ("update[.]evil-c2[.]example\twww[.]example[.]com", "two"),
        ("update.evil-c2.example and 203.0.113.66 or so", "two"),
        ("update.evil-c2.example (203.0.113.66)", "two"),
        ("update.evil-c2.example=>203.0.113.66", "two"),
        ("203.0.113.66,203.0.113.67", "two"),
        ("hxxp://update[.]evil-c2[.]example/x hxxp://www[.]example[.]com/", "two"),
        ("http://update.evil-c2.example/x http://www.example.com/", "two"),
        ("mallory@update.evil-c2.example bob@www.example.com", "two"),
        ("[www.example.com is it](https://update.evil-c2.example/)", "two"),
        ("update.evil-c2.example:443,www.example.com:80,203.0.113.66", "3"),
        ("a.badtld b.badtld c.badtld", "3"),
    ] {
        let ended = env.run(&["lookup", "--data", "data", "--", pasted]);
        assert_eq!(ended.status.code(), Some(64), "{pasted}: {}", ended.stderr);
        let said = format!("there are {many} indicators in it");
        assert!(ended.stderr.contains(&said), "{pasted}: {}", ended.stderr);
        assert!(ended.stderr.contains("--extract") && !ended.stderr.contains("032"), "{}", ended.stderr);
    }
    // In a list a line is refused so, and the others are answered.
    std::fs::write(env.path("list"), "update.evil-c2.example www.example.com\n203.0.113.66\n").unwrap();
    let ended = env.run(&["lookup", "--data", "data", "-f", "json", "--file", "list"]);
    assert_eq!(ended.status.code(), Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("line 1: ") && ended.stderr.contains("two indicators"), "{}", ended.stderr);
    let extracted = env.run(&["lookup", "--data", "data", "-f", "json", "--extract", "--file", "list"]);
    assert_eq!(extracted.status.code(), Some(0), "{}", extracted.stderr);
    let queries: std::collections::BTreeSet<String> =
        lines(extracted.stdout).iter().map(|row| row["asked"].as_str().unwrap().to_owned()).collect();
    assert_eq!(queries.len(), 3, "{queries:?}");
}

#[test]
fn the_page_and_bulk_understand_the_same() {
    let env = ledger();
    let daemon = env.daemon("logs", "data");
    let body: String = pasted().map(|(_, text, _)| format!("{}\n", json!(text))).collect();
    let answers = lines(daemon.post("/api/v1/lookup?pointing=true", &body).body);
    for (at, (kind, text, means)) in pasted().enumerate() {
        let mine: Vec<&Value> = answers.iter().filter(|line| line["line"] == at + 1).collect();
        assert!(mine.iter().all(|line| line["query"] == text), "{text}: {mine:?}");
        let page = daemon.get(&format!("/?q={}", encoded(text)));
        let html = String::from_utf8(page.body).unwrap();
        let is_scan = means.starts_with("ns[") || means.starts_with('~');
        if means == NO || is_scan {
            assert!(mine.len() == 1 && mine[0]["error"]["hint"] != "", "{kind}: {text}: {mine:?}");
        } else {
            assert!(mine.len() > 1 && mine.iter().all(|line| line["asked"] == means), "{text}: {mine:?}");
        }
        if means == NO {
            assert!(page.status == 400 && html.contains("Try: "), "{kind}: {text}: {html}");
        } else {
            assert!(page.status == 200 && !html.contains("Nothing found"), "{kind}: {text}: {html}");
            let is_said = html.contains("Asked for ") && html.contains(&format!(">{means}</a>"));
            let is_same =
                text.strip_suffix('.').unwrap_or(text).eq_ignore_ascii_case(means) || means.starts_with('~');
            assert!(is_said != is_same, "{kind}: {text}: {html}");
        }
    }
}

#[test]
fn the_command_line_says_what_it_asked_for() {
    let env = ledger();
    for (text, asked) in [("hxxps://update[.]evil-c2[.]example/x", Some(NAME)), (NAME, None)] {
        let ended = env.run(&["lookup", "--data", "data", "-f", "json", text]);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert_eq!(lines(ended.stdout).len(), 2);
        let said = asked.map_or(String::new(), |asked| format!("Asked for {asked}.\n"));
        assert!(ended.stderr.contains(&said) && ended.stderr.contains("Asked for") == asked.is_some());
    }
    for wrong in ["203.0.113.256", "203.0.113.066", "2001:db8::zz", "203.0.113.*"] {
        let ended = env.run(&["lookup", "--data", "data", wrong]);
        assert_eq!(ended.status.code(), Some(64), "{wrong}: {}", ended.stderr);
        assert!(ended.stderr.contains("\ntry: ") && ended.stdout.is_empty(), "{}", ended.stderr);
    }
}

#[test]
fn endpoints_of_other_ledgers_fold_a_final_dot_case_and_unicode() {
    let env = ledger();
    let daemon = env.daemon("logs", "data");
    for path in [
        "/dns/B\u{dc}CHER.Example.",
        "/dns/full/b\u{fc}cher.EXAMPLE.",
        "/dns/full/xn--BCHER-kva.example.",
        "/dns/like/tuples/b\u{fc}cher.example.",
        "/dns/like/individual/cher-kva.Example.",
        "/dns/find/tuples/b\u{fc}cher.example.",
        "/pdns/query/B\u{dc}CHER.example.",
        "/query/b\u{fc}cher.example.",
        "/dnsdb/v2/lookup/rrset/name/B\u{dc}cher.example.",
        // Of a link to a database, what it is about.
        "/dns/https:%2F%2Fcrt.sh%2F%3Fq=b\u{fc}cher.example",
        "/pdns/query/https:%2F%2Fcrt.sh%2F%3Fq=b\u{fc}cher.example",
    ] {
        let path: String = path
            .chars()
            .map(|c| if c.is_ascii() { c.to_string() } else { encoded(&c.to_string()) })
            .collect();
        let answer = daemon.get(&path);
        let body = text(answer.body);
        assert!(answer.status == 200 && body.contains("xn--bcher-kva.example"), "{path}: {body}");
    }
}

#[test]
fn a_parameter_that_would_be_passed_over_is_refused() {
    let env = ledger();
    let daemon = env.daemon("logs", "data");
    for path in [
        "/api/v1/records?q=update.evil-c2.example&q=www.example.com",
        "/api/v1/records?q=www.example.com&type=A&type=AAAA",
        "/api/v1/seen/www.example.com?type=A&type=AAAA",
        "/api/v1/seen/www.example.com?types=A",
        "/api/v1/export?q=www.example.com&q=x",
    ] {
        let answer = daemon.get(path);
        assert_eq!(answer.status, 400, "{path}: {}", text(answer.body));
    }
    let answer = daemon.get("/api/v1/seen/www.example.com?type=AAAA");
    assert!(answer.status == 404 && text(answer.body).contains("within these filters"));
    let bulk = lines(daemon.post("/api/v1/lookup", "{\"q\":\"www.example.com\",\"type\":\"AAAA\"}\n").body);
    assert!(bulk[0]["error"]["hint"].as_str().unwrap().contains("?type=A"), "{bulk:?}");
    let bulk = lines(daemon.post("/api/v1/lookup?type=AAAA", "www.example.com").body);
    assert_eq!(bulk[0]["found"], 0, "{bulk:?}");
}

#[test]
fn an_answer_that_has_only_the_first_rows_or_lines_says_that_there_are_more() {
    let env = ledger();
    let ended = env.run(&["lookup", "--data", "data", "--summary", "-n", "1", "*.evil-c2.example"]);
    assert!(text(ended.stdout).contains("there may be more"), "{}", ended.stderr);
    for (more, said) in [
        (&["-n", "1"][..], "This is the newest line; there may be more."),
        (&["-n", "2", "--first"], "These are the oldest 2 lines; there may be more."),
        (&["-n", "1", "--clients"], "Summed up are the newest 1 lines; there may be more."),
    ] {
        let ended = env.run(&[&["evidence", "--data", "data", "*.evil-c2.example"], more].concat());
        assert!(ended.stderr.contains(said), "{more:?}: {}", ended.stderr);
    }
    let ended = env.run(&["evidence", "--data", "data", "*.evil-c2.example", "-n", "5"]);
    assert!(!ended.stderr.contains("there may be more"), "{}", ended.stderr);
    // Of a pair, what was counted is what is found.
    let ended = env.run(&["evidence", "--data", "data", "-f", "json", "update.evil-c2.example|203.0.113.67"]);
    let found = lines(ended.stdout);
    let end = &found.last().unwrap()["end"];
    assert_eq!((ended.status.code(), found.len(), &end["complete"]), (Some(0), 5, &json!(true)), "{found:?}");
}

#[test]
fn names_that_servers_are_asked_for_about_themselves_are_not_said_to_be_never_asked_for() {
    let env = ledger();
    let ended = env.run(&["lookup", "--data", "data", "version.bind"]);
    assert!(ended.stderr.contains("never asked (in the class CHAOS"), "{}", ended.stderr);
}

//--- lists ----------------------------------------------------------------------------------------------------------

const LIST: &str = "# iocs of today\n\
    hxxps://update[.]evil-c2[.]example/gate.php\n\
    \n\
    203.0.113.256\n\
    gone.evil-c2.example   # a remark\n\
    203.0.113[.]67\n\
    *.evil-c2.example\n\
    never.example\n\
    ns[12].example.com\n\
    two words\n";

/// Asks with a list, without a daemon and with one: both must say the same.
fn asked_both_ways(options: &[&str], list: &str) -> (Option<i32>, String, String) {
    let env = ledger();
    let ask = || {
        let ended = env.finish(
            env.with_input(&mut env.command(&[&["lookup", "--data", "data"], options].concat()), list),
        );
        let said = ended.said();
        (ended.status.code(), text(ended.stdout), said)
    };
    let alone = ask();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    let served = ask();
    assert_eq!((alone.0, &alone.1), (served.0, &served.1), "{}", served.2);
    let own =
        |said: &str| said.lines().filter(|line| !line.starts_with("Not all")).collect::<Vec<_>>().join("\n");
    assert_eq!(own(&alone.2), own(&served.2));
    alone
}

#[test]
fn a_line_that_is_no_query_is_reported_with_its_number_and_the_others_are_answered() {
    let (code, stdout, stderr) = asked_both_ways(&["-f", "json", "-"], LIST);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(
        stderr.contains("line 4: 203.0.113.256: ") && stderr.contains("line 10: two words: "),
        "{stderr}"
    );
    assert_eq!(stderr.matches("; try: ").count(), 2, "{stderr}");
    let rows: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of: Vec<(u64, &str, &str)> = rows
        .iter()
        .map(|row| {
            (row["line"].as_u64().unwrap(), row["asked"].as_str().unwrap(), row["rdata"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        of,
        [
            (2, NAME, V4),
            (2, NAME, V6),
            (6, "203.0.113.67", "203.0.113.67"),
            (7, "*.evil-c2.example", V4),
            (7, "*.evil-c2.example", V6),
            (9, "ns[12].example.com", "192.0.2.8"),
        ]
    );
    assert_eq!(rows[0]["query"], "hxxps://update[.]evil-c2[.]example/gate.php");
    let (_, csv, _) = asked_both_ways(&["-f", "csv", "--file", "input"], LIST);
    assert!(csv.starts_with("line,query,asked,rrname,rrtype,"), "{csv}");
    assert!(csv.contains("\n6,203.0.113[.]67,203.0.113.67,xn--bcher-kva.example,A,203.0.113.67,1,"), "{csv}");
    let (_, table, said) = asked_both_ways(&["-"], LIST);
    assert!(table.starts_with("LINE  QUERY "), "{table}");
    assert!(table.lines().nth(3).unwrap().starts_with("   6  203.0.113.67 "), "{table}");
    assert!(said.contains(
        "Nothing found for gone.evil-c2.example: asked 2 times, NXDOMAIN, first 2024-03-01 12:00:05, last"
    ));
    assert!(said.contains("Nothing found for never.example: never asked."), "{said}");
}

#[test]
fn a_summary_has_a_line_for_each_indicator() {
    let (code, stdout, _) = asked_both_ways(&["-f", "json", "--summary", "-"], LIST);
    assert_eq!(code, Some(3));
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let figures: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!([
                line["line"],
                line["rows"],
                line["names"],
                line["questions"]["outcomes"],
                line["error"].is_null()
            ])
        })
        .collect();
    assert_eq!(
        figures,
        [
            json!([2, 2, 1, {"answered": 2, "nxdomain": 1}, true]),
            json!([4, 0, 0, null, false]),
            json!([5, 0, 0, {"nxdomain": 2}, true]),
            json!([6, 1, 1, null, true]),
            json!([7, 2, 1, {"answered": 2, "nxdomain": 3}, true]),
            json!([8, 0, 0, {}, true]),
            json!([9, 1, 1, {"answered": 1}, true]),
            json!([10, 0, 0, null, false]),
        ]
    );
    assert_eq!(lines[0]["time_first"], 1_709_294_400);
    let (_, table, _) = asked_both_ways(&["--summary", "-"], LIST);
    let table: Vec<&str> = table.lines().collect();
    assert_eq!(table.len(), 9, "{table:?}");
    assert!(
        table[1].contains("update.evil-c2.example") && table[1].ends_with("answered 2, NXDOMAIN 1"),
        "{table:?}"
    );
    assert!(
        table[2].contains("203.0.113.256") && table[2].contains("no query: 256 is not a part"),
        "{table:?}"
    );
    assert!(table[6].ends_with("never asked"), "{table:?}");
    let (_, csv, _) = asked_both_ways(&["--summary", "-f", "csv", "-"], LIST);
    assert!(
        csv.starts_with("line,query,asked,rows,names,time_first,time_last,questions,outcome\n2,"),
        "{csv}"
    );
    assert!(csv.contains("\n5,gone.evil-c2.example,gone.evil-c2.example,0,0,,,2,NXDOMAIN 2\n"), "{csv}");
}

#[test]
fn a_column_of_a_csv_and_a_report_are_lists_too() {
    let csv = "id,indicator,note\n1,\"update[.]evil-c2[.]example\",c2\n2,,none\n3,203.0.113.67,\n";
    let (code, stdout, stderr) = asked_both_ways(&["-f", "json", "--column", "Indicator", "-"], csv);
    assert!(code == Some(3) && stderr.contains("line 3: 2,,none: there is nothing in column 2"), "{stderr}");
    assert_eq!(stdout.lines().count(), 3, "{stdout}");
    assert_eq!(asked_both_ways(&["-f", "json", "--column", "2", "-"], csv).1, stdout);
    let (code, _, stderr) = asked_both_ways(&["--column", "host", "-"], csv);
    assert!(code == Some(64) && stderr.contains("there are: id, indicator, note"), "{stderr}");
    let report = "The implant (update[.]evil-c2[.]example) resolved to 203.0.113[.]66.\nSee hxxp://gone.evil-c2.example/x, too.\n";
    let (code, stdout, stderr) = asked_both_ways(&["-f", "json", "--extract", "--summary", "-"], report);
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked: Vec<_> =
        lines.iter().map(|line| (line["line"].as_u64().unwrap(), line["asked"].as_str().unwrap())).collect();
    assert_eq!(asked, [(1, NAME), (1, V4), (2, "gone.evil-c2.example")], "{stderr}");
    assert_eq!(code, Some(0));
    assert_eq!(asked_both_ways(&["-"], "# nothing\nnever.example\n").0, Some(1));
}

#[test]
fn the_native_api_takes_the_same_lists() {
    let env = ledger();
    let daemon = env.daemon("logs", "data");
    let csv = "id,indicator\n1,update[.]evil-c2[.]example\n2,203.0.113.256\n3,gone.evil-c2.example\n";
    let answers = lines(daemon.post("/api/v1/lookup?column=indicator&summary=true", csv).body);
    let of = |line: u64| answers.iter().find(|answer| answer["line"] == line).unwrap();
    assert_eq!((&of(2)["rows"], &of(2)["questions"]["count"]), (&json!(2), &json!(3)), "{answers:?}");
    assert_eq!((&of(2)["asked"], &of(2)["ended"]), (&json!(NAME), &json!("complete")));
    assert!(of(3)["error"]["message"].as_str().unwrap().contains("256"), "{answers:?}");
    assert_eq!(of(4)["questions"]["outcomes"], json!({"nxdomain": 2}));
    let report =
        daemon.post("/api/v1/lookup?extract=true", "see update[.]evil-c2[.]example, and 203.0.113.67.");
    let asked: Vec<Value> = lines(report.body).into_iter().filter(|line| !line["ended"].is_null()).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let wrong = daemon.post("/api/v1/lookup?column=host", csv);
    assert!(wrong.status == 400 && text(wrong.body).contains("there are: id, indicator"));
}

#[test]
fn what_was_asked_and_never_answered_is_an_answer() {
    let env = ledger();
    let ask = |query: &str| env.run(&["lookup", "--data", "data", query]);
    let gone = ask("gone.evil-c2.example");
    assert_eq!(gone.status.code(), Some(0), "asked for is something, as for hunt and seen");
    let said = "Nothing found for gone.evil-c2.example: asked 2 times, NXDOMAIN, first 2024-03-01 12:00:05, last 2024-03-01 12:00:06.";
    assert!(gone.stderr.contains(said), "{}", gone.stderr);
    assert!(ask("never.example").stderr.contains("Nothing found for never.example: never asked."));
    let found = ask("*.evil-c2.example");
    assert!(
        found.stderr.contains("asked 5 times of 2 names (NXDOMAIN 3, answered 2), first "),
        "{}",
        found.stderr
    );
    assert_eq!(ask("xn--bcher-kva.example").stderr, "", "that it was answered goes without saying");
    // With filters, the questions are those that fit them; nobody is told "never" of what was asked at another time.
    for (filter, within) in [
        (["--during", "2024-04"], "gone.evil-c2.example: not asked within these filters."),
        (["--last-before", "2024-02"], "gone.evil-c2.example: not asked within these filters."),
        (["--type", "AAAA"], "gone.evil-c2.example: not asked within these filters."),
        (["--during", "2024-03"], "gone.evil-c2.example within these filters: asked 2 times, NXDOMAIN"),
    ] {
        let ended = env.run(&["lookup", "--data", "data", filter[0], filter[1], "gone.evil-c2.example"]);
        let code = if within.contains("asked 2 times") { 0 } else { 1 };
        assert_eq!(ended.status.code(), Some(code));
        assert!(ended.stderr.contains(&format!("Nothing found for {within}")), "{}", ended.stderr);
    }
    let summed =
        env.run(&["lookup", "--data", "data", "--summary", "--during", "2024-04", "gone.evil-c2.example"]);
    assert!(text(summed.stdout).contains("  0  not asked within these filters"), "{}", summed.stderr);
    let daemon = env.daemon("logs", "data");
    assert!(ask("gone.evil-c2.example").stderr.contains(said));
    let answer = daemon.json("/api/v1/records?q=gone.evil-c2.example&questions=true&during=2024-04");
    assert!(answer["questions"]["count"] == 0 && answer["questions"]["filtered"] == true, "{answer}");
    let page = text(daemon.get("/?q=gone.evil-c2.example&from=2024-04&to=2024-04").body);
    assert!(page.contains("It was not asked within these filters"), "{page}");
    let answer = daemon.json("/api/v1/records?q=gone.evil-c2.example&questions=true");
    assert_eq!(answer["questions"]["outcomes"], json!({"nxdomain": 2}), "{answer}");
    let bulk = lines(daemon.post("/api/v1/lookup", "*.evil-c2.example\n203.0.113.66\n").body);
    let ends: Vec<&Value> = bulk.iter().filter(|line| !line["ended"].is_null()).collect();
    let counts: Vec<_> = ends.iter().map(|end| (&end["line"], &end["questions"]["count"])).collect();
    assert!(
        counts.contains(&(&json!(1), &json!(5))) && counts.contains(&(&json!(2), &Value::Null)),
        "{counts:?}"
    );
    let page = text(daemon.get("/?q=gone.evil-c2.example").body);
    assert!(page.contains("Nothing found") && page.contains("asked 2 times, NXDOMAIN"), "{page}");
    assert!(text(daemon.get("/?q=never.example").body).contains("never asked"));
    let page = text(daemon.get("/?q=*.evil-c2.example").body);
    assert!(page.contains("asked 5 times of 2 names (NXDOMAIN 3, answered 2)"), "{page}");
}

#[test]
fn nobody_is_told_never_of_a_time_that_is_not_kept() {
    let env = ledger();
    env.ok(&["expire", "--data", "data", "--before", "2025-01-01"]);
    let said = "Nothing found for gone.evil-c2.example: not asked since 2025-01-01 00:00:00, and nothing is kept from before.";
    let ask = || env.run(&["lookup", "--data", "data", "gone.evil-c2.example"]).stderr;
    assert!(ask().contains(said), "{}", ask());
    let alone = env.run(&["lookup", "--data", "data", "203.0.113.99"]).stderr;
    assert!(
        alone.contains("Nothing is kept of what was last seen before 2025-01-01 00:00:00 UTC."),
        "{alone}"
    );
    let daemon = env.daemon("no-logs", "data");
    assert!(ask().contains(said), "{}", ask());
    let answer = daemon.json("/api/v1/records?q=gone.evil-c2.example&questions=true");
    assert_eq!(answer["questions"]["expired_before"], 1_735_689_600, "{answer}");
    let page = text(daemon.get("/?q=gone.evil-c2.example").body);
    assert!(page.contains("not asked since 2025-01-01"), "{page}");
    // Of addresses too, of which there are no questions.
    let before = "Nothing is kept of what was last seen before 2025-01-01";
    for more in [&["--data", "data"][..], &["--data", "data", "--summary"]] {
        let ended = env.run(&[&["lookup", "203.0.113.99"], more].concat());
        assert!(ended.stderr.contains(before), "{}", ended.stderr);
    }
    let answer = daemon.json("/api/v1/records?q=203.0.113.99");
    assert_eq!(answer["expired_before"], 1_735_689_600, "{answer}");
    assert!(
        text(daemon.get("/?q=203.0.113.99").body).contains("Nothing is kept of what was last seen before")
    );
    // The clients of others are told in a header.
    for path in [
        "/dns/gone.evil-c2.example",
        "/dns/find/tuples/gone.evil-c2.example",
        "/dns/like/individual/gone.evil-c2.example",
        "/pdns/query/gone.evil-c2.example",
        "/query/203.0.113.99",
        "/lookup/rrset/name/gone.evil-c2.example",
        "/dnsdb/v2/lookup/rrset/name/gone.evil-c2.example",
        "/api/v1/names/gone.evil-c2.example",
        "/api/v1/seen/gone.evil-c2.example",
    ] {
        let answer = daemon.get(path);
        let header = "x-dnsledger-expired-before: 2025-01-01t00:00:00z";
        assert!(answer.head.contains(header), "{path}: {}", answer.head);
    }
    assert_eq!(daemon.json("/api/v1/names/gone.evil-c2.example")["expired_before"], 1_735_689_600);
    let seen = text(daemon.get("/api/v1/seen/gone.evil-c2.example").body);
    assert!(seen.contains("since 2025-01-01 00:00:00 UTC, and nothing is kept from before"), "{seen}");
    std::fs::write(env.path("list.txt"), "gone.evil-c2.example\n").unwrap();
    for asked in [["hunt", "list.txt"], ["evidence", "gone.evil-c2.example"]] {
        let ended = env.run(&[&asked[..], &["--data", "data"]].concat());
        assert!(ended.stderr.contains("before 2025-01-01 00:00:00 UTC"), "{asked:?}: {}", ended.stderr);
    }
}

//--- times ----------------------------------------------------------------------------------------------------------

/// Noon of a day, of which the month counts from January 2026.
fn noon(month: u64, day: u64) -> u64 {
    let before: u64 = [31, 28, 31, 30, 31][..month as usize - 1].iter().sum();
    1_767_225_600 + (before + day - 1) * 86_400 + 43_200
}

#[test]
fn march_has_what_was_seen_in_it_first_and_what_may_have_been_behind() {
    let env = TestEnv::new();
    let spans = [
        ("before", (1, 5), (2, 10)),
        ("into", (2, 20), (3, 5)),
        ("within", (3, 10), (3, 20)),
        ("equal", (3, 1), (3, 31)),
        ("over", (2, 1), (5, 20)),
        ("outof", (3, 25), (4, 10)),
        ("after", (4, 1), (4, 10)),
    ];
    let log: String = spans
        .iter()
        .flat_map(|(name, first, last)| [*first, *last].map(|(month, day)| (noon(month, day), name)))
        .map(|(ts, name)| record(ts, &format!("{name}.march.example"), A, 0, &["192.0.2.3"]))
        .collect();
    std::fs::create_dir(env.path("logs")).unwrap();
    std::fs::write(env.path("logs/dns.log"), log).unwrap();
    env.ok(&["import", "--data", "data", "logs"]);
    // What encloses the month and was seen on no day of it is last; all else is in the order of the ledger.
    let found = ["equal", "into", "outof", "within", "over"].map(|name| format!("{name}.march.example"));
    let names = |rows: &[Value]| -> Vec<String> {
        rows.iter().map(|row| row["rrname"].as_str().unwrap().to_owned()).collect()
    };
    let asked = |query: &str| {
        let ended = env.run(&["lookup", "--data", "data", "-f", "json", "--during", "2026-03", query]);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        names(&lines(ended.stdout))
    };
    for query in ["*.march.example", "192.0.2.3", "~march"] {
        assert_eq!(asked(query), found, "{query}");
    }
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    assert_eq!(asked("192.0.2.3"), found);
    for during in
        ["2026-03", "2026-03-01..2026-03-31", "2026-03..2026-03", "2026-03-01T00:00:00Z..2026-03-31T23"]
    {
        let answer = daemon.json(&format!("/api/v1/records?q=192.0.2.3&during={during}"));
        assert_eq!(names(answer["records"].as_array().unwrap()), found, "{during}");
    }
    // Page by page, over the border between the two.
    let mut next = String::new();
    for name in &found {
        let answer = daemon.json(&format!("/api/v1/records?q=*.march.example&during=2026-03&limit=1{next}"));
        assert_eq!(names(answer["records"].as_array().unwrap()), [name.as_str()]);
        next = format!("&cursor={}", answer["next"].as_str().unwrap_or_default());
    }
    assert_eq!(next, "&cursor=");
    let html = text(daemon.get("/?q=192.0.2.3&from=2026-03&to=2026-03").body);
    for (name, ..) in spans {
        let is_found = found.contains(&format!("{name}.march.example"));
        assert_eq!(html.contains(&format!("/name/{name}.march.example")), is_found, "{name}: {html}");
    }
    assert!(html.contains("name=\"from\" value=\"2026-03\"") && html.contains("5 rows"), "{html}");
    let hour = daemon.json("/api/v1/records?q=192.0.2.3&during=2026-03-20T12");
    assert_eq!(names(hour["records"].as_array().unwrap())[0], "within.march.example");
    for wrong in ["7", "2026-13", "soon", "1774371600000"] {
        let answer = daemon.get(&format!("/api/v1/records?q=192.0.2.3&during={wrong}"));
        assert!(answer.status == 400 && text(answer.body).contains("7d"), "{wrong}");
        let ended = env.run(&["lookup", "--data", "data", "--during", wrong, "192.0.2.3"]);
        assert!(ended.status.code() == Some(64) && ended.stderr.contains("7d"), "{}", ended.stderr);
    }
    let home = text(daemon.get("/").body);
    assert!(home.contains("/?q=%2A&amp;first_after=today&amp;sort=-first"), "{home}");
    assert_eq!(daemon.get("/?q=*&first_after=today&sort=-first").status, 200);
}

#[test]
fn the_page_takes_a_list_and_has_a_line_with_a_link_for_each_indicator() {
    let env = ledger();
    let daemon = env.daemon("logs", "data");
    assert!(text(daemon.get("/").body).contains("href=\"/list\""));
    assert!(text(daemon.get("/list").body).contains("<textarea"));
    let page = |fields: &[(&str, &str)]| {
        let form: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let answer = daemon.post("/list", &form.join("&"));
        (answer.status, text(answer.body))
    };
    let (status, html) = page(&[("list", LIST), ("column", "")]);
    assert_eq!(status, 200);
    assert!(html.contains("<strong>5 indicators</strong>, 3 seen"), "{html}");
    assert!(html.contains("href=\"/?q=update.evil-c2.example\""), "{html}");
    assert!(html.contains("NXDOMAIN 2") && html.contains("never asked"), "{html}");
    assert!(html.contains("256 is not a part of an address") && html.contains("Try: "), "{html}");
    // What reads the whole ledger is asked by itself, one click away.
    assert!(html.contains("href=\"/?q=ns%5B12%5D.example.com\""), "{html}");
    let (_, html) = page(&[("list", "see update[.]evil-c2[.]example <b>"), ("extract", "true")]);
    assert!(html.contains("<strong>1 indicator</strong>, 1 seen") && !html.contains("<b>"), "{html}");
    let (status, html) = page(&[("list", "id,ioc\n1,www.example.com\n"), ("column", "host")]);
    assert!(status == 400 && html.contains("there are: id, ioc"), "{html}");
}

//--- order ----------------------------------------------------------------------------------------------------------

#[test]
fn rows_come_in_the_order_that_is_asked_for_and_the_newest_only() {
    let env = ledger();
    let rdata = |rows: &[Value]| -> Vec<String> {
        rows.iter().map(|row| row["rdata"].as_str().unwrap().to_owned()).collect()
    };
    let newest = ["fe80::1", "fe80.example.com", "192.0.2.7"];
    let ask = || {
        let ended = env.run(&["lookup", "--data", "data", "-f", "json", "--sort", "-last", "-n", "3", "*"]);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        rdata(&lines(ended.stdout))
    };
    assert_eq!(ask(), newest);
    let daemon = env.daemon("logs", "data");
    assert_eq!(ask(), newest);
    let answer = daemon.json("/api/v1/records?q=*&sort=-last&limit=3");
    assert_eq!(rdata(answer["records"].as_array().unwrap()), newest);
    assert_eq!((&answer["ended"], &answer["next"]), (&json!("limit"), &Value::Null));
    let answer = daemon.json("/api/v1/records?q=*.evil-c2.example&sort=first");
    assert_eq!(rdata(answer["records"].as_array().unwrap()), [V4, V6]);
    assert_eq!((&answer["ended"], &answer["truncated"]), (&json!("complete"), &json!(false)));
    let csv = text(daemon.get("/api/v1/records?q=*&sort=name&format=csv&limit=1").body);
    assert_eq!(csv.lines().count(), 2, "{csv}");
    for wrong in ["sort=size", "sort=last&limit=10001", "sort=last&cursor=AQA"] {
        assert_eq!(daemon.get(&format!("/api/v1/records?q=*&{wrong}")).status, 400, "{wrong}");
    }
    assert_eq!(env.run(&["lookup", "--data", "data", "--sort", "size", "*"]).status.code(), Some(64));
}

#[test]
fn who_asks_for_a_number_of_rows_hears_whether_there_are_more() {
    let env = ledger();
    let check = || {
        for (args, more) in [
            (&["-n", "2", "*.example.com"][..], "These are the first 2 rows; there are more.\n"),
            (&["-n", "1", "*.example.com"], "This is the first row; there are more.\n"),
            (&["-n", "1", "-f", "csv", "*.example.com"], ""),
            (
                &["-n", "3", "--sort", "count", "*.example.com"],
                "These are the first 3 rows in that order; there are more.\n",
            ),
            (
                &["-n", "1", "*.example.com", "192.0.2.7"],
                "Of 1 of 2 queries there are more rows than the first 1.\n",
            ),
            (&["-n", "4", "*.example.com"], ""),
            (&["-n", "1", "192.0.2.7"], ""),
        ] {
            let ended = env.run(&[&["lookup", "--data", "data"], args].concat());
            assert_eq!((ended.status.code(), ended.said().as_str()), (Some(0), more), "{args:?}");
        }
    };
    check();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    check();
}

#[test]
fn each_query_of_a_list_has_its_own_newest_rows() {
    let list = "*.example.com\n203.0.113.66\n*.evil-c2.example\n";
    let options = ["-f", "json", "--sort", "-last", "-n", "2", "-"];
    let (code, stdout, stderr) = asked_both_ways(&options, list);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let rows: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of: Vec<_> = rows.iter().map(|row| (&row["line"], row["rdata"].as_str().unwrap())).collect();
    let [one, two, three] = [json!(1), json!(2), json!(3)];
    let newest = [(&one, "fe80::1"), (&one, "fe80.example.com"), (&two, V4), (&three, V6), (&three, V4)];
    assert_eq!(of, newest);
    let env = ledger();
    let daemon = env.daemon("logs", "data");
    let bulk = |query: &str| lines(daemon.post(&format!("/api/v1/lookup?{query}"), list).body);
    let answers = bulk("sort=-last&limit=2");
    let of = |line: u64| -> Vec<&Value> { answers.iter().filter(|answer| answer["line"] == line).collect() };
    let rdata: Vec<&Value> = of(1).iter().map(|answer| &answer["rdata"]).collect();
    assert_eq!(rdata, [&json!("fe80::1"), &json!("fe80.example.com"), &Value::Null]);
    let ends: Vec<&Value> = [1, 2, 3].map(|line| of(line).last().copied().unwrap()).to_vec();
    let ends: Vec<_> = ends.iter().map(|end| (&end["found"], &end["ended"], &end["next"])).collect();
    let (limit, complete) = (json!("limit"), json!("complete"));
    assert_eq!(
        ends,
        [
            (&json!(2), &limit, &Value::Null),
            (&json!(1), &complete, &Value::Null),
            (&json!(2), &complete, &Value::Null)
        ]
    );
    assert_eq!(bulk("sort=first&limit=10000").len(), 4 + 1 + 2 + 3 + 1);
    for wrong in ["sort=size", "sort=last&limit=10001", "sort=last&summary=true"] {
        let answer = daemon.post(&format!("/api/v1/lookup?{wrong}"), list);
        assert!(answer.status == 400 && text(answer.body).contains("bad_sort"), "{wrong}");
    }
}

#[test]
fn a_terminal_is_told_what_is_cut_and_a_dumb_one_gets_plain_text() {
    if !std::process::Command::new("script").arg("--version").output().is_ok_and(|out| out.status.success()) {
        return crate::env::skipped("script (util-linux) is not here: it makes a terminal");
    }
    let env = TestEnv::new();
    let name = format!("{}.example.com", ["a-label-of-some-length"; 5].join("."));
    let spf = format!("TXT 200 v=spf1 {}-all", "include:_spf.example.com ".repeat(7));
    let log = [
        record(1_709_294_400, &name, A, 0, &["192.0.2.7"]),
        record(1_709_294_401, "text.example.com", (16, "TXT"), 0, &[&spf]),
    ];
    std::fs::write(env.path("dns.log"), log.concat()).unwrap();
    env.ok(&["import", "--data", "data", "dns.log"]);
    // A terminal of 80 columns, as a person has it.
    let shown = |term: &str, options: &str| {
        let program = env!("CARGO_BIN_EXE_dnsledger");
        let line = format!("stty cols 80; {program} lookup --data data {options} '*.example.com'");
        let mut command = env.tool("script");
        command
            .args(["-qec", &line, "/dev/null"])
            .env("TERM", term)
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NO_COLOR");
        let ended = env.finish(&mut command);
        assert!(ended.status.success(), "{}", ended.stderr);
        text(ended.stdout).replace('\r', "")
    };
    let narrow = shown("xterm", "");
    assert!(narrow.starts_with("\u{1b}[1mRRNAME") && narrow.contains('\u{2026}'), "{narrow}");
    assert!(narrow.contains("\nOf the data of 1 row the middle is left out: --wide shows it.\n"), "{narrow}");
    let rows = || narrow.lines().filter(|line| !line.starts_with(['\u{1b}', 'O']));
    assert!(rows().all(|line| line.chars().count() <= 80), "{narrow}");
    // The name goes on in the next line, and nothing of it is left out.
    let cells: String = rows().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(cells.replace("text.example.com", "").contains(&name), "{narrow}");
    let wide = shown("xterm", "--wide");
    assert!(
        wide.contains(&format!("\n{name}  A ")) && wide.contains("include:_spf.example.com -all"),
        "{wide}"
    );
    assert!(!wide.contains("left out"), "{wide}");
    let dumb = shown("dumb", "");
    assert!(dumb.is_ascii() && !dumb.contains('\u{1b}') && dumb.contains("..."), "{dumb}");
    assert!(dumb.contains("left out: --wide"), "{dumb}");
}

#[test]
fn five_hundred_lines_are_each_answered_or_reported_by_one_command() {
    let env = TestEnv::new();
    env.ok(&["import", "--data", "data", &crate::env::testdata("zeek-tree")]);
    let export = text(env.ok(&["export", "--data", "data", "--format", "csv"]));
    let names: Vec<&str> = export.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    let mut csv = String::from("id,indicator,note\n");
    let (mut asked, mut wrong) = (0, 0);
    for (id, name) in (0..499).zip(names.iter().filter(|name| !name.contains(['"', '\\'])).cycle()) {
        let cell = match id % 7 {
            0 => format!("hxxps://{}/a,b?x=1", name.replace('.', "[.]")),
            1 => format!("\"{name}.\""),
            2 => format!("203.0.113.{}", 300 + id),
            3 => {
                csv.push_str("# a comment, with a comma\n");
                continue;
            }
            4 => format!("{name}:443"),
            5 => format!("198.51.100.{}/24", id % 256),
            _ => format!("user@{name}"),
        };
        let is_wrong = id % 7 == 2;
        (asked, wrong) = if is_wrong { (asked, wrong + 1) } else { (asked + 1, wrong) };
        csv.push_str(&format!("{id},\"{}\",x\n", cell.replace('"', "\"\"")));
    }
    let args = ["lookup", "--data", "data", "--summary", "-f", "json", "--column", "indicator", "-"];
    let ended = env.finish(env.with_input(&mut env.command(&args), &csv));
    assert_eq!(ended.status.code(), Some(3), "{}", ended.stderr);
    let answers = lines(ended.stdout);
    let is_wrong = |line: &&Value| !line["error"].is_null();
    assert_eq!(answers.iter().filter(is_wrong).count(), wrong);
    assert_eq!(answers.len(), asked + wrong);
    let numbers: Vec<u64> = answers.iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted() && numbers.iter().all(|line| *line > 1));
    // Each name of the sample is found, however it was written.
    let missed = answers.iter().filter(|line| line["rows"] == 0 && line["error"].is_null());
    let missed: Vec<&Value> =
        missed.filter(|line| !line["asked"].as_str().unwrap().ends_with("/24")).collect();
    assert!(missed.is_empty(), "{missed:?}");
    assert_eq!(ended.stderr.matches("line ").count(), wrong, "{}", ended.stderr);
}
