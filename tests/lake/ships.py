"""What is shipped: everything once, whatever comes late, whoever ships beside, whatever became of the recording meanwhile."""

import json
import shutil

from ground import KEY, SECRET, TOKEN, Events, check, few, shipments, strays, wait_until

# Names that a file, an address or a column of SQL might trip over.
ODD = ["odd type/with #all%of it?", "Übung", "day=2026-11-23", "a.b", "_hidden"]


def event(kind, number, time, **values):
    """An event of any type."""
    told = {
        "eventId": f"x{number:06}",
        "targetName": "projects/torture/devices/d1",
        "eventType": kind,
        "data": {kind: {**values, "updateTime": time}},
        "timestamp": time,
    }
    return json.dumps(told) + "\n"


def once(ground):
    """All is there once, as every witness says; again adds nothing, neither a commit nor a file."""
    events, url = Events(), ground.made()
    recording = ground.filled(events, 0, 6_000)
    ground.take(recording, "".join(event(kind, n, f"{events.today}T01:00:0{n}Z", value=n) for n, kind in enumerate(ODD)))
    ground.store.plan(url).begin()
    ground.ship(recording, url)
    plan = ground.store.plan(url)
    commits = sum(shipments(ground.log(url, table, names)) for table, names in ground.tables(url).items())
    ground.judge(url, [recording], "shipped once")
    before = ground.of(url).objects(url)
    ground.tally.note(
        f"{commits} commits, {plan.requests.total()} requests, {plan.sent.total():,} bytes sent and {plan.received.total():,} read for 6,005 events of {len(before)} objects"
    )
    plan.begin()
    ground.ship(recording, url)
    after = ground.of(url).objects(url)
    new = {name for name in after if name not in before}
    ground.tally.expect(not new, f"shipped again: new in the lake are {few(new)}")
    ground.tally.note(f"{plan.requests.total()} requests where nothing is new")
    told = ground.status(recording, url)
    ground.tally.expect(json.dumps(told).count(KEY) == 0, "status --json tells a key")
    ground.made(url)
    ground.judge(url, [recording], "after a second init")
    no_secrets(ground, url, recording)
    ground.tally.events += 6_005


def no_secrets(ground, url, recording):
    """Nothing that was written has a secret in it."""
    secrets = [secret.encode() for secret in (KEY, SECRET, TOKEN)]
    for path in recording.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            ground.tally.expect(not any(secret in content for secret in secrets), f"{path.relative_to(recording)} has a secret in it")
    of = ground.of(url)
    for name in of.objects(url):
        content = of.read(url, name)
        ground.tally.expect(not any(secret in content for secret in secrets), f"{name} in the lake has a secret in it")


def late(ground):
    """Events that come after their day was shipped, in small and large portions, and after their day was sealed."""
    events, url = Events(one_type="temperature"), ground.made()
    recording, sent = ground.filled(events, 0, 1_000), 1_000
    ground.ship(recording, url)
    for portion in (1, 40, 3_000, 7):
        # Some were there already.
        ground.take(recording, events.lines(max(0, sent - 200), sent + portion))
        sent += portion
        ground.ship(recording, url)
        ground.judge(url, [recording], f"after {sent} events")
    done = ground.run("rebuild", "--dir", recording)
    ground.tally.expect(done.returncode in (0, 3), f"rebuild ended with {done.returncode}: {done.stderr.decode()[-300:]}")
    ground.ship(recording, url)
    ground.judge(url, [recording], "after the day files were written anew")
    ground.tally.events += sent


