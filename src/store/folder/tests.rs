use super::*;

fn with_current(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(CURRENT), text).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    super::names(folder).unwrap()
}

fn make_files(folder: &DataFolder) {
    fs::create_dir_all(folder.ledger()).unwrap();
    files(&folder.ledger()).iter().for_each(|file| fs::write(file, b"x").unwrap());
}

#[test]
fn a_new_folder_is_kept_only_once_its_ledger_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a").join("b");
    let folder = DataFolder::open(&path).unwrap();
    assert!(folder.is_new());
    make_files(&folder);
    drop(folder);
    let mut folder = DataFolder::open(&path).unwrap();
    assert!(folder.is_new() && !folder.ledger().exists());
    make_files(&folder);
    folder.keep().unwrap();
    drop(folder);
    assert!(!DataFolder::open(&path).unwrap().is_new());
    assert_eq!(names(&path), ["CURRENT", "ledger-1", "lock"]);
}

#[test]
fn a_folder_is_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let first = DataFolder::open(dir.path()).unwrap();
    assert!(matches!(DataFolder::open(dir.path()), Err(StoreError::Locked { .. })));
    drop(first);
    assert!(DataFolder::open(dir.path()).is_ok());
}

#[test]
fn a_newer_format_is_refused_and_nothing_is_written() {
    let dir = with_current("dnsledger format 4\nsomething else\n");
    let refused = DataFolder::open(dir.path());
    assert!(
        matches!(refused, Err(StoreError::NewerFormat { found: 4, known: 3, before: None, .. })),
        "{refused:?}"
    );
    assert_eq!(names(dir.path()), ["CURRENT"]);
}

#[test]
fn a_newer_format_is_refused_with_the_way_back_if_there_is_one() {
    let dir = with_current("dnsledger format 5\nledger-9\n");
    for (format, ledger) in [(1, "ledger-1"), (3, "ledger-4"), (4, "ledger-7")] {
        let text = format!("dnsledger format {format}\n{ledger}\n");
        fs::write(dir.path().join(format!("{BEFORE}{format}")), text).unwrap();
        fs::create_dir(dir.path().join(ledger)).unwrap();
    }
    let said = DataFolder::open(dir.path()).unwrap_err().to_string();
    assert!(
        said.contains("/CURRENT.format-3 ") && said.contains("`mv ") && !said.contains("format-4"),
        "{said}"
    );
    fs::remove_dir(dir.path().join("ledger-4")).unwrap();
    let said = DataFolder::open(dir.path()).unwrap_err().to_string();
    assert!(said.contains("/CURRENT.format-1 "), "{said}");
}

/// A folder with a ledger of format 1.
fn with_older() -> (tempfile::TempDir, DataFolder) {
    let dir = with_current("dnsledger format 1\nledger-3\n");
    fs::create_dir(dir.path().join("ledger-3")).unwrap();
    for file in ["conf", "db"] {
        fs::write(dir.path().join("ledger-3").join(file), b"x").unwrap();
    }
    let folder = DataFolder::open(dir.path()).unwrap();
    (dir, folder)
}

#[test]
fn an_older_ledger_stays_for_as_long_as_its_file_names_it() {
    let (dir, mut folder) = with_older();
    assert!(folder.is_older() && folder.format() == 1);
    assert_eq!(folder.successor(), dir.path().join("ledger-4"));
    fs::create_dir(folder.successor()).unwrap();
    // Begun, and interrupted: what there is of it is kept. Of another one nothing says what it is.
    fs::create_dir(dir.path().join("ledger-5")).unwrap();
    drop(folder);
    folder = DataFolder::open(dir.path()).unwrap();
    assert_eq!(names(dir.path()), ["CURRENT", "ledger-3", "ledger-4", "ledger-5.unexplained", "lock"]);
    assert_eq!(set_asides(dir.path()), [dir.path().join("ledger-5.unexplained")]);
    fs::remove_dir(dir.path().join("ledger-5.unexplained")).unwrap();
    for file in ["conf", "db"] {
        fs::write(folder.successor().join(file), b"x").unwrap();
    }
    folder.succeed().unwrap();
    assert!(!folder.is_older() && folder.ledger().ends_with("ledger-4"));
    drop(folder);
    let mut folder = DataFolder::open(dir.path()).unwrap();
    assert_eq!(names(dir.path()), ["CURRENT", "CURRENT.format-1", "ledger-3", "ledger-4", "lock"]);
    assert_eq!(listed(&folder.ledger().join(KEEPS)), ["ledger-3"]);
    let kept = kept_before(dir.path());
    assert_eq!(kept, [(dir.path().join("CURRENT.format-1"), dir.path().join("ledger-3"))]);
    // A rewrite takes the next number.
    let (next, replaces) = folder.next_ledger().unwrap();
    assert!(next.ends_with("ledger-5") && replaces == "ledger-3\nledger-4\n");
    make_next(&next, &replaces).unwrap();
    for file in ["conf", "db"] {
        fs::write(next.join(file), b"x").unwrap();
    }
    folder.switch("ledger-5").unwrap();
    drop(folder);
    let folder = DataFolder::open(dir.path()).unwrap();
    assert_eq!(names(dir.path()), ["CURRENT", "CURRENT.format-1", "ledger-3", "ledger-5", "lock"]);
    assert!(DataFolder::has_nothing_else(dir.path()));
    drop(folder);
    // It is given up by the one file, and stays no longer than the next opening.
    fs::remove_file(dir.path().join("CURRENT.format-1")).unwrap();
    drop(DataFolder::open(dir.path()).unwrap());
    assert_eq!(names(dir.path()), ["CURRENT", "ledger-5", "lock"]);
}

