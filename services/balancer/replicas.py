"""Several balancers as one: each tells the others what it knows, takes over from one that died, and steps back where it was
counted as dead itself. Must not know requests or HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from pydantic import ValidationError

from config.gossip import Note, NoteReply
from config.report import Report
from services.balancer.book import Entry
from services.balancer.connections import Silent
from services.balancer.membership import MOST_INCARNATION, MOST_TERM, TERM, Members, Peer
from services.balancer.outbox import Outbox, written
from services.balancer.part import Part
from services.balancer.peers import Gone, PeerLine

#: What is new is told after this, all of it together; where nothing is new a note says so much later (wall seconds).
GATHER_S = 0.02
HEARTBEAT_S = 0.25
#: A note is answered within this, or counts as not answered; one after a broken connection sooner (wall seconds).
NOTE_TIMEOUT_S = {False: 0.5, True: 0.3}
#: One that leaves so many in a row unanswered is dead; fewer, where its connection broke too.
MOST_FAILURES = {False: 4, True: 2}
#: After an unanswered note the next one waits this long; to a dead one that long (wall seconds).
PAUSE_S = 0.1
PROBE_S = 1.0
#: A starting balancer waits so long for each other one to answer before it counts it as dead (wall seconds).
JOIN_S = 1.5

_log = logging.getLogger(__name__)


class Replicas:
    """One balancer's membership. `unix_ms` is the clock from which incarnations are taken."""

    def __init__(
        self, members: Members, line: PeerLine, part: Part, now_s: Callable[[], float], unix_ms: Callable[[], int]
    ) -> None:
        self.members = members
        self._line = line
        self._part = part
        self._now_s = now_s
        self._unix_ms = unix_ms
        self._outboxes: dict[str, Outbox] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopped = False

    # -- what the rest of the balancer asks -------------------------------------------------------------------------------
    def change(self) -> asyncio.Event:
        """Set once the view that was valid at this call is not any more."""
        return self._changed

    def placed(self, entry: Entry) -> None:
        """A session began here: the others are told."""
        for outbox in self._to_tell() if self._outboxes else ():
            outbox.placed(entry)

    def heard(self, substation: str, report: Report) -> None:
        """`substation` gave a report: the others are told."""
        for outbox in self._to_tell() if self._outboxes else ():
            outbox.report(substation, report)

    def _to_tell(self) -> Iterator[Outbox]:
        for url, outbox in self._outboxes.items():
            if self.members.peers[url].up:
                self._news[url].set()
                yield outbox

    def fenced(self, incarnation: int) -> None:
        """Somebody counts this one as dead up to `incarnation`: it begins anew."""
        incarnation = min(incarnation, MOST_INCARNATION)
        if incarnation < self.members.incarnation or self.members.leaving:
            return
        self.members.reborn(incarnation, self._unix_ms())
        _log.warning("counted as dead by others; joins anew", extra={"incarnation": self.members.incarnation})
        self._part.identify(self.members.incarnation)
        self._change()
        self._do("join", self._enter)

    # -- coming and going -------------------------------------------------------------------------------------------------
    async def join(self) -> None:
        """Until this one has its share: the others know of it, or are dead and taken over."""
        self._part.identify(self.members.incarnation)
        for peer in list(self.members.peers.values()):
            self._follow(peer)
        self._do("join", self._enter)
        while not self.members.ready:
            await self.change().wait()

    async def leave(self) -> None:
        """Tells the others that this one ends; what is new with it."""
        self.members.leaving = True
        self._change()
        await asyncio.gather(*(self._tell(peer) for peer in self.members.up))

    async def stop(self) -> None:
        """Ends all notes."""
        self._stopped = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _do(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs `work` once at a time by `name`; again from the start where it was running."""
        if self._stopped:
            return
        if name in self._tasks:
            self._tasks[name].cancel()
        self._tasks[name] = task = asyncio.ensure_future(work())
        task.add_done_callback(_say_why)

    def _change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _enter(self) -> None:
        """Introduces this one to all others, then collects what runs: only then it has its share."""
        await asyncio.gather(*(self._introduce(peer) for peer in list(self.members.peers.values())))
        fences = self.members.fences
        await self._part.collect()
        self._begin_term()
        self.members.ready = True
        for peer in [peer for peer in self.members.peers.values() if not (peer.up or peer.taken)]:
            if fences.get(peer.url) == peer.fence:
                peer.taken = True
            else:
                self._do(_taking(peer), partial(self._take_over, peer))
        self._change()
        for event in self._news.values():
            event.set()
        if self.members.peers:
            _log.info("joined", extra={"incarnation": self.members.incarnation, "term": self.members.term})

    def _begin_term(self) -> None:
        self._part.begin_term(TERM * self.members.next_term(self._part.highest_attempt() // TERM))

    async def _introduce(self, peer: Peer) -> None:
        """Until `peer` has taken this one as a member, or counts as dead."""
        until_s = self._now_s() + JOIN_S
        peer.answered()
        while not await self._tell(peer, queue=list(self._part.waiting())):
            if self._now_s() >= until_s or (peer.broken and peer.failures > MOST_FAILURES[True]):
                self._lost(peer)
                return
            await asyncio.sleep(PAUSE_S)

    # -- telling ----------------------------------------------------------------------------------------------------------
    def _follow(self, peer: Peer) -> None:
        self._outboxes[peer.url] = Outbox()
        self._news[peer.url] = asyncio.Event()
        self._do(peer.url, partial(self._keep_told, peer))

    async def _keep_told(self, peer: Peer) -> None:
        news = self._news[peer.url]
        while True:
            pause_s = PROBE_S if not peer.up else 0.0 if peer.failures else HEARTBEAT_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):  # not wait_for: before 3.12 it may forget a cancellation
                    await news.wait()
            await asyncio.sleep(GATHER_S)
            news.clear()
            if not self.members.ready or self.members.leaving:
                continue
            if not await self._tell(peer):
                await asyncio.sleep(PAUSE_S)
            if peer.up and peer.failures >= (MOST_FAILURES[peer.broken]):
                self._lost(peer)

    async def _tell(self, peer: Peer, queue: Sequence[str] = ()) -> bool:
        """Whether `peer` took a note of what is new."""
        incarnation, outbox = self.members.incarnation, self._outboxes[peer.url]
        reports, placed = outbox.take() if peer.up else ({}, [])
        note = self._note(peer) | written(reports, placed, self._now_s()) | {"queue": list(queue)}
        try:
            reply = NoteReply.model_validate(await self._line.tell(peer.url, note, NOTE_TIMEOUT_S[peer.broken]))
        except (Silent, ValidationError) as error:
            peer.failures += 1
            peer.broken = peer.broken or isinstance(error, Gone)
            outbox.put_back(reports, placed)
            return False
        if reply.fenced >= incarnation:
            self.fenced(reply.fenced)
            return False
        return incarnation == self.members.incarnation and self._took(peer, reply)

    def _note(self, peer: Peer) -> dict[str, object]:
        members, peer.told = self.members, peer.told + 1
        return {
            "sender": members.url,
            "number": peer.told,
            "incarnation": members.incarnation,
            "state": members.state,
            "term": members.term,
            "fenced": 0 if peer.up else peer.fence,
            "holds": self._part.held_for(peer.url),
        }

    def _took(self, peer: Peer, reply: NoteReply) -> bool:
        """Whether `peer`, which replied, and this one take each other for members now."""
        peer.term = max(peer.term, min(reply.term, MOST_TERM))
        if reply.incarnation <= peer.fence or reply.state == "leaving":
            return False
        peer.answered()
        if self.members.ready:
            return True
        self._welcome(peer, reply.incarnation)
        peer.holds, peer.heard = reply.holds, reply.number
        self._part.yielded(reply.known)
        return True

    # -- being told -------------------------------------------------------------------------------------------------------
    def told(self, note: Note) -> NoteReply:
        """Takes another balancer's note; what it is answered."""
        peer = self.members.peer(note.sender)
        if peer is None:
            return self._reply(note.incarnation)
        if peer.url not in self._outboxes and not self._stopped:
            self._follow(peer)
        peer.term = max(peer.term, min(note.term, MOST_TERM))
        if self.members.must_renumber(peer):
            self._begin_term()
        if note.fenced:
            self.fenced(note.fenced)
        if note.incarnation <= peer.fence or note.incarnation < peer.incarnation:
            return self._reply(max(peer.fence, peer.incarnation - 1))
        self._meet(peer, note)
        known = self._part.knows(note.queue) if note.queue else []
        return self._reply(0, holds=self._part.held_for(peer.url), number=peer.told, known=known)

    def _reply(self, fenced: int, **more: Any) -> NoteReply:
        mine = self.members
        return NoteReply(incarnation=mine.incarnation, state=mine.state, term=mine.term, fenced=fenced, **more)

    def _meet(self, peer: Peer, note: Note) -> None:
        peer.answered()
        if note.state == "leaving":
            peer.incarnation = note.incarnation
            self._listen(peer, note)
            self._lost(peer)
            return
        self._welcome(peer, note.incarnation)
        self._listen(peer, note)

    def _listen(self, peer: Peer, note: Note) -> None:
        """What `note` tells of sessions and substations, unless a newer one of the same balancer did."""
        self._part.placed_elsewhere(note.placed)
        if note.number <= peer.heard:
            return
        peer.heard, peer.holds = note.number, note.holds
        for pair in note.reports:
            if len(pair) == 2:
                self._part.reported(*pair)

    # -- who lives --------------------------------------------------------------------------------------------------------
    def _welcome(self, peer: Peer, incarnation: int) -> None:
        if (peer.up, peer.incarnation) == (True, incarnation):
            return
        self.members.welcome(peer, incarnation)
        self._outboxes[peer.url].clear()
        if _taking(peer) in self._tasks:
            self._tasks[_taking(peer)].cancel()
        _log.info("another balancer is there", extra={"peer": peer.url, "incarnation": incarnation})
        self._change()

    def _lost(self, peer: Peer) -> None:
        """`peer` is dead, or as good as: its share is taken over."""
        self.members.lose(peer, self._unix_ms())
        self._outboxes[peer.url].clear()
        _log.warning("another balancer is gone", extra={"peer": peer.url, "incarnation": peer.incarnation})
        self._change()
        if self.members.ready:
            self._do(_taking(peer), partial(self._take_over, peer))

    async def _take_over(self, peer: Peer) -> None:
        fence = peer.fence
        await self._part.collect()
        if not peer.up and peer.fence == fence:
            peer.taken = True
            self._begin_term()
            _log.info("took over", extra={"peer": peer.url, "term": self.members.term})
            self._change()


def _taking(peer: Peer) -> str:
    return f"take over {peer.url}"


def _say_why(task: asyncio.Task[None]) -> None:
    """None of them ends by itself for an error: where one does, its log line says why."""
    if not task.cancelled() and task.exception() is not None:
        _log.error("membership failed", exc_info=task.exception())
