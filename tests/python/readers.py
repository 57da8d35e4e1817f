#!/usr/bin/env python3
"""pandas, pyarrow, DuckDB and Polars open a recording with their default calls while it is being written.

usage: readers.py BINARY

A simulator is recorded; all the while the readers open the data. What they saw is judged when the recorder has ended:
then the recording is compared with what the simulator says it published.
"""

import datetime
import json
import time
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import requests

from harness import PROJECT, Late, alive, check, few, hold, script, wait_until

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
RECORD_SECONDS = 15
RATE = 800
# Types read while they grow: numbers, lists of structs, lists of strings, an integer, one that is rare.
WATCHED = ["temperature", "humidity", "networkStatus", "deskOccupancy", "touchCount", "touch"]
# Readings with other rows of `temperature` by each reader, below which the run has shown nothing.
CHANGES = 6
# These open a file twice in one call, first for its schema, then for its rows. When the file is replaced in between they
# raise an error (never: wrong rows), and the next try reads well. pandas and pyarrow open it once; they have no excuse.
OPEN_TWICE = {"DuckDB", "Polars"}
TRIES = 5
HEAD, TAIL = ["time", "device_id", "project_id"], ["event_id", "event_type", "received_at", "source", "raw"]


# ---- the readers, each with its default call ----

PARQUET = {
    "pandas read_parquet(dir)": lambda dir: pd.read_parquet(dir),
    "pyarrow read_table(dir)": lambda dir: pq.read_table(dir),
    "pyarrow dataset(dir)": lambda dir: ds.dataset(dir).to_table(),
    "DuckDB FROM 'dir/*.parquet'": lambda dir: Duck(f"SELECT * FROM '{dir}/*.parquet'"),
    "DuckDB read_parquet('dir/**/*.parquet')": lambda dir: Duck(f"SELECT * FROM read_parquet('{dir}/**/*.parquet')"),
    "Polars read_parquet(dir)": lambda dir: pl.read_parquet(dir),
    "Polars scan_parquet('dir/*.parquet')": lambda dir: pl.scan_parquet(f"{dir}/*.parquet").collect(),
}


class Duck:
    """A query's columns, types and rows, read once."""

    def __init__(self, query):
        relation = duckdb.sql(query)
        self.columns, self.types = relation.columns, [str(kind) for kind in relation.types]
        # Not fetchall: that needs pytz for times with a zone.
        self.table = relation.to_arrow_table()


def types(found):
    """Columns and their types in the reader's own words."""
    match found:
        case pd.DataFrame():
            return {name: str(kind) for name, kind in found.dtypes.items()}
        case pa.Table():
            return {column.name: column.type for column in found.schema}
        case Duck():
            return dict(zip(found.columns, found.types))
        case pl.DataFrame():
            return dict(found.schema)


def table(found):
    """What a reader found as a pyarrow table, for comparisons across readers."""
    match found:
        case pd.DataFrame():
            return pa.Table.from_pandas(found, preserve_index=False)
        case Duck():
            return found.table
        case pl.DataFrame():
            return found.to_arrow()
    return found


def ids(found):
    return table(found)["event_id"].to_pylist()


# ---- what the design says about columns ----


def schema(event_type):
    """The schema file of an event type: its columns by name."""
    file = tomllib.loads((SCHEMAS / f"{event_type}.toml").read_text())
    return {column["name"]: column for column in file.get("column", [])}


def columns(event_type):
    return HEAD + list(schema(event_type)) + TAIL


def kind_in_pandas(kind, items):
    return {
        "timestamp": {"datetime64[us, UTC]"}, "float64": {"float64"}, "int64": {"int64"}, "bool": {"bool", "object"}, "list": {"object"},
    }.get(kind, {"str"})


