"""An interpreter that imports what a supervisor needs, before it is known whether and which cluster will have it.

Must not know clusters; and, as the first that `gridctl up` imports, nothing that takes time.
"""

from __future__ import annotations

import os
import subprocess
import sys

from config.variables import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE

TYPE_CHECKING = False  # as type checkers know it; `typing` itself takes time
if TYPE_CHECKING:
    from collections.abc import Mapping


class Unborn:
    """A process of our own that waits for `go`; until then it does nothing but import, and it ends when this one does.

    `ready` is the descriptor on which it tells that it is ready, or why not; `leash` the one that holds it.
    """

    def __init__(self) -> None:
        """OSError where it cannot be started."""
        self.ready, told = os.pipe()
        held, self.leash = os.pipe()
        self._is_ours = False
        try:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", "gridctl.supervisor", str(told), str(held)],
                pass_fds=[told, held],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # its log, once it may go
                stderr=2,  # what keeps it from importing; named, because it may be one that no child would inherit
                cwd="/",
                env=_environment(os.environ),
            )
            self._is_ours = True
        finally:
            for descriptor in (told, held):
                os.close(descriptor)
            if not self._is_ours:
                self._close()

    def go(self, order: Mapping[str, object]) -> None:
        """Be a supervisor, as `order` says: see `gridctl.supervisor.__main__`. BrokenPipeError: it ended."""
        import json  # noqa: PLC0415 - not before the process has begun

        words = json.dumps(order).encode() + b"\n"
        while words:  # a topology may be more than a pipe takes at once
            words = words[os.write(self.leash, words) :]

    def let_go(self) -> None:
        """It outlives this process; from now on its descriptors and its end are the caller's to see to."""
        self._is_ours = False
        self.process.returncode = 0  # not Popen's to wait for

    def drop(self) -> None:
        """End it, which is not needed after all; not if it was let go."""
        if self._is_ours:
            self._is_ours = False
            self._close()
            self.process.terminate()
            self.process.wait()

    def _close(self) -> None:
        os.close(self.ready)
        os.close(self.leash)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Of a cluster's processes: they listen on loopback and need no token, so they are not given one to lose."""
    return {name: value for name, value in environ.items() if name not in (TOKEN_VARIABLE, TOKEN_FILE_VARIABLE)}
