//! How far long work is: a bar on a terminal, else a line a second. Work of less than a second says nothing.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::ingest::ImportProgress;

/// How often a line is written.
const LINE: Duration = Duration::from_secs(1);
/// How often a bar is drawn.
const BAR: Duration = Duration::from_millis(100);
/// The characters of a bar.
const BAR_WIDTH: usize = 24;

/// Shows progress on standard error.
pub struct Progress {
    terminal: bool,
    started: Instant,
    /// When it was shown last.
    shown: Mutex<Option<Instant>>,
}

impl Progress {
    /// Nothing is shown yet.
    pub fn new() -> Progress {
        Progress { terminal: io::stderr().is_terminal(), started: Instant::now(), shown: Mutex::default() }
    }

    /// Shows how far it is, unless that was just done.
    pub fn show(&self, progress: &ImportProgress) {
        self.show_text(share(progress), || describe(progress, self.started.elapsed()));
    }

    /// Shows how much of some work is done, in units of which there are so many.
    pub fn show_count(&self, done: u64, total: u64, unit: &str) {
        let share = if total == 0 { 0.0 } else { (done as f64 / total as f64).clamp(0.0, 1.0) };
        self.show_text(share, || describe_count(done, total, unit, self.started.elapsed()));
    }

    fn show_text(&self, share: f64, text: impl FnOnce() -> String) {
        let pause = if self.terminal { BAR } else { LINE };
        let mut shown = self.shown.lock();
        if shown.unwrap_or(self.started).elapsed() < pause {
            return;
        }
        *shown = Some(Instant::now());
        let text = text();
        let mut stderr = io::stderr().lock();
        // Progress that cannot be shown is no reason to stop working.
        let _ = match self.terminal {
            true => write!(stderr, "\r\x1b[2K{} {text}", bar(share)).and_then(|()| stderr.flush()),
            false => writeln!(stderr, "{text}"),
        };
    }

    /// Clears the bar.
    pub fn finish(&self) {
        let shown = self.shown.lock();
        if self.terminal && shown.is_some() {
            let mut stderr = io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[2K").and_then(|()| stderr.flush());
        }
    }
}

/// The share that is done, 0 to 1.
fn share(progress: &ImportProgress) -> f64 {
    match progress.bytes_total {
        0 => 0.0,
        total => (progress.bytes_done as f64 / total as f64).clamp(0.0, 1.0),
    }
}

fn bar(share: f64) -> String {
    let full = (share * BAR_WIDTH as f64) as usize;
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR_WIDTH.saturating_sub(full)))
}

fn describe(progress: &ImportProgress, elapsed: Duration) -> String {
    let ImportProgress { files_done, files_total, lines, .. } = progress;
    let share = share(progress);
    let rate = *lines as f64 / elapsed.as_secs_f64().max(0.001);
    let percent = share * 100.0;
    let mut text =
        format!("{percent:.0} %, {files_done} of {files_total} files, {lines} lines, {rate:.0} lines/s");
    push_time_left(&mut text, share, elapsed);
    text
}

fn describe_count(done: u64, total: u64, unit: &str, elapsed: Duration) -> String {
    let share = if total == 0 { 0.0 } else { done as f64 / total as f64 };
    let mut text = format!("{:.0} %, {done} of {total} {unit}", share * 100.0);
    push_time_left(&mut text, share, elapsed);
    text
}

fn push_time_left(text: &mut String, share: f64, elapsed: Duration) {
    if share > 0.01 {
        let left = elapsed.as_secs_f64() * (1.0 - share) / share;
        text.push_str(&format!(", {} left", seconds(left)));
    }
}

/// A span of time for people.
pub fn seconds(seconds: f64) -> String {
    match seconds.round() as u64 {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7199 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_said_in_one_line() {
        let progress = ImportProgress {
            files_done: 3,
            files_total: 72,
            bytes_done: 50,
            bytes_total: 200,
            lines: 12_000,
        };
        assert_eq!(
            describe(&progress, Duration::from_secs(10)),
            "25 %, 3 of 72 files, 12000 lines, 1200 lines/s, 30 s left"
        );
        assert_eq!(bar(share(&progress)), "[######------------------]");
        let unknown = ImportProgress { bytes_done: 5, ..ImportProgress::default() };
        assert_eq!(bar(share(&unknown)), format!("[{}]", "-".repeat(BAR_WIDTH)));
        assert_eq!(bar(1.0), format!("[{}]", "#".repeat(BAR_WIDTH)));
        let counted = describe_count(50, 200, "rows", Duration::from_secs(10));
        assert_eq!(counted, "25 %, 50 of 200 rows, 30 s left");
    }

    #[test]
    fn time_is_told_roughly() {
        assert_eq!(seconds(0.4), "0 s");
        assert_eq!(seconds(119.0), "119 s");
        assert_eq!(seconds(600.0), "10 min");
        assert_eq!(seconds(7200.0), "2 h");
    }
}
