//! Hits of several ledgers in a cluster of ClickHouse: those that all of the ledgers have, each once, whoever asks for them and how.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use dnsledger::base::clock::now;
use dnsledger::fleet::cluster::Cluster;
use dnsledger::fleet::rows::ClusterTable;
use dnsledger::fleet::{Address, retention};

use crate::env::{Daemon, TestEnv, until};
use crate::fleet::{Engine, front_end, ship};
use crate::hits::{BASE, log};

const FEED: &str = "bad.example\nworse.example\n198.51.100.0/28\n";

/// Records of a sensor: some names and addresses are bad, and all sensors have some of them in common.
fn records(sensor: u64) -> String {
    let owned: Vec<(u64, String, String)> = (0..40)
        .map(|i| {
            let name = match i % 4 {
                0 => format!("h{i}.bad.example"),
                1 => format!("s{sensor}x{i}.worse.example"),
                _ => format!("w{i}.d{i}.example"),
            };
            (BASE + 10 * i + sensor, name, format!("198.51.100.{}", (i * 7 + sensor) % 60))
        })
        .collect();
    let borrowed: Vec<_> = owned.iter().map(|(t, n, a)| (*t, n.as_str(), a.as_str())).collect();
    log(&format!("x{sensor}-"), &borrowed)
}

/// Hits without what each ledger says of its own: their numbers, and when they were noted.
pub fn known(hits: &[Value]) -> BTreeSet<String> {
    let known: BTreeSet<String> = hits
        .iter()
        .map(|hit| {
            let mut hit = hit.as_object().unwrap().clone();
            for own in ["sequence", "ledger", "noted", "noted_utc", "acknowledged", "acknowledged_utc"] {
                hit.remove(own);
            }
            serde_json::to_string(&hit).unwrap()
        })
        .collect();
    assert_eq!(known.len(), hits.len(), "each is there once");
    known
}

