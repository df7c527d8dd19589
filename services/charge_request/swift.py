"""Answers the usual request without a task of its own: a balancer is asked at once, and what it says goes on when it comes.

Usual is one good message, where a stream to a balancer is open. All else, and whatever a balancer says that is not for the
client, is for the coroutines of `ChargeRequestService` and `Forward`: every step here is one of theirs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from config.messages import ChargeRequest
from config.names import new_id
from config.problems import Problem
from services.charge_request.desk import Desk
from services.charge_request.forward import Forward, Way
from services.charge_request.reply import Reply, named, passed_on
from services.http import internal_error
from services.problem import problem_response
from services.service import Drop, Tell
from services.stream.wire import Said
from services.tracing import CURRENT, REQUEST_ID, Span, Tracer, apart
from services.whole import Whole, read_one

#: A longer message is written anew, without what it says twice, or between its words.
MOST_AS_CAME: Final = 1024

#: Of durations.
_now_s: Final = time.perf_counter

_log = logging.getLogger(__name__)


class Swift:
    """Begins requests, of which nobody waits for the end."""

    def __init__(self, forward: Forward, desk: Desk, now_s: Callable[[], float]) -> None:
        self.forward = forward
        self.desk = desk
        self._now_s = now_s

    def begin(self, whole: Whole, tracer: Tracer, tell: Tell) -> Drop | None:
        """See `services.service.Begin`."""
        began_s, now_s = _now_s(), self._now_s()
        deadline_s = now_s + self.desk.usable_s
        way = None if self.desk.is_crowded(now_s) else self.forward.way(deadline_s - now_s)
        found = None if way is None else read_one(whole)
        if way is None or found is None:
            return None
        item, request_id, key = found
        body = whole.body
        if request_id is None or len(body) > MOST_AS_CAME:
            request_id, body = sent(item, key)
        one = _One(self, tracer.begin(whole.method, whole.path, whole.parent), request_id, tell, began_s)
        one.begin(way, body, now_s, deadline_s)
        return one.drop


class _One:
    """One request, from its begin until it is answered."""

    __slots__ = (
        "_began_s",
        "_deadline_s",
        "_first",
        "_is_over",
        "_number",
        "_request_id",
        "_span",
        "_swift",
        "_task",
        "_tell",
    )

    def __init__(self, swift: Swift, span: Span, request_id: str, tell: Tell, began_s: float) -> None:
        self._swift = swift
        self._span = span
        self._request_id = request_id
        self._tell = tell
        self._began_s = began_s
        self._is_over = False
        self._task: asyncio.Task[None] | None = None

    def begin(self, way: Way, body: bytes, now_s: float, deadline_s: float) -> None:
        """Asks a balancer."""
        self._deadline_s = deadline_s
        self._first = self._swift.forward.begin(way, body, now_s, deadline_s, self._span, self._hear)
        self._number = self._swift.desk.hold(now_s)

    def _hear(self, heard: Said | Exception) -> None:
        """See `services.stream.pending.Tell`."""
        if self._is_over:
            return
        try:
            reply = self._swift.forward.reply_to(self._first, heard)
            if reply is None:
                self._task = asyncio.get_running_loop().create_task(self._go_on(heard), context=apart())
            else:
                self._answer(reply)
        except Exception:  # noqa: BLE001  the last line: whatever it was, it is logged and answered
            self._fail()

    async def _go_on(self, heard: Said | Exception) -> None:
        CURRENT.set(self._span)
        REQUEST_ID.set(self._request_id)
        try:
            self._answer(await self._swift.forward.send_on(self._first, heard, self._deadline_s))
        except Exception:  # noqa: BLE001  as above
            self._fail()

    def _answer(self, reply: Reply | Problem) -> None:
        if self._is_over:
            return
        answer: bytes | web.Response
        if isinstance(reply, Reply) and reply.status == 202 and reply.retry_after is None:
            answer = reply.body
            self._swift.desk.count(202)
        else:
            reply = named(reply, self._request_id)
            answer = passed_on(reply)
            self._swift.desk.count(reply.status, reply.reason)
        self._end(reply.status)
        self._tell(answer)

    def _fail(self) -> None:
        outer = CURRENT.set(self._span)
        _log.exception("failed to answer", extra={"request_id": self._request_id})
        CURRENT.reset(outer)
        if not self._is_over:
            self._swift.desk.count(500, "internal-error")
            self._end(500)
            self._tell(problem_response(internal_error().about(self._request_id)))

    def drop(self) -> None:
        """See `services.service.Drop`."""
        if not self._is_over:
            self._end(None)
            if self._task is None:
                self._first.hop.end(None)
            else:
                self._task.cancel()

    def _end(self, status: int | None) -> None:
        self._is_over = True
        desk = self._swift.desk
        desk.release(self._number)
        took_s = _now_s() - self._began_s
        if desk.durations.count(took_s):
            desk.durations.show(took_s, self._about())
        self._span.end(status)

    def _about(self) -> dict[str, str]:
        return {"request_id": self._request_id, "trace_id": self._span.trace_id}


def sent(item: ChargeRequest, request_id: str | None) -> tuple[str, bytes]:
    """The `request_id` of `item`, which is made where it has none, and all of it as JSON."""
    body = item.__pydantic_serializer__.to_json(item, exclude_none=True)  # `model_dump_json` only passes options on
    if item.request_id is not None:
        return item.request_id, body
    request_id = request_id or new_id()
    return request_id, b'{"request_id":"%b",%b' % (request_id.encode(), body[1:])
