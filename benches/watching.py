#!/usr/bin/env python3
"""watching.py BINARY [--devices 10000] [--files DIR] [--pages 32]: what it costs to look on.

Three trials: a page of many devices over a day (time, bytes, memory); a recording of thousands of day files, as `age.py --dir DIR` leaves
one, with a recorder that goes on in it (share of a core); and a recorder with pages open and without them, in turn within one run (CPU an
event). Nothing but /proc is asked for memory and CPU.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

ENV = {name: value for name, value in os.environ.items() if not name.startswith("DT_")} | {
    "DT_SERVICE_ACCOUNT_KEY_ID": "demo-key",
    "DT_SERVICE_ACCOUNT_SECRET": "demo-secret",
}


def cpu(process):
    """Seconds of CPU that the threads of a process have used, to the nanosecond."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{process.pid}/task").glob("*/schedstat")) / 1e9


def memory(process, what="VmHWM"):
    """MiB of memory, at its peak or now."""
    return int(re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]) / 1024


class Run:
    """Processes that end with this."""

    def __init__(self, binary):
        self.binary, self.started = binary, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            process.terminate()
            process.wait()

    def start(self, *args):
        process = subprocess.Popen([self.binary, *map(str, args)], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.started.append(process)
        return process

    def url(self, *args):
        process = self.start(*args)
        return process, process.stdout.readline().decode().split()[-1]


def page(url, path="/"):
    begun = time.monotonic()
    with urllib.request.urlopen(url + path, timeout=60) as answer:
        body = answer.read()
    return time.monotonic() - begun, body


def loaded(url):
    """Waits until the day has been read; gives how long that took."""
    begun = time.monotonic()
    while b"are being read" in page(url)[1]:
        time.sleep(0.1)
    return time.monotonic() - begun


def streams(url, many, path="/live"):
    """Pages that look on: each reads what comes, in a process of its own for all of them."""
    code = (
        "import socket,select,sys\n"
        "host,port=sys.argv[1].split('//')[1].split(':')\n"
        "all=[socket.create_connection((host,int(port))) for _ in range(int(sys.argv[2]))]\n"
        "[s.sendall(f'GET {sys.argv[3]} HTTP/1.1\\r\\nhost: {host}\\r\\n\\r\\n'.encode()) for s in all]\n"
        "while True:\n"
        "    for s in select.select(all,[],[])[0]: s.recv(1<<20)\n"
    )
    return subprocess.Popen(["python3", "-c", code, url, str(many), path])


def share(process, seconds):
    before = cpu(process)
    time.sleep(seconds)
    return 100 * (cpu(process) - before) / seconds


def many_devices(binary, devices, pages, folder):
    now = datetime.now(timezone.utc)
    recording = folder / "many"
    importing = subprocess.Popen([binary, "import", "-", "--dir", recording], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for quarter in range(96):
        time_of = (now - timedelta(minutes=15 * (96 - quarter))).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lines = []
        for device in range(devices):
            for kind, data in [
                ("temperature", {"value": 20 + (device + quarter) % 50 / 10}),
                ("networkStatus", {"signalStrength": 30 + (device + quarter) % 60, "rssi": -90 + device % 30}),
            ]:
                event = {
                    "eventId": f"{kind[0]}{device:05}-{quarter}",
                    "targetName": f"projects/p/devices/d{device:05}",
                    "eventType": kind,
                    "data": {kind: data | {"updateTime": time_of}},
                    "timestamp": time_of,
                }
                lines.append(json.dumps(event))
        importing.stdin.write(("\n".join(lines) + "\n").encode())
    importing.stdin.close()
    importing.wait()
    with Run(binary) as run:
        begun = time.monotonic()
        watch, url = run.url("watch", "--page", "127.0.0.1:0", "--dir", recording)
        first = time.monotonic() - begun
        print(f"{devices:,} devices, {2 * 96 * devices:,} events of a day")
        print(f"  the address after {first:.2f} s, all of the day read after {first + loaded(url):.1f} s, {cpu(watch):.1f} s of CPU")
        times = sorted(page(url) for _ in range(20))
        print(f"  the page: {1000 * statistics.median(t for t, _ in times):.0f} ms, at most {1000 * times[-1][0]:.0f}; {len(times[0][1]) / 1000:.1f} kB")
        for query in ("/?sort=value&page=100", "/?q=d0123", "/device?project=p&id=d00042", "/chart.svg?project=p&id=d00042&topic=temperature"):
            took, body = page(url, query)
            print(f"  {query}: {1000 * took:.0f} ms, {len(body) / 1000:.1f} kB")
        print(f"  memory {memory(watch):.0f} MiB at its peak, {memory(watch, 'VmRSS'):.0f} now; {share(watch, 20):.1f} % of a core by itself")
        looking = streams(url, pages)
        print(f"  {pages} pages open: {share(watch, 20):.1f} % of a core, {memory(watch):.0f} MiB at its peak")
        looking.kill()
        looking.wait()


def many_files(binary, files, folder):
    recording = folder / "files"
    shutil.copytree(files, recording)
    with Run(binary) as run:
        _, cloud = run.url("simulate", "--addr", "127.0.0.1:0", "--history", "0s", "--devices", "100", "--rate", "10")
        run.start("record", "--project", "demo", "--api-url", cloud, "--no-backfill", "--dir", recording)
        watch, url = run.url("watch", "--page", "127.0.0.1:0", "--dir", recording)
        loaded(url)
        time.sleep(5)
        number = sum(1 for _ in (recording / "data").rglob("*.parquet"))
        looking = streams(url, 1)
        print(f"{number:,} day files, a recorder of 10 events a second, a page open: {share(watch, 60):.2f} % of a core, {memory(watch):.0f} MiB")
        looking.kill()
        looking.wait()


def beside(binary, pages, folder):
    recording = folder / "beside"
    with Run(binary) as run:
        _, cloud = run.url("simulate", "--addr", "127.0.0.1:0", "--history", "0s", "--devices", "2000", "--rate", "20000")
        recorder = run.start("record", "--project", "demo", "--api-url", cloud, "--no-backfill", "--roll-every", "1h", "--dir", recording)
        watch, url = run.url("watch", "--page", "127.0.0.1:0", "--dir", recording)
        time.sleep(5)
        loaded(url)
        kept = lambda: json.loads(subprocess.run([binary, "status", "--json", "--dir", recording], capture_output=True).stdout)["events"]
        found = {0: [], pages: []}
        for _ in range(5):
            for many in found:
                looking = streams(url, many) if many else None
                time.sleep(2)
                events, used = kept(), cpu(recorder)
                time.sleep(8)
                used, events = cpu(recorder) - used, kept() - events
                found[many].append((1e6 * used / events, events / 8))
                if looking:
                    looking.kill()
                    looking.wait()
        for many, runs in found.items():
            us, rate = (statistics.median(column) for column in zip(*runs))
            print(f"a recorder with {many} pages open: {us:.1f} us of CPU an event, {rate:,.0f} events/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--files", type=Path)
    parser.add_argument("--pages", type=int, default=32)
    args = parser.parse_args()
    binary = str(Path(args.binary).resolve())
    with tempfile.TemporaryDirectory() as folder:
        many_devices(binary, args.devices, args.pages, Path(folder))
        if args.files:
            many_files(binary, args.files, Path(folder))
        beside(binary, args.pages, Path(folder))


if __name__ == "__main__":
    main()
