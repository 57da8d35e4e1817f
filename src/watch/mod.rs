//! Watch: looks at a recording that another process writes, and says whether all is well: a page for people.
//!
//! ```text
//! [look] --(each second)--> [model], [seen] --> [page]: pure --> [http]: pages; [live]: what changed, to each that looks on
//!   |  reads, and writes nothing                                        '--> [draw]: charts and files of one device, on demand
//! ```

#[cfg(feature = "reports")]
mod address;
pub mod alerts;
#[cfg(feature = "reports")]
pub mod board;
#[cfg(feature = "reports")]
pub mod draw;
pub mod head;
#[cfg(feature = "reports")]
pub mod http;
#[cfg(feature = "reports")]
mod live;
#[cfg(feature = "reports")]
pub mod login;
#[cfg(feature = "reports")]
pub mod look;
#[cfg(feature = "reports")]
pub mod model;
#[cfg(feature = "reports")]
pub mod page;
#[cfg(feature = "reports")]
pub mod range;
#[cfg(feature = "reports")]
pub mod seen;
