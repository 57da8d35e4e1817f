#!/usr/bin/env python3
"""What the README says of the morning after works as it stands there: its code is taken out of the file and run.

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

README = Path(__file__).resolve().parents[2] / "README.md"


def blocks(language):
    """The fenced code of a language in the section."""
    section = README.read_text().partition("## The morning after\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def python_runs(product):
    found = blocks("python")
    check(len(found) >= 2, f"{len(found)} blocks")
    for code in found:
        names = {}
        exec(compile(code, "README.md", "exec"), names)  # our own text
        tables = [names[name] for name in ["df", "table", "frame"] if name in names]
        has_all = all(len(table) > 1000 and len(table["temperature"]) > 1000 for table in tables)
        check(has_all and len(names.get("hours", range(101))) > 100, f"{code}: {[len(table) for table in tables]} rows")


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
        done = subprocess.run(["bash", "-c", line], cwd=product.folder, env=env, capture_output=True, text=True, timeout=30)
        check(done.returncode == 0, f"{line}: ended with {done.returncode}: {done.stderr}")
        out = re.search(r"(?:-o |>)(\S+)", line)
        wrote = not out or "--since" in line or (product.folder / out.group(1)).exists()
        check(wrote, f"{line}: wrote no file")
    wide = pd.read_csv(product.folder / "wide.csv")
    check(len(wide) > 1000 and len(wide.columns) == 1 + 6, f"wide.csv: {list(wide)}")


def scenario(product):
    night.record(product, product.folder / "recording")
    os.chdir(product.folder)
    return hold([commands_run, python_runs, sql_runs], product)


if __name__ == "__main__":
    script(scenario, seconds=50)
