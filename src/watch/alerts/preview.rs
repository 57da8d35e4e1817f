//! What would have been told in some time that is over, without telling it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use serde::Serialize;

use crate::base::time::{Micros, Moment, SECOND, Utc};
use crate::base::zone::Zone;
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::model::settings::{Alerting, When};
use crate::query::coverage::{Project, Timeline};
use crate::query::follow::{Follow, From};
use crate::query::reader::{ReadError, Selection};
use crate::store::buffer::View;
use crate::store::devices::Directory;

use super::decide::{Change, Subject};
use super::state::Stored;
use super::words::{Item, Tone, sentence};
use super::{Alerts, name_of};

/// Silence is told to the minute.
const MINUTE: Micros = 60 * SECOND;

/// A message that would have been sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// When (RFC 3339).
    pub at: Utc,
    /// The alert.
    pub alert: String,
    /// `firing` or `resolved`.
    pub state: &'static str,
    /// What it would have said.
    pub text: String,
    /// Of how many.
    pub count: usize,
}

/// What would have been told from a time on. Rules about the disk and backups say nothing of the past, which nobody noted.
///
/// # Errors
/// When the recording does not read.
pub fn preview(
    layout: &Layout,
    registry: &Arc<Registry>,
    (alerting, zone): (&Alerting, &Zone),
    (start, now): (Micros, Micros),
) -> Result<Vec<Told>, ReadError> {
    let of = (layout.clone(), Arc::clone(registry), alerting.clone(), zone.clone());
    let mut alerts = Alerts::with(of, None, Stored::default());
    let view = View::open(layout)?;
    alerts.directory = Directory::new(&view.devices()?);
    let time = Timeline::read(&view, None, now)?;
    let mut told = Vec::new();
    for number in 0..alerting.rules.len() {
        let rule = &alerting.rules[number];
        let changes = match rule.when {
            When::Above | When::Below | When::Battery => of_values(&mut alerts, number, &time, (start, now))?,
            When::Silent => of_silence(&mut alerts, number, &time, (start, now))?,
            When::Recorder | When::Gap => of_gaps(&time, rule.lasts, (start, now)),
            When::Disk | When::Backup => Vec::new(),
        };
        let mut groups: BTreeMap<(Micros, bool), Vec<Item>> = BTreeMap::new();
        for Change { subject, raised, since, at, value, why } in changes.into_iter().filter(|change| change.at >= start) {
            let name = name_of(&alerts.directory, &subject);
            // As they would have been gathered.
            let group = groups.entry((at.div_euclid(30 * SECOND), raised)).or_default();
            group.push(Item { subject, name, since, at, value, why });
        }
        for ((_, raised), items) in groups {
            let tone = if raised { Tone::Raised } else { Tone::Cleared };
            told.push(Told {
                at: Utc(items.iter().map(|item| item.at).max().unwrap_or_default()),
                alert: rule.name.clone(),
                state: if raised { "firing" } else { "resolved" },
                text: sentence(rule, &alerts.rules[number].unit, tone, &items, zone),
                count: items.len(),
            });
        }
    }
    told.sort_by(|a, b| (a.at, &a.alert).cmp(&(b.at, &b.alert)));
    Ok(told)
}

fn follow(alerts: &Alerts, event_types: Vec<String>, (start, now): (Micros, Micros)) -> Result<Follow, ReadError> {
    let selection = Selection { event_types, ..Selection::default() };
    Follow::open(&alerts.layout, Arc::clone(&alerts.registry), selection, From::Since(start), now)
}

fn of_values(alerts: &mut Alerts, number: usize, time: &Timeline, span: (Micros, Micros)) -> Result<Vec<Change>, ReadError> {
    let mut follow = follow(alerts, alerts.alerting.rules[number].types.clone(), span)?;
    let mut changes = Vec::new();
    loop {
        let polled = follow.poll()?;
        for fresh in &polled.fresh {
            alerts.each(fresh, Moment { wall: span.1, steady: span.1 }, |deciders, (of, subject, at, _, value)| {
                if let Some(value) = value.filter(|_| of == number) {
                    deciders[number].value(subject, (at, value), Moment { wall: at, steady: at }, &mut changes);
                }
            });
        }
        if !polled.more {
            break;
        }
    }
    // What lasts since the last event.
    let all: BTreeMap<String, (bool, Micros)> = time.projects.iter().map(|project| (project.name.clone(), (true, 0))).collect();
    alerts.deciders[number].pass(Moment { wall: span.1, steady: span.1 }, &all, &mut changes);
    Ok(changes)
}

