//! What devices do when it is their turn: the events of every action.

use super::batch::Batch;
use super::device::Family;
use super::event::{Body, SECOND, Sample};
use super::sensors::{Line, heartbeat};
use super::world::{Action, World};
use std::collections::BTreeMap;

const MILLISECOND: i64 = 1_000;

impl World {
    /// Does one thing.
    pub(super) fn act(&mut self, device: usize, action: Action, time: i64, out: &mut Batch) {
        let Some(mind) = self.minds.get_mut(device) else { return };
        let exact = time;
        // Sensors have a clock of milliseconds, the cloud one of microseconds.
        let time = time.div_euclid(MILLISECOND) * MILLISECOND;
        if mind.offline && action != Action::Reach {
            return;
        }
        match action {
            Action::Heartbeat => self.beat(device, time, out),
            Action::Change => {
                mind.on = !mind.on;
                self.show(device, time, out);
                self.radio(device, time, out);
            }
            Action::Press => {
                self.send(device, time, &Body::Touch, out);
                self.radio(device, time, out);
            }
            Action::Battery => {
                let percentage = mind.battery();
                self.send(device, time, &Body::BatteryStatus(percentage), out);
            }
            Action::Line => self.line(device, exact, out),
            Action::Cellular => {
                mind.cellular = (mind.cellular + self.rng.i32(-9..10) + (60 - mind.cellular) / 8).clamp(5, 100);
                let error = (mind.cellular < 15).then_some((3, "Weak signal"));
                let body = Body::CellularStatus { strength: mind.cellular, error };
                self.send(device, exact, &body, out);
            }
            Action::Reach => {
                mind.offline = !mind.offline;
                let body = if mind.offline {
                    Body::ConnectionStatus { connection: "OFFLINE", available: &[] }
                } else {
                    Body::ConnectionStatus { connection: "SDS", available: &["SDS"] }
                };
                self.send(device, exact, &body, out);
            }
            Action::Wires => {
                mind.invalid_wires = !mind.invalid_wires;
                let wires = if mind.invalid_wires { "INVALID_WIRE_CONFIGURATION" } else { "THREE_WIRE" };
                self.send(device, time, &Body::ProbeWireStatus(wires), out);
                self.radio(device, time, out);
            }
            Action::Labels => self.note(exact, out),
        }
    }

    /// One packet of a heartbeat; all its events have the same time.
    fn beat(&mut self, device: usize, time: i64, out: &mut Batch) {
        let family = self.family(device);
        let Some(mind) = self.minds.get_mut(device) else { return };
        let rng = &mut self.rng;
        match family {
            Family::Temperature | Family::Probe => {
                let samples = mind.measure(time, heartbeat(family), rng);
                self.send(device, time, &Body::Temperature(&samples), out);
            }
            Family::Humidity => {
                let samples = mind.measure(time, heartbeat(family), rng);
                self.send(device, time, &Body::Humidity(&samples), out);
            }
            Family::Co2 => {
                let samples: Vec<Sample> = mind.measure(time, heartbeat(family), rng).into_iter().take(1).collect();
                let (ppm, pascal) = mind.air(time, rng);
                self.send(device, time, &Body::Co2(ppm), out);
                self.send(device, time, &Body::Pressure(pascal), out);
                self.send(device, time, &Body::Humidity(&samples), out);
            }
            Family::ProximityCounter | Family::TouchCounter => {
                let total = mind.count(time, rng);
                let touch = family == Family::TouchCounter;
                let body = if touch { Body::TouchCount(total) } else { Body::ObjectPresentCount(total) };
                self.send(device, time, &body, out);
            }
            Family::Desk => self.show(device, time, out),
            _ => {}
        }
        self.radio(device, time, out);
    }

