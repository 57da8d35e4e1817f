#!/usr/bin/env python3
"""Torture: the real program against kill -9, power cuts, full and failing disks, jumping clocks. What it has acknowledged
must stand in the recording exactly once, whatever happens, and everything must read.

usage: run.py BINARY [--short | --long] [--only NAME]… [--seed N] [--broken] [--json FILE]

Prints a line for each battery as it runs and a table at the end; exits 1 when anything was lost, doubled, unreadable or
otherwise wrong. `--broken` instead breaks the program on purpose, builds it, and exits 1 when that goes unnoticed.
"""

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from place import Late, Place, Skipped, Tally, bounded

import broken
import disks
import kills
import memory
import order
import power
import rot
import silence
import steps
import stops
import strangers
import syscalls
import told
import years

# Name, battery of the short form, battery of the long form; each with the seconds after which it is given up.
BATTERIES = [
    ("kill-record", (kills.battery("record", 1, 40), 90), (kills.battery("record", 25, 40), 1800)),
    ("kill-listen", (kills.battery("listen", 1, 40), 90), (kills.battery("listen", 25, 40), 1800)),
    ("power-ext4", (power.battery("ext4", 12), 90), (power.battery("ext4", 120), 1200)),
    ("power-xfs", (power.battery("xfs", 12), 90), (power.battery("xfs", 120), 1200)),
    ("order", (order.battery, 60), (order.battery, 60)),
    ("kill-syscall", (syscalls.kill(8), 120), (syscalls.kill(1), 1800)),
    ("fail-syscall", (syscalls.fail(20), 120), (syscalls.fail(1), 3600)),
    ("kill-years", (years.battery(30), 120), (years.battery(1), 7200)),
    ("kill-watcher", (told.battery(8, 1), 240), (told.battery(12, 10), 2400)),
    ("disk-full-record", (disks.full("record"), 60), (disks.full("record"), 60)),
    ("disk-full-listen", (disks.full("listen"), 60), (disks.full("listen"), 60)),
    ("disk-full-stream", (disks.full_stream(14), 90), (disks.full_stream(60), 240)),
    ("read-only", (disks.read_only, 60), (disks.read_only, 60)),
    ("frozen", (stops.frozen(12), 120), (stops.frozen(60), 400)),
    ("second-writer", (stops.second_writer, 60), (stops.second_writer, 60)),
    ("rot", (rot.battery(40), 90), (rot.battery(None), 7200)),
    ("clock", (stops.clock(0.7), 90), (stops.clock(5), 180)),
    ("strangers", (strangers.battery(10, 400), 60), (strangers.battery(240, 1000), 400)),
    ("silence", (silence.battery(1, 9, 3.0, 25), 150), (silence.battery(3, 18, 5.0, 60), 1200)),
    ("silence-clock", (steps.battery(1, 22), 120), (steps.battery(4, 60), 600)),
    ("memory", (memory.battery(400_000, 4), 120), (memory.battery(10_000_000, 60), 1800)),
]


# These mostly wait, so they run beside the others, in a process of their own.
BESIDE = ["frozen", "disk-full-stream", "clock"]


def arguments():
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__.splitlines()[0])
    parser.add_argument("binary", help="the program under test")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", action="store_true", help="a few minutes (the default)")
    form.add_argument("--long", action="store_true", help="the full figures")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this battery; may be given several times")
    parser.add_argument("--seed", type=int, help="the same random choices as another run")
    parser.add_argument("--broken", action="store_true", help="build broken programs, and see whether they are caught")
    parser.add_argument("--json", metavar="FILE", help="write the table to a file")
    parser.add_argument("--beside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def one(name, battery, seconds, args, seed):
    """Runs a battery to its end, whatever that is; gives its tally."""
    tally, begun = Tally(name), time.monotonic()
    print(f"{name}: begins, seed {seed}", flush=True)
    try:
        with bounded(seconds), Place(args.binary, tally, seed, args.long) as place:
            battery(place)
    except Skipped as why:
        tally.skipped = str(why)
    except (Exception, Late) as error:
        tally.fault("wrong", f"{type(error).__name__}: {error}")
    tally.seconds = time.monotonic() - begun
    verdict = f"skipped: {tally.skipped}" if tally.skipped else "FAILED" if tally.bad else "ok"
    notes = "".join(f"; {note}" for note in tally.notes)
    print(f"{name}: {verdict}, {tally.seconds:.1f} s{notes}", flush=True)
    return tally


def table(rows):
    heads = ["battery", *Tally.COUNTS, "seconds", ""]
    lines = [heads]
    for row in rows:
        counts = [f"{row[count]:,}" for count in Tally.COUNTS]
        lines.append([row["battery"], *counts, f"{row['seconds']:.1f}", verdict_of(row)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]
        print("  ".join(cells).rstrip())


def verdict_of(row):
    return "skipped" if row["skipped"] else "FAILED" if row["faults"] else ""


@contextlib.contextmanager
def beside(names, args, seed):
    """Runs batteries in a process of their own meanwhile; gives what calls for their rows."""
    if not names:
        yield lambda: []
        return
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "rows.json"
        flags = ["--beside", "--seed", str(seed), "--json", str(result), *(["--long"] if args.long else [])]
        only = [word for name in names for word in ("--only", name)]
        process = subprocess.Popen([sys.executable, __file__, args.binary, *flags, *only])

        def rows():
            process.wait()
            return json.loads(result.read_text())["batteries"]

        try:
            yield rows
        finally:
            if process.poll() is None:
                # It cleans up behind itself.
                process.terminate()
                process.wait(60)


def interrupted(number, _):
    raise SystemExit(128 + number)


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, interrupted)
    # Under nohup it would be ignored, by recorders too, which are meant to hear it.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1_000_000)
    if args.broken:
        sys.exit(1 if broken.run(seed, args.only) else 0)
    broken.check_texts()
    names = [name for name, *_ in BATTERIES]
    unknown = set(args.only or []) - set(names)
    if unknown:
        sys.exit(f"run.py: no battery {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    begun = time.monotonic()
    chosen = [battery for battery in BATTERIES if not args.only or battery[0] in args.only]
    waiting = [name for name, *_ in chosen if name in BESIDE] if not args.beside and len(chosen) > len(BESIDE) else []
    with beside(waiting, args, seed) as others:
        rows = []
        for name, short, long in chosen:
            if name not in waiting:
                battery, seconds = long if args.long else short
                rows.append(one(name, battery, seconds, args, seed).json())
        rows += others()
    if args.json:
        Path(args.json).write_text(json.dumps({"seed": seed, "long": args.long, "batteries": rows}, indent=1) + "\n")
    bad = [row["battery"] for row in rows if row["faults"]]
    if not args.beside:
        print()
        table(rows)
        print(f"\nseed {seed}, {time.monotonic() - begun:.0f} s: {'all held' if not bad else 'FAILED: ' + ', '.join(bad)}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
