"""Keeps one substation's sessions in its journal, and takes them up again from there. Must not know HTTP or timers.

Without a journal's path sessions live in memory only, and nothing here waits for anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from config.settings import SubstationSettings
from services.clock import Clock, ContinuedClock
from services.journal import Entry, Journal, JournalError, OpenJournal, Told
from services.substation import journal as rows
from services.substation.admission import Admission
from services.substation.journal import Contents, LimitRecord, Run, SessionRecord
from services.substation.session import Session

#: What nobody remembers any more is deleted so many at a time.
FORGOTTEN_AT_ONCE = 500

_log = logging.getLogger(__name__)


class Keeper:
    """The journal of one substation, and the clock that goes on from it.

    `on_change` is told when the journal cannot be written (the error) and when it can again (None). A new file is made
    with the first session only: until then there is nothing to lose.
    """

    def __init__(
        self,
        settings: SubstationSettings,
        clock: Clock,
        on_change: Callable[[JournalError | None], None],
        open_journal: OpenJournal = Journal,
    ) -> None:
        self.clock = clock
        path = settings.journal
        self._journal = None
        if path is not None:
            self._journal = open_journal(Path(path), rows.SCHEMA, settings.durability, on_change)
        self._hard_limit = settings.hard_limit
        self._preface: list[Entry] | None = []
        self._forgotten: list[Entry] = []

    @property
    def error(self) -> JournalError | None:
        """Why nothing can be written now."""
        return None if self._journal is None else self._journal.error

    def is_new(self) -> bool:
        """Whether nothing was ever written, so that there is nothing to read."""
        return self._journal is None or not self._journal.exists

    async def recover(self, admission: Admission) -> None:
        """Gives `admission` what the journal holds, and `clock` the grid's time; JournalError where it cannot be read."""
        if self._journal is not None and not self.is_new():
            found = await self._journal.read(rows.contents)
            self._preface = None
            self._take_up(found, admission)
        clock = self.clock
        run = Run(admission.epoch, clock.time_s(), clock.grid_s(), clock.time_scale, clock.machine, clock.monotonic_s())
        self._mention(*rows.run(run))
        self.limited(admission)

    def _take_up(self, found: Contents, admission: Admission) -> None:
        if found.runs:
            self.clock = ContinuedClock(self.clock, found.runs[-1].anchor, _latest_s(found))
        revoked = [(request_id, attempt) for request_id, attempt, _ in found.revocations]
        admission.resume([_session(record) for record in found.sessions], revoked)
        charged = admission.sessions
        admission.advance(self.clock.grid_s())
        over = charged - admission.sessions
        extra = {"charging": admission.sessions, "ended_meanwhile": over, "known": len(found.sessions)}
        _log.info("resumed", extra=extra)

    async def keep(self, sessions: Sequence[Session]) -> None:
        """Until `sessions` survive as of their attempts; JournalError: those that are not `kept` must be withdrawn."""
        done: asyncio.Future[JournalError | None] = asyncio.get_running_loop().create_future()
        self.keep_then(sessions, lambda error: None if done.done() else done.set_result(error))
        if (error := await done) is not None:
            raise error

    def keep_then(self, sessions: Sequence[Session], told: Told) -> None:
        """`keep`, for which nobody waits: `told` is told how it ended, at once where there is nothing to be written."""
        if self._journal is None:
            told(None)
            return
        sessions = list(dict.fromkeys(sessions))
        noted = [(session, session.noted) for session in sessions if session.noted < session.attempt]
        entries = [
            rows.attempted(session) if session.noted else rows.started(session, self.clock) for session, _ in noted
        ]
        if not entries and all(session.is_kept for session in sessions):
            told(None)
            return
        for session, _ in noted:
            session.noted = session.attempt
        self._open()
        attempts = [session.attempt for session in sessions]  # a higher one may come before this is committed
        kept = partial(self._kept, sessions, attempts, noted, self.error is None, told)
        self._journal.commit_then(kept, *entries)

    def _kept(
        self,
        sessions: Sequence[Session],
        attempts: Sequence[int],
        noted: Sequence[tuple[Session, int]],
        tried: bool,
        told: Told,
        error: JournalError | None,
    ) -> None:
        if error is not None:
            self._undo(noted, tried)
        else:
            for session, attempt in zip(sessions, attempts, strict=True):
                session.kept = max(session.kept, attempt)
        told(error)

    def _undo(self, noted: Sequence[tuple[Session, int]], tried: bool) -> None:
        for session, before in noted:
            if before:
                session.noted = before
            elif tried:  # a disk that failed at the last moment may have it all the same
                self._note(rows.gone(session.number))

    async def known(self, sessions: Sequence[Session]) -> list[Session]:
        """Those of `sessions` that survive, once it is known of all: who was not told of the others must not find them."""
        if self._journal is None:
            return list(sessions)
        if not all(session.kept for session in sessions):
            with suppress(JournalError):
                await self.settle()
        return [session for session in sessions if session.kept]

    async def settle(self) -> None:
        """Until all that was noted so far survives; JournalError where it does not."""
        if self._journal is not None and self._preface is None:
            await self._journal.commit()

    def ended(self, session: Session) -> None:
        """Note the end of `session`; one that ended before its start was noted is noted with it.

        One that ended as planned is noted with the next: whoever reads that it charges until then knows as much.
        """
        if session.noted and self._journal is not None:
            if session.state == "ended":
                self._open()
                self._journal.write_along(rows.ended(session, self.clock))
            else:
                self._note(rows.ended(session, self.clock))

    def revoked(self, request_id: str, attempt: int) -> None:
        """Note that attempts up to `attempt` of `request_id` stay out."""
        self._note(rows.revoked(request_id, attempt, self.clock.time_s()))

    def limited(self, admission: Admission, admitting: bool = True) -> None:
        """Note the limits of `admission` as they are from now on."""
        now_s = self.clock.grid_s()
        admitting = admitting and not (admission.draining or admission.closed)
        limits = (admission.max_sessions, admission.capacity_w, admitting, self._hard_limit)
        self._mention(rows.limited(LimitRecord(self.clock.time_s(), now_s, *limits)))

    def forgotten(self, what: Session | str) -> None:
        """A session, or the revocation of a request_id, is not to be remembered any longer."""
        self._forgotten.append(rows.gone(what.number) if isinstance(what, Session) else rows.unrevoked(what))
        if len(self._forgotten) >= FORGOTTEN_AT_ONCE:
            entries, self._forgotten = sorted(self._forgotten, key=lambda entry: entry[0]), []
            self._note(*entries)

    async def close(self) -> None:
        """Write what waits and let go of the file."""
        if self._journal is not None:
            await self._journal.close()

    def _mention(self, *entries: Entry) -> None:
        """Worth a line in a journal, but not worth making one."""
        if self._preface is not None:
            self._preface += entries
        else:
            self._note(*entries)

    def _note(self, *entries: Entry) -> None:
        if self._journal is not None:
            self._open()
            self._journal.write(*entries)

    def _open(self) -> None:
        preface, self._preface = self._preface, None
        if preface and self._journal is not None:
            self._journal.write(*preface)


def _latest_s(found: Contents) -> float:
    """The last instant of which the journal knows: grid time never goes back behind it."""
    known = [max(record.started_s, record.ended_s or 0.0) for record in found.sessions]
    return max([*known, *(record.grid_s for record in found.limits[-1:])], default=0.0)


def _session(record: SessionRecord) -> Session:
    session = Session(
        record.request_id,
        record.ev_id,
        record.attempt,
        record.power_w,
        record.started_s,
        record.ends_s,
        record.number,
        record.state,
    )
    session.ended_s, session.reason = record.ended_s, record.reason
    session.started_unix_s, session.ended_unix_s = record.started_unix_s, record.ended_unix_s
    session.noted = session.kept = record.attempt
    return session
