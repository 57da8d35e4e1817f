//! What an event is: its schema, its columns, how lines become it; the settings; where everything lies.

pub mod decode;
pub mod event;
pub mod framing;
pub mod layout;
pub mod schema;
pub mod settings;
pub mod unit;
