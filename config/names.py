"""Names that become paths, metric labels and URLs; must not know what they name."""

from __future__ import annotations

import os
import re

#: Cluster names, substation names and request ids. They become paths, so no separator and no leading dot.
NAME_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"
NAME_RULE = "1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot"

_NAME = re.compile(NAME_PATTERN.replace("$", r"\Z"))

#: Role names, as in `gridctl serve ROLE`, `ps --json` and metric labels.
CHARGE_REQUEST = "charge-request"
BALANCER = "balancer"
SUBSTATION = "substation"
EXTERNAL = "external"
#: Programs of others that watch the grid from beside it; they are none of its services.
PROMETHEUS = "prometheus"
GRAFANA = "grafana"

#: The roles of the grid's own services.
SERVICES = frozenset({CHARGE_REQUEST, BALANCER, SUBSTATION})
#: The roles of those who watch it.
WATCHERS = frozenset({PROMETHEUS, GRAFANA})

#: What no substation may be called: logs and state files of these names belong to others.
RESERVED = frozenset({CHARGE_REQUEST, BALANCER, PROMETHEUS, GRAFANA, "supervisor", "zygote"})
#: Nor this: where there are several balancers, or workers of the charge-request service, these are their names.
REPLICA_PATTERN = r"^(balancer|charge-request)[0-9]+$"


def new_id() -> str:
    """A request's id where its client gave none: a random UUID (RFC 9562, version 4) in 32 hex digits, also after a fork."""
    digits = os.urandom(16).hex()
    return f"{digits[:12]}4{digits[13:16]}{'89ab'[int(digits[16], 16) & 3]}{digits[17:]}"


def is_name(text: str) -> bool:
    """Whether `text` may name a cluster, a substation or a request."""
    return _NAME.match(text) is not None


def is_reserved(text: str) -> bool:
    """Whether `text`, in capitals or not, is the name of one of the cluster's own services."""
    return text.casefold() in RESERVED or re.match(REPLICA_PATTERN, text.casefold()) is not None
