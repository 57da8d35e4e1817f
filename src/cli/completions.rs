//! `overnight completions`: what a shell needs to complete this command line.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::output::export::{Output, write_text};

use super::{Cli, Failure, Outcome};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  overnight completions bash >~/.local/share/bash-completion/completions/overnight
  overnight completions zsh >~/.zfunc/_overnight          with ~/.zfunc in $fpath
  overnight completions fish >~/.config/fish/completions/overnight.fish")]
pub(super) struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "overnight", &mut script);
    match write_text(&Output::Stdout, false, &String::from_utf8_lossy(&script)) {
        Err(error) if error.is_broken_pipe() => Err(Failure::EndOfOutput),
        written => Ok(written.map(|()| Outcome::Done)?),
    }
}
