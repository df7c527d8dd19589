"""What must hold between the keys of a topology; must not know where it was written, nor any single key's own limits.

Works on plain values, wrong ones too (those are passed over), so that one reading names every fault of both kinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from config.names import RESERVED, is_reserved
from config.ports import BALANCER_PORT, LOOPBACK, REQUEST_PORT

#: A place in a topology: `("substations", 2, "port")`.
Path = tuple[str | int, ...]

#: Keys that an own substation has and an external one decides itself, and why.
OWN_ONLY = {
    "port": "the port stands in `url`",
    "session_s": "an external substation decides itself how long a session lasts",
    "power_kw": "an external substation decides itself how much a session draws",
}
_LOOPBACK_HOSTS = {LOOPBACK, "localhost", "::1", "0.0.0.0"}  # noqa: S104  # compared with, never bound


@dataclass(frozen=True, slots=True)
class Break:
    """One rule that is broken: at which place, what was found there, and what is allowed."""

    path: Path
    found: str
    allowed: str


def key_of(path: Path) -> str:
    """The dotted key: `("substations", 2, "port")` → `substations[2].port`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "(top)"


def breaks(values: Mapping[str, Any]) -> list[Break]:
    """Every broken rule among the plain `values` of a topology."""
    entries = values.get("substations")
    listed = list(enumerate(entries)) if isinstance(entries, list | tuple) else []
    substations = [(index, entry) for index, entry in listed if isinstance(entry, Mapping)]
    return [
        *_names(substations),
        *_ports(values, substations),
        *(found for index, entry in substations for found in _external(index, entry)),
        *_urls(substations),
    ]


Substations = list[tuple[int, Mapping[str, Any]]]


def _names(substations: Substations) -> Iterator[Break]:
    seen: dict[str, tuple[int, str]] = {}
    for index, entry in substations:
        name = entry.get("name")
        if not isinstance(name, str):
            continue
        path: Path = ("substations", index, "name")
        if is_reserved(name):
            allowed = f"any name but {', '.join(sorted(RESERVED))}, balancerN, charge-requestN"
            yield Break(path, f"the reserved name {name!r}", allowed)
        first, as_written = seen.setdefault(name.casefold(), (index, name))
        if first != index:
            case = "" if as_written == name else f" (as {as_written!r}: names become files, where case may not count)"
            yield Break(path, f"{name!r}, the name of substations[{first}] already{case}", "a name of its own for each")


def _ports(values: Mapping[str, Any], substations: Substations) -> Iterator[Break]:
    claims: dict[int, str] = {}
    for section, default in (("request_service", REQUEST_PORT), ("balancer", BALANCER_PORT)):
        part = values.get(section)
        declared = part.get("port") if isinstance(part, Mapping) else None
        path: Path = (section, "port")
        if _is_port(declared):
            yield from _claimed(claims, path, declared)
        claims.setdefault(declared if _is_port(declared) else default, key_of(path))
    yield from _watchers(values, claims)
    yield from _default_taken(values)
    for index, entry in substations:
        path = ("substations", index, "port")
        if entry.get("url") is None and _is_port(entry.get("port")):
            yield from _claimed(claims, path, entry["port"])
            claims.setdefault(entry["port"], key_of(path))
    for index, entry in substations:
        if (port := loopback_port(entry.get("url"))) is not None:
            yield from _claimed(claims, ("substations", index, "url"), port)


def _watchers(values: Mapping[str, Any], claims: dict[int, str]) -> Iterator[Break]:
    """Those that are wanted; what is switched off takes no port."""
    part = values.get("monitoring")
    declared: Mapping[str, Any] = part if isinstance(part, Mapping) else {}
    grafana = declared.get("grafana") is True
    for name, wanted in (("prometheus", grafana or declared.get("prometheus") is True), ("grafana", grafana)):
        port, path = declared.get(f"{name}_port"), ("monitoring", f"{name}_port")
        if wanted and _is_port(port):
            yield from _claimed(claims, path, port)
            claims.setdefault(port, key_of(path))


def _claimed(claims: Mapping[int, str], path: Path, port: int) -> Iterator[Break]:
    if port in claims:
        yield Break(path, f"port {port}, taken by {_holder(claims[port])}", f"another port here or in `{claims[port]}`")


def _holder(key: str) -> str:
    defaults = {"request_service.port": REQUEST_PORT, "balancer.port": BALANCER_PORT}
    return f"`{key}`" + (f" ({defaults[key]} unless it is set)" if key in defaults else "")


def _default_taken(values: Mapping[str, Any]) -> Iterator[Break]:
    """The request service on the balancer's default port, while the balancer sets none."""
    services = [part if isinstance(part := values.get(key), Mapping) else {} for key in ("request_service", "balancer")]
    if services[0].get("port") == BALANCER_PORT and services[1].get("port") is None:
        path: Path = ("request_service", "port")
        yield from _claimed({BALANCER_PORT: "balancer.port"}, path, BALANCER_PORT)


def _is_port(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def loopback_port(url: object) -> int | None:
    """The port of `url` where that is on this machine, else None."""
    if not isinstance(url, str):
        return None
    try:
        host, port = urlsplit(url).hostname, urlsplit(url).port
    except ValueError:
        return None
    return port if host in _LOOPBACK_HOSTS else None


def _external(index: int, entry: Mapping[str, Any]) -> Iterator[Break]:
    if entry.get("url") is None:
        if entry.get("load_metric") is not None:
            allowed = "only together with `url`: the gauge is how an external substation is read"
            yield Break(("substations", index, "load_metric"), "a gauge without `url`", allowed)
        return
    for key, why in OWN_ONLY.items():
        if entry.get(key) is not None:
            yield Break(("substations", index, key), f"`{key}` beside `url`", f"no `{key}` beside `url`: {why}")


def _urls(substations: Substations) -> Iterator[Break]:
    seen: dict[str, int] = {}
    for index, entry in substations:
        if not isinstance(entry.get("url"), str):
            continue
        url = entry["url"].rstrip("/")
        path: Path = ("substations", index, "url")
        if not _has_port(url):
            yield Break(path, f"{entry['url']!r}, whose port is no port", "a port from 1 to 65535 in the URL")
        first = seen.setdefault(url, index)
        if first != index:
            yield Break(path, f"the URL of substations[{first}] again", "each service once: its load would count twice")


def _has_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False
