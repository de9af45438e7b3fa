//! Manual pages that are no command's: of the configuration, made of the packaged file, and of the query language, made of its
//! page in docs/. So there is one place for each fact.

use roff::{Inline, Roff, bold, roman};

/// The packaged configuration: each key at its default, with its comment above it.
const CONFIG: &str = include_str!("../../../packaging/dnsledger.toml");
/// The page on the query language.
const QUERY: &str = include_str!("../../../docs/query.md");

/// The pages: their file names, and what is in them.
pub fn pages() -> [(&'static str, String); 2] {
    [("dnsledger.toml.5", config()), ("dnsledger-query.7", query())]
}

fn head(name: &str, section: &str, about: &str) -> Roff {
    let mut page = Roff::new();
    page.control("TH", [name, section, "", concat!("dnsledger ", env!("CARGO_PKG_VERSION"))]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {about}"))]);
    page
}

/// dnsledger.toml(5). In the file all is commented out: a line that reads like a key or a section is one, any other is prose.
fn config() -> String {
    let mut page = head("dnsledger.toml", "5", "configuration of the dnsledger daemon");
    page.control("SH", ["DESCRIPTION"]);
    let mut prose = Vec::new();
    for line in CONFIG.lines().map(|line| line.trim_start_matches('#').trim()) {
        let is_key = line
            .split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        if line.starts_with('[') {
            flush(&mut page, &mut prose);
            page.control("SH", [line]);
        } else if is_key {
            page.control("TP", []);
            page.text([bold(line)]);
            page.text(styled(&prose.join(" ")));
            prose.clear();
        } else if line.is_empty() {
            flush(&mut page, &mut prose);
        } else {
            prose.push(line.to_owned());
        }
    }
    flush(&mut page, &mut prose);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("dnsledger"), roman("(1), "), bold("dnsledger-query"), roman("(7)")]);
    page.render()
}

/// dnsledger-query(7).
fn query() -> String {
    let mut page = head("dnsledger-query", "7", "what dnsledger can be asked");
    page.control("SH", ["DESCRIPTION"]);
    let mut prose: Vec<String> = Vec::new();
    for line in QUERY.lines().skip(1) {
        if let Some(title) = line.strip_prefix("## ") {
            flush(&mut page, &mut prose);
            page.control("SH", [title.to_uppercase().as_str()]);
        } else if let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) {
            flush(&mut page, &mut prose);
            // A pipe within a cell is escaped.
            let cells = cells.replace("\\|", "\u{0}");
            let mut cells = cells.split(" | ").map(|cell| cell.replace('\u{0}', "|"));
            page.control("TP", []);
            page.text(styled(&cells.next().unwrap_or_default()));
            page.text(styled(&cells.collect::<Vec<_>>().join("; ")));
        } else if line.starts_with("|--") {
            // It only divides the heads of a table from its rows.
        } else if line.is_empty() {
            flush(&mut page, &mut prose);
        } else {
            prose.push(line.to_owned());
        }
    }
    flush(&mut page, &mut prose);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("dnsledger-lookup"), roman("(1)")]);
    page.render()
}

/// A paragraph, if there is one.
fn flush(page: &mut Roff, prose: &mut Vec<String>) {
    if !prose.is_empty() {
        page.control("PP", []);
        page.text(styled(&prose.join(" ")));
        prose.clear();
    }
}

/// Text with what is between backticks in bold.
fn styled(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts.map(|(i, part)| if i % 2 == 1 { bold(part) } else { roman(part.replace('*', "")) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_have_every_key_and_every_kind_of_query() {
        let [(_, config), (_, query)] = pages();
        for key in ["data_dir", "max_disk", "names_per_domain_except", "commit_interval"] {
            assert!(config.contains(&format!("\\fB{key} = ")), "{key}: {config}");
        }
        assert!(config.contains(".SH [[source]]") || config.contains(".SH \"[[source]]\""), "{config}");
        for kind in ["*.example.com", "192.0.2.0/24", "/regex/", "during", "first_before"] {
            assert!(query.contains(&format!("\\fB{}", kind.replace('-', "\\-"))), "{kind}: {query}");
        }
    }
}
