//! How the last hour went: a few figures taken every ten seconds, for a graph.
//!
//! Plain values in a ring of a fixed size; who takes them, and when, is decided elsewhere.

use std::collections::VecDeque;
use std::time::Duration;

/// How often a sample is taken.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// Samples that are kept: an hour of them.
pub const SAMPLES: usize = 360;

/// What the readers have done, and how far behind they are, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pulse {
    /// Lines read since the process started.
    pub lines: u64,
    /// Milliseconds since everything visible had been read; absent before the first pass.
    pub lag_ms: Option<u64>,
}

/// What was counted in one interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Lines read in a second, on average over the interval.
    pub lines_per_second: f64,
    /// Seconds of lag at its end; absent before the first pass.
    pub lag_seconds: Option<f64>,
}

/// The last hour, the oldest sample first.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
    lines: u64,
}

impl History {
    /// Takes the figures at the end of an interval that was so long.
    pub fn push(&mut self, pulse: Pulse, interval: Duration) {
        let lines = pulse.lines.saturating_sub(self.lines);
        self.lines = pulse.lines;
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            lines_per_second: lines as f64 / interval.as_secs_f64().max(0.001),
            lag_seconds: pulse.lag_ms.map(|millis| millis as f64 / 1000.0),
        });
    }

    /// All samples, the oldest first.
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept_and_rates_are_differences() {
        let mut history = History::default();
        for i in 1..=SAMPLES as u64 + 5 {
            history.push(Pulse { lines: i * 100, lag_ms: Some(i) }, INTERVAL);
        }
        let samples = history.samples();
        assert_eq!(samples.len(), SAMPLES);
        assert_eq!(samples[0], Sample { lines_per_second: 10.0, lag_seconds: Some(0.006) });
    }

    #[test]
    fn a_count_that_starts_anew_is_no_negative_rate() {
        let mut history = History::default();
        history.push(Pulse { lines: 100, lag_ms: None }, INTERVAL);
        history.push(Pulse { lines: 50, lag_ms: None }, INTERVAL);
        assert_eq!(history.samples()[1], Sample { lines_per_second: 0.0, lag_seconds: None });
    }
}
