//! Many ledgers in a cluster of ClickHouse, with the real engine: each test starts servers in its own folder, on ports of its own.
//!
//! `tests/clients/setup.sh` installs the server, and `.ci/run` calls it. Where it is missing these say `SKIPPED`; in CI that is a failure.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::clients::is_there;
use super::env::{Daemon, TestEnv, free_port, made_up_log, note, post_control, skipped, until};
use super::project::documented_metrics;

/// A server of ClickHouse; killed when dropped.
pub struct Engine {
    name: &'static str,
    port: u16,
    process: Option<Daemon>,
}

/// Which replica of which shard a server is, and where its ZooKeeper is.
pub struct Replica {
    pub shard: usize,
    pub replica: usize,
    pub keeper: u16,
}

impl Replica {
    /// It looks each second whether its session with ZooKeeper has ended, as it does on a busy machine. Until then its tables take nothing;
    /// by default that is a minute.
    fn config(&self) -> String {
        let Replica { shard, replica, keeper } = self;
        format!(
            "<interserver_http_port>{}</interserver_http_port><interserver_http_host>127.0.0.1</interserver_http_host>\
             <zookeeper><node><host>127.0.0.1</host><port>{keeper}</port></node><session_timeout_ms>2000</session_timeout_ms></zookeeper>\
             <merge_tree><zookeeper_session_expiration_check_period>1</zookeeper_session_expiration_check_period></merge_tree>\
             <macros><shard>{shard}</shard><replica>{replica}</replica></macros>",
            free_port()
        )
    }
}

const USERS: &str = "<yandex><profiles><default></default></profiles>\
    <users><default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default>\
    <forwarder><password>secret</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></forwarder></users>\
    <quotas><default></default></quotas></yandex>";

impl Engine {
    /// Starts one, and waits until it answers. `None` where there is no such program.
    pub fn start(env: &TestEnv, name: &'static str) -> Option<Engine> {
        is_there("clickhouse-server").then(|| Engine::configured(env, name, ""))
    }

    /// Starts the newest engine there is, in process behind a front. `None` where it is not installed.
    pub fn newest(env: &TestEnv, name: &'static str) -> Option<Engine> {
        let target = Path::new(env!("CARGO_BIN_EXE_dnsledger")).ancestors().nth(2).unwrap();
        let chdb = target.join("chdb");
        if !chdb.join("installed").exists() {
            assert!(std::env::var_os("CI").is_none(), "chdb is missing: run tests/clients/setup.sh");
            skipped("chdb is missing: run tests/clients/setup.sh");
            return None;
        }
        let (folder, port) = (env.path(name), free_port());
        fs::create_dir(&folder).unwrap();
        let mut command = Command::new("python3");
        command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/chdb_front.py"));
        let process = env.background(command.arg(port.to_string()).arg(folder).env("PYTHONPATH", chdb));
        let engine = Engine { name, port, process: Some(process) };
        until("the front to answer", || engine.ask("SELECT 1").filter(|answer| answer.ends_with("\r\n1\n")));
        Some(engine)
    }

    /// Starts one that is a replica of a shard.
    pub fn start_replica(env: &TestEnv, name: &'static str, replica: &Replica) -> Engine {
        Engine::configured(env, name, &replica.config())
    }

    fn configured(env: &TestEnv, name: &'static str, more: &str) -> Engine {
        let folder = env.path(name);
        let at = folder.display();
        ["data", "tmp", "schemas"].iter().for_each(|part| fs::create_dir_all(folder.join(part)).unwrap());
        let (port, tcp) = (free_port(), free_port());
        let config = format!(
            "<yandex><logger><level>error</level><log>{at}/log</log><errorlog>{at}/errors</errorlog></logger>\
             <http_port>{port}</http_port><tcp_port>{tcp}</tcp_port><listen_host>127.0.0.1</listen_host><path>{at}/data/</path>\
             <tmp_path>{at}/tmp/</tmp_path><format_schema_path>{at}/schemas/</format_schema_path><users_config>{at}/users.xml</users_config>\
             <default_profile>default</default_profile><default_database>default</default_database>\
             <mark_cache_size>16777216</mark_cache_size>{more}</yandex>"
        );
        fs::write(folder.join("users.xml"), USERS).unwrap();
        fs::write(folder.join("config.xml"), config).unwrap();
        let mut engine = Engine { name, port, process: None };
        engine.go_on(env);
        engine
    }

