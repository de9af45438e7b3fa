//! What is asked: the rows and questions whose lines are wanted, and the logs that may hold some.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;

use super::line::LogFault;
use super::times::Stretches;
use crate::dns::{RrType, other_form};
use crate::ingest::is_origin;
use crate::lookup::{AskedOf, Indicator, Query, RowTest, Search};
use crate::observation::{Half, Observations, SensorId, Tuple, question_from_row_key};
use crate::progress::{LineageId, Progress};
use crate::store::{Scan, Snapshot, StoreError};
use crate::tally::Skip;

/// Rows and questions whose figures are compared with what was found.
const MOST_COMPARED: usize = 20_000;
/// Rows that are looked at for the times at which something was seen.
const MOST_ROWS: u64 = 5_000_000;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The rows whose lines are wanted, and the questions of that name. Of its filters the types, the sensor, `direct` and `during`
    /// count.
    pub search: Search,
    /// Only rows with this data, as it is shown or as people paste it; then no questions.
    pub rdata: Option<String>,
    /// Whether the oldest line comes first, and not the newest.
    pub oldest_first: bool,
    /// At most so many lines.
    pub limit: Option<u64>,
    /// Whether each line is wanted as Zeek wrote it.
    pub raw: bool,
    /// After this no more is read.
    pub until: Option<Instant>,
}

/// A row or a question, and how often it was counted and found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub is_question: bool,
    pub counted: u64,
    pub found: u64,
    /// Of those the ones that were certainly counted.
    pub found_before: u64,
}

/// The rows and questions that are asked for.
pub(super) struct AskedRows {
    pub test: RowTest,
    /// The forms of the one data that is wanted, as they are shown; none where any is.
    pub rdata: Vec<String>,
    pub direct: bool,
    /// Whose questions are asked for as well.
    pub questions: Option<AskedOf>,
    pub during: Option<(u64, u64)>,
    pub sensors: HashMap<String, u16>,
    pub stretches: Stretches,
    /// By row key, with the number of the sensor given here.
    pub counted: Vec<Counted>,
    pub rows: HashMap<Vec<u8>, usize>,
    pub asked: HashMap<Vec<u8>, usize>,
    /// Why figures cannot be compared.
    pub uncompared: Option<&'static str>,
    /// Sightings that came from other sites.
    pub imported: u64,
    pub notes: Vec<String>,
}

impl AskedRows {
    pub fn of(ask: &Ask, now: &dyn Snapshot, logs: &[Progress]) -> Result<AskedRows, StoreError> {
        let mut sensors: HashMap<String, u16> = HashMap::new();
        for log in logs {
            let next = u16::try_from(sensors.len()).unwrap_or(u16::MAX);
            sensors.entry(log.sensor.clone()).or_insert(next);
        }
        let filters = &ask.search.filters;
        let questions = match ask.rdata {
            Some(_) => None,
            None => AskedOf::of(&ask.search),
        };
        let mut asked = AskedRows {
            test: RowTest::of(&ask.search),
            rdata: ask.rdata.as_deref().map(forms_of).unwrap_or_default(),
            direct: filters.direct,
            questions,
            during: filters.during,
            sensors,
            stretches: Stretches::default(),
            counted: Vec::new(),
            rows: HashMap::new(),
            asked: HashMap::new(),
            uncompared: None,
            imported: 0,
            notes: Vec::new(),
        };
        let origins: HashSet<&str> =
            logs.iter().filter(|log| is_origin(log)).map(|log| log.sensor.as_str()).collect();
        asked.rows(ask, now, &origins)?;
        asked.questions(ask, now)?;
        if let Some(during) = filters.during {
            asked.stretches.clip(during);
        }
        asked.stretches.settle();
        if asked.imported > 0 {
            asked.notes.push(format!(
                "{} sightings were merged from other sites: there are no lines of them here.",
                asked.imported
            ));
        }
        Ok(asked)
    }

