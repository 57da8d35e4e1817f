//! What is kept: the buffer and the day files, the one thread that writes, the roll between them.

pub mod archive;
pub mod buffer;
pub mod devices;
pub mod last_backup;
pub mod last_shipment;
pub mod meter;
mod names;
pub mod pressure;
pub mod roll;
pub mod writer;
