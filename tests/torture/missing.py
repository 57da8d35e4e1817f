"""The question of these batteries: is anything missing that no gap tells of? What the cloud published is the truth."""

import json
import time
from collections import Counter

from hush import QUIET, moment
from place import FINE, few, said
from verify import export

# The cloud notes the time of an event just before it writes, the recorder its sign of life just after it has read.
SLACK = 0.05
# A gap may not lie further in the future than this.
FUTURE = 2.0


class Run:
    """One start of the recorder: when, to when it was to go, when somebody asked it to end, when it was gone."""

    def __init__(self, planned=None):
        self.begun, self.planned, self.asked, self.died = time.time(), planned, None, None


def wanted(cloud, runs, now):
    """Spans in which everything published must be recorded, or lie in a gap.

    From a recorder's first sign of life to the end that was asked for, or planned. One that was killed leaves a run that
    goes on: to its planned end, else to the next run, else to now. Where it is not known whether a run had begun, less is
    wanted.
    """
    spans, since, until = [], None, None
    for run in runs:
        spoke = cloud.first_sign(run.begun, run.died or now)
        if since is not None and until is not None and until <= run.begun:
            spans.append((since, until))
            since = None
        if not spoke:
            if since is not None and run.planned is not None:
                until = min(until or run.planned, run.planned)
            if since is not None and run.asked is not None:
                spans.append((since, run.begun))
                since = None
            continue
        since = since or spoke
        until = run.planned
        if run.asked is not None:
            spans.append((since, run.asked))
            since = None
    if since is not None:
        spans.append((since, min(now, until or now)))
    return spans


def gaps(place, recording):
    """The gaps of the ledger, with `begins` and `ends` as numbers; none of them when it does not read."""
    done = place.run("gaps", "--dir", recording, "--json")
    if not place.tally.expect(done.returncode in FINE, f"gaps ended with {done.returncode}: {said(done)}"):
        return []
    now, found = time.time(), []
    for project in json.loads(done.stdout)["projects"]:
        for gap in project["gaps"]:
            begins, ends = moment(gap["begins"]), moment(gap["ends"]) if gap["ends"] else now
            # A program that confirms nothing has said its last word with "filled".
            is_done = gap["state"] == "filled" and gap.get("confirmed", True)
            found.append(gap | {"begins": begins, "ends": max(begins, ends), "done": is_done})
    return found


class Oracle:
    """Holds one recording against the cloud, as often as one likes; what was found once is not told again."""

    def __init__(self, place, cloud, recording, runs):
        self.place, self.cloud, self.recording, self.runs = place, cloud, recording, runs
        self.told, self.silent, self.unkept = set(), 0, 0
        self.missing = self.in_recording = 0

    def look(self, what):
        """Holds what is recorded now against what was published until now. Only while nobody records."""
        now, truth = time.time(), self.cloud.truth()
        lines, ledger = export(self.place, self.recording), gaps(self.place, self.recording)
        found = self.compare(lines, truth, what)
        spans = wanted(self.cloud, self.runs, now)
        # A gap that is done keeps its promise wherever it lies.
        spans += [(gap["begins"] + SLACK, gap["ends"]) for gap in ledger if gap["done"]]
        inside = lambda event: any(begins <= event.at <= ends - SLACK for begins, ends in spans)
        missing = [event for event in truth if event.at <= now and event.key not in found and inside(event)]
        self.missing, self.in_recording = len(missing), len(found)
        silent, unkept = [], []
        for event in missing:
            where = [gap for gap in ledger if covers(gap, event)]
            if not where:
                silent.append(event)
            elif all(gap["done"] for gap in where) and event.is_in_history and event.visible <= now:
                unkept.append(event)
        self.silent += self.tell(silent, ledger, "missing in no gap", what)
        self.unkept += self.tell(unkept, ledger, "in a confirmed gap but not recorded", what)
        self.ask_future(ledger, what)
        return ledger

    def compare(self, lines, truth, what):
        """What stands in the recording is what was sent, and once."""
        tally, sent, times, strange = self.place.tally, {event.key: event.line for event in truth}, Counter(), []
        for line in lines:
            key = json.loads(line)["eventId"]
            times[key] += 1
            if key not in sent or line != sent[key] and json.loads(line) != json.loads(sent[key]):
                strange.append(key)
        tally.expect(not strange, f"{what}: {len(strange)} events are not as they were published: {few(strange)}")
        doubled = [key for key, number in times.items() if number > 1]
        if doubled:
            tally.fault("doubled", f"{what}: {len(doubled)} events stand more than once: {few(doubled)}", len(doubled))
        return times.keys()

    def tell(self, events, ledger, name, what):
        """A fault for those that were not told of before; gives their number."""
        events = [event for event in events if (name, event.key) not in self.told]
        if events:
            self.told |= {(name, event.key) for event in events}
            span = f"{clock(events[0].at)} to {clock(events[-1].at)}"
            aways = sorted(distance(ledger, event) for event in events)
            far = f"{aways[0]:.2f} to {aways[-1]:.2f} s from a gap" if ledger else "there is no gap at all"
            kinds = ", ".join(f"{number} {kind}" for kind, number in Counter(event.kind for event in events).items())
            devices = len({event.device for event in events})
            more = f"{kinds} of {devices} devices; published {span}; {far}; as {events[0].key} of {events[0].device}"
            self.place.tally.fault("lost", f"{what}: {len(events)} events are {name}: {more}", len(events))
        return len(events)

    def ask_future(self, ledger, what):
        latest = time.time() + FUTURE
        ahead = [gap for gap in ledger if max(gap["begins"], gap["ends"]) > latest]
        told = [f"{clock(gap['begins'])} to {clock(gap['ends'])} {gap['state']}" for gap in ahead]
        self.place.tally.expect(not ahead, f"{what}: gaps lie in the future: {few(told)}")


def covers(gap, event):
    """Whether a gap tells of an event: by when it was published, or by its own time."""
    slack = QUIET if event.halved else SLACK
    return any(gap["begins"] - slack <= at <= gap["ends"] + slack for at in (event.at, event.stamp))


def distance(ledger, event):
    """How far an event lies from the next gap."""
    return min((max(gap["begins"] - event.at, event.at - gap["ends"], 0) for gap in ledger), default=0)


def clock(at):
    return time.strftime("%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03}"
