//! Addresses and networks against rows.
//!
//! Rows of addresses of IPv4 that are written as ones of IPv6 (`::ffff:192.0.2.1`) lie in the same order, elsewhere: they are read beside
//! those of IPv4.

use std::collections::HashSet;
use std::iter::Peekable;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Listener;
use super::sorted::{Sorted, WantedKey};
use super::tally::{HuntSummary, Open};
use crate::base::seeded_hash;
use crate::dns::push_address_key;
use crate::indicators::{AllowList, Network, Value};
use crate::store::{Entries, Entry, Scan, Snapshot, StoreError};

/// Rows after which it is asked whether to go on.
const STEP: u32 = 4096;

/// Counts all of them.
///
/// # Errors
///
/// When the ledger cannot be read.
pub fn run(
    addresses: Sorted,
    ledger: &dyn Snapshot,
    walk: bool,
    sum: &mut HuntSummary<'_>,
    listener: &mut Listener<'_>,
) -> Result<(), StoreError> {
    let mut wanted = addresses.into_iter();
    // In most ledgers there is none, and then nobody need look for each indicator.
    let mapped = Scan::Addresses(mapped(Ipv4Addr::UNSPECIFIED), mapped(Ipv4Addr::BROADCAST));
    let has_mapped = wanted.has_any() && ledger.entries(&mapped, None)?.next().transpose()?.is_some();
    match walk {
        true => walked(&mut wanted, ledger, has_mapped, sum, listener)?,
        false => looked_up(&mut wanted, ledger, has_mapped, sum, listener)?,
    }
    sum.outcome.duplicates += wanted.duplicates();
    Ok(())
}

fn mapped(address: Ipv4Addr) -> IpAddr {
    address.to_ipv6_mapped().into()
}

/// Rows by their addresses.
struct Rows<'a> {
    own: Peekable<Entries<'a>>,
    /// Those of IPv4 that are written as ones of IPv6.
    mapped: Option<Peekable<Entries<'a>>>,
}

