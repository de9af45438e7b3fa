//! That nothing is lost and nothing counts twice in a cluster of two shards with two replicas each, while its servers, ZooKeeper,
//! forwarders and front ends are killed at random and three sensors ship: one that follows its logs, one that is expired and whose
//! sites are imported anew, and one that is rebuilt.
//!
//! `DNSLEDGER_FLEET_KILLS` says how often, `DNSLEDGER_SEED` from which seed.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dnsledger::base::clock::now;
use dnsledger::base::time::format_date;
use generate::Random;
use parking_lot::Mutex;

use crate::clients::is_there;
use crate::env::{Daemon, TestEnv, free_port, made_up_log, note, pause, setting, skipped, until};
use crate::fleet::{Engine, Replica, export, front_end, log_of};
use crate::fleet_hits::{hits, known};

/// A ZooKeeper of one server; killed when dropped.
struct Keeper {
    port: u16,
    process: Option<Daemon>,
}

/// The program, as Debian has it.
const KEEPER: &str = "/usr/share/java/zookeeper.jar";

impl Keeper {
    fn start(env: &TestEnv) -> Option<Keeper> {
        if !is_there("java") || !fs::exists(KEEPER).unwrap() {
            assert!(std::env::var_os("CI").is_none(), "there is no ZooKeeper");
            skipped("there is no ZooKeeper: apt-get install zookeeper");
            return None;
        }
        let (port, folder) = (free_port(), env.path("keeper"));
        fs::create_dir(&folder).unwrap();
        let config = format!(
            "tickTime=200\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
            folder.display()
        );
        fs::write(env.path("zoo.cfg"), config).unwrap();
        let mut keeper = Keeper { port, process: None };
        keeper.go_on(env);
        Some(keeper)
    }

    fn go_on(&mut self, env: &TestEnv) {
        let main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
        let mut command = Command::new("java");
        command.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", KEEPER, main]);
        self.process = Some(env.background(command.arg(env.path("zoo.cfg"))));
        until("ZooKeeper to answer", || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
    }
}

/// Two shards with two replicas each.
struct Cluster {
    engines: Vec<Engine>,
    keeper: Keeper,
}

impl Cluster {
    fn start(env: &TestEnv) -> Option<Cluster> {
        if !is_there("clickhouse-server") {
            return None;
        }
        let keeper = Keeper::start(env)?;
        let names = [("s1r1", 1, 1), ("s1r2", 1, 2), ("s2r1", 2, 1), ("s2r2", 2, 2)];
        let replica = |shard, replica| Replica { shard, replica, keeper: keeper.port };
        // Each takes a few seconds.
        let engines = std::thread::scope(|scope| {
            let start = |(name, shard, number)| {
                let replica = replica(shard, number);
                scope.spawn(move || Engine::start_replica(env, name, &replica))
            };
            names.map(start).map(|thread| thread.join().unwrap())
        });
        Some(Cluster { engines: engines.into(), keeper })
    }

    /// Its address, with these replicas of each shard.
    fn address(&self, replicas: &[usize]) -> String {
        let shard = |shard: usize| {
            let hosts = replicas.iter().map(|replica| self.engines[2 * shard + replica].host());
            hosts.collect::<Vec<_>>().join(",")
        };
        format!("clickhouse://{};{}/dns", shard(0), shard(1))
    }
}

/// When the records of an old log are, epoch seconds.
fn old_time(number: u64) -> u64 {
    1_000_000_000 + number * 1_000_000
}

/// A process that somebody else may kill.
#[derive(Default)]
struct Slot(Mutex<Option<Daemon>>);

impl Slot {
    fn kill(&self) {
        if let Some(process) = self.0.lock().take() {
            process.kill();
        }
    }

    /// Runs a shipment to its end; whether it was acknowledged.
    fn ships(&self, env: &TestEnv, data: &str, to: &str) -> bool {
        *self.0.lock() = Some(env.begin(&["forward", "--once", "--data", data, "--to", to]));
        until("a shipment to end", || {
            let mut slot = self.0.lock();
            // It was killed.
            let Some(process) = slot.as_mut() else { return Some(false) };
            if process.has_ended() { slot.take().map(Daemon::wait) } else { None }
        })
    }

