#!/usr/bin/env python3
"""Exports, reports, views and plots hold against a reference that shares no code with the program.

usage: reference.py BINARY [--recordings N] [--seed S] [--long] [--keep DIR] [--smallest]

Each recording is made up from a seed: events of devices in several projects, in any order and in pieces, and a ledger. What the
program says of it, asked at random, is held against what reference/ works out from the events and the ledger; and against what the
program itself says when it is asked another way. The same seed is the same recording on any day.
"""

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from reference import facts, metamorphic, plots, views, world as worlds
from reference.asks import arguments, formats, random_ask, random_plot, random_report
from reference.found import differences
from reference.program import Program, Refused
from reference.smallest import smallest
from reference.tables import Tables

LONG = 10_000


def export_wrong(program, folder, tables, ask, how):
    """What is wrong with an export, as sentences."""
    wanted = tables.of(ask)
    try:
        header, rows = program.export(folder, ask, how)
    except Refused as error:
        return [str(error)]
    return list(differences(ask, wanted, header, rows, coarse=how in ("xlsx", "unix-ms")))


class Run:
    def __init__(self, said, folder):
        self.said, self.kinds, self.asked = said, Counter(), 0
        self.program = Program(said.binary, folder)

    def recording(self, seed):
        world = worlds.made(seed)
        tables, dice = Tables(world), random.Random(seed)
        folder = self.program.new("r")
        before = sum(self.kinds.values())
        try:
            self.program.record(world, folder)
            self.ask(seed, dice, world, tables, folder)
        except Refused as error:
            self.differs(seed, "refused", "", [str(error)])
        if self.said.keep and sum(self.kinds.values()) > before:
            kept = Path(self.said.keep) / str(seed)
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept)
        shutil.rmtree(folder)

    def ask(self, seed, dice, world, tables, folder):
        """Exports first; what rolls everything into day files comes last."""
        for _ in range(self.said.asks):
            ask = random_ask(dice, world, tables)
            how = dice.choice(formats(ask))
            found = export_wrong(self.program, folder, tables, ask, how)
            if self.differs(seed, kind_of(ask, how, found), f"export {' '.join(arguments(ask))}  [{how}]", found) and self.said.smallest:
                fails = lambda folder, tables, ask: export_wrong(self.program, folder, tables, ask, how)
                print(smallest(self.program, world, ask, fails), flush=True)
        ask = random_report(dice, world)
        self.differs(seed, "report", f"report --json {' '.join(arguments(ask))}", facts.wrong(self.program, folder, tables, ask))
        if ask := random_plot(dice, world, tables):
            self.differs(seed, "plot", f"plot {' '.join(arguments(ask))}", plots.wrong(self.program, folder, tables, ask))
        for rule in [dice.choice(metamorphic.RULES[:-1]), metamorphic.RULES[-1]]:
            if rule is not metamorphic.RULES[-1] or dice.random() < 0.25:
                self.differs(seed, rule.__name__, rule.__name__.replace("_", " "), rule(dice, self.program, folder, tables))
        self.program.run("roll", "--dir", folder)
        self.differs(seed, "views", "sql", views.wrong(self.program, folder, tables))

    def differs(self, seed, kind, what, found):
        """Tells what is wrong, if anything is; whether it is the first of its kind."""
        self.asked += 1
        try:
            found = list(found)
        except Refused as error:
            found = [str(error)]
        if not found:
            return False
        self.kinds[kind] += 1
        print(f"DIFFERS seed {seed}: overnight {what}", *(f"        {text}" for text in found[:3]), sep="\n", flush=True)
        return self.kinds[kind] == 1


def kind_of(ask, how, found):
    """A few words by which mismatches are counted."""
    first = next(iter(found), "")
    column = re.match(r"\(.*?\) (.*?): ", first)
    what = re.split(r"[ _]", column[1])[-1] if column else first.split(":")[0].split("`")[0]
    fill = f"--fill {ask.fill}" if ask.fill != "none" else ""
    return " ".join(filter(None, [ask.shape, fill, "--start" if ask.start is not None else "", how if how == "xlsx" else "", "|", what]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--recordings", type=int, default=200)
    parser.add_argument("--seed", type=int, help="of the first recording; the next ones follow")
    parser.add_argument("--asks", type=int, default=8, help="exports of each")
    parser.add_argument("--long", action="store_true", help=f"{LONG:,} recordings")
    parser.add_argument("--keep", metavar="DIR", help="recordings that differ stay there")
    parser.add_argument("--smallest", action="store_true", help="look for the smallest input of each kind")
    said = parser.parse_args()
    first = said.seed if said.seed is not None else int(time.time())
    count = LONG if said.long else said.recordings
    begun = time.monotonic()
    print(f"reference.py: {count} recordings, --seed {first}", flush=True)
    with tempfile.TemporaryDirectory(prefix="overnight-") as folder:
        run = Run(said, folder)
        for seed in range(first, first + count):
            run.recording(seed)
    differ = sum(run.kinds.values())
    print(f"reference.py: {count} recordings, {run.asked} asks, {differ} differ ({time.monotonic() - begun:.0f} s)")
    for kind, many in run.kinds.most_common():
        print(f"    {many:6} {kind}")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
