"""Lets requests in, or says why not: by the token, and without one by the name that was asked for.

A browser can be made to send requests to this machine by any page, under a name whose address the page's owner changed to
127.0.0.1 (DNS rebinding): the name in `Host` tells. Must not know what any service answers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from aiohttp import hdrs
from aiohttp.web_request import BaseRequest

from config.access import Access
from config.problems import Problem
from services.hosts import host_of, is_loopback, origin_host

#: How many different `Host` headers are remembered as good.
_REMEMBERED = 256
#: Refusals are logged at most this often (wall seconds).
LOGGED_EVERY_S = 10.0

_log = logging.getLogger(__name__)


class Gate:
    """Decides for one service, by `access`. One event loop only."""

    def __init__(self, access: Access, now_s: Callable[[], float] = time.monotonic) -> None:
        self._token = access.token
        self._open = access.open_paths if access.token else frozenset()
        self._hosts = access.hosts
        self._good: set[str] = set()
        self._now_s = now_s
        self._logged_s = -LOGGED_EVERY_S
        self._unlogged = 0

    def refusal(self, request: BaseRequest) -> Problem | None:
        """Why `request` is not trusted (401, 403); None where it is."""
        if self._token is not None:
            if self._token.matches(request.headers.get(hdrs.AUTHORIZATION)):
                return None
            return _unauthorized(request.headers.get(hdrs.AUTHORIZATION) is not None)
        host = request.headers.get(hdrs.HOST)
        if host is not None and host not in self._good and not self._is_good(host):
            return _unknown(host)
        if request.raw_path[:1] != "/" and not self._is_target_good(request):
            return _unknown(request.raw_path)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and not self._is_own(origin_host(origin)):
            return _foreign(origin)
        return None

    def is_open(self, request: BaseRequest) -> bool:
        """Whether it may be answered though it is not trusted."""
        return request.method in ("GET", "HEAD") and request.rel_url.raw_path in self._open

    def log(self, request: BaseRequest, problem: Problem) -> None:
        """Writes down that `request` was refused; one line for all that were within some seconds."""
        now_s = self._now_s()
        self._unlogged += 1
        if now_s - self._logged_s < LOGGED_EVERY_S:
            return
        about = {"status": problem.status, "reason": problem.reason, "remote": request.remote}
        _log.warning("refused", extra={**about, "path": request.path[:200], "refused": self._unlogged})
        self._logged_s, self._unlogged = now_s, 0

    def _is_good(self, host: str) -> bool:
        if not self._is_own(host_of(host)):
            return False
        if len(self._good) < _REMEMBERED:
            self._good.add(host)
        return True

    def _is_target_good(self, request: BaseRequest) -> bool:
        """Of a target that is no path: `*`, or one that names its host as `Host` must (RFC 9112, section 3.2)."""
        return request.raw_path == "*" or self._is_own(host_of(request.url.raw_authority))

    def _is_own(self, host: str | None) -> bool:
        return host is not None and (is_loopback(host) or host in self._hosts)


def _unauthorized(brought_one: bool) -> Problem:
    challenge = 'Bearer realm="gridctl"' + (', error="invalid_token"' if brought_one else "")
    detail = "this is not the grid's token" if brought_one else "a token is needed: Authorization: Bearer …"
    return Problem(401, detail, "unauthorized", headers={hdrs.WWW_AUTHENTICATE: challenge})


def _unknown(host: str) -> Problem:
    detail = f"{host[:80]!r} is no name of this machine that is known here; ALLOWED_HOSTS (--allowed-hosts) adds names"
    return Problem(403, detail, "unknown-host")


def _foreign(origin: str) -> Problem:
    return Problem(403, f"pages of {origin[:80]!r} may not ask here; ALLOWED_HOSTS adds names", "foreign-origin")
