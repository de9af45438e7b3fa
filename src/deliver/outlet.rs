//! Delivery to one outlet: in the order of numbers, each hit until it is settled, and only then the next.
//!
//! A hit is settled when the outlet has it, when it refused it for good, when it is given up, or when the outlet does not want hits of its
//! feeds. The cursor is kept after that: a crash between the two delivers it again, with the same id.
//!
//! An outlet that bars a hit (401, 403, 404) may have lost its key for a moment, or have a firewall that does not like the name in it. The first
//! must not make dead letters of all hits, nor the second hold up what is behind. So it is tried again, as after any failure, and then one of those
//! behind it is tried too: where that is taken, and the hit is not even then, the hit is at fault.
//!
//! Dead letters that are to be delivered once more go out before the next hit; a crash meanwhile delivers all of them again.
//!
//! A hundred a second go out, and so many an hour as are configured. Beyond that hits are counted, and a sum stands for them, at most one a
//! minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::folder::{Files, OutletProgress};
use super::message::Message;
use super::source::Page;
use super::{DeliverError, HitSource, Outcome, OutletConfig, OutletFolder, Sink, open};
use crate::base::clock::now;
use crate::base::seeded_hash::new_seed;
use crate::base::shutdown::Stop;
use crate::http::Delivering;
use crate::watch::{HitLine, Summed};

/// Hits that are asked for together.
const PAGE: usize = 200;
/// Those that are counted together.
const COUNTED: usize = 5000;
/// How long the daemon waits for a hit before it answers that there is none.
const WAIT: Duration = Duration::from_secs(10);
/// How long to wait while the daemon is away.
const AWAY: Duration = Duration::from_millis(250);
const LONG_AWAY: Duration = Duration::from_secs(5);
/// Time that a hit takes: a hundred a second; and what may come at once.
const EACH: Duration = Duration::from_millis(10);
const AT_ONCE: Duration = Duration::from_millis(100);
/// The first pause after a failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest that an outlet may ask to be left alone.
const LONGEST_AFTER: Duration = Duration::from_secs(3600);
/// Seconds within which hits are counted, and between two sums.
const HOUR: u64 = 3600;
const MINUTE: u64 = 60;
/// Attempts that are barred one after the other before a hit behind is tried.
const BARRED: u32 = 3;
/// Attempts of who delivers once.
const ATTEMPTS_ONCE: u32 = 3;
/// Characters of a reason that are told.
const MAX_WHY: usize = 300;

/// What delivers to one outlet.
pub struct Delivery {
    config: OutletConfig,
    sink: Box<dyn Sink>,
    source: HitSource,
    files: Files,
    cursor: OutletProgress,
    told: Arc<Mutex<Delivering>>,
    stop: Stop,
    /// What is there is delivered, and then it ends.
    once: bool,
    /// When the next hit may go out.
    next: Instant,
    /// Attempts that failed one after the other, and when the next one may be made.
    failed: u32,
    retry_at: Instant,
    is_new: bool,
    /// The number of the last hit there is, as far as it is known.
    last: u64,
    /// Whether something is on its way just now.
    busy: Arc<AtomicBool>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Something is settled, and there may be more.
    On,
    /// There is nothing to be delivered.
    Nothing,
    /// It is to stop, or will not go on.
    End,
}

impl Delivery {
    /// Opens an outlet: its key, its certificates, and how far it is. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// When one of them cannot be used.
    pub fn open(
        config: OutletConfig,
        source: HitSource,
        folder: &OutletFolder,
        stop: Stop,
        once: bool,
    ) -> Result<Delivery, DeliverError> {
        Delivery::with(open(&config)?, config, source, folder, stop, once)
    }

