//! `evidence`: the log lines behind an answer, and who asked.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Serialize;

use super::access::{Access, LedgerArgs, only_of_a_ledger, tell_at_rest};
use super::columns::ColumnWriter;
use super::filters::parse_pairs;
use super::lookup::check_sensor;
use super::progress::Progress;
use super::{Exit, Misuse};
use crate::base::time::spaced_utc;
use crate::evidence::{Answer, Ask, Beginnings, Ended, Evidence, LogFilters, LogLine, Raw, Visit};
use crate::http::EvidenceLine;
use crate::http::client::Client;
use crate::lookup::{Indicator, Search};
use crate::output::{PrintableAscii, sanitise, sanitise_json};

/// Bytes of a line of an answer at most: one of a log, with each byte of it escaped, and what is said of it.
const MAX_LINE_BYTES: u64 = 64 << 20;
/// Clients that are told apart.
const MOST_CLIENTS: usize = 1_000_000;

/// What `evidence` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = FORMS)]
pub struct Args {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Only these record types: A, AAAA,CNAME, TYPE65280
    #[arg(short, long = "type", value_name = "TYPE")]
    types: Option<String>,
    /// Only rows with this data, as `lookup` shows it: with a name and a type it is one row
    #[arg(long, value_name = "DATA")]
    rdata: Option<String>,
    /// Only logs of this sensor
    #[arg(short, long, value_name = "NAME")]
    sensor: Option<String>,
    /// Only what was seen at the name itself, not through a chain of CNAMEs
    #[arg(long)]
    direct: bool,
    /// Only lines of this time: a year 2026, a month 2026-03, a day 2026-03-24, an hour 2026-03-24T17, today, yesterday, the last
    /// days 7d, or from one time to another A..B
    #[arg(long, value_name = "TIME")]
    during: Option<String>,
    /// At most so many lines
    #[arg(short = 'n', long, value_name = "LINES", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The oldest line; with --limit so many, the oldest first
    #[arg(long, conflicts_with = "last")]
    first: bool,
    /// The newest line; with --limit so many
    #[arg(long)]
    last: bool,
    /// How lines are written; json is an object a line, raw is as Zeek wrote them with the header before them, for zeek-cut
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Sum up who asked: each client, its lines, the first and the last of them
    #[arg(long)]
    clients: bool,
    /// Look for logs that have moved in this folder too; may be repeated. Only where no daemon has the ledger
    #[arg(long, value_name = "PATH")]
    logs: Vec<PathBuf>,
    /// What was asked or answered: the queries of `lookup`
    #[arg(value_name = "QUERY")]
    query: String,
}

const FORMS: &str = "The lines come from the logs, which are read once more: nothing of them is in the ledger. Where logs are gone or were changed, \
what is missing is said on standard error, and the exit code is 1.

  dnsledger evidence www.example.com                      lines behind its rows and its questions, the newest first
  dnsledger evidence '*.example.com' --during 2026-03-24  of one day
  dnsledger evidence 192.0.2.7 --clients                  who was told this address
  dnsledger evidence www.example.com -t A --rdata 192.0.2.7 --last
  dnsledger evidence www.example.com -f raw | zeek-cut -d ts id.orig_h";

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Raw,
    Tsv,
}

