"""What `overnight lake sql ENGINE` says works as it is pasted, and every engine has the same facts of every table as `overnight export`: of
a lake that two recorders of the same events have shipped to, as it stands and without what both sent."""

import contextlib
import json
import os
import subprocess
import sys
import textwrap

import duckdb

from ground import Events, Skipped, table_of
from witnesses import ClickHouse, DuckDB, Spark, by_arrow, by_polars, by_sql, measures, without_nulls_of_lists


class Pair:
    """A lake with a redundant pair of recorders, and one more that saw other events."""

    def __init__(self, ground, url):
        events, self.ground, self.url = Events(), ground, ground.made(url)
        # Who comes new to a lake ships nothing that is there; who is known there ships what is new to itself.
        pair = self.pair = [ground.filled(events, 0, 800), ground.filled(events, 3_200, 4_000)]
        for recording in pair:
            ground.ship(recording, url)
        for recording in pair:
            ground.take(recording, events.lines(800, 2_400))
            ground.ship(recording, url)
        whole = ground.filled(events, 0, 2_400)
        ground.take(whole, events.lines(3_200, 4_000))
        self.once = ground.truth([whole])
        self.all = {name: ground.arrow(url, table_of(name)).drop_columns(["recorder"]) for name in self.once}
        doubles = sum(self.all[name].num_rows - self.once[name].num_rows for name in self.once)
        ground.tally.expect(doubles == 1_600, f"a redundant pair has {doubles} doubles, not 1,600")

    def text(self, engine):
        """What is to be pasted."""
        return self.ground.lake("sql", engine, self.url).stdout

    def hold(self, engine, facts_of, dialect=None):
        """Holds what an engine says of each table, by name and schema, against the truth."""
        for name, rows in self.all.items():
            schema = rows.schema
            for suffix, truth in (("", self.all), ("_once", self.once)):
                facts, wanted = facts_of(table_of(name) + suffix, schema), by_arrow(truth[name])
                if dialect is ClickHouse:
                    wanted = without_nulls_of_lists(wanted, schema)
                self.ground.compare(facts, wanted, f"{engine}: {name}{suffix}")


def statements(text):
    """The statements of a script, as an interactive session has them one by one."""
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [statement.strip() for statement in (code + "\n").split(";\n") if statement.strip()]


