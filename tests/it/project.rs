//! That what the project says of itself is so.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn every_direct_dependency_is_explained() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let page = read("docs/dependencies.md");
    for section in ["dependencies", "dev-dependencies"] {
        for name in manifest[section].as_table().unwrap().keys() {
            let named = page
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
                .any(|word| word == name);
            assert!(named, "docs/dependencies.md does not say what {name} is for");
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
    assert_eq!(ids(&read("docs/dependencies.md")), configured);
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
