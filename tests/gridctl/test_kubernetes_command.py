"""`gridctl kubernetes export`, through the group as a user types it."""

from contextlib import chdir
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from config.errors import GridError, Invalid, NotReady
from gridctl.commands.kubernetes import command


def _run(*arguments: str | Path) -> Result:
    found = CliRunner().invoke(command, ["export", *map(str, arguments)], env={"GRIDCTL_FILE": "", "GRIDCTL_NAME": ""})
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


def _topology(folder: Path, text: str) -> Path:
    file = folder / "gridctl.yaml"
    file.write_text(text)
    return file


def test_it_writes_where_it_is_told_and_says_what_is_next(tmp_path: Path) -> None:
    said = _run("-f", _topology(tmp_path, "name: harbour"), "-o", tmp_path / "out").output
    assert said.endswith(f"\n{tmp_path / 'out' / 'README.md'} says how to go on\n")
    found = yaml.safe_load((tmp_path / "out" / "kustomization.yaml").read_text())
    assert found["namespace"] == "gridctl-harbour"
    assert all((tmp_path / "out" / path).is_file() for path in found["resources"])


def test_a_folder_of_its_own_unless_it_is_told(tmp_path: Path) -> None:
    with chdir(tmp_path):
        _run()
    assert (tmp_path / "gridctl-kubernetes" / "kustomization.yaml").is_file()


def test_check_says_what_is_not_current_and_writes_nothing(tmp_path: Path) -> None:
    file, out = _topology(tmp_path, "substations: 2"), tmp_path / "out"
    _run("-f", file, "-o", out)
    assert _run("-f", file, "-o", out, "--check").output == f"{out} is current\n"
    _topology(tmp_path, "substations: 4")
    with pytest.raises(NotReady, match=r"horizontalpodautoscaler-substation\.yaml \(differs\)"):
        _run("-f", file, "-o", out, "--check")
    assert "minReplicas: 2" in (out / "horizontalpodautoscaler-substation.yaml").read_text()


def test_an_edited_file_is_never_overwritten_without_force(tmp_path: Path) -> None:
    file, out = _topology(tmp_path, "substations: 2"), tmp_path / "out"
    _run("-f", file, "-o", out)
    scaler = out / "horizontalpodautoscaler-substation.yaml"
    scaler.write_text("mine")
    _topology(tmp_path, "substations: 4")
    with pytest.raises(GridError, match="edited since"):
        _run("-f", file, "-o", out)
    assert scaler.read_text() == "mine"
    _run("-f", file, "-o", out, "--force")
    assert "minReplicas: 4" in scaler.read_text()


def test_what_is_not_rendered_any_more_goes(tmp_path: Path) -> None:
    file, out = _topology(tmp_path, "substations: 2"), tmp_path / "out"
    _run("-f", file, "-o", out)
    _topology(tmp_path, "substations: [{name: harbour}]")
    _run("-f", file, "-o", out)
    found = {path.name for path in out.iterdir()}
    assert "statefulset-harbour.yaml" in found
    assert not found & {"statefulset-substation.yaml", "horizontalpodautoscaler-substation.yaml"}


def test_image_namespace_and_name_are_as_they_were_given(tmp_path: Path) -> None:
    _run("-o", tmp_path, "--image", "localhost:5000/grid:7", "--namespace", "charging", "--name", "east")
    stateful = yaml.safe_load((tmp_path / "statefulset-substation.yaml").read_text())
    assert stateful["spec"]["template"]["spec"]["containers"][0]["image"] == "localhost:5000/grid:7"
    assert stateful["metadata"]["namespace"] == "charging"
    assert stateful["metadata"]["labels"]["app.kubernetes.io/instance"] == "east"


@pytest.mark.parametrize(("option", "value"), [("--image", "A b"), ("--namespace", "A_b"), ("--name", "a b")])
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, option: str, value: str) -> None:
    with pytest.raises(Invalid):
        _run("-o", tmp_path / "out", option, value)
    assert not (tmp_path / "out").exists()
