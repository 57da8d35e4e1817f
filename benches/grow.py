#!/usr/bin/env python3
"""grow.py BINARY GENERATOR [--events 1000000 10000000] [--dir DIR]: what an event costs, the more of them there are.

GENERATOR is the harness's `gen.py`, as for `compare.py`: so many events of 31 days, 2,000 devices, nine types. Each recording is made by
`import`; then whole processes are timed: CPU an event, and the memory at its peak. By hand: 100 million take an hour and 50 GB.
"""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from age import cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("generator")
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--dir", help="where there is room for all of it")
    args = parser.parse_args()
    binary = str(Path(args.binary).resolve())
    print("| events | what | us of CPU an event | peak MB |\n|---|---|---|---|")
    for events in args.events:
        with tempfile.TemporaryDirectory(dir=args.dir) as folder:
            text, recording = Path(folder) / "events.ndjson", Path(folder) / "recording"
            made = [sys.executable, args.generator, str(events), str(text), "--days", "31", "--devices", "2000"]
            subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
            measure(events, "import", [binary, "import", str(text), "--dir", recording])
            text.unlink()
            for name, words in [
                ("export, a CSV a type", ["export", "-o", f"{folder}/all/", "--force"]),
                ("export, one CSV", ["export"]),
                ("export --every 1h", ["export", "--every", "1h"]),
                ("export --latest", ["export", "--latest"]),
                ("report", ["report", "-o", "-"]),
                ("verify", ["verify"]),
            ]:
                measure(events, name, [binary, *words, "--dir", recording])


def measure(events, name, command):
    seconds, megabytes = cpu(command)
    print(f"| {events:,} | {name} | {seconds / events * 1e6:.3f} | {megabytes:.0f} |", flush=True)


if __name__ == "__main__":
    main()
