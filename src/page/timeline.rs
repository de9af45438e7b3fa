//! One axis of time for all rows of a page, and the bar of each row on it, as SVG.
//!
//! Places on the axis are percentages of its width, so that a bar fits whatever width the style gives it. The ticks are
//! drawn once, in the head; bars refer to them.

use maud::{Markup, html};

use crate::base::time::{DAY, civil, epoch_secs, format_date, format_utc};
use crate::observation::Seen;

/// Days that a bit field tells of.
const DAYS_KNOWN: u64 = 64;
/// The width of the shortest mark, in percent: so that a moment can be seen.
const THINNEST: f64 = 1.2;
/// Room on both sides, as a share of the span.
const MARGIN: f64 = 0.02;
/// The most steps along an axis with short labels (`03-01`, `12:00`).
const MOST_STEPS: u64 = 4;
/// The same for long labels (`2024-03`, `12:00:05`).
const MOST_LONG_STEPS: u64 = 3;
/// Widths of an axis, in pixels, from each of which on some more labels have room. The style has a rule for each.
const WIDTHS: [u32; 9] = [70, 90, 115, 145, 180, 220, 270, 340, 440];
/// The width of a digit of a label, rather more than less, and the room between two labels, in pixels.
const DIGIT: f64 = 6.8;
const GAP: f64 = 8.0;
/// How far a label may reach over the end of its axis, in pixels: less than the margin of the cell.
const OVERHANG: f64 = 6.0;

/// Ticks of one axis at most, whatever the times are.
const MOST_TICKS: usize = 8;

/// Steps between ticks below a month, in seconds.
const STEPS: [u64; 20] = [
    1,
    2,
    5,
    10,
    30,
    60,
    120,
    300,
    600,
    1_800,
    3_600,
    2 * 3_600,
    3 * 3_600,
    6 * 3_600,
    12 * 3_600,
    DAY,
    2 * DAY,
    5 * DAY,
    10 * DAY,
    20 * DAY,
];
/// Steps from a month on, in months.
const MONTHS: [u64; 15] = [1, 2, 3, 4, 6, 12, 24, 48, 120, 240, 600, 1_200, 2_400, 6_000, 12_000];

/// From when to when, and where on it there are ticks.
pub struct Axis {
    from: f64,
    span: f64,
    ticks: Ticks,
}

/// Round moments along an axis.
#[derive(Debug, Default)]
struct Ticks {
    /// From one to the next: seconds, or months where it ends in `m`.
    step: String,
    all: Vec<Tick>,
}

/// A round moment, and what tells it.
#[derive(Debug, PartialEq, Eq)]
struct Tick {
    at: u64,
    /// As much of it as the step tells apart.
    label: String,
    /// The rest, where it is another than before: the date of a time of day, the year of a day.
    date: String,
}

impl Tick {
    /// The width of its label, in pixels.
    fn width(&self) -> f64 {
        self.label.len().max(self.date.len()) as f64 * DIGIT
    }
}

/// Where a label stands beside its tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    /// That of a tick at so many percent.
    fn at(x: f64) -> Anchor {
        match x {
            ..15.0 => Anchor::Start,
            x if x > 85.0 => Anchor::End,
            _ => Anchor::Middle,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        }
    }

    /// From where to where a label reaches that has its tick at `x`.
    fn reach(self, x: f64, width: f64) -> (f64, f64) {
        let left = match self {
            Anchor::Start => x,
            Anchor::Middle => x - width / 2.0,
            Anchor::End => x - width,
        };
        (left, left + width)
    }
}

impl Axis {
    /// The axis that holds all of these spans, each from its first to its last second; `None` where there is none.
    pub fn over(spans: impl IntoIterator<Item = (u64, u64)>) -> Option<Axis> {
        let (first, last) = spans.into_iter().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        let length = last.saturating_sub(first).max(120) as f64;
        let middle = (first as f64 + last as f64) / 2.0;
        let from = middle - length * (0.5 + MARGIN);
        let span = length * (1.0 + 2.0 * MARGIN);
        let (start, end) = (from.max(0.0).ceil() as u64, (from + span).max(0.0) as u64);
        Some(Axis { from, span, ticks: ticks(start, end) })
    }

    /// Where a second is, in percent.
    fn x(&self, second: u64) -> f64 {
        ((second as f64 - self.from) / self.span * 100.0).clamp(0.0, 100.0)
    }

