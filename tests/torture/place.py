"""Where a battery works: a folder of its own, the processes it started, what it mounted. All of it ends with the battery."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import harness  # noqa: E402
from harness import KEY, PROJECT, SECRET, Failed, Late, bounded, check, few  # noqa: E402, F401

# Longest wait for a command that has an end.
PATIENCE = 120
# Verdicts of a process that ended as it should: done; done, but something is missing.
FINE = (0, 3)


class Skipped(Exception):
    """A battery cannot run here; the text says why."""


class Caught(Exception):
    """Something is wrong, and that was all to be known: the program is broken on purpose."""


class Tally:
    """What a battery did, and what it found wrong. One that hunts stops at the first fault."""

    COUNTS = ["runs", "kills", "cuts", "events", "lost", "doubled", "unreadable", "wrong"]

    def __init__(self, name, hunting=False):
        self.hunting = hunting
        self.name, self.seconds, self.skipped, self.notes, self.texts = name, 0.0, None, [], []
        for count in self.COUNTS:
            setattr(self, count, 0)

    def fault(self, kind, text, number=1):
        """Something is wrong: of a kind (lost, doubled, unreadable, wrong), in words."""
        if self.hunting:
            raise Caught(f"{kind}: {text}")
        setattr(self, kind, getattr(self, kind) + number)
        self.texts.append(f"{kind}: {text}")
        if len(self.texts) <= 10:
            print(f"    {self.name}: {kind.upper()}: {text}", flush=True)

    def expect(self, condition, text):
        """A rule that is not about rows: a wrong exit code, a missing message."""
        if not condition:
            self.fault("wrong", text)
        return bool(condition)

    def note(self, text):
        """A figure worth telling, that is no fault."""
        self.notes.append(text)

    @property
    def bad(self):
        return self.lost + self.doubled + self.unreadable + self.wrong

    def json(self):
        row = {"battery": self.name} | {count: getattr(self, count) for count in self.COUNTS}
        return row | {"seconds": round(self.seconds, 1), "skipped": self.skipped, "notes": self.notes, "faults": self.texts}


class Place:
    """A battery's folder and processes. Use it as a context: whatever happens, nothing is left behind."""

    def __init__(self, binary, tally, seed, long):
        self.binary, self.tally, self.long = str(Path(binary).resolve()), tally, long
        self.seed, self.random = seed, random.Random(seed)
        self.ends, self.started, self.numbers = contextlib.ExitStack(), [], 0
        ours = {
            "DT_SERVICE_ACCOUNT_KEY_ID": KEY,
            "DT_SERVICE_ACCOUNT_SECRET": SECRET,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "RUST_BACKTRACE": "1",
        }
        # What the user of this machine has set is none of the tests' business.
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("DT_")} | ours

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="overnight-torture-")).resolve()
        self.ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.ends.callback(self.end_processes)
        return self

    def __exit__(self, *_):
        self.ends.close()

    def end_processes(self):
        for process in self.started:
            end(process)
        self.started = []

    def new(self, name):
        """A path of its own in the folder."""
        self.numbers += 1
        return self.folder / f"{self.numbers}-{name}"

    def start(self, *args, env=None, before=(), stdin=subprocess.DEVNULL, stdout=None):
        """Starts a verb in the background. What it says on standard error goes to the file `err`."""
        err = self.new(f"{args[0]}.err")
        with open(err, "wb") as to:
            process = subprocess.Popen(
                [*map(str, before), self.binary, *map(str, args)],
                cwd=self.folder,
                env=self.env | (env or {}),
                stdin=stdin,
                stdout=stdout or subprocess.DEVNULL,
                stderr=to,
            )
        process.err = err
        self.started.append(process)
        return process

    def run(self, *args, before=(), env=None, seconds=PATIENCE, stdin=b"", err=True):
        """Runs a verb to its end; gives how it ended."""
        return subprocess.run(
            [*map(str, before), self.binary, *map(str, args)],
            cwd=self.folder,
            env=self.env | (env or {}),
            input=stdin,
            capture_output=True,
            timeout=seconds,
        )

    def forget(self, process):
        """A process has ended, and what it said is of no more use."""
        if process in self.started:
            self.started.remove(process)
        process.err.unlink(missing_ok=True)

    def recording(self, base=None, roll_every="200ms"):
        """A new recording's directory, with settings that make it roll often."""
        path = (base or self.folder) / f"recording-{self.numbers}"
        self.numbers += 1
        path.mkdir()
        (path / "overnight.toml").write_text(f'roll_every = "{roll_every}"\nkeep_every = "200ms"\n')
        return path


def end(process):
    """Ends a process that this program started, by its id, and its children first (a tracer's)."""
    if process.poll() is None:
        for child in children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)


def children(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def said(process, most=1500):
    """The end of what a process said on standard error; all of it when `most` is 0."""
    if isinstance(process, subprocess.CompletedProcess):
        return process.stderr.decode(errors="replace")[-most:].strip()
    return process.err.read_text(errors="replace")[-most:].strip()


def stop(process, seconds=60):
    """Asks a process to end (SIGTERM), or the one that it traces; gives its exit code, or None when it does not end in time."""
    for pid in children(process.pid) or [process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        end(process)
        return None


def wait_until(what, look, seconds=15, or_else=True):
    """As the harness's; without `or_else`, waiting in vain is no failure by itself."""
    try:
        return harness.wait_until(what, look, seconds)
    except Failed:
        if or_else:
            raise
        return None


def need_root():
    if os.geteuid() != 0:
        raise Skipped("needs root")


def need(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        raise Skipped(f"not installed: {', '.join(missing)}")


def system(*command):
    """Runs a program of the system; an error when it fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def mounted(*arguments, on):
    """A mount that ends with the block, even when somebody still holds it for a moment."""
    on.mkdir(exist_ok=True)
    system("mount", *arguments, on)
    try:
        yield on
    finally:
        unmount(on)


def is_mounted(path):
    """By the system's list: a file system that was shut down does not even answer for its own directory."""
    return any(line.split()[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def unmount(path, seconds=10):
    deadline = time.monotonic() + seconds
    while is_mounted(path):
        try:
            system("umount", path)
        except OSError:
            if time.monotonic() > deadline:
                system("umount", "--lazy", path)
                return
            time.sleep(0.02)
