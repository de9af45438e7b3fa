//! `lookup`: ask the ledger.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::access::{Access, LedgerArgs, tell_at_rest, tell_fed};
use super::filters::FilterArgs;
use super::list::{Item, ListArgs, Refused};
use super::{Exit, Misuse};
use crate::base::time::format_utc;
use crate::http::client::Client;
use crate::lookup::{
    AskedOf, During, End, Filters, Found, Indicator, Limits, MAX_SORTED, QuestionLimits, Search, Slice, Sort,
    Summary, Top, Walk, another, maybe_meant, no_such_sensor, sensors,
};
use crate::observation::Outcome;
use crate::output::summary::{QueryFault, Questions, SUMMARY_HEADER, SummaryLine, push_table};
use crate::output::{QueryLabel, Row, TextTable, csv_header, sanitise, time_in};
use crate::store::ReadStore;

/// Rows that a server is asked for at a time.
const PAGE: u64 = 10_000;
/// Pages without rows, one after the other, that are read: each may stand for very many rows that were looked at.
const MOST_EMPTY: u32 = 10_000;

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
    /// Sort by name, type, data, first, last, count or ttl; with a minus sign the greatest first: --sort -last -n 20 for the
    /// newest 20. All rows are looked at, and 10,000 kept at most
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true, value_parser = sort)]
    sort: Option<Sort>,
    /// How rows are written; json is an object a line
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Times of the table in the time zone of this machine, not in UTC
    #[arg(long)]
    local: bool,
    /// Lines as long as what is in them, also on a terminal
    #[arg(long)]
    wide: bool,
    #[command(flatten)]
    list: ListArgs,
    /// What to look for; - reads a list from standard input, a line each
    #[arg(value_name = "QUERY", required_unless_present = "file")]
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
Times (UTC): 2026-03-24, 2026-03, 2026-03-24T17, 2026-03-24T17:05:00Z, today, yesterday, 7d (an age, with its unit), epoch seconds
As they are pasted: hxxps://www[.]example[.]com/x, 192.0.2.7:443, user@example.com, 'www.example.com|192.0.2.7'";

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

fn sort(text: &str) -> Result<Sort, &'static str> {
    Sort::parse(text).ok_or("name, type, data, first, last, count or ttl; -last for the latest first")
}

/// What came of one query.
#[derive(Default)]
struct Came {
    summary: Summary,
    questions: Option<Questions>,
    /// How a summary ended that a daemon made.
    ended: Option<String>,
    /// Whether there are more rows than were asked for.
    is_cut: bool,
}

impl Came {
    /// Whether all that was asked was answered.
    fn is_answered(&self) -> bool {
        let outcomes = self.questions.iter().flat_map(|questions| questions.outcomes.keys());
        outcomes.filter(|outcome| *outcome != Outcome::Answered.name()).count() == 0
    }
}

