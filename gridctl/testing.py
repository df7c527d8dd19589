"""A real grid for tests: real processes and real HTTP, on free ports, in a folder of its own that is gone afterwards.

Must not know how anything is started: it types what a user would type.

    from gridctl.testing import running_cluster

    with running_cluster(substations=3) as grid:
        status, answer = grid.charge("EV1")
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from config.errors import GridError, NotReady
from config.lookup import cluster_name

#: No verb of a healthy grid takes longer, not even a start with coverage on a busy machine (wall seconds).
VERB_TIMEOUT_S = 120.0
#: `down` waits for requests to end; after this long its processes are killed instead (wall seconds).
DOWN_TIMEOUT_S = 60.0
#: How long a process may take to be gone once it was told to (wall seconds).
KILL_S = 5.0
POLL_S = 0.05

Topology = str | os.PathLike[str] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Grid:
    """A running cluster. `url` is its charge-request service, `state_dir` holds its state and `environment` its settings."""

    name: str
    url: str
    state_dir: Path
    environment: Mapping[str, str]
    supervisor_pid: int

    def run(self, *arguments: str, timeout_s: float = VERB_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """Type `gridctl ARGUMENTS…` at this cluster and return what it answered; no exit code raises.

        Every verb finds this cluster by its environment; `subprocess.TimeoutExpired` after `timeout_s` wall seconds.
        """
        return _gridctl(self.environment, *arguments, timeout_s=timeout_s)

    def charge(self, ev_id: str = "EV1", **fields: Any) -> tuple[int, dict[str, Any]]:
        """Ask for a charge: the HTTP status and the JSON body. `fields` go into the request as they are."""
        return self.request("POST", "/charge", {"ev_id": ev_id, **fields})

    def request(self, method: str, path: str, body: Any = None, process: str | None = None) -> tuple[int, Any]:
        """One HTTP request with a JSON body to the request service, or to `process`: the status and the parsed answer.

        An answer that is not JSON comes back as text. OSError or `http.client.HTTPException` where nothing answers.
        """
        address = urlsplit(self.process(process)["url"] if process else self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=VERB_TIMEOUT_S)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"} if content else {})
            answer = connection.getresponse()
            return answer.status, _parsed(answer.read().decode())
        finally:
            connection.close()

    def ps(self) -> list[dict[str, Any]]:
        """What `gridctl ps --json` says: one dict a process."""
        return list(self._json("ps", "--json"))

    def top(self) -> dict[str, Any]:
        """What `gridctl top --once --json` says: `grid` and `substations`."""
        return dict(self._json("top", "--once", "--json"))

    def process(self, name: str) -> dict[str, Any]:
        """The row of `ps` of one process; LookupError where there is none of that name."""
        rows = self.ps()
        for row in rows:
            if row["name"] == name:
                return row
        raise LookupError(f"no process {name!r}; there are {', '.join(row['name'] for row in rows)}")

    def wait_until(self, predicate: Callable[[Grid], object], within_s: float = 30.0) -> None:
        """Ask `predicate(grid)` until it holds; TimeoutError with the state of all processes after `within_s` wall seconds.

        An expected error inside the predicate (a service that is down just now) counts as "not yet".
        """
        end = time.monotonic() + within_s
        failure = ""
        while True:
            try:
                if predicate(self):
                    return
            except (OSError, http.client.HTTPException, LookupError, GridError) as error:
                failure = f"; the last attempt failed: {error!r}"
            if time.monotonic() >= end:
                raise TimeoutError(f"not so within {within_s} s{failure}\n{self.run('ps').stdout}")
            time.sleep(POLL_S)

    def _json(self, *arguments: str) -> Any:
        done = self.run(*arguments)
        if done.returncode:
            raise GridError(f"gridctl {' '.join(arguments)}: exit {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)


@contextmanager
def running_cluster(
    substations: int | None = None,
    *,
    time_scale: float | None = None,
    topology: Topology | None = None,
    name: str | None = None,
    env: Mapping[str, str | None] | None = None,
) -> Iterator[Grid]:
    """A whole grid, ready when the block begins and gone when it ends, also if it ends by an exception.

    Without `topology` (a YAML file's path, or the same keys as a dict) it is the built-in one: three substations of ten
    sessions, 30 grid seconds each. `substations` and `time_scale` (grid seconds per wall second) override it. `env` adds
    to the environment of all processes, None removes. Default ports are used where they are free, else others.
    Raises `config.errors.NotReady`, with what `gridctl up` said, when the grid does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="grid-") as folder:
        root = Path(folder)
        file = _topology_file(root, topology)
        chosen = cluster_name(name, {}, file)
        environment = _environment(root / "state", chosen, env or {})
        try:
            overrides = _overrides(substations, time_scale)
            yield _up(root / "state", chosen, environment, ["--file", str(file), *overrides])
        finally:
            _down(root / "state", chosen, environment)


