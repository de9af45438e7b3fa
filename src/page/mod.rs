//! The page: what a person with a browser sees of the ledger.
//!
//! Everything is rendered here, on the server, as HTML with SVG in it; the style and the little script it has are files of
//! the program ([`ASSETS`]), and nothing is fetched from anywhere else. It works without the script: each view is a link.
//!
//! - [`link`] is a view as its URL has it, and the way there;
//! - [`gather`] asks the ledger, within bounds; [`crate::dns`] knows where registrable names begin;
//! - [`shell`] is the frame of every page, [`table`] and [`timeline`] are rows with their bars on one axis of time;
//! - [`results`], [`list`], [`name`], [`address`], [`evidence`], [`hits`], [`status`] and [`fault`] are the pages.
//!
//! # Escaping
//!
//! Markup is made by maud, which escapes every text and every attribute that is put in; `PreEscaped`, the way around it, is
//! not used here, and a test holds that. Text of the ledger is printable ASCII already; what comes from elsewhere (the
//! query, a sensor's name, a path) loses its control and direction characters on the way ([`shell::safe`]).
//!
//! This module knows no HTTP: `http/page.rs` serves what it makes.

mod address;
mod evidence;
mod fault;
mod gather;
mod hits;
mod link;
mod list;
mod name;
mod results;
mod shell;
mod status;
mod table;
mod timeline;

use std::sync::LazyLock;

pub use address::address_page;
pub use evidence::{EvidenceLines, evidence_page};
pub use fault::fault_page;
pub use gather::{Address, GatherError, Profile, Results, address, name, search};
pub use hits::{HitPage, hits_page};
pub use link::{Subject, Trail, View};
pub use list::{Hunted, Listed, list_page};
pub use name::name_page;
pub use results::{home_page, results_page};
pub use shell::Frame;
pub use status::{StatusPage, status_page};

/// A file that pages refer to.
pub struct Asset {
    /// Its name below `/assets/`.
    pub name: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
    /// A hash of that, as hexadecimal digits: its version.
    pub hash: String,
}

/// All files that pages refer to.
pub static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    let asset = |name, content_type, bytes: &'static [u8]| Asset {
        name,
        content_type,
        bytes,
        hash: format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes)),
    };
    [
        asset("page.css", "text/css; charset=utf-8", include_bytes!("assets/page.css")),
        asset("page.js", "text/javascript; charset=utf-8", include_bytes!("assets/page.js")),
        asset("icon.svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
    ]
});

/// The path of an asset. Its version is part of it, so that a browser may keep it for ever.
fn asset_path(name: &str) -> String {
    let hash = ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| asset.hash.as_str());
    format!("/assets/{name}?v={hash}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn markup_is_never_made_around_the_escaping() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page");
        let mut files = 0;
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let around = ["PreEscaped", "("].concat();
                assert!(!fs::read_to_string(&path).unwrap().contains(&around), "{}", path.display());
                files += 1;
            }
        }
        assert!(files > 5);
    }

    #[test]
    fn what_is_fetched_besides_the_page_is_small() {
        let bytes: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
        assert!(bytes < 40_000, "{bytes} bytes");
    }
}
