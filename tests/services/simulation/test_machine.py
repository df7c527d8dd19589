"""Any sequence of arrivals, ends, faults, crashes, returns: I1, I2, I3 after every step, and nothing left over at the end.

`SIMULATION_EXAMPLES` and `SIMULATION_STEPS` make the runs more and longer; `SIMULATION_BALANCERS` fixes their number.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.services.simulation.network import CALM, Weather
from tests.services.simulation.world import Promise, World

EXAMPLES = int(os.environ.get("SIMULATION_EXAMPLES", "20"))
STEPS = int(os.environ.get("SIMULATION_STEPS", "30"))
MOST_BALANCERS = 4

WEATHERS = {
    "calm": CALM,
    "cut": Weather(cut=True),
    "deaf": Weather(lose=1.0),
    "mute": Weather(lose_reply=1.0),
    "lossy": Weather(lose=0.3, lose_reply=0.3, twice=0.3, delay_s=0.5, delay_reply_s=0.5),
    "slow": Weather(delay_s=6.0, delay_reply_s=6.0, twice=0.3),
    "late": Weather(delay_s=35.0, twice=0.5),
    "late replies": Weather(delay_reply_s=35.0),
}
NUMBER = st.integers(0, 23)
WAITS = st.sampled_from([0.0005, 0.002, 0.01, 0.1, 0.5, 1.0, 2.5, 6.0, 12.0, 40.0])


class Grid(RuleBasedStateMachine):
    """A grid, its clients, and everything that can happen to them. Processes are picked by a number, modulo how many."""

    world: World | None = None

    @initialize(
        seed=st.integers(0, 2**16),
        places=st.lists(st.integers(1, 3), max_size=4) | st.lists(st.integers(1, 10), max_size=20),
        balancers=st.integers(1, MOST_BALANCERS),
        admission=st.sampled_from(["reject", "queue"]),
        machine=st.sampled_from(["one", ""]),
        poll_interval_s=st.sampled_from([5.0, 0.5, 30.0]),
        time_scale=st.sampled_from([1.0, 60.0]),
        capacity_kw=st.sampled_from([None, 22.0]),
    )
    def begin(self, seed: int, places: list[int], **settings: object) -> None:
        balancers = int(os.environ.get("SIMULATION_BALANCERS", str(settings.pop("balancers"))))
        self.world = World(seed, places, balancers, **settings)  # type: ignore[arg-type]
        self.world.run_for(0.1)

    @property
    def grid(self) -> World:
        assert self.world is not None
        return self.world

    def named(self, number: int, names: list[str]) -> str:
        return names[number % len(names)]

    def anyone(self, number: int) -> str:
        return self.named(number, [process.name for process in reversed(self.grid.processes)])

    def desk(self, number: int) -> str:
        return self.named(number, list(self.grid.desks))

    def promise(self, number: int) -> Promise:
        return list(self.grid.promises.values())[number % len(self.grid.promises)]

    # -- clients ------------------------------------------------------------------------------------------------------
    @rule(
        ev=st.integers(0, 7),
        again=st.integers(0, 1),
        desk=NUMBER,
        patience_s=st.sampled_from([10.0, 1.0, 3.0]),
        length_s=st.sampled_from([300.0, 3.0, 30.0]),
        leaves=st.booleans(),
    )
    def ask(self, ev: int, again: int, desk: int, patience_s: float, length_s: float, leaves: bool) -> None:
        request_id = f"r{ev}.{again}"
        known = self.grid.promises.get(request_id)
        if known is not None and known.cancelling:
            return
        fields = {"duration_s": length_s * self.grid.time_scale}
        if leaves:
            fields["departure_in_s"] = 60.0 * self.grid.time_scale
        self.grid.ask(request_id, f"EV{ev}", self.desk(desk), patience_s, **fields)

    @rule(count=st.integers(2, 12), desk=NUMBER)
    def burst(self, count: int, desk: int) -> None:
        for number in range(count):
            request_id = f"b{len(self.grid.promises)}"
            fields = {"duration_s": 20.0 * self.grid.time_scale, "power_kw": 7.4 if number % 2 else 11.0}
            self.grid.ask(request_id, f"EV-{request_id}", self.desk(desk + number), **fields)

    @precondition(lambda self: self.world and self.world.promises)
    @rule(number=NUMBER, desk=NUMBER, count=st.integers(1, 3))
    def repeat(self, number: int, desk: int, count: int) -> None:
        promise = self.promise(number)
        for each in range(count):
            if not promise.cancelling:
                self.grid.ask(promise.request_id, promise.ev_id, self.desk(desk + each))

    @precondition(lambda self: self.world and self.world.promises)
    @rule(number=NUMBER, desk=NUMBER)
    def cancel(self, number: int, desk: int) -> None:
        self.grid.cancel(self.promise(number).request_id, self.desk(desk))

    @precondition(lambda self: self.world and self.world.promises)
    @rule(number=NUMBER)
    def unplug(self, number: int) -> None:
        self.grid.unplug(self.promise(number).request_id)

    # -- time ---------------------------------------------------------------------------------------------------------
    @rule(wall_s=WAITS)
    def wait(self, wall_s: float) -> None:
        self.grid.run_for(wall_s)

    @rule(wall_s=st.sampled_from([1.0, 30.0, 3600.0, -20.0]))
    def jump(self, wall_s: float) -> None:
        self.grid.jump(wall_s)

    # -- faults -------------------------------------------------------------------------------------------------------
    @rule(number=NUMBER, after_steps=st.integers(0, 60), held=st.booleans(), wall_s=WAITS)
    def kill(self, number: int, after_steps: int, held: bool, wall_s: float) -> None:
        self.grid.kill(self.anyone(number), after_steps, held)
        self.grid.run_for(wall_s)

    @rule(number=NUMBER)
    def start(self, number: int) -> None:
        self.grid.start(self.anyone(number))

    @rule(number=NUMBER, down_s=st.sampled_from([0.0, 0.3, 3.0]))
    def restart(self, number: int, down_s: float) -> None:
        name = self.anyone(number)
        self.grid.kill(name)
        self.grid.run_for(down_s)
        self.grid.start(name)

    @rule(number=NUMBER, wall_s=WAITS)
    def pause(self, number: int, wall_s: float) -> None:
        self.grid.pause(self.anyone(number))
        self.grid.run_for(wall_s)

    @rule(number=NUMBER)
    def unpause(self, number: int) -> None:
        self.grid.unpause(self.anyone(number))

    @precondition(lambda self: self.world and self.world.stations)
    @rule(number=NUMBER, derated=st.sampled_from([1, None, 2]))
    def derate(self, number: int, derated: int | None) -> None:
        self.grid.derate(self.named(number, list(self.grid.stations)), derated)

    @precondition(lambda self: self.world and self.world.stations)
    @rule(number=NUMBER)
    def lose(self, number: int) -> None:
        self.grid.lose(self.named(number, list(self.grid.stations)))

    @rule(one=NUMBER, other=NUMBER, kind=st.sampled_from(list(WEATHERS)))
    def weather(self, one: int, other: int, kind: str) -> None:
        others = [*self.grid.stations, "client", *self.grid.desks]
        self.grid.weather(self.desk(one), self.named(other, others), WEATHERS[kind])

    @rule()
    def calm(self) -> None:
        self.grid.calm()

    @rule(number=NUMBER, slow_s=st.sampled_from([0.1, 2.0]), full=st.booleans())
    def disk(self, number: int, slow_s: float, full: bool) -> None:
        self.grid.disk(self.anyone(number), slow_s, full)

    # -- what must hold -----------------------------------------------------------------------------------------------
    @invariant()
    def promises_are_kept(self) -> None:
        if self.world is not None:
            self.world.check()

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            if not self.world.violations:
                self.world.finish()
        finally:
            note("\n".join(self.world.trace))
            self.world.close()


TestGrid = Grid.TestCase
TestGrid.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize="SIMULATION_EXAMPLES" not in os.environ,  # a merge is judged by its own change: long runs look for more
    suppress_health_check=list(HealthCheck),
    phases=[phase for phase in Phase if phase is not Phase.shrink or "SIMULATION_UNSHRUNK" not in os.environ],
)
