//! Whatever a server answers, pulling ends in time, no feed is changed by what fails, and nothing is written elsewhere.
//!
//! `DNSLEDGER_PULL_ROUNDS` is for how many answers of each kind; a few hundred thousand are the long form.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use dnsledger::http::fetch::Location;
use dnsledger::pull::{self, FeedSource, ServerKind};
use dnsledger::watch::{FeedFolder, FeedRules};
use serde_json::json;

use crate::env::{TestEnv, setting};
use crate::pull::{configure, ledger};
use crate::served::{Asked, Said, Server};

const UUID: &str = "5b9d0000-0000-4000-8000-000000000001";

/// A number that looks like chance, by a seed.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// What a good server would say to this, a little spoiled.
fn answer(kind: ServerKind, asked: &Asked, seed: u64) -> Said {
    let attribute = json!({"uuid": UUID, "type": "domain", "value": format!("d{seed}.example"), "to_ids": true, "timestamp": "1780000000"});
    let good = match kind {
        ServerKind::List => "evil.example\n203.0.113.7\n# Title: x\n".to_owned(),
        ServerKind::MispFeed if asked.path().ends_with("manifest.json") => {
            json!({UUID: {"timestamp": seed, "info": "x", "Orgc": {"name": "o"}}}).to_string()
        }
        ServerKind::MispFeed => {
            json!({"Event": {"uuid": UUID, "info": "x", "Attribute": [attribute]}}).to_string()
        }
        ServerKind::Misp => json!({"response": {"Attribute": [attribute]}}).to_string(),
        ServerKind::Taxii if asked.path().ends_with("/objects/") => {
            let pattern = format!("[domain-name:value = 'd{seed}.example']");
            let indicator = json!({"type": "indicator", "id": "indicator--1", "pattern_type": "stix", "pattern": pattern, "modified": "2026-01-01T00:00:00Z"});
            json!({"more": seed.is_multiple_of(3), "next": "x", "objects": [indicator]}).to_string()
        }
        ServerKind::Taxii if asked.path().ends_with("/collections/") => {
            json!({"collections": [{"id": "c", "title": "t", "can_read": true}]}).to_string()
        }
        ServerKind::Taxii => json!({"title": "t", "default": "/api/", "api_roots": ["/api/"]}).to_string(),
    };
    let (mut state, mut bytes) = (seed, good.into_bytes());
    let words: [&[u8]; 8] = [b"null", b"[]", b"{}", b"-1", b"\"../../../x\"", b"1e999", b"\"\"", b"\xff\xfe"];
    for _ in 0..random(&mut state) % 4 {
        let at = random(&mut state) as usize % (bytes.len() + 1);
        let end = (at + random(&mut state) as usize % 24).min(bytes.len());
        match random(&mut state) % 4 {
            0 => bytes.truncate(at),
            1 => {
                drop(bytes.splice(at..end, words[random(&mut state) as usize % words.len()].iter().copied()));
            }
            2 => drop(bytes.drain(at..end)),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (seed % 8)),
        }
    }
    let cut = random(&mut state).is_multiple_of(9).then(|| random(&mut state) as usize % (bytes.len() + 1));
    let status = [200, 200, 200, 200, 200, 200, 200, 304, 302, 500][random(&mut state) as usize % 10];
    let links =
        ["/elsewhere", "https://other.example/", "file:///etc/passwd", "//x", "", ":", "http://127.0.0.1:1/"];
    let link = links[random(&mut state) as usize % links.len()];
    Said { cut, ..Said::new(status, bytes).with("Location", link).with("ETag", "\"1\"") }
}

