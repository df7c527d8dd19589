"""Asks the service in this container whether it is healthy; the image's HEALTHCHECK. Must not import anything slow."""

from __future__ import annotations

import os
import socket
import sys


def healthy(port: int, timeout_s: float = 2.5) -> bool:
    """Whether `GET /health` on this machine's `port` is answered 200 in time."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            return connection.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(not healthy(int(os.environ["PORT"])))
