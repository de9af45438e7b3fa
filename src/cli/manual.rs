//! `completions` and `man`: what a package puts where the shell and `man` look, made of the command line itself.

mod pages;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use super::Exit;

/// What `completions` is told.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// What `man` is told.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write a page for each command into this folder, instead of the first one to standard output
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Prints completions for a shell.
pub fn completions(mut command: Command, args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "dnsledger", &mut text);
    io::stdout().write_all(&text)?;
    Ok(Exit::Done)
}

/// Prints the manual page, or writes all of them.
pub fn man(mut command: Command, args: &ManArgs) -> anyhow::Result<Exit> {
    command.build();
    match &args.output {
        None => io::stdout().write_all(&page(&command)?)?,
        Some(folder) => {
            write_pages(&command, folder)?;
            for (name, text) in pages::pages() {
                let path = folder.join(name);
                fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text)?;
    Ok(text)
}

/// A page for a command and each one below it: `dnsledger-token-new.1`.
fn write_pages(command: &Command, folder: &Path) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, page(command)?).with_context(|| format!("writing {}", path.display()))?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
    {
        write_pages(below, folder)?;
    }
    Ok(())
}
