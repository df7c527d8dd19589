"""Takes the requests that come on streams, and answers them there. Must not know connections, nor how they are placed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from config.messages import ChargeRequest, read_message
from config.names import new_id
from config.problems import Problem
from monitoring.metrics import BalancerMetrics
from monitoring.quick import Counted, Durations
from services.balancer import replies
from services.balancer.forwarding import Answer
from services.balancer.swift import Swift
from services.deadline import usable_s
from services.stream.member import Member, fail, failed
from services.tracing import about_of

_now_s: Final = time.perf_counter

#: Answers a member otherwise, by a deadline (wall seconds, monotonic).
Otherwise = Callable[[Member, ChargeRequest | Problem, float], None]


class Taking:
    """Members go to `swift`, and where that does not take one, `otherwise`; counts what requests are answered."""

    def __init__(
        self, swift: Swift, metrics: BalancerMetrics, now_s: Callable[[], float], otherwise: Otherwise
    ) -> None:
        self.swift = swift
        self.outcomes: dict[str, int] = {}
        self.durations: Durations = metrics.request_duration_s
        self._requests: Counted = metrics.requests
        self._now_s = now_s
        self._otherwise = otherwise

    def count(self, outcome: str) -> None:
        """A request was answered so, see `services.balancer.replies.outcome`."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self._requests.labels(outcome).inc()

    def take(self, members: Sequence[Member]) -> None:
        """See `services.stream.streaming.Streaming`: requests that nobody passed on before."""
        now_s = self._now_s()
        for member in members:
            try:
                self._take(member, now_s)
            except Exception:  # noqa: BLE001  one that fails must not take the others along
                fail([member])

    def _take(self, member: Member, now_s: float) -> None:
        item: ChargeRequest | Problem = read_message(member.body, ChargeRequest)
        deadline_s = now_s + usable_s(member.left_s)
        if not isinstance(item, Problem):
            given = item.request_id
            text = b"" if given is None else member.body
            item, request_id = (item, given) if given is not None else identified(item)
            tell = _Told(self, member, request_id)
            if self.swift.begin(item, text, now_s, deadline_s, member.span, tell):
                return
        self._otherwise(member, item, deadline_s)


class _Told:
    """Answers `member`, which asks by `request_id`; see `services.balancer.swift.Tell`."""

    __slots__ = ("_member", "_request_id", "_taking")

    def __init__(self, taking: Taking, member: Member, request_id: str) -> None:
        self._taking = taking
        self._member = member
        self._request_id = request_id

    def __call__(self, answer: bytes | Answer | None) -> None:
        member, taking = self._member, self._taking
        taking.count("accepted") if isinstance(answer, bytes) else self._count(answer)
        took_s = _now_s() - member.began_s
        if taking.durations.count(took_s):
            taking.durations.show(took_s, about_of(member.span, self._request_id))
        if answer is None:
            member.refuse(failed())
        elif isinstance(answer, bytes):
            member.answer(202, answer)
        else:
            replies.tell(member, replies.named(answer, self._request_id))

    def _count(self, answer: Answer | None) -> None:
        if answer is not None:
            self._taking.count(replies.outcome(answer))


def identified(item: ChargeRequest) -> tuple[ChargeRequest, str]:
    """`item` with its `request_id`, which is made where it has none."""
    if item.request_id is not None:
        return item, item.request_id
    request_id = new_id()
    return item.model_copy(update={"request_id": request_id}), request_id
