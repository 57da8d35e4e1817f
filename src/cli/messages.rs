//! Messages on standard error: for people as lines, for programs that collect logs as one JSON object a line.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use clap::ValueEnum;
use serde::Serialize;

use crate::base::text;
use crate::base::time::{self, Micros, Utc};

use super::show;

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people
    Text,
    /// {"time":…,"level":"info|note|warning|error","message":…}
    Json,
}

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// What was done, and what to do next; not said with `-q`.
    Info,
    /// What happens to a recorder.
    Note,
    /// Something may not be as it is meant.
    Warning,
    /// Why it failed.
    Error,
}

#[derive(Debug, Clone, Copy)]
struct How {
    format: LogFormat,
    quiet: bool,
}

static HOW: OnceLock<How> = OnceLock::new();

fn how() -> How {
    *HOW.get().unwrap_or(&How { format: LogFormat::Text, quiet: false })
}

/// From now on, messages are like that.
pub(super) fn set(format: LogFormat, quiet: bool) {
    HOW.get_or_init(|| How { format, quiet });
}

/// Whether somebody looks on, who wants to see what moves.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal() && is_for_people()
}

/// Whether lines are read by people, who want to hear all.
pub(super) fn is_for_people() -> bool {
    how().format == LogFormat::Text && !how().quiet
}

/// Writes a message; one that cannot be written is dropped: a recorder goes on when its terminal is gone. It may quote others, so
/// there is nothing in it that a terminal would obey.
pub(super) fn tell(level: Level, message: impl Display) {
    tell_at(time::now(), "", level, message);
}

/// The same of something that happened at a time, which stands before it as a text.
pub(super) fn tell_at(at: Micros, stamp: &str, level: Level, message: impl Display) {
    #[derive(Serialize)]
    struct Line<'l> {
        time: Utc,
        level: Level,
        message: &'l str,
    }
    let How { format, quiet } = how();
    let message = message.to_string();
    if quiet && level == Level::Info {
        return;
    }
    let line = match format {
        LogFormat::Text => {
            let before = match level {
                Level::Warning => "warning: ",
                Level::Error => "overnight: ",
                Level::Info | Level::Note => "",
            };
            text::clean(&format!("{stamp}{before}{message}"))
        }
        LogFormat::Json if message.trim().is_empty() => return,
        LogFormat::Json => show::json_line(&Line { time: Utc(at), level, message: message.trim() }).unwrap_or_default(),
    };
    drop(writeln!(io::stderr(), "{line}"));
}
