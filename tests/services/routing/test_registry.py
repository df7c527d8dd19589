"""Plug-ins as a user installs them: the one that CONTRIBUTING.md shows, and some that are broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from config import policies
from config.errors import Invalid
from services.routing import registry
from services.routing.policies import POLICIES

ROOT = Path(__file__).resolve().parents[3]
BROKEN = """\
from services.routing.policy import Policy
class NoPick(Policy):
    summary = "Picks nothing."
class Unmakeable(Policy):
    def __init__(self): raise RuntimeError("not today")
    def pick(self, fleet, want, rng): return None
"""
BROKEN_POINTS = """\
[gridctl.policies]
absent = nowhere:Nothing
function = broken:print
no-pick = broken:NoPick
unmakeable = broken:Unmakeable
ledger = broken:NoPick
not a name = broken:NoPick
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


def install(site: Path, package: str, module: str, points: str) -> None:
    """Has `package` installed in `site` as pip leaves it there."""
    (site / f"{package}.py").write_text(module)
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


def shown(language: str) -> str:
    """The first block of `language` in CONTRIBUTING.md's part on policies."""
    part = (ROOT / "CONTRIBUTING.md").read_text().split("## Add a policy\n")[1].split("\n## ")[0]
    block = re.search(rf"```{language}\n(.*?)```", part, re.DOTALL)
    assert block
    return block[1]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs Python in the repository with what is installed in `tmp_path`."""

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=90, check=False)

    return start


@pytest.fixture
def plugin(tmp_path: Path) -> None:
    """What CONTRIBUTING.md shows, built and installed by pip."""
    project, site = tmp_path / "project", tmp_path
    project.mkdir()
    (project / "pyproject.toml").write_text(shown("toml"))
    (project / "nearly_full.py").write_text(shown("python"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--no-index"]
    command = [*pip, "--disable-pip-version-check", "--target", str(site), str(project)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=90)


def test_those_that_come_along() -> None:
    assert tuple(POLICIES) == policies.SHIPPED
    assert policies.DEFAULT == "ledger"
    for name in policies.SHIPPED:
        assert isinstance(registry.make(name), POLICIES[name])
        assert registry.make(name) is not registry.make(name)
    own = registry.entries()[: len(POLICIES)]
    assert [(entry.name, entry.source, entry.error) for entry in own] == [(name, "gridctl", None) for name in POLICIES]


def test_one_that_is_none() -> None:
    assert not policies.is_known("best")
    with pytest.raises(Invalid, match=r"no policy is called 'best'; there are ledger, least-loaded"):
        registry.make("best")


def test_the_plugin_has_twenty_lines() -> None:
    assert sum(1 for line in (shown("toml") + shown("python")).splitlines() if line.strip()) <= 20


@pytest.mark.usefixtures("plugin")
def test_the_plugin_that_contributing_shows_is_a_policy_like_others(run: Run) -> None:
    listed = json.loads(run("-m", "gridctl", "policies", "--json").stdout)
    assert listed[len(POLICIES) :] == [
        {
            "name": "nearly-full",
            "summary": "The fullest that keeps a tenth free; else any that has room.",
            "source": "gridctl-nearly-full 1.0",
            "error": None,
        }
    ]
    shown_topology = run("-m", "gridctl", "topology", "show", "--policy", "nearly-full", "--json")
    assert json.loads(shown_topology.stdout)["balancer"]["policy"] == "nearly-full", shown_topology.stderr
    schema = json.loads(run("-m", "gridctl", "topology", "schema").stdout)
    assert "nearly-full" in schema["$defs"]["Balancer"]["properties"]["policy"]["enum"]
    unknown = run("-m", "gridctl", "topology", "show", "--policy", "best")
    assert unknown.returncode == 2
    assert "best-fit, nearly-full" in unknown.stderr


@pytest.mark.usefixtures("plugin")
def test_the_conformance_suite_runs_on_a_plugin(run: Run) -> None:
    done = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/services/routing/test_policies.py", "-k", "nearly-full"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 5  # type: ignore[index]


def test_broken_plugins_are_named_and_in_nobody_elses_way(run: Run, tmp_path: Path) -> None:
    install(tmp_path, "broken", BROKEN, BROKEN_POINTS)
    done = run("-m", "gridctl", "policies", "--json")
    listed = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert list(listed) == [*POLICIES, "absent", "function", "no-pick", "unmakeable"]
    assert listed["ledger"]["error"] is None
    assert (
        listed["absent"]["error"] == "nowhere:Nothing cannot be loaded: ModuleNotFoundError: No module named 'nowhere'"
    )
    assert "cannot be loaded: AttributeError" in listed["function"]["error"]
    assert listed["no-pick"]["error"] == "broken:NoPick has no pick"
    assert {entry["source"] for entry in listed.values()} == {"gridctl", "broken 1.0"}
    table = run("-m", "gridctl", "policies").stdout
    assert re.search(r"no-pick +cannot be used: broken:NoPick has no pick +broken 1.0", table)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("absent", "policy 'absent' of broken 1.0 cannot be used: nowhere:Nothing cannot be loaded"),
        ("no-pick", "policy 'no-pick' of broken 1.0 cannot be used: broken:NoPick has no pick"),
        ("unmakeable", "policy 'unmakeable' of broken 1.0 cannot be made: RuntimeError: not today"),
    ],
)
def test_a_balancer_with_a_broken_plugin_says_so(run: Run, tmp_path: Path, name: str, told: str) -> None:
    install(tmp_path, "broken", BROKEN, BROKEN_POINTS)
    served = run("-m", "gridctl", "serve", "balancer", "--policy", name, "--substations", "127.0.0.1:1", "--port", "0")
    assert served.returncode == 2
    assert told in served.stderr
