"""A balancer that finds its substations by DNS, over real HTTP; only the resolver is a fake."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from config.settings import BalancerSettings
from services.balancer.directory import Directory, Introduction
from services.balancer.line import HttpLine, Result, Silent
from services.balancer.lookout import Dns, Lookout, resolve
from services.balancer.service import BalancerService
from services.balancer.targets import Target
from services.clock import SystemClock
from tests.services.grid import Grid, a_grid, until


class FakeDns:
    """Gives `urls`, or fails; a round every few milliseconds."""

    def __init__(self, *urls: str) -> None:
        self.urls: Sequence[str] | OSError = urls
        self.asked: list[tuple[str, int]] = []
        self.dns = Dns(self._resolve, again_s=0.02)

    async def _resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        if isinstance(self.urls, OSError):
            raise self.urls
        return self.urls


async def _balancer(grid: Grid, fake: FakeDns, ready: bool = True, **settings: Any) -> BalancerService:
    chosen = BalancerSettings(substations_dns="substation:9001", seed=1, **{"poll_interval_s": 60.0, **settings})
    service = BalancerService(chosen, SystemClock(), Random(1), dns=fake.dns)
    await grid.serve(service)
    if ready:
        await until(lambda: service.health().status == "ok")
    return service


def _names(balancer: BalancerService) -> dict[str, str]:
    return {account.target.name: account.target.url for account in balancer.ledger}


async def test_substations_come_by_the_names_they_give_themselves() -> None:
    async with a_grid() as grid:
        fake = FakeDns(await grid.serve_substation("substation-1"), await grid.serve_substation("substation-7"))
        balancer = await _balancer(grid, fake)
        assert _names(balancer) == {name: grid.urls[name] for name in ("substation-1", "substation-7")}
        assert fake.asked[0] == ("substation", 9001)
        routed = {(await (await grid.route(f"EV{number}")).json())["routed_to"] for number in range(2)}
        assert routed == {"substation-1", "substation-7"}
        fake.urls = (*fake.urls, await grid.serve_substation("substation-3"))  # type: ignore[misc]
        await until(lambda: len(balancer.ledger) == 3)


async def test_what_is_behind_the_name_but_no_substation_gets_nothing() -> None:
    async with a_grid() as grid:
        url = await grid.serve_substation("substation-1")
        await _balancer(grid, FakeDns(url))
        balancer = await _balancer(grid, FakeDns(url, grid.urls["balancer"], "http://127.0.0.1:1"))
        assert _names(balancer) == {"substation-1": url}


async def test_a_resolver_that_is_down_empties_nothing_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async with a_grid() as grid:
        fake = FakeDns(await grid.serve_substation("substation-1"))
        balancer = await _balancer(grid, fake)
        asked = len(fake.asked)
        fake.urls = socket.gaierror(-3, "Temporary failure in name resolution")
        await until(lambda: len(fake.asked) > asked + 3)
        fake.urls = ()
        await until(lambda: len(fake.asked) > asked + 6)
        assert (await grid.route()).status == 202
        assert len(balancer.ledger) == 1
        assert caplog.text.count("DNS is of no use") == 1


async def test_it_is_ready_once_dns_gave_somebody_who_was_heard() -> None:
    async with a_grid() as grid:
        fake = FakeDns()
        balancer = await _balancer(grid, fake, ready=False)
        await until(lambda: len(fake.asked) > 3)
        assert balancer.health().status == "starting"
        fake.urls = (await grid.serve_substation("substation-1"),)
        assert (await grid.route()).status == 202, "it waits until the balancer is ready"


async def test_one_that_drains_gets_no_new_session_and_stays_known() -> None:
    async with a_grid() as grid:
        first = await grid.substation("substation-1")
        fake = FakeDns(grid.urls["substation-1"], await grid.serve_substation("substation-2"))
        balancer = await _balancer(grid, fake, url="http://127.0.0.1:1", poll_interval_s=0.05)
        first.command({"do": "drain"})
        await until(lambda: bool((account := balancer.ledger.get("substation-1")) and account.draining))
        for number in range(3):
            assert (await (await grid.route(f"EV{number}")).json())["routed_to"] == "substation-2"
        assert len(balancer.ledger) == 2


async def test_an_address_that_another_substation_got_starts_nothing_under_the_old_name() -> None:
    """A container that was killed and started again may adopt another journal: another substation, at the same address."""
    async with a_grid() as grid:
        first = await grid.substation("substation-1")
        fake = FakeDns(grid.urls["substation-1"], await grid.serve_substation("substation-2"))
        balancer = await _balancer(grid, fake)
        first.name = "substation-9"
        for number in range(6):
            told = await (await grid.route(f"EV{number}", request_id=f"r{number}")).json()
            assert told["routed_to"] in ("substation-2", "substation-9")
            assert (told["routed_to"] == "substation-9") == (first.admission.find(f"r{number}") is not None)
        await until(lambda: _names(balancer).keys() == {"substation-2", "substation-9"})


async def test_nothing_that_another_substation_says_is_believed_or_taken_for_done() -> None:
    async with a_grid() as grid:
        url = await grid.serve_substation("substation-2")
        line, meant = HttpLine("http://127.0.0.1:8081"), Target("substation-1", url, learned=True)
        await line.start()
        try:
            assert (await line.introduce(url, 5)).name == "substation-2"
            answer = await line.charge(meant, "r1", b'{"ev_id": "EV1"}', 5)
            assert (answer.result, answer.report) == (Result.CLOSED, None)
            for refused in (
                line.page(meant, 5),
                line.sessions(meant, 0, 5),
                line.session(meant, "r1", 5),
                line.revoke(meant, "r1", 1, 5),
                line.cancel(meant, "r1", 5),
                line.fence(meant, "http://127.0.0.1:8082", 1, 5),
            ):
                with pytest.raises(Silent):
                    await refused
            meant = Target("substation-2", url, learned=True)
            assert (await line.charge(meant, "r1", b'{"ev_id": "EV1"}', 5)).result is Result.ACCEPTED
        finally:
            await line.stop()


async def test_dns_is_not_asked_again_while_it_owes_an_answer() -> None:
    asked = 0
    never: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()

    async def slow(host: str, port: int) -> Sequence[str]:
        nonlocal asked
        asked += 1
        return await never

    found: list[tuple[Target, ...]] = []

    async def introduce(url: str, timeout_s: float) -> Introduction:
        return Introduction("substation-1", "substation")

    lookout = Lookout(
        "[::1]:9001", Directory(), introduce, found.append, asyncio.get_running_loop().time, Dns(slow, 0.0)
    )
    running = asyncio.ensure_future(lookout.run())
    await until(lambda: len(found) == 1)
    assert (asked, found[0], lookout.looked) == (1, (), False)
    never.set_result(["http://[::1]:9001"])
    await until(lambda: len(found) > 1)
    assert found[1] == (Target("substation-1", "http://[::1]:9001", learned=True),)
    running.cancel()
    await asyncio.wait({running})


async def test_the_systems_resolver() -> None:
    assert "http://127.0.0.1:9001" in await resolve("localhost", 9001)
    assert await resolve("127.0.0.1", 80) == ["http://127.0.0.1:80"]
    assert await resolve("::1", 80) == ["http://[::1]:80"]
    with pytest.raises(OSError, match=r"\S"):
        await resolve("nobody.invalid", 9001)


async def test_prometheus_finds_what_the_balancer_balances_over() -> None:
    async with a_grid() as grid:
        fake = FakeDns(await grid.serve_substation("substation-2"), await grid.serve_substation("substation-1"))
        other = ("other=http://127.0.0.1:1/api#load",)
        await _balancer(grid, fake, substations=other, cluster="city")
        found = await grid.get("balancer", "/targets")
        assert found == [
            {
                "targets": ["127.0.0.1:1"],
                "labels": {
                    "job": "substation",
                    "cluster": "city",
                    "substation_id": "other",
                    "external": "true",
                    "url": "http://127.0.0.1:1/api",
                    "load_metric": "load",
                    "__metrics_path__": "/api/metrics",
                },
            },
            *(
                {
                    "targets": [grid.urls[name].removeprefix("http://")],
                    "labels": {"job": "substation", "cluster": "city", "substation_id": name},
                }
                for name in ("substation-1", "substation-2")
            ),
        ]
