"""What a balancer says of the grid: `GET /status` and its gauges. Must not know HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.balancer.account import Account
from services.balancer.ledger import Ledger
from services.balancer.membership import Members

#: `grid_health` as a number; the grid is `strained` from this loading on, `overloaded` when anyone is above its limit.
HEALTH = {"ok": 2, "strained": 1, "overloaded": 0}
STRAINED_LOAD = 0.8


def health(ledger: Ledger, now_s: float) -> str:
    """`ok`, `strained` or `overloaded`."""
    load = ledger.totals(now_s).load
    if any(_is_overloaded(account) for account in ledger):
        return "overloaded"
    return "strained" if load >= STRAINED_LOAD else "ok"


def _is_overloaded(account: Account) -> bool:
    """Whether what is known to charge there exceeds a limit. What was sent and is not answered yet does not count: one that
    limits itself is asked though it may be full, and refuses."""
    node = account.node
    known_w = node.load_w - sum(sent.power_w for sent in account.pending.values())
    above = node.capacity_w is not None and known_w > node.capacity_w
    return above or node.sessions - len(account.pending) > node.max_sessions


def load_pct(account: Account, now_s: Callable[[], float]) -> float:
    """The believed load of a substation, in percent."""
    account.advance(now_s())
    return 100 * account.node.load


def age_s(account: Account, now_s: Callable[[], float]) -> float:
    """Wall seconds since a substation was heard; NaN before."""
    return float("nan") if account.heard_at_s is None else now_s() - account.heard_at_s


def document(ledger: Ledger, now_s: float, members: Members) -> dict[str, Any]:
    """The answer to `GET /status`; `balancers` are this one and, where there are several, the others as it sees them."""
    own = {"url": members.url, "state": members.state, "incarnation": members.incarnation}
    others = [
        {"url": peer.url, "state": "up" if peer.up else "down", "incarnation": peer.incarnation}
        for peer in members.peers.values()
    ]
    return {
        "balancers": [own, *others],
        "grid_loading_pct": round(100 * ledger.totals(now_s).load, 3),
        "grid_health": health(ledger, now_s),
        "substations": [_row(account, now_s) for account in ledger],
    }


def _row(account: Account, now_s: float) -> dict[str, Any]:
    node = account.node
    return {
        "name": account.target.name,
        "url": account.target.url,
        "external": account.target.external,
        "state": account.state,
        "sessions": node.sessions,
        "max_sessions": node.max_sessions,
        "load_kw": node.load_w / 1000,
        "capacity_kw": None if node.capacity_w is None else node.capacity_w / 1000,
        "load_pct": round(100 * node.load, 3),
        "pending": len(account.pending),
        "report_age_s": None if account.heard_at_s is None else round(now_s - account.heard_at_s, 3),
    }
