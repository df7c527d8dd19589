"""kill -9 of everything in turn: what comes back, what waiting clients are told, and that nothing is left behind."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from gridctl.identity import identify
from gridctl.testing import Grid
from tests.e2e.conftest import Cluster, in_state, supervisor_of, zygote_of

#: What a client may be told while something is down: placed, nobody there just now, too late.
ANSWERS = {202, 503, 504}
#: The topology's bound on every client's wait, with some air for a busy machine (wall seconds).
WAIT_S = 10.0 + 3.0

ROOMY = {"defaults": {"max_sessions": 100_000, "session_s": 30}}
ALL = ("charge-request", "balancer", "substation1", "substation2", "substation3")


@dataclass
class Traffic:
    """What steady clients saw: the status (or the error's class) and the wait of each request, and each refusal's body."""

    statuses: Counter[int | str] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)
    refusals: list[Any] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)

    def client(self, grid: Grid, number: int) -> None:
        """Send one EV after the other until it is enough."""
        count = 0
        while not self.enough.is_set():
            count += 1
            began = time.monotonic()
            try:
                status, answer = grid.charge(f"EV-{number}-{count}")
            except (OSError, http.client.HTTPException) as error:
                self.statuses[type(error).__name__] += 1
            else:
                self.statuses[status] += 1
                if status != 202:
                    self.refusals.append(answer)
            self.waits_s.append(time.monotonic() - began)


@contextmanager
def traffic(grid: Grid, clients: int = 4) -> Iterator[Traffic]:
    """`clients` threads that send one EV after the other; on leaving each has been answered."""
    result = Traffic()
    threads = [threading.Thread(target=result.client, args=(grid, number)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield result
    finally:
        result.enough.set()
        for thread in threads:
            thread.join(WAIT_S * 2)
        assert not any(thread.is_alive() for thread in threads), "a client was never answered"


def placed_more(result: Traffic, count: int) -> Any:
    """A predicate: `count` more EVs were placed since now."""
    before = result.statuses[202]
    return lambda _: result.statuses[202] >= before + count


@pytest.mark.parametrize("victim", ALL)
def test_a_killed_service_comes_back_and_every_client_is_told(cluster: Cluster, victim: str) -> None:
    grid = cluster(3, topology=ROOMY)
    before = {row["name"]: row["pid"] for row in grid.ps()}
    with traffic(grid) as result:
        grid.wait_until(placed_more(result, 20))
        assert grid.run("kill", "-s", "KILL", victim).returncode == 0
        grid.wait_until(lambda g: g.process(victim)["restarts"] == 1 and g.process(victim)["state"] == "READY")
        grid.wait_until(placed_more(result, 20))
    after = {row["name"]: row["pid"] for row in grid.ps()}
    assert {name for name in ALL if before[name] != after[name]} == {victim}
    assert max(result.waits_s) < WAIT_S
    errors = {word for word in result.statuses if isinstance(word, str)}
    statuses = {word for word in result.statuses if isinstance(word, int)}
    assert statuses <= ANSWERS, result.statuses
    if (
        victim != "charge-request"
    ):  # its own clients see their connection reset, and may repeat with the same request_id
        assert not errors, result.statuses
    assert all(refusal["detail"] for refusal in result.refusals), result.refusals


def asked(port: int) -> bool:
    """Whether bytes lie unread behind `port`: its service is frozen, and somebody asks it."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(
        row[1].endswith(f":{port:04X}") and row[3] == "01" and row[4].split(":")[1] != "00000000" for row in rows
    )


def test_a_reset_client_repeats_with_the_same_request_id_and_has_one_session(cluster: Cluster) -> None:
    grid = cluster(1)
    assert grid.run("pause", "balancer").returncode == 0
    address = urlsplit(grid.url)
    client = http.client.HTTPConnection(address.hostname or "", address.port, timeout=WAIT_S)
    client.request("POST", "/charge", '{"ev_id": "EV1", "request_id": "r1"}', {"Content-Type": "application/json"})
    balancer = grid.process("balancer")["port"]
    grid.wait_until(lambda _: asked(balancer))
    assert grid.run("kill", "charge-request").returncode == 0
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        client.getresponse()
    client.close()
    assert grid.run("unpause", "balancer").returncode == 0
    grid.wait_until(in_state("charge-request", "READY"))
    assert [grid.charge("EV1", request_id="r1")[0] for _ in range(2)] == [202, 202]
    _, sessions = grid.request("GET", "/sessions", process="substation1")
    assert [row["request_id"] for row in sessions["sessions"]] == ["r1"]


