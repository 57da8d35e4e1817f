"""Batteries 7, 8 and 9: a recorder that stands still for a while (SIGSTOP), a second writer, a clock that jumps."""

import json
import os
import signal
import time
import urllib.request
from collections import Counter
from pathlib import Path

from events import PROJECT as RECORDED
from events import Events
from loads import LOADS, Pushes
from place import FINE, PROJECT, Skipped, check, few, said, stop, wait_until
from verify import as_it_is, at_rest, check_buffer, export

# Where Debian, Fedora and others put it.
FAKETIME = ["/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1", "/usr/local/lib/faketime/libfaketime.so.1"]


class Quitting:
    """A simulator that breaks off all streams at a known moment: a recorder that stands still then does not see it."""

    def __init__(self, place, quits):
        self.begun, self.quits = time.monotonic(), quits
        self.url = simulator(place, "--rate", "150", "--devices", "10", "--history", "0s", "--outage", f"{quits}s-{quits + 1}s")

    def wait(self, before):
        """Waits until so many seconds before the moment."""
        time.sleep(max(0, self.begun + self.quits - before - time.monotonic()))


def frozen(seconds):
    """Battery 7: the whole process stands still, longer than a ping may be late, and the cloud gives the stream up meanwhile.

    The recorder may not take what it then finds in the socket for a sign of life of now. A receiver stands still beside it.
    """

    def run(place):
        cloud, recording = Quitting(place, 6), place.recording()
        (recording / "overnight.toml").write_text('roll_every = "200ms"\nindex_delay = "1500ms"\n')
        recorder = place.start("record", "--dir", recording, "--project", PROJECT, "--api-url", cloud.url, "--ping-interval", "3s")
        events, received = Events(), place.recording()
        load = Pushes(place, received, events)
        load.start()
        load.go_on(500)
        wait_until("events in the recording", lambda: so_far(place, recording, "events") > 100, 30)
        cloud.wait(1)
        for process in (recorder, load.process):
            os.kill(process.pid, signal.SIGSTOP)
        # Others may look all the while.
        before = keys(export(place, recording))
        as_it_is(place, received, events, load.acked(), load.sent(), "listen, standing still")
        time.sleep(seconds)
        for process in (recorder, load.process):
            os.kill(process.pid, signal.SIGCONT)
        load.go_on(500)
        code = load.stop()
        place.tally.expect(code in FINE, f"listen ended with {code}: {said(load.process)}")
        at_rest(place, received, events, load.acked(), load.sent(), "listen, after it stood still")
        wait_for_gap(place, recording, seconds)
        time.sleep(2)
        code = stop(recorder)
        place.tally.expect(code in FINE, f"record ended with {code}: {said(recorder)}")
        judge_truth(place, recording, cloud.url, seconds, before)

    return run


def wait_for_gap(place, recording, seconds):
    """Waits until a gap of about so many seconds is noted, and then until it is filled. What is in vain is judged later."""
    noted = lambda: next((gap for gap in gaps(place, recording) if gap["seconds"] > seconds / 2), None)
    filled = lambda: noted()["state"] == "filled"
    if wait_until("the gap is noted", noted, 10, or_else=False):
        wait_until("the gap is filled", filled, 2 * seconds + 30, or_else=False)


def gaps(place, recording):
    report = json.loads(place.run("gaps", "--dir", recording, "--json").stdout)
    return [gap for project in report["projects"] for gap in project["gaps"]]


def judge_truth(place, recording, url, seconds, before=()):
    """Holds a recording against what the simulator published: none lost, or else it is in a gap that says so."""
    after, truth = keys(export(place, recording)), keys(get(url, "/simulator/truth"))
    lost = [one for one in before if one not in after]
    if lost:
        place.tally.fault("lost", f"{len(lost)} events were kept before the stop and are gone: {few(lost)}", len(lost))
    doubled = [one for one, times in after.items() if times > 1]
    if doubled:
        place.tally.fault("doubled", f"{len(doubled)} events stand more than once: {few(doubled)}", len(doubled))
    strange = after.keys() - truth.keys()
    place.tally.expect(not strange, f"{len(strange)} events were never published: {few(strange)}")
    found = gaps(place, recording)
    told = ", ".join(f"{gap['seconds']:.1f} s {gap['state']}" for gap in found)
    place.tally.expect(any(gap["seconds"] > seconds / 2 for gap in found), f"no gap is noted for the {seconds} s, only: {told}")
    missing = inner(truth, after)
    if missing and all(gap["state"] == "filled" for gap in found):
        place.tally.fault("lost", f"all gaps are filled, but {len(missing)} events are missing: {few(missing)}", len(missing))
    place.tally.note(f"gaps {told}, {len(missing)} events missing")
    check_buffer(place.tally, recording)
    place.tally.runs += 1
    place.tally.events += len(after)


def inner(truth, after):
    """What was published between the first and the last event that is there, and is not there itself."""
    order = list(truth)
    places = [place for place, one in enumerate(order) if one in after]
    inside = order[places[0] : places[-1]]
    return [one for one in inside if one not in after and one[0] != "labelsChanged"]


