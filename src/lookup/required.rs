//! What text is in everything that a regex matches, so that an engine can pass over the rest without knowing regexes.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::label_regex;
use crate::store::{Condition, Side};

/// Texts of one regex at most, and of one row of texts that all must be there.
const MOST: usize = 64;
const MOST_TOGETHER: usize = 4;
/// Bytes of a text that is rare enough that nothing else need be looked for.
const TELLS_ENOUGH: usize = 5;

/// What a side of a row meets that a regex matches somewhere, where case never matters.
pub(super) fn of_regex(regex: &str, side: Side) -> Condition {
    let parsed = ParserBuilder::new().unicode(false).utf8(false).case_insensitive(true).build().parse(regex);
    let Ok(hir) = parsed else { return Condition::Always };
    let mut required = Required { side, run: Vec::new(), all: Vec::new(), texts: 0 };
    required.add(&hir);
    required.end_run();
    let texts = if required.texts > MOST { Condition::Always } else { required.condition() };
    // What tells enough text is found by that.
    if shortest(&texts) >= TELLS_ENOUGH {
        texts
    } else {
        Condition::all([texts, label_regex::of_regex(&hir, side)])
    }
}

/// The least bytes of a text that must be there.
fn shortest(condition: &Condition) -> usize {
    match condition {
        Condition::Shows(_, text) => text.len(),
        Condition::All(all) => all.iter().map(shortest).max().unwrap_or(0),
        Condition::OneOf(any) => any.iter().map(shortest).min().unwrap_or(0),
        _ => 0,
    }
}

/// What is gathered of one branch of a regex.
struct Required {
    side: Side,
    /// Text that lies behind one another.
    run: Vec<u8>,
    /// What must be there.
    all: Vec<Condition>,
    /// How many texts there are, in branches too.
    texts: usize,
}

impl Required {
    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        if !run.is_empty() {
            self.texts += 1;
            self.all.push(Condition::Shows(self.side, run));
        }
    }

    /// The longest texts tell most.
    fn condition(mut self) -> Condition {
        self.all.sort_by_key(|one| match one {
            Condition::Shows(_, text) => usize::MAX - text.len(),
            _ => 0,
        });
        self.all.truncate(MOST_TOGETHER);
        Condition::all(self.all)
    }

    fn add(&mut self, hir: &Hir) {
        if self.texts > MOST {
            return;
        }
        match hir.kind() {
            // What has no width parts nothing.
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => self.run.extend(literal.0.to_ascii_lowercase()),
            HirKind::Class(class) => match one_letter(class) {
                Some(letter) => self.run.push(letter),
                None => self.end_run(),
            },
            HirKind::Capture(capture) => self.add(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.add(part)),
            HirKind::Repetition(repeated) => {
                if repeated.min > 0 {
                    self.add(&repeated.sub);
                }
                if repeated.min == 0 || repeated.max != Some(1) {
                    self.end_run();
                }
            }
            HirKind::Alternation(branches) => {
                self.end_run();
                let mut each = Vec::new();
                for branch in branches {
                    let mut required =
                        Required { side: self.side, run: Vec::new(), all: Vec::new(), texts: self.texts };
                    required.add(branch);
                    required.end_run();
                    self.texts = required.texts;
                    each.push(required.condition());
                }
                match Condition::one_of(each) {
                    Condition::Always => {}
                    condition => self.all.push(condition),
                }
            }
        }
    }
}

/// The letter that a class is, in either case, as lower case.
fn one_letter(class: &Class) -> Option<u8> {
    let Class::Bytes(class) = class else { return None };
    let mut letter = None;
    for range in class.iter() {
        let (from, to) = (range.start().to_ascii_lowercase(), range.end().to_ascii_lowercase());
        if range.start() != range.end() || letter.is_some_and(|letter| letter != from) {
            return None;
        }
        letter = Some(to);
    }
    letter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(text: &str) -> Condition {
        Condition::Shows(Side::Rrname, text.as_bytes().to_vec())
    }

    #[test]
    fn what_a_regex_requires_is_found_in_it() {
        // Runs are tried in their own file.
        let of = |regex: &str| match of_regex(regex, Side::Rrname) {
            Condition::All(all) => {
                Condition::all(all.into_iter().filter(|one| !matches!(one, Condition::Looks(..))))
            }
            Condition::Looks(..) => Condition::Always,
            condition => condition,
        };
        assert_eq!(of("MAIL"), shows("mail"));
        assert_eq!(of(r"^mail\.exa"), shows("mail.exa"));
        assert_eq!(of("(?-i)Mail"), shows("mail"));
        assert_eq!(of("(mail)[0-9]+x"), Condition::All(vec![shows("mail"), shows("x")]));
        assert_eq!(of("a+bc?d"), Condition::All(vec![shows("a"), shows("b"), shows("d")]));
        let either = Condition::OneOf(vec![shows("mail"), shows("smtp")]);
        assert_eq!(of("^(mail|smtp)"), either);
        assert_eq!(of("^(mail|smtp)-x"), Condition::All(vec![either, shows("-x")]));
        for nothing in ["mail|", "(mail)?", "[a-z]{20,}", ".*", "", "(", "(mail|[0-9])"] {
            assert_eq!(of(nothing), Condition::Always, "{nothing}");
        }
        let many: Vec<String> = (0..70).map(|i| format!("{}x{i}", i % 7)).collect();
        assert_eq!(of(&many.join("|")), Condition::Always);
    }
}
