"""A grid in virtual time: real policies on the real ledger, simulated substations. Hours of placing take seconds.

Substations speak in real reports, with their planned ends gathered as on the wire, on every reply and at every poll; sending
takes no time. Must not know HTTP, and reads no clock.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from config.report import Report, gather
from services.balancer.account import Account
from services.balancer.ledger import Ledger
from services.balancer.targets import Target
from services.routing.policy import Policy
from services.routing.reference import Arrival

#: What a request without power would draw; every simulated one says its own.
_POWER_W = 7_400


@dataclass(frozen=True, slots=True)
class Site:
    """A simulated substation's limits; without a `hard_limit` it takes everything, and is overloaded."""

    max_sessions: int = 10
    capacity_w: int | None = None
    hard_limit: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of `arrivals`; all shares are 0 … 1.

    `blocked_share` is by arrivals, `blocked_kw_share` by their power. `attempts` is substations asked per arrival.
    `overloads` is the share of arrivals that left a substation above a limit, `peak_load` the highest load of any (1.0 is
    full), `excess` is Σ∫max(0, sessions - limit) ÷ Σ∫sessions. `spread` and `spread_kw` average most less least over time.
    """

    arrivals: int
    blocked_share: float
    blocked_kw_share: float
    attempts: float
    overloads: float
    peak_load: float
    excess: float
    spread: float
    spread_kw: float


class _Substation:
    """Sessions by their ends, and what they draw."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.load_w = 0
        self.ends: list[tuple[float, int]] = []
        self._seq = 0

    @property
    def sessions(self) -> int:
        return len(self.ends)

    @property
    def load(self) -> float:
        by_sessions = self.sessions / self.site.max_sessions
        return max(by_sessions, self.load_w / self.site.capacity_w) if self.site.capacity_w else by_sessions

    def admits(self, power_w: int) -> bool:
        site = self.site
        if not site.hard_limit:
            return True
        fits_w = site.capacity_w is None or self.load_w + power_w <= site.capacity_w
        return fits_w and self.sessions < site.max_sessions

    def begin(self, ends_s: float, power_w: int) -> None:
        insort(self.ends, (ends_s, power_w))
        self.load_w += power_w
        self._seq += 1

    def end_first(self) -> None:
        self.load_w -= self.ends.pop(0)[1]
        self._seq += 1

    def report(self, now_s: float) -> Report:
        ends = gather([(ends_s - now_s, power_w) for ends_s, power_w in self.ends])
        site = self.site
        return Report(1, self._seq, self.sessions, self.load_w, site.max_sessions, site.capacity_w, ends)


class _Meter:
    """The integrals over time, from `since_s` on."""

    def __init__(self, substations: Sequence[_Substation], since_s: float) -> None:
        self._substations = substations
        self._since_s = self._last_s = since_s
        self._spread = self._spread_w = self._over = self._sessions = 0.0

    def count(self, now_s: float) -> None:
        """To be called before anything changes at `now_s`."""
        lasting_s = now_s - self._last_s
        if lasting_s <= 0:
            return
        sessions = [each.sessions for each in self._substations]
        loads_w = [each.load_w for each in self._substations]
        self._spread += (max(sessions) - min(sessions)) * lasting_s
        self._spread_w += (max(loads_w) - min(loads_w)) * lasting_s
        self._sessions += sum(sessions) * lasting_s
        self._over += sum(max(0, each.sessions - each.site.max_sessions) for each in self._substations) * lasting_s
        self._last_s = now_s

    def averages(self) -> tuple[float, float, float]:
        """Spread in sessions and in watts, and excess."""
        time_s = self._last_s - self._since_s or 1.0
        return self._spread / time_s, self._spread_w / time_s, self._over / self._sessions if self._sessions else 0.0


