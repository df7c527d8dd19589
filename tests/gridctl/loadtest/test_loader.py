"""Whether the load tester says that it is the limit, and only then."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from gridctl.loadtest.loader import Loader
from gridctl.loadtest.progress import status
from gridctl.loadtest.sending import Account, Effort
from gridctl.loadtest.tally import LATE_S, Tally
from tests.gridctl.loadtest.grid import loadtest
from tests.gridctl.loadtest.server import accept, serving


def account(late: int, on_time: int, *efforts: Effort) -> Account:
    tally = Tally()
    for delay_s in [2 * LATE_S] * late + [LATE_S / 2] * on_time:
        tally.note_sent(delay_s)
    return Account(tally, efforts=list(efforts))


IDLE, FULL = Effort(3.0, 3.0, 10.0), Effort(9.9, 9.5, 10.0)


@pytest.mark.parametrize(
    ("found", "is_limit", "words", "advice"),
    [
        (account(1, 99, IDLE), False, "", ""),
        (account(2, 98, IDLE), True, "2 % of the requests went out more than 20 ms late", "the machine had no time"),
        (account(0, 100, FULL), True, "95 % of a core busy", "--workers 2"),
        (account(9, 91, FULL), True, "9 % of the requests", "--workers 2"),
        (account(0, 100, FULL, IDLE), True, "95 % of a core busy", "--workers 4"),
        (account(0, 100, FULL, IDLE, IDLE), True, "95 % of a core busy", "--workers 4"),
        (account(0, 100, FULL, IDLE, IDLE, FULL), True, "95 % of a core busy", "another machine"),
        (account(0, 100, Effort(0.3, 0.3, 0.3)), False, "", ""),  # a burst
        (account(0, 0, IDLE), False, "", ""),
    ],
)
def test_it_is_the_limit_when_it_sends_late_or_has_no_time_left(
    found: Account, is_limit: bool, words: str, advice: str
) -> None:
    tester = Loader.of(found, cores=4)
    assert tester.is_limit is is_limit
    if is_limit:
        assert words in tester.found
        assert advice in tester.advice


def test_progress_says_so_while_it_goes_on() -> None:
    assert "the load tester is the limit" in status(account(5, 95).tally, 1000, 50)
    assert "load tester" not in status(account(0, 100).tally, 1000, 50)


async def test_a_rate_beyond_it_is_blamed_on_itself(environment: dict[str, str]) -> None:
    async with serving(accept) as url:
        arguments = ("--target", url, "--rate", "1000000", "--duration", "0.03s", "--seed", "1")
        ended = await loadtest(environment, *arguments, "--json", "--fail-if", "limited_by_tester > 0")
        shown = await loadtest(environment, *arguments)
    document = json.loads(ended.out)
    assert (document["limited_by_tester"], document["behind_schedule"]) == (True, True)
    assert document["late_share"] > 0.01
    assert document["tester_cpu_us"] > 1
    assert ended.code == 4
    assert "threshold failed: limited_by_tester > 0: 1" in ended.err
    assert "warning     the load tester fell behind its own schedule" in shown.out


async def test_a_slow_server_is_not_blamed_on_the_load_tester(environment: dict[str, str]) -> None:
    """Every answer takes a second. It tries again where this machine had no time for it: then it was right to say so."""

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(1)  # sleep: the slowness that is measured
        return await accept(request)

    async with serving(slow) as url:
        for _ in range(5):
            ended = await loadtest(environment, "--target", url, "--rate", "60", "--duration", "2s", "--json")
            assert ended.code == 0, ended.err
            document = json.loads(ended.out)
            assert document["latency_ms"]["p50"] > 1000
            if not document["limited_by_tester"]:
                break
    assert not document["limited_by_tester"]
    assert document["late_ms"]["p99"] < 100
