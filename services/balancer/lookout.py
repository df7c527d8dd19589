"""Asks DNS again and again who is behind one name, and each new address who it is. Must not know requests or accounts."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from services.balancer.connections import Silent
from services.balancer.directory import Directory, Introduction
from services.balancer.targets import Target

#: DNS is asked this often (wall seconds) …
AGAIN_S = 2.0
#: … and an answer is waited for so long; one that comes later counts for the next round.
LOOKUP_S = 2.0
#: An address has this long to say who it is (wall seconds); so many are asked at a time.
ASKED_S = 1.0
ASKED_AT_ONCE = 32
#: Where DNS gives nothing at the start, it is waited for this long (wall seconds).
FIRST_S = 10.0

#: The URLs behind a host name and port; OSError where that cannot be said.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
#: What is at a URL, within so many wall seconds; Silent where nobody says.
Introduce = Callable[[str, float], Awaitable[Introduction]]

_log = logging.getLogger(__name__)


async def resolve(host: str, port: int) -> Sequence[str]:
    """See `Resolve`: all IPv4 and IPv6 addresses, by the system's resolver in a thread of its own."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    hosts = {str(address[0]) for _, _, _, _, address in found}
    return sorted(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for host in hosts)


@dataclass(frozen=True, slots=True)
class Dns:
    """How DNS is asked, and how often (wall seconds)."""

    resolve: Resolve = resolve
    again_s: float = AGAIN_S


#: The machine's own resolver.
SYSTEM = Dns()


class Lookout:
    """Keeps `directory` of the substations at `where` (`host:port`); `found` is told them after each round."""

    def __init__(
        self,
        where: str,
        directory: Directory,
        introduce: Introduce,
        found: Callable[[tuple[Target, ...]], None],
        now_s: Callable[[], float],
        dns: Dns = SYSTEM,
    ) -> None:
        host, _, port = where.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._directory = directory
        self._introduce = introduce
        self._found = found
        self._now_s = now_s
        self._dns = dns
        self._looking: asyncio.Future[Sequence[str]] | None = None
        self._failed = ""
        self._began_s = now_s()
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE)
        self.looked = False

    async def run(self) -> None:
        """Rounds without end. `looked` becomes true with the first that found an address, or after a while without."""
        try:
            while True:
                await self._round()
                await asyncio.sleep(self._dns.again_s)
        finally:
            if self._looking is not None:
                self._looking.cancel()

    async def _round(self) -> None:
        urls = await self._lookup()
        self._directory.resolved(urls, self._now_s())
        await asyncio.gather(*(self._ask(url) for url in self._directory.to_ask()))
        targets = self._directory.settle(self._now_s())
        self.looked = self.looked or self._directory.heard or self._now_s() - self._began_s >= FIRST_S
        self._found(targets)

    async def _lookup(self) -> Collection[str]:
        """What DNS gives; nothing where it fails or takes long: the same question is not put to it twice at a time."""
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._dns.resolve(self._host, self._port))
        done, _ = await asyncio.wait({self._looking}, timeout=LOOKUP_S)
        if not done:
            return self._say("no answer in time")
        looking, self._looking = self._looking, None
        try:
            urls = looking.result()
        except (OSError, UnicodeError) as error:
            return self._say(str(error))
        if not urls:
            return self._say("no address")
        self._failed = ""
        return urls

    def _say(self, detail: str) -> Collection[str]:
        if not self._failed:
            _log.warning("DNS is of no use", extra={"host": self._host, "detail": detail[:200]})
        self._failed = detail
        return ()

    async def _ask(self, url: str) -> None:
        try:
            async with self._asking:
                said: Introduction | str = await self._introduce(url, ASKED_S)
        except Silent as error:
            said = str(error)
        self._directory.told(url, said)
