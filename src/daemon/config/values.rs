//! Values as a configuration file spells them: sizes, ages, days, and words for what is no number.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

use crate::base::time::{format_date, parse_date};
use crate::base::units::{self, duration};
use crate::ingest::Backfill;
use crate::store::MaxDisk;

pub(super) fn write_size<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&units::format_size(*bytes))
}

pub(super) fn read_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    units::parse_size(&text).map_err(serde::de::Error::custom)
}

/// An empty text is no age.
pub(super) fn write_age<S: Serializer>(age: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&age.map(units::format_duration).unwrap_or_default())
}

pub(super) fn read_age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    read_unless_empty(deserializer, units::parse_duration)
}

/// An empty text is no day.
pub(super) fn write_day<S: Serializer>(day: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    let text = if *day == 0 { String::new() } else { format_date(*day) };
    serializer.serialize_str(&text)
}

pub(super) fn read_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(read_unless_empty(deserializer, parse_date)?.unwrap_or(0))
}

/// An empty text is no bound.
pub(super) fn write_budget<S: Serializer>(bound: &MaxDisk, serializer: S) -> Result<S::Ok, S::Error> {
    match bound {
        MaxDisk::Auto => serializer.serialize_str("auto"),
        MaxDisk::Unbounded => serializer.serialize_str(""),
        MaxDisk::Bytes(bytes) => write_size(bytes, serializer),
    }
}

pub(super) fn read_budget<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MaxDisk, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "auto" => Ok(MaxDisk::Auto),
        "" | "none" => Ok(MaxDisk::Unbounded),
        size => units::parse_size(size)
            .map(MaxDisk::Bytes)
            .map_err(|error| serde::de::Error::custom(format!("{error}; or \"auto\", or \"\" for no bound"))),
    }
}

fn read_unless_empty<'de, D: Deserializer<'de>, T, E: std::fmt::Display>(
    deserializer: D,
    parse: fn(&str) -> Result<T, E>,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let value = (!text.is_empty()).then(|| parse(&text)).transpose();
    value.map_err(serde::de::Error::custom)
}

/// An empty text is neither.
pub(super) fn write_choice<S: Serializer>(choice: &Option<bool>, serializer: S) -> Result<S::Ok, S::Error> {
    match choice {
        Some(choice) => serializer.serialize_bool(*choice),
        None => serializer.serialize_str(""),
    }
}

pub(super) fn read_choice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Choice {
        Is(bool),
        Text(String),
    }
    match Choice::deserialize(deserializer)? {
        Choice::Is(choice) => Ok(Some(choice)),
        Choice::Text(text) if text.is_empty() => Ok(None),
        Choice::Text(_) => Err(serde::de::Error::custom("true, false, or \"\" for what the format says")),
    }
}

pub(super) fn write_backfill<S: Serializer>(backfill: &Backfill, serializer: S) -> Result<S::Ok, S::Error> {
    match backfill {
        Backfill::All => serializer.serialize_str("all"),
        Backfill::None => serializer.serialize_str("none"),
        Backfill::Age(age) => duration::serialize(age, serializer),
    }
}

pub(super) fn read_backfill<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Backfill, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "all" => Ok(Backfill::All),
        "none" => Ok(Backfill::None),
        age => units::parse_duration(age)
            .map(Backfill::Age)
            .map_err(|_| serde::de::Error::custom("backfill is \"all\", \"none\" or an age such as \"30d\"")),
    }
}
