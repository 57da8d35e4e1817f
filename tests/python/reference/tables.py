"""Tables as an export should say them. A cell is None, a text, a whole number, or `Near`: a double, and how large the numbers
were that it came from."""

import math
import sys
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property

from . import spans
from .calendar import SECOND, Calendar
from .schema import MAIN, MEASURES, STATES, TOTALS, columns

EVER = (-(10**18), 10**18)
AGGREGATES = ["mean", "min", "max", "sum", "count", "first", "last"]


@dataclass(frozen=True)
class Near:
    value: float
    scale: float = 0.0
    # Decimals that it is rounded to, and those that something worked out of it is rounded to; none where there are too many.
    decimals: int | None = None
    grain: int | None = None


@dataclass(frozen=True)
class OrNothing(Near):
    """Or none: what it is worked out of may be more than a double holds."""


@dataclass
class Ask:
    """What somebody asks of a recording."""

    # long, wide, latest, samples, buckets, wide-buckets
    shape: str
    types: list = field(default_factory=list)
    # By their ids.
    devices: list = field(default_factory=list)
    start: int | None = None
    end: int | None = None
    zone: str = "UTC"
    # Event type and column, of a wide table.
    values: list = field(default_factory=list)
    # Measures are asked for by their names, and all of one name are.
    quantities: bool = False
    every: str | None = None
    aggregates: list = field(default_factory=list)
    fill: str = "none"
    # Microseconds, as the option says it; without one, four buckets.
    limit: int | None = None
    limit_said: str | None = None
    names: bool = False
    labels: list = field(default_factory=list)
    # What is said instead of the devices' ids.
    chosen: list = field(default_factory=list)

    def within(self, at):
        return (self.start is None or self.start <= at) and (self.end is None or at < self.end)

    def span(self):
        return (EVER[0] if self.start is None else self.start, EVER[1] if self.end is None else self.end)


