"""Battery 5: the order of what the program asks of the disk, read from a trace of its system calls. Deterministic, and it
finds what no power cut here can show, as a directory that is not synced.

1. A file that gets its final name by a rename has no bytes that were not synced.
2. Behind a rename the same thread syncs the directory before it changes anything else. With one partition alone, nobody
   changes the buffer in between.
3. Behind the making of a directory the same thread syncs the one above before it changes anything else.
4. A commit in the buffer's log is synced before the next one begins.
5. A file that is new and stays has its directory synced by the end.
6. The log is removed only when the database is synced.
7. An answer 200 leaves only when the log is synced, with a commit in it since the push came.
"""

import re

from cloud import Cloud
from events import PROJECT, Events
from loads import Pushes
from place import FINE, said
from trace import CHANGES, SENDS, calls, strace, works
from verify import at_rest

WRITES = {"write", "pwrite64", "ftruncate", "fallocate", "copy_file_range"}
SYNCS = {"fsync", "fdatasync"}
RENAMES = {"rename", "renameat", "renameat2"}
MAKES = {"mkdir", "mkdirat"}
REMOVES = {"unlink", "unlinkat"}
# These live in memory only, or hold nothing that is of worth after a crash.
PASSING = ("-shm", "/lock", "/reserve")
# The head of a page in the log, when it ends a commit: bytes 4 to 7 are not zero.
FRAME = re.compile(r'^\d+<[^>]*>, "((?:\\x[0-9a-f]{2}){24})", 24, (\d+)')


class Lint:
    """Reads calls in their order and collects what breaks a rule."""

    def __init__(self, found, strict=False):
        self.found, self.strict, self.broken, self.seen = found, strict, [], set()
        # Path to the place in the trace of its latest unsynced write; new names and directories to be synced, by thread.
        self.dirty, self.owed, self.new = {}, {}, {}
        # Files that were there when they were opened once, and files that were written to.
        self.known, self.filled = set(), set()
        self.commits, self.unsynced_commit, self.acks, self.synced_since_answer = 0, None, 0, False
        self.run()

    def run(self):
        moments = [(call.began, 0, call) for call in self.found] + [(call.ended, 1, call) for call in self.found]
        for _, end, call in sorted(moments, key=lambda moment: moment[:2]):
            if call.name in SYNCS:
                if end and call.worked:
                    self.synced(call)
            elif end and call.name == "openat":
                self.opened(call)
            elif not end and call.name != "openat":
                self.changed(call)
        for path in self.new.keys() & self.filled:
            self.breaks(f"rule 5: the directory of {path} was never synced")
        for owed in self.owed.values():
            self.breaks(f"{owed[1]}, to the end")

    def breaks(self, text):
        if text not in self.broken:
            self.broken.append(text)

    def changed(self, call):
        """A call that changes something; judged at its beginning."""
        if call.name in SENDS:
            self.answered(call)
            return
        self.pay(call)
        if call.name in WRITES:
            self.written(call)
        elif call.name in RENAMES:
            self.seen.add("rename")
            if call.path in self.dirty:
                self.breaks(f"rule 1: {call.path} is renamed with bytes that were not synced")
            self.dirty.pop(call.path, None)
            self.new.pop(call.path, None)
            self.owe(call, directory(call.to), f"rule 2: {directory(call.to)} was not synced behind a rename")
        elif call.name in MAKES:
            self.seen.add("mkdir")
            self.owe(call, directory(call.path), f"rule 3: {directory(call.path)} was not synced behind the making of {call.path}")
        elif call.name in REMOVES:
            self.removed(call)

    def pay(self, call):
        """Nothing may be changed while a directory has to be synced."""
        for thread, (path, text) in list(self.owed.items()):
            of_buffer = self.strict and call.path.endswith(("buffer.db-wal", "buffer.db"))
            if (thread == call.thread or of_buffer) and not call.path.endswith(PASSING):
                self.breaks(f"{text}, before {call.name} of {call.path}")
                del self.owed[thread]

    def owe(self, call, path, text):
        self.owed[call.thread] = (path, text)

    def written(self, call):
        if call.path.endswith(PASSING):
            return
        if call.path.endswith("buffer.db-wal"):
            frame = FRAME.match(call.text)
            if frame:
                if self.unsynced_commit is not None:
                    self.breaks("rule 4: a commit of the buffer's log was not synced before the next one began")
                if any(frame.group(1).split("\\x")[5:9][at] != "00" for at in range(4)):
                    self.commits += 1
                    self.unsynced_commit = call.began
        self.dirty[call.path] = call.began
        self.filled.add(call.path)

    def synced(self, call):
        """A sync that has ended: all that was written before it began lasts."""
        self.seen.add("fsync")
        if self.dirty.get(call.path, call.began) < call.began:
            del self.dirty[call.path]
            if call.path.endswith("buffer.db-wal"):
                self.unsynced_commit, self.synced_since_answer = None, True
        for thread, (path, _) in list(self.owed.items()):
            if path == call.path and thread == call.thread:
                del self.owed[thread]
        for path in [path for path, made in self.new.items() if directory(path) == call.path and made < call.began]:
            del self.new[path]

    def opened(self, call):
        """A file that may be new: SQLite and the program open with O_CREAT what has to be made."""
        if call.path in self.known or not call.worked or call.path.endswith(PASSING) or "/staging/" in call.path:
            return
        self.known.add(call.path)
        if "O_CREAT" in call.text:
            self.new[call.path] = call.ended

    def removed(self, call):
        self.new.pop(call.path, None)
        self.known.discard(call.path)
        self.filled.discard(call.path)
        if call.path.endswith("buffer.db-wal") and any(path.endswith("buffer.db") for path in self.dirty):
            self.breaks("rule 6: the log was removed before the database was synced")
        self.dirty.pop(call.path, None)

    def answered(self, call):
        """An answer to a push. The pushes come one after the other, so each has a commit of its own; behind that, a sign of life may be
        under way when the answer leaves."""
        if "HTTP/1.1 200" not in plain(call.text):
            return
        self.acks += 1
        if not self.synced_since_answer:
            self.breaks("rule 7: an answer 200 left before the log was synced")
        self.synced_since_answer = False
        if self.commits < self.acks:
            self.breaks("rule 7: an answer 200 left before its push was committed")


