//! Delivery of hits to outlets of others: at least once, each with its id, whatever the outlet does and whoever is killed.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::Value;

use crate::clients::is_there;
use crate::env::{Daemon, TestEnv, free_port, pause, until};

/// What was posted.
#[derive(Debug, Clone)]
pub struct Posted {
    head: String,
    body: Vec<u8>,
}

impl Posted {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn document(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn id(&self) -> String {
        self.header("idempotency-key").unwrap().to_owned()
    }
}

/// What a receiver does with what it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    Answers(u16),
    Redirects,
    Stalls,
    Breaks,
}

/// Somebody who is posted to; it ends with the process.
pub struct Receiver {
    pub url: String,
    got: Arc<Mutex<Vec<Posted>>>,
    does: Arc<Mutex<Does>>,
}

impl Receiver {
    pub fn start(does: Does) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?from=ledger", listener.local_addr().unwrap());
        let (got, does) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(does)));
        let receiver = Receiver { url, got: Arc::clone(&got), does: Arc::clone(&does) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (got, does) = (Arc::clone(&got), Arc::clone(&does));
                std::thread::spawn(move || answer(stream, &got, &does));
            }
        });
        receiver
    }

    pub fn does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    pub fn got(&self) -> Vec<Posted> {
        self.got.lock().unwrap().clone()
    }

    fn names(&self) -> Vec<String> {
        let name = |posted: &Posted| posted.document()["hit"]["rrname"].as_str().unwrap().to_owned();
        self.got().iter().map(name).collect()
    }
}

/// Reads a request; nothing where it breaks off.
fn read_request(stream: &TcpStream) -> Option<Posted> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.replace("\r\n", "\n").to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Posted { head, body })
}

fn answer(mut stream: TcpStream, got: &Mutex<Vec<Posted>>, does: &Mutex<Does>) -> Option<()> {
    let posted = read_request(&stream)?;
    let does = *does.lock().unwrap();
    match does {
        Does::Answers(status) => {
            if status < 300 {
                got.lock().unwrap().push(posted);
            }
            write!(stream, "HTTP/1.1 {status} Well\r\nContent-Length: 5\r\n\r\nwell\n").ok()
        }
        Does::Redirects => {
            let to = "http://127.0.0.1:9/elsewhere";
            write!(stream, "HTTP/1.1 307 There\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").ok()
        }
        Does::Stalls => {
            // It takes the request and says nothing, until whoever asked gives up.
            let _ = stream.read(&mut [0; 1]);
            None
        }
        Does::Breaks => None,
    }
}

pub const KEY: &str = "a key of thirty-two bytes or more";

/// A daemon that follows `logs/dns.log` and watches for what is below d.example, and a configuration with these outlets.
fn daemon(env: &TestEnv, outlets: &str) -> Daemon {
    fs::create_dir_all(env.path("logs")).unwrap();
    fs::write(env.path("key"), format!("{KEY}\n")).unwrap();
    fs::set_permissions(env.path("key"), Permissions::from_mode(0o600)).unwrap();
    fs::write(env.path("list.txt"), "d.example\n").unwrap();
    let config = format!(
        "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[source]]\nlogs = \"logs\"\n[[feed]]\nname = \"mine\"\nfile = \"list.txt\"\n[hits]\nfile = \"hits.json\"\n{outlets}"
    );
    fs::write(env.path("dnsledger.toml"), config).unwrap();
    let daemon = env.configured_daemon("dnsledger.toml", "data");
    until("the feed is taken up", || {
        (daemon.json("/api/v1/feeds")["feeds"][0]["walked"] == true).then_some(())
    });
    daemon
}

pub fn outlet(name: &str, url: &str, more: &str) -> String {
    format!("[[outlet]]\nname = \"{name}\"\nto = \"{url}\"\nkey_file = \"key\"\n{more}")
}

/// Appends a record for each name.
fn ask_for(env: &TestEnv, names: &[&str]) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(env.path("logs/dns.log")).unwrap();
    for name in names {
        let line = format!(
            "{{\"ts\":1780000000.5,\"uid\":\"C{name}\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\"query\":\"{name}\",\"qclass\":1,\"qtype\":1,\
             \"qtype_name\":\"A\",\"rcode\":0,\"answers\":[\"192.0.2.1\"],\"TTLs\":[60.0]}}\n"
        );
        file.write_all(line.as_bytes()).unwrap();
    }
}

pub fn deliver(env: &TestEnv) -> Daemon {
    env.begin(&["deliver", "--config", "dnsledger.toml"])
}

fn at_least(receiver: &Receiver, hits: usize) {
    until("hits are delivered", || {
        let ids: BTreeSet<String> = receiver.got().iter().map(Posted::id).collect();
        (ids.len() >= hits).then_some(())
    });
}

