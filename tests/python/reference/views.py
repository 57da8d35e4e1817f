"""The DuckDB views of `overnight sql`, row by row."""

import duckdb

from .found import differences, same
from .schema import MAIN, columns
from .tables import Ask


def wrong(program, folder, tables):
    """What is wrong with them, as sentences. Everything has been rolled into day files."""
    database = duckdb.connect()
    database.execute(program.run("sql", "--dir", folder).decode())
    by_type = {}
    for event in tables.world.events:
        by_type.setdefault(event.type, []).append(event)
    for event_type in by_type:
        names = ["time", "device_id", "project_id", "event_id", "event_type", "source", *columns(event_type)]
        chosen = ", ".join(["epoch_us(time) AS time", *(f'"{name}"' for name in names[1:])])
        rows = database.execute(f'SELECT {chosen} FROM "{event_type}" ORDER BY time, event_id').fetchall()
        ask = Ask("long", [event_type])
        for text in differences(ask, tables.long(ask), names, [list(row) for row in rows]):
            yield f"view {event_type}: {text}"
    named = {(row[0], row[1]): row[2:] for row in database.execute(
        "SELECT event_type, event_id, epoch_us(time), device_id, project_id, device_name, value, state FROM events_named"
    ).fetchall()}
    if len(named) != len(tables.world.events):
        yield f"events_named has {len(named)} events, right is {len(tables.world.events)}"
    for event in tables.world.events:
        row = named.get((event.type, event.id))
        value = tables.row(event, Ask("long")).get(MAIN.get(event.type))
        text = isinstance(value, str)
        wanted = (event.time, event.device, event.project, tables.name(event.device, event.project), None if text else value, value if text else None)
        if row is None or not all(map(same, wanted, row)):
            yield f"events_named, {event.type} {event.id}: {row}, right is {wanted}"
