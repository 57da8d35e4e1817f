#![doc = include_str!("ARCHITECTURE.md")]

pub mod base;
pub mod cli;
pub mod cloud;
pub mod docs {
    //! Pages for whoever uses the program.

    #[doc = include_str!("docs/settings.md")]
    pub mod settings {}
}
pub mod intake;
pub mod model;
pub mod output;
pub mod query;
pub mod recorder;
#[cfg(feature = "simulator")]
pub mod simulate;
pub mod store;
pub mod verify;
#[cfg(test)]
mod world;
