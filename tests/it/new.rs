//! What is new: held against the records themselves, in whatever order their logs are read.

use std::collections::BTreeMap;
use std::fs;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::env::{TestEnv, until};

/// A record: when, what was asked, and the addresses that were answered.
type Record = (u64, String, Vec<String>);

const BASE: u64 = 1_780_000_000;

/// Records of several logs, made up: few domains, so that most are seen more than once.
fn records(logs: u64) -> Vec<Vec<Record>> {
    let mut state = 7u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let suffixes = ["com", "co.uk", "s3.amazonaws.com", "corp", "net"];
    let mut one = |log: u64| {
        let (host, domain, suffix) = (random(3), random(40), suffixes[random(5) as usize]);
        let name = match host {
            0 => format!("d{domain}.{suffix}"),
            host => format!("h{host}.d{domain}.{suffix}"),
        };
        let answers = (0..random(3)).map(|_| format!("192.0.2.{}", random(200))).collect();
        (BASE + log * 3600 + random(100_000), name, answers)
    };
    (0..logs).map(|log| (0..120).map(|_| one(log)).collect()).collect()
}

fn log(records: &[Record]) -> String {
    let line = |(at, (time, query, answers)): (usize, &Record)| {
        let answers = match answers.as_slice() {
            [] => String::new(),
            some => {
                let ttls = vec!["60.0"; some.len()].join(",");
                format!(",\"answers\":[\"{}\"],\"TTLs\":[{ttls}]", some.join("\",\""))
            }
        };
        format!(
            "{{\"ts\":{time}.{at:06},\"uid\":\"C{time}{at}\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\
             \"query\":\"{query}\",\"qclass\":1,\"qtype\":1,\"qtype_name\":\"A\",\"rcode\":0{answers}}}\n"
        )
    };
    records.iter().enumerate().map(line).collect()
}

/// The registrable domain, by the few suffixes that the records have.
fn domain(name: &str) -> String {
    let labels: Vec<&str> = name.split('.').collect();
    let own = match () {
        () if name.ends_with(".s3.amazonaws.com") => 4,
        () if name.ends_with(".co.uk") => 3,
        () => 2,
    };
    labels[labels.len() - own..].join(".")
}

/// When it was first seen, first asked, first answered.
type Firsts = (u64, Option<u64>, Option<u64>);

fn least(a: Option<u64>, b: u64) -> Option<u64> {
    Some(a.map_or(b, |a| a.min(b)))
}

/// By brute force, of what each record says by `of`: what is asked, and what is answered.
fn expected(
    all: &[Vec<Record>],
    of: impl Fn(&Record) -> (Vec<String>, Vec<String>),
) -> BTreeMap<String, Firsts> {
    let mut firsts: BTreeMap<String, (Option<u64>, Option<u64>)> = BTreeMap::new();
    for record in all.iter().flatten() {
        let (asked, answered) = of(record);
        for value in asked {
            let known = firsts.entry(value).or_default();
            known.0 = least(known.0, record.0);
        }
        for value in answered {
            let known = firsts.entry(value).or_default();
            known.1 = least(known.1, record.0);
        }
    }
    let first = |(asked, answered): (Option<u64>, Option<u64>)| {
        (asked.into_iter().chain(answered).min().unwrap(), asked, answered)
    };
    firsts.into_iter().map(|(value, times)| (value, first(times))).collect()
}

fn found(text: &[u8]) -> BTreeMap<String, Firsts> {
    let lines = std::str::from_utf8(text).unwrap().lines();
    lines
        .map(|line| {
            let new: Value = serde_json::from_str(line).unwrap();
            let times = (
                new["first_seen"].as_u64().unwrap(),
                new["first_asked"].as_u64(),
                new["first_answered"].as_u64(),
            );
            (new["value"].as_str().unwrap().to_owned(), times)
        })
        .collect()
}

