"""Finds what a test left behind: processes, also detached ones, and listening sockets. Must not know what gridctl is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Set in the environment of everything this session starts, so that a daemon is recognised after it left the process tree.
MARK = "GRIDCTL_TEST_SESSION"
#: What is ending gets this long to be gone (wall seconds).
GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class Before:
    """What there was when a test began: process ids of the whole machine, and our own listening ports."""

    pids: frozenset[int]
    ports: frozenset[int]


def snapshot() -> Before:
    """What there is now."""
    return Before(frozenset(psutil.pids()), own_ports())


def own_ports() -> frozenset[int]:
    """The TCP ports on which this very process listens."""
    connections = psutil.Process().net_connections("tcp")
    return frozenset(c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN)


def left_processes(
    before: Before, session: str, folders: Iterable[Path], grace_s: float = GRACE_S
) -> list[psutil.Process]:
    """Living processes that appeared since `before` and belong to this session.

    They do when they descend from us, carry our mark, or have a file below one of `folders` open. A zombie that nobody
    reaped yet is gone already: it holds no port, no file and no memory.
    """
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    roots = tuple(str(folder) for folder in folders)
    new = [pid for pid in psutil.pids() if pid not in before.pids and pid != os.getpid()]
    found = [process for pid in new if (process := _belongs(pid, children, session, roots))]
    _, alive = psutil.wait_procs(found, timeout=grace_s)
    return [process for process in alive if not _is_gone(process)]


def _belongs(pid: int, children: set[int], session: str, roots: tuple[str, ...]) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        ours = pid in children or process.environ().get(MARK) == session
        ours = ours or any(file.path.startswith(roots) for file in process.open_files())
        return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def describe_and_kill(processes: Iterable[psutil.Process]) -> list[str]:
    """One line a process (pid, command, ports it listens on); each is killed, so that the next test starts clean."""
    lines = []
    for process in processes:
        try:
            listening = [c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
            command = " ".join(process.cmdline()) or process.name()
            lines.append(f"process {process.pid} ({command}), listening on {listening or 'nothing'}")
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return lines
