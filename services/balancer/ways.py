"""A balancer's streams to its own substations, one each. Must not know the ledger.

A stream belongs to one incarnation of this balancer, and to the substation that was meant when it was opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from config.report import Report
from services.balancer.begins import Tell
from services.balancer.connections import said
from services.balancer.reading import Answer, answer_of
from services.balancer.result import Result
from services.balancer.targets import Target
from services.stream.caller import Caller
from services.stream.seam import Dials, NoStream, Unsent, Wire
from services.stream.wire import Said
from services.tracing import REQUEST, SUBSTATION, Hop

#: Of targets that were asked once so many are kept though nothing is open to them.
_KEPT = 64


class Ways:
    """Asks over streams that `make()` opens; `headers` gives what the handshake with a target says."""

    def __init__(self, headers: Callable[[Target], Mapping[str, str]], make: Callable[[], Dials]) -> None:
        self._headers = headers
        self._make = make
        self._dialer: Dials | None = None
        self._callers: dict[tuple[str, str], Caller] = {}
        self._left: list[Caller] = []
        self._newest: dict[str, tuple[str, Report | None]] = {}

    async def start(self) -> None:
        """In the event loop."""
        self._dialer = self._make()

    async def stop(self) -> None:
        """Closes all."""
        await asyncio.gather(*(caller.close() for caller in (*self._callers.values(), *self._left)))
        if self._dialer is not None:
            await self._dialer.close()

    def leave(self) -> None:
        """From now on the headers are others: what was not sent is not sent, and what is asked now goes on new streams."""
        callers, self._callers = self._callers, {}
        self._left = [caller for caller in (*self._left, *callers.values()) if caller.is_open]
        for caller in callers.values():
            caller.leave()

    async def charge(self, target: Target, request_id: str, body: bytes, timeout_s: float) -> Answer:
        """See `services.balancer.line.Line.charge`; NoStream where it is to be asked over HTTP."""
        try:
            with Hop("POST /charge", {SUBSTATION: target.name, REQUEST: request_id}) as hop:
                heard = await self._caller(target).ask(body, timeout_s, hop.headers)
                hop.status = heard.status
                return answer_of(target, heard.status, self.report(target, heard.head), heard.body)
        except Unsent as error:
            return Answer(Result.UNREACHABLE, detail=said(error))
        except (ConnectionError, TimeoutError) as error:
            return Answer(Result.UNKNOWN, detail=said(error))

    def begin(self, target: Target, request_id: str, body: bytes, timeout_s: float, tell: Tell) -> bool:
        """As `charge`, of which nobody waits for the end; see `Begins`."""
        hop = Hop("POST /charge", {SUBSTATION: target.name, REQUEST: request_id})
        try:
            self._caller(target).begin(body, timeout_s, hop.headers, _Told(self, target, hop, tell))
        except (NoStream, Unsent):
            hop.end(None)
            return False
        return True

    def report(self, target: Target, head: str) -> Report | None:
        """The report in `head`, which all answers of a message share; None where there is none that can be true."""
        known, report = self._newest.get(target.name, ("", None))
        if known != head:
            report = _decoded(head)
            self._newest[target.name] = (head, report)
        return report

    def _caller(self, target: Target) -> Caller:
        key = (target.url, target.name if target.learned else "")
        caller = self._callers.get(key)
        if caller is None:
            if len(self._callers) >= _KEPT:
                self._callers = {key: kept for key, kept in self._callers.items() if kept.is_open}
            caller = self._callers[key] = Caller(partial(self._dial, target))
        return caller

    async def _dial(self, target: Target) -> Wire:
        if self._dialer is None:
            raise ConnectionError("the line is not open")
        return await self._dialer.dial(target.url, self._headers(target))


class _Told:
    """Tells `tell` what came of asking `target`; see `services.stream.pending.Tell`."""

    __slots__ = ("_hop", "_target", "_tell", "_ways")

    def __init__(self, ways: Ways, target: Target, hop: Hop, tell: Tell) -> None:
        self._ways = ways
        self._target = target
        self._hop = hop
        self._tell = tell

    def __call__(self, what: Said | Exception) -> None:
        target = self._target
        if isinstance(what, Said):
            self._hop.end(what.status)
            self._tell(answer_of(target, what.status, self._ways.report(target, what.head), what.body))
            return
        self._hop.end(None)
        if isinstance(what, NoStream):
            self._tell(None)
        else:
            unsent = Result.UNREACHABLE if isinstance(what, Unsent) else Result.UNKNOWN
            self._tell(Answer(unsent, detail=said(what)))


def _decoded(head: str) -> Report | None:
    try:
        return Report.decode(head) if head else None
    except ValueError:
        return None
