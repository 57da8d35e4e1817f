//! Maintenance: what is done with a recording as a whole, over years. Copies of it, the way back, and the end of what is too old.

pub mod backup;
mod copying;
mod generation;
pub mod prune;
pub mod restore;

pub use copying::{Copied, CopyError};
pub use generation::Generation;
