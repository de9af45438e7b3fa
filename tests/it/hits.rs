//! Hits: held against the export and the questions, whatever came first, the indicators or the logs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use generate::Random;

use crate::env::{Daemon, TestEnv, pause, setting, until};

/// Lines of a log: a name is asked for, and has an answer or none.
pub fn log(name: &str, records: &[(u64, &str, &str)]) -> String {
    let line = |(at, (time, query, answer)): (usize, &(u64, &str, &str))| {
        let answers = match *answer {
            "" => String::new(),
            answer => format!(",\"answers\":[\"{answer}\"],\"TTLs\":[60.0]"),
        };
        let (qtype, qtype_name) =
            if answer.contains(|c: char| c.is_ascii_alphabetic()) { (5, "CNAME") } else { (1, "A") };
        format!(
            "{{\"ts\":{time}.{at:06},\"uid\":\"C{name}{at}\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\
             \"query\":\"{query}\",\"qclass\":1,\"qtype\":{qtype},\"qtype_name\":\"{qtype_name}\",\"rcode\":0{answers}}}\n"
        )
    };
    records.iter().enumerate().map(line).collect()
}

pub const BASE: u64 = 1_780_000_000;

/// Records of one of several logs, made up: some names and addresses are bad.
fn records(which: u64) -> Vec<(u64, String, String)> {
    let mut state = which + 1;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    (0..150)
        .map(|_| {
            let name = format!("h{}.d{}.example", random(3), random(60));
            let answer = match random(4) {
                0 => String::new(),
                1 => format!("t{}.cdn{}.test", random(3), random(20)),
                _ => format!("198.51.{}.{}", random(4), random(60)),
            };
            (BASE + random(100_000), name, answer)
        })
        .collect()
}

const FEED: &str =
    "d7.example\nd8.example\nh1.d9.example\n198.51.0.5\n198.51.2.0/27\ncdn3.test\nnobody.test\n# a comment\n";

fn written(which: u64) -> String {
    let records = records(which);
    let borrowed: Vec<_> = records.iter().map(|(t, n, a)| (*t, n.as_str(), a.as_str())).collect();
    log(&format!("x{which}-"), &borrowed)
}

/// What makes a hit: indicator, name, address.
type Known = BTreeSet<(String, String, Option<String>)>;

/// By brute force over the records: a plain list means what it names and all below.
fn expected(logs: impl Iterator<Item = u64>) -> Known {
    let domains = ["d7.example", "d8.example", "h1.d9.example", "cdn3.test"];
    let mut known = Known::new();
    for (_, name, answer) in logs.flat_map(records) {
        for domain in domains {
            let is_below = |name: &str| name == domain || name.ends_with(&format!(".{domain}"));
            if is_below(&name) || is_below(&answer) {
                known.insert((domain.to_owned(), name.clone(), None));
            }
        }
        let Ok(address) = answer.parse::<std::net::Ipv4Addr>() else { continue };
        let [_, _, c, d] = address.octets();
        if (c, d) == (0, 5) {
            known.insert(("198.51.0.5".to_owned(), name.clone(), Some(answer.clone())));
        }
        if c == 2 && d < 32 {
            known.insert(("198.51.2.0/27".to_owned(), name, Some(answer)));
        }
    }
    known
}

