"""Starts a cluster's supervisor and waits until it answers; must not know what it will run."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from config import otel
from config.errors import GridError, InUse, NotRunning
from gridctl.clusters import END_S, running
from gridctl.control import Control
from gridctl.kernel import LINUX
from gridctl.state import ClusterPaths
from gridctl.unborn import Unborn

#: A supervisor answers within a second; on a machine that swaps it may take this long (wall seconds).
READY_S = 30.0
#: How often a cluster that is stopping is asked whether it has (wall seconds).
SETTLE_S = 0.05

_BY_CODE = {InUse.exit_code: InUse}


@dataclass(slots=True)
class Supervisor:
    """A supervisor that was started here; it goes down when this process ends, however it ends, until it is let go."""

    pid: int
    leash: int | None

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


def launch(paths: ClusterPaths, unborn: Unborn | None = None) -> Supervisor:
    """Make `unborn`, or an interpreter that is started now, the supervisor of the cluster at `paths`; wait until it answers.

    Raises InUse when the cluster has one already, GridError when its folder cannot be written, it does not answer, or
    this system has no subreaper; Invalid when the environment has a setting that its services could not start with.
    """
    if not LINUX:
        hint = "run single services with `gridctl serve`, or the grid in a Linux machine"
        raise GridError("a whole grid needs Linux: its supervisor is the subreaper of what it forks", hint)
    try:
        demand(os.environ)
        _prepare(paths)
        unborn = unborn or Unborn()
        with contextlib.suppress(BrokenPipeError):  # it is gone: there will be no word from it
            unborn.go(str(paths.root), paths.name)
        _await_word(unborn.ready, unborn.process, paths)
    except BaseException:
        if unborn is not None:
            unborn.drop()  # also when Ctrl-C came: it runs nothing yet
        raise
    unborn.let_go()
    os.close(unborn.ready)
    return Supervisor(unborn.process.pid, unborn.leash)


def demand(environ: Mapping[str, str]) -> None:
    """Invalid where `environ` has a setting with which services of a cluster would not start; they read it themselves."""
    from gridctl.serve.access import from_environment  # noqa: PLC0415  pydantic, only to start something

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


def _prepare(paths: ClusterPaths) -> None:
    """The cluster's folders, and that its supervisor can write its log."""
    try:
        for folder in (paths.root, paths.folder, paths.logs, paths.targets.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(paths.logs / "supervisor.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    except OSError as error:
        hint = "free some space, or set GRIDCTL_STATE_DIR to a folder that can be written"
        why = f"{error.filename} is a file" if isinstance(error, FileExistsError) else error.strerror
        raise GridError(f"cannot keep state in {paths.folder}: {why}", hint) from error


def _await_word(ready: int, process: subprocess.Popen[bytes], paths: ClusterPaths) -> None:
    readable, _, _ = select.select([ready], [], [], READY_S)
    line = os.read(ready, 1 << 16) if readable else b""
    if not line:
        why = "ended" if readable else f"did not answer within {READY_S:g} s"
        if not readable:
            process.kill()
        raise GridError(f"the supervisor {why} before it was ready", f"see its log: {paths.logs / 'supervisor.log'}")
    word = json.loads(line)
    if not word["ok"]:
        process.wait()
        raise _BY_CODE.get(word["exit_code"], GridError)(word["message"], word["hint"])
