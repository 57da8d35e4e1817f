"""A cloud that knows what it published and when, and gives it only to those streams that are open at that moment.

HTTP on loopback, the cloud's API as far as the recorder uses it: the stream in JSON lines and Server-Sent Events, the device
list, the history, the token. One thread publishes, and writes to the sockets at once, so that what it notes as the time of
an event is the time at which a recorder could have it. What makes it a bad cloud stands in `moods.py`.
"""

import bisect
import calendar
import email.utils
import json
import random
import select
import socket
import struct
import threading
import time
import urllib.parse
from dataclasses import dataclass

from cloud import head_of, serve_each
from place import PROJECT

# In the list of devices but not in the history, and the other way round.
GONE, STRAY = "gone", "stray"
# The cloud's history does not hold these.
NEVER_IN_HISTORY = "labelsChanged"
# Events with an older time, and how old they are at most.
LATE, LATE_MOST = 0.03, 20.0
# Around a cut nothing is published for so long: what is under way just then, nobody can tell the time of.
QUIET = 0.2
# Between two pings nobody can tell a stream that is stalled from one that has nothing to say.
CALM = 1.5
HISTORY_PAGE, DEVICES_PAGE, BACKLOG = 500, 5, 1 << 20
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {}\r\n{}Transfer-Encoding: chunked\r\n\r\n"


@dataclass(slots=True)
class Event:
    """What was published."""

    key: str
    kind: str
    device: str
    line: str
    # When it was published, the time that it has itself, when the history has it; seconds since 1970.
    at: float
    stamp: float
    visible: float
    # A half of it was sent to somebody.
    halved: bool = False

    @property
    def is_in_history(self):
        return self.kind != NEVER_IN_HISTORY and self.device != GONE


class Stream:
    """One open stream. All of it with the cloud's lock held."""

    def __init__(self, connection, is_sse, every):
        self.connection, self.is_sse, self.every = connection, is_sse, every
        self.opened, self.spoke, self.pinged = time.time(), None, time.monotonic()
        self.waiting, self.stalled, self.over = bytearray(), False, False
        connection.setblocking(False)

    def give(self, line):
        if not self.stalled and not self.over:
            self.write(chunk(self.framed(line)))
            self.spoke = self.spoke or time.time()

    def framed(self, line):
        return (f"data: {line}\n\n" if self.is_sse else f"{line}\n").encode()

    def ping(self, number, force=False):
        if not force and (self.every is None or time.monotonic() - self.pinged < self.every):
            return
        self.pinged = time.monotonic()
        event = {"eventId": f"ping{number:016}", "targetName": f"projects/{PROJECT}", "eventType": "ping", "data": None}
        self.give(json.dumps({"result": {"event": event | {"timestamp": rfc3339(time.time())}}}))

    def write(self, data=b""):
        self.waiting += data
        try:
            while self.waiting:
                del self.waiting[: self.connection.send(self.waiting)]
        except BlockingIOError:
            # Who does not read for long is dropped.
            if len(self.waiting) > BACKLOG:
                self.end()
        except OSError:
            self.end()

    def end(self, last=b"", hard=False):
        """Ends it, for the recorder too; the thread that waits for the recorder to hang up closes it."""
        if self.over:
            return
        self.over = True
        try:
            if last and not self.waiting:
                self.connection.send(last)
            if hard:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD if hard else socket.SHUT_RDWR)
        except OSError:
            pass


