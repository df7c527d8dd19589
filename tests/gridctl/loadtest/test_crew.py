"""A run by several processes: one result, one end, and nobody left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest
from aiohttp import web

from tests.gridctl.loadtest.grid import SmallGrid, end, loadtest, running, start, until_said
from tests.gridctl.loadtest.server import accept, serving

LONG = ("--rate", "100", "--duration", "1h", "--workers", "3", "--json")


class Server:
    """Answers 202, and knows who asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.hold: asyncio.Event | None = None
        self.changed = asyncio.Condition()

    async def charge(self, request: web.Request) -> web.Response:
        async with self.changed:
            self.asked.append(request.headers["Idempotency-Key"])
            self.changed.notify_all()
        if self.hold is not None:
            await self.hold.wait()
        return await accept(request)

    async def until_asked(self, count: int) -> None:
        """Until so many were asked in all."""
        async with asyncio.timeout(30), self.changed:
            await self.changed.wait_for(lambda: len(self.asked) >= count)


@asynccontextmanager
async def sending(
    environment: dict[str, str], server: Server, *arguments: str
) -> AsyncIterator[tuple[Process, list[psutil.Process]]]:
    """A run of three workers against `server`, and these, once they send."""
    async with serving(server.charge) as url:
        process = await start(environment, "--target", url, *(arguments or LONG))
        await server.until_asked(6)
        workers = psutil.Process(process.pid).children()
        assert len(workers) == 3
        yield process, workers


def expect_gone(workers: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(workers, 10)
    assert not alive


async def test_workers_send_what_one_process_would_have_sent(environment: dict[str, str]) -> None:
    server = Server()
    async with serving(server.charge) as url:
        ended = await loadtest(
            environment, *("--target", url, "--rate", "200", "--duration", "2s", "--workers", "3", "--json")
        )
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert (document["sent"], document["accepted"], document["workers"]) == (400, 400, 3)
    assert len(set(server.asked)) == len(server.asked) == 400
    assert sorted(int(each.rpartition("-")[2]) for each in server.asked) == list(range(400))
    assert document["latency_ms"]["max"] == max(each["latency_ms"] for each in document["slowest"])


async def test_records_of_the_cluster_are_read_for_all_together(environment: dict[str, str]) -> None:
    async with running(SmallGrid(), environment):
        ended = await loadtest(environment, "--name", "small", "--burst", "25", "--workers", "2", "--json", "-v")
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert (document["accepted"], document["refused"], document["overloads"]) == (20, 5, 0)
    assert document["avoidable_rejections"] == 0
    assert ended.err.count("[SENT] {'ev_id': 'EV") == 25


async def test_the_first_ctrl_c_ends_with_a_summary(environment: dict[str, str]) -> None:
    server = Server()
    async with sending(environment, server) as (process, workers):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        ended = await end(process)
    assert ended.code == 130
    document = json.loads(ended.out)
    assert document["interrupted"] is True
    assert document["sent"] == document["accepted"] == len(server.asked)
    expect_gone(workers)


async def test_the_second_ctrl_c_leaves_at_once(environment: dict[str, str]) -> None:
    server = Server()
    server.hold = asyncio.Event()
    async with sending(environment, server) as (process, workers):
        process.send_signal(signal.SIGINT)
        await until_said(process, b"stopping")  # its progress may come before
        process.send_signal(signal.SIGINT)
        ended = await end(process)
        server.hold.set()
    assert ended.code == 130
    assert ended.out == ""
    assert "Traceback" not in ended.err
    expect_gone(workers)


async def test_a_worker_that_is_killed_fails_the_run_and_says_who(environment: dict[str, str]) -> None:
    async with sending(environment, Server()) as (process, workers):
        workers[1].kill()
        ended = await end(process)
    assert ended.code == 1
    assert ended.out == ""
    assert f"(PID {workers[1].pid}) was killed by SIGKILL" in ended.err
    assert "there is no result" in ended.err
    expect_gone(workers)


async def test_workers_do_not_outlive_a_parent_that_is_killed(environment: dict[str, str]) -> None:
    async with sending(environment, Server()) as (process, workers):
        process.kill()
        await end(process)
        expect_gone(workers)


async def test_a_worker_that_got_no_cpu_for_a_while_is_the_limit(environment: dict[str, str]) -> None:
    server = Server()
    arguments = ("--rate", "50", "--duration", "6s", "--workers", "3", "--json")
    async with sending(environment, server, *arguments) as (process, workers):
        workers[0].suspend()
        await server.until_asked(len(server.asked) + 40)
        workers[0].resume()
        ended = await end(process)
    document = json.loads(ended.out)
    assert (document["sent"], document["accepted"]) == (300, 300)
    assert document["limited_by_tester"] is True
    assert document["late_ms"]["max"] > 200


async def test_a_worker_that_never_comes_back_is_given_up_after_ctrl_c(environment: dict[str, str]) -> None:
    async with sending(environment, Server()) as (process, workers):
        workers[2].suspend()
        process.send_signal(signal.SIGINT)
        ended = await end(process)
    assert ended.code == 1
    assert f"(PID {workers[2].pid}) said nothing for" in ended.err
    expect_gone(workers)


async def test_a_reader_that_has_enough_ends_all(environment: dict[str, str]) -> None:
    server = Server()
    async with serving(server.charge) as url:
        process = await start(environment, "--target", url, "--rate", "100", "--duration", "1h", "--workers", "2", "-v")
        assert process.stdout is not None
        assert (await asyncio.wait_for(process.stdout.readline(), 30)).startswith(b"[SENT]")
        workers = psutil.Process(process.pid).children()
        process.stdout._transport.close()  # type: ignore[attr-defined]
        assert process.stderr is not None
        said = await asyncio.wait_for(process.stderr.read(), 30)
        assert await process.wait() == 0
    assert said == b""
    expect_gone(workers)


@pytest.mark.parametrize("count", ["0", "65", "x"])
async def test_how_many_workers_is_checked(environment: dict[str, str], count: str) -> None:
    ended = await loadtest(environment, "--target", "http://127.0.0.1:1", "--workers", count)
    assert ended.code == 2
    assert "--workers" in ended.err