#[test]
fn what_is_new_is_exact_in_whatever_order_logs_are_read() {
    let env = TestEnv::new();
    let all = records(6);
    for (at, records) in all.iter().enumerate() {
        fs::write(env.path(&format!("dns.{at}.log")), log(records)).unwrap();
    }
    let is_answered = |record: &Record| !record.2.is_empty();
    let domains = expected(&all, |record| {
        let domain = domain(&record.1);
        let answered = if is_answered(record) { vec![domain.clone()] } else { vec![] };
        (vec![domain], answered)
    });
    let names = expected(&all, |record| {
        let answered = if is_answered(record) { vec![record.1.clone()] } else { vec![] };
        (vec![record.1.clone()], answered)
    });
    let data = expected(&all, |record| (vec![], record.2.clone()));
    assert!(domains.len() > 100 && domains.values().any(|times| times.2.is_none()), "{}", domains.len());
    let orders: [[usize; 6]; 3] = [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]];
    for (round, order) in orders.iter().enumerate() {
        let data_dir = format!("data{round}");
        // One import each, so that each order is one of commits too.
        for at in order {
            env.ok(&["import", "--data", &data_dir, &format!("dns.{at}.log")]);
        }
        let new = |more: &[&str]| {
            let arguments = ["new", "--data", &data_dir, "-f", "json", "-n", "10000"];
            found(&env.ok(&[&arguments, more].concat()))
        };
        assert_eq!(new(&["--since", "2020-01-01"]), domains, "{order:?}");
        assert_eq!(new(&["--since", "2020-01-01", "--what", "name"]), names, "{order:?}");
        assert_eq!(new(&["--since", "2020-01-01", "--what", "rdata"]), data, "{order:?}");
        // Since a time in the middle, below a name, and only a few.
        let since = BASE + 3 * 3600;
        let shown = since.to_string();
        let late = |all: &BTreeMap<String, Firsts>, under: &str| {
            let wanted = |(name, times): &(&String, &Firsts)| {
                times.0 >= since && (name.ends_with(&format!(".{under}")) || *name == under)
            };
            all.iter().filter(wanted).map(|(name, times)| (name.clone(), *times)).collect()
        };
        assert_eq!(new(&["--since", &shown, "--under", "co.uk"]), late(&domains, "co.uk"));
        assert_eq!(new(&["--since", &shown, "--what", "name", "--under", "*.com"]), late(&names, "com"));
        let sound = env.ok(&["verify", "--data", &data_dir]);
        assert_eq!(sound.last_chunk(), Some(b"sound\n"));
    }
    // What rows say of first answers is in the export too.
    let mut answered: BTreeMap<String, u64> = BTreeMap::new();
    for line in env.export("data0").lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let (name, first) = (row["rrname"].as_str().unwrap(), row["time_first"].as_u64().unwrap());
        let known = answered.entry(domain(name)).or_insert(first);
        *known = first.min(*known);
    }
    let told = domains.iter().filter_map(|(domain, times)| Some((domain.clone(), times.2?)));
    assert_eq!(answered, told.collect());
}