    pub fn rows(&mut self, ask: &Ask, now: &dyn Snapshot, origins: &HashSet<&str>) -> Result<(), StoreError> {
        let (filters, mut key, mut shown) = (&ask.search.filters, Vec::new(), Vec::new());
        let wants_sensor = |sensor: &str| filters.sensor.as_deref().is_none_or(|wanted| wanted == sensor);
        let mut examined = 0u64;
        for scan in self.test.scans().to_vec() {
            for entry in now.entries(&scan, None)? {
                let entry = entry?;
                examined += 1;
                if examined > MOST_ROWS {
                    // All logs may hold some.
                    self.stretches.add(0, u64::MAX);
                    self.uncompared = Some("there are too many rows");
                    return Ok(());
                }
                let is_folded = entry.tuple.rrtype == RrType::FOLDED;
                if !wants_sensor(&entry.sensor) || !(is_folded || self.finds(&entry.tuple, &mut shown)) {
                    continue;
                }
                let seen = if self.direct { entry.halves.direct } else { entry.halves.combined() };
                if seen.is_none() {
                    continue;
                }
                if origins.contains(&*entry.sensor) {
                    self.imported = self.imported.saturating_add(seen.count);
                    continue;
                }
                self.stretches.add_seen(&seen);
                if is_folded {
                    self.fold();
                    continue;
                }
                key.clear();
                entry.tuple.push_key(&mut key);
                self.expect(&key, &entry.sensor, seen.count, (seen.time_first, seen.time_last), false);
            }
        }
        self.folded_above(now, &wants_sensor)
    }

    /// A name may have been folded into a row of its domain.
    pub fn folded_above(
        &mut self,
        now: &dyn Snapshot,
        wants_sensor: &dyn Fn(&str) -> bool,
    ) -> Result<(), StoreError> {
        let names: Vec<crate::dns::Name> = (self.test.scans().iter())
            .filter_map(|scan| match scan {
                Scan::Name(name) | Scan::Subtree(name) => Some(name.clone()),
                _ => None,
            })
            .collect();
        for mut name in names {
            while let Some(above) = name.parent().filter(|above| !above.is_root()) {
                name = above;
                for entry in now.entries(&Scan::Name(name.clone()), None)? {
                    let entry = entry?;
                    if entry.tuple.rrtype == RrType::FOLDED && wants_sensor(&entry.sensor) {
                        self.stretches.add_seen(&entry.halves.combined());
                        self.fold();
                    }
                }
                for question in now.questions(&Scan::Name(name.clone()))? {
                    let question = question?;
                    if question.qtype == RrType::FOLDED && wants_sensor(&question.sensor) {
                        self.stretches.add(question.asked.time_first, question.asked.time_last);
                        self.fold();
                    }
                }
            }
        }
        Ok(())
    }

    pub fn fold(&mut self) {
        if self.uncompared.replace("names of this domain were folded").is_none() {
            self.notes.push(
                "Names of this domain were folded into one row: lines of names without a row are looked for, and not counted again."
                    .to_owned(),
            );
        }
    }

    pub fn questions(&mut self, ask: &Ask, now: &dyn Snapshot) -> Result<(), StoreError> {
        let Some(of) = self.questions.clone() else { return Ok(()) };
        let (mut key, mut shown, mut examined) = (Vec::new(), Vec::new(), 0u64);
        let all: Vec<_> = of.scans().iter().map(|scan| now.questions(scan)).collect::<Result<_, _>>()?;
        for question in all.into_iter().flatten() {
            let question = question?;
            if !of.holds(&question.rrname, &mut shown) {
                continue;
            }
            examined += 1;
            if examined > MOST_ROWS {
                self.stretches.add(0, u64::MAX);
                self.uncompared = Some("there are too many questions");
                return Ok(());
            }
            let is_folded = question.qtype == RrType::FOLDED;
            if !(is_folded || ask.search.filters.wants_question(&question)) {
                continue;
            }
            let asked = question.asked;
            self.stretches.add(asked.time_first, asked.time_last);
            if is_folded {
                self.fold();
                continue;
            }
            key.clear();
            key.extend_from_slice(question.rrname.key());
            key.extend_from_slice(&question.qtype.0.to_be_bytes());
            self.expect(&key, &question.sensor, asked.count(), (asked.time_first, asked.time_last), true);
        }
        Ok(())
    }

    /// Takes down how often a row or a question was counted.
    pub fn expect(
        &mut self,
        key: &[u8],
        sensor: &str,
        counted: u64,
        (first, last): (u64, u64),
        is_question: bool,
    ) {
        if self.during.is_some_and(|(from, to)| first < from || last > to) {
            self.uncompared.get_or_insert("not all of it lies within that time");
        }
        if self.counted.len() >= MOST_COMPARED {
            self.uncompared.get_or_insert("there are too many rows");
        }
        if self.uncompared.is_some() {
            return;
        }
        let Some(sensor) = self.sensors.get(sensor) else { return };
        let key = [key, &sensor.to_be_bytes()].concat();
        let at = self.counted.len();
        let places = if is_question { &mut self.asked } else { &mut self.rows };
        if places.insert(key, at).is_none() {
            self.counted.push(Counted { is_question, counted, found: 0, found_before: 0 });
        }
    }

