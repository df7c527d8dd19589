"""The zygote: imports everything once, then forks each service in milliseconds. Must not know the topology or any state.

It reads requests from the Unix socket whose descriptor is its only argument. A request is one JSON line with some
descriptors beside it (the listening socket, the lifeline, what workers have); the answer is one JSON line `{"id", "pid"}` or
`{"id", "error"}`. The service is double-forked, so that the supervisor, the nearest subreaper, becomes its parent: the
zygote may die without taking a service along.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import setproctitle

from config.settings import settings_from_json
from gridctl import __version__, kernel
from gridctl.serve.access import from_environment
from services.logs import LogFile
from services.run import needs, run
from services.sheet import Sheet
from services.worker import Worker

#: How long a new service waits to be adopted by the supervisor before it gives up.
ADOPTION_S = 5.0
MAX_REQUEST = 1 << 16


def main(argv: list[str]) -> None:
    """Serve fork requests on the socket numbered `argv[1]` until its other end closes."""
    gc.disable()
    supervisor = os.getppid()
    kernel.die_with_parent(signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    _serve(socket.socket(fileno=int(argv[1])), supervisor)


@dataclass(frozen=True, slots=True)
class Newborn:
    """A zygote and the link to it."""

    pid: int
    link: socket.socket


def branch_off(closing: Iterable[int]) -> Newborn:
    """Fork a zygote from this process, which has no threads; it gives up the descriptors `closing` and imports the rest."""
    ours, theirs = socket.socketpair()
    supervisor, pid = os.getpid(), os.fork()
    if pid == 0:
        ours.close()
        for descriptor in closing:
            os.close(descriptor)
        _begin(theirs, supervisor)
    theirs.close()
    return Newborn(pid, ours)


def _begin(link: socket.socket, supervisor: int) -> NoReturn:
    status = 1
    try:
        kernel.die_with_parent(signal.SIGKILL)
        if os.getppid() == supervisor:
            setproctitle.setproctitle("gridctl: zygote")
            _serve(link, supervisor)
        status = 0
    except BaseException:  # noqa: BLE001 - it must never return into the supervisor's beginning
        traceback.print_exc()
    finally:
        _flush()
        os._exit(status)


@dataclass(slots=True)
class _Imports:
    """The modules that are still to be imported."""

    waiting: list[str]

    def go_on_until_asked(self, link: socket.socket) -> None:
        """One after the other, for as long as nobody asks for a process."""
        while self.waiting and not select.select([link], [], [], 0)[0]:
            self.go_on(self.waiting[:1])

    def go_on(self, modules: Iterable[str]) -> None:
        """Import those of `modules` that still wait. What is there stays: no collection goes through it ever again."""
        for module in [name for name in modules if name in self.waiting]:
            importlib.import_module(module)
            self.waiting.remove(module)
            gc.freeze()


def _serve(link: socket.socket, supervisor: int) -> None:
    pending = b""
    descriptors: list[int] = []
    imports = _Imports(needs(os.environ))
    while True:
        imports.go_on_until_asked(link)
        data, received, _, _ = socket.recv_fds(link, MAX_REQUEST, 64)
        if not data:
            return
        pending += data
        descriptors += received
        while b"\n" in pending:
            line, pending = pending.split(b"\n", 1)
            request = json.loads(line)
            imports.go_on(needs(os.environ, request["role"]))
            given, descriptors = descriptors[: request["descriptors"]], descriptors[request["descriptors"] :]
            answer = _fork_twice(link, request, given, supervisor)
            for descriptor in given:
                os.close(descriptor)
            link.sendall(json.dumps({"id": request["id"], **answer}).encode() + b"\n")


def _fork_twice(link: socket.socket, request: dict[str, Any], given: Sequence[int], supervisor: int) -> dict[str, Any]:
    reader, writer = os.pipe()
    try:
        middle = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        return {"error": f"cannot fork: {error}"}
    if middle == 0:
        _middle(link, reader, writer, request, given, supervisor)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        word = pipe.read()
    os.waitpid(middle, 0)
    return {"pid": int(word)} if word else {"error": "cannot fork: the second fork failed"}


def _middle(
    link: socket.socket,
    reader: int,
    writer: int,
    request: dict[str, Any],
    given: Sequence[int],
    supervisor: int,
) -> NoReturn:
    os.close(reader)
    try:
        child = os.fork()
    except OSError:
        os._exit(1)
    if child:
        os.write(writer, str(child).encode())
        os._exit(0)
    os.close(writer)
    link.close()
    _become_service(request, given, supervisor)


def _become_service(request: dict[str, Any], given: Sequence[int], supervisor: int) -> NoReturn:
    status = 1
    gc.enable()
    try:
        _redirect(Path(request["log_file"]))
        _await_adoption(supervisor)
        os.setpgid(0, 0)
        if request.get("command"):
            _become_program(request["command"], Path(request["log_file"]), given)
        os.environ["GRIDCTL_LOG_FILE"] = request["log_file"]
        _set_title(request)
        settings = settings_from_json(request["role"], request["settings"])
        worker = None if request["worker"] is None else _worker(request["worker"], *given[2:])
        with socket.socket(fileno=given[0]) as sock, socket.socket(fileno=given[1]) as line:
            access = from_environment(os.environ)
            status = run(request["role"], settings, sock, line, access, worker=worker, version=__version__)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - a forked child must never return into the zygote's loop
        traceback.print_exc()
    finally:
        _flush()
        os._exit(status)


def _worker(number: int, own: int, sheet: int) -> Worker:
    memory = Sheet(sheet)
    os.close(sheet)
    return Worker(number, memory, socket.socket(fileno=own))


def _become_program(command: dict[str, Any], log_file: Path, ours: Sequence[int]) -> NoReturn:
    """Somebody else's program in place of a service. It rotates no log, so that is done before; it ends with the
    supervisor all the same, since an `exec` keeps what was asked of the kernel."""
    LogFile(log_file).rotate_if_large()
    for descriptor in ours:
        os.close(descriptor)
    os.execve(command["argv"][0], command["argv"], {**os.environ, **command["environment"]})  # noqa: S606 - no shell


def _redirect(log_file: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        log = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError:
        log = os.open(os.devnull, os.O_WRONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    os.close(null)
    os.close(log)


def _await_adoption(supervisor: int) -> None:
    """Until the middle process is gone and the supervisor is the parent; only then does PDEATHSIG speak of it."""
    give_up = time.monotonic() + ADOPTION_S
    while os.getppid() != supervisor:
        if time.monotonic() > give_up:
            raise ProcessLookupError("not adopted: the supervisor is gone")
        time.sleep(0.0002)
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != supervisor:
        raise ProcessLookupError("the supervisor is gone")


def _set_title(request: dict[str, Any]) -> None:
    setproctitle.setproctitle(f"gridctl: {request['name']} [{request['cluster']}]")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue


if __name__ == "__main__":
    main(sys.argv)
