//! `deltamax completions` and `deltamax man`: what a shell and `man` are told of the commands.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::error::Error;
use crate::output::Folder;
use crate::results::write_atomically;
use crate::terminal;

/// Write what a shell needs to complete commands and flags, to standard output.
#[derive(Args)]
#[command(after_help = "Example: deltamax completions bash > ~/.local/share/bash-completion/completions/deltamax")]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub fn completions(args: CompletionsArgs, mut command: Command) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "deltamax", &mut text);
    terminal::data(&text);
    Ok(())
}

/// Write manual pages: one per command into a folder, or that of deltamax to standard output.
#[derive(Args)]
#[command(
    after_help = "Example: deltamax man | man -l -\n         deltamax man ~/.local/share/man/man1 && man deltamax-certify"
)]
pub struct ManArgs {
    /// Folder for deltamax.1 and a page of each command
    dir: Option<PathBuf>,
}

pub fn man(args: ManArgs, mut command: Command) -> Result<()> {
    command.build();
    let Some(dir) = args.dir else {
        terminal::data(&page(command)?);
        return Ok(());
    };
    let commands: Vec<Command> = command.get_subcommands().filter(|c| !c.is_hide_set()).cloned().collect();
    let name = |c: &Command| c.get_display_name().unwrap_or(c.get_name()).to_string();
    let pages: Vec<(String, Vec<u8>)> = std::iter::once(command)
        .chain(commands)
        .map(|c| Ok((format!("{}.1", name(&c)), page(c)?)))
        .collect::<Result<_>>()?;
    let names: Vec<&str> = pages.iter().map(|p| p.0.as_str()).collect();
    let folder = Folder::open(&dir, "man", &names, false)?;
    for (name, text) in &pages {
        write_atomically(&folder.path().join(name), text)?;
    }
    folder.finish()?;
    terminal::line(format_args!("{} pages in {}", pages.len(), dir.display()));
    Ok(())
}

fn page(command: Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command).render(&mut text).map_err(Error::io("manual page", "writing"))?;
    Ok(text)
}
