"""Where a battery works: an object store behind a proxy, recordings that were made from numbered events, and how a lake is held against
them. Places, tallies and events are those of the torture."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Before the system: one of them has the name of one of its.
sys.path[1:1] = [str(ROOT / "tests/torture"), str(ROOT / "tests/python")]

import boto3  # noqa: E402
import deltalake  # noqa: E402
import polars as pl  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from botocore.config import Config  # noqa: E402
from events import Events  # noqa: E402, F401
from place import FINE, PROJECT, Failed, Place, Skipped, Tally, check, few, said, stop, wait_until  # noqa: E402, F401
from proxy import Proxy  # noqa: E402
from witnesses import by_arrow, by_polars, differences  # noqa: E402

# Nothing that anybody says or writes may have them in it.
KEY, SECRET, TOKEN = "AKIALAKEOFTHETESTS", "a-secret-that-nobody-may-see", "a-token-that-nobody-may-see"
REGION = "eu-north-1"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Store:
    """An S3 of this machine, moto's, and the proxy before it. Buckets are made as they are wanted."""

    def __init__(self, folder):
        self.port, self.numbers, self.lock = free_port(), 0, threading.Lock()
        program = Path(sys.executable).with_name("moto_server")
        self.process = subprocess.Popen([program, "-p", str(self.port)], stdout=subprocess.DEVNULL, stderr=open(folder / "moto.log", "wb"))
        self.direct = f"http://127.0.0.1:{self.port}"
        wait_until("the store", self.answers, 30)
        self.proxy = Proxy(self.port)
        patient = Config(retries={"max_attempts": 5}, max_pool_connections=8)
        self.client = boto3.client(
            "s3", endpoint_url=self.direct, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION, config=patient
        )

    def answers(self):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(self.direct, timeout=5).status == 200

    def end(self):
        self.proxy.close()
        self.process.terminate()
        self.process.wait(10)

    def new(self):
        """A lake's address, in a bucket of its own."""
        with self.lock:
            self.numbers += 1
            bucket = f"bucket-{self.numbers}"
        self.client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        return f"s3://{bucket}/lake"

    def plan(self, url):
        return self.proxy.plan(urllib.parse.urlsplit(url).netloc)

    def env(self, through_proxy=True):
        """What a program wants to know of it."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_SESSION_TOKEN": TOKEN,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT": self.proxy.url if through_proxy else self.direct,
            "AWS_ENDPOINT_URL": self.proxy.url if through_proxy else self.direct,
            "AWS_ALLOW_HTTP": "true",
        }

    def options(self, through_proxy=False):
        """The same for delta-rs, and for those who ask it."""
        return self.env(through_proxy) | {"aws_conditional_put": "etag"}

    def objects(self, url):
        """All that is below an address: `{name: bytes}`, names as seen from there."""
        parts = urllib.parse.urlsplit(url)
        prefix, found = parts.path.strip("/") + "/", {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=parts.netloc, Prefix=prefix):
            found |= {each["Key"].removeprefix(prefix): each["Size"] for each in page.get("Contents", [])}
        return found

    def read(self, url, name):
        parts = urllib.parse.urlsplit(url)
        return self.client.get_object(Bucket=parts.netloc, Key=f"{parts.path.strip('/')}/{name}")["Body"].read()


class Directory:
    """A lake in a directory, for those who look at it."""

    def objects(self, url):
        return {str(path.relative_to(url)): path.stat().st_size for path in sorted(Path(url).rglob("*")) if path.is_file()}

    def read(self, url, name):
        return (Path(url) / name).read_bytes()

    def options(self, through_proxy=False):
        return None


class Ground(Place):
    """A battery's place, with the store of all batteries."""

    def __init__(self, binary, tally, seed, long, store):
        super().__init__(binary, tally, seed, long)
        self.store, self.lock = store, threading.Lock()
        self.env |= store.env()

    def new(self, name):
        with self.lock:
            return super().new(name)

    def start(self, *args, **more):
        process = super().start(*args, **more)
        with self.lock:
            return process

    def of(self, url):
        """Who looks at this lake."""
        return self.store if "://" in str(url) else Directory()

    def lake(self, *args, codes=(0,), env=None, seconds=120):
        """Runs a verb of the lake to its end; gives how it ended, as text. What it says has no secret in it."""
        done = self.run("lake", *args, env=env, seconds=seconds)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        for secret in (KEY, SECRET, TOKEN):
            check(secret not in out + err, f"`overnight lake {args[0]}` told a secret: {(out + err)[-500:]}")
        command = " ".join(map(str, args))
        check(done.returncode in codes, f"`overnight lake {command}` ended with {done.returncode}, not {codes}: {err[-1000:]}")
        return subprocess.CompletedProcess(args, done.returncode, out, err)

    def made(self, url=None):
        """A new lake, made by `init`; its address."""
        url = url or self.store.new()
        self.lake("init", url)
        return url

    def take(self, recording, lines, *flags):
        """Imports lines into a recording, and rolls them into day files."""
        done = self.run("import", "-", "--dir", recording, *flags, stdin=lines if isinstance(lines, bytes) else lines.encode())
        check(done.returncode in FINE, f"import ended with {done.returncode}: {said(done)}")

    def filled(self, events, start, end, *flags):
        """A new recording with these events."""
        recording = self.new("recording")
        self.take(recording, events.lines(start, end), *flags)
        return recording

    def truth(self, recordings):
        """What recordings hold, by table, as `export` tells it."""
        tables = {}
        for recording in recordings:
            out = self.new("export")
            done = self.run("export", "--dir", recording, "--format", "parquet", "--output", f"{out}/", "--quiet")
            check(done.returncode in FINE, f"export ended with {done.returncode}: {said(done)}")
            for path in sorted(out.glob("*.parquet")):
                tables.setdefault(path.stem, []).append(pq.read_table(path))
        return {name: pa.concat_tables(parts, promote_options="default") for name, parts in tables.items()}

    def log(self, url, table, objects=None):
        """What the log of a table says, oldest first: `(version, action, what)`."""
        of, lines = self.of(url), []
        for name in sorted(objects or of.objects(f"{url}/{table}")):
            number = name.removeprefix("_delta_log/").removesuffix(".json")
            if name == f"_delta_log/{number}.json" and number.isdigit():
                for line in of.read(url, f"{table}/{name}").splitlines():
                    lines += [(int(number), action, what) for action, what in json.loads(line).items()]
        return lines

    def tables(self, url):
        """Its tables, and the objects of each."""
        found = {}
        for name in self.of(url).objects(url):
            table, _, rest = name.partition("/")
            found.setdefault(table, []).append(rest)
        return {table: names for table, names in sorted(found.items()) if any(name.startswith("_delta_log/") for name in names)}

    def arrow(self, url, table):
        """A table as delta-rs reads it."""
        found = deltalake.DeltaTable(f"{url}/{table}", storage_options=self.of(url).options())
        return found.to_pyarrow_table()

    def frame(self, url, table):
        """A table as Polars reads it, lazily."""
        return pl.scan_delta(f"{url}/{table}", storage_options=self.of(url).options())

    def judge(self, url, recordings, what, truth=None, once=True):
        """Holds a lake against the recordings that were shipped there; true when nothing is wrong. With `once`, each key is there once."""
        truth, before = truth or self.truth(recordings), self.tally.bad
        tables, wanted = self.tables(url), sorted(map(table_of, truth))
        self.tally.expect(list(tables) == wanted, f"{what}: the lake has the tables {list(tables)}, not {wanted}")
        for name, rows in truth.items():
            table = table_of(name)
            if table not in tables:
                continue
            schema, facts = rows.schema, by_arrow(rows)
            found = self.arrow(url, table)
            self.compare(by_arrow(found.drop_columns(["recorder"])), facts, f"{what}: {table} by delta-rs")
            self.compare(by_polars(self.frame(url, table), schema), facts, f"{what}: {table} by Polars")
            if once:
                self.tally.expect(
                    all(day["rows"] == day["ids"] for day in facts.values()), f"{what}: {table}: the recordings hold an event twice"
                )
            log = self.log(url, table, tables[table])
            stray = strays(tables[table], log)
            self.tally.expect(not stray, f"{what}: {table}: no commit names {few(stray)}")
            self.in_order(log, f"{what}: {table}")
        return self.tally.bad == before

    def compare(self, facts, truth, what):
        """Counts what is lost and doubled, and all else that differs."""
        found, wanted = (sum(day["rows"] for day in told.values()) for told in (facts, truth))
        unlike = differences(facts, truth)
        if unlike:
            kind = "lost" if found < wanted else "doubled" if found > wanted else "wrong"
            self.tally.fault(kind, f"{what}: {few(unlike)}", max(1, abs(found - wanted)))

    def in_order(self, log, what):
        """Each recorder's shipments are in a table's log once, one after the other."""
        last = {}
        for version, action, told in log:
            if action == "txn":
                app, n = told["appId"], told["version"]
                self.tally.expect(n == last.get(app, n - 1) + 1, f"{what}: version {version} has shipment {n} of {app} after {last.get(app)}")
                last[app] = n

    def ship(self, recording, url, tries=1):
        """Ships until it is done, so often at most; gives how often it took."""
        for number in range(1, tries + 1):
            done = self.lake("ship", "--dir", recording, url, codes=(0, 1, 3) if number < tries else (0,))
            if done.returncode == 0:
                return number
        return tries

    def age(self, url, seconds=3600):
        """Time goes by for the leases of a lake: nobody has renewed them since."""
        parts = urllib.parse.urlsplit(url)
        for name in self.store.objects(f"{url}/_recorders"):
            lease = json.loads(self.store.read(url, f"_recorders/{name}"))
            lease["at"] -= seconds * 1_000_000
            key = f"{parts.path.strip('/')}/_recorders/{name}"
            self.store.client.put_object(Bucket=parts.netloc, Key=key, Body=json.dumps(lease).encode())

    def status(self, recording, url):
        return json.loads(self.lake("status", "--dir", recording, url, "--json", codes=FINE).stdout)


def strays(names, log):
    """Files of a table that no commit has named."""
    named = {urllib.parse.unquote(what["path"]) for _, action, what in log if action == "add"}
    return sorted(name for name in names if not name.startswith("_") and urllib.parse.unquote(name) not in named and not is_begun(name))


def is_begun(name):
    """What a put to a directory leaves when it is cut: no reader takes it for a file of the table."""
    return name.rpartition("#")[2].isdigit()


def shipments(log):
    """How many commits are shipments."""
    return sum(action == "txn" for _, action, _ in log)


def table_of(folder):
    """The table of an event type, by the name of its folder."""
    return folder.replace("%", ".")
