//! The integration tests: real SQLite, real files, real sockets; the simulator is the cloud. Names of tests are rules.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::format_collect,
    unreachable_pub,
    reason = "a test says what is so and fails loudly; helpers outside of #[test] count as tests too"
)]

mod alerts;
mod asking;
mod backups;
mod bad_input;
mod commands;
#[path = "../fuzz/corpus.rs"]
mod corpus;
mod exports;
mod fake;
mod floors;
mod fuzz;
mod gaps;
mod hostile;
mod import_edges;
mod index;
#[cfg(feature = "lake")]
mod lake;
mod ledger;
mod merges;
mod metrics;
mod numbers;
mod office;
mod places;
#[cfg(feature = "pictures")]
mod plots;
mod prunes;
mod pushes;
mod recovery;
#[cfg(feature = "reports")]
mod reports;
mod rolling;
mod rot;
mod security;
mod service;
mod serving;
mod streams;
mod supply;
mod support;
mod tails;
#[path = "../fuzz/targets.rs"]
mod targets;
#[cfg(feature = "pictures")]
mod terminals;
mod twins;
mod values;
#[cfg(feature = "reports")]
mod watching;
