"""The words of a process's life: its states, what happens to it, what must be done about it. Plain values, no rules."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The states of DESIGN §2; tables, JSON and events show these words."""

    STARTING = "STARTING"
    READY = "READY"
    UNHEALTHY = "UNHEALTHY"
    PAUSED = "PAUSED"
    DRAINING = "DRAINING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    FATAL = "FATAL"


#: States in which a process lives that may answer.
LIVING = frozenset({State.STARTING, State.READY, State.UNHEALTHY, State.PAUSED, State.DRAINING, State.STOPPING})
#: States from which nothing moves until a user asks.
RESTING = frozenset({State.STOPPED, State.FATAL})


@dataclass(frozen=True, slots=True)
class Limits:
    """When patience ends, in wall seconds and counts."""

    start_s: float = 30.0
    stable_s: float = 10.0
    failed_starts: int = 5
    failed_probes: int = 3


# What happens to a process.
@dataclass(frozen=True, slots=True)
class Start:
    """Someone wants it up."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Someone wants it down, killed after `timeout_s`; with `again` it is started anew once it is gone."""

    timeout_s: float = 10.0
    again: bool = False


@dataclass(frozen=True, slots=True)
class Drain:
    """No new session; once empty, or after `timeout_s`, it is stopped as `then` says.

    `drop`: it does not come back, so what charges after `timeout_s` is ended then, and its journal says why.
    """

    timeout_s: float
    then: Stop = Stop()
    drop: bool = False


@dataclass(frozen=True, slots=True)
class Kill:
    """A signal from a user: a crash, not a stop."""

    signal: int


@dataclass(frozen=True, slots=True)
class Pause:
    """SIGSTOP."""


@dataclass(frozen=True, slots=True)
class Unpause:
    """SIGCONT."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """It has a process now."""

    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """It could not be started."""

    reason: str


@dataclass(frozen=True, slots=True)
class Exited:
    """Its process ended; `status` as `os.waitstatus_to_exitcode` gives it (negative: a signal)."""

    pid: int
    status: int


@dataclass(frozen=True, slots=True)
class Probed:
    """Its health was asked. `empty`: no session is charging there; `degraded`: it is up, and cannot do its work."""

    ok: bool
    reason: str = ""
    empty: bool = False
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = Start | Stop | Drain | Kill | Pause | Unpause | Spawned | SpawnFailed | Exited | Probed | Tick


# What the supervisor must do about it.
@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a process; answer with Spawned or SpawnFailed."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the process."""

    signal: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell the service to take no new session (`on`), or to take them again."""

    on: bool


@dataclass(frozen=True, slots=True)
class Drop:
    """Tell the service to end all sessions, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Listen:
    """Let its port answer (`on`), or refuse connections."""

    on: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """It changed state; to be told to everybody."""

    old: State
    new: State
    reason: str


Action = Spawn | Signal | Refuse | Drop | Listen | Moved


def describe_exit(status: int) -> str:
    """An exit status in words: `exit code 1`, `killed by SIGKILL`."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
