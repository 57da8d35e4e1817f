//! Devices: their types, names, labels and how the device list shows them. Made from the seed.

use super::event::{At, Map, SECOND};
use super::xid::Xids;
use axum::body::Bytes;
use fastrand::Rng;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The cloud's device types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Temperature,
    /// A temperature probe: for the cloud a `temperature` too, but one that also reports its wires.
    Probe,
    Proximity,
    Touch,
    Humidity,
    ProximityCounter,
    TouchCounter,
    Water,
    Co2,
    Motion,
    Desk,
    Contact,
    Connector,
    /// Seen in a replay only, type not known yet.
    Unknown,
}

use Family::{Co2, Connector, Contact, Desk, Humidity, Motion, Probe, Proximity, ProximityCounter, Temperature};
use Family::{Touch, TouchCounter, Unknown, Water};

/// The order in which devices are handed out; the first 13 have one of each, so that a small project has all event types.
#[rustfmt::skip]
const ORDER: [Family; 40] = [
    Temperature, Connector, Co2, Humidity, Contact, Motion, Desk, Probe, Proximity, ProximityCounter,
    TouchCounter, Touch, Water, Temperature, Temperature, Desk, Humidity, Contact, Connector, Temperature,
    Motion, Co2, Desk, Temperature, Water, Proximity, Temperature, Humidity, Contact, Desk,
    Temperature, Motion, Temperature, Co2, Temperature, Water, Desk, Temperature, Humidity, Probe,
];

impl Family {
    /// The name in the API.
    pub(super) fn name(self) -> &'static str {
        match self {
            Temperature | Probe => "temperature",
            Proximity => "proximity",
            Touch => "touch",
            Humidity => "humidity",
            ProximityCounter => "proximityCounter",
            TouchCounter => "touchCounter",
            Water => "waterDetector",
            Co2 => "co2",
            Motion => "motion",
            Desk => "deskOccupancy",
            Contact => "contact",
            Connector => "ccon",
            Unknown => "unknown",
        }
    }

    /// The reverse, for the emulator.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        ORDER.into_iter().find(|f| f.name() == name)
    }

    /// Best guess from one event, for devices of a replay.
    pub(super) fn of_event(kind: &str) -> Self {
        match kind {
            "co2" | "pressure" => Co2,
            "connectionStatus" | "ethernetStatus" | "cellularStatus" => Connector,
            "probeWireStatus" => Probe,
            "humidity" => Humidity,
            _ => ORDER.into_iter().find(|f| f.own().contains(&kind)).unwrap_or(Unknown),
        }
    }

    /// Event types that only this family sends.
    fn own(self) -> &'static [&'static str] {
        match self {
            Temperature => &["temperature"],
            Probe => &["temperature", "probeWireStatus"],
            Proximity => &["objectPresent"],
            Touch | Unknown => &[],
            Humidity => &["humidity"],
            ProximityCounter => &["objectPresentCount"],
            TouchCounter => &["touchCount"],
            Water => &["waterPresent"],
            Co2 => &["co2", "pressure", "humidity"],
            Motion => &["motion"],
            Desk => &["deskOccupancy"],
            Contact => &["contact"],
            Connector => &["ethernetStatus", "cellularStatus"],
        }
    }

    /// Whether a device of this family may send events of this type.
    pub(super) fn sends(self, kind: &str) -> bool {
        match kind {
            "connectionStatus" => true,
            "networkStatus" | "batteryStatus" => self != Connector,
            "touch" => self.has_button(),
            // The emulator knows no probes apart from thermometers.
            "probeWireStatus" => matches!(self, Temperature | Probe),
            _ => self.own().contains(&kind),
        }
    }

    /// Counting sensors send no touch events.
    pub(super) fn has_button(self) -> bool {
        !matches!(self, ProximityCounter | TouchCounter)
    }

    fn product(self, rng: &mut Rng) -> &'static str {
        let among: &[&str] = match self {
            Temperature => &["102058", "102067"],
            Probe => &["102152"],
            Proximity => &["102064"],
            Touch => &["100110"],
            Humidity => &["101895", "102081"],
            ProximityCounter => &["101730"],
            TouchCounter => &["101675"],
            Water => &["101714"],
            Co2 => &["102356"],
            Motion => &["102513"],
            Desk => &["102553", "102554"],
            Contact => &["102430"],
            Connector => &["100011"],
            Unknown => &[""],
        };
        rng.choice(among).copied().unwrap_or("")
    }

    /// Some rooms have names that are no ASCII: real ones have.
    fn rooms(self) -> &'static [&'static str] {
        match self {
            Temperature => &["Cold room 1", "Kühlraum 2", "Office west", "Freezer A", "Server room", "Réserve", "Büro 204"],
            Probe => &["Boiler return", "Freezer B", "Heizung Süd"],
            Proximity => &["Loading gate", "Rolltor Nord"],
            Touch => &["Help button", "Cleaning done"],
            Humidity => &["Archive", "Lager Süd", "Greenhouse", "展示室"],
            ProximityCounter => &["Press 3", "Turnstile"],
            TouchCounter => &["Visitors", "Feedback"],
            Water => &["Pantry sink", "Keller", "Chiller tray"],
            Co2 => &["Meeting room Fjord", "Classroom 12", "Open plan"],
            Motion => &["Corridor", "Café", "Stairs"],
            Desk => &["Desk 11", "Desk 12", "Desk 13", "Schreibtisch 14", "Desk 15"],
            Contact => &["Cold room door", "Fire exit", "Window 3"],
            Connector => &["Connector north", "Connector süd"],
            Unknown => &["Unknown"],
        }
    }
}

