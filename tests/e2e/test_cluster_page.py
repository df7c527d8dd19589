"""docs/cluster.md does what it says: steps that need neither Docker nor a cluster are typed, those of Kubernetes looked up.

Compose and Swarm: tests/e2e/containers/test_cluster_page.py.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.shell import Shell, commands

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cluster.md").read_text()
#: Number of the step → its text; 0 is what stands before all steps.
STEPS = dict(enumerate(re.split(r"^## ", PAGE, flags=re.MULTILINE)))
LAPTOP, WATCHED, COMPOSE, SCALABLE, SWARM, KUBERNETES = range(1, 7)

pytestmark = pytest.mark.e2e


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> Iterator[Shell]:
    folder = tmp_path / "empty"
    folder.mkdir()
    shell = Shell(folder, environment, {})
    for command in commands(STEPS[0]):
        shell.check(command)
    yield shell
    with suppress(subprocess.TimeoutExpired):
        shell.type("gridctl down")


def test_each_step_has_something_to_type() -> None:
    assert [number for number in range(7) if not commands(STEPS[number])] == []
    assert [STEPS[number][0] for number in range(1, 7)] == list("123456")


def test_on_a_laptop(shell: Shell) -> None:
    for command in commands(STEPS[LAPTOP]):
        shell.check(command)


@pytest.mark.needs("curl", "prometheus")
@pytest.mark.timeout(180)
def test_watched_by_prometheus(shell: Shell) -> None:
    said = {command: shell.check(command) for command in commands(STEPS[WATCHED])}
    (answer,) = [json.loads(text) for command, text in said.items() if command.startswith("curl")]
    assert [each["metric"]["cluster"] for each in answer["data"]["result"]] == ["town"]


@pytest.mark.needs("kubectl")
def test_on_kubernetes_as_far_as_there_is_none(shell: Shell) -> None:
    """What needs no cluster is typed; whatever else the page names is in the export, under that name."""
    for command in commands(STEPS[KUBERNETES]):
        shell.check(command)
    (shell.folder / "gridctl-compose").mkdir()
    (shell.folder / "gridctl-compose" / "gridctl-token").write_text("x")
    images = []
    for words in map(shlex.split, commands(STEPS[KUBERNETES], "sh")):
        match words:
            case ["gridctl", *_]:
                images += [words[words.index("--image") + 1]]
                shell.check(shlex.join(words))
            case ["docker", "build" | "push", *_]:
                images += [word for word in words if word.startswith("registry.example/")]
            case ["kubectl", *arguments]:
                check_kubectl(shell.folder, arguments)
            case _:
                raise AssertionError(f"nobody looks at {words}")
    found = objects(shell.folder / "gridctl-kubernetes")
    pods = [one["spec"]["template"]["spec"] for one in found if one["kind"] in {"StatefulSet", "Deployment"}]
    assert {each["image"] for pod in pods for each in pod["containers"]} == set(images)
    assert len(set(images)) == 1


def check_kubectl(folder: Path, arguments: list[str]) -> None:
    """A command of kubectl that is not run: what it is given is there, and is what it says."""
    exported = folder / "gridctl-kubernetes"
    named = {(one["kind"].lower(), one["metadata"]["name"]) for one in objects(exported)}
    match arguments:
        case ["apply", "-f", path]:
            assert yaml.safe_load((folder / path).read_text())["metadata"]["name"] == "gridctl-town"
        case ["apply", "-k", path]:
            done = subprocess.run(["kubectl", "kustomize", folder / path], capture_output=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
        case ["-n", "gridctl-town", "create", "secret", "generic", name, source]:
            key, _, file = source.removeprefix("--from-file=").partition("=")
            assert (folder / file).is_file()
            assert {(it["secretName"], *(one["key"] for one in it["items"])) for it in secrets(exported)} == {
                (name, key)
            }
        case ["-n", "gridctl-town", "rollout", "status", what] | ["-n", "gridctl-town", "port-forward", what, "8080"]:
            assert tuple(what.split("/")) in named
        case _:
            raise AssertionError(f"nobody looks at kubectl {arguments}")


def objects(folder: Path) -> list[dict[str, Any]]:
    found = [yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml")]
    return [one for one in found if one["kind"] != "Kustomization"]


def secrets(folder: Path) -> list[dict[str, Any]]:
    pods = [one["spec"]["template"]["spec"] for one in objects(folder) if one["kind"] in {"StatefulSet", "Deployment"}]
    return [volume["secret"] for pod in pods for volume in pod["volumes"] if "secret" in volume]
