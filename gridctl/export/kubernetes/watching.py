"""How Prometheus' operator finds the services, names their series as everywhere else, and knows when to raise an alarm.

The rules themselves are `monitoring`'s. Must not know workloads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from config.names import SUBSTATION
from gridctl.export.folder import File
from gridctl.export.kubernetes.objects import APP, PORT_NAME, SUBSTATION_ANNOTATION, Grid, Object, file
from monitoring import rules
from monitoring.prometheus import SAMPLE_LIMIT, duration

#: An answer is waited for no longer than this (wall seconds).
LONGEST_SCRAPE_S = 10.0
API = "monitoring.coreos.com/v1"
_POD = "__meta_kubernetes_pod_name"
_ROLE = "__meta_kubernetes_pod_label_app_kubernetes_io_component"
#: Prometheus puts `_` for what a label's name cannot hold.
_NAMED = "__meta_kubernetes_pod_annotation_" + SUBSTATION_ANNOTATION.replace("/", "_").replace("-", "_")

_WHY_MONITOR = """\
Read by Prometheus' operator: everybody's /metrics. The labels are those of every other gridctl grid:
a substation is called as its annotation says, or else as its pod.
An operator may look for monitors with certain labels only (kube-prometheus-stack: `release: …`): add them to this one."""
_WHY_RULES = """\
Read by Prometheus' operator: what is recorded beforehand, and the alarms.
They are for all gridctl grids of a Prometheus: where it watches several, one of these objects is enough."""


@dataclass(frozen=True, slots=True)
class Watching:
    """The ServiceMonitor and the PrometheusRule of `grid`.

    Prometheus looks each `scrape_interval_s`, balancers each `poll_interval_s` (wall seconds).
    """

    grid: Grid
    scrape_interval_s: float
    poll_interval_s: float

    def files(self) -> Iterator[File]:
        """One object a file."""
        yield self._monitor()
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

    def relabelings(self) -> list[Object]:
        """From what Kubernetes says of a pod to the labels `substation_id` and `cluster`."""
        return [
            {"sourceLabels": [_ROLE, _POD], "regex": f"{SUBSTATION};(.+)", "targetLabel": "substation_id"},
            {"sourceLabels": [_NAMED], "regex": "(.+)", "targetLabel": "substation_id"},
            {"targetLabel": "cluster", "replacement": self.grid.cluster},
        ]
