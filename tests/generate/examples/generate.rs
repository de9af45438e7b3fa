//! Made-up logs of Zeek, for trying things out and for measuring: `cargo run -p generate --example generate -- --help`.

use std::io;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

use generate::{Config, Format, JsonTimes, write_log, write_tree};

/// Write made-up Zeek logs
#[derive(Debug, Parser)]
struct Args {
    /// How many records
    #[arg(long, value_name = "N")]
    lines: Option<u64>,
    /// The same seed gives the same records
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Many new names and addresses, as for measuring an import
    #[arg(long)]
    rich: bool,
    /// When the first record is written, in epoch seconds
    #[arg(long, value_name = "SECONDS")]
    start: Option<u64>,
    /// How the log is written
    #[arg(long, value_enum, default_value_t = Form::Tsv)]
    format: Form,
    /// Write a folder with archives and a live log, instead of one log to standard output
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// Seconds of log time between two rotations of a folder
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, requires = "tree")]
    rotation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Tsv,
    Json,
    /// As the package json-streaming-logs writes it
    Streaming,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut config = match args.rich {
        true => Config::rich(args.seed),
        false => Config { seed: args.seed, ..Config::default() },
    };
    config.lines = args.lines.unwrap_or(config.lines);
    config.start = args.start.unwrap_or(config.start);
    let format = match args.format {
        Form::Tsv => Format::Tsv,
        Form::Json => Format::Json { times: JsonTimes::Epoch, path: false },
        Form::Streaming => Format::Json { times: JsonTimes::Iso8601, path: true },
    };
    match &args.tree {
        Some(logs) => write_tree(config.generate(), format, logs, args.rotation)
            .with_context(|| format!("writing {}", logs.display()))?,
        None => write_log(config.generate(), format, true, io::stdout().lock())?,
    }
    Ok(())
}
