"""A list of sessions in pages is the same list, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from services.balancer import line, pages
from services.balancer.connections import Silent
from services.balancer.targets import Target
from tests.services.grid import a_grid


class Pages:
    """Answers as it is told, and notes what it was asked."""

    def __init__(self, *answers: Mapping[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []

    async def __call__(self, after: int) -> Mapping[str, Any]:
        self.asked.append(after)
        return self.answers[len(self.asked) - 1]


def page(*sessions: str, epoch: int = 1, now_s: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"epoch": epoch, "now_s": now_s, "sessions": list(sessions), **more}


async def test_pages_are_one_list_with_the_time_of_the_first() -> None:
    told = Pages(page("a", "b", now_s=5.0, next=7), page("c", now_s=6.0, next=9), page("d", now_s=7.0))
    found = await pages.in_one(told)
    assert (found["sessions"], found["now_s"], found["epoch"]) == (["a", "b", "c", "d"], 5.0, 1)
    assert told.asked == [0, 7, 9]


async def test_who_knows_no_pages_is_asked_once() -> None:
    told = Pages(page("a"))
    assert await pages.in_one(told) == page("a")
    assert told.asked == [0]


async def test_a_list_of_two_lives_is_none() -> None:
    with pytest.raises(Silent):
        await pages.in_one(Pages(page("a", next=1), page("b", epoch=2)))


@pytest.mark.parametrize("following", [0, -1, "7", None, 1.5])
async def test_nobody_is_asked_for_the_same_page_for_ever(following: Any) -> None:
    told = Pages(page("a", next=following))
    await pages.in_one(told)
    assert told.asked == [0]


async def test_the_real_line_gathers_all_pages_of_a_real_substation() -> None:
    own = line.HttpLine(on_a_page=2)
    async with a_grid() as grid:
        url = await grid.serve_substation("substation1")
        for each in range(5):
            assert (await grid.post("substation1", "/charge", {"ev_id": f"EV{each}", "request_id": f"r{each}"})).ok
        await own.start()
        try:
            found = await own.sessions(Target("substation1", url), 0.0, 5.0)
        finally:
            await own.stop()
    assert [each["request_id"] for each in found["sessions"]] == [f"r{each}" for each in range(5)]
    assert found["epoch"] is not None
