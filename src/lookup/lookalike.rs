//! Names that are made to look like others: `paypa1.com`, `xn--pypal-4ve.com`, `paypal-login.com`.
//!
//! A brand is a name of one's own. Of it the label that was registered counts (`example` of `example.co.uk`); each label of another
//! name is held against it, but for those of its public suffix:
//!
//! - *looks*: the skeleton is the same (Unicode UTS #39: letters that look alike are one), after digits and pairs of letters
//!   that are used for others (`rn` for `m`);
//! - *suffix*: it is the same label under another public suffix;
//! - *distance*: one letter is missing, added, changed, or two are swapped, in a label of five letters or more; two in one of nine;
//! - *contains*: the label is part of it, where it has four letters or more.
//!
//! Names at and below a brand are never marked.

use serde::{Deserialize, Serialize};
use unicode_security::confusable_detection::skeleton;

use crate::dns::{Name, registrable_length, to_unicode};

/// From how many letters on one difference, and two, are a likeness and no accident.
const ONE_FROM: usize = 5;
const TWO_FROM: usize = 9;
/// From how many letters on a label that contains it is one.
const PART_FROM: usize = 4;
/// Brands that are held against each name.
pub const MAX_BRANDS: usize = 1000;

/// A name that looks like a brand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookalike {
    /// The brand, as it was given.
    pub brand: String,
    /// In what they are alike: `looks`, `suffix`, `distance` or `contains`.
    pub how: Likeness,
}

/// In what two names are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Likeness {
    /// They look the same.
    Looks,
    /// The same label under another suffix.
    Suffix,
    /// Few letters are others.
    Distance,
    /// The brand is a part of it.
    Contains,
}

impl Likeness {
    /// The word for it in answers.
    pub fn name(self) -> &'static str {
        match self {
            Likeness::Looks => "looks",
            Likeness::Suffix => "suffix",
            Likeness::Distance => "distance",
            Likeness::Contains => "contains",
        }
    }
}

/// Names of one's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brands(Vec<Brand>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Brand {
    shown: String,
    /// All below it is of the brand; none where only a word was given.
    name: Option<Name>,
    /// The label that counts, in Unicode and lower case.
    label: String,
    skeleton: String,
}

impl Brands {
    /// Reads names (`example.com`) and words (`example`).
    ///
    /// # Errors
    ///
    /// With the one that is neither, or that is a public suffix.
    pub fn parse(brands: &[String]) -> Result<Brands, String> {
        let one = |shown: &String| {
            let name = Name::parse(shown.trim_end_matches('.')).map_err(|_| shown.clone())?;
            let label = match name.labels().len() {
                0 => return Err(shown.clone()),
                1 => to_unicode(&name),
                _ => registered_label(&name).ok_or_else(|| shown.clone())?,
            };
            let name = Some(name).filter(|name| name.labels().len() > 1);
            Ok(Brand { shown: shown.clone(), name, skeleton: looks(&label), label })
        };
        if brands.len() > MAX_BRANDS {
            return Err(format!("more than {MAX_BRANDS}"));
        }
        brands.iter().map(one).collect::<Result<_, _>>().map(Brands)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The brand that a name looks like, if it does: the one that it is most like.
    pub fn like(&self, name: &Name) -> Option<Lookalike> {
        if self.0.is_empty() || self.0.iter().any(|brand| brand.holds(name)) {
            return None;
        }
        let labels = own_labels(name);
        let mut best: Option<(u8, &Brand, Likeness)> = None;
        for label in &labels {
            let skeleton = looks(label);
            for brand in &self.0 {
                if let Some((rank, how)) = brand.like(label, &skeleton)
                    && best.as_ref().is_none_or(|(known, ..)| rank < *known)
                {
                    best = Some((rank, brand, how));
                }
            }
        }
        best.map(|(_, brand, how)| Lookalike { brand: brand.shown.clone(), how })
    }
}

impl Brand {
    fn holds(&self, name: &Name) -> bool {
        self.name.as_ref().is_some_and(|brand| brand.is_at_or_above(name))
    }