#[test]
fn a_hit_is_posted_signed_once_and_with_the_same_id_when_it_is_posted_again() {
    let env = TestEnv::new();
    let receiver = Receiver::start(Does::Answers(503));
    let daemon = daemon(&env, &outlet("soar", &receiver.url, ""));
    let delivering = deliver(&env);
    ask_for(&env, &["one.d.example", "good.example", "two.d.example"]);
    until("it is told that the outlet fails", || {
        let status = daemon.json("/api/v1/status");
        (status["delivering"][0]["failing_since"].as_u64()? > 0).then_some(())
    });
    receiver.does(Does::Answers(204));
    at_least(&receiver, 2);
    assert_eq!(receiver.names(), ["one.d.example", "two.d.example"]);
    let posted = &receiver.got()[0];
    assert!(posted.head.starts_with("post /hook?from=ledger http/1.1\n"), "{}", posted.head);
    let (id, timestamp) = (posted.header("webhook-id").unwrap(), posted.header("webhook-timestamp").unwrap());
    let document = posted.document();
    assert_eq!((&document["type"], &document["id"]), (&"hit".into(), &id.into()));
    assert_eq!((document["hit"]["sequence"].as_u64(), posted.id().as_str()), (Some(1), id));
    let ledger = daemon.json("/api/v1/hits")["ledger"].as_str().unwrap().to_owned();
    assert_eq!(id, format!("dnsledger/{ledger}/1"));
    let age =
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - timestamp.parse::<u64>().unwrap();
    assert!(age < 600);
    // What a receiver does: over the id, the time and the body as it came. Headers were lower-cased here, so it is signed anew.
    let signed = [format!("{id}.{timestamp}.").as_bytes(), &posted.body].concat();
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), &signed);
    let signature = format!("v1,{}", STANDARD.encode(mac)).to_ascii_lowercase();
    assert_eq!(posted.header("webhook-signature").unwrap(), signature);
    until("all of it is told", || {
        let status = daemon.json("/api/v1/status");
        let told = &status["delivering"][0];
        (told["delivered"] == 2 && told["waiting"] == 0 && told["failing_since"] == 0).then_some(())
    });
    let metrics = String::from_utf8(daemon.get("/metrics").body).unwrap();
    for line in [
        "dnsledger_deliver_hits_total{outlet=\"soar\"} 2\n",
        "dnsledger_deliver_failing{outlet=\"soar\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let said = String::from_utf8(env.ok(&["status", "--data", "data"])).unwrap();
    assert!(said.contains("soar (webhook): 2 hits delivered, 0 wait"), "{said}");
    // Two at a time would deliver all of it twice.
    let second = env.run(&["deliver", "--config", "dnsledger.toml"]);
    assert!(
        !second.status.success() && second.stderr.contains("another process delivers"),
        "{}",
        second.stderr
    );
    assert!(delivering.stop().status.success());
    // Who comes again goes on where it was.
    let delivering = deliver(&env);
    ask_for(&env, &["three.d.example"]);
    at_least(&receiver, 3);
    assert_eq!(receiver.names(), ["one.d.example", "two.d.example", "three.d.example"]);
    drop(delivering);
    // The cursor of before, as after a crash between a delivery and its note: the same again, by the same id.
    let cursor = fs::read_to_string(env.path("data/deliver/soar.json")).unwrap();
    fs::write(env.path("data/deliver/soar.json"), cursor.replace("\"after\":3", "\"after\":2")).unwrap();
    let once = env.ok(&["deliver", "--config", "dnsledger.toml", "--once"]);
    assert_eq!(String::from_utf8(once).unwrap(), "soar: 1 delivered, 0 as a sum, 0 refused, 0 wait\n");
    let got = receiver.got();
    assert_eq!((got.len(), got[2].id()), (4, got[3].id()));
}

