"""Who holds a port, in words, for an error's message. Must not know what the port is wanted for."""

from __future__ import annotations

import os

import psutil


def holder(port: int) -> str:
    """Who listens on TCP `port`, in words: program, PID and command line; or why that cannot be said."""
    try:
        found = [
            c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr[1] == port and c.status == "LISTEN"
        ]
    except (psutil.Error, OSError):
        found = []
    pid = next((number for number in found if number), None)
    if pid is None:
        return "another process (of another user, so its name cannot be read)"
    if pid == os.getpid():
        return "this cluster itself"
    return _describe(pid)


def _describe(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        name, command = process.name(), " ".join(process.cmdline())
    except psutil.Error:
        return f"process {pid}"
    shown = command if len(command) <= 80 else command[:79] + "…"
    return f"{name} (pid {pid}: {shown})"
