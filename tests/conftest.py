"""What holds for every test: a private environment, nothing left behind, and no silent skip where CI says so.

The one use of monkeypatch in this house is `environment` below: state, home and XDG folders of a test are its own, for the
test itself and for every process that it starts. Everything else is passed in as an argument.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import leaks

# how long one example takes, or to draw it (the first text needs a table of all characters), says how busy the machine is
hypothesis.settings.register_profile("gridctl", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("gridctl")

ROOT = Path(__file__).resolve().parent.parent
#: Recorded sessions of real chargers and the like; not part of this repository.
SHARED = ROOT.parent / "shared"
NO_SKIPS = bool(os.environ.get("GRIDCTL_NO_SKIPS"))
ALLOWED_SKIP = "no ../shared"
OURS = {leaks.MARK, "GRIDCTL_NO_SKIPS"}
#: What a developer's shell may hold and what would change an answer.
FOREIGN = {
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "LINES",
    "SUBSTATIONS",
    "MAX_SESSIONS",
    "CAPACITY_KW",
}
SESSION = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session", autouse=True)
def _two_cores() -> Iterator[None]:
    """A grid has the same processes on every machine: how many workers it has by default depends on the cores."""
    if not hasattr(os, "sched_getaffinity"):
        yield
        return
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:2])
    yield
    os.sched_setaffinity(0, every)


@pytest.fixture(scope="session", autouse=True)
def _session_mark() -> Iterator[None]:
    before = _outside()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(leaks.MARK, SESSION)
        yield
    left = _outside() - before
    assert not left, f"tests wrote outside their folders: {sorted(map(str, left))}"


def _outside() -> set[Path]:
    """Where something forgetful would write: the real home's and configuration's `gridctl` folders, and the checkout."""
    homes = [Path.home() / ".local/state/gridctl", Path.home() / ".config/gridctl", Path.home() / ".cache/gridctl"]
    caches = {
        ".pytest_cache",
        ".hypothesis",
        ".schemathesis",
        ".mypy_cache",
        ".ruff_cache",
        ".import_linter_cache",
        "__pycache__",
    }
    checkout = {p for p in ROOT.iterdir() if p.name not in caches and not p.name.startswith(".coverage")}
    return checkout | {home for home in homes if home.exists()}


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment of this test and of what it starts, as a dict for `subprocess`; afterwards nothing may be left.

    State, home and XDG folders lie below `tmp_path`. The runtime folder has a short path of its own: a Unix socket's
    is limited to about 100 bytes. What would change the answers (GRIDCTL_*, colours, width, services' settings) is unset.
    """
    before = leaks.snapshot()
    runtime = Path(tempfile.mkdtemp(prefix="rt-"))
    for name in [name for name in os.environ if name in FOREIGN or (name.startswith("GRIDCTL_") and name not in OURS)]:
        monkeypatch.delenv(name)
    for name, value in _own(tmp_path, runtime).items():
        monkeypatch.setenv(name, value)
    yield dict(os.environ)
    alive = leaks.left_processes(before, SESSION, [tmp_path, runtime])
    left = leaks.describe_and_kill(alive) + [f"our own port {port}" for port in leaks.own_ports() - before.ports]
    shutil.rmtree(runtime, ignore_errors=True)
    assert not left, "left behind by this test:\n" + "\n".join(left)


def _own(tmp_path: Path, runtime: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    return {
        "HOME": str(home),
        "GRIDCTL_STATE_DIR": str(tmp_path / "state"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_RUNTIME_DIR": str(runtime),
        "SPT_NOENV": "1",  # setproctitle leaves the environment readable: the leak guard looks for its mark there
    }


@pytest.fixture
def unmeasured(environment: dict[str, str]) -> dict[str, str]:
    """The same environment without coverage in subprocesses: for tests that measure time or memory."""
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded charging sessions beside this checkout; skips where there is none."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"{ALLOWED_SKIP}/data beside this checkout")
    return SHARED / "data"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a program that this machine lacks, and say which."""
    needed = [program for mark in item.iter_markers("needs") for program in mark.args]
    if missing := [program for program in needed if shutil.which(program) is None]:
        pytest.skip(f"no {', '.join(missing)} on this machine: `make test-deps` installs it")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where GRIDCTL_NO_SKIPS is set (CI), a skipped test is a failed one."""
    report = yield
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a file that skips as a whole."""
    report = yield
    if NO_SKIPS and report.skipped:
        _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = (
        report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
    )
    if not reason.startswith(ALLOWED_SKIP):
        report.outcome = "failed"
        report.longrepr = f"skipped, but GRIDCTL_NO_SKIPS is set: {reason}"
