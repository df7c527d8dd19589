"""The first balancer takes over what others left that are replicas no more, and loses nothing of it, whenever it dies."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from services.balancer.journal import BalancerJournal, Queued, read
from services.balancer.service import BalancerService
from tests.services.grid import Grid, a_grid, until

FULL = 1_000


def journal(folder: Path, name: str) -> BalancerJournal:
    """The journal of a balancer of that name."""
    return BalancerJournal(str(folder / f"{name}.db"), "process", time.time)


def waiting(request_id: str, number: int = 1, **more: Any) -> Queued:
    """A request of an EV of its own, which waits for ten minutes from now."""
    text = f'{{"ev_id": "EV-{request_id}", "request_id": "{request_id}", "duration_s": 30}}'
    return Queued(request_id, f"EV-{request_id}", number, text, time.time(), time.time() + 600, **more)


async def left_by(folder: Path, name: str, *request_ids: str) -> None:
    """A balancer of that name left these waiting."""
    theirs = journal(folder, name)
    for number, request_id in enumerate(request_ids, 1):
        await theirs.queued(waiting(request_id, number))
    await theirs.close()


async def first_balancer(grid: Grid, folder: Path, *others: str, **settings: Any) -> BalancerService:
    """The first of a grid's balancers, before one substation."""
    own = {"journal": str(folder / "balancer.db"), "durability": "process", "admission": "queue"}
    return await grid.balancer("s1", replicas=("balancer", *others), **{**own, **settings})


def states(folder: Path, name: str) -> dict[str, str]:
    """What a journal says of each request in its queue."""
    return {row.request_id: row.state for row in read(folder / f"{name}.db").queue}


async def state(grid: Grid, request_id: str) -> Any:
    """What a client is told of it."""
    answer = await grid.client.get(f"{grid.urls['balancer']}/requests/{request_id}")
    return (await answer.json(content_type=None)).get("state")


async def test_who_waits_at_one_that_is_no_more_waits_here_and_gets_a_place(tmp_path: Path) -> None:
    await left_by(tmp_path, "balancer2", "r1", "r2", "r3")
    theirs = journal(tmp_path, "balancer2")
    theirs.left("r2", "cancelled")
    theirs.left("r3", "placed", at=("s1", 1))
    theirs.revoked("s1", "r9", 4)
    await theirs.close()
    async with a_grid() as grid:
        station = await grid.substation("s1", max_sessions=1)
        assert (await grid.post("s1", "/charge", {"ev_id": "A", "request_id": "a", "duration_s": FULL})).status == 202
        balancer = await first_balancer(grid, tmp_path)
        assert [await state(grid, f"r{number}") for number in (1, 2, 3)] == ["queued", "cancelled", None]
        await until(lambda: not len(balancer.core.revocations))
        await grid.client.delete(f"{grid.urls['s1']}/sessions/a")
        await until(lambda: station.admission.find("r1") is not None)
    assert states(tmp_path, "balancer2") == {"r1": "moved", "r2": "moved", "r3": "placed"}
    assert states(tmp_path, "balancer") == {"r1": "placed", "r2": "cancelled"}
    assert [(one.request_id, one.attempt) for one in read(tmp_path / "balancer.db").attempts] == [("r9", 4)]
    assert not read(tmp_path / "balancer2.db").attempts


async def test_one_that_is_there_keeps_what_it_has(tmp_path: Path) -> None:
    await left_by(tmp_path, "balancer2", "r1")
    async with a_grid() as grid:
        await grid.substation("s1")
        await first_balancer(grid, tmp_path, "balancer2")
        assert await state(grid, "r1") is None
    assert states(tmp_path, "balancer2") == {"r1": "queued"}


async def test_one_that_still_stops_is_waited_for(tmp_path: Path) -> None:
    theirs = journal(tmp_path, "balancer2")
    await theirs.queued(waiting("r1"))
    async with a_grid() as grid:
        await grid.substation("s1")
        balancer = await first_balancer(grid, tmp_path)
        assert balancer.queue.find("r1") is None
        await theirs.close()
        await until(lambda: len(balancer.placer.book) == 1)
        assert await state(grid, "r1") == "charging"
    assert states(tmp_path, "balancer2") == {"r1": "moved"}


async def test_killed_before_it_noted_that_it_has_them_it_has_them_once(tmp_path: Path) -> None:
    await left_by(tmp_path, "balancer2", "r1", "r2")
    await left_by(tmp_path, "balancer", "r1", "r2")
    ours = journal(tmp_path, "balancer")
    ours.left("r2", "cancelled")
    await ours.close()
    async with a_grid() as grid:
        await grid.substation("s1", max_sessions=1)
        await grid.post("s1", "/charge", {"ev_id": "A", "request_id": "a", "duration_s": FULL})
        balancer = await first_balancer(grid, tmp_path)
        assert [each.request_id for each in balancer.queue] == ["r1"]
        assert await state(grid, "r2") == "cancelled"
    assert states(tmp_path, "balancer2") == {"r1": "moved", "r2": "moved"}


async def test_a_request_comes_back_to_where_it_once_was(tmp_path: Path) -> None:
    await left_by(tmp_path, "balancer", "r1")
    ours = journal(tmp_path, "balancer")
    ours.left("r1", "moved")
    await ours.close()
    await left_by(tmp_path, "balancer3", "r1")
    async with a_grid() as grid:
        await grid.substation("s1", max_sessions=1)
        await grid.post("s1", "/charge", {"ev_id": "A", "request_id": "a", "duration_s": FULL})
        await first_balancer(grid, tmp_path)
        assert await state(grid, "r1") == "queued"
    assert states(tmp_path, "balancer") == {"r1": "queued"}


async def test_what_cannot_be_read_is_left_as_it_is_and_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "balancer2.db").write_bytes(b"no database" * 1_000)
    await left_by(tmp_path, "balancer3", "r1")
    async with a_grid() as grid:
        await grid.substation("s1")
        await first_balancer(grid, tmp_path)
        await until(lambda: states(tmp_path, "balancer3") == {"r1": "moved"})
    assert (tmp_path / "balancer2.db").read_bytes() == b"no database" * 1_000
