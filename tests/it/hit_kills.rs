//! That the set of hits is a pure function of rows, questions and indicators, whatever is killed and in whichever order logs and feeds come: the daemon,
//! imports of logs and of indicators, the walk through history, pulling and delivery. Each has one number, which is once in the file of hits and for
//! who follows the stream, and at least once at the webhook.
//!
//! `DNSLEDGER_HIT_KILLS` says how often, `DNSLEDGER_SEED` from which seed.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use generate::Random;
use serde_json::{Value, json};

use crate::deliver::{Does, KEY, Receiver, deliver, follow, outlet};
use crate::env::{Daemon, TestEnv, made_up_log, pause, setting, until};
use crate::hits::{BASE, log};
use crate::served::{Asked, Said, Server};

/// Lines of a log that is there before all, and where there are many kills: so many that a walk takes its time, and notes how far it is.
const BEFORE: [u64; 2] = [4000, 60_000];
/// Records of each log that comes.
const RECORDS: u64 = 40;
/// Imports the feed that no server has.
const IMPORT: [&str; 9] = [
    "indicators",
    "import",
    "--config",
    "dnsledger.toml",
    "--feed",
    "imported",
    "--replace",
    "--confirm",
    "feed.txt",
];
/// Indicators that nothing meets: so many that a walk goes through all rows.
const MANY: usize = 400;

/// What is looked for: domains with all below, names, addresses and networks; each belongs to one of three feeds at least.
const FEEDS: [&[&str]; 3] = [
    &["d7.example", "h1.d9.example", "198.51.0.5"],
    &["d8.example", "198.51.2.0/27", "cdn3.test", "d7.example"],
    &["=h2.d20.example", "=h0.d21.example", "=t1.cdn5.test"],
];

/// What makes a hit: indicator, name, address.
type Known = BTreeSet<(String, String, Option<String>)>;

/// By brute force: what a name and its data, if it has any, make a hit of.
fn met(name: &str, data: Option<&str>, known: &mut Known) {
    for text in FEEDS.concat() {
        let mut add = |address: Option<&str>| {
            let indicator = text.trim_start_matches('=').to_owned();
            known.insert((indicator, name.to_owned(), address.map(str::to_owned)));
        };
        let address = data.and_then(|data| data.parse::<Ipv4Addr>().ok());
        if let Some((first, length)) = text.split_once('/') {
            let (first, shift) = (first.parse::<Ipv4Addr>().unwrap(), 32 - length.parse::<u32>().unwrap());
            if address.is_some_and(|address| address.to_bits() >> shift == first.to_bits() >> shift) {
                add(data);
            }
        } else if let Ok(wanted) = text.parse::<Ipv4Addr>() {
            if address == Some(wanted) {
                add(data);
            }
        } else {
            let is_met = |name: &str| match text.strip_prefix('=') {
                Some(exact) => name == exact,
                None => name == text || name.ends_with(&format!(".{text}")),
            };
            if is_met(name) || data.is_some_and(is_met) {
                add(None);
            }
        }
    }
}

/// Records of a log, made up: some names and addresses are bad.
fn records(random: &mut Random) -> Vec<(u64, String, String)> {
    (0..RECORDS)
        .map(|_| {
            let name = format!("h{}.d{}.example", random.below(3), random.below(60));
            let answer = match random.below(4) {
                0 => String::new(),
                1 => format!("t{}.cdn{}.test", random.below(3), random.below(20)),
                _ => format!("198.51.{}.{}", random.below(4), random.below(60)),
            };
            (BASE + random.below(100_000), name, answer)
        })
        .collect()
}

/// What servers say: a list, and a collection of TAXII whose objects were added one after the other.
#[derive(Default)]
struct Shelf {
    list: String,
    objects: Vec<Value>,
}

impl Shelf {
    /// They have the first indicators of each.
    fn fill(&mut self, some: usize) {
        self.list = first(1, some).join("\n") + "\n";
        (0..MANY).for_each(|n| self.list += &format!("n{n}.nobody.test\n"));
        self.objects = first(2, some)
            .iter()
            .enumerate()
            .map(|(n, name)| {
                json!({"type": "indicator", "spec_version": "2.1", "id": format!("indicator--5b9d0000-0000-4000-8000-{n:012}"),
                    "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "valid_from": "2026-01-01T00:00:00Z",
                    "pattern": format!("[domain-name:value = '{}']", name.trim_start_matches('=')), "pattern_type": "stix"})
            })
            .collect();
    }

    fn answer(&self, asked: &Asked) -> Said {
        let added = |n: usize| format!("2026-02-01T00:00:{n:02}.000000Z");
        match asked.path() {
            "/list.txt" => Said::ok(self.list.clone()),
            "/root/collections/c/objects/" => {
                let after = asked.param("added_after").unwrap_or_default();
                let new: Vec<&Value> = self
                    .objects
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| added(*n) > after)
                    .map(|(_, object)| object)
                    .collect();
                let said = Said::ok(json!({ "objects": new }).to_string());
                said.with("Content-Type", "application/taxii+json;version=2.1")
                    .with("X-TAXII-Date-Added-Last", added(self.objects.len().saturating_sub(1)))
            }
            _ => Said::new(404, "{}"),
        }
    }
}

