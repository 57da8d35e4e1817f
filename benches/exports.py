#!/usr/bin/env python3
"""exports.py BINARY EVENTS.ndjson [--runs 5]: exports beside DuckDB and Polars, reading the same day files, in one run.

Run it with a Python that has duckdb, polars and pyarrow (target/test-venv, once tests/run made it). Prints a table of
medians: CPU of the whole process, and without what the rival needs to start (an import and nothing else). What overnight
wrote is held against what DuckDB reads from the day files, row by row, each way.
"""
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

DUCK = """
import duckdb, glob, os, sys
task, rec, out, device, day = sys.argv[1:]
db = duckdb.connect()
def copy(query, name):
    db.execute(f"COPY ({query}) TO '{out}/{name}.csv' (FORMAT csv, HEADER)")
if task == "everything":
    for folder in sorted(glob.glob(rec + "/data/*")):
        columns = db.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{folder}/*.parquet')").fetchall()
        what = ", ".join(f'to_json("{name}") AS "{name}"' if "[]" in kind else f'"{name}"' for name, kind in columns)
        copy(f"SELECT {what} FROM '{folder}/*.parquet'", os.path.basename(folder))
elif task == "device":
    copy(f"SELECT * EXCLUDE (samples), to_json(samples) AS samples FROM '{rec}/data/temperature/*.parquet' "
         f"WHERE device_id = '{device}' AND time >= TIMESTAMPTZ '{day} 00:00:00+00' AND time < TIMESTAMPTZ '{day} 00:00:00+00' + INTERVAL 1 DAY "
         "ORDER BY time", "temperature")
elif task == "wide":
    db.execute(f"CREATE TEMP TABLE w AS PIVOT (SELECT time_bucket(INTERVAL 15 MINUTES, time) AS t, device_id, temperature "
               f"FROM '{rec}/data/temperature/*.parquet') ON device_id USING avg(temperature) GROUP BY t ORDER BY t")
    copy("FROM w ORDER BY t", "wide")
"""
POLARS = """
import glob, os, sys
import polars as pl
from datetime import datetime, timedelta, timezone
task, rec, out, device, day = sys.argv[1:]
def scan(folder):
    rows = pl.scan_parquet(folder + "/*.parquet")
    nested = [name for name, kind in rows.collect_schema().items() if isinstance(kind, pl.List)]
    return rows.with_columns(pl.struct(name).struct.json_encode().alias(name) for name in nested)
if task == "everything":
    for folder in sorted(glob.glob(rec + "/data/*")):
        scan(folder).sink_csv(f"{out}/{os.path.basename(folder)}.csv", engine="streaming")
elif task == "device":
    start = datetime.fromisoformat(day).replace(tzinfo=timezone.utc)
    rows = scan(rec + "/data/temperature")
    rows = rows.filter((pl.col("device_id") == device) & pl.col("time").is_between(start, start + timedelta(days=1), closed="left"))
    rows.sort("time").sink_csv(out + "/temperature.csv")
elif task == "wide":
    rows = pl.scan_parquet(rec + "/data/temperature/*.parquet")
    means = rows.group_by(pl.col("time").dt.truncate("15m").alias("t"), "device_id").agg(pl.col("temperature").mean())
    means.collect(engine="streaming").pivot(on="device_id", index="t", values="temperature").sort("t").write_csv(out + "/wide.csv")
"""
START = {"DuckDB": "import duckdb; duckdb.connect().execute('SELECT 1')", "Polars": "import polars"}
TASKS = [
    ("everything", "CSV of everything, a file a type, all columns"),
    ("device", "CSV of one device and one day out of ten"),
    ("wide", "CSV of 15-minute means, a column a device"),
]


def run(command):
    """CPU seconds, wall seconds and peak MB of a command that has to work."""
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"failed: {command[:3]}: {said.decode(errors='replace')[-2000:]}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - begun, usage.ru_maxrss / 1024


def ours(binary, recording, out, device, day):
    after = f"{day[:8]}{int(day[8:]) + 1:02}"
    return {
        "everything": [binary, "export", "--dir", recording, "-o", out + "/"],
        "device": [binary, "export", "--dir", recording, "--event-type", "temperature", "--device", device,
                   "--start", day, "--end", after, "-o", out + "/temperature.csv"],
        "wide": [binary, "export", "--dir", recording, "--wide", "temperature", "--every", "15m", "-o", out + "/wide.csv"],
    }


def database():
    """In a process of its own: what a process has ever used of memory is counted as used by those that it starts."""
    import duckdb

    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    return db, duckdb.__version__