/// Hits as they are written; the numbers have no gaps, and no hit is there twice.
fn hits(lines: &str) -> Known {
    let all: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: BTreeSet<u64> = all.iter().map(|hit| hit["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=all.len() as u64).collect());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let known: Known = all
        .iter()
        .map(|hit| {
            (text(&hit["indicator"]), text(&hit["rrname"]), hit["address"].as_str().map(str::to_owned))
        })
        .collect();
    assert_eq!(known.len(), all.len());
    known
}

fn all_hits(env: &TestEnv, data: &str) -> Known {
    let text = env.ok(&["hits", "--data", data, "-f", "json", "-n", "100000"]);
    hits(std::str::from_utf8(&text).unwrap())
}

#[test]
fn hits_are_the_same_whatever_came_first_and_each_is_there_once() {
    let env = TestEnv::new();
    for which in 0..4 {
        fs::write(env.path(&format!("dns.{which}.log")), written(which)).unwrap();
    }
    fs::write(env.path("feed.txt"), FEED).unwrap();
    let wanted = expected(0..4);
    assert!(wanted.len() > 30, "{}", wanted.len());
    // 4 stands for the feed.
    let orders: [[u64; 5]; 4] = [[0, 1, 2, 3, 4], [2, 0, 4, 1, 3], [3, 4, 2, 1, 0], [1, 4, 0, 3, 2]];
    for (round, order) in orders.into_iter().enumerate() {
        let data = format!("data{round}");
        for step in order {
            if step == 4 {
                let said = env.ok(&["indicators", "import", "--data", &data, "--feed", "bad", "feed.txt"]);
                let said = String::from_utf8(said).unwrap();
                assert!(said.contains("7 indicators"), "{said}");
            } else {
                env.ok(&["import", "--data", &data, &format!("dns.{step}.log")]);
            }
        }
        assert_eq!(all_hits(&env, &data), wanted, "{order:?}");
        // Once more is no other hit, and neither is another feed with the same indicator.
        env.ok(&["indicators", "import", "--data", &data, "--feed", "bad", "--replace", "feed.txt"]);
        env.ok(&["indicators", "import", "--data", &data, "--feed", "worse", "feed.txt"]);
        assert_eq!(all_hits(&env, &data), wanted, "{order:?}");
        assert_eq!(env.ok(&["verify", "--data", &data]).last_chunk(), Some(b"sound\n"));
    }
    // A feed that is gone finds no more, and its hits stay.
    for feed in ["bad", "worse"] {
        env.ok(&["indicators", "remove", "--data", "data0", "--feed", feed]);
    }
    fs::write(env.path("dns.9.log"), log("y", &[(BASE, "new.d7.example", "192.0.2.1")])).unwrap();
    env.ok(&["import", "--data", "data0", "dns.9.log"]);
    assert_eq!(all_hits(&env, "data0"), wanted);
    let rows: BTreeMap<String, u64> = env
        .export("data0")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|row| (row["rrname"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap()))
        .collect();
    assert!(
        wanted.iter().filter(|(_, name, address)| address.is_some() && !rows.contains_key(name)).count() == 0
    );
}

#[test]
fn a_hit_that_is_missing_is_told_by_verify() {
    let env = TestEnv::new();
    fs::write(env.path("dns.0.log"), written(0)).unwrap();
    fs::write(env.path("dns.1.log"), log("z", &[(BASE, "unmet.d7.example", "192.0.2.9")])).unwrap();
    fs::write(env.path("feed.txt"), FEED).unwrap();
    env.ok(&["import", "--data", "data", "dns.0.log"]);
    env.ok(&["indicators", "import", "--data", "data", "--feed", "bad", "feed.txt"]);
    assert_eq!(env.ok(&["verify", "--data", "data"]).last_chunk(), Some(b"sound\n"));
    // As if what comes had not been looked through.
    fs::rename(env.path("data/watch"), env.path("aside")).unwrap();
    env.ok(&["import", "--data", "data", "dns.1.log"]);
    assert_eq!(env.ok(&["verify", "--data", "data"]).last_chunk(), Some(b"sound\n"));
    fs::rename(env.path("aside"), env.path("data/watch")).unwrap();
    let ended = env.run(&["verify", "--data", "data"]);
    let said = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("unmet.d7.example is met by d7.example, and is not a hit"), "{said}");
}

#[test]
fn a_feed_that_shrinks_by_over_half_is_held_back_until_it_is_confirmed_or_seen_twice() {
    let env = TestEnv::new();
    fs::write(env.path("dns.log"), written(0)).unwrap();
    env.ok(&["import", "--data", "data", "dns.log"]);
    let list = |n: u64| (0..n).map(|i| format!("bad{i}.example.net\n")).collect::<String>();
    fs::write(env.path("large.txt"), list(100)).unwrap();
    fs::write(env.path("small.txt"), list(10)).unwrap();
    let import = |more: &[&str]| {
        let ended = env
            .run(&[&["indicators", "import", "--data", "data", "--feed", "f", "--replace"], more].concat());
        ended.status.code()
    };
    let listed = || {
        let text = env.ok(&["indicators", "list", "--data", "data", "--feed", "f"]);
        String::from_utf8(text).unwrap().lines().count()
    };
    assert_eq!(import(&["large.txt"]), Some(0));
    assert_eq!((import(&["small.txt"]), listed()), (Some(1), 100));
    let feeds = String::from_utf8(env.ok(&["feeds", "--data", "data"])).unwrap();
    assert!(feeds.contains("held back") && feeds.contains("100 indicators"), "{feeds}");
    assert_eq!((import(&["small.txt"]), listed()), (Some(0), 10), "it is seen twice");
    assert_eq!((import(&["large.txt"]), listed()), (Some(0), 100));
    assert_eq!((import(&["--confirm", "small.txt"]), listed()), (Some(0), 10));
    assert_eq!((import(&["large.txt"]), import(&["small.txt"]), listed()), (Some(0), Some(1), 100));
    env.ok(&["indicators", "confirm", "--data", "data", "--feed", "f"]);
    assert_eq!(listed(), 10);
    // Another that is as small is not the same once more, and neither is nothing.
    let others = (0..10).map(|i| format!("other{i}.example.net\n")).collect::<String>();
    fs::write(env.path("others.txt"), others).unwrap();
    fs::write(env.path("empty.txt"), "# it was all removed\n").unwrap();
    assert_eq!(
        (import(&["large.txt"]), import(&["small.txt"]), import(&["others.txt"])),
        (Some(0), Some(1), Some(1))
    );
    assert_eq!((import(&["empty.txt"]), listed()), (Some(1), 100));
    assert_eq!((import(&["small.txt"]), import(&["small.txt"]), listed()), (Some(1), Some(0), 10));
    let confirm = || env.run(&["indicators", "confirm", "--data", "data", "--feed", "f"]);
    let none = confirm();
    assert!(
        !none.status.success() && none.stderr.contains("nothing of a feed \"f\" is held back"),
        "{}",
        none.stderr
    );
    // Also a small one does not become empty in silence.
    assert_eq!((import(&["empty.txt"]), listed()), (Some(1), 10));
    assert!(confirm().status.success());
    assert_eq!((import(&["small.txt"]), listed()), (Some(0), 10));
    // What is no list changes nothing.
    fs::write(env.path("page.txt"), "<!DOCTYPE html><html><body>Not found</body></html>\n").unwrap();
    assert_eq!((import(&["page.txt"]), listed()), (Some(2), 10));
    for name in ["", "../x", "a/b"] {
        let ended = env.run(&["indicators", "import", "--data", "data", "--feed", name, "large.txt"]);
        assert_eq!(ended.status.code(), Some(2), "{name}: {}", ended.stderr);
    }
}

/// Reads a stream of events.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(daemon: &Daemon, last: Option<u64>) -> Events {
        let address = daemon.url("").trim_start_matches("http://").trim_end_matches('/').to_owned();
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
        write!(stream, "GET /api/v1/hits/stream HTTP/1.1\r\nHost: {address}\r\n{last}\r\n").unwrap();
        let mut events = Events(BufReader::new(stream));
        while !events.line().starts_with(": open") {}
        events
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream has ended");
        line
    }

    /// The number and the data of the next event.
    fn next(&mut self) -> (u64, Value) {
        let mut id = None;
        loop {
            let line = self.line();
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.trim().parse().unwrap());
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (id.unwrap(), serde_json::from_str(data).unwrap());
            }
        }
    }
}

