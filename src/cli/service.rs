//! `overnight service`: the units for systemd. One text each, for the page, the packages and whoever prints it.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::output::export::{Output, write_text};

use super::{Failure, Outcome};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  overnight service --user -o ~/.config/systemd/user/                                 for yourself; then systemctl --user daemon-reload
  overnight service --program /usr/local/bin/overnight -o /etc/systemd/system/        for the machine, with a user `overnight`
src/docs/service.md tells the rest; the Debian package brings all of it.")]
pub(super) struct Args {
    /// Which unit
    #[arg(value_enum, default_value = "record")]
    unit: Unit,
    /// For a user's own service manager, instead of the machine's
    #[arg(long)]
    user: bool,
    /// Where the service finds the program [default: where this one is]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// All units, as files in this directory
    #[arg(short, long, value_name = "DIR", conflicts_with = "unit")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Unit {
    /// The recorder
    Record,
    /// The watcher: alerts, and the page
    Watch,
    /// A backup, once
    Backup,
    /// When there is a backup: each day
    Timer,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Record => "overnight.service",
            Self::Watch => "overnight-watch.service",
            Self::Backup => "overnight-backup.service",
            Self::Timer => "overnight-backup.timer",
        }
    }

    /// The text, where lines that begin with `system: ` or `user: ` are for one kind of manager, and words in braces are filled in.
    fn template(self) -> &'static str {
        match self {
            Self::Record => include_str!("units/overnight.service"),
            Self::Watch => include_str!("units/overnight-watch.service"),
            Self::Backup => include_str!("units/overnight-backup.service"),
            Self::Timer => include_str!("units/overnight-backup.timer"),
        }
    }
}

/// What none of them needs to be able to do; and which sockets they need beside that: AF_UNIX is the service manager's.
const SANDBOX: &str = include_str!("units/sandbox.conf");
const NETWORK: &str = "system: RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX";
const ALONE: &str = "system: PrivateNetwork=yes\nsystem: RestrictAddressFamilies=AF_UNIX";

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let program = args.program.clone().map_or_else(std::env::current_exe, Ok)?;
    let homes = ["/home", "/root", "/run/user"];
    if !args.user && homes.iter().any(|home| program.starts_with(home)) {
        warn!(
            "{} is in a home, which a service cannot see: copy it to /usr/local/bin, and name that with --program",
            program.display()
        );
    }
    if let Some(folder) = &args.output {
        for unit in Unit::value_variants() {
            write_text(&Output::File(folder.join(unit.name())), true, &text(*unit, &program, args.user))?;
        }
        return Ok(Outcome::Done);
    }
    match write_text(&Output::Stdout, false, &text(args.unit, &program, args.user)) {
        Err(error) if error.is_broken_pipe() => Err(Failure::EndOfOutput),
        written => Ok(written.map(|()| Outcome::Done)?),
    }
}

/// A unit as a service manager reads it.
fn text(unit: Unit, program: &Path, is_users: bool) -> String {
    let (own, other) = if is_users { ("user: ", "system: ") } else { ("system: ", "user: ") };
    let whole = unit
        .template()
        .replace("{network}", &format!("{SANDBOX}{NETWORK}"))
        .replace("{alone}", &format!("{SANDBOX}{ALONE}"))
        .replace("{program}", &word(program));
    let lines = whole.lines().filter(|line| !line.starts_with(other));
    lines.flat_map(|line| [line.strip_prefix(own).unwrap_or(line), "\n"]).collect()
}

/// A path as the first word of a command in a unit.
fn word(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%");
    if text.contains([' ', '\t', '"', '\'', '\\']) {
        format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_anywhere_is_one_word_of_a_unit() {
        assert_eq!(word(Path::new("/usr/bin/overnight")), "/usr/bin/overnight");
        assert_eq!(word(Path::new("/opt/100% my\"own\\/x")), r#""/opt/100%% my\"own\\/x""#);
    }

    #[test]
    fn nothing_of_the_template_is_left_in_a_unit() {
        for (unit, is_users) in Unit::value_variants().iter().flat_map(|unit| [(unit, false), (unit, true)]) {
            let text = text(*unit, Path::new("/usr/bin/overnight"), is_users);
            let left = text.lines().find(|line| line.starts_with("system:") || line.starts_with("user:"));
            assert!(left.is_none() && !text.replace("${", "").contains('{'), "{text}");
        }
    }
}