class Hush:
    """The cloud. Use it as a context."""

    def __init__(self, seed, rate=150, devices=12, lag=3.0):
        self.random, self.rate, self.lag = random.Random(seed), rate, lag
        # Most servers say what time it is.
        self.tells_time = self.random.random() < 0.5
        self.devices = [f"d{number}" for number in range(devices - 2)] + [GONE]
        self.published, self.by_device = [], {device: [] for device in [*self.devices, STRAY]}
        self.streams, self.opened = [], []
        self.lock, self.over, self.quiet_until, self.pings = threading.RLock(), False, 0.0, 0
        # When a stream was stalled last, and whether none is any more.
        self.stalled_at, self.is_calm = 0.0, False
        # Chances of a bad answer; what streams are refused with, and until when.
        self.chances, self.refused, self.refused_until = {"error": 0.0, "expired": 0.0}, 503, 0.0
        self.server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self.work, daemon=True).start()
        serve_each(self.server, self.serve)
        return self

    def __exit__(self, *_):
        self.over = True
        # A thread that waits in accept() is not woken by a close.
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        with self.lock:
            for stream in self.streams:
                stream.end()

    # What the test asks and orders.

    def first_sign(self, after, before):
        """When the first stream spoke of those opened within a time; none if there is none."""
        with self.lock:
            return min((one.spoke for one in self.opened if after <= one.opened < before and one.spoke), default=None)

    def truth(self):
        with self.lock:
            return list(self.published)

    def quiet(self, seconds=QUIET):
        with self.lock:
            self.quiet_until = time.monotonic() + seconds

    def refuse(self, status, seconds):
        """Nobody gets a stream for a while; status 0 hangs up."""
        with self.lock:
            self.refused, self.refused_until = status, time.monotonic() + seconds

    def cut(self, how="clean", most=None):
        """Ends streams: `clean`, in the middle of a line (`half`), `hard`, or with an `error` of the cloud."""
        with self.lock:
            meant = self.some(most)
            if how == "half":
                self.publish(halves=meant)
            for stream in meant:
                if how == "error" and not stream.stalled:
                    code = self.random.choice([1, 5, 7, 14, 16, 400, 401, 404, 408, 500])
                    error = {"error": {"code": code, "message": "so it goes", "details": []}}
                    stream.end(chunk(stream.framed(json.dumps(error))) + b"0\r\n\r\n")
                else:
                    stream.end(b"0\r\n\r\n" if how == "clean" else b"", hard=how == "hard")
            self.quiet()

    def some(self, most):
        """Open streams by chance, all of them without a number."""
        self.streams = [stream for stream in self.streams if not stream.over]
        return self.random.sample(self.streams, min(len(self.streams), most or len(self.streams)))

    def stall(self, most=None):
        """Streams stay open, and nothing more comes."""
        with self.lock:
            if self.is_calm:
                return
            self.stalled_at = time.monotonic()
            for stream in self.some(most):
                stream.stalled = True
            self.quiet()

    def calm(self, seconds=CALM):
        """No stream is stalled from now on; says how long it is until none was for a while."""
        with self.lock:
            self.is_calm = True
            return max(0.0, self.stalled_at + seconds - time.monotonic())

    def outage(self, status, seconds):
        self.refuse(status, seconds)
        self.cut("hard")

    # Publishing.

    def work(self):
        last, due = time.monotonic(), 0.0
        while not self.over:
            time.sleep(0.005)
            with self.lock:
                now = time.monotonic()
                if now >= self.quiet_until:
                    due += (now - last) * self.rate
                last = now
                while due >= 1:
                    due -= 1
                    self.publish()
                for stream in self.streams:
                    self.pings += 1
                    stream.ping(self.pings)
                    stream.write()
                self.streams = [stream for stream in self.streams if not stream.over]

    def publish(self, halves=()):
        """A new event, given to all; to some only the first half of it, and then no more."""
        at, n = time.time(), len(self.published)
        stamp = at - self.random.uniform(0, LATE_MOST) if self.random.random() < LATE else at
        event = self.make(n, at, int(stamp * 1e6) / 1e6, bool(halves))
        self.published.append(event)
        self.by_device[event.device].append(event)
        line = f'{{"result":{{"event":{event.line}}}}}'
        for stream in self.streams:
            if stream not in halves:
                stream.give(line)
            elif not stream.stalled:
                stream.end(half(stream.framed(line)))

    def make(self, n, at, stamp, halved):
        key, device = f"h{n:019}", [*self.devices, STRAY][n % (len(self.devices) + 1)]
        kind = NEVER_IN_HISTORY if n % 97 == 0 else "touch" if n & 1 else "temperature"
        time_text, value = rfc3339(stamp), n % 900 / 20
        data = {"updateTime": time_text}
        if kind == "temperature":
            samples = [{"value": value, "sampleTime": time_text}]
            data = {"value": value, "updateTime": time_text, "samples": samples, "isBackfilled": False}
        data = {"added": {"n": str(n)}, "modified": {}, "removed": []} if kind == NEVER_IN_HISTORY else {kind: data}
        target = f"projects/{PROJECT}/devices/{device}"
        event = {"eventId": key, "targetName": target, "eventType": kind, "data": data, "timestamp": time_text}
        visible = at + self.random.uniform(0, self.lag)
        return Event(key, kind, device, json.dumps(event, separators=(",", ":")), at, stamp, visible, halved)

    # Answering.

    def serve(self, connection):
        request = head_of(connection)
        if request is None:
            return
        head, _, body = request.partition(b"\r\n\r\n")
        # What is sent must be read, or the answer is cut off with the connection.
        length = int(header(head, "content-length") or 0)
        while len(body) < length:
            body += connection.recv(65536)
        self.answer(connection, head)

    def answer(self, connection, head):
        target = urllib.parse.urlsplit(head.split(None, 2)[1].decode())
        query = {name: values[-1] for name, values in urllib.parse.parse_qs(target.query).items()}
        parts = target.path.strip("/").split("/")
        if parts[-1] == "devices:stream":
            self.stream(connection, header(head, "accept"), query)
        elif parts[-1] == "token":
            self.reply(connection, 200, {"access_token": "token", "token_type": "bearer", "expires_in": 3600})
        elif self.by_chance("error"):
            self.reply(connection, *self.random.choice([(500, None), (503, None), (429, "Retry-After: 1")]))
        elif parts[-1] == "devices":
            begin = int(query.get("page_token") or 0)
            devices = [self.listed(device) for device in self.devices[begin : begin + DEVICES_PAGE]]
            more = begin + DEVICES_PAGE < len(self.devices)
            self.reply(connection, 200, {"devices": devices, "nextPageToken": str(begin + DEVICES_PAGE) if more else ""})
        elif parts[-1] == "events" and parts[-2] in self.by_device and parts[-2] != GONE:
            self.history(connection, parts[-2], query)
        else:
            self.reply(connection, 404)

    def by_chance(self, what):
        return self.random.random() < self.chances[what]

    def stream(self, connection, accept, query):
        with self.lock:
            if time.monotonic() < self.refused_until:
                if self.refused:
                    # Nobody can have meant a day.
                    self.reply(connection, self.refused, "Retry-After: 86400" if self.refused == 429 else None)
                return
            is_sse = "event-stream" in accept
            connection.sendall(HEAD.format("text/event-stream" if is_sse else "application/json", self.date()).encode())
            every = query.get("ping_interval") or query.get("pingInterval")
            stream = Stream(connection, is_sse, every and float(every.removesuffix("s")))
            self.streams.append(stream)
            self.opened.append(stream)
            if self.random.random() < 0.7:
                stream.ping(0, force=True)
        while not stream.over:
            readable, _, _ = select.select([connection], [], [], 0.5)
            try:
                if readable and not connection.recv(4096):
                    break
            except BlockingIOError:
                continue
            except OSError:
                break
        with self.lock:
            stream.over = True

    def history(self, connection, device, query):
        begins, ends = moment(query["startTime"]), moment(query["endTime"])
        token, size = query.get("pageToken"), min(int(query.get("pageSize", 100)), HISTORY_PAGE)
        if token and self.by_chance("expired"):
            self.reply(connection, 400)
            return
        # All pages of a walk show what was there at its first.
        seen, _, first = token.partition("_") if token else (repr(time.time()), "", "0")
        seen, first = float(seen), int(first)
        with self.lock:
            events = self.by_device[device]
            # None has a time much older than when it was published.
            low = bisect.bisect_left(events, begins - 1, key=lambda event: event.at)
            high = bisect.bisect_right(events, ends + LATE_MOST + 1, key=lambda event: event.at)
            held = [one for one in events[low:high] if begins <= one.stamp < ends and one.visible <= seen and one.is_in_history]
        held.sort(key=lambda event: (event.stamp, event.key), reverse=True)
        page = ",".join(event.line for event in held[first : first + size])
        following = f"{seen!r}_{first + size}" if first + size < len(held) else ""
        self.reply(connection, 200, f'{{"events":[{page}],"nextPageToken":"{following}"}}')

    def reply(self, connection, status, body=None):
        """A JSON answer and the end of the connection; a text that is no JSON is a header of a refusal."""
        more = f"{body}\r\n" if isinstance(body, str) and not body.startswith("{") else ""
        if more or body is None:
            body = {"error": "so it goes", "code": status, "help": ""}
        text = (body if isinstance(body, str) else json.dumps(body)).encode()
        start = f"HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n{more}{self.date()}"
        connection.sendall(start.encode() + b"Connection: close\r\n\r\n" + text)

    def date(self):
        return f"Date: {email.utils.formatdate(usegmt=True)}\r\n" if self.tells_time else ""

    def listed(self, device):
        name = f"projects/{PROJECT}/devices/{device}"
        return {"name": name, "type": "temperature", "productNumber": "102058", "labels": {"name": device}}


def chunk(body):
    return b"%x\r\n%b\r\n" % (len(body), body)


def half(body):
    """A chunk that ends in the middle of a line."""
    return b"%x\r\n%b" % (len(body), body[: len(body) // 2])


def header(head, name):
    found = head.decode("latin-1").lower().partition(f"\r\n{name}:")[2]
    return found.partition("\r\n")[0].strip()


def rfc3339(at):
    """A time as the cloud writes it, to the microsecond."""
    micros = round(at * 1e6)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(micros // 1_000_000)) + f".{micros % 1_000_000:06}Z"


def moment(text):
    """Seconds since 1970 of such a time."""
    whole, _, part = text.rstrip("Z").partition(".")
    seconds = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
    return seconds + (float(f"0.{part}") if part else 0.0)
