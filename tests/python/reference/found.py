"""What the program says, read from any of its formats: rows of cells, times as microseconds."""

import csv
import io
import json
import re
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from .calendar import micros
from .tables import Near, OrNothing

TIMES = ("time", "event_time")
# Which parts of a key are times.
TIME_IN = {"long": (), "latest": (), "samples": (0,), "buckets": (0,), "wide": (0,), "wide-buckets": (0,)}


def moment_of(value):
    if value is None or isinstance(value, int):
        return value
    return micros(datetime.fromisoformat(value) if isinstance(value, str) else value)


def from_csv(data, **how):
    rows = csv.reader(io.StringIO(data.decode(), newline=""), **how)
    header = next(rows, [])
    return header, [[cell if cell != "" else None for cell in row] for row in rows]


def from_dialect(how, data, reads):
    """CSV that is written another way, as if it were not."""
    header, rows = from_csv(data.removeprefix(b"\xef\xbb\xbf"), **reads)
    for row in rows:
        for number, (name, cell) in enumerate(zip(header, row)):
            match how:
                case "unix" | "unix-ms" if name in TIMES and cell is not None:
                    row[number] = int(Decimal(cell) * 10**6) if how == "unix" else int(cell) * 1000
                case "tabs" if cell == "NULL":
                    row[number] = None
                case "commas" if cell is not None and re.fullmatch(r"-?[0-9]+,[0-9]+(e[-+]?[0-9]+)?", cell):
                    row[number] = cell.replace(",", ".")
    return header, rows


def from_directory(path, how, zone):
    """A file an event type, or an event type and day: of each row the day has to be that of its file."""
    rows = []
    for file in sorted(path.rglob("*.parquet")):
        header, lines = from_arrow(pq.ParquetFile(file).read())
        for line in lines:
            row = dict(zip(header, line))
            # Where clocks go back over midnight, the day before is over when it is over for good.
            later = row["time"] + timedelta(minutes=30)
            day = str(min(time.astimezone(ZoneInfo(zone)).date() for time in (row["time"], later)))
            if how == "day" and file.stem != day or how == "hive" and f"date={day}" not in file.parts:
                row["event_id"] = f"in {file}"
            row.setdefault("event_type", next((part.removeprefix("event_type=") for part in file.parts if part.startswith("event_type=")), None))
            rows.append(row)
    # In order in each file, not over all of them.
    rows.sort(key=lambda row: row["time"])
    header = list(dict.fromkeys(name for row in rows for name in row))
    return header, [[row.get(name) for name in header] for row in rows]


def from_ndjson(data):
    rows = [json.loads(line) for line in data.decode().split("\n") if line]
    header = list(dict.fromkeys(name for row in rows for name in row))
    return header, [[row.get(name) for name in header] for row in rows]


def from_arrow(table):
    columns = [column.to_pylist() for column in table.columns]
    return table.column_names, [list(row) for row in zip(*columns)]


def from_file(path):
    match path.suffix:
        case ".xlsx":
            return from_workbook(path)
        case ".parquet":
            return from_arrow(pq.ParquetFile(path).read())
    return from_arrow(pa.ipc.open_file(path).read_all())


def from_workbook(path):
    # A row of each sheet has other columns: they are told by name.
    rows = []
    for sheet in openpyxl.load_workbook(path, read_only=True):
        lines = list(sheet.iter_rows(values_only=True))
        if not lines:
            continue
        header = [re.sub(r" \((°C|%|dBm|ppm|Pa|s|UTC|[A-Z]\w+/[\w/]+)\)$", "", name or "") for name in lines[0]]
        for line in lines[1:]:
            cells = dict(zip(header, [*line] + [None] * (len(header) - len(line))))
            for name in TIMES:
                if cells.get(name) is not None:
                    offset = cells.pop(f"{name}_utc_offset", None) or "+00:00"
                    cells[name] = datetime.fromisoformat(f"{cells[name].isoformat()}{offset}")
            rows.append(cells)
        if len(set(header)) != len(header):
            return header, []
    header = list(dict.fromkeys(name for row in rows for name in row))
    return header, [[row.get(name) for name in header] for row in rows]


