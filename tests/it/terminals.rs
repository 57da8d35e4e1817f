//! What a terminal shows: nothing is wider than it, no word is broken, the head stays on the screen, nothing is drawn over anything.

use overnight::base::time::{Micros, SECOND};
use overnight::base::zone::Zone;
use overnight::output::chart::{Chart, Data, Line, Point, Screen, Span, terminal};

use crate::support::{Place, Ran, overnight};

const HOUR: Micros = 3600 * SECOND;
/// 2026-11-23T20:00Z
const EVENING: Micros = 1_795_464_000 * SECOND;

fn shown(place: &Place, width: usize, arguments: &[&str]) -> String {
    let mut command = overnight();
    command.args(arguments).arg("--dir").arg(place.dir());
    command.env("COLUMNS", width.to_string()).env("LINES", "24").env("LC_ALL", "C.UTF-8");
    let ran = Ran::new(&command.output().unwrap());
    assert!(ran.stdout.lines().count() <= 24, "the head is gone:\n{}", ran.stdout);
    // The path of the recording is what it is.
    let lines = || ran.stdout.lines().skip_while(|line| !line.starts_with("times") && arguments == ["status"]);
    let widest = lines().map(|line| line.chars().count()).max().unwrap_or_default();
    assert!(widest <= width, "{widest} columns of {width}:\n{}", ran.stdout);
    ran.stdout
}

fn event(number: usize, event_type: &str) -> String {
    format!(
        r#"{{"eventId":"e{number}{event_type}","targetName":"projects/p/devices/d","eventType":"{event_type}","data":{{}},"timestamp":"2026-10-05T10:{:02}:00Z"}}"#,
        number % 60
    ) + "\n"
}

#[test]
fn status_and_gaps_fit_a_terminal_of_any_width_and_break_no_word() {
    let place = Place::new();
    let types: Vec<String> = (0..30).map(|number| format!("aRatherLongEvent{number:02}")).collect();
    place.import(types.iter().enumerate().map(|(number, name)| event(number, name)).collect::<String>());
    for number in 0..40 {
        let begins = EVENING + number * HOUR;
        place.note("session", begins, begins + HOUR / 2);
        place.note("lost", begins + HOUR / 2, begins + HOUR);
    }
    for width in [40, 80, 120] {
        let status = shown(&place, width, &["status"]);
        assert!(status.starts_with("recording") && status.contains("further types"), "{status}");
        let broken = |word: &&str| word.starts_with("aRather") && word.len() != types[0].len();
        assert_eq!(status.split_whitespace().find(broken), None, "{status}");
        let gaps = shown(&place, width, &["gaps"]);
        assert!(gaps.starts_with("p ") && gaps.contains("older") && gaps.contains("_ not recording"), "{gaps}");
    }
    assert!(shown(&place, 80, &["gaps"]).contains("begins (UTC)"));
}

fn line(name: &str, room: &str, value: impl Fn(f64) -> f64) -> Line {
    let point = |step: i32| {
        let value = value(f64::from(step) / 72.0);
        Point { time: EVENING + Micros::from(step) * 10 * 60 * SECOND, value, min: value, max: value }
    };
    Line {
        device: name.to_owned(),
        name: name.to_owned(),
        room: room.to_owned(),
        data: Data::Numbers(vec![(0..=72).map(point).collect()]),
    }
}

fn chart(axis: &str, lines: Vec<Line>, gaps: Vec<(Micros, Micros)>) -> Chart {
    let title = axis.split(',').next().unwrap().to_owned();
    Chart {
        title,
        axis: axis.to_owned(),
        part: String::new(),
        zone: Zone::utc(),
        span: (EVENING, EVENING + 12 * HOUR),
        lines,
        gaps,
    }
}

fn drawn(chart: &Chart, width: usize, height: usize) -> String {
    let shown = terminal(&[chart], &Screen { width, height, has_colour: false, has_unicode: true });
    assert!(shown.lines().count() <= height && shown.lines().all(|line| line.chars().count() <= width), "{shown}");
    format!("\n{shown}")
}

/// A cold room that warms up, an office that cools down, a fridge that swings.
fn three() -> Vec<Line> {
    vec![
        line("Cold room", "Cellar", |part| 3.0 + 2.0 * part),
        line("Office west", "First floor", |part| 22.0 - 3.0 * part),
        line("Fridge", "Kitchen", |part| 5.0 + (part * 25.0).sin()),
    ]
}

#[test]
fn three_lines_in_eighty_columns() {
    let gap = (EVENING + 5 * HOUR, EVENING + 6 * HOUR);
    assert_eq!(drawn(&chart("temperature, °C", three(), vec![gap]), 80, 21), THREE_80);
}

#[test]
fn three_lines_in_forty_columns() {
    assert_eq!(drawn(&chart("temperature, °C", three(), Vec::new()), 40, 18), THREE_40);
}

#[test]
fn many_lines_in_a_hundred_and_twenty_columns_are_a_row_each() {
    let lines =
        (0..12).map(|number| line(&format!("Sensor {number}"), "", move |part| 20.0 + f64::from(number) + part)).collect();
    assert_eq!(drawn(&chart("temperature, °C", lines, Vec::new()), 120, 19), MANY_120);
}

#[test]
fn an_alarm_is_seen_in_a_row_of_states() {
    let span =
        |from, to, state: &str| Span { from: EVENING + from * HOUR, to: EVENING + to * HOUR, state: state.into(), part: 1.0 };
    let spans = vec![span(0, 5, "NOT_PRESENT"), span(5, 7, "PRESENT"), span(7, 12, "NOT_PRESENT")];
    let line = Line { device: "w".to_owned(), name: "Water".to_owned(), room: String::new(), data: Data::States(spans) };
    let chart = Chart { title: "waterPresent".to_owned(), ..chart("", vec![line], Vec::new()) };
    assert_eq!(drawn(&chart, 40, 12), WATER_40);
}

