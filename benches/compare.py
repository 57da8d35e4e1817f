#!/usr/bin/env python3
"""compare.py RIVALS BINARY [--runs 3]: the recorder beside what users would pick instead, in one run.

RIVALS is a folder with the rivals' harness (bench.py, peers_def.py), set up: its generator's 1,000,000 events, its stream
server, its virtual environment. Run this with the Python of that environment. Prints a table of medians; every output is
checked against the generator's manifest (counts, sums, rows per type).
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

RIVALS, BINARY = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
RUNS = int(sys.argv[sys.argv.index("--runs") + 1]) if "--runs" in sys.argv else 3
sys.path.insert(0, RIVALS)
os.chdir(RIVALS)
import bench  # noqa: E402
import peers_def  # noqa: E402

EVENTS = 1_000_000
PORT = 8099
FILE = f"{RIVALS}/data/events_1M.ndjson"
MANIFEST = json.load(open(FILE + ".manifest.json"))

RECORD = f'"{BINARY}" record --project p --api-url http://127.0.0.1:$PORT --dir "$OUT/rec" --max-retries 0 && mv "$OUT/rec/data/"* "$OUT/parquet/"'
OURS = dict(cmd=["bash", "-c", RECORD], glob="{t}/*.parquet", temp="temperature", rssi="rssi", rh="relative_humidity",
            samples="len(samples)", cc="len(cloud_connectors)", noday=True)
INGEST = [
    ("overnight, an event a chunk", OURS, "line"),
    ("overnight, chunks of 64 KiB", OURS, "65536"),
    ("curl + DuckDB, typed by hand", peers_def.INGEST["f2_curl_duckdb_typed"], "line"),
    ("curl + DuckDB, as one types it", peers_def.INGEST["f1_curl_duckdb_oneliner"], "line"),
    ("documentation's example: requests, sqlite, pandas", peers_def.INGEST["a_seed_requests_sqlite_pandas"], "line"),
]


def environment(out):
    env = dict(os.environ, URL=f"http://127.0.0.1:{PORT}/v2/projects/p/devices:stream", OUT=out, FILE=FILE, N=str(EVENTS),
               PY=sys.executable, ROOT=RIVALS, PORT=str(PORT), SRC=f"{RIVALS}/data/parquet_1M",
               PATH=f"{RIVALS}/bin:{RIVALS}/venv/bin:" + os.environ["PATH"], PYTHONWARNINGS="ignore",
               DT_SERVICE_ACCOUNT_KEY_ID="k", DT_SERVICE_ACCOUNT_SECRET="secret")
    env.pop("DT_SERVICE_ACCOUNT_EMAIL", None)
    return env


def ingest(peer, chunk, out):
    os.makedirs(out + "/parquet")
    server = bench.start_server(FILE, chunk, PORT)
    try:
        measured = bench.run_tree(peer["cmd"], environment(out), RIVALS, out + "/parquet", log=out + "/log")
    finally:
        server.kill()
        server.wait()
    if measured["rc"]:
        sys.exit(f"failed: {open(out + '/log', errors='replace').read()[-1000:]}")
    measured["check"] = peers_def.verify_ingest(out + "/parquet", MANIFEST, peer)
    return measured


def export(command, out, source):
    os.makedirs(out)
    measured = bench.run_tree(command, dict(environment(out), REC=source), RIVALS, out, log=out + ".log")
    if measured["rc"]:
        sys.exit(f"failed: {open(out + '.log', errors='replace').read()[-1000:]}")
    measured["check"] = peers_def.verify_export(out, dict(task="full"), MANIFEST)
    return measured


def row(name, runs, per_event):
    middle = lambda key: statistics.median(run[key] for run in runs)
    size = f"{middle('out_bytes') / EVENTS:.1f}"
    checks = {run["check"] for run in runs}
    print(f"| {name} | {middle('cpu') / EVENTS * 1e6:.2f} | {middle('wall'):.2f} | {EVENTS / middle('wall'):,.0f} | {size} "
          f"| {max(run['rss_mb'] for run in runs):.0f} | {', '.join(checks)} |", flush=True)


def main():
    place = tempfile.mkdtemp(prefix="overnight-bench-", dir=RIVALS)
    try:
        cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
        version = subprocess.run([BINARY, "--version"], capture_output=True, text=True).stdout.strip()
        print(f"{version}; {os.cpu_count()} cores, {cpu}; medians of {RUNS} runs, each tool in turn\n")
        print("| from the stream to Parquet | CPU us an event | wall s | events/s | bytes an event | peak MB | checked |")
        print("|---|---|---|---|---|---|---|")
        results = {name: [] for name, _, _ in INGEST}
        for number in range(RUNS):
            for name, peer, chunk in INGEST:
                results[name].append(ingest(peer, chunk, f"{place}/{number}-{len(results[name])}-{abs(hash(name))}"))
        for name, _, _ in INGEST:
            row(name, results[name], True)
        recording = f"{place}/recording"
        server = bench.start_server(FILE, "65536", PORT)
        subprocess.run([BINARY, "record", "--project", "p", "--api-url", f"http://127.0.0.1:{PORT}", "--dir", recording, "--max-retries", "0"],
                       env=environment(place), check=True, capture_output=True)
        server.kill()
        server.wait()
        print("\n| from Parquet to CSV, every type, all columns | CPU us a row | wall s | rows/s | bytes a row | peak MB | checked |")
        print("|---|---|---|---|---|---|---|")
        ours = ["bash", "-c", f'"{BINARY}" export --dir "$REC" -o "$OUT/"']
        commands = [("overnight", ours)] + [(name.split(":")[0], peers_def.EXPORT[name]["cmd"]) for name in ("duckdb_cli:full", "polars:full", "pandas:full")]
        results = {name: [] for name, _ in commands}
        for number in range(RUNS):
            for name, command in commands:
                out = f"{place}/export-{number}-{name}"
                results[name].append(export(command, out, recording))
                shutil.rmtree(out)
        for name, _ in commands:
            row(name, results[name], False)
    finally:
        shutil.rmtree(place, ignore_errors=True)


main()
