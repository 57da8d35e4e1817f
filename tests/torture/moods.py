"""The moods of a cloud, from a seed: it cuts streams, stalls them, and refuses whoever comes, for seconds at a time."""

import random
import threading

# Between two moods.
PAUSE = (1.0, 4.0)
REFUSALS = [400, 401, 403, 404, 429, 500, 502, 503, 0]
CUTS = ["clean", "half", "hard", "error"]


class Moods:
    """Gives a cloud moods until told not to. What each did is counted."""

    def __init__(self, cloud, seed):
        self.cloud, self.random, self.count = cloud, random.Random(seed), 0
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def begin(self):
        self.cloud.chances |= {"error": 0.08, "expired": 0.15}
        self.thread.start()

    def end(self):
        """From now on the cloud is good."""
        self.enough.set()
        self.thread.join(10)
        self.cloud.chances |= {"error": 0.0, "expired": 0.0}
        self.cloud.refuse(503, 0)

    def work(self):
        while not self.enough.wait(self.random.uniform(*PAUSE)):
            self.count += 1
            one_or_all = self.random.choice([1, None])
            kind = self.random.choice(["cut", "cut", "stall", "stall", "refuse", "refuse", "refuse"])
            if kind == "cut":
                self.cloud.cut(self.random.choice(CUTS), one_or_all)
            elif kind == "stall":
                self.cloud.stall(one_or_all)
            else:
                self.cloud.refuse(self.random.choice(REFUSALS), self.random.uniform(1, 6))
                self.cloud.cut(self.random.choice(CUTS))
