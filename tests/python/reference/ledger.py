"""What was wanted, heard and filled, and what is known of a time from that. A gap is what a run wanted and no session of it
heard, or what was lost; it is filled where a pass over the history that asked for as much is done."""

import json
import sqlite3
from dataclasses import dataclass, field

from .calendar import DAY, HOUR, MINUTE, SECOND
from .spans import cut, minus, union

# Between two spans in which something was heard, so much is nothing.
SEAM = 15 * SECOND
# An import that begins so soon behind a recorder's end goes on where that one stopped.
SOON = HOUR
EVER = 10**18
NOBODY = {"event_types": [], "devices": [], "device_types": [], "labels": [], "product_numbers": []}


def between(accounted):
    """The stretches that neither a session nor a gap accounts for."""
    edges = [-EVER, *(edge for span in accounted for edge in span), EVER]
    return list(zip(edges[::2], edges[1::2]))


def joined(gaps):
    """Gaps that overlap are one, noted when the last of them was: a pass before that does not fill it."""
    out = []
    for begins, ends, noted in sorted(gaps):
        if out and begins < out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], ends), max(out[-1][2], noted))
        else:
            out.append((begins, ends, noted))
    return out


@dataclass
class Run:
    project: str
    types: tuple
    devices: tuple
    begins: int
    ends: int
    sessions: list

    def wants(self, event_type, device):
        return (not self.types or event_type in self.types) and (not self.devices or device in self.devices)


@dataclass
class Loss:
    project: str
    begins: int
    ends: int
    noted: int


@dataclass
class Fill:
    project: str
    types: tuple
    devices: tuple
    asked: int
    pieces: list
    done: bool
    # Somebody asked for it: fills no gap of its own, and was heard.
    by_hand: bool = False

    def wants(self, event_type, device):
        return (not self.types or event_type in self.types) and (not self.devices or device in self.devices)

    def holds(self, types, devices):
        within = lambda own, others: not own or (others and set(others) <= set(own))
        return within(self.types, types) and within(self.devices, devices)


@dataclass
class Ledger:
    runs: list = field(default_factory=list)
    losses: list = field(default_factory=list)
    fills: list = field(default_factory=list)

    def gaps(self, project, wanted=lambda types, devices: True):
        """What is missing, or was, and what of it is filled: two lists of spans."""
        found = {}
        for run in self.runs:
            if run.project == project and wanted(run.types, run.devices):
                found.setdefault((run.types, run.devices), []).extend((*span, 0) for span in minus([(run.begins, run.ends)], run.sessions))
        if wanted((), ()):
            found.setdefault(((), ()), []).extend((loss.begins, loss.ends, loss.noted) for loss in self.losses if loss.project == project)
        raw, filled = [], []
        for (types, devices), gaps in found.items():
            for begins, ends, noted in joined(gaps):
                passes = [fill for fill in self.fills if fill.project == project and fill.done and fill.asked >= noted and fill.holds(types, devices)]
                raw.append((begins, ends))
                filled.append(([(begins, ends)], union([span for fill in passes for span in fill.pieces])))
        missing = union([span for spans, done in filled for span in minus(spans, done)])
        return union(raw), missing

    def unfilled(self, project, event_type, device):
        """Gaps that are not filled and hide events of a type and device."""
        wants = lambda types, devices: (not types or event_type in types) and (not devices or device in devices)
        return self.gaps(project, wants)[1]

    def known(self, project, times, now, event_type=None, device=None):
        """When events of a project would be known, of all types and devices or of one; `times` are those of the project's events."""
        own = [run for run in self.runs if run.project == project]
        everything = event_type is None
        heard = [span for run in own if everything or run.wants(event_type, device) for span in run.sessions]
        raw, missing = self.gaps(project)
        if not everything:
            wants = lambda types, devices: (not types or event_type in types) and (not devices or device in devices)
            wanted, missing = self.gaps(project, wants)
        else:
            wanted = raw
        brought = [fill for fill in self.fills if fill.project == project and fill.by_hand and fill.done]
        heard += [span for fill in brought if everything or fill.wants(event_type, device) for span in fill.pieces]
        # An import where nobody listened: from its first event to its last.
        accounted = union([span for run in own for span in run.sessions] + raw)
        imported = []
        past = sorted(at for at in times if at <= now)
        for begins, ends in between(accounted):
            inner = (begins + SEAM if begins > -EVER else begins, ends - SEAM if ends < EVER else ends)
            if ends == EVER:
                inner = (begins, ends)
            within = [at for at in past if inner[0] <= at < inner[1]]
            if within:
                first, last = within[0], within[-1]
                # Where the recorder ends, or soon behind it, an import goes on from there; and likewise up to where one begins.
                if begins > -EVER and (ends == EVER or first - begins <= SOON):
                    first = begins
                if ends < EVER and ends - last <= SOON:
                    last = ends
                imported.append((first, last))
        known = union(heard + minus(wanted, missing) + imported, SEAM)
        return cut(minus(known, missing), -EVER, now)

    def write(self, path):
        """As a recorder would have."""
        database = sqlite3.connect(path)
        with database:
            for number, run in enumerate(self.runs, 1):
                filters = json.dumps(NOBODY | {"event_types": run.types, "devices": run.devices})
                database.execute(
                    "INSERT INTO run (id, opening, number, boot, clock, source, project, filters, account, begins, ended_at, quiet)"
                    " VALUES (?, ?, 1, '', 0, 'stream', ?, ?, '', ?, ?, 30000000)",
                    (number, f"{number:032x}", run.project, filters, run.begins, run.ends),
                )
                for session, (begins, ends) in enumerate(run.sessions):
                    database.execute(
                        "INSERT INTO heard (run, session, opened_at, spoke_at, closed_at, cause) VALUES (?, ?, ?, ?, ?, 'the end')",
                        (number, session, begins, ends, ends),
                    )
            for loss in self.losses:
                row = (loss.project, json.dumps(NOBODY), loss.begins, loss.ends, loss.noted)
                database.execute("INSERT INTO loss (project, filters, begins, ends, cause, noted_at) VALUES (?, ?, ?, ?, 'damaged', ?)", row)
            for number, fill in enumerate(self.fills, 1):
                filters = json.dumps(NOBODY | {"event_types": fill.types, "devices": fill.devices})
                row = (number, fill.project, filters, fill.by_hand, fill.asked, fill.asked if fill.done else None)
                database.execute("INSERT INTO fill (id, project, filters, by_hand, asked_at, look_back, devices, done_at) VALUES (?, ?, ?, ?, ?, 0, 1, ?)", row)
                for begins, ends in fill.pieces:
                    database.execute("INSERT OR IGNORE INTO piece (fill, begins, ends, confirms) VALUES (?, ?, ?, 0)", (number, begins, ends))
        database.close()


