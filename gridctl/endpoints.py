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
    """`name  curl …` for each of a snapshot's processes; the URL is in the command."""
    width = max((len(entry["name"]) for entry in processes), default=0)
    return [f"  {entry['name']:<{width}}  {_CURLS[entry['role']].format(url=entry['url'])}" for entry in processes]
