"""Places the usual request without a task of its own: its substation is asked at once, and its answer goes on when it comes.

Usual is what is new, of an EV of this balancer's own, while nobody waits, and asked of a substation over a stream. All else,
and whatever is answered but "accepted", is for the coroutines of `Dispatch` and `Placer`: every step here is one of theirs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from config.messages import ChargeRequest
from config.problems import Problem
from config.settings import BalancerSettings
from services.balancer import answers, refusals
from services.balancer.asking import SHORTEST_TRY_S, Asked
from services.balancer.begins import Begins
from services.balancer.book import Entry
from services.balancer.dispatch import Dispatch
from services.balancer.forwarding import Answer, Forwarding
from services.balancer.order import Order
from services.balancer.placement import Placer
from services.balancer.reading import ACCEPTED
from services.balancer.reading import Answer as Said
from services.balancer.running import Running
from services.tracing import CURRENT, REQUEST_ID, Span, about_of

_log = logging.getLogger(__name__)

#: Told what a request is answered: the JSON of the 202 of one that charges, else what `Forwarding.answer` gives; None: this
#: failed, and the log says why. Must not raise.
Tell = Callable[[bytes | Answer | None], None]


class Swift:
    """Begins requests, of which nobody waits for the end."""

    def __init__(self, settings: BalancerSettings, dispatch: Dispatch, placer: Placer, forwarding: Forwarding) -> None:
        self.power_kw, self.session_s = float(settings.power_kw), float(settings.session_s)
        self.time_scale = float(settings.time_scale)
        self.dispatch = dispatch
        self.placer = placer
        self.forwarding = forwarding
        self._is_here: Callable[[str], bool] = forwarding.is_here
        self._line = placer.line if isinstance(placer.line, Begins) else None
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(
        self, request: ChargeRequest, text: bytes, now_s: float, deadline_s: float, span: Span | None, tell: Tell
    ) -> bool:
        """Whether `request`, which has its id and was read from `text`, is answered through `tell`; else nothing was done.

        It came at `now_s`, with others that are begun before it at most. Both are in wall seconds, monotonic.
        """
        line, request_id, ev_id = self._line, str(request.request_id), request.ev_id
        if line is None or deadline_s - now_s <= 2 * SHORTEST_TRY_S or not self._is_here(ev_id):
            return False
        if not self.dispatch.is_usual(ev_id, request_id, now_s):
            return False
        running = self.dispatch.runs.begin(request_id, ev_id, now_s)
        one = _One(self, request, running, deadline_s, span, tell)
        outer, about = CURRENT.set(span), REQUEST_ID.set(request_id)
        try:
            one.begin(line, text)
        except BaseException:
            one.close(refusals.out_of_time())
            raise
        finally:
            CURRENT.reset(outer)
            REQUEST_ID.reset(about)
        return True

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Does `work` in a task."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _One:
    """One request, from its begin until it is answered."""

    __slots__ = ("_asked", "_began_s", "_deadline_s", "_request", "_running", "_search", "_span", "_swift", "_tell")

    def __init__(
        self, swift: Swift, request: ChargeRequest, running: Running, deadline_s: float, span: Span | None, tell: Tell
    ) -> None:
        self._swift = swift
        self._request = request
        self._deadline_s = deadline_s
        self._began_s = running.began_at_s
        self._span = span
        self._tell = tell
        self._asked: Asked | None = None
        self._running = running

    def begin(self, line: Begins, text: bytes) -> None:
        """Chooses a substation and asks it."""
        swift, placer, request_id = self._swift, self._swift.placer, self._running.request_id
        order = Order.of(self._request, request_id, self._deadline_s, swift.power_kw, swift.session_s, text=text)
        self._search = search = placer.begin(order)
        account = placer.choose(search)
        if account is not None:
            self._asked = placer.begin_asking(line, account, search, self._began_s, self.hear)
        if self._asked is None:
            swift.later(self._go_on(placer.place_after(search, account)))

    def close(self, outcome: Entry | Problem) -> None:
        """Others may ask for the same again."""
        self._swift.dispatch.runs.end(self._running, outcome)

    def hear(self, said: Said | None) -> None:
        """What became of asking; see `services.balancer.ways.Tell`. Raises nothing: others are told next."""
        asked = self._asked
        if asked is None:
            return  # nobody was asked
        if said is not None and said.result is ACCEPTED:
            try:
                self._end(asked, said)
            except Exception:  # noqa: BLE001  see above
                _log.exception("failed to answer", extra=about_of(self._span, self._running.request_id))
            return
        outer, about = CURRENT.set(self._span), REQUEST_ID.set(self._running.request_id)
        try:
            self._hear(asked, said)
        except Exception:  # noqa: BLE001  see above
            _log.exception("failed to answer")
        finally:
            CURRENT.reset(outer)
            REQUEST_ID.reset(about)

    def _hear(self, asked: Asked, said: Said | None) -> None:
        search, placer = self._search, self._swift.placer
        if said is None:
            placer.unheard(asked, search)
            self._swift.later(self._go_on(placer.place_after(search, asked.account)))
        else:
            self._swift.later(self._go_on(placer.place_on(search, asked, said)))

    def _end(self, asked: Asked, said: Said) -> None:
        swift, outcome = self._swift, None
        try:
            entry = swift.placer.accept(asked, self._search, said)
            swift.dispatch.started(entry)
            outcome = entry
            answer = answers.started_json(entry, swift.placer.now_s(), swift.time_scale)
        except Exception:  # noqa: BLE001  the last line of this request: it is logged and answered
            _log.exception("failed to place", extra=about_of(self._span, self._running.request_id))
            if outcome is None:
                swift.placer.unheard(asked, self._search)
            self._tell(None)
        else:
            self._tell(answer)
        finally:
            self.close(outcome or refusals.out_of_time())

    async def _go_on(self, placing: Coroutine[Any, Any, Entry | Problem]) -> None:
        """Like `Dispatch.answer`, from where this one came."""
        dispatch, request, deadline_s = self._swift.dispatch, self._request, self._deadline_s
        outcome: Any = refusals.out_of_time()
        try:
            try:
                outcome = await dispatch.conclude(request, await placing, self._began_s, deadline_s)
            finally:
                self.close(outcome)
            said = dispatch.said(request, self._running.request_id, outcome, self._began_s)
            answer: Answer | None = await self._swift.forwarding.again(request, said, deadline_s)
        except Exception:  # noqa: BLE001  the last line of this task
            _log.exception("failed to place")
            answer = None
        self._tell(answer)
