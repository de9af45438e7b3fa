//! `lookup`: ask the ledger.

use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};

use anyhow::{Context, bail};
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::access::{Access, LedgerArgs};
use super::filters::FilterArgs;
use super::status::MAX_STATUS_BYTES;
use super::{Exit, Misuse};
use crate::http::client::Client;
use crate::lookup::{Filters, Indicator, Limits, Search, Slice, Walk, no_such_sensor, sensors};
use crate::output::{CSV_HEADER, Row, Table, sanitise};
use crate::store::ReadStore;

/// Rows that a server is asked for at a time.
const PAGE: u64 = 10_000;

/// Queries that a server is asked together.
const TOGETHER: usize = 1000;
/// Rows that it is asked for of each of them; who has more is asked alone.
const TOGETHER_ROWS: u64 = 100;
/// Bytes of a line of an answer at most: a row of the longest data, each byte of it escaped twice.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// What `lookup` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = FORMS)]
pub struct Args {
    #[command(flatten)]
    ledger: LedgerArgs,
    #[command(flatten)]
    filters: FilterArgs,
    /// At most so many rows for each query
    #[arg(short = 'n', long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// How rows are written; json is an object a line
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Times of the table in the time zone of this machine, not in UTC
    #[arg(long)]
    local: bool,
    /// What to look for; - reads queries from standard input, a line each
    #[arg(value_name = "QUERY", required = true)]
    queries: Vec<String>,
}

const FORMS: &str = "Queries:
  www.example.com                     this name, and what points at it
  '*.example.com'                     everything at and below a name
  'www.example.*', 'mail*.example.n?' names that start so, that match
  192.0.2.7, 2001:db8::1              names that had this address
  192.0.2.0/24, 192.0.2.3-192.0.2.9   names that had an address in it
  rdata:ns1.example.net               rows whose data is that name; rdata:*.example.net below it
  '~text', '/regex/'                  rows that contain or match (reads the whole ledger)
As they are pasted: hxxps://www[.]example[.]com/x, 192.0.2.7:443, user@example.com, 'www.example.com|192.0.2.7'";

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

/// Answers the queries, one after the other.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    if args.local && args.format != Format::Table {
        let message = "--local is for tables: json and csv have their times in UTC".to_owned();
        return Err(Misuse { message, hint: "leave out --local, or --format" }.into());
    }
    let mut queries = Vec::new();
    for text in &args.queries {
        match text.as_str() {
            "-" => {
                for line in io::stdin().lock().lines() {
                    let line = line.context("reading standard input")?;
                    if !line.trim().is_empty() {
                        queries.push(line);
                    }
                }
            }
            _ => queries.push(text.clone()),
        }
    }
    let mut searches = Vec::with_capacity(queries.len());
    for text in &mut queries {
        let (indicator, search) = search(text, &args)?;
        if indicator.is_changed {
            writeln!(io::stderr(), "Asked for {}.", sanitise(&indicator.asked))?;
        }
        *text = indicator.asked;
        searches.push(search);
    }
    let access = Access::open(&args.ledger)?;
    if let (Access::Folder(ledger, _), Some(search)) = (&access, searches.first()) {
        check_sensor(&**ledger, &search.filters)?;
    }
    let mut out = Output::new(args.format, args.local)?;
    let mut found = vec![false; queries.len()];
    for (texts, (searches, found)) in
        queries.chunks(TOGETHER).zip(searches.chunks(TOGETHER).zip(found.chunks_mut(TOGETHER)))
    {
        let visit = &mut |at: usize, row: Row| {
            if let Some(found) = found.get_mut(at) {
                *found = true;
            }
            out.push(row)
        };
        match &access {
            Access::Folder(ledger, _) => {
                for (at, search) in searches.iter().enumerate() {
                    walk(&**ledger, search, &mut |row| visit(at, row))?;
                }
            }
            Access::Socket(client) | Access::Server(client) => match texts {
                [text] => ask(client, text, &args, &mut |row| visit(0, row))?,
                texts => ask_together(client, texts, &args, visit)?,
            },
        }
    }
    out.finish()?;
    let nothing: Vec<_> =
        queries.iter().zip(&found).filter_map(|(text, found)| (!found).then_some(text)).collect();
    if args.format == Format::Table {
        for text in &nothing {
            writeln!(io::stderr(), "Nothing found for {}.", sanitise(text))?;
        }
    }
    if let (false, Access::Socket(client) | Access::Server(client)) = (nothing.is_empty(), &access) {
        tell_unread(client)?;
    }
    Ok(if nothing.len() == queries.len() { Exit::Nothing } else { Exit::Done })
}

