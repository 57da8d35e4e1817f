"""The oracle: holds a recording against what was sent and what was acknowledged.

An event that was acknowledged stands in the recording exactly once; one that was only sent, at most once; nothing else
stands there. The product's own export is one witness, pyarrow and DuckDB reading the day files are the others.
"""

import hashlib
import sqlite3
from collections import Counter

import duckdb
import pyarrow.parquet as pq

from place import FINE, few, said


def export(place, recording):
    """The lines of an export; a fault when it fails."""
    done = place.run("export", "--dir", recording, "--format", "ndjson")
    if done.returncode not in FINE:
        place.tally.fault("unreadable", f"the export ended with {done.returncode}: {said(done)}")
    return done.stdout.decode().splitlines()


def exported(place, recording, events):
    """How often each event stands in an export, by number. What is not as it was sent is a fault."""
    found, strange = Counter(), []
    for line in export(place, recording):
        n = events.number(*key(line))
        if n is None or not events.is_the_same(n, line):
            strange.append(line)
        else:
            found[n] += 1
    if strange:
        place.tally.fault("wrong", f"{len(strange)} events are not as they were sent, as {strange[0]}", len(strange))
    return found


def key(line):
    """Type and id of an exported event, which begins with the id."""
    event_id, kind = line[12:32], line.partition('"eventType":"')[2].partition('"')[0]
    return kind, event_id


def compare(tally, found, acked, sent, what):
    """Holds numbers found against those acknowledged (an iterable) and against how many were sent at all (from 0 on)."""
    lost = [n for n in acked if n not in found]
    doubled = [n for n, times in found.items() if times > 1]
    strange = [n for n in found if n >= sent]
    if lost:
        tally.fault("lost", f"{what}: {len(lost)} acknowledged events are missing: {few(lost)}", len(lost))
    if doubled:
        tally.fault("doubled", f"{what}: {len(doubled)} events stand more than once: {few(doubled)}", len(doubled))
    if strange:
        tally.fault("wrong", f"{what}: {len(strange)} events were never sent: {few(strange)}", len(strange))
    return not lost and not doubled and not strange


def day_files(recording):
    return sorted((recording / "data").glob("*/*"))


def read_day_files(place, recording, events):
    """How often each event stands in the day files, by number; every file must read with pyarrow and with DuckDB."""
    found, rows = Counter(), 0
    for path in day_files(recording):
        try:
            table = pq.read_table(path, columns=["event_type", "event_id"]).to_pydict()
            # All of its pages, not only these.
            pq.ParquetFile(path).read()
        except Exception as error:  # whatever a reader throws is a failure of the file
            place.tally.fault("unreadable", f"pyarrow, {path.relative_to(recording)}: {error}")
            continue
        rows += len(table["event_id"])
        found.update(events.number(*pair) for pair in zip(table["event_type"], table["event_id"]))
    strange = found.pop(None, 0)
    place.tally.expect(not strange, f"{strange} rows of day files are no events of ours")
    ask_duckdb(place.tally, recording, rows)
    return found


def ask_duckdb(tally, recording, rows):
    """DuckDB must count what pyarrow read: all rows, and no key twice."""
    query = "SELECT count(*), count(DISTINCT (event_type, event_id)) FROM read_parquet($1, union_by_name = true)"
    if not day_files(recording):
        return
    try:
        counted = duckdb.execute(query, [str(recording / "data/*/*.parquet")]).fetchone()
    except duckdb.Error as error:
        tally.fault("unreadable", f"DuckDB: {error}")
        return
    if counted != (rows, rows):
        tally.fault("wrong", f"DuckDB counts {counted[0]} rows and {counted[1]} keys, pyarrow {rows} rows")


def check_buffer(tally, recording):
    """SQLite finds nothing wrong with the buffer. Only for a recording that nobody writes."""
    path = recording / "state/buffer.db"
    if not path.exists():
        return
    try:
        with closing(path) as db:
            verdict = db.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.Error as error:
        verdict = str(error)
    if verdict != "ok":
        tally.fault("unreadable", f"the buffer: {verdict}")


class closing:
    """A read-only connection that closes itself."""

    def __init__(self, path):
        self.db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)

    def __enter__(self):
        return self.db

    def __exit__(self, *_):
        self.db.close()


def ask_product(place, recording, what, aside_is_fine=False):
    """`overnight verify` finds no damage, and nothing was set aside as damaged."""
    done = place.run("verify", "--dir", recording)
    if done.returncode not in FINE:
        place.tally.fault("unreadable", f"{what}: verify ended with {done.returncode}: {said(done)} {done.stdout.decode()[-800:]}")
    aside = sorted(path.name for path in (recording / "state/damaged").glob("*"))
    if aside and not aside_is_fine:
        place.tally.fault("unreadable", f"{what}: set aside as damaged: {few(aside)}", len(aside))


def check_manifest(tally, recording, what):
    """The checksums of the sealed day files, as `sha256sum --check` would."""
    manifest = recording / "MANIFEST"
    for line in manifest.read_text().splitlines() if manifest.exists() else []:
        wanted, _, name = line.partition("  ")
        path = recording / name
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            tally.fault("unreadable", f"{what}: {name} is not what MANIFEST says")


def as_it_is(place, recording, events, acked, sent, what, aside_is_fine=False):
    """A recording after any stop, not yet recovered: what was acknowledged is in the export, exactly once."""
    good = compare(place.tally, exported(place, recording, events), acked, sent, what)
    read = read_day_files(place, recording, events)
    doubled = [n for n, times in read.items() if times > 1]
    if doubled:
        place.tally.fault("doubled", f"{what}: {len(doubled)} rows stand twice in day files: {few(doubled)}", len(doubled))
    ask_product(place, recording, what, aside_is_fine)
    return good and not doubled


def at_rest(place, recording, events, acked, sent, what, aside_is_fine=False):
    """A recording after a clean end: everything is in day files, exactly once; nothing is left in staging or the buffer."""
    tally = place.tally
    done = place.run("roll", "--dir", recording)
    tally.expect(done.returncode == 0, f"{what}: the roll ended with {done.returncode}: {said(done)}")
    check_buffer(tally, recording)
    left = sorted(path.name for path in (recording / "state/staging").glob("*"))
    tally.expect(not left, f"{what}: staging holds {few(left)} after a clean end")
    found = exported(place, recording, events)
    good = compare(tally, found, acked, sent, what)
    if read_day_files(place, recording, events) != found:
        tally.fault("wrong", f"{what}: the day files and the export do not hold the same events")
    ask_product(place, recording, what, aside_is_fine)
    check_manifest(tally, recording, what)
    return good