    /// The head of the column: labels, and the lines that bars refer to. How wide it will be is known to the browser alone, so each
    /// label says from which width on it collides with none of the others. A script that draws them for another zone finds here
    /// what it needs.
    pub fn head(&self) -> Markup {
        let Ticks { step, all } = &self.ticks;
        let widths = self.widths();
        html! {
            div.scale {
                svg.axis aria-hidden="true" data-from=(format!("{:.0}", self.from)) data-span=(format!("{:.0}", self.span)) data-step=(step) {
                    defs {
                        g #grid {
                            @for tick in all {
                                @let x = percent(self.x(tick.at));
                                line.tick x1=(x) x2=(x) y1="0" y2="100%" {}
                            }
                        }
                    }
                    @for (tick, width) in all.iter().zip(widths) {
                        @if let Some(width) = width {
                            @let (x, anchor) = (self.x(tick.at), Anchor::at(self.x(tick.at)).name());
                            text.{ "w" (width) } x=(percent(x)) y="11" text-anchor=(anchor) { (tick.label) }
                            @if !tick.date.is_empty() {
                                text.{ "w" (width) } x=(percent(x)) y="23" text-anchor=(anchor) { (tick.date) }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The width of the axis from which on each label is shown, if it ever is: one that carries a date comes before the others.
    fn widths(&self) -> Vec<Option<u32>> {
        let ticks = &self.ticks.all;
        let mut order: Vec<usize> = (0..ticks.len()).collect();
        order.sort_by_key(|at| ticks.get(*at).is_none_or(|tick| tick.date.is_empty()));
        let mut shown: Vec<Option<u32>> = vec![None; ticks.len()];
        for width in WIDTHS {
            let reach = |tick: &Tick| {
                let x = self.x(tick.at);
                Anchor::at(x).reach(x / 100.0 * f64::from(width), tick.width())
            };
            for at in &order {
                let (Some(tick), Some(None)) = (ticks.get(*at), shown.get(*at)) else { continue };
                let (left, right) = reach(tick);
                let is_within = left >= -OVERHANG && right <= f64::from(width) + OVERHANG;
                let is_free =
                    ticks.iter().zip(&shown).filter(|(_, shown)| shown.is_some()).all(|(other, _)| {
                        let (start, end) = reach(other);
                        right + GAP <= start || end + GAP <= left
                    });
                if let Some(shown) = shown.get_mut(*at).filter(|_| is_within && is_free) {
                    *shown = Some(width);
                }
            }
        }
        shown
    }

    /// The bar of one row: a line from its first to its last sighting, thick on the days with one. Days before the last 64
    /// are not known one by one, and their part of the line stays thin.
    pub fn bar(&self, seen: &Seen, alias: bool) -> Markup {
        let (first, last) = (self.x(seen.time_first), self.x(seen.time_last));
        html! {
            svg.bar.alias[alias] role="img" aria-label=(described(seen)) {
                title { (described(seen)) }
                use href="#grid" {}
                line.span x1=(percent(first)) x2=(percent(last)) y1="50%" y2="50%" {}
                @for (from, to) in stretches(seen) {
                    (self.mark(from, to))
                }
                // What the days do not reach is known at its very beginning.
                @if earliest_known(seen) > seen.time_first {
                    (self.mark(seen.time_first, seen.time_first))
                }
            }
        }
    }

    /// The bar of something of which only the ends are known.
    pub fn plain_bar(&self, first: u64, last: u64) -> Markup {
        let label = format!("{} to {} (UTC)", format_utc(first), format_utc(last));
        html! {
            svg.bar role="img" aria-label=(label) {
                title { (label) }
                use href="#grid" {}
                line.span x1=(percent(self.x(first))) x2=(percent(self.x(last))) y1="50%" y2="50%" {}
                (self.mark(first, first))
                (self.mark(last, last))
            }
        }
    }

    fn mark(&self, from: u64, to: u64) -> Markup {
        let (start, end) = (self.x(from), self.x(to));
        let width = (end - start).max(THINNEST);
        let start = if end - start < THINNEST {
            (start - THINNEST / 2.0).clamp(0.0, 100.0 - THINNEST)
        } else {
            start
        };
        html! { rect.day x=(percent(start)) width=(percent(width)) y="3" height="10" {} }
    }
}

fn percent(x: f64) -> String {
    let mut text = format!("{x:.2}");
    text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    text.push('%');
    text
}

/// The first second that the day bits tell of.
fn earliest_known(seen: &Seen) -> u64 {
    let day = seen.time_last / DAY;
    day.saturating_sub(DAYS_KNOWN - 1) * DAY
}

/// Runs of days with a sighting, the latest first, cut to the first and the last sighting.
fn stretches(seen: &Seen) -> Vec<(u64, u64)> {
    let day = seen.time_last / DAY;
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for back in (0..DAYS_KNOWN).filter(|back| seen.days >> back & 1 == 1) {
        let Some(start) = day.checked_sub(back).map(|day| day * DAY) else { break };
        match runs.last_mut() {
            Some(run) if run.0 == start + DAY => run.0 = start,
            _ => runs.push((start, start + DAY)),
        }
    }
    for run in &mut runs {
        *run = (run.0.max(seen.time_first), run.1.min(seen.time_last).max(seen.time_first));
    }
    runs
}

/// A bar in words; days are those of UTC.
fn described(seen: &Seen) -> String {
    let (first, last) = (format_date(seen.time_first), format_date(seen.time_last));
    if first == last {
        return format!("seen on {first}");
    }
    let days = seen.days.count_ones();
    let span = (seen.time_last / DAY).saturating_sub(seen.time_first / DAY) + 1;
    if span <= DAYS_KNOWN {
        format!("seen on {days} of {span} days, {first} to {last}")
    } else {
        let known = format_date(earliest_known(seen));
        format!(
            "seen from {first} to {last}; of the {DAYS_KNOWN} days from {known} to {last} on {days}, earlier days are not known"
        )
    }
}

/// Ticks at round moments, with their labels.
fn ticks(from: u64, to: u64) -> Ticks {
    let span = to.saturating_sub(from);
    let most = |step: u64| if step < 60 { MOST_LONG_STEPS } else { MOST_STEPS };
    let mut all: Vec<Tick> = Vec::new();
    if let Some(step) = STEPS.iter().copied().find(|step| span / step <= most(*step)) {
        let mut before = String::new();
        for i in (from.div_ceil(step)..=to / step).take(MOST_TICKS) {
            let (label, date) = labels(i * step, step);
            let is_new = date != before;
            before.clone_from(&date);
            all.push(Tick { at: i * step, label, date: if is_new { date } else { String::new() } });
        }
        return Ticks { step: step.to_string(), all };
    }
    let month_of = |secs: u64| {
        let civil = civil(secs);
        civil.year() as u64 * 12 + civil.month() as u64 - 1
    };
    let (first, last) = (month_of(from), month_of(to));
    let months = last.saturating_sub(first);
    // Rows may have any time that a file of another site says.
    let step = MONTHS.iter().copied().find(|step| months / step <= MOST_LONG_STEPS);
    let step = step.unwrap_or_else(|| (months / MOST_LONG_STEPS).div_ceil(12_000) * 12_000);
    let at = |month: u64| {
        let (year, month) = (month / 12, month % 12 + 1);
        let start = epoch_secs([year, month, 1, 0, 0, 0])?;
        let label = if step < 12 { format!("{year}-{month:02}") } else { year.to_string() };
        (start >= from && start <= to).then_some(Tick { at: start, label, date: String::new() })
    };
    let all = (first.div_ceil(step)..=last / step).take(MOST_TICKS).filter_map(|i| at(i * step)).collect();
    Ticks { step: format!("{step}m"), all }
}

/// A tick's label: as much of the moment as the step tells apart, and the rest of it.
fn labels(at: u64, step: u64) -> (String, String) {
    let civil = civil(at);
    let date = civil.date().to_string();
    match step {
        DAY.. => (format!("{:02}-{:02}", civil.month(), civil.day()), civil.year().to_string()),
        60.. => (format!("{:02}:{:02}", civil.hour(), civil.minute()), date),
        _ => (civil.time().to_string(), date),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON: u64 = 1_709_294_400; // 2024-03-01T12:00:00Z

    fn seen(times: &[u64]) -> Seen {
        let mut seen = Seen::default();
        times.iter().for_each(|time| seen.merge(&Seen::once(*time, 60)));
        seen
    }

    #[test]
    fn days_become_runs_with_their_gaps() {
        let times = [NOON, NOON + 3_600, NOON + DAY, NOON + 4 * DAY];
        let midnight = NOON - NOON % DAY;
        assert_eq!(
            stretches(&seen(&times)),
            [(midnight + 4 * DAY, NOON + 4 * DAY), (NOON, midnight + 2 * DAY)]
        );
        assert_eq!(stretches(&seen(&[NOON])), [(NOON, NOON)]);
        assert_eq!(described(&seen(&times)), "seen on 3 of 5 days, 2024-03-01 to 2024-03-05");
        assert_eq!(described(&seen(&[NOON])), "seen on 2024-03-01");
    }

    #[test]
    fn ticks_are_round_and_few_and_carry_their_date() {
        let labels = |from: u64, to: u64| -> Vec<String> {
            let all = ticks(from, to).all.into_iter();
            all.map(|tick| format!("{} {}", tick.label, tick.date).trim_end().to_owned()).collect()
        };
        assert_eq!(labels(NOON, NOON + 3 * DAY), ["03-02 2024", "03-03", "03-04"]);
        assert_eq!(labels(NOON, NOON + 5 * 3_600), ["12:00 2024-03-01", "14:00", "16:00"]);
        assert_eq!(
            labels(NOON + 7 * 3_600 + 60, NOON + 18 * 3_600),
            ["21:00 2024-03-01", "00:00 2024-03-02", "03:00", "06:00"]
        );
        assert_eq!(labels(NOON - 360 * DAY, NOON), ["2023-05", "2023-09", "2024-01"]);
        assert_eq!(labels(NOON - 75 * DAY, NOON - 50 * DAY), ["12-19 2023", "12-29", "01-08 2024"]);
        assert_eq!(labels(NOON - 2_000 * DAY, NOON), ["2020", "2022", "2024"]);
        assert_eq!(labels(NOON + 4, NOON + 26), ["12:00:10 2024-03-01", "12:00:20"]);
        assert_eq!(labels(NOON - 1_600, NOON + 100), ["11:40 2024-03-01", "11:50", "12:00"]);
    }

    #[test]
    fn a_tooltip_says_of_which_days_it_tells() {
        let mut row = seen(&[NOON, NOON + 100 * DAY, NOON + 101 * DAY]);
        row.days = 0b11;
        assert_eq!(
            described(&row),
            "seen from 2024-03-01 to 2024-06-10; of the 64 days from 2024-04-08 to 2024-06-10 on 2, earlier days are not known"
        );
    }

    #[test]
    fn the_style_has_a_rule_for_each_width_of_an_axis() {
        let style = include_str!("assets/page.css");
        for width in WIDTHS {
            let rule = format!(
                "@container axis (min-width: {width}px) {{ .axis .w{width} {{ display: inline; }} }}"
            );
            assert!(style.contains(&rule), "{rule}");
        }
        assert_eq!(style.matches("@container axis").count(), WIDTHS.len());
    }

    proptest! {
        #[test]
        fn absurd_times_give_few_ticks(a: u64, b: u64, days: u64, far in 0u32..64) {
            let (first, last) = (a.min(b) >> far, a.max(b));
            let seen = Seen { count: 1, time_first: first, time_last: last, days: days | 1, ttl: 0 };
            for axis in [Axis::over([(first, last)]), Axis::over([(0, u64::MAX), (first, last)])] {
                let axis = axis.unwrap();
                prop_assert!(axis.ticks.all.len() <= MOST_TICKS);
                let drawn = [axis.head(), axis.bar(&seen, false), axis.plain_bar(first, last)];
                for svg in drawn.map(|svg| svg.into_string()) {
                    prop_assert!(svg.len() < 64 << 10 && !svg.contains("NaN"));
                }
            }
        }

        #[test]
        fn labels_collide_at_no_width(a in 0u64..10_000_000_000, length in 0u64..34, part in 0.0f64..1.0) {
            let last = a + ((1u64 << length) as f64 * (1.0 + part)) as u64;
            let axis = Axis::over([(a, last)]).unwrap();
            let shown: Vec<_> = axis.ticks.all.iter().zip(axis.widths()).collect();
            for width in 60..2_000 {
                let mut ends = Vec::new();
                for (tick, _) in shown.iter().filter(|(_, from)| from.is_some_and(|from| from <= width)) {
                    let x = axis.x(tick.at);
                    ends.push(Anchor::at(x).reach(x / 100.0 * f64::from(width), tick.width()));
                }
                prop_assert!(ends.is_sorted_by(|a, b| a.1 + GAP <= b.0 + 1e-6), "{:?}", ends);
                let within = |(left, right): &(f64, f64)| {
                    *left >= -OVERHANG - 1e-6 && *right <= f64::from(width) + OVERHANG + 1e-6
                };
                prop_assert!(ends.iter().all(within), "{:?}", ends);
                // One that is wide enough has at least one label, and that has its date.
                prop_assert!(width < 180 || !ends.is_empty(), "{} {:?}", width, axis.ticks);
            }
        }

        #[test]
        fn any_times_give_marks_inside_the_axis(a in 0u64..253_402_300_799, b in 0u64..400 * DAY, days: u64) {
            let seen = Seen { count: 1, time_first: a, time_last: a + b, days: days | 1, ttl: 0 };
            let axis = Axis::over([(a, a + b)]).unwrap();
            prop_assert!(axis.ticks.all.len() <= MOST_TICKS);
            for (from, to) in stretches(&seen) {
                prop_assert!(a <= from && from <= to && to <= a + b);
            }
            let svg = axis.bar(&seen, false).into_string();
            prop_assert!(!svg.contains("NaN") && !svg.contains("=\"-"), "{}", svg);
        }
    }
}
