//! From an answer back to the lines of the logs, whatever became of these meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::env::{Daemon, Ended, TestEnv, copy_folder};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// What `evidence -f json` said: the lines, how it ended, and the exit code.
struct Found {
    lines: Vec<Value>,
    end: Value,
    code: Option<i32>,
    stderr: String,
}

fn found(ended: Ended) -> Found {
    let text = String::from_utf8(ended.stdout).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = lines.pop().unwrap_or_else(|| panic!("{}", ended.stderr));
    Found { lines, end: end["end"].clone(), code: ended.status.code(), stderr: ended.stderr }
}

fn evidence(env: &TestEnv, args: &[&str]) -> Found {
    found(env.run(&[&["evidence", "--data", "data", "-f", "json"], args].concat()))
}

/// The bytes of a file, unpacked.
fn unpacked(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    if !bytes.starts_with(b"\x1f\x8b") {
        return bytes;
    }
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap();
    text
}

/// The lines of a file. Each byte is a character: not every log is UTF-8.
fn lines_of(path: &Path) -> Vec<String> {
    let text: String = unpacked(path).into_iter().map(char::from).collect();
    text.lines().map(str::to_owned).collect()
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Checks that each line is where it is said to be, that they are in order, and that nothing is missing.
#[track_caller]
fn check_whole(env: &TestEnv, found: &Found) {
    assert_eq!(
        (found.code, &found.end["complete"]),
        (Some(0), &Value::Bool(true)),
        "{}{}",
        found.end,
        found.stderr
    );
    for of in ["sightings", "questions"] {
        let compared = &found.end[of];
        assert_eq!((&compared["missing"], &compared["more"]), (&0.into(), &0.into()), "{}", found.end);
        assert_eq!(compared["counted"], compared["found"]);
    }
    check_places(env, &found.lines);
}

#[track_caller]
fn check_places(env: &TestEnv, found: &[Value]) {
    let mut logs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut times: Vec<f64> = Vec::new();
    for line in found {
        let log = line["log"].as_str().unwrap();
        let lines = logs.entry(log.to_owned()).or_insert_with(|| lines_of(&env.path(log)));
        let text = &lines[line["line"].as_u64().unwrap() as usize - 1];
        for part in ["uid", "client"] {
            assert!(line[part].as_str().is_none_or(|part| text.contains(part)), "{line}\n{text}");
        }
        times.push(line["ts"].as_f64().unwrap());
    }
    assert!(times.is_sorted_by(|a, b| a >= b), "the newest comes first");
}

#[test]
fn the_lines_behind_every_row_and_question_of_the_sample_logs_add_up() {
    for tree in ["zeek-tree", "zeek-tree-json"] {
        let env = TestEnv::new();
        copy_folder(&testdata(tree), &env.path("logs"));
        env.ok(&["import", "--data", "data", "logs"]);
        let all = evidence(&env, &["*"]);
        check_whole(&env, &all);
        assert!(all.lines.len() > 500 && all.end["sightings"]["counted"].as_u64() > Some(500), "{}", all.end);
        // One row after the other, counted by somebody else.
        let rows = String::from_utf8(env.ok(&["lookup", "--data", "data", "-f", "json", "*"])).unwrap();
        let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
        assert!(rows.len() > 100);
        for row in rows.iter().step_by(rows.len() / 12) {
            let [name, rrtype, rdata] = ["rrname", "rrtype", "rdata"].map(|key| row[key].as_str().unwrap());
            let of_row = evidence(&env, &[name, "-t", rrtype, "--rdata", rdata]);
            assert_eq!(of_row.lines.len() as u64, row["count"].as_u64().unwrap(), "{row} {}", of_row.end);
            assert_eq!((of_row.code, &of_row.end["complete"]), (Some(0), &Value::Bool(true)), "{row}");
            let times: Vec<u64> =
                of_row.lines.iter().map(|line| line["ts"].as_f64().unwrap() as u64).collect();
            assert_eq!(times.first(), row["time_last"].as_u64().as_ref());
            assert_eq!(times.last(), row["time_first"].as_u64().as_ref());
            for (flag, time) in [("--first", "time_first"), ("--last", "time_last")] {
                let one = evidence(&env, &[name, "-t", rrtype, "--rdata", rdata, flag]);
                assert_eq!(one.lines.len(), 1);
                assert_eq!(one.lines[0]["ts"].as_f64().unwrap() as u64, row[time].as_u64().unwrap());
            }
        }
    }
}

#[test]
fn the_lines_of_every_odd_log_add_up() {
    let env = TestEnv::new();
    copy_folder(&testdata("zeek"), &env.path("logs"));
    for file in files(&env.path("logs")) {
        let name = file.file_name().unwrap().to_str().unwrap();
        // The clock of the machine is not asked for logs that say impossible times.
        let data = format!("data-{name}");
        env.run(&["import", "--data", &data, &format!("logs/{name}")]);
        let status = env.status(&data);
        let all = found(env.run(&["evidence", "--data", &data, "-f", "json", "*"]));
        let counted = status["totals"]["counted"].as_u64().unwrap();
        let unanswered = status["totals"]["skipped"]["no_answer"].as_u64().unwrap_or_default();
        assert!(all.lines.len() as u64 <= counted + unanswered, "{name}: {}", all.end);
        assert!(all.lines.len() as u64 >= counted, "{name}: {}", all.end);
        for of in ["sightings", "questions"] {
            let compared = &all.end[of];
            assert_eq!(
                (&compared["missing"], &compared["more"]),
                (&0.into(), &0.into()),
                "{name}: {}",
                all.end
            );
        }
        assert_eq!(all.end["complete"], true, "{name}");
        check_places(&env, &all.lines);
    }
}

fn gzip(path: &Path) {
    let text = fs::read(path).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&text).unwrap();
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    fs::write(packed, encoder.finish().unwrap()).unwrap();
    fs::remove_file(path).unwrap();
}

