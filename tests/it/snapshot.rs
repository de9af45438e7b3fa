//! `dnsledger snapshot`: a whole copy at one moment, from which one goes on as if nothing had been.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use dnsledger::store::{FORMAT, Options, Replica, StoreError};
use generate::{Config, Format, write_log};

use crate::env::{TestEnv, post_control, testdata};

/// Runs `snapshot`: how it ended, and what it said.
fn snapshot(env: &TestEnv, target: &str) -> (Option<i32>, String) {
    let ended = env.run(&["snapshot", "--data", "ledger", target]);
    (ended.status.code(), String::from_utf8(ended.stdout).unwrap() + &ended.stderr)
}

/// What there is in the folder of a test whose name begins so.
fn named(env: &TestEnv, start: &str) -> Vec<String> {
    let names = fs::read_dir(env.path(".")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(start)).collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_is_the_whole_ledger_and_stands_for_itself() {
    let env = TestEnv::new();
    env.ok(&["import", "--data", "ledger", &testdata("zeek-tree")]);
    let (code, said) = snapshot(&env, "backup");
    assert!(code == Some(0) && said.starts_with("backup: ") && said.contains(", verified\n"), "{said}");
    assert_eq!(named(&env, "backup"), ["backup"]);
    fs::remove_dir_all(env.path("ledger")).unwrap();
    // A copy of a copy, as when it is carried to another machine.
    env.copy("backup", "ledger");
    assert_eq!(env.ok(&["verify", "--data", "ledger"]).last_chunk(), Some(b"sound\n"));
    env.ok(&["import", "--data", "model", &testdata("zeek-tree")]);
    assert!(env.export("ledger") == env.export("model"));
    assert_eq!(env.status("ledger")["totals"], env.status("model")["totals"]);
    // Nothing counts again.
    let again = String::from_utf8(env.ok(&["import", "--data", "ledger", &testdata("zeek-tree")])).unwrap();
    assert!(again.contains("\n0 new lines"), "{again}");
}

#[test]
fn a_snapshot_of_a_daemon_of_another_version_is_refused_as_what_it_is() {
    let env = TestEnv::new();
    let target = env.path("backup");
    // The first piece begins with the pairs of the main map; of these one says which format it is.
    let piece = |format: u32| {
        let lengths = [7u32.to_be_bytes(), 4u32.to_be_bytes()].concat();
        [b"m".as_slice(), &lengths, b"mformat", &format.to_be_bytes()].concat()
    };
    let taken = |format| Replica::begin(&target, &Options::default()).unwrap().take(&piece(format));
    taken(FORMAT).unwrap();
    let older = taken(1).unwrap_err();
    assert!(matches!(older, StoreError::OlderFormat { found: 1, known: FORMAT, .. }), "{older:?}");
    assert!(older.to_string().contains("backup has format 1, and not yet 3"), "{older}");
    let newer = taken(9).unwrap_err();
    assert!(matches!(newer, StoreError::NewerFormat { found: 9, known: FORMAT, .. }), "{newer:?}");
    assert_eq!(named(&env, "backup"), [""; 0]);
}

#[test]
fn a_snapshot_while_logs_are_read_goes_on_over_the_same_logs() {
    let mut env = TestEnv::new();
    env.set("DNSLEDGER_TEST_FOLD_ROWS", "60");
    fs::create_dir(env.path("logs")).unwrap();
    let mut log = Vec::new();
    write_log(Config { lines: 6000, ..Config::rich(5) }.generate(), Format::Tsv, true, &mut log).unwrap();
    let path = env.path("logs/dns.log");
    let grow = |part: &[u8]| {
        fs::File::options().create(true).append(true).open(&path).unwrap().write_all(part).unwrap();
    };
    let mut parts = log.chunks(log.len() / 8);
    grow(parts.next().unwrap());
    let daemon = env.daemon("logs", "ledger");
    let mut taken = 0;
    while let (Some(first), Some(second)) = (parts.next(), parts.next()) {
        // What is read meanwhile is in it or not, and never half.
        grow(first);
        let target = format!("backup-{taken}");
        std::thread::scope(|scope| {
            let running = scope.spawn(|| snapshot(&env, &target));
            grow(second);
            let (code, said) = running.join().unwrap();
            assert_eq!(code, Some(0), "{said}");
        });
        taken += 1;
    }
    parts.for_each(grow);
    daemon.catch_up();
    assert!(daemon.stop().status.success());
    env.ok(&["import", "--data", "model", "logs"]);
    let model = env.export("model");
    assert!(env.export("ledger") == model);
    for number in 0..taken {
        let backup = format!("backup-{number}");
        assert_eq!(env.ok(&["verify", "--data", &backup]).last_chunk(), Some(b"sound\n"));
        let daemon = env.daemon("logs", &backup);
        daemon.catch_up();
        assert!(daemon.stop().status.success());
        assert!(env.export(&backup) == model, "{backup}");
    }
}

#[test]
fn what_is_there_is_never_overwritten() {
    let env = TestEnv::new();
    env.ok(&["import", "--data", "ledger", &testdata("zeek-tree")]);
    fs::create_dir(env.path("folder")).unwrap();
    fs::write(env.path("file"), "mine").unwrap();
    for target in ["folder", "file", "ledger"] {
        let (code, said) = snapshot(&env, target);
        assert!(code == Some(64) && said.contains("is there already"), "{target}: {said}");
    }
    let (code, said) = snapshot(&env, "no/such/place");
    assert!(code == Some(2) && said.contains("no/such/place.partial"), "{said}");
    // What is beside it and was not left by a snapshot stays, too.
    fs::create_dir(env.path("backup.partial")).unwrap();
    fs::write(env.path("backup.partial/thesis.txt"), "mine").unwrap();
    let (code, said) = snapshot(&env, "backup");
    assert!(code == Some(2) && said.contains("backup.partial"), "{said}");
    assert_eq!(fs::read_to_string(env.path("backup.partial/thesis.txt")).unwrap(), "mine");
    let nothing = env.run(&["snapshot", "--data", "nothing", "backup"]);
    assert!(
        nothing.status.code() == Some(64) && nothing.stderr.contains("there is no ledger"),
        "{}",
        nothing.stderr
    );
    assert_eq!(named(&env, "backup"), ["backup.partial"]);
}

#[test]
fn one_that_was_killed_is_no_ledger_and_in_nobodys_way() {
    let env = TestEnv::new();
    env.ok(&["import", "--data", "ledger", &testdata("zeek-tree")]);
    for fault in ["snapshot_piece:1", "snapshot_piece:2", "snapshot_synced:1", "snapshot_kept:1"] {
        let killed = env.run_with(&["snapshot", "--data", "ledger", "backup"], &[("DNSLEDGER_FAULT", fault)]);
        assert!(!killed.status.success(), "{fault}");
        assert_eq!(named(&env, "backup"), ["backup.partial"], "{fault}");
        if fault != "snapshot_kept:1" {
            let looked = env.run(&["export", "--data", "backup.partial"]);
            assert!(looked.stdout.is_empty(), "{fault}");
        }
    }
    let (code, said) = snapshot(&env, "backup");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(named(&env, "backup"), ["backup"]);
    assert!(env.export("backup") == env.export("ledger"));
    // The daemon is killed while it hands one out.
    let daemon = env.spawn_with("no-logs", "ledger", &[("DNSLEDGER_FAULT", "piece_sent:2")]);
    let daemon = env.listening("ledger", daemon);
    let (code, said) = snapshot(&env, "second");
    // Whether the head of the answer was on its way by then is the scheduler's to say.
    let told = ["ended before the copy was whole", "the connection to ledger/control.sock broke"];
    assert!(code == Some(2) && told.iter().any(|told| said.contains(told)), "{said}");
    assert!(named(&env, "second").is_empty());
    daemon.kill();
    assert_eq!(env.ok(&["verify", "--data", "ledger"]).last_chunk(), Some(b"sound\n"));
}

#[test]
fn a_damaged_ledger_gives_no_backup() {
    let env = TestEnv::new();
    env.ok(&["import", "--data", "ledger", &testdata("zeek-tree")]);
    let daemon = env.daemon("no-logs", "ledger");
    assert_eq!(post_control(&env.path("ledger"), "/control/flush"), 200);
    assert!(daemon.stop().status.success());
    fs::remove_file(env.path("ledger/ledger-1/conf")).unwrap();
    let (code, said) = snapshot(&env, "backup");
    assert!(code == Some(2) && said.contains("ledger-1/conf") && said.contains("\ntry: "), "{said}");
    assert!(named(&env, "backup").is_empty());
}

/// The files and folders below a path that others than their owner may do anything with.
fn open_to_others(path: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = path.symlink_metadata().unwrap();
        if metadata.mode() & 0o077 != 0 {
            found.push(path.clone());
        }
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn a_ledger_is_its_users_alone_whatever_the_umask_is_and_whatever_was_there() {
    let env = TestEnv::new();
    fs::copy(testdata("zeek/ok_tsv.log"), env.path("dns.log")).unwrap();
    let with_no_umask = |arguments: &str| {
        let program = env!("CARGO_BIN_EXE_dnsledger");
        let mut command = env.tool("sh");
        command.args(["-c", &format!("umask 000; exec {program} {arguments}")]);
        let ended = env.finish(&mut command);
        assert_eq!(ended.status.code(), Some(0), "{arguments}: {}", ended.stderr);
        ended
    };
    with_no_umask("import --data data dns.log");
    assert_eq!(open_to_others(&env.path("data")), Vec::<PathBuf>::new());
    with_no_umask("snapshot --data data backup");
    assert_eq!(open_to_others(&env.path("backup")), Vec::<PathBuf>::new());
    // One of an earlier version, which others could read, is closed, and that is said.
    let mut command = env.tool("chmod");
    assert!(env.finish(command.args(["-R", "go+rwX", "data"])).status.success());
    assert!(!open_to_others(&env.path("data")).is_empty());
    with_no_umask("import --data data dns.log");
    assert_eq!(open_to_others(&env.path("data")), Vec::<PathBuf>::new());
    // What is asked for by name is the user's, and has the rights that the user gives.
    with_no_umask("export --data data --output export.json");
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(env.path("export.json")).unwrap());
    assert_eq!(mode & 0o777, 0o666);
}

#[test]
fn a_folder_that_another_has_put_where_the_copy_is_made_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let env = TestEnv::new();
    fs::copy(testdata("zeek/ok_tsv.log"), env.path("dns.log")).unwrap();
    env.ok(&["import", "--data", "data", "dns.log"]);
    let partial = env.path("backup.partial");
    fs::create_dir(&partial).unwrap();
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o777)).unwrap();
    env.ok(&["snapshot", "--data", "data", "backup"]);
    assert!(fs::read_dir(&partial).unwrap().next().is_none(), "nothing was put into it");
    assert_eq!(env.export("backup"), env.export("data"));
}
