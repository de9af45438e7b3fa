//! What rows are wanted for, as far as a store can make use of it: one that reads its rows from somewhere else need not have those
//! brought that are not wanted. A condition promises nothing: who asks still looks at each row.

use crate::dns::{Name, Rdata, RrType};
use crate::observation::Tuple;

/// What every row meets that is wanted. A row that meets it need not be wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Condition {
    /// All rows meet it.
    #[default]
    Always,
    /// A row meets each of these.
    All(Vec<Condition>),
    /// A row meets at least one of these.
    OneOf(Vec<Condition>),
    /// A side of the row, as it is shown in lower case, a name with its final dot, has this in it.
    Shows(Side, Vec<u8>),
    /// A side of the row, as it is shown in lower case, looks so.
    Looks(Side, Looks),
    /// The rrname begins with the labels of this name.
    BeginsWith(Name),
    /// The rrname is this name or below it.
    Below(Name),
    /// The rdata is one of these; text in any case.
    Data(Vec<Rdata>),
    /// The type is one of these.
    Types(Vec<RrType>),
    /// This sensor saw it.
    Sensor(String),
    /// Of its tuple there is a row, of any sensor, that was seen so. All rows of it meet this, or none.
    Seen(Fence),
}

/// How text looks, in regexes that engines of any kind read alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looks {
    /// A name has each of these in one of its labels, and text has them anywhere.
    pub labels: Vec<LabelRegex>,
    /// It has so many bytes as it is shown, at least; a name with its final dot.
    pub least: usize,
    /// A regex that an address of IPv4 matches; no address does where there is none.
    pub v4: Option<String>,
    /// The same for an address of IPv6.
    pub v6: Option<String>,
}

/// A part of what is shown, without a dot in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRegex {
    /// The regex that it matches.
    pub regex: String,
    /// Where it begins.
    pub starts: Edge,
    /// Where it ends.
    pub ends: Edge,
    /// Whether it may be a part of an escape, or lie beside one: so names with bytes that are escaped may have it, too.
    pub may_be_escape: bool,
}

/// Where a label begins or ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Edge {
    /// Anywhere.
    #[default]
    Open,
    /// At the edge of a label.
    Label,
    /// At the edge of the whole text.
    Text,
}

impl LabelRegex {
    /// What all of a name in key form matches of which no byte is escaped when it is shown.
    pub const PLAIN: &str = r"[\x00\x21-\x2d\x2f-\x5b\x5d-\x7e]*";

    /// What a name in key form matches, whose labels come in the other order.
    pub fn of_name(&self) -> String {
        self.of_key("^")
    }

    /// The same behind the byte that says that record data is a name.
    pub fn of_data_name(&self) -> String {
        self.of_key(r"^[\x10]")
    }

    fn of_key(&self, front: &str) -> String {
        let starts = match (self.starts, self.ends) {
            (_, Edge::Text) if self.starts != Edge::Open => front.to_owned(),
            (_, Edge::Text) => format!(r"{front}[^\x00]*"),
            (Edge::Open, _) => String::new(),
            _ => format!(r"(?:{front}|[\x00])"),
        };
        let ends = match (self.starts, self.ends) {
            (_, Edge::Open) => "",
            (Edge::Text, _) => r"[\x00][\x00]$",
            _ => r"[\x00]",
        };
        format!("(?:{starts}{}{ends})", self.regex)
    }

    /// What text matches, in any case.
    pub fn of_text(&self) -> String {
        format!("(?i:{})", self.regex)
    }
}

/// A side of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Its rrname.
    Rrname,
    /// Its record data.
    Rdata,
}

/// A bound on a time, inclusive, epoch seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// First seen then or later.
    FirstFrom(u64),
    /// First seen then or earlier.
    FirstUpTo(u64),
    /// Last seen then or later.
    LastFrom(u64),
    /// Last seen then or earlier.
    LastUpTo(u64),
}

impl Fence {
    /// Whether what was first and last seen then meets it.
    pub fn holds(self, first: u64, last: u64) -> bool {
        match self {
            Fence::FirstFrom(time) => first >= time,
            Fence::FirstUpTo(time) => first <= time,
            Fence::LastFrom(time) => last >= time,
            Fence::LastUpTo(time) => last <= time,
        }
    }
}

impl Condition {
    /// All of some conditions, as simply as that can be said.
    pub fn all(conditions: impl IntoIterator<Item = Condition>) -> Condition {
        let mut all = Vec::new();
        for condition in conditions {
            match condition {
                Condition::Always => {}
                Condition::All(more) => all.extend(more),
                one => all.push(one),
            }
        }
        match all.pop() {
            None => Condition::Always,
            Some(one) if all.is_empty() => one,
            last => {
                all.extend(last);
                Condition::All(all)
            }
        }
    }

    /// One of some conditions.
    pub fn one_of(conditions: impl IntoIterator<Item = Condition>) -> Condition {
        let mut any: Vec<Condition> = conditions.into_iter().collect();
        match any.pop() {
            Some(one) if any.is_empty() => one,
            last => {
                any.extend(last);
                if any.contains(&Condition::Always) { Condition::Always } else { Condition::OneOf(any) }
            }
        }
    }

    /// Whether a row meets it, as far as a single row says.
    pub fn is_met_by(&self, tuple: &Tuple, sensor: &str) -> bool {
        match self {
            // Who makes the regexes tries them.
            Condition::Always | Condition::Seen(_) | Condition::Looks(..) => true,
            Condition::All(all) => all.iter().all(|one| one.is_met_by(tuple, sensor)),
            Condition::OneOf(any) => any.iter().any(|one| one.is_met_by(tuple, sensor)),
            Condition::Shows(side, text) => {
                let mut shown = Vec::new();
                let name = match side {
                    Side::Rrname => Some(&tuple.rrname),
                    Side::Rdata => tuple.rdata.name(),
                };
                match name {
                    Some(name) => {
                        name.push_presentation(&mut shown);
                        if !name.is_root() {
                            shown.push(b'.');
                        }
                    }
                    None => tuple.rdata.push_presentation(&mut shown),
                }
                shown.make_ascii_lowercase();
                memchr::memmem::find(&shown, text).is_some()
            }
            Condition::BeginsWith(name) => tuple.rrname.key().ends_with(name.key()),
            Condition::Below(name) => name.is_at_or_above(&tuple.rrname),
            Condition::Data(data) => data.iter().any(|rdata| match (rdata, &tuple.rdata) {
                (Rdata::Text(wanted), Rdata::Text(rdata)) => rdata.eq_ignore_ascii_case(wanted),
                (wanted, rdata) => wanted == rdata,
            }),
            Condition::Types(types) => types.contains(&tuple.rrtype),
            Condition::Sensor(wanted) => wanted == sensor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_not_be_said_is_not_said() {
        let types = || Condition::Types(vec![RrType::A]);
        let sensor = || Condition::Sensor("lan".to_owned());
        assert_eq!(Condition::all([Condition::Always, types()]), types());
        assert_eq!(Condition::all([]), Condition::Always);
        let both = Condition::All(vec![types(), sensor()]);
        assert_eq!(Condition::all([Condition::all([types(), Condition::Always]), sensor()]), both);
        assert_eq!(Condition::one_of([types(), Condition::Always]), Condition::Always);
        assert_eq!(Condition::one_of([types()]), types());
    }
}
