"""Battery: backup, restore, prune and merge are killed at every n-th system call that touches what they work on.

Whatever was struck: every event stands in the recording or in the archive, every generation that has its name verifies and
holds what it should, a restored recording is whole or not there, and the same command again does the rest without a repair by hand.
"""

import datetime
import shutil
import subprocess
from collections import Counter

from events import PROJECT, Events
from place import FINE, end, said
from trace import CHANGES, LINE, parse, strace, strike, unescaped, works
from verify import as_it_is, at_rest, check_manifest, exported


class Daily(Events):
    """Two events a day, of two types, and of so many days up to yesterday."""

    def __init__(self, days):
        super().__init__(one_type="touch")
        self.days = [(self.today - datetime.timedelta(days=back + 1)).isoformat() for back in range(days)]

    def line(self, n):
        kind = (self.odd if n & 1 else self.even)[0]
        time = f"{self.days[n // 2 % len(self.days)]}T0{n % 7}:00:00.{n:06}Z"
        return (
            f'{{"eventId":"t{n // 2:019}","targetName":"projects/{PROJECT}/devices/d{n % 5}","eventType":"{kind}",'
            f'"data":{{"{kind}":{{"updateTime":"{time}"}}}},"timestamp":"{time}"}}'
        )


def battery(every):
    def run(place):
        works()
        for scene in [Backup(place), Restore(place), Prune(place), Merge(place)]:
            struck = scene.points()[place.random.randrange(every) :: every]
            place.tally.note(f"{scene.name}: {len(struck)} points")
            for point in struck:
                scene.strike(point)

    return run


