"""Compaction: doubles of a redundant pair go, small files become one, and nothing else changes, while recorders append and readers read."""

import threading
from collections import Counter

from engines import Pair
from ground import Events, few, table_of
from witnesses import by_arrow, by_polars

# Rows of the day that is over, for a reader that takes its time.
ROWS = 4_000


def doubles(ground):
    """What two sent is there once afterwards, as the view said before; once more changes nothing."""
    pair = Pair(ground, ground.store.new())
    today = Events().days[0]
    ground.lake("compact", pair.url, "--all")
    check_once(ground, pair, today, "compacted")
    before = ground.of(pair.url).objects(pair.url)
    ground.lake("compact", pair.url, "--all")
    new = sorted(set(ground.of(pair.url).objects(pair.url)) - set(before))
    ground.tally.expect(not any(name.endswith(".parquet") for name in new), f"compacted again, it wrote {few(new)}")
    ground.lake("compact", pair.url, "--day", today)
    check_once(ground, pair, None, "compacted with today")
    for recording in pair.pair:
        ground.ship(recording, pair.url)
    check_once(ground, pair, None, "compacted and shipped")
    ground.tally.events += 4_000


def check_once(ground, pair, but, what):
    """Each day but one has each key once, and its files are few."""
    for name, rows in pair.once.items():
        table = table_of(name)
        wanted = {day: facts for day, facts in by_arrow(rows).items() if day != but}
        arrow = by_arrow(ground.arrow(pair.url, table).drop_columns(["recorder"]))
        ground.compare({day: facts for day, facts in arrow.items() if day != but}, wanted, f"{what}: {table} by delta-rs")
        polars = by_polars(ground.frame(pair.url, table), rows.schema)
        ground.compare({day: facts for day, facts in polars.items() if day != but}, wanted, f"{what}: {table} by Polars")


def under_appends(times):
    """A battery of so many compactions while two recorders append late events and readers read; a reader never fails, and what it reads is
    never less than before."""

    def run(ground):
        events, url = Events(one_type="temperature"), ground.made()
        recordings = [ground.filled(events, 0, 400), ground.filled(events, 400, 800)]
        for recording in recordings:
            ground.ship(recording, url)
        enough, failures, counts = threading.Event(), [], Counter()

        def appends(who):
            start = 800
            while not enough.is_set():
                ground.take(recordings[who], events.lines(start, start + 60))
                ground.ship(recordings[who], url, 3)
                counts["shipments"] += 1
                start += 60

        def reads(how):
            seen = 0
            while not enough.is_set():
                found = how()
                if found < seen:
                    failures.append(f"a reader found {found} keys after {seen}")
                seen = found
                counts["readings"] += 1

        def guarded(work, *args):
            try:
                work(*args)
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")
                enough.set()

        arrow = lambda: len(ground.arrow(url, "temperature")["event_id"].unique())  # noqa: E731
        polars = lambda: ground.frame(url, "temperature").collect()["event_id"].n_unique()  # noqa: E731
        work = [(appends, 0), (appends, 1), (reads, arrow), (reads, polars)]
        threads = [threading.Thread(target=guarded, args=each) for each in work]
        for thread in threads:
            thread.start()
        try:
            for _ in range(times):
                if enough.is_set():
                    break
                for flags in (["--all"], ["--day", events.days[0]]):
                    done = ground.lake("compact", url, *flags, codes=(0, 1, 3))
                    counts["compactions" if done.returncode == 0 else "compactions that gave up"] += 1
        finally:
            enough.set()
            for thread in threads:
                thread.join(60)
        ground.tally.expect(not failures, f"under compactions: {few(failures)}")
        for recording in recordings:
            ground.ship(recording, url)
        ground.lake("compact", url, "--all")
        ground.lake("compact", url, "--day", events.days[0])
        whole = ground.new("whole")
        for recording in recordings:
            export = ground.run("export", "--dir", recording, "--format", "ndjson", "--output", "-", "--quiet")
            ground.take(whole, export.stdout)
        ground.judge(url, [whole], f"after {times} compactions")
        ground.tally.runs += times
        ground.tally.note(f"{dict(counts)}")

    return run