impl<'a> Rows<'a> {
    fn of(
        ledger: &'a dyn Snapshot,
        first: IpAddr,
        last: IpAddr,
        has_mapped: bool,
    ) -> Result<Rows<'a>, StoreError> {
        let own = ledger.entries(&Scan::Addresses(first, last), None)?.peekable();
        let mapped = match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) if has_mapped => {
                let scan = Scan::Addresses(mapped(first), mapped(last));
                Some(ledger.entries(&scan, None)?.peekable())
            }
            _ => None,
        };
        Ok(Rows { own, mapped })
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<(IpAddr, Entry), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let address = |row: &Result<Entry, StoreError>| {
                row.as_ref()
                    .ok()
                    .and_then(|row| row.tuple.rdata.address())
                    .map(|address| address.to_canonical())
            };
            // What cannot be read comes first, so that it is met.
            let is_mapped = match (self.own.peek(), self.mapped.as_mut().and_then(Peekable::peek)) {
                (Some(own), Some(mapped)) => address(mapped) < address(own),
                (own, mapped) => own.is_none() && mapped.is_some(),
            };
            let row = match &mut self.mapped {
                Some(mapped) if is_mapped => mapped.next()?,
                _ => self.own.next()?,
            };
            match row.map(|row| (row.tuple.rdata.address(), row)) {
                Ok((Some(address), row)) if self.mapped.is_some() => {
                    return Some(Ok((address.to_canonical(), row)));
                }
                Ok((Some(address), row)) => return Some(Ok((address, row))),
                Ok((None, _)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// A network that is counted, with the names that it has so far.
struct Counted {
    open: Open,
    network: Network,
    names: HashSet<u64>,
}

impl Counted {
    fn of(wanted: WantedKey, sum: &mut HuntSummary<'_>) -> Option<Counted> {
        let network = Network::from_key(&wanted.key)?;
        let open = sum.open(wanted, Some(Value::of_network(network)))?;
        Some(Counted { open, network, names: HashSet::new() })
    }

    fn add(&mut self, entry: &Entry) {
        let seen = entry.halves.combined();
        let Open { wanted, tally, .. } = &mut self.open;
        if tally.is_over() || !tally.counts(seen.time_first, wanted.until) {
            return;
        }
        tally.row(seen.time_first, seen.time_last, wanted.until);
        let is_new = self.names.insert(seeded_hash::hash(entry.tuple.rrname.key()));
        tally.end_name(is_new);
    }
}

fn is_harmless(allow: &AllowList, entry: &Entry, address: IpAddr) -> bool {
    !allow.is_empty() && (allow.has_address(address) || allow.has_name(entry.tuple.rrname.key()))
}

/// Tells of those that do not hold an address, the narrowest first.
fn close(
    open: &mut Vec<Counted>,
    address: Option<IpAddr>,
    sum: &mut HuntSummary<'_>,
    listener: &mut Listener<'_>,
) {
    while let Some(last) = open.pop_if(|last| !address.is_some_and(|address| last.network.contains(address)))
    {
        sum.close(last.open, listener);
    }
}

/// Looks each address and network up by itself.
fn looked_up(
    wanted: &mut dyn Iterator<Item = WantedKey>,
    ledger: &dyn Snapshot,
    has_mapped: bool,
    sum: &mut HuntSummary<'_>,
    listener: &mut Listener<'_>,
) -> Result<(), StoreError> {
    let mut waiting: Vec<Counted> = Vec::new();
    let mut rows = 0u32;
    for wanted in wanted {
        let network = Network::from_key(&wanted.key);
        close(&mut waiting, network.map(Network::first), sum, listener);
        if sum.is_ended {
            return Ok(());
        }
        let Some(mut counted) = Counted::of(wanted, sum) else { continue };
        let (first, last) = (counted.network.first(), counted.network.last());
        for row in Rows::of(ledger, first, last, has_mapped)? {
            let (address, entry) = row?;
            if !is_harmless(sum.allow, &entry, address) {
                counted.add(&entry);
            }
            if counted.open.tally.is_over() {
                break;
            }
            rows = rows.wrapping_add(1);
            if rows.is_multiple_of(STEP) && !(listener.go_on)() {
                sum.is_ended = true;
                return Ok(());
            }
        }
        counted.names = HashSet::new();
        waiting.push(counted);
        rows = rows.wrapping_add(1);
        if rows.is_multiple_of(STEP) && !(listener.go_on)() {
            sum.is_ended = true;
            return Ok(());
        }
    }
    close(&mut waiting, None, sum, listener);
    Ok(())
}

/// All of them in one walk over all addresses.
fn walked(
    wanted: &mut dyn Iterator<Item = WantedKey>,
    ledger: &dyn Snapshot,
    has_mapped: bool,
    sum: &mut HuntSummary<'_>,
    listener: &mut Listener<'_>,
) -> Result<(), StoreError> {
    let mut wanted = wanted.peekable();
    let mut open: Vec<Counted> = Vec::new();
    let mut rows = 0u32;
    let mut at: Option<IpAddr> = None;
    let mut key = Vec::with_capacity(18);
    let families: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from_bits(u128::MAX).into()),
    ];
    'families: for (first, last) in families {
        for row in Rows::of(ledger, first, last, has_mapped)? {
            let (address, entry) = row?;
            rows = rows.wrapping_add(1);
            if rows.is_multiple_of(STEP) && !(listener.go_on)() {
                sum.is_ended = true;
                return Ok(());
            }
            if at != Some(address) {
                at = Some(address);
                close(&mut open, at, sum, listener);
                if sum.is_ended {
                    return Ok(());
                }
                key.clear();
                push_address_key(address, &mut key);
                // Behind all networks that begin with this address.
                key.push(u8::MAX);
                while let Some(next) = wanted.next_if(|next| next.key <= key) {
                    let Some(next) = Counted::of(next, sum) else { continue };
                    match next.network.contains(address) {
                        true => open.push(next),
                        false => sum.close(next.open, listener),
                    }
                }
                if open.is_empty() && wanted.peek().is_none() {
                    break 'families;
                }
            }
            if !open.is_empty() && !is_harmless(sum.allow, &entry, address) {
                open.iter_mut().for_each(|counted| counted.add(&entry));
            }
        }
    }
    close(&mut open, None, sum, listener);
    for left in wanted {
        if let Some(left) = Counted::of(left, sum) {
            sum.close(left.open, listener);
        }
    }
    Ok(())
}
