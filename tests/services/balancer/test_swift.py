"""Requests that are placed without a task: the same promises as for all others, whatever substations and streams do."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.messages import ChargeRequest, SubstationCharge
from config.problems import Problem
from config.settings import BalancerSettings
from services.balancer import answers
from services.balancer.begins import Tell
from services.balancer.book import Entry
from services.balancer.dispatch import Dispatch
from services.balancer.forwarding import Answer, Forwarding
from services.balancer.order import Order
from services.balancer.swift import Swift
from services.balancer.targets import Target
from services.problem import to_json
from services.routing.policies import POLICIES
from services.tracing import CURRENT, REQUEST_ID
from tests.services.balancer.world import Desk, World
from tests.services.grid import until

FATES = ["ok", "ok", "ok", "lost", "lost-answer", "unreachable", "closed"]
#: It is asked over a stream, over a stream that turns out not to be there, or there is none to begin with.
WAYS = ["asked", "asked", "asked", "none", "refused"]


class Streamed(World):
    """A world that is asked without anybody waiting, as `ways` say."""

    ways: Iterator[str] = repeat("asked")
    began = 0

    def begin(self, target: Target, request_id: str, body: bytes, timeout_s: float, tell: Tell) -> bool:
        way = next(self.ways)
        self.began += 1
        if way == "refused":
            return False
        task = asyncio.ensure_future(self._ask(way, target, request_id, body, timeout_s))
        task.add_done_callback(lambda done: tell(done.result()))
        return True

    async def _ask(self, way: str, target: Target, request_id: str, body: bytes, timeout_s: float) -> Any:
        await asyncio.sleep(0)
        return None if way == "none" else await self.charge(target, request_id, body, timeout_s)


class Alone:
    """Everything is this balancer's own."""

    def is_here(self, _: str) -> bool:
        return True

    async def again(self, _: ChargeRequest, answer: Answer, __: float) -> Answer:
        return answer


class Front(Desk):
    """A desk where who comes is served as by the service: swiftly, or by a coroutine."""

    def __init__(self, world: World, policy: str, seed: int) -> None:
        super().__init__(world, policy, seed)
        self.swift = Swift(BalancerSettings(), self.dispatch, self.placer, cast(Forwarding, Alone()))

    async def serve(self, request_id: str, within_s: float = 1e4) -> Any:
        request = ChargeRequest(ev_id=request_id, request_id=request_id, duration_s=1e8)
        text = request.model_dump_json(exclude_none=True).encode()
        told = asyncio.get_running_loop().create_future()
        now_s = self.world.clock.monotonic_s()
        deadline_s = now_s + within_s
        if self.swift.begin(request, text, now_s, deadline_s, None, told.set_result):
            answer = await told
            return json.loads(answer) if isinstance(answer, bytes) else answer
        return await self.dispatch.answer(request, deadline_s)


async def _all(world: Streamed, policy: str, seed: int, count: int, above: int) -> dict[str, Any]:
    desk = Front(world, policy, seed)
    desk.placer.book.first_attempt = above
    ids = [f"r{number}" for number in range(count)]
    # each twice at once: the same request must never be two sessions
    said = await asyncio.gather(*(desk.serve(request_id) for request_id in ids + ids))
    await until(lambda: not len(desk.revocations))
    for first, second in zip(said[:count], said[count:], strict=True):
        assert _where(first) == _where(second)
    assert not len(desk.dispatch.runs), "whoever asks for the same again would wait for ever"
    assert not any(account.probed for account in desk.ledger), "nobody is asked any more"
    assert (CURRENT.get(), REQUEST_ID.get()) == (None, "")
    for request_id in ids:
        made = desk.placer.decisions.document(request_id)["decisions"]
        assert all(each["outcome"] for each in made), made
    return dict(zip(ids, said[:count], strict=True))


def _where(answer: Any) -> object:
    assert answer is not None, "it failed"
    return answer.reason if isinstance(answer, Problem) else answer["routed_to"]


