#!/usr/bin/env python3
"""age.py BINARY [--nights 1000] [--runs 3] [--dir DIR]: what a recording of years costs to look at.

Makes a recording of that many nights by `import`: 12 event types, 25 events of each a night, so a day file a type and night; a session
of the ledger for each night, and nobody recording by day. Then whole processes are timed (CPU, medians, and the memory at its peak).
With --dir the recording stays there, and one that stands there already is taken.
"""
import argparse
import json
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

DAY = 86_400_000_000
KINDS = {
    "temperature": lambda n: {"value": 20 + n % 7 / 4},
    "humidity": lambda n: {"relativeHumidity": 40 + n % 9, "temperature": 20 + n % 5 / 2},
    "objectPresent": lambda n: {"state": ["PRESENT", "NOT_PRESENT"][n % 2]},
    "touch": lambda n: {},
    "networkStatus": lambda n: {"signalStrength": 30 + n % 50, "rssi": -90 + n % 30},
    "batteryStatus": lambda n: {"percentage": 100 - n % 40},
    "motion": lambda n: {"state": ["MOTION_DETECTED", "NO_MOTION_DETECTED"][n % 2]},
    "waterPresent": lambda n: {"state": ["PRESENT", "NOT_PRESENT"][n % 2]},
    "objectPresentCount": lambda n: {"total": n},
    "touchCount": lambda n: {"total": n},
    "contact": lambda n: {"state": ["OPEN", "CLOSED"][n % 2]},
    "co2": lambda n: {"ppm": 400 + n % 600},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--nights", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--dir", type=Path)
    args = parser.parse_args()
    binary = str(Path(args.binary).resolve())
    with tempfile.TemporaryDirectory() as folder:
        recording = args.dir or Path(folder) / "recording"
        last = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
        if not (recording / "data").is_dir():
            make(binary, recording, args.nights, last)
        # The first command of the new program may have something to make.
        subprocess.run([binary, "roll", "--dir", recording], check=True, capture_output=True)
        files = sum(1 for _ in (recording / "data").rglob("*.parquet"))
        print(f"{files:,} day files:")
        end = last + timedelta(days=1)
        day = ["--start", last.strftime("%Y-%m-%d"), "--end", end.strftime("%Y-%m-%d")]
        for name, words in [
            ("status", ["status"]),
            ("verify", ["verify"]),
            ("export --latest", ["export", "--latest"]),
            ("export, one day", ["export", *day]),
            ("export --every 1h, one day", ["export", "--event-type", "contact", "--every", "1h", *day]),
            ("report of one day", ["report", "-o", "-", *day]),
            ("report of everything", ["report", "-o", "-"]),
            ("plot of one day", ["plot", "--event-type", "contact", *day]),
            ("plot of everything", ["plot", "--event-type", "contact"]),
            ("import of nothing", ["import", "/dev/null"]),
        ]:
            found = [cpu([binary, *words, "--dir", recording]) for _ in range(args.runs)]
            print(f"  {name:<28} {statistics.median(seconds for seconds, _ in found):7.3f} s of CPU, {max(peak for _, peak in found):6.0f} MB", flush=True)


def make(binary, recording, nights, last):
    command = [binary, "import", "-", "--dir", recording]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        number = 0
        for night in range(nights):
            begins = last - timedelta(days=nights - 1 - night)
            for of_kind in range(25):
                for kind, value in KINDS.items():
                    at = (begins + timedelta(seconds=600 + 800 * of_kind + number % 600)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                    data = {kind: value(number) | {"updateTime": at}}
                    event = {"eventId": f"e{number:019}", "targetName": f"projects/p/devices/d{of_kind:019}", "eventType": kind, "data": data, "timestamp": at}
                    program.stdin.write(json.dumps(event) + "\n")
                    number += 1
        program.stdin.close()
    assert program.returncode == 0, program.returncode
    with sqlite3.connect(recording / "state/buffer.db") as db:
        filters = '{"event_types":[],"devices":[],"device_types":[],"labels":[],"product_numbers":[]}'
        for night in range(nights):
            begins = int((last - timedelta(days=nights - 1 - night)).timestamp() * 1e6)
            ends = begins + DAY // 4
            db.execute(
                "INSERT INTO run (id, opening, number, boot, clock, source, project, filters, account, begins, ended_at, quiet) VALUES (?, ?, 0, '', 0, 'stream', 'p', ?, '', ?, ?, 1)",
                (night + 1, f"n{night}", filters, begins, ends),
            )
            db.execute("INSERT INTO heard (run, session, opened_at, spoke_at, closed_at, cause) VALUES (?, 0, ?, ?, 1, 'asked')", (night + 1, begins, ends))


def cpu(command):
    """Seconds of CPU of a command, and its peak of memory in MB."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3):
        sys.exit(f"{command}: {process.returncode}\n{said.decode()}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
