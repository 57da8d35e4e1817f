//! What everything stands on: time, the disk, JSON, text, zones, the service manager; nothing of sensors.

pub mod backoff;
pub mod disk;
pub mod error;
pub mod json;
pub mod notify;
pub mod text;
pub mod time;
pub mod zone;
