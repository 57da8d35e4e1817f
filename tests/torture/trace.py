"""Runs the product under strace: to see its system calls in order, or to strike at one of them."""

import re
import subprocess
from collections import Counter
from dataclasses import dataclass, field

from place import Skipped, need

# Calls that change what is on the disk, or make it last.
CHANGES = ["write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat"]
CHANGES += ["ftruncate", "fallocate", "mkdir", "mkdirat", "openat", "copy_file_range"]
READS = ["read", "pread64"]
# Calls with which an answer leaves.
SENDS = ["sendto", "writev"]

LINE = re.compile(r"^(\d+) +(?:<\.\.\. (\w+) resumed>(.*)|(\w+)\((.*))$")
FD = re.compile(r"^(\d+)<(.*?)>")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
RESULT = re.compile(r"\)\s+= (-?\d+|\?)")


@dataclass
class Call:
    """A system call: what it is about, and when it began and ended (places in the trace)."""

    thread: int
    name: str
    text: str
    path: str = ""
    to: str = ""
    # The how manieth call of its name on its path it is in its thread.
    number: int = 0
    began: int = 0
    ended: int = field(default=1 << 60)
    result: str = "?"

    @property
    def worked(self):
        return not self.result.startswith("-") and self.result != "?"


def strace(*options):
    """The beginning of a command line that traces what follows. Not with --seccomp-bpf: then nothing is injected (6.1)."""
    return ["strace", "-f", "-q", "-y", *options]


def works():
    """Raises `Skipped` where strace is missing or may not trace."""
    need("strace")
    done = subprocess.run(strace("-o", "/dev/null", "-e", "trace=fsync") + ["true"], capture_output=True, text=True)
    if done.returncode != 0:
        raise Skipped(f"strace does not work here: {done.stderr.strip()[:200]}")


def calls(path, below):
    """The calls of a trace that are about a directory, what is below it and the one above, or send something, in order."""
    found, open_calls, numbers = [], {}, Counter()
    for place, line in enumerate(path.read_text(errors="replace").splitlines()):
        match = LINE.match(line)
        if not match:
            continue
        thread, resumed, rest, name, text = match.groups()
        if resumed:
            call = open_calls.pop(thread, None)
            if call is None:
                continue
            text = rest
        else:
            call = parse(int(thread), name, unescaped(text))
            numbers[thread, name, call.path] += 1
            call.number = numbers[thread, name, call.path]
            if call.path.startswith(str(below)) or call.path == str(below.parent) or name in SENDS:
                call.began = place
                found.append(call)
            if text.endswith("<unfinished ...>"):
                open_calls[thread] = call
                continue
        result = RESULT.search(text)
        call.ended, call.result = place, result.group(1) if result else "?"
    return found


def unescaped(text):
    """Paths as they are, where all strings are in hexadecimal; what is written stays as it is."""
    paths = re.compile(r'(?<=")((?:\\x[2-7][0-9a-f])+)(?=")|(?<=<)((?:\\x[2-7][0-9a-f])+)(?=>)')
    return paths.sub(lambda match: bytes.fromhex(match.group(0).replace("\\x", "")).decode(), text)


def parse(thread, name, text):
    call = Call(thread, name, text)
    fd = FD.match(text)
    if fd and name not in ("openat", "mkdirat", "unlinkat", "renameat", "renameat2"):
        call.path = fd.group(2)
    elif name not in SENDS:
        names = QUOTED.findall(text)
        call.path, call.to = (names + ["", ""])[:2]
    return call


def strike(place, call, what):
    """The beginning of a command line in which one system call goes wrong.

    `call` is (name, path, n): the n-th call of that name in a thread that is about that path (any path if that is none).
    `what` is strace's word, as `signal=KILL`.
    """
    name, path, n = call
    of_path = ["-P", path] if path else []
    return strace("-o", place.folder / "strike.trace", *of_path, "-e", f"trace={name}", "-e", f"inject={name}:{what}:when={n}")


def points(found, names):
    """Where to strike: every call of these names, as (name, path, n)."""
    return list(dict.fromkeys((call.name, call.path, call.number) for call in found if call.name in names and call.path))
