"""What a crashed supervisor left: verified processes are waited for, then killed. Must not touch any other."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import time
from typing import Any

from gridctl.identity import identify
from gridctl.state import ClusterPaths

log = logging.getLogger("gridctl.supervisor")

#: The kernel ends a dead supervisor's children at once; on a busy machine that takes a moment.
GRACE_S = 1.0
STEP_S = 0.01


def clear(paths: ClusterPaths) -> None:
    """Make way for a new start of this cluster: no process of its last one is left when this returns."""
    alive = _verified(paths)
    give_up = time.monotonic() + GRACE_S
    while alive and time.monotonic() < give_up:
        time.sleep(STEP_S)
        alive = [entry for entry in alive if _same(entry)]
    for entry in alive:
        log.warning("killing %s (pid %d), left by a supervisor that crashed", entry["name"], entry["pid"])
        with contextlib.suppress(ProcessLookupError):
            os.kill(entry["pid"], signal.SIGKILL)
    while alive:
        time.sleep(STEP_S)
        alive = [entry for entry in alive if _same(entry)]
    paths.roster.unlink(missing_ok=True)


def _verified(paths: ClusterPaths) -> list[dict[str, Any]]:
    try:
        entries = json.loads(paths.roster.read_text())
    except (OSError, ValueError):
        return []
    found = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return [entry for entry in found if isinstance(entry.get("pid"), int) and entry.get("name") and _same(entry)]


def _same(entry: dict[str, Any]) -> bool:
    return entry.get("identity") is not None and identify(entry["pid"]) == entry["identity"]
