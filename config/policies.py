"""The names of the balancer's policies: those that come along, and those of installed plug-ins. Must not load any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.names import is_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: Those that come along, as `gridctl policies` lists them. `services.routing.policies` has each.
SHIPPED = ("ledger", "least-loaded", "least-loaded-stale", "round-robin", "random", "power-of-two", "best-fit")
DEFAULT = "ledger"
#: Where a package declares more, see CONTRIBUTING.md.
GROUP = "gridctl.policies"


def plugins() -> dict[str, EntryPoint]:
    """What installed packages declare, by name. A name that comes along, or that is none, is nobody else's to take."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 20 ms that only a name that does not come along costs

    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    return {name: found[name] for name in sorted(found) if is_name(name) and name not in SHIPPED}


def known() -> tuple[str, ...]:
    """Every name that a topology may have."""
    return (*SHIPPED, *plugins())


def is_known(name: str) -> bool:
    """Whether there is a policy `name`; looks for plug-ins only where it does not come along."""
    return name in SHIPPED or name in plugins()
