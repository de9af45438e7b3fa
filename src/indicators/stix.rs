//! STIX 2.1: the objects of a bundle or of an envelope of TAXII.

use serde::Deserialize;

use super::collect::Collect;
use super::lenient::{Few, Members, Object, Scalar};
use super::misp::moment;
use super::reason::Reason;
use super::stix_pattern::{Term, terms};
use super::{Action, ReadError, Reference};

/// An object, as far as it is of use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct StixObject {
    #[serde(rename = "type")]
    kind: Scalar,
    id: Scalar,
    name: Scalar,
    description: Scalar,
    pattern: Scalar,
    pattern_type: Scalar,
    labels: Few<Scalar>,
    confidence: Scalar,
    valid_until: Scalar,
    modified: Scalar,
    revoked: Scalar,
    external_references: Few<Object<External>>,
    value: Scalar,
    /// Observables in an object of STIX 2.0.
    objects: Members<Object<Embedded>>,
}

/// An observable in an object of STIX 2.0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Embedded {
    #[serde(rename = "type")]
    kind: Scalar,
    value: Scalar,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct External {
    url: Scalar,
}

/// Takes an object: an indicator, or an observable where those are asked for.
///
/// # Errors
///
/// As [`super::read`].
pub fn take(object: &StixObject, line: u64, collect: &mut Collect<'_>) -> Result<(), ReadError> {
    let owned = |scalar: &Scalar| scalar.text().map(str::to_owned);
    let id = object.id.text().unwrap_or_default();
    let reference = || Reference {
        line,
        id: owned(&object.id),
        title: owned(&object.name),
        description: owned(&object.description),
        tags: object.labels.0.iter().filter_map(owned).collect(),
        link: object.external_references.0.iter().find_map(|external| owned(&external.0.url)),
        confidence: object
            .confidence
            .text()
            .and_then(|number| number.parse().ok())
            .filter(|sure| *sure <= 100),
        valid_until: object.valid_until.text().and_then(moment),
        time: object.modified.text().and_then(moment),
    };
    match object.kind.text() {
        Some("indicator") => {}
        Some(kind) if is_observable(kind) => {
            let value = object.value.text().unwrap_or_default();
            if collect.options().observed {
                return collect.text(value, false, Action::Watch, reference());
            }
            collect.skip(Reason::Observed, line, value);
            return Ok(());
        }
        Some("observed-data") => {
            let observed = object.objects.0.iter().map(|object| &object.0);
            for object in observed.filter(|object| object.kind.text().is_some_and(is_observable)) {
                let value = object.value.text().unwrap_or_default();
                if collect.options().observed {
                    collect.text(value, false, Action::Watch, reference())?;
                } else {
                    collect.skip(Reason::Observed, line, value);
                }
            }
            return Ok(());
        }
        // What belongs to them, and is no indicator: malware, relationships, reports.
        _ => return Ok(()),
    }
    if object.revoked.is_yes() {
        collect.skip(Reason::Revoked, line, id);
        return Ok(());
    }
    let pattern = object.pattern.text().unwrap_or_default();
    if object.pattern_type.text().is_some_and(|kind| kind != "stix") {
        collect.skip(Reason::PatternObject, line, pattern);
        return Ok(());
    }
    match terms(pattern) {
        Ok(found) => {
            for term in found {
                match term {
                    Term::Text(text) => collect.text(&text, false, Action::Watch, reference())?,
                    Term::Below(text) => {
                        collect.text(&format!("*.{text}"), true, Action::Watch, reference())?;
                    }
                    Term::Not(reason) => collect.skip(reason, line, pattern),
                }
            }
            Ok(())
        }
        Err(reason) => {
            collect.skip(reason, line, pattern);
            Ok(())
        }
    }
}

fn is_observable(kind: &str) -> bool {
    matches!(kind, "domain-name" | "ipv4-addr" | "ipv6-addr" | "url")
}
