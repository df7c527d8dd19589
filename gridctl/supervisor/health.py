"""Asks every member how it is, as often as somebody cares; must not know what the answers lead to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp

from config.names import BALANCER, CHARGE_REQUEST, EXTERNAL, GRAFANA, PROMETHEUS
from gridctl.supervisor.happenings import Event, Probed, State
from gridctl.supervisor.member import Member
from gridctl.supervisor.probes import Probes
from gridctl.supervisor.rates import Meter
from services.question import Odd

#: Wall seconds between two questions: while a service starts, while somebody looks at the table, and otherwise.
STARTING_S = 0.03
#: Of few members each is asked sooner while it starts: after so long for each that is watched (wall seconds).
STARTING_EACH_S = 0.002
WATCHED_S = 0.5
QUIET_S = 2.0
#: Many are asked less often: so long a member between two questions, while somebody looks, and otherwise (wall seconds).
WATCHED_EACH_S = 0.0025
QUIET_EACH_S = 0.02
#: A question without an answer for this long has failed.
PATIENCE_S = 2.0
_UNANSWERED = f"no answer within {PATIENCE_S:g} s"
#: Somebody looks at the table if a snapshot was taken within this time.
LOOKING_S = 3.0
#: A health answer is small; more than this is not one.
MAX_ANSWER = 1 << 20
#: Where somebody else's program says how it is; ours do at /health.
HEALTH_PATHS = {PROMETHEUS: "/-/ready", GRAFANA: "/api/health"}


class Crowd(Protocol):
    """Those who are followed."""

    def post(self, name: str, event: Event) -> None:
        """Something was heard of member `name`."""

    def by_role(self, *roles: str) -> Iterator[Member]:
        """The members of these roles."""


@dataclass(slots=True)
class Watcher:
    """Follows the health of members over HTTP and posts what it hears to the cluster it follows."""

    session: aiohttp.ClientSession
    now: Callable[[], float] = time.monotonic
    probes: Probes = field(default_factory=Probes)
    looked_at: float = float("-inf")
    _crowd: Crowd | None = None
    _watched: int = 0

    def follow(self, crowd: Crowd) -> None:
        """Whom to tell, and where the balancer is found through which external services are heard."""
        self._crowd = crowd

    def look(self) -> None:
        """Somebody looks: ask more often for a while."""
        self.looked_at = self.now()

    async def watch(self, member: Member) -> None:
        """Ask `member` until cancelled."""
        self._watched += 1
        try:
            while True:
                await self._ask_once(member)
        finally:
            self._watched -= 1
            self._hang_up(member)

    def _hang_up(self, member: Member) -> None:
        """A service that stops must wait for nobody who is connected only to look at it."""
        self.probes.forget(member.own_url + "/health")

    async def _ask_once(self, member: Member) -> None:
        member.stirred.clear()
        if not member.external and (member.life.pid is None or member.state in {State.PAUSED, State.STOPPING}):
            if member.state is not State.PAUSED:
                self._hang_up(member)
            await member.stirred.wait()
            return
        pid = member.life.pid
        answer = await (self._ask_balancer(member) if member.external else self._ask(member))
        if member.life.pid == pid:
            self._heard(member, *answer)
        await self._rest(member, in_doubt=not answer[0])

    async def routable(self) -> set[str]:
        """The substations that the balancer would choose now; none while it does not answer."""
        return {str(row.get("name")) for row in await self._believed() if row.get("state") == "fresh"}

    async def _believed(self) -> list[dict[str, Any]]:
        balancer = next(self._crowd.by_role(BALANCER), None) if self._crowd else None
        if balancer is None or balancer.life.pid is None:
            return []
        _, status = await self._get(balancer.url + "/status", once=True)
        rows = status.get("substations")
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    async def _rest(self, member: Member, in_doubt: bool) -> None:
        looking = self.now() - self.looked_at < LOOKING_S
        often = looking or in_doubt or member.state is State.DRAINING
        wait_s = pause_s(self._watched, often)
        if member.state is State.STARTING:
            await asyncio.sleep(min(STARTING_S, self._watched * STARTING_EACH_S))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):  # not wait_for: before 3.12 it may forget a cancellation
                await member.stirred.wait()

    async def _ask(self, member: Member) -> tuple[bool, str, dict[str, Any]]:
        path = HEALTH_PATHS.get(member.spec.role)
        if path is None:
            status, document = await self._health(member.own_url + "/health")
        else:
            status, document = await self._get(member.own_url + path, words_only=True)
        if status == 200:
            return True, "", document
        word = document.get("detail") or document.get("status") or document.get("error") or ""
        return False, f"health {status or 'unanswered'}: {word}".rstrip(": "), document

    async def _ask_balancer(self, member: Member) -> tuple[bool, str, dict[str, Any]]:
        rows = [row for row in await self._believed() if row.get("name") == member.name]
        if not rows:
            return False, "the balancer does not know it yet", {}
        heard = rows[0].get("state") == "fresh"
        return heard, "" if heard else f"the balancer says: {rows[0].get('state')}", rows[0]

    async def _health(self, url: str) -> tuple[int, dict[str, Any]]:
        """As `_get`, of a service of ours; what it says is asked for anew where it is not as usual."""
        try:
            status, text = await self.probes.get(url, PATIENCE_S)
            document = json.loads(text)
        except TimeoutError:
            return 0, {"error": _UNANSWERED}
        except (Odd, OSError, ValueError):
            return await self._get(url)
        return status, document if isinstance(document, dict) else {}

    async def _get(self, url: str, words_only: bool = False, once: bool = False) -> tuple[int, dict[str, Any]]:
        """The answer, which may be no more than its status; the connection is not kept where this is `once`."""
        headers = {"Connection": "close"} if once else None
        try:
            async with self.session.get(
                url, headers=headers, timeout=aiohttp.ClientTimeout(total=PATIENCE_S)
            ) as answer:
                text = await answer.content.read(MAX_ANSWER)
                document = {} if words_only else json.loads(text)
                return answer.status, document if isinstance(document, dict) else {}
        except TimeoutError:
            return 0, {"error": _UNANSWERED}
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return 0, {"error": str(error) or type(error).__name__}

    def _heard(self, member: Member, ok: bool, reason: str, document: dict[str, Any]) -> None:
        now = self.now()
        degraded = document.get("status") == "degraded"
        if ok or degraded:
            member.health = document
            count(member, document, now)
        # an answer from before the drain says nothing: a session may have begun since
        refusing = degraded or document.get("status") == "draining"
        if self._crowd is not None:
            self._crowd.post(member.name, Probed(ok, reason, refusing and document.get("sessions") == 0, degraded))


def pause_s(members: int, often: bool) -> float:
    """Wall seconds between two questions to one of so many members."""
    return max(WATCHED_S, members * WATCHED_EACH_S) if often else max(QUIET_S, members * QUIET_EACH_S)


def count(member: Member, document: dict[str, Any], now: float) -> None:
    """Fold a health answer's counters into the member's meters; who watches the grid has none."""
    if member.is_watcher:
        return
    if member.spec.role == CHARGE_REQUEST:
        by_status = document.get("requests_total") or {}
        member.arrivals.read(sum(by_status.values()), now)
        for status, number in by_status.items():
            member.answers.setdefault(int(status), Meter()).read(number, now)
        return
    refused = document.get("refused_total") or 0
    accepted = document.get("accepted_total") or 0
    member.refusals.read(refused, now)
    if member.spec.role != EXTERNAL:
        member.arrivals.read(accepted + refused, now)
    if member.spec.role != BALANCER:
        member.loads.note(document.get("load_pct") or 0.0, now)
