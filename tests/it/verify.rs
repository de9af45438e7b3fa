//! `dnsledger verify`: what it says of sound and of damaged ledgers, at rest and while a daemon serves.

use std::fs;
use std::path::Path;

use dnsledger::base::fault::{TAKE_OVER_POINTS, VARIABLE};

use crate::env::{TestEnv, testdata, unpack_store};

/// A ledger with the sample logs in it.
fn ledger() -> TestEnv {
    let env = TestEnv::new();
    env.ok(&["import", "--data", "ledger", &testdata("zeek-tree")]);
    env
}

/// What `verify` prints of a ledger, and how it ends.
fn verify(env: &TestEnv, data: &str) -> (Option<i32>, String) {
    let ended = env.run(&["verify", "--data", data]);
    (ended.status.code(), String::from_utf8(ended.stdout).unwrap() + &ended.stderr)
}

#[test]
fn a_sound_ledger_is_sound_at_rest_and_while_a_daemon_serves() {
    let env = ledger();
    let (code, alone) = verify(&env, "ledger");
    assert_eq!(code, Some(0), "{alone}");
    assert!(alone.contains("progress of 4 logs, 1 sensors\n") && alone.ends_with("\nsound\n"), "{alone}");
    let before = env.export("ledger");
    let daemon = env.daemon("no-logs-yet", "ledger");
    assert_eq!(verify(&env, "ledger"), (Some(0), alone.clone()));
    assert!(daemon.stop().status.success());
    assert_eq!(env.export("ledger"), before);
    assert_eq!(verify(&env, "ledger"), (Some(0), alone));
}

#[test]
fn the_ledger_of_an_older_format_is_sound_once_it_is_brought_up_and_not_touched_before() {
    let env = TestEnv::new();
    unpack_store("v1", &env.path("old"));
    for arguments in [&["verify", "--data", "old"] as &[_], &["verify", "--repair", "--data", "old"]] {
        let refused = env.run(arguments);
        assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("has format 1, and not yet 3\ntry: `dnsledger run`"),
            "{}",
            refused.stderr
        );
    }
    assert!(!env.path("old/ledger-2").exists() && !env.path("old/CURRENT.format-1").exists());
    env.export("old");
    let (code, said) = verify(&env, "old");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("progress of 2 logs, 3 sensors\nsound\n"), "{said}");
}

#[test]
fn where_there_is_no_ledger_none_is_made() {
    let env = TestEnv::new();
    let (code, said) = verify(&env, "nothing");
    assert!(code == Some(64) && said.contains("there is no ledger in nothing"), "{said}");
    assert!(!env.path("nothing").exists());
    fs::create_dir(env.path("empty")).unwrap();
    assert_eq!(verify(&env, "empty").0, Some(64));
    assert_eq!(fs::read_dir(env.path("empty")).unwrap().count(), 0);
}

/// One way to damage a data folder.
type Damage = fn(&Path) -> std::io::Result<()>;

#[test]
fn what_is_missing_or_no_longer_what_it_was_is_named_with_the_way_out() {
    let damages: [(&str, Damage); 7] = [
        ("CURRENT: it is missing, and there is a ledger-1", |data| fs::remove_file(data.join("CURRENT"))),
        ("CURRENT: it does not name a format and a ledger", |data| fs::write(data.join("CURRENT"), "x")),
        ("CURRENT: it is not text", |data| fs::write(data.join("CURRENT"), [0xff, 0xfe])),
        ("ledger-1/conf: it is missing", |data| fs::remove_dir_all(data.join("ledger-1"))),
        ("ledger-1/db: it is missing", |data| fs::remove_file(data.join("ledger-1/db"))),
        ("ledger-1/conf: it is missing", |data| fs::remove_file(data.join("ledger-1/conf"))),
        ("it does not say which format it has", |data| fs::write(data.join("ledger-1/db"), "")),
    ];
    let env = ledger();
    for (number, (says, damage)) in damages.into_iter().enumerate() {
        let data = format!("damaged-{number}");
        env.copy("ledger", &data);
        damage(&env.path(&data)).unwrap();
        let (code, said) = verify(&env, &data);
        assert!(
            code == Some(2) && said.contains(says) && said.contains("\ntry: "),
            "{says}: {code:?} {said}"
        );
        for command in ["status", "export", "lookup"] {
            let mut arguments = vec![command, "--data", &data];
            arguments.extend((command == "lookup").then_some("www.zediye.com.example"));
            let ended = env.run(&arguments);
            assert_eq!(ended.status.code(), Some(2), "{says}: {command}: {}", ended.stderr);
            let says = says.replace(": ", " is damaged: ");
            assert!(ended.stderr.contains(&says) && ended.stderr.contains("\ntry: "), "{}", ended.stderr);
            assert!(ended.stdout.is_empty(), "{says}: {command}");
        }
    }
}

