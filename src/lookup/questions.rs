//! How the names of a query were asked for, whether or not anything answered, and what is below a name that has nothing itself.

use std::time::Instant;

use super::filters::Filters;
use super::literal::literal;
use super::pattern::Pattern;
use super::query::Query;
use super::summary::Names;
use super::walk::{Search, other_form_of, starts_with};
use crate::dns::{Name, RrType, name_of_address};
use crate::observation::{Asked, Outcome};
use crate::store::{Condition, Question, Scan, Snapshot, StoreError};

/// Questions of all names below one that are looked at where others wait.
const MOST_BELOW: u64 = 200_000;
/// Questions that are looked at between two glances at the clock.
const SLICE: u64 = 4096;
/// Names without an answer that are told by name.
const MOST_NAMED: usize = 10;
/// Rows and questions below a name that are looked at for the first that is wanted.
const MOST_PROBED: usize = 10_000;

//--- AskedOf --------------------------------------------------------------------------------------------------------

/// Whose questions belong to a search.
#[derive(Debug, Clone)]
pub struct AskedOf {
    scans: Vec<Scan>,
    test: Test,
    filters: Filters,
    /// The one name that it is about, if it is about one.
    name: Option<Name>,
    /// The one below which all are that it is about.
    top: Option<Name>,
    /// Whether it is about an address, and that name is written so.
    is_address: bool,
}

/// A test for names within a scan.
#[derive(Debug, Clone)]
enum Test {
    None,
    Prefix(Name),
    Pattern(Box<Pattern>),
}

/// How far questions are looked through.
#[derive(Debug, Clone, Copy)]
pub struct QuestionLimits {
    /// The most questions to examine for a pattern.
    pub examined: u64,
    /// The most questions to examine below a name.
    pub below: u64,
    /// Until when.
    pub until: Option<Instant>,
}

impl QuestionLimits {
    /// All of them, however long it takes.
    pub const ALL: QuestionLimits = QuestionLimits { examined: u64::MAX, below: u64::MAX, until: None };

    /// As far as somebody may who is not alone.
    pub fn shared(examined: u64, until: Option<Instant>) -> QuestionLimits {
        QuestionLimits { examined, below: MOST_BELOW, until }
    }
}

impl AskedOf {
    /// The questions that belong to a search; none for a search about no name. An address may have been asked for as a name.
    pub fn of(search: &Search) -> Option<AskedOf> {
        let (mut name, mut top, mut is_address) = (None, None, false);
        let mut more = Vec::new();
        let (scan, test) = match &search.query {
            Query::Name(one) | Query::Either(one) => {
                name = Some(one.clone());
                (Scan::Name(one.clone()), Test::None)
            }
            Query::Subtree(one) => {
                top = Some(one.clone());
                (Scan::Subtree(one.clone()), Test::None)
            }
            query if search.all_forms && query.address().is_some() => {
                is_address = true;
                name = Some(name_of_address(query.address()?)?);
                (Scan::Name(name.clone()?), Test::None)
            }
            // Of addresses among names nobody expects that they were asked for.
            Query::Several(parts) => {
                more = parts
                    .iter()
                    .filter_map(|part| match part {
                        Query::Name(one) => Some(Scan::Name(one.clone())),
                        Query::Subtree(one) => Some(Scan::Subtree(one.clone())),
                        _ => None,
                    })
                    .collect();
                if let [Scan::Name(one)] = more.as_slice() {
                    name = Some(one.clone());
                }
                (more.pop()?, Test::None)
            }
            Query::All => (Scan::All, Test::None),
            Query::Prefix(start) => (Scan::All, Test::Prefix(start.clone())),
            Query::Pattern(pattern) if pattern.is_about_names() => {
                let scan = pattern.under().map_or(Scan::All, |top| Scan::Subtree(top.clone()));
                (scan, Test::Pattern(Box::new(pattern.clone())))
            }
            _ => return None,
        };
        let mut scans: Vec<Scan> = more.into_iter().chain([scan]).collect();
        if search.all_forms {
            let others: Vec<Scan> = scans.iter().filter_map(other_form_of).collect();
            scans.extend(others);
        }
        Some(AskedOf { scans, test, filters: search.filters.clone(), name, top, is_address })
    }

    /// Where they lie.
    pub fn scans(&self) -> &[Scan] {
        &self.scans
    }

