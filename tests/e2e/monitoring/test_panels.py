"""Every panel, variable and annotation of the dashboards, asked as Grafana asks it, of what a real Prometheus saw."""

from __future__ import annotations

import json
import re
from itertools import pairwise, product
from typing import Any

import pytest

from monitoring.grafana.provisioning import DASHBOARDS, dashboard
from tests.e2e.monitoring.watched import CLUSTER, SCRAPE_S, SUBSTATIONS, THEIRS, Series, Watched, ask

pytestmark = [pytest.mark.e2e, pytest.mark.needs("prometheus")]

BOARDS: dict[str, dict[str, Any]] = {name: json.loads(dashboard(name)) for name in DASHBOARDS}
STEP_S = 1.0
#: What Grafana makes of the variable `substation`: all, one, several.
ALL, ONE, SEVERAL = ".*", "north", "(north|south)"
#: Queries whose answer is 0 in a grid that does what it promises.
NOTHING_TO_SEE = {"avoidable"}


def panels() -> list[Any]:
    return [
        pytest.param(panel, id=f"{name}: {panel['title']}")
        for name, board in BOARDS.items()
        for panel in board["panels"]
        if panel["type"] != "row"
    ]


def events() -> list[Any]:
    # both have the same ones: tests/monitoring/grafana holds them to it
    return [pytest.param(each, id=each["name"]) for each in BOARDS["grid"]["annotations"]["list"]]


def filled(expr: str, seen: Watched, substation: str = ALL) -> str:
    """The query with its variables filled in, by Grafana's rules for a datasource that is scraped every `SCRAPE_S`."""
    rate_interval_s = max(STEP_S + SCRAPE_S, 4 * SCRAPE_S)
    values = {
        "__rate_interval": f"{round(1000 * rate_interval_s)}ms",
        "__range": f"{seen.window_s}s",
        "cluster": CLUSTER,
        "substation": substation,
    }
    whole = re.sub(r"\$(\w+)", lambda found: values[found[1]], expr)
    assert "$" not in whole
    return whole


def answer(target: dict[str, Any], seen: Watched, substation: str = ALL) -> list[Series]:
    expr = filled(target["expr"], seen, substation)
    return seen.at_the_end(expr) if target["instant"] else seen.over_time(expr, STEP_S)


@pytest.mark.parametrize("panel", panels())
def test_each_query_of_a_panel_has_something_to_show(panel: dict[str, Any], seen: Watched) -> None:
    for target in panel["targets"]:
        found = answer(target, seen)
        values = [value for series in found for _, value in series.samples]
        assert values, f"nothing at all: {target['expr']}"
        assert max(values) > 0 or target["legendFormat"] in NOTHING_TO_SEE, f"always 0: {target['expr']}"
        named = re.findall(r"{{(\w+)}}", target["legendFormat"])
        assert all(any(label in series.labels for label in named) for series in found if named), "series without a name"


@pytest.mark.parametrize("panel", panels())
def test_a_panel_shows_the_chosen_substations_only(panel: dict[str, Any], seen: Watched) -> None:
    for target, chosen in product(panel["targets"], (ONE, SEVERAL)):
        found = answer(target, seen, chosen)
        others = {series.labels.get("substation_id", ONE) for series in found} - set(re.findall(r"\w+", chosen))
        assert not others
        assert any(series.samples for series in found)


def test_energy_delivered_is_all_that_was_delivered_though_the_counter_fell_to_0_in_a_crash(seen: Watched) -> None:
    (panel,) = [each.values[0] for each in panels() if each.id == "grid: Energy delivered"]
    shown = {series.labels["substation_id"]: series.samples[-1][1] for series in answer(panel["targets"][0], seen)}
    counted = {
        series.labels["substation_id"]: [value for _, value in series.samples]
        for series in seen.scraped("substation_energy_delivered_kwh_total")
    }
    crashed = counted["north"]
    assert any(after < before for before, after in pairwise(crashed)), "it fell"
    for name in SUBSTATIONS:
        rose = sum(now - before if now >= before else now for before, now in pairwise(counted[name]))
        # Prometheus reckons with what passed before the first sample and after the last one, 1.1 usual steps at most each
        steps = len(counted[name]) - 1
        assert rose <= shown[name] * (1 + 1e-6) <= rose * (1 + 2 * 1.1 / steps) * (1 + 2e-6), name
    assert shown["north"] > 1.2 * (crashed[-1] - crashed[0])


def test_single_requests_can_be_shown_where_a_panel_asks_for_them(seen: Watched) -> None:
    wanted = [target for panel in panels() for target in panel.values[0]["targets"] if target.get("exemplar")]
    assert wanted
    for target in wanted:
        asked = {"query": filled(target["expr"], seen), "start": seen.began_s, "end": seen.ended_s}
        assert any(series["exemplars"] for series in ask(seen.url, "query_exemplars", **asked))


@pytest.mark.parametrize("event", events())
def test_each_annotation_marks_what_happened(event: dict[str, Any], seen: Watched) -> None:
    found = seen.over_time(filled(event["expr"], seen), STEP_S)
    marked = {name(series) for series in found if any_mark(series)}
    expected = {
        "Restarts": {"north"},
        "Faults": {"south", "east", "balancer"},
        "No answer": {"east", "balancer"},
        "Alerts": {"ServiceRestarting"},
    }
    assert expected[event["name"]] <= marked, f"marked are {marked}"
    assert not marked & {"Theirs", THEIRS}
    named = re.findall(r"{{(\w+)}}", event["textFormat"])
    assert all(any(label in series.labels for label in named) for series in found)


def name(series: Series) -> str:
    return next(series.labels[key] for key in ("alertname", "substation_id", "job") if key in series.labels)


def any_mark(series: Series) -> bool:
    return any(value > 0 for _, value in series.samples)


def test_restarts_are_marked_when_they_were(seen: Watched) -> None:
    (restarts,) = [each.values[0] for each in events() if each.id == "Restarts"]
    assert restarts["useValueForTime"]
    marks = {
        value / 1000
        for series in seen.over_time(filled(restarts["expr"], seen), STEP_S)
        if series.labels.get("substation_id") == "north"
        for _, value in series.samples
    }
    assert len(marks) == 2
    assert all(seen.began_s < when_s < seen.ended_s for when_s in marks)


def test_the_variables_offer_what_there_is(seen: Watched) -> None:
    offered = {}
    for variable in BOARDS["grid"]["templating"]["list"]:
        if variable["type"] != "query":
            continue
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", filled(variable["query"]["query"], seen))
        assert asked, variable
        offered[variable["name"]] = seen.label_values(asked[2], asked[1])
    assert offered == {"cluster": [CLUSTER], "substation": SUBSTATIONS}