fn gunzip(path: &Path) {
    fs::write(path.with_extension(""), unpacked(path)).unwrap();
    fs::remove_file(path).unwrap();
}

#[test]
fn logs_that_moved_and_were_packed_or_unpacked_are_found_and_what_is_gone_is_named() {
    let env = TestEnv::new();
    copy_folder(&testdata("zeek-tree"), &env.path("logs"));
    env.ok(&["import", "--data", "data", "logs"]);
    let before = evidence(&env, &["*"]);
    check_whole(&env, &before);
    let strip = |found: &Found| -> Vec<String> {
        let uid = |line: &Value| format!("{} {} {}", line["ts"], line["uid"], line["query"]);
        found.lines.iter().map(uid).collect()
    };
    // They move to another place within the folder, the packed ones are unpacked, the plain ones packed.
    fs::create_dir_all(env.path("logs/old/2024")).unwrap();
    for (at, file) in files(&env.path("logs")).into_iter().enumerate() {
        let packed = file.extension().is_some_and(|end| end == "gz");
        let name = format!("dns.{at}.log{}", if packed { ".gz" } else { "" });
        let moved = env.path("logs/old/2024").join(name);
        fs::rename(&file, &moved).unwrap();
        if packed { gunzip(&moved) } else { gzip(&moved) }
    }
    let after = evidence(&env, &["*", "--logs", "logs"]);
    check_whole(&env, &after);
    assert_eq!(strip(&after), strip(&before));
    // One goes.
    let gone = files(&env.path("logs")).remove(1);
    let lost: Vec<String> = lines_of(&gone);
    fs::remove_file(&gone).unwrap();
    let part = evidence(&env, &["*", "--logs", "logs"]);
    assert_eq!(
        (part.code, &part.end["complete"], &part.end["missing_logs"]),
        (Some(1), &false.into(), &1.into())
    );
    assert_eq!(part.end["missing"][0]["fault"], "gone");
    assert!(part.stderr.contains("lie in logs that are no longer there: "), "{}", part.stderr);
    let missing = before.lines.len() - part.lines.len();
    assert!(missing > 0 && missing <= lost.len());
    let left = strip(&part);
    assert!(strip(&before).iter().filter(|line| !left.contains(line)).count() == missing);
    // What does not lie in it is whole.
    let counted = |found: &Found| found.end["sightings"]["missing"].as_u64().unwrap();
    assert!(counted(&part) > 0);
    let line = part
        .lines
        .iter()
        .find(|line| !lost.iter().any(|lost| lost.contains(line["query"].as_str().unwrap())));
    let name = line.unwrap()["query"].as_str().unwrap();
    check_whole(&env, &evidence(&env, &[name, "--logs", "logs"]));
}

