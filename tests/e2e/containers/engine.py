"""A real Docker Engine for tests, and projects of docker-compose on it that are gone afterwards, volumes and all.

Only `../shared/tools/docker-engine` knows how an engine comes to this machine; whoever lacks it skips.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from gridctl.export.compose.observers import PROMETHEUS_IMAGE
from gridctl.export.image.context import PYTHON_IMAGE
from tests import leaks
from tests.conftest import ALLOWED_SKIP, SHARED

TOOL = SHARED / "tools" / "docker-engine"
#: All tests of this machine make and remove images and engines one at a time.
LOCK = Path("/var/lock/gridctl-tests-docker")
#: What the names of all projects and stacks of these tests begin with.
OURS = "gridctl-test-"
#: The engine and its images from nothing: packages, a base system, a build.
BRING_UP_S = 400.0
COMMAND_S = 240.0
PATIENCE_S = 90.0


def run(*command: str | Path, env: Mapping[str, str] | None = None, timeout_s: float = COMMAND_S) -> str:
    """What `command` says on stdout; AssertionError with all that it said when it fails."""
    environ = {**os.environ, **(env or {})}
    environ.pop(leaks.MARK, None)  # containers and the engine outlive a test: each project removes its own
    done = subprocess.run(
        [str(part) for part in command], env=environ, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def bring_up() -> None:
    """The engine, docker-compose and the base images; skips where the machine has no way to them.

    In CI only the missing way may skip: who is not root there fails.
    """
    if not TOOL.exists():
        pytest.skip(f"{ALLOWED_SKIP}/tools/docker-engine beside this checkout")
    if os.geteuid() != 0:
        pytest.skip("the Docker engine of these tests needs root")
    run(TOOL, PYTHON_IMAGE, PROMETHEUS_IMAGE, timeout_s=BRING_UP_S)
    with one_at_a_time():
        remove_what_others_left()


def remove_what_others_left() -> None:
    """Containers, networks, volumes and the swarm of a run that was killed; call it with the lock, so that none runs.

    A swarm that also has services of others stays.
    """
    if swarm_state() == "active":
        services = run("docker", "service", "ls", "--format", "{{.Name}}").split()
        if all(each.startswith(OURS) for each in services):
            run("docker", "swarm", "leave", "--force")
            until(lambda: not _named("container", "label=com.docker.swarm.task"), "every task's container gone")
    for label in ("com.docker.compose.project", "com.docker.stack.namespace"):
        for kind, remove in (("container", "-f"), ("network", ""), ("volume", "-f")):
            left = [identifier for identifier, whose in _named(kind, f"label={label}", label) if whose.startswith(OURS)]
            if left:
                run("docker", kind, "rm", *([remove] if remove else []), *left)


def swarm_state() -> str:
    """Whether the engine is a swarm's node: `active`, or `inactive`."""
    return run("docker", "info", "--format", "{{.Swarm.LocalNodeState}}").strip()


def _named(kind: str, only: str, label: str = "") -> list[tuple[str, str]]:
    """What there is of a kind that a filter lets through: its id, or a volume's name, and what its label says."""
    everything = ("-a",) if kind == "container" else ()
    identifier = "{{.Name}}" if kind == "volume" else "{{.ID}}"
    told = run(
        "docker", kind, "ls", *everything, "--filter", only, "--format", f'{identifier} {{{{.Label "{label}"}}}}'
    )
    return [(first, whose) for first, _, whose in (line.partition(" ") for line in told.splitlines())]


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Workers of one test run, and other runs, wait for each other: who leaves a swarm takes the networks of all along."""
    with LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def until(condition: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait until `condition` holds; AssertionError that names `what` did not. Who does not answer yet is waited for."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            if condition():
                return
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s} s: {what}")


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as scout:
        scout.bind(("127.0.0.1", 0))
        return int(scout.getsockname()[1])


def ask(url: str, token: str | None = None) -> Any:
    """The JSON at `url`."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return json.load(answer)


def gridctl(*arguments: str | Path, env: Mapping[str, str] | None = None) -> str:
    """What a verb says on stdout."""
    return run(sys.executable, "-P", "-m", "gridctl", *arguments, env=env)


@dataclass(frozen=True, slots=True)
class Container:
    """One container as the engine sees it now."""

    id: str
    service: str
    pid: int
    address: str
    health: str
    restarts: int

    def kill_from_outside(self) -> None:
        """`kill -9` of its process, by whom the engine does not know: so the restart policy answers."""
        psutil.Process(self.pid).kill()