def beside(ground):
    """Three recorders on the same tables, one after the other and at once."""
    events, url = Events(), ground.made()
    recordings = [ground.filled(events, n * 1_000, (n + 1) * 1_000) for n in range(3)]
    ground.ship(recordings[0], url)
    for part in range(2):
        processes = [ground.start("lake", "ship", "--dir", recording, url) for recording in recordings]
        for process in processes:
            code = process.wait(60)
            ground.tally.expect(code == 0, f"beside others, ship ended with {code}: {process.err.read_text()[-500:]}")
        for n, recording in enumerate(recordings):
            ground.take(recording, events.lines(3_000 + part * 900 + n * 300, 3_300 + part * 900 + n * 300))
    for recording in recordings:
        ground.ship(recording, url)
    ground.judge(url, recordings, "three beside each other")
    ids = {row.as_py() for row in ground.arrow(url, "temperature")["recorder"].unique()}
    ground.tally.expect(len(ids) == 3, f"three recorders have the ids {ids}")
    ground.tally.events += 4_800


def copied(ground):
    """A copied, a moved, a restored recording: each is somebody new, and nothing is doubled."""
    events, url = Events(one_type="temperature"), ground.made()
    recording = ground.filled(events, 0, 1_500)
    ground.ship(recording, url)
    backup = ground.new("backup")
    done = ground.run("backup", "--dir", recording, backup)
    check(done.returncode in (0, 3), f"backup ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    # The original goes on; what the copies lack is none of theirs.
    copy = ground.new("copy")
    shutil.copytree(recording, copy, symlinks=True)
    ground.take(recording, events.lines(1_500, 1_700))
    ground.ship(recording, url)
    ground.ship(copy, url)
    ground.judge(url, [recording], "a copy has shipped, too")
    ground.take(copy, events.lines(1_700, 1_900))
    ground.ship(copy, url)
    restored = ground.new("restored")
    done = ground.run("restore", backup, "--dir", restored)
    check(done.returncode in (0, 3), f"restore ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    ground.take(restored, events.lines(1_900, 2_100))
    ground.ship(restored, url)
    moved = ground.new("moved")
    shutil.move(recording, moved)
    ground.take(moved, events.lines(2_100, 2_200))
    ground.ship(moved, url)
    ground.judge(url, [ground.filled(events, 0, 2_200)], "original, copy, restored and moved")
    ground.tally.events += 2_200


def turned_back(ground):
    """The whole disk of a recorder is turned back to a moment before it shipped, as a snapshot of a virtual machine is: the files keep
    their numbers, and only the lake knows better."""
    events, url = Events(one_type="temperature"), ground.made()
    recording = ground.filled(events, 0, 800)
    ground.ship(recording, url)
    snapshot = ground.new("snapshot")
    shutil.copytree(recording, snapshot, symlinks=True)
    ground.take(recording, events.lines(800, 1_000))
    ground.ship(recording, url)
    # What is there keeps its numbers: contents go back into the same files.
    for path in sorted((recording / "state").rglob("*")):
        old = snapshot / path.relative_to(recording)
        if path.is_file() and old.is_file():
            path.write_bytes(old.read_bytes())
        elif path.is_file():
            path.unlink()
    shutil.rmtree(recording / "data")
    shutil.copytree(snapshot / "data", recording / "data")
    ground.take(recording, events.lines(600, 1_200))
    # As far as anybody can tell, the one that the lake knows is at work elsewhere.
    refused = ground.lake("ship", "--dir", recording, url, codes=(1,))
    ground.tally.expect("another process ships" in refused.stderr, f"turned back, it is told {refused.stderr!r}")
    ground.age(url)
    ground.ship(recording, url)
    ground.judge(url, [ground.filled(events, 0, 1_200)], "after a snapshot was restored")
    ground.tally.events += 1_200


def second(ground):
    """Two processes on one recording: the second refuses while the first ships, and says why."""
    events, url = Events(one_type="temperature"), ground.made()
    recording = ground.filled(events, 0, 500)
    plan = ground.store.plan(url)
    plan.begin(lambda _, request: "slow" if request.method == "PUT" else None)
    first = ground.start("lake", "ship", "--dir", recording, url)
    wait_until("the first one ships", lambda: any(method == "PUT" for method, _ in list(plan.seen)), 20)
    refused = ground.lake("ship", "--dir", recording, url, codes=(1,))
    ground.tally.expect("another" in refused.stderr or "already" in refused.stderr, f"the second is told {refused.stderr!r}")
    code = first.wait(60)
    ground.tally.expect(code == 0, f"the first one ended with {code}: {first.err.read_text()[-500:]}")
    plan.begin()
    ground.ship(recording, url)
    ground.judge(url, [recording], "two at once")
    ground.tally.events += 500


def schemas(ground):
    """A type gets further columns; a recorder that does not know them yet goes on beside the one that does."""
    url, files = ground.made(), {}
    columns = {"speed": "float64", "load": "float64", "state": "string"}
    for version in (1, 2, 3):
        files[version] = ground.new("schemas")
        files[version].mkdir()
        known = list(columns)[:version]
        text = f'format_version = 1\n\n[event]\nname = "rig"\nversion = {version}\ndescription = "What a rig says."\nid = "/eventId"\ndevice = "/targetName"\ntime = "/timestamp"\nimplied = ["/data/rig/updateTime"]\n'
        text += "".join(f'\n[[column]]\nname = "{name}"\npointer = "/data/rig/{name}"\ntype = "{columns[name]}"\ndescription = "Of a rig."\n' + ('unit = "1"\n' if columns[name] == "float64" else "") for name in known)
        (files[version] / "rig.toml").write_text(text)

    def lines(start, end):
        return "".join(event("rig", n, f"2026-11-2{n % 3}T10:00:{n % 60:02}Z", speed=n / 4, load=n / 8, state=f"s{n % 5}") for n in range(start, end))

    recordings = [ground.new("recording") for _ in range(3)]
    order = [(0, 1, 0), (1, 2, 100), (0, 1, 200), (2, 3, 300), (1, 2, 400), (0, 1, 500), (0, 3, 600), (0, 3, 700)]
    for who, version, start in order:
        ground.take(recordings[who], lines(start, start + 100), "--schemas", files[version])
        ground.ship(recordings[who], url)
    # What was shipped is shipped: a row that was recorded without a column stays without it, though the recorder knows the column by now.
    found = ground.arrow(url, "rig")
    ground.tally.expect(found.num_rows == 800, f"800 events of growing schemas, and {found.num_rows} rows")
    ground.tally.expect(len(found["event_id"].unique()) == 800, "an event of a growing schema is there twice")
    missing = set(columns) - set(found.column_names)
    ground.tally.expect(not missing, f"the table lacks {missing}")
    ground.tally.expect(found["speed"].null_count == 0, "the first column has nulls")
    ground.tally.expect(found["state"].null_count <= 500, f"{found['state'].null_count} rows lack the last column")
    names = ground.tables(url)["rig"]
    ground.tally.expect(not strays(names, ground.log(url, "rig", names)), "files that no commit names")
    ground.tally.events += 800


def unfit(ground):
    """`init` refuses a store that puts over what is there, one that does not exist, and addresses that say too much."""
    url = ground.store.new()
    ground.store.plan(url).is_deaf = True
    refused = ground.lake("init", url, codes=(1,))
    ground.tally.expect("store" in refused.stderr and "two recorders" in refused.stderr, f"of an unfit store, init says {refused.stderr!r}")
    recording = ground.filled(Events(), 0, 50)
    refused = ground.lake("ship", "--dir", recording, url, codes=(1,))
    ground.tally.expect("init" in refused.stderr, f"where no lake is, ship says {refused.stderr!r}")
    ground.tally.expect(not ground.tables(url), "something was shipped to a store that is unfit")
    refused = ground.lake("init", "s3://there-is-no-such-bucket/lake", codes=(1,))
    ground.tally.expect("bucket" in refused.stderr, f"of a bucket that is not there, init says {refused.stderr!r}")
    for address in (f"s3://{KEY}:{SECRET}@bucket/lake", f"s3://bucket/lake?secret={SECRET}", "ftp://bucket/lake"):
        # `lake` looks whether the secret is told.
        ground.lake("init", address, codes=(1, 2))


BATTERIES = [once, late, beside, copied, turned_back, second, schemas, unfit]
