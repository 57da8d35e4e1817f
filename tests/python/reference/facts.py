"""What a report should say of devices and event types: figures, seconds in each state, hours, the longest silence."""

import json

from . import spans
from .calendar import SECOND, Calendar, rfc3339
from .found import moment_of, same, shown
from .schema import MAIN, MEASURES, STATES, TOTALS
from .tables import Near, OrNothing, increases, mean_of


def figures(tables, ask, event_type, members):
    """Of an event type and of some devices, told together; none where there is nothing to tell."""
    values, seconds, increase, last, held = [], {}, None, None, True
    start, end = ask.span()
    for device, events in members:
        if event_type in MEASURES:
            own = [event.values[MAIN[event_type]] for event in events if ask.within(event.time) and event.values.get(MAIN[event_type]) is not None]
            values += own
            held = held and (not own or mean_of(own) is not None)
            last = own[-1] if own else None
        elif event_type in STATES:
            for begins, ends, state in tables.holds(event_type, device, events):
                for at, until in spans.cut([(begins, ends)], start, end):
                    seconds[state] = seconds.get(state, 0) + until - at
            for event in events:
                if ask.within(event.time) and event.values.get(MAIN[event_type]):
                    seconds.setdefault(event.values[MAIN[event_type]], 0)
        elif event_type in TOTALS:
            added = [added for at, added in increases(events) if ask.within(at)]
            increase = (increase or 0) + sum(added) if added else increase
    told = {"readings": len(values), "seconds_in": {state: Near(length / SECOND, 1) for state, length in seconds.items()}}
    told["increase"] = None if increase is None else Near(float(increase))
    told["last"] = Near(float(last)) if len(members) == 1 and last is not None else None
    for name in ("min", "max", "mean"):
        told[name] = None
    if values:
        mean = mean_of(values)
        # Where no double holds the sum of one of them, that of all may be said or not.
        told |= {"min": Near(min(values)), "max": Near(max(values)), "mean": mean if held or mean is None else OrNothing(mean.value, mean.scale)}
    return told if values or seconds or increase is not None else None


def silence(tables, ask, device):
    """Seconds of the longest time in which somebody listened to a device's project and it said nothing, within the range."""
    world, project = tables.world, tables.homes[device]
    known = world.ledger.known(project, tables.times[project], world.now)
    said = sorted(event.time for (_, name), events in tables.series.items() if name == device for event in events)
    longest = 0
    for begins, ends in spans.cut(known, *ask.span()):
        edges = [begins, *(at for at in said if begins <= at < ends), ends]
        longest = max(longest, *(after - before for before, after in zip(edges, edges[1:])))
    return longest / SECOND


def report(tables, ask):
    """The facts that are compared, of the whole recording within a range."""
    devices, types, hours = {}, {}, {}
    calendar = Calendar(ask.zone, "1h")
    by_type = {}
    for (event_type, device), events in sorted(tables.series.items()):
        by_type.setdefault(event_type, []).append((device, events))
        told = devices.setdefault(device, {"events": 0, "figures": {}, "silence": None})
        within = [event for event in events if ask.within(event.time)]
        told["events"] += len(within)
        found = figures(tables, ask, event_type, [(device, events)])
        if found:
            told["figures"][event_type] = found
        for event in within:
            hour = hours.setdefault(calendar.bucket(event.time)[0], {})
            hour[event_type] = hour.get(event_type, 0) + 1
    for device, told in devices.items():
        if told["events"]:
            told["silence"] = silence(tables, ask, device)
    for event_type, members in by_type.items():
        within = [[event for event in events if ask.within(event.time)] for _, events in members]
        found = figures(tables, ask, event_type, members)
        if any(within) or found:
            if found:
                # The last one of several devices says nothing of their type.
                found.pop("last")
            types[event_type] = {"events": sum(map(len, within)), "devices": sum(map(bool, within)), "figures": found}
    return {"devices": devices, "types": types, "hours": hours}


def wrong(program, folder, tables, ask):
    """What is wrong with the facts of a report between a start and an end, as sentences."""
    args = ["--start", rfc3339(ask.start), "--end", rfc3339(ask.end), "--tz", ask.zone]
    said, wanted = json.loads(program.run("report", "--dir", folder, "--json", *args)), report(tables, ask)
    devices = {one["id"]: one for one in said["devices"]}
    for device, right in wanted["devices"].items():
        have = devices.get(device)
        if have is None:
            if right["events"] or right["figures"]:
                yield f"device {device} is missing"
            continue
        if have["events"] != right["events"]:
            yield f"{device}: {have['events']} events, right is {right['events']}"
        # Whose project it is silent for, nobody can say of one that moved.
        if right["events"] and device not in tables.world.moved and (have["silence"] or {"seconds": 0})["seconds"] != right["silence"]:
            yield f"{device}: silent for {have['silence']}, right is {right['silence']}"
        for event_type in sorted({*have["figures"], *right["figures"]}):
            yield from unlike(f"{device}, {event_type}", have["figures"].get(event_type), right["figures"].get(event_type))
    types = {one["type"]: one for one in said["types"]}
    for event_type in sorted({*types, *wanted["types"]}):
        have, right = types.get(event_type, NO_TYPE), wanted["types"].get(event_type, NO_TYPE)
        if (have["events"], have["devices"]) != (right["events"], right["devices"]):
            yield f"{event_type}: {have['events']} events of {have['devices']} devices, right is {right['events']} of {right['devices']}"
        yield from unlike(event_type, have["figures"], right["figures"])
    hours = {moment_of(hour["start"]): hour["events"] for hour in said["hours"] if hour["events"]}
    for at in sorted({*hours, *wanted["hours"]}):
        if hours.get(at) != wanted["hours"].get(at):
            yield f"hour {at}: {hours.get(at)}, right is {wanted['hours'].get(at)}"


NO_TYPE = {"events": 0, "devices": 0, "figures": None}
NOTHING = {"readings": 0, "min": None, "max": None, "mean": None, "increase": None, "seconds_in": {}}


def unlike(where, have, right):
    have, right = have or NOTHING, right or NOTHING
    for name, value in right.items():
        if name == "seconds_in":
            for state in sorted({*have[name], *value}):
                if not same(value.get(state, Near(0.0)), have[name].get(state, 0.0)):
                    yield f"{where}, seconds in {state}: {have[name].get(state)}, right is {shown(value.get(state))}"
        elif not same(value, have.get(name)):
            yield f"{where}, {name}: {have.get(name)}, right is {shown(value)}"
