#!/usr/bin/env python3
"""Exports hold against independent readers: pandas, pyarrow, Polars, DuckDB, openpyxl, LibreOffice.

usage: exports.py BINARY

A made-up recording (night.py) is exported in every shape and format. What a reader finds in a file is compared with the events
themselves, and buckets with what plain Python makes of them.
"""

import csv
import io
import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import duckdb
import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.feather
import pyarrow.parquet as pq

import night
from harness import alive, check, few, hold, script, wait_until
from night import DEVICES, OSLO, SPANS, frame, moment, rfc3339

SPAN = ["--tz", "Europe/Oslo", "--start"]


@dataclass
class World:
    product: object
    dir: Path
    events: list
    files: int = 0
    kept: dict = field(default_factory=dict)

    def export(self, *args, codes=(0,)):
        return self.product.run("export", "--dir", self.dir, *args, codes=codes)

    def file(self, ending, *args):
        """Exports to a new file, or to a new directory where the ending is `/`."""
        self.files += 1
        path = f"{self.product.folder}/{self.files}{ending}"
        self.export("-o", path, *args)
        return Path(path)

    def rows(self, *args):
        """An export to standard output, as rows of text."""
        return list(csv.DictReader(io.StringIO(self.export(*args), newline="")))


# Means are rounded to three decimals more than their values have, which have none at the least.
OF_MEANS = 0.00051


def same(found, wanted, what, off=1e-9):
    """Two lists of rows are equal; numbers up to the last digits of a double."""
    close = lambda a, b: a == b or (isinstance(a, float) and isinstance(b, (int, float)) and abs(a - b) <= off * max(1, abs(b)))
    differ = [pair for pair in zip(found, wanted) if len(pair[0]) != len(pair[1]) or not all(map(close, *pair))]
    check(len(found) == len(wanted) and not differ, f"{what}: {len(found)} rows, {len(wanted)} wanted; {few(differ, 2)}")


def number(text):
    return None if text == "" else float(text)


def plain(values):
    """Without pandas' own kinds of nothing."""
    return [None if value is None or value is pd.NaT or value != value else value for value in values]


def temperatures(world):
    return frame(world.events, "temperature", value="value", samples="samples")


# ---- CSV ----


def csv_in_long_form_has_every_event_for_pandas(world):
    wanted = temperatures(world)
    found = pd.read_csv(world.file(".csv", "--event-type", "temperature"), parse_dates=["time"], date_format="ISO8601")
    for column, other in [("time", "time"), ("device_id", "device_id"), ("event_id", "event_id"), ("temperature", "value")]:
        check(list(found[column]) == list(wanted[other]), f"{column} differs")
    check(found["temperature"].dtype == "float64" and (found["temperature"] < 0).any(), "numbers are not numbers")


def text_is_quoted_as_rfc_4180_has_it_and_defused(world):
    names = {device: name for device, (_, name, _, _) in DEVICES.items()}
    for defuse in [False, True]:
        found = world.rows("--names", *([] if defuse else ["--no-defuse"]))
        for row in found:
            name = names[row["device_id"]]
            runs = defuse and name[0] in "=+-@" and name != "-5"
            check(row["device_name"] == ("'" if runs else "") + name, f"{row['device_name']!r} for {name!r}")
        odd = [row for row in found if row["event_type"] not in {"temperature"} and "odd" in row["event_type"]]
        check([row["event_type"] for row in odd] == ['odd "type"; it\'s'], f"{odd}")
        check(all(not row["temperature"].startswith("'") for row in found), "a number was defused")
    check({row["device_id"] for row in found} == set(DEVICES), "devices are missing")


def locale_and_explicit_flags_say_the_same(world):
    common = ["--tz", "Europe/Berlin", "--event-type", "temperature", "--names"]
    explicit = ["--delimiter", ";", "--decimal", ",", "--bom", "--crlf", "--time-format", "excel"]
    by_locale, by_flag = (world.file(".csv", *common, *how).read_bytes() for how in [["--for-excel", "de-DE"], explicit])
    check(by_locale == by_flag, "the locale and its flags differ")
    check(by_locale.startswith(b"\xef\xbb\xbf") and b"\r\n" in by_locale, "no byte order mark, or no CRLF")
    found = pd.read_csv(io.BytesIO(by_locale), sep=";", decimal=",", encoding="utf-8-sig")
    check(list(found["temperature"]) == list(temperatures(world)["value"]), "numbers with a comma differ")
    nulls = world.rows("--null", "NULL", "--event-type", "co2")
    check({row["raw"] for row in nulls} == {"NULL"}, f"nulls are not what was asked for: {few({row['raw'] for row in nulls})}")


