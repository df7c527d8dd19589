"""What watches a grid, as files: for Prometheus, Alertmanager and Grafana. Must not know where they are written to.

Of a cluster that runs, Prometheus reads the targets file that its supervisor keeps current; of one that does not, the one
that is written here, which lists what the topology wants.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.plan import ProcessSpec, processes
from config.ports import GRAFANA_PORT, LOOPBACK, PROMETHEUS_PORT
from config.topology import Topology
from gridctl.export.folder import File
from gridctl.supervisor.targets import Target, render
from monitoring import alertmanager
from monitoring.grafana import provisioning
from monitoring.prometheus import Setup, beside, files, targets_file

#: Where Alertmanager listens unless it is told otherwise.
ALERTMANAGER = "127.0.0.1:9093"
_README = """\
# What watches the grid `{cluster}`

Written by `gridctl monitoring export`. {targets}

{start}

- `rules/recording.yml`, `rules/alerts.yml`: what is worked out beforehand, and the alarms
- `alertmanager.yml`: an example; put your own receiver there
- `grafana/`: a datasource at {prometheus_url}, and the dashboards *Grid* and *Services*
"""
_START_PROMETHEUS = """\
    prometheus --config.file=prometheus.yml --enable-feature=exemplar-storage --web.listen-address=127.0.0.1:{port}
    alertmanager --config.file=alertmanager.yml        # in Debian: prometheus-alertmanager"""
_START_GRAFANA = """\
    GF_SERVER_HTTP_PORT={grafana_port} GF_PATHS_PROVISIONING={provisioning} grafana server --homepath /usr/share/grafana"""
_HAS_PROMETHEUS = """\
A Prometheus with these rules runs beside the grid already: {url}
It tells no Alertmanager: for that start one by this `prometheus.yml` instead, and the grid without `--prometheus`."""
_HAS_GRAFANA = "A Grafana with these dashboards runs beside the grid already: {url}"


@dataclass(frozen=True, slots=True)
class Watched:
    """The grid that is to be watched.

    `targets` is the `file_sd` document of its services; `live` is the file in which a running cluster keeps it current.
    `prometheus_url` and `grafana_url` are those that run beside it already. Grafana asks that Prometheus; else one on the
    port that the topology wants for it.
    """

    cluster: str
    topology: Topology
    targets: Sequence[dict[str, Any]]
    live: Path | None = None
    prometheus_url: str | None = None
    grafana_url: str | None = None
    token_file: Path | None = None

    @property
    def prometheus_port(self) -> int:
        """Where one is to listen that this export configures."""
        return self.topology.monitoring.prometheus_port or PROMETHEUS_PORT

    @property
    def grafana_port(self) -> int:
        """Likewise."""
        return self.topology.monitoring.grafana_port or GRAFANA_PORT

    @property
    def asked(self) -> str:
        """The URL of the Prometheus that Grafana asks."""
        return self.prometheus_url or f"http://{LOOPBACK}:{self.prometheus_port}"


def wanted(cluster: str, topology: Topology, cores: int = 1) -> list[dict[str, Any]]:
    """The `file_sd` document of what `topology` wants to run on a machine of `cores`, on the wanted ports."""
    return render(cluster, [_target(spec) for spec in processes(topology, cores=cores)])


def _target(spec: ProcessSpec) -> Target:
    limits = (spec.max_sessions, spec.capacity_kw)
    worker = None if spec.worker is None else spec.name
    port = spec.metrics_port or spec.port
    return Target(spec.name, spec.role, spec.host, port, False, spec.url, spec.load_metric, *limits, worker)


def exported(watched: Watched, folder: Path) -> Iterator[File]:
    """Every file for `folder`, an absolute path: Grafana wants to be told where its dashboards are."""
    yield from files(_setup(watched, str(folder)))
    yield "targets.json", json.dumps(watched.targets, indent=1) + "\n"
    yield "alertmanager.yml", alertmanager.EXAMPLE
    interval_s = max(1, round(watched.topology.monitoring.scrape_interval_s))
    for path, content in provisioning.files(watched.asked, str(folder / "grafana/dashboards"), interval_s):
        yield f"grafana/{path}", content
    yield "README.md", _readme(watched, folder)


def _setup(watched: Watched, folder: str) -> Setup:
    topology = watched.topology
    targets = beside(folder, "targets.json") if watched.live is None else str(watched.live)
    return Setup(
        discovery=targets_file(targets),
        scrape_interval_s=topology.monitoring.scrape_interval_s,
        poll_interval_s=topology.balancer.poll_interval_s,
        alertmanagers=(ALERTMANAGER,),
        token_file=None if watched.token_file is None else str(watched.token_file),
        folder=folder,
    )


def _readme(watched: Watched, folder: Path) -> str:
    targets = (
        "`targets.json` lists what its topology wants, on the ports that it wants."
        if watched.live is None
        else f"`prometheus.yml` names `{watched.live}`, which the cluster keeps current;\n"
        "`targets.json` is what stood there. Only the user whose cluster it is can read it: start Prometheus as that one."
    )
    return _README.format(
        cluster=watched.cluster,
        targets=targets,
        start="\n\n".join([*_running(watched), *_to_start(watched, folder)]),
        prometheus_url=watched.asked,
    )


def _running(watched: Watched) -> Iterator[str]:
    """What needs not be started, a paragraph each."""
    if watched.prometheus_url is not None:
        yield _HAS_PROMETHEUS.format(url=watched.prometheus_url)
    if watched.grafana_url is not None:
        yield _HAS_GRAFANA.format(url=watched.grafana_url)


def _to_start(watched: Watched, folder: Path) -> Iterator[str]:
    """The commands for what does not run yet, in one paragraph."""
    commands = [
        *([] if watched.prometheus_url else [_START_PROMETHEUS]),
        *([] if watched.grafana_url else [_START_GRAFANA]),
    ]
    if commands:
        yield "\n".join(commands).format(
            port=watched.prometheus_port,
            grafana_port=watched.grafana_port,
            provisioning=folder / "grafana/provisioning",
        )
