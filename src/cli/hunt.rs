//! `hunt`: a report, a list, a bundle or an export of indicators against the ledger.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::access::{Access, LedgerArgs, tell_at_rest};
use super::lookup::next_line;
use super::{Exit, Misuse};
use crate::hunt::{Hunt, Listener, Way};
use crate::indicators::{self, Format, Options};
use crate::output::hunt::{HUNT_HEADER, HUNT_TITLES, HuntLine, HuntSum};
use crate::output::{sanitise, sanitise_json};
use crate::watch::{expand_allow, read_allow};

/// Lines of a table that its widths are those of.
const MEASURED: usize = 1000;
/// Bytes of what is harmless that are asked along with a list.
const MAX_ALLOWED: usize = 32 << 10;
/// Files of a feed in a folder at most.
const MAX_FILES: usize = 100_000;

/// What `hunt` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = FORMS)]
pub struct Args {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// How the list is written: auto, plain, hosts, adblock, dnsmasq, wildcard, rpz, zeek, csv, misp, stix, taxii, objects,
    /// otx, prose, tranco, warninglist
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = list_format)]
    format: ListFormat,
    /// Take every name with all below it, whatever the format says
    #[arg(long, conflicts_with = "exact")]
    below: bool,
    /// Take every name alone, whatever the format says
    #[arg(long)]
    exact: bool,
    /// The list is a CSV, and its indicators are in this column, a title or a number from 1; several titles with commas
    #[arg(long, value_name = "COLUMN")]
    column: Option<String>,
    /// Leave out what its source is less sure of, of 100
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(0..=100))]
    confidence_min: Option<u8>,
    /// Take the observables of a STIX bundle, too, and not its indicators alone
    #[arg(long)]
    observed: bool,
    /// Count what was seen after an indicator had ended (valid_until), too
    #[arg(long)]
    ended: bool,
    /// Take this for harmless, with all below or in it: a name, a network, or a file of them; may be repeated
    #[arg(long, value_name = "WHAT")]
    allow: Vec<String>,
    /// How hits are written; json is an object a line, and the sum behind them
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// The list, gzip too; - is standard input; a folder is the feed of MISP in it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

const FORMS: &str = "A line for each indicator that the ledger has: how many names and rows, how many names were only asked for, first and last seen, \
and the line in the list. Then the sum, with what was not taken and why. Nothing of the list is kept.

  dnsledger hunt report.txt                     a report: what is defanged, URLs, addresses, names
  dnsledger hunt -o json bundle.json            a bundle of STIX 2.1, an export of MISP
  curl -s https://list.example/ | dnsledger hunt -
  dnsledger hunt --column domain indicators.csv";

/// How the list is written, if that is said.
#[derive(Debug, Clone, Copy)]
struct ListFormat(Option<Format>);

