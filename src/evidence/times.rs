//! The times at which something may have been seen, as far as rows tell.

use crate::base::time::DAY;
use crate::observation::Seen;

/// Stretches that are held; more are made coarser.
const MOST: usize = 65_536;

/// Stretches of time, both ends included, epoch seconds.
#[derive(Debug, Default)]
pub(super) struct Stretches {
    spans: Vec<(u64, u64)>,
    /// How many of the first of them are in order and apart.
    settled: usize,
}

impl Stretches {
    /// Adds one; nothing if it ends before it begins.
    pub fn add(&mut self, from: u64, to: u64) {
        if from <= to {
            self.spans.push((from, to));
        }
        if self.spans.len() > self.settled * 2 + MOST {
            self.settle();
        }
    }

    /// Adds the times of a row: its first and last sighting, and its days as far as they are known.
    pub fn add_seen(&mut self, seen: &Seen) {
        let Seen { count, time_first, time_last, days, .. } = *seen;
        if count <= 2 {
            self.add(time_first, time_first);
            self.add(time_last, time_last);
            return;
        }
        let last_day = time_last / DAY;
        for bit in (0..64).filter(|bit| days >> bit & 1 == 1) {
            let Some(start) = last_day.checked_sub(bit).map(|day| day * DAY) else { break };
            self.add(start.max(time_first), (start + DAY - 1).min(time_last));
        }
        // What lies further back has no days.
        if let Some(known_from) = last_day.checked_sub(63).map(|day| day * DAY)
            && time_first < known_from
        {
            self.add(time_first, known_from - 1);
        }
        self.add(time_first, time_first);
    }

    /// Leaves only what lies within a stretch.
    pub fn clip(&mut self, (from, to): (u64, u64)) {
        let clipped = self.spans.iter().map(|&(start, end)| (start.max(from), end.min(to)));
        self.spans = clipped.filter(|(start, end)| start <= end).collect();
        self.settled = 0;
    }

    /// Puts them in order; to be called before they are asked.
    pub fn settle(&mut self) {
        merge(&mut self.spans);
        if self.spans.len() > MOST {
            for (from, to) in &mut self.spans {
                (*from, *to) = (*from / DAY * DAY, (*to / DAY).saturating_mul(DAY).saturating_add(DAY - 1));
            }
            merge(&mut self.spans);
        }
        self.settled = self.spans.len();
    }

    /// Whether one of them meets the times from the one to the other.
    pub fn meets(&self, from: u64, to: u64) -> bool {
        let next = self.spans.partition_point(|&(_, end)| end < from);
        self.spans.get(next).is_some_and(|&(start, _)| start <= to)
    }
}

/// Puts spans in order and makes one of those that touch.
fn merge(spans: &mut Vec<(u64, u64)>) {
    spans.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(spans.len().min(MOST));
    for &(from, to) in spans.iter() {
        match merged.last_mut() {
            Some((_, end)) if from <= end.saturating_add(1) => *end = (*end).max(to),
            _ => merged.push((from, to)),
        }
    }
    *spans = merged;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_sighting_lies_outside(times in proptest::collection::vec(0u64..200 * DAY, 1..8), probe in 0u64..200 * DAY) {
            let (mut seen, mut stretches) = (Seen::default(), Stretches::default());
            times.iter().for_each(|&time| seen.merge(&Seen::once(time, 1)));
            stretches.add_seen(&seen);
            stretches.settle();
            for time in &times {
                prop_assert!(stretches.meets(*time, *time));
            }
            prop_assert!(!stretches.meets(probe, probe) || probe >= times.iter().copied().min().unwrap() / DAY * DAY);
        }

        #[test]
        fn they_are_met_where_one_of_them_is(
            spans in proptest::collection::vec((0u64..300, 0u64..30), 0..20),
            (from, length) in (0u64..300, 0u64..30),
        ) {
            let mut stretches = Stretches::default();
            spans.iter().for_each(|&(start, length)| stretches.add(start, start + length));
            stretches.settle();
            let to = from + length;
            let met = spans.iter().any(|&(start, length)| start <= to && start + length >= from);
            prop_assert_eq!(stretches.meets(from, to), met);
        }
    }

    #[test]
    fn they_stay_few() {
        let mut stretches = Stretches::default();
        for i in 0..500_000u64 {
            stretches.add(i * 10, i * 10 + 1);
        }
        stretches.settle();
        assert!(stretches.spans.len() <= MOST, "{}", stretches.spans.len());
        assert!(stretches.meets(4_000_000, 4_000_000));
    }
}
