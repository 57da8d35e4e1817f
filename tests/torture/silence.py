"""Battery: is anything missing that no gap tells of? A recorder over many starts, against a cloud with moods (`hush.py`,
`moods.py`) that knows what it published and when.

The recorder is killed, asked to end, left to its planned end, made to give up, and its disk is filled up. While it is dead and
at the end, everything published during a run must be in the recording or in a gap; whatever the history holds within a
confirmed gap must be in the recording; no gap may lie in the future; and nobody may be told that all is well while nobody
records.
"""

import contextlib
import signal
import time

from disks import fill
from harness import EMAIL
from hush import Hush
from moods import Moods
from place import FINE, Skipped, mounted, need, need_root
from starts import Night

# Of every few strikes, so many are of each kind.
STRIKES = {"kill": 3, "term": 1, "hup": 1, "lasts": 1, "lasts-killed": 1, "gives-up": 1, "full": 1}
START_THEMSELVES = ("lasts", "lasts-killed", "gives-up")

# Who hangs up gets no verdict; on a full disk not all of it can be done.
HUNG_UP, ON_A_FULL_DISK = (*FINE, 128 + signal.SIGHUP), (*FINE, 1, 128 + signal.SIGHUP)


def battery(nights, strikes, lag, patience):
    """So many recordings, each with so many strikes; a history that lags; how long all gaps may take to be filled."""

    def run(place):
        for _ in range(nights):
            with contextlib.ExitStack() as ends, Hush(place.random.random(), lag=lag) as cloud:
                one_night(place, cloud, disk(place, ends), strikes, patience)
            place.end_processes()

    return run


def disk(place, ends):
    """A small disk for the recording; none where that takes more than this user may do."""
    try:
        need_root()
        need("mount", "umount")
        return ends.enter_context(mounted("-t", "tmpfs", "-o", "size=96m", "torture", on=place.new("tmpfs")))
    except (Skipped, OSError) as why:
        place.tally.note(f"no full disk: {why}")
        return None


def one_night(place, cloud, small, strikes, patience):
    # By a token or without, from the first start to the last: other credentials would have to be tried first.
    env = place.random.choice([{}, {"DT_SERVICE_ACCOUNT_EMAIL": EMAIL}])
    night, moods = Night(place, cloud, base=small, env=env), Moods(cloud, place.random.random())
    night.start()
    night.hears()
    # All devices are known, and the first events are kept.
    night.work(2)
    moods.begin()
    for kind in order(place, strikes, small):
        if night.process.poll() is not None:
            time.sleep(pause(place))
            if kind not in START_THEMSELVES:
                night.start(*flags(place))
        elif kind in START_THEMSELVES:
            night.kill()
        ACTS[kind](place, night, small)
        night.oracle.look(f"after {kind}")
    moods.end()
    if night.process.poll() is None:
        # It may just have been told to come again in a day.
        night.kill()
    night.start()
    night.hears()
    night.work(2)
    night.settle(patience)
    night.finish()
    place.tally.note(f"{moods.count} moods")


def order(place, strikes, small):
    """Kinds of strikes in an order by chance, each kind as often as it is due."""
    kinds = []
    while len(kinds) < strikes:
        some = [kind for kind, times in STRIKES.items() for _ in range(times) if small or kind != "full"]
        place.random.shuffle(some)
        kinds += some
    return kinds[:strikes]


def flags(place):
    """What differs from start to start."""
    accept, history = place.random.choice(["json", "sse"]), place.random.random() < 0.25
    return ["--accept", accept, *(["--no-backfill"] if history else [])]


def pause(place):
    return place.random.uniform(0.1, 2.5)


def killed(place, night, small):
    """Mostly while it works, now and then in its first moments."""
    moment = place.random.uniform(0, 0.3) if place.random.random() < 0.25 else place.random.uniform(1, 5)
    if night.work(moment):
        night.kill()
    night.nobody_records("after kill -9")


def asked(number):
    def act(place, night, small):
        if night.work(place.random.uniform(1, 4)):
            night.ask(number, HUNG_UP if number == signal.SIGHUP else FINE)
        if number == signal.SIGHUP:
            night.nobody_records("after SIGHUP")

    return act


def lasts(place, night, small):
    """To its planned end."""
    seconds = place.random.randint(3, 5)
    night.start(*flags(place), lasts=seconds)
    run = night.runs[-1]
    alive = night.work(seconds - 2.0)
    night.cloud.calm()
    if alive and night.work(1.5):
        # The end is planned, so the cloud has to be quiet before it.
        night.cloud.quiet(1.0)
        night.ends("--for", run.planned)
        run.asked = run.planned


def lasts_killed(place, night, small):
    """A planned end that it does not live to see: the run goes on to it, and no further."""
    seconds = place.random.randint(4, 6)
    night.start(*flags(place), lasts=seconds)
    run = night.runs[-1]
    if night.work(place.random.uniform(1, 2)):
        night.kill()
    night.nobody_records("killed before its planned end")
    time.sleep(max(0.0, run.planned + 1 - time.time()))


def gives_up(place, night, small):
    """An error ends it: nobody asked for that, so the run goes on."""
    night.start(*flags(place), "--max-retries", "1")
    deadline = time.monotonic() + 10
    if place.random.random() < 0.5:
        time.sleep(2)
    while night.process.poll() is None and time.monotonic() < deadline:
        night.cloud.outage(503, 1)
        time.sleep(0.3)
    if night.process.poll() is None:
        night.kill()
    night.over()
    night.nobody_records("after it gave up")


def full(place, night, small):
    """The disk is full for some seconds; the recorder is left alone, killed, or asked to end meanwhile."""
    if not night.work(1):
        return
    fill(small / "junk")
    try:
        if night.work(place.random.uniform(1, 4)):
            act = place.random.choice(["nothing", "kill", signal.SIGTERM, signal.SIGHUP])
            if act == "kill":
                night.kill()
            elif act != "nothing":
                night.ask(act, ON_A_FULL_DISK)
            if act != signal.SIGTERM and night.process.poll() is not None:
                night.nobody_records("dead on a full disk")
    finally:
        (small / "junk").unlink()
    if night.process.poll() is None and night.work(place.random.uniform(0.5, 3)):
        night.kill()


ACTS = {
    "kill": killed,
    "term": asked(signal.SIGTERM),
    "hup": asked(signal.SIGHUP),
    "lasts": lasts,
    "lasts-killed": lasts_killed,
    "gives-up": gives_up,
    "full": full,
}
