"""The control API over HTTP, on a cluster of sleepers: answers, errors as last lines, clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from config.topology import Topology
from gridctl.supervisor.api import ControlApi
from gridctl.supervisor.happenings import Drain, Stop
from gridctl.supervisor.member import Member
from gridctl.supervisor.snapshot import Snapshots
from gridctl.supervisor.waiting import describe
from tests.gridctl.supervisor.worlds import World, world

ONE = Topology(substations=1).model_dump_json()


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[World, Any]]:
    """A cluster of sleepers and a client of its control API."""
    async with world(folder) as one:
        api = ControlApi(one.cluster, Snapshots(one.cluster).take, lambda: None)
        async with TestClient(TestServer(api.application())) as client:
            yield one, client


async def operate(client: Any, **body: Any) -> list[dict[str, Any]]:
    async with client.post("/operations", data=json.dumps(body)) as answer:
        assert answer.status == 200
        return [json.loads(line) async for line in answer.content]


async def test_an_operation_streams_and_ends_with_how_it_went(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, client):
        lines = await operate(client, verb="apply", topology=ONE, source="test")
        assert lines[-1] == {"done": True, "ok": True, "exit_code": 0, "message": "", "hint": ""}
        assert {line["action"] for line in lines[0]["changes"]} == {"start"}
        plan = await operate(client, verb="plan", topology=ONE)
        assert {line["action"] for line in plan[0]["changes"]} == {"keep"}
        quick = await (await client.get("/snapshot?usage=0")).json()
        assert {row["rss_bytes"] for row in quick["processes"]} == {None}
        snapshot = await (await client.get("/snapshot")).json()
        assert None not in {row["rss_bytes"] for row in snapshot["processes"]}
        assert {row["state"] for row in snapshot["processes"]} == {"READY"}


async def test_what_goes_wrong_is_the_last_line(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        assert (await client.post("/operations", data="{}")).status == 400
        assert (await client.post("/operations", data="no JSON")).status == 400
        bad = (await operate(client, verb="apply", topology='{"nonsense": 1}', source="test"))[-1]
        assert (bad["ok"], bad["exit_code"]) == (False, 2)
        assert (await operate(client, verb="scale", substations=1))[-1]["exit_code"] == 1
        await operate(client, verb="apply", topology=ONE, source="test")
        assert (await operate(client, verb="stop", names=["nosuch"]))[-1]["exit_code"] == 2
        one.cluster.paths.record.unlink()
        one.cluster.paths.record.mkdir()
        full = (await operate(client, verb="scale", substations=2))[-1]
        assert (full["exit_code"], "cannot write" in full["message"]) == (1, True)
        one.cluster.stopping = True
        assert (await operate(client, verb="start"))[-1]["exit_code"] == 5


async def test_a_client_that_leaves_does_not_end_the_operation(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        one.cradle.held.clear()
        body = json.dumps({"verb": "apply", "topology": ONE, "source": "test"})
        answer = await client.post("/operations", data=body)
        await answer.content.readline()
        answer.close()
        one.cradle.held.set()
        await one.until(lambda: all(one.state(name) == "READY" for name in one.cluster.members))
        assert one.cradle.born == ["substation1", "balancer", "charge-request"]


async def test_events_are_streamed_and_followers_end_with_the_journal(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, client):
        await operate(client, verb="apply", topology=ONE, source="test")
        async with client.get("/events", params={"since": "1"}) as answer:
            seen = [json.loads(line)["seq"] async for line in answer.content]
        assert seen == list(range(2, one.cluster.journal.seq + 1))
        async with client.get("/events", params={"since": "x", "follow": "1"}) as answer:
            assert json.loads(await answer.content.readline())["seq"] == 1
            one.cluster.journal.close()
            async with asyncio.timeout(5):
                await answer.content.read()


async def test_who_is_waited_for_is_described(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        one.sick.add("substation1")
        starting = asyncio.ensure_future(one.operate("apply", topology=ONE, source="test", wait_timeout_s=1.2))
        await one.until(lambda: bool(one.cluster.members))
        member: Member = one.cluster.members["substation1"]
        await one.until(lambda: member.life.reason == "sick")
        assert describe(member) == "substation1 (STARTING: sick)"
        results = await asyncio.gather(starting, return_exceptions=True)
        assert "not ready within 1.2 s: substation1" in str(results[0])
        one.sick.clear()
        await one.until(lambda: one.state("substation1") == "READY")
        assert describe(member) == "substation1 (READY)"
        one.sick.add("substation1")
        member.health = {"sessions": 2}
        one.cluster.post("substation1", Drain(60, Stop(5)))
        await one.until(lambda: one.state("substation1") == "DRAINING")
        assert describe(member) == "substation1 (2 sessions charging, at most 60 s more)"
