"""Both sides of a stream: what waits goes together, and no member is the worse for another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.stream import answering, caller, link, wire
from services.stream.answering import Fate, Fates, Streams
from services.stream.seam import Broken, Crowded, NoStream, Unsent
from services.tracing import TRACEPARENT, TRACESTATE, PassingTracer
from services.traffic import Traffic
from tests.services.grid import until
from tests.services.stream.pipe import Desk, End, Exchange

LONG_S = 30.0


@asynccontextmanager
async def an_exchange(instant: bool = True, fates: Fates = lambda: None) -> AsyncIterator[Exchange]:
    exchange = Exchange(Desk(instant), fates)
    try:
        yield exchange
    finally:
        await exchange.close()


def asked(exchange: Exchange, *bodies: bytes, timeout_s: float = LONG_S) -> list[asyncio.Future[wire.Said]]:
    return [asyncio.ensure_future(exchange.caller.ask(body, timeout_s)) for body in bodies]


async def test_each_gets_its_own_answer_and_the_head_of_its_message() -> None:
    async with an_exchange() as exchange:
        exchange.desk.head = "v=1"
        bodies = [b'{"n":%d}' % number for number in range(1000)]
        heard = await asyncio.gather(*asked(exchange, *bodies))
        assert [each.body for each in heard] == bodies
        assert {(each.status, each.head) for each in heard} == {(200, "v=1")}


async def test_what_waits_goes_together_and_who_is_alone_goes_at_once() -> None:
    async with an_exchange() as exchange:
        await asyncio.gather(*asked(exchange, *[b"{}"] * 100))
        assert exchange.desk.batches == [100]
        await exchange.caller.ask(b"{}", LONG_S)
        assert exchange.desk.batches == [100, 1]
        assert len(exchange.pipes) == 1


async def test_a_message_is_bounded_in_members_and_bytes() -> None:
    async with an_exchange() as exchange:
        await asyncio.gather(*asked(exchange, *[b"{}"] * (wire.MOST_MEMBERS + 1)))
        assert exchange.desk.batches == [wire.MOST_MEMBERS, 1]
        await asyncio.gather(*asked(exchange, *[b" " * (wire.MOST_BYTES // 2)] * 3))
        assert exchange.desk.batches[2:] == [2, 1]


async def test_a_slow_member_delays_no_other() -> None:
    async with an_exchange(instant=False) as exchange:
        slow, quick, late = asked(exchange, b"slow", b"quick", b"late")
        await until(lambda: len(exchange.desk.taken) == 3)
        assert exchange.desk.batches == [3]
        exchange.desk.named(b"quick").answer(200, b"1")
        assert (await quick).body == b"1"
        assert [slow.done(), late.done()] == [False, False]
        exchange.desk.named(b"late").answer(503, b"2", "7")
        said = await late
        assert (said.status, said.body, said.retry_after) == (503, b"2", "7")
        exchange.desk.named(b"slow").answer(200, b"3")
        assert (await slow).body == b"3"


async def test_a_failing_member_fails_alone() -> None:
    class Clumsy(Desk):
        def take(self, members: Any, headers: Any) -> None:
            members[0].answer(200, b"{}")
            raise RuntimeError("a bug")

    exchange = Exchange(Clumsy())
    heard = await asyncio.gather(*asked(exchange, b"1", b"2"))
    assert [each.status for each in heard] == [200, 500]
    assert exchange.traffic.in_flight == 0
    await exchange.close()


async def test_a_connection_that_is_cut_leaves_nobody_in_doubt_who_was_not_sent() -> None:
    async with an_exchange(instant=False) as exchange:
        sent = asked(exchange, b"1", b"2")
        await until(lambda: len(exchange.desk.taken) == 2)
        first = exchange.pipes[0]
        first.clogged.clear()
        clogged = asked(exchange, b"3")
        await asyncio.sleep(0)  # sleep: the message is made, and finds no room
        await asyncio.sleep(0)  # sleep: the same
        (unsent,) = asked(exchange, b"4")
        await asyncio.sleep(0)  # sleep: it is put behind
        exchange.desk.named(b"1").answer(200, b"one")
        assert (await sent[0]).body == b"one"
        exchange.desk.instant = True
        await first.close()
        for broken in (sent[1], *clogged):
            with pytest.raises(Broken):
                await broken
        assert (await unsent).body == b"4"
        assert len(exchange.pipes) == 2


async def test_where_nobody_is_all_are_told_at_once_that_nothing_was_sent() -> None:
    async with an_exchange() as exchange:
        exchange.open_ = False
        for ask in asked(exchange, b"1", b"2"):
            with pytest.raises(Unsent, match="nobody"):
                await ask
        exchange.open_ = True
        assert (await exchange.caller.ask(b"3", LONG_S)).status == 200


async def test_who_takes_no_stream_is_said_to() -> None:
    async def refuse() -> Any:
        raise NoStream("404", 1.0)

    asking = caller.Caller(refuse)
    with pytest.raises(NoStream):
        await asking.ask(b"1", LONG_S)
    await asking.close()


async def test_no_answer_in_time_is_silence_and_only_then_another_connection_is_tried() -> None:
    async with an_exchange(instant=False) as exchange:
        (patient,) = asked(exchange, b"patient")
        await until(lambda: len(exchange.desk.taken) == 1)
        with pytest.raises(TimeoutError):
            await exchange.caller.ask(b"hasty", 0.05)
        other = asked(exchange, b"other")
        await until(lambda: len(exchange.desk.taken) == 3)
        assert len(exchange.pipes) == 2, "nothing was heard on the first one: it may be dead"
        exchange.desk.named(b"patient").answer(200, b"{}")
        assert (await patient).status == 200, "and if it is not, nobody there is the worse for it"
        exchange.desk.named(b"other").answer(200, b"{}")
        assert (await other[0]).status == 200


async def test_a_connection_on_which_others_are_answered_is_not_given_up() -> None:
    async with an_exchange(instant=False) as exchange:
        (hasty,) = asked(exchange, b"hasty", timeout_s=0.2)
        (quick,) = asked(exchange, b"quick")
        await until(lambda: len(exchange.desk.taken) == 2)
        exchange.desk.named(b"quick").answer(200, b"{}")
        await quick
        with pytest.raises(TimeoutError):
            await hasty
        exchange.desk.instant = True
        await exchange.caller.ask(b"next", LONG_S)
        assert len(exchange.pipes) == 1


async def test_who_stops_says_so_and_is_asked_no_more_but_answers_what_he_has() -> None:
    async with an_exchange(instant=False) as exchange:
        (before,) = asked(exchange, b"before")
        await until(lambda: len(exchange.desk.taken) == 1)
        exchange.traffic.stop()
        await until(lambda: exchange.pipes[0].other.sent == [wire.BYE])
        assert exchange.traffic.in_flight == 1
        (after,) = asked(exchange, b"after")
        await until(lambda: len(exchange.desk.taken) == 2)
        assert len(exchange.pipes) == 2
        for member in exchange.desk.taken:
            member.answer(200, b"{}")
        assert [(await each).status for each in (before, after)] == [200, 200]
        await until(lambda: exchange.pipes[0].over)
        assert exchange.traffic.in_flight == 0


async def test_what_is_unanswered_and_what_waits_is_bounded() -> None:
    most = link.MOST_UNANSWERED + caller.MOST_WAITING
    async with an_exchange(instant=False) as exchange:
        begun = asked(exchange, *[b"{}"] * link.MOST_UNANSWERED)
        await until(lambda: len(exchange.desk.taken) == link.MOST_UNANSWERED)
        begun += asked(exchange, *[b"{}"] * caller.MOST_WAITING)
        await asyncio.sleep(0)  # sleep: they are put in
        with pytest.raises(Crowded):
            await exchange.caller.ask(b"{}", LONG_S)
        assert len(exchange.desk.taken) == link.MOST_UNANSWERED
        exchange.desk.instant = True
        for member in list(exchange.desk.taken):
            member.answer(200, b"{}")
        assert {each.status for each in await asyncio.gather(*begun)} == {200}
        assert len(exchange.desk.taken) == most


async def test_who_was_not_sent_in_time_is_not_sent_later() -> None:
    async with an_exchange(instant=False) as exchange:
        begun = asked(exchange, *[b"{}"] * link.MOST_UNANSWERED)
        await until(lambda: len(exchange.desk.taken) == link.MOST_UNANSWERED)
        with pytest.raises(Unsent):
            await exchange.caller.ask(b"late", 0.05)
        for member in list(exchange.desk.taken):
            member.answer(200, b"{}")
        await asyncio.gather(*begun)
        assert (await caller_answer(exchange, b"next")).body == b"next"
        assert b"late" not in [member.body for member in exchange.desk.taken]


async def caller_answer(exchange: Exchange, body: bytes) -> wire.Said:
    exchange.desk.instant = True
    return await exchange.caller.ask(body, LONG_S)


async def test_faults_befall_members_one_by_one() -> None:
    fates = iter([Fate(False, 0.0, lost=True), None, Fate(twice=True, delay_s=0.0, lost=False), None, None])
    async with an_exchange(fates=lambda: next(fates)) as exchange:
        lost, whole, twice = asked(exchange, b"lost", b"whole", b"twice")
        with pytest.raises(Broken):
            await lost
        assert (await whole).body == b"whole"
        assert (await twice).body == b"twice"
        assert [member.body for member in exchange.desk.taken] == [b"lost", b"whole", b"twice", b"twice"]
        assert exchange.traffic.in_flight == 0


async def test_a_late_answer_is_in_flight_until_then_and_the_others_are_not_late() -> None:
    fates = iter([Fate(False, 0.1, lost=False), None])
    async with an_exchange(fates=lambda: next(fates)) as exchange:
        late, quick = asked(exchange, b"late", b"quick")
        await quick
        assert not late.done()
        assert exchange.traffic.in_flight == 1
        assert (await late).body == b"late"
        assert exchange.traffic.in_flight == 0


async def test_who_left_asks_no_more_and_what_was_sent_is_answered() -> None:
    async with an_exchange(instant=False) as exchange:
        (sent,) = asked(exchange, b"sent")
        await until(lambda: len(exchange.desk.taken) == 1)
        exchange.caller.leave()
        with pytest.raises(Unsent):
            await exchange.caller.ask(b"after", LONG_S)
        exchange.desk.taken[0].answer(200, b"{}")
        assert (await sent).status == 200
        await until(lambda: exchange.pipes[0].over)


@pytest.mark.parametrize("moments", [0, 1, 2, 5])
async def test_closing_leaves_nobody_waiting(moments: int) -> None:
    exchange = Exchange(Desk(instant=False))
    begun: list[Awaitable[wire.Said]] = list(asked(exchange, b"1", b"2"))
    for _ in range(moments):
        await asyncio.sleep(0)  # sleep: at any moment
    await exchange.close()
    found = await asyncio.gather(*begun, return_exceptions=True)
    assert all(isinstance(each, ConnectionError) for each in found), found


async def test_who_asks_too_much_and_leaves_is_not_served_for_ever() -> None:
    desk, traffic = Desk(instant=False), Traffic()
    here, there = End(), End()
    here.other, there.other = there, here
    serving = asyncio.ensure_future(Streams(desk, traffic, PassingTracer()).serve(there, {}))
    for number in range(answering.MOST_TAKEN):
        await here.send(wire.put_call(wire.Call(number, 1000, b"{}")))
    await until(lambda: len(desk.taken) == answering.MOST_TAKEN)
    await here.close()
    for member in desk.taken:
        member.answer(200, b"{}")
    await until(serving.done)
    assert traffic.in_flight == 0


async def test_a_trace_goes_on_and_no_state_that_cannot_be_goes_with_it() -> None:
    traced = {TRACEPARENT: f"00-{'a' * 32}-{'b' * 16}-01"}
    async with an_exchange() as exchange:
        for state in ("vendor=1", "no state", "vendor=1\rX-Evil: 1"):
            await exchange.caller.ask(b"{}", LONG_S, {**traced, TRACESTATE: state})
        spans = [member.span for member in exchange.desk.taken]
    assert [(span.trace_id, span.state) for span in spans] == [("a" * 32, state) for state in ("vendor=1", "", "")]