#[test]
fn an_older_ledger_is_not_looked_at_and_one_that_was_never_made_is_made_in_this_format() {
    let (dir, folder) = with_older();
    drop(folder);
    let refused = DataFolder::look(dir.path());
    assert!(matches!(refused, Err(StoreError::OlderFormat { found: 1, known: 3, .. })), "{refused:?}");
    fs::write(dir.path().join(CURRENT), "dnsledger format 1\nledger-3\nnew\n").unwrap();
    let folder = DataFolder::open(dir.path()).unwrap();
    assert!(folder.is_new() && !folder.is_older() && folder.format() == FORMAT);
    assert!(!dir.path().join("ledger-3").exists());
}

#[test]
fn files_that_only_look_like_the_name_of_an_older_ledger_are_left_alone() {
    let (dir, folder) = with_older();
    drop(folder);
    for (name, text) in [
        ("CURRENT.format-01", "dnsledger format 1\nledger-3\n"),
        ("CURRENT.format-x", "?"),
        ("CURRENT.format-1", "dnsledger format 2\nledger-8\n"),
        ("CURRENT.format-2", "dnsledger format 7\nledger-8\n"),
        ("CURRENT.format-9", "dnsledger format 9\nledger-9\n"),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    for ledger in ["ledger-8", "ledger-9"] {
        fs::create_dir(dir.path().join(ledger)).unwrap();
    }
    drop(DataFolder::open(dir.path()).unwrap());
    assert!(!dir.path().join("ledger-8").exists());
    // That one is what it says, of a version to come.
    let kept = kept_before(dir.path());
    assert!(matches!(kept.as_slice(), [(file, _)] if file.ends_with("CURRENT.format-9")), "{kept:?}");
    assert!(dir.path().join("CURRENT.format-x").exists());
}

#[test]
fn a_current_that_makes_no_sense_is_damage() {
    for text in [
        "",
        "dnsledger format 0\nledger-1\n",
        "dnsledger format 1\n",
        "dnsledger format 1\nledger-1",
        "dnsledger format 1\n../x\n",
        "\0",
    ] {
        let refused = DataFolder::open(with_current(text).path());
        assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{text:?}: {refused:?}");
    }
}

#[test]
fn a_ledger_without_current_is_never_the_reason_to_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("ledger-3")).unwrap();
    assert!(matches!(DataFolder::open(dir.path()), Err(StoreError::Damaged { .. })));
    assert!(dir.path().join("ledger-3").exists());
}

#[test]
fn a_ledger_that_is_missing_or_misses_a_file_is_damage() {
    let dir = with_current("dnsledger format 1\nledger-1\n");
    assert!(matches!(DataFolder::open(dir.path()), Err(StoreError::Damaged { .. })));
    fs::create_dir(dir.path().join("ledger-1")).unwrap();
    fs::write(dir.path().join("ledger-1/conf"), b"x").unwrap();
    let refused = DataFolder::open(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("ledger-1/db"), "{refused}");
}

