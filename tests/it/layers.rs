//! That modules import downward only, and that engines and frameworks stay in their rooms.
//!
//! ARCHITECTURE.md explains the floors; the tables here are what holds. The check reads the text of `src/`: it drops
//! comments, literals and test modules, and looks at every path that begins with `crate::`, with `super::` out of a
//! module, or with the name of a crate that has a room. A new module needs a row.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each module with its floor, and the modules it may use; `*` is every module on a lower floor.
const MODULES: &[(&str, u8, &str)] = &[
    // The process: what every part of it stands on.
    ("base", 0, ""),
    // Words: plain values.
    ("dns", 0, ""),
    ("tally", 0, ""),
    ("observation", 0, "base dns"),
    ("progress", 0, "tally"),
    // Reading: bytes in, observations out. The parts do not know each other.
    ("tail", 1, "base progress status"),
    ("zeek", 1, "base dns tally"),
    ("observe", 1, "base dns observation tally zeek"),
    ("status", 1, "base progress tally"),
    ("indicators", 1, "base dns"),
    // Keeping.
    ("store", 2, "base dns observation progress tally"),
    // Asking and feeding.
    ("lookup", 3, "base dns indicators observation store"),
    ("hunt", 3, "base dns indicators observation store"),
    ("output", 3, "base dns hunt indicators lookup observation store"),
    ("ingest", 3, "base dns observation observe output progress status store tail tally zeek"),
    ("evidence", 3, "base dns ingest lookup observation observe progress status store tail tally zeek"),
    ("watch", 3, "base dns indicators lookup observation store"),
    // Faces.
    (
        "http",
        4,
        "base dns evidence hunt indicators ingest lookup observation output page progress status store tally watch",
    ),
    ("page", 4, "base dns evidence lookup observation output status store tally watch"),
    ("deliver", 5, "base http store watch"),
    ("fleet", 5, "base dns http observation output progress store"),
    ("pull", 5, "base http indicators watch"),
    ("daemon", 6, "*"),
    ("cli", 7, "*"),
];

/// Crates that may be named in some files or folders of `src/` only.
const ROOMS: &[(&str, &[&str])] = &[
    ("sled", &["store/sled/engine.rs"]),
    ("bincode", &["store/"]),
    ("lz4_flex", &["store/"]),
    ("warp", &["http/"]),
    ("hyper", &["http/"]),
    ("hyper_util", &["http/"]),
    ("socket2", &["http/"]),
    ("http_body_util", &["http/"]),
    ("tokio_rustls", &["http/"]),
    ("ring", &["http/", "deliver/secret.rs", "watch/export.rs"]),
    ("x509_cert", &["http/tls.rs"]),
    (
        "rustix",
        &[
            "store/private.rs",
            "store/sled.rs",
            "cli/doctor/disk.rs",
            "cli/doctor/user.rs",
            "base/descriptors.rs",
            "base/priority.rs",
            "tail/open.rs",
        ],
    ),
    ("prometheus_client", &["http/"]),
    ("jiff", &["base/time.rs", "output/", "cli/"]),
    ("landlock", &["daemon/sandbox.rs"]),
    ("seccompiler", &["daemon/sandbox.rs"]),
    ("clap_complete", &["cli/"]),
    ("clap_mangen", &["cli/"]),
    ("roff", &["cli/manual/"]),
    ("tokio", &["http/", "daemon/mod.rs"]),
    ("notify", &["tail/"]),
    ("flate2", &["tail/", "http/gzip.rs", "http/fetch.rs", "indicators/input.rs", "fleet/cluster.rs"]),
    ("zstd", &["tail/"]),
    ("idna", &["dns/"]),
    ("maud", &["page/"]),
    ("psl", &["dns/", "ingest/dump.rs"]),
    ("hyperloglockless", &["store/hyperloglog.rs"]),
    ("regex", &["evidence/", "lookup/"]),
    ("regex_syntax", &["lookup/required.rs", "lookup/label_regex.rs"]),
    ("unicode_security", &["lookup/lookalike.rs"]),
    ("toml", &["daemon/config/", "cli/client.rs"]),
    ("clap", &["cli/"]),
    ("anyhow", &["cli/", "daemon/front.rs", "daemon/mod.rs", "main.rs"]),
    ("tracing_subscriber", &["daemon/logging.rs"]),
];

//--- The tests ------------------------------------------------------------------------------------------------------

