"""Keeps the ledger true: finds substations, polls their metrics, collects their sessions. Must not know requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Protocol

from config.settings import BalancerSettings
from services.balancer.account import Account
from services.balancer.book import Entry
from services.balancer.collection import AGAIN_S, RECENT_S, Agenda, entries, nothing
from services.balancer.directory import Directory
from services.balancer.gauge import Unreadable, read_gauge
from services.balancer.ledger import Ledger
from services.balancer.line import Line, Silent
from services.balancer.lookout import SYSTEM, Dns, Lookout
from services.balancer.targets import Target, from_file, from_list

#: The targets file is looked at this often, and a substation that missed a poll is polled again after this at most
#: (wall seconds).
LOOK_S = 0.2
MISSED_RETRY_S = 1.0
#: Where the targets file is not there at the start, it is waited for this long (wall seconds).
FILE_WAIT_S = 2.0
#: A poll takes no longer than the poll interval, within these bounds; the list of sessions no longer than the last one.
SHORTEST_POLL_S = 1.0
LONGEST_POLL_S = 2.0
SESSIONS_TIMEOUT_S = 5.0
#: So many are polled for the first time at once: no poll's time passes while a thousand others are begun.
FIRST_AT_ONCE = 256
#: All are collected anew within this, but for those that do not answer (wall seconds).
RECOLLECT_S = 1.0

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who is told what the watch sees."""

    def collected(self, substation: str, epoch: int, entries: Sequence[Entry]) -> None:
        """A substation that runs as `epoch` has these sessions running, or had until lately, and no others."""

    def changed(self, new: Sequence[Account], gone: Sequence[Account]) -> None:
        """Substations came and left."""

    @property
    def fences(self) -> Mapping[str, int]:
        """The balancers by URL that count as dead up to an incarnation: substations are told before they are collected."""