#[test]
fn what_is_new_is_told_over_http_page_by_page_and_on_the_first_page() {
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let record = |ago: u64, name: &str, answered: bool| {
        let answers = if answered { vec!["192.0.2.1".to_owned()] } else { vec![] };
        (now - ago, name.to_owned(), answers)
    };
    let records = [
        record(40 * 86_400, "www.old.example", true),
        record(50, "www.old.example", true),
        record(400, "www.examp1e.com", true),
        record(300, "mail.new.example", true),
        record(200, "gone.elsewhere.org", false),
    ];
    fs::write(env.path("logs/dns.log"), log(&records)).unwrap();
    fs::write(
        env.path("dnsledger.toml"),
        "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[source]]\nlogs = \"logs\"\n[new]\nbrands = [\"example.com\"]\nwatched = [\"old.example\", \"new.example\"]\n",
    )
    .unwrap();
    let daemon = env.configured_daemon("dnsledger.toml", "data");
    daemon.wait_for_lines(5);
    let values = |answer: &Value| -> Vec<String> {
        let new = answer["new"].as_array().unwrap();
        new.iter().map(|new| new["value"].as_str().unwrap().to_owned()).collect()
    };
    let all = daemon.json("/api/v1/new");
    assert_eq!(values(&all), ["elsewhere.org", "new.example", "examp1e.com"]);
    assert_eq!((&all["total"], &all["next"], &all["what"]), (&3.into(), &Value::Null, &"domain".into()));
    assert_eq!(all["new"][2]["lookalike"]["brand"], "example.com");
    assert_eq!(all["new"][2]["lookalike"]["how"], "looks");
    assert_eq!(all["new"][0]["first_answered"], Value::Null);
    let first = daemon.json("/api/v1/new?limit=2");
    assert_eq!((values(&first).len(), &first["total"]), (2, &3.into()));
    let rest = daemon.json(&format!("/api/v1/new?limit=2&cursor={}", first["next"].as_str().unwrap()));
    assert_eq!((values(&rest), &rest["next"]), (vec!["examp1e.com".to_owned()], &Value::Null));
    assert_eq!(values(&daemon.json("/api/v1/new?lookalikes=true")), ["examp1e.com"]);
    assert_eq!(values(&daemon.json("/api/v1/new?watched=true&since=90d")), ["new.example", "old.example"]);
    assert_eq!(values(&daemon.json("/api/v1/new?what=name&under=org")), ["gone.elsewhere.org"]);
    for (bad, code) in [
        ("what=x", "bad_query"),
        ("since=never", "bad_query"),
        ("under=a..b", "bad_query"),
        ("cursor=x", "bad_query"),
        ("type=A", "bad_parameter"),
        ("sensor=nobody", "bad_sensor"),
    ] {
        let answer = daemon.get(&format!("/api/v1/new?{bad}"));
        assert_eq!(answer.status, 400, "{bad}");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["code"], code, "{bad}");
    }
    let home = String::from_utf8(daemon.get("/").body).unwrap();
    assert!(home.contains("New domains within 24 hours") && home.contains("examp1e.com"), "{home}");
    let printed = env.ok(&["new", "--data", "data"]);
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("like example.com (looks)") && printed.contains("only asked"), "{printed}");
    assert_eq!(env.run(&["new", "--data", "data", "--under", "nothing.test"]).status.code(), Some(1));
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn a_daemon_tells_what_was_never_seen_before_among_the_hits_and_takes_it_back() {
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let one = |time: u64, name: &str| log(&[(time, name.to_owned(), vec!["192.0.2.1".to_owned()])]);
    fs::write(env.path("logs/dns.log"), one(now() - 30 * 86_400, "www.old.example")).unwrap();
    let config = "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[source]]\nlogs = \"logs\"\n[new]\nevents = \"all\"\n\
                  [hits]\nfile = \"hits.json\"\n[watch]\nown = [\"mine.example\"]\n";
    fs::write(env.path("dnsledger.toml"), config).unwrap();
    let daemon = env.configured_daemon("dnsledger.toml", "data");
    until("the first look", || env.path("data/watch/new").exists().then_some(()));
    let append = |text: &str| {
        let mut file = fs::OpenOptions::new().append(true).open(env.path("logs/dns.log")).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    append(&(one(now() + 1, "a.fresh.example") + &one(now() + 1, "a.mine.example")));
    let hits = |query: &str| daemon.json(&format!("/api/v1/hits{query}"))["hits"].as_array().unwrap().clone();
    let event = until("the event", || hits("?kind=new").pop());
    assert_eq!((&event["rrname"], &event["indicator"]), (&"fresh.example".into(), &"fresh.example".into()));
    assert_eq!((&event["title"], &event["retracted"]), (&"never seen before".into(), &Value::Null));
    // An archive is found that shows it to be older.
    fs::write(env.path("logs/dns.2020.log"), one(now() - 20 * 86_400, "b.fresh.example")).unwrap();
    until("it is taken back", || hits("?kind=new_retracted").pop());
    assert_eq!(hits("?kind=new")[0]["retracted"], true);
    let printed =
        String::from_utf8(env.ok(&["hits", "--config", "dnsledger.toml", "--kind", "new"])).unwrap();
    assert!(printed.contains("new (retracted)  fresh.example"), "{printed}");
    let lines = until("the file", || {
        let text = fs::read_to_string(env.path("data/hits.json")).unwrap_or_default();
        (text.lines().count() == 2).then_some(text)
    });
    assert!(lines.contains("\"kind\":\"new\"") && lines.contains("\"kind\":\"new_retracted\""), "{lines}");
    let metrics = String::from_utf8(daemon.get("/metrics").body).unwrap();
    assert!(metrics.contains("dnsledger_new_events_total 2"), "{metrics}");
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn archives_of_three_days_give_the_same_in_whatever_order_they_are_read() {
    let env = TestEnv::new();
    let all = records(72);
    let path = |at: usize| {
        let (day, hour) = (19 + at / 24, at % 24);
        format!("logs/2024-04-{day}/dns.{hour:02}:00:00-{:02}:00:00.log.gz", (hour + 1) % 24)
    };
    for (at, records) in all.iter().enumerate() {
        let path = env.path(&path(at));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut packed = GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast());
        std::io::Write::write_all(&mut packed, log(records).as_bytes()).unwrap();
        packed.finish().unwrap();
    }
    let domains = expected(&all, |record| {
        let domain = domain(&record.1);
        let answered = if record.2.is_empty() { vec![] } else { vec![domain.clone()] };
        (vec![domain], answered)
    });
    let (mut state, mut told) = (5u64, Vec::new());
    for round in 0..3 {
        let mut order: Vec<usize> = (0..72).collect();
        for at in (1..72).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            order.swap(at, ((state >> 33) % (at as u64 + 1)) as usize);
        }
        let data = format!("data{round}");
        for some in order.chunks(24) {
            let paths: Vec<String> = some.iter().map(|at| path(*at)).collect();
            let arguments = ["import", "--data", &data].into_iter().chain(paths.iter().map(String::as_str));
            env.ok(&arguments.collect::<Vec<_>>());
        }
        told.push(env.ok(&["new", "--data", &data, "-f", "json", "-n", "10000", "--since", "2020-01-01"]));
        assert_eq!(found(&told[round]), domains);
    }
    assert!(told.iter().all(|one| *one == told[0]));
}