/// The first indicators of a feed.
fn first(feed: usize, some: usize) -> &'static [&'static str] {
    let all = FEEDS[feed];
    &all[..some.min(all.len())]
}

/// Everything under way.
struct Trial {
    env: TestEnv,
    random: Random,
    shelf: Arc<Mutex<Shelf>>,
    daemon: Option<Daemon>,
    delivering: Option<Daemon>,
    live: File,
    /// Logs that are written and that nobody reads yet.
    aside: Vec<String>,
    kills: u64,
    /// Walks that were cut short on their way.
    cut_short: u64,
}

impl Trial {
    /// Lets something go on for a while, mostly short.
    fn a_moment(&mut self) {
        let most = 1 << self.random.below(10);
        pause(Duration::from_millis(self.random.below(most)));
    }

    fn stop_daemon(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill();
            self.kills += 1;
        }
    }

    fn start_daemon(&mut self) {
        if self.daemon.is_none() {
            self.cut_short += u64::from(self.env.path("data/watch/walking").exists());
            self.daemon = Some(self.env.configured_daemon("dnsledger.toml", "data"));
        }
    }

    /// Begins a command, and kills it, the daemon, or both at some moment.
    fn run_and_kill(&mut self, args: &[&str]) {
        let running = self.env.begin(args);
        self.a_moment();
        if self.random.below(3) == 0 {
            self.stop_daemon();
            self.a_moment();
        }
        running.kill();
        self.kills += 1;
    }

    /// Writes the file of the feed that is imported.
    fn write_feed(&mut self, some: usize) {
        let many: String = (0..MANY).map(|n| format!("m{n}.nobody.test\n")).collect();
        let many = if self.random.below(2) == 0 { many } else { String::new() };
        fs::write(self.env.path("feed.txt"), first(0, some).join("\n") + "\n" + &many).unwrap();
    }

    fn step(&mut self, round: u64, some: usize) {
        let text = {
            let made = records(&mut self.random);
            let borrowed: Vec<_> = made.iter().map(|(t, n, a)| (*t, n.as_str(), a.as_str())).collect();
            log(&format!("x{round}-"), &borrowed)
        };
        let is_live = self.random.below(2) == 0;
        let cut = if is_live { self.random.below(text.len() as u64) as usize } else { 0 };
        let (now, then) = text.split_at(cut);
        self.live.write_all(now.as_bytes()).unwrap();
        if !is_live {
            fs::write(self.env.path(&format!("aside/dns.{round}.log")), &text).unwrap();
            self.aside.push(format!("dns.{round}.log"));
        }
        self.write_feed(some);
        let pull = ["feeds", "pull", "--config", "dnsledger.toml"];
        match round % 6 {
            0 => self.run_and_kill(&IMPORT),
            1 => self.run_and_kill(&pull),
            2 => {
                // Without a daemon: the command itself looks through what is there.
                self.stop_daemon();
                let command: &[&str] = if self.random.below(2) == 0 { &IMPORT } else { &pull };
                self.run_and_kill(command);
            }
            3 => {
                self.stop_daemon();
                if !self.aside.is_empty() {
                    let at = self.random.below(self.aside.len() as u64) as usize;
                    let path = format!("aside/{}", self.aside[at]);
                    self.run_and_kill(&["import", "--config", "dnsledger.toml", &path]);
                }
            }
            4 => {
                self.delivering.take().unwrap().kill();
                self.kills += 1;
                self.delivering = Some(deliver(&self.env));
            }
            _ => {
                // What was imported, or is new, is found beside the live log too.
                if !self.aside.is_empty() {
                    let at = self.random.below(self.aside.len() as u64) as usize;
                    let name = self.aside.swap_remove(at);
                    fs::copy(self.env.path(&format!("aside/{name}")), self.env.path(&format!("logs/{name}")))
                        .unwrap();
                }
                self.a_moment();
                self.stop_daemon();
            }
        }
        if is_live {
            self.live.write_all(then.as_bytes()).unwrap();
        }
        self.start_daemon();
        self.a_moment();
    }
}

