//! That what the project says of itself is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::env::skipped;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn every_direct_dependency_is_explained() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let page = read("docs/dev/dependencies.md");
    for section in ["dependencies", "dev-dependencies"] {
        for name in manifest[section].as_table().unwrap().keys() {
            let named = page
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
                .any(|word| word == name);
            assert!(named, "docs/dev/dependencies.md does not say what {name} is for");
        }
    }
}

#[test]
fn accepted_advisories_are_the_same_on_the_page_and_in_the_configuration() {
    let ids = |text: &str| {
        let mut ids: Vec<String> = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .filter(|word| word.starts_with("RUSTSEC-"))
            .map(str::to_owned)
            .collect();
        ids.sort();
        ids.dedup();
        ids
    };
    let configured = ids(&read("deny.toml"));
    assert!(!configured.is_empty());
    assert_eq!(ids(&read("docs/dev/dependencies.md")), configured);
}

/// The metrics that the page lists.
pub fn documented_metrics() -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `dnsledger_"));
    rows.filter_map(|row| Some(format!("dnsledger_{}", row.split('`').next()?))).collect()
}

#[test]
fn rules_and_dashboard_ask_for_metrics_that_there_are() {
    let documented = documented_metrics();
    assert!(documented.len() > 15);
    for path in ["packaging/prometheus/alerts.yml", "packaging/grafana/dnsledger.json"] {
        let text = read(path);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let used: BTreeSet<&str> = words.filter(|word| word.starts_with("dnsledger_")).collect();
        assert!(used.len() > 4, "{path}");
        for name in used {
            let plain = name.trim_end_matches("_bucket");
            assert!(documented.contains(plain), "{path}: docs/metrics.md does not list {plain}");
        }
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("packaging/grafana/dnsledger.json")).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 5);
}

#[test]
fn the_units_are_sound_and_closed() {
    for unit in [
        "dnsledger.service",
        "dnsledger-deliver.service",
        "dnsledger-forward.service",
        "dnsledger-pull.service",
    ] {
        is_sound_and_closed(unit);
    }
}

#[test]
fn a_timer_starts_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let unit =
        |name: &str| read(&format!("packaging/systemd/{name}")).replace("/usr/bin/dnsledger", "/bin/true");
    for name in ["dnsledger-pull.service", "dnsledger-pull.timer"] {
        fs::write(folder.path().join(name), unit(name)).unwrap();
    }
    let timer = folder.path().join("dnsledger-pull.timer");
    let verified = match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&timer).output() {
        Ok(verified) => verified,
        Err(error) if std::env::var_os("CI").is_none() => {
            return skipped(&format!("the timer is not checked: systemd-analyze: {error}"));
        }
        Err(error) => panic!("systemd-analyze: {error}"),
    };
    let said = String::from_utf8(verified.stderr).unwrap();
    assert!(verified.status.success() && said.is_empty(), "{said}");
}

fn is_sound_and_closed(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join(name);
    // The program must be there for a unit to be sound; here any will do.
    fs::write(&unit, read(&format!("packaging/systemd/{name}")).replace("/usr/bin/dnsledger", "/bin/true"))
        .unwrap();
    let analyze = |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).arg(&unit).output();
    let verified = match analyze(&["verify", "--man=no"]) {
        Ok(verified) => verified,
        Err(error) if std::env::var_os("CI").is_none() => {
            return skipped(&format!("the unit is not checked: systemd-analyze: {error}"));
        }
        Err(error) => panic!("systemd-analyze: {error}"),
    };
    // It ends well with an unknown key too, and only says so.
    let said = String::from_utf8(verified.stderr).unwrap();
    assert!(verified.status.success() && said.is_empty(), "{said}");
    let exposure = analyze(&["security", "--offline=yes", "--threshold=20"]).unwrap();
    let said = String::from_utf8(exposure.stdout).unwrap();
    assert!(exposure.status.success(), "{said}{}", String::from_utf8(exposure.stderr).unwrap());
}

