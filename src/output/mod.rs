//! What people get: tables as files, charts, a report.

pub mod chart;
pub mod export;
pub mod plot;
pub mod report;
pub mod sql;
