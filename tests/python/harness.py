"""What both scripts share: rules and their summary, processes and their end, waiting with a deadline."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT, KEY, SECRET = "demo", "demo-key", "demo-secret"
EMAIL = "demo@demo.serviceaccount.d21s.com"


class Failed(Exception):
    """A rule does not hold."""


class Late(BaseException):
    """The script's own time is over. No Exception, so that no rule takes it for its own failure."""


def check(condition, what):
    if not condition:
        raise Failed(what)


def few(things, most=5):
    """The first of many things, for a message."""
    things = list(things)
    return f"{things[:most]}{f' and {len(things) - most} more' if len(things) > most else ''}"


def wait_until(what, look, seconds=15):
    """Calls `look` until it gives something true, which is the result."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds} s in vain: {what}")
        time.sleep(0.05)


class Product:
    """The binary under test, in a directory of its own. Whatever it started ends with it."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.started = str(Path(binary).resolve()), folder, []
        # What the user of this machine has set is none of the tests' business.
        env = {name: value for name, value in os.environ.items() if not name.startswith("DT_")}
        self.env = env | {
            "DT_SERVICE_ACCOUNT_KEY_ID": KEY,
            "DT_SERVICE_ACCOUNT_SECRET": SECRET,
            "DT_SERVICE_ACCOUNT_EMAIL": EMAIL,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        # Python's clients in this process must not go through a proxy either.
        os.environ.update({"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"})

    def start(self, *args):
        """Starts a command in the background, with its output in files."""
        base = self.folder / f"{len(self.started)}-{args[0]}"
        with open(f"{base}.out", "wb") as out, open(f"{base}.err", "wb") as err:
            process = subprocess.Popen(
                [self.binary, *map(str, args)], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        process.out, process.err = Path(f"{base}.out"), Path(f"{base}.err")
        self.started.append(process)
        return process

    def run(self, *args, codes=(0,)):
        """Runs a command to its end; gives its standard output."""
        done = subprocess.run(
            [self.binary, *map(str, args)], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=30
        )
        command = " ".join(map(str, args))
        said = done.stderr.decode(errors="replace")[-800:]
        check(done.returncode in codes, f"`overnight {command}` ended with {done.returncode}, not {codes}: {said}")
        return done.stdout.decode()

    def simulate(self, *args):
        """Starts a simulator on a free port; gives its URL."""
        process = self.start("simulate", "--addr", "127.0.0.1:0", *args)

        def first_line():
            alive(process)
            line, newline, _ = process.out.read_text().partition("\n")
            return line if newline else None

        line = wait_until("the simulator's first line", first_line)
        check(line.startswith("listening on http://"), f"the simulator's first line is {line!r}")
        return line.removeprefix("listening on ")

    def end(self):
        for process in self.started:
            if process.poll() is None:
                process.terminate()
        for process in self.started:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def alive(process):
    code = process.poll()
    check(code is None, f"`overnight {process.args[1]}` ended with {code}: {process.err.read_text()[-800:]}")


@contextlib.contextmanager
def bounded(seconds):
    """Ends what runs inside after a time, or when this process is asked to end."""

    def late(*_):
        raise Late(f"not done after {seconds} s")

    def asked(number, _):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGALRM, late)
    signal.signal(signal.SIGTERM, asked)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def hold(rules, *args):
    """Tries every rule, in order; gives how many hold and how many fail."""
    failed = 0
    for rule in rules:
        name = rule.__name__.replace("_", " ")
        begun = time.monotonic()
        try:
            rule(*args)
        except Exception as error:  # whatever a reader or a client throws is a failure of the product
            failed += 1
            what = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            print(f"FAILED  {name}\n        {what}", flush=True)
        else:
            print(f"ok      {name} ({time.monotonic() - begun:.1f} s)", flush=True)
    return len(rules) - failed, failed


def script(scenario, seconds):
    """The whole of a script: `scenario(product)` gives what `hold` gave. Exits 0 when everything holds, else 1."""
    if len(sys.argv) != 2:
        print(f"usage: {Path(sys.argv[0]).name} BINARY", file=sys.stderr)
        sys.exit(2)
    begun = time.monotonic()
    passed, failed = 0, 0
    with tempfile.TemporaryDirectory(prefix="overnight-") as folder:
        product = Product(sys.argv[1], Path(folder))
        try:
            with bounded(seconds):
                passed, failed = scenario(product)
        except (Exception, Late) as error:
            failed += 1
            print(f"FAILED  {type(error).__name__}: {error}", flush=True)
        finally:
            product.end()
    print(f"{Path(sys.argv[0]).name}: {passed} passed, {failed} failed ({time.monotonic() - begun:.0f} s)", flush=True)
    sys.exit(1 if failed else 0)