/// A log of so many records of its own, with who asked.
fn log(records: std::ops::Range<u32>) -> String {
    let mut log = "#separator \\x09\n#path\tdns\n#open\t2026-03-04-05-06-07\n\
        #fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tquery\tqtype\trcode\tanswers\tTTLs\n"
        .to_owned();
    for n in records {
        log.push_str(&format!(
            "{}.5\tC{n}\t10.0.0.{}\t{}\t192.0.2.53\t53\twww.example.com\t1\t0\t192.0.2.{}\t60.0\n",
            1_770_000_000 + n,
            n % 7,
            4000 + n,
            n % 3
        ));
    }
    log
}

#[test]
fn logs_that_are_cut_damaged_changed_or_replaced_are_named_and_the_rest_is_handed_out() {
    let env = TestEnv::new();
    let names = ["cut", "changed", "replaced", "damaged", "sound"];
    fs::create_dir(env.path("logs")).unwrap();
    for (at, name) in names.iter().enumerate() {
        let from = at as u32 * 100;
        fs::write(env.path(&format!("logs/{name}.dns.log")), log(from..from + 100)).unwrap();
    }
    gzip(&env.path("logs/damaged.dns.log"));
    env.ok(&["import", "--data", "data", "logs"]);
    let all = evidence(&env, &["www.example.com"]);
    check_whole(&env, &all);
    assert_eq!(all.lines.len(), 500);

    let cut = log(0..100);
    fs::write(env.path("logs/cut.dns.log"), &cut[..cut.len() / 2]).unwrap();
    let changed = log(100..200).replace("C150\t", "X150\t");
    fs::write(env.path("logs/changed.dns.log"), changed).unwrap();
    fs::write(env.path("logs/replaced.dns.log"), log(900..1000)).unwrap();
    let damaged = env.path("logs/damaged.dns.log.gz");
    let mut bytes = fs::read(&damaged).unwrap();
    let half = bytes.len() / 2;
    bytes[half..half + 8].fill(0xff);
    fs::write(&damaged, bytes).unwrap();
    let part = evidence(&env, &["www.example.com"]);
    assert_eq!((part.code, &part.end["complete"]), (Some(1), &false.into()));
    let faults: BTreeMap<String, String> = (part.end["missing"].as_array().unwrap().iter())
        .map(|log| {
            let name = log["log"].as_str().unwrap().rsplit('/').next().unwrap();
            (name.split('.').next().unwrap().to_owned(), log["fault"].as_str().unwrap().to_owned())
        })
        .collect();
    let expected = ["cut", "changed", "replaced", "damaged"].map(|name| (name.to_owned(), name.to_owned()));
    assert_eq!(faults, expected.into());
    for name in names {
        assert_eq!(part.stderr.contains(name), name != "sound", "{}", part.stderr);
    }
    let of =
        |name: &str| part.lines.iter().filter(|line| line["log"].as_str().unwrap().contains(name)).count();
    assert!((40..60).contains(&of("cut")), "{}", of("cut"));
    assert_eq!((of("replaced"), of("sound")), (0, 100));
    assert!(part.lines.iter().all(|line| line["uid"].as_str().unwrap().starts_with('C')));
    let compared = &part.end["sightings"];
    assert_eq!(compared["missing"].as_u64().unwrap() as usize, 500 - part.lines.len());
    // With a limit that what is there satisfies, nothing newer is missing.
    let newest = evidence(&env, &["www.example.com", "--limit", "100"]);
    assert_eq!(
        (newest.lines.len(), newest.code, &newest.end["ended"]),
        (100, Some(0), &"limit".into()),
        "{}",
        newest.stderr
    );
}