/// A Cloud Connector in range.
#[derive(Debug, Clone)]
pub(super) struct Radio {
    pub(super) connector: String,
    pub(super) rssi: i32,
    /// What it comes back to.
    usual: i32,
}

impl Radio {
    /// The next packet is heard a little better or worse.
    pub(super) fn drift(&mut self, rng: &mut Rng) {
        self.rssi += rng.i32(-2..3) + (self.usual - self.rssi) / 3;
    }

    /// Signal strength in per cent.
    pub(super) fn strength(&self) -> i32 {
        ((self.rssi + 120) * 6 / 5).clamp(0, 100)
    }
}

/// One device, with what it reported last.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub(super) id: String,
    pub(super) family: Family,
    pub(super) product: &'static str,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) emulated: bool,
    pub(super) deleted: bool,
    pub(super) radios: Vec<Radio>,
    pub(super) reported: BTreeMap<Cow<'static, str>, Bytes>,
}

impl Device {
    /// A device without history or surroundings: emulated, or seen in a replay.
    pub(super) fn bare(id: String, family: Family, labels: BTreeMap<String, String>, emulated: bool) -> Self {
        let (radios, reported) = (Vec::new(), BTreeMap::new());
        Self { id, family, product: "", labels, emulated, deleted: false, radios, reported }
    }

    /// The devices of a seed. Always the same ones, whenever they are made.
    pub(super) fn seeded(seed: u64, count: usize) -> Vec<Self> {
        let mut rng = Rng::with_seed(seed ^ 0x6465_7669_6365_7321);
        let mut ids = Xids::new(rng.u64(..), rng.u32(..));
        let mut devices: Vec<Self> = (0..count).map(|n| Self::nth(n, &mut rng, &mut ids)).collect();
        let mut connectors: Vec<String> = devices.iter().filter(|d| d.family == Connector).map(|d| d.id.clone()).collect();
        if connectors.is_empty() {
            connectors.push(ids.next(1_600_000_000 * SECOND).to_string()); // one of a neighbour
        }
        for device in devices.iter_mut().filter(|d| d.family != Connector) {
            rng.shuffle(&mut connectors);
            let in_range = 1 + usize::from(rng.f32() < 0.4);
            device.radios = connectors
                .iter()
                .take(in_range)
                .map(|c| {
                    let rssi = rng.i32(-98..-45);
                    Radio { connector: c.clone(), rssi, usual: rssi }
                })
                .collect();
        }
        devices
    }

    fn nth(n: usize, rng: &mut Rng, ids: &mut Xids) -> Self {
        let family = ORDER.get(n % ORDER.len()).copied().unwrap_or(Temperature);
        let made = rng.i64(1_560_000_000..1_720_000_000) * SECOND;
        let rooms = family.rooms();
        let room = rooms.get(n / 3 % rooms.len()).copied().unwrap_or("Room");
        let name = if n < ORDER.len() { room.to_owned() } else { format!("{room} ({})", n / ORDER.len() + 1) };
        let mut labels = BTreeMap::from([
            ("name".to_owned(), name),
            ("room".to_owned(), format!("{}{:02}", 1 + n % 4, 1 + n % 24)),
            ("floor".to_owned(), (1 + n % 4).to_string()),
        ]);
        if rng.f32() < 0.3 {
            labels.insert("building".to_owned(), if rng.bool() { "Gebäude B" } else { "A" }.to_owned());
        }
        if rng.f32() < 0.2 {
            labels.insert("kit".to_owned(), "starter".to_owned());
        }
        if rng.f32() < 0.1 {
            labels.insert("critical".to_owned(), String::new());
        }
        let product = family.product(rng);
        Self { product, ..Self::bare(ids.next(made).to_string(), family, labels, false) }
    }

    /// The device object of the REST API.
    pub(super) fn json(&self, project: &str) -> String {
        let labels: Vec<_> = self.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let mut out = format!(
            r#"{{"name":"projects/{project}/devices/{}","type":"{}","productNumber":"{}","labels":{},"reported":{{"#,
            self.id,
            self.family.name(),
            self.product,
            Map(&labels),
        );
        for (i, (kind, inner)) in self.reported.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            out.push_str(comma);
            out.push('"');
            out.push_str(kind);
            out.push_str("\":");
            out.push_str(&String::from_utf8_lossy(inner));
        }
        out.push_str("}}");
        out
    }

    /// `networkStatus` as the device list has it: all connectors in range in one object.
    pub(super) fn network(&self, time: i64) -> Option<Bytes> {
        let best = self.radios.iter().max_by_key(|r| r.rssi)?;
        let mut out = format!(
            r#"{{"signalStrength":{},"rssi":{},"updateTime":"{}","cloudConnectors":["#,
            best.strength(),
            best.rssi,
            At(time)
        );
        for (i, r) in self.radios.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let (id, strength, rssi) = (&r.connector, r.strength(), r.rssi);
            write!(out, r#"{comma}{{"id":"{id}","signalStrength":{strength},"rssi":{rssi}}}"#).ok()?;
        }
        out.push_str(r#"],"transmissionMode":"LOW_POWER_STANDARD_MODE"}"#);
        Some(Bytes::from(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_devices() {
        let list = |seed| Device::seeded(seed, 90).iter().map(|d| d.json("p")).collect::<Vec<_>>();
        assert_eq!(list(4), list(4));
        assert_ne!(list(4), list(5));
        assert!(list(4).iter().all(|d| d.is_ascii()));
        assert!(list(4).iter().any(|d| d.contains("\\u00fc")));
    }

    #[test]
    fn thirteen_devices_are_one_of_each() {
        let mut names: Vec<_> = Device::seeded(1, 13).iter().map(|d| d.family.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 12); // a probe is a `temperature` as well
    }
}
