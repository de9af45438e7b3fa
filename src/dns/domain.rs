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

/// The labels of a name in key form, the last one first.
fn labels_of(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let labels = key.split_inclusive(|&byte| byte == 0);
    labels.filter_map(|label| label.split_last().map(|(_, label)| label)).filter(|label| !label.is_empty())
}

/// The public suffix by labels, the last one first. The list is large code: it is there for one type of iterator only.
fn suffix_of(labels: &mut dyn Iterator<Item = &[u8]>) -> psl::Info {
    psl::List.find(labels)
}

/// How many bytes of a name in key form are those of its registrable domain: the public suffix and one label more. What is
/// below the domain starts with them. `None` for a public suffix and for the root.
pub fn registrable_length(key: &[u8]) -> Option<usize> {
    // Its bytes with a dot between labels.
    let mut suffix = suffix_of(&mut labels_of(key)).len;
    let mut at = 0;
    for label in labels_of(key) {
        at += label.len() + 1;
        if suffix == 0 {
            return Some(at);
        }
        let dot = usize::from(at > label.len() + 1);
        suffix = suffix.saturating_sub(label.len() + dot);
    }
    None
}

/// Whether these labels, in key form, are the registrable domain of themselves and of all that begins with them. Where it takes another
/// label to decide it, they are not.
pub fn is_registrable_prefix(prefix: &[u8]) -> bool {
    let mut more = false;
    let mut one_more = std::iter::from_fn(|| {
        more = true;
        None
    });
    suffix_of(&mut labels_of(prefix).chain(&mut one_more));
    // The list did not ask for one more label, so it would say the same whatever that is.
    !more && registrable_length(prefix) == Some(prefix.len())
}

/// Whether a name is under a suffix of the list, and not only under some word.
pub fn has_listed_suffix(name: &Name) -> bool {
    suffix_of(&mut labels_of(name.key())).typ.is_some()
}

/// Whether a name is a public suffix that is, or may be, a host of its own: one of a provider, or one that a wildcard of the list makes a
/// suffix. `co.uk` is none.
pub fn is_host_suffix(name: &Name) -> bool {
    let labels: Vec<&[u8]> = labels_of(name.key()).collect();
    if labels.len() < 2 || registrable_length(name.key()).is_some() {
        return false;
    }
    let is_private = suffix_of(&mut labels.iter().copied()).typ == Some(psl::Type::Private);
    // Any other label in its place makes one as well.
    let above = labels.split_last().map_or(&[][..], |(_, above)| above);
    let other: &[u8] = b"another-label";
    let length = above.iter().map(|label| label.len() + 1).sum::<usize>() + other.len();
    is_private || suffix_of(&mut above.iter().copied().chain([other])).len == length
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
    fn labels_are_a_domain_for_all_below_them_where_no_further_label_decides() {
        let is_one = |name: &str| is_registrable_prefix(Name::parse(name).unwrap().subtree_key());
        for domain in ["example.com", "a.co.uk", "office.corp", "b.c.ck", "www.ck"] {
            assert!(is_one(domain), "{domain}");
        }
        // Of amazonaws.com it depends on what is in front of it, of www.example.com it does not, and it is none.
        for none in ["com", "co.uk", "c.ck", "amazonaws.com", "www.example.com", "github.io", "kobe.jp", "."]
        {
            assert!(!is_one(none), "{none}");
        }
        assert!(registrable(&Name::parse("amazonaws.com").unwrap()).is_some());
    }

    #[test]
    fn a_suffix_of_a_provider_or_of_a_wildcard_is_a_host_as_well() {
        let is_host = |name: &str| is_host_suffix(&Name::parse(name).unwrap());
        for host in ["ec2-192-0-2-7.compute-1.amazonaws.com", "github.io", "evil.ck"] {
            assert!(is_host(host), "{host}");
        }
        for none in ["com", "co.uk", "example.com", "corp", "www.ck", "."] {
            assert!(!is_host(none), "{none}");
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