#[test]
fn lines_are_handed_out_in_every_form() {
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    fs::write(env.path("logs/a.dns.log"), log(0..20)).unwrap();
    fs::write(env.path("logs/b.dns.log"), log(20..40)).unwrap();
    env.ok(&["import", "--data", "data", "logs"]);
    let run =
        |args: &[&str]| String::from_utf8(env.ok(&[&["evidence", "--data", "data"], args].concat())).unwrap();
    let raw = run(&["192.0.2.1", "-f", "raw"]);
    let expected: Vec<String> =
        log(0..40).lines().filter(|l| l.contains("192.0.2.1\t60")).map(str::to_owned).collect();
    let (header, lines): (Vec<&str>, Vec<&str>) = raw.lines().partition(|line| line.starts_with('#'));
    assert_eq!(header.join("\n") + "\n", log(0..0));
    assert_eq!(lines, expected.iter().rev().map(String::as_str).collect::<Vec<_>>());

    let table = run(&["www.example.com", "--limit", "2"]);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert!(rows[0].starts_with("TIME (UTC)"), "{table}");
    assert!(rows[1].contains("10.0.0.4:4039") && rows[1].ends_with("logs/b.dns.log:24"), "{table}");
    let tsv = run(&["www.example.com", "-f", "tsv", "--first"]);
    assert!(tsv.lines().nth(1).unwrap().contains("\t10.0.0.0\t4000\t192.0.2.53\t53\tC0\twww.example.com\tA\tNOERROR\t192.0.2.0\tdefault\tlogs/a.dns.log\t5\t"), "{tsv}");

    let clients = run(&["192.0.2.0/24", "--clients", "-f", "json"]);
    let clients: Vec<Value> = clients.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(clients.len(), 7 + 1);
    assert_eq!((&clients[0]["client"], &clients[0]["lines"]), (&"10.0.0.0".into(), &6.into()));
    assert_eq!(clients.iter().filter_map(|client| client["lines"].as_u64()).sum::<u64>(), 40);
    assert!(run(&["192.0.2.0/24", "--clients"]).starts_with("CLIENT "));
}

