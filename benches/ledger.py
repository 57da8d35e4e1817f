#!/usr/bin/env python3
"""ledger.py BINARY [--sessions 100000] [--devices 1500] [--runs 5] [--long]: what a ledger of ten years costs to look at, and what filling costs.

First a recording is given that many sessions with a filled gap behind each, and `gaps`, `status` and `verify` are timed as whole
processes (CPU, medians). Then, against the simulator at the cloud's pace (5 requests a second, bursts of 25), 40 gaps in 40 seconds
are made by outages and filled: how long after the last one, and with how many requests. --long does the same with 1,500 devices and
a gap every minute for ten minutes: a pass over so many takes five minutes at this pace.
"""
import argparse
import json
import os
import resource
import sqlite3
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

HOUR = 3_600_000_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--devices", type=int, default=1500)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--long", action="store_true")
    args = parser.parse_args()
    binary = str(Path(args.binary).resolve())
    with tempfile.TemporaryDirectory() as folder:
        ten_years(binary, Path(folder) / "old", args)
        filling(binary, Path(folder) / "gaps", 60, [5 + n for n in range(40)], 120)
        if args.long:
            filling(binary, Path(folder) / "long", 1500, [5 + 60 * n for n in range(10)], 900)


def ten_years(binary, recording, args):
    event = '{"eventId":"a","targetName":"projects/p/devices/d","eventType":"touch","data":{"touch":{"updateTime":"2026-10-01T00:00:00Z"}},"timestamp":"2026-10-01T00:00:00Z"}\n'
    subprocess.run([binary, "import", "-", "--dir", recording], input=event.encode(), check=True, capture_output=True)
    now = int(time.time() * 1e6)
    begins = now - args.sessions * HOUR
    with sqlite3.connect(recording / "state/buffer.db") as db:
        filters = '{"event_types":[],"devices":[],"device_types":[],"labels":[],"product_numbers":[]}'
        db.execute(
            "INSERT INTO run (id, opening, number, boot, clock, source, project, filters, account, begins, ended_at, quiet) VALUES (1, 'x', 0, '', 0, 'stream', 'p', ?, '', ?, ?, 1)",
            (filters, begins, now),
        )
        at = lambda n: begins + n * HOUR
        # Each session ends a minute before the next one begins.
        sessions = ((n, at(n), at(n + 1) - 60_000_000) for n in range(args.sessions))
        db.executemany("INSERT INTO heard (run, session, opened_at, spoke_at, closed_at, cause) VALUES (1, ?, ?, ?, 1, 'the cloud ended the session')", sessions)
        fills = ((n, filters, at(n + 1) + 1, at(n + 1) + 2) for n in range(args.sessions))
        db.executemany("INSERT INTO fill (id, project, filters, by_hand, asked_at, look_back, done_at) VALUES (?, 'p', ?, 0, ?, 0, ?)", fills)
        pieces = ((n, at(n + 1) - 60_000_000, at(n + 1)) for n in range(args.sessions))
        db.executemany("INSERT INTO piece (fill, begins, ends, confirms, events) VALUES (?, ?, ?, 1, 7)", pieces)
        db.executemany("INSERT INTO known_device VALUES ('p', ?)", ((f"d{n}",) for n in range(args.devices)))
    print(f"{args.sessions:,} sessions, as many filled gaps, {args.devices:,} devices:")
    for verb in [["gaps"], ["gaps", "--json"], ["status"], ["verify"], ["export", "--latest"]]:
        times = [cpu([binary, *verb, "--dir", recording]) for _ in range(args.runs)]
        print(f"  {' '.join(verb):<16} {statistics.median(times) * 1000:8.1f} ms of CPU")


def cpu(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def filling(binary, recording, devices, outages, patience):
    """Outages of 0.3 s at these seconds of the cloud's life."""
    recording.mkdir()
    env = os.environ | {"DT_SERVICE_ACCOUNT_KEY_ID": "demo-key", "DT_SERVICE_ACCOUNT_SECRET": "demo-secret"}
    outage_flags = [word for at in outages for word in ("--outage", f"{at}s-{at}.3s")]
    flags = ["--addr", "127.0.0.1:0", "--devices", str(devices), "--rate", "100", "--history", "0s", "--requests-max", "5", *outage_flags]
    cloud = subprocess.Popen([binary, "simulate", *flags], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
    url = cloud.stdout.readline().decode().split()[-1]
    begun = time.monotonic()
    try:
        command = [binary, "record", "--project", "demo", "--api-url", url, "--dir", recording, "--for", "1h"]
        recorder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        last = begun + outages[-1] + 0.3
        time.sleep(max(0, last - time.monotonic()))
        while time.monotonic() - last < patience:
            gaps = json.loads(subprocess.run([binary, "gaps", "--json", "--dir", recording], capture_output=True).stdout)["projects"][0]["gaps"]
            if gaps and all(gap["state"] == "filled" for gap in gaps):
                break
            time.sleep(0.5)
        took = time.monotonic() - last
        requests = json.load(urllib.request.urlopen(url + "/simulator/stats"))["historyRequests"]
        filled = sum(gap["state"] == "filled" for gap in gaps)
        print(f"{len(gaps)} gaps by {len(outages)} outages in {outages[-1]} s, {devices:,} devices: {filled} filled {took:.1f} s after the last one, with {requests:,} requests")
        recorder.terminate()
        recorder.wait(20)
    finally:
        cloud.kill()
        cloud.wait()


if __name__ == "__main__":
    main()
