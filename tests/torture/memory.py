"""Battery 11: memory ceilings, held by a control group: recording within 64 MiB, importing within 128 MiB (it comes as fast as
it is read, so all queues are full), exporting within 256 MiB, however many events there are; so is a page of 100,000 devices. What does
not fit is killed by
the kernel, and that is a fault.
"""

import re
import subprocess
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq

from events import Events
from loads import LOADS
from place import FINE, Skipped, need_root, said
from verify import at_rest

RECORDING, IMPORTING, EXPORTING = 64, 128, 256
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
# Events generated at a time.
PIECE = 2_000
DEVICES = 100_000


def battery(count, seconds):
    def run(place):
        need_root()
        with Group(place, RECORDING) as group:
            for source in LOADS:
                recorded(place, group, source, seconds)
        with Group(place, IMPORTING) as group:
            recording = place.folder / "recording"
            imported(place, group, recording, count)
        with Group(place, EXPORTING) as group:
            for form in ["ndjson", "csv", "parquet"]:
                exports(place, group, recording, form, count)
            reported(place, group)
        place.tally.events += count

    return run


class Group:
    """A control group with a memory limit in MiB, of either version."""

    def __init__(self, place, limit):
        name = f"{place.folder.name}-{limit}"
        old = (V1 / "memory.limit_in_bytes").exists()
        self.path = (V1 if old else V2) / name
        self.limit, self.file = limit, "memory.limit_in_bytes" if old else "memory.max"

    def __enter__(self):
        try:
            self.path.mkdir()
            (self.path / self.file).write_text(str(self.limit << 20))
        except OSError as error:
            self.__exit__()
            raise Skipped(f"no control group for memory: {error}") from None
        return self

    def __exit__(self, *_):
        try:
            self.path.rmdir()
        except OSError:
            pass


def entering(group):
    """The beginning of a command line that runs in a group."""
    return ["sh", "-c", 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"', "sh", group.path]


class Peak(threading.Thread):
    """Watches what a process has in memory of its own, in MiB, as long as it lives; pages of its program file are not its own."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.status, self.mib = Path(f"/proc/{pid}/status"), 0.0
        self.start()

    def run(self):
        while True:
            try:
                text = self.status.read_text()
            except OSError:
                return
            found, name = re.search(r"RssAnon:\s+(\d+)", text), re.search(r"Name:\s+(\S+)", text)
            if found and name.group(1) != "sh":
                self.mib = max(self.mib, int(found.group(1)) / 1024)
            elif "State:\tZ" in text:
                return
            time.sleep(0.01)


def inside(place, group, *args, feed=None):
    """Runs a verb in a group; gives the process and the most memory that it had, in MiB."""
    process = place.start(*args, before=entering(group), stdin=subprocess.PIPE if feed else subprocess.DEVNULL)
    peak = Peak(process.pid)
    if feed:
        try:
            feed(process.stdin)
            process.stdin.close()
        except BrokenPipeError:
            # It ended early; its exit code tells.
            pass
    process.wait()
    return process, peak.mib


def recorded(place, group, source, seconds):
    """A recorder or a receiver under full load."""
    events, recording = Events(days=10), place.recording(roll_every="5s")
    more = {"rate": 30_000} if source == "record" else {}
    load = LOADS[source](place, recording, events, before=entering(group), **more)
    load.start()
    peak = Peak(load.process.pid)
    if not load.work(seconds):
        return
    code = load.stop()
    place.tally.expect(code in FINE, f"{source} within {group.limit} MiB ended with {code}: {said(load.process)}")
    at_rest(place, recording, events, load.acked(), load.sent(), f"{source} within {group.limit} MiB")
    place.tally.note(f"{source} {peak.mib:.0f} of {group.limit} MiB with {load.count():,} events")
    place.tally.runs += 1
    place.tally.events += load.count()


def imported(place, group, recording, count):
    events = Events(days=10)

    def feed(to):
        for start in range(0, count, PIECE):
            to.write(events.stream(start, min(count, start + PIECE)))

    process, peak = inside(place, group, "import", "-", "--dir", recording, feed=feed)
    place.tally.expect(process.returncode == 0, f"importing within {group.limit} MiB ended with {process.returncode}: {said(process)}")
    place.tally.note(f"import {peak:.0f} of {group.limit} MiB")
    place.tally.runs += 1


def exports(place, group, recording, form, count):
    """An export counted by its lines, or by its footers."""
    to = place.folder / f"export.{form}"
    target = f"{to}/" if form == "parquet" else to
    process, peak = inside(place, group, "export", "--dir", recording, "--format", form, "-o", target)
    good = process.returncode in FINE
    place.tally.expect(good, f"{form} within {group.limit} MiB ended with {process.returncode}: {said(process)}")
    if good:
        rows = rows_of(to, form)
        place.tally.expect(rows == count, f"the {form} export has {rows} events, not {count}")
    place.tally.note(f"{form} {peak:.0f} of {group.limit} MiB")
    place.tally.runs += 1
    subprocess.run(["rm", "-r", "-f", to], check=False)


def reported(place, group):
    """A page of very many devices."""
    recording = place.folder / "devices"
    line = (
        '{"eventId":"e%d","targetName":"projects/p/devices/d%06d","eventType":"co2","timestamp":"2026-10-05T10:%02d:00Z",'
        '"data":{"co2":{"ppm":%d,"updateTime":"2026-10-05T10:%02d:00Z"}}}\n'
    )

    def feed(to):
        for start in range(0, DEVICES, PIECE):
            numbers = range(start, min(DEVICES, start + PIECE))
            to.write("".join(line % (n, n, n % 60, 400 + n % 900, n % 60) for n in numbers).encode())

    process, _ = inside(place, group, "import", "-", "--dir", recording, feed=feed)
    place.tally.expect(process.returncode == 0, f"importing {DEVICES:,} devices ended with {process.returncode}: {said(process)}")
    page = place.folder / "page.html"
    process, peak = inside(place, group, "report", "--dir", recording, "-o", page)
    place.tally.expect(process.returncode in FINE, f"a report of {DEVICES:,} devices ended with {process.returncode}: {said(process)}")
    place.tally.expect(page.exists() and page.stat().st_size < 5_000_000, f"a page of {DEVICES:,} devices is too large or not there")
    place.tally.note(f"report {peak:.0f} of {group.limit} MiB with {DEVICES:,} devices")
    place.tally.runs += 1
    subprocess.run(["rm", "-r", "-f", recording, page], check=False)


def rows_of(path, form):
    if form == "parquet":
        return sum(pq.read_metadata(file).num_rows for file in path.glob("*.parquet"))
    with open(path, "rb") as file:
        lines = sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
    return lines - (form == "csv")