    fn like(&self, label: &str, skeleton: &str) -> Option<(u8, Likeness)> {
        if label == self.label {
            return Some((0, Likeness::Suffix));
        }
        if skeleton == self.skeleton {
            return Some((1, Likeness::Looks));
        }
        let letters = self.label.chars().count();
        let distance = match letters {
            TWO_FROM.. => 2,
            ONE_FROM.. => 1,
            _ => 0,
        };
        if distance > 0
            && label.chars().count().abs_diff(letters) <= distance
            && strsim::osa_distance(label, &self.label) <= distance
        {
            return Some((2, Likeness::Distance));
        }
        let is_part = letters >= PART_FROM
            && (label.contains(&self.label) || skeleton.contains(self.skeleton.as_str()));
        is_part.then_some((3, Likeness::Contains))
    }
}

/// The label below the public suffix, in Unicode.
fn registered_label(name: &Name) -> Option<String> {
    own_labels(name).pop()
}

/// The labels of a name above its public suffix, in Unicode, the registered one last. None of a public suffix.
fn own_labels(name: &Name) -> Vec<String> {
    let Some(length) = registrable_length(name.key()) else { return Vec::new() };
    let suffix = name.key().get(..length).unwrap_or_default().split(|byte| *byte == 0).count() - 2;
    let shown = to_unicode(name);
    let mut labels: Vec<String> = shown.split('.').map(str::to_owned).collect();
    labels.truncate(labels.len().saturating_sub(suffix));
    labels
}

/// What a label looks like at a glance.
fn looks(label: &str) -> String {
    let plain: String = label.chars().filter(|c| *c != '-').collect();
    let plain = plain.replace("vv", "w").replace("cl", "d");
    let shown: String = skeleton(&plain).collect();
    // Digits that stand for letters and are no confusables of Unicode's.
    let digits = |c: char| match c {
        '0' => 'o',
        '1' | '|' | 'i' => 'l',
        '3' => 'e',
        '5' => 's',
        '8' => 'b',
        c => c,
    };
    shown.to_lowercase().chars().map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(brand: &str, name: &str) -> Option<Likeness> {
        let brands = Brands::parse(&[brand.to_owned()]).unwrap();
        brands.like(&Name::parse(name).unwrap()).map(|found| found.how)
    }

    #[test]
    fn names_that_look_like_a_brand_are_found_and_others_are_not() {
        for (name, wanted) in [
            ("paypal.com", None),
            ("www.paypal.com", None),
            ("paypal.co.uk", Some(Likeness::Suffix)),
            ("paypal.com.evil.example.net", Some(Likeness::Suffix)),
            ("paypa1.com", Some(Likeness::Looks)),
            ("pаypal.com", Some(Likeness::Looks)), // a Cyrillic letter
            ("xn--pypal-4ve.com", Some(Likeness::Looks)),
            ("pay-pal.com", Some(Likeness::Looks)),
            ("papyal.com", Some(Likeness::Distance)),
            ("paypall.com", Some(Likeness::Distance)),
            ("pypal.com", Some(Likeness::Distance)),
            ("paypal-login.com", Some(Likeness::Contains)),
            ("secure-paypal.example.net", Some(Likeness::Contains)),
            ("paypai.com", Some(Likeness::Looks)),
            ("playful.com", None),
            ("example.com", None),
            ("com", None),
        ] {
            assert_eq!(how("paypal.com", name), wanted, "{name}");
        }
        assert_eq!(how("microsoft.com", "rnicrosoft.com"), Some(Likeness::Looks));
        assert_eq!(how("microsoft.com", "micorsfot.com"), Some(Likeness::Distance));
        assert_eq!(how("ibm.com", "ibn.com"), None, "short ones are like too many");
        assert_eq!(how("ibm.com", "aibmc.com"), None);
        assert_eq!(how("contoso", "contoso.com"), Some(Likeness::Suffix), "of a word nothing is its own");
    }

    #[test]
    fn what_is_no_brand_is_named() {
        for none in ["", ".", "co.uk", "a..b"] {
            assert_eq!(Brands::parse(&["example.com".to_owned(), none.to_owned()]), Err(none.to_owned()));
        }
        assert!(Brands::default().like(&Name::parse("example.com").unwrap()).is_none());
    }
}