def simulator(place, *flags):
    out = place.new("simulate.out")
    with open(out, "wb") as to:
        process = place.start("simulate", "--addr", "127.0.0.1:0", *flags, stdout=to)
    line = wait_until("the simulator's first line", lambda: first_line(process, out))
    return line.removeprefix("listening on ")


def first_line(process, out):
    check(process.poll() is None, f"the simulator ended with {process.returncode}")
    line, newline, _ = out.read_text().partition("\n")
    return line if newline else None


def get(url, path):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url + path, timeout=60) as answer:
        return answer.read().decode().splitlines()


def keys(lines):
    """Events by type and id, counted, in their order."""
    events = (json.loads(line) for line in lines)
    return Counter((event["eventType"], event["eventId"]) for event in events)


def so_far(place, recording, field):
    done = place.run("status", "--dir", recording, "--json")
    return json.loads(done.stdout)[field] if done.returncode in FINE and done.stdout else 0


def second_writer(place):
    """Battery 8: one recording has one writer. The second one says so and ends; the first one does not notice."""
    events, recording = Events(), place.recording()
    load = LOADS["record"](place, recording, events)
    load.start()
    load.go_on(500)
    for verb in second_writers(place, load):
        done = place.run(*verb, "--dir", recording, seconds=20)
        words, pid = said(done), str(load.process.pid)
        clear = "another" in words and pid in words and str(recording) in words
        place.tally.expect(done.returncode == 1 and clear, f"{verb[0]} beside a recorder ended with {done.returncode}: {words!r}")
        place.tally.runs += 1
    handed_over(place, recording, load)
    load.go_on(500)
    # A lock of a process that was killed is no lock.
    load.kill()
    place.tally.kills += 1
    done = place.run("roll", "--dir", recording)
    place.tally.expect(done.returncode == 0, f"after a kill, roll ended with {done.returncode}: {said(done)}")
    at_rest(place, recording, events, load.acked(), load.sent(), "after the second writers")
    place.tally.events += load.count()


def handed_over(place, recording, load):
    """What the history has of a project that is recorded is the recorder's to bring; this one was told to bring nothing."""
    ours = ["--dir", recording, "--project", RECORDED, "--since", "1h", "--api-url", load.cloud.url]
    done = place.run("backfill", *ours, seconds=30)
    words, pid = said(done), str(load.process.pid)
    told = f"process {pid} records {RECORDED}" in words and "does not fill gaps" in words
    place.tally.expect(done.returncode == 1 and told, f"backfill of what is recorded ended with {done.returncode}: {words!r}")
    left = list((recording / "state" / "requests").glob("*"))
    place.tally.expect(not left, f"backfill left {left} behind")
    place.tally.runs += 1


def second_writers(place, load):
    yield ["record", "--project", "p", "--api-url", load.cloud.url]
    yield ["import", "-"]
    yield ["roll"]
    yield ["backfill", "--project", "p", "--since", "1h", "--api-url", load.cloud.url]
    if b"listen" in place.run("--help").stdout:
        secret = place.new("secret")
        secret.write_text("x\n")
        secret.chmod(0o600)
        yield ["listen", "--addr", "127.0.0.1:0", "--secret-file", secret]


def clock(seconds):
    """Battery 9: the wall clock jumps while it records: 400 days back, a day ahead, back to the truth."""

    def run(place):
        for source in [name for name in LOADS if can(place, name)]:
            jumps(place, source, seconds)

    return run


def set_clock(stamp):
    """Variables for a process whose wall clock goes by the file `stamp`, and whose monotonic clock is the machine's."""
    library = next((path for pattern in FAKETIME for path in Path("/").glob(pattern.lstrip("/"))), None)
    if library is None:
        raise Skipped("libfaketime is not installed")
    cache = {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(stamp)} | cache


def can(place, verb):
    return place.run(verb, "--help").returncode == 0


def jumps(place, source, seconds):
    events, recording, stamp = Events(), place.recording(), place.new("clock")
    stamp.write_text("+0")
    load = LOADS[source](place, recording, events, env=set_clock(stamp))
    load.start()
    load.go_on(500)
    for jump in ["-400d", "+1d", "+0", "-400d", "+0"]:
        stamp.write_text(jump)
        if not load.work(seconds):
            return
        if source == "record" or jump == "+0":
            # A push whose signature is from another year is refused, and comes again.
            load.go_on(200)
        place.tally.runs += 1
    status = place.run("status", "--dir", recording, "--json")
    gaps = place.run("gaps", "--dir", recording, "--json")
    for name, done in [("status", status), ("gaps", gaps)]:
        place.tally.expect(done.returncode in FINE, f"{source}: {name} ended with {done.returncode}: {said(done)}")
    begun = time.monotonic()
    code, words = load.stop(), said(load.process)
    place.tally.expect(code in FINE, f"{source}, after the jumps: it ended with {code}: {words}")
    place.tally.expect(time.monotonic() - begun < 15, f"{source}, after the jumps: it took {time.monotonic() - begun:.0f} s to end")
    place.tally.expect("panicked" not in words, f"{source}, after the jumps: {words}")
    at_rest(place, recording, events, load.acked(), load.sent(), f"{source}, after the clock's jumps")
    place.tally.events += load.count()
