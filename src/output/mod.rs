//! What people get: tables as files, charts, a report, and what its page is made of.

#[cfg(feature = "pictures")]
pub mod chart;
pub mod export;
#[cfg(feature = "pictures")]
pub mod plot;
#[cfg(feature = "reports")]
pub mod report;
pub mod spreadsheet;
pub mod sql;
#[cfg(feature = "reports")]
pub mod web;
