//! The command line: what is typed, what comes of it, and how it ends.
//!
//! Each command has a file. What is typed is checked before anything is opened. Commands about the ledger ask the daemon
//! that has it, over the control socket in the data folder, and open the folder themselves when there is none
//! ([`access`]).
//!
//! | exit code | means |
//! |---|---|
//! | 0 | found, or done |
//! | 1 | nothing found: neither seen nor asked for; of `evidence` also that it is not all there was |
//! | 2 | it failed |
//! | 3 | some lines of a list were no query; the others are answered |
//! | 4 | there is no indicator in the list, so nothing was asked |
//! | 64 | wrong usage or configuration |
//!
//! A pipe that the reader closed is success: `dnsledger export | head` has what it wanted.

mod access;
mod allocator;
mod apply_feeds;
mod client;
mod columns;
mod config;
mod deliver;
mod doctor;
mod evidence;
mod expire;
mod export;
mod feeds;
mod filters;
mod fleet;
mod forward;
mod hits;
mod hunt;
mod import;
mod list;
mod lookup;
mod manual;
mod new;
mod progress;
mod pull;
mod run;
mod serve;
mod snapshot;
mod status;
mod token;
mod verify;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{CommandFactory, Parser, Subcommand};

use crate::daemon::PortError;
use crate::daemon::config::{ConfigError, ConfigFault};
use crate::deliver::DeliverError;
use crate::fleet::{BadAddress, FleetError};
use crate::http::client::ClientError;
use crate::http::tls::TlsError;
use crate::http::token::TokenError;
use crate::indicators::ReadError;
use crate::ingest::IngestError;
use crate::lookup::QueryError;
use crate::output::sanitise;
use crate::pull::PullError;
use crate::store::StoreError;
use crate::watch::WatchError;

/// The version, the commit, and the version of the format on disk.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = env!("DNSLEDGER_BUILT_FROM");
    format!("{} (commit {commit}, format {})", env!("CARGO_PKG_VERSION"), crate::store::FORMAT)
});

/// A passive-DNS appliance: follows Zeek's dns.log and answers what a name resolved to, and when.
#[derive(Debug, Parser)]
#[command(name = "dnsledger", version = VERSION.as_str(), max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow logs and serve lookups, in the foreground
    Run(run::Args),
    /// Read logs once: files, folders, globs, or standard input
    Import(import::Args),
    /// Ask the ledger
    Lookup(lookup::Args),
    /// Look for all indicators of a report, a list or a feed at once
    Hunt(hunt::Args),
    /// Show what was first seen of late: domains, names, addresses
    New(new::Args),
    /// Read, list and remove what is watched for: indicators of feeds
    Indicators(feeds::Args),
    /// Show the feeds: how old each is, how many indicators it has, what was not taken
    Feeds(feeds::FeedsArgs),
    /// Show hits: what feeds say is bad and was met
    Hits(hits::Args),
    /// Show the log lines behind an answer, and who asked
    Evidence(evidence::Args),
    /// Show how far each log was read, and how its lines ended
    Status(status::Args),
    /// Write the ledger, a line for each row
    Export(export::Args),
    /// Read the whole ledger and say whether it is sound: exit code 0, or 2 when it is damaged
    Verify(verify::Args),
    /// Drop what was not seen for long, or as much as is too large for the disk
    Expire(expire::Args),
    /// Copy the whole ledger as it is at one moment: the backup
    Snapshot(snapshot::Args),
    /// Deliver hits to webhooks, syslog and other outlets, in the foreground
    Deliver(deliver::Args),
    /// Ship what changes in the ledger into a cluster of ClickHouse, in the foreground
    Forward(forward::Args),
    /// Serve what a cluster of ClickHouse has, in the foreground
    Serve(serve::Args),
    /// Make the tables of a cluster, and see who ships into it
    Fleet(fleet::Args),
    /// Show the effective configuration, or check a file
    Config(config::Args),
    /// Make, list and revoke tokens of the HTTP API
    Token(token::Args),
    /// Find what would keep the daemon from working, and what to do
    Doctor(doctor::Args),
    /// Print completions for a shell
    Completions(manual::CompletionsArgs),
    /// Print the manual page
    Man(manual::ManArgs),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Found, or done.
    Done = 0,
    /// Nothing found.
    Nothing = 1,
    /// It failed.
    Failed = 2,
    /// Some lines of a list were no query.
    Partly = 3,
    /// There is no indicator in the list.
    Empty = 4,
    /// Wrong usage or configuration.
    Usage = 64,
}

/// What was typed cannot be done as it was typed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Misuse {
    message: String,
    hint: &'static str,
}

/// Runs the program with these arguments, its own name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let exit = match Cli::try_parse_from(arguments) {
        Ok(cli) => {
            let only_looks = matches!(cli.command, Command::Doctor(_));
            let exit = dispatch(cli.command).unwrap_or_else(|error| report(&error));
            match if only_looks { Ok(()) } else { access::give_back() } {
                Ok(()) => exit,
                Err(error) => report(&error),
            }
        }
        Err(error) => {
            // Standard output or error may be closed; the exit code tells all the same.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Done }
        }
    };
    ExitCode::from(exit as u8)
}

fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Import(args) => import::run(args),
        Command::Lookup(args) => lookup::run(args),
        Command::Hunt(args) => hunt::run(args),
        Command::New(args) => new::run(args),
        Command::Indicators(args) => feeds::run(args),
        Command::Feeds(args) => feeds::feeds(&args),
        Command::Hits(args) => hits::run(args),
        Command::Evidence(args) => evidence::run(args),
        Command::Status(args) => status::run(args),
        Command::Export(args) => export::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Expire(args) => expire::run(args),
        Command::Snapshot(args) => snapshot::run(args),
        Command::Deliver(args) => deliver::run(args),
        Command::Forward(args) => forward::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Fleet(args) => fleet::run(args),
        Command::Config(args) => config::run(args),
        Command::Token(args) => token::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Completions(args) => manual::completions(Cli::command(), &args),
        Command::Man(args) => manual::man(Cli::command(), &args),
    }
}

/// Says what went wrong in one line, and what to do about it in another.
fn report(error: &anyhow::Error) -> Exit {
    let mut exit = Exit::Failed;
    let mut hint = None;
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            if error.kind() == io::ErrorKind::BrokenPipe {
                return Exit::Done;
            }
        } else if let Some(error) = cause.downcast_ref::<QueryError>() {
            (exit, hint) = (Exit::Usage, Some(error.hint));
        } else if let Some(error) = cause.downcast_ref::<Misuse>() {
            (exit, hint) = (Exit::Usage, Some(error.hint));
        } else if let Some(error) = cause.downcast_ref::<ConfigError>() {
            (exit, hint) = (Exit::Usage, error.hint());
        } else if let Some(error) = cause.downcast_ref::<ConfigFault>() {
            (exit, hint) = (Exit::Usage, error.hint.as_deref());
        } else if let Some(error) = cause.downcast_ref::<ClientError>() {
            exit = if error.is_misuse() { Exit::Usage } else { Exit::Failed };
            hint = error.hint();
        } else if let Some(error) = cause.downcast_ref::<expire::Refused>() {
            hint = error.hint.as_deref();
        } else if let Some(error) = cause.downcast_ref::<verify::Unrepaired>() {
            hint = Some(error.hint());
        } else if let Some(error) = cause.downcast_ref::<PortError>() {
            hint = error.hint();
        } else if let Some(error) = cause.downcast_ref::<TokenError>() {
            (exit, hint) = (Exit::Usage, error.hint());
        } else if let Some(error) = cause.downcast_ref::<TlsError>() {
            (exit, hint) = (Exit::Usage, Some(error.hint()));
        } else if let Some(error) = cause.downcast_ref::<IngestError>() {
            hint = error.hint();
        } else if let Some(error) = cause.downcast_ref::<PullError>() {
            hint = Some(error.hint());
        } else if let Some(error) = cause.downcast_ref::<WatchError>() {
            hint = Some(error.hint());
        } else if let Some(error) = cause.downcast_ref::<BadAddress>() {
            (exit, hint) = (Exit::Usage, Some(error.hint()));
        } else if let Some(error) = cause.downcast_ref::<FleetError>() {
            hint = error.hint();
        } else if let Some(error) = cause.downcast_ref::<DeliverError>() {
            hint = error.hint();
        } else if let Some(error) = cause.downcast_ref::<ReadError>() {
            hint = Some(error.hint());
        } else if let Some(error) = cause.downcast_ref::<StoreError>() {
            hint = store_hint(error);
        } else {
            continue;
        }
        break;
    }
    let message = format!("{error:#}");
    let mut stderr = io::stderr().lock();
    // When nobody listens there is nobody to tell.
    let _ = writeln!(stderr, "dnsledger: {}", sanitise(&message));
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "try: {}", sanitise(hint));
    }
    exit
}

/// What can be done when the ledger cannot be opened, also by who typed the command.
fn store_hint(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
            Some("give another folder by --data DIR, or run it as the user that owns this one")
        }
        error => error.hint(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// The words of a command in a page, up to where a shell or a remark goes on; quotes keep them together.
    fn words(line: &str) -> Vec<String> {
        let end = [" | ", " && ", " < ", " > ", "   ", "  #"].iter().filter_map(|end| line.find(end)).min();
        let (mut words, mut quote) = (vec![String::new()], None);
        for c in line[..end.unwrap_or(line.len())].trim_end().chars() {
            match c {
                '"' | '\'' if quote.is_none() => quote = Some(c),
                c if quote == Some(c) => quote = None,
                ' ' if quote.is_none() => words.push(String::new()),
                c => words.last_mut().unwrap().push(c),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn each_command_that_a_page_shows_is_one() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
        let mut seen = 0;
        for page in docs
            .filter(|path| path.extension().is_some_and(|end| end == "md"))
            .chain([root.join("README.md")])
        {
            let text = std::fs::read_to_string(&page).unwrap();
            let inline = text.split('`').skip(1).step_by(2).filter(|code| !code.contains('\n'));
            let blocks = text.lines().filter_map(|line| line.strip_prefix("    "));
            for line in
                inline.chain(blocks).filter(|line| line.starts_with("dnsledger ") && !line.contains('…'))
            {
                use clap::error::ErrorKind::{ArgumentConflict, InvalidSubcommand, UnknownArgument};
                seen += 1;
                // That a value is only named (`--max-disk SIZE`), and that one is left out, is how pages speak.
                let fault = Cli::try_parse_from(words(line)).err().map(|error| error.kind());
                let is_none = matches!(fault, Some(UnknownArgument | InvalidSubcommand | ArgumentConflict));
                assert!(!is_none, "{}: {line}: {fault:?}", page.display());
            }
        }
        assert!(seen > 40, "{seen}");
    }

    #[test]
    fn every_flag_and_command_says_what_it_does() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
