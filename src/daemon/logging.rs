//! What the daemon says of its own work: to standard error, as text or as JSON.
//!
//! Under systemd the journal has its own clock, so lines carry no time there. `RUST_LOG` beats the configuration.

use std::io::IsTerminal;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;

/// How much is said, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is said at least: how grave it is.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
}

/// How grave something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A human must act.
    Error,
    /// Something is worse than it should be, and goes on.
    Warn,
    /// The life of the daemon.
    #[default]
    Info,
    /// Each batch.
    Debug,
    /// Each line.
    Trace,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text, with a time unless the journal adds one.
    #[default]
    Auto,
    /// Text with a time.
    Text,
    /// An object a line.
    Json,
}

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }
}

/// The text names no level or no format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one of {0}")]
pub struct NoSuchWord(&'static str);

impl FromStr for Level {
    type Err = NoSuchWord;

    fn from_str(text: &str) -> Result<Level, NoSuchWord> {
        Ok(match text {
            "error" => Level::Error,
            "warn" => Level::Warn,
            "info" => Level::Info,
            "debug" => Level::Debug,
            "trace" => Level::Trace,
            _ => return Err(NoSuchWord("error, warn, info, debug, trace")),
        })
    }
}

impl FromStr for Format {
    type Err = NoSuchWord;

    fn from_str(text: &str) -> Result<Format, NoSuchWord> {
        Ok(match text {
            "auto" => Format::Auto,
            "text" => Format::Text,
            "json" => Format::Json,
            _ => return Err(NoSuchWord("auto, text, json")),
        })
    }
}

/// Sets how much is said, once somebody says anything.
static FILTER: OnceLock<Box<dyn Fn(Targets) + Send + Sync>> = OnceLock::new();

fn filter(level: Level) -> Targets {
    let told = Targets::new().with_default(level.filter());
    let Some(variable) = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok()) else {
        return told;
    };
    let told = variable.default_level().map_or(told.clone(), |level| told.with_default(level));
    told.with_targets(variable.iter())
}

/// Sends everything that is logged from now on to standard error. A second call changes nothing.
pub fn start(config: &Config) {
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let journal = std::env::var_os("JOURNAL_STREAM").is_some() && !terminal;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour);
    macro_rules! begin {
        ($lines:expr) => {{
            let (filter, handle) = reload::Layer::new(filter(config.level));
            // The only failure is that somebody was first, and then that one stays.
            let subscriber = tracing_subscriber::registry().with(filter).with($lines);
            if tracing::subscriber::set_global_default(subscriber).is_ok() {
                let _ = FILTER.set(Box::new(move |filter| drop(handle.reload(filter))));
            }
        }};
    }
    match config.format {
        Format::Json => begin!(lines.json()),
        Format::Auto if journal => begin!(lines.without_time().with_target(false)),
        Format::Auto | Format::Text => begin!(lines.with_target(false)),
    }
}

/// Says more or less from now on.
pub fn set_level(level: Level) {
    if let Some(set) = FILTER.get() {
        set(filter(level));
    }
}