#[test]
fn an_outlet_that_is_away_stalls_or_fails_delays_its_own_hits_only() {
    let env = TestEnv::new();
    let [good, stalls, breaks, redirects] =
        [Does::Answers(200), Does::Stalls, Does::Breaks, Does::Redirects].map(Receiver::start);
    let away = format!("127.0.0.1:{}", free_port());
    let more = "timeout = \"1s\"\n";
    let outlets = [
        outlet("away", &format!("http://{away}/"), more),
        outlet("stalls", &stalls.url, more),
        outlet("breaks", &breaks.url, more),
        outlet("redirects", &redirects.url, more),
        outlet("good", &good.url, more),
        outlet("others", &good.url, "feeds = [\"nobody's\"]\n"),
    ];
    let daemon = daemon(&env, &outlets.concat());
    let delivering = deliver(&env);
    let names: Vec<String> = (0..20).map(|i| format!("h{i:02}.d.example")).collect();
    for name in &names {
        ask_for(&env, &[name]);
    }
    at_least(&good, 20);
    assert_eq!(good.got().len(), 20, "those of other feeds are for others");
    // Why each fails is told, and nothing of it is lost.
    let told = |name: &str| {
        let status = daemon.json("/api/v1/status");
        let all = status["delivering"].as_array().unwrap();
        all.iter().find(|told| told["outlet"] == name).cloned().unwrap()
    };
    for (name, why) in
        [("away", "cannot reach"), ("stalls", "timed out"), ("redirects", "redirects are not followed")]
    {
        until("it is told why", || told(name)["error"].as_str()?.contains(why).then_some(()));
        assert_eq!((&told(name)["delivered"], &told(name)["refused"]), (&0.into(), &0.into()));
    }
    for receiver in [&stalls, &breaks, &redirects] {
        receiver.does(Does::Answers(200));
    }
    for receiver in [&stalls, &breaks, &redirects] {
        at_least(receiver, 20);
    }
    assert_eq!(breaks.names(), good.names(), "in their order");
    drop(delivering);
}

#[test]
fn who_listens_to_streams_takes_nothing_from_who_delivers() {
    let env = TestEnv::new();
    let receiver = Receiver::start(Does::Answers(200));
    let daemon = daemon(&env, &outlet("soar", &receiver.url, ""));
    let address = daemon.url("").trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut last = String::new();
    let streams: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            write!(stream, "GET /api/v1/hits/stream HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
            last.clear();
            BufReader::new(&stream).read_line(&mut last).unwrap();
            stream
        })
        .collect();
    assert!(last.contains("429"), "all places are taken: {last}");
    let delivering = deliver(&env);
    ask_for(&env, &["one.d.example"]);
    at_least(&receiver, 1);
    drop((delivering, streams));
}

#[test]
fn hits_wait_while_a_key_is_not_taken() {
    let env = TestEnv::new();
    let receiver = Receiver::start(Does::Answers(401));
    let (_daemon, delivering) = (daemon(&env, &outlet("soar", &receiver.url, "")), deliver(&env));
    ask_for(&env, &["one.d.example", "two.d.example"]);
    let failures = || -> u64 {
        let status: Value =
            serde_json::from_slice(&env.ok(&["status", "--format", "json", "--data", "data"])).unwrap();
        status["delivering"][0]["failures"].as_u64().unwrap_or_default()
    };
    until("both were tried more than once", || (failures() > 3).then_some(()));
    receiver.does(Does::Answers(200));
    at_least(&receiver, 2);
    assert_eq!(receiver.names(), ["one.d.example", "two.d.example"]);
    assert!(!env.path("data/deliver/soar.dead").exists());
    drop(delivering);
}

