"""Starts a cluster's supervisor and waits until it answers; must not know what it will run."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass

from config.errors import GridError, InUse
from gridctl.clusters import running
from gridctl.state import ClusterPaths

#: A supervisor answers within a second; on a machine that swaps it may take this long (wall seconds).
READY_S = 30.0
#: What a supervisor needs at most from its last word to its end (wall seconds).
END_S = 5.0

_BY_CODE = {InUse.exit_code: InUse}


@dataclass(frozen=True, slots=True)
class Supervisor:
    """A supervisor that was started here. While `leash` is open it lives; None: it is on its own."""

    pid: int
    leash: int | None


def launch(paths: ClusterPaths, attached: bool) -> Supervisor:
    """Start the supervisor of the cluster at `paths` in a session of its own.

    With `attached` it goes down when this process ends, however it ends. Raises InUse when the cluster has one already,
    GridError when its folder cannot be written or it does not answer.
    """
    log = _folder(paths)
    ready, told = os.pipe()
    held, leash = os.pipe() if attached else (None, None)
    passed = [told] if held is None else [told, held]
    command = [sys.executable, "-P", "-m", "gridctl.supervisor", "--root", str(paths.root), "--name", paths.name]
    command += ["--ready-fd", str(told)] + ([] if held is None else ["--attached-fd", str(held)])
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, pass_fds=passed, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
        )
    finally:
        for descriptor in [*passed, log]:
            os.close(descriptor)
    try:
        _await_word(ready, process, paths)
    finally:
        os.close(ready)
    process.returncode = 0  # it outlives this process: not Popen's to wait for
    return Supervisor(process.pid, leash)


def await_end(paths: ClusterPaths) -> None:
    """Return once the supervisor of a cluster that went down is gone, and with it its lock and sockets."""
    give_up = time.monotonic() + END_S
    while running(paths) and time.monotonic() < give_up:
        time.sleep(0.005)


def _folder(paths: ClusterPaths) -> int:
    try:
        for folder in (paths.root, paths.folder, paths.logs, paths.targets.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(paths.logs / "supervisor.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        hint = "free some space, or set GRIDCTL_STATE_DIR to a folder that can be written"
        raise GridError(f"cannot keep state in {paths.folder}: {error.strerror}", hint) from error


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