impl Args {
    /// The filters that were typed, by the names that the API has for them.
    fn pairs(&self) -> Vec<(&'static str, &str)> {
        let values = [
            ("type", self.types.as_deref()),
            ("sensor", self.sensor.as_deref()),
            ("direct", self.direct.then_some("true")),
            ("during", self.during.as_deref()),
        ];
        values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    fn limit(&self) -> Option<u64> {
        self.limit.or((self.first || self.last).then_some(1))
    }
}

/// Finds the lines, and says whether these are all.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    if args.clients && args.format == Format::Raw {
        let message = "who asked is not a line of a log".to_owned();
        return Err(Misuse { message, hint: "--clients with -f table, json or tsv" }.into());
    }
    let indicator = Indicator::read(&args.query)?;
    let filters = parse_pairs(&args.pairs())?;
    if indicator.is_changed {
        writeln!(io::stderr(), "Asked for {}.", sanitise(&indicator.asked))?;
    }
    let access = Access::open(&args.ledger)?;
    let progress = Progress::new();
    let mut taking = Taking::new(&args, &progress)?;
    let answer = match &access {
        Access::Folder(ledger, config) => {
            if args.logs.is_empty() {
                only_of_a_ledger(&**ledger, "lines of logs")?;
            }
            check_sensor(&**ledger, &filters)?;
            let search =
                Search { filters, pointing: true, ..Search::new(indicator.query.clone()) }.in_all_forms();
            let ask = Ask {
                search,
                rdata: args.rdata.clone(),
                oldest_first: args.first,
                limit: args.limit(),
                raw: args.format == Format::Raw,
                until: None,
            };
            let data = config.data_dir.clone();
            let (config, beginnings) = (config.ingest(), Beginnings::default());
            let filters = LogFilters::of(&data, &config.observe);
            let evidence = Evidence {
                ledger: &**ledger,
                config: &config,
                also: &args.logs,
                filters: &filters,
                beginnings: &beginnings,
            };
            evidence.find(&ask, &|| Ok(()), &mut taking)?
        }
        Access::Socket(_) | Access::Server(_) if !args.logs.is_empty() => {
            let message =
                "--logs is for a ledger that no daemon has: that one looks in its sources".to_owned();
            return Err(Misuse { message, hint: "leave --logs out, or stop the daemon" }.into());
        }
        Access::Socket(client) => ask(client, false, &indicator.asked, &args, &mut taking)?,
        Access::Server(client) => ask(client, true, &indicator.asked, &args, &mut taking)?,
    };
    progress.finish();
    taking.failed()?;
    let lines = answer.lines;
    let is_cut = answer.ended == Ended::Limit && args.limit().is_none();
    // A program counts what it asked for, and one line is what `--first` and `--last` are for.
    let is_first = answer.ended == Ended::Limit
        && args.limit.is_some()
        && (args.clients || args.format == Format::Table);
    let (whole, sentences) = (answer.complete, answer.sentences());
    taking.finish(answer)?;
    if lines == 0 {
        let is_filtered = args.rdata.is_some() || !args.pairs().is_empty();
        let within = if is_filtered { " within these filters" } else { "" };
        writeln!(io::stderr(), "No line found for {}{within}.", sanitise(&indicator.asked))?;
    }
    for sentence in sentences {
        writeln!(io::stderr(), "{}", sanitise(&sentence))?;
    }
    tell_at_rest(&args.ledger, &access, lines > 0)?;
    if is_first {
        let order = if args.first { "oldest" } else { "newest" };
        let what = match (args.clients, lines) {
            (true, _) => format!("Summed up are the {order} {lines} lines"),
            (false, 1) => format!("This is the {order} line"),
            (false, _) => format!("These are the {order} {lines} lines"),
        };
        writeln!(io::stderr(), "{what}; there may be more.")?;
    }
    if is_cut {
        writeln!(
            io::stderr(),
            "The server hands out {lines} lines at once; there may be more: ask for a time by --during."
        )?;
    }
    Ok(if lines == 0 || !whole || is_cut { Exit::Nothing } else { Exit::Done })
}

