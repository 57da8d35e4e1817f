//! Units as people write them: schema files name them in UCUM.

/// A UCUM unit as it stands on an axis; empty for a number without one.
pub fn written(unit: &str) -> String {
    let known = match unit {
        "1" => "",
        "Cel" => "°C",
        "[degF]" => "°F",
        "dB[mW]" => "dBm",
        "[ppm]" => "ppm",
        "[ppb]" => "ppb",
        "deg" => "°",
        "Ohm" => "Ω",
        "[lx]" => "lx",
        "m2" => "m²",
        "m3" => "m³",
        "ug/m3" => "µg/m³",
        "um" => "µm",
        "us" => "µs",
        // A count of things, as {events} or {1}: what stands in braces is for people already.
        other => other.trim_matches(['{', '}', '[', ']']),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_read_as_on_a_thermometer() {
        let all = ["Cel", "1", "%", "dB[mW]", "[ppm]", "Pa", "{touches}"].map(written);
        assert_eq!(all, ["°C", "", "%", "dBm", "ppm", "Pa", "touches"]);
    }
}
