"""Forks a few processes at once that are then the supervisor's children, not this one's. Must not know what they become.

A child in between forks them and ends, so that the nearest subreaper adopts them: one such child for all that were asked
for together, since each fork copies the page tables of all that was imported.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from gridctl import kernel

#: How long a new process waits to be adopted by the supervisor before it gives up.
ADOPTION_S = 5.0

Become = Callable[[Callable[[], None]], NoReturn]
Prepare = Callable[[], Become]


def fork(prepare: Sequence[Prepare], supervisor: int) -> list[int | None]:
    """The PIDs of new processes that become what each of `prepare` says, in order; None where one could not be forked.

    All are prepared in the child in between, before the first fork: what that writes to is copied once for all of them.
    Each is then given what it must call soon, once it has somewhere to say what goes wrong: it waits until the
    `supervisor` has adopted it, and raises ProcessLookupError where that is gone.
    """
    reader, writer = os.pipe()
    try:
        between = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        return [None] * len(prepare)
    if between == 0:
        os.close(reader)
        _fork_all(prepare, writer, supervisor)
    os.close(writer)
    words = _lines(reader, len(prepare))
    os.waitpid(between, 0)
    return [int(word) or None for word in words] + [None] * (len(prepare) - len(words))


def _lines(reader: int, number: int) -> list[bytes]:
    """So many lines, or all there are: children of the one in between may still have its pipe open."""
    text = b""
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while text.count(b"\n") < number and (more := pipe.read(4096)):
            text += more
    return text.splitlines()


def _fork_all(prepare: Sequence[Prepare], writer: int, supervisor: int) -> NoReturn:
    """In the child in between, whose end closes the `gate` that its children wait at."""
    status = 1
    try:
        gate, held = os.pipe()
        for become in [each() for each in prepare]:
            try:
                pid = os.fork()
            except OSError:
                pid = -1
            if pid == 0:
                os.close(writer)
                os.close(held)
                become(partial(_await_adoption, gate, supervisor))
            os.write(writer, b"%d\n" % max(pid, 0))
        status = 0
    finally:
        os._exit(status)


def _await_adoption(gate: int, supervisor: int) -> None:
    """Until the process in between is gone and the supervisor is the parent; only then does PDEATHSIG speak of it."""
    os.read(gate, 1)
    os.close(gate)
    give_up = time.monotonic() + ADOPTION_S
    while os.getppid() != supervisor:  # its descriptors were closed a moment before it was gone
        if time.monotonic() > give_up:
            raise ProcessLookupError("not adopted: the supervisor is gone")
        time.sleep(0.0002)
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != supervisor:
        raise ProcessLookupError("the supervisor is gone")
