"""Batteries 3 and 4: at every n-th system call that touches the recording, the program is killed (3), or the system says
ENOSPC or EIO (4).

There are three scenes. An import into a recording that has all there can be: sealed day files, open ones, kept events that
no day file holds, rests of a kill in staging; so it opens, recovers, keeps, rolls, seals and closes. The same where there is
no recording yet. A receiver on the full recording, with pushes. What was kept before is acknowledged; of what the run brings,
an import acknowledges all by its exit code 0, and a receiver each event by its answer 200.
"""

import shutil
import subprocess
import time

from events import Events
from loads import Pushes
from place import end, said
from trace import CHANGES, READS, calls, points, strace, strike, works
from verify import as_it_is, at_rest

# What stands in day files, what is only kept, what the run brings.
ROLLED, KEPT, ALL = 120, 200, 280
# Few partitions: two types, one of them without a schema, on two days.
EVENTS = Events(days=2, one_type="touch")


def kill(every):
    """Battery 3, at every so many calls."""

    def run(place):
        works()
        for scene in scenes(place):
            for point in chosen(place, scene, CHANGES, every):
                strike_once(place, scene, point, "signal=KILL", "killed")

    return run


def fail(every):
    """Battery 4, likewise: each error once, and now and then from that call on for ever."""

    def run(place):
        works()
        for scene in scenes(place):
            for error, names in [("ENOSPC", CHANGES), ("EIO", CHANGES + READS)]:
                for number, point in enumerate(chosen(place, scene, names, every)):
                    if number % 8 == 4:
                        point, ever = (*point[:2], f"{point[2]}+"), " for ever"
                    else:
                        ever = ""
                    strike_once(place, scene, point, f"error={error}", error + ever)
            if scene.name == "full":
                # A disk that dies while a day file is read: what it does not give back today it may give tomorrow.
                dying = [point for point in points(scene.calls(), READS) if str(point[1]).startswith(f"{scene.recording}/data/")]
                for name, path, number in dying[place.random.randrange(4) :: 4]:
                    strike_once(place, scene, (name, path, f"{number}+"), "error=EIO", "EIO for ever")

    return run


def scenes(place):
    full = template(place)
    yield Imports(place, "full", full, KEPT)
    yield Imports(place, "fresh", None, 0)
    if place.run("listen", "--help").returncode == 0:
        yield Receives(place, "pushes", full, KEPT)


class Scene:
    """A recording to begin with, and what is done with it."""

    alike = 1

    def __init__(self, place, name, template, acked):
        self.place, self.name, self.template, self.acked = place, name, template, acked
        # Always at the same place: the points are paths.
        self.recording = place.folder / f"scene-{name}"
        self.input = place.new("new.ndjson")
        self.input.write_bytes(EVENTS.lines(acked, ALL))
        self.arguments = ["import", self.input, "--dir", self.recording]

    def begin(self):
        shutil.rmtree(self.recording, ignore_errors=True)
        if self.template:
            shutil.copytree(self.template, self.recording)

    def calls(self):
        """The system calls of a run that is left alone."""
        self.begin()
        trace = self.place.new("trace")
        code, words, acked = self.run(strace("-o", trace, "-e", f"trace={','.join(CHANGES + READS)}"))
        good = code == 0 and acked == set(range(ALL))
        self.place.tally.expect(good, f"{self.name}, left alone: it ended with {code}, {len(acked)} acknowledged: {words}")
        return calls(trace, self.recording)

    def replay(self, what, aside_is_fine):
        """After whatever happened: the same events again, and all is there."""
        done = self.place.run(*self.arguments)
        self.place.tally.expect(done.returncode == 0, f"{what}: the next import ended with {done.returncode}: {said(done)}")
        at_rest(self.place, self.recording, EVENTS, range(ALL), ALL, what, aside_is_fine)


class Imports(Scene):
    def run(self, before):
        """Gives the exit code (none when it had to be ended), what it said, and which events are acknowledged."""
        process = self.place.start(*self.arguments, before=before)
        try:
            code = process.wait(4)
        except subprocess.TimeoutExpired:
            end(process)
            code = None
        words = said(process)
        self.place.forget(process)
        return code, words, set(range(ALL if code == 0 else self.acked))


class Receives(Scene):
    alike = 8

    def run(self, before):
        """The same, with pushes: two at a time, each again until it is answered with 200, but not for ever."""
        load = Pushes(self.place, self.recording, EVENTS, connections=2, doubles=0, first=self.acked, most=ALL, before=before)
        load.start()
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline and load.process.poll() is None and load.count() < ALL - self.acked:
            time.sleep(0.01)
        load.finish()
        code = load.process.poll()
        if code is None:
            code = load.stop(8)
        words = said(load.process)
        self.place.forget(load.process)
        return code, words, set(range(self.acked)) | load.answered


def template(place):
    """A recording that was killed at its first rename: day files, kept events beside them, a rest in staging."""
    recording = place.folder / "template"
    for name, start, until, before in [("rolled", 0, ROLLED, ()), ("kept", ROLLED, KEPT, strike(place, ("rename", None, 1), "signal=KILL"))]:
        file = place.new(f"{name}.ndjson")
        file.write_bytes(EVENTS.lines(start, until))
        place.run("import", file, "--dir", recording, before=before)
    as_it_is(place, recording, EVENTS, range(KEPT), KEPT, "the recording to begin with")
    rests = list((recording / "state/staging").iterdir())
    place.tally.expect(rests, "the recording to begin with was not killed in the midst of a roll")
    # As after a power cut: this file lives in memory only.
    (recording / "state/buffer.db-shm").unlink(missing_ok=True)
    return recording


def chosen(place, scene, names, every):
    """Every so many points, from a random one on."""
    all_points = points(scene.calls(), names)
    if every > 1:
        # Each push is a commit like the one before.
        every *= scene.alike
    picked = all_points[place.random.randrange(every) :: every]
    place.tally.note(f"{scene.name}: {len(picked)} of {len(all_points)} points")
    return picked


def strike_once(place, scene, point, strikes, word):
    """One run in which a call goes wrong, and what is there after it."""
    scene.begin()
    what = f"{scene.name}, {word} at {show(scene, point)}"
    code, words, acked = scene.run(strike(place, point, strikes))
    place.tally.runs += 1
    judge_end(place.tally, what, word, code, words)
    # What does not read may be set aside, as long as nothing is lost by it.
    aside_is_fine = word.startswith("EIO")
    if acked:
        as_it_is(place, scene.recording, EVENTS, sorted(acked), ALL, what, aside_is_fine)
    scene.replay(what, aside_is_fine)
    place.tally.events += ALL


def judge_end(tally, what, word, code, words):
    """How it may end: well (the call did not come, or the error was got over), killed, or with 1 and a word on why."""
    if word == "killed" and code in (-9, 137):
        tally.kills += 1
    elif code is None:
        # On a full disk it waits for room, for ever if need be, and says so.
        tally.expect("full" in words, f"{what}: it does not end, and says {words!r}")
    elif code == 1 and word != "killed":
        tally.expect(words, f"{what}: it ended with {code} and no word")
    else:
        tally.expect(code in (0, 3), f"{what}: it ended with {code}: {words!r}")


def show(scene, point):
    name, path, n = point
    return f"{name} {n} of {str(path).removeprefix(str(scene.recording)).lstrip('/') or 'the recording'}"
