"""`gridctl loadtest` as a process, against a small grid."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
from aiohttp import web

from tests.gridctl.loadtest.grid import SmallGrid, end, loadtest, running, start, until_said
from tests.gridctl.loadtest.server import accept, serving

KEYS = {
    *("sent", "accepted", "refused", "failed", "per_substation", "latency_ms", "overloads", "peak_load_pct"),
    *("blocked_share", "erlang_b", "avoidable_rejections", "excess", "spread", "spread_jsq", "blocked_pooled"),
    *("attempts_per_request", "seed"),
}


async def test_json_is_one_document_of_known_keys(environment: dict[str, str]) -> None:
    async with running(SmallGrid(), environment):
        ended = await loadtest(environment, "--name", "small", "--burst", "25", "--seed", "5", "--json", "-v")
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert set(document) >= KEYS
    assert list(document["latency_ms"]) == ["p50", "p90", "p99", "max"]
    assert (document["sent"], document["accepted"], document["refused"], document["failed"]) == (25, 20, 5, 0)
    assert document["per_substation"] == {"s1": {"accepted": 10, "share": 0.5}, "s2": {"accepted": 10, "share": 0.5}}
    assert (document["overloads"], document["peak_load_pct"], document["excess"]) == (0, 100.0, 0.0)
    assert document["blocked_share"] == 0.2
    assert document["erlang_b"] is None
    assert document["refused_reasons"] == {"grid-full": 5}
    assert document["seed"] == 5
    assert (document["blocked_pooled"], document["avoidable_rejections"], document["attempts_per_request"]) == (
        0.2,
        0,
        2,
    )
    assert document["unknown"] == {"erlang_b": "the rate changes, or EVs differ: there is no nominal load"}
    assert "audit" not in document
    assert ended.err.count("[SENT] {'ev_id': 'EV") == 25
    waited = [each["latency_ms"] for each in document["slowest"]]
    assert (len(waited), waited) == (5, sorted(waited, reverse=True))
    assert waited[0] == pytest.approx(document["latency_ms"]["max"], abs=0.01)
    for each in document["slowest"]:
        assert each["request_id"].startswith("lt-")
        assert ended.err.count(f"trace {each['trace_id']}\n") == 1


async def test_the_summary_reads_well(environment: dict[str, str]) -> None:
    async with running(SmallGrid(session_s=0.15), environment):
        ended = await loadtest(environment, "--name", "small", "--rate", "1", "--duration", "10s", "-v")
    assert ended.code == 0, ended.err
    assert "10 EVs in" in ended.out
    assert "-> 202: {'routed_to': 's1'" in ended.out
    for word in ("s1", "50.0 %", "at most 1 at once", "latency", "p99", "overloads 0", "spread", "Erlang-B", "seed"):
        assert word in ended.out
    assert "\x1b" not in ended.out + ended.err


async def test_a_threshold_that_failed_is_named_and_exits_4(environment: dict[str, str]) -> None:
    conditions = (
        "--fail-if",
        "refused > 3",
        "--fail-if",
        "overloads > 0",
        "--fail-if",
        "per_substation.s1.share > 0.4",
    )
    async with running(SmallGrid(), environment):
        ended = await loadtest(environment, "--name", "small", "--burst", "25", *conditions)
        unknown = await loadtest(environment, "--name", "small", "--fail-if", "per_substation.s9.share > 0.4")
    assert ended.code == 4
    assert "refused > 3: 5" in ended.err
    assert "per_substation.s1.share > 0.4: 0.5" in ended.err
    assert "overloads" not in ended.err
    assert unknown.code == 2
    assert "s1, s2" in unknown.err


async def test_an_audit_at_the_end_is_part_of_the_one_document(environment: dict[str, str]) -> None:
    async with running(SmallGrid(), environment):
        ended = await loadtest(environment, "--name", "small", "--burst", "4", "--json", "--audit")
    document = json.loads(ended.out)
    assert document["accepted"] == 4
    assert document["audit"]["ok"] is False
    assert [each["promise"] for each in document["audit"]["violations"]] == ["I3"] * 4
    assert ended.code == 4
    assert "the audit found 4 broken promises" in ended.err
    refused = await loadtest(environment, "--target", "http://127.0.0.1:1", "--audit")
    assert refused.code == 2
    assert "--audit" in refused.err


async def test_lost_records_are_said_and_fail_a_condition_on_them(environment: dict[str, str]) -> None:
    async with running(SmallGrid(forgets=True), environment):
        arguments = ("--name", "small", "--burst", "4", "--json", "--fail-if", "overloads > 0")
        ended = await loadtest(environment, *arguments)
    document = json.loads(ended.out)
    assert document["overloads"] is None
    assert document["spread"] is None
    assert "0 of 2 sessions" in document["records_missing"]["s1"]
    assert "s1: it records 0 of 2" in document["unknown"]["blocked_pooled"]
    assert ended.code == 4
    assert "cannot be checked" in ended.err


async def test_ctrl_c_ends_early_and_still_reports(environment: dict[str, str]) -> None:
    async with running(SmallGrid(), environment) as grid:
        process = await start(environment, "--name", "small", "--rate", "0.1", "--duration", "1h", "--json")
        await asyncio.wait_for(grid.asked.wait(), 30)
        process.send_signal(signal.SIGINT)
        ended = await end(process)
    document = json.loads(ended.out)
    assert ended.code == 130, ended.err
    assert document["interrupted"]
    assert document["sent"] >= 1


async def test_a_second_ctrl_c_leaves_at_once(environment: dict[str, str]) -> None:
    grid = SmallGrid(hold=asyncio.Event())
    async with running(grid, environment):
        process = await start(environment, "--name", "small", "--burst", "2")
        await asyncio.wait_for(grid.asked.wait(), 30)
        process.send_signal(signal.SIGINT)
        await until_said(process, b"Ctrl-C again")
        process.send_signal(signal.SIGINT)
        ended = await end(process)
        assert grid.hold is not None
        grid.hold.set()
    assert ended.code == 130
    assert "Traceback" not in ended.err


async def test_a_reader_that_has_enough_ends_it_quietly(environment: dict[str, str]) -> None:
    async with running(SmallGrid(), environment):
        process = await start(environment, "--name", "small", "--rate", "10", "--duration", "1h", "-v")
        assert process.stdout is not None
        assert (await asyncio.wait_for(process.stdout.readline(), 30)).startswith(b"[SENT]")
        process.stdout._transport.close()  # type: ignore[attr-defined]
        assert process.stderr is not None
        said = await asyncio.wait_for(process.stderr.read(), 30)
        assert await process.wait() == 0
    assert said == b""


async def test_any_server_may_be_the_target(environment: dict[str, str]) -> None:
    async with serving(accept) as url:
        arguments = ("--rate", "100", "--duration", "10s", "--time-scale", "100", "--json")
        ended = await loadtest(environment, "--target", url, *arguments)
        refused = await loadtest(environment, "--target", url, "--fail-if", "overloads > 0")
    document = json.loads(ended.out)
    assert ended.code == 0, ended.err
    assert (document["accepted"], document["overloads"], document["erlang_b"]) == (1000, None, None)
    assert document["per_substation"] == {"substation1": {"accepted": 1000, "share": 1.0}}
    assert document["duration_s"] < 3
    assert refused.code == 2
    assert "overloads" in refused.err


async def test_a_target_on_which_all_fails_is_an_error(environment: dict[str, str]) -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=500, text="oops")

    async with serving(handler) as url:
        ended = await loadtest(environment, "--target", f"{url}/charge", "--burst", "3")
    assert ended.code == 1
    assert "every one of 3 requests failed, mostly: 500" in ended.err
    assert "failed      3 times: 500" in ended.out


async def test_a_replay_of_a_file(environment: dict[str, str], tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    rows = "a,X,2020-01-13T17:00:00,2020-01-13T19:00:00,9.5,7.2\na,X,2020-01-13T17:10:00,2020-01-13T19:00:00,3,\n"
    trace.write_text("session_id,site,arrival,departure,energy_kwh,max_power_kw\n" + rows)
    async with running(SmallGrid(), environment) as grid:
        ended = await loadtest(environment, "--name", "small", "--replay", str(trace), "--speed", "6000")
    assert ended.code == 0, ended.err
    assert [own[0]["power_kw"] for own in grid.sessions.values()] == [7.2, 7.4]


async def test_without_a_cluster_it_says_how_to_start_one(environment: dict[str, str]) -> None:
    ended = await loadtest(environment)
    assert ended.code == 3
    assert "gridctl up" in ended.err


async def test_all_bad_flags_are_named_at_once(environment: dict[str, str]) -> None:
    arguments = ("--rate", "x", "--fail-if", "sent", "--time-scale", "3", "--speed", "2")
    ended = await loadtest(environment, *arguments)
    assert ended.code == 2
    for flag in ("--rate", "--fail-if", "--time-scale", "--speed"):
        assert flag in ended.err
    for url in (
        "localhost:80",
        "http://",
        "http://127.0.0.1:99999",
        "ftp://localhost",
        "http://a..b",
        f"http://{'x' * 64}.example",
    ):
        target = await loadtest(environment, "--target", url)
        assert target.code == 2
        assert "--target" in target.err
