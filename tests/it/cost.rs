//! That no text of others costs more than its bytes: what is pasted, lists and feeds are made to be large by who writes them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dnsledger::indicators::{self, Format, Options};
use dnsledger::lookup::{Indicator, List, ListForm};

use crate::env::{TestEnv, setting};

/// What texts are made of that could be looked at again and again.
const PARTS: &[&str] = &[
    "a",
    "a.",
    ".",
    "-",
    "_",
    "(",
    ")",
    "()",
    "[",
    "]",
    "[]",
    "[.]",
    "{",
    "}",
    "<",
    ">",
    "<>",
    "\"",
    "\"\"",
    "'",
    "`",
    "**",
    "~~",
    "*",
    "*.",
    "?",
    "!",
    ",",
    ";",
    ":",
    "::",
    "|",
    "||",
    "/",
    "//",
    "\\",
    "\\\\",
    "\\.",
    "\\n",
    "\\x41",
    "\\u0041",
    "%",
    "%25",
    "%2e",
    "&",
    "&amp;",
    "&#46;",
    "&period;",
    "=",
    "=2E",
    "=\n",
    "=?utf-8?q?a?=",
    "==",
    "@",
    "a@a.example ",
    "#",
    "$",
    "^",
    "+",
    "-> ",
    "=> ",
    " ",
    "\t",
    "\r",
    "\n",
    "\r\n",
    " dot ",
    " . ",
    "(at)",
    "hxxp://",
    "http://a.example/",
    "http://",
    "https://a.example/?u=",
    "https://urldefense.com/v3/__",
    "https://a.example/?url=https%3A%2F%2F",
    "xn--",
    "1.",
    "1",
    "1.1.1.1 ",
    "1.1.1.1-",
    "::1 ",
    "a.example ",
    "a.example,",
    "a.example|",
    "a.example;",
    "a.example\n",
    "a[.]example\n",
    "\u{200b}",
    "\u{e9}",
    "\u{ff0e}",
    "\u{2022}",
    "CVE-2024-1234 ",
    "AS64500 ",
    "d41d8cd98f00b204e9800998ecf8427e ",
    "rdata:",
    "\"a\",",
    "\"a,",
    "a,\"",
    "{\"a\":",
    "[\"a\",",
    "[1,",
    "{\"value\":\"a.example\"},",
    "<td>",
    "</td>",
    "||a.example^",
    "@@||a.example^",
    "address=/a.example/",
    "0.0.0.0 a.example\n",
    "*.a.example CNAME .\n",
    "[domain-name:value = 'a.example'] ",
    "[(",
    "AND ",
    " OR ",
];

/// Before what is repeated.
const STARTS: &[&str] =
    &["", "a.example ", "{\"objects\":[", "[\"", "\"", "[domain-name:value = '", "value,b\n"];

fn repeated(start: &str, part: &str, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + part.len());
    text.push_str(start);
    while text.len() < bytes {
        text.push_str(part);
    }
    text
}

/// How long a processor may be at one of them; what grew with the square took many times that.
const MOST: Duration = Duration::from_millis(450);

/// How long a processor was at this thread.
fn busy() -> Duration {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(said.split(' ').next().unwrap().parse().unwrap())
}

/// Does something with each text, and says which of them took longer than that.
fn each(what: &str, starts: &[&str], mut work: impl FnMut(&str)) {
    let mut slow = Vec::new();
    for start in starts {
        for part in PARTS {
            let text = repeated(start, part, bytes());
            let begun = busy();
            work(&text);
            let took = busy().saturating_sub(begun);
            if took > MOST {
                slow.push(format!("{what}: {start:?} and then {part:?}: {took:?}"));
            }
        }
    }
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

/// A server that answers everything with text that never ends; its address, and how much of the last answer was taken.
fn endless(text: &'static str) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    std::thread::spawn(move || {
        let part = text.repeat((256 << 10) / text.len());
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The head of a request is small: it comes at once.
            drop(stream.read(&mut [0; 4096]));
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"));
            counted.store(0, Ordering::SeqCst);
            while stream.write_all(part.as_bytes()).is_ok() {
                counted.fetch_add(part.len() as u64, Ordering::SeqCst);
            }
        }
    });
    (address, taken)
}

#[test]
fn no_server_is_listened_to_without_end() {
    let env = TestEnv::new();
    std::fs::write(env.path("list"), "a.example\n").unwrap();
    let commands = [
        &["lookup", "a.example"][..],
        // An export is as long as it is, and held nowhere.
        &["status"],
        &["hits"],
        &["hunt", "list"],
        &["new", "--since", "1d"],
        &["feeds"],
        &["evidence", "a.example"],
    ];
    for (turn, text) in ["[[],[],", "{\"a\":", "a", " ", "\0"].into_iter().enumerate() {
        let (server, taken) = endless(text);
        // Each takes tens of megabytes of its server: every other one in turns.
        for command in commands.iter().skip(turn % 2).step_by(2) {
            let args: Vec<&str> = command.iter().copied().chain(["--server", &server]).collect();
            let ended = env.run(&args);
            assert_eq!(ended.status.code(), Some(2), "{text:?}, {command:?}: {}", ended.stderr);
            assert!(!ended.stderr.contains("panicked"), "{text:?}, {command:?}: {}", ended.stderr);
            let taken = taken.load(Ordering::SeqCst);
            assert!(taken < 96 << 20, "{text:?}, {command:?}: {taken} bytes were taken");
        }
    }
}

/// Bytes of each text: `DNSLEDGER_COST_BYTES`.
fn bytes() -> usize {
    setting("DNSLEDGER_COST_BYTES", 4 << 10) as usize
}

#[test]
fn what_is_pasted_costs_no_more_than_its_bytes() {
    each("pasted", STARTS, |text| drop(Indicator::read(text)));
    each("a list", &STARTS[..1], |text| {
        for extract in [false, true] {
            let mut list = List::new(ListForm { column: None, extract });
            text.lines().for_each(|line| drop(list.line(line)));
            list.end();
        }
    });
}

#[test]
fn lists_and_feeds_cost_no_more_than_their_bytes() {
    for format in Format::ALL {
        let options = Options { format: Some(format), ..Options::default() };
        each(format.name(), &STARTS[..1], |text| {
            drop(indicators::read(&mut text.as_bytes(), &options, &mut |_| Ok(())));
        });
    }
    for start in STARTS {
        each("any", &[start], |text| {
            drop(indicators::read(&mut text.as_bytes(), &Options::default(), &mut |_| Ok(())));
        });
    }
}
