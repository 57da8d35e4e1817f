//! What the model says of devices that tell this and that.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray};

use super::*;
use crate::base::time::DAY;

const HOUR: Micros = 3600 * SECOND;
const NOW: Micros = 20_000 * DAY;

fn rows(of: &[(Micros, &str)], columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let times: TimestampMicrosecondArray = of.iter().map(|(time, _)| *time).collect::<Vec<_>>().into();
    let devices: StringArray = of.iter().map(|(_, device)| Some(*device)).collect();
    let projects: StringArray = of.iter().map(|_| Some("p")).collect();
    let head: [(&str, ArrayRef); 3] =
        [("time", Arc::new(times.with_timezone("UTC"))), ("device_id", Arc::new(devices)), ("project_id", Arc::new(projects))];
    RecordBatch::try_from_iter_with_nullable(head.into_iter().chain(columns).map(|(name, column)| (name, column, true))).unwrap()
}

fn numbers(event_type: &str, name: &str, told: &[(Micros, &str, f64)], fleet: &mut Fleet) {
    let of: Vec<(Micros, &str)> = told.iter().map(|(time, device, _)| (*time, *device)).collect();
    let values: Float64Array = told.iter().map(|(.., value)| Some(*value)).collect();
    fleet.take(event_type, &rows(&of, vec![(name, Arc::new(values))]), NOW);
}

fn states(event_type: &str, told: &[(Micros, &str, &str)], fleet: &mut Fleet) {
    let of: Vec<(Micros, &str)> = told.iter().map(|(time, device, _)| (*time, *device)).collect();
    let values: StringArray = told.iter().map(|(.., value)| Some(*value)).collect();
    fleet.take(event_type, &rows(&of, vec![("state", Arc::new(values))]), NOW);
}

fn fleet() -> Fleet {
    let mut fleet = Fleet::new(&Registry::built_in().unwrap());
    fleet.hears([("p".to_owned(), Hearing { from: NOW - 100 * DAY, until: NOW })].into());
    fleet
}

fn row(id: &str, name: &str, room: &str) -> DeviceRow {
    DeviceRow {
        project: "p".to_owned(),
        id: id.to_owned(),
        kind: "temperature".to_owned(),
        product_number: String::new(),
        labels: format!("{{\"name\":\"{name}\",\"room\":\"{room}\"}}"),
    }
}

/// A device that speaks every quarter of an hour up to `last`.
fn speaks(id: &str, last: Micros, fleet: &mut Fleet) {
    let told: Vec<(Micros, &str, f64)> = (0..40).rev().map(|past| (last - past * 900 * SECOND, id, 20.0)).collect();
    numbers("temperature", "temperature", &told, fleet);
}

fn shown(fleet: &Fleet, wish: &Wish) -> Vec<String> {
    fleet.page(wish).devices.iter().map(|device| fleet.name(device).to_owned()).collect()
}

#[test]
fn a_device_shows_what_it_told_last_whatever_the_order_in_which_it_came() {
    let mut fleet = fleet();
    numbers("temperature", "temperature", &[(NOW - HOUR, "a", 21.0), (NOW, "a", 22.0)], &mut fleet);
    numbers("temperature", "temperature", &[(NOW - 2 * HOUR, "a", 5.0)], &mut fleet);
    numbers("batteryStatus", "percentage", &[(NOW - 30 * HOUR, "a", 98.0)], &mut fleet);
    numbers("networkStatus", "signal_strength", &[(NOW - HOUR, "a", 72.0)], &mut fleet);
    let device = fleet.device("p", "a").unwrap();
    let values: Vec<_> =
        device.values(|place| fleet.topic(place)).map(|(topic, told)| (topic.title(), told.said.clone())).collect();
    assert_eq!(values, [("Temperature".to_owned(), Said::Number(22.0))]);
    assert_eq!((device.battery(fleet.topics()), device.signal(fleet.topics())), (Some(98.0), Some(72.0)));
    assert_eq!(device.last_seen, Some(NOW));
    let least = device.day().unwrap().1.until(NOW).flatten().map(|cell| cell.0).fold(f32::MAX, f32::min);
    assert!((least - 5.0).abs() < 0.01);
}

#[test]
fn what_matters_most_is_drawn_also_where_it_comes_later() {
    let mut fleet = fleet();
    fleet.take("touch", &rows(&[(NOW - HOUR, "a")], Vec::new()), NOW);
    numbers("temperature", "temperature", &[(NOW, "a", 22.0)], &mut fleet);
    fleet.take("touch", &rows(&[(NOW, "a")], Vec::new()), NOW);
    let device = fleet.device("p", "a").unwrap();
    let (topic, day) = device.day().unwrap();
    assert_eq!((fleet.topic(topic).unwrap().name.as_str(), day.until(NOW).flatten().count()), ("temperature", 1));
    assert_eq!(device.told().len(), 2);
}