def kind_in_pyarrow(kind, items):
    if kind == "list":
        return pa.list_(items_of(items, kind_in_pyarrow, lambda members: pa.struct(list(members.items()))))
    known = {"timestamp": pa.timestamp("us", "UTC"), "float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_()}
    return known.get(kind, pa.string())


def kind_in_duckdb(kind, items):
    if kind == "list":
        quoted = lambda name: f'"{name}"' if name == "time" else name
        struct = lambda members: f"STRUCT({', '.join(f'{quoted(name)} {kind}' for name, kind in members.items())})"
        return items_of(items, kind_in_duckdb, struct) + "[]"
    return {"timestamp": "TIMESTAMP WITH TIME ZONE", "float64": "DOUBLE", "int64": "BIGINT", "bool": "BOOLEAN"}.get(kind, "VARCHAR")


def kind_in_polars(kind, items):
    if kind == "list":
        return pl.List(items_of(items, kind_in_polars, pl.Struct))
    return {"timestamp": pl.Datetime("us", "UTC"), "float64": pl.Float64(), "int64": pl.Int64(), "bool": pl.Boolean()}.get(kind, pl.String())


def items_of(items, kind_of, struct):
    """Items with an empty pointer stand alone, others are the members of a struct."""
    members = {item["name"]: kind_of(item["type"], None) for item in items}
    return next(iter(members.values())) if [item["pointer"] for item in items] == [""] else struct(members)


KINDS = {"pandas": kind_in_pandas, "pyarrow": kind_in_pyarrow, "DuckDB": kind_in_duckdb, "Polars": kind_in_polars}


def check_types(event_type, reader, found):
    """The columns of an event type are the design's, in its order, with its types."""
    check(list(found) == columns(event_type), f"{reader}, {event_type}: columns {list(found)} instead of {columns(event_type)}")
    fixed = {name: {"type": "timestamp" if name in ("time", "received_at") else "string"} for name in HEAD + TAIL}
    for name, column in (fixed | schema(event_type)).items():
        wanted = KINDS[reader.split()[0]](column["type"], column.get("item"))
        good = found[name] in wanted if isinstance(wanted, set) else found[name] == wanted
        check(good, f"{reader}, {event_type}.{name}: {found[name]} instead of {wanted}")


# ---- recording and watching ----


@dataclass
class Reading:
    """What one reader saw of one event type at one moment."""

    reader: str
    event_type: str
    error: str = None
    repeated: int = 0
    rows: int = 0
    twice: list = field(default_factory=list)
    gone: int = 0
    types: dict = field(default_factory=dict)


@dataclass
class World:
    """A recording, what was seen while it grew, and the truth about it."""

    product: object
    url: str
    dir: Path
    readings: list = field(default_factory=list)
    states: list = field(default_factory=list)
    strangers: set = field(default_factory=set)
    exports: list = field(default_factory=list)
    recorder: object = None
    truth: list = None

    def data(self, event_type):
        return self.dir / "data" / event_type

    def recorded_types(self):
        return sorted(path.name for path in (self.dir / "data").iterdir())

    def status(self):
        return json.loads(self.product.run("status", "--dir", self.dir, "--json"))

    def export(self, *args):
        return self.product.run("export", "--dir", self.dir, *args)

    def exported_events(self):
        return [event(line) for line in self.export("--format", "ndjson").split("\n") if line]


def event(line):
    """An event with its exact numbers."""
    return json.loads(line, parse_float=Decimal)


def value(json_value):
    """Equal for equal JSON values and only for them: 1 is 1.0, but not true."""
    match json_value:
        case bool():
            return "bool", json_value
        case dict():
            return {name: value(member) for name, member in json_value.items()}
        case list():
            return [value(member) for member in json_value]
    return json_value


def key(event):
    return event["eventType"], event["eventId"]


def record_and_watch(product):
    world = World(product, product.simulate("--rate", RATE), product.folder / "recording")
    begun = time.monotonic()
    world.recorder = product.start(
        "record", "--dir", world.dir, "--project", PROJECT, "--api-url", world.url, "--roll-every", "300ms", "--keep-every", "250ms", "--for", f"{RECORD_SECONDS}s"
    )
    end = begun + RECORD_SECONDS
    wait_until("the first day file", lambda: alive(world.recorder) or any(world.dir.glob("data/temperature/*.parquet")))
    seen = {event_type: set() for event_type in WATCHED}
    turn = 0
    while world.recorder.poll() is None:
        watch_once(world, seen)
        if turn % 5 == 0:
            # In this order: what a reader has seen, the product must know of.
            status = world.status()
            if time.monotonic() < end:  # the recorder's own clock started later
                world.states.append((status, {event_type: len(ids) for event_type, ids in seen.items()}))
        if turn % 10 == 5:
            before = {(event_type, id) for event_type, ids in seen.items() for id in ids}
            world.exports.append((before, [key(event) for event in world.exported_events()]))
        turn += 1
    watch_once(world, seen)
    return world


def watch_once(world, seen):
    files = [path for path in (world.dir / "data").rglob("*") if not path.is_dir()]
    world.strangers |= {str(path) for path in files if path.suffix != ".parquet" or len(path.relative_to(world.dir).parts) != 3}
    for event_type in WATCHED:
        directory = world.data(event_type)
        if not directory.exists():
            continue
        for reader, read in PARQUET.items():
            reading = Reading(reader, event_type)
            world.readings.append(reading)
            found = attempt(reading, read, directory)
            if found is None:
                continue
            found_ids = ids(found)
            reading.rows, reading.types = len(found_ids), types(found)
            reading.twice = [id for id, count in Counter(found_ids).items() if count > 1]
            reading.gone = len(seen[event_type] - set(found_ids))
            seen[event_type].update(found_ids)


def attempt(reading, read, directory):
    """Reads; tries again when that is excused. Leaves the error in the reading otherwise."""
    while True:
        before = [path.stat().st_ino for path in sorted(directory.glob("*.parquet"))]
        try:
            return read(directory)
        except (KeyboardInterrupt, SystemExit, Late):
            raise
        except BaseException as error:  # a panic inside Polars is no Exception
            replaced = before != [path.stat().st_ino for path in sorted(directory.glob("*.parquet"))]
            if not replaced or reading.reader.split()[0] not in OPEN_TWICE or reading.repeated == TRIES:
                reading.error = f"{type(error).__name__}: {error}"
                return None
            reading.repeated += 1


# ---- rules: while it grows ----


def the_recording_grew_between_the_readings(world):
    for reader in PARQUET:
        rows = {reading.rows for reading in world.readings if (reading.reader, reading.event_type) == (reader, "temperature")}
        check(len(rows) >= CHANGES, f"{reader} saw only {len(rows)} states of temperature")


def no_reader_meets_an_error(world):
    errors = [f"{reading.reader}, {reading.event_type}: {reading.error}" for reading in world.readings if reading.error]
    check(not errors, f"{len(errors)} of {len(world.readings)} readings failed: {few(errors, 3)}")
    repeated = sum(reading.repeated for reading in world.readings)
    check(repeated <= len(world.readings) / 100, f"{repeated} of {len(world.readings)} readings met a file that was being replaced")


def an_event_that_was_seen_never_goes_away(world):
    gone = [f"{reading.reader}, {reading.event_type}: {reading.gone}" for reading in world.readings if reading.gone and not reading.error]
    check(not gone, f"events missing that were there before: {few(gone)}")


def row_counts_never_shrink(world):
    most = Counter()
    for reading in world.readings:
        if not reading.error:
            check(reading.rows >= most[reading.event_type], f"{reading}: it had {most[reading.event_type]} rows before")
            most[reading.event_type] = reading.rows


def no_event_is_seen_twice(world):
    twice = [f"{reading.reader}, {reading.event_type}: {few(reading.twice, 2)}" for reading in world.readings if reading.twice]
    check(not twice, f"{len(twice)} readings with doubles: {few(twice)}")


def every_reader_sees_the_columns_of_the_design(world):
    for reading in world.readings:
        if not reading.error:
            check_types(reading.event_type, reading.reader, reading.types)


def nothing_but_finished_day_files_stands_in_data(world):
    check(not world.strangers, f"{few(world.strangers)}")
    check((world.dir / "state").is_dir(), "there is no state")


def status_says_connected_while_recording(world):
    check(len(world.states) >= 2, f"status was asked only {len(world.states)} times")
    for status, _ in world.states:
        check(status["connected"] is True and status["recording"] is True, f"connected, recording: {status['connected']}, {status['recording']}")
        check(status["faults"] == 0, f"{status['faults']} faults: {status['fault_reasons']}")
        age = (datetime.datetime.now(datetime.UTC) - instant(status["last_event_at"])).total_seconds()
        check(age < 120, f"last_event_at is {status['last_event_at']}")


def status_while_recording_knows_what_readers_saw(world):
    events = 0
    for status, seen in world.states:
        check(status["events"] == sum(part["rows"] for part in status["partitions"]), "events is not the sum of the partitions")
        check(status["buffered"] == sum(part["buffered"] for part in status["partitions"]), "buffered is not the sum of the partitions")
        check(status["events"] >= events, f"events went from {events} to {status['events']}")
        events = status["events"]
        for event_type, rows in seen.items():
            known = sum(part["rows"] for part in status["partitions"] if part["type"] == event_type)
            check(known >= rows, f"{event_type}: readers saw {rows}, status knows {known}")


def export_while_recording_has_all_that_readers_saw_once(world):
    check(world.exports, "nothing was exported while recording")
    for before, exported in world.exports:
        check(len(set(exported)) == len(exported), f"{len(exported) - len(set(exported))} doubles")
        missing = before - set(exported)
        check(not missing, f"{len(missing)} events missing that stood in day files: {few(missing)}")


# ---- rules: once the recorder has ended ----


def the_recorder_ends_by_itself_with_0(world):
    code = world.recorder.wait(10)
    said = world.recorder.err.read_text()
    check(code == 0, f"`overnight record` ended with {code}: {said[-800:]}")
    check("recorded" in said, f"no summary on standard error: {said!r}")
    check(world.recorder.out.read_text() == "", "`overnight record` wrote to standard output")


def every_published_event_is_recorded_once_with_equal_json(world):
    lines = requests.get(f"{world.url}/simulator/truth", timeout=10).content.split(b"\n")
    published = [event(line) for line in lines if line]
    recorded = world.exported_events()
    keys = Counter(map(key, recorded))
    twice = [found for found, count in keys.items() if count > 1]
    check(not twice, f"exported twice: {few(twice)}")
    order = {key(event): place for place, event in enumerate(published)}
    check(len(order) == len(published), "the simulator gave two events one id")
    strange = [found for found in keys if found not in order]
    check(not strange, f"recorded, but never published: {few(strange)}")
    places = sorted(order[found] for found in keys)
    check(len(places) > RATE * RECORD_SECONDS / 2, f"only {len(places)} events recorded in {RECORD_SECONDS} s")
    world.truth = published[places[0] : places[-1] + 1]
    missing = [key(event) for event in world.truth if key(event) not in keys]
    check(not missing, f"{len(missing)} of {len(world.truth)} published events are missing: {few(missing)}")
    by_key = {key(event): event for event in recorded}
    for wanted in world.truth:
        found = by_key[key(wanted)]
        check(value(found) == value(wanted), f"published {json.dumps(wanted, default=str)}, exported {json.dumps(found, default=str)}")


def day_files_hold_exactly_the_published_events(world):
    check(world.truth, "the truth is not known")
    wanted = Counter(map(key, world.truth))
    for reader, read in PARQUET.items():
        found = Counter((event_type, id) for event_type in world.recorded_types() for id in ids(read(world.data(event_type))))
        check(found == wanted, f"{reader}: {few((wanted - found).elements())} missing, {few((found - wanted).elements())} too many")


def an_export_is_in_the_order_of_time(world):
    times = [instant(event["timestamp"]) for event in world.exported_events()]
    back = [(a, b) for a, b in zip(times, times[1:]) if a > b]
    check(not back, f"{len(back)} steps back in time, such as {few(back, 1)}")


def every_type_has_the_columns_of_the_design_for_every_reader(world):
    check(len(world.recorded_types()) > 10, f"only these types came: {world.recorded_types()}")
    for event_type in world.recorded_types():
        for reader, read in PARQUET.items():
            check_types(event_type, reader, types(read(world.data(event_type))))


def every_reader_sees_the_same_values(world):
    for event_type in ["temperature", "humidity", "networkStatus", "touchCount"]:
        wanted = rows(pq.read_table(world.data(event_type)))
        for reader, read in PARQUET.items():
            found = rows(table(read(world.data(event_type))))
            differ = [pair for pair in zip(wanted, found) if pair[0] != pair[1]]
            check(len(wanted) == len(found) and not differ, f"{reader}, {event_type}: {len(found)} rows, {len(wanted)} by pyarrow; {few(differ, 1)}")


def values_are_those_of_the_events(world):
    check(world.truth, "the truth is not known")
    found = {row["event_id"]: row for row in pq.read_table(world.data("temperature")).to_pylist()}
    for wanted in (event for event in world.truth if event["eventType"] == "temperature"):
        row, data = found[wanted["eventId"]], wanted["data"]["temperature"]
        samples = [(instant(sample["sampleTime"]), float(sample["value"])) for sample in data["samples"]]
        check(row["time"] == instant(wanted["timestamp"]), f"time {row['time']} of {wanted}")
        check(row["temperature"] == float(data["value"]), f"temperature {row['temperature']} of {wanted}")
        check([(sample["time"], sample["temperature"]) for sample in row["samples"]] == samples, f"samples {row['samples']} of {wanted}")
        check(f"projects/{row['project_id']}/devices/{row['device_id']}" == wanted["targetName"], f"device {row['device_id']} of {wanted}")
        check(row["source"] == "stream" and row["raw"] is None, f"source {row['source']}, raw {row['raw']} of {wanted}")


def fields_carry_unit_and_description(world):
    for event_type in world.recorded_types():
        wanted, file = schema(event_type), next(world.data(event_type).glob("*.parquet"))
        for column in pq.read_schema(file):
            about = {name.decode(): text.decode() for name, text in (column.metadata or {}).items()}
            check(about.get("description"), f"{event_type}.{column.name} has no description")
            known = wanted.get(column.name, {})
            for name in ("unit", "description"):
                check(name not in known or about.get(name) == known[name], f"{event_type}.{column.name}: {name} is {about.get(name)!r}")
            check("unit" in known or "unit" not in about, f"{event_type}.{column.name} has the unit {about.get('unit')!r}")


def status_agrees_with_the_day_files(world):
    status = world.status()
    for name, wanted in {"buffered": 0, "faults": 0, "connected": False, "recording": False, "unreadable": []}.items():
        check(status[name] == wanted, f"{name} is {status[name]}, not {wanted}")
    found = {(part["type"], part["day"]): part for part in status["partitions"]}
    files = {(path.parent.name, path.stem): path for path in world.dir.glob("data/*/*.parquet")}
    check(set(found) == set(files), f"partitions: {set(found) ^ set(files)}")
    last = []
    for partition, path in files.items():
        part, times = found[partition], pq.read_table(path)["time"]
        bounds = pc.min_max(times).as_py()
        check((part["rows"], part["bytes"]) == (len(times), path.stat().st_size), f"{partition}: {part}, {len(times)} rows, {path.stat().st_size} bytes")
        check((instant(part["first"]), instant(part["last"])) == (bounds["min"], bounds["max"]), f"{partition}: {part}, {bounds}")
        check({str(time.date()) for time in times.to_pylist()} == {part["day"]}, f"{partition} holds another day")
        last.append(bounds["max"])
    check(status["events"] == sum(part["rows"] for part in found.values()), f"events: {status['events']}")
    check(instant(status["last_event_at"]) == max(last), f"last_event_at {status['last_event_at']}, {max(last)}")


def csv_agrees_with_parquet_row_by_row(world):
    file = world.product.folder / "temperature.csv"
    world.export("--event-type", "temperature", "-o", file)
    wanted = rows(pq.read_table(world.data("temperature")))
    frame = pd.read_csv(file, parse_dates=["time", "received_at"])
    check(list(frame) == columns("temperature"), f"pandas sees {list(frame)}")
    check(frame["temperature"].dtype == "float64" and str(frame["time"].dtype).startswith("datetime64["), f"pandas: {frame.dtypes}")
    duck = Duck(f"SELECT * FROM '{file}'")
    kinds = dict(zip(duck.columns, duck.types))
    check((kinds["time"], kinds["temperature"]) == ("TIMESTAMP WITH TIME ZONE", "DOUBLE"), f"DuckDB: {kinds}")
    by_pandas = frame.astype(object).where(frame.notna(), None).to_dict("records")
    for reader, found in {"pandas": by_pandas, "DuckDB": duck.table.to_pylist()}.items():
        check(found == sorted(found, key=lambda row: row["time"]), f"{reader}: not in the order of time")
        found = [dict(row, samples=csv_samples(row["samples"])) for row in in_order(found)]
        differ = [pair for pair in zip(wanted, found) if pair[0] != pair[1]]
        check(len(wanted) == len(found) and not differ, f"{reader}: {len(found)} rows, {len(wanted)} in Parquet; {few(differ, 1)}")


def csv_samples(text):
    if text is None:
        return None
    return [{"time": instant(sample["time"]), "temperature": sample["temperature"]} for sample in json.loads(text)]


def a_parquet_export_reads_like_the_day_files(world):
    folder = world.product.folder / "exported"
    world.export("--format", "parquet", "-o", f"{folder}/")
    check(sorted(path.name for path in folder.iterdir()) == [f"{name}.parquet" for name in world.recorded_types()], f"{list(folder.iterdir())}")
    for event_type in ["temperature", "networkStatus", "touch"]:
        wanted, one = rows(pq.read_table(world.data(event_type))), folder / f"{event_type}.parquet"
        readers = {"pandas": pd.read_parquet, "pyarrow": pq.read_table, "DuckDB": lambda file: Duck(f"FROM '{file}'"), "Polars": pl.read_parquet}
        for reader, read in readers.items():
            found = read(one)
            check_types(event_type, reader, types(found))
            check(rows(table(found)) == wanted, f"{reader}, {event_type}: other rows than in the day files")


def what_was_recorded_is_not_taken_in_again(world):
    before = world.status()
    file = world.product.folder / "again.ndjson"
    file.write_text(world.export("--format", "ndjson"))
    world.product.run("import", "--dir", world.dir, file)
    after = world.status()
    check(after["events"] == before["events"] and after["buffered"] == 0, f"{before['events']} events became {after['events']}")


def an_export_makes_an_equal_recording(world):
    file, other = world.product.folder / "again.ndjson", world.product.folder / "other"
    world.product.run("import", "--dir", other, file)
    again = world.product.run("export", "--dir", other, "--format", "ndjson").split("\n")
    wanted = {key(event): value(event) for event in world.exported_events()}
    found = [event(line) for line in again if line]
    check(len(found) == len(wanted), f"{len(found)} events instead of {len(wanted)}")
    differ = [event for event in found if wanted.get(key(event)) != value(event)]
    check(not differ, f"{len(differ)} events differ, such as {few(differ, 1)}")


# ---- rules: late and odd events ----

LATE_DAY = "2019-02-28"
EVIL = "../../evil type"


def late_events(world):
    """An event twice and one of a type that would like to be a path, on a day years ago; imported, twice."""
    last = f"{LATE_DAY}T23:59:59.999999Z"
    named = {"targetName": f"projects/{PROJECT}/devices/late", "timestamp": last}
    late = named | {"eventId": "late", "eventType": "temperature", "data": {"temperature": {"value": 3, "updateTime": last}}}
    evil = named | {"eventId": "evil", "eventType": EVIL, "data": {"big": 10**29, "none": None, "list": [1, 2.5, "é\u2028\"\n"]}}
    return [late, evil, late, {"result": {"event": evil}}]


def a_late_event_is_found_in_its_own_day_once(world):
    file = world.product.folder / "late.ndjson"
    file.write_text("".join(json.dumps(event) + "\n" for event in late_events(world)))
    before = {path: path.read_bytes() for path in world.dir.glob("data/*/*.parquet")}
    events = world.status()["events"]
    for _ in range(2):
        world.product.run("import", "--dir", world.dir, file)
        check(world.status()["events"] == events + 2, f"{world.status()['events'] - events} events came, not 2")
    check(all(path.read_bytes() == bytes for path, bytes in before.items()), "the day file of another day changed")
    found = pq.read_table(world.data("temperature") / f"{LATE_DAY}.parquet").to_pylist()
    check([(row["event_id"], row["temperature"], row["samples"], row["source"]) for row in found] == [("late", 3.0, None, "import")], f"{found}")
    for reader, read in PARQUET.items():
        count = ids(read(world.data("temperature"))).count("late")
        check(count == 1, f"{reader} sees the late event {count} times")


def an_event_type_is_never_a_path(world):
    files = sorted(str(path.relative_to(world.product.folder)) for path in world.product.folder.rglob("*") if "evil" in str(path))
    # And the index of its day files.
    inside = [file for file in files if file.startswith(("recording/data/", "recording/state/index/%2E%2E%2F"))]
    check(files == inside and len([file for file in files if file.endswith(".parquet")]) == 1, f"files: {files}")
    folder = next((world.dir / "data").glob("*evil*"))
    check(folder.name == "%2E%2E%2F%2E%2E%2Fevil%20type", f"folder: {folder.name}")
    for reader, read in PARQUET.items():
        found = table(read(folder)).to_pylist()
        check([(row["event_id"], row["event_type"]) for row in found] == [("evil", EVIL)], f"{reader}: {found}")


def late_and_odd_events_come_back_with_equal_json(world):
    wanted = {event["eventId"]: value(event) for event in late_events(world)[:2]}
    found = [event(line) for line in world.export("--format", "ndjson", "--end", "2020-01-01").split("\n") if line]
    check({event["eventId"]: value(event) for event in found} == wanted and len(found) == 2, f"exported {found}")


def instant(text):
    return datetime.datetime.fromisoformat(text)


def rows(found):
    """Rows in the order of time; times as instants, whatever zone a reader shows them in."""
    return in_order(found.to_pylist())


def in_order(found):
    return sorted(found, key=lambda row: (row["time"], row["event_id"]))


RULES = [
    the_recording_grew_between_the_readings,
    no_reader_meets_an_error,
    an_event_that_was_seen_never_goes_away,
    row_counts_never_shrink,
    no_event_is_seen_twice,
    every_reader_sees_the_columns_of_the_design,
    nothing_but_finished_day_files_stands_in_data,
    status_says_connected_while_recording,
    status_while_recording_knows_what_readers_saw,
    export_while_recording_has_all_that_readers_saw_once,
    the_recorder_ends_by_itself_with_0,
    every_published_event_is_recorded_once_with_equal_json,
    day_files_hold_exactly_the_published_events,
    an_export_is_in_the_order_of_time,
    every_type_has_the_columns_of_the_design_for_every_reader,
    every_reader_sees_the_same_values,
    values_are_those_of_the_events,
    fields_carry_unit_and_description,
    status_agrees_with_the_day_files,
    csv_agrees_with_parquet_row_by_row,
    a_parquet_export_reads_like_the_day_files,
    what_was_recorded_is_not_taken_in_again,
    an_export_makes_an_equal_recording,
    a_late_event_is_found_in_its_own_day_once,
    an_event_type_is_never_a_path,
    late_and_odd_events_come_back_with_equal_json,
]


def scenario(product):
    world = record_and_watch(product)
    kinds = len({reading.event_type for reading in world.readings})
    repeated = Counter(reading.reader for reading in world.readings for _ in range(reading.repeated))
    print(f"{len(world.readings)} readings of {kinds} event types by {len(PARQUET)} calls while recording", flush=True)
    print(f"repeated, as the file was replaced between its first and second opening: {dict(repeated) or 'none'}", flush=True)
    return hold(RULES, world)


if __name__ == "__main__":
    script(scenario, seconds=58)
