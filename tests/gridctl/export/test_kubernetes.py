"""The export for Kubernetes: judged by its schemas, by kubectl, by Prometheus, and by whether all parts fit each other."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from jsonschema import ValidationError as SchemaError  # type: ignore[import-untyped]
from jsonschema import validate as validate_schema

from config.errors import Invalid
from config.loading import parse_topology
from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from config.shipped import shipped_names, shipped_text
from config.topology import Topology
from gridctl.export.containers import deployment
from gridctl.export.folder import File
from gridctl.export.kubernetes.objects import Grid
from gridctl.export.kubernetes.pods import ENDING_S, LAST_CALL_S
from gridctl.export.kubernetes.readme import OLDEST
from gridctl.export.kubernetes.render import checked_image, namespace_of, render
from gridctl.export.kubernetes.watching import Watching
from gridctl.export.kubernetes.workloads import ADAPTER_QUERY, GRID_LOADING
from gridctl.export.monitoring import wanted
from monitoring import rules
from monitoring.prometheus import Setup, config, targets_file
from tests.config.test_plan import topologies

Object = dict[str, Any]

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: What Kubernetes asks of most names (RFC 1123).
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
NEWEST = kubernetes_validate.latest_version()
#: Kinds that Prometheus' operator brings, of which Kubernetes itself has no schema.
OPERATOR = json.loads((Path(__file__).parent / "prometheus-operator.schema.json").read_text())
NAMED = "substations: [{name: Harbour.East, capacity_kw: 74}, {name: '1e3', port: 9100}, {name: y}]"
WITH_OTHERS = """\
substations:
  - {name: substation1}
  - {name: other, url: "https://10.1.2.3:7601/$(NAME)"}
  - {name: another, url: "http://other.example:80", load_metric: current_load}
"""
TOPOLOGIES = {
    **{name: shipped_text(name) for name in shipped_names() if name != "external"},
    "named": NAMED,
    "with-others": WITH_OTHERS,
    "several-balancers": "balancer: {replicas: 3, admission: queue, port: 8400}\nrequest_service: {port: 8401}",
    "nobody": "substations: 0",
}


class Export(dict[str, str]):
    """Files by their path."""

    @cached_property
    def parsed(self) -> list[Object]:
        return [one for path, one in objects(self).items() if path != "kustomization.yaml"]


def rendered(topology: Topology, cluster: str = "city") -> Export:
    files: list[File] = list(
        render(deployment(topology, cluster), "registry:5000/gridctl:1", namespace_of(cluster, None))
    )
    return Export((path, content if isinstance(content, str) else content.decode()) for path, content in files)


def exported(name: str) -> Export:
    return rendered(parse_topology(TOPOLOGIES[name], name))


def objects(files: Mapping[str, str]) -> dict[str, Object]:
    """The one object in each file that holds one."""
    found = {}
    for path, content in files.items():
        if path.endswith(".yaml"):
            (found[path],) = yaml.load_all(content, LOADER)
    return found


def of_kind(files: Export, kind: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in files.parsed if one["kind"] == kind}


def workloads(files: Export) -> Iterator[Object]:
    yield from of_kind(files, "StatefulSet").values()
    yield from of_kind(files, "Deployment").values()


def pod(workload: Object) -> Object:
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Object) -> Object:
    (found,) = pod(workload)["containers"]
    assert isinstance(found, dict)
    return found


def environment(workload: Object) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "(from the pod)") for entry in container(workload)["env"]}


def validate(one: Object, version: str) -> None:
    """By the schema of that Kubernetes, in which an unknown key is a fault; by that of the operator for what it brings."""
    if one["kind"] == "Kustomization":
        assert one.keys() == {"apiVersion", "kind", "namespace", "resources"}
    elif one["kind"] in OPERATOR:
        validate_schema(one, OPERATOR[one["kind"]])
    else:
        kubernetes_validate.validate(one, version, strict=True)


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", [name for name in TOPOLOGIES if name != "city"])
def test_every_object_is_valid_in_the_newest_kubernetes_and_in_the_oldest_that_it_is_for(
    name: str, version: str
) -> None:
    for one in objects(exported(name)).values():
        validate(one, version)


def test_a_schema_would_find_a_fault() -> None:
    files = objects(exported("default"))
    files["statefulset-substation.yaml"]["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        validate(files["statefulset-substation.yaml"], NEWEST)
    files["servicemonitor-gridctl.yaml"]["spec"]["endpoints"][0]["relabelings"][0]["source_labels"] = ["a"]
    with pytest.raises(SchemaError, match="source_labels"):
        validate(files["servicemonitor-gridctl.yaml"], NEWEST)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(topology=topologies())
def test_whatever_is_declared_the_parts_fit_each_other(topology: Topology) -> None:
    outside = [entry for entry in topology.substations if entry.url is None]
    check_fit(rendered(topology.model_copy(update={"substations": tuple(outside)})))


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_parts_fit_each_other(name: str) -> None:
    check_fit(exported(name))


def check_fit(files: Export) -> None:
    check_names(files)
    check_selectors(files)
    check_references(files)
    for workload in workloads(files):
        check_restricted(workload)
        check_probes(workload)


def check_names(files: Export) -> None:
    found = objects(files)
    kustomization = found.pop("kustomization.yaml")
    assert sorted(kustomization["resources"]) == sorted(found)
    keys = [(one["kind"], one["metadata"]["name"]) for one in found.values()]
    assert len(set(keys)) == len(keys)
    for one in found.values():
        assert DNS_LABEL.fullmatch(one["metadata"]["name"])
        assert one["metadata"].get("namespace", "gridctl-city") == "gridctl-city"
        assert all(value and len(value) <= 63 for value in one["metadata"]["labels"].values())
    for name in of_kind(files, "StatefulSet"):
        assert len(name) <= 52  # Kubernetes puts eleven characters behind it, into a label


def check_selectors(files: Export) -> None:
    """Each workload selects its own pods and nobody else's; a Service and a budget those of one role."""
    pods = {one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in workloads(files)}
    for one in workloads(files):
        selector = one["spec"]["selector"]["matchLabels"]
        assert [name for name, labels in pods.items() if selects(selector, labels)] == [one["metadata"]["name"]]
    for kind in ("Service", "PodDisruptionBudget"):
        for role, one in of_kind(files, kind).items():
            selector = one["spec"]["selector"]
            selector = selector.get("matchLabels", selector)
            chosen = {labels["app.kubernetes.io/component"] for labels in pods.values() if selects(selector, labels)}
            assert chosen == {role}
    (monitor,) = of_kind(files, "ServiceMonitor").values()
    services = of_kind(files, "Service")
    watched = monitor["spec"]["selector"]["matchLabels"]
    assert [name for name, one in services.items() if selects(watched, one["metadata"]["labels"])] == [*services]
    assert monitor["spec"]["endpoints"][0]["port"] in {
        p["name"] for one in services.values() for p in one["spec"]["ports"]
    }