    /// The state of a sensor that has one.
    fn show(&mut self, device: usize, time: i64, out: &mut Batch) {
        let Some(mind) = self.minds.get(device) else { return };
        let on = mind.on;
        let body = match self.family(device) {
            Family::Contact => Body::Contact(on),
            Family::Motion => Body::Motion(on),
            Family::Proximity => Body::ObjectPresent(on),
            Family::Water => Body::WaterPresent(on),
            Family::Desk => {
                let remarks: &[&str] = if self.rng.f32() < 0.03 { &["INCOMPLETE_DATA"] } else { &[] };
                let body = Body::DeskOccupancy { occupied: on, remarks };
                // Computed by the cloud, to the second.
                return self.send(device, time.div_euclid(SECOND) * SECOND, &body, out);
            }
            _ => return,
        };
        self.send(device, time, &body, out);
    }

    /// One `networkStatus` for each Cloud Connector that heard the packet.
    fn radio(&mut self, device: usize, time: i64, out: &mut Batch) {
        let Some(it) = self.devices.get_mut(device) else { return };
        let boost = self.rng.f32() < 0.02;
        let mode = if boost { "HIGH_POWER_BOOST_MODE" } else { "LOW_POWER_STANDARD_MODE" };
        for radio in &mut it.radios {
            radio.drift(&mut self.rng);
        }
        for radio in it.radios.clone() {
            let (strength, rssi) = (radio.strength(), radio.rssi);
            let body = Body::NetworkStatus { connector: &radio.connector, strength, rssi, mode };
            self.send(device, time, &body, out);
        }
    }

    /// Ethernet fails over to cellular, now and then with a while of nothing between, and comes back.
    fn line(&mut self, device: usize, time: i64, out: &mut Batch) {
        let Some(mind) = self.minds.get_mut(device) else { return };
        mind.line = match mind.line {
            Line::Ethernet if self.rng.f32() < 0.2 => Line::Offline,
            Line::Ethernet => Line::Cellular,
            Line::Cellular | Line::Offline => Line::Ethernet,
        };
        let (line, mac, ip) = (mind.line, mind.mac.clone(), mind.ip.clone());
        let (connection, available): (_, &[&str]) = match line {
            Line::Ethernet => ("ETHERNET", &["CELLULAR", "ETHERNET"]),
            Line::Cellular => ("CELLULAR", &["CELLULAR"]),
            Line::Offline => ("OFFLINE", &[]),
        };
        self.send(device, time, &Body::ConnectionStatus { connection, available }, out);
        if line != Line::Offline {
            let up = line == Line::Ethernet;
            let error = (!up).then_some((2, "No link"));
            let ip = if up { ip.as_str() } else { "" };
            self.send(device, time, &Body::EthernetStatus { mac: &mac, ip, error }, out);
        }
    }

    /// Somebody adds, changes or removes a note on one of the devices.
    fn note(&mut self, time: i64, out: &mut Batch) {
        let notes = ["calibrated", "Filter gewechselt – gut", "moved to 2nd floor", "battery ordered"];
        let text = self.rng.choice(notes).unwrap_or_default().to_owned();
        let device = self.rng.usize(0..self.minds.len().max(1));
        let Some(it) = self.devices.get(device) else { return };
        let gone = it.labels.get("note").is_some_and(|old| *old == text);
        let (add, remove) = if gone { (vec![], vec!["note".to_owned()]) } else { (vec![("note".to_owned(), text)], vec![]) };
        self.relabel(device, time, &add.into_iter().collect(), &remove, out);
    }

    /// Changes labels, and says so when anything is different afterwards.
    pub(super) fn relabel(
        &mut self,
        device: usize,
        time: i64,
        add: &BTreeMap<String, String>,
        remove: &[String],
        out: &mut Batch,
    ) {
        let Some(it) = self.devices.get_mut(device) else { return };
        let removed: Vec<_> = remove.iter().filter(|k| it.labels.remove(*k).is_some()).cloned().collect();
        let (mut added, mut modified) = (Vec::new(), Vec::new());
        for (key, value) in add {
            match it.labels.insert(key.clone(), value.clone()) {
                None => added.push((key.clone(), value.clone())),
                Some(old) if old != *value => modified.push((key.clone(), value.clone())),
                Some(_) => {}
            }
        }
        if !(added.is_empty() && modified.is_empty() && removed.is_empty()) {
            let body = Body::LabelsChanged { added: &added, modified: &modified, removed: &removed };
            self.send(device, time, &body, out);
        }
    }
}
