//! Which bucket a row is in: of 1,024, by the domain of its name, or the network of its address. Buckets say which shard has a row, and
//! ledger and cluster are compared by them. The rule is for ever: a row that changed its bucket would be there twice.

use xxhash_rust::xxh3::xxh3_64;

/// How many there are.
pub const BUCKETS: u16 = 1024;
/// The tag of an IPv4 address in key form, and bytes of it that are its network: /16.
const V4: (u8, usize) = (0x04, 3);
/// The same of an IPv6 address: /32.
const V6: (u8, usize) = (0x06, 5);
/// The tag of a name.
const NAME: u8 = 0x10;

/// A bucket, of a key's first bytes.
fn of(part: &[u8]) -> u16 {
    (xxh3_64(part) % u64::from(BUCKETS)) as u16
}

/// The bytes of a name in key form, or of the beginning of one, that decide: its last two labels; three where these are as short as in
/// `co.uk`. `None` where there are fewer.
fn domain(key: &[u8]) -> Option<&[u8]> {
    let mut ends = memchr::memchr_iter(0, key);
    let top = ends.next()?;
    let second = ends.next()?;
    let is_short = top == 2 && second.saturating_sub(top + 1) <= 3;
    let end = if is_short { ends.next()? } else { second };
    // An end right behind another one ends the name.
    let is_label = end > 0 && key.get(end - 1) != Some(&0);
    if is_label { key.get(..=end) } else { None }
}

/// That of a name.
pub fn of_name(key: &[u8]) -> u16 {
    of(domain(key).unwrap_or(key))
}

/// That of record data: an address or a name.
pub fn of_data(key: &[u8]) -> u16 {
    match key.split_first() {
        Some((&NAME, name)) => of_name(name),
        Some((tag, _)) if *tag == V4.0 => of(key.get(..V4.1).unwrap_or(key)),
        Some((tag, _)) if *tag == V6.0 => of(key.get(..V6.1).unwrap_or(key)),
        _ => of(key),
    }
}

/// That of all names that begin with these bytes, if they have one.
pub fn of_subtree(prefix: &[u8]) -> Option<u16> {
    domain(prefix).map(of)
}

/// That of all addresses between two, if they have one.
pub fn of_addresses(from: &[u8], to: &[u8]) -> Option<u16> {
    let bytes = match from.first() {
        Some(tag) if *tag == V4.0 => V4.1,
        _ => V6.1,
    };
    let (from, to) = (from.get(..bytes)?, to.get(..bytes)?);
    (from == to).then(|| of(from))
}

/// The shard of a bucket.
pub fn shard(bucket: u16, shards: usize) -> usize {
    usize::from(bucket % BUCKETS) * shards.max(1) / usize::from(BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Name, Rdata};

    fn name(text: &str) -> u16 {
        of_name(Name::parse(text).unwrap().key())
    }

    #[test]
    fn a_domain_and_all_below_it_are_in_one_bucket() {
        for domain in ["example.com", "example.co.uk", "b.ac.jp"] {
            let parsed = Name::parse(domain).unwrap();
            let bucket = of_subtree(parsed.subtree_key()).unwrap();
            for below in ["", "www.", "a.b.c."] {
                assert_eq!(name(&format!("{below}{domain}")), bucket, "{below}{domain}");
            }
        }
        for top in ["com", ".", "co.uk"] {
            assert_eq!(of_subtree(Name::parse(top).unwrap().subtree_key()), None, "{top}");
        }
        let buckets: std::collections::HashSet<u16> =
            (0..20_000).map(|i| name(&format!("x{i}.com"))).collect();
        assert_eq!(buckets.len(), usize::from(BUCKETS));
    }

    #[test]
    fn the_rule_stays_what_it_is() {
        // Rows are where these numbers say, in every cluster there is.
        assert_eq!(["example.com", "www.example.co.uk", "com", "."].map(name), [498, 622, 954, 219]);
        let data = |rdata: Rdata| {
            let mut key = Vec::new();
            rdata.push_key(&mut key);
            of_data(&key)
        };
        assert_eq!(data(Rdata::V4([192, 0, 2, 1].into())), data(Rdata::V4([192, 0, 9, 9].into())));
        assert_eq!(data(Rdata::Name(Name::parse("a.example.com").unwrap())), name("example.com"));
        let addresses = [Rdata::V4([192, 0, 2, 1].into()), Rdata::V6("2001:db8::1".parse().unwrap())];
        assert_eq!(addresses.map(data), [900, 661]);
    }

    #[test]
    fn shards_have_equal_parts() {
        for shards in 1..=7 {
            let mut counts = vec![0usize; shards];
            (0..BUCKETS).for_each(|bucket| counts[shard(bucket, shards)] += 1);
            assert!(counts.iter().all(|count| count.abs_diff(1024 / shards) <= 1), "{counts:?}");
        }
    }
}
