//! What leaves for a spreadsheet: separators, dates and texts that it takes as they are meant, and nothing that it runs.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use rusqlite::Connection;

use crate::support::Place;

fn event(event_type: &str, device: &str, time: &str, data: &str) -> String {
    format!(
        "{{\"eventId\":\"{event_type}-{time}\",\"targetName\":\"projects/p/devices/{device}\",\"eventType\":\"{event_type}\",\
         \"data\":{{\"{event_type}\":{data}}},\"timestamp\":\"{time}\"}}\n"
    )
}

fn touch(device: &str, time: &str) -> String {
    event("touch", device, time, &format!("{{\"updateTime\":\"{time}\"}}"))
}

/// A recording of these events, in day files.
fn recording(events: &[String]) -> Place {
    let place = Place::new();
    let ran = place.import(events.concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let ran = place.run(&["roll"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    place
}

fn name(place: &Place, device: &str, name: &str) {
    let db = Connection::open(place.dir().join("state/buffer.db")).unwrap();
    let labels = serde_json::json!({ "name": name }).to_string();
    db.execute("INSERT INTO device VALUES ('p', ?1, 'touch', '100', ?2)", (device, labels)).unwrap();
}

#[test]
fn decimals_are_those_of_the_country_and_an_unknown_one_is_refused_with_the_nearest() {
    let place = recording(&[event("temperature", "a", "2026-11-23T10:00:00Z", "{\"value\":-5.25}")]);
    for (locale, wanted) in
        [("en-ZA", ";-5,25;"), ("en_DE.UTF-8", ";-5,25;"), ("es-CO", ";-5,25;"), ("es-419", ",-5.25,"), ("it-CH", ";-5.25;")]
    {
        let ran = place.run(&["export", "--for-excel", locale]);
        assert!(ran.code == 0 && ran.stdout.contains(wanted), "{locale}: {ran:?}");
    }
    for (locale, near) in [("en-XX", "en, en-001"), ("de-BR", "pt-BR"), ("xy", "--decimal")] {
        let ran = place.run(&["export", "--for-excel", locale]);
        assert!(ran.code == 2 && ran.stderr.contains(near), "{locale}: {ran:?}");
    }
}

#[test]
fn what_a_spreadsheet_misreads_is_said_with_its_column_and_a_workbook_offered() {
    let place = recording(&[touch("1E5", "2026-11-23T10:00:00Z"), touch("b", "2026-11-23T10:00:01Z")]);
    name(&place, "1E5", "8944501234567890123");
    let said = |arguments: &[&str]| place.run(&[&["export"], arguments].concat()).stderr;
    let warned = said(&["--for-excel", "en-US", "--names"]);
    assert!(warned.contains("device_id, device_name") && warned.contains("\"1E5\"") && warned.contains(".xlsx"), "{warned}");
    assert_eq!([said(&["--names"]), said(&["--for-excel", "en-US", "--device", "b"])], ["", ""]);
}

#[test]
fn a_local_time_that_four_digits_do_not_name_is_told_in_utc() {
    let place = recording(&[touch("a", "9999-12-31T23:59:59Z"), touch("a", "0001-01-01T00:00:00Z")]);
    let first = |arguments: &[&str]| {
        let ran = place.run(&[&["export"], arguments].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stdout.lines().skip(1).map(|line| line.splitn(3, ',').take(2).collect::<Vec<_>>().join(",")).collect::<Vec<_>>()
    };
    assert_eq!(first(&["--tz", "Europe/Oslo"])[1], "9999-12-31T23:59:59.000000+00:00,a");
    assert_eq!(first(&["--tz", "America/New_York"])[0], "0001-01-01T00:00:00.000000+00:00,a");
    assert_eq!(first(&["--tz", "Europe/Oslo", "--time-format", "local"])[1], "9999-12-31 23:59:59.000000,+00:00");
    assert_eq!(first(&["--tz", "Europe/Oslo", "--time-format", "%Y-%m-%d %H:%M:%S"])[1], "9999-12-31 23:59:59,+00:00");
}

#[test]
fn no_part_of_a_text_becomes_a_formula_by_another_delimiter_and_json_stays_equal() {
    let text = "{\"eventId\":\"e\",\"targetName\":\"projects/p/devices/d\",\"eventType\":\"strange\",\
                \"data\":{\"a\":\"x;=1+1\",\"b\":[1,-5]},\"timestamp\":\"2026-11-23T10:00:00Z\"}\n";
    let place = recording(&[text.to_owned()]);
    name(&place, "d", "a;=1+1\t@x");
    for delimiter in [",", ";", "tab", "|"] {
        let ran = place.run(&["export", "--names", "--delimiter", delimiter]);
        assert!(ran.stdout.contains("\"a;'=1+1\t'@x\""), "{delimiter}: {}", ran.stdout);
        assert!(ran.stdout.contains(r#"""x;\u003d1+1"""#) && !ran.stdout.contains(";="), "{delimiter}: {}", ran.stdout);
    }
    let plain = place.run(&["export", "--names", "--no-defuse"]).stdout;
    assert!(plain.contains("\"a;=1+1\t@x\""), "{plain}");
}

/// Gives the first event of a day file another time, as only somebody else would.
fn forge(path: &Path, time: i64) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let metadata = builder.metadata().file_metadata().key_value_metadata().cloned();
    let properties = WriterProperties::builder().set_key_value_metadata(metadata).build();
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    fs::remove_file(path).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), schema, Some(properties)).unwrap();
    for batch in batches {
        let mut columns = batch.columns().to_vec();
        let times = TimestampMicrosecondArray::from(vec![time; batch.num_rows()]).with_timezone("UTC");
        columns[0] = Arc::new(times) as ArrayRef;
        writer.write(&RecordBatch::try_new(batch.schema(), columns).unwrap()).unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn a_day_file_with_a_time_of_another_day_is_named_and_no_export_goes_on_for_ever() {
    for time in [i64::MAX, i64::MIN, i64::MAX / 2, 0] {
        let day = |day: u32| event("temperature", "a", &format!("2026-11-{day}T10:00:00Z"), "{\"value\":1}");
        let place = recording(&[day(23), day(24)]);
        forge(&place.dir().join("data/temperature/2026-11-23.parquet"), time);
        for arguments in [&["--every", "10s"][..], &["--wide", "temperature", "--every", "10s"], &["--every", "1mo"], &[]] {
            let ran = place.run(&[&["export"], arguments].concat());
            assert!(ran.code == 1 && ran.stderr.contains("2026-11-23.parquet"), "{time} {arguments:?}: {}", ran.stderr);
        }
    }
}