def same(wanted, found):
    """Whether a cell says what it should."""
    match wanted:
        case None:
            return found is None
        case OrNothing() if found is None:
            return True
        case Near():
            try:
                found = float(found)
            except (TypeError, ValueError):
                return False
            near = max(1e-12 * abs(wanted.value), 1e-12 * wanted.scale)
            if wanted.decimals is not None and abs(wanted.value) * 10**wanted.decimals < 2**53:
                places = -Decimal(repr(found)).normalize().as_tuple().exponent
                near += 0.5 * (1 + 1e-6) * 10**-wanted.decimals
                return places <= wanted.decimals and abs(found - wanted.value) <= near
            return abs(found - wanted.value) <= near
        case bool():
            return str(found).lower() == str(wanted).lower()
        case int():
            try:
                return float(found) == wanted
            except (TypeError, ValueError):
                return False
    return str(found) == wanted


def nothing(found):
    return found is None or found == "0" or found == 0


def keys(shape, header, rows):
    """Rows by what they are about."""
    place = {name: number for number, name in enumerate(header)}
    out, seen = {}, {}
    for row in rows:
        get = lambda name: row[place[name]] if name in place else None
        match shape:
            case "long" | "latest":
                key = get("event_type"), get("event_id")
            case "samples":
                key = get("time"), get("device_id"), get("event_id")
                seen[key] = seen.get(key, 0) + 1
                key = *key, seen[key]
            case "buckets":
                key = get("time"), get("device_id"), get("event_type")
            case _:
                key = (get("time"),)
        yield key, dict(zip(header, row))


def differences(ask, wanted, header, rows, coarse=False):
    """What is wrong, as sentences; none where all is right. `coarse`: times to the millisecond."""
    if len(set(header)) != len(header):
        yield f"columns of one name: {sorted(name for name in set(header) if header.count(name) > 1)}"
        return
    if any(len(row) != len(header) for row in rows):
        yield "a row has more or fewer cells than there are columns"
        return
    cut = (lambda at: None if at is None else at // 1000 * 1000) if coarse else (lambda at: at)
    places = [number for number, name in enumerate(header) if name in TIMES]
    for row in rows:
        for number in places:
            row[number] = cut(moment_of(row[number]))
    if coarse:
        wanted = {tuple(cut(part) if number in TIME_IN[ask.shape] else part for number, part in enumerate(key)): cells for key, cells in wanted.items()}
    times = [row[header.index("time")] for row in rows] if "time" in header else []
    if ask.shape not in ("latest", "samples") and not coarse and times != sorted(times):
        yield "the rows are not in the order of time"
    found = {}
    for key, cells in keys(ask.shape, header, rows):
        if key in found:
            yield f"twice: {key}"
        found[key] = cells
    about = {"time", "device_id", "event_type", "device_name", "received_at", "raw", "samples", "is_backfilled", "cloud_connectors", "available", "remarks", "transmission_mode", "errors"}
    for key, cells in found.items():
        if key not in wanted and not all(nothing(value) for name, value in cells.items() if name not in about):
            yield f"too much: {key} {shown(cells)}"
        elif key not in wanted and ask.shape.startswith("wide") and ask.start is not None and ask.end is not None:
            yield f"a row too many: {key}"
    for key, cells in wanted.items():
        if key not in found:
            yield f"missing: {key} {shown(cells)}"
            continue
        have = found[key]
        for name, value in cells.items():
            value = cut(value) if name in TIMES else value
            if not same(value, have.get(name)) and not (value is None and name not in have):
                yield f"{key} {name}: {have.get(name)!r}, right is {shown(value)}"
        for name, value in have.items():
            if name not in cells and name not in about and not name.endswith("_utc_offset") and not nothing(value):
                yield f"{key} {name}: {value!r}, right is nothing"


def shown(value):
    match value:
        case Near():
            return repr(value.value)
        case dict():
            return "{" + ", ".join(f"{name}: {shown(cell)}" for name, cell in value.items() if cell is not None) + "}"
    return repr(value)
