use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use super::user::{Entry, access_list, entries};
use super::*;
use crate::daemon::config::Source;

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\ndnsledger:x:901:902::/var/lib/dnsledger:/usr/sbin/nologin\n";
const GROUP: &str = "zeek:x:77:alice,dnsledger\nadm:x:4:alice\n";

#[test]
fn a_user_has_the_groups_that_name_it() {
    let user = User::of(901, PASSWD, GROUP);
    assert_eq!((user.name.as_str(), user.groups.as_slice()), ("dnsledger", &[902, 77][..]));
    assert_eq!(User::of(5, PASSWD, GROUP).name, "uid 5");
}

#[test]
fn a_clock_that_is_not_set_and_few_or_unknown_watches_are_told() {
    let told = |tell: &dyn Fn(&mut Findings)| {
        let mut findings = Findings::default();
        tell(&mut findings);
        let (grade, what, says, advice) = findings.0.pop().unwrap();
        assert_eq!(grade == Grade::Good, advice.is_none(), "{what}: {says}");
        (grade, what, says)
    };
    for (now, grade) in [(0, Grade::Bad), (EARLIEST - 1, Grade::Bad), (EARLIEST, Grade::Good)] {
        let (told, what, says) = told(&|findings| tell_clock(findings, now));
        assert_eq!((told, what), (grade, "clock"), "{now}: {says}");
    }
    for (watches, grade, part) in [
        (Some(WATCHES - 1), Grade::Warning, "8191 watches; folders beyond that are polled"),
        (Some(WATCHES), Grade::Good, "8192 watches"),
        (None, Grade::Warning, "its limits cannot be read"),
    ] {
        assert_eq!(told(&|findings| tell_watches(findings, watches)), (grade, "inotify", part.to_owned()));
    }
}

#[test]
fn the_first_closed_folder_on_the_way_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let closed = folder.path().canonicalize().unwrap().join("logs");
    fs::create_dir(&closed).unwrap();
    let log = closed.join("dns.log");
    fs::write(&log, "").unwrap();
    // Nobody of this machine has that number.
    let user = User { name: "dnsledger".to_owned(), uid: 4_000_000_001, groups: vec![] };
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (folder_mode, log_mode, barred) in
        [(0o700, 0o644, Some(&closed)), (0o755, 0o640, Some(&log)), (0o755, 0o644, None)]
    {
        mode(&closed, folder_mode);
        mode(&log, log_mode);
        assert_eq!(user.barred(&log).map(|(path, _)| path).as_ref(), barred, "{folder_mode:o} {log_mode:o}");
    }
}

#[test]
fn nothing_is_advised_about_what_is_no_dns_log_or_lies_behind_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    let logs = root.join("logs");
    fs::create_dir(&logs).unwrap();
    let put = |name: &str, text: &str| {
        fs::write(root.join(name), text).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    let header = "#separator \\x09\n#path\tdns\n#fields\tts\tuid\tid.orig_h\tquery\tanswers\n";
    put("secret", "root:x:0:0\nsecond line\n");
    put("logs/dns.a.log", "a secret under another name\n");
    put("logs/dns.b.log", header);
    // The newest is looked at first.
    let newest = fs::File::options().write(true).open(logs.join("dns.b.log")).unwrap();
    newest.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000)).unwrap();
    std::os::unix::fs::symlink(root.join("secret"), logs.join("dns.link.log")).unwrap();
    let user = User { name: "dnsledger".to_owned(), uid: 4_000_000_001, groups: vec![] };
    let found = |remove: &str| {
        drop(fs::remove_file(logs.join(remove)));
        let mut findings = Findings::default();
        let source = Source { logs: logs.clone(), ..Source::default() };
        sources::check(&mut findings, &Config::default(), &[source], &user, &HashSet::new());
        findings.0
    };
    let all = found("");
    let about = |name: &str| -> Vec<String> {
        all.iter()
            .filter(|(_, _, says, _)| says.contains(name))
            .map(|(_, _, says, advice)| format!("{says}: {}", advice.clone().unwrap_or_default()))
            .collect()
    };
    for none in ["dns.a.log", "secret"] {
        let said = about(none).join(" ");
        assert!(!said.contains("setfacl") && !said.contains("adduser"), "{said}");
    }
    assert!(about("secret").iter().any(|said| said.contains("a link leads from")), "{all:?}");
    let advised = about("dns.b.log").join(" ");
    assert!(advised.contains("setfacl"), "{advised} {all:?}");
    let rest = found("dns.b.log");
    assert!(rest.iter().all(|(grade, ..)| *grade != Grade::Bad), "{rest:?}");
}

#[test]
fn an_access_list_grants_and_denies() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("dns.log");
    fs::write(&log, "").unwrap();
    let may = |mode: u32, list: &[Entry], uid: u32, groups: &[u32]| {
        fs::set_permissions(&log, fs::Permissions::from_mode(mode)).unwrap();
        let user = User { name: String::new(), uid, groups: groups.to_vec() };
        user.may(&fs::metadata(&log).unwrap(), list, 4)
    };
    let group = fs::metadata(&log).unwrap().gid();
    let nobody = 4_000_000_001;
    // As `setfacl -m u:901:r` and the like leave it: the group's part of the mode is the mask.
    let entry = |kind, rights, id| Entry { kind, rights, id };
    let list = [
        entry(Entry::USER, 4, 901),
        entry(Entry::USER, 0, 902),
        entry(Entry::OWNING_GROUP, 0, u32::MAX),
        entry(Entry::GROUP, 4, 77),
        entry(0x10, 4, u32::MAX),
        entry(0x20, 0, u32::MAX),
    ];
    assert!(may(0o640, &list, 901, &[]) && !may(0o600, &list, 901, &[]), "within the mask");
    assert!(!may(0o644, &list, 902, &[77]), "who is named has what is said of him alone");
    assert!(may(0o640, &list, nobody, &[group, 77]), "one group that may is enough");
    assert!(!may(0o644, &list, nobody, &[group]), "a member is not one of the others");
    assert!(may(0o644, &list, nobody, &[]) && !may(0o640, &list, nobody, &[]));
    assert!(may(0o640, &[], nobody, &[group]) && !may(0o640, &[], nobody, &[77]));
}

#[test]
fn an_access_list_is_read_as_linux_keeps_it() {
    let list = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x05\0\x85\x03\0\0\x10\0";
    let read = [Entry { kind: 1, rights: 6, id: u32::MAX }, Entry { kind: Entry::USER, rights: 5, id: 901 }];
    assert_eq!(entries(list), read);
    assert_eq!((entries(b"\x03\0\0\0"), entries(b"")), (vec![], vec![]));
    assert_eq!(access_list(Path::new("/proc/self/status")), vec![]);
}

#[test]
fn advice_opens_a_source_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().canonicalize().unwrap().join("logs");
    fs::create_dir_all(logs.join("current")).unwrap();
    fs::set_permissions(logs.join("current"), fs::Permissions::from_mode(0o700)).unwrap();
    let user = User { name: "dnsledger".to_owned(), uid: 4_000_000_001, groups: vec![] };
    let advice = |path: &Path, logs| user.advice(path, &fs::metadata(path).unwrap(), logs);
    let shown = logs.display();
    assert_eq!(
        advice(&logs.join("current"), Some(&logs)),
        format!("setfacl -R -m u:dnsledger:rX {shown} && setfacl -R -d -m u:dnsledger:rX {shown}")
    );
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let above = folder.path().canonicalize().unwrap();
    assert_eq!(advice(&above, Some(&logs)), format!("setfacl -m u:dnsledger:x {}", above.display()));
}
