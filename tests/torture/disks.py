"""Battery 6: a disk that fills up under load, is full for a while, and grows; with the recorder left alone, and with it killed
while the disk is full. Battery 10: a read-only disk, where recording is refused in plain words and reading still works.

What waits at a full disk is not lost: the recorder says so, `status` and `export` go on working, and it goes on by itself.
What a stream would have brought meanwhile is a gap, and filled from the history (`full_stream`).
"""

import contextlib
import http.client
import json
import time

from events import Events
from loads import LOADS
from place import FINE, PROJECT, mounted, need, need_root, said, stop, system, wait_until
from stops import Quitting, judge_truth, so_far, wait_for_gap
from verify import as_it_is, at_rest, compare, exported

SMALL, LARGE = "2m", "96m"


def full(source):
    def run(place):
        need_root()
        need("mount", "umount")
        for killed in (False, True):
            with mounted("-t", "tmpfs", "-o", f"size={SMALL}", "torture", on=place.new("tmpfs")) as disk:
                fills_and_grows(place, disk, source, killed)
                place.end_processes()

    return run


def fills_and_grows(place, disk, source, killed):
    what = f"full disk, {'recorder killed' if killed else 'recorder left alone'}"
    events, recording = Events(), place.recording(disk)
    load = LOADS[source](place, recording, events, **({"rate": 40_000} if source == "record" else {}))
    load.start()
    wait_until(f"{source} says that the disk is full", lambda: load.look() or "the disk is full" in said(load.process, 0), 60)
    load.work(1.5)
    works_while_full(place, recording, events, load, what)
    if killed:
        load.kill()
        place.tally.kills += 1
        starts_while_full(place, recording, load, what)
    system("mount", "-o", f"remount,size={LARGE}", disk)
    if killed:
        load.start()
    load.go_on(2_000)
    if not killed:
        words = said(load.process, 0)
        place.tally.expect("there is room" in words, f"{what}: it goes on without a word: {words!r}")
    code = load.stop()
    place.tally.expect(code in FINE, f"{what}: {source} ended with {code}: {said(load.process)}")
    at_rest(place, recording, events, load.acked(), load.sent(), what)
    place.tally.runs += 1
    place.tally.events += load.count()


def works_while_full(place, recording, events, load, what):
    """The recorder lives and waits; reading works."""
    load.look()
    place.tally.expect(load.process.poll() is None, f"{what}: the recorder ended: {said(load.process)}")
    kept = load.acked()
    status = place.run("status", "--dir", recording, "--json")
    if place.tally.expect(status.returncode in FINE, f"{what}: status ended with {status.returncode}: {said(status)}"):
        place.tally.expect(json.loads(status.stdout)["events"] > 0, f"{what}: status sees no events")
    says_so_everywhere(place, recording, load, json.loads(status.stdout), what)
    compare(place.tally, exported(place, recording, events), kept, load.sent(), f"{what}, while it is full")


def says_so_everywhere(place, recording, load, status, what):
    """Whoever asks is told that the disk is full."""
    place.tally.expect(status["disk_full"] and status["disk_free"] < 1 << 20, f"{what}: status --json says {status}")
    plain = place.run("status", "--dir", recording)
    place.tally.expect(plain.returncode == 3 and b"disk        FULL" in plain.stdout, f"{what}: status says {plain.stdout.decode()}")
    if load.verb == "listen":
        place.tally.expect(ready(load.port) == 503, f"{what}: /readyz says that the receiver can keep events")