/// Hits that a command finds.
#[track_caller]
pub fn hits(env: &TestEnv, how: &str, of: &str, more: &[&str]) -> Vec<Value> {
    let answer = env.run(&[&["hits", how, of, "-f", "json", "-n", "100000"], more].concat());
    assert!([Some(0), Some(1)].contains(&answer.status.code()), "{}", answer.stderr);
    let written = String::from_utf8(answer.stdout).unwrap();
    written.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All hits by the API, so many at a time; and where the last answer ended.
fn by_pages(front: &Daemon, order: &str, limit: usize, from: &str) -> (Vec<Value>, String) {
    let (mut all, mut cursor) = (Vec::new(), from.to_owned());
    loop {
        let from = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
        let answer = front.json(&format!("/api/v1/hits?order={order}&limit={limit}{from}"));
        all.extend(answer["hits"].as_array().unwrap().iter().cloned());
        match answer["next"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return (all, answer["at"].as_str().unwrap_or_default().to_owned()),
        }
    }
}

fn hits_of_three_ledgers(env: &TestEnv, engines: &[&Engine]) {
    let hosts: Vec<String> = engines.iter().map(|engine| engine.host()).collect();
    let cluster = format!("clickhouse://{}/dns", hosts.join(";"));
    env.ok(&["fleet", "init", "--store", &cluster]);
    let none = env.run(&["hits", "--store", &cluster]);
    assert!(
        none.status.code() == Some(1) && none.stderr.contains("no sensor has shipped any"),
        "{}",
        none.stderr
    );
    fs::write(env.path("feed.txt"), FEED).unwrap();
    let watch = |data: &str| env.ok(&["indicators", "import", "--data", data, "--feed", "bad", "feed.txt"]);
    for (sensor, seed) in ["a", "b", "c"].into_iter().zip(1..) {
        let path = format!("{sensor}.log");
        fs::write(env.path(&path), records(seed)).unwrap();
        // Of one the feed comes first, of the others the log.
        if sensor == "b" {
            fs::write(env.path("b0.log"), log("b0", &[(BASE, "ordinary.example", "192.0.2.1")])).unwrap();
            for data in [sensor, "all"] {
                env.ok(&["import", "--data", data, "--sensor", sensor, "b0.log"]);
                watch(data);
            }
        }
        for data in [sensor, "all"] {
            env.ok(&["import", "--data", data, "--sensor", sensor, &path]);
        }
        if sensor != "b" {
            ship(env, sensor, &cluster);
            watch(sensor);
        }
    }
    for sensor in ["c", "a", "c", "b"] {
        ship(env, sensor, &cluster);
    }
    let all = hits(env, "--data", "all", &[]);
    assert!(all.len() > 60, "{}", all.len());
    let there = hits(env, "--store", &cluster, &[]);
    assert_eq!(known(&there), known(&all));
    assert!(there.iter().all(|hit| hit["ledger"].as_str().is_some_and(|ledger| ledger.len() == 16)));
    for more in [
        &["--sensor", "b"][..],
        &["--feed", "bad"],
        &["--feed", "none"],
        &["--kind", "network"],
        &["--value", "worse.example"],
        &["--value", "198.51.100.0/29"],
        &["--open"],
        &["--since", "1h"],
    ] {
        let expected = if more == ["--feed", "none"] { Vec::new() } else { hits(env, "--data", "all", more) };
        assert_eq!(known(&hits(env, "--store", &cluster, more)), known(&expected), "{more:?}");
    }
    // Who has seen to one is told with the next shipment.
    env.ok(&["hits", "--data", "a", "--acknowledge", "1-3", "--by", "soc"]);
    ship(env, "a", &cluster);
    assert_eq!(hits(env, "--store", &cluster, &["--open"]).len(), all.len() - 3);
    let stix =
        String::from_utf8(env.ok(&["hits", "--store", &cluster, "-f", "stix", "-n", "100000"])).unwrap();
    let stix: Value = serde_json::from_str(&stix).unwrap();
    let ids: Vec<&str> =
        stix["objects"].as_array().unwrap().iter().map(|object| object["id"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());

    let front = front_end(env, &cluster);
    let (newest, _) = by_pages(&front, "newest", 7, "");
    assert_eq!(known(&newest), known(&hits(env, "--store", &cluster, &[])));
    let (oldest, at) = by_pages(&front, "oldest", 1000, "");
    assert_eq!(by_pages(&front, "oldest", 9, "").0, oldest);
    assert_eq!(known(&oldest), known(&newest));
    assert!(by_pages(&front, "oldest", 9, &at).0.is_empty());
    // A hit that comes is the only one behind that place, and who waits for it is told.
    fs::write(env.path("more.log"), log("more", &[(BASE - 5, "late.bad.example", "192.0.2.1")])).unwrap();
    env.ok(&["import", "--data", "b", "--sensor", "b", "more.log"]);
    ship(env, "b", &cluster);
    let answer = front.json(&format!("/api/v1/hits?order=oldest&wait=20s&cursor={at}"));
    let came = answer["hits"].as_array().unwrap();
    assert!(came.len() == 1 && came[0]["rrname"] == "late.bad.example", "{answer}");
    assert_eq!(answer["last"], all.len() + 1);
    assert_eq!((answer["sensors"].as_array().unwrap().len(), &answer["ledger"]), (3, &Value::from("")));
    let page = front.get("/hits?value=bad.example");
    let text = String::from_utf8(page.body).unwrap();
    assert!(page.status == 200 && text.contains("late.bad.example") && !text.contains("checkbox"), "{text}");
    for path in ["/api/v1/hits?cursor=x", "/api/v1/hits?cursor=7", "/hits?cursor=7"] {
        assert_eq!(front.get(path).status, 400, "{path}");
    }
    let streamed = front.get("/api/v1/hits/stream");
    let text = String::from_utf8(streamed.body).unwrap();
    assert!(streamed.status == 501 && text.contains("order=oldest"), "{text}");

    // What servers lose is shipped again.
    let count = hits(env, "--store", &cluster, &[]).len();
    for engine in engines {
        assert!(engine.ask("TRUNCATE TABLE dns.hits").unwrap().contains(" 200 "));
    }
    for sensor in ["a", "b", "c"] {
        let said = ship(env, sensor, &cluster);
        assert!(!said.contains(" 0 rows shipped again"), "{said}");
    }
    assert_eq!(hits(env, "--store", &cluster, &[]).len(), count);

    // Tables of an older version have none: that is said, rows are shipped all the same, and an upgrade brings all of them.
    for engine in engines {
        for table in ["hits", "hit_marks"] {
            assert!(engine.ask(&format!("DROP TABLE dns.{table}")).unwrap().contains(" 200 "));
        }
    }
    let older = env.run(&["hits", "--store", &cluster]);
    assert!(older.status.code() == Some(2) && older.stderr.contains("fleet upgrade"), "{}", older.stderr);
    assert!(front.stop().status.success());
    fs::remove_file(env.path("address")).unwrap();
    let front = front_end(env, &cluster);
    let refused = front.get("/api/v1/hits");
    let text = String::from_utf8(refused.body).unwrap();
    assert!(
        refused.status == 501 && text.contains("older_tables") && text.contains("fleet upgrade"),
        "{text}"
    );
    assert!(ship(env, "a", &cluster).starts_with("0 rows and questions shipped, 0 buckets differed"));
    env.ok(&["fleet", "upgrade", "--store", &cluster]);
    for sensor in ["a", "b", "c"] {
        ship(env, sensor, &cluster);
    }
    assert_eq!(hits(env, "--store", &cluster, &[]).len(), count);

    // One that is rebuilt does not count beside its former self before somebody says so.
    let of_a = hits(env, "--store", &cluster, &["--sensor", "a"]);
    fs::remove_dir_all(env.path("a")).unwrap();
    fs::write(env.path("a2.log"), log("a2", &[(BASE, "again.bad.example", "192.0.2.1")])).unwrap();
    env.ok(&["import", "--data", "a", "--sensor", "a", "a2.log"]);
    watch("a");
    ship(env, "a", &cluster);
    assert_eq!(hits(env, "--store", &cluster, &["--sensor", "a"]), of_a);
    let status = String::from_utf8(env.ok(&["fleet", "status", "--store", &cluster])).unwrap();
    let line = status.lines().find(|line| line.contains("DOES NOT COUNT")).unwrap();
    let ledger = line.split_whitespace().nth(3).unwrap();
    env.ok(&["fleet", "stand", "--store", &cluster, "a", ledger]);
    let now = hits(env, "--store", &cluster, &["--sensor", "a"]);
    assert!(now.len() == 1 && now[0]["rrname"] == "again.bad.example", "{now:?}");
}

#[test]
fn hits_of_three_sensors_are_those_of_their_ledgers_merged() {
    let env = TestEnv::new();
    let (Some(first), Some(second)) = (Engine::start(&env, "first"), Engine::start(&env, "second")) else {
        return;
    };
    hits_of_three_ledgers(&env, &[&first, &second]);
}

#[test]
fn the_newest_engine_has_hits_by_the_same_statements() {
    let env = TestEnv::new();
    if let Some(engine) = Engine::newest(&env, "engine") {
        hits_of_three_ledgers(&env, &[&engine]);
    }
}

#[test]
fn an_event_of_a_domain_that_another_sensor_has_seen_before_is_taken_back_in_the_cluster() {
    let env = TestEnv::new();
    let (Some(first), Some(second)) = (Engine::start(&env, "first"), Engine::start(&env, "second")) else {
        return;
    };
    let cluster = format!("clickhouse://{};{}/dns", first.host(), second.host());
    env.ok(&["fleet", "init", "--store", &cluster]);
    fs::create_dir(env.path("logs")).unwrap();
    fs::write(env.path("logs/dns.log"), log("a", &[(now() - 30 * 86_400, "www.old.example", "192.0.2.1")]))
        .unwrap();
    let config = "data_dir = \"a\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[source]]\nlogs = \"logs\"\nsensor = \"a\"\n[new]\nevents = \"all\"\n";
    fs::write(env.path("a.toml"), config).unwrap();
    let daemon = env.configured_daemon("a.toml", "a");
    until("the first look", || env.path("a/watch/new").exists().then_some(()));
    let start = now();
    let names: Vec<String> =
        (0..200).map(|i| format!("www.fresh{i}.{}", ["example", "test", "co.uk"][i % 3])).collect();
    let at = |time: u64| names.iter().map(|name| (time, name.as_str(), "192.0.2.1")).collect::<Vec<_>>();
    fs::write(env.path("logs/dns.new.log"), log("new", &at(start + 1))).unwrap();
    let events =
        |daemon: &Daemon| daemon.json("/api/v1/hits?kind=new&limit=1000")["hits"].as_array().unwrap().clone();
    until("the events", || (events(&daemon).len() == names.len()).then_some(()));
    assert!(daemon.stop().status.success());
    ship(&env, "a", &cluster);
    let taken_back = || {
        let all = hits(&env, "--store", &cluster, &["--kind", "new"]);
        assert_eq!(all.len(), names.len());
        let retracted = all.iter().filter(|hit| hit["retracted"] == true);
        retracted.map(|hit| hit["rrname"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(taken_back(), BTreeSet::new());
    // What was seen a minute before is the same news; what was seen a day before is none.
    let earlier = at(start - 86_400).into_iter().step_by(2).chain(at(start - 60));
    fs::write(env.path("b.log"), log("b", &earlier.collect::<Vec<_>>())).unwrap();
    env.ok(&["import", "--data", "b", "--sensor", "b", "b.log"]);
    ship(&env, "b", &cluster);
    let expected = names.iter().step_by(2).map(|name| name.trim_start_matches("www.").to_owned());
    assert_eq!(taken_back(), expected.collect());
}

#[test]
fn a_cluster_that_lacks_a_shard_has_no_hits_or_says_which_part_is_missing() {
    let env = TestEnv::new();
    let (Some(first), Some(mut second)) = (Engine::start(&env, "first"), Engine::start(&env, "second"))
    else {
        return;
    };
    let cluster = format!("clickhouse://{};{}/dns", first.host(), second.host());
    env.ok(&["fleet", "init", "--store", &cluster]);
    fs::write(env.path("feed.txt"), FEED).unwrap();
    fs::write(env.path("a.log"), records(1)).unwrap();
    env.ok(&["import", "--data", "a", "--sensor", "a", "a.log"]);
    env.ok(&["indicators", "import", "--data", "a", "--feed", "bad", "feed.txt"]);
    ship(&env, "a", &cluster);
    let all = hits(&env, "--store", &cluster, &[]).len();
    second.kill();
    let away = env.run(&["hits", "--store", &cluster]);
    assert!(
        away.status.code() == Some(2) && away.stdout.is_empty() && away.stderr.contains("shard 2"),
        "{}",
        away.stderr
    );
    let part = env.run(&["hits", "--store", &cluster, "--partial", "-f", "json"]);
    let there = String::from_utf8(part.stdout).unwrap().lines().count();
    assert!(
        there > 0 && there < all && part.stderr.contains("Shard 2 of 2"),
        "{there} of {all}: {}",
        part.stderr
    );
}

#[test]
fn who_follows_hits_of_a_cluster_has_each_once_and_what_a_cluster_drops_by_age_stays_away() {
    let env = TestEnv::new();
    let Some(mut engine) = Engine::start(&env, "engine") else { return };
    let cluster = format!("clickhouse://{}/dns", engine.host());
    env.ok(&["fleet", "init", "--store", &cluster]);
    fs::write(env.path("feed.txt"), FEED).unwrap();
    let comes = |sensor: &str, name: &str| {
        let path = format!("{name}.log");
        fs::write(env.path(&path), log(name, &[(BASE, name, "192.0.2.1")])).unwrap();
        env.ok(&["import", "--data", sensor, "--sensor", sensor, &path]);
        ship(&env, sensor, &cluster)
    };
    for sensor in ["a", "b"] {
        comes(sensor, &format!("before-{sensor}.bad.example"));
        env.ok(&["indicators", "import", "--data", sensor, "--feed", "bad", "feed.txt"]);
        ship(&env, sensor, &cluster);
    }
    let [out, said] = ["followed", "said"].map(|path| fs::File::create(env.path(path)).unwrap());
    let mut follow = env.command(&["hits", "--store", &cluster, "--follow"]);
    let mut follower = follow.stdout(out).stderr(said).spawn().unwrap();
    // Titles come first, and then hits.
    let followed = |what: &str| {
        until(what, || {
            let text = fs::read_to_string(env.path("followed")).unwrap();
            text.contains(what).then(|| text.lines().count() - 1)
        })
    };
    assert_eq!(followed("INDICATOR"), 0);
    comes("b", "one.bad.example");
    assert_eq!(followed("one.bad.example"), 1);
    // A server that is away for a while loses nobody a hit.
    engine.kill();
    until("who follows to say that", || {
        fs::read_to_string(env.path("said")).unwrap().contains("goes on when that is there").then_some(())
    });
    engine.go_on(&env);
    comes("a", "two.bad.example");
    assert_eq!(followed("two.bad.example"), 2);

    // Days are what an operator says; here the hits so far are of the day before.
    let noted = hits(&env, "--store", &cluster, &[]).iter().map(|hit| hit["noted"].as_u64().unwrap()).max();
    let cut = noted.unwrap() + 1;
    until("the next second", || (now() >= cut).then_some(()));
    let there = Cluster::new(&Address::parse(&cluster).unwrap()).unwrap();
    let would_go = retention::forecast(&there, cut).unwrap();
    assert!(would_go.contains(&(ClusterTable::Hits, 4)), "{would_go:?}");
    retention::cut(&there, cut, 0).unwrap();
    assert_eq!(hits(&env, "--store", &cluster, &[]), Vec::<Value>::new());
    // They go from the disk, too, and neither shipping nor comparing brings them back.
    let left = || engine.ask("SELECT count() FROM dns.hits").unwrap();
    retention::delete(&there, cut).unwrap();
    until("the server to delete them", || left().ends_with("\r\n0\n").then_some(()));
    for sensor in ["a", "b"] {
        let said = ship(&env, sensor, &cluster);
        assert!(said.contains(" 0 buckets differed"), "{said}");
    }
    assert!(left().ends_with("\r\n0\n"), "{}", left());
    comes("b", "three.bad.example");
    let there = hits(&env, "--store", &cluster, &[]);
    assert!(there.len() == 1 && there[0]["rrname"] == "three.bad.example", "{there:?}");
    assert_eq!(followed("three.bad.example"), 3);
    follower.kill().unwrap();
    follower.wait().unwrap();
}