class Watch:
    """The polls of one balancer; `ready` is set once each substation was heard or has timed out."""

    def __init__(
        self,
        settings: BalancerSettings,
        ledger: Ledger,
        line: Line,
        listener: Listener,
        rng: Random,
        now_s: Callable[[], float],
        unix_s: Callable[[], float] = time.time,
        dns: Dns = SYSTEM,
    ) -> None:
        self.ready = asyncio.Event()
        self._settings = settings
        self._ledger = ledger
        self._line = line
        self._listener = listener
        self._rng = rng
        self._now_s = now_s
        self._unix_s = unix_s
        self._file = None if settings.targets_file is None else Path(settings.targets_file)
        self._looked = self._file is None
        self._listed: tuple[Target, ...] = ()
        self._behind: tuple[Target, ...] = ()
        self._lookout = self._make_lookout(dns)
        self._mark: tuple[int, int, int] | None = None
        self._tasks: dict[Account, asyncio.Task[None]] = {}
        self._due: dict[Account, asyncio.Event] = {}
        self._agendas: dict[Account, Agenda] = {}
        self._awaited: dict[Account, list[asyncio.Future[None]]] = {}
        self._unheard: set[Account] = set()
        self._firsts = asyncio.Semaphore(FIRST_AT_ONCE)
        self._looking: list[asyncio.Task[None]] = []
        interval_s = settings.poll_interval_s
        self._timeout_s = min(LONGEST_POLL_S, max(SHORTEST_POLL_S, interval_s))

    async def start(self) -> None:
        """Begins to look for substations and to poll them; Invalid where the static list is wrong."""
        self._list(from_list(self._settings.substations))
        self._settle()
        self._looking = [asyncio.ensure_future(self._look())]
        if self._lookout is not None:
            self._looking.append(asyncio.ensure_future(self._lookout.run()))
        for looking in self._looking:
            looking.add_done_callback(_say_why)

    async def stop(self) -> None:
        """Ends all polls."""
        tasks = [*self._tasks.values(), *self._looking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        waited_until_s = self._now_s() + FILE_WAIT_S
        while self._file is not None:
            self._read(self._file)
            self._looked = self._looked or self._mark is not None or self._now_s() >= waited_until_s
            self._settle()
            await asyncio.sleep(LOOK_S)

    def _read(self, file: Path) -> None:
        """Takes the targets file where it changed; one that cannot be read leaves all as it is."""
        try:
            seen = file.stat()
            mark = (seen.st_mtime_ns, seen.st_ino, seen.st_size)
            if mark == self._mark:
                return
            targets = from_file(file)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            _log.warning("targets file is not usable", extra={"file": str(file), "detail": str(error)[:200]})
        else:
            self._list((*from_list(self._settings.substations), *targets))
        self._mark = mark

    def _make_lookout(self, dns: Dns) -> Lookout | None:
        where = self._settings.substations_dns
        if where is None:
            return None
        directory = Directory(self._is_doubtful, self._is_draining)
        return Lookout(where, directory, self._line.introduce, self._take, self._now_s, dns)

    def _is_doubtful(self, substation: str) -> bool:
        account = self._ledger.get(substation)
        return account is None or account.standing.missed_polls > 0 or math.isfinite(account.standing.due_s)

    def _is_draining(self, substation: str) -> bool:
        account = self._ledger.get(substation)
        return account is not None and account.draining

    def _list(self, targets: tuple[Target, ...]) -> None:
        self._listed = targets
        self._set((*self._behind, *targets))

    def _take(self, behind: tuple[Target, ...]) -> None:
        if behind != self._behind:
            self._behind = behind
            self._set((*behind, *self._listed))
        self._settle()

    def _set(self, targets: tuple[Target, ...]) -> None:
        drained = [account for account in self._ledger if account.target.draining]
        new, gone = self._ledger.update(targets)
        for account in gone:
            self._tasks.pop(account).cancel()
            del self._due[account]
            _release(self._awaited.pop(account, ()))
            self._unheard.discard(account)
        for account in drained:  # its newest report is from when it drained: no poll may wait for its turn now
            if account in self._due and not account.target.draining:
                self._due[account].set()
        self._listener.changed(new, gone)
        for account in new:
            self._unheard.add(account)
            self._due[account] = asyncio.Event()
            self._agendas[account] = Agenda((AGAIN_S, self._settings.request_timeout_s))
            self._tasks[account] = asyncio.ensure_future(self._follow(account))
            self._tasks[account].add_done_callback(_say_why)
        if new or gone:
            names = {"came": [a.target.name for a in new], "left": [a.target.name for a in gone]}
            _log.info("substations changed", extra=names)

    def _settle(self) -> None:
        looked = self._looked and (self._lookout is None or self._lookout.looked)
        if looked and not self._unheard:
            self.ready.set()

    def look(self, substation: str) -> None:
        """Polls it at once: something is known to have changed there."""
        account = self._ledger.get(substation)
        if account in self._due:
            self._due[account].set()

    async def recollect(self) -> None:
        """Until all were told of all fences and collected after this call; who does not answer is once it does again."""
        awaited = []
        for account in self._tasks:
            self._agendas[account].owe()
            if account.standing.missed_polls == 0:
                done = asyncio.get_running_loop().create_future()
                self._awaited.setdefault(account, []).append(done)
                awaited.append(done)
            self._due[account].set()
        if awaited:
            await asyncio.wait(awaited, timeout=RECOLLECT_S)

    async def _follow(self, account: Account) -> None:
        """Polls `account` at once, then at its own phase of each interval, so that polls are spread in time, or when due.

        What is due at the same time for all, a while after they came, leaves each at its phase.
        """
        due, agenda = self._due[account], self._agendas[account]
        interval_s = self._settings.poll_interval_s
        next_s = self._now_s() + interval_s * self._rng.random()
        while True:
            due.clear()
            awaited = self._awaited.pop(account, [])
            was_silent = account.standing.silent
            async with self._firsts if account in self._unheard else contextlib.nullcontext():
                heard = await self._hear(account, agenda, was_silent)
            _release(awaited)
            self._unheard.discard(account)
            self._settle()
            now_s = self._now_s()
            next_s = _after(next_s, interval_s, now_s)
            wait_s = next_s - now_s if heard else min(interval_s, MISSED_RETRY_S)
            with contextlib.suppress(TimeoutError):
                # not wait_for: until Python 3.12 that forgets a cancellation which comes together with what it waits for
                async with asyncio.timeout(agenda.wait_s(wait_s, now_s)):
                    await due.wait()

    async def _hear(self, account: Account, agenda: Agenda, was_silent: bool) -> bool:
        """Polls and collects; a mistake of ours in what it said costs this poll, not all that would come."""
        try:
            return await self._poll(account) and await self._collect(account, agenda, was_silent)
        except Exception:  # noqa: BLE001  the last line of a poll: whatever it was, it is logged and counts as silence
            _log.exception("a poll failed", extra={"substation": account.target.name})
            agenda.owe()
            account.miss_poll()
            return False

    async def _poll(self, account: Account) -> bool:
        asked_at_s = self._now_s()
        target = account.target
        try:
            page = await self._line.page(target, self._timeout_s)
            if page.report is None:
                account.fold_gauge(read_gauge(page.text, target.load_metric), asked_at_s, self._now_s())
            else:
                account.fold(page.report, asked_at_s, self._now_s(), polled=True)
        except (Silent, Unreadable) as error:
            if not account.standing.missed_polls:
                _log.warning("not heard", extra={"substation": target.name, "detail": str(error)[:200]})
            account.miss_poll()
            return False
        return True

    async def _collect(self, account: Account, agenda: Agenda, was_silent: bool) -> bool:
        """Collects what `account` has running where that is due; False where it could not be asked."""
        report = account.report
        if report is None or not agenda.is_due(report.epoch, was_silent, self._now_s()):
            return True
        agenda.begin()
        try:
            for url, incarnation in (fences := self._listener.fences).items():
                await self._line.fence(account.target, url, incarnation, SESSIONS_TIMEOUT_S)
            asked_at_s, document = self._now_s(), {} if fences else nothing(report)
            if not document:
                document = await self._line.sessions(account.target, self._unix_s() - RECENT_S, SESSIONS_TIMEOUT_S)
        except Silent as error:
            agenda.owe()
            _log.warning("sessions not heard", extra={"substation": account.target.name, "detail": str(error)[:200]})
            return False
        epoch = document.get("epoch")
        if not isinstance(epoch, int):
            agenda.owe()
        else:
            agenda.done(epoch, self._now_s())
            found = entries(document, account.target.name, asked_at_s)
            self._listener.collected(account.target.name, epoch, found)
        return True


def _after(next_s: float, interval_s: float, now_s: float) -> float:
    """The first instant after `now_s` that is a whole number of intervals after `next_s`, or is that."""
    return next_s if next_s > now_s else next_s + interval_s * (1 + (now_s - next_s) // interval_s)


def _release(awaited: Iterable[asyncio.Future[None]]) -> None:
    for done in awaited:
        if not done.done():
            done.set_result(None)


def _say_why(task: asyncio.Task[None]) -> None:
    """A poll must never end by itself: where it does, its log line says why."""
    if not task.cancelled() and task.exception() is not None:
        _log.error("stopped polling", exc_info=task.exception())
