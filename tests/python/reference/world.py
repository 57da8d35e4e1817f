"""A made-up recording: events, names of devices, a ledger; all of it from one seed."""

import json
import random
import sqlite3
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from .calendar import DAY, HOUR, MINUTE, SECOND, ZONES, micros, moment, rfc3339
from .ledger import Ledger, made_up
from .schema import MAIN, MEASURES, OTHERS, SAMPLES, STATES, TOTALS

# Moments at which calendars are hard: clocks put back and on, a day that never was, the year 1970, ends of years and of leap days.
HARD = [
    "2025-10-26T01:00", "2026-03-29T01:00", "2025-11-02T06:00", "2026-03-08T07:00", "2026-04-04T15:00", "2025-10-04T15:30", "2018-11-04T03:00",
    "2018-02-18T02:00", "2011-12-30T10:00", "2011-10-30T02:31", "2026-02-15T02:00", "2026-03-22T02:00", "2025-09-27T14:00", "2026-04-04T14:00",
    "2025-03-09T05:00", "2025-11-02T05:00", "2021-03-21T20:30", "1970-01-01T00:00", "1969-12-31T20:00", "1972-01-07T00:44:30", "1968-10-27T00:00",
    "2024-02-29T12:00", "2025-12-31T23:00", "2000-01-01T00:00", "2006-10-29T02:31",
]
# Behind all events but those of the future, and before today: the same seed gives the same recording on any day.
NOW = micros(datetime(2026, 11, 1, tzinfo=timezone.utc))
FUTURE = micros(datetime(2036, 1, 1, tzinfo=timezone.utc))
NAMES = ["Kitchen", "Büro; Nord, 2", 'say "hello"', "温度", "Cold\nroom", "d2", "Hall", "Kitchen", "Zoë ’ 7", "tab\there"]


@dataclass
class Event:
    type: str
    id: str
    device: str
    project: str
    time: int
    # By column.
    values: dict = field(default_factory=dict)
    # Time and values of each.
    samples: list = field(default_factory=list)
    text: str = ""

    def order(self):
        return self.time, self.id


@dataclass
class Device:
    project: str
    id: str
    type: str
    labels: dict


@dataclass
class World:
    seed: int
    events: list
    # Lines as they come, doubles among them, in files.
    files: list
    devices: list
    ledger: Ledger
    zone: str
    begins: int
    length: int
    rolls: tuple
    # Later than anything that is known.
    now: int
    future: bool = False
    # Devices with events in two projects.
    moved: set = field(default_factory=set)

    def smaller(self, events, ledger=None):
        """With fewer events, as one file."""
        lines = [event.text for event in events]
        return replace(self, events=events, files=[lines], ledger=ledger or self.ledger)


class Text(str):
    """JSON as it stands."""


def spelled(dice, value):
    """A number as JSON may spell it."""
    if dice.random() < 0.8:
        return Text(repr(value))
    number = repr(float(value))
    return Text(dice.choice([number, f"{float(value)!r}e0" if "e" not in number else number, f"{number}E+00" if "e" not in number else number]))


def quoted(dice, text):
    if text and dice.random() < 0.1:
        at = dice.randrange(len(text))
        if ord(text[at]) < 0x10000:
            return '"' + json.dumps(text[:at])[1:-1] + f"\\u{ord(text[at]):04x}" + json.dumps(text[at + 1 :])[1:-1] + '"'
    return json.dumps(text, ensure_ascii=dice.random() < 0.5)


def dump(dice, value):
    space = dice.choice(["", "", "", " "])
    match value:
        case Text():
            return str(value)
        case str():
            return quoted(dice, value)
        case None | bool() | int() | float():
            return json.dumps(value)
        case list():
            return "[" + f",{space}".join(dump(dice, part) for part in value) + "]"
        case dict():
            return "{" + f",{space}".join(f"{quoted(dice, name)}:{space}{dump(dice, part)}" for name, part in value.items()) + "}"
    raise TypeError(value)


