"""Which child is whose, also when it ends before it is known to be born. Must not know members or their lives."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Births:
    """The PIDs of living children by the name that they were born for.

    A child may end before the answer that tells its PID arrives: its exit is kept, but only while any answer is still
    awaited, so that no PID that the system gives out again later is taken for it.
    """

    _owners: dict[int, str] = field(default_factory=dict)
    _early: dict[int, int] = field(default_factory=dict)
    _awaited: int = 0

    def expect(self) -> None:
        """A birth was asked for; `born` or `missed` must follow."""
        self._awaited += 1

    def born(self, pid: int, name: str) -> int | None:
        """It has this PID; its exit status where it ended already."""
        status = self._early.pop(pid, None)
        if status is None:
            self._owners[pid] = name
        self.missed()
        return status

    def missed(self) -> None:
        """The birth that was asked for did not come about, or cannot be told apart any more."""
        self._awaited -= 1
        if not self._awaited:
            self._early.clear()

    def ended(self, pid: int, status: int) -> str | None:
        """A child ended: whose it was; None where nobody's, or nobody's yet."""
        name = self._owners.pop(pid, None)
        if name is None and self._awaited:
            self._early[pid] = status
        return name
