//! What this build was made without: a verb that is asked for says which feature brings it.

use std::ffi::OsString;

use super::{Failure, Outcome};

/// Whatever stands behind the verb.
#[derive(Debug, clap::Args)]
#[command(hide = true, disable_help_flag = true)]
pub(super) struct Args {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// Why what was asked for is not there.
pub(super) fn left_out(feature: &str) -> Failure {
    Failure::usage(format!("this build has no {feature}: build with the feature `{feature}`"))
}

macro_rules! left_out {
    ($($name:literal $feature:ident)*) => { $(
        #[cfg(not(feature = $name))]
        pub(super) mod $feature {
            pub(in crate::cli) use super::Args;
            use super::{Failure, Outcome};

            pub(in crate::cli) fn run(_: &Args) -> Result<Outcome, Failure> {
                Err(super::left_out(stringify!($feature)))
            }
        }
    )* };
}

left_out!("lake" lake "manuals" manuals "pictures" pictures "reports" reports "simulator" simulator);