class Tables:
    """Of one recording."""

    def __init__(self, world):
        self.world = world
        self.series = {}
        for event in sorted(world.events, key=lambda event: event.order()):
            self.series.setdefault((event.type, event.device), []).append(event)
        self._known = {}

    @cached_property
    def times(self):
        """Of all events, by project."""
        out = {}
        for event in self.world.events:
            out.setdefault(event.project, []).append(event.time)
        return out

    @cached_property
    def homes(self):
        return {event.device: event.project for event in self.world.events}

    @cached_property
    def names(self):
        """By project and id, what tells a device from all others: its name, with a label or the end of its id where that is no one's alone."""
        devices = [(one.project, one.id, one.labels) for one in self.world.devices]
        out = {(project, device): device for project, device, _ in devices}
        taken = {device for _, device, _ in devices} | {labels["name"] for _, _, labels in devices if "name" in labels}
        for name in sorted({labels["name"] for _, _, labels in devices if "name" in labels}, key=lambda name: name.encode()):
            alike = [(project, device, labels) for project, device, labels in devices if labels.get("name") == name]
            ids = {device for _, device, _ in alike}
            if len(ids) == 1 and (name in ids or name not in {device for _, device, _ in devices}):
                out |= {(project, device): name for project, device, _ in alike}
                continue
            marks = [[labels.get("room") for _, _, labels in alike]]
            marks += [[device if len(device) <= length else "…" + device[-length:] for _, device, _ in alike] for length in range(4, 21)]
            for mark in marks:
                called = [f"{name} ({one})" for one in mark]
                if None not in mark and len(set(zip(mark, (one[1] for one in alike)))) == len(set(mark)) and not taken & set(called):
                    out |= {(project, device): one for (project, device, _), one in zip(alike, called)}
                    taken |= set(called)
                    break
        return out

    @cached_property
    def given(self):
        """By project and id, what people call a device."""
        return {(one.project, one.id): one.labels.get("name", one.id) for one in self.world.devices}

    def name(self, device, project=None):
        return self.names.get((project or self.homes[device], device), device)

    @cached_property
    def alone(self):
        """Devices whose id is no other one's name: `--device` takes both."""
        return sorted(set(self.homes) - {name for (_, device), name in self.given.items() if name != device})

    def called(self, device):
        """All its names."""
        return {name for names in (self.names, self.given) for (_, one), name in names.items() if one == device}

    def label(self, device, project, key):
        return next((one.labels.get(key) for one in self.world.devices if (one.project, one.id) == (project, device)), None)

    def known(self, event_type, device, project):
        key = event_type, device, project
        if key not in self._known:
            self._known[key] = self.world.ledger.known(project, self.times.get(project, []), self.world.now, event_type, device)
        return self._known[key]

    def selected(self, ask, types=None):
        """Series of the selection: event type, device, events of all times."""
        for (event_type, device), events in sorted(self.series.items()):
            wanted = types if types is not None else ask.types
            # A device is chosen by its name as well as by its id.
            if (not wanted or event_type in wanted) and (not ask.devices or device in ask.devices or not ask.chosen and self.called(device) & set(ask.devices)):
                yield event_type, device, events

    def of(self, ask):
        """Rows by what they are about; each a cell by column."""
        shapes = {"long": self.long, "wide": self.wide, "latest": self.latest, "samples": self.samples, "buckets": self.buckets, "wide-buckets": self.wide_buckets}
        return shapes[ask.shape](ask)

    # ---- Events as rows ----

    def row(self, event, ask):
        cells = {column: cell(event.values.get(column)) for column in columns(event.type)}
        cells |= {"time": event.time, "device_id": event.device, "project_id": event.project, "event_id": event.id, "event_type": event.type, "source": "import"}
        cells |= {key: self.label(event.device, event.project, key) for key in ask.labels}
        return cells | ({"device_name": self.name(event.device, event.project)} if ask.names else {})

    def long(self, ask):
        chosen = [event for _, _, events in self.selected(ask) for event in events if ask.within(event.time)]
        return {(event.type, event.id): self.row(event, ask) for event in chosen}

    def latest(self, ask):
        last = {}
        for event_type, device, events in self.selected(ask):
            for event in events:
                if ask.within(event.time):
                    last[event_type, device] = event
        return {(event.type, event.id): self.row(event, ask) for event in last.values()}

    def samples(self, ask):
        rows = []
        for _, device, events in self.selected(ask):
            for event in events:
                for at, values in event.samples:
                    if ask.within(at):
                        cells = {column: cell(value) for column, value in values.items()}
                        rows.append(cells | {"time": at, "device_id": device, "event_time": event.time, "event_id": event.id})
        return sample_keys(rows)

    def wide(self, ask):
        out = {}
        for value in ask.values:
            event_type, column = value
            for _, device, events in self.selected(ask, [event_type]):
                name = self.column(ask, value, device)
                for event in events:
                    if ask.within(event.time) and event.values.get(column) is not None:
                        # Of two at one time the greater id, which comes later.
                        out.setdefault((event.time,), {"time": event.time})[name] = cell(event.values[column])
        return out

    def column(self, ask, value, device, what=""):
        """Name of a column of a wide table."""
        event_type, column = value
        asked = {name if ask.quantities and one in MEASURES else (one, name) for one, name in ask.values}
        if ask.quantities and event_type in MEASURES:
            short = sum(name == column and (one, device) in self.series for one, name in ask.values) > 1
        else:
            short = [name for _, name in ask.values].count(column) > 1
        middle = f"{event_type}.{column}" if short else "" if len(asked) == 1 else column
        if column is None:
            middle = "" if len(asked) == 1 else event_type
        return " ".join(filter(None, [self.name(device) if ask.names else device, middle, what]))

    # ---- Buckets ----

    def buckets(self, ask):
        """By bucket, device and event type."""
        calendar, out = Calendar(ask.zone, ask.every), {}
        for event_type, device, events in self.selected(ask):
            for begins, cells in self.bucket_cells(ask, calendar, event_type, device, events).items():
                ids = {"time": begins, "device_id": device, "event_type": event_type} | ({"device_name": self.name(device)} if ask.names else {})
                out[begins, device, event_type] = ids | cells
        return out

    def wide_buckets(self, ask):
        calendar, cells_of, ends = Calendar(ask.zone, ask.every), {}, []
        begun = []
        for value in ask.values:
            event_type, column = value
            for _, device, events in self.selected(ask, [event_type]):
                found = self.bucket_cells(ask, calendar, event_type, device, events, only=column)
                ends += found
                counts = [event.time for event in events if ask.within(event.time) and (column is None or event.values.get(column) is not None)]
                begun += counts[:1]
                for begins, cells in found.items():
                    row = cells_of.setdefault(begins, {})
                    if event_type in MEASURES:
                        for name in ask.aggregates:
                            row[self.column(ask, value, device, name if len(ask.aggregates) > 1 else "")] = cells.get(f"{column}_{name}")
                    elif event_type in STATES:
                        for name in cells:
                            row[self.column(ask, value, device, name)] = cells[name]
                    else:
                        row[self.column(ask, value, device)] = cells.get("total_increase" if event_type in TOTALS else "events")
        begins = ask.start if ask.start is not None else min(begun, default=None)
        last = ask.end - 1 if ask.end is not None else max(ends, default=None)
        if begins is None or last is None:
            return {}
        return {(bucket,): {"time": bucket} | cells_of.get(bucket, {}) for bucket, _ in calendar.grid(calendar.bucket(begins)[0], last)}

    def bucket_cells(self, ask, calendar, event_type, device, events, only=None):
        """Cells of a device's buckets, where there is something to tell."""
        if event_type in MEASURES:
            return self.measures(ask, calendar, event_type, device, events, only)
        if event_type in STATES:
            return self.states(ask, calendar, event_type, device, events)
        if event_type in TOTALS:
            return self.totals(ask, calendar, events)
        out = {}
        for event in events:
            if ask.within(event.time):
                cells = out.setdefault(calendar.bucket(event.time)[0], {"events": 0})
                cells["events"] += 1
        return out

    def measures(self, ask, calendar, event_type, device, events, only):
        out = {}
        for column in [only] if only else columns(event_type):
            told = [(event.time, event.values[column]) for event in events if event.values.get(column) is not None]
            for begins, values in self.measured(ask, calendar, event_type, device, told).items():
                out.setdefault(begins, {}).update({f"{column}_{name}": values.get(name) for name in ask.aggregates})
        return out

    def measured(self, ask, calendar, event_type, device, told):
        start, end = ask.span()
        # By bucket: its end, the first and last time, the values. Outside the range whole buckets, for fills.
        filled = {}
        for at, value in told:
            begins, ends = calendar.bucket(at)
            inside = start <= at < end
            if at >= end and ask.fill == "previous":
                break
            key = (begins, inside)
            filled.setdefault(key, (ends, [], []))
            filled[key][1].append(at)
            filled[key][2].append(value)
        out = {begins: aggregate(values) for (begins, inside), (_, _, values) in filled.items() if inside}
        if ask.fill == "none" or not set(ask.aggregates) - {"count", "sum"}:
            return out
        unfilled = self.world.ledger.unfilled(self.homes[device], event_type, device)
        order = sorted((begins, ends, times, values) for (begins, _), (ends, times, values) in filled.items())
        for place, (begins, ends, times, values) in enumerate(order):
            after = order[place + 1] if place + 1 < len(order) else None
            hole, at = [], ends
            # What stood before the start in the bucket of the start fills that bucket as well.
            own = ask.fill == "previous" and begins < start < ends and (begins, True) not in filled
            if own:
                hole.append((begins, ends))
            while (after is None or at < after[0]) and at < end:
                bucket = calendar.bucket(at)
                reach = after[0] if ask.fill == "linear" and after else bucket[1]
                number = len(hole) + 1 - own
                if (number > 4 if ask.limit is None else reach - ends > ask.limit):
                    # One too long for a line is not filled at all.
                    hole = hole if ask.fill == "previous" else []
                    break
                hole.append(bucket)
                at = bucket[1]
            had = aggregate(values)
            if ask.fill == "linear":
                if after is None:
                    continue
                if at < after[0] and at >= end and ask.limit is None and bucket_count(calendar, ends, after[0]) > 4:
                    continue
                if spans.meets(unfilled, times[-1], after[2][0]):
                    continue
            for bucket in hole:
                if bucket[1] <= start or bucket[0] >= end or bucket[0] in out:
                    continue
                if ask.fill == "previous":
                    if spans.meets(unfilled, times[-1], bucket[1]):
                        break
                    out[bucket[0]] = {name: had[name] for name in ("mean", "min", "max", "first", "last")} | {"count": 0}
                else:
                    later = aggregate(after[3])
                    part = (bucket[0] - begins) / (after[0] - begins)
                    out[bucket[0]] = {name: between(had[name], later[name], part) for name in ("mean", "min", "max", "first", "last")} | {"count": 0}
        return out

    def holds(self, event_type, device, events):
        """When a device was in which state: spans and their states, within what is known."""
        column = MAIN[event_type]
        told = [(event.time, event.values[column], event.project) for event in events if event.values.get(column) is not None]
        for place, (at, state, project) in enumerate(told):
            following = told[place + 1][0] if place + 1 < len(told) else EVER[1]
            span = spans.of(self.known(event_type, device, project), at)
            if span and min(span[1], following) > at:
                yield at, min(span[1], following), state

    def states(self, ask, calendar, event_type, device, events):
        start, end = ask.span()
        seconds, out = {}, {}
        for begins, ends, state in self.holds(event_type, device, events):
            for at, until in spans.cut([(begins, ends)], start, end):
                while at < until:
                    bucket = calendar.bucket(at)
                    key = bucket[0], state
                    seconds[key] = seconds.get(key, 0) + min(until, bucket[1]) - at
                    at = bucket[1]
        for (begins, state), length in seconds.items():
            out.setdefault(begins, {})[f"{state}_seconds"] = Near(length / SECOND, 1)
        for event in events:
            state = event.values.get(MAIN[event_type])
            if ask.within(event.time) and state is not None:
                cells = out.setdefault(calendar.bucket(event.time)[0], {})
                if "count" in ask.aggregates:
                    cells[f"{state}_events"] = cells.get(f"{state}_events", 0) + 1
                cells.setdefault(f"{state}_seconds", Near(0.0, 1))
        return out

    def totals(self, ask, calendar, events):
        out = {}
        for at, added in increases(events):
            if ask.within(at):
                cells = out.setdefault(calendar.bucket(at)[0], {"total_increase": 0})
                cells["total_increase"] += added
        return out