#[test]
fn modules_import_downward_only() {
    let faults = check(&sources());
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_table_itself_points_downward() {
    let floors: BTreeMap<&str, u8> = MODULES.iter().map(|&(name, floor, _)| (name, floor)).collect();
    assert_eq!(floors.len(), MODULES.len(), "a module is listed twice");
    // Repeatedly take away the modules that use only what is gone already: what stays is a cycle.
    let mut left: BTreeMap<&str, Vec<&str>> = MODULES
        .iter()
        .map(|&(name, _, uses)| (name, uses.split(' ').filter(|name| !["", "*"].contains(name)).collect()))
        .collect();
    for (name, uses) in &left {
        for used in uses {
            assert!(floors[used] <= floors[name], "{name} is below {used}");
        }
    }
    loop {
        let before = left.len();
        let stay: BTreeSet<&str> = left.keys().copied().collect();
        left.retain(|_, uses| uses.iter().any(|used| stay.contains(used)));
        if left.len() == before {
            break;
        }
    }
    assert!(left.is_empty(), "a cycle among {:?}", left.keys());
}

#[test]
fn an_import_upward_is_found() {
    let faults = check_one("store/key.rs", "use crate::http::Reply;\n");
    assert_eq!(faults, ["store/key.rs:1: store (floor 2) may not use http (floor 4)"]);
    let faults = check_one("dns/name.rs", "\nfn f() { crate::lookup::g() }\n");
    assert_eq!(faults, ["dns/name.rs:2: dns (floor 0) may not use lookup (floor 3)"]);
}

#[test]
fn an_import_is_found_however_it_is_written() {
    for source in [
        "use crate::{dns::Name, http};",
        "use crate::{\n    dns::{Name, Rdata},\n    http::{self, Reply},\n};",
        "pub use crate::http as web;",
        "use crate :: http :: Reply;",
        "use super::super::http::Reply;",
        "const T: &str = \"// no comment\"; use crate::http::Reply;",
        "fn f<'a>(x: &'a str) -> char { '\"' } use crate::http::Reply;",
        "const R: &str = r#\"a \" b\"#; use crate::http::Reply;",
        "/* a /* nested */ comment */ use crate::http::Reply;",
    ] {
        assert_eq!(check_one("store/key.rs", source).len(), 1, "{source}");
    }
    assert_eq!(check_one("progress.rs", "use super::http::Reply;").len(), 1);
    assert_eq!(check_one("store/mod.rs", "use super::http::Reply;").len(), 1);
}

#[test]
fn a_sibling_that_is_not_in_the_row_is_found() {
    assert_eq!(check_one("zeek/tsv.rs", "use crate::tail::Line;").len(), 1);
    assert_eq!(check_one("daemon/mod.rs", "use crate::cli;").len(), 1);
    assert!(check_one("daemon/mod.rs", "use crate::http;").is_empty());
    assert_eq!(check_one("main.rs", "use dnsledger::store::ReadStore;").len(), 1);
    assert!(check_one("main.rs", "use dnsledger::cli;").is_empty());
}

#[test]
fn a_crate_outside_its_room_is_found() {
    let faults = check_one("lookup/walk.rs", "use sled::Tree;");
    assert_eq!(faults, ["lookup/walk.rs:1: sled is only for store/sled/engine.rs"]);
    for source in ["use sled;", "fn f(_: ::sled::Db) {}", "use {sled::Db, std::fs};", "extern crate sled;"] {
        assert_eq!(check_one("store/mod.rs", source).len(), 1, "{source}");
    }
    for (path, source) in [
        ("cli/run.rs", "#[tokio::main] async fn main() {}"),
        ("lookup/mod.rs", "fn f() { tokio::spawn(g()); }"),
        ("cof.rs", "use warp::Filter;"),
        ("cof.rs", "fn f(_: hyper::Uri) {}"),
    ] {
        assert_eq!(check_one(path, source).len(), 1, "{source}");
    }
    assert!(check_one("store/sled/engine.rs", "use sled::Tree;").is_empty());
    assert!(check_one("store/mod.rs", "mod sled; pub use self::sled::SledStore;").is_empty());
    assert!(check_one("cli/run.rs", "use crate::store::sled::SledStore;").is_empty());
}

#[test]
fn words_in_comments_literals_and_tests_are_no_imports() {
    for source in [
        "//! See [`crate::http`] and sled::Db.\n",
        "const T: &str = \"crate::http sled::Db\";",
        "const R: &str = r##\"crate::http \"# sled::Db\"##;",
        "const B: &[u8] = b\"crate::http\";",
        "#[cfg(test)]\nmod tests {\n    use crate::http::Reply;\n    fn f() { let _ = \"}\"; }\n}\n",
        "use crate::dns::http;",
        "use self::http::Reply;",
    ] {
        assert_eq!(check_one("store/key.rs", source), [""; 0], "{source}");
    }
    let sources = [
        ("store/mod.rs".to_owned(), "#[cfg(test)]\nmod suite;".to_owned()),
        ("store/suite.rs".to_owned(), "use crate::http::Reply;".to_owned()),
    ];
    assert_eq!(check(&sources), [""; 0]);
    assert_eq!(check(&sources[1..]).len(), 1);
    // What comes after a test module counts again.
    let after = "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::http::Reply;";
    assert_eq!(check_one("store/key.rs", after).len(), 1);
}

#[test]
fn a_circle_among_the_files_of_a_module_is_found() {
    let check = |files: &[(&str, &str)]| {
        check(
            &files
                .iter()
                .map(|(path, source)| ((*path).to_owned(), (*source).to_owned()))
                .collect::<Vec<_>>(),
        )
    };
    let row = ("store/row.rs", "use super::{StoreError, key::{self, Family}};");
    let key = ("store/key.rs", "fn f() -> crate::store::row::Row { g() }");
    assert_eq!(check(&[row, key]), ["store/: a circle among key, row"]);
    let folder = ("store/ledger/open.rs", "use super::Ledger; use super::super::row::Row;");
    let uses_folder = ("store/row.rs", "use super::ledger::Ledger;");
    let ledger = ("store/ledger/mod.rs", "mod open;");
    assert_eq!(check(&[folder, ledger, uses_folder]), ["store/: a circle among ledger, row"]);
    // What a folder shares with its files, and what only tests need, is none.
    let tests = ("store/key.rs", "#[cfg(test)]\nmod tests { use super::super::row::Row; }");
    assert!(check(&[row, tests]).is_empty());
    assert!(check(&[folder, ledger, ("store/row.rs", "use super::StoreError;")]).is_empty());
}

#[test]
fn a_module_without_a_row_is_found() {
    assert_eq!(
        check_one("helpers.rs", "fn f() {}"),
        ["helpers.rs: module helpers has no row in tests/it/layers.rs: give it a floor"]
    );
    assert_eq!(
        check_one("store/key.rs", "use crate::helpers;"),
        ["store/key.rs:1: store uses helpers, which has no row in tests/it/layers.rs"]
    );
}

//--- The check ------------------------------------------------------------------------------------------------------

/// All of `src/`, by path below it.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    assert!(files.len() > 10, "src/ was not found");
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn check_one(path: &str, source: &str) -> Vec<String> {
    check(&[(path.to_owned(), source.to_owned())])
}

/// What is wrong with some files, as one line each.
fn check(sources: &[(String, String)]) -> Vec<String> {
    let rows: BTreeMap<&str, (u8, &str)> =
        MODULES.iter().map(|&(name, floor, uses)| (name, (floor, uses))).collect();
    let code: Vec<(&str, Vec<Token>)> =
        sources.iter().map(|(path, source)| (path.as_str(), tokens(source))).collect();
    let tests: BTreeSet<String> = code.iter().flat_map(|(path, tokens)| test_files(path, tokens)).collect();
    let is_test =
        |path: &str| tests.iter().any(|test| path == test || (test.ends_with('/') && path.starts_with(test)));
    let code: Vec<(&str, Vec<Token>)> = code
        .iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, tokens)| (*path, without_tests(tokens)))
        .collect();
    let mut faults = circles(&code);
    for (path, tokens) in &code {
        let module = path.split(['/', '.']).next().unwrap();
        let (floor, may_use) = match (module, rows.get(module)) {
            ("lib", _) => (u8::MAX, ""),
            ("main", _) => (u8::MAX, "cli"),
            (_, Some(&row)) => row,
            (_, None) => {
                faults.push(format!(
                    "{path}: module {module} has no row in tests/it/layers.rs: give it a floor"
                ));
                continue;
            }
        };
        for (line, used) in modules_used(path, tokens) {
            match rows.get(used.as_str()) {
                _ if used == module || may_use.split(' ').any(|name| name == used) => {}
                Some(&(used_floor, _)) if may_use == "*" && used_floor < floor => {}
                Some((used_floor, _)) => faults.push(format!(
                    "{path}:{line}: {module} (floor {floor}) may not use {used} (floor {used_floor})"
                )),
                None => faults.push(format!(
                    "{path}:{line}: {module} uses {used}, which has no row in tests/it/layers.rs"
                )),
            }
        }
        for (line, named) in crates_named(tokens) {
            let rooms =
                ROOMS.iter().find(|(name, _)| *name == named).map_or([].as_slice(), |(_, rooms)| rooms);
            if !rooms.iter().any(|room| path.starts_with(room)) {
                faults.push(format!("{path}:{line}: {named} is only for {}", rooms.join(", ")));
            }
        }
    }
    faults
}

