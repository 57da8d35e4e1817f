//! A text that somebody asked for: a script, a page of a manual.

use crate::base::disk::{Unfinished, output};

use super::terminal::{fit, stdout};
use super::{ExportError, Output, Result};

/// Writes a text.
///
/// # Errors
/// When the file exists and `force` does not hold, or the output cannot be written.
pub fn write_text(to: &Output, force: bool, text: &str) -> Result<()> {
    match to {
        Output::Stdout => {
            let mut out = stdout();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            written.map_err(|source| ExportError::Output { to: "standard output".to_owned(), source })
        }
        Output::File(path) | Output::Directory(path) => {
            let to = || path.display().to_string();
            let failed = |source| ExportError::Output { to: to(), source };
            output(path, force, &Unfinished::default(), |file| fit(file).write_all(text.as_bytes()).map_err(failed)).map(|_| ())
        }
    }
}