@dataclass(frozen=True, slots=True)
class Project:
    """An exported folder, run by docker-compose as project `name`."""

    folder: Path
    name: str
    token: str
    request_port: int
    prometheus_port: int

    @property
    def url(self) -> str:
        """The charge-request service, from outside."""
        return f"http://127.0.0.1:{self.request_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What stands in `.env` and is another here."""
        return {"REQUEST_PORT": str(self.request_port), "PROMETHEUS_PORT": str(self.prometheus_port)}

    def compose(self, *arguments: str, timeout_s: float = COMMAND_S) -> str:
        """`docker-compose ARGUMENTS…`."""
        folder = ("--project-directory", str(self.folder), "-f", str(self.folder / "compose.yaml"))
        return run("docker-compose", *folder, "-p", self.name, *arguments, env=self.environment, timeout_s=timeout_s)

    def containers(self, service: str | None = None) -> list[Container]:
        """Those that run, of one service or all."""
        label = f"label=com.docker.compose.project={self.name}"
        ids = run("docker", "ps", "-q", "--no-trunc", "--filter", label).split()
        found = json.loads(run("docker", "inspect", *ids)) if ids else []
        return [each for each in map(_container, found) if service in (None, each.service)]

    def one(self, service: str) -> Container:
        """The only container of a service."""
        (found,) = self.containers(service)
        return found

    def up(self, *services: str) -> None:
        """Start services and those they need; all are healthy afterwards."""
        self.compose("up", "-d", *services)
        self.wait_healthy()

    def wait_healthy(self) -> None:
        """Until every container is."""
        until(lambda: {each.health for each in self.containers()} == {"healthy"}, f"all of {self.name} healthy")

    def ask(self, container: Container, port: int, path: str) -> Any:
        """The JSON that a service answers on its own address, which this machine reaches."""
        return ask(f"http://{container.address}:{port}{path}", self.token)

    def prometheus(self, query: str) -> dict[str, float]:
        """What Prometheus answers now: its labels, as `key=value` with commas between, → value."""
        quoted = urllib.parse.quote(query)
        found = ask(f"http://127.0.0.1:{self.prometheus_port}/api/v1/query?query={quoted}")["data"]["result"]
        return {
            ",".join(f"{k}={v}" for k, v in sorted(each["metric"].items())): float(each["value"][1]) for each in found
        }

    def loadtest(self, *arguments: str) -> dict[str, Any]:
        """The figures of the load tester, run from outside."""
        told = gridctl("loadtest", "--target", self.url, *arguments, "--json", env=self.client)
        result: dict[str, Any] = json.loads(told)
        return result

    @property
    def client(self) -> dict[str, str]:
        """The environment of who asks from outside."""
        return {"GRIDCTL_TOKEN_FILE": str(self.folder / "gridctl-token")}


def _container(found: Mapping[str, Any]) -> Container:
    networks = found["NetworkSettings"]["Networks"].values()
    return Container(
        found["Id"],
        found["Config"]["Labels"]["com.docker.compose.service"],
        found["State"]["Pid"],
        next((network["IPAddress"] for network in networks), ""),
        found["State"].get("Health", {}).get("Status", ""),
        found["RestartCount"],
    )


def _remove(made: Project) -> None:
    """`down`, again where the engine still counts a container that has just ended as one of the network's."""
    for _ in range(2):
        try:
            made.compose("down", "-v", "--remove-orphans", "-t", "5")
        except AssertionError as error:
            if "has active endpoints" not in str(error):
                raise
        else:
            return
    made.compose("down", "-v", "--remove-orphans", "-t", "5")


@contextmanager
def project(folder: Path, name: str) -> Iterator[Project]:
    """The exported `folder` as a project of this run; afterwards no container, volume or network of it is left."""
    with one_at_a_time():
        yield from _project(folder, name)


def _project(folder: Path, name: str) -> Iterator[Project]:
    name = f"{OURS}{name}-{os.getpid()}"
    token = "test-" + os.urandom(16).hex()
    file = folder / "gridctl-token"
    file.write_text(token + "\n")
    file.chmod(0o444)
    made = Project(folder, name, token, free_port(), free_port())
    try:
        yield made
    finally:
        _remove(made)
        label = f"label=com.docker.compose.project={name}"
        left = [
            run("docker", kind, "ls", "-q", *everything, "--filter", label)
            for kind, everything in (("container", ("-a",)), ("volume", ()), ("network", ()))
        ]
        assert not any(left), f"left behind by {name}: {left}"
