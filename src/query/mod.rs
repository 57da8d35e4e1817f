//! What is known of a recording: its rows, its coverage, its state, the tables that people analyse.

pub mod coverage;
pub mod follow;
pub mod holdings;
pub mod look;
pub mod reader;
pub mod status;
pub mod tables;
