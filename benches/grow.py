#!/usr/bin/env python3
"""grow.py BINARY GENERATOR [--events 1000000 10000000] [--dir DIR]: what an event costs, the more of them there are.

GENERATOR is the harness's `gen.py`, as for `compare.py`: a million events of 31 days, 2,000 devices, nine types. More of them are those
again and again, each with its own time and id between its neighbours, so that the days are denser. Each recording is made by `import`; then
whole processes are timed: CPU an event, and the memory at its peak. By hand: 100 million take half an hour and 30 GB.
"""
import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from age import cpu

# Events that the generator makes; more of them are made of these.
MADE = 1_000_000


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
            made = [sys.executable, args.generator, str(min(events, MADE)), str(text), "--days", "31", "--devices", "2000"]
            subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
            # 100 million are 37 GB of text, which nobody needs twice.
            pipe = Path(folder) / "pipe"
            os.mkfifo(pipe)
            writer = multiprocessing.Process(target=write, args=(text, events, pipe))
            writer.start()
            measure(events, "import", [binary, "import", str(pipe), "--dir", recording])
            writer.join()
            if writer.exitcode:
                sys.exit(f"not all events were written: {writer.exitcode}")
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


def write(text, events, pipe):
    """Writes so many events: those of a text, and as many more between each two of them as it takes."""
    lines = text.read_bytes().splitlines(keepends=True)
    times = [line[line.rindex(b'"timestamp":"') + 13:][:27] for line in lines]
    micros = [int(datetime.fromisoformat(time.decode()).timestamp()) * 1_000_000 + int(time[20:26]) for time in times]
    # What stands between the id and each of its times.
    parts = [line[51:].split(time) for line, time in zip(lines, times)]
    head, ids = lines[0][:31], [line[31:45] for line in lines]
    letters = b"0123456789abcdefghijklmnopqrstuv"
    pairs = [bytes((letters[at >> 5], letters[at & 31])) for at in range(1024)]
    each, number, second, civil = events // len(lines), 0, None, b""
    with open(pipe, "wb", 1 << 20) as out:
        for at, begins in enumerate(micros):
            step = ((micros[at + 1] if at + 1 < len(micros) else begins) - begins) / each
            batch = []
            for copy in range(each):
                now, rest = divmod(begins + int(step * copy), 1_000_000)
                if now != second:
                    second, civil = now, datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode()
                tail = pairs[number >> 20] + pairs[number >> 10 & 1023] + pairs[number & 1023]
                body = (b"%b%06dZ" % (civil, rest)).join(parts[(at + 7 * copy) % len(parts)])
                batch.append(head + ids[at] + tail + body)
                number += 1
            out.write(b"".join(batch))


def measure(events, name, command):
    seconds, megabytes = cpu(command)
    print(f"| {events:,} | {name} | {seconds / events * 1e6:.3f} | {megabytes:.0f} |", flush=True)


if __name__ == "__main__":
    main()
