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

from tests.e2e.containers.engine import OURS, free_port, gridctl, one_at_a_time, run, swarm_state, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TOPOLOGY = {
    "name": "town",
    "balancer": {"poll_interval_s": 1},
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
told = json.load(urllib.request.urlopen(asked))["sessions"]
print(json.dumps([each["request_id"] for each in told if each["state"] != "revoked"]))
"""

#: EVs from inside the overlay network until stdin ends, each by the name of all tasks: one client opens a connection a
#: request, the other keeps one as long as it may. Prints status → answers, and what failed instead.
CLIENTS = """
import collections, http.client, json, os, sys, threading, time
token = open("/run/secrets/gridctl_token").read().strip()
headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
told, over = collections.Counter(), threading.Event()
def client(name, keeps):
    number, way = 0, None
    while not over.is_set():
        number += 1
        try:
            way = way or http.client.HTTPConnection("tasks.charge-request", 8080, timeout=15)
            way.request("POST", "/charge", json.dumps({"ev_id": f"{name}{number}"}), headers)
            answer = way.getresponse()
            answer.read()
            told[str(answer.status)] += 1
            closes = answer.will_close or not keeps
        except OSError as error:
            told[repr(error)] += 1
            closes = True
        if closes:
            way.close()
            way = None
        time.sleep(0.05)
threads = [threading.Thread(target=client, args=("new" if new else "kept", not new)) for new in (True, False)]
[thread.start() for thread in threads]
print("begun", flush=True)
sys.stdin.read()
over.set()
[thread.join() for thread in threads]
print(json.dumps(told))
"""


@contextmanager
def swarm() -> Iterator[None]:
    """This engine as a swarm of one node; it leaves again, unless it was in one before."""
    if swarm_state() == "active":
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

    def deploy(self, **variables: str) -> None:
        """`docker stack deploy` with `variables`; all tasks run, and are healthy, afterwards."""
        files = ("-c", self.folder / "stack.yaml", "-c", self.folder / "no-grafana.yaml")
        run(
            "docker",
            "stack",
            "deploy",
            "--resolve-image",
            "never",
            *files,
            self.name,
            env={"REQUEST_PORT": str(self.port), **variables},
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

    @contextmanager
    def clients(self, told: Counter[str]) -> Iterator[None]:
        """`CLIENTS` in the container of a balancer; afterwards `told` has what they were answered."""
        command = ["docker", "exec", "-i", self.containers("balancer")[0], "/opt/gridctl/bin/python3", "-c", CLIENTS]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as inside:
            assert inside.stdout is not None
            assert inside.stdout.readline() == "begun\n"
            yield
            out, _ = inside.communicate(timeout=60)
        told.update(json.loads(out))

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Where what is done within fails, the tasks' states and their last lines are printed: nobody can look later."""
        try:
            yield
        except BaseException:
            sys.stdout.write(run("docker", "stack", "ps", "--no-trunc", self.name))
            for service in RUNNING.keys() - {"prometheus"}:
                command = ["docker", "service", "logs", "--timestamps", "--tail", "400", f"{self.name}_{service}"]
                told = subprocess.run(command, capture_output=True, text=True, check=False)
                sys.stdout.write(told.stdout + told.stderr)
            raise

    def query(self, query: str) -> list[str]:
        """What Prometheus answers, a line a series."""
        (prometheus,) = self.containers("prometheus")
        told = run("docker", "exec", prometheus, "promtool", "query", "instant", "http://127.0.0.1:9090", query)
        return sorted(line.partition(" @")[0] for line in told.splitlines() if line)

    def requests(self) -> list[str]:
        """The request of every session that a substation knows of, whether it charges or has ended; not what was revoked."""
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
        made = Stack(tmp_path / "out", f"{OURS}{os.getpid()}")
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
        for service in ("substation", "balancer", "balancer2"):
            before = set(stack.containers(service))
            stack.update(service)
            assert not before & set(stack.containers(service)), f"{service} was not replaced"
        assert load.poll() is None, "the updates were to happen under load"
        load.send_signal(signal.SIGINT)  # no more EVs; it waits for the last answers
        out, _ = load.communicate(timeout=60)
    result = json.loads(out)
    sent = result["sent"]
    with stack.telling():
        assert (result["refused"], result["failed"], result["accepted"]) == (0, 0, sent), result["failures"]
        assert set(result["per_substation"]) == set(names)
        counted = Counter(stack.requests())
        assert (len(counted), set(counted.values())) == (sent, {1})
        request_service_is_replaced(stack)


def request_service_is_replaced(stack: Stack) -> None:
    """Where it need not give a port of the node away, who finds it by its tasks notices nothing of its update."""
    run("docker", "service", "rm", f"{stack.name}_charge-request")  # begun anew: an update would wait for its old port
    stack.deploy(REQUEST_PORT="0", REQUEST_UPDATE_ORDER="start-first")
    until(lambda: len(stack.containers("charge-request")) == 1, "the removed one gone")
    told: Counter[str] = Counter()
    before = set(stack.containers("charge-request"))
    with stack.clients(told):
        stack.update("charge-request")
        until(
            lambda: not before & set(stack.containers("charge-request")), "the former one gone, after its last answers"
        )
    assert told.keys() == {"202"}, told
    assert told["202"] > 100, "it was to happen under load"
