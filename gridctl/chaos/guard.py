"""Wakes what was frozen, however its freezer ends: a small process that reads a pipe, whose end means that chaos is gone.

Must not know faults or clusters. `python -m gridctl.chaos.guard` is the process, `Guard` is chaos's side of it.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from types import TracebackType

from gridctl.chaos.census import Person, send

#: The guard wakes a handful of processes; it takes no longer (wall seconds).
END_S = 5.0


class Guard:
    """Notes who is frozen; within `with`. Whoever is noted when it ends, or when this process dies, is woken."""

    def __enter__(self) -> Guard:
        self._frozen: set[Person] = set()
        command = [sys.executable, "-P", "-m", "gridctl.chaos.guard"]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal must not reach it
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for person in list(self._frozen):
            self.wake(person)
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.wait(END_S)

    @property
    def frozen(self) -> frozenset[Person]:
        """Who is noted now."""
        return frozenset(self._frozen)

    def freeze(self, person: Person) -> bool:
        """Note and freeze `person` (SIGSTOP); False where it is gone."""
        self._note("frozen", person)
        self._frozen.add(person)
        if send(person, signal.SIGSTOP):
            return True
        self._forget(person)
        return False

    def wake(self, person: Person) -> bool:
        """Wake `person` (SIGCONT) and note it no longer; False where it is gone."""
        woken = send(person, signal.SIGCONT)
        self._forget(person)
        return woken

    def _forget(self, person: Person) -> None:
        if person in self._frozen:
            self._frozen.discard(person)
            self._note("woken", person)

    def _note(self, word: str, person: Person) -> None:
        line = json.dumps([word, person.pid, person.identity])
        with contextlib.suppress(OSError):  # it is dead: then this process itself must do
            if self._process.stdin is not None:
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()


def watch(lines: Iterable[bytes]) -> None:
    """Follow `lines` to their end, then wake whoever is frozen still."""
    frozen: set[Person] = set()
    for line in lines:
        word, pid, identity = json.loads(line)
        person = Person(pid, identity)
        frozen = frozen | {person} if word == "frozen" else frozen - {person}
    for person in frozen:
        send(person, signal.SIGCONT)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    watch(sys.stdin.buffer)
