"""What a choice costs: µs for choosing a substation, starting a session there and ending the oldest, at 3 … 10,000 of them.

    python benchmarks/decision.py [--seconds 0.5]

`min()` looks at each of a list and is what an index spares. `balancer` is the default policy as the balancer uses it: with
accounts, assumptions and a report of every start and end. Sessions are all of one power on ten slots each, or a mix of 7.4,
22 and 150 kW on 500 kW each. Prints a Markdown table; exit 1 where the default policy costs more than three times as much at
10,000 as at 3.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from itertools import cycle
from random import Random
from typing import Protocol

from config.policies import DEFAULT, SHIPPED
from config.report import Report
from config.report import Step as End
from services.balancer.ledger import Ledger
from services.balancer.targets import Target
from services.routing import registry
from services.routing.fleet import Fleet, Want
from services.routing.node import Node

COUNTS = (3, 100, 1_000, 10_000)
LOAD = 0.7
SLOTS, CAPACITY_W = 10, 500_000
MIXES = {"one power": (7_400,), "mixed": (7_400, 22_000, 150_000)}
MOST_GROWTH = 3.0


class Grid(Protocol):
    """Something that places sessions."""

    def choose(self, power_w: int) -> int | None:
        """The number of the substation to ask; None if there is none."""

    def begin(self, number: int, power_w: int) -> None:
        """Starts a session there."""

    def end(self, number: int, power_w: int) -> None:
        """Ends a session there."""


def empty(count: int, mixed: bool) -> list[Node]:
    """Nodes of ten slots, or of 500 kW."""
    limits = (10**9, CAPACITY_W) if mixed else (SLOTS, None)
    return [Node(f"s{number}", number, *limits) for number in range(count)]


class Listed:
    """`min()` over all nodes."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    def choose(self, power_w: int) -> int:
        """See `Grid`."""
        return min(self.nodes, key=lambda node: node.load_after(power_w)).order

    def begin(self, number: int, power_w: int) -> None:
        """See `Grid`."""
        node = self.nodes[number]
        node.sessions += 1
        node.load_w += power_w

    def end(self, number: int, power_w: int) -> None:
        """See `Grid`."""
        node = self.nodes[number]
        node.sessions -= 1
        node.load_w -= power_w


class Chosen:
    """A policy on a fleet."""

    def __init__(self, name: str, nodes: list[Node], powers_w: tuple[int, ...]) -> None:
        self.nodes, self.fleet, self.policy, self.rng = nodes, Fleet(nodes), registry.make(name), Random(1)
        for power_w in powers_w:
            self.fleet.demand.see(power_w)

    def choose(self, power_w: int) -> int | None:
        """See `Grid`."""
        node = self.policy.pick(self.fleet, Want(power_w), self.rng)
        return None if node is None else node.order

    def begin(self, number: int, power_w: int) -> None:
        """See `Grid`."""
        self._change(self.nodes[number], 1, power_w)

    def end(self, number: int, power_w: int) -> None:
        """See `Grid`."""
        self._change(self.nodes[number], -1, -power_w)

    def _change(self, node: Node, sessions: int, power_w: int) -> None:
        node.sessions += sessions
        node.load_w += power_w
        # the naive rule is told everything: its herd is not what is measured here
        node.polled_sessions, node.polled_load_w = node.sessions, node.load_w
        self.fleet.touch(node)


class Balanced:
    """The default policy on the balancer's ledger."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes, self.policy, self.rng, self.now_s = nodes, registry.make(DEFAULT), Random(1), 0.0
        self.ledger = Ledger(MIXES["one power"][0])
        self.ledger.update(Target(node.name, f"http://{node.name}") for node in nodes)
        self.seqs = [0] * len(nodes)
        for node in nodes:
            self._change(node, 0, 0)

    def choose(self, power_w: int) -> int | None:
        """See `Grid`."""
        self.now_s += 0.001
        self.ledger.count(power_w)
        node = self.ledger.pick(self.policy, power_w, power_w, self.now_s, (), self.rng)
        return None if node is None else node.order

    def begin(self, number: int, power_w: int) -> None:
        """See `Grid`."""
        account = self.ledger.get(self.nodes[number].name)
        assert account is not None
        account.assume("r", power_w, self.now_s)
        self._change(self.nodes[number], 1, power_w)
        account.forget("r")

    def end(self, number: int, power_w: int) -> None:
        """See `Grid`."""
        self._change(self.nodes[number], -1, -power_w)

    def _change(self, node: Node, sessions: int, power_w: int) -> None:
        node.sessions += sessions
        node.load_w += power_w
        self.seqs[node.order] += 1
        ends = (End(1e6, node.sessions, node.load_w),)
        seq, limits = self.seqs[node.order], (node.max_sessions, node.capacity_w)
        account = self.ledger.get(node.name)
        assert account is not None
        account.fold(Report(1, seq, node.sessions, node.load_w, *limits, ends=ends), self.now_s, self.now_s)


def measure_us(grid: Grid, count: int, powers_w: tuple[int, ...], seconds: float) -> float:
    """µs for a start and an end on a grid that was filled to LOAD: the best of five rounds of together about `seconds`."""
    running, rng, filled, numbers = deque[tuple[int, int]](), Random(2), 0.0, cycle(range(count))
    powers = cycle([rng.choice(powers_w) for _ in range(9_973)])
    while filled < LOAD * count:
        number, power_w = next(numbers), next(powers)
        grid.begin(number, power_w)
        running.append((number, power_w))
        filled += power_w / CAPACITY_W if len(powers_w) > 1 else 1 / SLOTS
    rounds = []
    for _ in range(5):
        steps, began_s = 0, time.perf_counter()
        while (lasted_s := time.perf_counter() - began_s) < seconds / 5:
            for _ in range(20):
                grid.end(*running.popleft())
                power_w = next(powers)
                chosen = grid.choose(power_w)
                if chosen is not None:
                    grid.begin(chosen, power_w)
                    running.append((chosen, power_w))
            steps += 20
        rounds.append(lasted_s / steps)
    return 1e6 * min(rounds)


def make(name: str, count: int, powers_w: tuple[int, ...]) -> Grid:
    """An empty grid of `count`."""
    nodes = empty(count, len(powers_w) > 1)
    if name == "min()":
        return Listed(nodes)
    return Balanced(nodes) if name == "balancer" else Chosen(name, nodes, powers_w)


def main() -> int:
    """Print one table a mix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.5)
    seconds = parser.parse_args().seconds
    grown = False
    for title, powers_w in MIXES.items():
        print(f"\n| {title}, µs | " + " | ".join(f"N = {count:,}" for count in COUNTS) + " |\n|---" + "|---" * 4 + "|")
        for name in ("min()", *SHIPPED, "balancer"):
            costs = [measure_us(make(name, count, powers_w), count, powers_w, seconds) for count in COUNTS]
            print(f"| {name} | " + " | ".join(f"{cost:.1f}" for cost in costs) + " |", flush=True)
            grown = grown or (name in (DEFAULT, "balancer") and costs[-1] > MOST_GROWTH * costs[0])
    return int(grown)


if __name__ == "__main__":
    sys.exit(main())
