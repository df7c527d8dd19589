"""The watcher against real servers: healthy, sick, silent, no JSON, gone, and somebody else's through the balancer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from config.plan import ProcessSpec
from gridctl.supervisor.happenings import Event, Probed, State
from gridctl.supervisor.health import Watcher, count, pause_s
from gridctl.supervisor.lifecycle import Life, Watched
from gridctl.supervisor.member import Member
from gridctl.supervisor.sockets import HeldSocket, hold


@dataclass
class Crowd:
    """Keeps what is posted."""

    members: list[Member] = field(default_factory=list)
    heard: asyncio.Queue[tuple[str, Event]] = field(default_factory=asyncio.Queue)

    def post(self, name: str, event: Event) -> None:
        self.heard.put_nowait((name, event))

    def by_role(self, *roles: str) -> Iterator[Member]:
        return (member for member in self.members if member.spec.role in roles)


def member(role: str, held: HeldSocket | None, state: State = State.READY) -> Member:
    life = Watched() if held is None else Life()
    life.state, life.pid = state, None if held is None else 7
    url = "http://127.0.0.1:9" if held is None else None
    return Member(ProcessSpec(role, role, "127.0.0.1", 0, False, None, url), life, held)


@contextlib.asynccontextmanager
async def serving(path: str, answer: web.Response | None) -> AsyncIterator[HeldSocket]:
    """A server that gives `answer` on `path`; None: never."""

    async def respond(_: web.Request) -> web.Response:
        if answer is None:
            await asyncio.Event().wait()
            raise AssertionError
        return web.Response(body=answer.body, status=answer.status)

    held = hold("a", "127.0.0.1", 0, fixed=False)
    app = web.Application()
    app.router.add_get(path, respond)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.SockSite(runner, held.sock).start()
    try:
        yield held
    finally:
        await runner.cleanup()
        held.close()


@contextlib.asynccontextmanager
async def watching(one: Member, *others: Member) -> AsyncIterator[Crowd]:
    """Follows `one` until the block ends."""
    crowd = Crowd([one, *others])
    async with aiohttp.ClientSession() as session:
        watcher = Watcher(session)
        watcher.follow(crowd)
        watcher.look()
        task = asyncio.ensure_future(watcher.watch(one))
        try:
            yield crowd
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def told(crowd: Crowd) -> Probed:
    _, event = await asyncio.wait_for(crowd.heard.get(), 10)
    assert isinstance(event, Probed)
    return event


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (web.json_response({"status": "ok", "sessions": 0}), Probed(True, "", empty=False)),
        (web.json_response({"status": "draining", "sessions": 0}), Probed(True, "", empty=True)),
        (web.json_response({"status": "draining", "sessions": 2}), Probed(True, "", empty=False)),
        (web.json_response({"status": "starting"}, status=503), Probed(False, "health 503: starting", empty=False)),
        (
            web.json_response({"status": "degraded", "detail": "no room to write", "sessions": 0}, status=503),
            Probed(False, "health 503: no room to write", empty=True, degraded=True),
        ),
        (web.Response(status=500, body=b"[]"), Probed(False, "health 500", empty=False)),
        (None, Probed(False, "health unanswered: no answer within 2 s", empty=False)),
    ],
)
async def test_what_an_answer_means(answer: web.Response | None, expected: Probed) -> None:
    async with serving("/health", answer) as held, watching(member("substation", held)) as crowd:
        assert await told(crowd) == expected


@pytest.mark.parametrize(("role", "path"), [("prometheus", "/-/ready"), ("grafana", "/api/health")])
async def test_somebody_elses_program_is_asked_in_its_own_way(role: str, path: str) -> None:
    async with serving(path, web.Response(body=b"is Ready.")) as held, watching(member(role, held)) as crowd:
        assert await told(crowd) == Probed(True, "", empty=False)
    async with serving(path, web.Response(status=503)) as held, watching(member(role, held)) as crowd:
        assert await told(crowd) == Probed(False, "health 503", empty=False)


async def test_no_json_and_nobody_there_are_failures() -> None:
    async with serving("/health", web.Response(body=b"hello")) as held, watching(member("substation", held)) as crowd:
        assert (await told(crowd)).ok is False
    held = hold("a", "127.0.0.1", 0, fixed=False)
    held.listen(False)
    async with watching(member("substation", held)) as crowd:
        assert "health unanswered: " in (await told(crowd)).reason
    held.close()


async def test_who_stops_finds_nobody_connected_that_only_looked_at_it() -> None:
    """Else it would wait for what the supervisor asks next: a service waits for nobody where nobody is connected."""
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            if not await reader.read(1):
                break
        gone.set()
        writer.close()

    held = hold("a", "127.0.0.1", 0, fixed=False)
    async with await asyncio.start_server(answer, sock=held.sock):
        one = member("substation", held)
        async with watching(one) as crowd:
            assert (await told(crowd)).ok
            assert not gone.is_set()
            one.life.state = State.STOPPING
            one.stirred.set()
            await asyncio.wait_for(gone.wait(), 60)


async def test_who_has_no_process_is_not_asked_until_stirred() -> None:
    async with serving("/health", web.json_response({})) as held:
        one = member("substation", held)
        one.life.pid = None
        async with watching(one) as crowd:
            await asyncio.sleep(0)
            assert crowd.heard.empty()
            one.life.pid = 7
            one.stirred.set()
            assert (await told(crowd)).ok
            one.stirred.set()
            assert (await told(crowd)).ok


async def test_a_starting_one_is_asked_again_soon() -> None:
    starting = web.json_response({"status": "starting"}, status=503)
    async with serving("/health", starting) as held, watching(member("balancer", held, State.STARTING)) as crowd:
        for _ in range(3):
            assert not (await told(crowd)).ok


@pytest.mark.parametrize(
    ("status", "ok", "reason", "routable"),
    [
        ({"substations": [{"name": "external", "state": "fresh", "load_pct": 5}]}, True, "", {"external"}),
        ({"substations": [{"name": "external", "state": "stale"}, 3]}, False, "the balancer says: stale", set()),
        ({"substations": []}, False, "the balancer does not know it yet", set()),
        ({"substations": None}, False, "the balancer does not know it yet", set()),
    ],
)
async def test_somebody_elses_is_heard_through_the_balancer(
    status: dict[str, Any], ok: bool, reason: str, routable: set[str]
) -> None:
    async with serving("/status", web.json_response(status)) as held:
        one, balancer = member("external", None), member("balancer", held)
        async with watching(one, balancer) as crowd:
            event = await told(crowd)
        assert (event.ok, event.reason) == (ok, reason)
        async with aiohttp.ClientSession() as session:
            watcher = Watcher(session)
            assert await watcher.routable() == set()
            watcher.follow(Crowd([one, balancer]))
            assert await watcher.routable() == routable
            balancer.life.pid = None
            assert await watcher.routable() == set()


def test_counters_become_rates_and_histories() -> None:
    held = hold("a", "127.0.0.1", 0, fixed=False)
    ingress, substation = member("charge-request", held), member("substation", held)
    for now, number in ((0.0, 0), (1.0, 10)):
        count(ingress, {"requests_total": {"202": number, "503": 1}}, now)
        count(substation, {"accepted_total": number, "refused_total": 2, "load_pct": 40}, now)
    assert (ingress.answers[202].total, ingress.arrivals.per_s(1.0)) == (10, 10.0)
    assert (substation.arrivals.total, substation.refusals.total, list(substation.loads.values)) == (12, 2, [40])
    held.close()


def test_many_are_asked_less_often_so_that_all_of_them_cost_no_more() -> None:
    assert (pause_s(3, often=True), pause_s(3, often=False)) == (0.5, 2.0)
    asked_per_s = {members: members / pause_s(members, often=False) for members in (200, 1_000, 10_000)}
    assert set(asked_per_s.values()) == {50.0}
    assert 1_000 / pause_s(1_000, often=True) == 400.0