#[test]
fn what_is_refused_for_good_is_a_dead_letter_and_the_next_hit_goes_out() {
    let env = TestEnv::new();
    let receiver = Receiver::start(Does::Answers(422));
    let daemon = daemon(&env, &outlet("soar", &receiver.url, ""));
    let delivering = deliver(&env);
    let dead = || fs::read_to_string(env.path("data/deliver/soar.dead")).unwrap_or_default();
    ask_for(&env, &["one.d.example"]);
    until("it is a dead letter", || (!dead().is_empty()).then_some(()));
    receiver.does(Does::Answers(201));
    ask_for(&env, &["two.d.example"]);
    at_least(&receiver, 1);
    assert_eq!(receiver.names(), ["two.d.example"]);
    let letter: Value = serde_json::from_str(dead().trim()).unwrap();
    assert_eq!(letter["message"]["hit"]["rrname"], "one.d.example");
    assert!(letter["why"].as_str().unwrap().contains("422: well"), "{letter}");
    drop(delivering);
    // Without a daemon the ledger itself is read, and that of a key that others may read it is said.
    assert!(daemon.stop().status.success());
    fs::set_permissions(env.path("key"), Permissions::from_mode(0o644)).unwrap();
    let refused = env.run(&["deliver", "--config", "dnsledger.toml", "--once"]);
    assert!(refused.stderr.contains("others may read or change this key"), "{}", refused.stderr);
    fs::set_permissions(env.path("key"), Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(env.path("data/deliver/soar.json")).unwrap();
    env.ok(&["deliver", "--config", "dnsledger.toml", "--once"]);
    assert_eq!(receiver.names(), ["two.d.example", "one.d.example", "two.d.example"]);
    receiver.does(Does::Breaks);
    fs::remove_file(env.path("data/deliver/soar.json")).unwrap();
    let ended = env.run(&["deliver", "--config", "dnsledger.toml", "--once", "--outlet", "soar"]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8(ended.stdout).unwrap().contains("2 wait; it fails: "));
}

#[test]
fn dead_letters_are_delivered_once_more_with_their_ids_and_the_doctor_tells_of_outlets() {
    let env = TestEnv::new();
    let receiver = Receiver::start(Does::Answers(422));
    let daemon = daemon(&env, &outlet("soar", &receiver.url, ""));
    let doctor = || String::from_utf8(env.run(&["doctor", "--config", "dnsledger.toml"]).stdout).unwrap();
    assert!(doctor().contains("nobody has delivered hits since the daemon was started"), "{}", doctor());
    let none = env.run(&["deliver", "--config", "dnsledger.toml", "--resend"]);
    assert_eq!((none.status.code(), none.stderr.as_str()), (Some(1), "There are no dead letters.\n"));
    let delivering = deliver(&env);
    ask_for(&env, &["one.d.example", "two.d.example"]);
    let dead = || fs::read_to_string(env.path("data/deliver/soar.dead")).unwrap_or_default().lines().count();
    until("both are dead letters", || (dead() == 2).then_some(()));
    assert!(
        doctor().contains("soar: 2 dead letters") && doctor().contains("--resend --outlet soar"),
        "{}",
        doctor()
    );
    // By the process that delivers; what is refused again is a dead letter again.
    let resend =
        || String::from_utf8(env.ok(&["deliver", "--config", "dnsledger.toml", "--resend"])).unwrap();
    let again = || env.path("data/deliver/soar.again").exists();
    assert!(
        resend()
            .starts_with("soar: 2 dead letters are delivered once more\nThey are delivered by the process")
    );
    ask_for(&env, &["three.d.example"]);
    until("all are dead letters", || (dead() == 3 && !again()).then_some(()));
    receiver.does(Does::Answers(204));
    resend();
    ask_for(&env, &["four.d.example"]);
    at_least(&receiver, 4);
    let mut names = receiver.names();
    names.sort();
    assert_eq!(names, ["four.d.example", "one.d.example", "three.d.example", "two.d.example"]);
    until("nothing is left", || (dead() == 0 && !again()).then_some(()));
    until("the doctor has nothing to say", || doctor().contains("ok    outlets  soar, ").then_some(()));
    assert!(delivering.stop().status.success());
    // Where none runs, by the command; it fails while the outlet does, and nothing is lost.
    let letter = |receiver: &Receiver, name: &str| {
        let found =
            receiver.got().into_iter().find(|posted| posted.document()["hit"]["rrname"] == name).unwrap();
        serde_json::json!({"at": 7, "why": "x", "message": found.document()}).to_string() + "\n"
    };
    let one = letter(&receiver, "one.d.example");
    fs::write(env.path("data/deliver/soar.dead"), format!("nonsense\n{one}")).unwrap();
    receiver.does(Does::Breaks);
    let failed = env.run(&["deliver", "--config", "dnsledger.toml", "--resend"]);
    assert_eq!(failed.status.code(), Some(2), "{}", failed.stderr);
    assert!(
        doctor().contains("soar takes nothing since")
            && doctor().contains("1 dead letters are to be delivered")
    );
    receiver.does(Does::Answers(200));
    assert!(resend().ends_with("soar: 1 delivered, 0 as a sum, 0 refused, 0 wait\n"));
    let got = receiver.got();
    let first = got.iter().find(|posted| posted.document()["hit"]["rrname"] == "one.d.example").unwrap();
    assert_eq!((got.len(), got[4].id()), (5, first.id()));
    assert_eq!(fs::read_to_string(env.path("data/deliver/soar.dead")).unwrap(), "nonsense\n");
    fs::set_permissions(env.path("key"), Permissions::from_mode(0o644)).unwrap();
    assert!(doctor().contains("others may read or change this key"), "{}", doctor());
    drop(daemon);
}

/// A PEM file of a certificate for 127.0.0.1, and its key.
fn certificate(env: &TestEnv) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(env.path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(env.path("cert-key.pem"), made.signing_key.serialize_pem()).unwrap();
}

/// Messages behind their lengths.
fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&bytes[..space]).unwrap().parse().unwrap();
        all.push(String::from_utf8(bytes[space + 1..space + 1 + length].to_vec()).unwrap());
        bytes = &bytes[space + 1 + length..];
    }
    all
}

