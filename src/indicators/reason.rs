//! Why something of a list is not taken.

/// Why something of a list is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// A domain under which everybody registers, or a word alone.
    PublicSuffix,
    /// An address or a network that is private, local or reserved.
    Private,
    /// A network of so many addresses that it says nothing.
    TooWide,
    /// The machine itself: `localhost` and its like.
    Local,
    /// A hash of a file, or of a value.
    Hash,
    /// A mail address.
    Mail,
    /// The name of a file, or a path.
    File,
    /// A regular expression, or a star that is not a whole label in front.
    Regex,
    /// A rule for what a page shows, or another that is about no name.
    Rule,
    /// A trigger of a zone on name servers or clients.
    Trigger,
    /// A type of indicator that no DNS log has.
    Type,
    /// An attribute that is for correlation alone (`to_ids` is false).
    NotForDetection,
    /// It was deleted or revoked.
    Revoked,
    /// Its source is less sure than was asked for.
    Confidence,
    /// Its source said it last before what was asked for.
    Age,
    /// An observable of a bundle, and no indicator.
    Observed,
    /// A list of MISP that matches parts of texts.
    Substring,
    /// A pattern that needs two things at once.
    PatternAnd,
    /// A pattern of things one after the other, or so many times.
    PatternTime,
    /// A pattern by a regular expression, or by a part of a text.
    PatternMatches,
    /// A pattern of what is not so.
    PatternNot,
    /// A pattern about what no DNS log has, or in another language.
    PatternObject,
    /// A pattern that does not follow its grammar.
    PatternMalformed,
    /// A line that is too long, or no text.
    Line,
    /// It is neither a name nor an address.
    NoIndicator,
}

impl Reason {
    /// All of them, in their order.
    pub const ALL: [Reason; 25] = [
        Reason::PublicSuffix,
        Reason::Private,
        Reason::TooWide,
        Reason::Local,
        Reason::Hash,
        Reason::Mail,
        Reason::File,
        Reason::Regex,
        Reason::Rule,
        Reason::Trigger,
        Reason::Type,
        Reason::NotForDetection,
        Reason::Revoked,
        Reason::Confidence,
        Reason::Age,
        Reason::Observed,
        Reason::Substring,
        Reason::PatternAnd,
        Reason::PatternTime,
        Reason::PatternMatches,
        Reason::PatternNot,
        Reason::PatternObject,
        Reason::PatternMalformed,
        Reason::Line,
        Reason::NoIndicator,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Reason::PublicSuffix => "public_suffix",
            Reason::Private => "private",
            Reason::TooWide => "too_wide",
            Reason::Local => "local",
            Reason::Hash => "hash",
            Reason::Mail => "mail",
            Reason::File => "file",
            Reason::Regex => "regex",
            Reason::Rule => "rule",
            Reason::Trigger => "trigger",
            Reason::Type => "type",
            Reason::NotForDetection => "not_for_detection",
            Reason::Revoked => "revoked",
            Reason::Confidence => "confidence",
            Reason::Age => "age",
            Reason::Observed => "observed",
            Reason::Substring => "substring",
            Reason::PatternAnd => "pattern_and",
            Reason::PatternTime => "pattern_time",
            Reason::PatternMatches => "pattern_matches",
            Reason::PatternNot => "pattern_not",
            Reason::PatternObject => "pattern_object",
            Reason::PatternMalformed => "pattern_malformed",
            Reason::Line => "line",
            Reason::NoIndicator => "no_indicator",
        }
    }

    /// The one that is called so.
    pub fn from_name(name: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// The same, for people.
    pub fn in_words(self) -> &'static str {
        match self {
            Reason::PublicSuffix => "a public suffix or a single word",
            Reason::Private => "a private or reserved address",
            Reason::TooWide => "a network that is too wide",
            Reason::Local => "the machine itself",
            Reason::Hash => "a hash",
            Reason::Mail => "a mail address",
            Reason::File => "the name of a file",
            Reason::Regex => "a regular expression or a star within",
            Reason::Rule => "a rule about no name",
            Reason::Trigger => "a trigger on name servers or clients",
            Reason::Type => "a type that no DNS log has",
            Reason::NotForDetection => "not for detection (to_ids)",
            Reason::Revoked => "revoked or deleted",
            Reason::Confidence => "too little confidence",
            Reason::Age => "said too long ago",
            Reason::Observed => "observed, and no indicator",
            Reason::Substring => "a list of parts of texts",
            Reason::PatternAnd => "a pattern with AND",
            Reason::PatternTime => "a pattern of things one after the other",
            Reason::PatternMatches => "a pattern by a part of a text",
            Reason::PatternNot => "a pattern of what is not so",
            Reason::PatternObject => "a pattern about something else",
            Reason::PatternMalformed => "a pattern that is none",
            Reason::Line => "a line that is too long, or no text",
            Reason::NoIndicator => "neither a name nor an address",
        }
    }
}

/// Examples of each reason that are kept.
const EXAMPLES: usize = 3;
/// Characters of an example that are kept.
const EXAMPLE_CHARS: usize = 100;

/// What was not taken, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    counts: [u64; Reason::ALL.len()],
    examples: Vec<(u64, Reason, String)>,
}

impl Skipped {
    /// Counts one that is at a line.
    pub fn add(&mut self, reason: Reason, line: u64, text: &str) {
        if let Some(count) = self.counts.get_mut(reason as usize) {
            if *count < EXAMPLES as u64 && !text.is_empty() {
                self.examples.push((line, reason, text.trim().chars().take(EXAMPLE_CHARS).collect()));
            }
            *count += 1;
        }
    }

    /// Adds those of another list.
    pub fn merge(&mut self, other: &Skipped) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        for example in &other.examples {
            if self.examples.iter().filter(|(_, reason, _)| *reason == example.1).count() < EXAMPLES {
                self.examples.push(example.clone());
            }
        }
    }

    /// How many there are of a reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.counts.get(reason as usize).copied().unwrap_or(0)
    }

    /// The reasons that came about, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().zip(self.counts).filter(|(_, count)| *count > 0)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The first few of each: the line, the reason, and the text as it came, which is nobody's but the list's.
    pub fn examples(&self) -> &[(u64, Reason, String)] {
        &self.examples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_name_of_its_own_and_its_place() {
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            assert_eq!(Reason::from_name(reason.name()), Some(reason));
        }
    }

    #[test]
    fn examples_are_few_and_short() {
        let mut skipped = Skipped::default();
        for line in 1..=9 {
            skipped.add(Reason::Hash, line, &"x".repeat(1000));
        }
        assert_eq!((skipped.of(Reason::Hash), skipped.total()), (9, 9));
        assert_eq!(skipped.examples().len(), 3);
        assert!(skipped.examples().iter().all(|(.., text)| text.len() == 100));
    }
}
