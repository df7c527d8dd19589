"""Policies by name: those that come along and those of plug-ins, which are loaded when asked for. Must not know who picks.

A plug-in is an entry point of the group `gridctl.policies`: its name is the policy's, its object a class of `Policy`. One
that cannot be loaded is named with the reason, and is in nobody else's way.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint

from config import policies
from config.errors import Invalid
from services.routing.guard import Guarded
from services.routing.policies import POLICIES
from services.routing.policy import Policy

#: Where those that come along come from.
OWN = "gridctl"


@dataclass(frozen=True, slots=True)
class Entry:
    """A policy: its name, one sentence, the package that it comes from, and why it cannot be used (None: it can)."""

    name: str
    summary: str
    source: str
    error: str | None = None


class Unusable(Exception):
    """A plug-in that is no policy; says why."""


def entries() -> list[Entry]:
    """Every policy: those that come along in their order, then plug-ins by name. Loads the plug-ins."""
    own = [Entry(name, POLICIES[name].summary, OWN) for name in policies.SHIPPED]
    return own + [_entry(name, point) for name, point in policies.plugins().items()]


def make(name: str) -> Policy:
    """A new instance of the policy `name`, a plug-in's guarded; Invalid where there is none, or one that cannot be used."""
    if name in POLICIES:
        return POLICIES[name]()
    point = policies.plugins().get(name)
    if point is None:
        known = ", ".join(policies.known())
        raise Invalid(f"no policy is called {name!r}; there are {known}", "gridctl policies says what each does")
    try:
        return Guarded(name, _load(point)())
    except Unusable as unusable:
        raise Invalid(
            f"policy {name!r} of {_source(point)} cannot be used: {unusable}", "use another one"
        ) from unusable
    except Exception as error:
        told = f"policy {name!r} of {_source(point)} cannot be made: {_told(error)}"
        raise Invalid(told, "use another one") from error


def _entry(name: str, point: EntryPoint) -> Entry:
    try:
        return Entry(name, _load(point).summary, _source(point))
    except Unusable as unusable:
        return Entry(name, "", _source(point), str(unusable))


def _load(point: EntryPoint) -> type[Policy]:
    try:
        found = point.load()
    except Exception as error:  # somebody else's code may raise anything; it is said who and what
        raise Unusable(f"{point.value} cannot be loaded: {_told(error)}") from error
    if not isinstance(found, type) or not issubclass(found, Policy):
        raise Unusable(f"{point.value} is no class of services.routing.policy.Policy")
    if found.__abstractmethods__:
        raise Unusable(f"{point.value} has no {', '.join(sorted(found.__abstractmethods__))}")
    return found


def _source(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