const THREE_80: &str = r"
temperature, °C
23 Nov 2026 20:00 to 24 Nov 2026 08:00, UTC
   │Cold room · Cellar             ░░░░░░░
 5 │                               ░░░░░░░                   ⣀⣀⣀⣀⠤⠤⠤⠤⠤⠔⠒⠒⠒⠊⠉⠉⠉⠉
   │                               ░░░░░░░⢀⣀⣀⣀⡠⠤⠤⠤⠤⠔⠒⠒⠒⠒⠉⠉⠉⠉⠉
   │                   ⢀⣀⣀⣀⡠⠤⠤⠤⠤⠤⠒⠒⠒⠒⠉⠉⠉⠉⠉⠁
 3 │⣀⣀⣀⣀⣀⠤⠤⠤⠤⠤⠒⠒⠒⠒⠊⠉⠉⠉⠉⠁           ░░░░░░░
   │Office west · First floor      ░░░░░░░
22 │⠉⠉⠉⠉⠑⠒⠒⠒⠢⠤⠤⠤⠤⠤⣀⣀⣀⣀             ░░░░░░░
   │                  ⠉⠉⠉⠉⠉⠒⠒⠒⠒⠢⠤⠤⠤⠤⢄⣀⣀⣀⣀░
   │                               ░░░░░░⠉⠉⠉⠉⠉⠒⠒⠒⠒⠤⠤⠤⠤⠤⢄⣀⣀⣀⡀
19 │                               ░░░░░░░                 ⠈⠉⠉⠉⠉⠑⠒⠒⠒⠒⠤⠤⠤⠤⠤⣀⣀⣀⣀⣀
   │Fridge · Kitchen               ░░░░░░░
 6 │ ⢀⠤⠒⠉⠑⠢⢄            ⢀⠔⠊⠉⠉⠑⢄    ░░░░░░░ ⢀⠔⠊⠉⠉⠢⡀            ⡠⠒⠉⠉⠉⠢⡀
   │⡠⠊     ⠈⠢⡀         ⡔⠁      ⠱⡀  ░░░░░░░⡔⠁     ⠈⢆         ⢀⠜      ⠈⢆
   │         ⠘⢄      ⡠⠊         ⠘⢄ ░░░░░⡠⠊         ⠣⡀      ⡰⠁         ⠑⡄     ⢀⠔
 4 │          ⠈⠒⠤⣀⣀⣀⠔⠁            ⠑⢄⣀⣀⡠⠊░░          ⠈⠒⢄⣀⣀⡠⠊            ⠈⠢⣀⣀⣀⠔⠁
   └┬───────────┬────────────┬───────────┬────────────┬───────────┬───────────┬
  20:00       22:00        00:00       02:00        04:00       06:00      08:00
 23 Nov                   24 Nov
░ nothing recorded
";

const THREE_40: &str = r"
temperature, °C  ·  UTC
23 Nov 2026 20:00 to 24 Nov 2026 08:00
   │Cold room · Cellar
 5 │                       ⢀⣀⣀⡠⠤⠤⠒⠒⠒⠊⠉⠉
   │            ⣀⣀⡠⠤⠤⠴⠒⠒⠉⠉⠉⠁
 3 │⣀⣀⣀⠤⠤⠤⠒⠒⠒⠉⠉⠉
   │Office west · First floor
22 │⠉⠉⠑⠒⠒⠢⠤⠤⢄⣀⣀⡀
   │           ⠈⠉⠉⠑⠒⠒⠢⠤⠤⣀⣀⣀
19 │                       ⠉⠉⠉⠒⠒⠒⠤⠤⠤⣀⣀⣀
   │Fridge · Kitchen
 6 │⡠⠋⠉⢆     ⢠⠋⠉⢢     ⡔⠉⠑⡄     ⡔⠉⠑⡄
   │⠃   ⢣   ⢠⠃   ⢣   ⢸   ⠘⡄   ⡜   ⠘⡄  ⢠
 4 │     ⢣⣀⡰⠁     ⢣⣀⡠⠃    ⠘⢄⣀⠜     ⠘⢄⣀⠜
   └───────────┬─────────────────┬─────
             00:00             06:00
            24 Nov
";

const MANY_120: &str = r"
temperature, °C
23 Nov 2026 20:00 to 24 Nov 2026 08:00, UTC
Sensor 0  20–21 │▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
Sensor 1  21–22 │▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
Sensor 2  22–23 │▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
Sensor 3  23–24 │▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
Sensor 4  24–25 │▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
Sensor 5  25–26 │▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
Sensor 6  26–27 │▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
Sensor 7  27–28 │▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
Sensor 8  28–29 │▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
Sensor 9  29–30 │▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
Sensor 10 30–31 │▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
Sensor 11 31–32 │▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
                └┬────────────────┬────────────────┬────────────────┬────────────────┬────────────────┬───────────────┬
               20:00            22:00            00:00            02:00            04:00            06:00          08:00
              23 Nov                            24 Nov
";

const WATER_40: &str = r"
waterPresent  ·  UTC
23 Nov 2026 20:00 to 24 Nov 2026 08:00
Water │─────────────▆████▆─────────────
      └──────────┬───────────────┬─────
               00:00           06:00
              24 Nov
─ NOT_PRESENT   █ PRESENT
";
