"""The supervisor's small parts, each alone: back-off, rates, journal, targets file, held sockets, leftovers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import InUse
from gridctl.backoff import Backoff
from gridctl.identity import identify
from gridctl.state import ClusterPaths
from gridctl.supervisor.journal import Journal
from gridctl.supervisor.leftovers import clear
from gridctl.supervisor.rates import STEP_S, STEPS, Meter, Series
from gridctl.supervisor.sockets import hold
from gridctl.supervisor.targets import Target, render, write_atomically


@given(crashes=st.integers(1, 10_000), seed=st.integers())
def test_backoff_is_between_half_and_all_of_a_capped_power(crashes: int, seed: int) -> None:
    backoff = Backoff(first_s=0.1, factor=2.0, cap_s=10.0)
    whole = min(10.0, 0.1 * 2.0 ** min(crashes - 1, 64))
    assert whole / 2 <= backoff.delay_s(crashes, Random(seed)) <= whole


def test_a_meter_counts_over_restarts_and_gives_the_rate_of_the_last_ten_seconds() -> None:
    meter = Meter()
    for second in range(31):
        meter.read(2 * second, float(second))
    assert meter.per_s(30.0) == pytest.approx(2.0)
    meter.restarted()
    meter.read(5, 31.0)
    assert meter.total == 65
    assert Meter().per_s(1.0) == 0.0


def test_a_meter_notices_a_counter_that_began_again_unannounced() -> None:
    meter = Meter()
    meter.read(10, 0.0)
    meter.read(3, 1.0)
    assert meter.total == 13


def test_a_rate_falls_when_nothing_comes_any_more() -> None:
    meter = Meter()
    meter.read(0, 0.0)
    meter.read(10, 1.0)
    assert meter.per_s(1.0) == pytest.approx(10.0)
    assert meter.per_s(100.0) == pytest.approx(0.1)


def test_a_series_keeps_one_value_a_step_and_only_the_last() -> None:
    series = Series()
    for quarter in range(4 * 2 * (STEPS + 20)):
        series.note(float(quarter), quarter * STEP_S / 4)
    assert len(series.values) == STEPS
    steps = {round(later - sooner) for sooner, later in zip(series.values, list(series.values)[1:], strict=False)}
    assert steps == {4}


async def test_the_journal_is_a_file_of_json_lines_and_a_stream(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    journal.add("state", name="a", to="READY")
    journal.add("note", name="b")
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [(line["seq"], line["event"], line["name"]) for line in lines] == [(1, "state", "a"), (2, "note", "b")]
    assert [event["seq"] async for event in journal.read(since=1, follow=False)] == [2]


def test_a_journal_that_has_grown_goes_on_in_a_new_file_and_keeps_three(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl", max_bytes=300)
    for number in range(40):
        journal.add("note", name=f"n{number:02}")
    files = sorted(path.name for path in tmp_path.glob("events.jsonl*"))
    assert files[-3:] == ["events.jsonl.1", "events.jsonl.2", "events.jsonl.3"]
    rotated = [tmp_path / f"events.jsonl.{number}" for number in (3, 2, 1)]
    kept = [*rotated, tmp_path / "events.jsonl"] if "events.jsonl" in files else rotated
    names = [json.loads(line)["name"] for path in kept for line in path.read_text().splitlines()]
    assert names == [f"n{number:02}" for number in range(40)][-len(names) :]
    assert all(path.stat().st_size < 450 for path in kept)


async def test_a_follower_of_the_journal_gets_what_comes(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    stream = journal.read(since=0, follow=True)
    journal.add("note", name="first")
    assert (await anext(stream))["name"] == "first"
    waiting = asyncio.ensure_future(anext(stream))
    journal.add("note", name="second")
    assert (await asyncio.wait_for(waiting, 5))["name"] == "second"


async def test_a_journal_that_cannot_be_written_counts_what_it_lost(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "missing" / "events.jsonl")
    journal.add("note", name="a")
    assert journal.lost == 1
    assert [event["name"] async for event in journal.read(0, False)] == ["a"]


def test_the_targets_file_is_what_prometheus_and_the_balancer_read(tmp_path: Path) -> None:
    targets = [
        Target("substation1", "substation", "127.0.0.1", 9001, draining=True),
        Target(
            "other",
            "external",
            "",
            0,
            url="http://h:7601/x",
            load_metric="current_load",
            max_sessions=5,
            capacity_kw=22,
        ),
        Target("balancer", "balancer", "127.0.0.1", 8081),
        Target("charge-request2", "charge-request", "127.0.0.1", 8181, worker="charge-request2"),
    ]
    path = tmp_path / "prometheus" / "targets.json"
    write_atomically(path, render("city", targets))
    groups = json.loads(path.read_text())
    assert [group["targets"] for group in groups] == [
        ["127.0.0.1:9001"],
        ["h:7601"],
        ["127.0.0.1:8081"],
        ["127.0.0.1:8181"],
    ]
    first, other, balancer, worker = (group["labels"] for group in groups)
    assert first == {"job": "substation", "cluster": "city", "substation_id": "substation1", "draining": "true"}
    assert other["external"] == "true"
    assert (other["load_metric"], other["max_sessions"], other["capacity_kw"]) == ("current_load", "5", "22")
    assert (other["__scheme__"], other["__metrics_path__"]) == ("http", "/x/metrics")
    assert balancer["job"] == "balancer"
    assert worker == {"job": "charge-request", "cluster": "city", "worker": "charge-request2"}
    assert all(isinstance(value, str) for group in groups for value in group["labels"].values())
    assert [entry.name for entry in path.parent.iterdir()] == ["targets.json"]


def test_a_busy_port_is_named_with_its_holder_when_it_is_fixed_and_left_when_it_is_not() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InUse, match=rf"port {port} \(substation1\) is in use by this cluster itself"):
            hold("substation1", "127.0.0.1", port, fixed=True)
        held = hold("substation1", "127.0.0.1", port, fixed=False)
        assert held.port != port
        held.close()


def test_a_held_port_refuses_while_it_should_be_down_and_answers_again() -> None:
    held = hold("substation1", "127.0.0.1", 0, fixed=False)
    address = (held.host, held.port)
    socket.create_connection(address, 5).close()
    held.listen(False)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)
    for shares in (0, 1):
        with socket.socket() as intruder:
            intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, shares)
            with pytest.raises(OSError, match="in use"):
                intruder.bind(address)
    held.listen(True)
    socket.create_connection(address, 5).close()
    held.close()


def test_a_shared_port_answers_as_long_as_one_of_its_shares_is_to_and_is_given_back_with_the_last() -> None:
    first = hold("charge-request", "127.0.0.1", 0, fixed=False)
    address = (first.host, first.port)
    second = first.share()
    second.listen(True)
    first.listen(False)
    socket.create_connection(address, 5).close()
    first.close()
    first.close()
    socket.create_connection(address, 5).close()
    second.listen(False)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)
    second.close()
    again = hold("charge-request", *address, fixed=True)
    again.close()


def test_who_takes_the_place_of_a_share_loses_no_connection_that_waits() -> None:
    old = hold("charge-request", "127.0.0.1", 0, fixed=False)
    with socket.create_connection((old.host, old.port), 5) as client:
        client.sendall(b"hello")
        new = old.share()
        new.follow(old)
        accepted, _ = new.sock.accept()
        with accepted:
            assert accepted.recv(5) == b"hello"
    new.close()


def test_a_port_beside_a_share_goes_with_it() -> None:
    held = hold("charge-request", "127.0.0.1", 0, fixed=False)
    share = held.share()
    share.beside = hold("its metrics", "127.0.0.1", 0, fixed=False)
    address = (share.beside.host, share.beside.port)
    share.listen(True)
    socket.create_connection(address, 5).close()
    share.listen(False)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)
    share.close()
    hold("other", *address, fixed=True).close()
    held.close()


def test_a_meter_that_inherits_goes_on_and_its_rate_does_not_jump() -> None:
    meter, gone = Meter(), Meter()
    meter.read(10, 0.0)
    meter.read(20, 5.0)
    gone.read(1000, 5.0)
    meter.inherit(gone)
    assert (meter.total, meter.per_s(5.0)) == (1020, 2.0)
    meter.read(30, 10.0)
    assert (meter.total, meter.per_s(10.0)) == (1030, 2.0)


def _sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)


def test_leftovers_are_killed_only_when_they_are_surely_ours(tmp_path: Path) -> None:
    paths = ClusterPaths(tmp_path, "grid")
    paths.folder.mkdir()
    ours, others = _sleeper(), _sleeper()
    try:
        entries = [
            {"name": "substation1", "pid": ours.pid, "identity": identify(ours.pid)},
            {"name": "substation2", "pid": others.pid, "identity": "another-boot:1"},
            {"name": "substation3", "pid": 2**22 + 1, "identity": "x:1"},
            {"name": "substation4"},
            "nonsense",
        ]
        paths.roster.write_text(json.dumps(entries))
        clear(paths)
        assert ours.wait(5) == -9
        assert others.poll() is None
        assert not paths.roster.exists()
    finally:
        for process in (ours, others):
            process.kill()
            process.communicate()


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"a": 1}', "null"])
def test_a_broken_roster_is_in_nobodys_way(tmp_path: Path, text: str) -> None:
    paths = ClusterPaths(tmp_path, "grid")
    paths.folder.mkdir()
    paths.roster.write_text(text)
    clear(paths)
    assert not paths.roster.exists()


def test_an_identity_is_stable_and_gone_with_the_process() -> None:
    process = _sleeper()
    first = identify(process.pid)
    assert first is not None
    assert first == identify(process.pid)
    assert first != identify(os.getpid())
    process.kill()
    process.communicate()
    assert identify(process.pid) is None


def test_a_long_state_path_moves_the_socket_to_a_short_one(tmp_path: Path) -> None:
    short, deep = ClusterPaths(Path("/s"), "grid"), ClusterPaths(tmp_path / ("x" * 120), "grid")
    assert short.control_socket == Path("/s/grid/control.sock")
    assert len(os.fsencode(deep.control_socket)) < 100
    assert deep.control_socket != ClusterPaths(tmp_path / ("x" * 120), "other").control_socket
