"""The rules by Prometheus' own programs: each alarm is raised when it should be, and not otherwise."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring import rules

CASES = Path(__file__).with_name("alerts.yml")


def _write(folder: Path, poll_interval_s: float = 5.0) -> dict[str, Path]:
    """The rule files as they are rendered."""
    written = {}
    for name, document in rules.groups(poll_interval_s):
        written[name] = folder / "rules" / f"{name}.yml"
        written[name].parent.mkdir(exist_ok=True)
        written[name].write_text(yaml.safe_dump(document))
    return written


def _promtool(*words: str | Path) -> str:
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("poll_interval_s", [0.5, 5.0, 3600.0])
def test_promtool_takes_the_rules(tmp_path: Path, poll_interval_s: float) -> None:
    files = _write(tmp_path, poll_interval_s).values()
    assert "SUCCESS" in _promtool("check", "rules", "--lint=all", "--lint-fatal", *files)


@pytest.mark.needs("promtool")
def test_each_alarm_is_raised_when_it_should_be(tmp_path: Path) -> None:
    alerts = _write(tmp_path)["alerts"]
    alerts.write_text(yaml.safe_dump(_summarised(yaml.safe_load(alerts.read_text()))))
    cases = tmp_path / CASES.name
    cases.write_text(CASES.read_text())
    assert "SUCCESS" in _promtool("test", "rules", cases)


def _summarised(document: dict[str, Any]) -> dict[str, Any]:
    """The same rules without descriptions: they are prose, and tested by nobody's eyes twice."""
    short = copy.deepcopy(document)
    for group in short["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]["description"]
    return short


@pytest.mark.parametrize("alert", rules.alerts(), ids=lambda alert: alert.name)
def test_no_alarm_is_without_a_case_in_which_it_is_raised_and_one_in_which_it_is_not(alert: rules.Alert) -> None:
    document = yaml.safe_load(CASES.read_text())
    cases = [
        case for world in document["tests"] for case in world["alert_rule_test"] if case["alertname"] == alert.name
    ]
    assert {bool(case["exp_alerts"]) for case in cases} == {True, False}


def test_a_report_is_old_after_three_polls() -> None:
    def threshold(poll_interval_s: float) -> str:
        return next(rule.expr for rule in rules.alerts(poll_interval_s) if rule.name == "SubstationReportOld")

    assert threshold(5).endswith("> 15")
    assert threshold(0.5).endswith("> 15")
    assert threshold(60).endswith("> 180")