    /// Starts it again in its folder.
    pub fn go_on(&mut self, env: &TestEnv) {
        let config = env.path(self.name).join("config.xml");
        let (began, mut is_told) = (Instant::now(), false);
        until("the server to answer", || {
            // So that it is known why, where it never does.
            if began.elapsed() > Duration::from_secs(45) && !std::mem::replace(&mut is_told, true) {
                let said = fs::read_to_string(env.path(self.name).join("errors")).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(40).collect();
                note(&format!(
                    "{} does not answer; its last errors, the newest first:\n{}",
                    self.name,
                    last.join("\n")
                ));
            }
            // Where its ZooKeeper is not there yet it ends, and is started again, as an init does.
            if self.process.as_mut().is_none_or(Daemon::has_ended) {
                let mut command = Command::new("clickhouse-server");
                command.arg(format!("--config-file={}", config.display()));
                self.process = Some(env.background(&mut command));
            }
            self.ask("SELECT 1").filter(|answer| answer.contains("\r\n1\n"))
        });
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it says to a statement, with the head of the answer.
    pub fn ask(&self, statement: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n", statement.len());
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(statement.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

/// What `export --store` prints.
#[track_caller]
pub fn export(env: &TestEnv, cluster: &str) -> String {
    String::from_utf8(env.ok(&["export", "--store", cluster])).unwrap()
}

/// A front end of a cluster of one server, which has a name, into which a ledger was shipped.
pub fn front_of(env: &TestEnv, name: &'static str, data: &str, more: &[&str]) -> Daemon {
    let engine = Engine::start(env, name).expect("there is a server");
    let cluster = format!("clickhouse://{}/dns", engine.host());
    env.keep(engine);
    env.ok(&["fleet", "init", "--store", &cluster]);
    ship(env, data, &cluster);
    announced(env, &cluster, &format!("address of {name}"), more)
}

/// A front end of a cluster, once it answers.
pub fn front_end(env: &TestEnv, cluster: &str) -> Daemon {
    announced(env, cluster, "address", &[])
}

/// The same that writes its address to a file.
fn announced(env: &TestEnv, cluster: &str, file: &str, more: &[&str]) -> Daemon {
    let served = env.path(file);
    let mut command = env.command(&["serve", "--store", cluster, "--listen", "127.0.0.1:0"]);
    let mut front = env.background(command.args(more).arg("--announce").arg(&served));
    let address = until("the front end to answer", || {
        fs::read_to_string(&served).ok().and_then(|address| address.trim().parse().ok())
    });
    front.set_address(address);
    front
}

/// Ships what a ledger has, and compares all; what is said of it.
#[track_caller]
pub fn ship(env: &TestEnv, data: &str, cluster: &str) -> String {
    String::from_utf8(env.ok(&["forward", "--once", "--data", data, "--to", cluster])).unwrap()
}

/// A log of these addresses, one record a second from a time on.
pub fn log_of(names: &[&str], from: u64) -> String {
    let mut log = "#separator \\x09\n#fields\tts\tid.orig_h\tid.resp_p\tproto\tquery\tqtype\tqtype_name\trcode\trcode_name\tanswers\tTTLs\n"
        .to_owned();
    for (name, at) in names.iter().zip(from..) {
        log += &format!("{at}.0\t10.0.0.1\t53\tudp\t{name}\t1\tA\t0\tNOERROR\t192.0.2.1\t60.0\n");
    }
    log
}

#[test]
fn a_cluster_that_three_ledgers_feed_exports_what_all_of_them_hold_together() {
    let env = TestEnv::new();
    if let Some(engine) = Engine::start(&env, "engine") {
        three_ledgers(&env, &engine);
    }
}

#[test]
fn the_newest_engine_is_fed_and_asked_by_the_same_statements() {
    let env = TestEnv::new();
    let Some(engine) = Engine::newest(&env, "engine") else { return };
    three_ledgers(&env, &engine);
    let cluster = format!("clickhouse://{}/dns", engine.host());
    // It is told to compress by ZSTD.
    let codecs = engine.ask(
        "SELECT countIf(default_kind != 'ALIAS' AND compression_codec != 'CODEC(ZSTD(1))') FROM system.columns WHERE database = 'dns'",
    );
    assert!(codecs.unwrap().ends_with("\r\n0\n"));
    // Retention, comparing, and what is known of sensors.
    let before = export(&env, &cluster).lines().count();
    env.ok(&["fleet", "expire", "--store", &cluster, "--before", "2024-03-01"]);
    let left = export(&env, &cluster).lines().count();
    assert!(left <= before, "{left} of {before}");
    assert!(ship(&env, "b", &cluster).contains(" 0 buckets differed"));
    let status = String::from_utf8(env.ok(&["fleet", "status", "--store", &cluster])).unwrap();
    assert!(status.contains("buckets were found equal") && !status.contains("never were"), "{status}");
    assert_buckets(env.ok(&["fleet", "status", "--buckets", "--store", &cluster]), 3);
}

/// Each bucket of three ledgers was found equal, and when that was is said.
#[track_caller]
fn assert_buckets(status: Vec<u8>, ledgers: usize) {
    let status = String::from_utf8(status).unwrap();
    let buckets: Vec<&str> = status.lines().filter(|line| line.starts_with("bucket ")).collect();
    assert_eq!(buckets.len(), ledgers * 4 * 1024);
    assert!(
        buckets.iter().all(|line| line.contains(": found equal 20") && line.ends_with(" rows")),
        "{status}"
    );
    assert!(buckets.iter().any(|line| line.contains(" by_name ") && !line.ends_with(" 0 rows")));
}

fn three_ledgers(env: &TestEnv, engine: &Engine) {
    fs::write(env.path("password"), "secret\n").unwrap();
    let options = format!("user=forwarder&password_file={}", env.path("password").display());
    let cluster = format!("clickhouse://{}/dns?{options}", engine.host());
    // Before there are tables it is said what makes them.
    let early = env.run(&["export", "--store", &cluster]);
    assert!(!early.status.success() && early.stderr.contains("dnsledger fleet init"), "{}", early.stderr);
    env.ok(&["fleet", "init", "--store", &cluster]);
    let sensors = ["a", "b", "c"];
    for (sensor, seed) in sensors.iter().zip([1, 2, 1]) {
        let log = format!("{sensor}.log");
        // Two sensors have seen nearly the same. Without its first record one log is not taken for the other.
        let text = String::from_utf8(made_up_log(3000, seed)).unwrap();
        let first = text.lines().find(|line| !line.starts_with('#')).filter(|_| *sensor == "c");
        let text: String =
            text.lines().filter(|line| Some(*line) != first).map(|line| format!("{line}\n")).collect();
        fs::write(env.path(&log), text).unwrap();
        env.ok(&["import", "--data", sensor, "--sensor", sensor, &log]);
        env.ok(&["import", "--data", "all", "--sensor", sensor, &log]);
    }
    // In another order, one of them twice, and one in two parts.
    for sensor in ["c", "a", "c", "b"] {
        ship(env, sensor, &cluster);
    }
    fs::write(env.path("more.log"), made_up_log(500, 9)).unwrap();
    env.ok(&["import", "--data", "a", "--sensor", "a", "more.log"]);
    env.ok(&["import", "--data", "all", "--sensor", "a", "more.log"]);
    ship(env, "a", &cluster);
    let all = env.export("all");
    assert!(all.lines().count() > 5000);
    assert!(export(env, &cluster) == all, "not the same");
    // What is asked by name, below a name, by address, network and target, and what was never answered.
    let row: serde_json::Value = serde_json::from_str(all.lines().nth(400).unwrap()).unwrap();
    let name = row["rrname"].as_str().unwrap().to_owned();
    let domain =
        name.rsplitn(3, '.').collect::<Vec<_>>()[..2].iter().rev().copied().collect::<Vec<_>>().join(".");
    let below = format!("*.{domain}");
    let address = all.lines().find_map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let is_address = row["rrtype"] == "A";
        is_address.then(|| row["rdata"].as_str().or_else(|| row["rdata"][0].as_str()).unwrap().to_owned())
    });
    let address = address.unwrap();
    let network = format!("{}.0.0/16", address.splitn(3, '.').take(2).collect::<Vec<_>>().join("."));
    // Of what some text scans find there are older versions, too.
    for query in [
        name.as_str(),
        &below,
        &domain,
        &address,
        &network,
        "~mail",
        "/[a-z]{3}/",
        "/^.{20,}$/",
        "no.such.example",
        "*.example",
    ] {
        for more in [&["--format", "csv"][..], &["--sensor", "b"], &["--limit", "3"], &["--sort", "-last"]] {
            let ask = |how: &str, of: &str| {
                let answer = env.run(&[&["lookup", how, of], more, &[query]].concat());
                // Whether anything is followed only a folder knows.
                let own = |line: &&str| line.starts_with("As of ") || line.starts_with("No daemon follows");
                let said = answer.stderr.lines().filter(|line| !own(line)).collect::<Vec<_>>();
                (answer.status.code(), answer.stdout, said.join("\n"))
            };
            assert_eq!(ask("--store", &cluster), ask("--data", "all"), "{query} {more:?}");
        }
    }
    // And over HTTP, page by page.
    let front = front_end(env, &cluster);
    assert_eq!(String::from_utf8(front.get("/api/v1/export").body).unwrap(), all);
    // Each sensor is listed, and the answer is as of the one that is furthest behind.
    let answer = front.json(&format!("/api/v1/records?q={name}&questions=true"));
    let times: Vec<&str> =
        answer["sensors"].as_array().unwrap().iter().map(|of| of["as_of"].as_str().unwrap()).collect();
    assert_eq!(times.len(), 3, "{answer}");
    assert_eq!(answer["as_of"].as_str(), times.iter().min().copied());
    for path in [
        format!("/api/v1/names/{name}"),
        format!("/api/v1/seen/{name}"),
        "/api/v1/new".to_owned(),
        "/api/v1/status".to_owned(),
    ] {
        let document = front.json(&path);
        assert_eq!(
            (&document["as_of"], &document["sensors"]),
            (&answer["as_of"], &answer["sensors"]),
            "{path}"
        );
    }
    let page = front.get(&format!("/name/{name}"));
    let text = String::from_utf8(page.body).unwrap();
    assert!(page.status == 200 && text.contains("3 sensors") && text.contains("True as of"), "{text}");
    assert_eq!(front.get("/status").status, 200);
    // What is not in a cluster is not answered with nothing.
    for (path, what) in [
        ("/api/v1/hits/stream", "streams of hits"),
        ("/api/v1/feeds", "feeds"),
        ("/api/v1/evidence?q=a.example", "lines of logs"),
    ] {
        let answer = front.get(path);
        let text = String::from_utf8(answer.body).unwrap();
        assert!(
            answer.status == 501 && text.contains(&format!("{what} are not in a cluster")),
            "{path}: {text}"
        );
    }
    for command in [&["feeds"][..], &["evidence", "a.example"]] {
        let ended = env.run(&[&command[..1], &["--store", &cluster], &command[1..]].concat());
        assert!(
            ended.status.code() == Some(64) && ended.stderr.contains("are not in a cluster"),
            "{command:?}: {}",
            ended.stderr
        );
    }
    let metrics = String::from_utf8(front.get("/metrics").body).unwrap();
    assert!(metrics.contains("dnsledger_fleet_sensor_as_of_seconds{sensor=\"b\"}"), "{metrics}");
    assert_has_all(&metrics, "dnsledger_fleet_");
    let said = env.run(&["lookup", "--store", &cluster, &name]).stderr;
    assert!(said.starts_with("As of ") && said.contains(" b 2"), "{said}");
    // A sensor that is closed does not hold the time back.
    env.ok(&["fleet", "close", "--store", &cluster, "c"]);
    let closed = env.run(&["lookup", "--store", &cluster, &name]).stderr;
    assert!(closed.contains(", when ") && !closed.contains("when c shipped"), "{closed}");
    assert!(front.stop().status.success());
}

#[test]
fn tables_that_are_made_by_hand_are_those_that_init_makes() {
    let env = TestEnv::new();
    let (Some(first), Some(second)) = (Engine::start(&env, "first"), Engine::start(&env, "second")) else {
        return;
    };
    let print = ["fleet", "print", "dns", "--shards", "2"];
    let printed = String::from_utf8(env.ok(&print)).unwrap();
    for (number, engine) in [(1, &first), (2, &second)] {
        let (mut is_own, mut made) = (true, 0);
        for line in printed.lines() {
            if let Some(shard) = line.strip_prefix("-- on one server of shard ") {
                is_own = shard.starts_with(&number.to_string());
            } else if is_own {
                let answer = engine.ask(line.trim_end_matches(';')).unwrap();
                assert!(answer.starts_with("HTTP/1.0 200"), "{line}: {answer}");
                made += 1;
            }
        }
        assert_eq!(made, 12, "a database, ten tables and what they are: {printed}");
    }
    let cluster = format!("clickhouse://{};{}/dns", first.host(), second.host());
    fs::write(env.path("made.log"), made_up_log(100, 5)).unwrap();
    env.ok(&["import", "--data", "one", "made.log"]);
    ship(&env, "one", &cluster);
    assert_eq!(export(&env, &cluster), env.export("one"));
    let said = String::from_utf8(env.ok(&["fleet", "upgrade", "--store", &cluster])).unwrap();
    assert_eq!(said.matches("tables of version 5").count(), 2, "{said}");
}

#[test]
fn what_a_ledger_drops_by_age_stays_in_the_cluster_and_counts_once_when_it_comes_back() {
    let env = TestEnv::new();
    let Some(engine) = Engine::start(&env, "engine") else { return };
    let cluster = format!("clickhouse://{}/dns", engine.host());
    env.ok(&["fleet", "init", "--store", &cluster]);
    let day = 86_400;
    let old = 1_700_006_400; // the beginning of a day
    let import = |data: &str, log: &str| drop(env.ok(&["import", "--data", data, log]));
    let names = ["gone.example", "back.example", "stays.example"];
    fs::write(env.path("1.log"), log_of(&names, old)).unwrap();
    fs::write(env.path("2.log"), log_of(&["stays.example"], old + 3 * day)).unwrap();
    fs::write(env.path("3.log"), log_of(&["back.example", "stays.example"], old + 5 * day)).unwrap();
    for log in ["1.log", "2.log", "3.log"] {
        import("all", log);
    }
    import("one", "1.log");
    ship(&env, "one", &cluster);
    // What changed last before rows are dropped is not shipped yet: the cluster must not take it for dropped.
    import("one", "2.log");
    let expire = ["expire", "--yes", "--data", "one", "--before", "2023-11-16"];
    env.ok(&expire);
    assert_eq!(env.export("one").lines().count(), 1);
    import("one", "3.log");
    ship(&env, "one", &cluster);
    assert_eq!(export(&env, &cluster), env.export("all"));
    assert!(ship(&env, "one", &cluster).starts_with("0 rows and questions shipped, 0 buckets differed"));
    // All of it goes at the sensor.
    env.ok(&["expire", "--yes", "--data", "one", "--before", "2024-01-01"]);
    assert_eq!(env.export("one"), "");
    ship(&env, "one", &cluster);
    assert_eq!(export(&env, &cluster), env.export("all"));
}

/// The statement that made a table of version 3: those had the last sighting itself, and did not say which rows are odd.
fn of_version_3(statement: &str) -> String {
    let older = statement.replace(", last UInt64 ALIAS first + span", "");
    let older = older.replace(", a_last UInt64 ALIAS a_first + a_span", "").replace("span ", "last ");
    match older.split_once(", odd UInt8 ") {
        Some((before, after)) => format!("{before}) ENGINE{}", after.split_once(" ENGINE").unwrap().1),
        None => older,
    }
}

#[test]
fn tables_that_an_older_version_made_are_used_as_they_are() {
    let env = TestEnv::new();
    let Some(engine) = Engine::start(&env, "engine") else { return };
    let cluster = format!("clickhouse://{}/dns", engine.host());
    // They had the last sighting itself.
    let statements = String::from_utf8(env.ok(&["fleet", "print", "dns"])).unwrap();
    for statement in statements.lines().filter(|statement| statement.starts_with("CREATE")) {
        let older = of_version_3(statement);
        let answer = engine.ask(older.trim_end_matches(';')).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200"), "{older}: {answer}");
    }
    for command in ["init", "upgrade"] {
        let said = String::from_utf8(env.ok(&["fleet", command, "--store", &cluster])).unwrap();
        assert!(said.contains("tables of version 3"), "{said}");
    }
    let old = 1_700_006_400; // the beginning of 2023-11-15
    fs::write(env.path("1.log"), log_of(&["gone.example", "back.example"], old)).unwrap();
    fs::write(env.path("2.log"), log_of(&["back.example", "new.example"], old + 300_000)).unwrap();
    for log in ["1.log", "2.log"] {
        env.ok(&["import", "--data", "all", log]);
        env.ok(&["import", "--data", "one", log]);
        ship(&env, "one", &cluster);
        assert_eq!(export(&env, &cluster), env.export("all"));
        env.ok(&["expire", "--yes", "--data", "one", "--before", "2023-11-16"]);
        ship(&env, "one", &cluster);
        assert_eq!(export(&env, &cluster), env.export("all"));
    }
    assert!(ship(&env, "one", &cluster).starts_with("0 rows and questions shipped, 0 buckets differed"));
}

#[test]
fn shards_with_tables_of_two_versions_are_one_cluster_and_an_upgrade_that_stopped_is_said() {
    let env = TestEnv::new();
    let (Some(first), Some(mut second)) = (Engine::start(&env, "first"), Engine::start(&env, "second"))
    else {
        return;
    };
    let cluster = format!("clickhouse://{};{}/dns", first.host(), second.host());
    let made = |engine: &Engine, statement: &str| {
        let answer = engine.ask(statement).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200"), "{statement}: {answer}");
    };
    // The first shard has tables of version 3, which had the last sighting itself.
    let statements = String::from_utf8(env.ok(&["fleet", "print", "dns"])).unwrap();
    for statement in statements.lines().filter(|statement| statement.starts_with("CREATE")) {
        let older = of_version_3(statement);
        made(&first, older.trim_end_matches(';'));
    }
    // Of the second one nothing is there yet: that is said, and an upgrade makes the first one whole before it fails.
    second.kill();
    let stopped = env.run(&["fleet", "init", "--store", &cluster]);
    assert!(stopped.status.code() == Some(2) && stopped.stderr.contains("shard 2"), "{}", stopped.stderr);
    second.go_on(&env);
    for command in [&["export"][..], &["fleet", "status"]] {
        let early = env.run(&[command, &["--store", &cluster]].concat());
        let says = early.stderr.contains("dnsledger fleet init");
        assert!(early.status.code() == Some(2) && says && early.stdout.is_empty(), "{}", early.stderr);
    }
    let said = String::from_utf8(env.ok(&["fleet", "init", "--store", &cluster])).unwrap();
    assert!(said.contains("tables of version 3") && said.contains("tables of version 5"), "{said}");
    // Each step is right: shipping, what expires and comes back, comparing, what a shard lost.
    let old = 1_700_006_400; // the beginning of 2023-11-15
    let names = |what: &str| (0..12).map(|i| format!("{what}.d{i}.test")).collect::<Vec<_>>();
    for (round, what) in [(0, ["gone", "back"]), (1, ["back", "new"])] {
        let mut names = what.map(names).concat();
        // Bytes that are escaped when they are shown.
        names.push(format!("n\\xc8{round}k.\\x03.d3.test"));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let log = format!("{round}.log");
        fs::write(env.path(&log), log_of(&names, old + 300_000 * round)).unwrap();
        env.ok(&["import", "--data", "all", &log]);
        env.ok(&["import", "--data", "one", &log]);
        ship(&env, "one", &cluster);
        assert_eq!(export(&env, &cluster), env.export("all"));
        env.ok(&["expire", "--yes", "--data", "one", "--before", "2023-11-16"]);
        ship(&env, "one", &cluster);
        assert_eq!(export(&env, &cluster), env.export("all"));
    }
    assert!(ship(&env, "one", &cluster).starts_with("0 rows and questions shipped, 0 buckets differed"));
    for engine in [&first, &second] {
        let rows = engine.ask("SELECT count() > 5 FROM dns.by_name").unwrap();
        assert!(rows.ends_with("\r\n1\n"), "both have some: {rows}");
        made(engine, "TRUNCATE TABLE dns.questions");
    }
    let mended = ship(&env, "one", &cluster);
    assert!(!mended.contains(" 0 buckets differed") && !mended.contains(" 0 rows shipped again"), "{mended}");
    // Texts and regexes are looked for in tables that say which rows are odd as in those that do not.
    let queries = [
        "back.d1.test",
        "192.0.2.1",
        "*.d3.test",
        "~new.d",
        "/^.{16,}$/",
        "~001k",
        "~00",
        "~3.d3",
        "~200",
        "/[0-9]{4}k/",
        "/00[0-9]/",
    ];
    for says in ["odd", "nothing"] {
        let front = front_end(&env, &cluster);
        for query in queries {
            let (of_front, of_folder) = (
                front.get(&format!("/api/v1/export?q={query}")),
                ["lookup", "--data", "all", "--format", "json"],
            );
            let expected =
                String::from_utf8(env.run(&[&of_folder[..], &["--limit", "1000", query]].concat()).stdout)
                    .unwrap();
            let there = String::from_utf8(of_front.body).unwrap();
            let counts = (there.lines().count(), expected.lines().count());
            assert_eq!((of_front.status, counts.0), (200, counts.1), "{query}, tables say {says}");
            assert!(counts.0 > 0, "{query}");
        }
        if says == "odd" {
            let odd = [&first, &second].map(|engine| {
                let odd = engine.ask("SELECT uniqExact(name) FROM dns.by_name WHERE odd = 1").unwrap();
                odd.trim_end().rsplit('\n').next().unwrap().parse::<u64>().unwrap()
            });
            assert_eq!(odd.iter().sum::<u64>(), 2);
            for table in ["by_name", "by_data", "questions"] {
                made(&first, &format!("ALTER TABLE dns.{table} DROP COLUMN odd"));
            }
        }
        fs::remove_file(env.path("address")).unwrap();
    }
    // A shard that is older than what can be read stops all, and an upgrade mends it.
    made(&first, "DROP TABLE dns.cuts");
    made(&first, "TRUNCATE TABLE dns.layout");
    made(&first, "INSERT INTO dns.layout VALUES (1, 1, 1, 1024, 2)");
    for command in
        [&["export", "--store", &cluster][..], &["forward", "--once", "--data", "one", "--to", &cluster]]
    {
        let older = env.run(command);
        assert!(older.status.code() == Some(2) && older.stdout.is_empty(), "{}", older.stderr);
        assert!(older.stderr.contains("dnsledger fleet upgrade"), "{}", older.stderr);
    }
    env.ok(&["fleet", "upgrade", "--store", &cluster]);
    assert_eq!(export(&env, &cluster), env.export("all"));
}

#[test]
fn a_cluster_drops_what_was_not_seen_for_long_and_nobody_brings_it_back() {
    let env = TestEnv::new();
    let Some(engine) = Engine::start(&env, "engine") else { return };
    let cluster = format!("clickhouse://{}/dns", engine.host());
    env.ok(&["fleet", "init", "--store", &cluster]);
    // Tables that an older version made are brought up, and said to need it before.
    for statement in [
        "DROP TABLE dns.cuts",
        "DROP TABLE dns.layout",
        "CREATE TABLE dns.layout (one UInt8, ver UInt64, version UInt32, buckets UInt32, shards UInt32) ENGINE = ReplacingMergeTree(ver) ORDER BY one",
        "INSERT INTO dns.layout VALUES (1, 1, 1, 1024, 1)",
    ] {
        let answer = engine.ask(statement).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    }
    let older = env.run(&["export", "--store", &cluster]);
    assert!(!older.status.success() && older.stderr.contains("dnsledger fleet upgrade"), "{}", older.stderr);
    env.ok(&["fleet", "upgrade", "--store", &cluster]);
    let (day, old) = (86_400, 1_700_006_400); // the beginning of 2023-11-15
    fs::write(env.path("1.log"), log_of(&["gone.example", "stays.example"], old)).unwrap();
    fs::write(env.path("2.log"), log_of(&["stays.example", "new.example"], old + 3 * day)).unwrap();
    for log in ["1.log", "2.log"] {
        env.ok(&["import", "--data", "one", log]);
        ship(&env, "one", &cluster);
    }
    let all = env.export("one");
    assert_eq!(export(&env, &cluster), all);
    let kept: String =
        all.lines().filter(|line| !line.contains("gone")).map(|line| format!("{line}\n")).collect();
    let before = ["fleet", "expire", "--store", &cluster, "--before", "2023-11-16"];
    let would = String::from_utf8(env.ok(&[&before[..], &["--dry-run"]].concat())).unwrap();
    assert!(
        would.contains("would drop") && would.contains("1 of by_name, 1 of by_data, 1 of questions"),
        "{would}"
    );
    assert_eq!(export(&env, &cluster), all);
    env.ok(&before);
    assert_eq!(export(&env, &cluster), kept);
    // It is gone from the disk, too, in its time.
    until("the servers to delete it", || {
        engine.ask("SELECT count() FROM dns.by_name").filter(|rows| rows.ends_with("\r\n2\n"))
    });
    // The ledger still has it, and neither comparing, nor shipping all, nor an old log brings it back.
    assert_eq!(env.export("one"), all);
    assert!(ship(&env, "one", &cluster).starts_with("0 rows and questions shipped, 0 buckets differed"));
    env.ok(&["import", "--data", "two", "--sensor", "late", "1.log", "2.log"]);
    ship(&env, "two", &cluster);
    let late = export(&env, &cluster);
    assert_eq!((late.lines().count(), late.contains("gone")), (4, false), "{late}");
    // What comes back does, and counts from then on.
    fs::write(env.path("3.log"), log_of(&["gone.example"], old + 4 * day)).unwrap();
    env.ok(&["import", "--data", "one", "3.log"]);
    ship(&env, "one", &cluster);
    assert!(export(&env, &cluster).contains("gone.example"));
    // A day that is not over, and no day, are refused.
    assert_eq!(
        env.run(&["fleet", "expire", "--store", &cluster, "--before", "2999-01-01"]).status.code(),
        Some(64)
    );
    assert_eq!(env.run(&["fleet", "expire", "--store", &cluster]).status.code(), Some(64));
}

#[test]
fn a_ledger_that_is_put_back_to_an_older_state_counts_as_it_is_from_then_on() {
    let env = TestEnv::new();
    let Some(engine) = Engine::start(&env, "engine") else { return };
    let cluster = format!("clickhouse://{}/dns", engine.host());
    env.ok(&["fleet", "init", "--store", &cluster]);
    let import = |log: &str, names: &[&str], at: u64| {
        fs::write(env.path(log), log_of(names, at)).unwrap();
        env.ok(&["import", "--data", "one", log]);
    };
    import("1.log", &["stays.example", "more.example"], 1_700_000_000);
    env.ok(&["snapshot", "--data", "one", "backup"]);
    for round in 0..4 {
        import(&format!("lost-{round}.log"), &["more.example", "lost.example"], 1_700_100_000 + 1000 * round);
    }
    ship(&env, "one", &cluster);
    let lost = export(&env, &cluster);
    assert!(lost == env.export("one") && lost.contains("lost.example"));
    fs::remove_dir_all(env.path("one")).unwrap();
    fs::rename(env.path("backup"), env.path("one")).unwrap();
    // Before and after something else was seen.
    for (log, names) in [(None, &[][..]), (Some("2.log"), &["more.example", "new.example"])] {
        if let Some(log) = log {
            import(log, names, 1_700_200_000);
        }
        ship(&env, "one", &cluster);
        assert_eq!(export(&env, &cluster), env.export("one"));
    }
    let status = String::from_utf8(env.ok(&["fleet", "status", "--store", &cluster])).unwrap();
    assert!(!status.contains("never were"), "{status}");
}

#[test]
fn what_a_ledger_replaces_goes_from_the_cluster_and_a_rebuilt_sensor_waits_for_its_operator() {
    let env = TestEnv::new();
    let Some(engine) = Engine::start(&env, "engine") else { return };
    let cluster = format!("clickhouse://{}/dns", engine.host());
    env.ok(&["fleet", "init", "--store", &cluster]);
    fs::write(env.path("made.log"), made_up_log(2000, 3)).unwrap();
    env.ok(&["import", "--data", "made", "made.log"]);
    let rows = env.export("made");
    let some =
        |rows: usize, from: &str| from.lines().take(rows).map(|line| format!("{line}\n")).collect::<String>();
    fs::write(env.path("site.json"), some(600, &rows)).unwrap();
    env.ok(&["import", "--data", "one", "--sensor", "site", "site.json"]);
    ship(&env, "one", &cluster);
    assert_eq!(export(&env, &cluster), env.export("one"));
    fs::write(env.path("site.json"), some(50, &rows)).unwrap();
    env.ok(&["import", "--data", "one", "--sensor", "site", "--replace", "site.json"]);
    let said = ship(&env, "one", &cluster);
    assert!(!said.contains(" 0 buckets differed"), "{said}");
    let former = env.export("one");
    assert!(former.lines().count() == 50 && export(&env, &cluster) == former);
    // The sensor is rebuilt: another ledger, the same name.
    fs::write(env.path("again.json"), some(70, &rows)).unwrap();
    env.ok(&["import", "--data", "two", "--sensor", "site", "again.json"]);
    ship(&env, "two", &cluster);
    assert_eq!(export(&env, &cluster), former, "it does not count yet");
    let status = String::from_utf8(env.ok(&["fleet", "status", "--store", &cluster])).unwrap();
    let waiting = status.lines().find(|line| line.contains("DOES NOT COUNT")).unwrap();
    let ledger = waiting.split("ledger ").nth(1).unwrap().split(' ').next().unwrap();
    env.ok(&["fleet", "stand", "--store", &cluster, "site", ledger]);
    assert_eq!(export(&env, &cluster), env.export("two"));
}

#[test]
fn rows_that_shards_lost_are_shipped_again_and_a_shard_that_is_away_is_no_empty_answer() {
    let env = TestEnv::new();
    let (Some(mut first), Some(mut second)) = (Engine::start(&env, "first"), Engine::start(&env, "second"))
    else {
        return;
    };
    // A replica that is not there is passed over.
    let dead = free_port();
    let cluster = format!("clickhouse://{};{}/dns", first.host(), second.host());
    let with_dead =
        format!("clickhouse://127.0.0.1:{dead},{};127.0.0.1:{dead},{}/dns", first.host(), second.host());
    env.ok(&["fleet", "init", "--store", &cluster]);
    fs::write(env.path("made.log"), made_up_log(4000, 5)).unwrap();
    env.ok(&["import", "--data", "one", "made.log"]);
    ship(&env, "one", &with_dead);
    let rows = env.export("one");
    assert!(export(&env, &cluster) == rows && export(&env, &with_dead) == rows);
    // And where it is the other one, of either shard.
    for hosts in [[0, 1], [1, 0]] {
        let of = |engine: &Engine, order: [usize; 2]| {
            let hosts = [engine.host(), format!("127.0.0.1:{dead}")];
            order.map(|at| hosts[at].clone()).join(",")
        };
        let [a, b] = hosts;
        let address = format!("clickhouse://{};{}/dns", of(&first, [a, b]), of(&second, [b, a]));
        assert!(export(&env, &address) == rows, "{address}");
    }
    for engine in [&first, &second] {
        let rows = engine.ask("SELECT count() > 1000 FROM dns.by_name").unwrap();
        assert!(rows.ends_with("\r\n1\n"), "both have some: {rows}");
        // What was acknowledged is lost.
        for table in ["by_name", "by_data", "questions"] {
            engine.ask(&format!("ALTER TABLE dns.{table} DELETE WHERE bucket % 16 = 5"));
        }
    }
    until("rows to be lost", || (export(&env, &cluster) != rows).then_some(()));
    until("nothing to be lost any more", || {
        let left =
            |engine: &Engine| engine.ask("SELECT count() FROM system.mutations WHERE NOT is_done").unwrap();
        (left(&first).ends_with("\r\n0\n") && left(&second).ends_with("\r\n0\n")).then_some(())
    });
    let said = ship(&env, "one", &cluster);
    assert!(!said.contains(" 0 buckets differed"), "{said}");
    assert!(export(&env, &cluster) == rows, "it is mended");
    // What a shard lacks of what is known of sensors is noted there again.
    for engine in [&first, &second] {
        engine.ask("TRUNCATE TABLE dns.sensors").unwrap();
        ship(&env, "one", &cluster);
        assert!(engine.ask("SELECT count() FROM dns.sensors").unwrap().ends_with("\r\n1\n"));
    }
    // The shards must be all that there are, in their order.
    let swapped = format!("clickhouse://{};{}/dns", second.host(), first.host());
    let swapped = env.run(&["export", "--store", &swapped]);
    let says = swapped.stderr.contains("shard 2 is named as shard 1");
    assert!(swapped.status.code() == Some(2) && says && swapped.stdout.is_empty(), "{}", swapped.stderr);
    let half = env.run(&["export", "--store", &format!("clickhouse://{}/dns", first.host())]);
    assert!(!half.status.success() && half.stderr.contains("for 2 shards"), "{}", half.stderr);
    let status = String::from_utf8(env.ok(&["fleet", "status", "--store", &cluster])).unwrap();
    assert!(
        status.contains("4096 of 4096 buckets were found equal") && !status.contains("never were"),
        "{status}"
    );
    let front = front_end(&env, &cluster);
    // Each keeps what is known of sensors: commands and front ends begin without the first one, too.
    first.kill();
    let whole = env.run(&["export", "--store", &cluster]);
    let says = whole.stderr.contains("shard 1 of the cluster");
    assert!(whole.status.code() == Some(2) && says && whole.stdout.is_empty(), "{}", whole.stderr);
    let part = env.run(&["export", "--store", &cluster, "--partial"]);
    let of_second = String::from_utf8(part.stdout).unwrap();
    assert!(
        part.status.success() && part.stderr.contains("Shard 1 of 2") && !of_second.is_empty(),
        "{}",
        part.stderr
    );
    let row: serde_json::Value = serde_json::from_str(of_second.lines().next().unwrap()).unwrap();
    let name = row["rrname"].as_str().unwrap();
    let found = env.run(&["lookup", "--store", &cluster, "--type", row["rrtype"].as_str().unwrap(), name]);
    assert!(found.status.success(), "{}", found.stderr);
    let status = env.run(&["fleet", "status", "--store", &cluster]);
    let said = String::from_utf8(status.stdout).unwrap();
    assert!(
        status.status.success()
            && said.contains("shard 1 of the cluster is away")
            && said.contains("sensor default: "),
        "{said}"
    );
    let ledger = said.split("ledger ").nth(1).unwrap().split(':').next().unwrap();
    let refused = env.run(&["fleet", "stand", "--store", &cluster, "default", ledger]);
    assert!(refused.status.code() == Some(2) && refused.stderr.contains("shard 1"), "{}", refused.stderr);
    drop(front);
    fs::remove_file(env.path("address")).unwrap();
    let front = front_end(&env, &cluster);
    for path in ["/api/v1/records?q=~e", "/api/v1/new", "/api/v1/records?q=192.0.2.0/8", "/api/v1/export"] {
        let separator = if path.contains('?') { '&' } else { '?' };
        let whole = front.get(path);
        assert!(whole.status == 503 || whole.body.is_empty(), "{path}: {}", whole.head);
        let part = front.get(&format!("{path}{separator}partial=1"));
        let said = part.head.clone() + &String::from_utf8(part.body).unwrap();
        assert!(part.status == 200 && said.to_lowercase().contains("shard 1 of 2"), "{path}: {said}");
    }
    first.go_on(&env);
    until("the front end to see it again", || {
        (front.get("/api/v1/records?q=~e").status == 200).then_some(())
    });
    second.kill();
    let answer = env.run(&["export", "--store", &cluster]);
    assert_eq!(answer.status.code(), Some(2), "{}", answer.stderr);
    assert!(answer.stderr.contains("shard 2 of the cluster"), "{}", answer.stderr);
    // Who asks for it gets what the rest has, and is told what is missing.
    let part = env.run(&["export", "--store", &cluster, "--partial"]);
    assert!(
        part.status.success() && part.stderr.contains("Shard 2 of 2 of the cluster is away"),
        "{}",
        part.stderr
    );
    let there = String::from_utf8(part.stdout.clone()).unwrap();
    let lines: Vec<&str> = there.lines().collect();
    assert!(!lines.is_empty() && lines.len() < rows.lines().count(), "{} lines", lines.len());
    assert!(lines.iter().all(|line| rows.lines().any(|row| row == *line)));
    let missing = rows.lines().find(|row| !lines.contains(row)).unwrap();
    let missing: serde_json::Value = serde_json::from_str(missing).unwrap();
    let name = missing["rrname"].as_str().unwrap();
    let found = front.get(&format!("/api/v1/records?q={name}"));
    let fault: serde_json::Value = serde_json::from_slice(&found.body).unwrap();
    assert_eq!((found.status, fault["error"]["code"].as_str()), (503, Some("part_away")), "never empty");
    let found = front.json(&format!("/api/v1/records?q={name}&partial=1"));
    assert!(found["incomplete"][0].as_str().unwrap().starts_with("Shard 2 of 2"), "{found}");
    let page = front.get(&format!("/?q={name}"));
    let text = String::from_utf8(page.body).unwrap();
    assert!(page.status == 503 && text.contains("partial=1"), "{text}");
    let page = front.get(&format!("/?q={name}&partial=1"));
    assert!(page.status == 200 && String::from_utf8(page.body).unwrap().contains("Shard 2 of 2"));
    let bulk = front.get(&format!("/api/v1/export?q={name}&partial=1"));
    assert!(bulk.head.contains("x-dnsledger-incomplete: shard 2 of 2"));
    let failed = env.run(&["forward", "--once", "--data", "one", "--to", &cluster]);
    assert_eq!(failed.status.code(), Some(2));
    second.go_on(&env);
    assert!(export(&env, &cluster) == rows, "it goes on");
}

#[test]
fn a_server_that_answers_badly_is_an_error_and_never_an_end() {
    let env = TestEnv::new();
    let answers: [&[u8]; 5] = [
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 22\r\n\r\nCode: 999, it is broken",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n\x0718.16.1",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n\x0718.1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"",
    ];
    for answer in answers {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            // One request, and no more: the client gives up.
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
        });
        let ended = env.run(&["export", "--store", &format!("clickhouse://127.0.0.1:{port}/dns")]);
        server.join().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{}: {}", answer.escape_ascii(), ended.stderr);
        assert!(ended.stdout.is_empty() && ended.stderr.contains("shard 1"), "{}", ended.stderr);
    }
}

