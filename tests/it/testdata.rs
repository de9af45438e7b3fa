//! That `testdata/zeek-tree` and its JSON twin are what the generator makes.
//!
//! `BLESS=1 cargo test --test it testdata` makes them anew.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use generate::{Config, Format, JsonTimes, write_tree};

/// Some 650 records: three archives over two days, and a log that is still being written.
fn config() -> Config {
    Config {
        seed: 53,
        lines: 655,
        start: 1_712_965_200, // 2024-04-12T23:40:00Z
        lines_per_second: 430.0 / 3_600.0,
        rare: 0.03,
        ..Config::default()
    }
}

/// Seconds between rotations.
const ROTATION: u64 = 1_800;

#[test]
fn the_tree_is_what_the_generator_makes() {
    compare("zeek-tree", Format::Tsv);
}

#[test]
fn the_json_tree_is_its_twin() {
    compare("zeek-tree-json", Format::Json { times: JsonTimes::Iso8601, path: false });
}

fn compare(name: &str, format: Format) {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    if std::env::var_os("BLESS").is_some() {
        if kept.exists() {
            fs::remove_dir_all(&kept).unwrap();
        }
        write_tree(config().generate(), format, &kept, ROTATION).unwrap();
    }
    let made = tempfile::tempdir().unwrap();
    write_tree(config().generate(), format, made.path(), ROTATION).unwrap();
    let (kept, made) = (contents(&kept), contents(made.path()));
    assert_eq!(kept.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>());
    assert_eq!(made.len(), 4);
    for (path, content) in &made {
        assert!(kept[path] == *content, "{} differs from what the generator makes", path.display());
    }
}

/// The files below a folder, unpacked: another version of the compressor may pack the same text otherwise.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
                continue;
            }
            let (mut file, mut content) = (File::open(&path).unwrap(), Vec::new());
            if path.extension().is_some_and(|extension| extension == "gz") {
                GzDecoder::new(file).read_to_end(&mut content).unwrap();
            } else {
                file.read_to_end(&mut content).unwrap();
            }
            found.insert(path.strip_prefix(root).unwrap().to_owned(), content);
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}
