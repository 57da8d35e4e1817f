"""Battery: whoever tells people of a dead recorder is killed at system calls of its own that write, and started again.

Whatever was struck: somebody is told, once or twice, and the second time under the same id. A message waits half a minute for others, so many
are struck side by side.
"""

import json
import shutil
import subprocess
import time
from collections import Counter

from events import Events
from loads import Stream
from place import end, said, wait_until
from trace import CHANGES, LINE, parse, strace, strike, unescaped, works

RULES = """
[[notify]]
name = "people"
command = ["sh", "-c", "cat >> {told}; echo >> {told}"]
[[alert]]
name = "dead"
when = "recorder"
for = "1s"
"""
# Calls that change what is on the disk, or tell a program.
NAMES = [name for name in CHANGES if name not in ("openat", "pwrite64", "ftruncate")]
# What a message waits for others, and time enough beside it.
TELLING = 60


def battery(side_by_side, rounds):
    """Strikes at points in turn, so many at once."""

    def run(place):
        works()
        template = dead(place)
        scenes = [Scene(place, template, f"scene-{number}") for number in range(side_by_side)]
        points = scenes[0].points()
        place.tally.note(f"{len(points)} points")
        at = place.random.randrange(len(points))
        for _ in range(rounds):
            struck = [(scene, points[(at + number) % len(points)]) for number, scene in enumerate(scenes)]
            at += len(scenes)
            for scene, point in struck:
                scene.strike(point)
            for scene, _ in struck:
                scene.die()
            for scene, _ in struck:
                scene.start()
            for scene, point in struck:
                scene.finish(f"killed at {point[0]} {point[2]}")

    return run


def dead(place):
    """A recording whose recorder was killed a while ago."""
    recording = place.folder / "template"
    recording.mkdir(mode=0o700)
    load = Stream(place, recording, Events(one_type="touch"), rate=200, flags=["--keep-every", "100ms"])
    load.start()
    wait_until("something is kept", lambda: load.look() or load.count() > 0)
    load.kill()
    time.sleep(1.5)
    return recording


class Scene:
    """The dead recording, and who watches it."""

    def __init__(self, place, template, name):
        self.place, self.template, self.folder = place, template, place.folder / name
        self.recording, self.path = self.folder / "recording", self.folder / "told"

    def begin(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        subprocess.run(["cp", "-a", self.template, self.recording], check=True)
        settings = self.recording / "overnight.toml"
        settings.write_text(RULES.replace("{told}", str(self.path)))
        settings.chmod(0o600)

    def start(self, before=()):
        self.process = self.place.start("alerts", "run", "--dir", self.recording, before=before)

    def told(self):
        return [line for line in (self.path.read_text() if self.path.exists() else "").splitlines() if line]

    def is_over(self):
        """Somebody was told, and nothing is owed."""
        state = self.recording / "state/watch.json"
        return self.told() and state.exists() and not json.loads(state.read_text())["owed"]

    def end(self):
        end(self.process)
        self.place.forget(self.process)

    def points(self):
        """Every call that writes of it, until somebody was told and that is noted: as (name, none, number in its thread)."""
        self.begin()
        trace = self.place.new("trace")
        self.start(strace("-o", trace, "-e", f"trace={','.join(CHANGES)}"))
        wait_until("it is told", self.is_over, TELLING)
        self.end()
        numbers, found = Counter(), {}
        for line in trace.read_text(errors="replace").splitlines():
            match = LINE.match(line)
            # How often it opens files depends on how often it looks meanwhile.
            if match and match[4] in NAMES:
                thread, name = match[1], match[4]
                numbers[thread, name] += 1
                call = parse(int(thread), name, unescaped(match[5]))
                if str(self.recording / "state") in call.path + call.to + call.text or "pipe:" in call.path:
                    found[name, None, numbers[thread, name]] = None
        return list(found)

    def strike(self, point):
        self.begin()
        self.start(strike(self.place, point, "signal=KILL"))

    def die(self):
        # The number may be of another thread, or of the program that tells: then it goes on, and is killed once all is done.
        wait_until("it is struck, or done", lambda: self.process.poll() is not None or self.is_over(), TELLING)
        self.place.tally.kills += self.process.poll() in (-9, 137)
        self.end()

    def finish(self, what):
        tally = self.place.tally
        done = wait_until("it is told", self.is_over, TELLING, or_else=False)
        tally.expect(done, f"{what}: nobody was told: {said(self.process)}")
        self.end()
        told = Counter(json.loads(line)["id"] for line in self.told())
        tally.runs += 1
        tally.expect(len(told) == 1 and max(told.values()) <= 2, f"{what}: people were told {dict(told)}")
