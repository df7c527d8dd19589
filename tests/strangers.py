"""HTTP servers that are none of ours: the standard library's, on loopback, in threads. Must not know what they stand for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Stranger(BaseHTTPRequestHandler):
    """Answers by what a subclass's `get` and `post` say, and logs nothing."""

    def get(self) -> None:
        """A GET came."""
        self.send_error(405)

    def post(self, body: bytes) -> None:
        """A POST came, with `body`."""
        self.send_error(405)

    def answer(self, status: int = 200, body: bytes = b"", kind: str | None = None) -> None:
        """The whole answer; `kind` is its media type."""
        self.send_response(status)
        if kind is not None:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """See http.server, as with those below."""
        self.get()

    def do_POST(self) -> None:
        """With its body read."""
        self.post(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """The port where `handler` answers, each request in a thread of its own, until the block ends."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
