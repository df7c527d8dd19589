"""One service that `gridctl serve` runs as a real process, to be asked over HTTP and signalled."""

from __future__ import annotations

import http.client
import json
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

JSON = {"Content-Type": "application/json"}


class Served:
    """A service that runs, and its port."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and the decoded body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            found = dict(answer.getheaders())
            return answer.status, found, json.loads(text) if "json" in found["Content-Type"] else text.decode()
        finally:
            connection.close()

    def charge(self, ev_id: str = "EV1", **more: Any) -> tuple[int, dict[str, str], Any]:
        """A charge request."""
        return self.ask("POST", "/charge", json.dumps({"ev_id": ev_id, **more}).encode(), JSON)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """The exit code after a signal, and all it logged."""
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=60)
        return self.process.returncode, log


@contextmanager
def served(environment: dict[str, str], *flags: str, role: str = "substation") -> Iterator[Served]:
    """`gridctl serve` with `flags` on a free port, killed in the end."""
    command = [sys.executable, "-P", "-m", "gridctl", "serve", role, "--port", "0", *flags]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        assert f" ({role}) listens on http://127.0.0.1:" in line, line or process.stderr.read()
        yield Served(process, int(line.rsplit(":", 1)[1]))
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def until(condition: Any, limit_s: float = 60.0) -> None:
    """Until `condition`; AssertionError after `limit_s` wall seconds."""
    end_s = time.monotonic() + limit_s
    with selectors.DefaultSelector() as idle:
        while not condition():
            assert time.monotonic() < end_s, "this took too long"
            idle.select(0.02)