@settings(max_examples=150, deadline=None)
@given(
    places=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    fates=st.lists(st.sampled_from(FATES), max_size=60),
    ways=st.lists(st.sampled_from(WAYS), max_size=40),
    policy=st.sampled_from(sorted(POLICIES)),
    count=st.integers(1, 15),
    seed=st.integers(0, 9),
    above=st.sampled_from([0, 1_000]),
)
def test_every_accepted_request_has_one_session_and_no_other_has_any(
    places: list[int], fates: list[str], ways: list[str], policy: str, count: int, seed: int, above: int
) -> None:
    world = Streamed(places, chain(fates, repeat("ok")))
    world.ways = chain(ways, repeat("asked"))
    said = asyncio.run(_all(world, policy, seed, count, above))
    assert world.began, "nobody was asked without waiting: this test shows nothing"
    accepted = {request_id for request_id, answer in said.items() if not isinstance(answer, Problem)}
    assert world.running() == Counter(dict.fromkeys(accepted, 1))
    for core in world.cores.values():
        assert core.sessions <= core.max_sessions


def test_a_later_attempt_of_a_request_waits_until_what_it_owes_survives() -> None:
    """Of several balancers each numbers first attempts above 1: these owe nothing, unlike one that follows a revoked one."""

    async def serve() -> tuple[list[int], int]:
        world = Streamed([5], repeat("ok"), repeat("lost"))
        desk = Front(world, "ledger", 1)
        desk.placer.book.first_attempt = 1_000
        desk.revocations.add("s0", "again", 1_001)
        desk.placer.book.given_up("again", 1_001)
        began = []
        for request_id in ("first", "again", "other"):
            await desk.serve(request_id)
            began.append(world.began)
        await desk.revocations.stop()
        return began, world.cores["s0"].sessions

    assert asyncio.run(serve()) == ([1, 1, 2], 3)


@pytest.mark.interpreted
def test_one_that_fails_here_is_told_so_and_holds_up_nobody() -> None:
    class Broken(Dispatch):
        def started(self, entry: Entry) -> None:
            if entry.ev_id == "bad":
                raise RuntimeError("broken")
            super().started(entry)

    async def serve() -> tuple[Any, Any, int]:
        desk = Front(Streamed([5], repeat("ok")), "ledger", 1)
        desk.dispatch.__class__ = Broken
        bad, good = await asyncio.gather(desk.serve("bad"), desk.serve("good"))
        return bad, good, len(desk.dispatch.runs)

    bad, good, left = asyncio.run(serve())
    assert (bad, good["routed_to"], left) == (None, "s0", 0)


def test_whoever_cannot_be_told_breaks_nothing_for_the_others() -> None:
    def broken(_: object) -> None:
        raise RuntimeError("broken")

    async def serve() -> tuple[Any, int]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        desk = Front(Streamed([5], repeat("ok")), "ledger", 1)
        request = ChargeRequest(ev_id="bad", request_id="bad", duration_s=1e8)
        assert desk.swift.begin(request, request.model_dump_json().encode(), 0.0, 1e4, None, broken)
        return await desk.serve("good"), len(desk.dispatch.runs)

    faults: list[Any] = []
    good, left = asyncio.run(serve())
    assert (good["routed_to"], left, faults) == ("s0", 0, [])


@given(
    ev_id=st.text(max_size=20), at_s=st.floats(0, 1e9), now_s=st.floats(0, 1e9), scale=st.sampled_from([1.0, 0.3, 60.0])
)
def test_what_is_written_from_pieces_is_what_would_be_encoded(
    ev_id: str, at_s: float, now_s: float, scale: float
) -> None:
    entry = Entry("r-1", ev_id, 'sub"1', 1, at_s, None)
    assert answers.started_json(entry, now_s, scale) == to_json(answers.started(entry, now_s, scale))


_VALUES = st.fixed_dictionaries(
    {"ev_id": st.text(min_size=1, max_size=20), "request_id": st.just("r-1")},
    optional={
        "power_kw": st.floats(0.001, 1e6),
        "duration_s": st.integers(1, 10**9),
        "energy_kwh": st.floats(0.1, 1e9),
    },
)


@given(fields=_VALUES, blank=st.sampled_from([b"", b" ", b"\r\n\t "]), attempt=st.integers(1, 10**9))
def test_a_substation_reads_what_the_balancer_read(fields: dict[str, Any], blank: bytes, attempt: int) -> None:
    text = blank + json.dumps(fields).encode() + blank
    try:
        request = ChargeRequest.model_validate_json(text)
    except ValueError:  # half of a surrogate pair is no text
        return
    order = Order.of(request, "r-1", 1.0, 7.4, 30.0, text=text)
    found = SubstationCharge.model_validate_json(order.body(attempt))
    assert found == SubstationCharge(**request.model_dump(), attempt=attempt)
    assert found == SubstationCharge.model_validate_json(Order.of(request, "r-1", 1.0, 7.4, 30.0).body(attempt))
