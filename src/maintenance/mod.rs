//! Maintenance: what is done with a recording as a whole, over years. Copies of it, and the way back.

pub mod backup;
mod copying;
mod generation;
pub mod restore;

pub use copying::{Copied, CopyError};
pub use generation::Generation;
