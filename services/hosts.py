"""Which names stand for this machine, and which of them a `Host` or an `Origin` says; knows no DNS and no server."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

#: `uri-host [ ":" port ]` (RFC 9110, section 7.2), of names, dotted quads and bracketed IPv6 only.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{0,5})?", re.ASCII)


def host_of(header: str) -> str | None:
    """The host in a `Host` header, in lower case, without port, brackets and a dot at its end; None where it is none."""
    found = _HOST.fullmatch(header)
    return None if found is None else found[1].strip("[]").lower().removesuffix(".") or None


def is_loopback(host: str) -> bool:
    """Whether `host` can only mean this machine: `localhost`, names below it (RFC 6761), 127.0.0.0/8 and ::1."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def origin_host(origin: str) -> str | None:
    """The host of an `Origin` header; None for `null` and for what is no origin."""
    try:
        return host_of(urlsplit(origin).netloc)
    except ValueError:
        return None