#[test]
fn a_wrong_clock_and_what_is_about_no_device_are_left_out() {
    let mut fleet = fleet();
    numbers("temperature", "temperature", &[(NOW + DAY, "a", 22.0), (NOW, "", 1.0)], &mut fleet);
    assert!(fleet.devices().is_empty());
}

#[test]
fn trouble_comes_first_and_the_worst_of_it_before_all() {
    let mut fleet = fleet();
    let names = [("a", "Attic"), ("b", "Boiler"), ("c", "Cellar"), ("d", "Door"), ("e", "Eaves"), ("f", "Floor")];
    fleet.know(&names.map(|(id, name)| row(id, name, "x")));
    for (id, silent) in [("a", 0), ("b", 2 * HOUR), ("c", 9 * HOUR), ("d", 0), ("e", 0), ("f", 0)] {
        speaks(id, NOW - silent, &mut fleet);
    }
    numbers("batteryStatus", "percentage", &[(NOW, "d", 9.0)], &mut fleet);
    numbers("networkStatus", "signal_strength", &[(NOW, "e", 11.0)], &mut fleet);
    states("waterPresent", &[(NOW, "f", "PRESENT")], &mut fleet);
    assert_eq!(shown(&fleet, &Wish::default()), ["Floor", "Cellar", "Boiler", "Door", "Eaves", "Attic"]);
    fleet.alerts([(("p", "a"), "above 8".to_owned()), (("p", "nobody"), "silent".to_owned())].into_iter());
    assert_eq!(shown(&fleet, &Wish::default())[..2], ["Attic", "Floor"], "what people are told of comes before all");
    fleet.alerts(std::iter::empty());
    let by = |sort| shown(&fleet, &Wish { sort, ..Wish::default() });
    assert_eq!(by(Sort::Name), ["Attic", "Boiler", "Cellar", "Door", "Eaves", "Floor"]);
    assert_eq!(by(Sort::Seen)[..2], ["Cellar", "Boiler"]);
    assert_eq!((by(Sort::Battery)[0].as_str(), by(Sort::Signal)[0].as_str()), ("Door", "Eaves"));
}

#[test]
fn nobody_is_silent_who_could_not_be_heard() {
    let mut fleet = fleet();
    speaks("a", NOW - 5 * HOUR, &mut fleet);
    let trouble = |fleet: &Fleet| fleet.trouble(fleet.device("p", "a").unwrap());
    assert!(matches!(trouble(&fleet), Some(Trouble::Silent(ratio)) if ratio < -4.0));
    let hear = |fleet: &mut Fleet, from, until| fleet.hears([("p".to_owned(), Hearing { from, until })].into());
    hear(&mut fleet, NOW - DAY, NOW - 5 * HOUR);
    assert_eq!(trouble(&fleet), None, "the recorder died with its last word");
    hear(&mut fleet, NOW - 600 * SECOND, NOW);
    assert_eq!(trouble(&fleet), None, "a gap lay between");
}

#[test]
fn pages_hold_fifty_and_search_type_and_label_choose() {
    let mut fleet = fleet();
    let list: Vec<DeviceRow> =
        (0..120).map(|at| row(&format!("d{at:03}"), &format!("Sensor {at:03}"), if at % 2 == 0 { "A" } else { "B" })).collect();
    fleet.know(&list);
    let wish = Wish { sort: Sort::Name, page: 2, ..Wish::default() };
    let page = fleet.page(&wish);
    assert_eq!((page.devices.len(), page.page, page.pages, page.found), (50, 2, 3, 120));
    assert_eq!(fleet.name(page.devices[0]), "Sensor 050");
    assert_eq!(fleet.name(page.devices[49]), "Sensor 099");
    let page = fleet.page(&Wish { page: 9, ..wish.clone() });
    assert_eq!((page.page, page.devices.len()), (3, 20));
    let found = |search: &str, label: &str, kind: &str| {
        let (search, label, kind) = (search.to_owned(), label.to_owned(), kind.to_owned());
        fleet.page(&Wish { search, kind, label, ..Wish::default() }).found
    };
    assert_eq!([found("SENSOR 11", "", ""), found("sensor room=b", "", ""), found("nothing", "", "")], [11, 60, 0]);
    assert_eq!([found("", "room=A", ""), found("", "room", ""), found("", "floor", "")], [60, 120, 0]);
    assert_eq!([found("", "", "temperature"), found("", "", "co2")], [120, 0]);
    let (kinds, labels) = fleet.choices(9);
    assert_eq!((kinds, labels), (vec!["temperature".to_owned()], vec!["room=A".to_owned(), "room=B".to_owned()]));
}
