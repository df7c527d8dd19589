"""Tells whether a PID is still the process it was: PID and start time, within one boot. Must not know what it is for."""

from __future__ import annotations

from pathlib import Path

from gridctl.kernel import LINUX


def identify(pid: int) -> str | None:
    """Boot id and start time of process `pid`, as one word; None when there is none, or it is a zombie.

    Two processes with the same PID never share it (proc(5): field 22, start time in clock ticks since boot).
    """
    if not LINUX:
        return _by_psutil(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else f"{boot}:{fields[19]}"


def _by_psutil(pid: int) -> str | None:
    import psutil  # noqa: PLC0415 - not on Linux

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None
