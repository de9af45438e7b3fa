//! `new`: what was first seen since a time.

use std::io::{self, Write};

use anyhow::Context;

use super::Exit;
use super::access::{Access, LedgerArgs, tell_at_rest, whole};
use super::columns::ColumnWriter;
use super::lookup::{check_sensor, tell_lacks_of};
use crate::base::clock::now;
use crate::base::time::spaced_utc;
use crate::lookup::{Filters, MAX_NEW, New, NewFound, NewSearch, find_new};
use crate::output::{push_csv_cell, sanitise, sanitise_json};

/// How many are shown where nothing is said.
const SHOWN: usize = 1000;

/// What `new` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = FORMS)]
pub struct Args {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// What may be new: registrable domains, names, or addresses and names that rows lead to
    #[arg(long, value_enum, default_value_t = WhatArg::Domain)]
    what: WhatArg,
    /// First seen at this time or after: an age 24h, today, yesterday, a day 2026-03-24, a time
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: String,
    /// Only at and below this name; of data only what such a name has. May be repeated
    #[arg(long, value_name = "NAME")]
    under: Vec<String>,
    /// Only at and below the names of `[new] watched` in the configuration
    #[arg(long)]
    watched: bool,
    /// Only what looks like one of `[new] brands` in the configuration
    #[arg(long)]
    lookalikes: bool,
    /// Only as this sensor saw it
    #[arg(short, long, value_name = "NAME")]
    sensor: Option<String>,
    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=MAX_NEW as u64))]
    limit: Option<u64>,
    /// How they are written; json is an object a line
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

const FORMS: &str = "The newest comes first. A registrable domain is new when it was first asked for or first answered since then, by all that the ledger \
has: an older log that is read later makes it older.

  dnsledger new                                       registrable domains of the last 24 hours
  dnsledger new --what name --under example.com       new names of a domain
  dnsledger new --what rdata --under example.com      new addresses and targets of its names
  dnsledger new --since 7d --lookalikes               domains that look like one of your brands";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum WhatArg {
    Domain,
    Name,
    Rdata,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

/// Finds what is new, and writes it.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let under = args.under.join(",");
    let limit = args.limit.unwrap_or(SHOWN as u64);
    let shown_limit = limit.to_string();
    let mut params: Vec<(&str, &str)> = vec![
        (
            "what",
            match args.what {
                WhatArg::Domain => "domain",
                WhatArg::Name => "name",
                WhatArg::Rdata => "rdata",
            },
        ),
        ("since", &args.since),
        ("limit", &shown_limit),
    ];
    params.extend((!under.is_empty()).then_some(("under", under.as_str())));
    params.extend(args.watched.then_some(("watched", "true")));
    params.extend(args.lookalikes.then_some(("lookalikes", "true")));
    params.extend(args.sensor.as_deref().map(|sensor| ("sensor", sensor)));
    let access = Access::open(&args.ledger)?;
    let found = match &access {
        Access::Folder(ledger, config) => {
            check_sensor(&**ledger, &Filters { sensor: args.sensor.clone(), ..Filters::default() })?;
            let settings = config.new_settings();
            let limit = usize::try_from(limit).unwrap_or(MAX_NEW);
            let search = NewSearch::read(params.into_iter(), &settings, limit, now())?;
            let found = find_new(&*ledger.now(), &search, &settings.brands, &mut || false)?;
            found.context("it was ended")?
        }
        Access::Socket(client) | Access::Server(client) => {
            let text = whole(client.get("/api/v1/new", &params)?)?;
            tell_lacks_of(&text)?;
            serde_json::from_slice::<NewFound>(&text).context("reading the answer")?
        }
    };
    write(&found, args.format)?;
    let shown = found.new.len() as u64;
    if found.total > shown {
        writeln!(io::stderr(), "{shown} of {} are shown, the newest; --limit for more.", found.total)?;
    }
    tell_at_rest(&args.ledger, &access, found.total > 0)?;
    if found.total == 0 {
        writeln!(io::stderr(), "Nothing is new.")?;
        return Ok(Exit::Nothing);
    }
    Ok(Exit::Done)
}

fn write(found: &NewFound, format: Format) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match format {
        Format::Json => {
            for new in &found.new {
                writeln!(out, "{}", sanitise_json(&serde_json::to_string(new)?))?;
            }
        }
        Format::Csv => {
            writeln!(out, "value,first_seen,first_asked,first_answered,last_seen,sensor,lookalike,how")?;
            for new in &found.new {
                let number = |time: Option<u64>| time.map(|time| time.to_string()).unwrap_or_default();
                let like = new.lookalike.as_ref();
                let cells = [
                    new.value.clone(),
                    new.first_seen.to_string(),
                    number(new.first_asked),
                    number(new.first_answered),
                    new.last_seen.to_string(),
                    new.sensor.clone(),
                    like.map(|like| like.brand.clone()).unwrap_or_default(),
                    like.map(|like| like.how.name().to_owned()).unwrap_or_default(),
                ];
                let mut line = Vec::new();
                for (at, cell) in cells.iter().enumerate() {
                    line.extend((at > 0).then_some(b','));
                    push_csv_cell(&sanitise(cell), &mut line);
                }
                line.push(b'\n');
                out.write_all(&line)?;
            }
        }
        Format::Table => {
            let mut table = ColumnWriter::new(&["FIRST (UTC)", "NEW", "SENSOR", ""]);
            found.new.iter().try_for_each(|new| table.push(cells(new).to_vec(), &mut out))?;
            table.settle(&mut out)?;
        }
    }
    out.flush()?;
    Ok(())
}

fn cells(new: &New) -> [String; 4] {
    let first = spaced_utc(&new.first_seen_utc);
    let mut remarks = Vec::new();
    if let Some(like) = &new.lookalike {
        remarks.push(format!("like {} ({})", like.brand, like.how.name()));
    }
    if new.first_answered.is_none() {
        remarks.push("only asked".to_owned());
    }
    let clean = |text: &str| sanitise(text).into_owned();
    [clean(&first), clean(&new.value), clean(&new.sensor), clean(&remarks.join(", "))]
}
