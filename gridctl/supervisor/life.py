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
from pathlib import Path
from typing import Any

import aiohttp
import setproctitle
from aiohttp import web

from config.errors import GridError, InUse
from gridctl.state import ClusterPaths
from gridctl.supervisor.api import ControlApi
from gridctl.supervisor.cluster import Cluster
from gridctl.supervisor.derating import remembered
from gridctl.supervisor.forking import Zygote
from gridctl.supervisor.health import Watcher
from gridctl.supervisor.journal import Journal
from gridctl.supervisor.leftovers import clear
from gridctl.supervisor.snapshot import Snapshots
from gridctl.supervisor.verbs import down
from gridctl.zygote import Newborn
from services.certificates import Trusting
from services.logs import LogFile, set_up
from services.run import raise_file_limit

log = logging.getLogger("gridctl.supervisor")

#: Clients get their last lines within this time when the cluster is down (wall seconds).
LAST_WORDS_S = 2.0

#: `ls` and `ps` hold a lock for an instant to see whether it is free; only one held longer is a supervisor's.
LOCK_S = 0.25


def live(paths: ClusterPaths, ready: int, attached: int, zygote: Newborn) -> int:
    """Run the supervisor of the cluster at `paths` until it is told to go down; its exit code.

    `ready` is a descriptor that is told 'ready' or the reason why not, as one JSON line. On `attached` end of file means
    that the terminal is gone: go down; a word, that it let go. `zygote` was forked already.
    """
    set_up("supervisor", "supervisor", LogFile(paths.logs / "supervisor.log"))
    setproctitle.setproctitle(f"gridctl: supervisor [{paths.name}]")
    raise_file_limit()  # it holds four for each service
    try:
        with _locked(paths):
            clear(paths)
            return asyncio.run(_live(paths, ready, attached, zygote))
    except GridError as error:
        _say(ready, {"ok": False, "exit_code": error.exit_code, "message": error.message, "hint": error.hint})
        return error.exit_code
    except OSError as error:
        hint = "free some space, or set GRIDCTL_STATE_DIR to a folder that can be written"
        _say(ready, {"ok": False, "exit_code": 1, "message": f"cannot use {paths.folder}: {error}", "hint": hint})
        return 1


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


async def _live(paths: ClusterPaths, ready: int, attached: int, zygote: Newborn) -> int:
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
        _say(ready, {"ok": True})
        ending = asyncio.create_task(cluster.finished.wait())
        await asyncio.wait({engine, ending}, return_when=asyncio.FIRST_COMPLETED)
        cluster.close()
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