/// The id and the name in messages of syslog, as RFC 5424 has them.
fn said(messages: &[String]) -> Vec<(String, String)> {
    let one = |message: &String| {
        let (head, rest) = message.split_once(" [dnsledger@32473 id=\"").unwrap();
        let words: Vec<&str> = head.split(' ').collect();
        assert!(
            words.len() == 6 && words[0] == "<132>1" && words[3] == "dnsledger" && words[5] == "hit",
            "{message}"
        );
        assert!(words[1].ends_with('Z') && words[1].len() == 20, "{message}");
        let (id, document) = rest.split_once("\"] ").unwrap();
        let document: Value = serde_json::from_str(document).unwrap();
        assert_eq!(document["id"], id);
        (id.to_owned(), document["hit"]["rrname"].as_str().unwrap().to_owned())
    };
    messages.iter().map(one).collect()
}

fn syslog(name: &str, to: &str) -> String {
    format!(
        "[[outlet]]\nname = \"{name}\"\nkind = \"syslog\"\nto = \"{to}\"\nca = \"cert.pem\"\ntimeout = \"2s\"\n"
    )
}

#[test]
fn syslog_goes_over_tcp_tls_and_sockets_and_counts_when_it_was_read() {
    let env = TestEnv::new();
    certificate(&env);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream_path = env.path("stream.sock");
    let stream = UnixListener::bind(&stream_path).unwrap();
    let (log_path, journal_path) = (env.path("log.sock"), env.path("journal.sock"));
    let (log, journal) = (UnixDatagram::bind(&log_path).unwrap(), UnixDatagram::bind(&journal_path).unwrap());
    let outlets = [
        syslog("tcp", &format!("tcp://{}", listener.local_addr().unwrap())),
        syslog("stream", &format!("unix:{}", stream_path.display())),
        syslog("log", &format!("unix:{}", log_path.display())),
        format!("[[outlet]]\nname = \"journal\"\nkind = \"journal\"\nto = \"{}\"\n", journal_path.display()),
    ];
    let daemon = daemon(&env, &outlets.concat());
    ask_for(&env, &["one.d.example", "two.d.example"]);
    daemon.wait_for_lines(2);
    let hits = daemon.json("/api/v1/hits?order=oldest&wait=20s&cursor=1");
    let id = |number: u64| format!("dnsledger/{}/{number}", hits["ledger"].as_str().unwrap());
    let wanted = [(id(1), "one.d.example".to_owned()), (id(2), "two.d.example".to_owned())];
    let delivering = deliver(&env);
    // One that takes a connection, reads a part of it and is gone has not read all.
    let (mut torn, _) = listener.accept().unwrap();
    torn.read_exact(&mut [0; 10]).unwrap();
    drop(torn);
    // One that reads all and does not close has not said so.
    let (mut stalls, _) = listener.accept().unwrap();
    stalls.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = Vec::new();
    stalls.read_to_end(&mut bytes).unwrap();
    assert_eq!(said(&frames(&bytes)), wanted);
    let (mut good, _) = listener.accept().unwrap();
    bytes.clear();
    good.read_to_end(&mut bytes).unwrap();
    drop(good);
    assert_eq!(said(&frames(&bytes)), wanted, "once more, by the same ids");
    drop(stalls);
    // Nobody has taken from that one so far: what was given up meanwhile comes again, too.
    let (sender, batches) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in stream.incoming().map_while(Result::ok) {
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).map(|_| sender.send(bytes));
        }
    });
    assert_eq!(said(&frames(&batches.recv().unwrap())), wanted);
    let datagram = |socket: &UnixDatagram| {
        let mut bytes = vec![0; 64 << 10];
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    assert_eq!(said(&[datagram(&log), datagram(&log)]), wanted);
    let fields = datagram(&journal);
    let first = "MESSAGE=one.d.example is met by domain d.example of mine\nPRIORITY=4\n";
    assert!(fields.starts_with(first) && fields.contains(&format!("\nDNSLEDGER_ID={}\n", id(1))), "{fields}");
    until("all is settled", || {
        let status = daemon.json("/api/v1/status");
        let told = status["delivering"].as_array()?;
        told.iter().all(|told| told["delivered"] == 2 && told["waiting"] == 0).then_some(())
    });
    drop(delivering);
}

