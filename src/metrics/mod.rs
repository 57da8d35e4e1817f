//! Metrics: what a recorder counts, and what the files say of it, in the words of Prometheus.
//!
//! A [`recorder`] tells what it counts, without a look at the disk; whoever looks on tells what the [`files`] say, also of a
//! recorder that is dead. Labels have bounds: 64 event types, 100 projects, and what is beyond is `other`; never a device.

mod endpoint;
mod exposition;
pub mod files;
mod projects;
pub mod recorder;

pub use endpoint::Endpoint;
pub use exposition::{CONTENT_TYPE, Exposition, Kind};

/// Rules for Prometheus: what is worth an alert, by these metrics.
pub const RULES: &str = include_str!("../docs/overnight.rules.yml");

/// What every process tells of itself.
fn build(out: &mut Exposition) {
    let mut labels = vec![("version", env!("CARGO_PKG_VERSION"))];
    // Set by whoever builds packages.
    labels.extend(option_env!("OVERNIGHT_REVISION").map(|revision| ("revision", revision)));
    out.family(Kind::Gauge, "build_info", "The program that tells this; always 1.").add(&labels, 1);
}
