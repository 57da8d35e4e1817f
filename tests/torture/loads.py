"""The two sources of load, with one face: start the product, see what it acknowledges, kill it, start it again.

`Stream`: `overnight record` against a small cloud that sends everything again from a little before. Nobody is told what is
kept; acknowledged is what another reader of the buffer has seen committed. `Pushes`: `overnight listen`; acknowledged is
what was answered with 200.
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import os
import sqlite3
import threading
import time
from collections import deque

import pyarrow as pa

from cloud import Cloud
from events import PROJECT
from place import end, said, stop, wait_until
from verify import closing

SECRET = "torture-secret"


class Load:
    """What both have in common: one process at a time. `before` is what its command line begins with (a tracer)."""

    process = None

    def __init__(self, place, recording, events, flags=(), env=None, before=()):
        self.place, self.recording, self.events = place, recording, events
        self.flags, self.more_env, self.before = list(flags), env, before

    def look(self):
        """Notes what is acknowledged by now."""

    def freeze(self):
        """From now on nothing is acknowledged any more: the power is about to fail."""

    def work(self, seconds):
        """Lets the product work for a while. False when it ended by itself."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.look()
            if self.process.poll() is not None:
                self.place.tally.fault("wrong", f"{self.verb} ended by itself with {self.process.returncode}: {said(self.process)}")
                return False
            time.sleep(min(0.02, max(0, deadline - time.monotonic())))
        return True

    def kill(self):
        """kill -9."""
        end(self.process)
        self.place.forget(self.process)

    def go_on(self, more, seconds=60):
        """Waits until so many more events are acknowledged."""
        wanted = self.count() + more

        def enough():
            self.look()
            if self.process.poll() is not None:
                raise ChildProcessError(f"{self.verb} ended with {self.process.returncode}: {said(self.process)}")
            return self.count() >= wanted

        wait_until(f"{more} more events kept by {self.verb}", enough, seconds)

    def stop(self, seconds=60):
        """A clean end; gives the exit code."""
        self.look()
        return stop(self.process, seconds)


def streams(parts, body):
    """The Arrow IPC streams of a block, one a part: joined, and under zstd where that is shorter."""
    length = sum(part[-1] for part in parts)
    whole = pa.py_buffer(body) if len(body) == length else pa.decompress(body, decompressed_size=length, codec="zstd")
    at = 0
    for part in parts:
        yield whole.slice(at, part[-1])
        at += part[-1]


class Stream(Load):
    """`overnight record` against a cloud at home."""

    verb = "record"

    def __init__(self, place, recording, events, rate=10_000, **more):
        super().__init__(place, recording, events, **more)
        # All events below this number were seen in the buffer, or lie before one that was.
        self.kept, self.seq = 0, 0
        self.cloud = Cloud(events, rate, self.begin)
        place.ends.callback(self.cloud.close)

    def begin(self):
        """Where a session begins: a little before what is kept. So all before an event that was seen is kept, too."""
        return max(0, self.kept - self.place.random.randrange(400))

    def start(self):
        flags = ["--dir", self.recording, "--project", PROJECT, "--api-url", self.cloud.url, "--no-backfill", *self.flags]
        self.process = self.place.start("record", *flags, env=self.more_env, before=self.before)

    def look(self):
        path = self.recording / "state/buffer.db"
        try:
            # Closed again at once: a connection that stays open would take part in the recovery after a kill.
            with closing(path) as db:
                rows = db.execute("SELECT seq, parts, body FROM block WHERE seq > ? ORDER BY seq", [self.seq]).fetchall()
        except sqlite3.Error:
            # Not made yet, or just being recovered.
            return
        for seq, parts, body in rows:
            self.seq = seq
            for stream in streams(json.loads(parts), body):
                table = pa.ipc.open_stream(stream).read_all().select(["event_type", "event_id"]).to_pydict()
                numbers = map(self.events.number, table["event_type"], table["event_id"])
                self.kept = max(self.kept, 1 + max(numbers, default=-1))

    def count(self):
        return self.kept

    def acked(self):
        return range(self.kept)

    def sent(self):
        return self.cloud.sent