#[test]
fn the_real_rsyslog_gets_each_hit_over_tcp_tls_and_its_socket() {
    if !is_there("rsyslogd") {
        return;
    }
    let env = TestEnv::new();
    certificate(&env);
    let (tcp, tls) = (free_port(), free_port());
    let at = env.path("").display().to_string();
    let config = format!(
        "global(workDirectory=\"{at}\" defaultNetstreamDriverCAFile=\"{at}cert.pem\" defaultNetstreamDriverCertFile=\"{at}cert.pem\" \
         defaultNetstreamDriverKeyFile=\"{at}cert-key.pem\")\n\
         module(load=\"imtcp\" StreamDriver.Name=\"gtls\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"anon\")\n\
         module(load=\"imptcp\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
         template(name=\"all\" type=\"string\" string=\"%inputname% %app-name% %msgid% %structured-data% %msg%\\n\")\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{tls}\")\ninput(type=\"imptcp\" address=\"127.0.0.1\" port=\"{tcp}\")\n\
         input(type=\"imuxsock\" Socket=\"{at}log.sock\" UseSpecialParser=\"off\")\n\
         action(type=\"omfile\" file=\"{at}got\" template=\"all\")\n"
    );
    fs::write(env.path("rsyslog.conf"), config).unwrap();
    let start = || {
        let mut command = env.tool("rsyslogd");
        command.args(["-n", "-iNONE", "-f"]).arg(env.path("rsyslog.conf"));
        let running = env.background(&mut command);
        until("rsyslog listens", || {
            let listen = |port| TcpStream::connect(("127.0.0.1", port)).ok();
            (listen(tcp).is_some() && listen(tls).is_some() && env.path("log.sock").exists()).then_some(())
        });
        running
    };
    let rsyslog = start();
    let outlets = [
        syslog("tcp", &format!("tcp://127.0.0.1:{tcp}")),
        syslog("tls", &format!("tls://127.0.0.1:{tls}")),
        syslog("socket", &format!("unix:{}", env.path("log.sock").display())),
    ];
    let daemon = daemon(&env, &outlets.concat());
    let delivering = deliver(&env);
    ask_for(&env, &["one.d.example", "two.d.example"]);
    let got = |by: &str, name: &str| {
        let text = fs::read_to_string(env.path("got")).unwrap_or_default();
        text.lines().any(|line| {
            line.starts_with(&format!("{by} dnsledger hit [dnsledger@32473 id=\"dnsledger/"))
                && line.contains(name)
        })
    };
    let all = |name: &str| {
        until("rsyslog has it", || {
            ["imptcp", "imtcp", "imuxsock"].iter().all(|by| got(by, name)).then_some(())
        });
    };
    all("one.d.example");
    all("two.d.example");
    rsyslog.stop();
    ask_for(&env, &["three.d.example"]);
    daemon.wait_for_lines(3);
    let rsyslog = start();
    all("three.d.example");
    drop((delivering, rsyslog));
}

#[test]
fn every_hit_arrives_with_its_id_whenever_the_daemon_and_who_delivers_are_killed() {
    let rounds = crate::env::setting("DNSLEDGER_DELIVER_KILLS", 12);
    let env = TestEnv::new();
    let receiver = Receiver::start(Does::Answers(200));
    let mut running = Some(daemon(&env, &outlet("soar", &receiver.url, "per_hour = 0\n")));
    let mut delivering = Some(deliver(&env));
    let wanted = Arc::default();
    let following = follow(env.path("data/listen"), Arc::clone(&wanted));
    let mut state = crate::env::setting("DNSLEDGER_DELIVER_SEED", 7);
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut asked = 0;
    for _ in 0..rounds {
        for _ in 0..1 + random(4) {
            ask_for(&env, &[&format!("h{asked}.d.example")]);
            asked += 1;
            pause(Duration::from_millis(random(30)));
        }
        // Now and then the outlet does something else.
        let does = [Does::Answers(200), Does::Answers(200), Does::Answers(500), Does::Breaks];
        receiver.does(does[random(4) as usize]);
        if random(2) == 0 {
            running.take().unwrap().kill();
            running = Some(env.configured_daemon("dnsledger.toml", "data"));
        } else {
            delivering.take().unwrap().kill();
            delivering = Some(deliver(&env));
        }
    }
    receiver.does(Does::Answers(200));
    at_least(&receiver, asked);
    let hits = running.as_ref().unwrap().json("/api/v1/hits?order=oldest&limit=100000");
    let ledger = hits["ledger"].as_str().unwrap();
    let known: BTreeSet<(String, String)> = hits["hits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| {
            (format!("dnsledger/{ledger}/{}", hit["sequence"]), hit["rrname"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(known.len(), asked);
    let got: BTreeSet<(String, String)> = receiver
        .got()
        .iter()
        .map(|posted| (posted.id(), posted.document()["hit"]["rrname"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(got, known, "each id is of one hit");
    // Who follows the stream, and comes back, has each once.
    *wanted.lock().unwrap() = Some(asked);
    assert_eq!(following.join().unwrap(), (1..=asked as u64).collect::<Vec<_>>());
    // The daemon's own file has each once, in the order of the numbers.
    let in_file = || {
        let text = fs::read_to_string(env.path("data/hits.json")).unwrap_or_default();
        let number = |line: &str| serde_json::from_str::<Value>(line).ok()?["sequence"].as_u64();
        text.lines().map(number).collect::<Option<Vec<u64>>>()
    };
    until("all are in the file", || (in_file()?.len() >= asked).then_some(()));
    assert_eq!(in_file().unwrap(), (1..=asked as u64).collect::<Vec<_>>());
}

/// What a MISP was told, and at which path.
type Sightings = Arc<Mutex<Vec<(String, Value)>>>;

/// A MISP as far as sightings go: it takes each, and knows them by their source. Every third time it breaks off after it has taken one.
fn misp(key: &'static str) -> (String, Sightings) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/misp/", listener.local_addr().unwrap());
    let sightings = Sightings::default();
    let all = Arc::clone(&sightings);
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let mut stream = stream;
            let Some(posted) = read_request(&stream) else { continue };
            let path = posted.head.split(' ').nth(1).unwrap().to_owned();
            let asked = posted.document();
            let (status, said) = if posted.header("authorization") != Some(key) {
                (
                    403,
                    "{\"message\":\"Authentication failed. Please make sure you pass the API key\"}"
                        .to_owned(),
                )
            } else if path.starts_with("/misp/sightings/restsearch") {
                let found: Vec<Value> = all
                    .lock()
                    .unwrap()
                    .iter()
                    .filter(|(_, sighting)| sighting["source"] == asked["source"])
                    .map(|(_, sighting)| serde_json::json!({ "Sighting": sighting }))
                    .collect();
                (200, serde_json::json!({ "response": found }).to_string())
            } else if asked["values"][0] == "nothing.example" {
                (403, "{\"message\":\"No valid attributes found that match the criteria.\"}".to_owned())
            } else {
                all.lock().unwrap().push((path, asked));
                if at % 3 == 1 {
                    continue;
                }
                (200, "{\"message\":\"1 sighting successfuly added.\"}".to_owned())
            };
            let length = said.len();
            let _ = write!(stream, "HTTP/1.1 {status} Well\r\nContent-Length: {length}\r\n\r\n{said}");
        }
    });
    (url, sightings)
}

#[test]
fn a_misp_is_told_of_each_hit_as_one_sighting_whatever_breaks_off() {
    let env = TestEnv::new();
    let (url, sightings) = misp("a-key");
    let outlet =
        format!("[[outlet]]\nname = \"misp\"\nkind = \"misp\"\nto = \"{url}\"\nkey_file = \"misp-key\"\n");
    fs::write(env.path("misp-key"), "wrong\n").unwrap();
    fs::set_permissions(env.path("misp-key"), Permissions::from_mode(0o600)).unwrap();
    let daemon = daemon(&env, &outlet);
    let uuid = "5b582e17-fee8-4d3c-b1a2-5a2f950d210f";
    let attribute = format!(
        "{{\"response\":{{\"Attribute\":[{{\"uuid\":\"{uuid}\",\"type\":\"hostname\",\"value\":\"known.test\",\"to_ids\":true}}]}}}}"
    );
    fs::write(env.path("misp.json"), attribute).unwrap();
    fs::write(env.path("more.txt"), "nothing.example\n").unwrap();
    env.ok(&["indicators", "import", "--data", "data", "--feed", "misp", "misp.json"]);
    env.ok(&["indicators", "import", "--data", "data", "--feed", "more", "more.txt"]);
    let delivering = deliver(&env);
    let names = ["one.d.example", "known.test", "nothing.example", "two.d.example", "three.d.example"];
    for (at, name) in names.iter().enumerate() {
        ask_for(&env, &[name]);
        until("it is met", || (daemon.json("/api/v1/hits")["last"] == at + 1).then_some(()));
    }
    until("it is told why nothing goes out", || {
        let status = daemon.json("/api/v1/status");
        status["delivering"][0]["error"].as_str()?.contains("does not take the key").then_some(())
    });
    assert!(sightings.lock().unwrap().is_empty());
    assert!(delivering.stop().status.success());
    fs::write(env.path("misp-key"), "a-key\n").unwrap();
    let delivering = deliver(&env);
    until("all is settled", || {
        let status = daemon.json("/api/v1/status");
        let told = &status["delivering"][0];
        (told["delivered"] == 4 && told["refused"] == 1 && told["waiting"] == 0).then_some(())
    });
    let got = sightings.lock().unwrap().clone();
    let sources: BTreeSet<&str> =
        got.iter().map(|(_, sighting)| sighting["source"].as_str().unwrap()).collect();
    assert_eq!((got.len(), sources.len()), (4, 4), "each once: {got:?}");
    assert!(
        got.iter().all(|(_, sighting)| sighting["timestamp"] == 1_780_000_000 && sighting["type"] == "0")
    );
    assert!(got.iter().any(|(path, _)| *path == format!("/misp/sightings/add/{uuid}")), "{got:?}");
    assert!(got.iter().any(|(path, one)| path == "/misp/sightings/add" && one["values"][0] == "d.example"));
    drop(delivering);
}

/// Follows the stream of hits of whoever listens for this data folder, and comes back where it breaks off. Gives all numbers in the order in which
/// they came, once there are so many.
pub fn follow(
    listen: std::path::PathBuf,
    wanted: Arc<Mutex<Option<usize>>>,
) -> std::thread::JoinHandle<Vec<u64>> {
    std::thread::spawn(move || {
        let mut numbers: Vec<u64> = Vec::new();
        loop {
            if wanted.lock().unwrap().is_some_and(|wanted| numbers.len() >= wanted) {
                return numbers;
            }
            let Ok(address) = fs::read_to_string(&listen) else { continue };
            let Ok(mut stream) = TcpStream::connect(address.trim()) else {
                pause(Duration::from_millis(2));
                continue;
            };
            // An event is whole when the empty line behind it has come; so a browser takes it.
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let last = numbers.last().copied().unwrap_or(0);
            let request = format!(
                "GET /api/v1/hits/stream HTTP/1.1\r\nHost: {}\r\nLast-Event-ID: {last}\r\n\r\n",
                address.trim()
            );
            if stream.write_all(request.as_bytes()).is_err() {
                continue;
            }
            let (mut events, mut line) = (BufReader::new(stream), String::new());
            let mut id: Option<u64> = None;
            while events.read_line(&mut line).is_ok_and(|read| read > 0) {
                if let Some(text) = line.strip_prefix("id: ") {
                    id = text.trim().parse().ok();
                } else if line == "\n" {
                    numbers.extend(id.take());
                }
                line.clear();
            }
        }
    })
}

/// The time from a line that is written to its hit at a webhook and on the stream. `DNSLEDGER_HIT_LINES` is how many lines, `DNSLEDGER_HIT_P99` the bar in
/// milliseconds, `DNSLEDGER_HIT_LOAD` how many lines come with each.
#[test]
fn a_hit_is_at_the_webhook_and_on_the_stream_within_a_moment_of_its_line() {
    let lines = crate::env::setting("DNSLEDGER_HIT_LINES", 20);
    let bar = crate::env::setting("DNSLEDGER_HIT_P99", 10_000);
    let load = crate::env::setting("DNSLEDGER_HIT_LOAD", 2);
    let env = TestEnv::new();
    let receiver = Receiver::start(Does::Answers(200));
    let daemon = daemon(&env, &outlet("soar", &receiver.url, "per_hour = 0\n"));
    let delivering = deliver(&env);
    ask_for(&env, &["first.d.example"]);
    at_least(&receiver, 1);
    let address = daemon.url("").trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET /api/v1/hits/stream HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut events = BufReader::new(stream);
    let next = |events: &mut BufReader<TcpStream>, start: &str| loop {
        let mut line = String::new();
        assert!(events.read_line(&mut line).unwrap() > 0);
        if line.starts_with(start) {
            return line;
        }
    };
    next(&mut events, ": open");
    let (mut streamed, mut posted) = (Vec::new(), Vec::new());
    for line in 0..lines {
        let name = format!("h{line}.d.example");
        let began = std::time::Instant::now();
        ask_for(&env, &[&name]);
        // Lines that are no hits come with it, as in a log.
        let beside: Vec<String> = (0..load).map(|at| format!("g{at}.x{line}.good.example")).collect();
        ask_for(&env, &beside.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(next(&mut events, "data: ").contains(&name));
        streamed.push(began.elapsed());
        until("it is at the webhook", || {
            (receiver.got.lock().unwrap().len() as u64 >= line + 2).then_some(())
        });
        posted.push(began.elapsed());
        pause(Duration::from_millis(line * 7 % 40));
    }
    for (what, times) in [("stream", &mut streamed), ("webhook", &mut posted)] {
        times.sort();
        let at = |part: usize| times[(times.len() - 1) * part / 100];
        let mut stderr = std::io::stderr();
        writeln!(stderr, "{what}: p50 {:?}, p99 {:?}, last {:?}", at(50), at(99), at(100)).unwrap();
        assert!(at(99) <= Duration::from_millis(bar), "{what}: {:?}", at(99));
    }
    drop(delivering);
}