/// Answers the queries, one after the other.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    if args.local && args.format != Format::Table {
        let message = "--local is for tables: json and csv have their times in UTC".to_owned();
        return Err(Misuse { message, hint: "leave out --local, or --format" }.into());
    }
    if args.sort.is_some() && (args.list.summary || args.limit.is_some_and(|limit| limit > MAX_SORTED)) {
        let message = "a sorted answer has at most 10,000 rows, and a summary has no order".to_owned();
        return Err(Misuse { message, hint: "--sort -last -n 10000" }.into());
    }
    let (items, refused) = items(&args)?;
    let is_list = args.list.file.is_some() || args.queries.iter().any(|text| text == "-");
    for Refused { line, given, fault } in &refused {
        let QueryFault { message, hint } = fault;
        let (given, message) = (sanitise(given), sanitise(message));
        writeln!(io::stderr(), "line {line}: {given}: {message}; try: {}", sanitise(hint))?;
    }
    let mut filters = args.filters.parse()?;
    if items.is_empty() {
        // An empty answer to an empty question looks like a clean one.
        let why = match refused.len() {
            0 if args.list.extract => "there is no name and no address in the text",
            0 => "it is empty, or has only comments",
            _ => "no line of it is a query",
        };
        write_summary_of(&args, &refused)?;
        writeln!(io::stderr(), "There is no indicator in the list, so nothing was asked: {why}.")?;
        return Ok(Exit::Empty);
    }
    let is_filtered = Filters { limit: None, ..filters.clone() } != Filters::default();
    // Of a sorted answer all is looked at first.
    filters.limit = args.limit.filter(|_| args.sort.is_none());
    let searches: Vec<Search> = items
        .iter()
        .map(|item| Search {
            query: item.indicator.query.clone(),
            filters: filters.clone(),
            pointing: true,
            merge_sensors: false,
            all_forms: true,
        })
        .collect();
    for item in items.iter().filter(|item| item.line.is_none() && item.indicator.is_changed) {
        writeln!(io::stderr(), "Asked for {}.", sanitise(&item.indicator.asked))?;
    }
    let access = Access::open(&args.ledger)?;
    if let Access::Folder(ledger, _) = &access {
        tell_fed(&**ledger)?;
        check_sensor(&**ledger, &filters)?;
    }
    let mut out =
        (!args.list.summary).then(|| Output::new(&args, is_list, filters.during.is_some())).transpose()?;
    let mut lacks = Lacks::default();
    // Rows that were seen before and after the time that is asked for.
    let mut outside = 0;
    let mut came: Vec<Came> = items.iter().map(|_| Came::default()).collect();
    for (items, (searches, came)) in
        items.chunks(TOGETHER).zip(searches.chunks(TOGETHER).zip(came.chunks_mut(TOGETHER)))
    {
        let mut visit = |came: &mut Came, item: &Item, row: Row| {
            outside += u64::from(row.during.is_some_and(|during| during != During::Seen));
            came.summary.add_row(row.rrname.as_bytes(), row.time_first, row.time_last);
            match &mut out {
                Some(out) => out.push(item, row),
                None => Ok(()),
            }
        };
        match &access {
            Access::Folder(ledger, _) => {
                lacks.expired_before = Some(ledger.expired_before()).filter(|before| *before > 0);
                for ((item, search), came) in items.iter().zip(searches).zip(came) {
                    came.is_cut = walk(&**ledger, search, &args, &mut |row| visit(came, item, row))?;
                    if let Some(of) = AskedOf::of(search) {
                        let probes = came.summary.rows == 0;
                        let questions = of.questions(&*ledger.now(), QuestionLimits::ALL, probes)?;
                        came.questions = questions.as_ref().map(Into::into);
                    }
                }
            }
            Access::Socket(client) | Access::Server(client) => match (items, came) {
                ([item], [came]) if !args.list.summary => {
                    let asked = &item.indicator.asked;
                    (came.questions, came.is_cut) =
                        ask(client, asked, &args, &mut lacks, &mut |row| visit(came, item, row))?;
                }
                (items, came) => ask_together(client, items, &args, came, &mut lacks, &mut visit)?,
            },
        }
    }
    match out {
        Some(out) => {
            out.finish()?;
            tell_outside(outside, args.format)?;
            tell_cut(&args, &came)?;
        }
        None => write_summary(&args, &items, &came, &refused)?,
    }
    // As for `hunt` and `seen`: what was asked for is something.
    let is_nothing = |came: &Came| {
        came.summary.rows == 0 && came.questions.as_ref().is_none_or(|questions| questions.count == 0)
    };
    if !args.list.summary {
        for (item, came) in items.iter().zip(&came) {
            tell_questions(item, came, args.format, is_filtered)?;
        }
    }
    let nothing = came.iter().filter(|came| is_nothing(came)).count();
    // Of names it is said with how they were asked for.
    let is_gone = came.iter().any(|came| is_nothing(came) && came.questions.is_none());
    if let Some(before) = lacks.expired_before.filter(|_| is_gone) {
        let before = format_utc(before);
        writeln!(io::stderr(), "Nothing is kept of what was last seen before {before} UTC.")?;
    }
    tell_lacks(&lacks.reasons, args.ledger.partial().is_some())?;
    tell_at_rest(&args.ledger, &access, nothing == 0)?;
    Ok(match nothing == items.len() {
        _ if !refused.is_empty() => Exit::Partly,
        true => Exit::Nothing,
        false => Exit::Done,
    })
}

