"""A small HTTP proxy before an object store that does to requests what networks and stores do, when it is told to.

Each bucket has its own plan, so that many lakes can be struck at once. A plan numbers the requests of its bucket from 0, counts them and
their bytes by kind, and may have a `strike(number, request)` that gives a fault for a request, or none.

A fault is a name, as in `FAULTS`, or a function that is called, with what passes the request on, in place of all that.
"""

import http.client
import threading
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Headers of one connection, not of what goes over it.
HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "content-length"}
ERROR = '<?xml version="1.0"?><Error><Code>{0}</Code><Message>{0}</Message><RequestId>0</RequestId></Error>'

# Refusals: nothing is done. Status, code, and whether only a conditional put is answered so.
REFUSALS = {
    "503": (503, "SlowDown", False),
    "500": (500, "InternalError", False),
    "429": (429, "TooManyRequests", False),
    "409": (409, "ConditionalRequestConflict", True),
    "412": (412, "PreconditionFailed", True),
    "507": (507, "XMinioStorageFull", False),
    "full": (403, "QuotaExceeded", False),
}
# It is done, and the answer is another one.
FORGETFUL = {"done, 412": (412, "PreconditionFailed", True), "done, 409": (409, "ConditionalRequestConflict", True), "done, 503": (503, "SlowDown", False)}
FAULTS = [*REFUSALS, *FORGETFUL, "broken", "forgotten", "half", "slow"]
# Faults that only speak of a put where nothing may be.
CONDITIONAL = [name for name, (_, _, only) in (REFUSALS | FORGETFUL).items() if only]
SLOW = 0.4


@dataclass
class Request:
    """One request, as it came."""

    method: str
    path: str
    headers: dict
    body: bytes

    @property
    def key(self):
        """What it is about, as a key of the bucket or what a listing is of."""
        address = urllib.parse.urlsplit(self.path)
        key = urllib.parse.unquote(address.path.removeprefix("/").partition("/")[2])
        return key or urllib.parse.parse_qs(address.query).get("prefix", [""])[0]

    @property
    def is_conditional(self):
        return any(name in self.headers for name in ("if-none-match", "if-match"))

    @property
    def kind(self):
        """What it is for, in the words of a bill."""
        if self.method == "GET" and urllib.parse.urlsplit(self.path).path.strip("/").count("/") == 0:
            return "list"
        what = "log" if "/_delta_log/" in self.key else "lease" if "/_recorders/" in self.key else "part" if "/day=" in self.key else "other"
        return f"{self.method.lower()} {what}"


@dataclass
class Plan:
    """What is done to one bucket, and what was asked of it."""

    strike: object = None
    # Such a store ignores the condition of a put.
    is_deaf: bool = False
    # Nobody answers.
    is_away: bool = False
    requests: Counter = field(default_factory=Counter)
    sent: Counter = field(default_factory=Counter)
    received: Counter = field(default_factory=Counter)
    seen: list = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, request):
        """Counts a request; gives its number."""
        with self.lock:
            self.requests[request.kind] += 1
            self.sent[request.kind] += len(request.body)
            self.seen.append((request.method, request.key))
            return len(self.seen) - 1

    def begin(self, strike=None):
        """Counts from 0 again, with other faults."""
        with self.lock:
            self.strike = strike
            self.requests, self.sent, self.received, self.seen = Counter(), Counter(), Counter(), []


def once(at, fault):
    """A fault at one request, as far as it can be one there."""

    def strike(number, request):
        return fault if number == at and (fault not in CONDITIONAL or request.is_conditional) else None

    return strike


class Proxy:
    """Listens on a free port of this machine, until it is closed."""

    def __init__(self, port):
        self.behind, self.plans = port, {}
        # Moto looks and puts in two steps; a store that keeps its word does it in one.
        self.puts = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Otherwise the body of an answer waits for the peer to acknowledge its head.
            disable_nagle_algorithm = True

            def handle(self):
                try:
                    super().handle()
                except (ConnectionError, TimeoutError):
                    pass  # whoever asked was killed

            def log_message(self, *_):
                pass

            def any(self):
                proxy.answer(self)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = any

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)

    def plan(self, bucket):
        return self.plans.setdefault(bucket, Plan())

    def answer(self, peer):
        """One request, from its body to the end of the answer."""
        headers = {name.lower(): value for name, value in peer.headers.items()}
        length = int(headers.get("content-length", 0))
        body = peer.rfile.read(length)
        if len(body) < length:
            # It was killed while it spoke; the store has not heard it all and does nothing.
            peer.close_connection = True
            return
        request = Request(peer.command, peer.path, headers, body)
        plan = self.plan(urllib.parse.urlsplit(peer.path).path.split("/")[1])
        if plan.is_away:
            peer.close_connection = True
            return
        number = plan.note(request)
        fault = plan.strike(number, request) if plan.strike else None
        if callable(fault):
            status, found, content = fault(lambda: self.forward(plan, request))
        elif fault in REFUSALS:
            status, found, content = refusal(*REFUSALS[fault][:2])
        elif fault == "broken":
            peer.close_connection = True
            return
        else:
            if fault == "slow":
                time.sleep(SLOW)
            status, found, content = self.forward(plan, request)
            if fault == "forgotten":
                peer.close_connection = True
                return
            if fault in FORGETFUL:
                status, found, content = refusal(*FORGETFUL[fault][:2])
        plan.received[request.kind] += len(content)
        peer.send_response_only(status)
        for name, value in found:
            peer.send_header(name, value)
        if "content-length" not in {name.lower() for name, _ in found}:
            peer.send_header("Content-Length", str(len(content)))
        peer.end_headers()
        if request.method == "HEAD":
            return
        if fault == "half":
            peer.wfile.write(content[: len(content) // 2])
            peer.close_connection = True
            return
        peer.wfile.write(content)

    def forward(self, plan, request):
        """Asks the store; gives status, headers and body."""
        dropped = HOP | ({"if-none-match", "if-match"} if plan.is_deaf else set())
        headers = {name: value for name, value in request.headers.items() if name not in dropped}
        connection = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=30)
        try:
            with self.puts if request.method == "PUT" else threading.Lock():
                connection.request(request.method, request.path, request.body, headers)
                answer = connection.getresponse()
                content = answer.read()
            keep = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP or (name.lower() == "content-length" and request.method == "HEAD")]
            return answer.status, keep, content
        finally:
            connection.close()


def refusal(status, code):
    return status, [("Content-Type", "application/xml")], ERROR.format(code).encode()
