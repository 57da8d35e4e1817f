//! What a cloud says and how it is asked: connecting, signing in, history, signed pushes. Policy lives in [`crate::intake`].

mod answer;
pub mod client;
pub mod history;
pub mod push;
