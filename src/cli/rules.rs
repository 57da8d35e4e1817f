//! `overnight rules`: the alert rules for Prometheus, as they come with this version.

use crate::metrics::RULES;

use super::{Failure, Outcome};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
    overnight rules >/etc/prometheus/overnight.rules.yml      # then name it under rule_files in prometheus.yml
src/docs/watching.md shows the rest.")]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<Outcome, Failure> {
    say!("{}", RULES.trim_end());
    Ok(Outcome::Done)
}