    pub fn finds(&mut self, tuple: &Tuple, shown: &mut Vec<u8>) -> bool {
        if !self.test.passes(tuple) {
            return false;
        }
        if self.rdata.is_empty() {
            return true;
        }
        shown.clear();
        tuple.rdata.push_presentation(shown);
        self.rdata.iter().any(|wanted| shown.eq_ignore_ascii_case(wanted.as_bytes()))
    }

    /// Whether a line is one of those asked for; of which rows and questions is put into `of`.
    pub fn wants(&mut self, observations: &Observations, shown: &mut Vec<u8>, of: &mut Vec<usize>) -> bool {
        of.clear();
        let time = observations.time();
        if self.during.is_some_and(|(from, to)| time < from || time > to) {
            return false;
        }
        let mut wanted = false;
        for observation in observations.iter() {
            if self.direct && observation.half != Half::Direct {
                continue;
            }
            let Ok((tuple, _)) = Tuple::from_row_key(observation.row_key) else { continue };
            if self.finds(&tuple, shown) {
                wanted = true;
                of.extend(self.rows.get(observation.row_key));
            }
        }
        if let (Some(questions), Some((key, _))) = (&self.questions, observations.question())
            && let Ok((rrname, qtype, _)) = question_from_row_key(key)
            && self.test.types().contains(qtype)
            && questions.holds(&rrname, shown)
        {
            wanted = true;
            of.extend(self.asked.get(key));
        }
        wanted
    }

    /// The logs whose times meet those at which something was seen.
    pub fn candidates(&self, ask: &Ask, logs: Vec<Progress>, before: &HashMap<LineageId, u64>) -> Vec<Log> {
        let wants_sensor =
            |log: &Progress| ask.search.filters.sensor.as_ref().is_none_or(|sensor| *sensor == log.sensor);
        logs.into_iter()
            .filter(|log| wants_sensor(log) && !is_origin(log))
            .filter(|log| log.tally.counted > 0 || log.tally.skipped(Skip::NoAnswer) > 0)
            .map(|log| {
                let may_have_grown = may_have_grown(&log);
                (log, may_have_grown)
            })
            .filter(|(log, may_have_grown)| {
                let (oldest, latest) = log.times();
                self.stretches.meets(oldest, if *may_have_grown { u64::MAX } else { latest })
            })
            .map(|(log, may_have_grown)| {
                let (oldest, latest) = log.times();
                let micros = |seconds: u64| seconds.saturating_mul(1_000_000);
                let bound = match ask.oldest_first {
                    true => micros(oldest),
                    false if !may_have_grown && latest > 0 => {
                        u64::MAX - micros(latest).saturating_add(999_999)
                    }
                    // What has come since is not known.
                    false => 0,
                };
                Log {
                    bound,
                    before: before.get(&log.lineage).copied().unwrap_or_default(),
                    sensor: SensorId(self.sensors.get(&log.sensor).copied().unwrap_or(u16::MAX)),
                    progress: log,
                    state: LogState::Unread,
                }
            })
            .collect()
    }
}

/// Data as it may be shown: a name or an address that was pasted as it is in rows, in each of its forms; any other text as it is.
pub(super) fn forms_of(text: &str) -> Vec<String> {
    let understood = match text.trim_start().starts_with('"') {
        true => None, // text, as TXT data is shown
        false => Indicator::read(text).ok().map(|one| one.query),
    };
    match understood {
        Some(Query::Name(name)) => {
            let other = other_form(&name);
            // A name may be pasted as a part of text that is data.
            let forms = [Some(name), other].into_iter().flatten().map(|name| name.to_string());
            forms.chain([text.trim().to_owned()]).collect()
        }
        Some(Query::Addresses(first, last)) if first == last => match first {
            IpAddr::V4(v4) => vec![v4.to_string(), v4.to_ipv6_mapped().to_string()],
            IpAddr::V6(v6) => vec![v6.to_string()],
        },
        _ => vec![text.trim().to_owned()],
    }
}

/// Whether there may be more in a log than was counted of it.
pub(super) fn may_have_grown(log: &Progress) -> bool {
    let size = || std::fs::metadata(&log.path).map_or(0, |file| file.len());
    !log.complete && size() > log.consumed.offset
}

/// A log that may hold lines.
pub(super) struct Log {
    pub progress: Progress,
    pub sensor: SensorId,
    /// Bytes that were certainly counted in the rows that are looked at.
    pub before: u64,
    /// No line of it comes before this in the order of the answer.
    pub bound: u64,
    pub state: LogState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogState {
    Unread,
    /// It holds nothing of what is looked for.
    Denied,
    /// Read as far as it goes, in this round.
    Read,
    /// Read before, here, and not in this round.
    At(PathBuf),
    Missing(LogFault, String),
}
