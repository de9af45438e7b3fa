//! That what the pages show is what the program does: each command that they print with its answer is run.

use std::fs;
use std::process::Command;

use crate::env::{TestEnv, copy_folder, skipped, until};

/// A command of a page, and what the page shows beneath it.
struct Shown {
    command: String,
    printed: String,
}

/// The blocks of a page (four spaces in) whose first line begins with this.
fn shown(page: &str, prompt: &str) -> Vec<Shown> {
    let text = fs::read_to_string(format!("{}/{page}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut shown: Vec<Shown> = Vec::new();
    let mut within = false;
    for line in text.lines() {
        let Some(line) = line.strip_prefix("    ") else {
            within = false;
            continue;
        };
        if let Some(command) = line.strip_prefix(prompt) {
            shown.push(Shown { command: command.to_owned(), printed: String::new() });
            within = true;
        } else if let Some(last) = shown.last_mut().filter(|_| within) {
            last.printed += line;
            last.printed.push('\n');
        }
    }
    shown
}

/// Runs a line as a shell does; the program is found under its name.
fn sh(env: &TestEnv, line: &str) -> String {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_dnsledger")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    command.args(["-c", line]).current_dir(env.path("")).env("PATH", path).env("HOME", env.path(""));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8(output.stderr).unwrap());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_the_readme_shows_is_what_is_printed() {
    let env = TestEnv::new();
    let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/zeek-tree");
    copy_folder(&sample, &env.path("logs"));
    let daemon = env.daemon("logs", "demo");
    until("the sample is read", || (daemon.json("/api/v1/status")["caught_up"] == true).then_some(()));
    let shown = shown("README.md", "dnsledger lookup ");
    assert!(shown.len() >= 3, "the page shows lookups");
    for Shown { command, printed } in shown {
        assert_eq!(sh(&env, &format!("dnsledger lookup {command}")), printed, "dnsledger lookup {command}");
    }
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn what_the_page_on_the_apis_shows_is_what_is_answered() {
    if !Command::new("curl").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return skipped("curl is not here");
    }
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    let log = "{\"ts\":1767323105.5,\"uid\":\"C1\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\"query\":\"mail.example.com\",\
               \"qclass\":1,\"qtype\":1,\"rcode\":0,\"answers\":[\"192.0.2.25\"],\"TTLs\":[300.0]}\n";
    fs::write(env.path("logs/dns.log"), log).unwrap();
    let daemon = env.daemon("logs", "ledger");
    daemon.wait_for_lines(1);
    let url = daemon.url("");
    let address = url.strip_prefix("http://").unwrap();
    let shown = shown("docs/api.md", "$ ");
    assert!(shown.len() >= 6, "the page shows requests");
    for Shown { command, printed } in shown {
        let answer = sh(&env, &command.replace("curl -s", "curl -sf").replace("localhost:8081", address));
        // The file shows no line that does not end.
        let answer = answer.replace(address, "localhost:8081").trim_end().to_owned();
        assert!(!answer.is_empty(), "{command}");
        assert!(printed.is_empty() || answer == printed.trim_end(), "{command}: {answer}");
    }
}