    pub(super) fn with(
        sink: Box<dyn Sink>,
        config: OutletConfig,
        source: HitSource,
        folder: &OutletFolder,
        stop: Stop,
        once: bool,
    ) -> Result<Delivery, DeliverError> {
        let files = folder.of(&config.name);
        let known = files.load()?;
        let (is_new, cursor) = (known.is_none(), known.unwrap_or_default());
        let told = Delivering {
            outlet: config.name.clone(),
            kind: config.target.kind().to_string(),
            after: cursor.after,
            failing_since: cursor.failing_since,
            ..Delivering::default()
        };
        let (told, begun) = (Arc::new(Mutex::new(told)), Instant::now());
        Ok(Delivery {
            config,
            sink,
            source,
            files,
            cursor,
            told,
            stop,
            once,
            next: begun,
            failed: 0,
            retry_at: begun,
            is_new,
            last: 0,
            busy: Arc::default(),
        })
    }

    /// The state that `status` shows of this delivery.
    pub fn told(&self) -> Arc<Mutex<Delivering>> {
        Arc::clone(&self.told)
    }

    /// Whether something is on its way just now, or was delivered and is not noted.
    pub fn busy(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.busy)
    }

    /// Delivers until it is stopped, or once; whether all that was there is settled.
    ///
    /// # Errors
    ///
    /// When how far it is cannot be kept: nothing more is delivered then.
    pub fn run(mut self) -> Result<bool, DeliverError> {
        let mut away: Option<Duration> = None;
        while !self.stop.is_stopped() {
            if !self.letters()? && self.once {
                return Ok(false);
            }
            let wait = if self.once { Duration::ZERO } else { WAIT };
            let page = match self.source.hits(self.cursor.after, PAGE, wait) {
                Ok(page) => page,
                Err(why) if self.once => {
                    self.told.lock().error = cut(&why);
                    return Ok(false);
                }
                Err(why) => {
                    if away.is_none() {
                        tracing::warn!(outlet = self.config.name, %why, "Hits cannot be asked for just now.");
                    }
                    let pause = away.map_or(AWAY, |pause| (pause * 2).min(LONG_AWAY));
                    away = Some(pause);
                    self.stop.wait(jittered(pause));
                    continue;
                }
            };
            if away.take().is_some() {
                tracing::info!(outlet = self.config.name, "The daemon answers.");
            }
            match self.step(page)? {
                Step::Nothing if self.once => return Ok(true),
                Step::End => return Ok(false),
                Step::On | Step::Nothing => {}
            }
        }
        Ok(false)
    }

    /// Delivers dead letters once more that are set apart for that; whether none is left of them. One that is refused again is a dead letter
    /// again. Where the outlet fails they stay, and their time comes again.
    fn letters(&mut self) -> Result<bool, DeliverError> {
        while let Some((path, lines)) = self.files.again()? {
            let fault = |error| DeliverError::State { path: path.clone(), error };
            let mut lines = lines.peekable();
            let (mut together, mut as_they_are, mut is_first) = (Vec::new(), Vec::new(), true);
            while let Some(line) = lines.next() {
                let line = line.map_err(fault)?;
                match Message::of_letter(&line) {
                    Some(message) => {
                        together.push(message);
                        as_they_are.push(Ok(line));
                    }
                    None => {
                        tracing::warn!(
                            outlet = self.config.name,
                            "A line of the dead letters is none, and stays there."
                        );
                        self.files.bury_lines(&line)?;
                        is_first = false;
                    }
                }
                if together.len() < self.sink.together() && lines.peek().is_some() {
                    continue;
                }
                if !self.attempt_again(&together)? {
                    // What was settled is not delivered again.
                    if !is_first {
                        self.files.keep_letters(&path, as_they_are.into_iter().chain(lines))?;
                    }
                    return Ok(false);
                }
                together.clear();
                as_they_are.clear();
                is_first = false;
            }
            self.files.delivered_again(&path)?;
        }
        Ok(true)
    }

    /// Delivers letters once more; `false` where the outlet takes nothing now, or it is to stop.
    fn attempt_again(&mut self, messages: &[Message]) -> Result<bool, DeliverError> {
        if messages.is_empty() {
            return Ok(true);
        }
        if self.stop.wait(self.retry_at.max(self.next).saturating_duration_since(Instant::now())) {
            return Ok(false);
        }
        let outcome = self.attempt(messages);
        let is_settled = match outcome {
            Outcome::Failed { why, retry_after } => {
                self.fails(&why, retry_after)?;
                false
            }
            outcome => {
                // Who resends says that the outlet is mended: what is barred even then is a dead letter again.
                if let Outcome::Refused(why) | Outcome::Barred { why, .. } = outcome {
                    self.give_up(messages, &why)?;
                } else {
                    self.told.lock().delivered += messages.len() as u64;
                }
                self.works();
                self.files.save(&self.cursor)?;
                true
            }
        };
        self.busy.store(false, Ordering::SeqCst);
        Ok(is_settled)
    }

    /// Hands messages to the outlet, and notes when the next may go out.
    fn attempt(&mut self, messages: &[Message]) -> Outcome {
        let begun = Instant::now();
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        self.next = self.next.max(begun.checked_sub(AT_ONCE).unwrap_or(begun)) + EACH * count;
        self.busy.store(true, Ordering::SeqCst);
        self.sink.send(messages)
    }

    /// Delivers what was found.
    fn step(&mut self, page: Page) -> Result<Step, DeliverError> {
        if self.meets_another(&page)? {
            return Ok(Step::On);
        }
        let Page { ledger, hits, last } = page;
        self.last = last;
        self.told.lock().waiting = last.saturating_sub(self.cursor.after);
        let Some(behind) = hits.last().map(|hit| hit.sequence) else { return Ok(Step::Nothing) };
        let mut together: Vec<Message> = Vec::new();
        for hit in hits {
            if !self.wants(&hit) {
                continue;
            }
            if !self.has_room(together.len()) {
                if !self.deliver(&together)? {
                    return Ok(Step::End);
                }
                return self.sum(&ledger, last);
            }
            together.push(Message::hit(&ledger, hit));
            if together.len() >= self.sink.together() {
                if !self.deliver(&together)? {
                    return Ok(Step::End);
                }
                together.clear();
            }
        }
        if !self.deliver(&together)? {
            return Ok(Step::End);
        }
        // Those behind the last one are not wanted.
        if self.cursor.after < behind {
            self.settle(behind)?;
        }
        Ok(Step::On)
    }

    /// Where it is another ledger than before, or an older state of it, begins anew. Whether that was so.
    fn meets_another(&mut self, page: &Page) -> Result<bool, DeliverError> {
        if self.cursor.ledger != page.ledger {
            let is_first = self.cursor.ledger.is_empty();
            if !is_first {
                tracing::warn!(
                    outlet = self.config.name,
                    before = self.cursor.ledger,
                    now = page.ledger,
                    "Another ledger took the place of the one before. Its hits are delivered from the first."
                );
            }
            let after = if is_first && self.is_new && !self.config.history { page.last } else { 0 };
            self.cursor.ledger.clone_from(&page.ledger);
            self.settle(after)?;
            return Ok(true);
        }
        if page.last < self.cursor.after {
            tracing::warn!(
                outlet = self.config.name,
                before = self.cursor.after,
                now = page.last,
                "The ledger has fewer hits than were delivered: an older state of it took its place. It goes on behind the last."
            );
            self.settle(page.last)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn wants(&self, hit: &HitLine) -> bool {
        self.config.feeds.is_empty() || self.config.feeds.iter().any(|feed| hit.is_of(feed))
    }

    /// Whether one more may be delivered within the hour, beside so many.
    fn has_room(&mut self, beside: usize) -> bool {
        let now = now();
        if now >= self.cursor.hour.saturating_add(HOUR) || now < self.cursor.hour {
            (self.cursor.hour, self.cursor.sent) = (now, 0);
        }
        self.config.per_hour == 0 || self.cursor.sent.saturating_add(beside as u64) < self.config.per_hour
    }

    /// Counts all hits that are there, and delivers a sum in their place; or waits, where one was just delivered.
    fn sum(&mut self, ledger: &str, last: u64) -> Result<Step, DeliverError> {
        let at = now();
        let due = self.cursor.summed.saturating_add(MINUTE).min(self.cursor.hour.saturating_add(HOUR));
        if !self.once && at < due && self.cursor.summed <= at {
            // The hits stay, and when the hour is over they are delivered one by one.
            self.stop.wait(Duration::from_secs((due - at).min(MINUTE)));
            return Ok(Step::On);
        }
        let mut summed: Option<Summed> = None;
        let mut after = self.cursor.after;
        while after < last && !self.stop.is_stopped() {
            let Ok(page) = self.source.hits(after, COUNTED, Duration::ZERO) else { break };
            let Some(behind) = page.hits.last().map(|hit| hit.sequence) else { break };
            if page.ledger != ledger {
                break;
            }
            for hit in page.hits.iter().filter(|hit| self.wants(hit)) {
                let sum = summed.get_or_insert(Summed { from: hit.sequence, to: hit.sequence, hits: 0 });
                (sum.to, sum.hits) = (hit.sequence, sum.hits + 1);
            }
            after = behind;
        }
        let Some(summed) = summed else { return Ok(Step::On) };
        let is_settled = self.deliver(&[Message::summed(ledger, summed)])?;
        if is_settled {
            self.cursor.summed = at;
            self.files.save(&self.cursor)?;
        }
        Ok(if is_settled { Step::On } else { Step::End })
    }

    /// Delivers messages together, again and again until they are settled; `false` where it is to stop before.
    fn deliver(&mut self, messages: &[Message]) -> Result<bool, DeliverError> {
        let settled = self.settle_all(messages);
        self.busy.store(false, Ordering::SeqCst);
        settled
    }

    fn settle_all(&mut self, messages: &[Message]) -> Result<bool, DeliverError> {
        let Some(last) = messages.last().map(Message::sequence) else { return Ok(true) };
        let (mut attempts, mut barred) = (0, 0);
        loop {
            if self.is_given_up(messages) {
                let why = format!("given up: {}", self.told.lock().error);
                self.give_up(messages, &why)?;
                return self.settle(last).map(|()| true);
            }
            let until = self.retry_at.max(self.next);
            if self.stop.wait(until.saturating_duration_since(Instant::now())) {
                return Ok(false);
            }
            attempts += 1;
            match self.attempt(messages) {
                Outcome::Delivered => {
                    let hits: u64 = messages.iter().map(Message::hits).sum();
                    let single = messages.iter().filter(|message| message.noted().is_some()).count() as u64;
                    {
                        let mut told = self.told.lock();
                        told.delivered += single;
                        told.summed += hits - single;
                    }
                    self.cursor.sent += single;
                    self.works();
                    return self.settle(last).map(|()| true);
                }
                Outcome::Refused(why) => return self.refused(messages, &why).map(|()| true),
                Outcome::Barred { why, retry_after } => {
                    barred += 1;
                    if barred >= BARRED
                        && retry_after.is_none()
                        && self.is_at_fault(messages, barred - BARRED)
                    {
                        return self.refused(messages, &why).map(|()| true);
                    }
                    self.fails(&why, retry_after)?;
                }
                Outcome::Failed { why, retry_after } => self.fails(&why, retry_after)?,
            }
            self.busy.store(false, Ordering::SeqCst);
            if self.once && attempts >= ATTEMPTS_ONCE {
                return Ok(false);
            }
        }
    }

    /// Messages that the outlet will never take are dead letters, and settled.
    fn refused(&mut self, messages: &[Message], why: &str) -> Result<(), DeliverError> {
        let Some(last) = messages.last().map(Message::sequence) else { return Ok(()) };
        tracing::error!(
            outlet = self.config.name,
            hit = last,
            why = %cut(why),
            "A hit was refused for good. It is among the dead letters."
        );
        self.give_up(messages, why)?;
        self.works();
        self.settle(last)
    }

    /// Whether what bars these messages takes one behind them, and bars these even then. That one is delivered again in its turn, with its id.
    /// Each time it is another of those behind, for some of them may be barred as well.
    fn is_at_fault(&mut self, messages: &[Message], turn: u32) -> bool {
        let Some(last) = messages.last().map(Message::sequence) else { return false };
        let Ok(page) = self.source.hits(last, PAGE, Duration::ZERO) else { return false };
        if page.ledger != self.cursor.ledger {
            return false;
        }
        let mut behind: Vec<_> = page.hits.into_iter().filter(|hit| self.wants(hit)).collect();
        if behind.is_empty() {
            return false;
        }
        let other = behind.swap_remove(turn as usize % behind.len());
        if self.attempt(&[Message::hit(&page.ledger, other)]) != Outcome::Delivered {
            return false;
        }
        // It may have been mended just now.
        matches!(self.attempt(messages), Outcome::Barred { .. })
    }

    /// Whether the outlet has failed for so long, and the hits are so old, that they are given up.
    fn is_given_up(&self, messages: &[Message]) -> bool {
        let (now, age) = (now(), self.config.give_up_after.as_secs());
        let is_old = |at: u64| at.saturating_add(age) <= now;
        self.failed > 0
            && is_old(self.cursor.failing_since)
            && messages.iter().all(|message| message.noted().is_none_or(is_old))
    }

    /// Notes that the outlet answers.
    fn works(&mut self) {
        if self.failed > 0 {
            tracing::info!(outlet = self.config.name, "Delivery goes on.");
        }
        (self.failed, self.cursor.failing_since) = (0, 0);
        let mut told = self.told.lock();
        told.failing_since = 0;
        told.error.clear();
    }

    /// The outlet took nothing.
    fn fails(&mut self, why: &str, retry_after: Option<Duration>) -> Result<(), DeliverError> {
        let why = cut(why);
        if self.failed == 0 {
            tracing::warn!(outlet = self.config.name, %why, "An outlet takes nothing just now. Its hits stay, and are delivered later.");
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failed.min(16)).min(LONGEST_PAUSE);
        let pause = jittered(pause).max(retry_after.unwrap_or_default().min(LONGEST_AFTER));
        self.failed = self.failed.saturating_add(1);
        self.retry_at = Instant::now() + pause;
        if self.cursor.failing_since == 0 {
            self.cursor.failing_since = now();
            self.files.save(&self.cursor)?;
        }
        let mut told = self.told.lock();
        told.failures += 1;
        (told.failing_since, told.error) = (self.cursor.failing_since, why);
        Ok(())
    }

    /// Keeps what will not be delivered.
    fn give_up(&mut self, messages: &[Message], why: &str) -> Result<(), DeliverError> {
        self.files.give_up(messages, &cut(why), now())?;
        self.told.lock().refused += messages.iter().map(Message::hits).sum::<u64>();
        Ok(())
    }

    /// All up to a number is settled.
    fn settle(&mut self, after: u64) -> Result<(), DeliverError> {
        self.cursor.after = after;
        {
            let mut told = self.told.lock();
            (told.after, told.waiting) = (after, self.last.saturating_sub(after));
        }
        self.files.save(&self.cursor)
    }
}

/// A pause, by up to a half shorter or longer: outlets that failed together are not asked again together.
fn jittered(pause: Duration) -> Duration {
    let part = u32::try_from(new_seed() % 1000).unwrap_or(0);
    pause / 2 + pause * part / 1000
}

fn cut(why: &str) -> String {
    why.chars().take(MAX_WHY).collect()
}