def _topology_file(folder: Path, topology: Topology | None) -> Path:
    """The file to start from; one is always named, so that none of the user's own is found."""
    if topology is not None and not isinstance(topology, Mapping):
        return Path(topology).absolute()
    file = folder / "gridctl.yaml"
    file.write_text(json.dumps({"name": "grid", **(topology or {})}))  # JSON is YAML
    return file


def _overrides(substations: int | None, time_scale: float | None) -> list[str]:
    flags = {"--substations": substations, "--time-scale": time_scale}
    return [text for flag, value in flags.items() if value is not None for text in (flag, str(value))]


def _environment(state: Path, name: str, extra: Mapping[str, str | None]) -> dict[str, str]:
    plain = {key: value for key, value in os.environ.items() if key not in {"GRIDCTL_FILE"}}
    # SPT_NOENV: setproctitle leaves the environment readable, by which `_lives_in` knows what is ours
    plain |= {"GRIDCTL_STATE_DIR": str(state), "GRIDCTL_NAME": name, "SPT_NOENV": "1"}
    wanted = {**plain, **extra}
    return {key: value for key, value in wanted.items() if value is not None}


def _gridctl(
    environment: Mapping[str, str], *arguments: str, timeout_s: float = VERB_TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "gridctl", *arguments]
    return subprocess.run(  # noqa: S603 - our own interpreter and our own program
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def _up(state: Path, name: str, environment: Mapping[str, str], arguments: list[str]) -> Grid:
    done = _gridctl(environment, "up", "--detach", "--name", name, *arguments)
    if done.returncode:
        raise NotReady(f"gridctl up: exit {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    rows = json.loads(_gridctl(environment, "ps", "--json").stdout)
    clusters = json.loads(_gridctl(environment, "ls", "--json").stdout)
    url = next(row["url"] for row in rows if row["role"] == "charge-request")
    return Grid(name, url, state, environment, next(row["supervisor_pid"] for row in clusters if row["name"] == name))


def _down(state: Path, name: str, environment: Mapping[str, str]) -> None:
    """Stop what runs; what does not stop is killed, so that nothing outlives the block."""
    watched = [process for process in psutil.process_iter() if _lives_in(process, state)]
    patience_s = KILL_S
    try:
        _gridctl(environment, "down", "--name", name, timeout_s=DOWN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        patience_s = 0.0
    for process in _still_alive(watched, patience_s):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _still_alive(watched, KILL_S)


def _lives_in(process: psutil.Process, state: Path) -> bool:
    try:
        return process.environ().get("GRIDCTL_STATE_DIR") == str(state) and process.pid != os.getpid()
    except psutil.Error:
        return False


def _still_alive(processes: list[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Those that have not ended after `within_s`. A zombie has: in a container there may be nobody to reap it."""
    end = time.monotonic() + within_s
    while (alive := [process for process in processes if not _has_ended(process)]) and time.monotonic() < end:
        time.sleep(POLL_S)
    return alive


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
