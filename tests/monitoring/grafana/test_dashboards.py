"""The dashboards as shipped: what the code makes, and what Grafana demands of them, as far as can be said without one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.grafana.provisioning import DASHBOARDS, DATASOURCE_UID, GRID_UID, SERVICES_UID, dashboard

ROOT = Path(__file__).resolve().parents[3]
BOARDS: dict[str, dict[str, Any]] = {name: json.loads(dashboard(name)) for name in DASHBOARDS}
#: What Prometheus' annotations have in Grafana and the SDK's model of annotations has not.
OF_PROMETHEUS = {"titleFormat", "textFormat", "tagKeys", "step", "useValueForTime", "target"}
UNITS = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def rows_and_panels() -> list[tuple[str, dict[str, Any]]]:
    return [(name, panel) for name, board in BOARDS.items() for panel in board["panels"]]


def panels() -> list[Any]:
    return [
        pytest.param(panel, id=f"{name}: {panel['title']}")
        for name, panel in rows_and_panels()
        if panel["type"] != "row"
    ]


def test_they_are_as_the_code_makes_them() -> None:
    command = [sys.executable, "-P", "docs/dashboards.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", BOARDS)
def test_the_sdk_reads_all_that_is_in_them(name: str) -> None:
    register_default_plugins()
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(dashboard(name)))))
    expected = json.loads(dashboard(name))
    for found in (read, expected):
        for each in found["annotations"]["list"]:
            for key in OF_PROMETHEUS:
                each.pop(key, None)
    assert read == expected


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_can_be_found_and_does_not_change_its_name(name: str) -> None:
    board = BOARDS[name]
    assert board["uid"] == DASHBOARDS[name]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", board["uid"])
    assert board["title"].lower() == name
    assert board["description"]
    assert board["schemaVersion"] == 41  # Grafana 11.6
    assert board.get("id") is None  # each Grafana numbers its own


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_ids_of_their_own_and_places_of_their_own(name: str) -> None:
    found = BOARDS[name]["panels"]
    ids = Counter(panel["id"] for panel in found)
    assert not [number for number, times in ids.items() if times > 1 or number < 1]
    titles = Counter(panel["title"] for panel in found)
    assert not [title for title, times in titles.items() if times > 1]
    for panel in found:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    for one, other in combinations(found, 2):
        assert apart(one["gridPos"], other["gridPos"]), f"{one['title']} lies on {other['title']}"


def apart(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] + one["w"] <= other["x"]
        or other["x"] + other["w"] <= one["x"]
        or one["y"] + one["h"] <= other["y"]
        or other["y"] + other["h"] <= one["y"]
    )


@pytest.mark.parametrize("panel", panels())
def test_a_panel_says_what_it_shows_and_in_what_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    defaults = panel["fieldConfig"]["defaults"]
    assert known(defaults["unit"])
    # "none" is for what is a word and no number
    assert defaults["unit"] != "none" or defaults["mappings"]
    if panel["type"] == "heatmap":
        assert known(panel["options"]["yAxis"]["unit"])
    for override in panel["fieldConfig"].get("overrides", []):
        assert all(known(each["value"]) for each in override["properties"] if each["id"] == "unit")


def known(unit: str) -> bool:
    return unit in UNITS or re.fullmatch(r"suffix:[A-Za-z]+", unit) is not None


@pytest.mark.parametrize("panel", panels())
def test_a_panel_asks_the_chosen_prometheus(panel: dict[str, Any]) -> None:
    assert panel["datasource"] == DATASOURCE
    assert panel["targets"]
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])
    for target in panel["targets"]:
        assert target["datasource"] == DATASOURCE
        assert target["legendFormat"]
        selectors = re.findall(r"\w\{([^}]*)\}", target["expr"])
        assert selectors
        assert [each for each in selectors if 'cluster="$cluster"' not in each] == []
        assert ("[" in target["expr"]) == ("[$__rate_interval]" in target["expr"] or "[$__range]" in target["expr"])


@pytest.mark.parametrize("panel", panels())
def test_thresholds_rise_from_the_first(panel: dict[str, Any]) -> None:
    if panel["type"] == "heatmap":
        return
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None
    assert all(low["value"] < high["value"] for low, high in pairwise(steps[1:]))


@pytest.mark.parametrize("panel", panels())
def test_states_are_words(panel: dict[str, Any]) -> None:
    """A state timeline that is coloured by thresholds merges by them, and never looks at what its values are called."""
    if panel["type"] == "state-timeline":
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["mappings"]
        assert defaults["color"]["mode"] == "fixed"


@pytest.mark.parametrize("name", BOARDS)
def test_cluster_and_substation_can_be_chosen(name: str) -> None:
    variables = {each["name"]: each for each in BOARDS[name]["templating"]["list"]}
    assert list(variables) == ["datasource", "cluster", "substation"]
    assert variables["datasource"]["current"]["value"] == DATASOURCE_UID
    substation = variables["substation"]
    assert (substation["multi"], substation["includeAll"]) == (True, True)
    assert substation["current"]["value"] == ["$__all"]
    # chosen anew when the cluster is: Grafana sees it by the name in the query
    assert "$cluster" in substation["query"]["query"]
    assert all(variables[each]["datasource"] == DATASOURCE for each in ("cluster", "substation"))


@pytest.mark.parametrize("name", BOARDS)
def test_restarts_and_faults_are_marked(name: str) -> None:
    marks = {each["name"]: each for each in BOARDS[name]["annotations"]["list"]}
    assert list(marks) == ["Restarts", "Faults", "No answer", "Alerts"]
    for each in marks.values():
        assert each["enable"]
        assert each["datasource"] == DATASOURCE
        # Grafana 11 reads the one, later ones the other
        assert each["expr"] == each["target"]["expr"]
    assert marks["Restarts"]["useValueForTime"]


@pytest.mark.parametrize(("name", "other"), [("grid", SERVICES_UID), ("services", GRID_UID)])
def test_each_leads_to_the_other(name: str, other: str) -> None:
    (link,) = BOARDS[name]["links"]
    assert (link["url"], link["type"]) == (f"/d/{other}", "link")
    assert (link["includeVars"], link["keepTime"]) == (True, True)


def test_a_series_of_a_substation_leads_to_its_services() -> None:
    linked = [panel for _, panel in rows_and_panels() if panel.get("fieldConfig", {}).get("defaults", {}).get("links")]
    assert {panel["title"] for panel in linked} == {"Substation load", "Current load"}
    for panel in linked:
        (link,) = panel["fieldConfig"]["defaults"]["links"]
        assert link["url"].startswith(f"/d/{SERVICES_UID}?")
        assert "var-substation=${__field.labels.substation_id}" in link["url"]
