"""What runs: StatefulSets for who keeps a journal, a Deployment for who does not, and what scales and guards them.

Substations that are only counted (`substations: 3`) are replicas of one StatefulSet, found by DNS, and may be scaled.
Substations that have names are places: each is a StatefulSet of its own, so that its volume stays its own whatever is
edited, and all are found by a list. Must not know networks nor monitoring.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from config.names import BALANCER, CHARGE_REQUEST, EXTERNAL, SUBSTATION
from config.settings import BalancerSettings, ChargeRequestSettings, Settings, SubstationSettings
from gridctl.export.containers import DATA_FOLDER, TARGETS_FILE, Container, Deployment
from gridctl.export.folder import File
from gridctl.export.kubernetes.objects import SUBSTATION_ANNOTATION, SUBSTATION_LABEL, Grid, Object, file, label_value
from gridctl.export.kubernetes.pods import JOURNAL_CLAIM, TARGETS, Pod, literal
from gridctl.export.scalable import drain_s
from gridctl.supervisor.targets import render

#: Two, so that requests are taken while one of them is replaced or its node is lost: it keeps nothing.
REQUEST_REPLICAS = 2
#: What a journal gets; 1 GiB holds some million sessions.
STORAGE = "1Gi"
#: A grid that is loaded beyond this (per cent) gets more substations.
TARGET_LOADING_PCT = 70
#: The autoscaler adds this many times what the topology declares, at most.
MOST_TIMES = 3
#: How loaded the whole grid is (per cent), as each balancer tells Prometheus, and how an adapter asks for it.
GRID_LOADING = "grid_loading_percentage"
ADAPTER_QUERY = "max(<<.Series>>{<<.LabelMatchers>>})"
#: A pod's name inside its own environment.
OWN_NAME = "$(NAME)"
_OWN_JOURNAL = f"{DATA_FOLDER}/{OWN_NAME}.db"

_WHY_COUNTED = """\
The substations: replicas of one, with a volume each, from which a restart resumes all sessions.
No `replicas` here: the HorizontalPodAutoscaler beside says how many, and an apply must not undo it."""
_WHY_NAMED = (
    "A substation that has a name: a place, with a volume of its own, from which a restart resumes all sessions."
)
_WHY_TARGETS = "Where balancers find the substations; they read it again when it changes."
_WHY_BALANCER = "Balancers: each keeps a journal of what waits and what it revoked, hence no Deployment."
_WHY_REQUEST = (
    "The charge-request service: where EVs ask for a charge. It keeps nothing, so any of them may go at any time."
)
_WHY_SCALER = f"""\
More substations when the grid is loaded, fewer when it is not; never fewer than the topology declares.
A substation that goes takes nothing new, charges on, and what still charges at its end is kept on its volume.
The metric comes from Prometheus through prometheus-adapter, with this among its `externalRules` (Helm: `rules.external`):
  - seriesQuery: '{GRID_LOADING}{{namespace!=""}}'
    metricsQuery: {ADAPTER_QUERY}
    resources: {{overrides: {{namespace: {{resource: namespace}}}}}}"""
_WHY_BUDGET = "A node that is emptied takes one of them at a time; one that is sick anyway does not hold it up."


def _substation(settings: Settings) -> SubstationSettings:
    if not isinstance(settings, SubstationSettings):
        raise TypeError(f"{settings.name} is no substation")
    return settings


def poll_interval_s(deployment: Deployment) -> float:
    """How often balancers look at each substation (wall seconds)."""
    return _balancer(deployment).poll_interval_s


def _balancer(deployment: Deployment) -> BalancerSettings:
    settings = deployment.of_role(BALANCER)[0].settings
    if not isinstance(settings, BalancerSettings):
        raise TypeError(f"{settings.name} is no balancer")
    return settings


@dataclass(frozen=True, slots=True)
class Workloads:
    """The workloads of `deployment` as objects of `grid`, which run `image`."""

    deployment: Deployment
    grid: Grid
    image: str

    def files(self) -> Iterator[File]:
        """One object a file."""
        substations = self.deployment.of_role(SUBSTATION)
        if self._counted:
            yield self._replicas(substations)
            yield self._scaler(len(substations))
        else:
            yield from (self._place(each) for each in substations)
        if self._listed:
            yield self._targets()
        yield self._balancers(self.deployment.of_role(BALANCER))
        yield self._requests(self.deployment.of_role(CHARGE_REQUEST)[0])
        roles = ([SUBSTATION] if substations else []) + [BALANCER, CHARGE_REQUEST]
        yield from (self._budget(role) for role in roles)

    @property
    def _counted(self) -> bool:
        return self.deployment.counted

    @property
    def _listed(self) -> bool:
        """Whether there are substations that only a list can name."""
        return not self._counted or bool(self.deployment.externals)

    def _replicas(self, substations: tuple[Container, ...]) -> File:
        first = substations[0]
        settings = _substation(first.settings)
        settings = replace(settings, journal=_OWN_JOURNAL, drain_s=drain_s(settings))
        pod = Pod(first, self.image, _environment(first, settings, named=False), settings.drain_s, name_of_pod=True)
        return file("apps/v1", "StatefulSet", self._stateful(SUBSTATION, pod, SUBSTATION), _WHY_COUNTED)

    def _place(self, container: Container) -> File:
        settings = _substation(container.settings)
        about = {SUBSTATION_ANNOTATION: container.name}
        pod = Pod(container, self.image, _environment(container, settings), wait_s=0, annotations=about)
        found = self._stateful(container.host, pod, SUBSTATION, {SUBSTATION_LABEL: container.host}, replicas=1)
        return file("apps/v1", "StatefulSet", found, _WHY_NAMED)

    def _targets(self) -> File:
        """The list of substations as the launcher writes it, with pods' DNS names, but for those that DNS alone finds."""
        found = [target for target in self.deployment.targets if target.role == EXTERNAL]
        if not self._counted:
            own = (target for target in self.deployment.targets if target.role == SUBSTATION)
            found = [*(replace(target, host=host_of_named(target.host)) for target in own), *found]
        document = json.dumps(render(self.grid.cluster, found), indent=1) + "\n"
        content = {"metadata": self.grid.metadata(TARGETS), "data": {TARGETS_FILE.rpartition("/")[2]: document}}
        return file("v1", "ConfigMap", content, _WHY_TARGETS)

    def _balancers(self, containers: tuple[Container, ...]) -> File:
        first, urls = containers[0], balancer_urls(containers)
        behind = f"{SUBSTATION}:{self.deployment.of_role(SUBSTATION)[0].port}" if self._counted else None
        settings = replace(
            _balancer(self.deployment),
            journal=_OWN_JOURNAL,
            peers=urls if len(urls) > 1 else (),
            replicas=(),
            url=f"http://{OWN_NAME}.{BALANCER}:{first.port}",
            substations_dns=behind,
            targets_file=TARGETS_FILE if self._listed else None,
            cluster=self.grid.cluster,
        )
        environment = _environment(first, settings, named=False)
        wait_s = settings.request_timeout_s
        pod = Pod(first, self.image, environment, wait_s, name_of_pod=True, reads_targets=self._listed)
        found = self._stateful(BALANCER, pod, BALANCER, replicas=len(containers))
        return file("apps/v1", "StatefulSet", found, _WHY_BALANCER)

    def _requests(self, container: Container) -> File:
        settings = container.settings
        if not isinstance(settings, ChargeRequestSettings):
            raise TypeError(f"{container.name} is no charge-request service")
        settings = replace(settings, balancers=balancer_urls(self.deployment.of_role(BALANCER)))
        pod = Pod(container, self.image, _environment(container, settings), settings.request_timeout_s)
        labels = self.grid.pods_of(CHARGE_REQUEST)
        spec = {
            "replicas": REQUEST_REPLICAS,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": pod.template(labels),
        }
        content = {"metadata": self.grid.metadata(CHARGE_REQUEST, CHARGE_REQUEST), "spec": spec}
        return file("apps/v1", "Deployment", content, _WHY_REQUEST)

    def _stateful(
        self, name: str, pod: Pod, role: str, more: dict[str, str] | None = None, replicas: int | None = None
    ) -> Object:
        labels = self.grid.pods_of(role) | (more or {})
        spec: Object = {
            **({} if replicas is None else {"replicas": replicas}),
            "serviceName": role,
            "podManagementPolicy": "Parallel",
            **({} if more else {"ordinals": {"start": 1}}),
            "selector": {"matchLabels": labels},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "template": pod.template(labels),
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": JOURNAL_CLAIM, "labels": labels},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": STORAGE}}},
                }
            ],
        }
        return {"metadata": self.grid.metadata(name, role), "spec": spec}

    def _scaler(self, declared: int) -> File:
        cluster = self.grid.cluster
        plain = label_value(cluster) == cluster  # others fit no selector; the namespace tells whose grid it is, too
        selector = {"selector": {"matchLabels": {"cluster": cluster}}} if plain else {}
        metric = {
            "type": "External",
            "external": {
                "metric": {"name": GRID_LOADING, **selector},
                "target": {"type": "Value", "value": str(TARGET_LOADING_PCT)},
            },
        }
        down = {"stabilizationWindowSeconds": 300, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}
        spec = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": SUBSTATION},
            "minReplicas": declared,
            "maxReplicas": declared * MOST_TIMES,
            "metrics": [metric],
            "behavior": {"scaleDown": down},
        }
        content = {"metadata": self.grid.metadata(SUBSTATION, SUBSTATION), "spec": spec}
        return file("autoscaling/v2", "HorizontalPodAutoscaler", content, _WHY_SCALER)

    def _budget(self, role: str) -> File:
        spec = {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": self.grid.pods_of(role)},
        }
        return file(
            "policy/v1", "PodDisruptionBudget", {"metadata": self.grid.metadata(role, role), "spec": spec}, _WHY_BUDGET
        )


def host_of_named(host: str) -> str:
    """The DNS name of the one pod of a StatefulSet whose headless Service is that of substations."""
    return f"{host}-0.{SUBSTATION}"


def balancer_urls(containers: tuple[Container, ...]) -> tuple[str, ...]:
    """Where each balancer is reached, by its pod's name."""
    port = containers[0].port
    return tuple(f"http://{BALANCER}-{number}.{BALANCER}:{port}" for number in range(1, len(containers) + 1))


def _environment(container: Container, settings: Settings, named: bool = True) -> dict[str, str]:
    """The container's variables with these settings; without its name where that is the pod's."""
    found = replace(container, settings=settings).environment
    kept = {key: value for key, value in found.items() if named or key != "NAME"}
    return {key: value if OWN_NAME in value else literal(value) for key, value in kept.items()}
