"""Random asks, and how they are said on a command line."""

from dataclasses import replace

from .calendar import DAY, HOUR, MINUTE, SECOND, ZONES, Calendar, rfc3339
from .schema import MAIN, MEASURES, SAMPLES, STATES, TOTALS
from .tables import AGGREGATES, Ask

EVERY = {
    "10s": 10 * SECOND, "1m": MINUTE, "15m": 15 * MINUTE, "30m": HOUR // 2, "1h": HOUR, "2h": 2 * HOUR, "6h": 6 * HOUR, "12h": 12 * HOUR,
    "1d": DAY, "2d": 2 * DAY, "1w": 7 * DAY, "2w": 14 * DAY, "1mo": 30 * DAY, "3mo": 91 * DAY,
}
# Ways to write CSV, and how they read.
DIALECTS = {
    "unix": (["--time-format", "unix"], {}),
    "unix-ms": (["--time-format", "unix-ms"], {}),
    "tabs": (["--delimiter", "tab", "--null", "NULL"], {"delimiter": "\t"}),
    "colons": (["--delimiter", ":", "--crlf"], {"delimiter": ":"}),
    "commas": (["--decimal", ",", "--bom"], {"delimiter": ";"}),
}
# Rows of a grid, at most.
ROWS = 1500


def random_ask(dice, world, tables):
    types = sorted({event.type for event in world.events})
    ask = Ask(dice.choice(["long", "wide", "latest", "samples", "buckets", "buckets", "buckets", "wide-buckets", "wide-buckets"]))
    ask.zone = world.zone if dice.random() < 0.7 else dice.choice(ZONES)
    if dice.random() < 0.5:
        ask.types = dice.sample(types, dice.randrange(1, min(3, len(types)) + 1))
    if dice.random() < 0.25:
        homes = sorted(tables.homes)
        ask.devices = dice.sample(homes, dice.randrange(1, min(3, len(homes)) + 1))
    ask.names = bool(world.devices) and dice.random() < 0.25
    if world.devices and dice.random() < 0.15:
        choose(dice, ask, world, tables)
    if ask.shape.startswith("wide"):
        ask.types = []
        possible = [(name, column) for name in types if name in MEASURES for column in MEASURES[name]]
        possible += [(name, MAIN[name]) for name in types if name in STATES or name in TOTALS]
        if ask.shape == "wide-buckets" and "touch" in types:
            possible.append(("touch", None))
        if not possible:
            ask.shape = "long"
        else:
            possible = list(dict.fromkeys(possible))
            ask.values = dice.sample(possible, dice.randrange(1, min(4, len(possible)) + 1))
            ask.quantities = dice.random() < 0.5
    if ask.shape == "samples":
        ask.types = [name for name in ask.types if name in SAMPLES]
    span(dice, ask, world)
    # Of which devices a range tells is another matter than what a quantity is.
    ask.quantities &= ask.start is None and ask.end is None
    if ask.quantities:
        measured = {column for event_type, column in ask.values if event_type in MEASURES}
        also = [(name, column) for name in types if name in MEASURES for column in MEASURES[name] if column in measured]
        ask.values = list(dict.fromkeys(ask.values + also))
    if ask.shape.endswith("buckets"):
        ask.aggregates = dice.sample(AGGREGATES, dice.randrange(1, 8))
        long = max(ask.end or 0, world.begins + world.length) - min(ask.start if ask.start is not None else world.begins, world.begins)
        rows = 20_000 if dice.random() < 0.02 else ROWS
        fits = [name for name, length in EVERY.items() if long // length <= rows]
        ask.every = dice.choice(fits[:6])
        ask.fill = dice.choice(["none", "none", "previous", "linear"])
        if ask.fill != "none":
            if dice.random() < 0.6:
                ask.limit_said, ask.limit = limit(dice, EVERY[ask.every])
            if ask.fill == "linear" or dice.random() < 0.7:
                align(ask)
    if ask.shape in ("long", "latest") and world.devices and dice.random() < 0.15:
        ask.labels = ["room"]
    if world.moved and ask.shape not in ("long", "latest", "samples"):
        # Of which project a figure of one that moved is, nobody can say.
        ask.names, ask.fill, ask.limit, ask.limit_said = False, "none", None, None
    return ask


def choose(dice, ask, world, tables):
    """Devices by their type, a label, a name."""
    kind, room = dice.choice(world.devices).type, dice.choice(["101", "102"])
    by = {
        ("--device-type", kind): [one.id for one in world.devices if one.type == kind],
        ("--label", f"room={room}"): [one.id for one in world.devices if one.labels.get("room") == room],
        ("--label", "room"): [one.id for one in world.devices if "room" in one.labels],
    }
    said, devices = dice.choice(sorted(by.items()))
    if devices and not world.moved:
        ask.chosen, ask.devices = list(said), sorted(set(devices) & set(tables.homes))


def span(dice, ask, world):
    """A range, of whole seconds or not; in it some events, all or none."""
    lies = lambda: world.begins + dice.randrange(-world.length // 2, world.length * 3 // 2)
    grain = dice.choice([1, SECOND, HOUR, HOUR])
    if dice.random() < 0.6:
        ask.start = lies() // grain * grain
    if dice.random() < 0.6:
        ask.end = (max(lies(), (ask.start or world.begins) + world.length // 8) // grain + 1) * grain
    if world.future and ask.end is None:
        ask.end = world.now - DAY
    if ask.end is not None:
        # What is known up to now grows while the program is asked.
        ask.end = min(ask.end, world.now - HOUR)
        if ask.start is not None and ask.start >= ask.end:
            ask.start = ask.end - HOUR


def limit(dice, length):
    pieces = dice.choice([1, 2, 3, 10, 40])
    total = min(length * pieces, 60 * DAY)
    total = max(total + dice.choice([0, 0, HOUR, -length // 2]), SECOND) // SECOND
    return f"{total}s", total * SECOND


def align(ask):
    calendar = Calendar(ask.zone, ask.every)
    if ask.start is not None:
        ask.start = calendar.bucket(ask.start)[0]
    if ask.end is not None:
        begins, ends = calendar.bucket(ask.end - 1)
        ask.end = begins if begins > (ask.start if ask.start is not None else -(10**18)) else ends


def said(value, ask):
    event_type, column = value
    if ask.quantities and event_type in MEASURES:
        return column
    is_shared = [column in columns for columns in MEASURES.values()].count(True) > 1
    return event_type if column is None or MAIN.get(event_type) == column and not is_shared else f"{event_type}.{column}"


def arguments(ask):
    """Of `overnight export`."""
    out = []
    for name in ask.types:
        out += ["--event-type", name]
    out += ask.chosen
    for device in ask.devices if not ask.chosen else []:
        out += ["--device", device]
    if ask.labels:
        out += ["--with-labels", ",".join(ask.labels)]
    if ask.start is not None:
        out += ["--start", rfc3339(ask.start)]
    if ask.end is not None:
        out += ["--end", rfc3339(ask.end)]
    if ask.zone != "UTC":
        out += ["--tz", ask.zone]
    if ask.names:
        out.append("--names")
    if ask.shape.startswith("wide"):
        out += ["--wide", ",".join(dict.fromkeys(said(value, ask) for value in ask.values))]
    if ask.shape in ("latest", "samples"):
        out.append("--" + ask.shape)
    if ask.every:
        out += ["--every", ask.every, "--agg", ",".join(ask.aggregates)]
        if ask.fill != "none":
            out += ["--fill", ask.fill]
        if ask.limit_said:
            out += ["--fill-limit", ask.limit_said]
    return out


def parts(ask):
    """The same ask with less in it, for the smallest that still differs."""
    if ask.chosen:
        yield replace(ask, chosen=[])
    for name, plain in [("types", []), ("labels", []), ("start", None), ("end", None), ("zone", "UTC"), ("names", False)]:
        if getattr(ask, name) != plain:
            yield replace(ask, **{name: plain})
    for name in ("values", "aggregates", "types", "devices"):
        for one in getattr(ask, name) if name != "values" or not ask.quantities else []:
            if len(getattr(ask, name)) > 1:
                yield replace(ask, **{name: [one]})


def formats(ask):
    """Those that can say it; the cheap ones more often."""
    one_type = ask.shape.startswith("wide") or len(ask.types) == 1 and ask.shape != "samples"
    rows = ask.names or ask.shape not in ("long", "latest")
    sets = ask.shape == "long"
    return ["csv"] * 5 + [*DIALECTS] + ["ndjson"] * rows + ["xlsx"] + ["parquet", "arrow"] * one_type + ["type", "day", "hive"] * sets


def random_report(dice, world):
    """A range, from any moment to another."""
    start = world.begins + dice.randrange(-world.length // 2, world.length)
    return Ask("report", zone=world.zone, start=start, end=min(start + 1 + dice.randrange(world.length), world.now))


def random_plot(dice, world, tables):
    """One event type of one device; none where that has no line and no bars."""
    event = dice.choice(world.events)
    if event.device in tables.alone and (event.type in MEASURES or event.type in STATES):
        ask = random_report(dice, world)
        return replace(ask, shape="plot", types=[event.type], devices=[event.device])
    return None