/// Refuses a sensor that nobody has: nothing found would be no answer.
pub fn check_sensor(ledger: &dyn ReadStore, filters: &Filters) -> anyhow::Result<()> {
    let Some(sensor) = &filters.sensor else { return Ok(()) };
    match no_such_sensor(sensor, &sensors(ledger)) {
        None => Ok(()),
        Some(those) => {
            let message = format!("there is no sensor {}; {those}", sanitise(sensor));
            Err(Misuse { message, hint: "leave --sensor out, or name one that there is" }.into())
        }
    }
}

/// What is looked at of a status.
#[derive(Deserialize)]
struct Standing {
    #[serde(default)]
    incomplete: Vec<String>,
}

/// Says which logs are not read, for what was not found may be in them. Of a daemon that does not tell, nothing is said.
fn tell_unread(client: &Client) -> io::Result<()> {
    let status = client.get("/api/v1/status", &[]).ok();
    let standing =
        status.and_then(|answer| serde_json::from_reader::<_, Standing>(answer.take(MAX_STATUS_BYTES)).ok());
    for reason in standing.into_iter().flat_map(|standing| standing.incomplete) {
        writeln!(io::stderr(), "Not all logs are read. {}", sanitise(&reason))?;
    }
    Ok(())
}

/// What was typed, checked before anything is opened or asked.
fn search(text: &str, args: &Args) -> anyhow::Result<(Indicator, Search)> {
    let mut filters = args.filters.parse()?;
    filters.limit = args.limit;
    let indicator = Indicator::read(text)?;
    let query = indicator.query.clone();
    Ok((indicator, Search { query, filters, pointing: true, merge_sensors: false }))
}

/// Walks this process's own ledger.
fn walk(
    ledger: &dyn ReadStore,
    search: &Search,
    visit: &mut dyn FnMut(Row) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut walk = Walk::start(&ledger.now(), search, Limits::NONE, None)?;
    let mut written = Ok(());
    while walk.end().is_none() {
        walk.advance(Slice { examined: u64::MAX }, |found| {
            written = visit(found.into());
            written.is_ok()
        })?;
        std::mem::replace(&mut written, Ok(()))?;
    }
    Ok(())
}

/// The last line of a page.
#[derive(Deserialize)]
struct PageEnd {
    next: Option<String>,
}

/// Asks a daemon, page by page.
fn ask(
    client: &Client,
    text: &str,
    args: &Args,
    visit: &mut dyn FnMut(Row) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut cursor: Option<String> = None;
    loop {
        let limit = left.min(PAGE).to_string();
        let mut params = args.filters.pairs();
        params.extend([("q", text), ("pointing", "true"), ("format", "ndjson"), ("limit", limit.as_str())]);
        params.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let mut answer = BufReader::new(client.get("/api/v1/records", &params)?);
        let mut end = None;
        while let Some(line) = next_line(&mut answer).context("reading the answer")? {
            match serde_json::from_slice::<Row>(&line) {
                Ok(row) => {
                    left = left.checked_sub(1).context("the answer has more rows than were asked for")?;
                    visit(row.tamed())?;
                }
                Err(_) => end = Some(serde_json::from_slice::<PageEnd>(&line).context("reading the answer")?),
            }
        }
        let end = end.context("the answer broke off")?;
        match end.next {
            Some(next) if cursor.as_ref() == Some(&next) => {
                bail!("the server gives the same page again and again")
            }
            Some(next) if left > 0 => cursor = Some(next),
            _ => return Ok(()),
        }
    }
}

/// The next line of an answer, which has a bound: who sends it may be anybody. `None` at the end.
fn next_line(answer: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    answer.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    match line.len() as u64 {
        0 => Ok(None),
        MAX_LINE_BYTES => Err(io::Error::other("a line of it is too long")),
        _ => Ok(Some(line)),
    }
}

