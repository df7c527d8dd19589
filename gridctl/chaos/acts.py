"""What each kind of fault does, through a `Reach`. Each leaves nothing behind, also when it is cancelled.

Must not know timelines, load or how a cluster is reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from gridctl.chaos.census import Person
from gridctl.chaos.reach import Reach
from gridctl.chaos.timeline import SUPERVISOR, ZYGOTE, Step

#: A slowed process is frozen for this long, and then lives for as long (wall seconds).
PULSE_S = 0.1
#: A fault of replies ends by itself after this, and is renewed well before (wall seconds).
HOLD_S = 10.0
RENEW_S = 4.0
#: How long a killed process is waited for (wall seconds): beyond a crash's longest back-off and a slow start.
BACK_S = 45.0
LOOK_S = 0.1

GONE = "there was no such process just then"

#: The fields of the supervisor's verb `faults` by kind.
_FIELDS = {"drop": "drop_pct", "duplicate": "duplicate_pct", "delay": "delay_s"}

Act = Callable[[Step, Reach], Awaitable[str]]


async def perform(step: Step, reach: Reach) -> str:
    """Do `step` and see it through, until what it met is well again; what came of it, "" where all went as meant."""
    return await _ACTS[step.kind](step, reach)


async def _kill(step: Step, reach: Reach) -> str:
    person = await reach.find(step.target)
    if person is None or not reach.kill(person):
        return GONE
    if step.target == SUPERVISOR:
        return await reach.revive(person)
    return await _back(step.target, person, reach)


async def _back(name: str, old: Person, reach: Reach) -> str:
    end_s = time.monotonic() + BACK_S
    while time.monotonic() < end_s:
        person = await reach.find(name)
        if person not in (None, old) and (name == ZYGOTE or await reach.well(name)):
            return ""
        await asyncio.sleep(LOOK_S)
    return f"not back within {BACK_S:g} s"


async def _pause(step: Step, reach: Reach) -> str:
    person = await reach.find(step.target)
    if person is None or not reach.freeze(person):
        return GONE
    try:
        await asyncio.sleep(step.for_s)
    finally:
        woken = reach.wake(person)
    return "" if woken else "it ended while it was paused"


async def _slow(step: Step, reach: Reach) -> str:
    person = await reach.find(step.target)
    if person is None:
        return GONE
    end_s = time.monotonic() + step.for_s
    try:
        while time.monotonic() < end_s:
            if not reach.freeze(person):
                return "it ended while it was slow"
            await asyncio.sleep(PULSE_S)
            reach.wake(person)
            await asyncio.sleep(PULSE_S)
    finally:
        reach.wake(person)
    return ""


async def _replies(step: Step, reach: Reach) -> str:
    field = _FIELDS[step.kind]
    value = step.by_s if step.kind == "delay" else step.pct
    end_s = time.monotonic() + step.for_s
    notes = []
    try:
        while (left_s := end_s - time.monotonic()) > 0:
            order = {field: value, "for_s": min(HOLD_S, left_s + RENEW_S)}
            notes.append(await reach.order("faults", names=[step.target], **order))
            await asyncio.sleep(min(RENEW_S, max(0.0, end_s - time.monotonic())))
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            notes.append(await asyncio.shield(reach.order("faults", names=[step.target], **{field: 0})))
    return next((note for note in notes if note), "")


async def _restart(step: Step, reach: Reach) -> str:
    return await reach.order("restart", names=[step.target])


_ACTS: dict[str, Act] = {
    "kill": _kill,
    "pause": _pause,
    "slow": _slow,
    "delay": _replies,
    "drop": _replies,
    "duplicate": _replies,
    "restart": _restart,
}
