"""Where the `gridctl` command begins and ends. Must know no verb, except that `up` starts another interpreter, at once."""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False  # as type checkers know it; `typing` itself takes time
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from gridctl.unborn import Unborn

#: With one of these `up` starts nothing.
_STARTS_NOTHING = frozenset({"-h", "--help", "--dry-run"})
#: How many objects may come before they are looked through: most commands import, and end before they have so many.
_FEW = 50_000
#: The exit code of Ctrl-C.
_INTERRUPTED = 130


def main() -> NoReturn:
    """The console script: run the command line, then exit."""
    gc.set_threshold(_FEW)
    _open_standard_streams()
    unborn = None
    try:
        unborn = _ahead(sys.argv[1:])
        from gridctl.cli import run  # noqa: PLC0415 - a supervisor may import at the same time

        code = run(sys.argv[1:], unborn)
    except KeyboardInterrupt:  # before `run` began, which sees to its own
        code = _INTERRUPTED
    finally:
        if unborn is not None:
            unborn.drop()
    gc.freeze()  # all of it goes now: nobody need look through it
    sys.exit(code)


def _ahead(arguments: Sequence[str]) -> Unborn | None:
    """What may become a supervisor, where one may be wanted; it ends if it is not."""
    if arguments[:1] != ["up"] or not _STARTS_NOTHING.isdisjoint(arguments) or not sys.platform.startswith("linux"):
        return None
    from gridctl.unborn import Unborn  # noqa: PLC0415 - for `up` only

    try:
        return Unborn()
    except OSError:  # tried again later, and then told
        return None


def _open_standard_streams() -> None:
    """Whoever started us may have closed them: then they lead nowhere, and no other file gets their numbers."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115
