"""One recording over many starts of the recorder, however each of them ends; every end is noted, and held against its rules."""

import os
import signal
import subprocess
import time

from missing import Oracle, Run, gaps, wanted
from place import FINE, PROJECT, end, said, wait_until
from verify import check_buffer

# The recorder ends within two seconds, and a loaded machine may take one more.
ENDS_WITHIN = 3.0
SETTINGS = 'index_delay = "1500ms"\nroll_every = "200ms"\nkeep_every = "200ms"\n'
CONFIRMING = 'confirm_after = ["6s", "12s"]\nlook_back = "30s"\n'


class Night:
    """The recorder's side of a battery."""

    def __init__(self, place, cloud, name="", base=None, env=None):
        self.place, self.cloud, self.name, self.env = place, cloud, name, env
        self.recording, self.runs, self.process = place.recording(base), [], None
        (self.recording / "overnight.toml").write_text(settings(place))
        self.oracle = Oracle(place, cloud, self.recording, self.runs)

    def expect(self, condition, text):
        return self.place.tally.expect(condition, f"{self.name}{text}")

    def start(self, *flags, lasts=None):
        self.runs.append(Run(lasts and time.time() + lasts))
        more = ["--for", f"{lasts}s"] if lasts else []
        ours = ["--dir", self.recording, "--project", PROJECT, "--api-url", self.cloud.url]
        pace = ["--ping-interval", "1s", "--rotate-after", "3s"]
        self.process = self.place.start("record", *ours, *pace, *more, *flags, env=self.env)
        self.place.tally.runs += 1

    def hears(self, seconds=15):
        """Waits for this start's first sign of life."""
        run = self.runs[-1]
        wait_until(f"{self.name}record hears the cloud", lambda: self.cloud.first_sign(run.begun, time.time()), seconds)

    def work(self, seconds):
        """Lets it record for a while. False when it ended by itself, which it should not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                if self.runs[-1].died is None:
                    self.over()
                    self.expect(False, f"record ended by itself with {self.process.returncode}: {said(self.process, 300)}")
                return False
            time.sleep(0.02)
        return True

    def over(self):
        self.runs[-1].died = time.time()
        self.cloud.is_calm = False

    def kill(self):
        """kill -9. The run goes on in the ledger."""
        end(self.process)
        self.over()
        self.place.tally.kills += 1

    def ask(self, number, codes=FINE):
        """Asks it to end, and waits for it. Only SIGTERM ends the run."""
        if not self.work(self.cloud.calm()):
            return
        # What is under way just now, nobody can tell the side of.
        self.cloud.quiet(0.4)
        if not self.work(0.2):
            return
        if number == signal.SIGTERM:
            self.runs[-1].asked = time.time()
        os.kill(self.process.pid, number)
        self.ends(signal.Signals(number).name, time.time(), codes)

    def ends(self, why, begun, codes=FINE):
        """Waits for an end that is due since a time."""
        try:
            self.process.wait(max(0.0, begun + 15 - time.time()))
        except subprocess.TimeoutExpired:
            end(self.process)
            self.expect(False, f"{why}: record does not end")
        took = time.time() - begun
        self.expect(took <= ENDS_WITHIN, f"{why}: record took {took:.1f} s to end: {said(self.process, 300)}")
        code = self.process.returncode
        self.expect(code in codes, f"{why}: record ended with {code}: {said(self.process)}")
        self.over()

    def goes_on(self):
        """Whether somebody should record now, and for another while."""
        now = time.time()
        spans = wanted(self.cloud, self.runs, now + 1)
        return bool(spans) and spans[-1][1] >= now + 1

    def nobody_records(self, what):
        """Whoever asks is told that nobody records, though somebody should."""
        for verb in ("gaps", "status", "verify"):
            if not self.goes_on():
                return
            done = self.place.run(verb, "--dir", self.recording)
            words = " ".join(f"{done.stdout.decode()[-250:]} {said(done, 250)}".split())
            self.expect(done.returncode == 3, f"{what}: {verb} ended with {done.returncode}, not 3: {words}")
            if verb == "gaps":
                self.expect(b"nobody records" in done.stdout, f"{what}: gaps does not say that nobody records: {words}")

    def settle(self, seconds):
        """Waits until every gap is filled and confirmed, or is lost."""
        settled = lambda: all(gap["done"] or gap["state"] == "lost" for gap in gaps(self.place, self.recording))
        wait_until("all gaps are filled", settled, seconds, or_else=False)

    def finish(self):
        """A clean end, and the last look."""
        if self.process.poll() is None:
            self.ask(signal.SIGTERM)
        ledger = self.oracle.look(f"{self.name}at the end")
        check_buffer(self.place.tally, self.recording)
        done = self.place.run("verify", "--dir", self.recording)
        self.expect(done.returncode in FINE, f"at the end: verify ended with {done.returncode}: {said(done)}")
        tally, oracle = self.place.tally, self.oracle
        tally.events += oracle.in_recording
        done = sum(gap["done"] for gap in ledger)
        tally.note(
            f"{self.name}{len(self.runs)} starts, {len(self.cloud.truth()):,} events published, {oracle.missing:,} missing, "
            f"{oracle.silent:,} missing in no gap, {oracle.unkept:,} in a confirmed gap but not recorded, "
            f"{done} of {len(ledger)} gaps filled and confirmed"
        )


def settings(place):
    """What a recording's `overnight.toml` says; a program that does not confirm would refuse what it does not know."""
    return SETTINGS + (CONFIRMING if b"--linger" in place.run("record", "--help").stdout else "")