#[test]
fn what_a_crash_left_behind_is_removed_and_what_nothing_explains_is_set_aside() {
    let dir = with_current("dnsledger format 3\nledger-2\n");
    let folder = |name: &str, replaces: &str| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        for (file, text) in [("conf", "x"), ("db", "x"), (REPLACES, replaces)] {
            fs::write(path.join(file), text).unwrap();
        }
    };
    folder("ledger-1", "");
    folder("ledger-2", "ledger-1\n");
    folder("ledger-3", "ledger-1\nledger-2\n");
    folder("ledger-4", "ledger-3\n");
    folder("ledger-5.discarded", "");
    folder("ledger-6.unexplained", "");
    for name in ["ledger-2.bak", "ledger-", "ledger-6"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let before = names(dir.path());
    DataFolder::look(dir.path()).unwrap().unwrap();
    DataFolder::open_to_bring_up(dir.path()).unwrap();
    assert_eq!(
        names(dir.path()),
        [before.as_slice(), &["lock".to_owned()]].concat(),
        "who asks removes nothing"
    );
    DataFolder::open(dir.path()).unwrap();
    assert_eq!(
        names(dir.path()),
        [
            "CURRENT",
            "ledger-",
            "ledger-2",
            "ledger-2.bak",
            "ledger-4.unexplained",
            "ledger-6-2.unexplained",
            "ledger-6.unexplained",
            "lock"
        ]
    );
    assert!(!dir.path().join("ledger-2").join(REPLACES).exists());
    assert_eq!(set_asides(dir.path()).len(), 3);
    // Another ledger has a number that none of them has.
    assert!(DataFolder::open(dir.path()).unwrap().next_ledger().unwrap().0.ends_with("ledger-7"));
}

#[test]
fn a_current_that_names_a_ledger_that_is_not_there_takes_nothing_from_the_one_that_is() {
    let dir = with_current("dnsledger format 3\nledger-4\n");
    fs::create_dir(dir.path().join("ledger-3")).unwrap();
    for open in [|path: &Path| DataFolder::open(path).map(Some), |path: &Path| DataFolder::look(path)] {
        let refused = open(dir.path()).unwrap_err().to_string();
        assert!(
            refused.contains("ledger-4/conf is damaged: it is missing, and there is a ledger-3"),
            "{refused}"
        );
        assert_eq!(names(dir.path()), ["CURRENT", "ledger-3", "lock"]);
    }
}

#[test]
fn a_ledger_that_takes_over_is_synced_and_explains_the_one_before() {
    let (dir, mut folder) = with_older();
    fs::remove_dir_all(dir.path()).unwrap();
    fs::create_dir(dir.path()).unwrap();
    fs::write(dir.path().join(CURRENT), "dnsledger format 3\nledger-3\n").unwrap();
    folder.current.format = FORMAT;
    make_files(&folder);
    // One that is not there is not named: its files could not be synced.
    assert!(folder.switch("ledger-4").is_err());
    assert!(!folder.is_unsettled() && folder.ledger().ends_with("ledger-3"));
    let (next, replaces) = folder.next_ledger().unwrap();
    make_next(&next, &replaces).unwrap();
    for file in ["conf", "db"] {
        fs::write(next.join(file), b"x").unwrap();
    }
    folder.switch("ledger-4").unwrap();
    drop(folder);
    drop(DataFolder::open(dir.path()).unwrap());
    assert_eq!(names(dir.path()), ["CURRENT", "ledger-4", "lock"]);
    assert_eq!(names(&dir.path().join("ledger-4")), ["conf", "db"]);
}

/// As a backup of somebody else may have them.
#[test]
fn a_link_or_a_pipe_in_the_place_of_a_file_is_refused_and_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (path, victim) = (dir.path().join("data"), dir.path().join("victim"));
    let mut folder = DataFolder::open(&path).unwrap();
    make_files(&folder);
    folder.keep().unwrap();
    drop(folder);
    fs::create_dir(path.join("evidence")).unwrap();
    fs::write(&victim, "dear").unwrap();
    for name in [
        "CURRENT",
        "CURRENT.next",
        "CURRENT.format-1",
        "lock",
        "reserve",
        "max-disk",
        "max-disk.next",
        "ledger-1/db",
        "ledger-1/conf",
        "ledger-1/acknowledged.next",
        "ledger-7",
        "evidence/1",
    ] {
        let (file, aside) = (path.join(name), dir.path().join("aside"));
        let was_there = fs::rename(&file, &aside).is_ok();
        for is_pipe in [false, true] {
            match is_pipe {
                false => std::os::unix::fs::symlink(&victim, &file).unwrap(),
                true => assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success()),
            }
            let refused = [
                DataFolder::open(&path).err(),
                DataFolder::look(&path).err(),
                DataFolder::open_damaged(&path).err(),
                format(&path).err(),
            ];
            for error in refused {
                let why = error.unwrap().to_string();
                assert!(why.starts_with("will not use") && why.contains(name), "{why}");
            }
            fs::remove_file(&file).unwrap();
        }
        if was_there {
            fs::rename(&aside, &file).unwrap();
        }
    }
    // Where the folder itself is, and what others keep in it, is theirs to say.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    std::os::unix::fs::symlink(&victim, path.join("notes")).unwrap();
    assert!(DataFolder::open(&link).is_ok());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "dear");
}