#[test]
fn whatever_a_server_answers_no_feed_is_changed_by_what_fails() {
    let rounds = setting("DNSLEDGER_PULL_ROUNDS", 60);
    for kind in ServerKind::ALL {
        let env = TestEnv::new();
        let folder = FeedFolder::of(&env.path("data"));
        let seed = std::sync::Arc::new(AtomicU64::new(1));
        let said = std::sync::Arc::clone(&seed);
        let server = Server::start(move |asked| answer(kind, asked, said.load(Ordering::SeqCst)));
        let source = FeedSource {
            name: "bad".to_owned(),
            url: Location::parse(&server.url("/")).unwrap(),
            kind,
            collection: String::new(),
            search: String::new(),
            user: String::new(),
            key_file: PathBuf::new(),
            key_header: String::new(),
            ca: PathBuf::new(),
            every: Duration::from_secs(60),
        };
        let (mut good, mut failed) = (0, 0);
        for round in 0..rounds {
            seed.store(round, Ordering::SeqCst);
            let before = fs::read(folder.feed("bad")).ok();
            match pull::pull(&folder, &source, &FeedRules::default(), 1_780_000_000 + round * 3600) {
                Ok(_) => good += 1,
                Err(error) => {
                    failed += 1;
                    assert_eq!(fs::read(folder.feed("bad")).ok(), before, "{kind:?} {round}: {error}");
                    assert!(folder.pull_note("bad").error.is_some());
                }
            }
            let names: Vec<_> =
                fs::read_dir(env.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["data"], "{kind:?} {round}: something was written elsewhere");
        }
        assert!(good > 3 && failed > 3, "{kind:?}: {good} went well, {failed} failed");
    }
}

/// What a server sends packed is small, and a tree of its values would be a hundred times as large as its text.
#[test]
fn an_answer_costs_no_more_memory_than_its_text() {
    const TEXT: usize = 6 << 20;
    let objects = "{\"\":0},".repeat(TEXT / 7);
    let texts = "\"\",".repeat(TEXT / 3);
    let answer = move |path: &str| match path {
        "/one/collections/x/objects/" => format!(
            "{{\"objects\":[{objects}{{\"type\":\"indicator\",\"id\":\"i\",\"pattern_type\":\"stix\",\
             \"pattern\":\"[domain-name:value = 'evil.example']\",\"x\":[{objects}0]}}]}}"
        ),
        "/many/collections/" => {
            format!("{{\"collections\":[{}{{\"id\":\"x\"}}]}}", "{\"id\":\"\"},".repeat(TEXT / 10))
        }
        "/many/" => format!("{{\"title\":\"x\",\"api_roots\":[\"/many/\",{texts}\"\"]}}"),
        "/misp/attributes/restSearch" => format!(
            "{{\"response\":{{\"Attribute\":[{{\"uuid\":\"{UUID}\",\"type\":\"domain\",\"value\":\"evil.example\",\
             \"to_ids\":true,\"x\":[{objects}0]}}]}}}}"
        ),
        "/feed/manifest.json" => format!("{{\"{UUID}\":{{\"timestamp\":\"1\",\"x\":[{objects}0]}}}}"),
        "/names/manifest.json" => {
            (0..TEXT / 10).map(|n| format!("\"{n:x}\":{{}},")).collect::<String>() + "\"\":{}}"
        }
        _ => format!(
            "{{\"Event\":{{\"uuid\":\"{UUID}\",\"info\":\"x\",\"y\":[{objects}0],\"Attribute\":[{{\"type\":\"domain\",\
             \"value\":\"evil.example\",\"to_ids\":true}}]}}}}"
        ),
    };
    let packed = move |path: &str| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        let start = if path.starts_with("/names/") { "{" } else { "" };
        packed.write_all((start.to_owned() + &answer(path)).as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    let server = Server::start(move |asked| Said::ok(packed(asked.path())).with("Content-Encoding", "gzip"));
    let env = ledger(&["www.evil.example"], "");
    fs::write(env.path("key"), "s3cret\n").unwrap();
    for (keys, end) in [
        ("kind = \"taxii\"", Ok("/one/collections/x/")),
        ("kind = \"misp\"\nkey_file = \"key\"", Ok("/misp/")),
        ("kind = \"misp-feed\"", Ok("/feed/")),
        ("kind = \"taxii\"", Err(("/many/", "collection of the feed must say which one"))),
        ("kind = \"misp-feed\"", Err(("/names/", "names that are not UUIDs"))),
    ] {
        let path = end.unwrap_or_else(|(path, _)| path);
        configure(&env, &format!("{keys}\nurl = \"{}\"\n", server.url(path)));
        let mut command = env.tool("sh");
        let pull = "ulimit -v 350000; exec \"$0\" feeds pull --config dnsledger.toml";
        let ended = env.finish(command.args(["-c", pull, env!("CARGO_BIN_EXE_dnsledger")]));
        let told = String::from_utf8(ended.stdout).unwrap() + &ended.stderr;
        match end {
            Ok(_) => assert!(told.contains("bad: 1 indicators"), "{path}: {} {told}", ended.status),
            Err((_, why)) => assert!(told.contains(why), "{path}: {} {told}", ended.status),
        }
    }
}
