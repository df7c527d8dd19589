"""What a Prometheus or a Grafana beside the grid is started with, and the files that it reads. Must not start any.

All that they write lies in the cluster's folder. They listen on loopback only, and can be told nothing over the network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from config.errors import GridError
from config.names import PROMETHEUS
from config.plan import ProcessSpec, Watching
from gridctl.programs import find
from gridctl.state import ClusterPaths
from gridctl.supervisor.forking import Command

#: What Prometheus keeps at most: so many days, and so much on disk.
KEPT_TIME = "15d"
KEPT_SIZE = "1GB"
#: Where a Grafana that was not unpacked beside its program has its own files.
GRAFANA_HOMES = ("/usr/share/grafana", "/usr/local/share/grafana")

Find = Callable[[str], str | None]


def prepare(spec: ProcessSpec, paths: ClusterPaths, port: int, prometheus_url: str, search: Find = find) -> Command:
    """Write what the program of `spec` reads, and say how it is started on `port`.

    `prometheus_url` is the Prometheus that Grafana asks. GridError where the program is gone; OSError where the folder
    cannot be written.
    """
    program = search(spec.role)
    if program is None or spec.watching is None:
        raise GridError(f"{spec.role} is not installed here any more")
    if spec.role == PROMETHEUS:
        configure_prometheus(spec.watching, paths)
        return Command(_prometheus(program, paths, port), {})
    interval_s = max(1, round(spec.watching.scrape_interval_s))
    from monitoring.grafana import provisioning  # noqa: PLC0415 - yaml, which no grid without a watcher needs

    _write(paths.grafana, provisioning.files(prometheus_url, str(paths.grafana / "dashboards"), interval_s))
    return Command(_grafana(program), _grafana_environment(paths, port))


def configure_prometheus(watching: Watching, paths: ClusterPaths) -> None:
    """Write what Prometheus reads at its start and at a SIGHUP; OSError where the folder cannot be written."""
    _write(paths.prometheus, _prometheus_files(paths, watching))


def _prometheus_files(paths: ClusterPaths, watching: Watching) -> Iterator[tuple[str, str]]:
    from monitoring import prometheus  # noqa: PLC0415

    discovery = prometheus.targets_file(str(paths.targets))
    interval_s, folder = watching.scrape_interval_s, str(paths.prometheus)
    return prometheus.files(prometheus.Setup(discovery, interval_s, watching.poll_interval_s, folder=folder))


def _prometheus(program: str, paths: ClusterPaths, port: int) -> tuple[str, ...]:
    return (
        program,
        f"--config.file={paths.prometheus / 'prometheus.yml'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.page-title=Prometheus: {paths.name}",
        f"--storage.tsdb.path={paths.prometheus / 'data'}",
        f"--storage.tsdb.retention.time={KEPT_TIME}",
        f"--storage.tsdb.retention.size={KEPT_SIZE}",
        "--enable-feature=exemplar-storage",
        "--log.format=json",
    )


def _grafana(program: str) -> tuple[str, ...]:
    server = () if Path(program).name == "grafana-server" else ("server",)
    beside = Path(os.path.realpath(program)).parent.parent
    homes = [home for home in (beside, *map(Path, GRAFANA_HOMES)) if (home / "conf" / "defaults.ini").exists()]
    return (program, *server, *(f"--homepath={home}" for home in homes[:1]))


def _grafana_environment(paths: ClusterPaths, port: int) -> dict[str, str]:
    """Everybody on this machine may look and explore; nobody can log in, and it asks nobody outside for anything."""
    folder = paths.grafana
    settings: dict[str, object] = {
        "PATHS_DATA": folder / "data",
        "PATHS_LOGS": folder / "logs",
        "PATHS_PLUGINS": folder / "plugins",
        "PATHS_PROVISIONING": folder / "provisioning",
        "SERVER_HTTP_ADDR": "127.0.0.1",
        "SERVER_HTTP_PORT": port,
        "AUTH_DISABLE_LOGIN_FORM": "true",
        "AUTH_BASIC_ENABLED": "false",
        "AUTH_ANONYMOUS_ENABLED": "true",
        "AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "USERS_VIEWERS_CAN_EDIT": "true",  # explore, and change what they see; save nothing
        "ANALYTICS_REPORTING_ENABLED": "false",
        "ANALYTICS_CHECK_FOR_UPDATES": "false",
        "ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "LOG_MODE": "console",
        "LOG_CONSOLE_FORMAT": "json",
        "DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": folder / "dashboards" / "grid.json",
    }
    return {f"GF_{name}": str(value) for name, value in settings.items()}


def _write(folder: Path, files: Iterator[tuple[str, str]]) -> None:
    """Each file at once: a reader sees the old or the new."""
    for name, content in files:
        path = folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(content)
        fresh.replace(path)
