//! The program as people and scripts meet it: the real binary, its exit codes, its daemon.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use tempfile::TempDir;

use crate::env::{TestEnv, made_up_log, skipped, until};

/// A small Zeek log folder with archives and a live log.
fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/zeek-tree")
}

/// The program, in an environment that says nothing to it.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dnsledger"));
    command.args(arguments).env_remove("RUST_LOG").env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

/// What it printed, where it must have succeeded without a word on standard error.
fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    // On a busy machine anything may take more than a second, and then says how far it is.
    let is_progress =
        |line: &str| line.split_once(" %, ").is_some_and(|(share, _)| share.parse::<u8>().is_ok());
    let said: Vec<&str> = said.lines().filter(|line| !is_progress(line)).collect();
    assert_eq!((output.status.code(), said.as_slice()), (Some(0), &[][..]), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder for a ledger, which already holds the tree.
fn ledger() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    printed(&["import", "--data", path(&data), path(&tree())]);
    let data = path(&data).to_owned();
    (folder, data)
}

/// A daemon on a port of its own. It is killed when the test is over.
struct Daemon {
    child: Child,
    stderr: BufReader<ChildStderr>,
    address: String,
    data: String,
}

impl Daemon {
    fn start(data: &str, logs: &Path) -> Daemon {
        // Of logs that are not there each answer says so. A test may want that, by a path that can be none.
        drop(fs::create_dir_all(logs));
        Daemon::start_with(&["run", "--data", data, "--logs", path(logs), "--listen", "127.0.0.1:0"], data)
    }