/// Asks a daemon.
fn ask(
    client: &Client,
    is_server: bool,
    asked: &str,
    args: &Args,
    taking: &mut Taking<'_>,
) -> anyhow::Result<Answer> {
    let mut params = args.pairs();
    // A server has a limit of its own, and says when that is reached.
    let limit = args.limit().or(is_server.then_some(u64::MAX)).map(|limit| limit.to_string());
    params.push(("q", asked));
    params.push(("progress", "true"));
    params.extend(args.rdata.as_deref().map(|rdata| ("rdata", rdata)));
    params.extend(limit.as_deref().map(|limit| ("limit", limit)));
    params.extend(args.first.then_some(("order", "oldest")));
    params.extend((args.format == Format::Raw).then_some(("raw", "true")));
    let path = if is_server { "/api/v1/evidence" } else { "/control/evidence" };
    let mut answer = BufReader::new(client.at_length().get(path, &params)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = answer.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        match read.context("reading the answer")? as u64 {
            0 => bail!("the answer broke off"),
            MAX_LINE_BYTES => bail!("a line of the answer is too long"),
            _ => {}
        }
        match serde_json::from_slice(&line).context("reading the answer")? {
            EvidenceLine::Progress(done, of) => _ = taking.progress(done, of),
            EvidenceLine::Line(line) => {
                if !taking.line(*line) {
                    taking.failed()?;
                }
            }
            EvidenceLine::End(answer) => return Ok(*answer),
            EvidenceLine::Failed(why) => bail!("{}", sanitise(&why)),
        }
    }
}

//--- output ---------------------------------------------------------------------------------------------------------

/// A client and what it asked.
#[derive(Debug, Clone, Serialize)]
struct Asker {
    client: String,
    lines: u64,
    time_first: String,
    time_last: String,
}

/// Lines on their way to standard output.
struct Taking<'a> {
    format: Format,
    progress: &'a Progress,
    out: Box<dyn Write>,
    table: ColumnWriter,
    head: bool,
    clients: Option<HashMap<String, Asker>>,
    /// Lines of clients beyond those that are told apart.
    others: u64,
    failed: Option<io::Error>,
}

const COLUMNS: [&str; 9] =
    ["TIME (UTC)", "CLIENT", "SERVER", "UID", "QUERY", "TYPE", "RCODE", "ANSWERS", "LOG"];
const TSV_COLUMNS: [&str; 14] = [
    "time",
    "client",
    "client_port",
    "server",
    "server_port",
    "uid",
    "query",
    "qtype",
    "rcode",
    "answers",
    "sensor",
    "log",
    "line",
    "ts",
];
const CLIENT_COLUMNS: [&str; 4] = ["CLIENT", "LINES", "FIRST (UTC)", "LAST (UTC)"];