def about(recording):
    db, version = database()
    temperature = f"'{recording}/data/temperature/*.parquet'"
    rows, devices = db.execute(f"SELECT count(*), count(DISTINCT device_id) FROM {temperature}").fetchall()[0]
    device = db.execute(f"SELECT device_id FROM {temperature} GROUP BY ALL ORDER BY count(*) DESC, 1 LIMIT 1").fetchall()[0][0]
    files = (f"'{recording}/data/{kind}/*.parquet'" for kind in os.listdir(recording + "/data"))
    total = sum(db.execute(f"SELECT count(*) FROM {file}").fetchall()[0][0] for file in files)
    return total, rows, devices, device, version


def differing(recording, out, task, device, day):
    """How many rows of ours DuckDB does not find in the day files, and the other way round."""
    db, _ = database()
    if task == "wide":
        wide = f"read_csv('{out}/wide.csv', all_varchar = true)"
        written = (f"SELECT time::TIMESTAMPTZ AS time, device_id, round(value::DOUBLE, 9) AS value "
                   f"FROM (UNPIVOT {wide} ON COLUMNS(* EXCLUDE time) INTO NAME device_id VALUE value) WHERE value IS NOT NULL")
        recorded = (f"SELECT time_bucket(INTERVAL 15 MINUTES, time), device_id, round(avg(temperature), 9) "
                    f"FROM '{recording}/data/temperature/*.parquet' GROUP BY ALL")
        return between(db, written, recorded)
    bad = 0
    for name in sorted(os.listdir(out)):
        source = f"'{recording}/data/{name.removesuffix('.csv')}/*.parquet'"
        columns = db.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM {source})").fetchall()
        typed = ", ".join(f'"{column}"::{"JSON::" if "[]" in kind else ""}{kind} AS "{column}"' for column, kind in columns)
        where = f"WHERE device_id = '{device}' AND time::DATE = DATE '{day}'" if task == "device" else ""
        bad += between(db, f"SELECT {typed} FROM read_csv('{out}/{name}', all_varchar = true)", f"SELECT * FROM {source} {where}")
    return bad


def between(db, one, other):
    count = f"SELECT (SELECT count(*) FROM ({one})), (SELECT count(*) FROM (({one}) EXCEPT ALL ({other}))), (SELECT count(*) FROM (({other}) EXCEPT ALL ({one})))"
    rows, more, less = db.execute(count).fetchall()[0]
    return more + less if rows else 1


def main():
    binary, events = map(os.path.abspath, sys.argv[1:3])
    runs = int(sys.argv[sys.argv.index("--runs") + 1]) if "--runs" in sys.argv else 5
    place = tempfile.mkdtemp(prefix="overnight-exports-", dir=os.path.dirname(events))
    try:
        recording, out = place + "/recording", place + "/out"
        run([binary, "import", "--dir", recording, events])
        apart = multiprocessing.get_context("spawn").Pool(1)
        total, rows, devices, device, version = apart.apply(about, [recording])
        day = sorted(os.listdir(recording + "/data/temperature"))[4].removesuffix(".parquet")
        cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
        print(f"{total:,} events, {rows:,} temperatures of {devices:,} devices; {os.cpu_count()} cores, {cpu}; "
              f"medians of {runs}, each tool in turn; DuckDB {version}\n")
        start = {name: statistics.median(run([sys.executable, "-c", code])[0] for _ in range(runs)) for name, code in START.items()}
        print("| task | tool | CPU s | without start | times ours | wall s | peak MB | checked |\n|---|---|---|---|---|---|---|---|")
        for task, title in TASKS:
            measured, checked = {}, 0
            for _ in range(runs):
                commands = {
                    "overnight": ours(binary, recording, out, device, day)[task],
                    "DuckDB": [sys.executable, "-c", DUCK, task, recording, out, device, day],
                    "Polars": [sys.executable, "-c", POLARS, task, recording, out, device, day],
                }
                for name, command in commands.items():
                    shutil.rmtree(out, ignore_errors=True)
                    os.mkdir(out)
                    measured.setdefault(name, []).append(run(command))
                    if name == "overnight" and len(measured[name]) == 1:
                        checked = apart.apply(differing, [recording, out, task, device, day])
            own = statistics.median(cpu for cpu, _, _ in measured["overnight"])
            for name, all_runs in measured.items():
                cpu, wall, peak = (statistics.median(column) for column in zip(*all_runs))
                bare = cpu - start.get(name, 0)
                verdict = {"overnight": "row by row" if not checked else f"{checked} ROWS DIFFER"}.get(name, "")
                print(f"| {title} | {name} | {cpu:.3f} | {bare:.3f} | {bare / own:.1f} | {wall:.2f} | {peak:.0f} | {verdict} |", flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
