//! `token`: make, list and revoke the tokens of the HTTP API.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Exit, Misuse};
use crate::base::clock::now;
use crate::base::time::format_rfc3339;
use crate::daemon::config::Config;
use crate::http::token::{Scope, TokenError, Tokens, make};

/// What `token` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// The tokens file [default: http.tokens_file of the configuration]
    #[arg(long, value_name = "FILE", global = true)]
    file: Option<PathBuf>,
    /// The configuration file [default: /etc/dnsledger/dnsledger.toml, if there is one]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a token, which is shown this once
    New {
        /// Whom it is for: letters, digits, dots, dashes and underscores
        name: String,
        /// What it is good for: read, watch to acknowledge hits too, evidence to see lines of logs too (and so who asked), or admin to change the ledger too
        #[arg(long, default_value_t = Scope::Read)]
        scope: Scope,
    },
    /// List the names and scopes of the tokens there are
    List,
    /// Take a token away
    Revoke {
        /// Whom it was for
        name: String,
    },
}

/// Makes, lists or revokes tokens.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let path = match args.file {
        Some(file) => file,
        None => {
            match &args.config {
                Some(path) => Config::load(path)?,
                None => Config::load_default()?,
            }
            .http
            .tokens_file
        }
    };
    if path.as_os_str().is_empty() {
        let message = "the configuration names no tokens file".to_owned();
        return Err(Misuse { message, hint: "set http.tokens_file, or give one by --file FILE" }.into());
    }
    match args.action {
        Action::New { name, scope } => new(&path, &name, scope),
        Action::List => list(&path),
        Action::Revoke { name } => revoke(&path, &name),
    }
}

fn new(path: &Path, name: &str, scope: Scope) -> anyhow::Result<Exit> {
    let (text, tokens) = match Tokens::load(path) {
        Ok(tokens) => {
            (fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?, tokens)
        }
        Err(TokenError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            Default::default()
        }
        Err(error) => return Err(error.into()),
    };
    if tokens.iter().any(|token| *token.name == *name) {
        let message = format!("there is a token {name} already");
        return Err(
            Misuse { message, hint: "take another name, or `dnsledger token revoke NAME` first" }.into()
        );
    }
    let now = now();
    let (token, line) = make(name, scope, &format_rfc3339(now))?;
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    replace(path, &format!("{text}{gap}{line}")).with_context(|| format!("writing {}", path.display()))?;
    writeln!(io::stdout(), "{token}")?;
    say(&format!("Added {name} ({scope}) to {}. The token is not shown again.", path.display()));
    say("A running daemon takes it after SIGHUP: systemctl reload dnsledger");
    Ok(Exit::Done)
}

fn list(path: &Path) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    for token in Tokens::load(path)?.iter() {
        writeln!(out, "{}  {}  {}", token.name, token.scope, crate::output::sanitise(&token.created))?;
    }
    Ok(Exit::Done)
}

fn revoke(path: &Path, name: &str) -> anyhow::Result<Exit> {
    if !Tokens::load(path)?.iter().any(|token| *token.name == *name) {
        say(&format!("There is no token {name}."));
        return Ok(Exit::Nothing);
    }
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let is_of_another = |line: &&str| line.split_ascii_whitespace().next() != Some(name);
    let mut rest = String::new();
    for line in text.lines().filter(is_of_another) {
        rest.push_str(line);
        rest.push('\n');
    }
    replace(path, &rest).with_context(|| format!("writing {}", path.display()))?;
    say(&format!("Took {name} out of {}.", path.display()));
    say("A running daemon lets it in until SIGHUP: systemctl reload dnsledger");
    Ok(Exit::Done)
}

/// For people: standard output holds the token alone.
fn say(text: &str) {
    // When nobody listens there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Replaces a file whole. A new one belongs to the group of its folder, which may read it: the daemon is no root.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut unnamed = path.as_os_str().to_owned();
    unnamed.push(".new");
    let unnamed = PathBuf::from(unnamed);
    match fs::remove_file(&unnamed) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600)
        .open(&unnamed)?;
    match fs::metadata(path) {
        Ok(old) => {
            let own = file.metadata()?;
            if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
                chown(&unnamed, Some(old.uid()), Some(old.gid()))?;
            }
            fs::set_permissions(&unnamed, Permissions::from_mode(old.mode() & 0o777))?;
        }
        Err(_) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let group = fs::metadata(folder.unwrap_or(Path::new("."))).map(|folder| folder.gid())?;
            // Without the right to give it away it stays with its owner alone.
            if chown(&unnamed, None, Some(group)).is_ok() {
                fs::set_permissions(&unnamed, Permissions::from_mode(0o640))?;
            }
        }
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unnamed, path)
}
