"""All accounts of one balancer, and who may be asked now. Pure: the clock's time is passed in, no network."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from services.balancer.account import Account
from services.balancer.targets import Target
from services.routing.node import SUSPECT, Node


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


class Ledger:
    """The accounts by substation name. `power_w` is what a session without `power_kw` is believed to draw."""

    def __init__(self, power_w: int, time_scale: float = 1.0) -> None:
        self._accounts: dict[str, Account] = {}
        self._power_w = power_w
        self._time_scale = time_scale
        self._made = 0

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def __len__(self) -> int:
        return len(self._accounts)

    def get(self, name: str) -> Account | None:
        """The account of the substation `name`; None if it is not, or no longer, discovered."""
        return self._accounts.get(name)

    def update(self, targets: Iterable[Target]) -> tuple[list[Account], list[Account]]:
        """Makes the accounts those of `targets`; returns (new ones, those that left).

        One whose address or kind changed is another substation: it leaves and comes anew. A change of the declared
        limits or of draining keeps the account and what it knows.
        """
        wanted = {target.name: target for target in targets}
        gone = [account for account in self if self._is_other(account, wanted.get(account.target.name))]
        for account in gone:
            del self._accounts[account.target.name]
        new = []
        for name, target in wanted.items():
            known = self._accounts.get(name)
            if known is None:
                new.append(self._open(target))
            else:
                known.redeclare(target)
        return new, gone

    def candidates(self, power_w: int, least_w: int, now_s: float, tried: Collection[str] = ()) -> list[Node]:
        """Who may be asked now for about `power_w` watts, certainly `least_w`; in no order of merit.

        All but the `tried` ones, those that drain or are certainly full, and failing ones that are being probed already.
        """
        nodes = []
        for name, account in self._accounts.items():
            account.advance(now_s)
            if name in tried or account.draining or (account.node.rank == SUSPECT and account.pending):
                continue
            if account.can_ever_fit(least_w) and not account.is_certainly_full(power_w, least_w, now_s):
                nodes.append(account.node)
        return nodes

    def can_ever_fit(self, power_w: int) -> bool:
        """Whether any substation would take `power_w` when empty."""
        return any(account.can_ever_fit(power_w) for account in self)

    def fits_at_s(self, power_w: int, now_s: float, but: Collection[str] = ()) -> float | None:
        """The earliest instant at which `power_w` fits at any that does not drain, `but` these; None where none tells."""
        asked = (account for name, account in self._accounts.items() if name not in but and not account.draining)
        instants = (account.fits_at_s(power_w, now_s) for account in asked)
        return min((instant for instant in instants if instant is not None), default=None)

    def next_end_s(self) -> float | None:
        """The earliest planned end anywhere; None if none is known."""
        return min((end for account in self if (end := account.next_end_s) is not None), default=None)

    def totals(self, now_s: float) -> Totals:
        """The sums over all accounts."""
        for account in self:
            account.advance(now_s)
        nodes = [account.node for account in self]
        capacities = [node.capacity_w for node in nodes if node.capacity_w is not None]
        return Totals(
            sessions=sum(node.sessions for node in nodes),
            max_sessions=sum(node.max_sessions for node in nodes),
            load_w=sum(node.load_w for node in nodes),
            capacity_w=sum(capacities) if nodes and len(capacities) == len(nodes) else None,
        )

    def _open(self, target: Target) -> Account:
        account = Account(target, self._made, self._power_w, self._time_scale)
        self._made += 1
        self._accounts[target.name] = account
        return account

    @staticmethod
    def _is_other(account: Account, target: Target | None) -> bool:
        known = account.target
        return target is None or (known.url, known.external) != (target.url, target.external)
