//! A ledger of an older format, brought up by the real program.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use dnsledger::base::fault::{MIGRATION_POINTS, VARIABLE};
use dnsledger::store::FORMAT;

use crate::env::{TestEnv, copy_folder, unpack_store};

#[test]
fn killed_anywhere_on_the_way_it_is_brought_up_at_the_next_try() {
    for format in 1..FORMAT {
        killed_anywhere(format);
    }
}

fn killed_anywhere(format: u32) {
    let env = TestEnv::new();
    unpack_store(&format!("v{format}"), &env.path("old"));
    copy_folder(&env.path("old"), &env.path("model"));
    let expected = env.export("model");
    assert!(expected.lines().count() > 30);
    for point in MIGRATION_POINTS {
        let data = format!("at-{point}");
        copy_folder(&env.path("old"), &env.path(&data));
        let killed = env.command(&["export", "--data", &data]).env(VARIABLE, format!("{point}:1")).output();
        let killed = killed.unwrap();
        assert!(killed.status.code().is_none() && killed.stdout.is_empty(), "{point}: {killed:?}");
        // Before that the older program could go on with it: it is current still.
        let current = fs::read_to_string(env.path(&data).join("CURRENT")).unwrap();
        assert_eq!(current, format!("dnsledger format {format}\nledger-1\n"), "{point}");
        assert_eq!(env.export(&data), expected, "{point}");
        assert!(env.run(&["verify", "--data", &data]).status.success(), "{point}");
        let mut names: Vec<_> =
            fs::read_dir(env.path(&data)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let kept = format!("CURRENT.format-{format}");
        assert_eq!(names, ["CURRENT", &kept, "ledger-1", "ledger-2", "lock"], "{point}");
    }
}

#[test]
fn the_way_back_and_the_way_to_be_rid_of_it_are_told() {
    let env = TestEnv::new();
    unpack_store("v1", &env.path("data"));
    let doctor = || {
        let ended = env.run(&["doctor", "--data", "data", "--logs", "none"]);
        String::from_utf8(ended.stdout).unwrap()
    };
    assert!(doctor().contains("has format 1: the next start converts it to format 3"), "{}", doctor());
    let brought_up = env.run(&["export", "--data", "data"]);
    let expected = String::from_utf8(brought_up.stdout).unwrap();
    let said = "The ledger was brought up to format 3; as it was it is kept, until data/CURRENT.format-1 is removed.\n";
    assert_eq!(brought_up.stderr, said);
    assert_eq!(env.run(&["export", "--data", "data"]).stderr, "");
    let said = doctor();
    assert!(
        said.contains("the ledger as it was before the upgrade is still kept")
            && said.contains("rm data/CURRENT.format-1"),
        "{said}"
    );
    let daemon = env.daemon("none", "data");
    assert!(
        doctor().contains("its daemon is running") && doctor().contains("rm data/CURRENT.format-1"),
        "{}",
        doctor()
    );
    assert_eq!(daemon.stop().status.code(), Some(0));
    // To this program a later one's ledger is what this one's is to an earlier one.
    fs::write(env.path("data/CURRENT"), "dnsledger format 4\nledger-2\n").unwrap();
    let refused = env.run(&["export", "--data", "data"]).stderr;
    let way = refused.split('`').nth(1).unwrap_or_else(|| panic!("{refused}")).to_owned();
    assert_eq!(way, "mv data/CURRENT.format-1 data/CURRENT");
    assert!(doctor().contains("FAIL  data     data has format 4"), "{}", doctor());
    let gone_back = Command::new("sh").args(["-c", &way]).current_dir(env.path("")).status().unwrap();
    assert!(gone_back.success());
    assert_eq!(env.export("data"), expected);
}

#[test]
fn systemd_is_told_that_the_start_takes_longer() {
    let env = TestEnv::new();
    unpack_store("v1", &env.path("data"));
    let systemd = UnixDatagram::bind(env.path("notify")).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut child = env
        .command(&["run", "--data", "data", "--logs", "none", "--listen", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", env.path("notify"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let hear = || {
        let mut buffer = [0; 512];
        let length = systemd.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let first = hear();
    assert!(first.starts_with("EXTEND_TIMEOUT_USEC=60000000\nSTATUS=Bringing the ledger up"), "{first}");
    assert!(hear().starts_with("READY=1\n"));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
