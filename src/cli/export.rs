//! `export`: the whole ledger, a line for each row.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Exit;
use super::access::{Access, LedgerArgs, tell_fed};
use super::filters::FilterArgs;
use super::lookup::check_sensor;
use crate::lookup::{Limits, Query, Search, Slice, Walk};
use crate::output::cof::push_export_line;
use crate::output::{PrintableAscii, Row, csv_header};
use crate::store::{ReadStore, as_the_user_has_it};

/// Bytes that are written at a time.
const WRITE_BYTES: usize = 256 << 10;

/// What `export` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    ledger: LedgerArgs,
    #[command(flatten)]
    filters: FilterArgs,
    /// How rows are written: cof is the Common Output Format of passive DNS
    #[arg(short, long, value_enum, default_value_t = Format::Cof)]
    format: Format,
    /// Write to this file, which gets its name when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Cof,
    Csv,
}

/// Writes the ledger.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let search = Search { filters: args.filters.parse()?, ..Search::new(Query::All) };
    let access = Access::open(&args.ledger)?;
    if let Access::Folder(ledger, _) = &access {
        tell_fed(&**ledger)?;
        check_sensor(&**ledger, &search.filters)?;
    }
    match &args.output {
        Some(path) => {
            let mut unfinished = path.clone().into_os_string();
            unfinished.push(".part");
            let unfinished = PathBuf::from(unfinished);
            let written = to_file(&unfinished, |file| write(&access, &args, &search, file));
            let named = written.and_then(|()| {
                fs::rename(&unfinished, path).with_context(|| format!("naming {}", path.display()))
            });
            if named.is_err() {
                // It failed already; that a part stays behind is the lesser evil.
                let _ = fs::remove_file(&unfinished);
            }
            named?;
        }
        None => {
            let stdout = io::stdout();
            // A file, or another program, gets what there is. A terminal would do what it says.
            let tames = matches!(access, Access::Server(_)) && stdout.is_terminal();
            let mut out = BufWriter::with_capacity(WRITE_BYTES, stdout);
            match tames {
                true => write(&access, &args, &search, &mut PrintableAscii(&mut out))?,
                false => write(&access, &args, &search, &mut out)?,
            }
            out.flush()?;
        }
    }
    Ok(Exit::Done)
}

fn to_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let failed = || format!("writing {}", path.display());
    let mut file = BufWriter::with_capacity(WRITE_BYTES, File::create(path).with_context(failed)?);
    // Whoever has a ledger open makes files for himself alone; this one is none of them.
    as_the_user_has_it(path).with_context(failed)?;
    write(&mut file).with_context(failed)?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error).with_context(failed)?;
    file.sync_all().with_context(failed)
}

fn write(access: &Access, args: &Args, search: &Search, out: &mut dyn Write) -> anyhow::Result<()> {
    let (client, path) = match access {
        Access::Folder(ledger, _) => return write_own(&**ledger, args.format, search, out),
        Access::Socket(client) => (client, "/control/export"),
        Access::Server(client) => (client, "/api/v1/export"),
    };
    let mut params = args.filters.pairs();
    params.push(("format", if args.format == Format::Csv { "csv" } else { "cof" }));
    params.extend(args.ledger.partial());
    let mut answer = client.at_length().get(path, &params)?;
    io::copy(&mut answer, out)?;
    Ok(())
}

/// Writes this process's own ledger.
fn write_own(
    ledger: &dyn ReadStore,
    format: Format,
    search: &Search,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut buffer = Vec::with_capacity(2 * WRITE_BYTES);
    if format == Format::Csv {
        buffer.extend_from_slice(csv_header(search.filters.during.is_some()).as_bytes());
    }
    let mut walk = Walk::start(&ledger.now(), search, Limits::NONE, None)?;
    while walk.end().is_none() {
        walk.advance(Slice { examined: u64::MAX }, |found| {
            match format {
                Format::Cof => push_export_line(found, &mut buffer),
                Format::Csv => Row::from(found).push_csv(&mut buffer),
            }
            buffer.len() < WRITE_BYTES
        })?;
        out.write_all(&buffer)?;
        buffer.clear();
    }
    Ok(())
}
