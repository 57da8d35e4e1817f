"""A small cloud for the recorder: one endless stream of numbered events, sent again from a little before each time.

Where a session begins is the test's choice, so the events overlap what is kept already, as they do when a gap is filled.
"""

import socket
import threading
import time

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
PING = '{{"result":{{"event":{{"eventId":"ping{}","targetName":"projects/torture","eventType":"ping","data":null,"timestamp":"2026-01-01T00:00:00.000000Z"}}}}}}\n'


class Cloud:
    """Sends `rate` events a second to whoever asks, from `begin()` on."""

    def __init__(self, events, rate=10_000, begin=lambda: 0, until=None):
        self.events, self.rate, self.begin, self.until = events, rate, begin, until
        # One above the highest number that was handed to a socket, and how many sessions there were.
        self.sent, self.sessions, self.over = 0, 0, False
        self.lock = threading.Lock()
        self.server = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        serve_each(self.server, self.serve)

    def close(self):
        self.over = True
        self.server.close()

    def serve(self, connection):
        request = head_of(connection)
        if request is None:
            return
        if b"devices:stream" not in request.partition(b"\r\n")[0]:
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")
            return
        connection.sendall(HEAD)
        self.session(connection)

    def session(self, connection):
        self.sessions += 1
        session, n = self.sessions, self.begin()
        send(connection, PING.format(session).encode())
        begun, first, pinged = time.monotonic(), n, time.monotonic()
        # A newer session ends this one.
        while not self.over and session == self.sessions:
            due = first + int((time.monotonic() - begun) * self.rate)
            due = min(due, n + 1000, self.until if self.until is not None else due)
            if due > n:
                with self.lock:
                    self.sent = max(self.sent, due)
                send(connection, self.events.stream(n, due))
                n = due
            elif time.monotonic() - pinged > 1:
                pinged = time.monotonic()
                send(connection, PING.format(session).encode())
            time.sleep(0.004)


def serve_each(server, serve):
    """Serves each connection on a thread of its own, until the server is closed."""

    def accept():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve_one, args=(connection,), daemon=True).start()

    def serve_one(connection):
        try:
            with connection:
                connection.settimeout(30)
                serve(connection)
        except (OSError, ValueError):
            # The recorder was killed, or hung up.
            return

    threading.Thread(target=accept, daemon=True).start()


def head_of(connection):
    """A request up to the end of its head, and what came behind it; none when it ends before."""
    request = b""
    while b"\r\n\r\n" not in request:
        piece = connection.recv(65536)
        if not piece:
            return None
        request += piece
    return request


def send(connection, body):
    connection.sendall(b"%x\r\n%b\r\n" % (len(body), body))
