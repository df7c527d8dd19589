"""`gridctl compose export --swarm` on a one-node Swarm: tasks run, find each other, and are updated under load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.e2e.containers.engine import free_port, gridctl, one_at_a_time, run, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TOPOLOGY = {
    "name": "town",
    "balancer": {"poll_interval_s": 1, "replicas": 2},
    "defaults": {"session_s": 3, "max_sessions": 200},
    "substations": 2,
}
RUNNING = {"substation": 2, "balancer": 1, "balancer2": 1, "charge-request": 1, "prometheus": 1}
#: No registry has an image of Grafana for this machine.
WITHOUT_GRAFANA = {"version": "3.8", "services": {"grafana": {"deploy": {"replicas": 0}}}}
#: Asks a substation from inside its container: its address is one of the overlay network's.
SESSIONS = """
import json, urllib.request
token = open("/run/secrets/gridctl_token").read().strip()
asked = urllib.request.Request("http://127.0.0.1:9001/sessions?ended=1", headers={"Authorization": f"Bearer {token}"})
print(json.dumps([each["request_id"] for each in json.load(urllib.request.urlopen(asked))["sessions"]]))
"""


@contextmanager
def swarm() -> Iterator[None]:
    """This engine as a swarm of one node; it leaves again, unless it was in one before."""
    if run("docker", "info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "active":
        yield
        return
    networks = run("docker", "network", "ls", "--format", "{{.Name}}").split()
    run("docker", "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", f"127.0.0.1:{free_port()}")
    try:
        yield
    finally:
        run("docker", "swarm", "leave", "--force")
        if "docker_gwbridge" not in networks:
            run("docker", "network", "rm", "docker_gwbridge")


class Stack:
    """A stack called `name` from the exported `folder`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.port = folder, name, free_port()
        (folder / "gridctl-token").write_text("test-" + os.urandom(16).hex())
        (folder / "no-grafana.yaml").write_text(yaml.safe_dump(WITHOUT_GRAFANA))

    def deploy(self) -> None:
        """`docker stack deploy`; all tasks run, and are healthy, afterwards."""
        files = ("-c", self.folder / "stack.yaml", "-c", self.folder / "no-grafana.yaml")
        run(
            "docker",
            "stack",
            "deploy",
            "--resolve-image",
            "never",
            *files,
            self.name,
            env={"REQUEST_PORT": str(self.port)},
        )
        until(lambda: self.running() == RUNNING, f"{RUNNING} run")

    def running(self) -> dict[str, int]:
        """Service → tasks that run."""
        listed = run("docker", "stack", "services", self.name, "--format", "{{.Name}} {{.Replicas}}").splitlines()
        counts = {
            name.removeprefix(f"{self.name}_"): int(tasks.split("/")[0]) for name, tasks in map(str.split, listed)
        }
        return {name: count for name, count in counts.items() if count}

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers that run."""
        label = f"label=com.docker.swarm.service.name={self.name}_{service}"
        return run("docker", "ps", "-q", "--filter", label).split()

    def update(self, service: str) -> None:
        """Replace each task of a service, one after another."""
        run("docker", "service", "update", "-q", "--force", "--detach=false", f"{self.name}_{service}")

    def query(self, query: str) -> list[str]:
        """What Prometheus answers, a line a series."""
        (prometheus,) = self.containers("prometheus")
        told = run("docker", "exec", prometheus, "promtool", "query", "instant", "http://127.0.0.1:9090", query)
        return sorted(line.partition(" @")[0] for line in told.splitlines() if line)

    def requests(self) -> list[str]:
        """The request of every session that a substation knows of, whether it charges or has ended."""
        python = "/opt/gridctl/bin/python3"
        told = [run("docker", "exec", each, python, "-c", SESSIONS) for each in self.containers("substation")]
        return [request for text in told for request in json.loads(text)]

    def remove(self) -> None:
        """All of it, volumes too."""
        label = f"label=com.docker.stack.namespace={self.name}"
        run("docker", "stack", "rm", self.name)
        until(lambda: not run("docker", "ps", "-aq", "--filter", label), "every container gone")
        until(lambda: not run("docker", "network", "ls", "-q", "--filter", label), "the network gone")
        volumes = run("docker", "volume", "ls", "-q", "--filter", label).split()
        run("docker", "volume", "rm", *volumes)


@pytest.fixture
def stack(images: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    (tmp_path / "gridctl.yaml").write_text(yaml.safe_dump(TOPOLOGY))
    gridctl("compose", "export", "--swarm", "-f", tmp_path / "gridctl.yaml", "-o", tmp_path / "out")
    with one_at_a_time(), swarm():
        made = Stack(tmp_path / "out", f"gridctl-test-{os.getpid()}")
        try:
            yield made
        finally:
            made.remove()


def test_a_rolling_update_loses_no_request(stack: Stack) -> None:
    stack.deploy()
    node = run("docker", "info", "--format", "{{.Name}}").strip()
    names = [f"substation-{node}-{number}" for number in (1, 2)]
    expected = [f'{{job="substation", substation_id="{name}"}} => 1' for name in names]
    expected += ['{job="balancer"} => 2', '{job="charge-request"} => 1']
    until(lambda: stack.query("sum by (job, substation_id) (up)") == sorted(expected), "every target up")

    url = f"http://127.0.0.1:{stack.port}"
    command = [sys.executable, "-P", "-m", "gridctl", "loadtest", "--target", url, "--rate", "10", "--duration", "500"]
    environ = {**os.environ, "GRIDCTL_TOKEN_FILE": str(stack.folder / "gridctl-token")}
    with subprocess.Popen([*command, "--json"], env=environ, stdout=subprocess.PIPE, text=True) as load:
        until(lambda: len(stack.requests()) > 20, "load")
        for service in ("substation", "balancer"):
            before = set(stack.containers(service))
            stack.update(service)
            assert not before & set(stack.containers(service)), f"{service} was not replaced"
        assert load.poll() is None, "the updates were to happen under load"
        load.send_signal(signal.SIGINT)  # no more EVs; it waits for the last answers
        out, _ = load.communicate(timeout=60)
    result = json.loads(out)
    sent = result["sent"]
    assert (result["refused"], result["failed"], result["accepted"]) == (0, 0, sent)
    assert set(result["per_substation"]) == set(names)
    counted = Counter(stack.requests())
    assert (len(counted), set(counted.values())) == (sent, {1})