    /// Whether questions for a name are among them. `shown` is scratch.
    pub fn holds(&self, name: &Name, shown: &mut Vec<u8>) -> bool {
        let lies_in = |scan: &Scan| match scan {
            Scan::All => true,
            Scan::Name(one) => one == name,
            Scan::Subtree(top) => top.is_at_or_above(name),
            _ => false,
        };
        self.scans.iter().any(lies_in) && self.passes(name, shown)
    }

    /// Whether all questions there are are looked through for them.
    pub fn is_scan(&self) -> bool {
        !matches!(self.test, Test::None)
    }

    /// A condition that each of these questions meets.
    fn condition(&self) -> Condition {
        let test = match &self.test {
            Test::None => Condition::Always,
            Test::Prefix(start) => Condition::BeginsWith(start.clone()),
            Test::Pattern(pattern) => pattern.condition_of_names(),
        };
        Condition::all([test, self.filters.condition(false)])
    }

    fn passes(&self, name: &Name, shown: &mut Vec<u8>) -> bool {
        match &self.test {
            Test::None => true,
            Test::Prefix(start) => starts_with(name, start),
            Test::Pattern(pattern) => pattern.matches_name(name, shown),
        }
    }

    /// Sums up the questions that pass the filters. For one name, and if `probes`, also says whether there is something below it.
    /// None for an address that was not asked for as a name, which nobody expects.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn questions(
        &self,
        ledger: &dyn Snapshot,
        limits: QuestionLimits,
        probes: bool,
    ) -> Result<Option<Questions>, StoreError> {
        let sum = self.sum(ledger, limits, probes)?;
        let says_something = sum.asked.count() > 0 || sum.below.is_some();
        Ok(Some(sum).filter(|_| says_something || !self.is_address))
    }

    /// For the first of several names that has something below it: what that is.
    fn below_any(&self, ledger: &dyn Snapshot) -> Result<Option<Below>, StoreError> {
        for scan in &self.scans {
            if let Scan::Name(name) | Scan::Subtree(name) = scan
                && let Some(below) = Below::of(ledger, name, &self.filters)?
            {
                return Ok(Some(below));
            }
        }
        Ok(None)
    }

    fn sum(
        &self,
        ledger: &dyn Snapshot,
        limits: QuestionLimits,
        probes: bool,
    ) -> Result<Questions, StoreError> {
        let filters = &self.filters;
        let mut sum = Questions {
            as_name: self.is_address,
            is_filtered: filters.narrow_questions(),
            is_of_chaos: self.name.as_ref().is_some_and(is_of_chaos),
            expired_before: ledger.expired_before(),
            ..Questions::default()
        };
        sum.below = match (&self.name, &self.top) {
            (Some(name), _) if probes => Below::of(ledger, name, filters)?,
            (None, Some(top)) if probes => Below::leading_to(ledger, top, true, filters)?,
            // Of a link and of what it leads to, whichever has something below it.
            (None, None) if probes && matches!(self.test, Test::None) => self.below_any(ledger)?,
            _ => None,
        };
        let mut left = match (&self.test, &self.name) {
            (Test::None, Some(_)) => u64::MAX,
            (Test::None, None) => limits.below,
            _ => limits.examined,
        };
        let (mut shown, mut current) = (Vec::new(), OfName::default());
        let (condition, mut is_mark) = (self.condition(), false);
        for scan in &self.scans {
            let is_wide = !matches!(scan, Scan::Name(_));
            for question in ledger.questions_where(scan, &condition)? {
                let is_late = || {
                    (is_mark || left % SLICE == 0)
                        && limits.until.is_some_and(|until| Instant::now() >= until)
                };
                if left == 0 || is_late() {
                    current.end(&mut sum);
                    return Ok(sum);
                }
                left -= 1;
                let question = question?;
                is_mark = question.is_mark();
                // What a domain has of names below it that were folded is not its own.
                let is_own = !is_mark && (question.qtype != RrType::FOLDED || is_wide);
                if is_own && filters.wants_question(&question) && self.passes(&question.rrname, &mut shown) {
                    sum.asked.merge(&question.asked);
                    sum.names.add(question.rrname.key());
                    if self.name.is_none() {
                        current.take(&question, &mut sum);
                    }
                }
            }
        }
        current.end(&mut sum);
        Ok(Questions { is_all: true, ..sum })
    }
}

/// The questions of one name, as they come one after the other.
#[derive(Default)]
struct OfName {
    name: Option<Name>,
    is_answered: bool,
}

