"""What `make wheel` compiles keeps every promise that the plain Python keeps: the simulation, storms and kills say so.

Built once a run, installed beside this environment's packages, and put before all else by PYTHONPATH.
"""

from __future__ import annotations

import configparser
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import Cluster, service_of
from tests.e2e.test_resuming import LONG, records
from tests.e2e.verbs import declare, states

# the first to come builds it: a minute and a half of a core, on a busy machine longer
pytestmark = [pytest.mark.e2e, pytest.mark.needs("cc"), pytest.mark.timeout(600)]

SOURCES = (
    "config",
    "monitoring",
    "services",
    "gridctl",
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
#: The library that all compiled modules share; a process that has it mapped runs what is compiled.
LIBRARY = "native__mypyc"
#: What a request passes through, in virtual time and at real sockets. About a minute.
PROMISES = (
    "test_origin.py",
    "tests/services/simulation",
    "tests/services/stream",
    "tests/services/charge_request",
    "tests/services/substation",
    "tests/services/test_heads.py",
    "tests/services/test_lane.py",
    "tests/services/test_express.py",
    "tests/services/test_tracing.py",
    *(
        f"tests/services/balancer/test_{name}.py"
        for name in ("swift", "placement", "collection", "ledger", "book", "account")
    ),
)
ORIGIN = "from services import lane\n\ndef test_origin():\n    assert lane.__file__.endswith('.so'), lane.__file__\n"
#: A storm, its aftermath and healing on a busy machine (wall seconds).
PATIENCE_S = 150.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the wheel is installed, the same one for all workers of a run."""
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip(
            "no Python.h for this interpreter: `make test-deps` installs python3-dev, which Debian's has it from"
        )
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (base / "compiled.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "compiled" / "site").exists():
            _build(base / "compiled")
    return base / "compiled" / "site"


def _build(folder: Path) -> None:
    """As `make wheel` and `make compiled` do, without a network; `site` is there once all is well."""
    source, ignored = folder / "source", shutil.ignore_patterns("__pycache__", "*.so")
    for name in SOURCES:
        path = ROOT / name
        _ = shutil.copytree(path, source / name, ignore=ignored) if path.is_dir() else shutil.copy(path, source)
    alone = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    _pip(source, "wheel", *alone, "--no-build-isolation", "-w", "dist", ".")
    (wheel,) = (source / "dist").iterdir()
    _pip(source, "install", *alone, "--target", str(folder / "unready"), str(wheel))
    (folder / "unready").rename(folder / "site")


def _pip(source: Path, *arguments: str) -> None:
    environment = {**os.environ, "GRIDCTL_COMPILE": "1"}
    command = [sys.executable, "-m", "pip", *arguments]
    done = subprocess.run(
        command, cwd=source, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture
def compiled(site: Path, unmeasured: Mapping[str, str]) -> dict[str, str]:
    """The environment in which gridctl is the compiled one."""
    return {**unmeasured, "PYTHONPATH": str(site)}


def _python(environment: Mapping[str, str], folder: Path, *arguments: str) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


def test_all_that_setup_cfg_names_is_compiled_and_the_version_says_so(compiled: dict[str, str], site: Path) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    names = config["compiled"]["modules"].split()
    code = f"import importlib, json; print(json.dumps([importlib.import_module(name).__file__ for name in {names}]))"
    files = json.loads(_python(compiled, site, "-P", "-c", code))
    assert [file for file in files if not (file.endswith(".so") and file.startswith(str(site)))] == []
    said = json.loads(_python(compiled, site, "-P", "-m", "gridctl", "version", "--json"))
    assert said["compiled"] is True


def test_the_simulation_and_what_is_asked_of_any_request_pass(compiled: dict[str, str], tmp_path: Path) -> None:
    """A test that can only run plain is marked `interpreted`."""
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    (tmp_path / "test_origin.py").write_text(ORIGIN)
    options = ["-q", "-m", "not interpreted", "-p", "no:cacheprovider", "-p", "no:cov"]
    said = _python(compiled, tmp_path, "-m", "pytest", *options, *PROMISES)
    assert " passed" in said.splitlines()[-1]


def test_a_grid_of_it_weathers_a_storm_and_takes_up_what_charged_when_all_were_killed(
    cluster: Cluster, compiled: dict[str, str]
) -> None:
    topology = {**LONG, "substations": 3, "balancer": {"admission": "queue"}}
    plain = {name: None for name in os.environ if name.startswith("COVERAGE_")}
    grid = cluster(topology=topology, env={**plain, "PYTHONPATH": compiled["PYTHONPATH"]})
    assert {row["name"]: _runs_compiled(row["pid"]) for row in grid.ps()} == dict.fromkeys(states(grid), True)
    accepted = {f"r{number}" for number in range(30)}
    assert {grid.charge(f"EV{name}", request_id=name)[0] for name in accepted} == {202}
    done = grid.run("chaos", "--duration", "15s", "--seed", "7", "--rate", "150", "--json", timeout_s=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["ok"], found["audit"]["ok"]) == (True, True)
    assert found["accepted"] > 100
    for name in states(grid):
        service_of(grid, name).kill()
    os.kill(json.loads((grid.state_dir / grid.name / "cluster.json").read_text())["supervisor_pid"], signal.SIGKILL)
    done = grid.run("up", "-d", "--file", declare(grid, topology), timeout_s=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert accepted <= records(grid).keys()
    assert grid.run("audit").returncode == 0


def _runs_compiled(pid: int) -> bool:
    return any(LIBRARY in each.path for each in psutil.Process(pid).memory_maps())


def test_what_it_exports_is_to_the_byte_what_the_plain_one_exports(
    compiled: dict[str, str], unmeasured: dict[str, str], tmp_path: Path
) -> None:
    folders = {name: tmp_path / name / "grid" for name in ("plain", "compiled")}
    for name, environment in (("plain", unmeasured), ("compiled", compiled)):
        folders[name].mkdir(parents=True)
        arguments = ("-P", "-m", "gridctl", "compose", "export", "-o", "out", "--name", "grid")
        _python(environment, folders[name], *arguments)
    plain, native = (_contents(folder) for folder in folders.values())
    assert any(path.endswith(".whl") for path in plain)
    assert plain == native


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