/// What is asked for, in its order, and the lines of lists that are none of it.
fn items(args: &Args) -> anyhow::Result<(Vec<Item>, Vec<Refused>)> {
    let (mut items, mut refused) = (Vec::new(), Vec::new());
    let lists = args.queries.iter().filter(|text| *text == "-").map(|_| Path::new("-"));
    let lists: Vec<&Path> = lists.chain(args.list.file.as_deref()).collect();
    if lists.is_empty() && (args.list.column.is_some() || args.list.extract) {
        let message = "--column and --extract are for lists".to_owned();
        return Err(Misuse { message, hint: "--file FILE, or - for standard input" }.into());
    }
    for text in args.queries.iter().filter(|text| *text != "-") {
        items.push(Item { line: None, given: text.clone(), indicator: Indicator::read(text)? });
    }
    for path in lists {
        let (more, bad) = args.list.read(path)?;
        items.extend(more);
        refused.extend(bad);
    }
    Ok((items, refused))
}

/// Says of how many rows it is not known that they were seen within the time that was asked for.
fn tell_outside(rows: u64, format: Format) -> io::Result<()> {
    let were = if rows == 1 { "1 row was" } else { &format!("{rows} rows were") };
    match rows {
        0 => Ok(()),
        _ if format != Format::Table => Ok(()),
        _ => writeln!(
            io::stderr(),
            "{were} seen before and after that time: on no day in it, or, where only \"before and after\" stands, nobody knows."
        ),
    }
}

/// Says of a query what was asked, so that nothing found is not taken for nothing known.
fn tell_questions(item: &Item, came: &Came, format: Format, is_filtered: bool) -> io::Result<()> {
    tell_of(item, came, format, is_filtered)?;
    let asked = &item.indicator.asked;
    let hint = maybe_meant(asked).filter(|_| came.summary.rows == 0);
    match hint.or_else(|| another(asked)) {
        Some(hint) => writeln!(io::stderr(), "But {}.", sanitise(&hint)),
        None => Ok(()),
    }
}

/// The same of the query as it was understood.
fn tell_of(item: &Item, came: &Came, format: Format, is_filtered: bool) -> io::Result<()> {
    let asked = sanitise(&item.indicator.asked);
    let questions = came.questions.as_ref().map(Questions::in_words);
    let is_typed = item.line.is_none();
    let is_said = came.questions.as_ref().is_some_and(|questions| questions.filtered && questions.count == 0);
    let within = if is_filtered && !is_said { " within these filters" } else { "" };
    match (came.summary.rows, questions) {
        (0, _) if !is_typed && format != Format::Table => Ok(()),
        (0, Some(questions)) => {
            writeln!(io::stderr(), "Nothing found for {asked}{within}: {questions}.")?;
            match came.questions.as_ref().and_then(Questions::below_in_words) {
                Some(below) => writeln!(io::stderr(), "But {below}."),
                None => Ok(()),
            }
        }
        (0, None) => writeln!(io::stderr(), "Nothing found for {asked}{within}."),
        // That what was found was answered goes without saying.
        (_, Some(questions)) if is_typed && format == Format::Table && !came.is_answered() => {
            writeln!(io::stderr(), "{asked}: {questions}.")
        }
        _ => Ok(()),
    }
}

/// Writes a summary of lines that are no query, where one was asked for.
fn write_summary_of(args: &Args, refused: &[Refused]) -> io::Result<()> {
    if args.list.summary { write_summary(args, &[], &[], refused) } else { Ok(()) }
}

/// Writes a line for each query, and for each line that is none.
fn write_summary(args: &Args, items: &[Item], came: &[Came], refused: &[Refused]) -> io::Result<()> {
    let found = items.iter().zip(came).map(|(item, came)| {
        let all = if came.is_cut { "limit" } else { "complete" };
        let line = SummaryLine {
            line: item.line,
            query: item.given.clone(),
            asked: Some(item.indicator.asked.clone()),
            questions: came.questions.clone(),
            ended: Some(came.ended.clone().unwrap_or_else(|| all.to_owned())),
            ..SummaryLine::default()
        };
        line.with(&came.summary)
    });
    let wrong = refused.iter().map(|refused| SummaryLine {
        line: Some(refused.line),
        query: refused.given.clone(),
        error: Some(refused.fault.clone()),
        ..SummaryLine::default()
    });
    let mut lines: Vec<SummaryLine> = found.chain(wrong).collect();
    lines.sort_by_key(|line| line.line); // stable
    let mut out = BufWriter::new(io::stdout());
    let mut text = Vec::new();
    match args.format {
        Format::Table => {
            let zone = args.local.then(TimeZone::system);
            push_table(&lines, &|secs| time_in(zone.as_ref(), secs, true), &mut text)?;
        }
        Format::Json => lines.iter().for_each(|line| line.push_json(&mut text)),
        Format::Csv => {
            text.extend_from_slice(SUMMARY_HEADER.as_bytes());
            lines.iter().for_each(|line| line.push_csv(&mut text));
        }
    }
    out.write_all(&text)?;
    out.flush()
}