impl OfName {
    fn take(&mut self, question: &Question, sum: &mut Questions) {
        if self.name.as_ref() != Some(&question.rrname) {
            self.end(sum);
            self.name = Some(question.rrname.clone());
        }
        self.is_answered |= question.asked.outcome(Outcome::Answered) > 0 || question.qtype == RrType::FOLDED;
    }

    fn end(&mut self, sum: &mut Questions) {
        let is_answered = std::mem::take(&mut self.is_answered);
        if let Some(name) = self.name.take().filter(|_| !is_answered) {
            sum.unanswered += 1;
            if sum.named.len() < MOST_NAMED {
                sum.named.push(name);
            }
        }
    }
}

/// Whether servers are asked for a name about themselves, in the class CHAOS (RFC 4892).
fn is_of_chaos(name: &Name) -> bool {
    let labels = name.labels();
    let last = labels.last().map(Vec::as_slice);
    labels.len() == 2 && matches!(last, Some(b"bind" | b"server"))
}

//--- Questions ------------------------------------------------------------------------------------------------------

/// How a name, or the names that a query is about, were asked for.
#[derive(Debug, Clone, Default)]
pub struct Questions {
    /// All of it as one.
    pub asked: Asked,
    /// Whether all questions were looked at.
    pub is_all: bool,
    /// Whether they are for the name that is written as the address is that was asked for.
    pub as_name: bool,
    /// Whether filters may have left some out.
    pub is_filtered: bool,
    /// Whether they are for a name that is asked for in a class that is never kept: `version.bind` in CHAOS.
    pub is_of_chaos: bool,
    /// Questions last asked before this were dropped, epoch seconds; 0 if none were.
    pub expired_before: u64,
    /// For several names: how many never had an answer.
    pub unanswered: u64,
    /// The first of these.
    pub named: Vec<Name>,
    /// For one name: what is below it.
    pub below: Option<Below>,
    names: Names,
}

impl Questions {
    /// Different names that were asked for; no more than a bound are told apart.
    pub fn names(&self) -> u64 {
        self.names.count()
    }

    /// Whether there were more, which were not told apart.
    pub fn has_more_names(&self) -> bool {
        self.names.are_more()
    }
}

//--- Below ----------------------------------------------------------------------------------------------------------

/// Rows and questions below a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// Whether a name below it has rows.
    pub has_rows: bool,
    /// Whether one was asked for.
    pub was_asked: bool,
    /// Where there is neither: whether rows of other names lead to one.
    pub is_led_to: bool,
    /// The query that finds them.
    pub query: String,
}

impl Below {
    /// Looks for the first row and the first question below a name that filters want; none where there is neither.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn of(ledger: &dyn Snapshot, name: &Name, filters: &Filters) -> Result<Option<Below>, StoreError> {
        let scan = Scan::Subtree(name.clone());
        let (mut has_rows, mut was_asked) = (false, false);
        for entry in ledger.entries(&scan, None)?.take(MOST_PROBED) {
            let entry = entry?;
            if entry.tuple.rrname != *name && filters.wants_entry(&entry) {
                has_rows = true;
                break;
            }
        }
        for question in ledger.questions(&scan)?.take(MOST_PROBED) {
            let question = question?;
            if question.rrname != *name && filters.wants_question(&question) {
                was_asked = true;
                break;
            }
        }
        if !has_rows && !was_asked {
            return Below::leading_to(ledger, name, false, filters);
        }
        let query = if name.is_root() { "*".to_owned() } else { format!("*.{}", literal(name)) };
        Ok(Some(Below { has_rows, was_asked, is_led_to: false, query }))
    }

    /// Looks for the first row that filters want and that leads to a name below one, or also to that name (`with_name`).
    ///
    /// # Errors
    ///
    /// When the store fails.
    fn leading_to(
        ledger: &dyn Snapshot,
        name: &Name,
        with_name: bool,
        filters: &Filters,
    ) -> Result<Option<Below>, StoreError> {
        if name.is_root() {
            return Ok(None);
        }
        for entry in ledger.entries(&Scan::TargetSubtree(name.clone()), None)?.take(MOST_PROBED) {
            let entry = entry?;
            let is_below = with_name || entry.tuple.rdata.name() != Some(name);
            if is_below && filters.wants_entry(&entry) {
                let query = format!("rdata:*.{}", literal(name));
                return Ok(Some(Below { has_rows: false, was_asked: false, is_led_to: true, query }));
            }
        }
        Ok(None)
    }
}
