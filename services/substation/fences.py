"""Which balancers may still start sessions here: not one that counts as dead, nor what is left of one that restarted.

A fencing token (Kleppmann, "How to do distributed locking", 2016). Kept in memory only: after a restart balancers say it
again before they believe what runs here. Must not know sessions or how balancers decide.
"""

from __future__ import annotations

import functools
import json
import re
from collections import OrderedDict
from collections.abc import Mapping

from aiohttp import web

from config.problems import FieldFault, Problem, bad_fields, not_json
from services.http import read_body
from services.problem import ProblemError, json_response

#: The headers by which a balancer says where it listens, and which of its incarnations asks.
BALANCER = "Grid-Balancer"
INCARNATION = "Grid-Incarnation"
#: So many balancers are remembered, the ones that were heard last.
MOST = 32
_LARGEST = 2**62

_URL = re.compile(r"http://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?", re.ASCII)


class Fences:
    """The oldest incarnation of each balancer that is still listened to."""

    def __init__(self) -> None:
        self._least: OrderedDict[str, int] = OrderedDict()

    def heard(self, headers: Mapping[str, str]) -> None:
        """A request came with `headers`: what is left of its balancer's former incarnations is not listened to any more."""
        incarnation = _incarnation(headers)
        if incarnation is not None:
            self._raise(headers[BALANCER], incarnation)

    def fence(self, balancer: str, incarnation: int) -> None:
        """The `balancer` of that name counts as dead up to `incarnation`."""
        self._raise(balancer, incarnation + 1)

    def refusal(self, headers: Mapping[str, str]) -> Problem | None:
        """410 where the request with `headers` comes from a fenced incarnation; its `incarnation` is the newest fenced."""
        incarnation = _incarnation(headers)
        least = 0 if incarnation is None else self._least.get(headers[BALANCER], 0)
        if incarnation is None or incarnation >= least:
            return None
        return Problem(410, "this balancer counts as dead here", "fenced", extra={"incarnation": least - 1})

    def _raise(self, balancer: str, least: int) -> None:
        self._least[balancer] = max(least, self._least.get(balancer, 0))
        self._least.move_to_end(balancer)
        if len(self._least) > MOST:
            self._least.popitem(last=False)

    async def put(self, request: web.Request) -> web.Response:
        """`POST /fences`: `{"balancer": "http://…", "incarnation": 7}`."""
        self.fence(*_read(await read_body(request)))
        return json_response({})


def _incarnation(headers: Mapping[str, str]) -> int | None:
    return _number_of(headers.get(INCARNATION, ""), headers.get(BALANCER, ""))


@functools.lru_cache(maxsize=MOST)
def _number_of(text: str, url: str) -> int | None:
    """The same for each message of a stream: all of them came with one handshake."""
    known = text.isascii() and text.isdigit() and len(text) < 19
    return int(text) if known and _URL.fullmatch(url) else None


def _read(body: bytes) -> tuple[str, int]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProblemError(not_json("the body is not JSON")) from error
    if not isinstance(found, dict):
        raise ProblemError(bad_fields((FieldFault("", "a JSON object was expected"),)))
    balancer, incarnation = found.get("balancer"), found.get("incarnation")
    if not (isinstance(balancer, str) and _URL.fullmatch(balancer)):
        raise ProblemError(bad_fields((FieldFault("balancer", "must be the URL of a balancer, http://host:port"),)))
    if isinstance(incarnation, bool) or not (isinstance(incarnation, int) and 0 <= incarnation < _LARGEST):
        raise ProblemError(bad_fields((FieldFault("incarnation", f"must be a whole number below {_LARGEST}"),)))
    return balancer, incarnation
