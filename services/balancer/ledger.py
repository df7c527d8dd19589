"""All accounts of one balancer, and who may be asked now. Pure: the clock's time is passed in, no network."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from random import Random

from services.balancer.account import Account
from services.balancer.decisions import Candidate, show
from services.balancer.standing import MOST_EJECTED_SHARE
from services.balancer.targets import Target
from services.routing.fleet import Fleet, Want
from services.routing.node import Node
from services.routing.policy import Policy


@dataclass(frozen=True, slots=True)
class Totals:
    """The grid as the ledger believes it; `capacity_w` is None unless every substation has a limit in watts."""

    sessions: int
    max_sessions: int
    load_w: int
    capacity_w: int | None

    @property
    def load(self) -> float:
        """The larger of both load ratios: 1.0 is full; 0.0 without substations."""
        load = self.sessions / self.max_sessions if self.max_sessions else 0.0
        return max(load, self.load_w / self.capacity_w) if self.capacity_w else load


def _nothing() -> None: ...


class _Askable:
    """Whether a node may be asked for about `power_w` watts, certainly `least_w`, at `now_s`."""

    __slots__ = ("_accounts", "_least_w", "_now_s", "_power_w")

    def __init__(self, accounts: dict[str, Account], power_w: int, least_w: int, now_s: float) -> None:
        self._accounts = accounts
        self._power_w = power_w
        self._least_w = least_w
        self._now_s = now_s

    def __call__(self, node: Node) -> bool:
        account = self._accounts[node.name]
        if not account.can_ever_fit(self._least_w):
            return False
        return not account.is_certainly_full(self._power_w, self._least_w, self._now_s)


class Ledger:
    """The accounts by substation name. `power_w` is what a session without `power_kw` is believed to draw.

    A choice must not look at every account: their nodes are in a `Fleet`, which each account tells what changed, and a heap
    knows which account changes by itself next. `on_change` is called when anything changed. `pushes`: own substations push
    to this balancer what they did not plan, see `services.balancer.belief`.
    """

    def __init__(self, power_w: int, time_scale: float = 1.0, pushes: bool = False) -> None:
        self.on_change: Callable[[], None] = _nothing
        self._accounts: dict[str, Account] = {}
        self._power_w = power_w
        self._time_scale = time_scale
        self._pushes = pushes
        self._made = 0
        self._fleet = Fleet()
        self._due: list[tuple[float, int, Account]] = []
        self._queued: dict[int, float] = {}
        self._stale: dict[Account, None] = {}
        self._shown: dict[int, Candidate] = {}

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def __len__(self) -> int:
        return len(self._accounts)

    def get(self, name: str) -> Account | None:
        """The account of the substation `name`; None if it is not, or no longer, discovered."""
        return self._accounts.get(name)

    def heard_at_s(self, name: str) -> float | None:
        """When the substation `name` was heard last; None if it never was, or is not discovered."""
        account = self._accounts.get(name)
        return None if account is None else account.heard_at_s

    def shown(self, node: Node) -> Candidate:
        """`node` as it is now, for who explains a choice; made once for all choices until it changes."""
        self._settle()
        found = self._shown.get(node.order)
        if found is None:
            found = self._shown[node.order] = show(node, self.heard_at_s(node.name))
        return found

    def update(self, targets: Iterable[Target]) -> tuple[list[Account], list[Account]]:
        """Makes the accounts those of `targets`; returns (new ones, those that left).

        One whose address or kind changed is another substation: it leaves and comes anew. A change of the declared
        limits or of draining keeps the account and what it knows.
        """
        wanted = {target.name: target for target in targets}
        gone = [account for account in self if self._is_other(account, wanted.get(account.target.name))]
        for account in gone:
            del self._accounts[account.target.name]
            self._fleet.remove(account.node)
            self._shown.pop(account.node.order, None)
            self._queued.pop(account.node.order, None)
        new = []
        for name, target in wanted.items():
            known = self._accounts.get(name)
            if known is None:
                new.append(self._open(target))
            else:
                known.redeclare(target)
        return new, gone

    def advance(self, now_s: float) -> None:
        """Drops what has ended by `now_s` from all estimates; looks only at accounts where something did."""
        self._settle()
        while self._due and self._due[0][0] <= now_s:
            due_s, order, account = heapq.heappop(self._due)
            if self._queued.get(order) == due_s:
                del self._queued[order]
                account.advance(now_s)
                self._queue(account)
        self._settle()

    def count(self, power_w: int) -> None:
        """A new request for `power_w` watts has come: policies spare places for what is asked for often."""
        self._fleet.demand.see(power_w)

    def pick(
        self,
        policy: Policy,
        power_w: int,
        least_w: int,
        now_s: float,
        tried: Collection[str],
        rng: Random,
    ) -> Node | None:
        """Whom `policy` asks now for about `power_w` watts, certainly `least_w`; None where nobody may be asked.

        All may be but the `tried` ones, those that drain or are certainly full, and doubtful ones that are being probed
        already.
        """
        self.advance(now_s)
        want = self._want(power_w, least_w, now_s, tried)
        if policy.blind:
            want = Want(power_w, tried)
        return policy.pick(self._fleet, want, rng)

    def oldest(self, least_w: int, tried: Collection[str]) -> Node | None:
        """Whose report is the oldest of all that admit for themselves and might take `least_w`; looks at every account."""
        asked = (
            account
            for name, account in self._accounts.items()
            if account.node.open and account.admits and name not in tried and account.can_ever_fit(least_w)
        )
        account = min(asked, key=lambda account: account.believed_s, default=None)
        return None if account is None else account.node

    def candidates(self, power_w: int, least_w: int, now_s: float, tried: Collection[str] = ()) -> list[Node]:
        """All who may be asked, as in `pick`, in no order of merit; looks at every account."""
        self.advance(now_s)
        return self._fleet.candidates(self._want(power_w, least_w, now_s, tried))

    @property
    def open(self) -> int:
        """How many accounts may be asked at all."""
        self._settle()
        return self._fleet.open

    def beside(self, power_w: int, tried: Collection[str], most: int = 16) -> list[Node]:
        """Up to `most` that the last pick had before it, the best first; see `Fleet.beside`."""
        self._settle()
        return self._fleet.beside(Want(power_w, tried), most)

    def _want(self, power_w: int, least_w: int, now_s: float, tried: Collection[str]) -> Want:
        return Want(power_w, tried, _Askable(self._accounts, power_w, least_w, now_s))

    def can_ever_fit(self, power_w: int) -> bool:
        """Whether any substation would take `power_w` when empty."""
        return any(account.can_ever_fit(power_w) for account in self)

    def fits_at_s(self, power_w: int, now_s: float, but: Collection[str] = ()) -> float | None:
        """The earliest instant at which `power_w` fits at any that does not drain, `but` these; None where none tells."""
        asked = (account for name, account in self._accounts.items() if name not in but and not account.draining)
        instants = (account.fits_at_s(power_w, now_s) for account in asked)
        return min((instant for instant in instants if instant is not None), default=None)

    def fits_first(self, power_w: int, now_s: float, request_id: str) -> tuple[float, str] | None:
        """When and where `request_id`, of `power_w` watts, fits first by planned ends, as if nobody was being asked for it.

        Infinite where they do not tell; None where it never fits. Of those that do not drain; a doubtful one only where
        there is no other.
        """
        chances = (
            (account.standing.doubtful, math.inf if instant is None else instant, account.target.name)
            for account in self
            if not account.draining and account.can_ever_fit(power_w)
            for instant in (account.fits_at_s(power_w, now_s, request_id),)
        )
        first = min(chances, default=None)
        return None if first is None else first[1:]

    @property
    def due_s(self) -> float:
        """When the next account changes by itself, or before; infinite if none does."""
        self._settle()
        return self._due[0][0] if self._due else math.inf

    def ends(self) -> list[tuple[float, int]]:
        """All planned ends, the earliest first: when, and how many sessions."""
        return sorted(end for account in self for end in account.ends)

    def next_end_s(self) -> float | None:
        """The earliest planned end anywhere; None if none is known."""
        return min((end for account in self if (end := account.next_end_s) is not None), default=None)

    def eta_s(self, position: int, power_w: int, length_s: float, now_s: float) -> float | None:
        """Until the one who waits at `position` (1 is next) charges, by planned ends and sessions of `length_s`."""
        if position == 1:
            fits_at_s = self.fits_at_s(power_w, now_s)
            return None if fits_at_s is None else max(0.0, fits_at_s - now_s)
        ends = self.ends()
        count = sum(sessions for _, sessions in ends)
        if not count:
            return None
        rounds, place = divmod(position - 1, count)
        for at_s, sessions in ends:
            place -= sessions
            if place < 0:
                return max(0.0, at_s - now_s) + rounds * length_s
        return None

    def totals(self, now_s: float) -> Totals:
        """The sums over all accounts."""
        self.advance(now_s)
        nodes = [account.node for account in self]
        capacities = [node.capacity_w for node in nodes if node.capacity_w is not None]
        return Totals(
            sessions=sum(node.sessions for node in nodes),
            max_sessions=sum(node.max_sessions for node in nodes),
            load_w=sum(node.load_w for node in nodes),
            capacity_w=sum(capacities) if nodes and len(capacities) == len(nodes) else None,
        )

    def _open(self, target: Target) -> Account:
        account = Account(
            target, self._made, self._power_w, self._time_scale, self._changed, self._may_eject, self._pushes
        )
        self._made += 1
        self._accounts[target.name] = account
        self._fleet.add(account.node)
        return account

    def _changed(self, account: Account) -> None:
        self.on_change()
        self._stale[account] = None

    def _settle(self) -> None:
        """Whoever chooses looks at each account that changed once, however often it did since: answers come together."""
        if not self._stale:
            return
        stale, self._stale = self._stale, {}
        for account in stale:
            self._shown.pop(account.node.order, None)
            self._fleet.touch(account.node)
            if self._accounts.get(account.target.name) is account:
                self._queue(account)

    def _queue(self, account: Account) -> None:
        due_s, order = account.due_s, account.node.order
        if due_s < self._queued.get(order, math.inf):
            self._queued[order] = due_s
            heapq.heappush(self._due, (due_s, order, account))

    def _may_eject(self) -> bool:
        ejected = sum(account.standing.ejected for account in self)
        return ejected == 0 or ejected + 1 <= MOST_EJECTED_SHARE * len(self)

    @staticmethod
    def _is_other(account: Account, target: Target | None) -> bool:
        known = account.target
        return target is None or (known.url, known.external) != (target.url, target.external)
