"""How a supervisor's process begins: it imports, waits until `gridctl up` says that it may go, and branches the zygote off.

Started by `gridctl up`, never by hand. It is told by one line: {"root": the state root, "name": the cluster's,
"declaration": see `gridctl.declaration`, or null}. Must not know what a supervisor does; and imports at the top nothing
that takes time.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from typing import Any

from services.certificates import unread

#: What both the supervisor and the zygote import, and what takes longest of it: it is imported once, before they part.
SHARED = ("services.http", "services.run")


def main(argv: list[str]) -> int:
    """Become the supervisor of the cluster that descriptor `argv[2]` names; `argv[1]` is told, as in `life.live`."""
    gc.disable()  # what is imported stays: there is nothing to collect
    ready, attached = int(argv[1]), int(argv[2])
    with unread():
        for module in SHARED:
            importlib.import_module(module)
    if (order := _order(attached)) is None:
        return 0
    from gridctl import kernel, zygote  # noqa: PLC0415 - not before the slow ones: it may be told to end meanwhile

    kernel.become_subreaper()
    first = zygote.branch_off(closing=(ready, attached))
    from gridctl.supervisor.life import live  # noqa: PLC0415 - while the zygote imports the rest

    gc.freeze()
    gc.enable()
    return live(order, ready, attached, first)


def _order(attached: int) -> dict[str, Any] | None:
    """Wait for the line; None when `gridctl up` ended without one. Nothing follows it until this process has answered."""
    line = b""
    while not line.endswith(b"\n"):
        if not (more := os.read(attached, 1 << 16)):
            return None
        line += more
    order: dict[str, Any] = json.loads(line)
    return order


if __name__ == "__main__":
    sys.exit(main(sys.argv))
