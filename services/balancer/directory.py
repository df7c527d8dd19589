"""Who is behind the addresses that DNS gives for one name: each says itself what it is called. Pure: no network, no clock.

An address is not an identity: a restarted container comes back at another one, and what is at this one now may be somebody
else. So a substation is its name, which only one can have (it owns that name's journal), and moves with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from config.names import SUBSTATION, is_name
from services.balancer.targets import Target

#: An address that DNS does not give any more leaves after this (wall seconds): a container that crashed is back by then.
GONE_S = 6.0
#: One that did not say its name for so long is not just starting (wall seconds).
STARTING_S = 10.0
#: Where DNS fails, or gives nothing, nobody leaves for this long (wall seconds); after that only who does not answer.
PATIENCE_S = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Introduction:
    """What answers at an address says of itself; `epoch` is its process's, None where it does not know its state yet."""

    name: str
    role: str
    epoch: int | None = None

    @property
    def usable(self) -> bool:
        """Whether it is a substation with a name."""
        return self.role == SUBSTATION and is_name(self.name)


@dataclass(slots=True)
class Address:
    """One address: since when DNS gives it, and when last; and what was said there. `answers`: when it was asked last."""

    url: str
    since_s: float
    seen_s: float
    given: bool = True
    answers: bool = False
    said: Introduction | None = None
    complaint: str = ""
    warned: bool = False

    @property
    def name(self) -> str | None:
        """The substation that is, or was, there; None where none ever was."""
        return None if self.said is None else self.said.name


def _never(_: str) -> bool:
    return False


@dataclass(slots=True)
class Directory:
    """The addresses behind one name, and the substations there. Times are wall seconds of one monotonic clock.

    `doubtful` says of a substation whether it was silent or failed lately, `draining` whether it says that it drains.
    """

    doubtful: Callable[[str], bool] = _never
    draining: Callable[[str], bool] = _never
    _addresses: dict[str, Address] = field(default_factory=dict)
    _holders: dict[str, str] = field(default_factory=dict)
    _rivals: set[str] = field(default_factory=set)
    _good_s: float | None = None

    @property
    def heard(self) -> bool:
        """Whether DNS ever gave an address."""
        return self._good_s is not None

    def resolved(self, urls: Collection[str], now_s: float) -> None:
        """DNS gave `urls`; none: it failed, or knows none, which teaches nothing at first."""
        if not urls:
            return
        self._good_s = now_s
        for address in self._addresses.values():
            address.given = False
        for url in sorted(urls):
            address = self._addresses.setdefault(url, Address(url, now_s, now_s))
            address.given, address.seen_s = True, now_s

    def to_ask(self) -> list[str]:
        """Who is to be asked for its name: new ones, and those of which it is not sure that they are still there."""
        names = [address.name for address in self._addresses.values()]
        return [
            address.url
            for address in self._addresses.values()
            if not address.answers
            or address.name is None
            or names.count(address.name) > 1
            or self.doubtful(address.name)
        ]

    def told(self, url: str, said: Introduction | str) -> None:
        """What was said at `url` when it was asked; a text says why there was nothing that could be used."""
        address = self._addresses.get(url)
        if address is None:
            return
        if isinstance(said, Introduction) and not said.usable:
            said, address.said = f"{said.name[:80]!r} of role {said.role[:80]!r} is no substation", None
        address.complaint = said if isinstance(said, str) else ""
        address.answers = not address.complaint
        if isinstance(said, Introduction):
            address.said = said

    def settle(self, now_s: float) -> tuple[Target, ...]:
        """The substations, by their names, after all was told that could be; who is gone is forgotten."""
        for address in [address for address in self._addresses.values() if self._is_gone(address, now_s)]:
            del self._addresses[address.url]
        claims: dict[str, list[Address]] = {}
        for address in self._addresses.values():
            if address.name is None:
                _warn(address, now_s)
            else:
                claims.setdefault(address.name, []).append(address)
        rivals = self._rivals
        self._rivals = set()
        self._holders = {name: self._holder(name, claims[name], rivals) for name in sorted(claims)}
        return tuple(Target(name, url, learned=True) for name, url in self._holders.items())

    def _is_gone(self, address: Address, now_s: float) -> bool:
        if address.given:
            failing_s = now_s - (now_s if self._good_s is None else self._good_s)
            return failing_s >= PATIENCE_S and not address.answers
        if address.answers and address.name is not None and self.draining(address.name):
            return False  # it left the name so as to get nothing new, and its sessions go on
        return address.name is None or now_s - address.seen_s >= GONE_S

    def _holder(self, name: str, addresses: list[Address], known: Collection[str]) -> str:
        """Where `name` is: where it answers and is given, where it was before if there are several such."""
        before = self._holders.get(name)
        first, *others = sorted(
            addresses, key=lambda at: (not (at.answers and at.given), not at.answers, at.url != before)
        )
        if before not in (None, first.url):
            _log.info("moved", extra={"substation": name, "from": before, "to": first.url})
        rivals = {other.url for other in others if _is_rival(first, other)}
        if rivals - set(known):
            urls = [first.url, *sorted(rivals)]
            _log.error("several bear one name; only the first is used", extra={"substation": name, "urls": urls})
        self._rivals |= rivals
        return first.url


def _warn(address: Address, now_s: float) -> None:
    """Says once who does not introduce himself; not of one that may still be starting."""
    if now_s - address.since_s >= STARTING_S and address.complaint and not address.warned:
        address.warned = True
        _log.warning("not known who this is", extra={"url": address.url, "detail": address.complaint[:200]})


def _is_rival(first: Address, other: Address) -> bool:
    """Whether both live, and are not one process behind two addresses."""
    if first.said is None or other.said is None or not (first.answers and other.answers and other.given):
        return False
    return first.said.epoch is None or first.said.epoch != other.said.epoch
