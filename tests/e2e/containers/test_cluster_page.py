"""The steps of docs/cluster.md that need Docker, typed as they stand there, on a real engine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leaks
from tests.e2e.containers.engine import OURS, free_port, one_at_a_time, run, until
from tests.e2e.shell import Shell, commands
from tests.e2e.test_cluster_page import COMPOSE, SCALABLE, STEPS, SWARM

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.needs("curl", "openssl")]

#: `docker compose` where the engine has docker-compose 1.29 only.
DOCKER = """\
#!/bin/sh
if [ "$1" = compose ]; then shift; exec docker-compose "$@"; fi
exec "{docker}" "$@"
"""


@pytest.fixture
def shell(images: dict[str, str], environment: dict[str, str], tmp_path: Path) -> Iterator[Shell]:
    """Ports and the project are this test's own, by the variables that the export's `.env` names."""
    folder, programs = tmp_path / "empty", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    (programs / "docker").write_text(DOCKER.format(docker=shutil.which("docker")))
    (programs / "docker").chmod(0o755)
    name, port = f"{OURS}page-{os.getpid()}", str(free_port())
    own = {"COMPOSE_PROJECT_NAME": name, "REQUEST_PORT": port, "PROMETHEUS_PORT": str(free_port())}
    outside = {key: value for key, value in environment.items() if key != leaks.MARK}
    shell = Shell(folder, outside | own, {"http://127.0.0.1:8080": f"http://127.0.0.1:{port}"}, programs)
    with one_at_a_time():
        for command in commands(STEPS[0]):
            shell.check(command)
        yield shell
        for exported in ("gridctl-compose", "scalable"):
            if (folder / exported).is_dir():
                shell.check(f"cd {exported} && docker compose down -v --remove-orphans -t 5")
        left = run("docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={name}")
    assert not left


@pytest.fixture
def swarm(shell: Shell) -> Iterator[Shell]:
    """An engine that is no swarm yet, and none afterwards."""
    stack = f"{OURS}page-{os.getpid()}"
    shell.instead |= {" town": f" {stack}"}
    networks = run("docker", "network", "ls", "--format", "{{.Name}}").split()
    yield shell
    label = f"label=com.docker.stack.namespace={stack}"
    until(lambda: not run("docker", "ps", "-aq", "--filter", label), "every container gone")
    run("docker", "swarm", "leave", "--force")
    if volumes := run("docker", "volume", "ls", "-q", "--filter", label).split():
        run("docker", "volume", "rm", *volumes)
    if "docker_gwbridge" not in networks:
        run("docker", "network", "rm", "docker_gwbridge")


def test_by_compose_then_scaled(shell: Shell) -> None:
    for command in (*commands(STEPS[COMPOSE]), *commands(STEPS[SCALABLE])):
        shell.check(command, timeout_s=240)


def test_by_swarm(swarm: Shell) -> None:
    token = [command for command in commands(STEPS[COMPOSE]) if "openssl" in command]
    for command in ("gridctl compose export", *token, *commands(STEPS[SWARM])):
        swarm.check(command, timeout_s=240)
