//! What parsers hand their finds to: it decides, counts, and passes on.

use super::left_out::LeftOutColumns;
use super::reason::{Reason, Skipped};
use super::text::SEEN;
use super::value::{self, Value, Values};
use super::{Action, Format, Indicator, ListSummary, Options, ReadError, Reference};
use crate::dns::is_host_suffix;

/// Characters of a text of a reference that are kept.
const MAX_TEXT: usize = 500;
/// Tags of a reference that are kept.
const MAX_TAGS: usize = 50;

/// Takes what a parser finds.
pub struct Collect<'a> {
    options: &'a Options,
    sink: &'a mut dyn FnMut(Indicator) -> Result<(), ReadError>,
    taken: ListSummary,
    left_out: LeftOutColumns,
}

impl<'a> Collect<'a> {
    /// For a list of this format.
    pub fn new(
        format: Format,
        options: &'a Options,
        sink: &'a mut dyn FnMut(Indicator) -> Result<(), ReadError>,
    ) -> Collect<'a> {
        let skipped = Skipped::default();
        Collect {
            options,
            sink,
            taken: ListSummary {
                format,
                title: None,
                lines: 0,
                taken: 0,
                allowed: 0,
                skipped,
                left_out: Vec::new(),
            },
            left_out: LeftOutColumns::default(),
        }
    }

    /// How it is to be read.
    pub fn options(&self) -> &'a Options {
        self.options
    }

    /// Counts a line, or what stands for one.
    pub fn line(&mut self) {
        self.taken.lines += 1;
    }

    /// The number of the line that was counted last.
    pub fn number(&self) -> u64 {
        self.taken.lines
    }

    /// Notes how it turned out to be written.
    pub fn format(&mut self, format: Format) {
        self.taken.format = format;
    }

    /// Notes its title; the first one stands.
    pub fn title(&mut self, title: &str) {
        let title = title.trim();
        if self.taken.title.is_none() && !title.is_empty() {
            self.taken.title = Some(cut(title));
        }
    }

    /// Counts what is not taken.
    pub fn skip(&mut self, reason: Reason, line: u64, text: &str) {
        self.taken.skipped.add(reason, line, text);
    }

    /// The columns that are not taken.
    pub fn left_out(&mut self) -> &mut LeftOutColumns {
        &mut self.left_out
    }

    /// Takes the values of a text. `below` says whether a bare name means all below it.
    ///
    /// # Errors
    ///
    /// When there are too many, or whoever takes them fails.
    pub fn text(
        &mut self,
        text: &str,
        below: bool,
        action: Action,
        reference: Reference,
    ) -> Result<(), ReadError> {
        // Several URLs in a cell.
        let signs = [',', ';', '|'];
        if text.contains(signs)
            && text.split(signs).nth(1).is_some()
            && text.split(signs).all(|part| part.contains("://"))
        {
            return text.split(signs).try_for_each(|part| self.text(part, below, action, reference.clone()));
        }
        match value::read(text, below) {
            Ok(Values::One(value)) => self.of_text(text, value, action, reference),
            Ok(Values::Many(values)) => {
                values.into_iter().try_for_each(|value| self.of_text(text, value, action, reference.clone()))
            }
            Err(reason) => {
                self.skip(reason, reference.line, text);
                Ok(())
            }
        }
    }

    /// Takes a value.
    ///
    /// # Errors
    ///
    /// When there are too many, or whoever takes them fails.
    pub fn value(&mut self, value: Value, action: Action, reference: Reference) -> Result<(), ReadError> {
        self.take(value, action, reference, false)
    }

    /// Takes a value that a text stands for. One that everybody is below, and that is a host as well, is taken alone unless the text
    /// says that all below it is meant.
    ///
    /// # Errors
    ///
    /// When there are too many, or whoever takes them fails.
    pub fn of_text(
        &mut self,
        text: &str,
        value: Value,
        action: Action,
        reference: Reference,
    ) -> Result<(), ReadError> {
        self.take(value, action, reference, !text.trim_start().starts_with(['*', '.', SEEN]))
    }

    fn take(
        &mut self,
        value: Value,
        action: Action,
        mut reference: Reference,
        or_alone: bool,
    ) -> Result<(), ReadError> {
        let mut value = match (value, self.options.below) {
            (Value::Name(name), Some(true)) => Value::Domain(name),
            (Value::Domain(name), Some(false)) => Value::Name(name),
            (value, _) => value,
        };
        let action = if self.options.allow { Action::Allow } else { action };
        reference.valid_until = reference.valid_until.filter(|_| !self.options.ended);
        let is_unsure = |least: u8| reference.confidence.is_some_and(|confidence| confidence < least);
        if self.options.confidence_min.is_some_and(is_unsure) {
            self.skip(Reason::Confidence, reference.line, &value.to_string());
            return Ok(());
        }
        // That one's own networks are harmless may be said.
        if let Some(reason) =
            value.refused().filter(|reason| action == Action::Watch || *reason != Reason::Private)
        {
            match value {
                Value::Domain(name) if or_alone && is_host_suffix(&name) => value = Value::Name(name),
                value => {
                    self.skip(reason, reference.line, &shown(&value));
                    return Ok(());
                }
            }
        }
        match action {
            Action::Watch => self.taken.taken += 1,
            Action::Allow => self.taken.allowed += 1,
        }
        if self.taken.taken + self.taken.allowed > self.options.most {
            return Err(ReadError::TooMany { most: self.options.most });
        }
        for text in [&mut reference.id, &mut reference.title, &mut reference.description, &mut reference.link]
        {
            *text = text.take().map(|text| cut(text.trim())).filter(|text| !text.is_empty());
        }
        reference.tags.truncate(MAX_TAGS);
        reference.tags.iter_mut().for_each(|tag| *tag = cut(tag.trim()));
        (self.sink)(Indicator { value, action, reference })
    }

    /// What came of it.
    pub fn end(self) -> ListSummary {
        ListSummary { left_out: self.left_out.found(), ..self.taken }
    }
}

/// A value as a list has it.
fn shown(value: &Value) -> String {
    match value {
        Value::Domain(name) => format!("*.{name}"),
        value => value.to_string(),
    }
}

/// A text that is not too long.
fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((at, _)) => text.get(..at).unwrap_or_default().to_owned(),
        None => text.to_owned(),
    }
}