/// By device, the minutes in which it told something: what lies between them, as far as its project was heard, is silence.
fn of_silence(
    alerts: &mut Alerts,
    number: usize,
    time: &Timeline,
    (start, now): (Micros, Micros),
) -> Result<Vec<Change>, ReadError> {
    let rule = alerts.alerting.rules[number].clone();
    let from = start - rule.lasts;
    let mut told: HashMap<Subject, Vec<u64>> = HashMap::new();
    let mut follow = follow(alerts, rule.types.clone(), (from, now))?;
    let minutes = usize::try_from((now - from) / MINUTE + 1).unwrap_or_default();
    loop {
        let polled = follow.poll()?;
        for fresh in &polled.fresh {
            let column = |name: &str| fresh.rows.column_by_name(name);
            let times = column("time").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
            let text = |name: &str| column(name).and_then(|column| column.as_string_opt::<i32>());
            let (Some(times), Some(devices), Some(projects)) = (times, text("device_id"), text("project_id")) else { continue };
            for row in (0..times.len()).filter(|row| devices.is_valid(*row)) {
                let subject = Subject { project: projects.value(row).to_owned(), device: devices.value(row).to_owned() };
                let Ok(minute) = usize::try_from((times.value(row) - from) / MINUTE) else { continue };
                let all = told.entry(subject).or_insert_with(|| vec![0; minutes.div_ceil(64)]);
                if let Some(bits) = all.get_mut(minute / 64) {
                    *bits |= 1 << (minute % 64);
                }
            }
        }
        if !polled.more {
            break;
        }
    }
    let mut changes = Vec::new();
    for (subject, minutes) in told {
        if !super::is_about(&rule, &alerts.directory, &subject) {
            continue;
        }
        let Some(project) = time.projects.iter().find(|project| project.name == subject.project) else { continue };
        let told = (0..minutes.len() * 64).filter(|minute| minutes[minute / 64] >> (minute % 64) & 1 == 1);
        let times: Vec<Micros> = told.map(|minute| from + MINUTE * i64::try_from(minute).unwrap_or_default()).collect();
        for pair in times.iter().zip(times.iter().skip(1).map(Some).chain([None])) {
            let (since, next) = (*pair.0, pair.1.copied());
            if let Some(at) = silent_from(project, since, next.unwrap_or(now), rule.lasts) {
                changes.push(Change { subject: subject.clone(), raised: true, since, at, value: None, why: None });
                let over = next.map(|at| Change { subject: subject.clone(), raised: false, since, at, value: None, why: None });
                changes.extend(over);
            }
        }
    }
    Ok(changes)
}

/// When so much of a silence was heard, if that was before its end.
fn silent_from(project: &Project, since: Micros, until: Micros, lasts: Micros) -> Option<Micros> {
    let mut left = lasts;
    for (begins, ends) in &project.heard {
        let (begins, ends) = ((*begins).max(since), (*ends).min(until));
        if ends > begins {
            if ends - begins >= left {
                return Some(begins + left);
            }
            left -= ends - begins;
        }
    }
    None
}

fn of_gaps(time: &Timeline, lasts: Micros, (start, now): (Micros, Micros)) -> Vec<Change> {
    let mut changes = Vec::new();
    for project in &time.projects {
        let subject = Subject { project: project.name.clone(), device: String::new() };
        for gap in project.gaps.iter().filter(|gap| gap.span.1 >= start && gap.span.1 - gap.span.0 >= lasts) {
            let (since, at) = (gap.span.0, gap.span.0 + lasts);
            let why = Some(gap.cause.clone());
            changes.push(Change { subject: subject.clone(), raised: true, since, at, value: None, why });
            if !gap.lasts {
                let at = gap.span.1.min(now);
                changes.push(Change { subject: subject.clone(), raised: false, since, at, value: None, why: None });
            }
        }
    }
    changes
}
