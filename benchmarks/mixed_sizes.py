"""What the policies block, and how evenly they load, where EVs ask for very different powers. In virtual time.

    python benchmarks/mixed_sizes.py [--arrivals 100000] [--seeds 4]

10 substations of 500 kW, 70 % offered, a third of the kW each at 7.4, 22 and 150 kW, exponential sessions (mean 30 s),
polls every 5 s. Prints a Markdown table, and below it the promises of `ledger`; exit 1 where one is broken. The pool is what
one substation of all the kW would block: nobody can block less.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from random import Random
from statistics import mean

from services.balancer.simulation import Outcome, Simulation, Site
from services.routing import registry
from services.routing.reference import Arrival

SUBSTATIONS, CAPACITY_W = 10, 500_000
POWERS_W = (7_400, 22_000, 150_000)
OFFERED, SESSION_S = 0.7, 30.0
#: The first sessions fill an empty grid: they are in no figure.
WARM_UP_S = 10 * SESSION_S
POLICIES = ("ledger", "least-loaded", "best-fit", "random", "power-of-two", "round-robin")


def arrivals(count: int, seed: int) -> list[Arrival]:
    """`count` EVs, Poisson, each power with a third of the offered kW."""
    rng, now_s = Random(seed), 0.0
    rates = [OFFERED * SUBSTATIONS * CAPACITY_W / len(POWERS_W) / (power_w * SESSION_S) for power_w in POWERS_W]
    made = []
    for _ in range(count):
        now_s += rng.expovariate(sum(rates))
        power_w = rng.choices(POWERS_W, rates)[0]
        made.append(Arrival(now_s, rng.expovariate(1 / SESSION_S), power_w))
    return made


def place(policy: str, count: int, seed: int) -> Outcome:
    """The figures of one policy (`pool`: of one substation with all the kW) on the arrivals of one seed."""
    pool = policy == "pool"
    site = Site(10**9, CAPACITY_W * SUBSTATIONS if pool else CAPACITY_W)
    chosen = registry.make("ledger" if pool else policy)
    sites = [site] * (1 if pool else SUBSTATIONS)
    return Simulation(sites, chosen, seed=seed, since_s=WARM_UP_S).run(arrivals(count, seed))


def main() -> int:
    """Run every policy on every seed and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrivals", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=4)
    chosen = parser.parse_args()
    seeds = range(1, chosen.seeds + 1)
    runs = list(product((*POLICIES, "pool"), seeds))
    with ProcessPoolExecutor() as workers:
        outcomes = dict(zip(runs, workers.map(_place, [(*run, chosen.arrivals) for run in runs]), strict=True))
    print(f"{chosen.arrivals} arrivals, seeds {', '.join(map(str, seeds))}\n")
    print("| policy | kW blocked, % | each seed | spread, kW | substations asked |\n|---|---|---|---|---|")
    blocked, spread = dict[str, float](), dict[str, float]()
    for policy in (*POLICIES, "pool"):
        own = [outcomes[policy, seed] for seed in seeds]
        blocked[policy] = mean(100 * each.blocked_kw_share for each in own)
        spread[policy] = mean(each.spread_kw for each in own)
        show(policy, blocked[policy], spread[policy], own)
    return judge(blocked, spread)


def _place(run: tuple[str, int, int]) -> Outcome:
    policy, seed, count = run
    return place(policy, count, seed)


def show(policy: str, blocked_pct: float, spread_kw: float, own: Iterable[Outcome]) -> None:
    """One row."""
    each = " ".join(f"{100 * outcome.blocked_kw_share:.2f}" for outcome in own)
    asked = mean(outcome.attempts for outcome in own)
    print(f"| {policy} | {blocked_pct:.3f} | {each} | {spread_kw:.1f} | {asked:.3f} |")


def judge(blocked: dict[str, float], spread: dict[str, float]) -> int:
    """The promises, one a line; 1 where one is broken."""
    promises = {
        "kW blocked ÷ least-loaded's ≤ 1/3": (blocked["ledger"] / blocked["least-loaded"], 1 / 3),
        "kW blocked - best-fit's ≤ 0.4 points": (blocked["ledger"] - blocked["best-fit"], 0.4),
        "spread ÷ least-loaded's ≤ 1.5": (spread["ledger"] / spread["least-loaded"], 1.5),
        "spread ÷ best-fit's ≤ 0.5": (spread["ledger"] / spread["best-fit"], 0.5),
    }
    print()
    for promise, (found, most) in promises.items():
        print(f"{'ok    ' if found <= most else 'BROKEN'} {promise}: {found:.3f}")
    return int(any(found > most for found, most in promises.values()))


if __name__ == "__main__":
    sys.exit(main())
