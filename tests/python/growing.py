#!/usr/bin/env python3
"""pandas, pyarrow, DuckDB and Polars read day files that grow under them, again and again, without one failure.

usage: growing.py BINARY [--minutes N]

Readers look at a file more than once: they take its length, or its footer, of one moment and its bytes of another. First each of
them is handed lengths and bytes of different moments on purpose; then all of them read for as long as they are told to, while a
recorder rolls every 300 ms. Only a file that was written anew in between (sealed, its row groups joined) excuses a failure: when it
does not begin with the bytes that it had before. These are counted. Without --minutes about twelve seconds; with it, recordings follow
each other, since a file that has grown is rolled less often.
"""

import argparse
import io
import itertools
import sys
import time
from collections import Counter

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq

from harness import PROJECT, Late, alive, check, few, hold, script, wait_until

RATE = 400
# Seconds of each recording.
ROUND = 12
# Types that grow at different speed: many rows, lists of structs, some, few.
WATCHED = ["temperature", "networkStatus", "humidity", "touchCount"]
# Moments of a file, each of which is read at the length of every other one before it.
MOMENTS = 6

READERS = {
    "pandas": lambda path: len(pd.read_parquet(path)),
    "pyarrow": lambda path: pq.read_table(path).num_rows,
    "DuckDB": lambda path: len(duckdb.sql(f"SELECT * FROM '{path}'").to_arrow_table()),
    "Polars": lambda path: len(pl.read_parquet(path)),
    "Polars, lazily": lambda path: len(pl.scan_parquet(path).collect()),
}


class World:
    """What was seen of files that grew."""

    def __init__(self, product, seconds):
        self.product, self.seconds, self.rounds = product, seconds, 0
        # Bytes of a file and their rows, oldest first; files that only grew in between stand in one list.
        self.moments = []
        self.readings, self.versions, self.rewrites, self.excused = Counter(), 0, 0, Counter()
        self.failures, self.shrunk = [], []


def watch(product, seconds):
    world = World(product, seconds)
    url = product.simulate("--rate", RATE, "--history", "0s")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        world.rounds += 1
        watch_one(world, url, product.folder / f"recording{world.rounds}")
    return world


def watch_one(world, url, directory):
    recorder = world.product.start(
        "record", "--dir", directory, "--project", PROJECT, "--api-url", url, "--roll-every", "300ms", "--keep-every", "250ms", "--for", f"{ROUND}s"
    )
    wait_until("the first day file", lambda: alive(recorder) or any(directory.glob("data/temperature/*.parquet")))
    known, rows, read_at = {}, Counter(), {}
    while recorder.poll() is None:
        for event_type, (name, read) in itertools.product(WATCHED, READERS.items()):
            path = next(iter(sorted(directory.glob(f"data/{event_type}/*.parquet"))), None)
            if path is None:
                continue
            with open(path, "rb") as before:  # the file of this moment, whatever takes its name
                note(world, known, path, before)
                try:
                    found = read(str(path))
                except (KeyboardInterrupt, SystemExit, Late):
                    raise
                except BaseException as error:  # a panic inside Polars is no Exception
                    if begins_with(path, before):
                        world.failures.append(f"{name}, {path.parent.name}: {type(error).__name__}: {error}"[:300])
                    else:
                        world.excused[name] += 1
                    continue
            world.readings[name] += 1
            # A new day begins a new file.
            if found < rows[path]:
                world.shrunk.append(f"{name}, {path.parent.name}: {found} rows after {rows[path]}")
            rows[path] = max(rows[path], found)
    check(recorder.wait() == 0, f"the recorder ended with {recorder.returncode}: {recorder.err.read_text()[-800:]}")


def begins_with(path, before):
    """True when the file at a path begins with all bytes of one that was opened earlier."""
    before.seek(0)
    bytes_before = before.read()
    with open(path, "rb") as now:
        return now.read(len(bytes_before)) == bytes_before


def note(world, known, path, file):
    """Counts versions and rewrites of a file; keeps some moments of the first recording."""
    content = file.read()
    if known.get(path) == content:
        return
    world.versions += 1
    is_rewritten = path in known and not content.startswith(known[path])
    world.rewrites += is_rewritten
    if world.rounds == 1:
        if path not in known or is_rewritten:
            world.moments.append([])
            world.moments[-1].append((path, content))
        else:
            moments = next(moments for moments in reversed(world.moments) if moments[0][0] == path)
            if len(moments) < MOMENTS:
                moments.append((path, content))
    known[path] = content


# ---- rules ----


def a_length_and_the_bytes_of_different_moments_read_as_the_older_moment(world):
    pairs = [pair for moments in world.moments for pair in itertools.combinations([content for _, content in moments], 2)]
    check(len(pairs) >= MOMENTS, f"only {len(pairs)} pairs of moments")
    mixed = world.product.folder / "mixed.parquet"
    for older, newer in pairs:
        rows = pq.read_metadata(io.BytesIO(older)).num_rows
        mixed.write_bytes(newer[: len(older)])
        for name, read in READERS.items():
            found = read(str(mixed))
            check(found == rows, f"{name}: {found} rows of {len(older)} bytes of {len(newer)}, instead of {rows}")


def an_older_footer_speaks_of_rows_that_stand_where_it_says(world):
    for moments in world.moments:
        for (_, older), (_, newer) in itertools.combinations(moments, 2):
            footer = pq.read_metadata(io.BytesIO(older))
            found = pq.ParquetFile(io.BytesIO(newer), metadata=footer).read()
            check(found.equals(pq.read_table(io.BytesIO(older))), "the footer of one moment and the pages of the next differ")


def no_reader_fails_while_a_file_grows(world):
    check(not world.failures, f"{len(world.failures)} of {sum(world.readings.values())} readings failed: {few(world.failures, 3)}")


def row_counts_never_shrink(world):
    check(not world.shrunk, few(world.shrunk))


def files_grew_under_the_readers(world):
    check(world.versions >= 10 * len(WATCHED), f"only {world.versions} versions of {len(WATCHED)} files were seen")
    for name in READERS:
        check(world.readings[name] >= 20, f"{name} read only {world.readings[name]} times")


RULES = [
    files_grew_under_the_readers,
    a_length_and_the_bytes_of_different_moments_read_as_the_older_moment,
    an_older_footer_speaks_of_rows_that_stand_where_it_says,
    no_reader_fails_while_a_file_grows,
    row_counts_never_shrink,
]


def scenario(seconds):
    def run(product):
        world = watch(product, seconds)
        print(
            f"{sum(world.readings.values())} readings, {world.versions} versions of files seen, {world.rewrites} of them written anew; "
            f"{len(world.failures)} failures, and {sum(world.excused.values())} where a file was written anew: {dict(world.excused) or 'none'}",
            flush=True,
        )
        return hold(RULES, world)

    return run


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--minutes", type=float, default=0)
    asked = parser.parse_args()
    sys.argv = [sys.argv[0], asked.binary]
    script(scenario(asked.minutes * 60 or ROUND), seconds=int(asked.minutes * 60) + 60)
