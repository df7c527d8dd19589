"""prometheus.yml by Prometheus' own checker, and what becomes of the targets' labels."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from monitoring import alertmanager, prometheus
from monitoring.prometheus import BALANCERS_OWN, Setup, duration, targets_file

DISCOVERY = {**targets_file("targets.json"), "http_sd_configs": [{"url": "http://balancer:8081/targets"}]}


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    "setup",
    [
        Setup(targets_file("targets.json")),
        Setup(DISCOVERY, scrape_interval_s=0.5, poll_interval_s=30.0, alertmanagers=("127.0.0.1:9093",)),
        Setup(targets_file("targets.json"), token_file="token"),
    ],
    ids=["plain", "more", "guarded"],
)
def test_promtool_takes_what_is_rendered(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "targets.json").write_text('[{"targets": ["127.0.0.1:9001"], "labels": {"job": "substation"}}]')
    (tmp_path / "token").write_text("x")
    for path, content in prometheus.files(setup):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    checked = subprocess.run(
        ["promtool", "check", "config", "--lint=all", "--lint-fatal", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "2 rule files found" in checked.stdout


@pytest.mark.needs("amtool")
def test_amtool_takes_the_example_for_alertmanager(tmp_path: Path) -> None:
    (tmp_path / "alertmanager.yml").write_text(alertmanager.EXAMPLE)
    checked = subprocess.run(
        ["amtool", "check-config", str(tmp_path / "alertmanager.yml")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_it_scrapes_each_five_seconds_and_evaluates_as_often() -> None:
    document = yaml.safe_load(prometheus.config(Setup(targets_file("targets.json"))))
    assert document["global"] == {"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "5s"}
    assert "alerting" not in document
    (scraping,) = document["scrape_configs"]
    assert scraping["file_sd_configs"][0]["files"] == ["targets.json"]


def test_what_only_balancers_need_is_dropped_and_the_rest_is_kept() -> None:
    (scraping,) = yaml.safe_load(prometheus.config(Setup(targets_file("t"))))["scrape_configs"]
    (relabelling,) = scraping["relabel_configs"]
    assert relabelling["action"] == "labeldrop"
    for label in BALANCERS_OWN:
        assert re.fullmatch(relabelling["regex"], label)
    for label in ("job", "cluster", "substation_id", "__scheme__", "__metrics_path__", "__address__"):
        assert not re.fullmatch(relabelling["regex"], label)


@given(seconds=st.floats(0.001, 1e7))
def test_a_duration_is_what_it_was(seconds: float) -> None:
    number, unit = re.fullmatch(r"(\d+)(ms|s)", duration(seconds)).groups()  # type: ignore[union-attr]
    assert int(number) * {"ms": 0.001, "s": 1.0}[unit] == pytest.approx(seconds, abs=0.0006)
