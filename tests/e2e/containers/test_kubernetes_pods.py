"""The pods of a Kubernetes export as containers of a real engine: the image, the user, the rights and the files they get.

Docker's DNS stands for the headless Services: a name that several containers share has all their addresses.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.names import SUBSTATION
from gridctl.commands.kubernetes import rendered
from gridctl.export.folder import write
from tests.e2e.containers.engine import ask, one_at_a_time, run, until
from tests.e2e.pods import ANY, pod_names, variables

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

TOKEN = "0123456789abcdef-of-a-test"
TOPOLOGY = """\
name: town
substations: 2
defaults: {session_s: 3}
balancer: {poll_interval_s: 1}
"""


class Node:
    """Runs pods on a network of its own; `objects` are those of the export, `name` is part of every name here."""

    def __init__(self, objects: list[dict[str, Any]], token_file: Path, name: str) -> None:
        self.objects, self.token_file, self.name = objects, token_file, name
        self.pods: dict[str, dict[str, Any]] = {}
        run("docker", "network", "create", name)

    def start_all(self) -> None:
        for workload in (one for one in self.objects if one["kind"] in {"StatefulSet", "Deployment"}):
            for pod in pod_names(workload, self.objects):
                self.start(pod, workload)

    def start(self, pod: str, workload: dict[str, Any]) -> None:
        manifest = self.pods[pod] = workload["spec"]["template"]["spec"]
        (container,) = manifest["containers"]
        told = [f"--env={key}={value}" for key, value in variables(container, pod, ANY).items()]
        limits = container["resources"]["limits"]
        rights = (
            f"--user={manifest['securityContext']['runAsUser']}:{manifest['securityContext']['runAsGroup']}",
            *(f"--cap-drop={each}" for each in container["securityContext"]["capabilities"]["drop"]),
            "--security-opt=no-new-privileges" if not container["securityContext"]["allowPrivilegeEscalation"] else "",
            "--read-only" if container["securityContext"]["readOnlyRootFilesystem"] else "",
            f"--cpus={limits['cpu']}",
            f"--memory={limits['memory'].removesuffix('i')}",
        )
        service = workload["spec"].get("serviceName")
        names = [f"--network-alias={name}" for name in (f"{pod}.{service}", service)] if service else []
        where = [f"--name={self.name}-{pod}", f"--network={self.name}", *names, *self._mounts(pod, manifest)]
        run("docker", "run", "-d", *where, *filter(None, rights), *told, container["image"], *container["args"])

    def _mounts(self, pod: str, manifest: dict[str, Any]) -> Iterator[str]:
        volumes = {volume["name"]: volume for volume in manifest["volumes"]}
        for mount in manifest["containers"][0]["volumeMounts"]:
            path, volume = mount["mountPath"], volumes.get(mount["name"], {})
            if "secret" in volume:
                yield f"--volume={self.token_file}:{path}/{volume['secret']['items'][0]['path']}:ro"
            elif "emptyDir" in volume:
                yield f"--tmpfs={path}"
            else:
                yield f"--volume={self.name}-{pod}:{path}"

    def url(self, pod: str) -> str:
        """A pod from outside, by its address."""
        (found,) = json.loads(run("docker", "inspect", f"{self.name}-{pod}"))
        (port,) = self.pods[pod]["containers"][0]["ports"]
        return f"http://{found['NetworkSettings']['Networks'][self.name]['IPAddress']}:{port['containerPort']}"

    def probed(self, pod: str, kind: str) -> bool:
        return bool(ask(self.url(pod) + self.pods[pod]["containers"][0][kind]["httpGet"]["path"]))

    def stop(self, pod: str) -> int:
        """The exit code of one that is ended as Kubernetes ends it."""
        run("docker", "stop", f"--time={self.pods[pod]['terminationGracePeriodSeconds']}", f"{self.name}-{pod}")
        return int(run("docker", "inspect", "-f", "{{.State.ExitCode}}", f"{self.name}-{pod}"))

    def remove(self) -> None:
        for pod in self.pods:
            run("docker", "rm", "--force", "--volumes", f"{self.name}-{pod}")
        volumes = run("docker", "volume", "ls", "-q", "--filter", f"name={self.name}").split()
        if volumes:
            run("docker", "volume", "rm", *volumes)
        run("docker", "network", "rm", self.name)


@pytest.fixture
def node(images: dict[str, str], tmp_path: Path) -> Iterator[Node]:
    """All pods from one image, as README.md of the export says."""
    topology, out, token = tmp_path / "gridctl.yaml", tmp_path / "out", tmp_path / "token"
    topology.write_text(TOPOLOGY)
    write(out, rendered(None, topology, image=images[SUBSTATION]), kind="gridctl kubernetes export")
    token.write_text(TOKEN + "\n")
    token.chmod(0o444)
    with one_at_a_time():
        found = Node([yaml.safe_load(path.read_text()) for path in out.glob("*.yaml")], token, f"pods-{os.getpid()}")
        try:
            yield found
        finally:
            found.remove()


def charge(url: str, ev_id: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/charge", json.dumps({"ev_id": ev_id}).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        body: dict[str, Any] = json.load(answer)
    return body


def test_pods_run_with_no_more_rights_than_their_manifests_give(node: Node) -> None:
    node.start_all()
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        for pod in node.pods:
            until(lambda pod=pod, kind=kind: node.probed(pod, kind), f"{kind} of {pod}")  # type: ignore[misc]
    asked = next(pod for pod in node.pods if pod.startswith("charge-request"))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(f"{node.url('balancer-1')}/status")
    status = f"{node.url('balancer-1')}/status"
    until(lambda: {one["name"] for one in ask(status, TOKEN)["substations"]} == {"substation-1", "substation-2"}, "DNS")
    placed = {charge(node.url(asked), f"EV{number}")["routed_to"] for number in range(20)}
    assert placed == {"substation-1", "substation-2"}
    assert [node.stop(pod) for pod in ("substation-2", "balancer-1", asked)] == [0, 0, 0]
