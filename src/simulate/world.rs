//! The simulated project: its devices and who speaks when. Pure: time comes in, events go out.

use super::batch::{Batch, Target};
use super::device::{Device, Family};
use super::event::{Body, SECOND};
use super::sensors::{Line, SensorState, heartbeat, lasts};
use super::xid::{Xid, Xids};
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;

const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Something that a device does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Heartbeat,
    Change,
    Press,
    Battery,
    /// A Cloud Connector's line fails or comes back.
    Line,
    Cellular,
    /// A sensor falls out of range or comes back.
    Reach,
    Wires,
    Labels,
}

/// When, who, what, and whether it comes again.
type Due = (i64, usize, Action, bool);

/// All devices and their plans.
#[derive(Debug)]
pub(super) struct World {
    project: String,
    pub(super) devices: Vec<Device>,
    pub(super) minds: Vec<SensorState>,
    by_id: HashMap<String, usize>,
    plan: BinaryHeap<Reverse<Due>>,
    pub(super) rng: Rng,
    ids: Xids,
    /// Events sent beyond the quota, since a packet is never cut in two.
    debt: usize,
}

impl World {
    /// `start` is the first moment that anybody can ask about.
    pub(super) fn new(project: &str, seed: u64, count: usize, start: i64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let devices = Device::seeded(seed, count);
        let minds = devices
            .iter()
            .map(|d| SensorState::new(d.family, d.labels.get("name").map_or("", String::as_str), &mut rng))
            .collect();
        // A second run of the same seed must not give the ids of the first to other events.
        let who = Rng::with_seed(seed ^ start.unsigned_abs()).u64(..);
        let mut world = Self {
            project: project.to_owned(),
            by_id: devices.iter().enumerate().map(|(i, d)| (d.id.clone(), i)).collect(),
            devices,
            minds,
            plan: BinaryHeap::new(),
            ids: Xids::new(who, rng.u32(..)),
            rng,
            debt: 0,
        };
        for device in 0..count {
            for action in world.habits(device) {
                let first = world.pause(device, action, start).max(1);
                let due = start + world.rng.i64(0..first);
                world.plan.push(Reverse((due, device, action, true)));
            }
        }
        world
    }

    /// What happens rarely happens once soon after `now`, one thing after the other, so that nobody waits days for it.
    pub(super) fn liven(&mut self, now: i64) {
        let step = 100 * SECOND / i64::try_from(self.devices.len().max(40)).unwrap_or(i64::MAX);
        let mut due = now + SECOND;
        let mut seen = Vec::new();
        for device in 0..self.minds.len() {
            let family = self.family(device);
            if seen.contains(&family) {
                continue;
            }
            seen.push(family);
            for action in self.habits(device) {
                if action != Action::Reach {
                    self.plan.push(Reverse((due, device, action, false)));
                    due += step;
                }
            }
        }
    }

    /// All that is due up to `now`; with a quota, the next so many events instead, spread over the time since `from`.
    pub(super) fn step(&mut self, from: i64, now: i64, quota: Option<usize>, out: &mut Batch) {
        let Some(quota) = quota else {
            while let Some(&Reverse((due, ..))) = self.plan.peek()
                && due <= now
            {
                self.next(None, out);
            }
            return;
        };
        let paid = self.debt.min(quota);
        self.debt -= paid;
        let wanted = quota - paid;
        let before = out.len();
        while out.len() - before < wanted && !self.plan.is_empty() {
            let done = i64::try_from(out.len() - before).unwrap_or(0);
            let all = i64::try_from(wanted).unwrap_or(1).max(1);
            self.next(Some(from + (now - from) * done / all), out);
        }
        self.debt += (out.len() - before).saturating_sub(wanted);
    }

    fn next(&mut self, at: Option<i64>, out: &mut Batch) {
        let Some(Reverse((due, device, action, again))) = self.plan.pop() else { return };
        let time = at.unwrap_or(due);
        self.act(device, action, time, out);
        if again || self.disturbed(device, action) {
            let pause = self.pause(device, action, time);
            self.plan.push(Reverse((due + pause, device, action, again)));
        }
    }

    /// Whether the action left something behind that must end again, even if it was to happen only once.
    fn disturbed(&self, device: usize, action: Action) -> bool {
        self.minds.get(device).is_some_and(|m| match action {
            Action::Line => m.line != Line::Ethernet,
            Action::Wires => m.invalid_wires,
            Action::Change => m.on,
            _ => false,
        })
    }

    pub(super) fn family(&self, device: usize) -> Family {
        self.devices.get(device).map_or(Family::Unknown, |d| d.family)
    }

    fn habits(&self, device: usize) -> Vec<Action> {
        let family = self.family(device);
        let mut habits = match family {
            Family::Connector => return vec![Action::Line, Action::Cellular, Action::Press, Action::Labels],
            Family::Contact | Family::Motion | Family::Proximity | Family::Water => {
                vec![Action::Heartbeat, Action::Change]
            }
            Family::Desk => vec![Action::Change, Action::Heartbeat],
            Family::Probe => vec![Action::Heartbeat, Action::Wires],
            _ => vec![Action::Heartbeat],
        };
        if family.has_button() {
            habits.push(Action::Press);
        }
        habits.extend([Action::Battery, Action::Reach]);
        habits
    }

