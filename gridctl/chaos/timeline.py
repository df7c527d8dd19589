"""What will be done to whom and when: a pure function of a seed. Must not know clocks, processes or files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

SUPERVISOR: Final = "supervisor"
ZYGOTE: Final = "zygote"

#: Each kind of fault, in a sentence.
KINDS: Final = {
    "kill": "kill -9: a crash, from which it comes back",
    "pause": "frozen for a while: it is there and does not answer",
    "slow": "frozen and woken in turn, so that it has half the time",
    "delay": "its replies come late",
    "drop": "a share of its replies is lost after the work was done",
    "duplicate": "a share of its requests is handled twice",
    "restart": "stopped in order and started again",
}
#: Kinds that are done by signals, so that they can meet any process; the others need the supervisor's hand.
BY_SIGNAL: Final = frozenset({"kill", "pause", "slow"})
#: Kinds that go on for a while, and those of which a share or a delay can be told.
LASTING: Final = frozenset(KINDS) - {"kill", "restart"}
SHARED: Final = frozenset({"drop", "duplicate"})

#: What a step is where nobody says: how long (wall seconds), what share (percent), how late (wall seconds).
FOR_S: Final = 3.0
PCT: Final = 10.0
BY_S: Final = 1.0

_LASTING_S: Final = (0.5, 1.0, 2.0, 3.0)
_PCTS: Final = (2.0, 10.0, 30.0)
_DELAYS_S: Final = (0.1, 0.5, 2.0)


@dataclass(frozen=True, slots=True)
class Target:
    """A process that may be met: its name and role; the supervisor's and the zygote's role is their name."""

    name: str
    role: str

    @property
    def is_service(self) -> bool:
        """Whether it is one that the supervisor runs and can restart."""
        return self.role not in (SUPERVISOR, ZYGOTE)


@dataclass(frozen=True, slots=True)
class Step:
    """`kind` happens to the process `target`, `at_s` after the start, for `for_s` (0: at once over). Wall seconds.

    `pct` is the share of a drop or duplicate, `by_s` how late a delay makes replies; 0 for all other kinds.
    """

    at_s: float
    kind: str
    target: str
    for_s: float = 0.0
    pct: float = 0.0
    by_s: float = 0.0

    @property
    def words(self) -> str:
        """`pause substation2 for 3 s`."""
        amount = f" {self.pct:g} %" if self.kind in SHARED else f" {self.by_s:g} s" if self.kind == "delay" else ""
        lasting = f" for {self.for_s:g} s" if self.kind in LASTING else ""
        return f"{self.kind} {self.target}{amount}{lasting}"


def possible(kind: str, targets: Sequence[Target]) -> list[Target]:
    """Those of `targets` to whom `kind` can happen."""
    return [target for target in targets if kind in BY_SIGNAL or target.is_service]


def timeline(
    seed: int, kinds: Sequence[str], targets: Sequence[Target], duration_s: float, every_s: float
) -> tuple[Step, ...]:
    """A fault each `every_s` wall seconds for `duration_s`: any of `kinds`, any role of `targets`, any of that role.

    The same arguments give the same steps. Each is over by the end. None where nothing can happen to anybody.
    """
    usable = [kind for kind in kinds if possible(kind, targets)]
    if not usable:
        return ()
    rng = Random(f"{seed}/storm")
    count = int(duration_s / every_s - 1e-9)
    return tuple(_step(rng, usable, targets, (number + 1) * every_s, duration_s) for number in range(count))


def _step(rng: Random, kinds: Sequence[str], targets: Sequence[Target], at_s: float, end_s: float) -> Step:
    kind = rng.choice(kinds)
    able = possible(kind, targets)
    role = rng.choice(list(dict.fromkeys(target.role for target in able)))
    target = rng.choice([target.name for target in able if target.role == role])
    # drawn whether used or not: what one kind needs must not change what comes after it
    lasting_s, pct, by_s = rng.choice(_LASTING_S), rng.choice(_PCTS), rng.choice(_DELAYS_S)
    return Step(
        at_s=round(at_s, 6),
        kind=kind,
        target=target,
        for_s=round(min(lasting_s, end_s - at_s), 6) if kind in LASTING else 0.0,
        pct=pct if kind in SHARED else 0.0,
        by_s=by_s if kind == "delay" else 0.0,
    )
