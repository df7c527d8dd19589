"""How a supervisor's process begins: it imports, waits until `gridctl up` says that it may go, and branches the zygote off.

Started by `gridctl up`, never by hand. Must not know what a supervisor does; and imports at the top nothing that takes time.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from pathlib import Path

from services.certificates import unread

#: What both the supervisor and the zygote import, and what takes longest of it: it is imported once, before they part.
SHARED = ("config.topology", "services.run", "services.http")


def main(argv: list[str]) -> int:
    """Become the supervisor of the cluster that descriptor `argv[2]` names; `argv[1]` is told, as in `life.live`."""
    gc.disable()  # what is imported stays: there is nothing to collect
    ready, attached = int(argv[1]), int(argv[2])
    with unread():
        for module in SHARED:
            importlib.import_module(module)
    if (named := _named(attached)) is None:
        return 0
    from gridctl import kernel, zygote  # noqa: PLC0415 - not before the slow ones: it may be told to end meanwhile
    from gridctl.state import ClusterPaths  # noqa: PLC0415

    paths = ClusterPaths(*named)
    _redirect(paths.logs / "supervisor.log")
    kernel.become_subreaper()
    first = zygote.branch_off(closing=(ready, attached))
    from gridctl.supervisor.life import live  # noqa: PLC0415 - while the zygote imports the rest

    gc.freeze()
    gc.enable()
    return live(paths, ready, attached, first)


def _named(attached: int) -> tuple[Path, str] | None:
    """Wait for a line, the state root and the cluster's name; None when `gridctl up` ended without one."""
    line = b""
    while word := os.read(attached, 1):
        if word == b"\n":
            root, name = json.loads(line)
            return Path(root), name
        line += word
    return None


def _redirect(log_file: Path) -> None:
    log = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
