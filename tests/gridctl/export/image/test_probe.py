"""The images' health check: what it makes of a service's answer, and of none."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gridctl.export.image import probe
from tests.strangers import Stranger, answering


@contextmanager
def service(status: int) -> Iterator[int]:
    """The port of a service that answers `GET /health` so."""

    class Service(Stranger):
        def get(self) -> None:
            self.answer(status if self.path == "/health" else 404)

    with answering(Service) as port:
        yield port


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (401, False)])
def test_only_200_is_healthy(status: int, healthy: bool) -> None:
    with service(status) as port:
        assert probe.healthy(port) is healthy


def test_nobody_and_silence_are_not() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as silent:
        assert not probe.healthy(silent.server_port, timeout_s=0.1)  # takes the connection, and is never served
    assert not probe.healthy(silent.server_port)


def test_it_runs_without_anything_installed() -> None:
    with service(200) as port:
        command = [sys.executable, "-IS", str(probe.__file__)]
        done = subprocess.run(command, env={"PORT": str(port), "PATH": os.environ["PATH"]}, timeout=20, check=False)
    assert done.returncode == 0
    assert subprocess.run(command, env={"PORT": str(port)}, timeout=20, check=False).returncode == 1
