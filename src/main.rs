//! The program: parse, run, turn an outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    overnight::cli::main()
}
