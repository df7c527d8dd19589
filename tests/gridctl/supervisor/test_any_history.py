"""Any history of one process: what holds after each event."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gridctl.supervisor.happenings import (
    LIVING,
    Drain,
    Event,
    Exited,
    Kill,
    Listen,
    Pause,
    Probed,
    Signal,
    Spawn,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
    Tick,
    Unpause,
)
from tests.gridctl.supervisor.lives import life


class AnyHistory(RuleBasedStateMachine):
    """Whatever comes in whatever order: never two processes at once, and no state that lies about the process."""

    def __init__(self) -> None:
        super().__init__()
        self.life = life()
        self.now = 0.0
        self.spawning = False
        self.alive: int | None = None
        self.listening = False
        self.next_pid = 1

    def happen(self, event: Event) -> None:
        for action in self.life.handle(event, self.now):
            if action == Spawn():
                assert not self.spawning, "asked for a second process"
                assert self.alive is None, "asked for a second process"
                assert self.listening, "spawned behind a port that refuses"
                self.spawning = True
            if isinstance(action, Signal):
                assert self.alive is not None, "a signal to nobody"
            if isinstance(action, Listen):
                self.listening = action.on

    @rule(
        event=st.sampled_from(
            [
                Start(),
                Stop(5),
                Stop(5, again=True),
                Drain(3),
                Drain(3, Stop(5, again=True)),
                Drain(3, drop=True),
                Kill(9),
                Pause(),
                Unpause(),
            ]
        )
    )
    def wish(self, event: Event) -> None:
        self.happen(event)

    @rule(ok=st.booleans(), empty=st.booleans(), degraded=st.booleans())
    def probe(self, ok: bool, empty: bool, degraded: bool) -> None:
        self.happen(Probed(ok, "why", empty, degraded and not ok))

    @precondition(lambda self: self.spawning)
    @rule(works=st.booleans())
    def spawned(self, works: bool) -> None:
        self.spawning = False
        if works:
            self.alive = self.next_pid
            self.next_pid += 1
            self.happen(Spawned(self.alive))
        else:
            self.happen(SpawnFailed("no memory"))

    @precondition(lambda self: self.alive is not None)
    @rule(status=st.sampled_from([0, 1, -9, -15]))
    def exits(self, status: int) -> None:
        assert self.alive is not None
        pid, self.alive = self.alive, None
        self.happen(Exited(pid, status))

    @rule(passes=st.sampled_from([0.05, 1.0, 20.0]))
    def tick(self, passes: float) -> None:
        self.now += passes
        self.happen(Tick())

    @invariant()
    def state_and_process_agree(self) -> None:
        assert self.life.pid == self.alive
        if self.life.state not in LIVING:
            assert self.alive is None
            assert not self.spawning
        if self.life.state in {State.READY, State.UNHEALTHY, State.PAUSED, State.DRAINING}:
            assert self.alive is not None
        if self.life.state is State.BACKOFF:
            assert self.life.deadline is not None


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
