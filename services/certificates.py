"""The system's certificates, read when somebody is first reached by TLS and not before. Must not know who that is.

aiohttp reads them twice as soon as it is imported, which takes longer than the rest of it; a grid on one machine needs none.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator
from typing import Any

#: Where OpenSSL looks, before its default places.
_PLACES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@contextlib.contextmanager
def unread() -> Iterator[None]:
    """Within it there seem to be no certificates: for the import of aiohttp, whose own contexts then trust nobody.

    Every client of this process must bring a `Trusting` context from then on. The environment is changed meanwhile: use it
    where there is one thread only.
    """
    before = {name: os.environ.get(name) for name in _PLACES}
    os.environ.update(dict.fromkeys(_PLACES, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


class Trusting(ssl.SSLContext):
    """A context as a client of aiohttp has it: it trusts whom the system trusts. Reads the certificates when first used."""

    def __new__(cls) -> Trusting:
        """Reads nothing yet."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self) -> None:
        self._read: ssl.SSLContext | None = None

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """As `ssl.SSLContext.wrap_bio`."""
        if self._read is None:
            self._read = ssl.create_default_context()
            self._read.set_alpn_protocols(("http/1.1",))
        return self._read.wrap_bio(*args, **kwargs)
