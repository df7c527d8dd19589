"""The supervisor's life, top to bottom: lock, clear, listen, serve, stop. Must not know how its process began."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
import setproctitle
from aiohttp import web

from config.errors import GridError, InUse, Invalid
from gridctl.declaration import Declaration
from gridctl.declared import checked
from gridctl.state import FREE_SPACE, ClusterPaths, no_folder
from gridctl.supervisor.api import ControlApi
from gridctl.supervisor.cluster import Cluster
from gridctl.supervisor.derating import remembered
from gridctl.supervisor.forking import Zygote
from gridctl.supervisor.health import Watcher
from gridctl.supervisor.journal import Journal
from gridctl.supervisor.leftovers import clear
from gridctl.supervisor.snapshot import Snapshots
from gridctl.supervisor.verbs import down
from gridctl.zygote import Newborn, redirect
from services.certificates import Trusting
from services.folders import make_folder
from services.logs import LogFile, set_up
from services.run import raise_file_limit

log = logging.getLogger("gridctl.supervisor")

#: Clients get their last lines within this time when the cluster is down (wall seconds).
LAST_WORDS_S = 2.0

#: `ls` and `ps` hold a lock for an instant to see whether it is free; only one held longer is a supervisor's.
LOCK_S = 0.25


def live(order: Mapping[str, Any], ready: int, attached: int, zygote: Newborn) -> int:
    """Run the supervisor of the cluster that the `order` names until it is told to go down; its exit code.

    `ready` is a descriptor that is told as one JSON line what was declared, checked, as soon as the supervisor answers; or
    the reason why it does not. On `attached` end of file means that the terminal is gone: go down; a word, that it let
    go. `zygote` was forked already. Nothing is written before the declaration is known to be right.
    """
    paths = ClusterPaths(Path(order["root"]), order["name"])
    setproctitle.setproctitle(f"gridctl: supervisor [{paths.name}]")
    try:
        topology = _checked(order["declaration"])
        _prepare(paths, zygote)
        raise_file_limit()  # it holds five for each service
        with _locked(paths):
            clear(paths)
            return asyncio.run(_live(paths, ready, attached, zygote, topology))
    except GridError as error:
        faults = [asdict(fault) for fault in error.faults] if isinstance(error, Invalid) else []
        why = {"exit_code": error.exit_code, "message": error.message, "hint": error.hint, "faults": faults}
        _say(ready, {"ok": False, **why})
        return error.exit_code
    except OSError as error:
        why = {"exit_code": 1, "message": f"cannot use {paths.folder}: {error}", "hint": FREE_SPACE}
        _say(ready, {"ok": False, **why})
        return 1


def _checked(declaration: Mapping[str, Any] | None) -> str:
    """What was declared, as JSON; Invalid, with every fault, where it is wrong."""
    return "" if declaration is None else checked(Declaration(**declaration), os.environ).model_dump_json()


def _prepare(paths: ClusterPaths, zygote: Newborn) -> None:
    """The cluster's folders, and the log, to which all goes from now on; GridError where they cannot be."""
    log_file = paths.log_file("supervisor")
    try:
        make_folder(paths.folder)  # journals come into it
        for folder in (paths.logs, paths.targets.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        redirect(log_file)
    except OSError as error:
        why = f"{error.filename} is a file" if isinstance(error, FileExistsError) else error.strerror
        raise no_folder(paths, str(why)) from error
    zygote.log_to(2)
    set_up("supervisor", "supervisor", LogFile(log_file))


@contextlib.contextmanager
def _locked(paths: ClusterPaths) -> Any:
    descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        give_up = time.monotonic() + LOCK_S
        while not _taken(descriptor):
            if time.monotonic() > give_up:
                raise InUse(f"cluster {paths.name!r} has a supervisor already", "see: gridctl ls")
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _say(descriptor: int, line: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        os.write(descriptor, json.dumps(line).encode() + b"\n")
        os.close(descriptor)


async def _live(paths: ClusterPaths, ready: int, attached: int, zygote: Newborn, topology: str) -> int:
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=0, ssl=Trusting())
    async with aiohttp.ClientSession(connector=connector) as session:
        watcher = Watcher(session)
        cluster = Cluster(paths, Journal(paths.events), Zygote(loop, first=zygote), watcher.watch, watcher.routable)
        watcher.follow(cluster)
        cluster.deratings = remembered(paths.deratings)
        api = ControlApi(cluster, Snapshots(cluster).take, watcher.look)
        runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=LAST_WORDS_S)
        await runner.setup()
        await _listen(runner, paths.control_socket)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, _go_down, cluster)
        _attach(loop, cluster, attached)
        engine = asyncio.create_task(cluster.run())
        _say(ready, {"ok": True, "topology": topology})
        ending = asyncio.create_task(cluster.finished.wait())
        await asyncio.wait({engine, ending}, return_when=asyncio.FIRST_COMPLETED)
        cluster.close()
        watcher.probes.close()
        cluster.journal.close()
        _forget(paths)
        await runner.cleanup()
        engine.cancel()
        ending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await engine
    return 0


async def _listen(runner: web.AppRunner, path: Path) -> None:
    _make_way(path)
    previous = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(path)).start()
    finally:
        os.umask(previous)


def _make_way(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


def _go_down(cluster: Cluster) -> None:
    async def _down() -> None:
        async for line in down(cluster, {}):
            if line.get("message"):
                log.info("%s", line["message"])

    if not cluster.stopping:
        task = asyncio.ensure_future(_down())
        task.add_done_callback(lambda _: cluster.finished.set())


def _attach(loop: asyncio.AbstractEventLoop, cluster: Cluster, descriptor: int) -> None:
    def ended() -> None:
        loop.remove_reader(descriptor)
        if not os.read(descriptor, 64):
            _go_down(cluster)

    os.set_blocking(descriptor, False)
    loop.add_reader(descriptor, ended)


def _forget(paths: ClusterPaths) -> None:
    """A cluster that went down in order leaves its logs and events, and nothing that looks alive."""
    for path in (paths.control_socket, paths.record, paths.roster, paths.targets, paths.deratings):
        path.unlink(missing_ok=True)
    if paths.control_socket.parent != paths.folder:
        shutil.rmtree(paths.control_socket.parent, ignore_errors=True)