/// The path of the module that a file holds.
fn module_of(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// Where the files of one folder import each other in a circle. A folder counts as one with all that is in it, and `mod.rs` with
/// the folder it is in.
fn circles(code: &[(&str, Vec<Token>)]) -> Vec<String> {
    let modules: BTreeSet<Vec<String>> = code.iter().map(|(path, _)| module_of(path)).collect();
    let mut folders: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (path, tokens) in code {
        let own = module_of(path);
        for used in paths_named(&own, tokens) {
            let shared = own.iter().zip(&used).take_while(|(a, b)| a == b).count();
            let (Some(from), Some(to)) = (own.get(shared), used.get(shared)) else { continue };
            if shared > 0 && modules.contains(&used[..=shared]) {
                let folder = folders.entry(own[..shared].to_vec()).or_default();
                folder.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    let mut faults = Vec::new();
    for (folder, mut left) in folders {
        // As long as one uses only what is gone already it is in no circle.
        loop {
            let stay: BTreeSet<String> = left.keys().cloned().collect();
            left.retain(|_, uses| uses.iter().any(|used| stay.contains(used)));
            if left.len() == stay.len() {
                break;
            }
        }
        if !left.is_empty() {
            let names: Vec<&str> = left.keys().map(String::as_str).collect();
            faults.push(format!("{}/: a circle among {}", folder.join("/"), names.join(", ")));
        }
    }
    faults
}

/// The paths of this crate that a module names, from the root on.
fn paths_named(own: &[String], tokens: &[Token]) -> Vec<Vec<String>> {
    let mut named = Vec::new();
    for start in 0..tokens.len() {
        if start > 0 && tokens[start - 1].text == "::" {
            continue;
        }
        let supers = (0..).take_while(|step| is_path(tokens, start + 2 * step, "super")).count();
        let (base, rest) = match () {
            () if is_path(tokens, start, "crate") => (0, start + 2),
            () if is_path(tokens, start, "self") => (own.len(), start + 2),
            () if supers > 0 => (own.len().saturating_sub(supers), start + 2 * supers),
            () => continue,
        };
        branches(&tokens[rest..], &mut own[..base].to_vec(), &mut named);
    }
    named
}

/// Follows a path to all its ends; gives how many tokens it has.
fn branches(tokens: &[Token], base: &mut Vec<String>, named: &mut Vec<Vec<String>>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    if text(0) != "{" {
        base.push(text(0).to_owned());
        let length = if text(1) == "::" { 2 + branches(&tokens[2..], base, named) } else { 1 };
        if length == 1 {
            named.push(base.clone());
        }
        base.pop();
        return length;
    }
    let mut at = 1;
    while !matches!(text(at), "}" | "") {
        at += if text(at) == "," { 1 } else { branches(&tokens[at..], base, named) };
    }
    at + 1
}

/// The modules that a file names as `crate::x`, `crate::{x, y}`, `dnsledger::x`, or by `super` out of its own module.
fn modules_used(path: &str, tokens: &[Token]) -> Vec<(usize, String)> {
    // How many `super`s lead from the file's module to the root.
    let depth = path.trim_end_matches("mod.rs").trim_end_matches('/').split('/').count();
    let mut used = Vec::new();
    for start in 0..tokens.len() {
        let supers = (0..).take_while(|step| is_path(tokens, start + 2 * step, "super")).count();
        let begins = start == 0 || tokens[start - 1].text != "::";
        let rest = if is_path(tokens, start, "crate") || is_path(tokens, start, "dnsledger") {
            start + 2
        } else if begins && supers == depth {
            start + 2 * supers
        } else {
            continue;
        };
        used.extend(heads(&tokens[rest..]));
    }
    used
}

/// Whether a word and then `::` stand here.
fn is_path(tokens: &[Token], at: usize, word: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.text == word)
        && tokens.get(at + 1).is_some_and(|token| token.text == "::")
}

/// The first words of a path, or of each path of a group in braces.
fn heads(tokens: &[Token]) -> Vec<(usize, String)> {
    let Some(first) = tokens.first() else { return Vec::new() };
    if first.text != "{" {
        return vec![(first.line, first.text.clone())];
    }
    let (mut depth, mut fresh, mut heads) = (0, false, Vec::new());
    for token in tokens {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                fresh = depth == 1;
            }
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => fresh = depth == 1,
            word if fresh => {
                heads.push((token.line, word.to_owned()));
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

/// The crates with a room that a file names: at the start of a path, or alone in a `use`.
fn crates_named(tokens: &[Token]) -> Vec<(usize, String)> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut named = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if !ROOMS.iter().any(|(name, _)| *name == token.text) {
            continue;
        }
        let before = if at > 0 { text(at - 1) } else { "" };
        // `::sled` begins a path unless a word or a bracket stands before it.
        let rooted = before == "::" && (at < 2 || !text(at - 2).ends_with(|c: char| is_word(c) || c == '>'));
        let begins = before != "::" && before != ".";
        let whole =
            matches!(before, "use" | "crate" | "{" | ",") && matches!(text(at + 1), ";" | "as" | "}" | ",");
        if (begins || rooted) && (text(at + 1) == "::" || (whole && in_use(tokens, at))) {
            named.push((token.line, token.text.clone()));
        }
    }
    named
}

/// Whether a token belongs to a `use` or `extern crate` that begins a path there.
fn in_use(tokens: &[Token], at: usize) -> bool {
    let statement = tokens[..at].iter().rev().take_while(|token| token.text != ";");
    let words: Vec<&str> = statement.map(|token| token.text.as_str()).collect();
    let begins = words.iter().position(|word| matches!(*word, "use" | "extern"));
    begins.is_some_and(|begins| !words[..begins].contains(&"::"))
}

//--- Tokens ---------------------------------------------------------------------------------------------------------

/// A word, `::`, or one other character of code.
#[derive(Debug, Clone, PartialEq)]
struct Token {
    line: usize,
    text: String,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The code of a source, without comments and literals.
fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = literal(rest) {
            length
        } else if c.is_whitespace() {
            c.len_utf8()
        } else {
            let length = match rest.find(|c| !is_word(c)).unwrap_or(rest.len()) {
                0 if rest.starts_with("::") => 2,
                0 => c.len_utf8(),
                word => word,
            };
            tokens.push(Token { line, text: rest[..length].to_owned() });
            length
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let step = match &text[at..] {
            rest if rest.starts_with("/*") => {
                depth += 1;
                2
            }
            rest if rest.starts_with("*/") => {
                depth -= 1;
                2
            }
            rest => rest.chars().next().unwrap().len_utf8(),
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string or character that begins here, its prefix included.
fn literal(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let after = text.strip_prefix(prefix).unwrap_or_default();
        after.starts_with('"') || (prefix.ends_with('r') && after.trim_start_matches('#').starts_with('"'))
    });
    if let Some(prefix) = prefix {
        let after = &text[prefix.len()..];
        if prefix.ends_with('r') {
            let hashes = after.len() - after.trim_start_matches('#').len();
            let end = format!("\"{}", "#".repeat(hashes));
            let body = prefix.len() + hashes + 1;
            return Some(text[body..].find(&end).map_or(text.len(), |at| body + at + end.len()));
        }
        return Some(prefix.len() + quoted(after, '"'));
    }
    let prefix = if text.starts_with("b'") { 1 } else { 0 };
    let mut chars = text[prefix..].chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('\''), Some('\\'), _) | (Some('\''), _, Some('\'')) => {
            Some(prefix + quoted(&text[prefix..], '\''))
        }
        // A lifetime: the quote alone, so that its name is read as a word.
        _ => None,
    }
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

//--- Test modules ---------------------------------------------------------------------------------------------------

/// Where `#[cfg(test)] mod name` stands, and the index after the name.
fn test_modules(tokens: &[Token]) -> impl Iterator<Item = (usize, usize)> {
    const HEAD: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    (0..tokens.len()).filter_map(|at| {
        let head = tokens.get(at..at + HEAD.len())?;
        (head.iter().map(|token| token.text.as_str()).eq(HEAD)).then_some((at, at + HEAD.len() + 1))
    })
}

/// The files and folders that hold the test modules of a file.
fn test_files(path: &str, tokens: &[Token]) -> Vec<String> {
    let folder =
        path.strip_suffix("mod.rs").map_or(path.trim_end_matches(".rs").to_owned() + "/", str::to_owned);
    test_modules(tokens)
        .flat_map(|(_, after)| {
            let name = &tokens[after - 1].text;
            [format!("{folder}{name}.rs"), format!("{folder}{name}/")]
        })
        .collect()
}

/// The tokens outside of test modules.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = tokens.to_vec();
    let starts: Vec<(usize, usize)> = test_modules(tokens).collect();
    for (start, after) in starts.into_iter().rev() {
        let mut depth = 0;
        let length = tokens[after..].iter().position(|token| {
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let end = length.map_or(tokens.len(), |length| after + length + 1);
        kept.drain(start..end.min(kept.len()));
    }
    kept
}