fn list_format(name: &str) -> Result<ListFormat, String> {
    match (name, Format::from_name(name)) {
        ("auto", _) => Ok(ListFormat(None)),
        (_, Some(format)) => Ok(ListFormat(Some(format))),
        _ => {
            let names: Vec<&str> = Format::ALL.iter().map(|format| format.name()).collect();
            Err(format!("unknown format: auto, {}; how hits are written is --output", names.join(", ")))
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
    Csv,
}

impl Args {
    fn options(&self) -> Options {
        Options {
            format: self.format.0,
            below: (self.below || self.exact).then_some(self.below),
            column: self.column.clone(),
            confidence_min: self.confidence_min,
            observed: self.observed,
            ended: self.ended,
            ..Options::default()
        }
    }
}

impl Args {
    /// What is harmless, of files what they hold.
    fn allowed(&self) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for text in &self.allow {
            // A network has a slash too, and is no file.
            let path = std::path::absolute(text)?;
            all.push(if path.is_file() { path.display().to_string() } else { text.clone() });
        }
        let all = expand_allow(&all)?;
        for text in &all {
            if read_allow(std::slice::from_ref(text))?.is_empty() {
                let message = format!("--allow: {text:?} is not a name, a network or a file");
                return Err(Misuse { message, hint: "--allow example.com --allow 192.0.2.0/24" }.into());
            }
        }
        Ok(all)
    }
}

/// Hunts, and writes what was found.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let list = open(&args.file)?;
    let mut written = Written::new(args.output)?;
    let allowed = args.allowed()?;
    let access = Access::open(&args.ledger)?;
    let sum = match &access {
        Access::Folder(ledger, config) => {
            let mut hunt = Hunt::default();
            hunt.except(&read_allow(&config.watch.own)?);
            hunt.except(&read_allow(&allowed)?);
            let mut list = list;
            let taken = indicators::read(&mut list, &args.options(), &mut |indicator| hunt.take(indicator))
                .with_context(|| sanitise(&args.file.display().to_string()).into_owned())?;
            let rows = ledger.stats()?.rows;
            let mut came = Ok(());
            let mut listener = Listener {
                hit: &mut |hit| {
                    came = written.push(hit.into());
                    came.is_ok()
                },
                go_on: &mut || true,
            };
            let outcome = hunt.run(&ledger.now(), rows, Way::Best, &mut listener)?;
            came?;
            HuntSum::of(&taken, &outcome.context("it was ended")?)
        }
        Access::Socket(client) | Access::Server(client) => {
            let flag = |flag: bool| if flag { "true" } else { "false" };
            let options = args.options();
            let confidence = options.confidence_min.map(|number| number.to_string());
            let mut params: Vec<(&str, &str)> = Vec::new();
            params.extend(options.format.map(|format| ("format", format.name())));
            params.extend(options.below.map(|below| ("below", flag(below))));
            params.extend(options.column.as_deref().map(|column| ("column", column)));
            params.extend(confidence.as_deref().map(|number| ("confidence_min", number)));
            params.extend(options.observed.then_some(("observed", "true")));
            params.extend(options.ended.then_some(("ended", "true")));
            let allowed = allowed.join(",");
            if allowed.len() > MAX_ALLOWED {
                let message = "there is more in --allow than a request may have".to_owned();
                return Err(Misuse {
                    message,
                    hint: "own in the section [watch] of the daemon's configuration",
                }
                .into());
            }
            params.extend((!allowed.is_empty()).then_some(("allow", allowed.as_str())));
            let mut answer = BufReader::new(client.at_length().post("/api/v1/hunt", &params, Some(list))?);
            let mut sum = None;
            while let Some(line) = next_line(&mut answer).context("reading the answer")? {
                match serde_json::from_slice(&line).context("reading the answer")? {
                    Line::Hit(hit) => written.push(hit)?,
                    Line::Sum(found) => sum = Some(found),
                    Line::Failed { error } => bail!("{}", sanitise(&error.message)),
                }
            }
            sum.context("the answer broke off")?
        }
    };
    written.end(&sum)?;
    for reason in &sum.incomplete {
        writeln!(io::stderr(), "Not all logs are read. {}", sanitise(reason))?;
    }
    tell_at_rest(&args.ledger, &access, sum.missed == 0)?;
    Ok(match sum.hits {
        0 if sum.taken == 0 => Exit::Empty,
        0 => Exit::Nothing,
        _ => Exit::Done,
    })
}

/// A line of an answer.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Failed { error: Failure },
    Hit(HuntLine),
    Sum(HuntSum),
}

#[derive(Deserialize)]
struct Failure {
    message: String,
}

//--- the list -------------------------------------------------------------------------------------------------------

/// Opens a list; `-` is standard input, and a folder the events of a feed in it.
fn open(path: &Path) -> anyhow::Result<Box<dyn Read + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let reading = || format!("reading {}", sanitise(&path.display().to_string()));
    if !path.is_dir() {
        return Ok(Box::new(File::open(path).with_context(reading)?));
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let is_event = path.extension().is_some_and(|end| end == "json")
            && path.file_name().is_some_and(|name| name != "manifest.json");
        files.extend(is_event.then_some(path));
        if files.len() > MAX_FILES {
            bail!("there are more than {MAX_FILES} files in {}", sanitise(&path_of(&files)));
        }
    }
    if files.is_empty() {
        let message = format!("there is no event of MISP in {}", sanitise(&path.display().to_string()));
        return Err(Misuse {
            message,
            hint: "a folder with events as *.json, as a feed of MISP has them; or a file",
        }
        .into());
    }
    files.sort();
    files.reverse();
    Ok(Box::new(Files { left: files, current: None }))
}