    fn start_with(arguments: &[&str], data: &str) -> Daemon {
        let mut child = program(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("Listening.") {
            assert!(stderr.read_line(&mut said).unwrap() > 0, "the daemon ended: {said}");
        }
        let address = fs::read_to_string(Path::new(data).join("listen")).unwrap().trim().to_owned();
        assert!(said.contains(&address), "{said}");
        Daemon { child, stderr, address, data: data.to_owned() }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn get(&self, target: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address)
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// Asks until everything visible is read. Each question waits for its answer, so this is no busy loop.
    fn catch_up(&self) {
        while !self.get("/api/v1/status").contains("\"caught_up\":true") {}
    }

    fn signal(&self, name: &str) {
        let told = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(told.unwrap().success());
    }

    /// Tells it to stop, and waits until it has; what it said on the way.
    fn stop(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//--- without a daemon -----------------------------------------------------------------------------------------------

#[test]
fn what_is_imported_is_found() {
    let (_folder, data) = ledger();
    let table = printed(&["lookup", "--data", &data, "www.zediye.com.example"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("RRNAME ") && lines[0].ends_with(" SEEN"), "{table}");
    assert!(lines[1].contains("100.122.83.72") && lines[1].ends_with("  alias"), "{table}");
    assert!(!table.contains('\x1b'), "colour is for terminals");
    let json =
        printed(&["lookup", "--data", &data, "--format", "json", "-n", "1", "*.example", "-t", "AAAA"]);
    let row: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((row["rrtype"].as_str(), row["sensor"].as_str()), (Some("AAAA"), Some("default")));
    let csv = printed(&["lookup", "--data", &data, "-f", "csv", "100.122.83.72", "www.zediye.com.example"]);
    assert!(csv.starts_with("rrname,rrtype,rdata,") && csv.lines().count() > 3, "{csv}");
}

#[test]
fn queries_come_from_standard_input_too() {
    let (_folder, data) = ledger();
    let mut child = program(&["lookup", "--data", &data, "-f", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"www.zediye.com.example\n\nnothing.example\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.iter().filter(|&&b| b == b'\n').count()), (Some(0), 2));
}

#[test]
fn many_queries_are_answered_by_a_daemon_as_without_one() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path("logs")).unwrap();
    let log = made_up_log(4000, 5);
    fs::write(env.path("logs/dns.a.log"), log).unwrap();
    env.ok(&["import", "--data", "data", "logs"]);
    let csv = String::from_utf8(env.ok(&["export", "--data", "data", "--format", "csv"])).unwrap();
    let mut queries: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    queries.dedup();
    assert!(queries.len() > 1200, "more than are asked at once: {}", queries.len());
    queries.truncate(1200);
    // Out of order, with more rows than are taken at once, with none, a scan, an address, and one twice.
    queries.reverse();
    queries.splice(3..3, ["*", "nothing.example", "~e", "0.0.0.0/0", "*", "\"odd\".example"]);
    let queries = queries.join("\n") + "\n";
    let asked = |options: &[&str]| {
        let mut command = env.command(&[&["lookup", "--data", "data", "-"], options].concat());
        let ended = env.finish(env.with_input(&mut command, &queries));
        assert!(ended.status.success(), "{}", ended.stderr);
        let said = ended.said();
        (String::from_utf8(ended.stdout).unwrap(), said)
    };
    let options: [&[&str]; 6] = [
        &["-f", "csv"],
        &["-f", "csv", "-n", "1"],
        &["-f", "json", "-n", "100", "--direct"],
        &["-f", "json", "-n", "101", "-t", "A"],
        &["-f", "csv", "-n", "20000"],
        &["-n", "3"],
    ];
    let alone = options.map(asked);
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    for (options, alone) in options.iter().zip(alone) {
        assert!(asked(options) == alone, "{options:?}");
    }
    // A line that is no query is reported, and the others are answered.
    let mut command = env.command(&["lookup", "--data", "data", "-"]);
    let refused = env.finish(env.with_input(&mut command, "a.example\n/(/\n"));
    assert_eq!(refused.status.code(), Some(3), "{}", refused.stderr);
}

#[test]
fn the_same_logs_again_change_nothing() {
    let (_folder, data) = ledger();
    let before = printed(&["export", "--data", &data]);
    let again = printed(&["import", "--data", &data, path(&tree())]);
    assert!(again.contains("0 new lines"), "{again}");
    assert_eq!(printed(&["export", "--data", &data]), before);
    let status: serde_json::Value =
        serde_json::from_str(&printed(&["status", "--data", &data, "-f", "json"])).unwrap();
    let totals = &status["totals"];
    assert_eq!(totals["lines_read"], 655);
    assert!(printed(&["status", "--data", &data]).contains("655 lines = "));
}

#[test]
fn an_export_is_the_same_on_every_way_out() {
    let (folder, data) = ledger();
    let lines = printed(&["export", "--data", &data]);
    for line in lines.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(object["rdata"].is_array() && object["sensor_id"] == "default", "{line}");
    }
    let file = folder.path().join("ledger.json");
    assert_eq!(printed(&["export", "--data", &data, "--output", path(&file)]), "");
    assert_eq!(fs::read_to_string(&file).unwrap(), lines);
    let csv = printed(&["export", "--data", &data, "--format", "csv"]);
    assert_eq!(csv.lines().count(), lines.lines().count() + 1);
    let direct = printed(&["export", "--data", &data, "--direct", "--type", "A"]);
    assert!(direct.lines().count() < lines.lines().count() && !direct.contains("\"direct\":false"));
    assert_eq!(run(&["export", "--data", &data, "--output", "/nonexistent/x"]).status.code(), Some(2));
}

#[test]
fn a_closed_pipe_is_success() {
    let (_folder, data) = ledger();
    for arguments in [&["export"] as &[_], &["lookup", "*"], &["status", "--all"], &["config"]] {
        let mut arguments = arguments.to_vec();
        if arguments != ["config"] {
            arguments.extend(["--data", &data]);
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program(&arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_failure_is_one_line_and_what_to_try() {
    let (folder, data) = ledger();
    let nothing = folder.path().join("nothing");
    let nothing = path(&nothing);
    let bad_config = folder.path().join("bad.toml");
    fs::write(&bad_config, "[http]\nmax_scan = 1\n").unwrap();
    for (arguments, code, says, hint) in [
        (
            vec!["lookup", "--data", &data, "x", "--local", "-f", "csv"],
            64,
            "--local is for tables",
            Some("leave out"),
        ),
        (
            vec!["lookup", "--data", &data, "nothing.example"],
            1,
            "Nothing found for nothing.example: never asked.",
            None,
        ),
        (vec!["lookup", "--data", &data, "a..b"], 64, "character 3 of \"a..b\"", Some("*.name")),
        (
            vec!["lookup", "--data", &data, "x", "--type", "BOGUS"],
            64,
            "--type: not a record type",
            Some("AAAA"),
        ),
        (
            vec!["lookup", "--data", &data, "x", "--last-after", "soon"],
            64,
            "--last-after: not a time",
            Some("7d"),
        ),
        (vec!["lookup", "--data", nothing, "x"], 64, "there is no ledger in", Some("--data")),
        (vec!["lookup", "--server", "ftp://x", "x"], 64, "is not a server", Some("http://")),
        (vec!["lookup", "--server", "http://127.0.0.1:1", "x"], 2, "cannot reach", Some("dnsledger run")),
        (vec!["import", "--data", &data, nothing], 2, "No such file", Some("check the path")),
        (vec!["import", "--data", "/dev/null/x", &data], 2, "/dev/null/x", None),
        (
            vec!["config", "--check", path(&bad_config)],
            64,
            "bad.toml:2: unknown key http.max_scan",
            Some("http.max_scans"),
        ),
        (vec!["config", "--check", nothing], 64, "nothing", Some("check the path")),
        (
            vec!["run", "--data", &data, "--logs", "/x", "--listen", "0.0.0.0:1"],
            64,
            "loopback",
            Some("dnsledger token new"),
        ),
    ] {
        let output = run(&arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        let mut lines = said.lines().filter(|line| !line.starts_with("No daemon follows logs into"));
        assert!(lines.next().unwrap_or_default().contains(says), "{arguments:?}: {said}");
        match hint {
            Some(hint) => {
                let line = lines.next().unwrap_or_default();
                assert!(line.starts_with("try: ") && line.contains(hint), "{arguments:?}: {said}");
            }
            None => {
                assert!(lines.next().is_none_or(|line| line.starts_with("try: ")), "{arguments:?}: {said}");
            }
        }
        assert_eq!(lines.next(), None, "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    assert!(!Path::new(nothing).exists(), "asking makes no ledger");
}

#[test]
fn wrong_usage_is_64_and_help_is_0() {
    for arguments in
        [&["frobnicate"] as &[_], &[], &["lookup"], &["lookup", "x", "--limit", "0"], &["import"]]
    {
        assert_eq!(run(arguments).status.code(), Some(64), "{arguments:?}");
    }
    for arguments in [&["--help"] as &[_], &["--version"], &["lookup", "--help"], &["help", "run"]] {
        assert_eq!(run(arguments).status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn the_configuration_that_is_printed_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    fs::write(&file, "data_dir = \"x\"\n[[source]]\nlogs = \"logs\"\nbackfill = \"30d\"\n").unwrap();
    let shown = printed(&["config", path(&file)]);
    assert!(shown.contains(&format!("data_dir = \"{}/x\"", folder.path().display())), "{shown}");
    assert!(shown.contains("backfill = \"30d\""), "{shown}");
    let again = folder.path().join("b.toml");
    fs::write(&again, &shown).unwrap();
    assert_eq!(printed(&["config", path(&again)]), shown);
    assert_eq!(printed(&["config", "--check", path(&again)]), "");
}

#[test]
fn a_token_is_made_listed_and_revoked() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    let config = folder.path().join("dnsledger.toml");
    fs::write(&config, "[http]\ntokens_file = \"tokens\"\n").unwrap();
    let token = |arguments: &[&str]| {
        let output = run(&[&["token"], arguments, &["--config", path(&config)]].concat());
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), out, err)
    };
    let (code, secret, said) = token(&["new", "misp"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        secret.starts_with("dnl_") && secret.trim().len() == 47 && !said.contains(secret.trim()),
        "{said}"
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o007, 0);
    assert!(!fs::read_to_string(&file).unwrap().contains(&secret.trim()[4..]));
    assert_eq!(token(&["new", "ops", "--scope", "admin"]).0, Some(0));
    let (code, _, said) = token(&["new", "misp"]);
    assert!(code == Some(64) && said.contains("already"), "{said}");
    assert_eq!(token(&["new", "a b"]).0, Some(64));
    let (_, listed, _) = token(&["list"]);
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split("  20").next()).collect();
    assert_eq!(names, ["misp  read", "ops  admin"]);
    assert_eq!(token(&["revoke", "misp"]).0, Some(0));
    assert_eq!(token(&["revoke", "misp"]).0, Some(1));
    assert_eq!(token(&["list"]).1.lines().count(), 1);
    let output = run(&["token", "new", "x"]);
    assert_eq!(output.status.code(), Some(64), "without a file there is nowhere to keep it");
}

#[test]
fn a_daemon_with_tokens_takes_new_ones_at_a_signal_and_says_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    let config = folder.path().join("dnsledger.toml");
    let text = "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\ntokens_file = \"tokens\"\naudit = true\n\
                [[source]]\nlogs = \"no-logs-yet\"\n";
    fs::write(&config, text).unwrap();
    let missing = run(&["run", "--config", path(&config)]);
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(missing.status.code() == Some(64) && said.contains("dnsledger token new"), "{said}");
    let new = |name: &str| {
        let output = run(&["token", "new", name, "--config", path(&config)]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let first = new("first");
    let daemon = Daemon::start_with(&["run", "--config", path(&config)], path(&folder.path().join("data")));
    let token_file = folder.path().join("mine");
    fs::write(&token_file, format!("{first}\n")).unwrap();
    let url = daemon.url();
    let lookup = ["lookup", "--server", &url, "--token-file", path(&token_file), "nothing.example"];
    assert_eq!(run(&lookup).status.code(), Some(1));
    let second = new("second");
    fs::write(&token_file, &second).unwrap();
    assert_eq!(run(&lookup).status.code(), Some(2));
    daemon.signal("HUP");
    while run(&lookup).status.code() != Some(1) {}
    fs::write(&file, "broken\n").unwrap();
    daemon.signal("HUP");
    let (code, said) = daemon.stop();
    assert_eq!(code, Some(0), "{said}");
    for secret in [&first, &second] {
        assert!(!said.contains(&secret[..12]), "{said}");
    }
    assert!(said.contains("Asked.") && said.contains("second") && said.contains("nothing.example"), "{said}");
}

#[test]
fn the_server_and_its_token_may_be_told_once_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let (config, home) = (folder.path().join("dnsledger.toml"), folder.path().join("home"));
    let text = "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\ntokens_file = \"tokens\"\n\
                [[source]]\nlogs = \"no-logs-yet\"\n";
    fs::write(&config, text).unwrap();
    let token = run(&["token", "new", "mine", "--config", path(&config)]).stdout;
    let daemon = Daemon::start_with(&["run", "--config", path(&config)], path(&folder.path().join("data")));
    let server = daemon.url().replace("http://", "");
    fs::create_dir_all(home.join("dnsledger")).unwrap();
    fs::write(home.join("dnsledger/token"), token).unwrap();
    let ask = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = program(arguments);
        command.env("XDG_CONFIG_HOME", &home).envs(variables.iter().copied());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let lookup = ["lookup", "nothing.example"];
    // From the environment, with an address that is no URL, and without the token.
    let (code, said) = ask(&lookup, &[("DNSLEDGER_SERVER", &server)]);
    assert!(code == Some(2) && said.contains("--token-file") && said.contains("client.toml"), "{said}");
    let token_file = home.join("dnsledger/token");
    let with_token = [("DNSLEDGER_SERVER", &*server), ("DNSLEDGER_TOKEN_FILE", path(&token_file))];
    assert_eq!(
        ask(&lookup, &with_token),
        ask(&[&lookup[..], &["--server", &server, "--token-file", path(&token_file)]].concat(), &[])
    );
    assert_eq!(ask(&lookup, &with_token).0, Some(1));
    // From the user's file, where paths are beside it.
    let file = home.join("dnsledger/client.toml");
    fs::write(&file, format!("server = \"{server}\"\ntoken_file = \"token\"\n")).unwrap();
    assert_eq!(ask(&lookup, &[]).0, Some(1));
    // What is typed goes first: here there is no ledger.
    let empty = folder.path().join("empty");
    let (code, said) = ask(&["lookup", "--data", path(&empty), "nothing.example"], &[]);
    assert!(code == Some(64) && said.contains("there is no ledger"), "{said}");
    fs::write(&file, "servr = \"x\"\n").unwrap();
    let (code, said) = ask(&lookup, &[]);
    assert!(code == Some(2) && said.contains("client.toml") && said.contains("servr"), "{said}");
}

/// Runs the program as a user who may not enter the folder `closed`: another one if this is root, else with the folder closed to all.
fn run_as_a_stranger(arguments: &[&str], copy: &Path, closed: &Path) -> Output {
    let mut command = program(arguments);
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        // By another process: a program cannot be run while somebody has it open to write, and a child that another test begins
        // just now would inherit that.
        let install =
            Command::new("install").args(["-m", "755", env!("CARGO_BIN_EXE_dnsledger")]).arg(copy).status();
        assert!(install.unwrap().success());
        command = Command::new(copy);
        command.args(arguments).env_clear().current_dir("/").stdin(Stdio::null()).uid(65_534);
    } else {
        fs::set_permissions(closed, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let output = command.output().unwrap();
    fs::set_permissions(closed, fs::Permissions::from_mode(0o700)).unwrap();
    output
}

#[test]
fn who_may_not_open_the_folder_of_a_configuration_asks_the_address_in_it() {
    let (folder, data) = ledger();
    let daemon = Daemon::start(&data, &folder.path().join("no-logs-yet"));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let config = folder.path().join("dnsledger.toml");
    let address = daemon.url().replace("http://", "");
    fs::write(&config, format!("data_dir = \"{data}\"\n[http]\nlisten = \"{address}\"\n")).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let (copy, closed) = (folder.path().join("dnsledger"), Path::new(&data));
    let name = "www.zediye.com.example";
    let asked = run_as_a_stranger(&["lookup", "--config", path(&config), name], &copy, closed);
    assert_eq!((asked.status.code(), &*asked.stderr), (Some(0), &b""[..]));
    assert_eq!(asked.stdout, run(&["lookup", "--data", &data, name]).stdout);
    // A folder that is named is meant, and nothing else.
    let asked = run_as_a_stranger(&["lookup", "--data", &data, name], &copy, closed);
    let said = String::from_utf8(asked.stderr).unwrap();
    assert!(asked.status.code() == Some(2) && said.contains("ermission denied"), "{said}");
}

//--- with a daemon --------------------------------------------------------------------------------------------------

#[test]
fn commands_ask_the_daemon_that_has_the_ledger() {
    let (folder, data) = ledger();
    let alone = [
        printed(&["export", "--data", &data]),
        printed(&["lookup", "--data", &data, "*.example", "-t", "CNAME"]),
        printed(&["lookup", "--data", &data, "~cdn", "-f", "json", "--limit", "3"]),
    ];
    let daemon = Daemon::start(&data, &folder.path().join("no-logs-yet"));
    let beside = [
        printed(&["export", "--data", &data]),
        printed(&["lookup", "--data", &data, "*.example", "-t", "CNAME"]),
        printed(&["lookup", "--data", &data, "~cdn", "-f", "json", "--limit", "3"]),
    ];
    assert_eq!(alone, beside);
    let url = daemon.url();
    let far = [
        printed(&["export", "--server", &url]),
        printed(&["lookup", "--server", &url, "*.example", "-t", "CNAME"]),
        printed(&["lookup", "--server", &url, "~cdn", "-f", "json", "--limit", "3"]),
    ];
    assert_eq!(alone, far);
    assert!(printed(&["status", "--data", &data]).contains("running"));
    assert_eq!(run(&["lookup", "--data", &data, "nothing.example"]).status.code(), Some(1));
    assert_eq!(run(&["lookup", "--server", &url, "nothing.example"]).status.code(), Some(1));
}

#[test]
fn a_daemon_reads_what_it_is_sent_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let daemon = Daemon::start(path(&data), &folder.path().join("no-logs-yet"));
    let first = printed(&["import", "--data", &daemon.data, path(&tree())]);
    assert!(first.starts_with("4 files (6") && first.contains("655 new lines"), "{first}");
    let again = printed(&["import", "--data", &daemon.data, path(&tree())]);
    assert!(again.contains("4 of them without anything new") && again.contains("\n0 new lines"), "{again}");
    let mut child = program(&["import", "--data", &daemon.data, "--sensor", "dmz", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = "{\"ts\":1767323045.5,\"uid\":\"C1\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\"query\":\"a.test\",\
                \"qclass\":1,\"qtype\":1,\"qtype_name\":\"A\",\"rcode\":0,\"answers\":[\"192.0.2.1\"],\"TTLs\":[60.0]}\n";
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(printed(&["lookup", "--data", &daemon.data, "a.test"]).contains("  dmz"));
    let (_other, alone) = ledger();
    let own = printed(&["export", "--data", &daemon.data, "--sensor", "default"]);
    assert_eq!(own, printed(&["export", "--data", &alone]));
    let missing = folder.path().join("missing.log");
    assert_eq!(run(&["import", "--data", &daemon.data, path(&missing)]).status.code(), Some(2));
}

#[test]
fn a_daemon_follows_and_stops_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let daemon = Daemon::start(path(&data), &tree());
    daemon.catch_up();
    assert!(daemon.get("/dns/www.zediye.com.example").contains("100.122.83.72"));
    let (code, said) = daemon.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Stopped.") && !said.contains("WARN"), "{said}");
    for gone in ["listen", "control.sock"] {
        assert!(!data.join(gone).exists(), "{gone}");
    }
    let (_other, alone) = ledger();
    assert_eq!(printed(&["export", "--data", path(&data)]), printed(&["export", "--data", &alone]));
}

#[test]
fn the_metrics_are_those_on_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let daemon = Daemon::start(path(&data), &tree());
    daemon.catch_up();
    let answer = daemon.get("/metrics");
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.to_lowercase().contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(text.trim_end().ends_with("# EOF"), "{text}");
    let mut shown = std::collections::BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let ending = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        assert!(shown.insert(format!("{name}{ending}")), "{name} is there twice");
    }
    let documented = crate::project::documented_metrics();
    let missing: Vec<_> = shown.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not list {missing:?}");
    // Some are there only where there is something to be said.
    let parts = ["_source_", "_names_a_day", "_feed_", "_forward_", "_fleet_", "_deliver_"];
    let not_always = |name: &&String| parts.iter().any(|part| name.contains(part));
    let extra: Vec<_> = documented.difference(&shown).filter(|name| !not_always(name)).collect();
    assert!(extra.is_empty(), "docs/metrics.md lists what is not there: {extra:?}");
    let value = |start: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(start));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    assert_eq!(value("dnsledger_lines_total"), 655.0, "{text}");
    assert_eq!(value("dnsledger_source_up"), 1.0, "{text}");
    assert_eq!(value("dnsledger_caught_up"), 1.0, "{text}");
    assert!(value("dnsledger_http_requests_total{endpoint=\"api\",status=\"200\"}") >= 1.0, "{text}");
}

#[test]
fn systemd_is_told_that_the_daemon_is_ready_alive_and_stopping() {
    use std::os::unix::net::UnixDatagram;
    let folder = tempfile::tempdir().unwrap();
    let (data, socket) = (folder.path().join("data"), folder.path().join("notify"));
    let systemd = UnixDatagram::bind(&socket).unwrap();
    let logs = folder.path().join("no-logs-yet");
    let mut child =
        program(&["run", "--data", path(&data), "--logs", path(&logs), "--listen", "127.0.0.1:0"])
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "50000")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
    systemd.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let hears = |word: &str| {
        let mut buffer = [0; 512];
        loop {
            let n = systemd.recv(&mut buffer).unwrap_or_else(|error| panic!("{word}: {error}"));
            if std::str::from_utf8(&buffer[..n]).unwrap().lines().any(|line| line == word) {
                return;
            }
        }
    };
    hears("READY=1");
    hears("WATCHDOG=1");
    hears("WATCHDOG=1");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    hears("STOPPING=1");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// What glibc's allocator was told when a process started.
fn told(pid: u32) -> Vec<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let variables =
        environment.split(|&byte| byte == 0).map(|text| String::from_utf8(text.to_vec()).unwrap());
    let mut told: Vec<_> = variables.filter(|text| text.starts_with("MALLOC_")).collect();
    told.sort();
    told
}

#[test]
fn an_import_tells_its_allocator_to_keep_less() {
    let env = TestEnv::new();
    let mut import = env.command(&["import", "--data", "data", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    until("it has opened the ledger", || env.path("data/lock").exists().then_some(()));
    assert_eq!(told(import.id()), ["MALLOC_ARENA_MAX=2"]);
    drop(import.stdin.take());
    assert_eq!(import.wait().unwrap().code(), Some(0));
}

#[test]
fn the_daemon_tells_its_allocator_to_keep_less_unless_it_was_told() {
    let mut env = TestEnv::new();
    let daemon = env.daemon("logs", "data");
    assert_eq!(told(daemon.pid()), ["MALLOC_ARENA_MAX=2", "MALLOC_MMAP_THRESHOLD_=131072"]);
    assert_eq!(daemon.stop().status.code(), Some(0));
    env.set("MALLOC_ARENA_MAX", "7");
    assert_eq!(
        told(env.daemon("logs", "data").pid()),
        ["MALLOC_ARENA_MAX=7", "MALLOC_MMAP_THRESHOLD_=131072"]
    );
}

#[test]
fn the_doctor_names_what_is_wrong_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let doctor = |logs: &Path, config: &str| {
        let file = folder.path().join("dnsledger.toml");
        fs::write(&file, config).unwrap();
        let output = run(&["doctor", "--config", path(&file), "--data", path(&data), "--logs", path(logs)]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let free = "[http]\nlisten = \"127.0.0.1:0\"\n";
    let (code, said) = doctor(&tree(), free);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 live, 3 archived") && said.contains("is TSV, with its header"), "{said}");
    let (code, said) = doctor(&folder.path().join("none"), free);
    assert!(code == Some(0) && said.contains("warn  source") && said.contains("is not there"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, said) = doctor(&tree(), &format!("[http]\nlisten = \"{}\"\n", taken.local_addr().unwrap()));
    assert!(
        code == Some(2) && said.contains("FAIL  port") && said.contains("try: another program"),
        "{said}"
    );
    let (code, said) = doctor(&tree(), &format!("{free}tokens_file = \"tokens\"\n"));
    assert!(code == Some(2) && said.contains("FAIL  tokens") && said.contains("token new"), "{said}");
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    fs::write(logs.join("dns.log"), "#separator \\x09\n#path\tdns\n#fields\tts\tuid\n").unwrap();
    let (code, said) = doctor(&logs, free);
    assert!(code == Some(2) && said.contains("no columns of answers"), "{said}");
    assert!(!data.exists(), "a doctor makes nothing");
}

/// What `doctor` says fails, where something must.
fn failing(doctor: &mut Command) -> String {
    let output = doctor.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let (mut failing, mut lines) = (String::new(), said.lines().peekable());
    while let Some(line) = lines.next() {
        if line.starts_with("FAIL") {
            let advice = lines.peek().unwrap_or(&"");
            assert!(advice.trim_start().starts_with("try: "), "no advice: {said}");
            failing += line;
            failing.push('\n');
        }
    }
    failing
}

#[test]
fn the_doctor_fails_for_a_ledger_that_is_gone_or_in_a_folder_that_is_closed() {
    let (folder, data) = ledger();
    let config = folder.path().join("dnsledger.toml");
    fs::write(&config, "[http]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let doctor = || {
        let tree = tree();
        program(&["doctor", "--config", path(&config), "--data", &data, "--logs", path(&tree)])
    };
    assert_eq!(doctor().status().unwrap().code(), Some(0));
    // Its owner may not write to it; root is asked about its owner.
    let (kept, closed) = (Path::new(&data), fs::Permissions::from_mode(0o500));
    fs::set_permissions(kept, closed).unwrap();
    if std::os::unix::fs::chown(kept, Some(4242), None).is_ok() {
        assert!(failing(&mut doctor()).contains("uid 4242 may not write in"));
    } else {
        assert!(failing(&mut doctor()).contains("may not write in"));
    }
    fs::set_permissions(kept, fs::Permissions::from_mode(0o700)).unwrap();
    drop(std::os::unix::fs::chown(kept, Some(0), None));
    let ledger = kept.join("ledger-1");
    fs::rename(&ledger, kept.join("ledger-7")).unwrap();
    let said = failing(&mut doctor());
    assert!(said.contains("ledger-1") && said.contains("there is a ledger-7"), "{said}");
}

#[test]
fn the_doctor_fails_for_a_certificate_that_ends_soon() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(
        at("dnsledger.toml"),
        "[http]\nlisten = \"127.0.0.1:0\"\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n",
    )
    .unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(at("key.pem"), key.serialize_pem()).unwrap();
    let (config, data, tree) = (at("dnsledger.toml"), at("data"), tree());
    let doctor = |hours: i64| {
        let mut made = rcgen::CertificateParams::new(["ledger.example".to_owned()]).unwrap();
        let ends = std::time::SystemTime::now() + std::time::Duration::from_secs(hours.unsigned_abs() * 3600);
        made.not_after = if hours < 0 { rcgen::date_time_ymd(2020, 1, 1) } else { ends.into() };
        fs::write(at("cert.pem"), made.self_signed(&key).unwrap().pem()).unwrap();
        program(&["doctor", "--config", path(&config), "--data", path(&data), "--logs", path(&tree)])
    };
    assert_eq!(doctor(24 * 40).status().unwrap().code(), Some(0));
    assert!(failing(&mut doctor(24 * 5 + 1)).contains("the certificate ends in 5 days"));
    assert!(failing(&mut doctor(-1)).contains("the certificate ended on 2020-01-01"));
}

#[test]
fn the_doctor_fails_where_no_watch_and_no_instance_of_inotify_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dnsledger.toml");
    fs::write(&config, "[http]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    for (limit, says) in
        [("watches", "no inotify watch is left"), ("instances", "no inotify instance is left")]
    {
        // In a user namespace of its own the limit is no one else's.
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c"]);
        command
            .arg(format!("echo 0 > /proc/sys/user/max_inotify_{limit} && echo set && exec \"$@\""))
            .arg("sh");
        command.arg(env!("CARGO_BIN_EXE_dnsledger")).args(["doctor", "--config", path(&config), "--data"]);
        command.arg(folder.path().join("data")).arg("--logs").arg(tree());
        let output = command.output();
        let said = output.map(|output| String::from_utf8(output.stdout).unwrap()).unwrap_or_default();
        if !said.starts_with("set\n") {
            return skipped("no user namespace can be made here");
        }
        let planted = said.lines().find(|line| line.starts_with("FAIL")).unwrap_or(&said);
        assert!(planted.contains(says), "{said}");
    }
}

#[test]
fn papers_are_made_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    assert!(printed(&["man"]).contains(".TH dnsledger 1"));
    assert_eq!(printed(&["man", "--output", path(folder.path())]), "");
    for page in ["dnsledger.1", "dnsledger-run.1", "dnsledger-token-new.1"] {
        let text = fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    for (page, says) in [("dnsledger.toml.5", "max_disk"), ("dnsledger-query.7", "rdata:")] {
        let text = fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(".SH \"SEE ALSO\"") && text.contains(says), "{text}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(printed(&["completions", shell]).contains("dnsledger"), "{shell}");
    }
    let version = printed(&["--version"]);
    assert!(version.contains("commit ") && version.contains("format 3"), "{version}");
}

#[test]
fn the_socket_of_a_dead_daemon_is_nobody() {
    let (folder, data) = ledger();
    let before = printed(&["export", "--data", &data]);
    Daemon::start(&data, &folder.path().join("no-logs-yet")).kill();
    let socket = Path::new(&data).join("control.sock");
    assert!(socket.exists());
    assert_eq!(printed(&["export", "--data", &data]), before);
    let daemon = Daemon::start(&data, &folder.path().join("no-logs-yet"));
    assert_eq!(printed(&["export", "--data", &data]), before);
    drop(daemon);
}

#[test]
fn a_second_daemon_is_kept_out() {
    let (folder, data) = ledger();
    let daemon = Daemon::start(&data, &folder.path().join("no-logs-yet"));
    let logs = folder.path().join("logs");
    let taken = run(&["run", "--data", &data, "--logs", path(&logs), "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8(taken.stderr).unwrap();
    assert_eq!(taken.status.code(), Some(2), "{said}");
    assert!(said.contains("in use by another process") && said.contains("\ntry: "), "{said}");
    let other = folder.path().join("other");
    let port = run(&["run", "--data", path(&other), "--logs", path(&logs), "--listen", &daemon.address]);
    let said = String::from_utf8(port.stderr).unwrap();
    assert_eq!(port.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot listen on") && said.contains("--listen"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(!other.exists(), "nothing is made for a daemon that cannot start");
    assert!(daemon.get("/healthz").contains("ok"));
}

#[test]
fn only_the_owner_can_open_the_control_socket() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _daemon = Daemon::start(path(&data), &folder.path().join("no-logs-yet"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data.join("control.sock")), 0o600);
    assert_eq!(mode(&data), 0o700);
}

#[test]
fn who_finds_nothing_hears_which_logs_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // What is below a file can never be looked at.
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let daemon = Daemon::start(path(&data), &file.join("logs"));
    while !printed(&["status", "--data", path(&data)]).contains("failing") {}
    let output = run(&["lookup", "--data", path(&data), "nothing.example"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("Nothing found for nothing.example: never asked.\nNot all logs are read. "),
        "{said}"
    );
    assert!(said.contains("/file/logs is not read: Not a directory"), "{said}");
    daemon.stop();
}

/// Answers each request with the same, as a server that means no good.
fn hostile_server(answers: Vec<(&'static str, Vec<u8>)>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = String::new();
            let _ = BufReader::new(&stream).read_line(&mut request);
            let answer =
                answers.iter().find(|(path, _)| request.contains(path)).map(|(_, body)| body.as_slice());
            let body = answer.unwrap_or_default();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            // Read what is left of the request, so that the answer is not lost with a reset.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    url
}

#[test]
fn a_server_that_hangs_or_answers_by_the_byte_is_an_error_and_no_empty_answer() {
    /// What a server says at once, and whether it goes on by the byte.
    fn server(begin: &'static str, by_the_byte: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(begin.as_bytes());
                    while by_the_byte && stream.write_all(b" ").is_ok() {
                        std::thread::park_timeout(std::time::Duration::from_millis(5));
                    }
                    let _ = stream.read_to_end(&mut Vec::new());
                });
            }
        });
        url
    }
    let hangs = server("", false);
    let head = server("HTTP/1.1 200 OK\r\nX-A: ", true);
    let body = server("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"hits\":[", true);
    let list = tempfile::NamedTempFile::new().unwrap();
    fs::write(list.path(), "a.example\n").unwrap();
    let list = list.path().to_str().unwrap();
    let commands = [
        &["lookup", "a.example"][..],
        &["lookup", "--file", list],
        &["lookup", "--summary", "--file", list],
        &["status"],
        &["hits"],
        &["hits", "--follow"],
        &["new"],
        &["export"],
        &["hunt", list],
        &["evidence", "a.example"],
    ];
    let ends = |command: &[&str], url: &str, says: &str| {
        let output = run(&[command, &["--server", url, "--timeout", "100ms"]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
        assert!(said.contains(says), "{command:?}: {said}");
        let told = output.stdout.iter().filter(|byte| **byte == b'\n').count();
        assert!(told <= 1, "no more than titles: {command:?}");
    };
    for command in commands {
        ends(command, &hangs, "said nothing for ");
        ends(command, &head, "said nothing for ");
    }
    for command in [&["lookup", "a.example"][..], &["status"], &["hits"], &["new"]] {
        ends(command, &body, "comes too slowly");
    }
}

#[test]
fn what_another_server_sends_reaches_no_terminal_as_it_is() {
    let row = |name: &str, rdata: &str, sensor: &str| {
        let row = serde_json::json!({
            "rrname": name, "rrtype": "A\u{9b}2J", "rdata": rdata, "count": 1, "time_first": 1, "time_last": u64::MAX, "ttl": 1,
            "direct": true, "alias": false, "sensor": sensor, "days": 1,
        });
        format!("{row}\n")
    };
    let records = [
        row("\x1b]0;title\x07\u{202e}", "=cmd()|' /c calc'!a;=1", "\x1b[31m\n"),
        row("x", &format!("\"{}\"", "y".repeat(65_535)), &"s".repeat(100_000)),
        r#"{"next":null}"#.to_owned(),
    ]
    .concat();
    let status = serde_json::json!({
        "caught_up": true, "as_of": "\x1b[2J\u{202e}",
        "sources": [{"logs": "\x1b[2J", "sensor": "\u{9b}", "state": "failing\r", "reason": "\x07".repeat(100_000)}],
    });
    let looping = r#"{"next":"again"}"#;
    let url = hostile_server(vec![
        ("q=loop", looping.as_bytes().to_vec()),
        ("q=long", vec![b'x'; 17 << 20]),
        ("/api/v1/records", records.into_bytes()),
        ("/api/v1/status", status.to_string().into_bytes()),
    ]);
    let is_plain = |text: &[u8]| text.iter().all(|byte| matches!(byte, b'\n' | 0x20..=0x7e));
    for arguments in [
        &["lookup", "--server", &url, "a.example"][..],
        &["lookup", "--server", &url, "--format", "csv", "a.example"],
        &["lookup", "--server", &url, "--format", "json", "a.example"],
        &["status", "--server", &url],
        &["status", "--server", &url, "--format", "json"],
    ] {
        let output = run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(!output.stdout.is_empty() && is_plain(&output.stdout), "{arguments:?}");
        assert!(output.stdout.len() < 1 << 20, "{arguments:?}: {}", output.stdout.len());
        if arguments.contains(&"csv") {
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains(",\"'=cmd()|' /c calc'!a\\059=1\","), "{text}");
        }
    }
    for (query, why) in [("loop", "the same page again and again"), ("long", "a line of it is too long")] {
        let output = run(&["lookup", "--server", &url, query]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(why), "{query}: {said}");
    }
}

#[test]
fn a_sensor_without_a_proper_name_is_refused_wherever_it_comes_in() {
    let folder = tempfile::tempdir().unwrap();
    let data = path(&folder.path().join("data")).to_owned();
    let long = "s".repeat(129);
    for name in ["", "a\nb", "\x1b[2J", "\u{202e}x", &long] {
        let output = run(&["import", "--data", &data, "--sensor", name, path(&tree())]);
        assert_eq!(output.status.code(), Some(64), "{name:?}");
        let config = folder.path().join("c.toml");
        let quoted = serde_json::to_string(name).unwrap();
        fs::write(&config, format!("[[source]]\nlogs = \"/x\"\nsensor = {quoted}\n")).unwrap();
        let output = run(&["config", "--check", path(&config)]);
        assert_eq!(output.status.code(), Some(64), "{name:?}");
    }
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let daemon = Daemon::start(&data, &logs);
    for name in ["", "a%0Ab", "%1b%5b2J", "%E2%80%AEx", &long] {
        let status = crate::env::post_control(
            Path::new(&daemon.data),
            &format!("/control/import?name=x&sensor={name}"),
        );
        assert_eq!(status, 400, "{name:?}");
    }
}

/// Root may run any command beside a daemon that has a user of its own, which must be able to read and write all of it afterwards.
#[test]
fn what_root_makes_in_a_data_folder_of_another_user_is_that_users() {
    use std::os::unix::fs::{MetadataExt, chown, symlink};
    const USER: u32 = 12_345;
    let env = TestEnv::new();
    fs::create_dir(env.path("ledger")).unwrap();
    if chown(env.path("ledger"), Some(USER), Some(USER)).is_err() {
        return skipped("only root gives files away");
    }
    fs::write(env.path("dns.log"), made_up_log(100, 1)).unwrap();
    fs::write(env.path("list"), "evil.example\n").unwrap();
    fs::write(env.path("roots"), "x").unwrap();
    env.ok(&["import", "--data", "ledger", "dns.log"]);
    env.ok(&["indicators", "import", "--data", "ledger", "--feed", "bad", "list"]);
    let all = || {
        let mut all = vec![env.path("ledger")];
        let mut at = 0;
        while let Some(path) = all.get(at).cloned() {
            at += 1;
            if path.is_dir() && !path.is_symlink() {
                all.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        all
    };
    let owners = |all: Vec<PathBuf>| -> Vec<PathBuf> {
        all.into_iter().filter(|path| path.symlink_metadata().unwrap().uid() != USER).collect()
    };
    assert!(all().len() > 8);
    assert_eq!(owners(all()), Vec::<PathBuf>::new());
    // But not what is elsewhere too, nor what is no part of the ledger.
    let [hard, notes, link] = ["watch/hard", "notes", "link"].map(|name| env.path("ledger").join(name));
    fs::hard_link(env.path("roots"), &hard).unwrap();
    fs::write(&notes, "x").unwrap();
    symlink(env.path("roots"), &link).unwrap();
    fs::write(env.path("2.log"), made_up_log(100, 2)).unwrap();
    env.ok(&["import", "--data", "ledger", "2.log"]);
    let mut left = owners(all());
    left.sort();
    assert_eq!(left, [link, notes, hard]);
}