/// Refuses a sensor that nobody has: nothing found would be no answer.
pub fn check_sensor(ledger: &dyn ReadStore, filters: &Filters) -> anyhow::Result<()> {
    let Some(sensor) = &filters.sensor else { return Ok(()) };
    match no_such_sensor(sensor, &sensors(ledger)) {
        None => Ok(()),
        Some(those) => {
            let message = format!("unknown sensor {}; {those}", sanitise(sensor));
            Err(Misuse { message, hint: "leave --sensor out, or name one that there is" }.into())
        }
    }
}

/// What answers lack.
#[derive(Default)]
struct Lacks {
    /// Logs that are not read, or parts of a cluster, in a sentence each.
    reasons: BTreeSet<String>,
    /// What was last seen before this second was dropped.
    expired_before: Option<u64>,
}

impl Lacks {
    fn add(&mut self, reasons: Vec<String>, expired_before: Option<u64>) {
        self.reasons.extend(reasons);
        self.expired_before = self.expired_before.max(expired_before);
    }
}

/// Says what an answer lacks, for what was not found may be in it: logs that are not read, or parts of a cluster.
fn tell_lacks(lacks: &BTreeSet<String>, is_partial: bool) -> io::Result<()> {
    let what = if is_partial { "Not all is there." } else { "Not all logs are read." };
    lacks.iter().try_for_each(|lack| writeln!(io::stderr(), "{what} {}", sanitise(lack)))
}

/// The same of a document that says it of itself.
pub(super) fn tell_lacks_of(document: &[u8]) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        incomplete: BTreeSet<String>,
    }
    let Document { incomplete } = serde_json::from_slice(document).context("reading the answer")?;
    Ok(tell_lacks(&incomplete, false)?)
}

/// Walks this process's own ledger; whether there are more rows than were asked for.
fn walk(
    ledger: &dyn ReadStore,
    search: &Search,
    args: &Args,
    visit: &mut dyn FnMut(Row) -> io::Result<()>,
) -> anyhow::Result<bool> {
    let mut walk = Walk::start(&ledger.now(), search, Limits::NONE, None)?;
    if let Some(sort) = args.sort {
        let mut top = Top::new(sort, args.limit.unwrap_or(MAX_SORTED));
        while walk.end().is_none() {
            walk.advance(Slice { examined: u64::MAX }, |found| {
                top.push(found);
                true
            })?;
        }
        let (rows, given) = top.into_rows();
        for (entry, seen) in &rows {
            let during = search.filters.seen_during(seen);
            visit((&Found { entry, seen: *seen, during }).into())?;
        }
        return Ok(given > rows.len() as u64);
    }
    let mut written = Ok(());
    while walk.end().is_none() {
        walk.advance(Slice { examined: u64::MAX }, |found| {
            written = visit(found.into());
            written.is_ok()
        })?;
        std::mem::replace(&mut written, Ok(()))?;
    }
    Ok(matches!(walk.end(), Some(End::Limit(_))))
}

/// Says of answers that have not all rows that there are more.
fn tell_cut(args: &Args, came: &[Came]) -> io::Result<()> {
    let rows = args.limit.unwrap_or(MAX_SORTED);
    let order = if args.sort.is_some() { " in that order" } else { "" };
    match (came.iter().filter(|came| came.is_cut).count(), came.len()) {
        (0, _) => Ok(()),
        // A program counts what it asked for.
        _ if args.format != Format::Table && args.limit.is_some() => Ok(()),
        (_, 1) => {
            let first = if rows == 1 {
                "This is the first row".to_owned()
            } else {
                format!("These are the first {rows} rows")
            };
            writeln!(io::stderr(), "{first}{order}; there are more.")
        }
        (cut, of) => writeln!(
            io::stderr(),
            "Of {cut} of {of} queries there are more rows than the first {rows}{order}."
        ),
    }
}