class Pushes(Load):
    """`overnight listen`, and signed pushes over many connections that stay open."""

    verb = "listen"

    def __init__(self, place, recording, events, connections=32, doubles=0.02, first=0, most=None, **more):
        super().__init__(place, recording, events, **more)
        self.secret = place.new("secret")
        self.secret.write_text(SECRET + "\n")
        self.secret.chmod(0o600)
        self.connections, self.doubles, self.most = connections, doubles, most
        # What was answered with 200; what has to be sent again; answers by status.
        self.answered, self.again, self.statuses = set(), deque(), {}
        self.numbers, self.highest, self.counting, self.thread = itertools.count(first), first, True, None
        self.port = None

    def start(self):
        self.counting, self.over = True, False
        out = self.place.new("listen.out")
        with open(out, "wb") as to:
            flags = ["--dir", self.recording, "--addr", "127.0.0.1:0", "--secret-file", self.secret, *self.flags]
            self.process = self.place.start("listen", *flags, stdout=to, env=self.more_env, before=self.before)
        # The pushes find the address by themselves: so the process can be killed before it listens, too.
        self.thread = threading.Thread(target=lambda: asyncio.run(self.push_all(out, self.process)), daemon=True)
        self.thread.start()

    def freeze(self):
        self.counting = False

    def kill(self):
        super().kill()
        self.finish()

    def stop(self, seconds=60):
        self.finish()
        return super().stop(seconds)

    def finish(self):
        self.over = True
        self.thread.join(30)

    def count(self):
        return len(self.answered)

    def acked(self):
        return sorted(self.answered)

    def sent(self):
        return self.highest

    async def push_all(self, out, process):
        while not self.over and process.poll() is None:
            line, newline, _ = out.read_text().partition("\n")
            if newline:
                self.port = int(line.rpartition(":")[2].strip("/"))
                await self.push_until_over(self.port, process)
                return
            await asyncio.sleep(0.003)

    async def push_until_over(self, port, process):
        tasks = [asyncio.create_task(self.connection(port, process)) for _ in range(self.connections)]
        while not self.over and process.poll() is None:
            await asyncio.sleep(0.005)
        # What is under way gets no answer that counts.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def connection(self, port, process):
        """One sender after the other on one connection; a new connection when it breaks."""
        while not self.over and process.poll() is None:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            try:
                while not self.over:
                    await self.push(reader, writer)
            except (OSError, asyncio.IncompleteReadError, ValueError):
                # The listener was killed, or hung up.
                await asyncio.sleep(0.005)
            finally:
                writer.close()

    async def push(self, reader, writer):
        n = self.next()
        if n is None:
            await asyncio.sleep(0.005)
            return
        try:
            writer.write(request(self.events.line(n)))
            status, wait = await asyncio.wait_for(answer(reader), 30)
        except BaseException:
            self.again.append(n)
            raise
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 200 and self.counting:
            self.answered.add(n)
        else:
            self.again.append(n)
        if status != 200:
            await asyncio.sleep(min(wait, 0.5))

    def next(self):
        """What to push: what failed, now and then something again, else a new event; none when all were pushed."""
        if self.again:
            return self.again.popleft()
        if self.most is not None and self.highest >= self.most:
            return None
        n = next(self.numbers)
        self.highest = n + 1
        if self.place.random.random() < self.doubles and n:
            self.again.append(self.place.random.randrange(n))
        return n


async def answer(reader):
    """Status and Retry-After of an answer, whose body is read and dropped."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head.split(None, 2)[1])
    length = int(header(head, "content-length") or 0)
    if length:
        await reader.readexactly(length)
    return status, float(header(head, "retry-after") or 0.05)


def header(head, name):
    found = head.partition(f"\r\n{name}:")[2]
    return found.partition("\r\n")[0].strip()


def request(event, secret=SECRET):
    """A push as the cloud sends it: the event in its envelope, signed."""
    body = f'{{"event":{event},"labels":{{}},"metadata":{{"projectId":"{PROJECT}"}}}}'.encode()
    return (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + f"X-Dt-Signature: {signature(body, secret)}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def signature(body, secret=SECRET):
    """A JSON web token over the body, HS256."""
    now = int(time.time())
    claims = {
        "checksum": hashlib.sha1(body).hexdigest(),
        "checksum_sha256": hashlib.sha256(body).hexdigest(),
        "exp": now + 3600,
        "iat": now,
        "jti": os.urandom(10).hex(),
    }
    text = base64url(b'{"alg":"HS256","typ":"JWT"}') + "." + base64url(json.dumps(claims).encode())
    return text + "." + base64url(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


LOADS = {"record": Stream, "listen": Pushes}
