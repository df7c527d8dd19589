"""Several real balancers that know each other: one session whoever is asked, whoever dies, whoever comes back."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import AsyncExitStack
from itertools import count as numbers
from itertools import islice
from random import Random
from typing import Any

from aiohttp import ClientResponse, web

from config.settings import BalancerSettings
from services.balancer.book import Entry
from services.balancer.ownership import owner
from services.balancer.peers import FORWARDED
from services.balancer.service import BalancerService
from services.clock import SystemClock
from services.http import application
from services.traffic import Traffic
from tests.services.grid import Grid, a_grid, until

EVS = [f"EV{number}" for number in range(40)]


class Fellows:
    """Balancers `b0`, `b1` … on ports of their own, over the substations of `grid`; each may be frozen or ended alone."""

    def __init__(self, grid: Grid, count: int, **settings: Any) -> None:
        self.grid = grid
        self.urls: list[str] = []
        self.services: dict[str, BalancerService] = {}
        self._settings = settings
        self._sockets: list[socket.socket] = []
        self._stacks: dict[str, AsyncExitStack] = {}
        for number in range(count):
            sock = socket.create_server(("127.0.0.1", 0))
            self._sockets.append(sock)
            self.urls.append(f"http://127.0.0.1:{sock.getsockname()[1]}")
            grid.urls[f"b{number}"] = self.urls[-1]

    async def start(self, number: int) -> BalancerService:
        """Starts one; the socket listens from the construction on, as the launcher's do."""
        name, texts = f"b{number}", [f"{n}={u}" for n, u in self.grid.urls.items() if n.startswith("s")]
        own = {"name": name, "url": self.urls[number], "peers": tuple(self.urls), "substations": tuple(texts)}
        settings = BalancerSettings(**{"seed": number, "poll_interval_s": 60.0, **own, **self._settings})
        service = BalancerService(settings, SystemClock(settings.time_scale), Random(number))
        stack = self._stacks[name] = AsyncExitStack()
        await service.start()
        stack.push_async_callback(service.stop)
        runner = web.AppRunner(application(service, Traffic()), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, self._sockets[number].dup()).start()
        self.services[name] = service
        return service

    async def start_all(self) -> None:
        """Starts all at once, until each knows each."""
        services = await asyncio.gather(*(self.start(number) for number in range(len(self.urls))))
        await until(lambda: all(len(service.core.members.up) == len(services) - 1 for service in services))
        await until(lambda: all(service.health().status == "ok" for service in services))

    async def kill(self, number: int) -> None:
        """Ends one without a word to anybody: its connections break, its socket goes on to listen."""
        await self._stacks.pop(f"b{number}").aclose()
        del self.services[f"b{number}"]

    async def close(self) -> None:
        for stack in self._stacks.values():
            await stack.aclose()
        for sock in self._sockets:
            sock.close()

    async def ask(self, number: int, ev_id: str, **fields: Any) -> ClientResponse:
        return await self.grid.post(f"b{number}", "/route", {"ev_id": ev_id, "duration_s": 300, **fields})

    def owner(self, ev_id: str) -> int:
        return self.urls.index(owner(ev_id, self.urls))

    def evs(self, number: int, count: int) -> list[str]:
        """The ids of `count` EVs that balancer `number` owns, whatever the ports: by these the EVs are spread."""
        return list(islice((ev_id for ev_id in map("EV{}".format, numbers()) if self.owner(ev_id) == number), count))

    def not_owner(self, ev_id: str) -> int:
        return (self.owner(ev_id) + 1) % len(self.urls)


async def _fellows(stack: AsyncExitStack, count: int = 2, places: int = 100, **settings: Any) -> tuple[Grid, Fellows]:
    grid = await stack.enter_async_context(a_grid())
    for number in (1, 2, 3):
        await grid.substation(f"s{number}", max_sessions=places)
    fellows = Fellows(grid, count, **settings)
    stack.push_async_callback(fellows.close)
    await fellows.start_all()
    return grid, fellows


async def _sessions(grid: Grid) -> list[tuple[str, str]]:
    found = [await grid.get(name, "/sessions") for name in grid.urls if name.startswith("s")]
    return sorted((one["request_id"], one["ev_id"]) for page in found for one in page["sessions"])


async def test_the_same_ev_twice_is_refused_whoever_is_asked() -> None:
    async with AsyncExitStack() as stack:
        _, fellows = await _fellows(stack)
        for ev_id in EVS[:6]:
            both = await asyncio.gather(*(fellows.ask(n, ev_id) for n in (0, 1)))
            assert sorted(answer.status for answer in both) == [202, 409]


