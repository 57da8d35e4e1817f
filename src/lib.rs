#![doc = include_str!("ARCHITECTURE.md")]

pub mod base;
pub mod cli;
pub mod cloud;
pub mod docs {
    //! Pages for whoever uses the program.

    #[doc = include_str!("docs/alerts.md")]
    pub mod alerts {}
    #[doc = include_str!("docs/checked.md")]
    pub mod checked {}
    #[doc = include_str!("docs/format.md")]
    pub mod format {}
    #[doc = include_str!("docs/lake.md")]
    pub mod lake {}
    #[doc = include_str!("docs/morning.md")]
    pub mod morning {}
    #[doc = include_str!("docs/night.md")]
    pub mod night {}
    #[doc = include_str!("docs/pushes.md")]
    pub mod pushes {}
    #[doc = include_str!("docs/security.md")]
    pub mod security {}
    #[doc = include_str!("docs/service.md")]
    pub mod service {}
    #[doc = include_str!("docs/settings.md")]
    pub mod settings {}
    #[doc = include_str!("docs/sources.md")]
    pub mod sources {}
    #[doc = include_str!("docs/watching.md")]
    pub mod watching {}
    #[doc = include_str!("docs/years.md")]
    pub mod years {}
}
pub mod intake;
#[cfg(feature = "lake")]
pub mod lake;
pub mod maintenance;
pub mod metrics;
pub mod model;
pub mod output;
pub mod query;
pub mod recorder;
pub mod serve;
#[cfg(feature = "simulator")]
pub mod simulate;
pub mod store;
pub mod verify;
pub mod watch;
#[cfg(test)]
mod world;
