"""Battery 1: kill -9 at random moments under load, while events are kept, rolled, sealed and recovered; start again; look.

Most kills come while it works, some in the first moments, which are the recovery. Every few kills, and after a clean end,
the recording is held against what was acknowledged.
"""

from loads import LOADS
from place import FINE, said
from events import Events
from verify import as_it_is, at_rest

LOOK_EVERY = 10


def battery(source, rounds, kills):
    """A battery of so many rounds, each with a new recording and so many kills."""

    def run(place):
        for _ in range(rounds):
            one_round(place, source, kills)

    return run


def one_round(place, source, kills):
    events, recording = Events(), place.recording()
    load = LOADS[source](place, recording, events)
    for number in range(1, kills + 1):
        load.start()
        if not load.work(moment(place.random)):
            return
        load.kill()
        place.tally.kills += 1
        if number % LOOK_EVERY == 0:
            as_it_is(place, recording, events, load.acked(), load.sent(), f"after kill {number}")
    # What is kept already must not pass for what the next start keeps: it would be stopped while it begins.
    load.look()
    load.start()
    load.go_on(500)
    code = load.stop()
    place.tally.expect(code in FINE, f"after {kills} kills, {source} ended with {code}: {said(load.process)}")
    at_rest(place, recording, events, load.acked(), load.sent(), f"at rest after {kills} kills")
    place.tally.runs += kills + 1
    place.tally.events += len(load.acked())


def moment(random):
    """When the kill comes: one in five during the first moments."""
    return random.uniform(0, 0.04) if random.random() < 0.2 else random.uniform(0.05, 0.7)