    /// Ships until that is acknowledged, or it is to stop.
    fn has_shipped(&self, env: &TestEnv, data: &str, to: &str, stop: &AtomicBool) -> bool {
        while !stop.load(Ordering::Relaxed) {
            if self.ships(env, data, to) {
                return true;
            }
            pause(Duration::from_millis(100));
        }
        false
    }
}

/// What each sensor watches for: some of what is in its logs.
fn feed() -> String {
    let logs = [9000, 1000, 5000].into_iter().flat_map(|first| first..first + 20).chain([77, 6000]);
    let mut all =
        BTreeSet::from(["witness0.test", "witness3.test", "old0.test", "old2.test"].map(str::to_owned));
    for seed in logs {
        let log = made_up_log(20, seed);
        // A line with other bytes names nothing that is watched for.
        let lines = log.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
        let names = lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split('\t').nth(9));
        all.extend(names.filter(|name| name.ends_with(".example")).map(str::to_owned));
    }
    all.into_iter().map(|name| name + "\n").collect()
}

/// Imports a log into a ledger; a new one watches from then on.
fn import(env: &TestEnv, data: &str, sensor: &str, log: &str) {
    let is_new = !env.path(data).exists();
    env.ok(&["import", "--data", data, "--sensor", sensor, log]);
    if is_new {
        env.ok(&["indicators", "import", "--data", data, "--feed", "bad", "feed.txt"]);
    }
}

