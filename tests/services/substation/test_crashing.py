"""I1, I2 and I3 at one substation, whatever comes and whenever it is killed: only what was answered counts.

A crash is what a killed process leaves: the files as they are at that instant, also while a commit is under way. The next
run starts from a copy of them, on a clock that went on, jumped, or was set back.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from config.messages import SubstationCharge
from config.problems import Problem
from config.settings import SubstationSettings
from services.clock import FakeClock
from services.journal import JournalError
from services.substation.journal import read
from services.substation.service import SubstationService
from services.substation.session import Session

MAX_SESSIONS = 4
CAPACITY_KW = 50.0


class Substation(RuleBasedStateMachine):
    """One substation through many runs, and a client who remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="substation-", dir=memory if memory.is_dir() else None))
        self.loop = asyncio.new_event_loop()
        self.runs = 0
        self.unix_s = 1_000_000.0
        self.told: dict[str, tuple[str, float]] = {}
        self.over: dict[str, str] = {}

    @initialize(durability=st.sampled_from(["fsync", "process"]))
    def begin(self, durability: str) -> None:
        self.durability = durability
        self.path = self.folder / "0.db"
        self.start(1.0)

    def start(self, time_scale: float) -> None:
        self.runs += 1
        self.time_scale = time_scale
        self.clock = FakeClock(time_scale, self.unix_s)
        wanted = SubstationSettings(
            max_sessions=MAX_SESSIONS,
            capacity_kw=CAPACITY_KW,
            time_scale=time_scale,
            journal=str(self.path),
            durability=self.durability,
        )
        self.service = SubstationService(wanted, self.clock, Random(self.runs))
        self.loop.run_until_complete(self.service.start())

    def ask(self, charges: list[SubstationCharge]) -> list[dict[str, Any] | Problem]:
        return list(self.loop.run_until_complete(self.service._answers(charges)))

    # -- what comes ------------------------------------------------------------------------------------------------
    @rule(
        charges=st.lists(
            st.tuples(
                st.sampled_from("abcdefgh"),
                st.integers(1, 3),
                st.sampled_from([7.4, 11, 22, 50, 51]),
                st.sampled_from([0.001, 5, 50, 500]),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def charge(self, charges: list[tuple[str, int, float, float]]) -> None:
        messages = [_message(*each) for each in charges]
        for message, answer in zip(messages, self.ask(messages), strict=True):
            if isinstance(answer, dict):
                self.accept(message, answer)

    def accept(self, message: SubstationCharge, answer: dict[str, Any]) -> None:
        request_id = message.request_id or ""
        ends_s = self.grid_s() + answer["ends_in_s"]
        if request_id in self.told and self.over.get(request_id) != "revoked" and answer["ends_in_s"] > 0:
            assert abs(self.told[request_id][1] - ends_s) < 1e-3, "the same request was told two plans"
        if self.over.get(request_id) == "revoked":
            del self.over[request_id]
        if answer["ends_in_s"] > 0 or request_id not in self.told:  # what is over has no other plan than it had
            self.told[request_id] = (message.ev_id, ends_s)

    @rule(request_id=st.sampled_from("abcdefgh"), attempt=st.integers(1, 3))
    def revoke(self, request_id: str, attempt: int) -> None:
        async def revoke() -> Session | None:
            session = self.service.admission.revoke(request_id, attempt, self.grid_s())
            self.service._keeper.revoked(request_id, attempt)
            await self.service._keeper.settle()
            return session

        session = self.loop.run_until_complete(revoke())
        if session is not None and session.state == "revoked":
            self.over[request_id] = "revoked"

    @rule(wall_s=st.sampled_from([0.001, 1.0, 30.0, 1000.0]))
    def wait(self, wall_s: float) -> None:
        self.clock.jump(wall_s)
        self.unix_s += wall_s

    @rule(kilowatts=st.sampled_from([None, 10.0, 40.0]), sessions=st.sampled_from([None, 1, 3]))
    def derate(self, kilowatts: float | None, sessions: int | None) -> None:
        async def derate() -> None:
            self.service.command({"do": "derate", "capacity_kw": kilowatts, "max_sessions": sessions})

        self.loop.run_until_complete(derate())

    # -- how it ends and begins again -----------------------------------------------------------------------------
    @rule(step_s=st.sampled_from([0.0, 0.5, 20.0, 3600.0, -50.0]), time_scale=st.sampled_from([1.0, 60.0]))
    def killed(self, step_s: float, time_scale: float) -> None:
        self.again(self.copied(), step_s, time_scale)

    @rule(step_s=st.sampled_from([0.0, 20.0]), request_ids=st.lists(st.sampled_from("ijklm"), min_size=1, unique=True))
    def killed_over_a_commit(self, step_s: float, request_ids: list[str]) -> None:
        async def begin() -> Path:
            asking = asyncio.ensure_future(self.service._answers([_message(each, 1, 7.4, 50) for each in request_ids]))
            for _ in range(Random(self.runs).randrange(4)):
                await asyncio.sleep(0)
            copy = self.copied()
            await asking
            return copy

        copy = self.loop.run_until_complete(begin())
        self.again(copy, step_s, 1.0)

    @rule(time_scale=st.sampled_from([1.0, 60.0]))
    def stopped(self, time_scale: float) -> None:
        self.loop.run_until_complete(self.service.stop())
        self.start(time_scale)

    def copied(self) -> Path:
        copy = self.folder / f"{self.runs}.db"
        for part in ("", "-wal"):
            if Path(f"{self.path}{part}").exists():
                shutil.copy(f"{self.path}{part}", f"{copy}{part}")
        return copy

    def again(self, copy: Path, step_s: float, time_scale: float) -> None:
        expected_s = self.grid_s() + step_s * self.time_scale
        epoch = self.service.admission.epoch
        runs = read(copy).runs if holds_something(copy) else ()
        self.loop.run_until_complete(self.service.stop())
        self.path = copy
        self.unix_s += step_s
        self.start(time_scale)
        if runs and runs[-1].epoch == epoch and step_s >= 0:
            assert abs(self.grid_s() - expected_s) < 1e-3, "the grid's time did not go on"

    # -- what must hold --------------------------------------------------------------------------------------------------
    def grid_s(self) -> float:
        return self.service._keeper.clock.grid_s()

    async def passed(self) -> None:
        self.service.admission.advance(self.grid_s())

    @invariant()
    def nothing_told_is_lost(self) -> None:
        admission = self.service.admission
        self.loop.run_until_complete(self.passed())
        for request_id, (ev_id, ends_s) in self.told.items():
            session = admission.find(request_id)
            assert session is not None, f"{request_id} was answered 202 and is unknown"
            assert session.ev_id == ev_id
            if request_id in self.over:
                assert session.state == "revoked"
            elif self.grid_s() < ends_s - 1e-3:
                assert session.state == "charging"
                assert abs(session.ends_s - ends_s) < 1e-3

    @invariant()
    def no_more_is_used_than_there_is(self) -> None:
        admission = self.service.admission
        running = list(admission.running())
        assert admission.sessions == len(running) == len({session.request_id for session in running}) <= MAX_SESSIONS
        assert admission.load_w == sum(session.power_w for session in running) <= CAPACITY_KW * 1000
        assert len({session.number for session in running}) == len(running)

    def teardown(self) -> None:
        if hasattr(self, "service"):
            self.loop.run_until_complete(self.service.stop())
            if self.path.exists():
                states = {row.request_id: row.state for row in read(self.path).sessions}
                assert self.told.keys() <= states.keys()
        self.loop.close()
        shutil.rmtree(self.folder)


def holds_something(path: Path) -> bool:
    try:
        read(path)
    except (FileNotFoundError, JournalError):  # killed before anything was written
        return False
    return True


def _message(request_id: str, attempt: int, power_kw: float, duration_s: float) -> SubstationCharge:
    return SubstationCharge(
        ev_id=f"EV-{request_id}", request_id=request_id, attempt=attempt, power_kw=power_kw, duration_s=duration_s
    )


TestSubstation = Substation.TestCase
TestSubstation.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
