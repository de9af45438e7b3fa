//! The registrable domain of a name, by the public suffix list that the crate `psl` carries.

use crate::dns::Name;

/// The name that was registered: the public suffix and one label more. `None` for a public suffix, for the root, and for a
/// name with a dot inside a label.
pub fn registrable(name: &Name) -> Option<Name> {
    let labels = name.labels();
    if labels.iter().any(|label| label.contains(&b'.')) {
        return None;
    }
    let text = labels.join(&b'.');
    let length = psl::domain(&text)?.as_bytes().split(|byte| *byte == b'.').count();
    let skip = labels.len().checked_sub(length)?;
    Name::from_labels(labels.iter().skip(skip).map(Vec::as_slice)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_suffix_decides_what_can_be_registered() {
        let domain = |name: &str| registrable(&Name::parse(name).unwrap()).map(|name| name.to_string());
        assert_eq!(domain("www.example.co.uk"), Some("example.co.uk".to_owned()));
        assert_eq!(domain("a.b.example.com"), Some("example.com".to_owned()));
        assert_eq!(domain("example.com"), Some("example.com".to_owned()));
        assert_eq!(domain("printer.office.corp"), Some("office.corp".to_owned()));
        for none in ["com", "co.uk", ".", "corp"] {
            assert_eq!(domain(none), None, "{none}");
        }
    }
}
