#!/usr/bin/env python3
"""What README and the page on it say of the morning after works as it stands there: its code is taken out of the files and run.

usage: readme.py BINARY
"""

import os
import re
import subprocess
from pathlib import Path

import duckdb
import pandas as pd

import night
from harness import check, hold, script

ROOT = Path(__file__).resolve().parents[2]


def blocks(language):
    """The fenced code of a language in README's section, and on the page."""
    section = (ROOT / "README.md").read_text().partition("## The morning after\n")[2].partition("\n## ")[0]
    texts = [section, (ROOT / "src/docs/morning.md").read_text()]
    return [code for text in texts for code in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


def python_runs(product):
    found = blocks("python")
    check(len(found) >= 2, f"{len(found)} blocks")
    for code in found:
        names = {}
        exec(compile(code, "an example", "exec"), names)  # our own text
        tables = [names[name] for name in ["df", "table", "frame"] if name in names]
        has_all = all(len(table) > 1000 and len(table["temperature"]) > 1000 for table in tables)
        check(has_all and len(names.get("hours", range(101))) > 100, f"{code}: {[len(table) for table in tables]} rows")


def sensors_of_one_name_stay_apart(product):
    """Names are not unique: no snippet may average two sensors that share one, or drop one that has none."""
    recording = product.folder / "twins" / "recording"
    (recording / "data/temperature").mkdir(parents=True)
    ids, times = ["a", "b", "c"], pd.date_range("2026-11-23", periods=3, freq="h", tz="UTC")
    rows = [(time, device, "p", 20.0 + at) for time in times for at, device in enumerate(ids)]
    frame = pd.DataFrame(rows, columns=["time", "device_id", "project_id", "temperature"])
    frame.to_parquet(recording / "data/temperature/2026-11-23.parquet", index=False)
    names = pd.DataFrame({"project_id": "p", "id": ids, "name": ["Server room", "Server room", None]})
    names.to_parquet(recording / "devices.parquet", index=False)
    os.chdir(recording.parent)
    try:
        for code in (code for code in blocks("python") if "hours = " in code):
            found = {}
            exec(compile(code, "an example", "exec"), found)  # our own text
            hours = found["hours"]
            means = hours.tolist() if isinstance(hours, pd.Series) else hours["temperature"].to_list()
            check(sorted(means) == [20.0] * 3 + [21.0] * 3 + [22.0] * 3, f"{code}: {hours}")
    finally:
        os.chdir(product.folder)
    for code in blocks("sql") + blocks("r"):
        check("avg(" not in code and "mean(" not in code or "device_id" in code, f"{code}: groups by no device_id")


def sql_runs(product):
    found = blocks("sql")
    check(len(found) >= 2, f"{len(found)} blocks")
    product.run("sql", "-o", "views.sql")
    duckdb.execute((product.folder / "views.sql").read_text())
    for code in [statement for block in found for statement in duckdb.extract_statements(block)]:
        table = duckdb.sql(code.query).to_arrow_table()
        is_whole = "night/" not in code.query or {"time", "temperature"} <= set(table.column_names)
        check(len(table) > 100 and is_whole, f"{code.query}: {len(table)} rows of {table.column_names}")


def commands_run(product):
    tools = product.folder / "bin"
    tools.mkdir()
    (tools / "overnight").symlink_to(product.binary)
    found = [line for block in blocks("sh") for line in block.splitlines()]
    check(len(found) >= 8, f"{len(found)} commands")
    env = product.env | {"PATH": f"{tools}:{product.env['PATH']}"}
    for line in found:
        # README and the page may write the same file.
        for old in re.findall(r"(?:-o |>)(\S+[^/\s])", line):
            (product.folder / old).unlink(missing_ok=True)
        done = subprocess.run(["bash", "-c", line], cwd=product.folder, env=env, capture_output=True, text=True, timeout=30)
        # The night is months ago: of the last hours there is nothing, which is told.
        is_empty = done.returncode == 3 and "--since" in line and "no events: " in done.stderr
        check(done.returncode == 0 or is_empty, f"{line}: ended with {done.returncode}: {done.stderr}")
        out = re.search(r"(?:-o |>)(\S+)", line)
        wrote = not out or "--since" in line or (product.folder / out.group(1)).exists()
        check(wrote, f"{line}: wrote no file")
    wide = pd.read_csv(product.folder / "wide.csv")
    check(len(wide) > 1000 and len(wide.columns) == 1 + 8, f"wide.csv: {list(wide)}")


def scenario(product):
    night.record(product, product.folder / "recording")
    os.chdir(product.folder)
    return hold([commands_run, python_runs, sensors_of_one_name_stay_apart, sql_runs], product)


if __name__ == "__main__":
    script(scenario, seconds=50)
