#!/usr/bin/env python3
"""fleet.py BINARY [--sensors 10,100] [--days 7]: how much disk the day files of a fleet take, by event type.

A cloud at home (`overnight simulate`) makes up the last days of so many sensors, which speak as often as such sensors do;
`overnight backfill` takes them, and the sealed day files are measured. A year is 365 times an average day. What is written
meanwhile is `benches/wear`'s. A history is asked five times a second at most, so 1,500 sensors take an hour.
"""
import argparse
import json
import os
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

KEYS = {"DT_SERVICE_ACCOUNT_KEY_ID": "demo-key", "DT_SERVICE_ACCOUNT_SECRET": "demo-secret", "NO_PROXY": "127.0.0.1"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("--sensors", default="10,100")
    parser.add_argument("--days", type=int, default=7)
    args = parser.parse_args()
    binary = args.binary.resolve()
    for sensors in args.sensors.split(","):
        with tempfile.TemporaryDirectory() as folder:
            rows, size = measure(binary, Path(folder) / "recording", sensors, args.days)
        whole = sum(size.values())
        print(f"\n{sensors} sensors: {sum(rows.values()) / args.days:,.0f} events a day, {whole / sum(rows.values()):,.1f} bytes each,"
              f" {whole * 365 / args.days / 1e6:,.1f} MB a year\n")
        print("| event type | events a day | bytes an event | MB a year |\n|---|---|---|---|")
        for name in sorted(size, key=size.get, reverse=True):
            print(f"| {name} | {rows[name] / args.days:,.0f} | {size[name] / rows[name]:,.1f} | {size[name] * 365 / args.days / 1e6:,.2f} |")


def measure(binary, recording, sensors, days):
    env = {name: value for name, value in os.environ.items() if not name.startswith("DT_")} | KEYS
    command = [binary, "simulate", "--addr", "127.0.0.1:0", "--devices", sensors, "--history", f"{days + 2}d"]
    cloud = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url = cloud.stdout.readline().split()[-1]
        command = [binary, "backfill", "--since", f"{days + 1}d", "--project", "demo", "--api-url", url, "--dir", recording]
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finally:
        cloud.kill()
        cloud.wait()
    done = subprocess.run([binary, "status", "--json", "--dir", recording], env=env, capture_output=True, text=True)
    rows, size = defaultdict(int), defaultdict(int)
    # Whole days only: the first and the last are halves.
    whole = sorted({part["day"] for part in json.loads(done.stdout)["partitions"]})[1:-1]
    for part in json.loads(done.stdout)["partitions"]:
        if part["day"] in whole:
            rows[part["type"]] += part["rows"]
            size[part["type"]] += part["bytes"]
    return rows, size


main()