#[test]
fn a_daemon_meets_each_line_as_it_comes_and_tells_of_it_at_once_and_after_a_kill() {
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    fs::create_dir(env.path("lists")).unwrap();
    let path = env.path("logs/dns.log");
    fs::write(&path, log("a", &[(BASE, "old.d7.example", "192.0.2.1"), (BASE, "good.example", "192.0.2.1")]))
        .unwrap();
    fs::write(env.path("lists/one.txt"), "d7.example\n").unwrap();
    let config = "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[source]]\nlogs = \"logs\"\n\
                  [hits]\nfile = \"hits.json\"\n[[feed]]\nname = \"mine\"\nfile = \"lists\"\nallow = [\"fine.d7.example\"]\n";
    fs::write(env.path("dnsledger.toml"), config).unwrap();
    let daemon = env.configured_daemon("dnsledger.toml", "data");
    daemon.wait_for_lines(2);
    let names = |daemon: &Daemon| -> Vec<String> {
        let hits = daemon.json("/api/v1/hits?order=oldest");
        hits["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["rrname"].as_str().unwrap().to_owned())
            .collect()
    };
    until("history is looked through", || (names(&daemon) == ["old.d7.example"]).then_some(()));
    let out = fs::File::create(env.path("followed")).unwrap();
    let words = ["hits", "--data", "data", "--follow", "--after", "0", "-f", "json"];
    let mut follower =
        env.command(&words).stdout(out).stderr(fs::File::create(env.path("said")).unwrap()).spawn().unwrap();
    let followed = || {
        let lines = fs::read_to_string(env.path("followed")).unwrap();
        let name =
            |line: &str| Some(serde_json::from_str::<Value>(line).ok()?["rrname"].as_str()?.to_owned());
        lines.lines().filter_map(name).collect::<Vec<_>>()
    };
    until("who follows has begun", || (followed() == ["old.d7.example"]).then_some(()));
    let mut events = Events::open(&daemon, None);
    let append = |text: &str| {
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    append(&log("b", &[(BASE + 5, "live.d7.example", ""), (BASE + 6, "x.fine.d7.example", "192.0.2.3")]));
    let (id, hit) = events.next();
    assert_eq!((id, &hit["rrname"], &hit["feeds"][0]), (2, &"live.d7.example".into(), &"mine".into()));
    // A count that grows is no other hit.
    append(&log(
        "c",
        &[(BASE + 9, "live.d7.example", "192.0.2.4"), (BASE + 9, "more.d7.example", "192.0.2.4")],
    ));
    assert_eq!(events.next().1["rrname"], "more.d7.example");
    let metrics = String::from_utf8(daemon.get("/metrics").body).unwrap();
    assert!(
        metrics.contains("dnsledger_hits_total 3")
            && metrics.contains("dnsledger_feed_indicators{feed=\"mine\"} 1")
    );
    let feeds = daemon.json("/api/v1/feeds");
    assert_eq!((&feeds["indicators"], &feeds["feeds"][0]["name"]), (&1.into(), &"mine".into()));
    daemon.kill();
    append(&log("d", &[(BASE + 20, "down.d7.example", "192.0.2.5")]));
    let daemon = env.configured_daemon("dnsledger.toml", "data");
    // Whoever comes back goes on where it was.
    let mut events = Events::open(&daemon, Some(2));
    assert_eq!(events.next().1["rrname"], "more.d7.example");
    let (id, hit) = events.next();
    assert_eq!((id, &hit["rrname"]), (4, &"down.d7.example".into()));
    assert_eq!(names(&daemon).len(), 4);
    let file = || fs::read_to_string(env.path("data/hits.json")).unwrap_or_default();
    until("all are in the file", || (file().lines().count() == 4).then_some(()));
    assert_eq!(hits(&file()).len(), 4);
    // One that is taken away is begun again, with what comes then.
    fs::rename(env.path("data/hits.json"), env.path("data/hits.json.1")).unwrap();
    append(&log("e", &[(BASE + 30, "last.d7.example", "192.0.2.6")]));
    assert_eq!(events.next().1["rrname"], "last.d7.example");
    until("it is in the next file", || file().contains("last.d7.example").then_some(()));
    // Who follows by the command waited for the daemon, and has each once.
    until("who follows has the last", || {
        let ended = follower.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?}: {}", fs::read_to_string(env.path("said")).unwrap());
        followed().contains(&"last.d7.example".to_owned()).then_some(())
    });
    assert_eq!(followed(), names(&daemon));
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert_eq!(file().lines().count(), 1);
    let newest = daemon.json("/api/v1/hits?limit=1");
    assert_eq!(
        (&newest["hits"][0]["sequence"], &newest["next"], &newest["last"]),
        (&5.into(), &5.into(), &5.into())
    );
    let next = daemon.json("/api/v1/hits?limit=2&cursor=5");
    assert_eq!((&next["hits"][0]["sequence"], &next["hits"][1]["sequence"]), (&4.into(), &3.into()));
    assert_eq!(daemon.get("/api/v1/hits?feed=other").status, 400);
    assert_eq!(daemon.json("/api/v1/hits?since=1h")["hits"].as_array().unwrap().len(), 5);
    let about = |value: &str| {
        let hits = daemon.json(&format!("/api/v1/hits?value={value}"))["hits"].clone();
        hits.as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["rrname"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(about("hxxp://LAST[.]d7.example/x"), ["last.d7.example"]);
    assert_eq!((about("d7.example").len(), about("other.test").len()), (5, 0));
    let told = env.ok(&["hits", "--data", "data", "--value", "last.d7.example", "-f", "json"]);
    assert_eq!(String::from_utf8(told).unwrap().lines().count(), 1);
    let page = |path: &str| String::from_utf8(daemon.get(path).body).unwrap();
    let shown = page("/hits?feed=mine");
    assert!(shown.contains("last.d7.example") && shown.contains("d7.example"), "{shown}");
    assert!(!page("/hits?feed=other").contains("last.d7.example"));
    let shown = page("/hits?value=last.d7.example");
    assert!(shown.contains("last.d7.example") && !shown.contains("down.d7.example"), "{shown}");
    assert!(page("/name/last.d7.example").contains("href=\"/hits?value=d7.example\""));
    assert!(
        page("/name/live.d7.example").contains("Listed: ")
            && !page("/name/good.example").contains("Listed: ")
    );
    for bad in ["order=x", "cursor=x", "since=x", "type=A", "value=a..b", "kind=domian"] {
        assert_eq!(daemon.get(&format!("/api/v1/hits?{bad}")).status, 400, "{bad}");
    }
    let printed = String::from_utf8(env.ok(&["hits", "--data", "data"])).unwrap();
    assert!(printed.lines().nth(1).unwrap().contains("last.d7.example  domain  d7.example"), "{printed}");
    assert_eq!(daemon.stop().status.code(), Some(0));
}

/// What of the file of hits is in which of its parts: each number once in all of them.
fn in_files(env: &TestEnv) -> Vec<u64> {
    let text = fs::read_to_string(env.path("data/hits.json")).unwrap_or_default();
    let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["sequence"].as_u64().unwrap();
    text.lines().map(number).collect()
}

#[test]
fn whatever_is_killed_while_lines_and_feeds_come_each_hit_is_there_once_and_once_in_the_file() {
    let kills = setting("DNSLEDGER_KILLS", 6);
    let mut random = Random::new(setting("DNSLEDGER_SEED", 1));
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    let config = "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[ingest]\ncommit_interval = \"20ms\"\n\
                  [[source]]\nlogs = \"logs\"\n[hits]\nfile = \"hits.json\"\n";
    fs::write(env.path("dnsledger.toml"), config).unwrap();
    // The feed grows: what it has at the end is what counts.
    let lines: Vec<&str> = FEED.lines().collect();
    let mut log = fs::File::create(env.path("logs/dns.log")).unwrap();
    let mut daemon = Some(env.configured_daemon("dnsledger.toml", "data"));
    for round in 0..kills {
        let text = written(round);
        let (first, rest) = text.split_at(random.below(text.len() as u64) as usize);
        log.write_all(first.as_bytes()).unwrap();
        if round % 2 == 0 {
            let some = (round as usize + 2).min(lines.len());
            fs::write(env.path("feed.txt"), lines[..some].join("\n") + "\n").unwrap();
            env.run(&["indicators", "import", "--data", "data", "--feed", "bad", "--replace", "feed.txt"]);
        }
        pause(Duration::from_millis(random.below(120)));
        daemon.take().unwrap().kill();
        log.write_all(rest.as_bytes()).unwrap();
        daemon = Some(env.configured_daemon("dnsledger.toml", "data"));
    }
    fs::write(env.path("feed.txt"), FEED).unwrap();
    env.ok(&["indicators", "import", "--data", "data", "--feed", "bad", "--replace", "feed.txt"]);
    let daemon = daemon.unwrap();
    daemon.wait_for_lines(150 * kills);
    let wanted = expected(0..kills);
    let asked = || {
        let hits = daemon.json("/api/v1/hits?limit=100000");
        hits["hits"].as_array().unwrap().iter().map(|hit| hit.to_string() + "\n").collect::<String>()
    };
    until("all hits are there", || (asked().lines().count() >= wanted.len()).then_some(()));
    assert_eq!(hits(&asked()), wanted, "seed {}", setting("DNSLEDGER_SEED", 1));
    until("all are in the file", || (in_files(&env).len() >= wanted.len()).then_some(()));
    assert_eq!(in_files(&env), (1..=wanted.len() as u64).collect::<Vec<_>>());
    assert_eq!(daemon.stop().status.code(), Some(0));
    assert_eq!(env.ok(&["verify", "--data", "data"]).last_chunk(), Some(b"sound\n"));
}

/// Sends a request with these headers, and gives the answer.
fn ask(daemon: &Daemon, method: &str, path: &str, headers: &str, body: &str) -> String {
    let address = daemon.url("").trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    answer
}

#[test]
fn hits_are_acknowledged_by_who_may_and_it_outlives_a_kill() {
    use base64::Engine;
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    fs::write(env.path("list.txt"), "d7.example\n").unwrap();
    let names = ["a.d7.example", "b.d7.example", "c.d7.example", "d.d7.example", "e.d7.example"];
    let records: Vec<_> = names.iter().map(|name| (BASE, *name, "192.0.2.1")).collect();
    fs::write(env.path("logs/dns.log"), log("a", &records)).unwrap();
    let config = "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\ntokens_file = \"tokens\"\n[[source]]\nlogs = \"logs\"\n\
                  [[feed]]\nname = \"mine\"\nfile = \"list.txt\"\n";
    fs::write(env.path("dnsledger.toml"), config).unwrap();
    let token = |name: &str, scope: &str| {
        let made = env.ok(&["token", "new", name, "--scope", scope, "--config", "dnsledger.toml"]);
        String::from_utf8(made).unwrap().trim().to_owned()
    };
    let [reads, watches, sees] = ["read", "watch", "evidence"].map(|scope| token(scope, scope));
    let daemon = env.configured_daemon("dnsledger.toml", "data");
    let cli = |more: &[&str]| {
        let ended = env.run(&[&["hits", "--data", "data", "-f", "json"], more].concat());
        (ended.status.code(), String::from_utf8(ended.stdout).unwrap())
    };
    until("all are there", || (cli(&[]).1.lines().count() == 5).then_some(()));
    let open = || cli(&["--open"]).1.lines().count();
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let post = |headers: &str, path: &str| ask(&daemon, "POST", path, headers, "");
    let path = "/api/v1/hits/acknowledge?hits=1-2,9&by=somebody";
    for headers in [String::new(), bearer(&reads), bearer(&sees)] {
        let answer = post(&headers, path);
        let is_refused = answer.starts_with("HTTP/1.1 401")
            || answer.starts_with("HTTP/1.1 403") && answer.contains("--scope watch");
        assert!(is_refused, "{answer}");
    }
    assert!(ask(&daemon, "GET", path, &bearer(&watches), "").starts_with("HTTP/1.1 405"));
    assert!(post(&bearer(&watches), "/api/v1/hits/acknowledge?hits=x").starts_with("HTTP/1.1 400"));
    assert_eq!(open(), 5);
    let answer = post(&bearer(&watches), path);
    assert!(answer.ends_with("{\"acknowledged\":2,\"unknown\":[9]}\n"), "{answer}");
    assert!(post(&bearer(&watches), path).contains("\"acknowledged\":0"));
    // By name of the token, whatever is said.
    let hit: Value = serde_json::from_str(cli(&[]).1.lines().last().unwrap()).unwrap();
    assert_eq!((&hit["acknowledged_by"], &hit["sequence"]), (&"watch".into(), &1.into()));
    assert!(hit["acknowledged"].as_u64().unwrap() > BASE);
    // A browser sends the password by itself: only where a page of this site asks.
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("x:{watches}"));
    let basic = format!("Authorization: Basic {basic}\r\n");
    let page = |headers: &str, body: &str| ask(&daemon, "POST", "/hits", &format!("{basic}{headers}"), body);
    for headers in ["", "Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n"] {
        assert!(page(headers, "hit=3").starts_with("HTTP/1.1 403"), "{headers}");
    }
    assert_eq!(open(), 3);
    let answer = page("Sec-Fetch-Site: same-origin\r\n", "hit=3&open=true&feed=mine%0d%0ax&hit=4");
    assert!(
        answer.starts_with("HTTP/1.1 303")
            && answer.contains("\r\nlocation: /hits?open=true&feed=mine%0D%0Ax\r\n"),
        "{answer}"
    );
    assert_eq!(open(), 1);
    let shown =
        ask(&daemon, "GET", "/hits?open=true", &format!("{basic}Sec-Fetch-Site: same-origin\r\n"), "");
    assert!(shown.contains("name=\"hit\" value=\"5\"") && !shown.contains("hit-4"), "{shown}");
    let shown = ask(&daemon, "GET", "/hits", &bearer(&reads), "");
    assert!(shown.contains(" by watch") && !shown.contains("checkbox"), "{shown}");
    daemon.kill();
    // Without a daemon, and it is there after the kill.
    assert_eq!(open(), 1);
    let ended = env.run(&["hits", "--data", "data", "--acknowledge", "5,6", "--by", "anna"]);
    assert_eq!((ended.status.code(), ended.stdout), (Some(1), b"1 hits acknowledged\n".to_vec()));
    assert!(ended.stderr.contains("No hit has the number 6"), "{}", ended.stderr);
    assert_eq!(cli(&["--open"]).0, Some(1));
    assert!(cli(&[]).1.lines().next().unwrap().contains("\"acknowledged_by\":\"anna\""));
    assert_eq!(env.run(&["hits", "--data", "data", "--acknowledge", "0"]).status.code(), Some(64));
}

/// A ledger with hits of each kind.
fn ledger_of_all_kinds(env: &TestEnv) {
    let records = [
        (BASE, "www.d7.example", "192.0.2.1"),
        (BASE + 9, "x.d9.example", "198.51.0.5"),
        (BASE + 8, "y.d9.example", "198.51.2.7"),
        (BASE + 7, "h.d8.example", ""),
    ];
    fs::write(env.path("dns.log"), log("a", &records)).unwrap();
    fs::write(env.path("feed.txt"), "d7.example\n198.51.0.5\n198.51.2.0/27\n").unwrap();
    fs::write(env.path("hosts"), "127.0.0.1 localhost\n0.0.0.0 h.d8.example\n0.0.0.0 other.test\n").unwrap();
    env.ok(&["import", "--data", "data", "dns.log"]);
    env.ok(&["indicators", "import", "--data", "data", "--feed", "bad", "feed.txt"]);
    env.ok(&["indicators", "import", "--data", "data", "--feed", "hosts", "--format", "hosts", "hosts"]);
}

#[test]
fn hits_are_written_as_a_bundle_of_stix_and_as_an_event_of_misp() {
    let env = TestEnv::new();
    ledger_of_all_kinds(&env);
    let export = |format: &str| env.ok(&["hits", "--data", "data", "-f", format]);
    let bundle: Value = serde_json::from_slice(&export("stix")).unwrap();
    let of = |kind: &str| -> Vec<Value> {
        bundle["objects"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|object| object["type"] == kind)
            .cloned()
            .collect()
    };
    let patterns: BTreeSet<String> =
        of("indicator").iter().map(|object| object["pattern"].as_str().unwrap().to_owned()).collect();
    let wanted = [
        "[domain-name:value = 'd7.example' OR domain-name:value LIKE '%.d7.example']",
        "[domain-name:value = 'h.d8.example']",
        "[ipv4-addr:value = '198.51.0.5']",
        "[ipv4-addr:value ISSUBSET '198.51.2.0/27']",
    ];
    assert_eq!(patterns, wanted.map(str::to_owned).into());
    assert_eq!((of("sighting").len(), of("observed-data").len(), of("identity").len()), (4, 4, 1));
    assert_eq!(export("stix"), export("stix"), "the same each time");
    let event: Value = serde_json::from_slice(&export("misp")).unwrap();
    assert_eq!(event["Event"]["Attribute"].as_array().unwrap().len(), 6);
    // What is written is read back as what it was.
    fs::write(env.path("bundle.json"), export("stix")).unwrap();
    fs::write(env.path("good.log"), log("g", &[(BASE, "good.example", "192.0.2.1")])).unwrap();
    env.ok(&["import", "--data", "again", "good.log"]);
    env.ok(&["indicators", "import", "--data", "again", "--feed", "stix", "bundle.json"]);
    let listed =
        String::from_utf8(env.ok(&["indicators", "list", "--data", "again", "--feed", "stix"])).unwrap();
    assert!(listed.lines().count() == 5 && listed.contains("198.51.2.0/27"), "{listed}");
    assert_eq!(env.run(&["hits", "--data", "again", "-f", "stix"]).status.code(), Some(1));
    let Some(bin) = crate::clients::python() else { return };
    fs::write(env.path("event.json"), export("misp")).unwrap();
    let values = ["www.d7.example", "h.d8.example", "198.51.2.7"];
    crate::clients::check(
        &env,
        &bin,
        "check_exports.py",
        &[&["bundle.json", "event.json"], values.as_slice()].concat(),
    );
}

#[test]
fn a_feed_that_comes_later_is_found_by_its_name_and_an_empty_answer_says_what_it_means() {
    let env = TestEnv::new();
    // What a feed excepts is no hit of it, whoever noted it first.
    let config = "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[source]]\nlogs = \"logs\"\n[[feed]]\nname = \"third\"\nallow = [\"bad.example\"]\n";
    fs::write(env.path("dnsledger.toml"), config).unwrap();
    fs::write(env.path("dns.log"), log("x", &[(BASE, "bad.example", "192.0.2.1")])).unwrap();
    env.ok(&["import", "--data", "data", "dns.log"]);
    let asked = |more: &[&str]| {
        let ended = env.run(&[&["hits", "--config", "dnsledger.toml"], more].concat());
        let said = ended.said();
        (ended.status.code().unwrap(), String::from_utf8(ended.stdout).unwrap(), said)
    };
    let import = |feed: &str, list: &str| {
        fs::write(env.path("list.txt"), list).unwrap();
        env.ok(&["indicators", "import", "--config", "dnsledger.toml", "--feed", feed, "list.txt"]);
    };
    let check = |daemon: Option<&Daemon>| {
        for feed in ["first", "second"] {
            let (code, out, _) = asked(&["--feed", feed]);
            assert_eq!(code, 0, "{feed}");
            assert!(out.starts_with("HIT"), "{out}");
            // When it was seen is another time than when it was noted.
            assert!(out.contains("2026-05-28 20:26:40") && out.contains("first,second"), "{out}");
            if let Some(daemon) = daemon {
                let answer = daemon.json(&format!("/api/v1/hits?feed={feed}"));
                assert_eq!(answer["hits"][0]["feeds_now"], serde_json::json!(["second"]), "{answer}");
                assert_eq!((&answer["feeds"], &answer["indicators"]), (&3.into(), &4.into()), "{answer}");
                assert!(
                    String::from_utf8(daemon.get(&format!("/hits?feed={feed}")).body)
                        .unwrap()
                        .contains("bad.example")
                );
            }
        }
        let (code, _, err) = asked(&["--feed", "third"]);
        assert_eq!((code, err.as_str()), (1, "No hits that fit: 1 were noted in all.\n"));
        let (code, _, err) = asked(&["--feed", "thrid"]);
        assert!(code == 64 || code == 2, "{code}");
        assert!(err.contains("unknown feed thrid") && err.contains("first, second, third"), "{err}");
    };
    let (code, _, err) = asked(&[]);
    assert!(code == 1 && err.contains("nothing is watched for"), "{err}");
    import("third", "elsewhere.example\nbad.example\n");
    let (code, _, err) = asked(&[]);
    assert_eq!((code, err.as_str()), (1, "No hits: none of the 2 indicators of 1 feeds was met.\n"));
    import("first", "bad.example\n");
    import("second", "bad.example\n");
    check(None);
    fs::create_dir(env.path("logs")).unwrap();
    let daemon = env.configured_daemon("dnsledger.toml", "data");
    check(Some(&daemon));
}

#[test]
fn hits_are_found_by_the_name_that_rows_lead_to() {
    let env = TestEnv::new();
    let rows = [
        (BASE, "shop.example", "mx1.mail.bad.test"),
        (BASE + 1, "other.example", "mx2.mail.bad.test"),
        (BASE + 2, "www.bad.test", ""),
    ];
    fs::write(env.path("dns.log"), log("x", &rows)).unwrap();
    fs::write(env.path("list.txt"), "bad.test\n").unwrap();
    env.ok(&["import", "--data", "data", "dns.log"]);
    env.ok(&["indicators", "import", "--data", "data", "--feed", "bad", "list.txt"]);
    let known = [
        ("MX1.mail.bad[.]test.", &["shop.example"][..]),
        ("mail.bad.test", &["other.example", "shop.example"]),
        ("bad.test", &["other.example", "shop.example", "www.bad.test"]),
        ("mx3.mail.bad.test", &[]),
        ("x.www.bad.test", &[]),
    ];
    let names = |lines: &[u8]| -> Vec<String> {
        let mut names: Vec<String> = std::str::from_utf8(lines)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["rrname"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let check = || {
        for (value, wanted) in known {
            let found = env.run(&["hits", "--data", "data", "-f", "json", "--value", value]);
            assert_eq!(names(&found.stdout), wanted, "{value}: {}", found.stderr);
        }
    };
    check();
    fs::create_dir(env.path("logs")).unwrap();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    check();
    let page = String::from_utf8(daemon.get("/hits?value=mx1.mail.bad.test").body).unwrap();
    assert!(page.contains("/name/shop.example") && !page.contains("/name/other.example"), "{page}");
}

#[test]
fn a_name_that_was_asked_for_in_utf_8_is_met_by_its_a_labels_whatever_came_first() {
    let env = TestEnv::new();
    let raw = log("x", &[(BASE, "www.caf\u{e9}.example", "192.0.2.1"), (BASE, "caf\u{e9}.example", "")]);
    fs::write(env.path("dns.log"), raw).unwrap();
    fs::write(env.path("list.txt"), "caf\u{e9}.example\n").unwrap();
    for (data, steps) in [("logs-first", [0, 1]), ("feed-first", [1, 0])] {
        // A ledger is made by the first log.
        fs::write(env.path("dns.other.log"), log("o", &[(BASE, "other.example", "192.0.2.9")])).unwrap();
        env.ok(&["import", "--data", data, "dns.other.log"]);
        for step in steps {
            match step {
                0 => env.ok(&["import", "--data", data, "dns.log"]),
                _ => env.ok(&["indicators", "import", "--data", data, "--feed", "bad", "list.txt"]),
            };
        }
        let met: Vec<String> = all_hits(&env, data).into_iter().map(|(_, name, _)| name).collect();
        assert_eq!(met.len(), 2, "{data}: {met:?}");
        assert_eq!(env.ok(&["verify", "--data", data]).last_chunk(), Some(b"sound\n"));
    }
}