/// A line of the answer to many queries, as far as it is no row.
#[derive(Deserialize)]
struct BulkLine {
    /// The line of the query; the sum at the end has none.
    line: Option<usize>,
    /// How the answer to that query ended, with its last line.
    ended: Option<String>,
    /// Why there is none: what reads the whole ledger is not asked with others.
    error: Option<IgnoredAny>,
}

/// Asks a daemon many queries at once. Rows come in the order of the queries, with the place of theirs.
fn ask_together(
    client: &Client,
    texts: &[String],
    args: &Args,
    visit: &mut dyn FnMut(usize, Row) -> io::Result<()>,
) -> anyhow::Result<()> {
    let rows = args.limit.map_or(TOGETHER_ROWS, |limit| limit.min(TOGETHER_ROWS));
    let limit = rows.to_string();
    let mut params = args.filters.pairs();
    params.extend([("pointing", "true"), ("limit", limit.as_str())]);
    let mut body = Vec::new();
    for text in texts {
        serde_json::to_writer(&mut body, text).context("writing the queries")?;
        body.push(b'\n');
    }
    // Of each query its rows, and whether these are all.
    let mut answers: Vec<(Vec<Row>, Option<bool>)> = texts.iter().map(|_| Default::default()).collect();
    let mut is_whole = false;
    let answer = client.post("/api/v1/lookup", &params, Some(Box::new(io::Cursor::new(body))))?;
    let mut answer = BufReader::new(answer);
    while let Some(line) = next_line(&mut answer).context("reading the answer")? {
        let BulkLine { line: number, ended, error } =
            serde_json::from_slice(&line).context("reading the answer")?;
        let Some(number) = number else {
            is_whole = true;
            continue;
        };
        let at = number.checked_sub(1);
        let answer = at.and_then(|at| answers.get_mut(at)).context("the answer is to another query")?;
        match (ended.as_deref(), error) {
            (Some("complete"), _) => answer.1 = Some(true),
            (Some("limit"), _) => answer.1 = Some(args.limit == Some(rows)),
            (Some(_), _) | (None, Some(_)) => answer.1 = Some(false),
            (None, None) if answer.0.len() as u64 >= rows => {
                bail!("the answer has more rows than were asked for");
            }
            (None, None) => {
                let row: Row = serde_json::from_slice(&line).context("reading the answer")?;
                answer.0.push(row.tamed());
            }
        }
    }
    if !is_whole {
        bail!("the answer broke off");
    }
    for (at, (text, (rows, all))) in texts.iter().zip(answers).enumerate() {
        match all.context("the answer broke off")? {
            true => rows.into_iter().try_for_each(|row| visit(at, row))?,
            false => ask(client, text, args, &mut |row| visit(at, row))?,
        }
    }
    Ok(())
}

/// Rows on their way to standard output.
enum Output {
    Table(Table<BufWriter<io::Stdout>>),
    Json(BufWriter<io::Stdout>),
    Csv(BufWriter<io::Stdout>),
}

impl Output {
    fn new(format: Format, local: bool) -> io::Result<Output> {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let mut out = BufWriter::new(stdout);
        Ok(match format {
            Format::Table => {
                let width =
                    terminal.then(|| terminal_size::terminal_size().map_or(80, |(w, _)| usize::from(w.0)));
                let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
                let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(std::env::var_os);
                let locale = locale.filter(|value| !value.is_empty());
                let locale = locale.map(|value| value.to_string_lossy().to_ascii_uppercase());
                let draws = locale.take(1).any(|value| value.contains("UTF-8") || value.contains("UTF8"));
                let table = Table::new(out, width, colour).with_days(draws);
                Output::Table(if local { table.in_zone(TimeZone::system()) } else { table })
            }
            Format::Json => Output::Json(out),
            Format::Csv => {
                out.write_all(CSV_HEADER.as_bytes())?;
                Output::Csv(out)
            }
        })
    }

    fn push(&mut self, row: Row) -> io::Result<()> {
        let mut line = Vec::new();
        match self {
            Output::Table(table) => table.push(row),
            Output::Json(out) => {
                row.push_json(&mut line);
                out.write_all(&line)
            }
            Output::Csv(out) => {
                row.push_csv(&mut line);
                out.write_all(&line)
            }
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Output::Table(table) => table.finish(),
            Output::Json(mut out) | Output::Csv(mut out) => out.flush(),
        }
    }
}