async def test_each_is_placed_by_its_owner_and_both_have_a_share() -> None:
    async with AsyncExitStack() as stack:
        _, fellows = await _fellows(stack)
        await asyncio.gather(*(fellows.ask(0, ev_id) for ev_id in [*fellows.evs(0, 21), *fellows.evs(1, 19)]))
        counts = [service.health().fields["accepted_total"] for service in fellows.services.values()]
        assert counts == [21, 19]


async def test_what_one_placed_the_others_know_soon() -> None:
    async with AsyncExitStack() as stack:
        _, fellows = await _fellows(stack, count=3)
        await asyncio.gather(*(fellows.ask(0, ev_id, request_id=f"r-{ev_id}") for ev_id in EVS))
        books = [service.placer.book for service in fellows.services.values()]
        await until(lambda: all(len(book) == len(EVS) for book in books))
        for service in fellows.services.values():
            estimates = [account.node.sessions for account in service.ledger]
            assert sum(estimates) == len(EVS), "reports travel too: polls are a minute apart"


async def test_a_full_grid_of_another_balancers_doing_is_refused_not_overloaded() -> None:
    async with AsyncExitStack() as stack:
        grid, fellows = await _fellows(stack, places=4)
        answers = await asyncio.gather(*(fellows.ask(n % 2, ev_id) for n, ev_id in enumerate(EVS)))
        assert sorted(answer.status for answer in answers) == [202] * 12 + [503] * 28
        assert all("Retry-After" in answer.headers for answer in answers if answer.status == 503)
        assert len({(await answer.json())["request_id"] for answer in answers}) == 40, "also where another one refused"
        assert len(await _sessions(grid)) == 12


async def test_another_one_takes_over_for_a_dead_one_and_gives_the_same_answers() -> None:
    async with AsyncExitStack() as stack:
        grid, fellows = await _fellows(stack)
        before = {ev_id: await (await fellows.ask(0, ev_id, request_id=f"r-{ev_id}")).json() for ev_id in EVS}
        await fellows.kill(1)
        after = {ev_id: await (await fellows.ask(0, ev_id, request_id=f"r-{ev_id}")).json() for ev_id in EVS}
        assert {ev_id: answer["routed_to"] for ev_id, answer in after.items()} == {
            ev_id: answer["routed_to"] for ev_id, answer in before.items()
        }
        new = await asyncio.gather(*(fellows.ask(0, f"new-{ev_id}") for ev_id in EVS))
        assert {answer.status for answer in new} == {202}
        assert len(await _sessions(grid)) == 2 * len(EVS)


async def test_one_that_comes_back_has_its_share_again_and_knows_what_was_placed_meanwhile() -> None:
    async with AsyncExitStack() as stack:
        grid, fellows = await _fellows(stack)
        await fellows.kill(1)
        first = {ev_id: await (await fellows.ask(0, ev_id, request_id=f"r-{ev_id}")).json() for ev_id in EVS}
        back = await fellows.start(1)
        await until(lambda: back.health().status == "ok")
        again = {ev_id: await (await fellows.ask(1, ev_id, request_id=f"r-{ev_id}")).json() for ev_id in EVS}
        assert {e: a["routed_to"] for e, a in again.items()} == {e: a["routed_to"] for e, a in first.items()}
        assert len(await _sessions(grid)) == len(EVS)
        new = await asyncio.gather(*(fellows.ask(0, f"new-{ev_id}") for ev_id in EVS))
        assert {answer.status for answer in new} == {202}
        assert back.health().fields["accepted_total"] > 0


async def test_one_that_is_counted_as_dead_and_lives_starts_nothing_until_it_joined_anew() -> None:
    async with AsyncExitStack() as stack:
        grid, fellows = await _fellows(stack)
        first, second = (fellows.services[name].core for name in ("b0", "b1"))
        was = second.members.incarnation
        first.replicas._lost(first.members.peers[fellows.urls[1]])
        ev_id = fellows.evs(1, 1)[0]
        both = await asyncio.gather(*(fellows.ask(n, ev_id, request_id="r1") for n in (0, 1)))
        assert [answer.status for answer in both] == [202, 202]
        assert await _sessions(grid) == [("r1", ev_id)]
        await until(lambda: second.members.incarnation > was and second.members.ready)
        await until(lambda: len(first.members.up) == 1)


