//! What tells least is folded or dropped: the ledger is copied, and it is left behind on the way.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::rewrite::CopyOptions;
use super::view::ReadView;
use crate::base::clock;
use crate::store::budget::{self, NameBudget, NameSurvey, Rules};
use crate::store::engine::{self, Pairs};
use crate::store::run::Sources;
use crate::store::{Folded, Reduce, Reduced, StoreError, Survey};

/// By how much the ledger grows until its names are counted again in the middle of other work.
const GROWS: u64 = 3;
/// The same, in hundredths, where a command that loads is done.
const GROWS_BY_LOADING: u64 = 125;
/// One in so many names must fold for a copy to be worth it.
const WORTH: u64 = 16;

/// Rows and questions.
fn rows(view: &ReadView) -> u64 {
    let pending = view.pending();
    let in_runs = view.runs.iter().map(|run| run.meta.counts().primary());
    in_runs.sum::<u64>() + pending.primary()
}

impl Shared {
    /// Whether so much has come since names were last counted that a domain may have too many.
    pub(super) fn survey_is_due(&self, view: &ReadView) -> bool {
        let names = self.options.names.names;
        let least = self.options.survey_rows.max(names);
        let surveyed = self.surveyed.load(Ordering::Relaxed);
        names > 0 && rows(view) > least.max(surveyed.saturating_mul(GROWS))
    }

    /// Whether what was loaded is so much that a domain may have too many names.
    fn has_grown_by_loading(&self) -> bool {
        let names = self.options.names.names;
        let surveyed = u128::from(self.surveyed.load(Ordering::Relaxed));
        let rows = rows(&self.view());
        names > 0 && rows > names && u128::from(rows) * 100 > surveyed * u128::from(GROWS_BY_LOADING)
    }

    /// Counts names and folds where it is worth it, if what was loaded is much. A command is not there for long: in the background it
    /// would be broken off each time.
    pub(super) fn fold_names_of_load(&self, is_stopped: &dyn Fn() -> bool) -> Result<(), StoreError> {
        if !self.has_grown_by_loading() || is_stopped() {
            return Ok(());
        }
        let _alone = self.merging.lock();
        // Somebody may have done it meanwhile.
        if self.has_grown_by_loading() { self.fold_names_by_itself() } else { Ok(()) }
    }

    /// Takes up how many rows there were when names were counted last. Where that is not known, a daemon counts them soon, taking its time;
    /// others take it that they never were.
    pub(super) fn take_up_survey(&self) -> Result<(), StoreError> {
        let stored = self.handle().get(engine::SURVEYED)?;
        let rows = match stored.as_deref().and_then(|stored| stored.first_chunk()) {
            Some(stored) => u64::from_be_bytes(*stored),
            None if self.options.puts_off_merges => 0,
            None => rows(&self.view()),
        };
        self.surveyed.store(rows, Ordering::Relaxed);
        Ok(())
    }

    /// Notes of how many rows names were counted. What came meanwhile was not among them.
    fn note_survey(&self, rows: u64) {
        self.surveyed.store(rows, Ordering::Relaxed);
        let note = (engine::SURVEYED.to_vec(), Some(rows.to_be_bytes().to_vec()));
        if let Err(error) = self.handle().commit(vec![note]) {
            tracing::debug!(%error, "That names were counted is not kept: they are counted again when the ledger is open next.");
        }
    }

    /// Counts names, and folds where it is worth it. Nothing else is merged meanwhile.
    pub(super) fn fold_names_by_itself(&self) -> Result<(), StoreError> {
        let now = clock::now();
        self.fold_names(&self.options.names, None, now, false).map(drop)
    }

    /// What was folded so far.
    pub(super) fn folded(&self) -> Folded {
        let view = self.view();
        let record = view.folding.record;
        Folded {
            at: record.at,
            domains: view.folding.estimates.0.len() as u64,
            rows: record.rows,
            questions: record.questions,
            pressed_rows: record.pressed_rows,
            pressed_questions: record.pressed_questions,
            unresolved: record.unresolved,
        }
    }

    /// Counts the names.
    pub(super) fn survey(&self, now: u64, goes_on: &mut dyn FnMut() -> bool) -> Result<Survey, StoreError> {
        let view = self.view();
        let found = self.find(&view.sources(), &self.options.names, now, goes_on)?;
        self.note_survey(rows(&view));
        Ok(Survey {
            names: found.names,
            new: found.new,
            names_over: found.names_over(&self.options.names),
            names_over_parts: found.names_over_parts,
        })
    }

    fn find(
        &self,
        sources: &Sources,
        budget: &NameBudget,
        now: u64,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<NameSurvey, StoreError> {
        let mut check =
            || self.check_stop().and_then(|()| if goes_on() { Ok(()) } else { Err(StoreError::Closed) });
        let found = budget::survey(sources, budget, now, &mut check)?;
        self.growth.lock().clone_from(&found.growth);
        Ok(found)
    }

    /// Makes less by a rule.
    pub(super) fn reduce(&self, rule: Reduce, at: u64) -> Result<Reduced, StoreError> {
        let _alone = self.merging.lock();
        match rule {
            Reduce::Names { at_least } => self.fold_names(&self.options.names, Some(at_least), at, false),
            Reduce::LargeDomains { part, since } => {
                self.fold_names(&self.options.names.share(part, since), Some(1), at, true)
            }
            Reduce::Unresolved { since, before } => {
                let rules = Rules { unresolved: since..before, ..self.rules() };
                let how = CopyOptions { at, forget: None, in_place: true, pressed: true };
                self.copy(self.settled_runs()?, rules, how)
            }
        }
    }

    fn rules(&self) -> Rules {
        let view = self.view();
        Rules {
            known: Arc::clone(&view.folding.estimates),
            seed: view.folding.record.seeded().seed,
            ..Rules::default()
        }
    }

    /// Folds the names of domains beyond a budget, if there are enough of them.
    fn fold_names(
        &self,
        budget: &NameBudget,
        at_least: Option<u64>,
        at: u64,
        pressed: bool,
    ) -> Result<Reduced, StoreError> {
        if budget.names == 0 {
            return Ok(Reduced::default());
        }
        // What is judged is what is copied then: of a name all that there is.
        let runs = self.settled_runs()?;
        let sources = self.sources_of(&runs);
        let counted: u64 = runs.iter().map(|run| run.meta.counts().primary()).sum();
        let found = self.find(&sources, budget, at, &mut || true);
        // Also where it failed: it is not tried again and again.
        self.surveyed.store(counted, Ordering::Relaxed);
        let found = found?;
        let names = found.names;
        let rules = self.rules();
        let fold = budget::plan(&sources, found, budget, rules.seed, &mut || self.check_stop())?;
        let at_least = at_least.unwrap_or(names / WORTH).max(1);
        let Some(fold) = fold.filter(|fold| fold.names >= at_least) else {
            self.note_survey(counted);
            return Ok(Reduced::default());
        };
        tracing::info!(
            names = fold.names,
            domains = fold.domains(),
            pressed,
            "Folding names of domains beyond their budget."
        );
        let rules = Rules { fold: Some(fold), ..rules };
        let how = CopyOptions { at, forget: None, in_place: true, pressed };
        let reduced = self.copy(runs, rules, how)?;
        self.note_survey(counted.saturating_sub(reduced.rows + reduced.questions));
        Ok(reduced)
    }
}