def check_references(files: Export) -> None:
    """Whatever is named is there, or is the Secret that the user makes."""
    services, maps = of_kind(files, "Service"), of_kind(files, "ConfigMap")
    for one in workloads(files):
        ports = {port["name"]: port["containerPort"] for port in container(one)["ports"]}
        assert str(ports["http"]) == environment(one)["PORT"]
        claims = {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", ())}
        volumes = {volume["name"]: volume for volume in pod(one)["volumes"]}
        assert {mount["name"] for mount in container(one)["volumeMounts"]} == claims | volumes.keys()
        assert volumes["token"]["secret"]["secretName"] == "gridctl-token"
        if "targets" in volumes:
            assert volumes["targets"]["configMap"]["name"] in maps
        if one["kind"] == "StatefulSet":
            assert services[one["spec"]["serviceName"]]["spec"]["clusterIP"] == "None"
    for scaler in of_kind(files, "HorizontalPodAutoscaler").values():
        target = scaler["spec"]["scaleTargetRef"]
        assert target["name"] in of_kind(files, target["kind"])
        assert "replicas" not in of_kind(files, target["kind"])[target["name"]]["spec"]
    assert not of_kind(files, "Secret")


def check_restricted(workload: Object) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and no way to write or to ask."""
    spec, inside = pod(workload), container(workload)["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inside == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert {key for volume in spec["volumes"] for key in volume if key != "name"} <= {"emptyDir", "secret", "configMap"}
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
    resources = container(workload)["resources"]
    assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}


def check_probes(workload: Object) -> None:
    """A service that cannot do its work is not ready; only one that answers nothing is killed."""
    probes = {key: container(workload)[key]["httpGet"] for key in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {"http"}
    paths = {key: probe["path"] for key, probe in probes.items()}
    assert paths == {
        "startupProbe": "/health?live",
        "livenessProbe": "/health?live",
        "readinessProbe": "/health",
    }


def test_counted_substations_are_replicas_that_are_scaled() -> None:
    files = exported("default")
    sets = of_kind(files, "StatefulSet")
    assert sets.keys() == {SUBSTATION, BALANCER}
    told = environment(sets[SUBSTATION])
    assert (told["NAME"], told["JOURNAL"]) == ("(from the pod)", "/var/lib/gridctl/$(NAME).db")
    assert sets[SUBSTATION]["spec"]["ordinals"] == {"start": 1}
    assert environment(sets[BALANCER])["SUBSTATIONS_DNS"] == "substation:9001"
    assert "TARGETS_FILE" not in environment(sets[BALANCER])
    scaler = of_kind(files, "HorizontalPodAutoscaler")[SUBSTATION]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 9)
    (metric,) = scaler["metrics"]
    assert metric["external"]["metric"] == {
        "name": "grid_loading_percentage",
        "selector": {"matchLabels": {"cluster": "city"}},
    }


def test_substations_with_names_keep_them_and_their_volumes() -> None:
    files = exported("named")
    sets = of_kind(files, "StatefulSet")
    assert sets.keys() == {"harbour-east", "s-1e3", "y", BALANCER}
    for host, name in (("harbour-east", "Harbour.East"), ("s-1e3", "1e3"), ("y", "y")):
        assert environment(sets[host])["NAME"] == name
        assert sets[host]["spec"]["template"]["metadata"]["annotations"] == {"gridctl/substation-id": name}
        assert sets[host]["spec"]["replicas"] == 1
        assert environment(sets[host])["DRAIN_S"] == "0"
    assert not of_kind(files, "HorizontalPodAutoscaler")
    listed = json.loads(of_kind(files, "ConfigMap")["gridctl-targets"]["data"]["targets.json"])
    where = {group["labels"]["substation_id"]: group["targets"] for group in listed}
    assert where == {
        "Harbour.East": ["harbour-east-0.substation:9001"],
        "1e3": ["s-1e3-0.substation:9100"],
        "y": ["y-0.substation:9002"],
    }
    assert environment(sets[BALANCER])["TARGETS_FILE"] == "/etc/gridctl/targets.json"


@pytest.mark.parametrize(("name", "limit_s"), [("default", 30), ("mixed", 0)])
def test_nobody_is_killed_before_its_own_time_is_over(name: str, limit_s: int) -> None:
    """A substation that may leave has the length of a session, the others their requests' time."""
    for one in workloads(exported(name)):
        told, role = environment(one), container(one)["args"][1]
        patience_s = float(told.get("DRAIN_S", 0)) if role == SUBSTATION else float(told["REQUEST_TIMEOUT_S"])
        assert patience_s == (limit_s if role == SUBSTATION else 10)
        last_call_s = container(one).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert last_call_s == (LAST_CALL_S if role == CHARGE_REQUEST else 0)
        assert pod(one)["terminationGracePeriodSeconds"] >= patience_s + last_call_s + ENDING_S


def test_several_balancers_know_each_other_and_are_all_asked() -> None:
    files = exported("several-balancers")
    balancer = of_kind(files, "StatefulSet")[BALANCER]
    urls = ",".join(f"http://balancer-{number}.balancer:8400" for number in (1, 2, 3))
    assert balancer["spec"]["replicas"] == 3
    assert environment(balancer)["PEERS"] == urls
    assert environment(balancer)["URL"] == "http://$(NAME).balancer:8400"
    assert environment(of_kind(files, "Deployment")[CHARGE_REQUEST])["BALANCERS"] == urls


def talks(files: Export) -> set[tuple[str, str]]:
    """Who may open a connection to whom, by role: one policy must let it out and one must let it in."""
    roles = {
        one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: one for one in workloads(files)
    }
    labels = {role: one["spec"]["template"]["metadata"]["labels"] for role, one in roles.items()}
    policies = [one["spec"] for one in of_kind(files, "NetworkPolicy").values()]

    def allowed(role: str, direction: str, peers: str, other: str) -> bool:
        rules = [
            rule
            for policy in policies
            if selects(policy["podSelector"]["matchLabels"], labels[role])
            for rule in policy.get(direction, ())
            if rule["ports"] == [{"protocol": "TCP", "port": "http"}]
        ]
        pods = [peer.get("podSelector", {}) for rule in rules for peer in rule.get(peers, ())]
        return any(peers not in rule for rule in rules) or any(
            pod and selects(pod["matchLabels"], labels[other]) for pod in pods
        )

    return {
        (one, other)
        for one in roles
        for other in roles
        if allowed(one, "egress", "to", other) and allowed(other, "ingress", "from", one)
    }


def test_the_network_lets_through_what_must_talk_and_nothing_else() -> None:
    files = exported("default")
    assert talks(files) == {
        (CHARGE_REQUEST, BALANCER),
        (BALANCER, SUBSTATION),
        (BALANCER, BALANCER),
        (SUBSTATION, BALANCER),
    }
    denied = of_kind(files, "NetworkPolicy")["default-deny"]["spec"]
    assert denied["policyTypes"] == ["Ingress", "Egress"]
    assert not denied.keys() & {"ingress", "egress"}
    everybody = [one["spec"]["template"]["metadata"]["labels"] for one in workloads(files)]
    assert all(selects(denied["podSelector"]["matchLabels"], labels) for labels in everybody)


def test_substations_elsewhere_are_reached_through_the_network_policy() -> None:
    files = exported("with-others")
    listed = json.loads(of_kind(files, "ConfigMap")["gridctl-targets"]["data"]["targets.json"])
    assert [group["labels"]["url"] for group in listed] == ["https://10.1.2.3:7601/$(NAME)", "http://other.example:80"]
    told = environment(of_kind(files, "StatefulSet")[BALANCER])
    assert (told["SUBSTATIONS_DNS"], told["TARGETS_FILE"]) == ("substation:9001", "/etc/gridctl/targets.json")
    egress = of_kind(files, "NetworkPolicy")[BALANCER]["spec"]["egress"]
    assert egress[1:] == [
        {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"protocol": "TCP", "port": 7601}]},
        {"ports": [{"protocol": "TCP", "port": 80}]},
    ]