async def test_one_that_leaves_gives_its_share_away_at_once_and_passes_on_what_still_comes() -> None:
    async with AsyncExitStack() as stack:
        _, fellows = await _fellows(stack)
        await fellows.services["b1"].depart()
        members = fellows.services["b0"].core.members
        await until(lambda: members.peers[fellows.urls[1]].taken)
        answers = await asyncio.gather(*(fellows.ask(1, ev_id) for ev_id in EVS))
        assert {answer.status for answer in answers} == {202}
        assert fellows.services["b0"].health().fields["accepted_total"] == len(EVS)


async def test_a_forwarded_request_is_not_passed_on_again() -> None:
    async with AsyncExitStack() as stack:
        grid, fellows = await _fellows(stack)
        ev_id = EVS[0]
        answer = await grid.post(
            f"b{fellows.not_owner(ev_id)}", "/route", {"ev_id": ev_id}, headers={FORWARDED: "http://127.0.0.1:1"}
        )
        body = await answer.json()
        assert (answer.status, body["reason"]) == (503, "not-owner")
        assert body["owner"] == fellows.urls[fellows.owner(ev_id)]


async def test_a_request_is_followed_and_cancelled_through_any_balancer() -> None:
    async with AsyncExitStack() as stack:
        grid, fellows = await _fellows(stack, places=1, admission="queue")
        for ev_id in EVS[:6]:
            assert (await fellows.ask(0, ev_id, request_id=f"r-{ev_id}")).status == 202
        for number in (0, 1):
            states = [(await grid.get(f"b{number}", f"/requests/r-{ev_id}"))["state"] for ev_id in EVS[:6]]
            assert sorted(states) == ["charging"] * 3 + ["queued"] * 3
        for ev_id in EVS[:6]:
            url = f"{fellows.urls[fellows.not_owner(ev_id)]}/requests/r-{ev_id}"
            async with grid.client.delete(url) as answer:
                assert (await answer.json())["state"] == "cancelled"
        assert (await grid.client.get(f"{fellows.urls[0]}/requests/nobody")).status == 404


async def test_who_waits_at_one_is_not_begun_at_another_that_owns_it_now() -> None:
    async with AsyncExitStack() as stack:
        _, fellows = await _fellows(stack, places=1, admission="queue")
        await fellows.kill(1)
        ev_ids = fellows.evs(1, 8)
        for ev_id in ev_ids:
            assert (await fellows.ask(0, ev_id, request_id=f"r-{ev_id}")).status == 202
        back = await fellows.start(1)
        await until(lambda: back.health().status == "ok")
        for ev_id in ev_ids:
            again = await (await fellows.ask(1, ev_id, request_id=f"r-{ev_id}")).json()
            assert again["response"]["status"] in {"queued", "charging started"}
        assert len(back.queue) == 0, "they wait where they were answered"
        assert len(fellows.services["b0"].queue) == 5
        other = await fellows.ask(1, ev_ids[-1], request_id="another")
        assert (other.status, (await other.json())["reason"]) == (409, "ev-is-queued")


async def test_a_note_that_is_none_is_refused() -> None:
    async with AsyncExitStack() as stack:
        grid, _ = await _fellows(stack)
        assert (await grid.post("b0", "/peers", {"sender": "x"})).status == 422
        answer = await grid.client.post(
            grid.urls["b0"] + "/peers", data=b"{", headers={"Content-Type": "application/json"}
        )
        assert answer.status == 400


async def test_what_a_dead_one_may_have_given_up_is_claimed_before_anybody_is_told_of_it() -> None:
    async with AsyncExitStack() as stack:
        grid, fellows = await _fellows(stack)
        ev_id = fellows.evs(1, 1)[0]
        session = {"ev_id": ev_id, "request_id": "r1", "duration_s": 300, "attempt": 1}
        assert (await grid.post("s2", "/charge", session)).status == 202  # nobody lived to hear this
        await fellows.kill(1)
        answer = await (await fellows.ask(0, ev_id, request_id="r1")).json()
        assert answer["routed_to"] == "s2"
        (record,) = (await grid.get("s2", "/sessions"))["sessions"]
        assert record["attempt"] > 1
        async with grid.client.delete(grid.urls["s2"] + "/sessions/r1?attempt=1") as late:  # the dead one's revocation
            assert (await late.json())["state"] == "charging"
        assert await _sessions(grid) == [("r1", ev_id)]


async def test_what_a_dead_one_placed_and_is_over_is_not_placed_again() -> None:
    async with AsyncExitStack() as stack:
        grid, fellows = await _fellows(stack)
        ev_id = fellows.evs(1, 1)[0]
        session = {"ev_id": ev_id, "request_id": "r1", "duration_s": 0.01, "attempt": 1}
        assert (await grid.post("s2", "/charge", session)).status == 202
        await fellows.kill(1)
        assert (await (await fellows.ask(0, ev_id, request_id="r1")).json())["routed_to"] == "s2"
        assert await _sessions(grid) == []


