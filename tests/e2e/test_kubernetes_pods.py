"""The pods of a Kubernetes export, started as processes by what their manifests say: start, discovery, probes, drain."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gridctl.commands.kubernetes import rendered
from gridctl.export.folder import write
from tests.e2e.pods import Kubelet, kubelet
from tests.e2e.served import until

pytestmark = [pytest.mark.e2e, pytest.mark.needs("unshare")]

COUNTED = """\
name: counted
substations: 3
defaults: {session_s: 5, max_sessions: 4}
balancer: {replicas: 2, poll_interval_s: 0.5}
"""
PLACES = """\
name: places
balancer: {poll_interval_s: 0.5}
substations:
  - {name: Harbour.East, max_sessions: 2}
  - {name: mills, max_sessions: 3, port: 9300}
"""


def exported(text: str, folder: Path) -> Path:
    topology, out = folder / "gridctl.yaml", folder / "out"
    topology.write_text(text)
    write(out, rendered(None, topology), kind="gridctl kubernetes export")
    return out


def substations(running: Kubelet, balancer: str = "balancer-1") -> dict[str, str]:
    """What a balancer believes of each substation that it found: its state."""
    status = running.pods[balancer].status() or {"substations": []}
    return {entry["name"]: entry["state"] for entry in status["substations"]}


@pytest.mark.timeout(180)
def test_replicas_find_each_other_come_and_go(environment: dict[str, str], tmp_path: Path) -> None:
    with kubelet(exported(COUNTED, tmp_path), tmp_path / "node", environment) as running:
        running.start_all()
        running.ready()
        assert {pod.probe("livenessProbe") for pod in running.pods.values()} == {200}
        for balancer in ("balancer-1", "balancer-2"):
            until(lambda at=balancer: substations(running, at).keys() == {f"substation-{n}" for n in (1, 2, 3)})
        first, second = (pod for name, pod in running.pods.items() if name.startswith("charge-request"))
        placed = [pod.charge(f"EV{number}") for number, pod in enumerate((first, second) * 6)]
        assert {status for status, _ in placed} == {202}
        assert {body["routed_to"] for _, body in placed} == {"substation-1", "substation-2", "substation-3"}

        assert first.ask("POST", "/charge", {"ev_id": "EV99"})[0] == 401

        leaving = running.pods["substation-3"]
        assert leaving.ask("GET", "/health")[1]["sessions"] > 0
        assert running.delete("substation-3") == 0
        assert '"message": "drained", "charging": 0' in leaving.log.read_text()

        running.start("substation-4")
        until(lambda: "substation-4" in substations(running))


@pytest.mark.timeout(180)
def test_places_are_found_by_their_names_and_resume(environment: dict[str, str], tmp_path: Path) -> None:
    with kubelet(exported(PLACES, tmp_path), tmp_path / "node", environment) as running:
        running.start_all()
        running.ready()
        until(lambda: substations(running).keys() == {"Harbour.East", "mills"})
        asked = next(pod for name, pod in running.pods.items() if name.startswith("charge-request"))
        placed = [asked.charge(f"EV{number}", duration_s=600)[1]["routed_to"] for number in range(5)]
        assert sorted(placed) == ["Harbour.East"] * 2 + ["mills"] * 3
        assert running.delete("mills-0") == 0
        mills = running.start("mills-0")
        running.ready()
        assert mills.ask("GET", "/health")[1]["sessions"] == 3


@pytest.mark.timeout(120)
def test_one_that_cannot_keep_its_promises_is_not_ready_and_not_killed(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with kubelet(exported(PLACES, tmp_path), tmp_path / "node", environment) as running:
        running.claim("mills-0").mkdir()
        (running.claim("mills-0") / "mills.db").write_bytes(os.urandom(8192))
        mills = running.start("mills-0")
        until(lambda: mills.probe("livenessProbe") == 200)
        until(lambda: mills.ask("GET", "/health")[1]["status"] == "degraded")
        assert [mills.probe(kind) for kind in ("startupProbe", "livenessProbe", "readinessProbe")] == [200, 200, 503]
        assert running.delete("mills-0") == 0