def increases(events):
    """What each total adds: a fall to less than half is a restart, a smaller one came late and says nothing."""
    mark = None
    for at, total in sorted((event.time, event.values["total"]) for event in events if event.values.get("total") is not None):
        if mark is None:
            added, mark = 0, total
        elif total > mark:
            added, mark = total - mark, total
        elif total * 2 < mark:
            added, mark = total, total
        else:
            added = 0
        yield at, added


def sample_keys(rows):
    """Samples have no id of their own: those that agree in all of it are told apart by their number."""
    out, seen = {}, {}
    for cells in sorted(rows, key=lambda cells: (cells["time"], cells["device_id"], cells["event_id"])):
        key = cells["time"], cells["device_id"], cells["event_id"]
        seen[key] = seen.get(key, 0) + 1
        out[(*key, seen[key])] = cells
    return out


def bucket_count(calendar, begins, ends):
    return len(calendar.grid(begins, ends - 1))


def between(one, other, part):
    if one is None or other is None:
        return None
    grains = [value.grain for value in (one, other)]
    grain = None if None in grains else max(grains)
    one, other = (value.value for value in (one, other))
    return Near(one + (other - one) * part, max(abs(one), abs(other)), grain, grain)


def cell(value):
    return Near(float(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def total_of(values):
    """Their sum; none where no double holds it."""
    try:
        return math.fsum(values)
    except OverflowError:
        # Maybe only on the way there.
        exact = sum(map(Fraction, values))
        return float(exact) if abs(exact) <= Fraction(sys.float_info.max) else None


def mean_of(values):
    total = total_of(values)
    return None if total is None else Near(total / len(values), max(map(abs, values)) * 1e-16)


def decimals_of_means(values):
    """Three more than the values have; none where one has more than nine."""
    own = [Decimal(repr(float(value))) for value in values]
    decimals = [-min(0, value.normalize().as_tuple().exponent) for value in own]
    is_exact = all(abs(value) * 10**many < 2**53 for value, many in zip(own, decimals))
    return max(decimals) + 3 if max(decimals) <= 9 and is_exact else None


def aggregate(values):
    total = total_of(values)
    scale = max(map(abs, values)) * 1e-16
    grain = decimals_of_means(values)
    mean = mean_of(values)
    exact = lambda value: Near(value, grain=grain)
    return {
        "mean": mean and replace(mean, decimals=grain, grain=grain), "min": exact(min(values)), "max": exact(max(values)),
        "sum": None if total is None else Near(total, scale),
        "count": len(values), "first": exact(values[0]), "last": exact(values[-1]),
    }