class Simulation:
    """One balancer before `sites` (one at least) that chooses by `policy` and polls each at its own phase.

    What comes before `since_s` is placed, and in no figure.
    """

    def __init__(
        self, sites: Sequence[Site], policy: Policy, poll_interval_s: float = 5.0, seed: int = 0, since_s: float = 0.0
    ) -> None:
        self._rng = Random(seed)
        self._policy = policy
        self._substations = {f"substation{number}": _Substation(site) for number, site in enumerate(sites, 1)}
        self._ledger = Ledger(_POWER_W)
        self._ledger.update(Target(name, f"http://{name}") for name in self._substations)
        self._interval_s = poll_interval_s
        self._meter = _Meter(list(self._substations.values()), since_s)
        self._since_s = since_s
        self._ends: list[tuple[float, str]] = []
        self._polls: list[tuple[float, str]] = []
        self._asked = self._over = 0
        self._peak_load = 0.0
        for name, substation in self._substations.items():
            self._account(name).fold(substation.report(0.0), 0.0, 0.0, polled=True)
            heapq.heappush(self._polls, (self._rng.random() * poll_interval_s, name))

    def run(self, arrivals: Iterable[Arrival]) -> Outcome:
        """Places `arrivals` (ascending), each with the substations that the policy names, until one takes it."""
        counted = blocked = offered_w = blocked_w = 0
        for number, arrival in enumerate(arrivals):
            self._pass_time(arrival.at_s)
            taken = self._place(f"r{number}", arrival)
            if arrival.at_s >= self._since_s:
                counted += 1
                offered_w += arrival.power_w
                blocked += not taken
                blocked_w += 0 if taken else arrival.power_w
        spread, spread_w, excess = self._meter.averages()
        several = counted or 1
        return Outcome(
            arrivals=counted,
            blocked_share=blocked / several,
            blocked_kw_share=blocked_w / (offered_w or 1),
            attempts=self._asked / several,
            overloads=self._over / several,
            peak_load=self._peak_load,
            excess=excess,
            spread=spread,
            spread_kw=spread_w / 1000,
        )

    def _place(self, request_id: str, arrival: Arrival) -> bool:
        now_s, power_w, tried = arrival.at_s, arrival.power_w, set[str]()
        self._ledger.count(power_w)
        while self._policy.tries is None or len(tried) < self._policy.tries:
            node = self._ledger.pick(self._policy, power_w, power_w, now_s, tried, self._rng)
            if node is None:
                return False
            self._asked += now_s >= self._since_s
            account, substation = self._account(node.name), self._substations[node.name]
            account.assume(request_id, power_w, now_s)
            taken = substation.admits(power_w)
            if taken:
                self._begin(node.name, substation, arrival)
            account.fold(substation.report(now_s), now_s, now_s)
            account.forget(request_id)
            if taken:
                return True
            tried.add(node.name)
        return False

    def _begin(self, name: str, substation: _Substation, arrival: Arrival) -> None:
        ends_s = arrival.at_s + arrival.length_s
        substation.begin(ends_s, arrival.power_w)
        heapq.heappush(self._ends, (ends_s, name))
        if arrival.at_s >= self._since_s:
            self._over += substation.load > 1
            self._peak_load = max(self._peak_load, substation.load)

    def _pass_time(self, now_s: float) -> None:
        """Ends sessions and polls, each at its time, until `now_s`."""
        while True:
            end_s = self._ends[0][0] if self._ends else now_s + 1
            poll_s = self._polls[0][0]
            if min(end_s, poll_s) > now_s:
                break
            if end_s <= poll_s:
                self._meter.count(end_s)
                self._substations[heapq.heappop(self._ends)[1]].end_first()
            else:
                _, name = heapq.heappop(self._polls)
                self._account(name).fold(self._substations[name].report(poll_s), poll_s, poll_s, polled=True)
                heapq.heappush(self._polls, (poll_s + self._interval_s, name))
        self._meter.count(now_s)

    def _account(self, name: str) -> Account:
        account = self._ledger.get(name)
        assert account is not None  # noqa: S101 - the ledger has exactly the substations
        return account