def local_times_and_their_offset_are_moments(world):
    wanted = list(temperatures(world)["time"])
    args = ["--event-type", "temperature", "--tz", "Europe/Oslo"]
    rfc = [datetime.fromisoformat(row["time"]) for row in world.rows(*args)]
    check(rfc == wanted, "RFC 3339 with offsets differs")
    local = world.rows(*args, "--time-format", "local")
    check([datetime.fromisoformat(row["time"] + row["time_utc_offset"]) for row in local] == wanted, "local time and offset differ")
    twice = {row["time_utc_offset"] for row in local if row["time"].startswith("2026-10-25 02:")}
    check(twice == {"+01:00", "+02:00"}, f"the hour that comes twice has the offsets {twice}")
    check(not any(row["time"].startswith("2026-03-29 02:") for row in local), "there is an hour that no clock showed")
    pattern = world.rows(*args, "--time-format", "%d.%m.%Y, %H:%M:%S %z")
    check([datetime.strptime(row["time"], "%d.%m.%Y, %H:%M:%S %z") for row in pattern] == [at.replace(microsecond=0) for at in wanted], "a pattern differs")
    unix = world.rows(*args, "--time-format", "unix")
    check([round(Decimal(row["time"]) * 10**6) for row in unix] == [at.value // 1000 for at in wanted], "seconds since 1970 differ")


# ---- Parquet, Arrow, NDJSON ----


def one_file_reads_with_default_calls_and_has_units(world):
    wanted = temperatures(world)
    parquet, arrow = world.file(".parquet", "--event-type", "temperature"), world.file(".arrow", "--event-type", "temperature")
    readers = {
        "pandas": lambda: pd.read_parquet(parquet), "pyarrow": lambda: pq.read_table(parquet).to_pandas(),
        "Polars": lambda: pl.read_parquet(parquet).to_pandas(), "DuckDB": lambda: duckdb.sql(f"FROM '{parquet}'").to_arrow_table().to_pandas(),
        "pandas, Arrow": lambda: pd.read_feather(arrow), "pyarrow, Arrow": lambda: pa.ipc.open_file(arrow).read_all().to_pandas(),
        "Polars, Arrow": lambda: pl.read_ipc(arrow).to_pandas(),
        "DuckDB, Arrow": lambda feather=pa.feather.read_table(arrow): duckdb.sql("FROM feather").to_arrow_table().to_pandas(),
    }
    for reader, read in readers.items():
        found = read()
        check(list(found["event_id"]) == list(wanted["event_id"]) and list(found["temperature"]) == list(wanted["value"]), f"{reader}: other rows")
        check(list(found["time"].dt.tz_convert("UTC")) == list(wanted["time"]), f"{reader}: other times")
    for schema in [pq.read_schema(parquet), pa.ipc.open_file(arrow).schema]:
        check(schema.field("temperature").metadata[b"unit"] == b"Cel", "the unit is missing")
        check(schema.field("samples").metadata[b"item.temperature.unit"] == b"Cel", "the unit of samples is missing")


def partitions_read_with_default_calls(world):
    wanted = temperatures(world)
    days = {day: count for day, count in wanted["time"].dt.tz_convert(OSLO).dt.date.astype(str).value_counts().items()}
    by_type = world.file("/", "--format", "parquet")
    check({path.stem for path in by_type.iterdir()} >= {"temperature", "co2", "touch"}, f"{list(by_type.iterdir())}")
    day = world.file("/", "--format", "parquet", "--partition-by", "day", "--tz", "Europe/Oslo")
    files = {path.stem: pq.read_metadata(path).num_rows for path in (day / "temperature").iterdir()}
    check(files == days, f"{files} instead of {days}")
    hive = world.file("/", "--format", "parquet", "--partition-by", "hive", "--tz", "Europe/Oslo")
    one = hive / "event_type=temperature"
    readers = {
        "pandas": lambda: pd.read_parquet(one), "pyarrow": lambda: pq.read_table(one).to_pandas(), "pyarrow dataset": lambda: ds.dataset(one, partitioning="hive").to_table().to_pandas(),
        "Polars": lambda: pl.read_parquet(one).to_pandas(), "DuckDB": lambda: duckdb.sql(f"FROM '{one}/*/*.parquet'").to_arrow_table().to_pandas(),
    }
    for reader, read in readers.items():
        found = read()
        check(sorted(found["event_id"]) == sorted(wanted["event_id"]), f"{reader}: other rows")
        check({str(key)[:10]: count for key, count in found["date"].value_counts().items()} == days, f"{reader}: other days")
    # Over several types at once: DuckDB alone has all columns, the others lose some or fail, as the page on the morning says.
    for tree, of_one in [(by_type, "temperature.parquet"), (day, "temperature"), (hive, "event_type=temperature")]:
        of_one = tree / of_one
        files = of_one if of_one.is_file() else f"{of_one}/**/*.parquet"
        whole = [
            list(pd.read_parquet(of_one)), pq.read_table(of_one).column_names, pl.read_parquet(of_one).columns, duckdb.sql(f"FROM '{files}'").columns,
            duckdb.sql(f"FROM read_parquet('{tree}/**/*.parquet', union_by_name = true)").columns,
        ]
        check(all("temperature" in columns for columns in whole), f"{tree}: {whole}")
        check("co2" not in pq.read_table(tree).column_names or "state" not in pq.read_table(tree).column_names, "pyarrow has all columns now: the page on the morning is behind")
    every = duckdb.sql(f"SELECT event_type, count(*) FROM read_parquet('{hive}/**/*.parquet', union_by_name = true) GROUP BY ALL").fetchall()
    types = pd.Series([one["eventType"] for one in world.events]).value_counts().to_dict()
    check({name: count for name, count in every if "odd" not in name} == {name: count for name, count in types.items() if "odd" not in name}, f"{every}")
    flat = ds.dataset(hive, partitioning="hive").to_table(columns=["time", "event_type", "date"])
    check(len(flat) == len(world.events), f"pyarrow sees {len(flat)} rows in the whole tree")


def ndjson_is_lossless(world):
    load = lambda text: json.loads(text, parse_float=Decimal)
    lines = [load(text) for text in world.export("--format", "ndjson").split("\n") if text]
    wanted = {(one["eventType"], one["eventId"]): load(night.line(one)) for one in world.events}
    found = {(one["eventType"], one["eventId"]): one for one in lines}
    differ = [one for name, one in wanted.items() if found.get(name) != one]
    check(len(lines) == len(wanted) and not differ, f"{len(lines)} lines, {len(wanted)} wanted; {few(differ, 1)}")


# ---- XLSX ----


def a_workbook_has_dates_numbers_units_and_a_sheet_a_type(world):
    book = openpyxl.load_workbook(world.file(".xlsx", "--tz", "Europe/Oslo", "--names"))
    check(len(book.sheetnames) == len({one["eventType"] for one in world.events}), f"sheets {book.sheetnames}")
    sheet = book["temperature"]
    check(sheet.freeze_panes == "A2", f"frozen at {sheet.freeze_panes}")
    header = [cell.value for cell in sheet[1]]
    column = {name: index for index, name in enumerate(header)}
    check(header[:2] == ["time (Europe/Oslo)", "time_utc_offset"] and "temperature (°C)" in header, f"header {header}")
    rows = list(sheet.iter_rows(min_row=2))
    wanted = temperatures(world)
    first = rows[0][0]
    check(first.is_date and first.number_format == "yyyy-mm-dd hh:mm:ss.000" and sheet.cell(1, 1).font.b, f"{first.number_format}")
    times = [datetime.fromisoformat(f"{row[0].value.isoformat()}{row[1].value}") for row in rows]
    check(max(abs(a - b) for a, b in zip(times, wanted["time"])) < timedelta(milliseconds=1), "times differ")
    values = [row[column["temperature (°C)"]] for row in rows]
    check([cell.value for cell in values] == list(wanted["value"]) and {cell.data_type for cell in values} == {"n"}, "numbers differ")
    names = [row[column["device_name"]] for row in rows]
    check({cell.data_type for cell in names} <= {"s", "inlineStr"} and names[0].value == DEVICES[wanted["device_id"][0]][1], "names are no text")
    check("relative_humidity (%)" in [cell.value for cell in book["humidity"][1]] and "co2 (ppm)" in [cell.value for cell in book["co2"][1]], "units are missing")


def a_spreadsheet_is_for_people(world):
    book = openpyxl.load_workbook(world.file(".xlsx", "--spreadsheet", "--tz", "Europe/Oslo", "--start", "2026-03-29", "--end", "2026-04-01"))
    begin, end = (datetime.fromisoformat(day).replace(tzinfo=OSLO) for day in ("2026-03-29", "2026-04-01"))
    about = {row[0].value: row[1].value for row in book["About"]}
    check(book.sheetnames[:4] == ["About", "Temperature", "Relative humidity", "CO2"] and book.sheetnames[-1] != "Contact", f"{book.sheetnames}")
    within = lambda table: table[(table["time"] >= begin) & (table["time"] < end)]
    all_of = [one for one in world.events if begin <= moment(one["timestamp"]) < end]
    devices = {one["targetName"].rsplit("/", 1)[1] for one in all_of if "targetName" in one}
    check((about["From"], about["To"], about["Times"], about["Sensors"]) == ("2026-03-29 00:00:00", "2026-04-01 00:00:00", "of Europe/Oslo", str(len(devices))), f"{about}")
    wanted = pd.concat([within(temperatures(world)), within(frame(world.events, "humidity", value="temperature"))])
    sheet = book["Temperature"]
    header = [cell.value for cell in sheet[1]]
    # Clocks are changed within.
    check(header == ["time (Europe/Oslo)", "time_utc_offset", "sensor", "room", "temperature (°C)"], f"{header}")
    check(sheet.freeze_panes == "A2" and sheet.auto_filter.ref == f"A1:E{len(wanted) + 1}" and sheet.column_dimensions["A"].width > 15, "no filter, nothing frozen")
    rows = sorted((datetime.fromisoformat(f"{row[0].isoformat()}{row[1]}"), *row[2:]) for row in sheet.iter_rows(min_row=2, values_only=True))
    right = sorted((at, DEVICES[device][1], DEVICES[device][2], value) for at, device, value in zip(wanted["time"].dt.to_pydatetime(), wanted["device_id"], wanted["value"]))
    check(len(rows) == len(right) and all(abs(a[0] - b[0]) < timedelta(milliseconds=2) and a[1:] == b[1:] for a, b in zip(rows, right)), f"{few(rows, 2)} {few(right, 2)}")
    doors = list(book["Contact"].iter_rows(values_only=True))
    check(doors[0][-1] == "contact" and {row[-1] for row in doors[1:]} == {"OPEN", "CLOSED"}, f"{doors[:3]}")
    wide = openpyxl.load_workbook(world.file(".xlsx", "--spreadsheet", "--wide", "temperature,co2", "--every", "1h", "--tz", "Europe/Oslo"))
    check(wide.sheetnames == ["About", "Temperature", "CO2"], f"{wide.sheetnames}")
    heads = [cell.value for cell in wide["CO2"][1]]
    check("+47 air (ppm)" in heads, f"{heads}")
    world.product.run("export", "--dir", world.dir, "--spreadsheet", "-o", world.product.folder / "x.parquet", codes=(2,))


def a_long_table_goes_on_in_the_next_sheet(world):
    book = openpyxl.load_workbook(world.file(".xlsx", "--event-type", "temperature", "--sheet-rows", "1000"), read_only=True)
    wanted = temperatures(world)
    parts = [list(sheet.iter_rows(values_only=True)) for sheet in book]
    check([len(part) for part in parts] == [1000, 1000, len(wanted) - 1998 + 1], f"{[len(part) for part in parts]}")
    check(book.sheetnames == ["temperature", "temperature (2)", "temperature (3)"], f"{book.sheetnames}")
    column = parts[0][0].index("temperature (°C)")
    check(all(part[0] == parts[0][0] for part in parts), "headers differ")
    check([row[column] for part in parts for row in part[1:]] == list(wanted["value"]), "values differ")


# ---- LibreOffice ----


def libreoffice(world, file, to, *more):
    soffice = shutil.which("soffice")
    folder = world.product.folder / "office"
    command = [soffice, f"-env:UserInstallation=file://{world.product.folder}/profile", "--headless", "--convert-to", to, *more, "--outdir", folder, file]
    subprocess.run(command, check=True, capture_output=True, timeout=50)
    return folder


def libreoffice_takes_csv_for_excel_as_dates_and_numbers(world):
    if not shutil.which("soffice"):
        return print("        skipped: no soffice here (Debian: libreoffice-calc-nogui)")
    wanted = temperatures(world)
    for locale, separator, language in [("de-DE", 59, 1031), ("en-US", 44, 1033)]:
        file = world.file(".csv", "--for-excel", locale, "--tz", "Europe/Berlin", "--event-type", "temperature", "--names")
        # UTF-8, the language, and numbers as a double click would find them.
        folder = libreoffice(world, file, "xlsx", f"--infilter=CSV:{separator},34,76,1,,{language},false,true")
        sheet = openpyxl.load_workbook(folder / f"{file.stem}.xlsx").active
        rows = list(sheet.iter_rows())
        column = {cell.value: index for index, cell in enumerate(rows[0])}
        check(len(rows) == len(wanted) + 1, f"{locale}: {len(rows)} rows")
        local = [at.astimezone(OSLO).replace(tzinfo=None) for at in wanted["time"].dt.to_pydatetime()]
        times = [row[column["time (Europe/Berlin)"]] for row in rows[1:]]
        check(all(cell.is_date for cell in times), f"{locale}: no dates, such as {times[0].value!r}")
        check(max(abs(a.value - b) for a, b in zip(times, local)) < timedelta(milliseconds=2), f"{locale}: times differ")
        check([row[column["temperature"]].value for row in rows[1:]] == list(wanted["value"]), f"{locale}: numbers differ")
        for name in ["device_name", "time_utc_offset", "samples"]:
            kinds = {row[column[name]].data_type for row in rows[1:] if row[column[name]].value is not None}
            check(kinds <= {"s"}, f"{locale}: {name} became {kinds}, such as {rows[1][column[name]].value!r}")


def libreoffice_reads_the_workbook(world):
    if not shutil.which("soffice"):
        return print("        skipped: no soffice here (Debian: libreoffice-calc-nogui)")
    file = world.file(".xlsx", "--event-type", "humidity")
    folder = libreoffice(world, file, "csv:Text - txt - csv (StarCalc):44,34,76,1,,1033,false,true,false,false,false,1")
    found = pd.read_csv(next(folder.glob(f"{file.stem}*.csv")))
    wanted = frame(world.events, "humidity", humidity="relativeHumidity")
    check(list(found["relative_humidity (%)"]) == list(wanted["humidity"]), "numbers differ")
    check(list(pd.to_datetime(found["time (UTC)"], utc=True)) == list(wanted["time"]), "times differ")


# ---- shapes ----


def wide_has_a_column_a_device(world):
    found = pd.read_csv(world.file(".csv", "--wide", "temperature", "--names", "--no-defuse"), parse_dates=["time"], date_format="ISO8601")
    table = pd.concat([temperatures(world), frame(world.events, "humidity", value="temperature")])
    table["name"] = [DEVICES[device][1] for device in table["device_id"]]
    wanted = table.groupby(["time", "name"])["value"].first().unstack().reset_index()
    check(list(found) == list(wanted), f"{list(found)} instead of {list(wanted)}")
    same([plain(row) for row in found.values.tolist()], [plain(row) for row in wanted.values.tolist()], "wide")


def several_types_join_on_time(world):
    found = pd.read_csv(world.file(".csv", "--wide", "temperature,humidity,co2"), parse_dates=["time"], date_format="ISO8601")
    wanted = None
    for event_type, key, of in [("temperature", "value", "temperature"), ("humidity", "temperature", "temperature"), ("humidity", "relativeHumidity", "relative_humidity"), ("co2", "ppm", "co2")]:
        table = frame(world.events, event_type, value=key).groupby(["time", "device_id"])["value"].first().unstack()
        table.columns = [f"{device} {of}" for device in table]
        wanted = table if wanted is None else wanted.join(table, how="outer")
    wanted = wanted.reset_index()
    check(sorted(found) == sorted(wanted), f"{list(found)} instead of {list(wanted)}")
    same([plain(row) for row in found[list(wanted)].values.tolist()], [plain(row) for row in wanted.values.tolist()], "joined")
    check(found["h1 relative_humidity"].notna().sum() == 576 and found["c1 co2"].notna().sum() == 576, "rows of one time did not meet")


def samples_are_rows(world):
    found = world.rows("--samples", "--event-type", "temperature")
    wanted = [
        (one["event_id"], rfc3339(datetime.fromisoformat(sample["sampleTime"])), sample["value"])
        for one in temperatures(world).to_dict("records") for sample in reversed(one["samples"] or [])
    ]
    same([(row["event_id"], row["time"], float(row["temperature"])) for row in found], wanted, "samples")


def latest_is_the_last_event_of_each_device(world):
    found = {row["device_id"]: row["event_id"] for row in world.rows("--latest", "--event-type", "temperature")}
    check(found == temperatures(world).groupby("device_id")["event_id"].last().to_dict(), f"{found}")


# ---- buckets ----


def buckets(table, every):
    return [night.bucket(at, every) for at in table["time"].dt.to_pydatetime()]


def figures_are_those_of_the_calendar_in_oslo(world):
    table = temperatures(world)
    names = ["mean", "min", "max", "count", "first", "last"]
    for every in ["15m", "1h", "6h", "1d"]:
        groups = table.groupby([pd.Series(buckets(table, every)), "device_id"])["value"]
        wanted = [(at, device, *row) for (at, device), row in zip(groups.groups, groups.agg(names).values.tolist())]
        rows = world.rows("--event-type", "temperature", "--tz", "Europe/Oslo", "--every", every, "--agg", ",".join(names))
        found = [(datetime.fromisoformat(row["time"]), row["device_id"], *(number(row[f"temperature_{name}"]) for name in names)) for row in rows]
        same(found, sorted(wanted), f"every {every}", OF_MEANS)
    lengths = {str(at.astimezone(OSLO).date()): night.following(at, "1d") - at for at in buckets(table, "1d")}
    check((lengths["2026-03-29"], lengths["2026-10-25"]) == (timedelta(hours=23), timedelta(hours=25)), "the days themselves are wrong")
    for day, hours in [("2026-03-29", 23), ("2026-10-25", 25)]:
        co2 = [row for row in world.rows("--event-type", "co2", "--tz", "Europe/Oslo", "--every", "1d") if row["time"].startswith(day)]
        check(int(co2[0]["co2_count"]) == 4 * hours, f"{day} has {co2[0]['co2_count']} quarters of an hour")


def filled(values, every, how, limit):
    """What a column of buckets becomes: holes up to the limit, by hand."""
    out, length = list(values), timedelta(minutes=15)
    known = [index for index, value in enumerate(values) if value is not None]
    for before, after in zip(known, known[1:] + [len(values)]):
        for index in range(before + 1, after):
            if how == "previous" and (index - before) * length <= limit:
                out[index] = values[before]
            if how == "linear" and after < len(values) and (after - before - 1) * length <= limit:
                out[index] = values[before] + (values[after] - values[before]) * (index - before) / (after - before)
    return out


def holes_are_filled_up_to_the_limit(world):
    first, last = SPANS[0]
    begin, end = moment(first), moment(last)
    table = temperatures(world)
    table = table[(table["time"] >= begin) & (table["time"] < end)].reset_index(drop=True)
    means = table.groupby([pd.Series(buckets(table, "15m")), "device_id"])["value"].mean()
    starts = list(night.steps(begin, end, 900))
    for how, limit in [("none", 0), ("previous", 30), ("linear", 30), ("linear", 180), ("previous", 165)]:
        more = [] if how == "none" else ["--fill", how, "--fill-limit", f"{limit}m"]
        rows = world.rows("--wide", "temperature", "--every", "15m", "--start", rfc3339(begin), "--end", rfc3339(end), *more)
        check([row["time"] for row in rows] == [rfc3339(at) for at in starts], f"{how}: {len(rows)} buckets instead of {len(starts)}")
        for device in ["t1", "t2", "t3"]:
            plain = [means.get((at, device)) for at in starts]
            plain = [None if value is None or value != value else float(value) for value in plain]
            wanted = filled(plain, "15m", how, timedelta(minutes=limit))
            same([(number(row[device]),) for row in rows], [(value,) for value in wanted], f"{how} {limit}m {device}", OF_MEANS)


def states_become_the_time_in_each(world):
    # Behind the last event nobody recorded.
    heard = max(datetime.fromisoformat(one["timestamp"]) for one in world.events)
    for event_type, states in [("contact", ["CLOSED", "OPEN"]), ("motion", ["MOTION_DETECTED", "NO_MOTION_DETECTED"]), ("waterPresent", ["NOT_PRESENT", "PRESENT"])]:
        table = frame(world.events, event_type, state="state")
        for (first, last), every in [(span, every) for span in SPANS for every in ["1h", "1d"]]:
            begin, end = moment(first), moment(last)
            wanted = {}
            for device, own in table.groupby("device_id"):
                own = [(at.to_pydatetime(), state) for at, state in zip(own["time"], own["state"]) if at < end]
                for (at, state), until in zip(own, [at for at, _ in own[1:]] + [min(end, heard)]):
                    if at >= begin:
                        start = night.bucket(at, every)
                        wanted.setdefault((start, device), {})[f"{state}_events"] = wanted.get((start, device), {}).get(f"{state}_events", 0) + 1
                    at = max(at, begin)
                    while at < until:
                        start = night.bucket(at, every)
                        part = min(until, night.following(start, every))
                        cell = wanted.setdefault((start, device), {})
                        cell[f"{state}_seconds"] = cell.get(f"{state}_seconds", 0) + (part - at).total_seconds()
                        at = part
            columns = [f"{state}_{of}" for state in states for of in ["seconds", "events"]]
            rows = world.rows("--event-type", event_type, "--every", every, "--start", first, "--end", last, "--tz", "Europe/Oslo")
            found = [(datetime.fromisoformat(row["time"]), row["device_id"], *(float(row[name]) for name in columns)) for row in rows]
            same(found, [(*key, *(cell.get(name, 0) for name in columns)) for key, cell in sorted(wanted.items())], f"{event_type} {every} {first}")


def totals_become_differences_and_touches_are_counted(world):
    table = frame(world.events, "touchCount", total="total")
    grown = table["total"].diff()
    grown = grown.where(grown >= 0, table["total"])
    grown[0] = 0  # what was before the first nobody knows
    wanted = grown.groupby(pd.Series(buckets(table, "6h"))).sum()
    rows = world.rows("--event-type", "touchCount", "--every", "6h", "--tz", "Europe/Oslo")
    same([(datetime.fromisoformat(row["time"]), float(row["total_increase"])) for row in rows], list(wanted.items()), "differences")
    touches = frame(world.events, "touch")
    wanted = pd.Series(buckets(touches, "6h")).value_counts().sort_index()
    rows = world.rows("--event-type", "touch", "--every", "6h", "--tz", "Europe/Oslo")
    same([(datetime.fromisoformat(row["time"]), float(row["events"])) for row in rows], list(wanted.items()), "touches")


# ---- names, filters ----


def names_labels_and_filters(world):
    rows = world.rows("--names", "--with-labels", "room,floor", "--no-defuse", "--latest")
    found = {row["device_id"]: (row["device_name"], row["room"], row["floor"]) for row in rows}
    check(found == {device: about[1:] for device, about in DEVICES.items()}, f"{found}")
    devices = lambda *args: {row["device_id"] for row in world.rows("--latest", *args)}
    for args, wanted in [
        (["--device", "Front door"], {"d1"}), (["--device", "t1", "--device", "=1+1"], {"t1"}), (["--device", "h1", "--device", "Sink"], {"h1", "w1"}),
        (["--label", "room=101"], {"t1", "h1", "c1", "b1"}), (["--label", "room=101", "--label", "floor=1", "--device-type", "humidity"], {"h1"}),
        (["--device-type", "contact", "--device-type", "motion"], {"d1", "d2", "m1"}), (["--label", "floor", "--event-type", "co2"], {"c1"}),
    ]:
        check(devices(*args) == wanted, f"{args}: {devices(*args)}")


# ---- SQL ----


def the_sql_script_makes_typed_views(world):
    script = world.product.run("sql", "--dir", world.dir)
    file = world.product.folder / "views.sql"
    world.product.run("sql", "--dir", world.dir, "-o", file)
    check(file.read_text() == script, "standard output and a file differ")
    world.product.run("sql", "--dir", world.dir, "-o", file, codes=(1,))
    world.product.run("sql", "--dir", world.dir, "-o", file, "--force")
    check("it''s a night" in script, "the path is not quoted")
    stored = world.product.folder / "views.db"
    with duckdb.connect(str(stored)) as first:
        first.execute(script)
        first.execute(script)
    here = os.getcwd()
    os.chdir("/")
    try:
        with duckdb.connect(str(stored)) as db:
            types = pd.Series([one["eventType"] for one in world.events]).value_counts().to_dict()
            for event_type, count in types.items():
                view = event_type.replace('"', '""')
                check(db.execute(f'SELECT count(*) FROM "{view}"').fetchone() == (count,), f"{event_type} has other rows")
            found = dict(db.execute("SELECT event_type, count(*) FROM events GROUP BY ALL").fetchall())
            check(found == types, f"events: {found}")
            kinds = {name: kind for name, kind, *_ in db.execute("DESCRIBE temperature").fetchall()}
            wanted = {"time": "TIMESTAMP WITH TIME ZONE", "temperature": "DOUBLE", "samples": 'STRUCT("time" TIMESTAMP WITH TIME ZONE, temperature DOUBLE)[]'}
            check(wanted.items() <= kinds.items(), f"{kinds}")
            comment = db.execute("SELECT comment FROM duckdb_columns() WHERE table_name = 'temperature' AND column_name = 'temperature'").fetchone()
            check("Unit: Cel" in comment[0], f"{comment}")
            value = temperatures(world)["value"].sum()
            found = db.execute("SELECT sum(value), any_value(unit) FROM events WHERE event_type = 'temperature'").fetchone()
            check(abs(found[0] - value) < 1e-6 and found[1] == "Cel", f"{found}")
            found = db.execute("SELECT DISTINCT device_id, device_name, device_type, labels['room'], labels['floor'] FROM events_named").fetchall()
            check(sorted(found) == sorted((device, name, kind, room, floor) for device, (kind, name, room, floor) in DEVICES.items()), f"{found}")
            columns = "epoch_us(time), project_id, device_id, device_name, room, quantity, value, unit, event_type"
            found = db.execute(f"SELECT {columns} FROM readings").fetchall()
            exported = world.rows("--long", "--time-format", "unix-ms", "--no-defuse")
            plain = lambda row: (*row[:1], *[cell or "" for cell in row[1:6]], float(row[6]), *row[7:])
            found = sorted(plain((row[0] // 1000, *row[1:])) for row in found)
            right = sorted(plain((int(row["time"]), *list(row.values())[1:])) for row in exported)
            check(found == right and {"temperature", "humidity"} <= {row[8] for row in found if row[5] == "temperature"}, f"readings: {few(set(found) ^ set(right))}")
            states = db.execute("SELECT DISTINCT state FROM events WHERE event_type = 'contact' ORDER BY 1").fetchall()
            check(states == [("CLOSED",), ("OPEN",)] and db.execute("SELECT count(*) FROM devices").fetchone() == (len(DEVICES),), f"{states}")
    finally:
        os.chdir(here)


def a_device_that_was_moved_has_the_name_that_the_events_project_gives_it(world):
    other, lines = world.product.folder / "moved", world.product.folder / "moved.ndjson"
    one = next(one for one in world.events if one["eventType"] == "temperature")
    moved = [one | {"eventId": project, "targetName": f"projects/{project}/devices/d1"} for project in ("p1", "p2", "p3")]
    lines.write_text("".join(json.dumps(event) + "\n" for event in moved))
    world.product.run("import", "--dir", other, lines)
    with sqlite3.connect(other / "state/buffer.db") as db:
        rows = [(project, "d1", "temperature", "", json.dumps({"name": name})) for project, name in (("p1", "Kitchen"), ("p2", "Hall"))]
        db.executemany("INSERT INTO device VALUES (?, ?, ?, ?, ?)", rows)
    db.close()
    world.product.run("roll", "--dir", other)
    wanted = [("p1", "Kitchen"), ("p2", "Hall"), ("p3", "Hall")]
    with duckdb.connect() as db:
        db.execute(world.product.run("sql", "--dir", other))
        found = db.execute("SELECT project_id, device_name FROM events_named ORDER BY 1").fetchall()
    check(found == wanted, f"events_named: {found}")
    exported = csv.DictReader(io.StringIO(world.product.run("export", "--dir", other, "--names")))
    check([(row["project_id"], row["device_name"]) for row in exported] == wanted, "export names it otherwise")
    names = pd.read_parquet(other / "devices.parquet")[["project_id", "id", "name"]]
    rows = pd.read_parquet(other / "data/temperature")
    check(len(rows.merge(names, left_on=["project_id", "device_id"], right_on=["project_id", "id"], how="left")) == 3, "a merge doubles rows")


def devices_of_one_name_have_the_same_other_names_everywhere(world):
    other, lines = world.product.folder / "twins", world.product.folder / "twins.ndjson"
    one = next(one for one in world.events if one["eventType"] == "temperature")
    lines.write_text("".join(json.dumps(one | {"eventId": device, "targetName": f"projects/p/devices/{device}"}) + "\n" for device in ("d1", "d2", "d3")))
    world.product.run("import", "--dir", other, lines)
    with sqlite3.connect(other / "state/buffer.db") as db:
        rows = [("p", device, "temperature", "", json.dumps({"name": "Server room", "room": room})) for device, room in (("d1", "2.14"), ("d2", "3.01"))]
        db.executemany("INSERT INTO device VALUES (?, ?, ?, ?, ?)", rows)
    db.close()
    world.product.run("roll", "--dir", other)
    wanted = [("d1", "Server room (2.14)"), ("d2", "Server room (3.01)"), ("d3", "d3")]
    exported = csv.DictReader(io.StringIO(world.product.run("export", "--dir", other, "--names")))
    check(sorted((row["device_id"], row["device_name"]) for row in exported) == wanted, "export names them otherwise")
    with duckdb.connect() as db:
        db.execute(world.product.run("sql", "--dir", other))
        query = "SELECT device_id, device_name FROM events_named ORDER BY 1"
        check(db.execute(query).fetchall() == wanted, f"events_named: {db.execute(query).fetchall()}")
        # A list of before there were such names.
        table = pq.read_table(other / "devices.parquet")
        pq.write_table(table.drop_columns(["display_name"]), other / "devices.parquet")
        older = db.execute(query).fetchall()
        check(older == [("d1", "Server room (d1)"), ("d2", "Server room (d2)"), ("d3", "d3")], f"{older}")


def the_sql_script_of_events_that_are_in_no_day_file_is_typed_and_says_so(world):
    other = world.product.folder / "buffered"
    recorder = world.product.start("listen", "--dir", other, "--addr", "127.0.0.1:0", "--allow-unsigned")
    try:
        url = wait_until("the receiver's address", lambda: alive(recorder) or recorder.out.read_text().strip()).removeprefix("listening on ")
        night.push(url, next(one for one in world.events if one["eventType"] == "temperature"))
        script = world.product.run("sql", "--dir", other)
        check("-- 1 event is kept, but in no day file yet" in script, script[:600])
        with duckdb.connect() as db:
            db.execute(script)
            kinds = {name: kind for name, kind, *_ in db.execute("DESCRIBE temperature").fetchall()}
            check(kinds["temperature"] == "DOUBLE" and db.execute("SELECT count(*) FROM events_named").fetchone() == (0,), f"{kinds}")
    finally:
        recorder.terminate()
        recorder.wait(20)


# ---- manners ----


def an_existing_file_stays_and_an_empty_result_says_why(world):
    file = world.file(".csv", "--event-type", "co2")
    before = file.read_bytes()
    world.export("--event-type", "touch", "-o", file, codes=(1,))
    check(file.read_bytes() == before, "it was overwritten")
    world.export("--event-type", "touch", "-o", file, "--force")
    done = subprocess.run([world.product.binary, "export", "--dir", world.dir, "--start", "2027-01-01"], capture_output=True, text=True)
    check(done.returncode == 3 and f"{len(world.events):,} events from 2026-03-27 to 2026-10-26" in done.stderr, done.stderr)


def a_broken_pipe_is_no_error(world):
    command = f'"{world.product.binary}" export --dir "{world.dir}" -o - | head -n 1; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
    check(done.stdout.startswith("time,") and done.stdout.endswith("\n0\n") and not done.stderr, f"{done.stdout[-200:]} {done.stderr}")


def on_a_terminal(world, *args, streams, verb="export", zone="UTC"):
    """Runs a verb with some of its streams on a terminal; gives what is seen there."""
    ours, theirs = pty.openpty()
    env = os.environ | {"TZ": zone}
    process = subprocess.Popen([world.product.binary, verb, *args], env=env, **{stream: theirs for stream in streams})
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            part = b""
        if not part:
            break
        seen += part
    os.close(ours)
    check(process.wait(20) == 0, f"{args}: {seen!r}")
    return seen.decode()


def a_terminal_sees_a_bar_with_rate_and_time_left(world):
    seen = on_a_terminal(world, "--dir", world.dir, "-o", world.product.folder / "bar.xlsx", streams=["stderr"])
    check(all(word in seen for word in ["events", "/s", "left"]), f"{seen!r}")


def a_terminal_sees_twenty_rows_and_times_of_its_own_clock(world):
    both = ["stdout", "stderr"]
    seen = on_a_terminal(world, "--dir", world.dir, "--event-type", "temperature", streams=both, zone="Asia/Tokyo")
    # Midnight in Oslo.
    rows = [line for line in seen.splitlines() if line.startswith("2026-03-28 0")]
    check("time (Asia/Tokyo)" in seen and len(rows) == 20 and "first 20 rows" in seen and " °C" in rows[0].replace("\xa0", " "), seen)
    every = on_a_terminal(world, "--dir", world.dir, "--event-type", "temperature", "--format", "csv", streams=["stdout"], zone="Asia/Tokyo")
    check(every.startswith("time,") and len(every.splitlines()) > 1000 and "2026-03-28T08:" in every, every[:300])
    for verb in ["status", "gaps"]:
        seen = on_a_terminal(world, "--dir", world.dir, streams=both, verb=verb, zone="Asia/Tokyo")
        check("Asia/Tokyo" in seen and "UTC" not in seen, seen)
        seen = on_a_terminal(world, "--dir", world.dir, "--tz", "UTC", streams=both, verb=verb, zone="Asia/Tokyo")
        check("UTC" in seen and "Asia/Tokyo" not in seen, seen)


def no_control_character_of_a_name_reaches_a_terminal_and_a_pipe_has_it_as_it_is(world):
    copy = world.product.folder / "with odd names"
    shutil.copytree(world.dir, copy)
    odd = "\x1b]0;owned\x07\x9b31m\x7f\u202e\u2066 Büro"
    with sqlite3.connect(copy / "state/buffer.db") as db:
        db.execute("UPDATE device SET labels = ? WHERE id = 't1'", (json.dumps({"name": odd}),))
    args = ["--dir", copy, "--latest", "--names", "--device", "t1"]
    check(odd in world.product.run("export", *args), "the name is not as it was given")
    for more, streams in [([], ["stdout", "stderr"]), (["--format", "ndjson"], ["stdout", "stderr"]), (["-o", "/dev/stdout"], ["stdout"])]:
        seen = on_a_terminal(world, *args, *more, streams=streams)
        check("temperature" in seen and not any(ord(c) < 32 and c not in "\n\r\t" or 127 <= ord(c) < 160 or c in "\u202e\u2066" for c in seen), f"{seen!r}")
    check("owned" in on_a_terminal(world, *args, streams=["stdout"]), "the rest of the name is gone")


def an_interrupted_export_leaves_no_half_file(world):
    for _ in range(20):
        world.files += 1
        folder = world.product.folder / f"{world.files}-interrupted"
        folder.mkdir()
        process = subprocess.Popen([world.product.binary, "export", "--dir", world.dir, "-o", folder / "all.xlsx"], stderr=subprocess.DEVNULL)
        while process.poll() is None and not list(folder.iterdir()):
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        code = process.wait(20)
        left = [path.name for path in folder.iterdir()]
        check((code, left) in [(130, []), (0, ["all.xlsx"])], f"ended with {code}, left {left}")
        if code == 130:
            return
    raise AssertionError("every export was done before it could be interrupted")


def gaps_in_the_range_are_told_and_exit_3(world):
    copy = world.product.folder / "with a gap"
    shutil.copytree(world.dir, copy)
    begins, ends = (int(moment(day).timestamp() * 10**6) for day in ["2026-10-25", "2026-10-26"])
    with sqlite3.connect(copy / "state/buffer.db") as db:
        # A gap is derived; this is one that a damaged file left.
        everything = json.dumps({name: [] for name in ["event_types", "devices", "device_types", "labels", "product_numbers"]})
        row = ("demo", everything, begins, ends, "a test", ends)
        db.execute("INSERT INTO loss (project, filters, begins, ends, cause, noted_at) VALUES (?, ?, ?, ?, ?, ?)", row)
    for range, code in [([], 3), (["--start", "2026-10-25T12:00"], 3), (["--end", "2026-04-01"], 0), (["--start", "2026-10-26T12:00"], 0)]:
        done = subprocess.run([world.product.binary, "export", "--dir", copy, "--event-type", "co2", *range], capture_output=True, text=True)
        check(done.returncode == code and ("1 gap " in done.stderr) == (code == 3), f"{range}: {done.returncode} {done.stderr}")
        check(done.stdout.startswith("time,"), "nothing was exported")


RULES = [
    csv_in_long_form_has_every_event_for_pandas,
    text_is_quoted_as_rfc_4180_has_it_and_defused,
    locale_and_explicit_flags_say_the_same,
    local_times_and_their_offset_are_moments,
    one_file_reads_with_default_calls_and_has_units,
    partitions_read_with_default_calls,
    ndjson_is_lossless,
    a_workbook_has_dates_numbers_units_and_a_sheet_a_type,
    a_spreadsheet_is_for_people,
    a_long_table_goes_on_in_the_next_sheet,
    libreoffice_takes_csv_for_excel_as_dates_and_numbers,
    libreoffice_reads_the_workbook,
    wide_has_a_column_a_device,
    several_types_join_on_time,
    samples_are_rows,
    latest_is_the_last_event_of_each_device,
    figures_are_those_of_the_calendar_in_oslo,
    holes_are_filled_up_to_the_limit,
    states_become_the_time_in_each,
    totals_become_differences_and_touches_are_counted,
    names_labels_and_filters,
    the_sql_script_makes_typed_views,
    a_device_that_was_moved_has_the_name_that_the_events_project_gives_it,
    devices_of_one_name_have_the_same_other_names_everywhere,
    the_sql_script_of_events_that_are_in_no_day_file_is_typed_and_says_so,
    an_existing_file_stays_and_an_empty_result_says_why,
    a_broken_pipe_is_no_error,
    a_terminal_sees_a_bar_with_rate_and_time_left,
    a_terminal_sees_twenty_rows_and_times_of_its_own_clock,
    no_control_character_of_a_name_reaches_a_terminal_and_a_pipe_has_it_as_it_is,
    an_interrupted_export_leaves_no_half_file,
    gaps_in_the_range_are_told_and_exit_3,
]


def scenario(product):
    folder = product.folder / "it's a night"
    return hold(RULES, World(product, folder, night.record(product, folder)))


if __name__ == "__main__":
    script(scenario, seconds=110)