    /// Time until the same action comes again.
    fn pause(&mut self, device: usize, action: Action, time: i64) -> i64 {
        let family = self.family(device);
        let mind = self.minds.get(device);
        let rng = &mut self.rng;
        let failed = mind.is_some_and(|m| m.line != Line::Ethernet);
        let (from, to) = match action {
            Action::Heartbeat => {
                let every = heartbeat(family);
                (every - every / 20, every + every / 20)
            }
            Action::Change => return lasts(family, mind.is_some_and(|m| m.on), time, rng),
            Action::Press if family == Family::Touch => return lasts(family, false, time, rng),
            Action::Press => (30 * HOUR, 150 * HOUR),
            Action::Battery => (23 * HOUR, 25 * HOUR),
            Action::Line if failed => (2 * MINUTE, 20 * MINUTE),
            Action::Line => (8 * HOUR, 30 * HOUR),
            Action::Cellular => (20 * MINUTE, 60 * MINUTE),
            Action::Reach if mind.is_some_and(|m| m.offline) => (10 * MINUTE, 60 * MINUTE),
            Action::Reach => (80 * HOUR, 400 * HOUR),
            Action::Wires if mind.is_some_and(|m| m.invalid_wires) => (MINUTE, 10 * MINUTE),
            Action::Wires => (24 * HOUR, 72 * HOUR),
            Action::Labels => (2 * HOUR, 6 * HOUR),
        };
        rng.i64(from..to)
    }

    /// Writes one event of a device.
    pub(super) fn send(&mut self, device: usize, time: i64, body: &Body<'_>, out: &mut Batch) {
        let Some(it) = self.devices.get(device) else { return };
        out.push(&self.ids.next(time), &Target(&self.project, &it.id), device, time, body);
    }

    /// Writes one event whose time text must stay as it is.
    pub(super) fn send_stamped(&mut self, device: usize, time: (i64, &str), body: &Body<'_>, out: &mut Batch) {
        let Some(it) = self.devices.get(device) else { return };
        out.push_stamped(&self.ids.next(time.0), &Target(&self.project, &it.id), device, time, body);
    }

    /// A fresh id.
    pub(super) fn id(&mut self, time: i64) -> Xid {
        self.ids.next(time)
    }

    /// Indexes of the last of those devices that live by themselves.
    pub(super) fn last(&self, count: usize) -> Range<usize> {
        let all = self.minds.len();
        all.saturating_sub(count)..all
    }

    /// Index of a device, emulated ones and those of a replay too; not the deleted.
    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Adds a device that lives from outside.
    pub(super) fn add(&mut self, device: Device) -> usize {
        let index = self.devices.len();
        self.by_id.insert(device.id.clone(), index);
        self.devices.push(device);
        index
    }

    /// Forgets a device; its index stays taken, since events and plans point to it.
    pub(super) fn delete(&mut self, index: usize) {
        if let Some(device) = self.devices.get_mut(index) {
            device.deleted = true;
            self.by_id.remove(&device.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const START: i64 = 1_795_000_000 * SECOND;

    fn run(seed: u64, count: usize, quota: Option<usize>, until: i64) -> Vec<(String, String)> {
        let mut world = World::new("demo", seed, count, START);
        world.liven(START);
        let mut batch = Batch::default();
        world.step(START, START + until, quota, &mut batch);
        let text = |f: super::super::batch::Frame| String::from_utf8_lossy(f.event()).into_owned();
        batch.finish().map(|(item, frame)| (item.kind.into_owned(), text(frame))).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_events() {
        assert_eq!(run(1, 40, None, HOUR), run(1, 40, None, HOUR));
        assert_ne!(run(1, 40, None, HOUR), run(2, 40, None, HOUR));
    }

    #[test]
    fn all_nineteen_types_come_early_and_all_events_are_json_with_an_own_id() {
        for (seed, count, quota) in [(1, 40, Some(500)), (2, 13, Some(500)), (3, 1_000, Some(2_000)), (4, 40, None)] {
            let events = run(seed, count, quota, 2 * MINUTE);
            let kinds: BTreeSet<_> = events.iter().map(|e| e.0.as_str()).collect();
            assert_eq!(kinds.len(), 19, "{seed}: {kinds:?}");
            let mut ids = BTreeSet::new();
            for (kind, text) in &events {
                let event: serde_json::Value = serde_json::from_str(text).expect("an event is JSON");
                assert_eq!(event["eventType"], **kind);
                assert!(text.is_ascii());
                assert!(ids.insert(event["eventId"].as_str().expect("an id").to_owned()));
            }
        }
    }

    #[test]
    fn a_quota_is_kept_in_the_long_run() {
        let mut world = World::new("demo", 1, 40, START);
        let mut batch = Batch::default();
        for n in 0..1_000 {
            world.step(START + n * SECOND, START + (n + 1) * SECOND, Some(7), &mut batch);
        }
        assert!((7_000..7_010).contains(&batch.len()), "{}", batch.len());
    }

    #[test]
    fn forty_devices_speak_every_few_seconds() {
        let events = run(1, 40, None, HOUR).len();
        assert!((700..4_000).contains(&events), "{events}");
    }
}
