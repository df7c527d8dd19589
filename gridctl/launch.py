"""Starts a cluster's supervisor and waits until it answers; must not know what it will run."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from config import otel
from config.errors import Fault, GridError, InUse, Invalid, NotRunning
from config.variables import ALLOWED_HOSTS_VARIABLE
from gridctl.clusters import END_S, running
from gridctl.control import Control
from gridctl.declaration import Declaration
from gridctl.kernel import LINUX
from gridctl.state import ClusterPaths, no_folder
from gridctl.unborn import Unborn

#: A supervisor answers within a second; on a machine that swaps it may take this long (wall seconds).
READY_S = 30.0
#: How often a cluster that is stopping is asked whether it has (wall seconds).
SETTLE_S = 0.05

_BY_CODE = {InUse.exit_code: InUse}


@dataclass(slots=True)
class Supervisor:
    """A supervisor that was started here; it goes down when this process ends, however it ends, until it is let go.

    `topology` is what it was given, checked and with all overrides in, as JSON; empty where it was given none.
    """

    pid: int
    leash: int | None
    topology: str = ""

    def let_go(self) -> None:
        """From now on it is on its own."""
        if self.leash is not None:
            with contextlib.suppress(BrokenPipeError):  # it is gone
                os.write(self.leash, b"let go\n")
            self._drop()

    def kill(self) -> None:
        """End it at once, and with it all its processes. It is our child, not yet waited for: the PID is its own."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._drop()

    def _drop(self) -> None:
        if self.leash is not None:
            os.close(self.leash)
            self.leash = None


def launch(paths: ClusterPaths, unborn: Unborn | None = None, declaration: Declaration | None = None) -> Supervisor:
    """Make `unborn`, or an interpreter that is started now, the supervisor of the cluster at `paths`; wait until it answers.

    Raises Invalid, with every fault, when the `declaration` is wrong or the environment has a setting that its services
    could not start with; nothing was written then. InUse when the cluster has a supervisor already, GridError when its
    folder cannot be written, it does not answer, or this system has no subreaper.
    """
    if not LINUX:
        hint = "run single services with `gridctl serve`, or the grid in a Linux machine"
        raise GridError("a whole grid needs Linux: its supervisor is the subreaper of what it forks", hint)
    try:
        demand(os.environ)
        _demand_folder(paths)
        unborn = unborn or Unborn()
        given = None if declaration is None else asdict(declaration)
        with contextlib.suppress(BrokenPipeError):  # it is gone: there will be no word from it
            unborn.go({"root": str(paths.root), "name": paths.name, "declaration": given})
        topology = _await_word(unborn.ready, unborn.process, paths)
    except BaseException:
        if unborn is not None:
            unborn.drop()  # also when Ctrl-C came: it runs nothing yet
        raise
    unborn.let_go()
    os.close(unborn.ready)
    return Supervisor(unborn.process.pid, unborn.leash, topology)


def demand(environ: Mapping[str, str]) -> None:
    """Invalid where `environ` has a setting with which services of a cluster would not start; they read it themselves."""
    if environ.get(ALLOWED_HOSTS_VARIABLE):
        from gridctl.serve.access import from_environment  # noqa: PLC0415  only where there is something to read

        from_environment(environ)
    otel.demand(environ)
    if otel.is_wanted(environ):
        from services.run import tracer  # noqa: PLC0415  what sends spans is slow to import

        with _quiet("opentelemetry"):  # what it only warns of, each service says in its log
            tracer("", "", environ).close()


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def settled(control: Control, paths: ClusterPaths, show: Callable[[dict[str, Any]], None]) -> bool:
    """Whether the cluster runs, once it is neither going down nor stopping a process; `show` is told of the wait.

    GridError when there is a supervisor and it does not answer.
    """
    failing_since: float | None = None
    while running(paths):
        try:
            if control.snapshot(usage=False)["cluster"]["state"] != "STOPPING":
                return True
            failing_since = None
        except NotRunning:
            return False
        except GridError:  # in its last moments it holds its lock, and no socket any more
            failing_since = failing_since or time.monotonic()
            if time.monotonic() - failing_since > END_S or paths.control_socket.exists():
                raise
        show({"message": f"{paths.name} is still stopping; waiting for that", "waiting": [paths.name]})
        time.sleep(SETTLE_S)
    return False


def _demand_folder(paths: ClusterPaths) -> None:
    """GridError where the cluster's folder cannot be written, as far as that is known before it is."""
    above = (paths.folder, *paths.folder.parents)
    nearest = next(folder for folder in above if os.path.exists(folder))  # noqa: PTH110 - `exists` raises where it may not look
    if not nearest.is_dir():
        raise no_folder(paths, f"{nearest} is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise no_folder(paths, os.strerror(errno.EACCES))


def _await_word(ready: int, process: subprocess.Popen[bytes], paths: ClusterPaths) -> str:
    """The topology that it was given, once it answers."""
    readable, _, _ = select.select([ready], [], [], READY_S)
    line = b""
    while readable and not line.endswith(b"\n") and (more := os.read(ready, 1 << 16)):
        line += more
    if not line.endswith(b"\n"):
        why = "ended" if readable else f"did not answer within {READY_S:g} s"
        if not readable:
            process.kill()
        raise GridError(f"the supervisor {why} before it was ready", f"see its log: {paths.logs / 'supervisor.log'}")
    word = json.loads(line)
    if not word["ok"]:
        process.wait()
        raise _refusal(word)
    return str(word["topology"])


def _refusal(word: dict[str, Any]) -> GridError:
    if word["exit_code"] == Invalid.exit_code:
        return Invalid(word["message"], word["hint"], [Fault(**fault) for fault in word["faults"]])
    return _BY_CODE.get(word["exit_code"], GridError)(word["message"], word["hint"])