/// The last line of a page.
#[derive(Deserialize)]
struct PageEnd {
    #[serde(default)]
    truncated: bool,
    next: Option<String>,
    questions: Option<Questions>,
    #[serde(default)]
    incomplete: Vec<String>,
    expired_before: Option<u64>,
}

/// Asks a daemon, page by page; how the name was asked for, and whether there are more rows than were asked for.
fn ask(
    client: &Client,
    text: &str,
    args: &Args,
    lacks: &mut Lacks,
    visit: &mut dyn FnMut(Row) -> io::Result<()>,
) -> anyhow::Result<(Option<Questions>, bool)> {
    let mut questions = None;
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut cursor: Option<String> = None;
    let mut empty = 0;
    loop {
        let limit = left.min(PAGE).to_string();
        let mut params = args.filters.pairs();
        params.extend([("q", text), ("pointing", "true"), ("format", "ndjson"), ("limit", limit.as_str())]);
        let is_first = cursor.is_none();
        params.extend(is_first.then_some(("questions", "true")));
        params.extend(args.ledger.partial());
        let sort = args.sort.map(Sort::text);
        params.extend(sort.as_deref().map(|sort| ("sort", sort)));
        params.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let mut answer = BufReader::new(client.get("/api/v1/records", &params)?);
        let (mut end, before) = (None, left);
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
        empty = if left == before { empty + 1 } else { 0 };
        questions = questions.or(end.questions);
        lacks.add(end.incomplete, end.expired_before);
        match end.next {
            Some(next) if cursor.as_ref() == Some(&next) => {
                bail!("the server gives the same page again and again")
            }
            Some(_) if empty > MOST_EMPTY => bail!("the server gives pages without rows and without an end"),
            Some(next) if left > 0 => cursor = Some(next),
            next => return Ok((questions, next.is_some() || args.sort.is_some() && end.truncated)),
        }
    }
}

/// The next line of an answer, which has a bound: who sends it may be anybody. `None` at the end.
pub fn next_line(answer: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
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
    /// How its name was asked for, with its last line.
    questions: Option<Questions>,
    /// Why there is none: what reads the whole ledger is not asked with others.
    error: Option<IgnoredAny>,
    /// What the answer lacks, in the sum.
    #[serde(default)]
    incomplete: Vec<String>,
    expired_before: Option<u64>,
}

