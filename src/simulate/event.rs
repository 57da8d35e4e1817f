//! The text of every event type, key by key as the cloud writes it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// One second in the unit of all event times.
pub(super) const SECOND: i64 = 1_000_000;

/// A reading of a thermometer (and hygrometer) at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) time: i64,
    pub(super) celsius: f64,
    pub(super) humidity: f64,
}

/// What an event says; everything but the envelope. Samples are newest first and never empty.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body<'a> {
    Touch,
    Temperature(&'a [Sample]),
    Humidity(&'a [Sample]),
    ObjectPresent(bool),
    ObjectPresentCount(u64),
    TouchCount(u64),
    WaterPresent(bool),
    NetworkStatus {
        connector: &'a str,
        strength: i32,
        rssi: i32,
        mode: &'static str,
    },
    BatteryStatus(u8),
    LabelsChanged {
        added: &'a [(String, String)],
        modified: &'a [(String, String)],
        removed: &'a [String],
    },
    ConnectionStatus {
        connection: &'static str,
        available: &'static [&'static str],
    },
    EthernetStatus {
        mac: &'a str,
        ip: &'a str,
        error: Option<(u32, &'static str)>,
    },
    CellularStatus {
        strength: i32,
        error: Option<(u32, &'static str)>,
    },
    Co2(u32),
    Pressure(u32),
    Motion(bool),
    DeskOccupancy {
        occupied: bool,
        remarks: &'static [&'static str],
    },
    Contact(bool),
    ProbeWireStatus(&'static str),
    /// Already written by somebody else: the emulator's clients.
    Raw {
        kind: &'a str,
        inner: &'a str,
    },
}

impl Body<'_> {
    /// The event type's name.
    pub(super) fn kind(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Touch => "touch",
            Self::Temperature(_) => "temperature",
            Self::Humidity(_) => "humidity",
            Self::ObjectPresent(_) => "objectPresent",
            Self::ObjectPresentCount(_) => "objectPresentCount",
            Self::TouchCount(_) => "touchCount",
            Self::WaterPresent(_) => "waterPresent",
            Self::NetworkStatus { .. } => "networkStatus",
            Self::BatteryStatus(_) => "batteryStatus",
            Self::LabelsChanged { .. } => "labelsChanged",
            Self::ConnectionStatus { .. } => "connectionStatus",
            Self::EthernetStatus { .. } => "ethernetStatus",
            Self::CellularStatus { .. } => "cellularStatus",
            Self::Co2(_) => "co2",
            Self::Pressure(_) => "pressure",
            Self::Motion(_) => "motion",
            Self::DeskOccupancy { .. } => "deskOccupancy",
            Self::Contact(_) => "contact",
            Self::ProbeWireStatus(_) => "probeWireStatus",
            Self::Raw { kind, .. } => return Cow::Owned((*kind).to_owned()),
        })
    }

    /// The inner object; `None` for `labelsChanged`, whose data is not keyed by its type.
    pub(super) fn write(&self, out: &mut String, time: &str) -> fmt::Result {
        match self {
            Self::Touch => write!(out, r#"{{"updateTime":"{time}"}}"#),
            Self::Temperature(samples) => temperature(out, samples, time),
            Self::Humidity(samples) => humidity(out, samples, time),
            Self::ObjectPresent(on) | Self::WaterPresent(on) => state(out, pick(*on, "PRESENT", "NOT_PRESENT"), time),
            Self::ObjectPresentCount(total) | Self::TouchCount(total) => {
                write!(out, r#"{{"total":{total},"updateTime":"{time}"}}"#)
            }
            Self::NetworkStatus { connector, strength, rssi, mode } => write!(
                out,
                r#"{{"signalStrength":{strength},"rssi":{rssi},"updateTime":"{time}","cloudConnectors":[{{"id":"{connector}","signalStrength":{strength},"rssi":{rssi}}}],"transmissionMode":"{mode}"}}"#
            ),
            Self::BatteryStatus(percentage) => write!(out, r#"{{"percentage":{percentage},"updateTime":"{time}"}}"#),
            Self::LabelsChanged { added, modified, removed } => labels_changed(out, added, modified, removed),
            Self::ConnectionStatus { connection, available } => {
                write!(out, r#"{{"connection":"{connection}","available":"#)?;
                names(out, available)?;
                write!(out, r#","updateTime":"{time}"}}"#)
            }
            Self::EthernetStatus { mac, ip, error } => {
                write!(out, r#"{{"macAddress":"{mac}","ipAddress":"{ip}","errors":"#)?;
                errors(out, *error)?;
                write!(out, r#","updateTime":"{time}"}}"#)
            }
            Self::CellularStatus { strength, error } => {
                write!(out, r#"{{"signalStrength":{strength},"errors":"#)?;
                errors(out, *error)?;
                write!(out, r#","updateTime":"{time}"}}"#)
            }
            Self::Co2(ppm) => write!(out, r#"{{"ppm":{ppm},"updateTime":"{time}"}}"#),
            Self::Pressure(pascal) => write!(out, r#"{{"pascal":{pascal},"updateTime":"{time}"}}"#),
            Self::Motion(on) => state(out, pick(*on, "MOTION_DETECTED", "NO_MOTION_DETECTED"), time),
            Self::DeskOccupancy { occupied, remarks } => {
                let state = pick(*occupied, "OCCUPIED", "NOT_OCCUPIED");
                write!(out, r#"{{"state":"{state}","updateTime":"{time}","remarks":"#)?;
                names(out, remarks)?;
                out.write_char('}')
            }
            Self::Contact(open) => state(out, pick(*open, "OPEN", "CLOSED"), time),
            Self::ProbeWireStatus(wires) => state(out, wires, time),
            Self::Raw { inner, .. } => out.write_str(inner),
        }
    }
}

fn pick(on: bool, yes: &'static str, no: &'static str) -> &'static str {
    if on { yes } else { no }
}

fn state(out: &mut String, state: &str, time: &str) -> fmt::Result {
    write!(out, r#"{{"state":"{state}","updateTime":"{time}"}}"#)
}

fn temperature(out: &mut String, samples: &[Sample], time: &str) -> fmt::Result {
    let Some(first) = samples.first() else { return Err(fmt::Error) };
    write!(out, r#"{{"value":{},"updateTime":"{time}","samples":["#, first.celsius)?;
    for (i, s) in samples.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(out, r#"{comma}{{"value":{},"sampleTime":"{}"}}"#, s.celsius, At(s.time))?;
    }
    out.write_str(r#"],"isBackfilled":false}"#)
}

fn humidity(out: &mut String, samples: &[Sample], time: &str) -> fmt::Result {
    let Some(first) = samples.first() else { return Err(fmt::Error) };
    write!(out, r#"{{"temperature":{},"relativeHumidity":{},"samples":["#, first.celsius, first.humidity)?;
    for (i, s) in samples.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let (c, h, t) = (s.celsius, s.humidity, At(s.time));
        write!(out, r#"{comma}{{"temperature":{c},"relativeHumidity":{h},"sampleTime":"{t}"}}"#)?;
    }
    write!(out, r#"],"updateTime":"{time}","isBackfilled":false}}"#)
}

fn labels_changed(
    out: &mut String,
    added: &[(String, String)],
    modified: &[(String, String)],
    removed: &[String],
) -> fmt::Result {
    write!(out, r#"{{"added":{},"modified":{},"removed":["#, Map(added), Map(modified))?;
    for (i, key) in removed.iter().enumerate() {
        write!(out, "{}{}", if i == 0 { "" } else { "," }, Quoted(key))?;
    }
    out.write_str("]}")
}

fn names(out: &mut String, names: &[&str]) -> fmt::Result {
    out.write_char('[')?;
    for (i, name) in names.iter().enumerate() {
        write!(out, r#"{}"{name}""#, if i == 0 { "" } else { "," })?;
    }
    out.write_char(']')
}

fn errors(out: &mut String, error: Option<(u32, &str)>) -> fmt::Result {
    match error {
        None => out.write_str("[]"),
        Some((code, message)) => write!(out, r#"[{{"code":{code},"message":"{message}"}}]"#),
    }
}

/// Microseconds since 1970, written as RFC 3339 with six decimals.
#[derive(Debug, Clone, Copy)]
pub(super) struct At(pub(super) i64);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{time:.6}")
    }
}

/// A JSON string in ASCII: the cloud's own client trips over U+2028 and U+0085 sent raw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                ' '..='~' => f.write_char(c)?,
                _ => escape(f, c)?,
            }
        }
        f.write_char('"')
    }
}

/// `\uXXXX`, as two surrogates where one is not enough.
pub(super) fn escape(out: &mut impl fmt::Write, c: char) -> fmt::Result {
    for unit in c.encode_utf16(&mut [0; 2]) {
        write!(out, "\\u{unit:04x}")?;
    }
    Ok(())
}

/// A JSON object of strings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Map<'a>(pub(super) &'a [(String, String)]);

impl fmt::Display for Map<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        for (i, (key, value)) in self.0.iter().enumerate() {
            write!(f, "{}{}:{}", if i == 0 { "" } else { "," }, Quoted(key), Quoted(value))?;
        }
        f.write_char('}')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_ascii() {
        assert_eq!(Quoted("Kühl\u{2028}😀\"").to_string(), r#""K\u00fchl\u2028\ud83d\ude00\"""#);
        assert_eq!(Map(&[("a".to_owned(), "ü".to_owned())]).to_string(), r#"{"a":"\u00fc"}"#);
    }
}
