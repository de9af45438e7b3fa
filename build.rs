//! Tells the program which commit it is built from.
//!
//! A released binary names its commit. Other builds do not: they would be built anew after each commit. A tarball has no
//! repository; there `DNSLEDGER_COMMIT` says it, or cargo's own note in a published package.

#![allow(clippy::print_stdout, reason = "that is how a build script speaks to cargo")]

use std::path::Path;
use std::process::Command;

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DNSLEDGER_COMMIT");
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rustc-env=DNSLEDGER_SUFFIX_LIST={}", suffix_list());
    let commit = std::env::var("DNSLEDGER_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = commit.or_else(|| if is_release { of_repository().or_else(of_package) } else { None });
    println!("cargo::rustc-env=DNSLEDGER_BUILT_FROM={}", commit.as_deref().unwrap_or("unknown"));
    println!("cargo::rerun-if-changed=src/http/openapi.json");
    let document = std::fs::read_to_string("src/http/openapi.json")?;
    let place = Path::new(&std::env::var_os("OUT_DIR").unwrap_or_default()).join("openapi.json");
    std::fs::write(place, without_spaces(&document))
}

/// JSON without the spaces and line ends that are for people.
fn without_spaces(json: &str) -> String {
    let (mut in_string, mut is_escaped) = (false, false);
    let is_kept = |c: &char| {
        let is_kept = in_string || !c.is_ascii_whitespace();
        in_string ^= *c == '"' && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        is_kept
    };
    json.chars().filter(is_kept).collect()
}

/// The version of the public suffix list: that of the crate which carries it.
fn suffix_list() -> String {
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    let version = lock.split("name = \"psl\"").nth(1).and_then(|rest| rest.split("version = \"").nth(1));
    let version = version.and_then(|rest| rest.split('"').next());
    // Without the file a new release is what may bring another list.
    version.map_or_else(|| format!("of {}", env!("CARGO_PKG_VERSION")), |version| format!("psl {version}"))
}

/// The commit that is checked out, if this folder is a repository of its own.
fn of_repository() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    for path in ["HEAD", "logs/HEAD"] {
        println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", path])?);
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if is_clean { commit } else { format!("{commit}-changed") })
}

/// What cargo noted when the package was made.
fn of_package() -> Option<String> {
    let note = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let commit = note.split("\"sha1\": \"").nth(1)?.split('"').next()?;
    commit.get(..12).map(str::to_owned)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
