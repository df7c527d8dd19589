"""The socket that `gridctl serve` listens on; must not know what is served there."""

from __future__ import annotations

import errno
import socket
from typing import Any, NamedTuple

from config.errors import GridError, InUse, Invalid

BACKLOG = 4096


class Place(NamedTuple):
    """Where a socket may listen: what the host was resolved to, once."""

    host: str
    family: socket.AddressFamily
    address: tuple[Any, ...]

    @property
    def ip(self) -> str:
        """The IP address."""
        return str(self.address[0]).partition("%")[0]


def resolve(host: str, port: int) -> Place:
    """The place that `host` and `port` (0: a free one) mean; Invalid where there is none."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise Invalid(f"--host {host}: no such address: {error}", "127.0.0.1 listens for this machine only") from error
    return Place(host, family, address)


def listening_socket(place: Place) -> socket.socket:
    """A socket that listens there; InUse names who holds a busy port."""
    host, family, address = place
    port = int(address[1])
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _cannot_listen(host, port, error) from error
    return sock


def _cannot_listen(host: str, port: int, error: OSError) -> GridError:
    if error.errno == errno.EADDRINUSE:
        from gridctl.holder import holder  # noqa: PLC0415  psutil is wanted for this sentence only

        return InUse(f"port {port} is in use by {holder(port)}", "choose another with --port, or 0 for a free one")
    return GridError(f"cannot listen on {host}:{port}: {error.strerror}", "choose another with --host and --port")


def url_of(sock: socket.socket) -> str:
    """Where clients find what listens on `sock`."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
