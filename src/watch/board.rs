//! The board: what was seen last, and the devices, for everybody who asks. One thread writes it, many read it.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::base::zone::Zone;
use crate::model::schema::Registry;
use crate::output::web::words::Clock;

use super::alerts::{Shared, Standing};
use super::model::Fleet;
use super::page::Look;
use super::seen::Seen;

/// What was seen last.
#[derive(Debug)]
pub struct Board {
    fleet: RwLock<Fleet>,
    registry: RwLock<Arc<Registry>>,
    seen: watch::Sender<Arc<Seen>>,
    zone: Zone,
    /// How alerts stand, where this process tells of them.
    alerts: Option<Shared>,
}

impl Board {
    /// With what there is to say before anybody has looked.
    pub fn new(registry: Arc<Registry>, zone: Zone, seen: Seen) -> Self {
        let fleet = RwLock::new(Fleet::new(&registry));
        Self { fleet, registry: RwLock::new(registry), seen: watch::Sender::new(Arc::new(seen)), zone, alerts: None }
    }

    /// Beside alerts of which this process tells.
    #[must_use]
    pub fn telling(self, alerts: Option<Shared>) -> Self {
        Self { alerts, ..self }
    }

    /// How alerts stand; none where this process tells of none.
    pub fn alerts(&self) -> Option<Standing> {
        self.alerts.as_ref().map(Shared::get)
    }

    /// Begins anew, with the schemas that a recording is read by.
    pub fn begin(&self, registry: Arc<Registry>) {
        self.change(|fleet| *fleet = Fleet::new(&registry));
        *self.registry.write().unwrap_or_else(PoisonError::into_inner) = registry;
    }

    /// The schemas that the recording is read by.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whose clock shows times.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Changes what is known of devices.
    pub fn change<T>(&self, change: impl FnOnce(&mut Fleet) -> T) -> T {
        change(&mut self.fleet.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows what was seen, and wakes whoever waits for it.
    pub fn show(&self, seen: Seen) {
        self.seen.send_replace(Arc::new(seen));
    }

    /// What was seen last.
    pub fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen.borrow())
    }

    /// Wakes at each look.
    pub fn looks(&self) -> watch::Receiver<Arc<Seen>> {
        self.seen.subscribe()
    }

    /// Makes something, as a page, of what was seen last.
    pub fn with<T>(&self, make: impl FnOnce(&Look<'_>) -> T) -> T {
        let seen = self.seen();
        let clock = Clock::new(&self.zone, seen.day());
        let fleet = self.fleet.read().unwrap_or_else(PoisonError::into_inner);
        make(&Look { seen: &seen, fleet: &fleet, clock: &clock })
    }
}
