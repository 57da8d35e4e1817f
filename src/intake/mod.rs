//! Where events come in: the stream, pushes, the history.

pub mod backfill;
pub mod preflight;
pub mod stream;
pub mod webhook;