/// What the model imports.
type Logs = Mutex<Vec<(&'static str, String)>>;

/// The sensor that is expired, and whose site is imported anew. Gives the last state of the site.
fn expired_and_replaced(env: &TestEnv, to: &str, slot: &Slot, logs: &Logs, stop: &AtomicBool, sites: &str) {
    let import = |log: &str| {
        import(env, "b", "b", log);
        logs.lock().push(("b", log.to_owned()));
    };
    for round in 1.. {
        let names: Vec<String> = (0..20).map(|i| format!("n{i}.old{}.test", round - 1 + i % 2)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let old = format!("b-old-{round}.log");
        fs::write(env.path(&old), log_of(&names, old_time(round))).unwrap();
        import(&old);
        let new = format!("b-{round}.log");
        fs::write(env.path(&new), made_up_log(100, 1000 + round)).unwrap();
        import(&new);
        // What expires before it was ever shipped is nobody's to know.
        if !slot.has_shipped(env, "b", to, stop) {
            return;
        }
        let before = format_date(old_time(round) + 2 * 86_400);
        env.ok(&["expire", "--yes", "--data", "b", "--before", &before]);
        // Some of it comes back.
        let back = format!("b-back-{round}.log");
        fs::write(env.path(&back), log_of(&names[..7], 1_700_000_000 + round * 1000)).unwrap();
        import(&back);
        let lines: Vec<&str> = sites.lines().collect();
        let some = lines.iter().skip(round as usize * 13 % 150).take(30 + round as usize % 40);
        fs::write(env.path("site.json"), some.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        env.ok(&["import", "--data", "b", "--sensor", "site", "--replace", "site.json"]);
        slot.ships(env, "b", to);
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// The sensor that is rebuilt when it is said: from then on its ledger is another one, in `c2`.
fn rebuilt(env: &TestEnv, to: &str, slot: &Slot, logs: &Logs, stop: &AtomicBool, rebuild: &AtomicBool) {
    let mut data = "c1";
    for round in 1.. {
        if data == "c1" && rebuild.load(Ordering::Relaxed) {
            data = "c2";
        }
        let log = format!("c-{round}.log");
        fs::write(env.path(&log), made_up_log(100, 5000 + round)).unwrap();
        import(env, data, "c", &log);
        if data == "c2" {
            logs.lock().push(("c", log));
        }
        slot.ships(env, data, to);
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

#[test]
fn kills_of_servers_forwarders_and_front_ends_lose_nothing_and_count_nothing_twice() {
    let mut env = TestEnv::new();
    env.set("DNSLEDGER_TEST_QUORUM_MS", "1500");
    let (kills, seed) = (setting("DNSLEDGER_FLEET_KILLS", 5), setting("DNSLEDGER_SEED", 1));
    // Where there are few kills they come quickly.
    let longest = if kills > 10 { 1500 } else { 400 };
    let Some(mut cluster) = Cluster::start(&env) else { return };
    let to = cluster.address(&[0, 1]);
    until("ZooKeeper to take the tables", || {
        env.run(&["fleet", "init", "--replicated", "--store", &to]).status.success().then_some(())
    });
    // The sensor that follows its logs, in two files, of which the first has what front ends must never miss.
    let witnesses: Vec<String> = (0..6).map(|i| format!("w{i}.witness{i}.test")).collect();
    let names: Vec<&str> = witnesses.iter().map(String::as_str).collect();
    fs::create_dir(env.path("logs")).unwrap();
    fs::write(env.path("logs/dns.log"), log_of(&names, 1_700_000_000)).unwrap();
    let config = format!(
        "data_dir = \"a\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[source]]\nlogs = \"logs\"\nsensor = \"a\"\n[forward]\nto = \"{to}\"\nevery = \"1s\"\n"
    );
    fs::write(env.path("a.toml"), config).unwrap();
    let daemon = env.configured_daemon("a.toml", "a");
    daemon.wait_for_lines(6);
    fs::write(env.path("feed.txt"), feed()).unwrap();
    env.ok(&["indicators", "import", "--data", "a", "--feed", "bad", "feed.txt"]);
    env.ok(&["forward", "--once", "--config", "a.toml"]);

    // With a replica away reading goes on, and what is not on both is not acknowledged.
    let expected = String::from_utf8(env.ok(&["export", "--data", "a"])).unwrap();
    cluster.engines[0].kill();
    assert_eq!(export(&env, &to), expected);
    fs::write(env.path("c-0.log"), made_up_log(50, 77)).unwrap();
    import(&env, "c1", "c", "c-0.log");
    let refused = env.run(&["forward", "--once", "--data", "c1", "--to", &to]);
    assert_eq!(refused.status.code(), Some(2), "a quorum of two was said");
    cluster.engines[0].go_on(&env);

    fs::write(env.path("sites.log"), made_up_log(300, 3)).unwrap();
    env.ok(&["import", "--data", "sites", "sites.log"]);
    let sites: String = env.export("sites").lines().take(200).map(|line| format!("{line}\n")).collect();
    let (logs, stop, rebuild) = (Logs::default(), AtomicBool::new(false), AtomicBool::new(false));
    let [slot_a, slot_b, slot_c] = [(); 3].map(|()| Slot::default());
    let mut random = Random::new(seed);
    let mut answered = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| expired_and_replaced(&env, &to, &slot_b, &logs, &stop, &sites));
        scope.spawn(|| rebuilt(&env, &to, &slot_c, &logs, &stop, &rebuild));
        // Where this fails the others are to end, too.
        let stops = Stops(&stop);
        let forward = || env.begin(&["forward", "--config", "a.toml"]);
        *slot_a.0.lock() = Some(forward());
        let mut front = front_end(&env, &to);
        for kill in 0..kills {
            if kill == kills / 2 {
                rebuild.store(true, Ordering::Relaxed);
            }
            fs::write(env.path(&format!("logs/dns.{kill}.log")), made_up_log(20, 9000 + kill)).unwrap();
            pause(Duration::from_millis(random.between(50, longest)));
            let struck = random.between(0, 8);
            match struck {
                0..=3 => cluster.engines[struck as usize].kill(),
                4 => cluster.keeper.process.take().unwrap().kill(),
                5 => {
                    slot_a.kill();
                    *slot_a.0.lock() = Some(forward());
                }
                6 => slot_b.kill(),
                7 => slot_c.kill(),
                _ => {
                    front.kill();
                    fs::remove_file(env.path("address")).unwrap();
                    front = front_end(&env, &to);
                }
            }
            // An answer is whole, or none.
            for name in &witnesses {
                let answer = front.try_get(&format!("/api/v1/records?q={name}"));
                let Ok(answer) = answer else { continue };
                assert!([200, 503, 504].contains(&answer.status), "{}", answer.head);
                if answer.status == 200 {
                    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                    assert_eq!(answer["records"].as_array().unwrap().len(), 1, "kill {kill}: {answer}");
                    answered += 1;
                }
            }
            pause(Duration::from_millis(random.between(0, longest)));
            match struck {
                0..=3 => cluster.engines[struck as usize].go_on(&env),
                4 => cluster.keeper.go_on(&env),
                _ => {}
            }
        }
        drop(stops);
        slot_a.kill();
    });
    assert!(answered > 0);

    // All is there again: what is left is shipped, and then nothing differs.
    rebuild.store(true, Ordering::Relaxed);
    if !env.path("c2").exists() {
        fs::write(env.path("c-last.log"), made_up_log(60, 6000)).unwrap();
        import(&env, "c2", "c", "c-last.log");
        logs.lock().push(("c", "c-last.log".to_owned()));
    }
    daemon.wait_for_lines(6 + 20 * kills);
    for data in ["a", "b", "c1", "c2"] {
        until("all to be shipped", || {
            let ended = env.run(&["forward", "--once", "--data", data, "--to", &to]);
            if !ended.status.success() {
                // So that it is known why, where that never ends.
                note(&format!("{data}: {}", ended.stderr));
            }
            ended.status.success().then_some(())
        });
        let said = String::from_utf8(env.ok(&["forward", "--once", "--data", data, "--to", &to])).unwrap();
        assert!(said.contains(" 0 buckets differed"), "{data}: {said}");
    }
    let status = String::from_utf8(env.ok(&["fleet", "status", "--store", &to])).unwrap();
    let waiting = status.lines().find(|line| line.contains("DOES NOT COUNT"));
    if let Some(waiting) = waiting {
        let ledger = waiting.split("ledger ").nth(1).unwrap().split(' ').next().unwrap();
        env.ok(&["fleet", "stand", "--store", &to, "c", ledger]);
    }
    assert!(daemon.stop().status.success());
    env.ok(&["import", "--data", "all", "--sensor", "a", "logs"]);
    for (sensor, log) in logs.lock().iter() {
        env.ok(&["import", "--data", "all", "--sensor", sensor, log]);
    }
    if env.path("site.json").exists() {
        env.ok(&["import", "--data", "all", "--sensor", "site", "site.json"]);
    }
    let all = env.export("all");
    let of_each = ["a", "b", "c2"].map(|data| hits(&env, "--data", data, &[]));
    assert!(of_each.iter().all(|hits| hits.len() > 2), "{:?}", of_each.map(|hits| hits.len()));
    let all_hits = known(&of_each.concat());
    for replicas in [&[0, 1][..], &[0], &[1]] {
        let address = cluster.address(replicas);
        until("the replicas to be equal", || {
            let there = export(&env, &address);
            let is_equal = there == all;
            if !is_equal {
                fs::write(env.path("there"), there).unwrap();
                fs::write(env.path("expected"), &all).unwrap();
            }
            is_equal.then_some(())
        });
        until("the hits of replicas to be equal", || {
            (known(&hits(&env, "--store", &address, &[])) == all_hits).then_some(())
        });
    }
}

#[test]
fn a_replica_that_is_behind_is_read_only_where_no_other_answers_and_then_it_is_said() {
    let mut env = TestEnv::new();
    env.set("DNSLEDGER_TEST_BEHIND", "1");
    let Some(mut cluster) = Cluster::start(&env) else { return };
    // The second replica of each shard is the one that is asked first.
    let to = cluster.address(&[1, 0]);
    until("ZooKeeper to take the tables", || {
        env.run(&["fleet", "init", "--replicated", "--store", &to]).status.success().then_some(())
    });
    let config = format!("data_dir = \"one\"\n[forward]\nto = \"{}\"\nquorum = 1\n", cluster.address(&[0]));
    fs::write(env.path("c.toml"), config).unwrap();
    let ship = |log: &str, names: &[String]| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        fs::write(env.path(log), log_of(&names, 1_700_000_000)).unwrap();
        env.ok(&["import", "--config", "c.toml", log]);
        env.ok(&["forward", "--once", "--config", "c.toml"]);
    };
    let names =
        |what: &str| -> Vec<String> { (0..20).map(|i| format!("{what}{i}.{what}{i}.test")).collect() };
    ship("old.log", &names("old"));
    let old = env.export("one");
    until("all replicas to have it", || (export(&env, &cluster.address(&[1])) == old).then_some(()));
    let front = front_end(&env, &to);
    let newest = |answer: &serde_json::Value| {
        let of = |key: &str| answer[key].to_string();
        (answer["records"].as_array().unwrap().len(), of("as_of"), of("incomplete"))
    };
    // In either shard there are some.
    let ask = || {
        let answer = front.get("/api/v1/records?q=~new&limit=100");
        assert!([200, 503].contains(&answer.status), "{}", answer.head);
        let read = |body: &[u8]| newest(&serde_json::from_slice(body).unwrap());
        (answer.status == 200).then(|| read(&answer.body))
    };
    let (none, before, whole) = ask().unwrap();
    assert_eq!((none, whole.as_str()), (0, "[]"));
    // It gets nothing any more, and the other one does.
    for at in [1, 3] {
        assert!(cluster.engines[at].ask("SYSTEM STOP FETCHES").unwrap().starts_with("HTTP/1.0 200"));
    }
    let noted = now();
    until("a later second", || (now() > noted + 1).then_some(()));
    ship("new.log", &names("new"));
    let all = env.export("one");
    let after = until("the front end to read from the other one", || {
        let (rows, as_of, whole) = ask()?;
        assert!(
            rows == 20 || as_of == before,
            "{rows} rows as of {as_of}: what is not there is not said to be"
        );
        (whole == "[]" && as_of > before).then_some(as_of)
    });
    assert!(export(&env, &to) == all, "a new process takes the other one, too");
    let status = String::from_utf8(env.ok(&["fleet", "status", "--store", &to])).unwrap();
    assert!(status.contains(&format!("shard 1: {} is ", cluster.engines[1].host())), "{status}");
    // The other one goes.
    for at in [0, 2] {
        cluster.engines[at].kill();
    }
    until("the front end to say that", || {
        let (rows, as_of, whole) = ask()?;
        assert!(rows == 20 || whole != "[]", "{rows} rows as of {as_of}");
        let is_said = whole.contains("Shard 1 of the cluster is read from") && whole.contains("s behind");
        is_said.then(|| assert_eq!((rows, as_of.as_str()), (0, before.as_str())))
    });
    let part = env.run(&["export", "--store", &to]);
    assert!(part.status.success() && part.stdout == old.as_bytes(), "{}", part.stderr);
    let as_of = before.trim_matches(['"', 'Z']).replace('T', " ");
    let says = |text: &str| part.stderr.contains(text);
    assert!(says("s behind") && says(&format!("As of {as_of} UTC")), "{}: {before}", part.stderr);
    // What keeps rows that a ledger drops would keep an older state of them.
    env.ok(&["expire", "--yes", "--config", "c.toml", "--before", "2024-01-01"]);
    let refused = env.run(&["forward", "--once", "--data", "one", "--to", &cluster.address(&[1])]);
    assert!(refused.status.code() == Some(2) && refused.stderr.contains("behind"), "{}", refused.stderr);
    // All is there again.
    for at in [1, 3] {
        assert!(cluster.engines[at].ask("SYSTEM START FETCHES").unwrap().starts_with("HTTP/1.0 200"));
    }
    for at in [0, 2] {
        cluster.engines[at].go_on(&env);
    }
    until("the front end to have all again", || {
        ask().filter(|(rows, as_of, whole)| (*rows, as_of, whole.as_str()) == (20, &after, "[]"))
    });
    env.ok(&["forward", "--once", "--data", "one", "--to", &to]);
    assert!(export(&env, &to) == all);
}

/// Says that all is to end, also where a test fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