def ready(port):
    """What a receiver answers to the question whether it can keep events."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", "/readyz")
        return connection.getresponse().status


def starts_while_full(place, recording, load, what):
    """A start on the full disk: it waits, or it says why not and ends with 1. Nothing is damaged either way."""
    load.start()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and load.process.poll() is None:
        load.look()
        time.sleep(0.05)
    code, words = load.process.poll(), said(load.process)
    if code is not None:
        good = code == 1 and "make room" in words
        place.tally.expect(good, f"{what}: started on the full disk, it ended with {code}: {words!r}")
    load.kill()


def full_stream(seconds):
    """A stream, and a disk that is full for longer than the cloud waits: what came meanwhile is in a gap, and filled."""

    def run(place):
        need_root()
        need("mount", "umount")
        with mounted("-t", "tmpfs", "-o", f"size={SMALL}", "torture", on=place.new("tmpfs")) as disk:
            # The queues behind the stream hold some seconds. After those nobody reads it, and it breaks.
            cloud, recording = Quitting(place, 11), place.recording(disk)
            (recording / "overnight.toml").write_text('roll_every = "15m"\nindex_delay = "1500ms"\n')
            flags = ["--project", PROJECT, "--api-url", cloud.url, "--ping-interval", "3s"]
            recorder = place.start("record", "--dir", recording, *flags)
            wait_until("events in the recording", lambda: so_far(place, recording, "events") > 100, 30)
            cloud.wait(7)
            fill(disk / "junk")
            wait_until("record says that the disk is full", lambda: "the disk is full" in said(recorder, 0), 10)
            time.sleep(seconds)
            system("mount", "-o", f"remount,size={LARGE}", disk)
            wait_for_gap(place, recording, seconds)
            time.sleep(2)
            code = stop(recorder)
            place.tally.expect(code in FINE, f"it ended with {code}: {said(recorder)}")
            judge_truth(place, recording, cloud.url, seconds)
            place.end_processes()

    return run


def fill(path):
    """Takes all the room there is."""
    with open(path, "wb", buffering=0) as junk, contextlib.suppress(OSError):
        while True:
            junk.write(bytes(4096))


def read_only(place):
    """Battery 10: a recording that ended cleanly and one that was killed, both on a disk that is then read-only."""
    need_root()
    need("mount", "umount")
    for killed in (False, True):
        with mounted("-t", "tmpfs", "-o", "size=64m", "torture", on=place.new("tmpfs")) as disk:
            one_read_only(place, disk, killed)
            place.end_processes()


def one_read_only(place, disk, killed):
    what = f"read-only disk, recorder {'killed' if killed else 'ended cleanly'}"
    events, recording = Events(), place.recording(disk)
    load = LOADS["record"](place, recording, events)
    load.start()
    load.go_on(2_000)
    if killed:
        load.kill()
        place.tally.kills += 1
    else:
        code = load.stop()
        place.tally.expect(code in FINE, f"{what}: it ended with {code}: {said(load.process)}")
    system("mount", "-o", "remount,ro", disk)
    refuses_to_write(place, recording, load, what)
    status = place.run("status", "--dir", recording, "--json")
    place.tally.expect(status.returncode in FINE, f"{what}: status ended with {status.returncode}: {said(status)}")
    last = place.run("tail", "--no-follow", "-n", "3", "--dir", recording, seconds=20)
    place.tally.expect(last.returncode == 0, f"{what}: tail ended with {last.returncode}: {said(last)}")
    as_it_is(place, recording, events, load.acked(), load.sent(), what)
    system("mount", "-o", "remount,rw", disk)
    at_rest(place, recording, events, load.acked(), load.sent(), f"{what}, writable again")
    place.tally.runs += 1
    place.tally.events += load.count()


def refuses_to_write(place, recording, load, what):
    """Every verb that writes ends at once with 1 and says that the disk is read-only."""
    verbs = [["record", "--project", "p", "--api-url", load.cloud.url], ["import", "-"], ["roll"]]
    for verb in verbs:
        done = place.run(*verb, "--dir", recording, seconds=20)
        words = said(done)
        plain = "read-only" in words.lower() or "readonly" in words.lower()
        place.tally.expect(done.returncode == 1 and plain, f"{what}: {verb[0]} ended with {done.returncode}: {words!r}")
