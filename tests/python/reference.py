#!/usr/bin/env python3
"""Exports hold against a reference that shares no code with the program.

usage: reference.py BINARY [--recordings N] [--seed S] [--long] [--keep DIR]

Each recording is made up from a seed: events of devices in several projects, in any order and in pieces, and a ledger. What the
program says of it, in random asks, is held against what reference/ works out from the events and the ledger.
"""

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from reference import found, world as worlds
from reference.asks import arguments, parts, random_ask
from reference.tables import Tables
from reference.ledger import Ledger

EXPORTS = {"long": "long", "wide": "wide", "latest": "latest", "samples": "samples", "buckets": "buckets", "wide-buckets": "wide_buckets"}


class Program:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.runs, self.files = str(Path(binary).resolve()), folder, 0, 0

    def run(self, *args, codes=(0, 3), data=None):
        """Runs a command; gives its standard output, or an error as text."""
        self.runs += 1
        done = subprocess.run([self.binary, *map(str, args)], input=data if data is not None else b"", capture_output=True, timeout=120)
        if done.returncode not in codes:
            raise Refused(f"`{' '.join(map(str, args))}` ended with {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}")
        return done.stdout

    def new(self, ending):
        self.files += 1
        return self.folder / f"{self.files}{ending}"


class Refused(Exception):
    pass


def record(program, world, folder):
    """Makes the recording on disk."""
    for number, lines in enumerate(world.files):
        program.run("import", "--dir", folder, "-", data="".join(line + "\n" for line in lines).encode(), codes=(0,))
        if number == 0 and world.rolls[0]:
            program.run("roll", "--dir", folder)
    world.ledger.write(folder / "state/buffer.db")
    worlds.write_devices(folder / "state/buffer.db", world.devices)
    if world.rolls[1]:
        program.run("roll", "--dir", folder)


def export(program, folder, ask, how="csv"):
    args = ["export", "--dir", folder, *arguments(ask)]
    if how == "csv":
        return found.from_csv(program.run(*args, "--no-defuse"))
    if how == "ndjson":
        return found.from_ndjson(program.run(*args, "--format", "ndjson"))
    path = program.new("." + how)
    program.run(*args, "-o", path)
    if not path.exists():
        return [], []
    if how == "xlsx":
        return found.from_workbook(path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    return found.from_arrow(pq.ParquetFile(path).read() if how == "parquet" else pa.ipc.open_file(path).read_all())


def formats(ask):
    """Those that can say it in one file."""
    one_type = ask.shape.startswith("wide") or len(ask.types) == 1 and ask.shape != "samples"
    rows = ask.names or ask.shape not in ("long", "latest")
    return ["csv"] * 6 + ["ndjson"] * rows + ["xlsx"] + ["parquet", "arrow"] * one_type


def wrong(program, folder, tables, ask, how):
    """What is wrong with an export, as sentences."""
    wanted = getattr(tables, EXPORTS[ask.shape])(ask)
    try:
        header, rows = export(program, folder, ask, how)
    except Refused as error:
        return [str(error)]
    return list(found.differences(ask, wanted, header, rows, coarse=how == "xlsx"))


def kind_of(ask, how, differs):
    """A few words by which mismatches are counted."""
    column = re.match(r"\(.*?\) (.*?): ", differs)
    what = re.split(r"[ _]", column[1])[-1] if column else differs.split(":")[0].split("`")[0]
    fill = f"--fill {ask.fill}" if ask.fill != "none" else ""
    return " ".join(filter(None, [ask.shape, fill, "--start" if ask.start is not None else "", how if how == "xlsx" else "", "|", what]))


def smallest(program, base, world, ask, how):
    """Fewer events, less of the ledger, a plainer ask: as long as something stays wrong."""
    tries = 0

    def fails(world, ask):
        nonlocal tries
        tries += 1
        with tempfile.TemporaryDirectory(dir=base) as folder:
            folder = Path(folder) / "r"
            try:
                record(program, world, folder)
            except Refused:
                return []
            return wrong(program, folder, Tables(world), ask, how)

    world = world.smaller(world.events)
    best = fails(world, ask)
    if not best:
        return None
    step = len(world.events) // 2
    while step and tries < 150:
        at = 0
        while at < len(world.events) and tries < 150:
            fewer = world.smaller(world.events[:at] + world.events[at + step :])
            result = fewer.events and fails(fewer, ask)
            if result:
                world, best = fewer, result
            else:
                at += step
        step //= 2
    for name in ("runs", "fills", "losses"):
        for one in list(getattr(world.ledger, name)):
            ledger = Ledger(world.ledger.runs[:], world.ledger.losses[:], world.ledger.fills[:])
            getattr(ledger, name).remove(one)
            fewer = world.smaller(world.events, ledger)
            result = fails(fewer, ask)
            if result:
                world, best = fewer, result
    for plain in list(parts(ask)):
        result = fails(world, plain)
        if result:
            ask, best = plain, result
    return world, ask, best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--recordings", type=int, default=300)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--asks", type=int, default=12)
    parser.add_argument("--long", action="store_true", help="ten thousand recordings")
    parser.add_argument("--keep", metavar="DIR", help="recordings that differ stay there")
    parser.add_argument("--smallest", action="store_true", help="find the smallest input of the first of each kind")
    said = parser.parse_args()
    seed = said.seed if said.seed is not None else int(time.time())
    count = 10_000 if said.long else said.recordings
    begun, kinds, rows, asked = time.monotonic(), Counter(), 0, 0
    print(f"reference.py: {count} recordings from seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="overnight-") as base:
        base = Path(base)
        program = Program(said.binary, base)
        for number in range(seed, seed + count):
            world = worlds.made(number)
            tables, dice = Tables(world), random.Random(number)
            folder = base / f"r{number}"
            record(program, world, folder)
            for _ in range(said.asks):
                ask = random_ask(dice, world, tables)
                how = dice.choice(formats(ask))
                asked += 1
                differs = wrong(program, folder, tables, ask, how)
                if differs:
                    kind = kind_of(ask, how, differs[0])
                    kinds[kind] += 1
                    print(f"DIFFERS seed {number}: overnight export {' '.join(arguments(ask))}  [{how}]\n        " + "\n        ".join(differs[:3]), flush=True)
                    if said.smallest and kinds[kind] == 1:
                        less = smallest(program, base, world, ask, how)
                        if less:
                            small, plain, differs = less
                            print("  smallest: overnight export " + " ".join(arguments(plain)))
                            print("\n".join("    " + event.text for event in small.events), small.ledger, *("      " + text for text in differs[:6]), sep="\n", flush=True)
    print(f"reference.py: {count} recordings, {asked} asks, {sum(kinds.values())} differ, {time.monotonic() - begun:.0f} s")
    for kind, many in kinds.most_common():
        print(f"    {many:6} {kind}")
    sys.exit(1 if kinds else 0)


if __name__ == "__main__":
    main()