def made_up(dice, projects, types, devices, begins, length, now):
    """Runs with sessions that break, with filters, with nothing between; gaps that are filled, in part, or not; losses."""
    ledger = Ledger()
    grain = lambda low, high: dice.randrange(low, high) // SECOND * SECOND + dice.choice([0, 0, dice.randrange(SECOND)])
    latest = min(begins + 2 * length, now - HOUR)
    for project in projects:
        if dice.random() < 0.25:
            continue
        at = begins + grain(-length // 3 - HOUR, length)
        while at < min(begins + length, latest) and dice.random() < 0.85:
            some = (tuple(dice.sample(types, 1 + len(types) // 2)) if dice.random() < 0.2 else (), tuple(dice.sample(devices, 1)) if dice.random() < 0.1 else ())
            run = Run(project, *some, at, at, [])
            for _ in range(dice.choice([1, 1, 2, 3, 5])):
                ends = min(at + grain(MINUTE, length // 2 + HOUR), latest)
                if ends <= at:
                    break
                run.sessions.append((at, ends))
                if dice.random() < 0.2:
                    run.sessions.append((ends - MINUTE // 2, ends))
                at = ends + dice.choice([5 * SECOND, 40 * SECOND, grain(MINUTE, length // 4 + HOUR)])
            if not run.sessions:
                break
            run.ends = run.sessions[-1][1] if dice.random() < 0.7 else min(at, latest)
            run.ends = max(run.ends, max(span[1] for span in run.sessions))
            ledger.runs.append(run)
            at = run.ends + dice.choice([SECOND, 5 * SECOND, 14 * SECOND, 16 * SECOND, MINUTE, grain(MINUTE, length // 3 + HOUR), grain(MINUTE, length // 3 + HOUR)])
            for gap in minus([(run.begins, run.ends)], run.sessions):
                if dice.random() < 0.5:
                    third = (gap[1] - gap[0]) // 3
                    piece = gap if dice.random() < 0.7 or third < SECOND else (gap[0] + third, gap[1])
                    of = (run.types, run.devices) if dice.random() < 0.7 else ((), ())
                    ledger.fills.append(Fill(project, *of, now - HOUR // 2, [piece], dice.random() < 0.9))
        if dice.random() < 0.15:
            since = begins + grain(0, length)
            span = (since, min(since + grain(MINUTE, length // 3 + HOUR), latest))
            if span[0] < span[1]:
                ledger.fills.append(Fill(project, tuple(dice.sample(types, 1)) if dice.random() < 0.3 else (), (), now - HOUR // 2, [span], dice.random() < 0.9, True))
        if dice.random() < 0.15:
            since = begins + grain(0, length)
            loss = Loss(project, since, min(since + grain(MINUTE, length // 3 + HOUR), latest), dice.choice([now - HOUR // 4, now - DAY]))
            if loss.begins < loss.ends:
                ledger.losses.append(loss)
    return ledger
