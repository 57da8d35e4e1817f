//! `overnight man`: the manual, made from the same description of the command line as `--help`.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::output::export::{Output, write_text};

use super::{Cli, Failure, Outcome};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  overnight man | man -l -                        read it
  overnight man export | man -l -                 the page of one verb
  overnight man -o ~/.local/share/man/man1/       all pages, as files for man")]
pub(super) struct Args {
    /// The page of this verb [default: of the program]
    verb: Option<String>,
    /// All pages, as files in this directory
    #[arg(short, long, value_name = "DIR", conflicts_with = "verb")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let mut command = Cli::command();
    command.build();
    if let Some(folder) = &args.output {
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let path = folder.join(format!("overnight-{}.1", verb.get_name()));
            write_text(&Output::File(path), true, &page(verb.clone())?)?;
        }
        write_text(&Output::File(folder.join("overnight.1")), true, &page(command)?)?;
        return Ok(Outcome::Done);
    }
    let command = match &args.verb {
        None => command,
        Some(wanted) => command
            .find_subcommand(wanted)
            .cloned()
            .ok_or_else(|| Failure::usage(format!("there is no verb {wanted:?}; `overnight --help` lists them")))?,
    };
    match write_text(&Output::Stdout, false, &page(command)?) {
        Err(error) if error.is_broken_pipe() => Err(Failure::EndOfOutput),
        written => Ok(written.map(|()| Outcome::Done)?),
    }
}

fn page(command: clap::Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
