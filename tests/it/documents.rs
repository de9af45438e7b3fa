//! That what the pages show is what the program does: each command that they print with its answer is run.

use std::fs;
use std::process::Command;

use crate::clients::{is_there, python};
use crate::env::{TestEnv, copy_folder, skipped, testdata, until};

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

#[test]
fn what_the_page_on_clients_shows_is_what_they_ask() {
    let env = TestEnv::new();
    let daemon = env.daemon(&testdata("clients"), "data");
    daemon.wait_for_lines(crate::compat::LINES);
    let url = daemon.url("");
    let address = url.strip_prefix("http://").unwrap();
    let shown = shown("docs/clients.md", "$ ");
    assert!(shown.len() >= 20, "the page shows commands");
    let (mut ran, has_dnsdbq, has_curl) = (0, is_there("dnsdbq"), is_there("curl"));
    for Shown { command, .. } in &shown {
        let has_tool = if command.contains("dnsdbq") { has_dnsdbq } else { has_curl };
        if !has_tool {
            continue;
        }
        let answer = sh(&env, &command.replace("curl -s", "curl -sf").replace("localhost:8081", address));
        // Each of them finds something, but for the one about certificates, of which nothing is kept.
        let finds = ["192.0.2.", "\"seen\":true", "\"rate\"", "\"ping\"", "{}"]
            .iter()
            .any(|part| answer.contains(part));
        assert!(finds, "{command}: {answer}");
        ran += 1;
    }
    assert!(ran == shown.len() || !(has_dnsdbq && has_curl));
    // Python's own doctest runs what is in the page, and compares what is printed.
    let Some(bin) = python() else { return };
    let page = fs::read_to_string(format!("{}/docs/clients.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    fs::write(env.path("clients.md"), page.replace("localhost:8081", address)).unwrap();
    let mut command = env.tool(bin.join("python").to_str().unwrap());
    let code = "import doctest, sys; ended = doctest.testfile('clients.md', module_relative=False); print(ended); sys.exit(bool(ended.failed))";
    let ended = env.finish(command.args(["-B", "-c", code]));
    let printed = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success() && printed.contains("attempted=6"), "{printed}{}", ended.stderr);
}

#[test]
fn arkimes_recipe_asks_for_what_is_answered() {
    let env = TestEnv::new();
    let daemon = env.daemon(&testdata("clients"), "data");
    daemon.wait_for_lines(crate::compat::LINES);
    let recipe = format!("{}/packaging/arkime/wise.ini", env!("CARGO_MANIFEST_DIR"));
    let recipe = fs::read_to_string(recipe).unwrap();
    let after = |line: &str, key: &str| line.split_once(key).map(|(_, rest)| rest.to_owned());
    let mut sources = Vec::new();
    for line in recipe.lines() {
        if let Some(url) = after(line, "url=http://127.0.0.1:8082") {
            sources.push((url, String::new(), String::new()));
        } else if let (Some(field), Some(last)) = (after(line, "resultField="), sources.last_mut()) {
            last.1 = field;
        } else if let (Some(shortcut), Some(last)) = (after(line, "shortcut:"), sources.last_mut()) {
            last.2 = shortcut;
        } else if let Some(action) = after(line, "=url:http://127.0.0.1:8082") {
            let path = action
                .split(';')
                .next()
                .unwrap()
                .replace("%TEXT%", "192.0.2.25")
                .replace("%HOST%", "mail.example.com");
            assert_eq!(daemon.get(&path).status, 200, "{path}");
        }
    }
    for ((url, field, shortcut), value) in sources.iter().zip(["192.0.2.25", "mail.example.com"]) {
        let answer = daemon.json(&url.replace("{value}", value));
        let (list, member) = shortcut.split_once('.').unwrap();
        assert_eq!(list, field);
        assert!(answer[field][0][member].is_string(), "{url}: {answer}");
    }
    assert_eq!(sources.len(), 2);
}

/// The commands of a page that begin so, as they stand in its blocks.
fn commands(page: &str, prompt: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("{}/{page}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let blocks = text.lines().filter_map(|line| line.strip_prefix("    "));
    blocks.filter(|line| line.starts_with(prompt)).map(str::to_owned).collect()
}

/// A folder with Zeek's own tool that picks columns, where it is not here: by the header, as that does.
fn zeek_cut(env: &TestEnv) -> String {
    let bin = env.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let cut = "#!/bin/sh\n[ \"$1\" = -d ] && shift\nexec awk -F'\\t' -v want=\"$*\" '\
               /^#fields/ { for (i = 2; i <= NF; i++) at[$i] = i - 1; next } /^#/ { next }\n\
               { n = split(want, names, \" \"); line = \"\"; for (i = 1; i <= n; i++) line = line (i > 1 ? \"\\t\" : \"\") $at[names[i]]; print line }'\n";
    if !Command::new("zeek-cut").arg("-h").output().is_ok_and(|output| output.status.success()) {
        fs::write(bin.join("zeek-cut"), cut).unwrap();
        sh(env, "chmod +x bin/zeek-cut");
    }
    bin.display().to_string()
}

#[test]
fn each_command_that_the_manual_shows_runs_as_it_is_written() {
    let env = TestEnv::new();
    let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/zeek-tree");
    copy_folder(&sample, &env.path("logs"));
    let program = env!("CARGO_BIN_EXE_dnsledger");
    // Which ledger is meant the configuration of a machine says; here it is this wrapper.
    let daemon = env.daemon("logs", "data");
    until("the sample is read", || (daemon.json("/api/v1/status")["caught_up"] == true).then_some(()));
    zeek_cut(&env);
    fs::create_dir_all(env.path("backup")).unwrap();
    let wrapper = format!(
        "#!/bin/sh\ncase \"$1 $*\" in\nlookup*|*--data*) exec {program} \"$@\" ;;\n*) exec {program} \"$@\" --data data ;;\nesac\n"
    );
    fs::write(env.path("bin/dnsledger"), wrapper).unwrap();
    fs::write(env.path(".dnsledger-token"), "anything\n").unwrap();
    fs::write(env.path("iocs.txt"), "# of today\nhxxps://www[.]zediye[.]com[.]example/x\nnever.example\n")
        .unwrap();
    fs::write(env.path("urlhaus.csv"), "www.zediye.com.example\nnever.example.net\n").unwrap();
    fs::write(env.path("feed.csv"), "id,indicator\n1,www.zediye.com.example\n").unwrap();
    fs::write(env.path("report.txt"), "It spoke to www[.]zediye[.]com[.]example.\n").unwrap();
    fs::write(env.path("export.json"), env.export("data")).unwrap();
    let dumps = testdata("dumps");
    let files = format!(
        "chmod +x bin/dnsledger; gzip -c export.json > site-b.json.gz; gzip -c {dumps}/bro-pdns.sql > bro-pdns.sql.gz"
    );
    sh(&env, &files);
    let url = daemon.url("");
    let run = |command: &str| {
        let here = command
            .replace("https://ledger.example:8081", &url)
            .replace("/backup/", &format!("{}/", env.path("backup").display()));
        let line = format!("export PATH=\"$PWD/bin:$PATH\" DNSLEDGER_SERVER={url}\nset -o pipefail\n{here}");
        let mut shell = env.tool("bash");
        let ended = env.finish(shell.args(["-c", &line]).env("HOME", env.path("")));
        let code = ended.status.code().unwrap();
        // That there is nothing of it in the sample is an answer.
        let asks = ["lookup", "evidence", "new", "hits"]
            .iter()
            .any(|asks| command.starts_with(&format!("dnsledger {asks}")));
        let is_answer = code == 0 || code == 1 && asks;
        assert!(is_answer, "{command}: {code}: {}", ended.stderr);
    };
    let mut seen = 0;
    let mut stopped = Vec::new();
    for page in ["docs/manual.md", "docs/operations.md", "docs/merging.md"] {
        for command in commands(page, "dnsledger ") {
            // The daemon itself is what all others ask here.
            if command.starts_with("dnsledger run ") {
                continue;
            }
            seen += 1;
            // The same folder is not backed up into twice.
            let command = match page {
                "docs/operations.md" => command.replace("dnsledger-2026-01-31", "dnsledger-2026-02-28"),
                _ => command,
            };
            if command.contains("--repair") { stopped.push(command) } else { run(&command) }
        }
    }
    assert!(seen >= 25, "{seen}");
    assert_eq!(daemon.stop().status.code(), Some(0));
    for command in stopped {
        run(&command);
    }
}

#[test]
fn each_command_that_starts_the_daemon_starts_it() {
    for (page, prompt) in
        [("README.md", "cargo run "), ("README.md", "dnsledger run "), ("docs/manual.md", "dnsledger run ")]
    {
        let [command] = &commands(page, prompt)[..] else { panic!("{page} has one such line") };
        let env = TestEnv::new();
        let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/zeek-tree");
        // The folders are of this test, and the port is any that is free: other tests run beside it.
        for logs in ["testdata/zeek-tree", "opt/zeek/logs"] {
            copy_folder(&sample, &env.path(logs));
        }
        fs::create_dir_all(env.path("var/lib")).unwrap();
        let here = command
            .replace("cargo run --release -- ", "dnsledger ")
            .replace(" /", &format!(" {}/", env.path("").display().to_string().trim_end_matches('/')));
        let (program, args) = here.split_once(' ').unwrap();
        assert_eq!(program, "dnsledger");
        let args: Vec<&str> = args.split_whitespace().collect();
        let started = env.begin(&[&args[..], &["--listen", "127.0.0.1:0"]].concat());
        let data = args.iter().skip_while(|arg| **arg != "--data").nth(1).unwrap();
        let daemon = env.listening(data, started);
        daemon.wait_for_lines(655);
        assert_eq!(daemon.get("/?q=www.zediye.com.example").status, 200, "{command}");
        assert_eq!(daemon.stop().status.code(), Some(0), "{command}");
    }
}

#[test]
fn each_command_that_reads_a_database_of_another_program_reads_it() {
    if !is_there("sqlite3") {
        return skipped("sqlite3 is not here");
    }
    let mut seen = 0;
    for page in ["docs/manual.md", "docs/merging.md"] {
        for command in [commands(page, "mysqldump "), commands(page, "sqlite3 ")].concat() {
            let env = TestEnv::new();
            let dumps = testdata("dumps");
            fs::create_dir(env.path("bin")).unwrap();
            // No server of MySQL is at hand: what it would write is.
            let mysqldump =
                format!("#!/bin/sh\n[ \"$*\" = 'bro dns' ] && exec cat {dumps}/bro-pdns.sql\nexit 1\n");
            fs::write(env.path("bin/mysqldump"), mysqldump).unwrap();
            let program = env!("CARGO_BIN_EXE_dnsledger");
            let wrapper = format!("#!/bin/sh\nexec {program} \"$@\" --data data\n");
            fs::write(env.path("bin/dnsledger"), wrapper).unwrap();
            sh(&env, &format!("chmod +x bin/*; sqlite3 pdns.db < {dumps}/zeek-pdns.sql"));
            sh(&env, &format!("set -o pipefail; export PATH=\"$PWD/bin:$PATH\"; {command}"));
            match command.contains("import") {
                true => assert!(env.export("data").contains("\"192.0.2.10\""), "{command}"),
                // What the next line of the page imports.
                false => assert!(sh(&env, "gzip -dc bro-pdns.sql.gz").contains("192.0.2.10"), "{command}"),
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 4, "the pages show these commands");
}

#[test]
fn the_line_that_finds_clients_in_the_logs_finds_them() {
    let [line] = &commands("docs/manual.md", "zgrep ")[..] else { panic!("the manual has one such line") };
    let env = TestEnv::new();
    let day = env.path("opt/zeek/logs/2026-03-24");
    fs::create_dir_all(&day).unwrap();
    let header = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n\
                  #fields\tts\tuid\tid.orig_h\tquery\tanswers\n#types\ttime\tstring\taddr\tstring\tvector[string]\n";
    let log = format!(
        "{header}1774371600.5\tC1\t10.0.0.7\tupdate.evil.example\t203.0.113.66\n1774371601.5\tC2\t10.0.0.8\tother.example\t-\n#close\t2026\n"
    );
    for hour in ["16:00:00-17:00:00", "17:00:00-18:00:00"] {
        fs::write(day.join(format!("dns.{hour}.log")), &log).unwrap();
    }
    let bin = zeek_cut(&env);
    let here = line.replace("/opt/", &format!("{}/", env.path("opt").display()));
    let found = sh(&env, &format!("export PATH=\"{bin}:$PATH\"; gzip opt/zeek/logs/*/*.log; {here}"));
    assert_eq!(found.lines().count(), 2, "{found}");
    let is_client = |line: &str| line.contains("\t10.0.0.7\tupdate.evil.example\t203.0.113.66");
    assert!(found.lines().all(is_client), "{found}");
}