def test_one_on_the_users_own_machine_is_out_of_reach() -> None:
    with pytest.raises(Invalid, match="loopback"):
        rendered(parse_topology(shipped_text("external"), "external"))


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


@pytest.mark.parametrize("name", ["default", "named", "with-others"])
def test_the_same_topology_gives_the_same_bytes(name: str) -> None:
    assert exported(name) == exported(name)


@pytest.mark.needs("kubectl")
@pytest.mark.parametrize("name", ["default", "named", "several-balancers"])
def test_kubectl_builds_it(name: str, tmp_path: Path) -> None:
    """`kubectl kustomize` takes the folder and gives every object back as it is in its file."""
    files = exported(name)
    save(files, tmp_path)
    built = {
        (one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(kubectl("kustomize", str(tmp_path)))
    }
    ours = objects(files)
    del ours["kustomization.yaml"]
    assert built == {(one["kind"], one["metadata"]["name"]): one for one in ours.values()}


@pytest.mark.needs("kubectl")
def test_it_is_a_base_that_an_overlay_may_change(tmp_path: Path) -> None:
    """Somebody else's namespace and image, without an edit here."""
    base, overlay = tmp_path / "base", tmp_path / "overlay"
    base.mkdir()
    overlay.mkdir()
    save(exported("default"), base)
    wanted = {
        "namespace": "charging",
        "images": [{"name": "registry:5000/gridctl", "newName": "elsewhere/grid", "newTag": "2"}],
        "bases": ["../base"],  # the old word for `resources`, which every kubectl knows
    }
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    built = list(yaml.load_all(kubectl("kustomize", str(overlay)), LOADER))
    assert {one["metadata"]["namespace"] for one in built if one["kind"] != "Namespace"} == {"charging"}
    assert {container(one)["image"] for one in built if "template" in one.get("spec", {})} == {"elsewhere/grid:2"}


@pytest.mark.needs("kubectl")
def test_kubectl_reads_the_same_variables(tmp_path: Path) -> None:
    """Its YAML is of another make: what is text here must be no number there."""
    files = exported("named")
    save(files, tmp_path)
    for path, one in objects(files).items():
        if one["kind"] in {"StatefulSet", "Deployment"}:
            listed = kubectl("set", "env", "--local", "--list", "-f", str(tmp_path / path))
            read = dict(line.split("=", 1) for line in listed.splitlines() if "=" in line and line[0] != "#")
            told = environment(one)
            assert read == {key: value for key, value in told.items() if value != "(from the pod)"}


def save(files: Mapping[str, str], folder: Path) -> None:
    for path, content in files.items():
        (folder / path).write_text(content)


def kubectl(*arguments: str) -> str:
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


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


@pytest.mark.parametrize(
    "image", ["gridctl", "gridctl:0.1.0", "localhost:5000/a/b_c:1", f"ghcr.example/a@sha256:{'0' * 64}"]
)
def test_images_that_are_named_rightly(image: str) -> None:
    assert checked_image(image) == image


@pytest.mark.parametrize("image", ["", "a b", "x:", "A", "a@sha256:12", "a@", "-x", "a//b:1/", "$(X)"])
def test_images_that_are_not(image: str) -> None:
    with pytest.raises(Invalid, match="--image"):
        checked_image(image)


@pytest.mark.parametrize(
    ("cluster", "namespace"),
    [
        ("city", "gridctl-city"),
        ("City.of_X", "gridctl-city-of-x"),
        ("_", "gridctl-grid"),
        ("x" * 64, f"gridctl-{'x' * 40}"),
    ],
)
def test_a_namespace_is_named_after_the_cluster(cluster: str, namespace: str) -> None:
    assert namespace_of(cluster, None) == namespace
    files = rendered(Topology(), cluster)
    for one in objects(files).values():
        validate(one, NEWEST)
    assert objects(files)["kustomization.yaml"]["namespace"] == namespace


@pytest.mark.parametrize("given", ["", "A", "-a", "a-", "a.b", "x" * 64])
def test_a_namespace_that_kubernetes_would_refuse(given: str) -> None:
    with pytest.raises(Invalid, match="--namespace"):
        namespace_of("city", given)


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
