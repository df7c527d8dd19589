"""A balancer's parts, put together: what it knows, how it decides, whom it agrees with. Must not know HTTP.

forwarding ─ replicas ─ members          whose request is it
dispatch ─ attendant ─ placer            the same answer for the same request; the queue; assume, send, confirm
watch ─ ledger ─ recovery ─ journal      what substations have, and what must not be forgotten
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from random import Random

from config.gossip import Note, NoteReply
from config.report import Report
from config.settings import BalancerSettings
from monitoring.metrics import BalancerMetrics
from services.balancer import status
from services.balancer.account import Account
from services.balancer.attendant import Attendant
from services.balancer.book import Book, Entry
from services.balancer.decisions import Decisions, View
from services.balancer.dispatch import Dispatch
from services.balancer.doubts import Doubts
from services.balancer.following import Following
from services.balancer.forwarding import Forwarding
from services.balancer.handover import Handover
from services.balancer.inheritance import Inheritance
from services.balancer.journal import BalancerJournal, Contents
from services.balancer.ledger import Ledger
from services.balancer.line import Line
from services.balancer.lookout import SYSTEM, Dns
from services.balancer.membership import Members
from services.balancer.peers import PeerLine
from services.balancer.placement import Placer
from services.balancer.queue import Queue
from services.balancer.recovery import Recovery
from services.balancer.replicas import Replicas
from services.balancer.revocations import Revocations
from services.balancer.share import Share
from services.balancer.swift import Swift
from services.balancer.watch import Watch
from services.clock import Clock
from services.journal import OpenJournal
from services.routing import registry
from services.routing.node import Node
from services.substation.session import watts


class Core:
    """One balancer, before `line` and `peers`; `metrics` show what it believes."""

    def __init__(
        self,
        settings: BalancerSettings,
        clock: Clock,
        random: Random,
        metrics: BalancerMetrics,
        line: Line,
        peers: PeerLine,
        open_journal: OpenJournal,
        dns: Dns = SYSTEM,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._now_s = clock.monotonic_s
        self.ledger = Ledger(watts(settings.power_kw), settings.time_scale, pushes=bool(settings.url))
        self.members = Members.of(settings.url, settings.peers, self._unix_ms())
        self.journal = BalancerJournal(settings.journal, settings.durability, clock.time_s, open_journal)
        self.revocations = Revocations(line, self.ledger, self._now_s, journal=self.journal)
        self.placer = self._make_placer(line, metrics, random)
        self.watch = Watch(settings, self.ledger, line, self, random, self._now_s, clock.time_s, dns)
        self.queue = Queue(settings.queue_limit)
        self.attendant = Attendant(settings, self.queue, self.placer, self.journal, self._placed, clock.time_s)
        self.recovery = Recovery(
            self.journal, self._restore, self._follow, self.watch.ready, self._join, self.attendant.start
        )
        self.dispatch = Dispatch(
            settings, self.placer, self.recovery, self.attendant, clock.time_s, self._owns, self._started
        )
        self.inheritance = self._make_inheritance(open_journal)
        share = Share(self.members, line, self.placer, self.watch, self.dispatch, self.attendant)
        self.replicas = Replicas(self.members, peers, share, self._now_s, self._unix_ms)
        following = Following(self.dispatch, self.attendant, self.placer, settings.time_scale)
        self.forwarding = Forwarding(self.dispatch, following, self.replicas, peers, self._now_s)
        self.swift = Swift(settings, self.dispatch, self.placer, self.forwarding)
        self.handover = Handover(self.attendant, self.forwarding, self._now_s, settings.time_scale)
        self._metrics = metrics
        self._observe()

    def _observe(self) -> None:
        metrics = self._metrics
        metrics.queue_length.set_function(lambda: len(self.queue))
        metrics.peers.set_function(lambda: len(self.members.up))
        metrics.grid_loading_percentage.set_function(lambda: 100 * self.ledger.totals(self._now_s()).load)
        metrics.grid_health.set_function(lambda: status.HEALTH[status.health(self.ledger, self._now_s())])

    def _make_inheritance(self, open_journal: OpenJournal) -> Inheritance:
        settings, unix_s = self._settings, self._clock.time_s
        return Inheritance(
            settings,
            self.journal,
            lambda path: BalancerJournal(path, settings.durability, unix_s, open_journal),
            self.dispatch,
            self.queue.next_number,
            self._inherited,
        )

    def _make_placer(self, line: Line, metrics: BalancerMetrics, random: Random) -> Placer:
        return Placer(
            self.ledger,
            line,
            registry.make(self._settings.policy),
            Book(),
            self.revocations,
            metrics,
            random,
            self._settings.time_scale,
            self._now_s,
            decisions=Decisions(
                View(self.ledger.heard_at_s, self._everyone, self._now_s, self.ledger.shown), self._clock.time_s
            ),
            doubts=Doubts(self.journal),
            restarted=self._look,
            reported=self._reported,
            incarnation=self._incarnation,
            fenced=self._fenced,
        )

    async def start(self) -> None:
        """Reads the journal and begins to watch; Invalid where the static list of substations is wrong."""
        await self.recovery.start()

    async def leave(self) -> None:
        """Gives its share to the others; what comes from now on is passed on to them."""
        await self.replicas.leave()
        if self.members.up:
            await self.handover.run()

    async def stop(self) -> None:
        """Ends polls, notes and revocations; what is open stays in the journal."""
        await self.recovery.stop()
        await self.inheritance.stop()
        await self.replicas.stop()
        await self.attendant.stop()
        await self.watch.stop()
        await self.revocations.stop()
        await self.journal.close()

    def told(self, note: Note) -> NoteReply:
        """What another balancer's `note` is answered."""
        return self.replicas.told(note)

    # -- what the parts tell each other -----------------------------------------------------------------------------------
    def collected(self, substation: str, epoch: int, entries: Sequence[Entry]) -> None:
        """See `services.balancer.watch.Listener`."""
        self.dispatch.collected(substation, epoch, entries)

    def changed(self, new: Sequence[Account], gone: Sequence[Account]) -> None:
        """See `services.balancer.watch.Listener`: a substation's series come and go with it."""
        for account in gone:
            self._metrics.forget(account.target.name)
        self.revocations.deliver([account.target.name for account in new])
        for account in new:
            load_pct, age_s = (
                partial(status.load_pct, account, self._now_s),
                partial(status.age_s, account, self._now_s),
            )
            self._metrics.watch(account.target.name, load_pct, age_s)

    @property
    def fences(self) -> Mapping[str, int]:
        """See `services.balancer.watch.Listener`."""
        return self.members.fences

    async def _follow(self) -> None:
        await self.watch.start()
        await self.inheritance.start()

    async def _join(self) -> None:
        await self.replicas.join()

    def _restore(self, contents: Contents) -> None:
        for attempt in contents.attempts:
            if attempt.revoked_s is not None:
                self.placer.book.given_up(attempt.request_id, attempt.attempt)
        self.revocations.resume(contents.attempts)
        self.placer.doubts.resume(contents.attempts)
        self.attendant.restore(contents.queue)

    def _inherited(self, contents: Contents) -> None:
        self._restore(contents)
        self.revocations.deliver([account.target.name for account in self.ledger])
        self.attendant.wake()

    def _placed(self, entry: Entry) -> None:
        self.dispatch.started(entry)

    def _started(self, entry: Entry) -> None:
        self.replicas.placed(entry)

    def _owns(self, ev_id: str) -> bool:
        return self.members.whose(ev_id) == self.members.url

    def _look(self, substation: str) -> None:
        self.watch.look(substation)

    def _reported(self, substation: str, report: Report) -> None:
        self.replicas.heard(substation, report)

    def _incarnation(self) -> int:
        return self.members.incarnation

    def _fenced(self, incarnation: int) -> None:
        self.replicas.fenced(incarnation)

    def _everyone(self) -> Iterator[Node]:
        return (account.node for account in self.ledger)

    def _unix_ms(self) -> int:
        return max(1, int(1000 * self._clock.time_s()))
