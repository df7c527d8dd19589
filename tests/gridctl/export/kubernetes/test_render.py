"""The export for Kubernetes: judged by its schemas, by kubectl, and by its names."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from jsonschema import ValidationError as SchemaError  # type: ignore[import-untyped]

from config.errors import Invalid
from config.topology import Topology
from gridctl.export.kubernetes.readme import OLDEST
from gridctl.export.kubernetes.render import checked_image, namespace_of
from tests.gridctl.export.kubernetes.exported import (
    LOADER,
    NEWEST,
    TOPOLOGIES,
    container,
    environment,
    exported,
    objects,
    rendered,
    validate,
)


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
