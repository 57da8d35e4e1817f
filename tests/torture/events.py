"""Events for the torture: the n-th event is always the same, so what was sent need not be remembered to be compared.

They spread over several days, ending today, and over several types, one of which has no schema. Two events in a row share
an id and differ in their type, as the cloud's do: the key of an event is both.
"""

import datetime
import json

# Even numbers take a type of the first list, odd ones of the second.
EVEN = ["temperature", "networkStatus", "temperature", "touch"]
ODD = ["objectPresent", "tortureStatus", "co2", "humidity"]
TYPES = sorted({*EVEN, *ODD})
DAYS = 4
PROJECT = "torture"
MICROS_A_DAY = 86_400_000_000


def data(kind, n, time):
    """The values of an event, as the cloud writes them."""
    if kind == "temperature":
        value = f"{(n * 7 % 900) / 20:g}"
        return f'"value":{value},"samples":[{{"sampleTime":"{time}","value":{value}}}],"isBackfilled":false,"updateTime":"{time}"'
    if kind == "networkStatus":
        connector = f'{{"id":"cc{n % 5}","signalStrength":{n % 101},"rssi":-{n % 90}}}'
        mode = "LOW_POWER_STANDARD_MODE"
        return (
            f'"signalStrength":{n % 101},"rssi":-{n % 90},"cloudConnectors":[{connector}],'
            f'"transmissionMode":"{mode}","updateTime":"{time}"'
        )
    if kind == "objectPresent":
        return f'"state":"{"PRESENT" if n % 3 else "NOT_PRESENT"}","updateTime":"{time}"'
    if kind == "co2":
        return f'"ppm":{400 + n % 1000},"updateTime":"{time}"'
    if kind == "humidity":
        return f'"temperature":{n % 40},"relativeHumidity":{n % 100},"updateTime":"{time}"'
    if kind == "tortureStatus":
        # No schema knows it: it stands in `raw`.
        return f'"number":{n},"deep":{{"list":[{n % 7},null,true]}},"updateTime":"{time}"'
    return f'"updateTime":"{time}"'


class Events:
    """All events of a run, by number."""

    def __init__(self, today=None, days=DAYS, one_type=None):
        self.today = today or datetime.datetime.now(datetime.UTC).date()
        self.days = [(self.today - datetime.timedelta(days=back)).isoformat() for back in range(days)]
        self.even, self.odd = ([one_type], [f"{one_type}Odd"]) if one_type else (EVEN, ODD)
        self.is_odd = {kind: 0 for kind in self.even} | {kind: 1 for kind in self.odd}

    def line(self, n):
        """The n-th event as the cloud sends it, without its envelope."""
        kind = (self.odd if n & 1 else self.even)[n // 2 % 4 % len(self.even)]
        # Most are of today. The rest come late, to days that are over.
        late = (n * 7 + n // 16) % 16
        day = self.days[late % len(self.days)] if late < 6 else self.days[0]
        second, micro = n * 11 // 7 % 60, n * 1013 % 1_000_000
        time = f"{day}T{n // 3600 % 24:02}:{n // 60 % 60:02}:{second:02}.{micro:06}Z"
        return (
            f'{{"eventId":"t{n // 2:019}","targetName":"projects/{PROJECT}/devices/d{n % 40}","eventType":"{kind}",'
            f'"data":{{"{kind}":{{{data(kind, n, time)}}}}},"timestamp":"{time}"}}'
        )

    def lines(self, start, end):
        """Many as NDJSON."""
        return "".join(self.line(n) + "\n" for n in range(start, end)).encode()

    def stream(self, start, end):
        """Many as lines of a stream."""
        return "".join(f'{{"result":{{"event":{self.line(n)}}}}}\n' for n in range(start, end)).encode()

    def number(self, kind, event_id):
        """The number of an event by its key; none when it is none of ours."""
        if kind not in self.is_odd or len(event_id) != 20 or not event_id[1:].isdigit():
            return None
        return 2 * int(event_id[1:]) + self.is_odd[kind]

    def is_the_same(self, n, line):
        """True when a line is the n-th event: equal JSON values."""
        return line == self.line(n) or json.loads(line) == json.loads(self.line(n))
