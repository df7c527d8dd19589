"""The listening sockets that the launcher holds for its services; must not know what is served on them.

A port is bound before anything starts and stays bound while its service restarts: connections wait in the backlog
instead of being refused, and no other process can slip in. While a service is meant to be down the port refuses.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass, field

from config.errors import GridError, InUse

BACKLOG = 1024


@dataclass(slots=True, eq=False)
class HeldSocket:
    """One bound TCP socket and the address it really has.

    Several workers may have a share each: it listens while any share does, and is closed with the last. `beside` is the
    port that the holder of this share has for itself, and goes with it.
    """

    sock: socket.socket
    host: str
    port: int
    listening: bool = False
    lent: bool = False
    beside: HeldSocket | None = None
    _shares: list[HeldSocket] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._shares.append(self)

    def share(self) -> HeldSocket:
        """Another share of this socket, which does not ask to listen yet."""
        return HeldSocket(self.sock, self.host, self.port, _shares=self._shares)

    def follow(self, old: HeldSocket) -> None:
        """It takes the place of `old`, which is closed: where both are shares of one socket, nobody's connection is lost."""
        if old.sock is self.sock:
            self.listening = old.listening
        old.close()

    def lend(self) -> None:
        """From now on somebody else's program listens on this port, by its number; it is kept for that program.

        Linux lets it bind beside this socket as long as both say SO_REUSEADDR and this one does not listen.
        """
        self.listen(False)
        self.lent = True

    def listen(self, on: bool) -> None:
        """Accept connections into the backlog, or refuse them; the port stays bound either way."""
        others = any(each.listening for each in self._shares if each is not self)
        if self.lent:
            self._reuse(on)
        elif on and not self.listening and not others:
            self._reuse(True)
            self.sock.listen(BACKLOG)
        elif self.listening and not on and not others:
            self.sock.shutdown(socket.SHUT_RDWR)  # Linux: a listening socket goes back to bound (tcp_disconnect)
            self._reuse(False)
        self.listening = on and not self.lent
        if self.beside is not None:
            self.beside.listen(on)

    def _reuse(self, on: bool) -> None:
        """SO_REUSEADDR: connections that have ended are in nobody's way; while nobody listens, nobody else may bind."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(on))

    def close(self) -> None:
        """Give the port back, once nobody has a share any more."""
        if self not in self._shares:
            return
        if len(self._shares) > 1:
            self.listen(False)
        self._shares.remove(self)
        if not self._shares:
            self.sock.close()
        if self.beside is not None:
            self.beside.close()


def hold(name: str, host: str, port: int, fixed: bool) -> HeldSocket:
    """Bind `port` for service `name`, or a free one when it is busy and not `fixed`.

    Raises InUse, naming the holder, for a busy fixed port; GridError when the address cannot be bound at all.
    """
    try:
        return _bind(host, port) if port else _bind_free(host)
    except PermissionError as error:
        raise GridError(
            f"port {port} ({name}) may not be bound: {error.strerror}", "choose a port above 1023"
        ) from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise GridError(f"{host}:{port} ({name}) cannot be bound: {error.strerror}") from error
        if fixed:
            raise busy(name, port) from error
    return _bind_free(host)


def _bind_free(host: str) -> HeldSocket:
    """A free port, bound by its number: one that the kernel chose for port 0 would be given up while it does not listen."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as scout:
        scout.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        scout.bind((host, 0))
        return _bind(host, scout.getsockname()[1])


def busy(name: str, port: int) -> InUse:
    """The error for a port that the topology sets and another process holds."""
    from gridctl.holder import holder  # noqa: PLC0415 - psutil is wanted for this sentence only

    hint = "stop that process, or give this service another port in the topology (or none: then a free one is taken)"
    return InUse(f"port {port} ({name}) is in use by {holder(port)}", hint)


def _bind(host: str, port: int) -> HeldSocket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)  # with SO_REUSEADDR two may bind, only one may listen: this is the test that counts
    except OSError:
        sock.close()
        raise
    return HeldSocket(sock, host, sock.getsockname()[1], listening=True)
