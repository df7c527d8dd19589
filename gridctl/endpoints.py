"""What `up` prints of a grid that runs: one line an endpoint, with a command to copy. Must not ask anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_CURLS = {
    "charge-request": "curl -X POST {url}/charge -H 'Content-Type: application/json' -d '{{\"ev_id\": \"EV1234\"}}'",
    "balancer": "curl {url}/status",
    "substation": "curl {url}/sessions",
    "external": "curl {url}/metrics",
    "prometheus": "{url}/graph",
    "grafana": "{url}/dashboards",
}


def endpoint_lines(processes: Sequence[Mapping[str, Any]]) -> list[str]:
    """`name  curl …` for each of a snapshot's processes, once for those that share a port; the URL is in the command."""
    first = {(entry["role"], entry["url"]): entry for entry in reversed(processes)}
    shown = [entry for entry in processes if first[entry["role"], entry["url"]] is entry]
    width = max((len(entry["name"]) for entry in shown), default=0)
    return [f"  {entry['name']:<{width}}  {_CURLS[entry['role']].format(url=entry['url'])}" for entry in shown]
