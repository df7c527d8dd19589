"""From a request to whoever owns its EV, this balancer or another one, until it is answered or time is over.

A request may be passed on more than once: its ids make that harmless. Must not know HTTP, or how a request is placed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from config.messages import ChargeRequest
from config.problems import Problem
from services import deadline
from services.balancer import refusals
from services.balancer.dispatch import Dispatch
from services.balancer.following import Following
from services.balancer.line import Silent
from services.balancer.membership import Peer
from services.balancer.peers import PeerLine, Reply
from services.balancer.replicas import Replicas
from services.tracing import REQUEST_ID

#: After an answer that nobody could use, or that of one which sees the members otherwise, the next try (wall seconds).
PAUSE_S = 0.025
#: No try is begun with less than this left (wall seconds).
SHORTEST_TRY_S = 0.01


@dataclass(frozen=True, slots=True)
class Passed:
    """Another balancer's answer, as it came."""

    status: int
    body: Mapping[str, Any]


Answer = dict[str, Any] | Problem | Passed


class Forwarding:
    """Sees to it that each request is answered by its owner. All deadlines are wall seconds, monotonic."""

    def __init__(
        self, dispatch: Dispatch, following: Following, replicas: Replicas, line: PeerLine, now_s: Callable[[], float]
    ) -> None:
        self._dispatch = dispatch
        self._following = following
        self._replicas = replicas
        self._members = replicas.members
        self._line = line
        self._now_s = now_s

    async def answer(self, request: ChargeRequest, deadline_s: float, forwarded: bool) -> Answer:
        """What `request`, which has its id, is answered; one that was `forwarded` is not passed on again.

        Its sender looks for its owner.
        """
        REQUEST_ID.set(str(request.request_id))
        answer: Answer | None = None
        while answer is None and deadline_s - self._now_s() > SHORTEST_TRY_S:
            changed, owner = self._replicas.change(), self._members.whose(request.ev_id)
            if owner is None:
                await self._within(deadline_s, changed.wait())
            elif owner == self._members.url:
                answer = await self._here(request, deadline_s)
            elif forwarded:
                answer = await self._dispatch.answer(request, deadline_s)
                return refusals.not_owner(owner) if _is_moved(answer) else answer
            else:
                answer = await self._there(owner, request, deadline_s)
        return refusals.no_owner() if answer is None else answer

    def is_here(self, ev_id: str) -> bool:
        """Whether requests of `ev_id` are answered by this one, now, and no other need be asked before."""
        return self._members.is_alone_here(ev_id)

    async def again(self, request: ChargeRequest, answer: Answer, deadline_s: float) -> Answer:
        """`answer`, which this one gave; where `request` is not its own any more, that of whoever owns it by now."""
        if not _is_moved(answer):
            return answer
        await self._pause(deadline_s)
        return await self.answer(request, deadline_s, forwarded=False)

    async def _here(self, request: ChargeRequest, deadline_s: float) -> Answer | None:
        """The answer of this one, the owner; or of one that took `request` in while it was the owner; None: look anew."""
        for peer in self._members.up:
            if peer.holds:
                reply = await self._ask_while(partial(_is_up, peer), peer.url, request, deadline_s)
                if reply is None:
                    await self._pause(deadline_s)
                if reply is None or not _is_not_owner(reply):
                    return reply
        answer = await self._dispatch.answer(request, deadline_s)
        if not _is_moved(answer):
            return answer
        await self._pause(deadline_s)
        return None

    async def _there(self, owner: str, request: ChargeRequest, deadline_s: float) -> Answer | None:
        """The answer of `owner`, unless it is another one meanwhile, or has none: None."""
        members, ev_id = self._members, request.ev_id
        found = await self._ask_while(lambda: members.whose(ev_id) == owner, owner, request, deadline_s)
        if found is not None and not _is_not_owner(found):
            return found
        await self._pause(deadline_s)
        return None

    async def _ask_while(
        self, valid: Callable[[], bool], url: str, request: ChargeRequest, deadline_s: float
    ) -> Passed | None:
        """The answer of the balancer at `url`; None without, or once members changed and it is not `valid`."""
        asking = asyncio.ensure_future(self._ask(url, request, deadline_s))
        try:
            while not asking.done():
                view = asyncio.ensure_future(self._replicas.change().wait())
                await asyncio.wait({asking, view}, return_when=asyncio.FIRST_COMPLETED)
                view.cancel()
                if not asking.done() and not valid():
                    return None
            return asking.result()
        finally:
            asking.cancel()

    async def _ask(self, url: str, request: ChargeRequest, deadline_s: float) -> Passed | None:
        reply = await self._forward(url, "POST", "/route", request.model_dump(exclude_none=True), deadline_s)
        return None if reply is None else Passed(reply.status, reply.body)

    async def _forward(
        self, url: str, method: str, path: str, body: Mapping[str, Any] | None, deadline_s: float
    ) -> Reply | None:
        remaining_s = deadline_s - self._now_s()
        if remaining_s <= SHORTEST_TRY_S:
            return None
        try:
            return await self._line.forward(url, method, path, body, deadline.grant(remaining_s), remaining_s)
        except Silent:
            return None

    # -- what became of a request ---------------------------------------------------------------------------------------
    async def follow(self, method: str, request_id: str, deadline_s: float, forwarded: bool) -> Answer:
        """The answer to `GET` or `DELETE` for `request_id`; where this one knows none, of whoever does."""
        answer = await self._do(method)(request_id, deadline_s)
        unknown = isinstance(answer, Problem) and answer.reason == "unknown-request"
        if not unknown or forwarded or not self._members.peers:
            return answer
        path, peers = f"/requests/{request_id}", list(self._members.peers.values())
        asked = await asyncio.gather(*(self._forward(p.url, method, path, None, deadline_s) for p in peers if p.up))
        for reply in asked:
            if reply is not None and reply.status != 404:
                return Passed(reply.status, reply.body)
        everybody = len(asked) == len(peers) and None not in asked
        return answer if everybody else refusals.nobody_knows(request_id)

    def _do(self, method: str) -> Callable[[str, float], Awaitable[dict[str, Any] | Problem]]:
        return self._following.cancel if method == "DELETE" else self._following.find

    async def _pause(self, deadline_s: float) -> None:
        await self._within(min(deadline_s, self._now_s() + PAUSE_S), self._replicas.change().wait())

    async def _within(self, deadline_s: float, awaited: Awaitable[object]) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(awaited, max(0.0, deadline_s - self._now_s()))


def _is_up(peer: Peer) -> bool:
    return peer.up


def _is_moved(answer: Answer) -> bool:
    return isinstance(answer, Problem) and answer.reason == refusals.MOVED


def _is_not_owner(found: Passed) -> bool:
    return found.status == 503 and found.body.get("reason") == refusals.NOT_OWNER
