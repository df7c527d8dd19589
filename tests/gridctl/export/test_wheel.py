"""The wheel of the gridctl that runs: the same bytes whichever way it was installed, and pip takes it."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from config.errors import GridError
from gridctl.export.wheel import wheel
from tests.conftest import ROOT

SOURCES = ("config", "monitoring", "services", "gridctl", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
MAKE = "import sys; from gridctl.export.wheel import wheel; sys.stdout.buffer.write(wheel()[1])"


def _pip(target: Path, what: Path, *options: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, *options, "--target", str(target), str(what)], check=True, capture_output=True, timeout=90)


def _run(target: Path, *arguments: str) -> bytes:
    """Python with what is installed in `target` before all else; the working folder holds no gridctl."""
    environ = {**os.environ, "PYTHONPATH": str(target)}
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(command, cwd=target, env=environ, check=True, stdout=subprocess.PIPE, timeout=60).stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an ordinary installation of these sources."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in SOURCES:
        path = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__")
        _ = shutil.copytree(path, source / name, ignore=ignored) if path.is_dir() else shutil.copy(path, source)
    _pip(target, source, "--no-build-isolation")
    return target


def test_an_ordinary_and_this_editable_installation_give_the_same_bytes(installed: Path) -> None:
    """A difference: a file in a package's folder that no `package_data` in setup.cfg names, or a stale `pip install -e`."""
    ours, theirs = wheel()[1], _run(installed, "-c", MAKE)
    names = [set(zipfile.ZipFile(io.BytesIO(each)).namelist()) for each in (ours, theirs)]
    assert names[0] ^ names[1] == set()
    assert ours == theirs
    assert ours == wheel()[1]


def test_what_lies_beside_in_an_ordinary_installation_is_not_packed(installed: Path) -> None:
    (installed / "config" / "foreign.py").write_text("")
    try:
        packed = zipfile.ZipFile(io.BytesIO(_run(installed, "-c", MAKE)))
    finally:
        (installed / "config" / "foreign.py").unlink()
    assert "config/city.yaml" in packed.namelist()
    assert "config/foreign.py" not in packed.namelist()
    assert not any("__pycache__" in name for name in packed.namelist())


def test_pip_installs_it_and_it_runs(tmp_path: Path) -> None:
    name, content = wheel()
    (tmp_path / name).write_bytes(content)
    _pip(tmp_path / "site", tmp_path / name)
    assert (tmp_path / "site/bin/gridctl").exists()
    assert _run(tmp_path / "site", "-m", "gridctl", "version").decode().startswith("gridctl ")
    assert _run(tmp_path / "site", "-c", "import gridctl; print(gridctl.__file__)").decode().startswith(str(tmp_path))
    assert _run(tmp_path / "site", "-c", MAKE) == content


def test_its_record_tells_every_file() -> None:
    packed = zipfile.ZipFile(io.BytesIO(wheel()[1]))
    (record,) = [name for name in packed.namelist() if name.endswith("/RECORD")]
    rows = {path: (digest, size) for path, digest, size in csv.reader(packed.read(record).decode().splitlines())}
    assert rows.keys() == set(packed.namelist())
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in rows)
    for path, (digest, size) in rows.items():
        if path != record:
            content = packed.read(path)
            made = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={made}", str(len(content)))


def test_a_missing_file_is_said(installed: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(installed, site)
    (site / "config" / "names.py").rename(site / "config" / "names2.py")
    import importlib.metadata  # noqa: PLC0415

    (found,) = importlib.metadata.distributions(name="gridctl", path=[str(site)])
    with pytest.raises(GridError, match=r"missing: .*names\.py"):
        wheel(found)
