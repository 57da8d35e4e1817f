//! Whose clock shows the times that people read, and reads those that they write: `--tz`, the same for every verb.

use std::io::{self, IsTerminal};

use crate::base::time::{Micros, rfc3339};
use crate::base::zone::Zone;

use super::when::When;

#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Tz {
    /// Time zone of all times that are shown and read, by its IANA name, such as Europe/Oslo, or `system` [default: this machine's
    /// on a terminal, and where `today`, `07:00` and the like are asked for, else UTC]
    #[arg(long, value_name = "ZONE", value_parser = Zone::named)]
    tz: Option<Zone>,
}

impl Tz {
    /// The clock of what is shown there, and of what was `written`: who says `today` means that of this machine.
    pub(super) fn clock(&self, is_terminal: bool, written: &[Option<When>]) -> Clock {
        let is_here = is_terminal || written.iter().flatten().any(|when| when.is_of_here());
        let usual = || if is_here { Zone::system() } else { Zone::utc() };
        Clock { zone: self.tz.clone().unwrap_or_else(usual) }
    }

    /// The clock of what goes to standard output.
    pub(super) fn stdout(&self) -> Clock {
        self.clock(io::stdout().is_terminal(), &[])
    }

    /// The clock of what goes to standard error.
    pub(super) fn stderr(&self, written: &[Option<When>]) -> Clock {
        self.clock(io::stderr().is_terminal(), written)
    }

    /// The clock of somebody who sits here, wherever messages go.
    pub(super) fn here(&self) -> Clock {
        self.clock(true, &[])
    }
}

/// Times as somebody's clock shows them.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    /// Whose clock it is.
    pub(super) zone: Zone,
}

impl Clock {
    /// `2026-11-23 20:15:03`, where the zone is named once beside it.
    pub(super) fn second(&self, time: impl Into<Micros>) -> String {
        self.zone.format(time.into(), "%Y-%m-%d %H:%M:%S")
    }

    /// `2026-11-23`
    pub(super) fn day(&self, time: impl Into<Micros>) -> String {
        self.zone.format(time.into(), "%Y-%m-%d")
    }

    /// `2026-11-23 20:15:03 Europe/Oslo`, where it stands alone.
    pub(super) fn named(&self, time: impl Into<Micros>) -> String {
        format!("{} {}", self.second(time), self.name())
    }

    /// As a line of a log begins: `2026-11-23T20:15:03.123456Z`, or with its offset.
    pub(super) fn stamp(&self, time: Micros) -> String {
        if self.name() == "UTC" { rfc3339(time) } else { self.zone.format(time, "%Y-%m-%dT%H:%M:%S%.6f%:z") }
    }

    /// The zone's name.
    pub(super) fn name(&self) -> &str {
        self.zone.name()
    }
}
