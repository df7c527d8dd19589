"""Who may ask a service, and how long and how many clients may be; must not know HTTP servers, nor who asks.

The token is a secret: it is in no setting, no text, no exception and no `repr`, and leaves only as a header.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from config.errors import Invalid
from config.variables import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE

#: What a token is told to be; RFC 6750, section 2.1, has the characters.
TOKEN_RULE = "16 to 512 of A-Z a-z 0-9 - . _ ~ + / and = at its end"  # noqa: S105
HOW_TO_MAKE = "make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))' > FILE; chmod 600 FILE"
#: Paths that may need no token, by the names that `--open` takes.
MAY_BE_OPEN: Mapping[str, str] = {"health": "/health", "metrics": "/metrics"}

_TOKEN = re.compile(r"(?=.{16,512}\Z)[A-Za-z0-9._~+/-]+=*", re.ASCII)
#: A file that is larger holds no token.
_MOST_BYTES = 4096


class Token:
    """What services and clients of one grid share; ValueError, without the text, where `text` cannot be one."""

    __slots__ = ("_secret",)

    def __init__(self, text: str) -> None:
        if not _TOKEN.fullmatch(text):
            raise ValueError(TOKEN_RULE)
        self._secret = text.encode("ascii")

    def __repr__(self) -> str:
        return "Token(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token is not written down")

    def matches(self, header: str | None) -> bool:
        """Whether an `Authorization` header brings it; how long that takes does not tell how much of it is right."""
        if header is None:
            return False
        scheme, _, given = header.partition(" ")
        if scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip(" ").encode("utf-8", "surrogateescape"), self._secret)

    def header(self) -> dict[str, str]:
        """The header that brings it."""
        return {"Authorization": f"Bearer {self._secret.decode('ascii')}"}


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask: whoever brings the `token`; `open_paths` need none.

    Without a token, whoever asks by a loopback name, or by one of `hosts` (lower case, without port).
    """

    token: Token | None = None
    open_paths: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long clients may take (wall seconds), and how many connections there may be.

    `client_timeout_s` is for a whole request, from its first byte to its last, and for each part of an answer to be
    taken; `idle_timeout_s` for a connection between two requests.
    """

    client_timeout_s: float = 10.0
    idle_timeout_s: float = 75.0
    max_connections: int = 10_000


#: What services of a cluster on this machine are told: no token, loopback names only …
LOCAL = Access()
#: … and the default patience.
PATIENT = Patience()


def read_token(environ: Mapping[str, str], file: str | None = None) -> Token | None:
    """The token in `file`, else in the file that `GRIDCTL_TOKEN_FILE` names, else in `GRIDCTL_TOKEN`; None without any.

    Invalid where both variables are set, and where there is none that can be used: a variable that is set and empty is
    a mistake, not "no token".
    """
    named, held = environ.get(TOKEN_FILE_VARIABLE), environ.get(TOKEN_VARIABLE)
    if file is not None:
        return _from_file(file, "--token-file")
    if named is not None and held is not None:
        raise Invalid(f"{TOKEN_VARIABLE} and {TOKEN_FILE_VARIABLE} are both set", "unset one of them")
    if named is not None:
        return _from_file(named, TOKEN_FILE_VARIABLE)
    return None if held is None else _from_text(held, TOKEN_VARIABLE)


def _from_file(name: str, where: str) -> Token:
    try:
        with Path(name).open("rb") as file:
            found = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no such path"
        hint = _who_must_read_it() if isinstance(error, PermissionError) else HOW_TO_MAKE
        raise Invalid(f"{where}: the token cannot be read from {name!r}: {why}", hint) from error
    return _from_text(found.decode("ascii", "replace"), f"{where}: {name}")


def _who_must_read_it() -> str:
    """Where one is there: in a container it is the host's file, with the host's mode, and the reader is nobody there."""
    return (
        f"user {os.geteuid()}, who runs this, must be able to read it: chmod 444 the file (of a container: on its host), "
        "and chmod 700 its folder there, so that nobody else gets to it"
    )


def _from_text(text: str, where: str) -> Token:
    trimmed = text.strip()
    try:
        return Token(trimmed)
    except ValueError as error:
        found = f"{len(trimmed)} characters" if trimmed else "nothing"
        raise Invalid(f"{where}: expected a token of {error}; found {found}", HOW_TO_MAKE) from None