#[test]
fn what_is_asked_decides_which_lines_come() {
    let env = TestEnv::new();
    let row = |n: u32, query: &str, qtype: u32, rcode: u32, answers: &str, ttls: &str| {
        format!(
            "{}.5\tC{n}\t10.0.0.1\t{n}\t192.0.2.53\t53\t{query}\t{qtype}\t{rcode}\t{answers}\t{ttls}\n",
            1_770_000_000 + n * 86_400
        )
    };
    let text = log(0..0)
        + &row(1, "a.example.com", 1, 0, "b.example.net,192.0.2.1", "1.0,1.0")
        + &row(2, "a.example.com", 28, 0, "-", "-")
        + &row(3, "x.a.example.com", 1, 3, "-", "-")
        + &row(4, "b.example.net", 1, 0, "192.0.2.2", "1.0")
        + &row(5, "other.example", 15, 0, "a.example.com", "1.0");
    fs::write(env.path("dns.log"), text).unwrap();
    env.ok(&["import", "--data", "data", "dns.log"]);
    let uids = |args: &[&str]| -> String {
        let found = evidence(&env, args);
        let uids: Vec<String> =
            found.lines.iter().map(|line| line["uid"].as_str().unwrap()[1..].to_owned()).collect();
        assert!(found.end["complete"] == true || found.lines.is_empty(), "{}", found.end);
        uids.concat()
    };
    for (args, expected) in [
        (&["a.example.com"][..], "521"),
        (&["a.example.com", "-t", "A"], "1"),
        (&["a.example.com", "-t", "A", "--direct"], "1"),
        (&["a.example.com", "-t", "A", "--rdata", "192.0.2.1"], "1"),
        (&["a.example.com", "-t", "A", "--rdata", "192[.]0[.]2[.]1"], "1"),
        (&["a.example.com", "-t", "A", "--rdata", "192.0.2.1:443,"], "1"),
        (&["other.example", "--rdata", "A.Example[.]com."], "5"),
        (&["a.example.com", "--rdata", "b.example.net."], "1"),
        (&["a.example.com", "-t", "AAAA"], "2"),
        (&["*.a.example.com"], "321"),
        (&["b.example.net"], "41"),
        (&["192.0.2.1"], "1"),
        (&["192.0.2.0/24"], "41"),
        (&["rdata:a.example.com"], "5"),
        (&["~example.net"], "41"),
        (&["*", "--during", "2026-02-05"], "3"),
        (&["*", "--first"], "1"),
        (&["*", "--last"], "5"),
        (&["*", "--limit", "2", "--first"], "12"),
        (&["nothing.example"], ""),
    ] {
        assert_eq!(uids(args), expected, "{args:?}");
    }
    let nothing = env.run(&["evidence", "--data", "data", "nothing.example"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert_eq!(nothing.said(), "No line found for nothing.example.\n");
    let nothing = env.run(&["evidence", "--data", "data", "nothing.example", "--rdata", "192.0.2.1"]);
    assert_eq!(nothing.said(), "No line found for nothing.example within these filters.\n");
    let misuse = env.run(&["evidence", "--data", "data", "a.example", "--clients", "-f", "raw"]);
    assert_eq!(misuse.status.code(), Some(64));
}

#[test]
fn a_daemon_hands_out_lines_of_the_log_that_is_written_to_and_of_its_archives() {
    let env = TestEnv::new();
    fs::create_dir_all(env.path("logs/current")).unwrap();
    fs::write(env.path("logs/current/dns.log"), log(0..50)).unwrap();
    let daemon = env.daemon("logs", "data");
    daemon.wait_for_lines(50);
    let ask = || evidence(&env, &["www.example.com"]);
    let live = ask();
    check_whole(&env, &live);
    assert_eq!(live.lines.len(), 50);
    // It is rotated, and packed; another begins.
    fs::create_dir(env.path("logs/2026-02-02")).unwrap();
    let archive = env.path("logs/2026-02-02/dns.01:00:00-02:00:00.log");
    fs::rename(env.path("logs/current/dns.log"), &archive).unwrap();
    let mut closed = fs::read_to_string(&archive).unwrap();
    closed.push_str("#close\t2026-02-02-02-00-00\n");
    fs::write(&archive, closed).unwrap();
    gzip(&archive);
    // The last line is not whole: nobody has counted it.
    let begun = log(50..60);
    fs::write(env.path("logs/current/dns.log"), &begun[..begun.len() - 10]).unwrap();
    daemon.wait_for_lines(59);
    let both = ask();
    check_whole(&env, &both);
    assert_eq!(both.lines.len(), 59);
    let packed = both.lines.iter().filter(|line| line["log"].as_str().unwrap().ends_with(".gz")).count();
    assert_eq!(packed, 50, "{}", both.lines[58]["log"]);
    let raw = env.ok(&["evidence", "--data", "data", "-f", "raw", "192.0.2.2", "--limit", "1"]);
    assert!(String::from_utf8(raw).unwrap().ends_with("192.0.2.2\t60.0\n"));
}

/// The status of an answer, and its body.
fn get(daemon: &Daemon, path: &str, token: &str) -> (u16, String) {
    let url = daemon.url("");
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let token = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n{token}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn over_http_lines_are_handed_out_where_that_is_switched_on_to_tokens_of_that_scope_and_it_is_logged() {
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    fs::write(env.path("logs/dns.log"), log(0..50)).unwrap();
    let config = |on: &str| {
        format!(
            "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\ntokens_file = \"tokens\"\n{on}[[source]]\nlogs = \"logs\"\n"
        )
    };
    fs::write(env.path("on.toml"), config("[evidence]\nhttp = true\n")).unwrap();
    fs::write(env.path("off.toml"), config("")).unwrap();
    let [read, lines, admin] = ["read", "evidence", "admin"].map(|scope| {
        let token = env.ok(&["token", "new", scope, "--scope", scope, "--config", "on.toml"]);
        String::from_utf8(token).unwrap().trim().to_owned()
    });
    let path = "/api/v1/evidence?q=www.example.com&limit=7";
    let row = "/evidence?q=www.example.com&type=A&rdata=192.0.2.1";
    let daemon = env.configured_daemon("on.toml", "data");
    // Each look is of a daemon that has read all of it.
    crate::env::until("the log is read", || {
        let (_, status) = get(&daemon, "/api/v1/status", &read);
        let status: Value = serde_json::from_str(&status).unwrap();
        (status["totals"]["lines_read"] == 50 && status["caught_up"] == true).then_some(())
    });
    for path in [
        path,
        row,
        "/api/v1/%65vidence?q=x",
        "//api//v1/evidence?q=x",
        "/api/v1/evidence/?q=x",
        "/%65vidence?q=x",
    ] {
        assert_eq!(get(&daemon, path, "").0, 401, "{path}");
        for token in [&read, &admin] {
            let (status, body) = get(&daemon, path, token);
            assert!(status == 403 || status == 404, "{path}: {status}");
            assert!(!body.contains("10.0.0."), "{path}");
        }
    }
    assert_eq!(get(&daemon, "/control/evidence?q=www.example.com", &lines).0, 403);
    assert_eq!(get(&daemon, "/control/evidence?q=www.example.com", &admin).0, 404);
    let (status, body) = get(&daemon, path, &lines);
    assert_eq!(status, 200, "{body}");
    let found: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), 8);
    assert_eq!(
        (&found[0]["client"], &found[0]["uid"], &found[0]["line"]),
        (&"10.0.0.0".into(), &"C49".into(), &54.into())
    );
    assert_eq!(found[7]["end"]["ended"], "limit");
    // Who asks again when an answer has ended is never told that others are asking.
    for _ in 0..60 {
        assert_eq!(get(&daemon, path, &lines).0, 200);
    }
    let (_, whole) = get(&daemon, "/api/v1/evidence?q=www.example.com&order=oldest&raw=true", &lines);
    assert!(whole.starts_with("{\"time\":\"") && whole.contains("\"raw\":\"1770000000.5\\tC0\\t"), "{whole}");
    assert!(whole.lines().last().unwrap().contains("\"complete\":true"), "{whole}");
    for wrong in ["", "?q=a&last_after=7d", "?q=a&order=x", "?q=a&sensor=none", "?q=a&cursor=x"] {
        assert_eq!(get(&daemon, &format!("/api/v1/evidence{wrong}"), &lines).0, 400, "{wrong}");
    }
    // The page has a link beside each row, for those who may follow it, and what it leads to.
    let (_, page) = get(&daemon, "/?q=www.example.com", &lines);
    let href = page.split("class=\"evidence\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let href = href.replace("&amp;", "&");
    assert!(href.starts_with("/evidence?q=www.example.com&type=A&rdata=192.0.2."), "{href}");
    let (status, page) = get(&daemon, &href, &lines);
    assert_eq!(status, 200);
    assert!(page.contains("10.0.0.") && page.contains("logs/dns.log:"), "{page}");
    for token in [&read, &admin] {
        assert!(!get(&daemon, "/?q=www.example.com", token).1.contains("class=\"evidence\""));
    }
    // The command line asks a server as anybody does.
    fs::write(env.path("token"), &lines).unwrap();
    let url = daemon.url("");
    let asked = found_of(&env, &["--server", &url, "--token-file", "token", "192.0.2.1"]);
    assert_eq!((asked.lines.len(), asked.code, &asked.end["complete"]), (17, Some(0), &true.into()));
    let said = daemon.stop().stderr;
    let uses = said.lines().filter(|line| line.contains("Asked.") && line.contains("vidence?q=")).count();
    assert!(uses > 10 && said.contains("caller=\"evidence\"") && said.contains("caller=\"read\""), "{said}");

    let daemon = env.configured_daemon("off.toml", "data");
    for path in [path, row] {
        let (status, body) = get(&daemon, path, &lines);
        assert!(status == 403 && body.contains("not handed out over HTTP"), "{status} {body}");
    }
    assert!(!get(&daemon, "/?q=www.example.com", &lines).1.contains("class=\"evidence\""));
    // The owner of the ledger needs no token.
    assert_eq!(evidence(&env, &["192.0.2.1"]).lines.len(), 17);
}

fn found_of(env: &TestEnv, args: &[&str]) -> Found {
    found(env.run(&[&["evidence", "-f", "json"], args].concat()))
}

#[test]
fn logs_that_cannot_hold_it_are_passed_over_and_no_spoiled_filter_hides_a_line() {
    let mut env = TestEnv::new();
    env.set("DNSLEDGER_TEST_FILTERS_MS", "20");
    fs::create_dir(env.path("logs")).unwrap();
    for at in 0..6u32 {
        let name = format!("n{at}.example.com");
        let text = log(at * 10..at * 10 + 10)
            .replace("www.example.com", &name)
            .replace("192.0.2.", &format!("192.0.{at}."));
        fs::write(env.path(&format!("logs/dns.{at}.log")), text + "#close\t2026-02-02-02-00-00\n").unwrap();
        gzip(&env.path(&format!("logs/dns.{at}.log")));
    }
    let all_have_one = |daemon: &Daemon| {
        crate::env::until("each log has a filter", || {
            let status = daemon.json("/api/v1/status");
            (status["evidence"]["logs"] == 6 && status["evidence"]["filters"] == 6).then_some(())
        });
    };
    // It is killed again and again while it makes them.
    for _ in 0..3 {
        let daemon = env.daemon("logs", "data");
        daemon.kill();
    }
    let daemon = env.daemon("logs", "data");
    daemon.wait_for_lines(60);
    all_have_one(&daemon);
    let asked = |query: &str, lines: usize, passed_over: u64| {
        let found = evidence(&env, &[query]);
        check_whole_of(&found, lines);
        assert_eq!(found.end["logs_passed_over"], passed_over, "{query}: {}", found.end);
    };
    let check_all = |passed_over: u64| {
        asked("*", 60, 0);
        asked("*.example.com", 60, 0);
        asked("n3.example.com", 10, 0);
        asked("192.0.4.0/24", 10, passed_over);
    };
    // The times of a name's rows tell as much as filters do: those of a block of addresses, too.
    check_all(0);
    // A name in two logs, between which others lie.
    let both = log(100..101).replace("www", "both") + &log(160..161).replace("www", "both");
    fs::write(env.path("logs/dns.x.log"), both + "#close\t2026-02-02-02-00-00\n").unwrap();
    let early = log(0..1).replace("www.example.com", "both.example.com").replace(".5\tC", ".7\tD");
    fs::write(env.path("logs/dns.y.log"), early + "#close\t2026-02-02-02-00-00\n").unwrap();
    daemon.wait_for_lines(63);
    crate::env::until("each log has a filter", || {
        let status = daemon.json("/api/v1/status");
        (status["evidence"]["filters"] == 8).then_some(())
    });
    asked("both.example.com", 3, 6);
    // A log that is gone and held nothing of it is not missed.
    fs::remove_file(env.path("logs/dns.2.log.gz")).unwrap();
    asked("both.example.com", 3, 6);
    let gone = evidence(&env, &["n2.example.com"]);
    assert_eq!((gone.code, &gone.end["missing"][0]["fault"]), (Some(1), &"gone".into()));
    let stopped = daemon.stop();
    assert!(stopped.status.success());
    // Whatever becomes of the filters, lines are found: without a daemon nobody makes them anew.
    for file in files(&env.path("data/evidence")) {
        let bytes = fs::read(&file).unwrap();
        let half = bytes.len() / 2;
        fs::write(
            &file,
            bytes[..half].iter().chain(&vec![0; bytes.len() - half]).copied().collect::<Vec<u8>>(),
        )
        .unwrap();
    }
    asked("both.example.com", 3, 0);
    // What is left over goes, what is spoiled is made anew when it is of another log, and a budget of nothing keeps none.
    fs::write(env.path("none.toml"), "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[evidence]\ndisk = \"0B\"\n[[source]]\nlogs = \"logs\"\n").unwrap();
    let daemon = env.configured_daemon("none.toml", "data");
    crate::env::until("no filter is left", || files(&env.path("data/evidence")).is_empty().then_some(()));
    daemon.stop();
}

#[track_caller]
fn check_whole_of(found: &Found, lines: usize) {
    assert_eq!(
        (found.lines.len(), found.code, &found.end["complete"]),
        (lines, Some(0), &true.into()),
        "{}",
        found.end
    );
}
