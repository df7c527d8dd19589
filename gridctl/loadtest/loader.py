"""What the load tester itself was like during a run: whether it was the limit, and what to do then. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gridctl import kernel
from gridctl.loadtest.sending import Account
from gridctl.loadtest.tally import LATE_S

#: A process that is so busy (share of a core) has answers waiting for it.
BUSY_SHARE = 0.9
#: It takes so long (wall seconds) to be called busy: whoever sends a burst at once is busy for a moment.
_SHORTEST_S = 1.0


@dataclass(frozen=True, slots=True)
class Loader:
    """Its `workers` (processes), the share of a core that the busiest took while it sent, and CPU a request (µs, all).

    `behind`: too many requests went out too late, `late_share` of all. `waited` requests found all connections taken.
    """

    workers: int = 1
    cpu_share: float = 0.0
    cpu_us: float | None = None
    behind: bool = False
    late_share: float = 0.0
    waited: int = 0
    cores: int = 1

    @classmethod
    def of(cls, account: Account, cores: int | None = None) -> Loader:
        """By what the processes counted; `cores` are this machine's."""
        tally, efforts = account.tally, account.efforts
        long = [each.share for each in efforts if each.sending_s >= _SHORTEST_S]
        return cls(
            workers=max(1, len(efforts)),
            cpu_share=max(long, default=0.0),
            cpu_us=1e6 * sum(each.cpu_s for each in efforts) / tally.sent if tally.sent else None,
            behind=tally.is_behind,
            late_share=tally.late_share,
            waited=account.waited,
            cores=cores or kernel.cores(),
        )

    @property
    def is_busy(self) -> bool:
        """Whether one of its processes had nearly no time left."""
        return self.cpu_share >= BUSY_SHARE

    @property
    def is_limit(self) -> bool:
        """Whether the figures tell of the load tester rather than of what it loads."""
        return self.behind or self.is_busy

    @property
    def found(self) -> str:
        """What was found, where it is the limit."""
        parts = []
        if self.behind:
            parts.append(f"{100 * self.late_share:.0f} % of the requests went out more than {1000 * LATE_S:g} ms late")
        if self.is_busy:
            parts.append(f"{100 * self.cpu_share:.0f} % of a core busy")
        return ", ".join(parts)

    @property
    def advice(self) -> str:
        """What to do, where it is the limit."""
        if not self.is_busy:
            return "the machine had no time for it: load it from another one, or less"
        if self.workers < self.cores:
            return f"spread it over processes: --workers {min(self.cores, 2 * self.workers)}"
        return f"all {self.cores} cores have a worker: load it from another machine, or less"
