"""A real HTTP server on loopback that misbehaves as it is told."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Behaviour:
    """What the server does with one path.

    `cuts` has one number an answer: after so many bytes of the body the connection breaks.
    `hold` keeps the connection open after so many bytes of the first answer, until `release`.
    """

    body: bytes = b""
    status: int = 200
    location: str = ""
    cuts: list[int] = field(default_factory=list)
    hold: int | None = None
    release: threading.Event = field(default_factory=threading.Event)
    tells_length: bool = True
    claims_length: int | None = None
    takes_ranges: bool = True
    has_tag: bool = True
    drip: float = 0.0  # seconds between single bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    path: str
    range: str | None
    if_range: str | None
    sent: int = 0  # bytes of the body


class Loopback(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours: dict[str, Behaviour] = {}
        self.seen: list[Seen] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def put(self, path: str, body: bytes = b"", **what: Any) -> Behaviour:
        self.behaviours[path] = Behaviour(body, **what)
        return self.behaviours[path]

    def sent(self) -> int:
        return sum(request.sent for request in self.seen)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up are what these tests are about


class Handler(BaseHTTPRequestHandler):
    server: Loopback
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        what = self.server.behaviours.get(self.path, Behaviour(status=404))
        seen = Seen(self.path, self.headers["Range"], self.headers["If-Range"])
        self.server.seen.append(seen)
        self.close_connection = True
        tag = f'"{hashlib.md5(what.body).hexdigest()}"'
        start = self._start(what, tag)
        body = what.body[start:]
        status = 206 if start else what.status
        if start >= len(what.body) > 0:
            status, body = 416, b""
        self.send_response(status)
        self.send_header("Connection", "close")
        if what.location:
            self.send_header("Location", what.location)
        if what.has_tag:
            self.send_header("ETag", tag)
        if status == 206:
            end = len(what.body) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(what.body)}")
        if what.tells_length:
            self.send_header("Content-Length", str(what.claims_length or len(body)))
        for name, value in what.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self._send(what, body, seen)

    def _start(self, what: Behaviour, tag: str) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if asked is None or not what.takes_ranges:
            return 0
        return int(asked[1]) if self.headers["If-Range"] in (None, tag) else 0

    def _send(self, what: Behaviour, body: bytes, seen: Seen) -> None:
        stop = what.cuts.pop(0) if what.cuts else len(body)
        hold, what.hold = what.hold, None
        for begin, end in [(0, hold), (hold, stop)] if hold is not None else [(0, stop)]:
            if begin:
                what.release.wait(30)
            self._write(body[begin:end], what.drip, seen)

    def _write(self, body: bytes, drip: float, seen: Seen) -> None:
        step = 1 if drip else 4096
        for position in range(0, len(body), step):
            piece = body[position : position + step]
            self.wfile.write(piece)
            self.wfile.flush()
            seen.sent += len(piece)
            time.sleep(drip)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def loopback() -> Iterator[Loopback]:
    server = Loopback()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        for behaviour in server.behaviours.values():
            behaviour.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
