"""A stand-in for a cluster's supervisor: answers `GET /snapshot` on the control socket, and can be ended."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from gridctl.state import ClusterPaths


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    snapshot: Callable[[], dict[str, Any]]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        body = json.dumps(self.server.snapshot()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def supervisor(root: Path, snapshot: Callable[[], dict[str, Any]], name: str = "grid") -> Iterator[Callable[[], None]]:
    """While the `with` lasts, a cluster `name` under the state root `root` answers with `snapshot()`; gives what ends it."""
    paths = ClusterPaths(root, name)
    paths.control_socket.parent.mkdir(parents=True, exist_ok=True)
    server = _Server(str(paths.control_socket), _Handler)
    server.snapshot = snapshot
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    def end() -> None:
        server.shutdown()
        thread.join()
        server.server_close()
        paths.control_socket.unlink(missing_ok=True)

    try:
        yield end
    finally:
        end()
