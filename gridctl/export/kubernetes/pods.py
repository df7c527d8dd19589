"""The pod of each service: what it may do, when it counts as alive and as ready, what it takes, where its files are.

Probes: `/health?live` answers as long as the service answers at all, and only that is a reason to kill it. `/health` is
503 while a service cannot do its work (it starts, its journal's disk is full): then it must wait, and a kill would not
mend it. Knows no controller of pods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from config.names import CHARGE_REQUEST
from gridctl.export.containers import DATA_FOLDER, TARGETS_FILE, Container
from gridctl.export.image.context import USER
from gridctl.export.kubernetes.objects import APP, PORT_NAME, Object

#: The Secret with the grid's token (made by the user), its key, and where containers find it.
SECRET, SECRET_KEY, SECRET_FOLDER = "gridctl-token", "token", "/run/secrets/gridctl"
#: The ConfigMap with the list of named substations.
TARGETS = "gridctl-targets"
#: The claim that holds a service's journal.
JOURNAL_CLAIM = "journal"
#: Endpoints learn of a pod's end at the same time as the pod does: it goes on answering for so long (wall seconds).
LAST_CALL_S = 5
#: What an end takes beyond what a service waits for (wall seconds): the last answers, the journal.
ENDING_S = 20
#: What an idle service uses; limits are the containers' own.
REQUESTED = {"cpu": "50m", "memory": "96Mi"}


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that runs `container` from `image`, with `environment` in place of the container's own.

    `name_of_pod`: its service bears the pod's name. `wait_s` is what it may take to stop (wall seconds).
    """

    container: Container
    image: str
    environment: Mapping[str, str]
    wait_s: float
    name_of_pod: bool = False
    reads_targets: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_journal(self) -> bool:
        """Whether it needs a volume."""
        return self.container.volume is not None

    def template(self, labels: Mapping[str, str]) -> Object:
        """The pod template, whose pods carry `labels`."""
        about: Object = {"labels": dict(labels)}
        if self.annotations:
            about["annotations"] = dict(self.annotations)
        return {"metadata": about, "spec": self._spec(labels)}

    def _spec(self, labels: Mapping[str, str]) -> Object:
        last_call_s = LAST_CALL_S if self.container.role == CHARGE_REQUEST else 0
        return {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": int(self.wait_s) + last_call_s + ENDING_S,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "topologySpreadConstraints": [
                _spread(key, labels) for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
            ],
            "containers": [self._container(last_call_s)],
            "volumes": self._volumes(),
        }

    def _container(self, last_call_s: int) -> Object:
        limits = self.container.limits
        mounts = [_mount("tmp", "/tmp"), _mount("token", SECRET_FOLDER, read_only=True)]  # noqa: S108
        mounts += [_mount(JOURNAL_CLAIM, DATA_FOLDER)] if self.has_journal else []
        mounts += [_mount("targets", TARGETS_FILE.rpartition("/")[0], read_only=True)] if self.reads_targets else []
        found: Object = {
            "name": APP,
            "image": self.image,
            "args": ["serve", self.container.role],
            "env": self._environment(),
            "ports": [{"name": PORT_NAME, "containerPort": self.container.port}],
            **_probes(),
            "resources": {
                "requests": dict(REQUESTED),
                "limits": {"cpu": f"{limits.cpus:g}", "memory": f"{limits.memory_mb}Mi"},
            },
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": mounts,
        }
        if last_call_s:
            found["lifecycle"] = {"preStop": {"sleep": {"seconds": last_call_s}}}
        return found

    def _environment(self) -> Sequence[Object]:
        named: Sequence[Object] = ()
        if self.name_of_pod:
            named = ({"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},)
        token = {"GRIDCTL_TOKEN_FILE": f"{SECRET_FOLDER}/{SECRET_KEY}", "OPEN": "health,metrics"}
        return [*named, *({"name": key, "value": value} for key, value in {**self.environment, **token}.items())]

    def _volumes(self) -> list[Object]:
        items = [{"key": SECRET_KEY, "path": SECRET_KEY}]
        volumes: list[Object] = [
            {"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}},
            {"name": "token", "secret": {"secretName": SECRET, "defaultMode": 0o440, "items": items}},
        ]
        return volumes + ([{"name": "targets", "configMap": {"name": TARGETS}}] if self.reads_targets else [])


def literal(value: str) -> str:
    """`value` as an environment's entry that Kubernetes hands on as it is: `$(NAME)` would be looked up."""
    return value.replace("$", "$$")


def _mount(name: str, path: str, read_only: bool = False) -> Object:
    return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}


def _spread(key: str, labels: Mapping[str, str]) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(labels)},
    }


def _probes() -> dict[str, Any]:
    return {
        "startupProbe": _probe("/health?live", period_s=2, timeout_s=2, failures=60),
        "livenessProbe": _probe("/health?live", period_s=10, timeout_s=5, failures=6),
        "readinessProbe": _probe("/health", period_s=2, timeout_s=2, failures=2),
    }


def _probe(path: str, period_s: int, timeout_s: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": PORT_NAME},
        "periodSeconds": period_s,
        "timeoutSeconds": timeout_s,
        "failureThreshold": failures,
    }