#[test]
fn a_forwarder_waits_for_the_daemon_and_leaves_it_the_ledger() {
    let env = TestEnv::new();
    fs::write(env.path("dns.log"), log_of(&["one.example"], 1_767_225_600)).unwrap();
    env.ok(&["import", "--data", "ledger", "dns.log"]);
    let mut forward = env.command(&["forward", "--data", "ledger", "--to", "clickhouse://127.0.0.1:9/dns"]);
    let mut forward = forward.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(forward.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("no daemon has ledger"), "{said}");
    // Once there is one it is told why nothing is shipped, though the cluster was away from the beginning.
    fs::create_dir(env.path("logs")).unwrap();
    let daemon = env.daemon("logs", "ledger");
    until("the daemon to be told", || {
        let told = daemon.json("/api/v1/status")["forwarding"].clone();
        told["error"].as_str().filter(|why| why.contains("shard 1 of the cluster")).map(drop)
    });
    let said = String::from_utf8(env.ok(&["status", "--data", "ledger"])).unwrap();
    assert!(
        said.contains("to clickhouse://127.0.0.1:9/dns, which is not known to have all yet; it fails:"),
        "{said}"
    );
    forward.kill().unwrap();
    forward.wait().unwrap();
}

/// All metrics that the page lists, and begin so, are there: alerts and panels ask for them.
#[track_caller]
fn assert_has_all(metrics: &str, prefix: &str) {
    let listed: Vec<String> =
        documented_metrics().into_iter().filter(|name| name.starts_with(prefix)).collect();
    assert!(listed.len() > 1, "{listed:?}");
    for name in listed {
        let is_there = |line: &str| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{']));
        assert!(metrics.lines().any(is_there), "no {name}: {metrics}");
    }
}

#[test]
fn a_cluster_that_hangs_or_is_away_holds_up_nobody_who_follows_logs() {
    let env = TestEnv::new();
    let Some(mut engine) = Engine::start(&env, "engine") else { return };
    let cluster = format!("clickhouse://{}/dns", engine.host());
    env.ok(&["fleet", "init", "--store", &cluster]);
    fs::create_dir(env.path("logs")).unwrap();
    let config = format!(
        "data_dir = \"one\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[source]]\nlogs = \"logs\"\n[forward]\nto = \"{cluster}\"\nevery = \"1s\"\n"
    );
    fs::write(env.path("c.toml"), config).unwrap();
    let daemon = env.configured_daemon("c.toml", "one");
    // A second forwarder changes nothing.
    let forwarders = [(); 2].map(|()| env.begin(&["forward", "--config", "c.toml"]));
    // Lines of so many logs are read, and what they say is answered by the sensor's own daemon.
    let mut logs = 0;
    let mut follows = |what: &str| {
        logs += 1;
        let names: Vec<String> = (0..500).map(|i| format!("n{i}.{what}.test")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        fs::write(env.path(&format!("logs/dns.{what}.log")), log_of(&names, 1_700_000_000)).unwrap();
        daemon.wait_for_lines(500 * logs);
        until("its rows", || {
            let rows = daemon.json(&format!("/api/v1/records?q=*.{what}.test&limit=1000"));
            (rows["records"].as_array()?.len() == 500).then_some(())
        });
    };
    let forwarding = || daemon.json("/api/v1/status")["forwarding"].clone();
    follows("before");
    until("it ships", || (forwarding()["shipped"].as_u64()? >= 1000).then_some(()));
    engine.process.as_ref().unwrap().signal("STOP");
    follows("hung");
    // Forwarders wait for it, and say so.
    let told_at = || forwarding()["at"].as_u64().unwrap();
    let (began, failures) = (told_at(), forwarding()["failures"].as_u64());
    until("it says that it is there", || (told_at() > began + 5).then_some(()));
    assert_eq!(forwarding()["failures"].as_u64(), failures, "nothing has failed yet");
    engine.process.as_ref().unwrap().signal("CONT");
    engine.kill();
    follows("away");
    until("it is said", || forwarding()["error"].as_str().filter(|why| why.contains("shard 1")).map(drop));
    follows("long");
    // Rows and questions since what was shipped last.
    until("it is said how much the cluster lacks", || {
        (forwarding()["lag_rows"].as_u64()? >= 2000).then_some(())
    });
    engine.go_on(&env);
    let all = String::from_utf8(daemon.get("/api/v1/export").body).unwrap();
    until("all to be there", || (export(&env, &cluster) == all).then_some(()));
    drop(forwarders);
}

/// Row 12 of the matrix of clients, asked of a front end.
#[test]
fn logs_that_are_rotated_cut_short_by_a_kill_and_offered_again_count_once_in_the_cluster() {
    let env = TestEnv::new();
    let Some(engine) = Engine::start(&env, "engine") else { return };
    let cluster = format!("clickhouse://{}/dns", engine.host());
    env.ok(&["fleet", "init", "--store", &cluster]);
    for folder in ["logs", "whole"] {
        fs::create_dir(env.path(folder)).unwrap();
    }
    let config = format!(
        "data_dir = \"one\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[source]]\nlogs = \"logs\"\n[forward]\nto = \"{cluster}\"\nevery = \"1s\"\n"
    );
    fs::write(env.path("c.toml"), config).unwrap();
    let forwarder = env.begin(&["forward", "--config", "c.toml"]);
    let log = |seed: u64| String::from_utf8(made_up_log(1000, seed)).unwrap();
    let (first, second) = (log(31), log(32));
    fs::write(env.path("whole/dns.1.log"), &first).unwrap();
    fs::write(env.path("whole/dns.2.log"), &second).unwrap();
    // A part of the log is there when the daemon is killed, wherever it is just then; and the rest comes while it is away.
    let half = first.len() / 2;
    fs::write(env.path("logs/dns.log"), &first[..half]).unwrap();
    let daemon = env.configured_daemon("c.toml", "one");
    until("some of it to be there", || (!export(&env, &cluster).is_empty()).then_some(()));
    daemon.kill();
    let mut rest = fs::OpenOptions::new().append(true).open(env.path("logs/dns.log")).unwrap();
    rest.write_all(&first.as_bytes()[half..]).unwrap();
    fs::rename(env.path("logs/dns.log"), env.path("logs/dns.1.log")).unwrap();
    fs::write(env.path("logs/dns.log"), &second).unwrap();
    let daemon = env.configured_daemon("c.toml", "one");
    env.ok(&["import", "--data", "all", "whole"]);
    let all = env.export("all");
    until("all to be there", || (export(&env, &cluster) == all).then_some(()));
    // The rotated log comes once more, packed.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(first.as_bytes()).unwrap();
    fs::write(env.path("logs/dns.1.log.gz"), packed.finish().unwrap()).unwrap();
    fs::write(env.path("logs/dns.last.log"), log_of(&["last.example"], 1_700_000_000)).unwrap();
    env.ok(&["import", "--data", "all", "logs/dns.last.log"]);
    let all = env.export("all");
    until("what came last to be there", || (export(&env, &cluster) == all).then_some(()));
    assert!(daemon.stop().status.success());
    drop(forwarder);
    // What was shipped last may not be acknowledged.
    let said = ship(&env, "one", &cluster);
    assert!(said.contains(" 0 buckets differed"), "{said}");
    let front = front_end(&env, &cluster);
    assert_eq!(String::from_utf8(front.get("/api/v1/export").body).unwrap(), all);
}

#[test]
fn how_forwarding_goes_is_in_the_status_and_in_the_metrics() {
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    let daemon = env.daemon("logs", "ledger");
    assert!(daemon.json("/api/v1/status")["forwarding"].is_null());
    let metrics = || String::from_utf8(daemon.get("/metrics").body).unwrap();
    assert!(!metrics().contains("_forward_"));
    let report = "%7B%22to%22:%22clickhouse://db/dns%22,%22shipped%22:7,%22lag_rows%22:9,%22acknowledged_at%22:1767225600,%22error%22:%22away%22%7D";
    let told = post_control(&env.path("ledger"), &format!("/control/forwarding?report={report}"));
    assert_eq!(told, 200);
    assert_eq!(daemon.json("/api/v1/status")["forwarding"]["shipped"], 7);
    let metrics = metrics();
    for line in ["dnsledger_forward_shipped_total 7\n", "dnsledger_forward_failing 1\n"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert_has_all(&metrics, "dnsledger_forward_");
    let said = String::from_utf8(env.ok(&["status", "--data", "ledger"])).unwrap();
    assert!(
        said.contains(
            "to clickhouse://db/dns, which has all as of 2026-01-01 00:00:00 UTC, and lacks about 9 rows and questions; it fails: away"
        ),
        "{said}"
    );
}

#[test]
fn doctor_says_of_a_cluster_what_keeps_a_sensor_from_shipping() {
    let env = TestEnv::new();
    let Some(mut engine) = Engine::start(&env, "engine") else { return };
    fs::create_dir(env.path("logs")).unwrap();
    fs::write(env.path("logs/dns.log"), log_of(&["one.example", "two.example"], 1_767_225_600)).unwrap();
    fs::write(env.path("good"), "secret\n").unwrap();
    fs::write(env.path("bad"), "guess\n").unwrap();
    let cluster = |password: &str| {
        let file = env.path(password);
        format!("clickhouse://{}/dns?user=forwarder&password_file={}", engine.host(), file.display())
    };
    let (to, guessed, host) = (cluster("good"), cluster("bad"), engine.host());
    let doctor = |to: &str| {
        let config =
            format!("data_dir = \"ledger\"\n[forward]\nto = \"{to}\"\n[http]\nlisten = \"127.0.0.1:0\"\n");
        fs::write(env.path("c.toml"), config).unwrap();
        String::from_utf8(env.run(&["doctor", "--config", "c.toml", "--logs", "logs"]).stdout).unwrap()
    };
    let says = |to: &str, line: &str, advice: &str| {
        let said = doctor(to);
        let mut lines = said.lines().skip_while(|said| !said.contains(line));
        assert!(lines.next().is_some(), "no {line}: {said}");
        assert!(lines.next().is_some_and(|next| next.contains(advice)), "no {advice}: {said}");
    };
    says(&to, "has no tables of dnsledger", "dnsledger fleet init");
    env.ok(&["fleet", "init", "--store", &to]);
    says(&guessed, "FAIL  cluster", "password_file");
    says(&to, "servers answer", "no daemon is running");
    let daemon = env.daemon("logs", "ledger");
    daemon.wait_for_lines(2);
    says(&to, "no forwarder has told the daemon anything", "dnsledger-forward");
    says(&to, "the cluster has nothing of this ledger yet", "dnsledger forward");
    ship(&env, "ledger", &to);
    let good = doctor(&to);
    assert!(good.contains("ok    forward  the cluster has the ledger as of 2"), "{good}");
    engine.ask("INSERT INTO dns.layout VALUES (1, 99, 99, 1024, 1)").unwrap();
    says(&to, "the tables are of version 99", "install the version that made them");
    engine.kill();
    says(&to, "FAIL  cluster", "its servers run");
    assert!(doctor(&to).contains(&host));
}

#[test]
fn domains_that_a_ledger_folds_are_folded_in_the_cluster_too() {
    let mut env = TestEnv::new();
    env.set("DNSLEDGER_TEST_FOLD_ROWS", "200");
    let Some(engine) = Engine::start(&env, "engine") else { return };
    let cluster = format!("clickhouse://{}/dns", engine.host());
    env.ok(&["fleet", "init", "--store", &cluster]);
    fs::write(env.path("c.toml"), "data_dir = \"one\"\n[store]\nnames_per_domain = 100\n").unwrap();
    let import = |log: &str| drop(env.ok(&["import", "--config", "c.toml", log]));
    let flood = |from: usize| (from..from + 400).map(|i| format!("n{i}.flood.test")).collect::<Vec<_>>();
    for (log, from) in [("1.log", 0), ("2.log", 400)] {
        let mut names = flood(from);
        names.push("stays.example".to_owned());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        fs::write(env.path(log), log_of(&names, 1_700_006_400 + from as u64 * 1000)).unwrap();
    }
    import("1.log");
    // What is folded later is there by name before.
    ship(&env, "one", &cluster);
    assert_eq!(export(&env, &cluster), env.export("one"));
    import("2.log");
    env.ok(&["expire", "--config", "c.toml", "--max-disk", "1GiB"]);
    let folded = env.export("one");
    assert!(folded.contains("\"folded_names\":") && folded.lines().count() < 300, "{folded}");
    ship(&env, "one", &cluster);
    assert_eq!(export(&env, &cluster), folded);
    let asked = |how: &str, of: &str| {
        let answer = env.run(&["lookup", how, of, "--format", "json", "*.flood.test"]);
        (answer.status.code(), answer.stdout)
    };
    assert_eq!(asked("--store", &cluster), asked("--data", "one"));
}

#[test]
fn clients_of_other_ledgers_ask_a_front_end_as_they_ask_a_daemon() {
    if !is_there("clickhouse-server") {
        return;
    }
    // The tests of clients once more, over a cluster: see `compat::start`.
    let mut tests = Command::new(std::env::current_exe().unwrap());
    let ended =
        tests.args(["clients::", "--test-threads", "2"]).env("DNSLEDGER_TEST_FRONT", "1").output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{said}");
}

#[test]
fn a_cluster_is_asked_over_tls_and_only_with_a_certificate_that_is_trusted() {
    let env = TestEnv::new();
    if !is_there("clickhouse-server") {
        return;
    }
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        fs::write(env.path(name), text).unwrap();
        env.path(name).display().to_string()
    };
    let (cert, key) = (file("cert.pem", made.cert.pem()), file("key.pem", made.signing_key.serialize_pem()));
    let stranger = file("other.pem", other.cert.pem());
    let port = free_port();
    let more = format!(
        "<https_port>{port}</https_port><openSSL><server><certificateFile>{cert}</certificateFile><privateKeyFile>{key}</privateKeyFile>\
         <verificationMode>none</verificationMode><loadDefaultCAFile>false</loadDefaultCAFile><cacheSessions>true</cacheSessions>\
         <disableProtocols>sslv2,sslv3</disableProtocols></server></openSSL>"
    );
    let _engine = Engine::configured(&env, "engine", &more);
    let cluster = |ca: &str| format!("clickhouses://127.0.0.1:{port}/dns?ca={ca}");
    env.ok(&["fleet", "init", "--store", &cluster(&cert)]);
    fs::write(env.path("1.log"), log_of(&["one.example"], 1_700_000_000)).unwrap();
    env.ok(&["import", "--data", "one", "1.log"]);
    ship(&env, "one", &cluster(&cert));
    assert_eq!(export(&env, &cluster(&cert)), env.export("one"));
    let refused = env.run(&["export", "--store", &cluster(&stranger)]);
    assert!(refused.status.code() == Some(2) && refused.stderr.contains("certificate"), "{}", refused.stderr);
}
