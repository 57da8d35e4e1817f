//! What everything stands on: time, the disk, JSON, text, zones; nothing of sensors.

pub mod backoff;
pub mod disk;
pub mod error;
pub mod json;
pub mod text;
pub mod time;
pub mod zone;
