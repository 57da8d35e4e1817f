"""Battery: strangers at the receiver's door, more than it has places, beside honest senders.

They idle, send a byte now and then, read no answers, close their side, send what is no HTTP or what they have not signed, and come
back as soon as they are sent away. Honest senders, on connections that are busy, on some that rest between two pushes, and on a
new one for each push, are all answered 200; nothing of the strangers is kept; and the receiver ends in time.
"""

import asyncio
import contextlib
import threading
import time

from events import Events
from loads import Pushes, answer, request
from place import FINE, said
from verify import at_rest

# A stranger comes back after so many seconds.
AWAY = (0.2, 0.6)
# A connection rests for so many seconds between two pushes.
REST = 1.5
# Longest that a clean end may take, and longest answer, in seconds. The cloud waits 10 s for one.
END, ANSWER = 15, 9
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"


class Honest(Pushes):
    """Pushes as ever, some after a rest, and some on a connection of their own. A connection that breaks, or an answer that is not 200, is a fault."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.new, self.rested, self.slowest, self.broke = 0, 0, 0.0, []

    async def push_until_over(self, port, process):
        tasks = [asyncio.create_task(work(port, process)) for work in [self.newcomer, self.rests] for _ in range(4)]
        await super().push_until_over(port, process)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def push(self, reader, writer):
        begun = time.monotonic()
        try:
            await super().push(reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
            if not self.over:
                self.broke.append(f"{type(error).__name__} {error}")
            raise
        self.slowest = max(self.slowest, time.monotonic() - begun)

    async def newcomer(self, port, process):
        while not self.over and process.poll() is None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    await self.push(reader, writer)
                    self.new += 1
                finally:
                    writer.close()
            await asyncio.sleep(0.02)

    async def rests(self, port, process):
        while not self.over and process.poll() is None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    while not self.over:
                        await self.push(reader, writer)
                        self.rested += 1
                        await asyncio.sleep(REST)
                finally:
                    writer.close()


class Strangers:
    """So many connections of them, on a thread of their own."""

    def __init__(self, place, number):
        self.random, self.number, self.came, self.port, self.over = place.random, number, 0, None, False
        self.thread = threading.Thread(target=lambda: asyncio.run(self.all()), daemon=True)

    def begin(self, port):
        self.port = port
        self.thread.start()

    def end(self):
        self.over = True
        self.thread.join(30)

    async def all(self):
        kinds = [self.idle, self.drips, self.reads_nothing, self.half_closed, self.no_http, self.forged, self.unsigned, self.refused_body]
        tasks = [asyncio.create_task(self.again(kinds[n % len(kinds)])) for n in range(self.number)]
        while not self.over:
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def again(self, kind):
        while not self.over:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
                # Hardly anything is read ahead: who does not read lets the receiver wait.
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1)
                self.came += 1
                try:
                    await asyncio.wait_for(kind(reader, writer), 20)
                finally:
                    writer.close()
            await asyncio.sleep(self.random.uniform(*AWAY))

    async def idle(self, reader, _):
        await reader.read(1)

    async def drips(self, _, writer):
        for byte in HEAD + b"{" * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.3)

    async def reads_nothing(self, _, writer):
        while True:
            writer.write(GET * 1000)
            await writer.drain()
            await asyncio.sleep(0.1)

    async def half_closed(self, reader, writer):
        writer.write(HEAD[:20])
        writer.write_eof()
        await reader.read(1)

    async def no_http(self, reader, writer):
        # The beginning of a TLS handshake.
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))
        await reader.read(1)

    async def forged(self, reader, writer):
        writer.write(request(Events().line(0), "guessed-secret"))
        await reader.read(1)
        await asyncio.sleep(10)

    async def unsigned(self, reader, writer):
        for _ in range(500):
            writer.write(HEAD.replace(b"100000", b"2") + b"{}")
            await writer.drain()
            await asyncio.sleep(0.05)
        await reader.read(1)

    async def refused_body(self, _, writer):
        writer.write(HEAD.replace(b"100000", b"100000000"))
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            await asyncio.sleep(0.05)


def battery(seconds, number):
    """A battery of so many seconds against so many strangers."""

    def run(place):
        events, recording = Events(), place.recording()
        load = Honest(place, recording, events, connections=16)
        strangers = Strangers(place, number)
        load.start()
        load.go_on(200)
        strangers.begin(load.port)
        if not load.work(seconds):
            return
        begun = time.monotonic()
        load.finish()
        code = super(Pushes, load).stop(END)
        took = time.monotonic() - begun
        strangers.end()
        place.tally.expect(code in FINE, f"beside strangers, listen ended with {code}: {said(load.process)}")
        others = {status: times for status, times in load.statuses.items() if status != 200}
        place.tally.expect(not others, f"honest pushes were answered {others}")
        place.tally.expect(not load.broke, f"{len(load.broke)} honest connections broke, as by {load.broke[:3]}")
        place.tally.expect(load.slowest < ANSWER, f"an honest push waited {load.slowest:.1f} s for its answer")
        place.tally.expect(load.new > seconds, f"only {load.new} pushes came on connections of their own")
        place.tally.expect(load.rested > seconds, f"only {load.rested} pushes came after a rest")
        place.tally.expect(strangers.came > number, f"only {strangers.came} strangers came")
        at_rest(place, recording, events, load.acked(), load.sent(), "beside strangers")
        place.tally.runs += 1
        place.tally.events += len(load.acked())
        place.tally.note(
            f"{len(load.acked()):,} honest pushes, {load.new:,} of them on connections of their own, beside {strangers.came:,} connections of"
            f" strangers: all answered, the slowest after {load.slowest * 1000:.0f} ms; the end took {took:.1f} s"
        )

    return run
