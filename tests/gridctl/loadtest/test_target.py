"""What is loaded, and its records."""

from __future__ import annotations

from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from config.errors import GridError
from gridctl.loadtest import records, target
from gridctl.loadtest.placement import Limits
from gridctl.loadtest.records import Records
from gridctl.loadtest.target import Target
from tests.gridctl.loadtest.server import accept, serving

ENTRY = {"request_id": "lt-x-0", "power_kw": 7.4, "started_s": 100.0, "ends_s": 130.0, "ended_s": None}


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("http://h:1", "http://h:1/charge"),
        ("http://h:1/", "http://h:1/charge"),
        ("http://h:1/request-charge", "http://h:1/request-charge"),
    ],
)
def test_a_bare_url_gets_the_usual_path(typed: str, url: str) -> None:
    assert target.from_url(typed, 1.0).url == url


def snapshot(request_url: str | None = "http://h:1") -> dict[str, object]:
    return {
        "cluster": {"name": "c", "time_scale": 10},
        "processes": [
            {"name": "s1", "role": "substation", "url": "http://h:2"},
            {"name": "ext", "role": "external", "url": "http://h:3"},
            {"name": "charge-request", "role": "charge-request", "url": request_url},
        ],
        "substations": [
            {"name": "s1", "max_sessions": 10, "capacity_kw": 74.0},
            {"name": "ext", "max_sessions": None, "capacity_kw": None},
        ],
    }


def test_a_snapshot_tells_where_to_send_and_who_keeps_records() -> None:
    made = target.from_snapshot(snapshot())
    assert (made.url, made.time_scale, made.names) == ("http://h:1/charge", 10, ("s1", "ext"))
    assert made.substations == {"s1": "http://h:2"}
    assert made.limits == {"s1": Limits(10, 74_000)}
    with pytest.raises(GridError, match="no charge-request"):
        target.from_snapshot(snapshot(None))


def test_a_run_includes_who_came_and_who_left() -> None:
    before = Target("u", 1, "c", ("a", "b"), {"a": "1"}, {"a": Limits(1)})
    after = replace(before, names=("b", "z"), substations={"z": "2"}, limits={"z": Limits(2)})
    both = target.merged(before, after)
    assert both.names == ("a", "b", "z")
    assert set(both.substations) == set(both.limits) == {"a", "z"}


async def read(answer: web.Response | Exception, accepted: int = 1) -> Records:
    async def get(request: web.Request) -> web.Response:
        assert request.query["ended"] == "1"
        assert request.query["since_s"] == "90.5"
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with serving(accept, get) as url, aiohttp.ClientSession() as http:
        grid = Target(url, 1, "c", ("s1",), {"s1": url}, {"s1": Limits(10)})
        return await records.read(http, grid, 90.5, {"s1": accepted, "gone": 1, "": 2}, "lt-x-", 120.0)


async def test_a_running_session_is_load_until_now() -> None:
    found = await read(web.json_response({"sessions": [ENTRY, {**ENTRY, "request_id": "other", "ended_s": 110.0}]}))
    running, ended = found.sessions["s1"]
    assert (running.end_s, running.planned_s, running.power_w) == (120, 30, 7400)
    assert ended.end_s == 110
    assert found.missing == {"gone": "it was gone before its records were read"}


async def test_who_is_behind_a_url_cannot_be_asked_and_is_not_called_gone() -> None:
    async with aiohttp.ClientSession() as http:
        found = await records.read(http, target.from_url("http://grid", 1), 90.5, {"s1": 1, "": 2}, "lt-x-", 120.0)
    assert set(found.missing) == {"s1"}
    assert "cannot be read from here" in found.missing["s1"]


async def test_fewer_sessions_than_clients_were_told_of_are_lost_ones() -> None:
    found = await read(web.json_response({"sessions": [ENTRY]}), accepted=3)
    assert "1 of 3" in found.missing["s1"]
    assert "s1" not in found.sessions


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (web.Response(status=503), "answered 503"),
        (web.Response(text="what?"), "cannot be read"),
        (web.json_response({"sessions": [{}]}), "cannot be read"),
        (web.json_response([]), "cannot be read"),
    ],
)
async def test_records_that_cannot_be_had_are_said(answer: web.Response, words: str) -> None:
    assert words in (await read(answer)).missing["s1"]


async def test_nobody_there() -> None:
    async with aiohttp.ClientSession() as http:
        grid = Target("u", 1, "c", ("s1",), {"s1": "http://127.0.0.1:1"}, {"s1": Limits(10)})
        found = await records.read(http, grid, 0, {}, "lt-", 1)
    assert "does not answer" in found.missing["s1"]
