//! What is told of each project: whether it is connected, and its last sign of life. Of very many, the worst stands for the rest.

use std::collections::BTreeMap;

use crate::base::time::Micros;
use crate::model::event::Source;
use crate::store::meter::OTHER;

use super::exposition::{Exposition, Kind, seconds};

/// Projects that are told apart.
const PROJECTS: usize = 100;

/// Projects that are to be recorded now, by name.
#[derive(Debug, Default)]
pub(super) struct Projects(BTreeMap<String, OfProject>);

/// What is known of one.
#[derive(Debug, Default)]
pub(super) struct OfProject {
    /// Whether it is connected, by the name of the source.
    connected: BTreeMap<&'static str, bool>,
    last_sign: Option<Micros>,
}

impl OfProject {
    /// Whether it is connected by a source.
    pub(super) fn connected(&mut self, source: Source, is_connected: bool) {
        *self.connected.entry(source.name()).or_insert(true) &= is_connected;
    }

    /// When it gave its last sign of life.
    pub(super) fn last_sign(&mut self, at: Micros) {
        self.last_sign = Some(self.last_sign.map_or(at, |last| last.min(at)));
    }
}

impl Projects {
    /// What is known of a project.
    pub(super) fn of(&mut self, name: &str) -> &mut OfProject {
        self.0.entry(name.to_owned()).or_default()
    }

    pub(super) fn write(self, out: &mut Exposition) {
        let mut told = Self::default();
        for (at, (name, of)) in self.0.into_iter().enumerate() {
            let own = told.of(if at < PROJECTS { &name } else { OTHER });
            of.connected.into_iter().for_each(|(source, is)| *own.connected.entry(source).or_insert(true) &= is);
            of.last_sign.into_iter().for_each(|at| own.last_sign(at));
        }
        let help = "Whether a project that is to be recorded is connected, by a stream or as a receiver of its pushes.";
        let mut family = out.family(Kind::Gauge, "project_connected", help);
        for (project, of) in &told.0 {
            for (source, is_connected) in &of.connected {
                family.add(&[("project", project), ("source", source)], u8::from(*is_connected));
            }
        }
        let help = "When a project that is to be recorded gave its last sign of life.";
        let mut family = out.family(Kind::Gauge, "project_sign_of_life_timestamp_seconds", help);
        for (project, of) in &told.0 {
            if let Some(at) = of.last_sign {
                family.add(&[("project", project)], seconds(at));
            }
        }
    }
}
