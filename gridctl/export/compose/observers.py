"""Prometheus and Grafana beside a grid, as Compose's services, and the files that they read. Must not know our services."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from config.names import BALANCER
from config.settings import BalancerSettings
from gridctl.export.compose.document import Block, merged
from gridctl.export.compose.services import SECRET, SECRET_PATH, TARGETS_FOLDER, hardened, healthy, published
from gridctl.export.containers import TARGETS_FILE, Container, Deployment
from gridctl.export.folder import File
from gridctl.supervisor.targets import render
from monitoring import alertmanager
from monitoring.grafana import provisioning
from monitoring.prometheus import Setup, files, targets_file

#: Prometheus' own service discovery sections, by their kind.
Discovery = Mapping[str, Sequence[Mapping[str, Any]]]

PROMETHEUS_IMAGE = "prom/prometheus:v2.53.5"
GRAFANA_IMAGE = f"grafana/grafana:{provisioning.GRAFANA_VERSION}"
PROMETHEUS, GRAFANA = "prometheus", "grafana"
#: Where they listen in their containers.
_PROMETHEUS_PORT, _GRAFANA_PORT = 9090, 3000

#: Nobody signs in: whoever reaches the port looks, and changes nothing. So there is no password to be made.
_GRAFANA_SETTINGS = {
    "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
    "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    "GF_ANALYTICS_REPORTING_ENABLED": "false",
    "GF_AUTH_ANONYMOUS_ENABLED": "true",
    "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
    "GF_AUTH_BASIC_ENABLED": "false",
    "GF_AUTH_DISABLE_LOGIN_FORM": "true",
    "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": f"{provisioning.DASHBOARDS_PATH}/grid.json",
    "GF_LOG_MODE": "console",
    "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "true",
}


def observers(deployment: Deployment, gateway: Mapping[str, Any]) -> tuple[dict[str, Block], dict[str, Any], list[str]]:
    """The shared blocks, the services and the volumes that they need. `gateway`: how Prometheus finds this machine."""
    block = hardened("observer", stop_grace_period="30s")
    secrets = {"secrets": [SECRET]} if _listing(deployment) else {}
    watching = {**_prometheus(deployment.prometheus_port), **secrets, **gateway}
    services = {PROMETHEUS: merged(block, watching), GRAFANA: merged(block, _grafana(deployment.grafana_port))}
    return {"x-observer": block}, services, [PROMETHEUS, GRAFANA]


def observer_files(deployment: Deployment, discovery: Discovery | None = None) -> Iterator[File]:
    """What they read: Prometheus' configuration and rules, Grafana's provisioning, and the targets.

    Balancers read those too. `discovery`: how Prometheus finds services, if it is not by that list alone.
    """
    yield "targets/targets.json", json.dumps(render(deployment.cluster, deployment.targets), indent=1) + "\n"
    scraped_s = deployment.scrape_interval_s
    setup = Setup(discovery or _discovery(deployment), scraped_s, _poll_interval_s(deployment))
    for path, text in files(setup):
        yield f"prometheus/{path}", text
    yield "prometheus/alertmanager.example.yml", alertmanager.EXAMPLE
    asked = f"http://{PROMETHEUS}:{_PROMETHEUS_PORT}"
    for path, text in provisioning.files(asked, scrape_interval_s=max(1, round(scraped_s))):
        yield f"grafana/{path}", text


def _discovery(deployment: Deployment) -> Discovery:
    """The list of targets, and those lists that only balancers have: of the substations that they found by DNS."""
    found: dict[str, Sequence[Mapping[str, Any]]] = {**targets_file(TARGETS_FILE)}
    if listing := _listing(deployment):
        found["http_sd_configs"] = [_http_sd(each) for each in listing]
    return found


def _listing(deployment: Deployment) -> list[Container]:
    balancers = deployment.of_role(BALANCER)
    return [each for each in balancers if getattr(each.settings, "substations_dns", None) is not None]


def _http_sd(balancer: Container) -> dict[str, Any]:
    url = f"{balancer.url}/targets"
    authorization = {"type": "Bearer", "credentials_file": SECRET_PATH}  # Prometheus 2.42 has no default for it here
    return {"url": url, "refresh_interval": "5s", "authorization": authorization}


def _poll_interval_s(deployment: Deployment) -> float:
    polled = (each.settings for each in deployment.of_role(BALANCER))
    return min(each.poll_interval_s for each in polled if isinstance(each, BalancerSettings))


def prometheus_core() -> dict[str, Any]:
    """Prometheus, but for its files, its port and its limits, which each engine writes otherwise."""
    return {
        "image": f"${{PROMETHEUS_IMAGE:-{PROMETHEUS_IMAGE}}}",
        "command": [
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
            "--storage.tsdb.retention.time=15d",
            "--enable-feature=exemplar-storage",
        ],
        "healthcheck": _check("promtool", "query", "instant", f"http://127.0.0.1:{_PROMETHEUS_PORT}", "1"),
    }


def grafana_core() -> dict[str, Any]:
    """Grafana, likewise."""
    return {
        "image": f"${{GRAFANA_IMAGE:-{GRAFANA_IMAGE}}}",
        "environment": _GRAFANA_SETTINGS,
        "healthcheck": _check("wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{_GRAFANA_PORT}/api/health"),
    }


def _prometheus(port: int) -> dict[str, Any]:
    return {
        **prometheus_core(),
        "ports": [published("PROMETHEUS_PORT", port, _PROMETHEUS_PORT)],
        "volumes": [
            f"{PROMETHEUS}:/prometheus",
            "./prometheus:/etc/prometheus:ro",
            f"{TARGETS_FOLDER}:{TARGETS_FILE.rpartition('/')[0]}:ro",
        ],
        "cpus": 1.0,
        "mem_limit": "1024m",
        "pids_limit": 128,
    }


def _grafana(port: int) -> dict[str, Any]:
    return {
        **grafana_core(),
        "tmpfs": ["/tmp:size=64m"],  # noqa: S108  in the container
        "ports": [published("GRAFANA_PORT", port, _GRAFANA_PORT)],
        "volumes": [
            f"{GRAFANA}:/var/lib/grafana",
            "./grafana/provisioning:/etc/grafana/provisioning:ro",
            f"./grafana/dashboards:{provisioning.DASHBOARDS_PATH}:ro",
        ],
        **healthy([PROMETHEUS]),
        "cpus": 1.0,
        "mem_limit": "512m",
        "pids_limit": 256,
    }


def _check(*command: str) -> dict[str, Any]:
    return {"test": ["CMD", *command], "interval": "10s", "timeout": "5s", "start_period": "30s", "retries": 3}
