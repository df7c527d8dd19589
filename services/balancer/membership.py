"""What one balancer believes of the others, and so who owns which EV. Pure: must not know HTTP; time is passed in.

A balancer is a member by its `incarnation`, a number that only grows. Whoever counts one as dead fences that incarnation at
the substations before it takes over its share, so a slow one that still lives can start nothing more; it comes back with a
higher one (a fencing token: Kleppmann, "How to do distributed locking", 2016). Each owner of a share uses attempts of a
`term` of its own, higher than every term before: of two attempts the later owner's is higher.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from config.gossip import State
from services.balancer.ownership import owner

#: Attempts of one term; a request has far fewer.
TERM = 1_000
#: No honest balancer gets so far; above it there must be room for ours, in what others and substations take.
MOST_INCARNATION = 2**53
MOST_TERM = 10**5
#: More balancers than this are not listened to.
MOST = 32


@dataclass(slots=True)
class Peer:
    """Another balancer. `up`: it has its share; `taken`: it is down, and its share was taken over.

    `heard` is the number of its last note, `told` that of the last one to it, `failures` counts those in a row that it did
    not answer, `broken`: its connection broke since. It `holds` so many requests of our share.
    """

    url: str
    up: bool = False
    taken: bool = False
    incarnation: int = 0
    fence: int = 0
    term: int = 0
    heard: int = 0
    told: int = 0
    failures: int = 0
    broken: bool = False
    holds: int = 0

    def answered(self) -> None:
        """It showed that it lives."""
        self.failures, self.broken = 0, False


@dataclass(slots=True)
class Members:
    """The view of the balancer at `url`, whose own `incarnation` is as given; `peers` are the others by URL."""

    url: str
    incarnation: int
    peers: dict[str, Peer] = field(default_factory=dict)
    ready: bool = False
    leaving: bool = False
    term: int = 0

    @staticmethod
    def of(url: str, urls: Collection[str], incarnation: int) -> Members:
        """At the start: nothing is known of `urls`, which may name this one too."""
        return Members(url, incarnation, {other: Peer(other) for other in urls if other != url})

    @property
    def state(self) -> State:
        """How this one stands to the others."""
        if self.leaving:
            return "leaving"
        return "ready" if self.ready else "joining"

    @property
    def up(self) -> list[Peer]:
        """The others that have their share."""
        return [peer for peer in self.peers.values() if peer.up]

    def whose(self, ev_id: str) -> str | None:
        """The URL of the balancer that places the requests of `ev_id` now; None while that changes hands."""
        if not self.peers:
            return self.url if self.ready else None
        others = [peer.url for peer in self.peers.values() if peer.up]
        if self.leaving and others:
            return owner(ev_id, others)
        if not self.ready:
            return None
        found = owner(ev_id, (self.url, *others))
        if found == self.url and any(self._is_due(peer, ev_id) for peer in self.peers.values()):
            return None
        return found

    def is_alone_here(self, ev_id: str) -> bool:
        """Whether requests of `ev_id` are answered by this one, now, and no other need be asked before."""
        if self.peers:
            for peer in self.peers.values():
                if peer.up and peer.holds:
                    return False
        return self.whose(ev_id) == self.url

    def _is_due(self, peer: Peer, ev_id: str) -> bool:
        return not (peer.up or peer.taken) and owner(ev_id, (self.url, peer.url)) == peer.url

    def peer(self, url: str) -> Peer | None:
        """The other balancer at `url`, also one that nobody told us of; None where there are too many."""
        if url not in self.peers and len(self.peers) < MOST and url != self.url:
            self.peers[url] = Peer(url, taken=True)
        return self.peers.get(url)

    def welcome(self, peer: Peer, incarnation: int) -> None:
        """`peer` has its share from now on, as `incarnation`."""
        peer.up, peer.taken, peer.incarnation = True, False, incarnation
        peer.heard = peer.holds = 0
        peer.answered()

    def lose(self, peer: Peer, now: int) -> None:
        """`peer` counts as dead: its incarnations up to the known one, `now` where none is, may start nothing more."""
        peer.up = peer.taken = False
        peer.fence = max(peer.fence, peer.incarnation or now)
        peer.holds = 0

    @property
    def fences(self) -> dict[str, int]:
        """The newest incarnation of each that counts as dead."""
        return {peer.url: peer.fence for peer in self.peers.values() if peer.fence}

    def reborn(self, above: int, now: int) -> None:
        """This one was counted as dead: it begins anew, by an incarnation above that (`now`, where that is higher)."""
        self.incarnation = max(above + 1, now)
        self.ready = False

    def must_renumber(self, peer: Peer) -> bool:
        """Whether `peer`, which counted balancers otherwise, numbers attempts as this one does, which gives way then."""
        return 0 < peer.term == self.term and self.url < peer.url

    def next_term(self, least: int = 0) -> int:
        """Begins a term above all that are known, and above `least`; no two balancers ever have the same."""
        known = max([self.term, least, *(peer.term for peer in self.peers.values())])
        if self.peers or known:
            urls = sorted((self.url, *self.peers))
            self.term = known + 1 + (urls.index(self.url) - known - 1) % len(urls)
        return self.term