#[test]
fn what_packages_are_made_of_is_there() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let metadata = &manifest["package"]["metadata"];
    let deb = metadata["deb"]["assets"].as_array().unwrap().iter().map(|asset| asset[0].as_str().unwrap());
    let rpm = metadata["generate-rpm"]["assets"].as_array().unwrap();
    let rpm = rpm.iter().map(|asset| asset["source"].as_str().unwrap());
    for source in deb.chain(rpm).filter(|source| !source.starts_with("target/")) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let is_there = match path.file_name().unwrap().to_str().unwrap().split_once('*') {
            None => path.is_file(),
            Some((_, ending)) => fs::read_dir(path.parent().unwrap())
                .unwrap()
                .any(|entry| entry.unwrap().file_name().to_str().unwrap().ends_with(ending)),
        };
        assert!(is_there, "{source}");
    }
    for script in ["debian/postinst", "debian/postrm", "build-static", "test-static", "test-debian"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(script);
        let checked = Command::new("bash").arg("-n").arg(&path).output().unwrap();
        assert!(checked.status.success(), "{script}: {}", String::from_utf8(checked.stderr).unwrap());
    }
}

#[test]
fn the_gate_runs_the_test_command_of_the_readme() {
    let command = "cargo test --locked";
    assert!(read("README.md").contains(&format!("`{command}`")));
    assert!(read(".ci/run").lines().any(|line| line == command));
}

#[test]
fn the_readme_is_one_screen_and_its_links_lead_somewhere() {
    let readme = read("README.md");
    assert!(readme.lines().count() <= 100, "{} lines", readme.lines().count());
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = read(page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let local = !link.contains("://");
            assert!(!local || Path::new(env!("CARGO_MANIFEST_DIR")).join(link).exists(), "{page}: {link}");
        }
    }
    assert!(read("ARCHITECTURE.md").lines().count() <= 200);
}

/// The text of all `.rs` files below a folder.
fn code_below(folder: &std::path::Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            code_below(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &std::fs::read_to_string(&path).unwrap();
        }
    }
}

#[test]
fn each_test_that_the_pages_on_following_and_on_threats_name_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for folder in ["src", "tests"] {
        code_below(&root.join(folder), &mut code);
    }
    let following = std::fs::read_to_string(root.join("docs/dev/following.md")).unwrap();
    let threats = std::fs::read_to_string(root.join("THREATS.md")).unwrap();
    let (_, costs) = threats.split_once("## What hostile input costs").unwrap();
    let (costs, _) = costs.split_once("\n## ").unwrap();
    let rows = following.lines().chain(costs.lines());
    let rows = rows.filter(|line| line.starts_with("| ") && !line.ends_with("tests |"));
    let mut named = 0;
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for test in tests.split(", ").map(|test| test.trim_matches('`')) {
            let function = format!("#[test]\n{{}}fn {test}(");
            let is_there = ["", "    ", "        "]
                .iter()
                .any(|indent| code.contains(&function.replace("{}", indent)))
                || ["actions in", "a: u64"].iter().any(|first| code.contains(&format!("fn {test}({first}")));
            assert!(is_there, "{row}: no test {test}");
            named += 1;
        }
    }
    assert!(named > 70, "{named}");
}

#[test]
fn each_file_and_function_that_the_architecture_names_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut code, mut files) = (String::new(), Vec::new());
    for folder in ["src", "tests"] {
        code_below(&root.join(folder), &mut code);
        files_below(&root.join(folder), &mut files);
    }
    let page = read("ARCHITECTURE.md");
    let words = page.split('`').skip(1).step_by(2);
    let (mut named, mut gone) = (0, Vec::new());
    for word in words {
        let is_there = if word.ends_with(".rs") {
            files.iter().any(|file| file.ends_with(&format!("/{word}")))
        } else if let Some((_, name)) = word.rsplit_once("::") {
            ["fn ", "const ", "enum ", "struct ", "    "].iter().any(|kind| {
                ["(", "<", ":", ",", " "].iter().any(|end| code.contains(&format!("{kind}{name}{end}")))
            })
        } else {
            continue;
        };
        named += 1;
        if !is_there {
            gone.push(word);
        }
    }
    assert!(gone.is_empty(), "not there: {gone:?}");
    assert!(named > 80, "{named}");
}

/// The paths of all files below a folder.
fn files_below(folder: &std::path::Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, files) } else { files.push(path.display().to_string()) }
    }
}
