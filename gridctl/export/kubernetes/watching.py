"""How Prometheus' operator finds the services, names their series as everywhere else, and knows when to raise an alarm.

The rules themselves are `monitoring`'s. Must not know workloads.
https://prometheus-operator.dev/docs/api-reference/api: ServiceMonitor and PrometheusRule (v1), ScrapeConfig (v1alpha1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from config.names import SUBSTATION
from gridctl.export.folder import File
from gridctl.export.kubernetes.objects import APP, PORT_NAME, SUBSTATION_ANNOTATION, Grid, Object, file
from gridctl.supervisor.targets import Target, render
from monitoring import rules
from monitoring.prometheus import BALANCERS_OWN, SAMPLE_LIMIT, duration

#: An answer is waited for no longer than this (wall seconds).
LONGEST_SCRAPE_S = 10.0
API = "monitoring.coreos.com/v1"
ALPHA_API = "monitoring.coreos.com/v1alpha1"
_POD = "__meta_kubernetes_pod_name"
_ROLE = "__meta_kubernetes_pod_label_app_kubernetes_io_component"
#: Prometheus puts `_` for what a label's name cannot hold.
_NAMED = "__meta_kubernetes_pod_annotation_" + SUBSTATION_ANNOTATION.replace("/", "_").replace("-", "_")

_WHY_MONITOR = """\
Read by Prometheus' operator: everybody's /metrics. The labels are those of every other gridctl grid:
a substation is called as its annotation says, or else as its pod.
An operator may look for monitors with certain labels only (kube-prometheus-stack: `release: …`): add them to this one."""
_WHY_SCRAPE = """\
Read by Prometheus' operator: the /metrics of substations elsewhere, which have no pod. Labels are those of all the others;
no token goes there, for it is this grid's own. Operators look for these by another selector (`scrapeConfigSelector`), which
may want certain labels too; this was held against the schema of operator 0.80."""
_WHY_RULES = """\
Read by Prometheus' operator: what is recorded beforehand, and the alarms.
They are for all gridctl grids of a Prometheus: where it watches several, one of these objects is enough."""


@dataclass(frozen=True, slots=True)
class Watching:
    """The ServiceMonitor and the PrometheusRule of `grid`, and a ScrapeConfig where substations are `elsewhere`.

    Prometheus looks each `scrape_interval_s`, balancers each `poll_interval_s` (wall seconds).
    """

    grid: Grid
    scrape_interval_s: float
    poll_interval_s: float
    elsewhere: tuple[Target, ...] = ()

    def files(self) -> Iterator[File]:
        """One object a file."""
        yield self._monitor()
        if self.elsewhere:
            yield self._scrape_config()
        groups = [group for _, document in rules.groups(self.poll_interval_s) for group in document["groups"]]
        content = {"metadata": self.grid.metadata(APP), "spec": {"groups": groups}}
        yield file(API, "PrometheusRule", content, _WHY_RULES)

    def _monitor(self) -> File:
        endpoint = {
            "port": PORT_NAME,
            "path": "/metrics",
            "interval": duration(self.scrape_interval_s),
            "scrapeTimeout": duration(min(self.scrape_interval_s, LONGEST_SCRAPE_S)),
            "relabelings": self.relabelings(),
        }
        spec = {
            "jobLabel": "app.kubernetes.io/component",
            "selector": {"matchLabels": self.grid.labels},
            "sampleLimit": SAMPLE_LIMIT,
            "endpoints": [endpoint],
        }
        content = {"metadata": self.grid.metadata(APP), "spec": spec}
        return file(API, "ServiceMonitor", content, _WHY_MONITOR)

    def _scrape_config(self) -> File:
        spec = {
            "scrapeInterval": duration(self.scrape_interval_s),
            "scrapeTimeout": duration(min(self.scrape_interval_s, LONGEST_SCRAPE_S)),
            "sampleLimit": SAMPLE_LIMIT,
            "staticConfigs": [_static(group) for group in render(self.grid.cluster, self.elsewhere)],
        }
        content = {"metadata": self.grid.metadata(f"{APP}-elsewhere"), "spec": spec}
        return file(ALPHA_API, "ScrapeConfig", content, _WHY_SCRAPE)

    def relabelings(self) -> list[Object]:
        """From what Kubernetes says of a pod to the labels `substation_id` and `cluster`."""
        return [
            {"sourceLabels": [_ROLE, _POD], "regex": f"{SUBSTATION};(.+)", "targetLabel": "substation_id"},
            {"sourceLabels": [_NAMED], "regex": "(.+)", "targetLabel": "substation_id"},
            {"targetLabel": "cluster", "replacement": self.grid.cluster},
        ]


def _static(group: Mapping[str, Any]) -> Object:
    """What Prometheus is told of a target: all but what only balancers need."""
    labels = {name: value for name, value in group["labels"].items() if name not in BALANCERS_OWN}
    return {"targets": group["targets"], "labels": labels}
