//! Filters as flags.

use anyhow::Context;

use crate::base::clock::now;
use crate::lookup::Filters;

/// Which rows are wanted.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Only these record types: A, AAAA,CNAME, TYPE65280, ANY (all but DNSSEC's) or ANY-DNSSEC
    #[arg(short, long = "type", value_name = "TYPE")]
    types: Option<String>,
    /// Only what this sensor saw
    #[arg(short, long, value_name = "NAME")]
    sensor: Option<String>,
    /// Only what was seen at the name itself, not through a chain of CNAMEs
    #[arg(long)]
    direct: bool,
    /// Seen within this time, first what is known to be: a year 2026, a month 2026-03, a day 2026-03-24, an hour 2026-03-24T17,
    /// today, yesterday, the last days 7d, or from one time to another A..B
    #[arg(long, value_name = "TIME")]
    during: Option<String>,
    /// First seen at this time or before
    #[arg(long, value_name = "TIME")]
    first_before: Option<String>,
    /// First seen at this time or after
    #[arg(long, value_name = "TIME")]
    first_after: Option<String>,
    /// Last seen at this time or before
    #[arg(long, value_name = "TIME")]
    last_before: Option<String>,
    /// Last seen at this time or after
    #[arg(long, value_name = "TIME")]
    last_after: Option<String>,
}

impl FilterArgs {
    /// Those that were typed, by the names that the API has for them.
    pub fn pairs(&self) -> Vec<(&'static str, &str)> {
        let values = [
            ("type", self.types.as_deref()),
            ("sensor", self.sensor.as_deref()),
            ("direct", self.direct.then_some("true")),
            ("during", self.during.as_deref()),
            ("first_before", self.first_before.as_deref()),
            ("first_after", self.first_after.as_deref()),
            ("last_before", self.last_before.as_deref()),
            ("last_after", self.last_after.as_deref()),
        ];
        values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// What they mean now.
    ///
    /// # Errors
    ///
    /// When a value has no meaning.
    pub fn parse(&self) -> anyhow::Result<Filters> {
        parse_pairs(&self.pairs())
    }
}

/// What filters mean now, by the names that the API has for them.
///
/// # Errors
///
/// When a value has no meaning.
pub fn parse_pairs(pairs: &[(&str, &str)]) -> anyhow::Result<Filters> {
    let now = now();
    let mut filters = Filters::default();
    for (key, value) in pairs {
        let flag = || format!("--{}", key.replace('_', "-"));
        filters.set(key, value, now).with_context(flag)?;
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::FILTER_KEYS;
    use clap::Parser;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        filters: FilterArgs,
    }

    #[test]
    fn every_filter_there_is_can_be_typed() {
        let mut line = vec!["x".to_owned()];
        for key in FILTER_KEYS.iter().filter(|key| **key != "limit") {
            line.push(format!("--{}", key.replace('_', "-")));
            match *key {
                "direct" => {}
                "type" => line.push("AAAA".to_owned()),
                _ => line.push("1700000000".to_owned()),
            }
        }
        let filters = Typed::try_parse_from(line).unwrap().filters;
        assert_eq!(filters.pairs().len() + 1, FILTER_KEYS.len());
        let parsed = filters.parse().unwrap();
        assert!(parsed.direct && parsed.last_after == Some(1_700_000_000));
        assert_eq!(parsed.sensor.as_deref(), Some("1700000000"));
        let wrong = Typed::try_parse_from(["x", "--last-after", "soon"]).unwrap().filters;
        assert!(format!("{:#}", wrong.parse().unwrap_err()).starts_with("--last-after: not a time"));
    }
}
