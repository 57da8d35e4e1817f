"""Battery: bits that flip in a block of the buffer, where SQLite's own check sees nothing. Every verb is run on it, and a recorder
at last: none dies, the block is told and noted as a gap, and all other events stand in the recording exactly once.
"""

import contextlib
import shutil
import sqlite3
import time

from events import Events
from loads import Pushes
from place import FINE, end, said
from verify import compare, exported

# How many events there are, and after how many the receiver is killed that leaves them in its buffer.
ALL, KEPT = 60, 40
EVENTS = Events(days=1, one_type="touch")
# What reads, and ends well or says that something is wrong or missing; and what records.
READS = [["status"], ["gaps"], ["verify"], ["export", "--format", "csv"], ["plot", "--event-type", "touch"], ["report"], ["sql"]]


def battery(most):
    """Flips bits of a block one at a time, spread over all of it; as many, or all of them where no number is given."""

    def run(place):
        template = buffered(place)
        with database(template) as db:
            seq, good = db.execute("SELECT seq, body FROM block ORDER BY length(body), seq LIMIT 1").fetchone()
            kept = set(range(KEPT))
        every = max(1, 8 * len(good) // most) if most else 1
        lost = numbers(place, template) - numbers(place, without(place, template, seq))
        bits = range(place.random.randrange(every), 8 * len(good), every)
        for bit in bits:
            one(place, template, seq, good, bit, kept - lost)
        place.tally.note(f"{len(bits):,} of {8 * len(good):,} bits")

    return run


@contextlib.contextmanager
def database(recording):
    db = sqlite3.connect(recording / "state/buffer.db")
    try:
        yield db
        db.commit()
    finally:
        db.close()


def buffered(place):
    """A recording whose events are kept, and in no day file: a receiver was killed."""
    recording = place.recording(roll_every="1h")
    load = Pushes(place, recording, EVENTS, connections=2, doubles=0, first=0, most=KEPT)
    load.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and load.count() < KEPT:
        time.sleep(0.01)
    end(load.process)
    load.finish()
    with database(recording) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return recording


def copied(place, template):
    recording = place.folder / "rotten"
    shutil.rmtree(recording, ignore_errors=True)
    shutil.copytree(template, recording)
    return recording


def without(place, template, seq):
    recording = copied(place, template)
    with database(recording) as db:
        db.execute("DELETE FROM block WHERE seq = ?", [seq])
    return recording


def numbers(place, recording):
    return set(exported(place, recording, EVENTS))


def one(place, template, seq, good, bit, others):
    tally, what = place.tally, f"bit {bit}"
    recording, bad = copied(place, template), bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    with database(recording) as db:
        db.execute("UPDATE block SET body = ? WHERE seq = ?", [bytes(bad), seq])
    for verb in READS:
        done = place.run(*verb, "--dir", recording, *(["-o", place.folder / "page.html"] if verb == ["report"] else []))
        tally.expect(done.returncode in (0, 1, 3), f"{what}: {verb[0]} ended with {done.returncode}: {said(done)}")
        if verb[0] in ("verify", "export"):
            told = f"block {seq}" in said(done, 0) + done.stdout.decode(errors="replace")
            tally.expect(told and done.returncode != 0, f"{what}: {verb[0]} does not tell it: {done.returncode} {said(done)}")
    compare(tally, exported(place, recording, EVENTS), others, ALL, f"{what}, as it is")
    done = place.run("import", "-", "--dir", recording, stdin=EVENTS.lines(KEPT, ALL))
    tally.expect(done.returncode == 3, f"{what}: the import ended with {done.returncode}: {said(done)}")
    compare(tally, exported(place, recording, EVENTS), others | set(range(KEPT, ALL)), ALL, f"{what}, once it is set aside")
    done = place.run("verify", "--dir", recording)
    tally.expect(done.returncode in FINE, f"{what}: then verify ended with {done.returncode}: {said(done)}")
    gaps = place.run("gaps", "--dir", recording)
    tally.expect(b"the buffer was damaged" in gaps.stdout, f"{what}: no gap tells it")
    tally.runs += len(READS) + 1
    tally.events += ALL