@contextlib.contextmanager
def environment(values):
    """What a shell has before an engine is started in it."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def sail():
    """A Spark session on a cluster of Sail's, of several processes' worth of workers; gives what runs SQL."""
    with environment({"SAIL_MODE": "local-cluster", "RUST_LOG": "off"}):
        from pyspark.sql import SparkSession
        from pysail.spark import SparkConnectServer

        server = SparkConnectServer(port=0)
        server.start(background=True)
        try:
            _, port = server.listening_address
            session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").create()
            yield session.sql
            session.stop()
        finally:
            server.stop()


def spark(ground, pair):
    with environment(ground.store.env(False)), sail() as sql:
        for statement in statements(pair.text("spark")):
            sql(statement).collect()
        ask = lambda query: [list(row) for row in sql(query).collect()]  # noqa: E731
        pair.hold("Sail", lambda name, schema: by_sql(ask, f"`{name}`", schema, Spark))


def polars(ground, pair):
    with environment(ground.store.env(False)):
        names = {}
        exec(pair.text("polars"), names)
        found = {name: frame for name, frame in names["tables"].items()}
        found |= {f"{name}_once": names["once"](frame) for name, frame in names["tables"].items()}
        pair.hold("Polars", lambda name, schema: by_polars(found[name], schema))


def duck(_, pair):
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for statement in statements(pair.text("duckdb")):
            connection.execute(statement)
        ask = lambda query: [list(row) for row in connection.execute(query).fetchall()]  # noqa: E731
        pair.hold("DuckDB", lambda name, schema: by_sql(ask, f'"{name}"', schema, DuckDB))


def clickhouse(ground, pair):
    """In a process of its own, as it wants to be the only one there."""
    asked = ground.new("clickhouse.json")
    queries = {}
    for folder, rows in pair.all.items():
        for name in (table_of(folder), f"{table_of(folder)}_once"):
            by_sql(lambda query: [queries.setdefault(name, query)][:0], f"`{name}`", rows.schema, ClickHouse)
    asked.write_text(json.dumps({"script": statements(pair.text("clickhouse")), "queries": queries}))
    program = textwrap.dedent("""
        import json, os, sys
        os.chdir("/")
        from chdb import session
        asked = json.load(open(sys.argv[1]))
        with session.Session() as one:
            for statement in asked["script"]:
                one.query(statement)
            rows = {}
            for name, query in asked["queries"].items():
                said = str(one.query(query, "JSONCompactEachRow"))
                rows[name] = [json.loads(line) for line in said.splitlines()]
            print(json.dumps(rows))
    """)
    done = subprocess.run([sys.executable, "-c", program, asked], env=os.environ | ground.store.env(False), capture_output=True, text=True, timeout=120)
    if "No module named 'chdb'" in done.stderr:
        raise Skipped("chdb is not installed")
    if not ground.tally.expect(done.returncode == 0, f"ClickHouse ended with {done.returncode}: {done.stderr[-800:]}"):
        return
    rows = json.loads(done.stdout.splitlines()[-1])
    # 64-bit integers may come as text.
    number = lambda value: int(value) if isinstance(value, str) else value  # noqa: E731

    def facts(name, schema):
        return by_sql(lambda _: [[row[0], *map(number, row[1:])] for row in rows[name]], f"`{name}`", schema, ClickHouse)

    pair.hold("ClickHouse", facts, ClickHouse)


def daft(ground, pair):
    """On Ray, in a process of its own."""
    wanted = {table_of(name): measures(rows.schema) for name, rows in pair.all.items()}
    asked = ground.new("daft.json")
    asked.write_text(json.dumps({"text": pair.text("daft"), "measures": wanted}))
    program = textwrap.dedent("""
        import json, sys
        import daft, ray
        from daft import col
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
        daft.set_runner_ray()
        asked, names, all_facts = json.load(open(sys.argv[1])), {}, {}
        exec(asked["text"], names)
        for name, frame in names["tables"].items():
            for suffix, of in (("", frame), ("_once", names["once"](frame))):
                told = [col("day").count().alias("rows"), col("event_id").count_distinct().alias("ids"), col("time").min().alias("first"), col("time").max().alias("last")]
                for what, column in asked["measures"][name]:
                    if what == "nulls":
                        one = col(column).count("null")
                    elif what == "sum":
                        one = col(column).sum()
                    else:
                        of = of.with_column(f"length of {column}", col(column).list_count("all").fill_null(0).cast(daft.DataType.int64()))
                        one = col(f"length of {column}").sum()
                    told.append(one.alias(f"{what} {column}"))
                rows = of.groupby("day").agg(*told).to_pylist()
                for row in rows:
                    row["first"], row["last"] = (int(row[end].timestamp()) * 1_000_000 + row[end].microsecond for end in ("first", "last"))
                all_facts[name + suffix] = {str(row.pop("day")): row for row in rows}
        print(json.dumps(all_facts))
    """)
    env = os.environ | ground.store.env(False) | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "DAFT_PROGRESS_BAR": "0"}
    done = subprocess.run([sys.executable, "-c", program, asked], env=env, capture_output=True, text=True, timeout=300)
    if "No module named" in done.stderr:
        raise Skipped("daft and ray are not installed")
    if not ground.tally.expect(done.returncode == 0, f"Daft on Ray ended with {done.returncode}: {done.stderr[-1500:]}"):
        return
    facts = json.loads(done.stdout.splitlines()[-1])
    pair.hold("Daft on Ray", lambda name, _: facts[name])


def trino(ground, pair):
    """It is not to be had for the tests: that its text has each table is all that is held."""
    text = pair.text("trino")
    for name in pair.all:
        ground.tally.expect(f"/{table_of(name)}'" in text, f"trino's text lacks {name}")


def pasted(engines):
    """A battery of these engines, on one lake in the store and, for those who read directories, on one there."""

    def run(ground):
        pairs = [Pair(ground, ground.store.new()), Pair(ground, ground.new("lake"))]
        for engine in engines:
            for pair in pairs:
                if engine is duck and "://" in str(pair.url):
                    # Its extension for S3 has to be fetched.
                    continue
                engine(ground, pair)
        ground.tally.events += 9_600
        ground.tally.note(", ".join(engine.__name__ for engine in engines))

    return run


SHORT = [spark, polars, duck, trino]
LONG = [*SHORT, clickhouse, daft]