/// What is in a data folder of ledgers, and of what names them.
fn names(env: &TestEnv, data: &str) -> Vec<String> {
    let entries = fs::read_dir(env.path(data)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !["lock", "max-disk", "reserve", "evidence"].contains(&name.as_str()));
    names.sort();
    names
}

#[test]
fn no_command_removes_the_ledger_that_is_there_when_current_names_another() {
    let env = ledger();
    let expected = env.export("ledger");
    fs::write(env.path("ledger/CURRENT"), "dnsledger format 3\nledger-2\n").unwrap();
    let tree = testdata("zeek-tree");
    for arguments in [
        &["lookup", "www.zediye.com.example"] as &[_],
        &["status"],
        &["export"],
        &["verify"],
        &["verify", "--repair"],
        &["snapshot", "backup"],
        &["expire", "--older-than", "1d"],
        &["import", &tree],
        // Where the logs are not there, from which another could be made.
        &["run", "--logs", "nowhere", "--listen", "127.0.0.1:0"],
    ] {
        let ended = env.run(&[arguments, &["--data", "ledger"]].concat());
        let said = String::from_utf8(ended.stdout).unwrap() + &ended.stderr;
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains("it is missing, and there is a ledger-1; nothing was removed"), "{said}");
        assert_eq!(names(&env, "ledger"), ["CURRENT", "ledger-1"], "{arguments:?}");
    }
    fs::write(env.path("ledger/CURRENT"), "dnsledger format 3\nledger-1\n").unwrap();
    assert_eq!(env.export("ledger"), expected);
}

#[test]
fn only_who_writes_clears_away_and_what_nothing_explains_is_set_aside_and_told() {
    let env = ledger();
    env.copy("ledger/ledger-1", "ledger/ledger-3");
    env.copy("ledger/ledger-1", "ledger/ledger-4");
    fs::write(env.path("ledger/ledger-4/replaces"), "ledger-1\n").unwrap();
    let before = names(&env, "ledger");
    for arguments in [
        &["lookup", "www.zediye.com.example"] as &[_],
        &["status"],
        &["export"],
        &["verify"],
        &["snapshot", "backup"],
    ] {
        env.ok(&[arguments, &["--data", "ledger"]].concat());
        assert_eq!(names(&env, "ledger"), before, "{arguments:?}");
    }
    env.ok(&["import", "--data", "ledger", &testdata("zeek-tree")]);
    assert_eq!(names(&env, "ledger"), ["CURRENT", "ledger-1", "ledger-3.unexplained"]);
    let said = String::from_utf8(env.run(&["doctor", "--data", "ledger", "--logs", "none"]).stdout).unwrap();
    assert!(said.contains("ledger/ledger-3.unexplained was set aside"), "{said}");
    assert!(said.contains("`rm -r ledger/ledger-3.unexplained`"), "{said}");
}