def directory(path):
    return path.rpartition("/")[0]


def plain(text):
    """Text of a trace whose strings are all in hexadecimal."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match.group(1), 16)), text)


def tracing(out):
    names = ",".join(sorted({*CHANGES, *SENDS}))
    return strace("-xx", "-s", "64", "-o", out, "-e", f"trace={names}")


def lint(place, trace, recording, what, strict=False, wants=("rename", "mkdir", "fsync")):
    """Judges a trace; what it breaks is a fault."""
    judge = Lint(calls(trace, recording), strict)
    for text in judge.broken:
        place.tally.fault("wrong", f"{what}: {text.replace(str(recording), '…')}")
    for name in wants:
        place.tally.expect(name in judge.seen, f"{what}: the trace shows no {name}; so it shows nothing")
    place.tally.expect(judge.commits > 0, f"{what}: the trace shows no commit; so it shows nothing")
    return judge


def imports(place):
    """Two imports into a new recording: new partitions with a seal, then late events. All partitions, then one alone."""
    for name, events, ends in [("many", Events(), (300, 600)), ("alone", Events(days=2), (40, 80))]:
        recording, start = place.folder / f"order-{name}", 0
        for number, end in enumerate(ends):
            file, trace = place.new("in.ndjson"), place.new("trace")
            file.write_bytes(alone(events, start, end) if name == "alone" else events.lines(start, end))
            done = place.run("import", file, "--dir", recording, before=tracing(trace))
            place.tally.expect(done.returncode == 0, f"the import ended with {done.returncode}: {said(done)}")
            wants = ("rename", "mkdir", "fsync") if number == 0 else ("rename", "fsync")
            lint(place, trace, recording, f"import {number + 1}, {name}", strict=name == "alone", wants=wants)
            start = end
            place.tally.runs += 1
        if name == "many":
            at_rest(place, recording, events, range(end), end, "after the traced imports")
        place.tally.events += end


def alone(events, start, end):
    """Events of one partition only."""
    lines = (events.line(n) for n in range(start, end))
    wanted = (line for line in lines if '"temperature"' in line and f'"timestamp":"{events.days[1]}' in line)
    return "".join(line + "\n" for line in wanted).encode()


def recorded(place):
    """A recorder that rolls often, for a while."""
    events, recording, trace = Events(), place.recording(), place.new("trace")
    cloud = Cloud(events, rate=200)
    place.ends.callback(cloud.close)
    flags = ["--project", PROJECT, "--api-url", cloud.url, "--no-backfill", "--for", "2s"]
    process = place.start("record", "--dir", recording, *flags, before=tracing(trace))
    code = process.wait(30)
    place.tally.expect(code in FINE, f"record ended with {code}: {said(process)}")
    lint(place, trace, recording, "record")
    at_rest(place, recording, events, (), cloud.sent, "after the traced recording")
    place.tally.runs += 1


def received(place):
    """A receiver, with one push at a time: each answer 200 is held against the log."""
    events, recording, trace = Events(), place.recording(), place.new("trace")
    load = Pushes(place, recording, events, connections=1, doubles=0, most=60, before=tracing(trace))
    load.start()
    load.go_on(60)
    code = load.stop()
    place.tally.expect(code in FINE, f"listen ended with {code}: {said(load.process)}")
    judge = lint(place, trace, recording, "listen")
    place.tally.expect(judge.acks >= 60, f"listen: the trace shows {judge.acks} answers 200, not 60; so it shows nothing")
    at_rest(place, recording, events, load.acked(), load.sent(), "after the traced pushes")
    place.tally.runs += 1
    place.tally.events += load.count()


def battery(place):
    works()
    imports(place)
    recorded(place)
    received(place)
