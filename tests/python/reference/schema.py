"""What event types say: which column stands where in the JSON, and how it behaves. Written anew, not read from the program's."""

MEASURES = {
    "temperature": {"temperature": "value"},
    "humidity": {"temperature": "temperature", "relative_humidity": "relativeHumidity"},
    "co2": {"co2": "ppm"},
    "pressure": {"pressure": "pascal"},
    "batteryStatus": {"percentage": "percentage"},
    "networkStatus": {"signal_strength": "signalStrength", "rssi": "rssi"},
    "cellularStatus": {"signal_strength": "signalStrength"},
}
STATES = {
    "contact": ("state", ["OPEN", "CLOSED"]),
    "motion": ("state", ["MOTION_DETECTED", "NO_MOTION_DETECTED"]),
    "waterPresent": ("state", ["PRESENT", "NOT_PRESENT"]),
    "objectPresent": ("state", ["PRESENT", "NOT_PRESENT"]),
    "deskOccupancy": ("state", ["OCCUPIED", "NOT_OCCUPIED"]),
    "probeWireStatus": ("state", ["TWO_WIRE", "THREE_WIRE", "FOUR_WIRE"]),
    "connectionStatus": ("connection", ["ETHERNET", "CELLULAR", "OFFLINE", "SDS"]),
}
TOTALS = ["touchCount", "objectPresentCount"]
OTHERS = ["touch"]
SAMPLES = {"temperature": {"temperature": "value"}, "humidity": {"temperature": "temperature", "relative_humidity": "relativeHumidity"}}
# What `--wide TYPE` and the figures of a report mean.
MAIN = {
    "temperature": "temperature", "humidity": "relative_humidity", "co2": "co2", "pressure": "pressure", "batteryStatus": "percentage",
    "networkStatus": "signal_strength", "cellularStatus": "signal_strength",
} | {name: column for name, (column, _) in STATES.items()} | dict.fromkeys(TOTALS, "total")


def columns(event_type):
    """Names of the columns that tables tell."""
    if event_type in MEASURES:
        return list(MEASURES[event_type])
    return [MAIN[event_type]] if event_type in MAIN else []
