"""The least of a kubelet: it starts the pods of an export as processes, each with its own address, files and variables.

A pod has a mount namespace, in which its volumes are where the manifest says and all else is read-only, and an address of
127.0.0.0/8. Names are looked up in a hosts file that is kept as a headless Service would keep them. Where the manifest says
0.0.0.0 the pod gets its address, for there is one network only. No scheduler, no cgroups, no network policies.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.served import until

Object = dict[str, Any]

TOKEN = "0123456789abcdef-of-a-test"
ANY = "0.0.0.0"
#: A mount namespace of its own; who is not root becomes it in a user namespace.
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


def pod_names(workload: Object, objects: Iterable[Object]) -> list[str]:
    """The pods of a workload as a cluster would name them, or nearly; how many may be an autoscaler's affair."""
    spec, name = workload["spec"], workload["metadata"]["name"]
    scalers = [one["spec"] for one in objects if one["kind"] == "HorizontalPodAutoscaler"]
    scaled = [one["minReplicas"] for one in scalers if one["scaleTargetRef"]["name"] == name]
    count = spec.get("replicas", *scaled)
    first = spec.get("ordinals", {}).get("start", 0)
    return [f"{name}-{number}" for number in range(first, first + count)]


def variables(container: Object, name: str, address: str) -> dict[str, str]:
    """https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/"""
    known: dict[str, str] = {}
    for entry in container["env"]:
        if "value" in entry:
            text = re.sub(r"\$\$|\$\((\w+)\)", lambda found: known[found[1]] if found[1] else "$", entry["value"])
            known[entry["name"]] = address if text == ANY else text
        else:
            assert entry["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
            known[entry["name"]] = name
    return known


@dataclass
class Pod:
    """A pod that runs, or ran."""

    name: str
    address: str
    manifest: Object
    process: subprocess.Popen[str]
    log: Path

    @property
    def container(self) -> Object:
        found: Object = self.manifest["containers"][0]
        return found

    def probe(self, kind: str) -> int:
        """The status with which one of its probes is answered; 0 where nobody answers."""
        asked = self.container[kind]["httpGet"]
        (port,) = [each["containerPort"] for each in self.container["ports"] if each["name"] == asked["port"]]
        return self.ask("GET", asked["path"], port=port, timeout_s=self.container[kind]["timeoutSeconds"])[0]

    def ask(
        self, method: str, path: str, body: Any = None, port: int | None = None, timeout_s: float = 10, **headers: str
    ) -> tuple[int, Any]:
        """Status and decoded body; (0, None) where nobody answers."""
        where = port or self.container["ports"][0]["containerPort"]
        connection = http.client.HTTPConnection(self.address, where, timeout=timeout_s)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except OSError:
            return 0, None
        finally:
            connection.close()

    def charge(self, ev_id: str, **more: Any) -> tuple[int, Any]:
        """A charge request that brings the token."""
        return self.ask("POST", "/charge", {"ev_id": ev_id, **more}, Authorization=f"Bearer {TOKEN}")

    def status(self) -> Any:
        """What a balancer believes."""
        return self.ask("GET", "/status", Authorization=f"Bearer {TOKEN}")[1]


class Kubelet:
    """Runs pods of the objects in the exported `folder`, with their volumes below `state`."""

    def __init__(self, folder: Path, state: Path, environment: Mapping[str, str]) -> None:
        self._objects = [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))]
        self._state = state
        self._environment = {key: value for key, value in environment.items() if not key.startswith("COVERAGE_")}
        self._net = f"127.{random.randint(16, 250)}.{random.randint(0, 255)}"
        self._hosts: dict[str, tuple[str, ...]] = {}
        self.pods: dict[str, Pod] = {}
        shutil.copytree("/etc", state / "etc", symlinks=True, ignore=_unreadable)
        (state / "token").write_text(TOKEN + "\n")

    def of_kind(self, kind: str) -> list[Object]:
        return [one for one in self._objects if one["kind"] == kind]

    def start_all(self) -> None:
        """Every pod of every workload, all at once and in no order."""
        wanted = [(name, one) for one in self._workloads() for name in pod_names(one, self._objects)]
        random.shuffle(wanted)
        for name, workload in wanted:
            self.start(name, workload)

    def _workloads(self) -> list[Object]:
        return [*self.of_kind("StatefulSet"), *self.of_kind("Deployment")]

    def start(self, name: str, workload: Object | None = None) -> Pod:
        """One pod; its volume is the one that a pod of that name had before."""
        workload = workload or self.workload_of(name)
        manifest = workload["spec"]["template"]["spec"]
        address = f"{self._net}.{len(self.pods) + 2}"
        service = workload["spec"].get("serviceName")
        if service is not None:
            self._publish(name, address, f"{name}.{service}", service)
        container = manifest["containers"][0]
        log = self._state / f"{name}.log"
        program = [str(Path(sys.executable).parent / "gridctl"), *container["args"]]
        with log.open("w") as output:
            process = subprocess.Popen(
                [*UNSHARE, "sh", "-ec", self._mounts(name, workload), "sh", *program],
                env=self._environment | variables(container, name, address),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.pods[name] = Pod(name, address, manifest, process, log)
        return self.pods[name]

    def workload_of(self, name: str) -> Object:
        (found,) = [one for one in self._workloads() if one["metadata"]["name"] == name.rpartition("-")[0]]
        return found

    def _publish(self, name: str, *names: str) -> None:
        """Headless Services publish everybody who is there, ready or not; in place, for the file is mounted."""
        self._hosts[name] = names
        lines = ["127.0.0.1 localhost", *(" ".join(one) for one in self._hosts.values() if one)]
        (self._state / "etc" / "hosts").write_text("\n".join(lines) + "\n")

    def _mounts(self, name: str, workload: Object) -> str:
        """The script that lays out the pod's files and becomes its program."""
        spec = workload["spec"]["template"]["spec"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        etc = self._state / "etc"
        lines = ["mount -t tmpfs tmpfs /run", "mount -t tmpfs tmpfs /var/lib", f"mount --bind {etc} /etc"]
        for mount in spec["containers"][0]["volumeMounts"]:
            path, volume = mount["mountPath"], volumes.get(mount["name"], {})
            if "secret" in volume:
                lines.append(f"mkdir -p {path} && cp {self._state}/token {path}/{volume['secret']['items'][0]['path']}")
            elif "configMap" in volume:
                self._config_map(volume["configMap"]["name"], etc / Path(path).relative_to("/etc"))
            elif "emptyDir" in volume:
                lines.append(f"mount --bind {path} {path}")
            else:
                claim = self.claim(name)
                claim.mkdir(exist_ok=True)
                lines.append(f"mkdir -p {path} && mount --bind {claim} {path}")
        sealed = (f"mount -o remount,bind,ro {path}" for path in ("/run", "/var/lib", "/etc", "/"))
        return "\n".join([*lines, *sealed, 'exec "$@"'])

    def claim(self, name: str) -> Path:
        """The folder that is the volume of a pod of that name."""
        return self._state / f"journal-{name}"

    def _config_map(self, name: str, folder: Path) -> None:
        (found,) = [one for one in self.of_kind("ConfigMap") if one["metadata"]["name"] == name]
        folder.mkdir(exist_ok=True)
        for key, text in found["data"].items():
            (folder / key).write_text(text)

    def delete(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends a pod as Kubernetes does; its exit code. AssertionError where its grace period was too short."""
        pod = self.pods[name]
        pod.process.send_signal(number)
        try:
            return pod.process.wait(pod.manifest["terminationGracePeriodSeconds"])
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{name} would have been killed: {pod.log.read_text()[-2000:]}") from None
        finally:
            self._publish(name)

    def ready(self, limit_s: float = 60.0) -> None:
        """Until all are ready; AssertionError with the log of one that is not."""
        end_s = time.monotonic() + limit_s
        for pod in self.pods.values():
            try:
                until(lambda pod=pod: pod.probe("readinessProbe") == 200, max(0.1, end_s - time.monotonic()))
            except AssertionError:
                raise AssertionError(f"{pod.name} is not ready: {pod.log.read_text()[-2000:]}") from None

    def end(self) -> None:
        """Kills what is left."""
        for pod in self.pods.values():
            pod.process.kill()
            pod.process.wait()


def _unreadable(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not os.access(Path(folder) / name, os.R_OK)]


@contextmanager
def kubelet(folder: Path, state: Path, environment: Mapping[str, str]) -> Iterator[Kubelet]:
    """A kubelet whose pods are gone afterwards."""
    state.mkdir()
    found = Kubelet(folder, state, environment)
    try:
        yield found
    finally:
        found.end()
