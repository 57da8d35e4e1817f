"""A recorder that ships by itself: what it records arrives, a store that is away does not keep it from recording, and it tells."""

import contextlib
import json
import time

from ground import FINE, PROJECT, check, said, stop, wait_until

# Events a second.
RATE = 120


@contextlib.contextmanager
def recording(ground, url):
    """A recorder of a simulator, with a lake in its settings; gives its directory and its process."""
    simulator = ground.start("simulate", "--addr", "127.0.0.1:0", "--rate", RATE, "--history", "0s", stdout=open(ground.new("url"), "wb"))
    out = sorted(ground.folder.glob("*-url"))[-1]
    wait_until("the simulator's address", lambda: "\n" in out.read_text(), 20)
    api = out.read_text().split("\n")[0].removeprefix("listening on ")
    directory = ground.new("recording")
    directory.mkdir()
    (directory / "overnight.toml").write_text(f'roll_every = "500ms"\nkeep_every = "200ms"\n\n[lake]\nurl = "{url}"\nship_every = "1s"\n')
    process = ground.start("record", "--dir", directory, "--project", PROJECT, "--api-url", api)
    try:
        yield directory, process
    finally:
        stop(simulator)


def rows(ground, url):
    """Rows in the lake, as its status says."""
    told = json.loads(ground.lake("status", url, "--dir", ground.folder / "none", "--json", codes=(0, 1, 3)).stdout or "{}")
    return sum(table["rows"] or 0 for table in told.get("tables") or [])


def by_itself(ground):
    """It ships while it records, stands a store that is away, says how far it is behind, and catches up."""
    url = ground.made()
    plan = ground.store.plan(url)
    with recording(ground, url) as (directory, process):
        wait_until("rows in the lake", lambda: process.poll() is not None or rows(ground, url) > RATE, 40)
        check(process.poll() is None, f"record ended: {said(process)}")
        plan.is_away = True
        before = events(ground, directory)
        wait_until("that status says why nothing arrives", lambda: problem(ground, directory), 90)
        wait_until("further events while the store is away", lambda: events(ground, directory) > before + 2 * RATE, 20)
        check(process.poll() is None, f"while the store was away, record ended: {said(process)}")
        told = problem(ground, directory)
        plan.is_away = False
        since = rows(ground, url)
        wait_until("that it catches up", lambda: rows(ground, url) > max(since, before), 60)
        wait_until("that nothing is wrong any more", lambda: not problem(ground, directory), 30)
        code = stop(process)
        ground.tally.expect(code in FINE, f"record ended with {code}: {said(process)}")
    ground.ship(directory, url)
    ground.judge(url, [directory], "recorded and shipped")
    ground.tally.events += events(ground, directory)
    ground.tally.note(f"while the store was away, status said: {told[:120]}")


def killed(ground):
    """The recorder itself is killed while it records and ships, again and again."""
    url, kills = ground.made(), 8 if not ground.long else 40
    with recording(ground, url) as (directory, process):
        for number in range(kills):
            seconds = ground.random.uniform(0.3, 3.0)
            time.sleep(seconds)
            process.kill()
            process.wait(10)
            process = ground.start(*process.args[1:])
        ground.tally.kills += kills
        wait_until("rows in the lake", lambda: process.poll() is not None or rows(ground, url) > RATE, 40)
        code = stop(process)
        ground.tally.expect(code in FINE, f"record ended with {code}: {said(process)}")
    ground.ship(directory, url)
    ground.judge(url, [directory], f"after {kills} kills of the recorder")
    ground.tally.events += events(ground, directory)


def events(ground, directory):
    done = ground.run("status", "--dir", directory, "--json")
    check(done.returncode in FINE, f"status ended with {done.returncode}: {said(done)}")
    return json.loads(done.stdout)["events"]


def problem(ground, directory):
    """Why the last shipment did not arrive, as `overnight status --json` says."""
    done = ground.run("status", "--dir", directory, "--json")
    return (json.loads(done.stdout).get("lake") or {}).get("problem") or ""


BATTERIES = [("recorder", by_itself), ("recorder-killed", killed)]
