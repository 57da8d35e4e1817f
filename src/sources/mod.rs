//! Sources: kinds of places that events come from, one a file. They connect and hand on bytes; policy lives in `ingest`.

pub mod cloud;
pub mod history;
pub mod push;
