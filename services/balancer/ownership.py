"""Who places the requests of an EV, of several balancers: all that know of the same ones agree. Pure.

Rendezvous hashing (Thaler and Ravishankar, "A name-based mapping scheme for rendezvous", 1996): where one leaves, only its
own share changes hands.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b


def weight(url: str, ev_id: str) -> int:
    """How much the balancer at `url` is meant to have `ev_id`: the same number everywhere, evenly spread."""
    return int.from_bytes(blake2b(f"{url}\n{ev_id}".encode(errors="surrogatepass"), digest_size=8).digest())


def owner(ev_id: str, urls: Iterable[str]) -> str:
    """Which of `urls`, at least one, places the requests of `ev_id`."""
    return max(urls, key=lambda url: (weight(url, ev_id), url))
