"""Who may ask a service that `gridctl serve` runs, from flags and environment. Must not know click or HTTP.

The token has no flag: what stands in a command line can be read by everybody on the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from config.access import HOW_TO_MAKE, MAY_BE_OPEN, Access, Patience, read_token
from config.errors import Fault, Invalid
from config.variables import ALLOWED_HOSTS_VARIABLE, TOKEN_FILE_VARIABLE, TOKEN_VARIABLE
from gridctl.serve.settings import Given, Setting, parts_of, positive, whole
from services.hosts import host_of, is_loopback


def _open(text: str) -> frozenset[str]:
    names = parts_of(text)
    if not set(names) <= MAY_BE_OPEN.keys():
        raise ValueError(" | ".join(MAY_BE_OPEN))
    return frozenset(MAY_BE_OPEN[name] for name in names)


def _hosts(text: str) -> frozenset[str]:
    hosts = [host_of(part) for part in parts_of(text)]
    if None in hosts:
        raise ValueError("names or addresses of this service, with commas between")
    return frozenset(host for host in hosts if host is not None)


_ALLOWED_HOSTS = Setting(
    "allowed_hosts",
    _hosts,
    "Without a token: names in `Host` that are answered beside loopback ones.",
    ALLOWED_HOSTS_VARIABLE,
)
ACCESS = (
    Setting(
        "token_file",
        str,
        f"A file with the token that every request must bring; or the token itself in {TOKEN_VARIABLE}.",
        TOKEN_FILE_VARIABLE,
    ),
    Setting("open", _open, "What needs no token though there is one: health, metrics or both; neither unless set."),
    _ALLOWED_HOSTS,
)
PATIENCE = (
    Setting("client_timeout_s", positive, "Wall seconds within which a request must arrive; 10 unless set."),
    Setting(
        "idle_timeout_s", positive, "Wall seconds that a connection may be idle between two requests; 75 unless set."
    ),
    Setting("max_connections", whole(1, 10**6), "Connections at once; 10000, or what open files allow, unless set."),
)


def access_of(given: Mapping[str, Given], environ: Mapping[str, str], address: str) -> Access:
    """Who may ask a service that listens on the IP `address`; Invalid where that is not loopback and there is no token."""
    values = _values(ACCESS, given)
    file = given.get("token_file")
    token = read_token(environ, file.text if file is not None and file.by_flag else None)
    if token is None and not is_loopback(address):
        hint = f"put one into a file and name it by {TOKEN_FILE_VARIABLE} or --token-file; {HOW_TO_MAKE}"
        raise Invalid(f"{address} can be reached from other machines, and there is no token to tell who may ask", hint)
    return Access(token, values.get("open", frozenset()), values.get("allowed_hosts", frozenset()))


def patience_of(given: Mapping[str, Given]) -> Patience:
    """How long clients may take, and how many there may be."""
    return Patience(**_values(PATIENCE, given))


def from_environment(environ: Mapping[str, str]) -> Access:
    """For services of a cluster on this machine: further names in `ALLOWED_HOSTS`, and never a token.

    Invalid where these cannot be names.
    """
    name = _ALLOWED_HOSTS.variable
    given = {_ALLOWED_HOSTS.key: Given(name, environ.get(name, ""), by_flag=False)}
    values = _values((_ALLOWED_HOSTS,), given, f"for example {name}=grid.example,10.0.0.5; or unset {name}")
    return Access(hosts=values[_ALLOWED_HOSTS.key])


def _values(
    settings: tuple[Setting, ...], given: Mapping[str, Given], hint: str = "gridctl serve --help"
) -> dict[str, Any]:
    values, faults = {}, []
    for setting in settings:
        found = given.get(setting.key)
        if found is None:
            continue
        try:
            values[setting.key] = setting.parse(found.text)
        except ValueError as error:
            faults.append(Fault(found.where, 0, setting.key, repr(found.text), str(error)))
    if faults:
        raise Invalid(f"{len(faults)} of the settings of access cannot be used", hint, faults)
    return values
