"""A real HTTP server on a real Unix socket that answers what a test tells it: the other side of `Control`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

from gridctl.state import ClusterPaths


class Supervisor(ThreadingUnixStreamServer):
    """Answers `METHOD /path` with a status and a body; what it was asked is in `asked`.

    A body that is a list is sent as NDJSON lines, in HTTP/1.1 chunks; while `hold` is not set nothing is answered.
    """

    daemon_threads = True
    request_queue_size = 16

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, Any]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.pause_in_stream = threading.Event()
        self.pause_in_stream.set()
        self.truncate = False
        super().__init__(str(path), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Supervisor

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.asked.append((f"{self.command} {self.path}", body))
        self.server.hold.wait(20)
        status, answer = self.server.answers.get(f"{self.command} {self.path}", (404, {"message": "no such thing"}))
        self.send_response(status)
        if isinstance(answer, list):
            self._stream(answer)
            return
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, lines: list[Any]) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        for line in lines:
            content = json.dumps(line).encode() + b"\n"
            self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
            self.wfile.flush()
            self.server.pause_in_stream.wait(20)
        if not self.server.truncate:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def supervisor_at(paths: ClusterPaths) -> Iterator[Supervisor]:
    """A cluster at `paths` whose record, folder and socket are there, until the end of the `with`."""
    paths.logs.mkdir(parents=True, exist_ok=True)
    paths.record.write_text(json.dumps({"supervisor_pid": 4242}))
    paths.control_socket.parent.mkdir(parents=True, exist_ok=True)
    with Supervisor(paths.control_socket) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.hold.set()
            server.pause_in_stream.set()
            server.shutdown()
            thread.join()
            paths.control_socket.unlink()


def process(name: str, **fields: Any) -> dict[str, Any]:
    """An entry of a snapshot's `processes`, READY unless told otherwise."""
    entry = {
        "name": name,
        "role": "substation",
        "state": "READY",
        "pid": 1234,
        "host": "127.0.0.1",
        "port": 9001,
        "url": "http://127.0.0.1:9001",
        "restarts": 0,
        "uptime_s": 75.2,
        "cpu_pct": 1.25,
        "rss_bytes": 6_400_000,
        "reason": None,
    }
    return entry | fields


def snapshot(name: str, *processes: dict[str, Any]) -> dict[str, Any]:
    """What `GET /snapshot` answers of a running cluster."""
    cluster = {"name": name, "state": "READY", "supervisor_pid": 77, "state_dir": "/x", "uptime_s": 61.0}
    return {"cluster": cluster, "grid": {}, "processes": list(processes), "substations": []}