fn path_of(files: &[PathBuf]) -> String {
    files
        .first()
        .and_then(|file| file.parent())
        .map(|folder| folder.display().to_string())
        .unwrap_or_default()
}

/// Files one after the other, with a line between them.
struct Files {
    /// The last one comes first.
    left: Vec<PathBuf>,
    current: Option<File>,
}

impl Read for Files {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(file) = &mut self.current {
                match file.read(out)? {
                    0 => self.current = None,
                    read => return Ok(read),
                }
                if let Some(first) = out.first_mut() {
                    *first = b'\n';
                    return Ok(1);
                }
            }
            let Some(path) = self.left.pop() else { return Ok(0) };
            self.current = Some(File::open(path)?);
        }
    }
}

//--- output ---------------------------------------------------------------------------------------------------------

/// Hits on their way to standard output.
struct Written {
    out: BufWriter<io::Stdout>,
    output: Output,
    /// The first lines of a table, until its widths are known.
    waiting: Vec<[String; 9]>,
    widths: Option<[usize; 9]>,
}

impl Written {
    fn new(output: Output) -> io::Result<Written> {
        let mut out = BufWriter::new(io::stdout());
        if output == Output::Csv {
            out.write_all(HUNT_HEADER.as_bytes())?;
        }
        Ok(Written { out, output, waiting: Vec::new(), widths: None })
    }

    fn push(&mut self, hit: HuntLine) -> io::Result<()> {
        let mut line = Vec::new();
        match self.output {
            Output::Json => {
                let text = serde_json::to_string(&hit)?;
                return writeln!(self.out, "{}", sanitise_json(&text));
            }
            Output::Csv => hit.push_csv(&mut line),
            Output::Table => {
                let cells = hit.cells().map(|cell| sanitise(&cell).into_owned());
                match &self.widths {
                    Some(widths) => push_cells(&cells, widths, &mut line),
                    None => self.waiting.push(cells),
                }
                if self.waiting.len() >= MEASURED {
                    self.measure()?;
                }
            }
        }
        self.out.write_all(&line)
    }

    /// Writes what waited, in columns that are as wide as that.
    fn measure(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        if rows.is_empty() {
            return Ok(());
        }
        let titles = HUNT_TITLES.map(str::to_owned);
        let mut widths = [0; 9];
        for row in rows.iter().chain([&titles]) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = Vec::new();
        [titles].iter().chain(&rows).for_each(|row| push_cells(row, &widths, &mut text));
        self.widths = Some(widths);
        self.out.write_all(&text)
    }

    fn end(mut self, sum: &HuntSum) -> io::Result<()> {
        if self.output == Output::Json {
            let text = serde_json::to_string(sum)?;
            writeln!(self.out, "{}", sanitise_json(&text))?;
            return self.out.flush();
        }
        self.measure()?;
        self.out.flush()?;
        let mut stderr = io::stderr().lock();
        let is_seen = io::stdout().is_terminal() && sum.hits > 0 && self.output == Output::Table;
        if is_seen {
            writeln!(stderr)?;
        }
        for line in sum.in_words() {
            writeln!(stderr, "{}", sanitise(&line))?;
        }
        for example in &sum.examples {
            let (reason, text) = (sanitise(&example.reason), sanitise(&example.text));
            writeln!(stderr, "  line {}: {text} ({reason})", example.line)?;
        }
        Ok(())
    }
}

fn push_cells(cells: &[String; 9], widths: &[usize; 9], out: &mut Vec<u8>) {
    let start = out.len();
    for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let fill = std::iter::repeat_n(b' ', width.saturating_sub(cell.chars().count()));
        // Numbers stand on the right.
        let is_number = matches!(at, 2 | 3 | 4 | 7);
        if is_number {
            out.extend(fill);
            out.extend_from_slice(cell.as_bytes());
        } else {
            out.extend_from_slice(cell.as_bytes());
            out.extend(fill);
        }
        out.extend_from_slice(b"  ");
    }
    let kept = out.get(start..).unwrap_or_default().trim_ascii_end().len();
    out.truncate(start + kept);
    out.push(b'\n');
}
