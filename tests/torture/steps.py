"""Battery: is anything missing that no gap tells of, while the recorder's clock is set? By an hour back, an hour ahead, half a
minute back, and to the truth again, with and without an outage meanwhile; and by a start with a clock that is wrong and set
right later. The cloud, and whoever asks for gaps, have the true time.

Needs libfaketime, which leaves the monotonic clock alone, as setting a clock does.
"""

import contextlib
import time

from hush import Hush
from starts import Night
from stops import set_clock

TRUE = "+0"
# What the clock says at the start, and to what it is set and set back, time and again.
CLOCKS = [(TRUE, "-1h"), (TRUE, "+1h"), (TRUE, "-30s"), ("-1h", TRUE), ("+1h", TRUE), ("+30s", TRUE)]


class Clock:
    """A recorder, a cloud, and the recorder's clock."""

    def __init__(self, place, ends, first, step):
        self.step, self.stamp = step, place.new("clock")
        self.set(first)
        # Slow enough for six of them side by side.
        self.cloud = ends.enter_context(Hush(place.random.random(), rate=60, devices=8, lag=2.0))
        self.night = Night(place, self.cloud, f"clock {first}, set to {step}: ", env=set_clock(self.stamp))
        self.night.start()

    def set(self, to):
        # At once: an empty file is another time.
        new = self.stamp.with_suffix(".new")
        new.write_text(to)
        new.replace(self.stamp)


def battery(rounds, patience):
    def run(place):
        with contextlib.ExitStack() as ends:
            clocks = [Clock(place, ends, *both) for both in CLOCKS]
            for clock in clocks:
                clock.night.hears()
            work(clocks, 2)
            for number in range(rounds):
                for turn in (quietly, outage_between, outage_around):
                    turn(clocks)
                if number:
                    killed(place, clocks)
            deadline = time.monotonic() + patience
            for clock in clocks:
                clock.night.settle(max(0.1, deadline - time.monotonic()))
            for clock in clocks:
                clock.night.finish()

    return run


def quietly(clocks):
    """The clock is set and set back, and nothing else happens."""
    set_all(clocks)
    work(clocks, 3)
    set_back(clocks)
    work(clocks, 3)


def outage_between(clocks):
    """An outage while the clock is wrong."""
    set_all(clocks)
    work(clocks, 1.5)
    outage(clocks, 2.5)
    work(clocks, 5)
    set_back(clocks)
    work(clocks, 3)


def outage_around(clocks):
    """The clock is set during an outage, and set back during another."""
    for move in (set_all, set_back):
        outage(clocks, 3)
        work(clocks, 1.5)
        move(clocks)
        work(clocks, 4)


def killed(place, clocks):
    """Killed while the clock is wrong, and started again with it; set back later."""
    set_all(clocks)
    work(clocks, 2)
    for clock in clocks:
        clock.night.kill()
    time.sleep(place.random.uniform(0.5, 3))
    for clock in clocks:
        clock.night.start()
    work(clocks, 3)
    set_back(clocks)
    work(clocks, 3)


def set_all(clocks):
    for clock in clocks:
        clock.set(clock.step)


def set_back(clocks):
    for clock in clocks:
        clock.set(TRUE)


def outage(clocks, seconds):
    for clock in clocks:
        clock.cloud.outage(503, seconds)


def work(clocks, seconds):
    """Lets them all record for a while."""
    time.sleep(seconds)
    for clock in clocks:
        clock.night.work(0.01)