class Scene:
    """A folder with recordings, and what is done with them."""

    # So few that a run takes no time; the whole of a recording is read after each.
    days = 5

    def __init__(self, place):
        self.events, self.all = Daily(self.days), 2 * self.days
        self.place, self.name = place, type(self).__name__.lower()
        self.template, self.folder = place.folder / f"{self.name}-template", place.folder / self.name
        self.recording = self.folder / "recording"
        self.template.mkdir()
        self.prepare(self.template)

    def fill(self, recording, start, until):
        file = self.place.new("in.ndjson")
        file.write_bytes(self.events.lines(start, until))
        done = self.place.run("import", file, "--dir", recording)
        self.place.tally.expect(done.returncode == 0, f"{self.name}: the import ended with {done.returncode}: {said(done)}")

    def begin(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        # With hard links as they are.
        subprocess.run(["cp", "-a", self.template, self.folder], check=True)

    def points(self):
        """Every call that touches the folder, as (name, none, number in its thread): the names of generations are never the same."""
        self.begin()
        trace = self.place.new("trace")
        done = self.place.run(*self.command(), before=strace("-o", trace, "-e", f"trace={','.join(CHANGES)}"))
        self.place.tally.expect(done.returncode == 0, f"{self.name}, left alone, ended with {done.returncode}: {said(done)}")
        self.after("left alone")
        numbers, found = Counter(), {}
        for line in trace.read_text(errors="replace").splitlines():
            match = LINE.match(line)
            if match and match[4]:
                thread, name = match[1], match[4]
                numbers[thread, name] += 1
                call = parse(int(thread), name, unescaped(match[5]))
                if str(self.folder) in (call.path + call.to + call.text):
                    found[name, None, numbers[thread, name]] = None
        return list(found)

    def strike(self, point):
        self.begin()
        what = f"{self.name}, killed at {point[0]} {point[2]}"
        process = self.place.start(*self.command(), before=strike(self.place, point, "signal=KILL"))
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            end(process)
            code = None
        self.place.tally.expect(code in (-9, 137, *FINE), f"{what}: it ended with {code}: {said(process)}")
        self.place.tally.kills += code in (-9, 137)
        self.place.tally.runs += 1
        self.place.forget(process)
        self.between(what)
        done = self.place.run(*self.command())
        self.place.tally.expect(self.is_done(done), f"{what}: the next one ended with {done.returncode}: {said(done)}")
        self.after(what)
        self.place.tally.events += self.all

    def is_done(self, done):
        return done.returncode == 0

    def holds_all(self, recording, what):
        as_it_is(self.place, recording, self.events, range(self.all), self.all, what)
        check_manifest(self.place.tally, recording, what)


class Backup(Scene):
    """The second backup, of which most is there, and the first one goes by it."""

    def prepare(self, folder):
        self.fill(folder / "recording", 0, self.all - 2)
        self.place.run("backup", "--dir", folder / "recording", folder / "backups")
        self.fill(folder / "recording", self.all - 2, self.all)

    def command(self):
        return ["backup", "--dir", self.recording, self.folder / "backups", "--keep", "1"]

    def generations(self):
        return sorted(path for path in (self.folder / "backups").iterdir() if not path.name.startswith("."))

    def between(self, what):
        self.holds_all(self.recording, what)
        tally, left = self.place.tally, self.generations()
        tally.expect(left, f"{what}: no generation is left")
        for generation in left:
            # The first one has what there was then.
            as_it_is(self.place, generation, self.events, range(self.all - 2), self.all, f"{what}: {generation.name}")
            check_manifest(tally, generation, what)

    def after(self, what):
        left = self.generations()
        rests = [path.name for path in (self.folder / "backups").iterdir() if path.name.endswith(".partial")]
        self.place.tally.expect(len(left) == 1 and not rests, f"{what}: there are {len(left)} generations and {rests}")
        self.holds_all(left[-1], what)


class Restore(Scene):
    def prepare(self, folder):
        self.fill(folder / "old", 0, self.all)
        self.place.run("backup", "--dir", folder / "old", folder / "backups")

    def command(self):
        return ["restore", self.folder / "backups", "--dir", self.recording]

    def is_done(self, done):
        # Where it was whole already, it is not done twice.
        return done.returncode == 0 or "there is something already" in said(done)

    def between(self, what):
        if self.recording.exists():
            self.holds_all(self.recording, what)

    def after(self, what):
        self.holds_all(self.recording, what)
        self.holds_all(next((self.folder / "backups").glob("2*")), what)


class Prune(Scene):
    # No less than 32 days are kept, and no more than half goes.
    days = 37

    def prepare(self, folder):
        self.fill(folder / "recording", 0, self.all)

    def command(self):
        return ["prune", "--dir", self.recording, "--keep", "34d", "--archive", self.folder / "old", "--yes"]

    def both(self, what, is_apart):
        here, there = exported(self.place, self.recording, self.events), Counter()
        if (self.folder / "old/data").exists():
            there = exported(self.place, self.folder / "old", self.events)
        missing = [n for n in range(self.all) if n not in here and n not in there]
        if missing:
            self.place.tally.fault("lost", f"{what}: {len(missing)} events are neither here nor there", len(missing))
        twice = [n for n in range(self.all) if here[n] > 1 or there[n] > 1 or (is_apart and here[n] and there[n])]
        if twice:
            self.place.tally.fault("doubled", f"{what}: {len(twice)} events stand twice", len(twice))
        done = self.place.run("verify", "--dir", self.recording)
        self.place.tally.expect(done.returncode in FINE, f"{what}: verify: {done.stdout.decode()[-500:]}")

    def between(self, what):
        self.both(what, False)

    def after(self, what):
        self.both(what, True)
        check_manifest(self.place.tally, self.recording, what)
        check_manifest(self.place.tally, self.folder / "old", what)


class Merge(Scene):
    def prepare(self, folder):
        self.fill(folder / "other", self.all // 3, self.all)
        self.fill(folder / "recording", 0, self.all // 2)

    def command(self):
        return ["merge", self.folder / "other", "--dir", self.recording]

    def between(self, what):
        as_it_is(self.place, self.recording, self.events, range(self.all // 2), self.all, what)
        as_it_is(self.place, self.folder / "other", self.events, range(self.all // 3, self.all), self.all, what)

    def after(self, what):
        at_rest(self.place, self.recording, self.events, range(self.all), self.all, what)
