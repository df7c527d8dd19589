"""What Grafana is provisioned with: readable, the same each time, and to be had without the SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import PurePosixPath

import pytest
import yaml

from monitoring.grafana.provisioning import DASHBOARDS, DATASOURCE_UID, dashboard, files

#: Grafana reads every YAML file of these two folders, and the dashboards from where the second says.
DATASOURCES, PROVIDERS = "provisioning/datasources/gridctl.yaml", "provisioning/dashboards/gridctl.yaml"


def test_the_datasource_is_the_one_that_the_dashboards_begin_with() -> None:
    written = dict(files("http://prometheus:9090"))
    (source,) = yaml.safe_load(written[DATASOURCES])["datasources"]
    assert (source["uid"], source["type"], source["url"]) == (DATASOURCE_UID, "prometheus", "http://prometheus:9090")
    for name in DASHBOARDS:
        first = json.loads(written[f"dashboards/{name}.json"])["templating"]["list"][0]
        assert (first["name"], first["current"]["value"]) == ("datasource", DATASOURCE_UID)


@pytest.mark.parametrize(("seconds", "written"), [(5, "5s"), (15.0, "15s"), (0.5, "500ms"), (90, "90s")])
def test_it_knows_how_often_is_scraped(seconds: float, written: str) -> None:
    (source,) = yaml.safe_load(dict(files("http://p", scrape_interval_s=seconds))[DATASOURCES])["datasources"]
    assert source["jsonData"]["timeInterval"] == written


def test_the_provider_looks_where_the_dashboards_are() -> None:
    written = dict(files("http://prometheus:9090", "/srv/boards"))
    (provider,) = yaml.safe_load(written[PROVIDERS])["providers"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "/srv/boards")
    assert {PurePosixPath(path).stem for path in written if path.startswith("dashboards/")} == set(DASHBOARDS)


@pytest.mark.parametrize("odd", ["http://[::1]:9090", "http://p:9090/a?b=c&d=#e", "http://p/'\"\\", "http://p/: {x}"])
def test_any_address_and_any_path_comes_through(odd: str) -> None:
    written = dict(files(odd, odd))
    assert yaml.safe_load(written[DATASOURCES])["datasources"][0]["url"] == odd
    assert yaml.safe_load(written[PROVIDERS])["providers"][0]["options"]["path"] == odd


def test_the_same_each_time() -> None:
    assert list(files("http://prometheus:9090")) == list(files("http://prometheus:9090"))


def test_nobody_needs_the_sdk_for_them() -> None:
    code = (
        "import sys; from monitoring.grafana.provisioning import files; list(files('http://p'));"
        "print(*[name for name in sys.modules if name.startswith(('grafana', 'yaml', 'pydantic'))])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def test_there_is_no_other_dashboard() -> None:
    with pytest.raises(KeyError, match="there are grid, services"):
        dashboard("nobody")