def test_kill_9_of_the_zygote_ends_no_service_and_another_takes_its_place(cluster: Cluster) -> None:
    grid = cluster(3, topology=ROOMY)
    before = {row["name"]: row["pid"] for row in grid.ps()}
    old = zygote_of(grid)
    with traffic(grid) as result:
        grid.wait_until(placed_more(result, 20))
        old.kill()
        grid.wait_until(lambda g: not old.is_running() and zygote_of(g).pid != old.pid)
        grid.wait_until(placed_more(result, 20))
    assert set(result.statuses) == {202}
    assert {row["name"]: row["pid"] for row in grid.ps()} == before
    grid.run("kill", "substation2")
    grid.wait_until(
        lambda g: g.process("substation2")["restarts"] == 1 and g.process("substation2")["state"] == "READY"
    )


def test_kill_9_of_the_supervisor_ends_all_within_a_second_and_the_next_up_works(cluster: Cluster) -> None:
    grid = cluster(3, topology=ROOMY)
    everyone = {process.pid: identify(process.pid) for process in supervisor_of(grid).children(recursive=True)}
    paused = grid.process("substation3")
    assert grid.run("pause", "substation3").returncode == 0
    os.kill(grid.supervisor_pid, signal.SIGKILL)
    grid.wait_until(lambda _: not any(identify(pid) == who for pid, who in everyone.items()))
    assert paused["pid"] in everyone
    assert grid.run("ps").returncode == 3
    again = grid.run("up", "-d", "--file", str(grid.state_dir.parent / "gridctl.yaml"))
    assert again.returncode == 0, again.stderr
    assert {row["state"] for row in grid.ps()} == {"READY"}
    assert grid.request("POST", "/charge", {"ev_id": "EV1"}, process="charge-request")[0] == 202


def test_kill_9_of_the_supervisor_frees_every_port(cluster: Cluster) -> None:
    with ExitStack() as scouts:  # ports that nobody else is given meanwhile
        ports = [scouts.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(3)]
    keys = ({"request_service": {"port": ports[0]}}, {"balancer": {"port": ports[1]}})
    grid = cluster(topology={**keys[0], **keys[1], "substations": [{"name": "substation1", "port": ports[2]}]})
    addresses = [urlsplit(row["url"]) for row in grid.ps()]
    children = supervisor_of(grid).children(recursive=True)
    os.kill(grid.supervisor_pid, signal.SIGKILL)
    psutil.wait_procs(children, timeout=30)
    grid.wait_until(lambda _: not any(identify(child.pid) for child in children))
    for address in addresses:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.hostname or "", address.port or 0), 5)


def test_a_paused_substation_delays_nobody_beyond_the_bound_and_goes_on_when_unpaused(cluster: Cluster) -> None:
    grid = cluster(3, topology=ROOMY)
    with traffic(grid) as result:
        grid.wait_until(placed_more(result, 20))
        assert grid.run("pause", "substation2").returncode == 0
        assert grid.process("substation2")["state"] == "PAUSED"
        grid.wait_until(placed_more(result, 50), within_s=60)
        assert grid.run("unpause", "substation2").returncode == 0
        grid.wait_until(placed_more(result, 50), within_s=60)
    assert set(result.statuses) <= ANSWERS, result.statuses
    assert max(result.waits_s) < WAIT_S
    assert grid.process("substation2")["state"] == "READY"


def test_a_crash_is_in_the_events_with_its_reason(cluster: Cluster) -> None:
    grid = cluster(1)
    grid.run("kill", "-s", "SEGV", "substation1")
    grid.wait_until(
        lambda g: g.process("substation1")["restarts"] == 1 and g.process("substation1")["state"] == "READY"
    )
    events = (grid.state_dir / grid.name / "events.jsonl").read_text()
    assert '"to": "BACKOFF", "reason": "killed by SIGSEGV"' in events
