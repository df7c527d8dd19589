"""The verb `faults`: turns faults of replies on, renews or ends them, over the services' lifelines. For `gridctl chaos`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from config.errors import Invalid
from config.names import SERVICES
from gridctl.selection import select
from gridctl.supervisor.cluster import Cluster
from gridctl.supervisor.waiting import Line
from services.faults import VERB, checked


async def faults(cluster: Cluster, args: Mapping[str, Any]) -> AsyncIterator[Line]:
    """Tell `names` (globs allowed) of `drop_pct`, `delay_s`, `duplicate_pct`, for `for_s` wall seconds, ten at most.

    What a service is told while it does not run is lost; what it is told holds until it ends, or its time is over.
    """
    order = checked(args)
    own = [name for name, member in cluster.members.items() if member.spec.role in SERVICES]
    chosen = select(list(args.get("names") or ()), own)
    if not chosen:
        raise Invalid("no process named", "name one or more, or a pattern such as 'substation*'")
    told = ", ".join(f"{key} {value:g}" for key, value in order.items())
    for name in chosen:
        cluster.members[name].tell({"do": VERB, **order})
        yield {"name": name, "message": f"{name}: {told}"}