#[test]
fn killed_while_a_ledger_takes_over_nothing_is_lost_and_nothing_is_left_over() {
    for point in TAKE_OVER_POINTS {
        let env = ledger();
        let expected = env.export("ledger");
        // One row is as old as that, so that the ledger is written anew.
        let old = "{\"ts\":1590000000.5,\"uid\":\"C1\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\"query\":\"old.test\",\
            \"qclass\":1,\"qtype\":1,\"rcode\":0,\"answers\":[\"192.0.2.1\"],\"TTLs\":[60.0]}\n";
        fs::write(env.path("dns.old.log"), old).unwrap();
        env.ok(&["import", "--data", "ledger", "dns.old.log"]);
        let expire = ["expire", "--data", "ledger", "--before", "2021-01-01"];
        let killed = env.run_with(&expire, &[(VARIABLE, &format!("{point}:1"))]);
        let gone = env.run_with(
            &["import", "--data", "fresh", &testdata("zeek-tree")],
            &[(VARIABLE, &format!("{point}:1"))],
        );
        assert!(gone.status.code().is_none(), "{point}");
        env.ok(&["import", "--data", "fresh", &testdata("zeek-tree")]);
        assert_eq!(env.export("fresh"), expected, "{point}");
        assert_eq!(names(&env, "fresh"), ["CURRENT", "ledger-1"], "{point}");
        assert!(killed.status.code().is_none(), "{point}: {}", killed.stderr);
        env.ok(&["import", "--data", "ledger", &testdata("zeek-tree")]);
        assert_eq!(env.export("ledger"), expected, "{point}");
        assert_eq!(names(&env, "ledger").len(), 2, "{point}: {:?}", names(&env, "ledger"));
    }
}

#[test]
fn a_newer_format_is_refused() {
    let env = ledger();
    fs::write(env.path("ledger/CURRENT"), "dnsledger format 9\nledger-1\n").unwrap();
    let (code, said) = verify(&env, "ledger");
    assert!(code == Some(2) && said.contains("has format 9") && said.contains("\ntry: install"), "{said}");
}

#[test]
fn what_is_sound_is_not_repaired_and_what_cannot_be_is_left_as_it_is() {
    let env = ledger();
    let repair = |data: &str| {
        let ended = env.run(&["verify", "--repair", "--data", data]);
        (ended.status.code(), String::from_utf8(ended.stdout).unwrap() + &ended.stderr)
    };
    assert_eq!(repair("ledger"), verify(&env, "ledger"));
    assert!(env.path("ledger/ledger-1").exists(), "nothing was written anew");
    let daemon = env.daemon("no-logs-yet", "ledger");
    let (code, said) = repair("ledger");
    assert!(
        code == Some(64) && said.contains("a daemon has ledger open") && said.contains("stop it"),
        "{said}"
    );
    assert!(daemon.stop().status.success());
    assert_eq!(repair("nothing").0, Some(64));
    env.copy("ledger", "damaged");
    fs::remove_file(env.path("damaged/ledger-1/conf")).unwrap();
    let (code, said) = repair("damaged");
    assert!(code == Some(2) && said.contains("cannot be repaired, and nothing was changed"), "{said}");
    assert!(said.contains("ledger-1/conf") && said.contains("restore a snapshot"), "{said}");
    assert_eq!(
        fs::read_dir(env.path("damaged")).unwrap().count(),
        fs::read_dir(env.path("ledger")).unwrap().count()
    );
}

#[test]
fn no_command_touches_a_newer_format() {
    let env = ledger();
    fs::write(env.path("ledger/CURRENT"), "dnsledger format 9\nledger-1\n").unwrap();
    // One that was copied has no lock, and none is made.
    fs::remove_file(env.path("ledger/lock")).unwrap();
    let contents = || {
        let mut files = Vec::new();
        for folder in ["ledger", "ledger/ledger-1"] {
            for entry in fs::read_dir(env.path(folder)).unwrap() {
                let path = entry.unwrap().path();
                files.push((path.metadata().unwrap().modified().unwrap(), fs::read(&path).ok(), path));
            }
        }
        files.sort();
        files
    };
    let before = contents();
    let tree = testdata("zeek-tree");
    for arguments in [
        &["run", "--logs", &tree, "--listen", "127.0.0.1:0"] as &[_],
        &["import", &tree],
        &["lookup", "www.zediye.com.example"],
        &["status"],
        &["export"],
        &["verify"],
        &["verify", "--repair"],
        &["expire", "--older-than", "1d"],
    ] {
        let ended = env.run(&[arguments, &["--data", "ledger"]].concat());
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {}", ended.stderr);
        let says = "has format 9, and this version reads up to 3";
        assert!(ended.stderr.contains(says) && ended.stderr.contains("\ntry: install"), "{}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{arguments:?}");
        assert!(contents() == before, "{arguments:?}");
    }
}