def clock(dice, at):
    """A time as RFC 3339 may spell it."""
    text = moment(at).strftime("%Y-%m-%dT%H:%M:%S.%f")
    if text.endswith(".000000") and dice.random() < 0.5:
        text = text[:-7]
    elif dice.random() < 0.2:
        text = text.rstrip("0").removesuffix(".")
    elif dice.random() < 0.05:
        # Parts of a microsecond are cut off.
        text += dice.choice(["4", "789", "999"])
    if dice.random() < 0.1:
        minutes = dice.choice([60, -300, 345])
        text = moment(at + minutes * MINUTE).strftime("%Y-%m-%dT%H:%M:%S.%f")
        return f"{text}{'+' if minutes > 0 else '-'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    return text + "Z"


def write(dice, event, escapes=False):
    """The event's text; with `escapes` in the name of its device as well."""
    data = {}
    keys = MEASURES.get(event.type) or {MAIN[event.type]: MAIN[event.type]} if event.type in MAIN else {}
    for column, key in keys.items():
        value = event.values.get(column)
        if value is None:
            if dice.random() < 0.5:
                data[key] = None
        else:
            data[key] = value if isinstance(value, str) else spelled(dice, value)
    if event.samples or (event.type in SAMPLES and dice.random() < 0.2):
        key_of = SAMPLES[event.type]
        data["samples"] = [
            {key_of[column]: spelled(dice, value) for column, value in values.items()} | {"sampleTime": rfc3339(at)} for at, values in event.samples
        ]
    if dice.random() < 0.7:
        data["updateTime"] = clock(dice, event.time)
    target = f"projects/{event.project}/devices/{event.device}"
    body = {
        "eventId": event.id, "targetName": target if escapes else Text(f'"{target}"'), "eventType": event.type,
        "data": {event.type: data}, "timestamp": Text(json.dumps(clock(dice, event.time))),
    }
    if dice.random() < 0.05:
        body["data"]["unheardOf"] = 1
    return dump(dice, body)


def value_of(dice, walk):
    match dice.randrange(12):
        case 0:
            return float(dice.randrange(-5, 5))
        case 1:
            return dice.choice([1e16, -1e16, 1.0, 0.1, 3e-7])
        case 2:
            return dice.randrange(-40, 1500)
        case 3:
            return dice.gauss(0, 1e3)
    return round(walk, dice.randrange(0, 4))


