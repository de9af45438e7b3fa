//! Addresses and networks against rows.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Listener;
use super::sorted::{Sorted, Wanted};
use super::tally::{Open, Sum};
use crate::base::keyed;
use crate::dns::push_address_key;
use crate::indicators::{AllowList, Network, Value};
use crate::store::{Entry, Scan, Snapshot, StoreError};

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
    sum: &mut Sum<'_>,
    listener: &mut Listener<'_>,
) -> Result<(), StoreError> {
    let mut wanted = addresses.into_iter();
    match walk {
        true => walked(&mut wanted, ledger, sum, listener)?,
        false => looked_up(&mut wanted, ledger, sum, listener)?,
    }
    sum.outcome.duplicates += wanted.duplicates();
    Ok(())
}

/// A network that is counted, with the names that it has so far.
struct Counted {
    open: Open,
    network: Network,
    names: HashSet<u64>,
}

impl Counted {
    fn of(wanted: Wanted, sum: &mut Sum<'_>) -> Option<Counted> {
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
        let is_new = self.names.insert(keyed::hash(entry.tuple.rrname.key()));
        tally.end_name(is_new);
    }
}

fn is_harmless(allow: &AllowList, entry: &Entry, address: IpAddr) -> bool {
    !allow.is_empty() && (allow.has_address(address) || allow.has_name(entry.tuple.rrname.key()))
}

/// Tells of those that do not hold an address, the narrowest first.
fn close(open: &mut Vec<Counted>, address: Option<IpAddr>, sum: &mut Sum<'_>, listener: &mut Listener<'_>) {
    while let Some(last) = open.pop_if(|last| !address.is_some_and(|address| last.network.contains(address)))
    {
        sum.close(last.open, listener);
    }
}

/// Each by itself.
fn looked_up(
    wanted: &mut dyn Iterator<Item = Wanted>,
    ledger: &dyn Snapshot,
    sum: &mut Sum<'_>,
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
        let scan = Scan::Addresses(counted.network.first(), counted.network.last());
        for entry in ledger.entries(&scan, None)? {
            let entry = entry?;
            if let Some(address) = entry.tuple.rdata.address()
                && !is_harmless(sum.allow, &entry, address)
            {
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
    wanted: &mut dyn Iterator<Item = Wanted>,
    ledger: &dyn Snapshot,
    sum: &mut Sum<'_>,
    listener: &mut Listener<'_>,
) -> Result<(), StoreError> {
    let mut wanted = wanted.peekable();
    let mut open: Vec<Counted> = Vec::new();
    let mut rows = 0u32;
    let mut at: Option<IpAddr> = None;
    let mut key = Vec::with_capacity(18);
    let families = [
        Scan::Addresses(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()),
        Scan::Addresses(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from_bits(u128::MAX).into()),
    ];
    'families: for scan in families {
        for entry in ledger.entries(&scan, None)? {
            let entry = entry?;
            rows = rows.wrapping_add(1);
            if rows.is_multiple_of(STEP) && !(listener.go_on)() {
                sum.is_ended = true;
                return Ok(());
            }
            let Some(address) = entry.tuple.rdata.address() else { continue };
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
