"""The files that a Grafana is provisioned with. Pure, and without the SDK; must not know where they are written or mounted.

The dashboards are made by `make dashboards` for the Grafana below, and are shipped as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources

#: The dashboards are of this one's schema; what is newer migrates them when it loads them.
GRAFANA_VERSION = "11.6.0"
DATASOURCE_UID = "gridctl-prometheus"
GRID_UID = "gridctl-grid"
SERVICES_UID = "gridctl-services"
#: File name and uid of each dashboard.
DASHBOARDS = {"grid": GRID_UID, "services": SERVICES_UID}
#: Where a container finds the dashboards.
DASHBOARDS_PATH = "/var/lib/grafana/dashboards"

_DATASOURCE = """\
# Written by gridctl. Grafana reads it at its start, from provisioning/datasources.
apiVersion: 1
datasources:
  - name: Prometheus
    uid: {uid}
    type: prometheus
    access: proxy
    url: {url}
    isDefault: true
    editable: false
    jsonData:
      httpMethod: POST
      # how often Prometheus scrapes: $__rate_interval is four times as long
      timeInterval: {interval}
"""

_PROVIDER = """\
# Written by gridctl. Grafana reads it at its start, from provisioning/dashboards, and then the dashboards in `path`.
apiVersion: 1
providers:
  - name: gridctl
    folder: gridctl
    type: file
    disableDeletion: true
    # a change made in the browser would be gone at the next start
    allowUiUpdates: false
    options:
      path: {path}
"""


def files(
    prometheus_url: str, dashboards_path: str = DASHBOARDS_PATH, scrape_interval_s: float = 5
) -> Iterator[tuple[str, str]]:
    """Every file of Grafana's provisioning: its relative path, with slashes, and its content.

    `provisioning/` is to be where Grafana looks for its provisioning, and `dashboards/` at `dashboards_path`.
    `prometheus_url` is Prometheus as Grafana's server reaches it (http://prometheus:9090).
    """
    whole = float(scrape_interval_s).is_integer()
    interval = f"{scrape_interval_s:g}s" if whole else f"{round(1000 * scrape_interval_s)}ms"
    datasource = _DATASOURCE.format(uid=DATASOURCE_UID, url=json.dumps(prometheus_url), interval=interval)
    yield "provisioning/datasources/gridctl.yaml", datasource
    yield "provisioning/dashboards/gridctl.yaml", _PROVIDER.format(path=json.dumps(dashboards_path))
    for name in DASHBOARDS:
        yield f"dashboards/{name}.json", dashboard(name)


def dashboard(name: str) -> str:
    """The JSON of one dashboard, `grid` or `services`, as it is shipped; KeyError for any other."""
    if name not in DASHBOARDS:
        raise KeyError(f"no dashboard {name!r}; there are {', '.join(DASHBOARDS)}")
    return resources.files("monitoring.grafana").joinpath(f"{name}.json").read_text(encoding="utf-8")