#[test]
fn hits_are_what_brute_force_finds_whatever_is_killed_and_in_whichever_order_logs_and_feeds_come() {
    let (kills, seed) = (setting("DNSLEDGER_HIT_KILLS", 12), setting("DNSLEDGER_SEED", 1));
    let env = TestEnv::new();
    let shelf = Arc::new(Mutex::new(Shelf::default()));
    let told = Arc::clone(&shelf);
    let server = Server::start(move |asked| told.lock().unwrap().answer(asked));
    let receiver = Receiver::start(Does::Answers(200));
    ["logs", "aside"].iter().for_each(|folder| fs::create_dir(env.path(folder)).unwrap());
    fs::write(env.path("key"), KEY).unwrap();
    fs::set_permissions(env.path("key"), Permissions::from_mode(0o600)).unwrap();
    let config = format!(
        "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[ingest]\ncommit_interval = \"20ms\"\n[[source]]\nlogs = \"logs\"\n\
         [[feed]]\nname = \"list\"\nurl = \"{}\"\n[[feed]]\nname = \"taxii\"\nkind = \"taxii\"\nurl = \"{}\"\n[hits]\nfile = \"hits.json\"\n{}",
        server.url("/list.txt"),
        server.url("/root/collections/c/"),
        outlet("soar", &receiver.url, "per_hour = 0\nhistory = true\n")
    );
    fs::write(env.path("dnsledger.toml"), config).unwrap();
    fs::write(env.path("before.log"), made_up_log(BEFORE[usize::from(kills > 50)], seed)).unwrap();
    env.ok(&["import", "--config", "dnsledger.toml", "before.log"]);
    let before = env.status("data")["totals"]["lines_read"].as_u64().unwrap();
    let daemon = Some(env.configured_daemon("dnsledger.toml", "data"));
    let delivering = Some(deliver(&env));
    let wanted = Arc::default();
    let following = follow(env.path("data/listen"), Arc::clone(&wanted));
    let live = File::create(env.path("logs/dns.log")).unwrap();
    let (random, aside) = (Random::new(seed), Vec::new());
    let mut trial = Trial { env, random, shelf, daemon, delivering, live, aside, kills: 0, cut_short: 0 };
    let mut rounds = 0;
    while trial.kills < kills {
        // Feeds grow, and have all at the end.
        let some = 1 + (trial.kills * 5 / kills) as usize;
        trial.shelf.lock().unwrap().fill(some);
        trial.step(rounds, some);
        rounds += 1;
    }
    trial.shelf.lock().unwrap().fill(usize::MAX);
    trial.write_feed(usize::MAX);
    let Trial { env, daemon, delivering, aside, cut_short, .. } = trial;
    let daemon = daemon.unwrap();
    for name in aside {
        fs::copy(env.path(&format!("aside/{name}")), env.path(&format!("logs/{name}"))).unwrap();
    }
    env.ok(&["feeds", "pull", "--config", "dnsledger.toml"]);
    env.ok(&IMPORT);
    daemon.wait_for_lines(before + RECORDS * rounds);
    until("all is looked through", || {
        let feeds = daemon.json("/api/v1/feeds")["feeds"].clone();
        let feeds = feeds.as_array().unwrap();
        (feeds.len() == 3 && feeds.iter().all(|feed| feed["walked"] == true)).then_some(())
    });
    // Rows are taken from the export; names that were asked for alone are not in it.
    let mut known = Known::new();
    let export = String::from_utf8(env.ok(&["export", "--config", "dnsledger.toml"])).unwrap();
    for row in export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        for data in row["rdata"].as_array().unwrap() {
            met(row["rrname"].as_str().unwrap(), data.as_str(), &mut known);
        }
    }
    for file in ["logs", "aside"].iter().flat_map(|folder| fs::read_dir(env.path(folder)).unwrap()) {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            met(line["query"].as_str().unwrap(), line["answers"][0].as_str(), &mut known);
        }
    }
    let all = daemon.json("/api/v1/hits?order=oldest&limit=100000");
    let hits = all["hits"].as_array().unwrap();
    let found: Known = hits
        .iter()
        .map(|hit| {
            let text = |key: &str| hit[key].as_str().map(str::to_owned);
            (text("indicator").unwrap(), text("rrname").unwrap(), text("address"))
        })
        .collect();
    assert_eq!(found, known, "seed {seed}");
    let numbers: Vec<u64> = hits.iter().map(|hit| hit["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=known.len() as u64).collect::<Vec<_>>(), "each once: seed {seed}");
    // Once in the file, and for who follows the stream over all kills.
    let in_file = || -> Option<Vec<u64>> {
        let text = fs::read_to_string(env.path("data/hits.json")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str::<Value>(line).ok()?["sequence"].as_u64()).collect()
    };
    until("all are in the file", || (in_file()?.len() >= numbers.len()).then_some(()));
    assert_eq!(in_file().unwrap(), numbers, "seed {seed}");
    *wanted.lock().unwrap() = Some(numbers.len());
    assert_eq!(following.join().unwrap(), numbers, "seed {seed}");
    // At least once at the webhook, by its id.
    let ledger = all["ledger"].as_str().unwrap();
    let ids: BTreeSet<String> = numbers.iter().map(|number| format!("dnsledger/{ledger}/{number}")).collect();
    let got = || receiver.got().iter().map(|posted| posted.id()).collect::<BTreeSet<String>>();
    until("all are delivered", || (got().len() >= ids.len()).then_some(()));
    assert_eq!(got(), ids, "seed {seed}");
    drop(delivering);
    assert_eq!(daemon.stop().status.code(), Some(0));
    assert_eq!(env.ok(&["verify", "--data", "data"]).last_chunk(), Some(b"sound\n"));
    let mut stderr = std::io::stderr();
    writeln!(stderr, "{} hits of {rounds} logs, {kills} kills, {cut_short} walks cut short", numbers.len())
        .unwrap();
}
