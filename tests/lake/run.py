#!/usr/bin/env python3
"""The lake: what recorders ship to object storage stands there exactly once, as engines of others read it, whatever store, network and
machine do meanwhile.

usage: run BINARY [--short | --long] [--only NAME]… [--seed N] [--json FILE]

The short form has an S3 of this machine behind a proxy that misbehaves, and Sail, Polars and delta-rs as witnesses. The long form, by hand,
has all the kills, power cuts, fifty compactions, and ClickHouse, DuckDB and Daft on Ray besides. Prints a line for each battery as it
runs and a table at the end; exits 1 when anything was lost, doubled, unreadable or otherwise wrong.
"""

import argparse
import importlib.util
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from ground import ROOT, Ground, Skipped, Store, Tally

import compaction
import engines
import living
import outage
import ships
import strikes
from place import Late, bounded

# Of the torture: how its table looks.
spec = importlib.util.spec_from_file_location("torture", ROOT / "tests/torture/run.py")
torture = importlib.util.module_from_spec(spec)
spec.loader.exec_module(torture)

# Name, battery of the short form, battery of the long form; each with the seconds after which it is given up. None: not in this form.
BATTERIES = [
    *((battery.__name__.replace("_", "-"), (battery, 60), (battery, 60)) for battery in ships.BATTERIES),
    ("engines", (engines.pasted(engines.SHORT), 90), (engines.pasted(engines.LONG), 400)),
    *((name, (battery, 150), (battery, 400)) for name, battery in living.BATTERIES),
    ("compact", (compaction.doubles, 90), (compaction.doubles, 90)),
    ("compact-live", None, (compaction.under_appends(50), 1800)),
    ("power", (outage.battery(9), 60), (outage.battery(120), 600)),
    ("strike", (strikes.every_request(5, True), 120), (strikes.every_request(1, False), 900)),
    ("strike-for-long", (strikes.for_long, 120), (strikes.for_long, 120)),
    ("kill-request", (strikes.killed(2), 90), (strikes.killed(1), 200)),
    ("kill", (strikes.at_any_moment(3, 10, 1.2), 90), (strikes.at_any_moment(3, 40, 1.5), 900)),
]


def arguments():
    parser = argparse.ArgumentParser(prog="run", description=__doc__.splitlines()[0])
    parser.add_argument("binary", help="the program under test, built with --features lake")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", action="store_true", help="a few minutes (the default)")
    form.add_argument("--long", action="store_true", help="the full figures")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this battery; may be given several times")
    parser.add_argument("--seed", type=int, help="the same random choices as another run")
    parser.add_argument("--json", metavar="FILE", help="write the table to a file")
    return parser.parse_args()


def one(name, battery, seconds, args, seed, store):
    """Runs a battery to its end, whatever that is; gives its tally."""
    tally, begun = Tally(name), time.monotonic()
    try:
        with bounded(seconds), Ground(args.binary, tally, seed, args.long, store) as ground:
            battery(ground)
    except Skipped as why:
        tally.skipped = str(why)
    except (Exception, Late) as error:
        tally.fault("wrong", f"{type(error).__name__}: {error}")
    tally.seconds = time.monotonic() - begun
    verdict = f"skipped: {tally.skipped}" if tally.skipped else "FAILED" if tally.bad else "ok"
    print(f"{name}: {verdict}, {tally.seconds:.1f} s{''.join(f'; {note}' for note in tally.notes)}", flush=True)
    return tally


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, torture.interrupted)
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1_000_000)
    names = [name for name, *_ in BATTERIES]
    unknown = set(args.only or []) - set(names)
    if unknown:
        sys.exit(f"run: no battery {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    begun, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="overnight-lake-") as folder:
        store = Store(Path(folder))
        try:
            for name, *forms in BATTERIES:
                form = forms[args.long]
                if form and (not args.only or name in args.only):
                    rows.append(one(name, *form, args, seed, store).json())
        finally:
            store.end()
    if args.json:
        Path(args.json).write_text(json.dumps({"seed": seed, "long": args.long, "batteries": rows}, indent=1) + "\n")
    bad = [row["battery"] for row in rows if row["faults"]]
    print()
    torture.table(rows)
    print(f"\nseed {seed}, {time.monotonic() - begun:.0f} s: {'all held' if not bad else 'FAILED: ' + ', '.join(bad)}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