async def test_what_a_dead_one_did_give_up_is_placed_anew() -> None:
    async with AsyncExitStack() as stack:
        grid, fellows = await _fellows(stack)
        ev_id = fellows.evs(1, 1)[0]
        session = {"ev_id": ev_id, "request_id": "r1", "duration_s": 300, "attempt": 1}
        assert (await grid.post("s2", "/charge", session)).status == 202
        await fellows.kill(1)
        core = fellows.services["b0"].core
        await until(lambda: core.members.peers[fellows.urls[1]].taken)
        async with grid.client.delete(grid.urls["s2"] + "/sessions/r1?attempt=1") as late:
            assert (await late.json())["state"] == "revoked"
        assert (await fellows.ask(0, ev_id, request_id="r1")).status == 202
        assert await _sessions(grid) == [("r1", ev_id)]


async def test_who_waits_at_one_that_leaves_waits_at_another() -> None:
    async with AsyncExitStack() as stack:
        grid, fellows = await _fellows(stack, places=1, admission="queue")
        evs = [ev_id for both in zip(fellows.evs(0, 6), fellows.evs(1, 6), strict=True) for ev_id in both]
        asked = [(evs[0], {}), *((ev_id, {"departure_in_s": 100 + n}) for n, ev_id in enumerate(evs[1:], 1))]
        for ev_id, fields in asked:
            assert (await fellows.ask(0, ev_id, request_id=f"r-{ev_id}", **fields)).status == 202
        left, stays = fellows.services["b1"], fellows.services["b0"]
        assert (len(left.queue), len(stays.queue)) == (5, 4), "of six each; the first three of all charge"
        await left.depart()
        assert (len(left.queue), len(stays.queue)) == (0, 9)
        departures = [waiting.request.departure_in_s for waiting in stays.queue]
        assert departures == sorted(departures), "who departs first is first here too"  # type: ignore[type-var]
        states = [(await grid.get("b0", f"/requests/r-{ev_id}"))["state"] for ev_id, _ in asked]
        assert sorted(states) == ["charging"] * 3 + ["queued"] * 9


async def test_a_holder_that_hangs_is_waited_for_only_until_it_counts_as_dead() -> None:
    async with AsyncExitStack() as stack:
        _, fellows = await _fellows(stack)
        first = fellows.services["b0"].core
        peer = first.members.peers[fellows.urls[1]]
        await fellows.kill(1)  # its socket listens on: whoever asks it waits
        peer.holds = 1
        ev_id = fellows.evs(0, 1)[0]
        began_s = asyncio.get_running_loop().time()
        assert (await fellows.ask(0, ev_id)).status == 202
        assert not peer.up
        assert asyncio.get_running_loop().time() - began_s < 9.0, "all the time that there was"


def _found(fellows: Fellows, ev_id: str, ends_in_s: float) -> Entry:
    """Request r1 of `ev_id`, as a list of s2's sessions shows it: begun by an attempt of an earlier term."""
    return Entry("r1", ev_id, "s2", 1, time.monotonic() + ends_in_s, None, sure=False)


async def test_what_was_found_and_should_be_over_is_asked_for_before_anybody_is_told() -> None:
    """Its balancer may have revoked it a moment before its planned end."""
    async with AsyncExitStack() as stack:
        grid, fellows = await _fellows(stack)
        ev_id = fellows.evs(0, 1)[0]
        fellows.services["b0"].core.dispatch.collected("s2", 1, [_found(fellows, ev_id, -0.1)])
        assert (await fellows.ask(0, ev_id, request_id="r1")).status == 202
        assert await _sessions(grid) == [("r1", ev_id)], "it was told of a session that there is not"


async def test_one_that_does_not_own_an_ev_tells_nobody_of_what_it_found_only() -> None:
    async with AsyncExitStack() as stack:
        grid, fellows = await _fellows(stack)
        ev_id = fellows.evs(1, 1)[0]
        fellows.services["b0"].core.dispatch.collected("s2", 1, [_found(fellows, ev_id, 300.0)])
        url, body = f"{fellows.urls[0]}/route", {"ev_id": ev_id, "request_id": "r1"}
        async with grid.client.post(url, json=body, headers={FORWARDED: fellows.urls[1]}) as answer:
            assert (answer.status, (await answer.json())["reason"]) == (503, "not-owner")
