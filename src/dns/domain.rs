//! The registrable domain of a name, by the public suffix list that the crate `psl` carries.

use psl::Psl;

use super::Name;

/// The number of the list: another version of it has another one, so that what was made by it is known again.
pub const SUFFIX_LIST: u32 = number(env!("DNSLEDGER_SUFFIX_LIST").as_bytes());

/// FNV-1a.
const fn number(mut text: &[u8]) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    while let [first, rest @ ..] = text {
        hash = (hash ^ *first as u32).wrapping_mul(0x0100_0193);
        text = rest;
    }
    hash
}

/// How many bytes of a name in key form are those of its registrable domain: the public suffix and one label more. What is
/// below the domain starts with them. `None` for a public suffix and for the root.
pub fn registrable_length(key: &[u8]) -> Option<usize> {
    let labels = || {
        let labels = key.split_inclusive(|&byte| byte == 0);
        labels
            .filter_map(|label| label.split_last().map(|(_, label)| label))
            .filter(|label| !label.is_empty())
    };
    // Its bytes with a dot between labels.
    let mut suffix = psl::List.find(labels()).len;
    let mut at = 0;
    for label in labels() {
        at += label.len() + 1;
        if suffix == 0 {
            return Some(at);
        }
        let dot = usize::from(at > label.len() + 1);
        suffix = suffix.saturating_sub(label.len() + dot);
    }
    None
}

/// Whether a name is under a suffix of the list, and not only under some word.
pub fn has_listed_suffix(name: &Name) -> bool {
    let labels = name.labels();
    psl::List.find(labels.iter().rev().map(Vec::as_slice)).typ.is_some()
}

/// The name that was registered: the public suffix and one label more. `None` for a public suffix and for the root.
pub fn registrable(name: &Name) -> Option<Name> {
    let length = registrable_length(name.key())?;
    let mut key = name.key().get(..length)?.to_vec();
    key.push(0);
    Name::from_key(&key).ok()
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
        assert_eq!(domain("a.b.s3.amazonaws.com"), Some("b.s3.amazonaws.com".to_owned()));
        assert_eq!(domain("a.b.c.ck"), Some("b.c.ck".to_owned()));
        assert_eq!(domain("a.www.ck"), Some("www.ck".to_owned()));
        assert_eq!(domain("a.\\001x.example.com"), Some("example.com".to_owned()));
        for none in ["com", "co.uk", ".", "corp"] {
            assert_eq!(domain(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_below_a_domain_starts_with_it() {
        let (domain, below) =
            (Name::parse("example.co.uk").unwrap(), Name::parse("x.y.example.co.uk").unwrap());
        let length = registrable_length(below.key()).unwrap();
        assert_eq!(&below.key()[..length], domain.subtree_key());
        assert_eq!(registrable_length(domain.key()), Some(length));
    }
}