/// Asks a daemon many queries at once. Rows come in the order of the queries, with the place of theirs.
fn ask_together(
    client: &Client,
    items: &[Item],
    args: &Args,
    came: &mut [Came],
    lacks: &mut Lacks,
    visit: &mut dyn FnMut(&mut Came, &Item, Row) -> io::Result<()>,
) -> anyhow::Result<()> {
    let rows = args.limit.map_or(TOGETHER_ROWS, |limit| limit.min(TOGETHER_ROWS));
    let limit = args.limit.filter(|_| args.list.summary).unwrap_or(rows).to_string();
    let mut params = args.filters.pairs();
    params.push(("pointing", "true"));
    // What a summary counts has no bound but the one that was typed.
    if !args.list.summary || args.limit.is_some() {
        params.push(("limit", limit.as_str()));
    }
    params.extend(args.list.summary.then_some(("summary", "true")));
    params.extend(args.ledger.partial());
    let sort = args.sort.map(Sort::text);
    params.extend(sort.as_deref().map(|sort| ("sort", sort)));
    let mut body = Vec::new();
    for item in items {
        serde_json::to_writer(&mut body, &item.indicator.asked).context("writing the queries")?;
        body.push(b'\n');
    }
    // Of each query its rows, and whether these are all.
    let mut answers: Vec<(Vec<Row>, Option<bool>)> = items.iter().map(|_| Default::default()).collect();
    let mut is_whole = false;
    let answer = client.at_length().post("/api/v1/lookup", &params, Some(Box::new(io::Cursor::new(body))))?;
    let mut answer = BufReader::new(answer);
    while let Some(line) = next_line(&mut answer).context("reading the answer")? {
        let BulkLine { line: number, ended, questions, error, incomplete, expired_before } =
            serde_json::from_slice(&line).context("reading the answer")?;
        let Some(number) = number else {
            is_whole = true;
            lacks.add(incomplete, expired_before);
            continue;
        };
        let at = number.checked_sub(1);
        let answer = at.and_then(|at| answers.get_mut(at)).context("the answer is to another query")?;
        let came = at.and_then(|at| came.get_mut(at)).context("the answer is to another query")?;
        if ended.is_some() {
            came.questions = questions;
        }
        match (ended.as_deref(), error) {
            (Some(ended), _) if args.list.summary => {
                let line: SummaryLine = serde_json::from_slice(&line).context("reading the answer")?;
                let names = (line.names, line.more_names);
                came.summary = Summary::of(line.rows, names, line.time_first, line.time_last);
                came.ended = Some(ended.to_owned());
                answer.1 = Some(true);
            }
            (Some("complete"), _) => answer.1 = Some(true),
            (Some("limit"), _) => {
                answer.1 = Some(args.limit == Some(rows));
                came.is_cut = true;
            }
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
    for ((item, came), (rows, all)) in items.iter().zip(came).zip(answers) {
        match all.context("the answer broke off")? {
            true => rows.into_iter().try_for_each(|row| visit(came, item, row))?,
            false => {
                let (questions, is_cut) =
                    ask(client, &item.indicator.asked, args, lacks, &mut |row| visit(came, item, row))?;
                came.is_cut = is_cut;
                came.questions = came.questions.take().or(questions);
            }
        }
    }
    Ok(())
}

/// Rows on their way to standard output.
struct Output {
    /// Whether each says which line and which query it is for.
    is_marked: bool,
    to: To,
}

enum To {
    Table(TextTable<BufWriter<io::Stdout>>),
    Json(BufWriter<io::Stdout>),
    Csv(BufWriter<io::Stdout>),
}

impl Output {
    fn new(args: &Args, is_marked: bool, is_during: bool) -> io::Result<Output> {
        let Args { format, local, wide, .. } = *args;
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let mut out = BufWriter::new(stdout);
        let to = match format {
            Format::Table => {
                let size = || terminal_size::terminal_size().map_or(80, |(w, _)| usize::from(w.0));
                let width = (terminal && !wide).then(size);
                let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
                let colour =
                    terminal && !is_dumb && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
                let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(std::env::var_os);
                let locale = locale.filter(|value| !value.is_empty());
                let locale = locale.map(|value| value.to_string_lossy().to_ascii_uppercase());
                let draws = locale.take(1).any(|value| value.contains("UTF-8") || value.contains("UTF8"));
                let table = TextTable::new(out, width, colour).with_days(draws && !is_dumb);
                To::Table(if local { table.in_zone(TimeZone::system()) } else { table })
            }
            Format::Json => To::Json(out),
            Format::Csv => {
                if is_marked {
                    out.write_all(b"line,query,asked,")?;
                }
                out.write_all(csv_header(is_during).as_bytes())?;
                To::Csv(out)
            }
        };
        Ok(Output { is_marked, to })
    }

    fn push(&mut self, item: &Item, row: Row) -> io::Result<()> {
        let mark = self.is_marked.then(|| QueryLabel {
            line: item.line,
            query: item.given.clone(),
            asked: item.indicator.asked.clone(),
        });
        let mut line = Vec::new();
        match &mut self.to {
            To::Table(table) => table.push_marked(mark, row),
            To::Json(out) => {
                match mark {
                    Some(mark) => mark.push_json(&row, &mut line),
                    None => row.push_json(&mut line),
                }
                out.write_all(&line)
            }
            To::Csv(out) => {
                if let Some(mark) = mark {
                    mark.push_csv(&mut line);
                }
                row.push_csv(&mut line);
                out.write_all(&line)
            }
        }
    }

    fn finish(self) -> io::Result<()> {
        let cut = match self.to {
            To::Table(table) => table.finish()?,
            To::Json(mut out) | To::Csv(mut out) => return out.flush(),
        };
        match cut {
            0 => Ok(()),
            1 => writeln!(io::stderr(), "Of the data of 1 row the middle is left out: --wide shows it."),
            rows => {
                writeln!(io::stderr(), "Of the data of {rows} rows the middle is left out: --wide shows it.")
            }
        }
    }
}