def series(dice, event_type, device, project, times, huge, escapes):
    """Events of a device, in the order of their times."""
    walk, total = dice.uniform(-20, 30), dice.choice([0, 5, 1000, 1_000_000, 4_000_000_000])
    for at in times:
        number = "".join(dice.choice("0123456789abcdefghijklmnop") for _ in range(dice.choice([3, 8, 20])))
        event = Event(event_type, f"{number}{at % 997}", device, project, at)
        walk += dice.gauss(0, 1)
        if event_type in MEASURES:
            for column in MEASURES[event_type]:
                if len(MEASURES[event_type]) == 1 or dice.random() < 0.97:
                    event.values[column] = dice.choice([1.7e308, -1.7e308]) if huge and dice.random() < 0.3 else value_of(dice, walk)
        elif event_type in STATES:
            event.values[MAIN[event_type]] = dice.choice(STATES[event_type][1])
        elif event_type in TOTALS:
            match dice.randrange(20):
                case 0:
                    total = dice.randrange(0, total // 3 + 1)
                case 1:
                    total = max(0, total - dice.choice([1, 2, total // 4]))
                case 2:
                    total = total // 2
                case _:
                    total += dice.choice([0, 0, 1, 1, 2, 7, 100])
            event.values["total"] = total
        if event_type in SAMPLES and dice.random() < 0.3:
            step = dice.choice([5 * MINUTE, 15 * MINUTE, 7 * SECOND])
            count = dice.randrange(1, 5)
            event.samples = [(at - n * step, {column: value_of(dice, walk) for column in SAMPLES[event_type]}) for n in range(count)]
        event.text = write(dice, event, escapes)
        yield event


def made(seed):
    """The recording of a seed."""
    dice = random.Random(seed)
    now = NOW
    zone = dice.choice(ZONES)
    if dice.random() < 0.65:
        middle = micros(datetime.fromisoformat(dice.choice(HARD)).replace(tzinfo=timezone.utc))
    else:
        middle = now - dice.randrange(2, 40) * DAY
    length = dice.choice([2 * HOUR, 8 * HOUR, DAY, DAY, 3 * DAY, 3 * DAY, 9 * DAY, 40 * DAY, 100 * DAY])
    begins = middle - dice.randrange(length)
    begins = min(begins, now - length - DAY)
    projects = ["p1", "p2", "p3"][: dice.choice([1, 1, 2, 3])]
    kinds = list(MEASURES) + list(STATES) * 2 + TOTALS * 3 + OTHERS + ["temperature", "humidity"] * 3
    kinds = dice.sample(sorted(set(kinds)), dice.randrange(2, 6)) + [dice.choice(kinds)]
    huge, escapes = dice.random() < 0.05, dice.random() < 0.03
    events, homes, moved = [], {}, set()
    for number in range(dice.randrange(1, 8)):
        device = dice.choice(["d", "door", "b-", "sensor_", "x"]) + str(number)
        homes[device] = dice.choice(projects)
        moving = dice.random() < 0.06
        for event_type in dice.sample(sorted(set(kinds)), dice.randrange(1, min(4, len(set(kinds)) + 1))):
            count = dice.choice([1, 2, 3, 8, 20, 60])
            grain = dice.choice([1, SECOND, MINUTE, 15 * MINUTE, HOUR])
            since, until = sorted(dice.randrange(length + 1) for _ in range(2))
            since = dice.choice([0, since])
            until = dice.choice([length, max(until, since + 1)])
            times = sorted(begins + since + dice.randrange(max(1, until - since)) // grain * grain for _ in range(count))
            if dice.random() < 0.3:
                # Ties in time.
                times = sorted(times + dice.sample(times, len(times) // 4 + 1))
            own = list(series(dice, event_type, device, homes[device], times, huge, escapes))
            if moving and len(projects) > 1:
                moved.add(device)
                for event in own[len(own) // 2 :]:
                    event.project = projects[(projects.index(homes[device]) + 1) % len(projects)]
                    event.text = write(dice, event, escapes)
            events += own
    future = dice.random() < 0.07
    if future:
        device = dice.choice(sorted(homes))
        kind = dice.choice([event.type for event in events if event.device == device])
        events += series(dice, kind, device, homes[device], [FUTURE + dice.randrange(20 * DAY)], False, escapes)
    events = list({(event.type, event.id): event for event in events}.values())
    lines = [event.text for event in events]
    lines += dice.sample(lines, len(lines) // 10)
    dice.shuffle(lines)
    if dice.random() < 0.3:
        lines.sort(key=lambda line: json.loads(line)["timestamp"])
    pieces = dice.choice([1, 1, 2, 3])
    files = [lines[n::pieces] for n in range(pieces)]
    types = {"temperature": "temperature", "humidity": "humidity", "co2": "co2", "contact": "contact", "touchCount": "touch", "connectionStatus": "ccon"}
    devices, names = [], dice.sample(NAMES, len(NAMES))
    if dice.random() < 0.6:
        for number, (device, project) in enumerate(sorted(homes.items())):
            kind = next((types[event.type] for event in events if event.device == device and event.type in types), "touch")
            labels = {"name": names[number]} if dice.random() < 0.8 else {}
            devices.append(Device(project, device, kind, labels | ({"room": dice.choice(["101", "102"])} if dice.random() < 0.6 else {})))
        for device in sorted(moved):
            other = projects[(projects.index(homes[device]) + 1) % len(projects)]
            kind = next(one.type for one in devices if one.id == device)
            devices.append(Device(other, device, kind, {"name": f"{device}, moved", "room": "103"}))
    ledger = made_up(dice, projects, sorted({event.type for event in events}), sorted(homes), begins, length, now) if dice.random() < 0.6 else Ledger()
    rolls = (dice.random() < 0.4, dice.random() < 0.4)
    return World(seed, events, files, devices, ledger, zone, begins, length, rolls, now, future, moved)


def write_devices(path, devices):
    """Into the device list, as a recorder keeps it."""
    database = sqlite3.connect(path)
    with database:
        rows = [(one.project, one.id, one.type, json.dumps(one.labels)) for one in devices]
        database.executemany("INSERT INTO device (project, id, type, product_number, labels) VALUES (?, ?, ?, '', ?)", rows)
    database.close()
