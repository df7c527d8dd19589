"""What Prometheus' operator reads: judged by Prometheus, beside every other gridctl grid."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from config.loading import parse_topology
from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from gridctl.export.kubernetes.objects import Grid
from gridctl.export.kubernetes.watching import Watching
from gridctl.export.kubernetes.workloads import ADAPTER_QUERY, GRID_LOADING
from gridctl.export.monitoring import wanted
from monitoring import rules
from monitoring.prometheus import Setup, config, targets_file
from tests.gridctl.export.kubernetes.exported import (
    TOPOLOGIES,
    WITH_OTHERS,
    exported,
    objects,
    of_kind,
    rendered,
)


@pytest.mark.needs("promtool")
def test_the_alarms_are_those_of_every_other_grid(tmp_path: Path) -> None:
    (rule,) = of_kind(exported("default"), "PrometheusRule").values()
    groups = [group for _, document in rules.groups(5.0) for group in document["groups"]]
    assert rule["spec"]["groups"] == groups
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rule["spec"]))
    command = ["promtool", "check", "rules", str(tmp_path / "rules.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("promtool")
def test_the_autoscaler_gets_the_load_of_its_own_grid(tmp_path: Path) -> None:
    """What prometheus-adapter makes of its rule, asked of Prometheus' own engine: one figure, of two balancers."""
    file = exported("several-balancers")["horizontalpodautoscaler-substation.yaml"]
    (rule,) = yaml.safe_load("\n".join(line[2:] for line in file.splitlines() if line.startswith("#   ")))
    assert rule["metricsQuery"] == ADAPTER_QUERY
    matchers = 'namespace="gridctl-city",cluster="city"'
    query = rule["metricsQuery"].replace("<<.Series>>", GRID_LOADING).replace("<<.LabelMatchers>>", matchers)
    one = "grid_loading_percentage{cluster='%s',namespace='gridctl-%s',pod='balancer-%d'}"
    series = [(one % ("city", "city", 1), 60), (one % ("city", "city", 2), 70), (one % ("other", "other", 1), 90)]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": f"{value}x3"} for name, value in series],
        "promql_expr_test": [{"expr": query, "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": 70}]}],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"tests": [test]}))
    command = ["promtool", "test", "rules", str(tmp_path / "test.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("promtool")
def test_prometheus_calls_pods_as_every_other_gridctl_grid_does(tmp_path: Path) -> None:
    """The real relabelling, on what Kubernetes' discovery says of a pod."""
    relabelings = [
        {re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", key): value for key, value in rule.items()}
        for rule in Watching(Grid("city", "gridctl-city"), 5.0, 5.0).relabelings()
    ]
    pods = {
        "substation-2": (SUBSTATION, None),
        "s-1e3-0": (SUBSTATION, "1e3"),
        "balancer-1": (BALANCER, None),
        "charge-request-5d-x": (CHARGE_REQUEST, None),
    }
    targets = [{"targets": [f"{name}:1"], "labels": meta(name, *what)} for name, what in pods.items()]
    (tmp_path / "targets.json").write_text(json.dumps(targets))
    job = {"job_name": "grid", "file_sd_configs": [{"files": ["targets.json"]}], "relabel_configs": relabelings}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [job]}))
    command = ["promtool", "check", "service-discovery", "--timeout=2s", "prometheus.yml", "grid"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = {one["labels"]["instance"]: one["labels"] for one in json.loads(done.stdout)}
    assert {one["cluster"] for one in found.values()} == {"city"}
    assert {name: one.get("substation_id") for name, one in found.items()} == {
        "substation-2:1": "substation-2",
        "s-1e3-0:1": "1e3",
        "balancer-1:1": None,
        "charge-request-5d-x:1": None,
    }


def meta(name: str, role: str, substation: str | None) -> dict[str, str]:
    named = {} if substation is None else {"__meta_kubernetes_pod_annotation_gridctl_substation_id": substation}
    role_label = {"__meta_kubernetes_pod_label_app_kubernetes_io_component": role}
    return {"__meta_kubernetes_pod_name": name, **role_label, **named}


def test_the_readme_names_whom_the_servicemonitor_does_not_find() -> None:
    told = exported("with-others")["README.md"]
    assert told.endswith("by `scrapeconfig-gridctl-elsewhere.yaml`, without the token: `other`, `another`.\n")
    assert "scrapeconfig" not in exported("named")["README.md"]


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_what_the_readme_says_the_operator_reads_is_what_it_reads(name: str) -> None:
    files = exported(name)
    (told,) = re.findall(r"storage\. (.*) need Prometheus", files["README.md"])
    of_operator = {path for path, one in objects(files).items() if "monitoring.coreos.com" in one["apiVersion"]}
    assert set(re.findall(r"`([^`]+)`", told)) == of_operator
    assert ("ScrapeConfig" in {one["kind"] for one in files.parsed}) == (name == "with-others")


@pytest.mark.needs("promtool")
def test_substations_elsewhere_are_scraped_by_the_operator_as_by_every_other_prometheus(tmp_path: Path) -> None:
    """What Prometheus makes of the job that the operator writes (promcfg.go), beside what `monitoring export` gives it."""
    topology = parse_topology(WITH_OTHERS, "with-others")
    (found,) = of_kind(rendered(topology), "ScrapeConfig").values()
    told = found["spec"]
    assert told.keys() == {"scrapeInterval", "scrapeTimeout", "sampleLimit", "staticConfigs"}, (
        "no token, nor a way to one"
    )
    written = {"job_name": "scrapeConfig/gridctl-city/gridctl-elsewhere", "static_configs": told["staticConfigs"]}
    (tmp_path / "operator.yml").write_text(yaml.safe_dump({"scrape_configs": [written]}))
    (tmp_path / "targets.json").write_text(json.dumps(wanted("city", topology)))
    (tmp_path / "own.yml").write_text(config(Setup(targets_file("targets.json"))))
    by_operator = discovered(tmp_path, "operator.yml", written["job_name"])
    own = discovered(tmp_path, "own.yml", "gridctl")
    assert by_operator == [labels for labels in own if labels["substation_id"] in {"other", "another"}]
    assert [(labels["job"], labels["cluster"], labels["__address__"]) for labels in by_operator] == [
        ("substation", "city", "10.1.2.3:7601"),
        ("substation", "city", "other.example:80"),
    ]


def discovered(folder: Path, file: str, job: str) -> list[dict[str, str]]:
    """The labels of all targets of a job, but for how often they are scraped; in the order of their addresses."""
    command = ["promtool", "check", "service-discovery", "--timeout=2s", file, job]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = [one["labels"] for one in json.loads(done.stdout)]
    kept = [{key: value for key, value in one.items() if "scrape_" not in key} for one in found]
    return sorted(({"substation_id": "", **one} for one in kept), key=lambda labels: labels["__address__"])
