"""Starts balancers, asks them or a desk, and reads what was told. Must not know the cases."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import aiohttp

from config.problems import Problem
from tests.services.balancer.test_replicas import Fellows
from tests.services.balancer.world import Desk, World
from tests.services.grid import Grid

Answer = dict[str, Any] | Problem


async def fellows_of(stack: AsyncExitStack, grid: Grid, count: int, **settings: Any) -> Fellows:
    """Balancers that know each other, over all whose name begins with `s`."""
    fellows = Fellows(grid, count, **settings)
    stack.push_async_callback(fellows.close)
    await fellows.start_all()
    return fellows


async def bodies(answers: Sequence[aiohttp.ClientResponse]) -> list[dict[str, Any]]:
    return [await answer.json() for answer in answers]


def accepted(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    return [answer for answer in answers if not isinstance(answer, Problem)]


async def ask_all(desk: Desk, ids: Sequence[str], **fields: Any) -> list[Answer]:
    return list(await asyncio.gather(*(desk.ask(request_id, **fields) for request_id in ids)))


def waited(world: World, seconds: float) -> None:
    world.clock.jump(seconds)
