"""The zygote: imports everything once, then forks each service in milliseconds. Must not know the topology or any state.

It reads requests from the Unix socket whose descriptor is its only argument. A request is one JSON line with some
descriptors beside it (the listening socket, the lifeline, what workers have); the answer is one JSON line `{"id", "pid"}` or
`{"id", "error"}`. `{"do": "log"}` brings the descriptor of its own log, and is not answered. The service is double-forked,
so that the supervisor, the nearest subreaper, becomes its parent: the zygote may die without taking a service along.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import setproctitle

from config import otel
from config.access import LOCAL
from config.names import SUBSTATION
from config.settings import settings_from_json
from gridctl import __version__, brood, kernel
from gridctl.serve.access import from_environment
from services.logs import LogFile
from services.run import LOG_FILE_VARIABLE, Prepared, live, needs, prepare
from services.sheet import Sheet
from services.worker import Worker

MAX_REQUEST = 1 << 16
#: So many processes are forked together.
MOST_AT_ONCE = 16
#: From so many on it is worth the time to rehearse a service first.
CROWD = 12

Birth = tuple[dict[str, Any], list[int]]


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

    def log_to(self, descriptor: int) -> None:
        """What it has to say itself goes there from now on, where it lives yet."""
        with contextlib.suppress(OSError):
            socket.send_fds(self.link, [b'{"do": "log"}\n'], [descriptor])


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
    rehearsed: bool = False

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

    def rehearse(self) -> None:
        """Do once what every new service does first: what Python writes to meanwhile stays shared by all that follow."""
        self.go_on(["services.rehearsal", *self.waiting])
        try:
            importlib.import_module("services.rehearsal").rehearse()
        except Exception:  # noqa: BLE001 - it saves memory, no more
            traceback.print_exc()
        gc.collect()
        gc.freeze()
        self.rehearsed = True


def _serve(link: socket.socket, supervisor: int) -> None:
    imports = _Imports(needs(os.environ))
    born = 0
    while True:
        imports.go_on_until_asked(link)
        births = _births(link)
        if births is None:
            return
        if not births:
            continue
        for request, _ in births:
            imports.go_on(needs(os.environ, request["role"]))
        if born < CROWD <= born + len(births):
            imports.rehearse()
        born += len(births)
        pids = brood.fork([partial(_prepare, birth, births, link, imports.rehearsed) for birth in births], supervisor)
        for (request, given), pid in zip(births, pids, strict=True):
            for descriptor in given:
                os.close(descriptor)
            answer = {"pid": pid} if pid else {"error": "cannot fork"}
            link.sendall(json.dumps({"id": request["id"], **answer}).encode() + b"\n")


def _births(link: socket.socket) -> list[Birth] | None:
    """All that is asked for now, after a wait for the first; None where nobody will ask any more."""
    births: list[Birth] = []
    while not births or (len(births) < MOST_AT_ONCE and select.select([link], [], [], 0)[0]):
        birth = _birth(link)
        if birth is None:
            return births or None
        if "do" in birth[0]:
            _log_to(*birth[1])
            break
        births.append(birth)
    return births


def _log_to(descriptor: int) -> None:
    for target in (1, 2):
        os.dup2(descriptor, target)
    os.close(descriptor)


def _birth(link: socket.socket) -> Birth | None:
    """One request and its descriptors; the kernel never gives two that came with descriptors at once."""
    line, given = b"", list[int]()
    while not line.endswith(b"\n"):
        data, received, _, _ = socket.recv_fds(link, MAX_REQUEST, 64)
        if not data:
            return None
        line += data
        given += received
    return json.loads(line), given


def _prepare(birth: Birth, births: Sequence[Birth], link: socket.socket, in_a_crowd: bool) -> brood.Become:
    """What one of `births` becomes; of a crowd, what a substation can do before its fork is done here."""
    request, given = birth
    others = [descriptor for each, theirs in births if each is not request for descriptor in theirs]
    prepared = _prepared(request) if in_a_crowd and request["role"] == SUBSTATION else None
    gc.freeze()
    return partial(_become, request, given, [link.fileno(), *others], prepared)


def _prepared(request: dict[str, Any]) -> Prepared | None:
    """The service, up to where it needs a process of its own; None where it must do all there, and say what went wrong."""
    if otel.is_wanted(os.environ) or request["settings"].get("journal_dir"):
        return None  # what sends spans has threads; a journal is locked by a process
    try:
        os.environ[LOG_FILE_VARIABLE] = request["log_file"]
        settings = settings_from_json(request["role"], request["settings"])
        return prepare(request["role"], settings, from_environment(os.environ), version=__version__)
    except Exception:  # noqa: BLE001 - it is raised again where there is a log
        return None


def _become(
    request: dict[str, Any],
    given: Sequence[int],
    others: Iterable[int],
    prepared: Prepared | None,
    await_adoption: Callable[[], None],
) -> NoReturn:
    for descriptor in others:
        os.close(descriptor)
    _become_service(request, given, prepared, await_adoption)


def _become_service(
    request: dict[str, Any], given: Sequence[int], prepared: Prepared | None, await_adoption: Callable[[], None]
) -> NoReturn:
    status = 1
    gc.enable()
    try:
        _redirect(Path(request["log_file"]))
        await_adoption()
        os.setpgid(0, 0)
        if request.get("command"):
            _become_program(request["command"], Path(request["log_file"]), given)
        _set_title(request)
        status = _run(request, given, prepared)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - a forked child must never return into the zygote's loop
        traceback.print_exc()
    finally:
        _flush()
        os._exit(status)


def _run(request: dict[str, Any], given: Sequence[int], prepared: Prepared | None) -> int:
    access = LOCAL
    if prepared is None:
        os.environ[LOG_FILE_VARIABLE] = request["log_file"]
        access = from_environment(os.environ)
        settings = settings_from_json(request["role"], request["settings"])
        worker = None if request["worker"] is None else _worker(request["worker"], *given[2:])
        prepared = prepare(request["role"], settings, access, worker, __version__)
    with socket.socket(fileno=given[0]) as sock, socket.socket(fileno=given[1]) as line:
        return live(prepared, sock, line, access)


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
    """Without a log where there can be none."""
    try:
        redirect(log_file)
    except OSError:
        redirect(Path(os.devnull))


def redirect(log_file: Path) -> None:
    """What this process writes goes to `log_file`, and it reads nothing; OSError where that cannot be opened."""
    log = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    os.close(null)
    os.close(log)


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
