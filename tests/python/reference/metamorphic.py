"""What has to be so whatever is recorded, with no reference at all: the program is held against itself."""

import math
import shutil
from dataclasses import replace

from .asks import EVERY, ROWS, align, span
from .calendar import Calendar
from .found import moment_of
from .schema import MAIN, MEASURES
from .tables import AGGREGATES, Ask


def rows(program, folder, ask, drop=("received_at",)):
    """Rows as sets of what they tell: what is empty or nothing tells nothing."""
    header, lines = program.export(folder, ask)
    return [{name: cell for name, cell in zip(header, line) if cell not in (None, "0") and name not in drop} for line in lines]


def telling(table):
    """Rows that tell something, in a form that compares."""
    return sorted(tuple(sorted(row.items())) for row in table if set(row) - {"time", "device_id", "event_type", "device_name"})


def differ(one, other, what):
    one, other = telling(one), telling(other)
    if one != other:
        lost, more = [row for row in one if row not in other], [row for row in other if row not in one]
        yield f"{what}: {len(one)} rows and {len(other)}; only here {lost[:2]}; only there {more[:2]}"


def buckets(dice, world, every=None):
    """An ask for buckets of all of it, without a range."""
    fits = [name for name, length in EVERY.items() if world.length * 2 // length <= ROWS]
    ask = Ask("buckets", zone=world.zone, every=every or dice.choice(fits[:5]), aggregates=AGGREGATES, fill=dice.choice(["none", "previous", "linear"]))
    return replace(ask, end=world.now) if world.future else ask


def a_range_is_what_the_whole_says_of_it(dice, program, folder, tables):
    ask = buckets(dice, tables.world)
    part = replace(ask)
    span(dice, part, tables.world)
    align(part)
    whole = rows(program, folder, ask)
    within = [row for row in whole if part.within(moment_of(row["time"]))]
    yield from differ(rows(program, folder, part), within, str(part))


def a_device_alone_is_what_it_is_among_others(dice, program, folder, tables):
    ask = buckets(dice, tables.world)
    ask.shape = dice.choice(["buckets", "long", "latest"])
    if ask.shape != "buckets":
        ask.every, ask.fill = None, "none"
    span(dice, ask, tables.world)
    if ask.every:
        align(ask)
    if not tables.alone:
        return
    device = dice.choice(tables.alone)
    among = [row for row in rows(program, folder, ask) if row["device_id"] == device]
    yield from differ(rows(program, folder, replace(ask, devices=[device])), among, f"{ask}, {device}")


def wide_is_long_pivoted(dice, program, folder, tables):
    measures = sorted({event.type for event in tables.world.events} & set(MEASURES))
    if not measures:
        return
    event_type = dice.choice(measures)
    column = MAIN[event_type]
    ask = replace(buckets(dice, tables.world), types=[event_type], aggregates=["mean", "count"])
    span(dice, ask, tables.world)
    align(ask)
    long = {(row["time"], row["device_id"], name): row[f"{column}_{name}"] for row in rows(program, folder, ask) for name in ask.aggregates if f"{column}_{name}" in row}
    wide = rows(program, folder, replace(ask, shape="wide-buckets", types=[], values=[(event_type, column)]))
    pivoted = {(row["time"], *name.rsplit(" ", 1)): cell for row in wide for name, cell in row.items() if name != "time"}
    if long != pivoted:
        yield f"{ask}: {sorted(set(long.items()) ^ set(pivoted.items()))[:4]}"


def days_add_up_to_the_month(dice, program, folder, tables):
    ask = replace(buckets(dice, tables.world, "1d"), fill="none", aggregates=["count"])
    days, months = rows(program, folder, ask), rows(program, folder, replace(ask, every="1mo"))
    calendar = Calendar(ask.zone, "1mo")
    def sums(table):
        out = {}
        for row in table:
            begins = calendar.bucket(moment_of(row["time"]))[0]
            for name, cell in row.items():
                if name.endswith(("_count", "_seconds", "_events", "_increase")) or name == "events":
                    key = begins, row["device_id"], row["event_type"], name
                    out[key] = out.get(key, 0) + float(cell)
        return out

    one, other = sums(days), sums(months)
    unlike = [(key, one.get(key), other.get(key)) for key in sorted({*one, *other}) if not math.isclose(one.get(key, 0), other.get(key, 0), rel_tol=1e-12, abs_tol=1e-6)]
    if unlike:
        yield f"{ask.zone}: {unlike[:3]}"


def neither_rolls_nor_the_order_of_arrival_change_an_answer(dice, program, folder, tables):
    world = tables.world
    lines = [event.text for event in world.events]
    dice.shuffle(lines)
    other = replace(world, files=[lines[::2], lines[1::2]] if len(lines) > 1 else [lines], rolls=(dice.random() < 0.5, dice.random() < 0.5))
    there = program.new("r")
    program.record(other, there)
    asks = [buckets(dice, world), Ask("latest"), Ask("long"), Ask("samples")]
    before = [rows(program, folder, ask) for ask in asks]
    for ask, one in zip(asks, before):
        yield from differ(one, rows(program, there, ask), f"in another order, {ask}")
    shutil.rmtree(there)
    program.run("roll", "--dir", folder)
    for ask, one in zip(asks, before):
        yield from differ(one, rows(program, folder, ask), f"rolled, {ask}")


RULES = [
    a_range_is_what_the_whole_says_of_it, a_device_alone_is_what_it_is_among_others, wide_is_long_pivoted, days_add_up_to_the_month,
    neither_rolls_nor_the_order_of_arrival_change_an_answer,
]