impl<'a> Taking<'a> {
    fn new(args: &Args, progress: &'a Progress) -> anyhow::Result<Taking<'a>> {
        let stdout = io::stdout();
        // A terminal would do what a log says.
        let out: Box<dyn Write> = match args.format == Format::Raw && stdout.is_terminal() {
            true => Box::new(BufWriter::new(PrintableAscii(stdout))),
            false => Box::new(BufWriter::new(stdout)),
        };
        Ok(Taking {
            format: args.format,
            progress,
            out,
            table: ColumnWriter::new(if args.clients { &CLIENT_COLUMNS } else { &COLUMNS }),
            head: true,
            clients: args.clients.then(HashMap::new),
            others: 0,
            failed: None,
        })
    }

    /// Why nothing more can be written, if that is so.
    fn failed(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn write(&mut self, line: LogLine) -> io::Result<()> {
        if let Some(clients) = &mut self.clients {
            let name =
                line.client.as_deref().map_or_else(|| "-".to_owned(), |client| sanitise(client).into_owned());
            if clients.len() >= MOST_CLIENTS && !clients.contains_key(&name) {
                self.others += 1;
                return Ok(());
            }
            let time = line.time;
            let client = clients.entry(name).or_insert_with_key(|name| Asker {
                client: name.clone(),
                lines: 0,
                time_first: time.clone(),
                time_last: time.clone(),
            });
            client.lines += 1;
            // Text of one length: it is in the order of the times.
            if time < client.time_first {
                client.time_first.clone_from(&time);
            }
            if time > client.time_last {
                client.time_last = time;
            }
            return Ok(());
        }
        match self.format {
            Format::Json => {
                let text = serde_json::to_string(&line)?;
                writeln!(self.out, "{}", sanitise_json(&text))
            }
            Format::Raw => {
                if let Some(Raw(header)) = &line.header {
                    self.out.write_all(header)?;
                }
                if let Some(Raw(raw)) = &line.raw {
                    self.out.write_all(raw)?;
                    self.out.write_all(b"\n")?;
                }
                Ok(())
            }
            Format::Tsv => {
                if std::mem::take(&mut self.head) {
                    writeln!(self.out, "{}", TSV_COLUMNS.join("\t"))?;
                }
                let number =
                    |number: Option<u16>| number.map(|number| number.to_string()).unwrap_or_default();
                let cells = [
                    line.time,
                    line.client.unwrap_or_default(),
                    number(line.client_port),
                    line.server.unwrap_or_default(),
                    number(line.server_port),
                    line.uid.unwrap_or_default(),
                    line.query.unwrap_or_default(),
                    line.qtype.unwrap_or_default(),
                    line.rcode.unwrap_or_default(),
                    line.answers.join(","),
                    line.sensor,
                    line.log,
                    line.line.to_string(),
                    line.ts.to_string(),
                ];
                let cells = cells.map(|cell| sanitise(&cell).into_owned());
                writeln!(self.out, "{}", cells.join("\t"))
            }
            Format::Table => {
                let with_port = |address: Option<String>, port: Option<u16>| match (address, port) {
                    (Some(address), Some(port)) if address.contains(':') => format!("[{address}]:{port}"),
                    (Some(address), Some(port)) => format!("{address}:{port}"),
                    (address, _) => address.unwrap_or_else(|| "-".to_owned()),
                };
                let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let answers = if line.answers.is_empty() { "-".to_owned() } else { line.answers.join(",") };
                let cells = vec![
                    spaced_utc(&line.time),
                    with_port(line.client, line.client_port),
                    with_port(line.server, line.server_port),
                    or_none(line.uid),
                    or_none(line.query),
                    or_none(line.qtype),
                    or_none(line.rcode),
                    answers,
                    format!("{}:{}", line.log, line.line),
                ];
                self.table.push(cells, &mut self.out)
            }
        }
    }

    fn finish(mut self, answer: Answer) -> io::Result<()> {
        if let Some(clients) = self.clients.take() {
            let mut clients: Vec<Asker> = clients.into_values().collect();
            clients.sort_by(|a, b| (b.lines, &a.client).cmp(&(a.lines, &b.client)));
            if self.format == Format::Tsv && !clients.is_empty() {
                writeln!(self.out, "client\tlines\ttime_first\ttime_last")?;
            }
            for client in clients {
                match self.format {
                    Format::Json => {
                        writeln!(self.out, "{}", sanitise_json(&serde_json::to_string(&client)?))?;
                    }
                    Format::Tsv => {
                        let Asker { client, lines, time_first, time_last } = client;
                        writeln!(self.out, "{client}\t{lines}\t{time_first}\t{time_last}")?;
                    }
                    _ => {
                        let Asker { client, lines, time_first, time_last } = client;
                        let seconds = |time: String| time.get(..19).unwrap_or(&time).replacen('T', " ", 1);
                        let cells = vec![client, lines.to_string(), seconds(time_first), seconds(time_last)];
                        self.table.push(cells, &mut self.out)?;
                    }
                }
            }
            self.table.settle(&mut self.out)?;
            if self.others > 0 {
                writeln!(
                    io::stderr(),
                    "{} lines are of clients beyond the first {MOST_CLIENTS}.",
                    self.others
                )?;
            }
        }
        self.table.settle(&mut self.out)?;
        if self.format == Format::Json {
            let text = serde_json::to_string(&EvidenceLine::End(Box::new(answer)))?;
            writeln!(self.out, "{}", sanitise_json(&text))?;
        }
        self.out.flush()
    }
}

impl Visit for Taking<'_> {
    fn line(&mut self, line: LogLine) -> bool {
        let written = self.write(line);
        self.failed = written.err();
        self.failed.is_none()
    }

    fn progress(&mut self, logs: u64, of: u64) -> bool {
        self.progress.show_count(logs, of, "logs");
        true
    }
}
