"""The store and the network misbehave: each fault at each request of a shipment, and a kill -9 before and after each of them."""

import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from ground import Events, few, shipments, wait_until
from proxy import CONDITIONAL, FAULTS, once

# Most of a struck shipment is waiting to try again.
BESIDE = 6
# A store that is away for longer than is waited for: so many requests are answered so.
LONG = 40


class Case:
    """One type, two days, never shipped; copies of it are new recorders, each with a lake of its own."""

    def __init__(self, ground):
        self.ground, self.events = ground, Events(days=2, one_type="temperature")
        self.recording = ground.filled(self.events, 0, 200)
        self.truth = ground.truth([self.recording])

    def new(self):
        """A recorder and its lake."""
        copy = self.ground.new("copy")
        shutil.copytree(self.recording, copy, symlinks=True)
        return copy, self.ground.made()

    def clean(self):
        """Requests of a shipment that nothing happens to."""
        copy, url = self.new()
        plan = self.ground.store.plan(url)
        plan.begin()
        self.ground.ship(copy, url)
        return [key_of(method, key) for method, key in plan.seen], plan

    def held(self, copy, url, what):
        """The lake has everything once; then both can go."""
        ground = self.ground
        found = ground.judge(url, [copy], what, truth=self.truth)
        if found:
            shutil.rmtree(copy)
        return found


def key_of(method, key):
    return f"{method} {key.removeprefix('lake/')}"


def every_request(step, shuffle):
    """A battery of each fault at each `step`-th request, others each time."""

    def run(ground):
        case = Case(ground)
        requests, _ = case.clean()
        ground.tally.note(f"a shipment of two tables has {len(requests)} requests")
        strikes = [(fault, at) for fault in FAULTS for at in range(len(requests))]
        # Where a request is no conditional put, these are no faults.
        strikes = [(fault, at) for fault, at in strikes if fault not in CONDITIONAL or requests[at].startswith("PUT")]
        strikes = strikes[ground.random.randrange(step) :: step] if shuffle else strikes
        again = Counter()

        def one(strike):
            fault, at = strike
            copy, url = case.new()
            plan = ground.store.plan(url)
            plan.begin(once(at, fault))
            tries = ground.ship(copy, url, 3)
            plan.begin()
            again[fault] += tries > 1
            case.held(copy, url, f"{fault} at request {at}, {requests[at]}")

        beside(one, strikes)
        ground.tally.runs += len(strikes)
        ground.tally.events += 200 * len(strikes)
        ground.tally.note(f"{len(strikes)} faults; shipments that a second try ended: {dict(again.most_common()) or 'none'}")

    return run


def for_long(ground):
    """The store misbehaves for longer than is waited for: the shipment fails in plain words, and the next one ends it."""
    case = Case(ground)
    requests, _ = case.clean()
    failed = Counter()
    strikes = [(fault, at) for fault in ("503", "full", "broken", "forgotten", "done, 503", "412", "done, 412") for at in (0, len(requests) // 2)]

    def one(strike):
        fault, at = strike
        copy, url = case.new()
        plan = ground.store.plan(url)
        plan.begin(lambda number, request: fault if at <= number < at + LONG and (fault not in CONDITIONAL or request.is_conditional) else None)
        done = ground.lake("ship", "--dir", copy, url, codes=(0, 1, 3))
        failed[fault] += done.returncode != 0
        if done.returncode:
            said = done.stderr.splitlines()[-1:]
            is_plain = done.stderr.count("\n") <= 6 and "panicked" not in done.stderr and (fault != "full" or "QuotaExceeded" in done.stderr)
            ground.tally.expect(is_plain, f"{fault} for long: it says {said}")
        plan.begin()
        ground.ship(copy, url, 2)
        case.held(copy, url, f"{fault} for long, from request {at}")

    beside(one, strikes)
    ground.tally.runs += len(strikes)
    ground.tally.note(f"{len(strikes)} times for long, and told: {dict(failed)}")


def killed(step):
    """A battery of kills: the program dies before a request is done, and after it was and before it hears of that."""

    def run(ground):
        case = Case(ground)
        requests, _ = case.clean()
        moments = [(at, is_done) for at in range(len(requests)) for is_done in (False, True)][:: step]

        def one(moment):
            at, is_done = moment
            copy, url = case.new()
            plan, dead = ground.store.plan(url), threading.Event()

            def die(forward):
                answer = forward() if is_done else None
                process.kill()
                dead.set()
                return answer or (503, [], b"")

            plan.begin(lambda number, _: die if number == at else None)
            process = ground.start("lake", "ship", "--dir", copy, url)
            wait_until("the kill", lambda: dead.is_set() or process.poll() is not None, 60)
            process.wait(10)
            ground.tally.expect(dead.is_set(), f"no request {at} came")
            plan.begin()
            ground.ship(copy, url)
            when = "after" if is_done else "before"
            case.held(copy, url, f"killed {when} request {at}, {requests[at]}")
            ground.forget(process)

        beside(one, moments)
        ground.tally.kills += len(moments)
        ground.tally.events += 200 * len(moments)

    return run


def at_any_moment(recorders, kills, others):
    """A battery of recorders on the same tables, which are killed at any moment while they ship, again and again, beside each other."""

    def run(ground):
        events, url = Events(), ground.made()
        portion = 60
        recordings = [ground.new("recording") for _ in range(recorders)]
        done = Counter()

        def one(who):
            random = type(ground.random)(ground.seed * 100 + who)
            for number in range(kills):
                # Each its own events, in its own order.
                start = (number * recorders + who) * portion
                ground.take(recordings[who], events.lines(start, start + portion))
                process = ground.start("lake", "ship", "--dir", recordings[who], url)
                try:
                    process.wait(random.uniform(0, 0.15) if random.random() < 0.3 else random.uniform(0.1, others))
                    done["ended before it was killed"] += 1
                except Exception:
                    process.kill()
                    process.wait(10)
                    done["killed"] += 1
                ground.forget(process)
            ground.ship(recordings[who], url, 3)

        beside(one, range(recorders))
        ground.judge(url, recordings, f"after {done['killed']} kills")
        ground.tally.kills += done["killed"]
        ground.tally.runs += recorders * kills
        ground.tally.events += recorders * kills * portion
        commits = sum(shipments(ground.log(url, table, names)) for table, names in ground.tables(url).items())
        ground.tally.note(f"{dict(done)}; {commits} commits")

    return run


def beside(one, cases):
    """Calls `one` with each case, some at a time; raises what the first of them raised."""
    with ThreadPoolExecutor(BESIDE) as pool:
        failures = []
        for future in [pool.submit(one, case) for case in cases]:
            try:
                future.result()
            except Exception as error:
                failures.append(error)
        if failures:
            raise type(failures[0])(f"{failures[0]}" + (f" (and {len(failures) - 1} more: {few(failures[1:], 2)})" if failures[1:] else ""))
