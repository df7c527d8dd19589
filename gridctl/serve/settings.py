"""The settings of `gridctl serve`: each is a flag with a twin in the environment (`--max-sessions`, `MAX_SESSIONS`).

Must not know click, nor what a service does with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

from config import policies
from config.errors import Fault, Invalid
from config.names import BALANCER, CHARGE_REQUEST, NAME_RULE, SUBSTATION, is_name
from config.settings import (
    MAX_WORKERS,
    Admission,
    BalancerSettings,
    ChargeRequestSettings,
    Durability,
    Settings,
    SubstationSettings,
    settings_from_json,
)

#: With --journal-dir a dash and up to nine digits follow a name.
LONGEST_BASE = 54
PORTS = {CHARGE_REQUEST: 8080, BALANCER: 8081, SUBSTATION: 9001}
_SETTINGS = {CHARGE_REQUEST: ChargeRequestSettings, BALANCER: BalancerSettings, SUBSTATION: SubstationSettings}


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(NAME_RULE)
    return text


def _host(text: str) -> str:
    if not text.strip():
        raise ValueError("an address or a host name")
    return text


def positive(text: str) -> float:
    """The number in `text`; ValueError unless above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= 1e9:
        raise ValueError("a number above 0, at most 1e9")
    return number


def _seconds(text: str) -> float:
    return 0.0 if text.strip() == "0" else positive(text)


def _host_port(text: str) -> str:
    host, _, port = text.strip().rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
    if not host or "/" in host or not 0 < number < 65536:
        raise ValueError("host:port")
    return text.strip()


def whole(least: int, most: int) -> Callable[[str], int]:
    """What reads whole numbers of these bounds, or raises ValueError."""

    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.lstrip("-").isdigit() and len(text) < 20 else least - 1
        if not least <= number <= most:
            raise ValueError(f"a whole number, {least} to {most}")
        return number

    return parse


def _one_of(words: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(" | ".join(words))
        return text

    return parse


def _switch(text: str) -> bool:
    if text.casefold() not in ("true", "false"):
        raise ValueError("true | false")
    return text.casefold() == "true"


def _policy(text: str) -> str:
    if not policies.is_known(text):
        raise ValueError(" | ".join(policies.known()))
    return text


def _substations(text: str) -> tuple[str, ...]:
    from services.balancer.targets import from_list  # noqa: PLC0415  only a balancer needs it

    parts = parts_of(text)
    try:
        from_list(parts)
    except Invalid as invalid:
        raise ValueError(invalid.faults[0].allowed) from invalid
    return parts


def _urls(text: str) -> tuple[str, ...]:
    parts = tuple(part if "://" in part else f"http://{part}" for part in parts_of(text))
    if not parts or not all(_is_url(part) for part in parts):
        raise ValueError("host:port or http://host:port, several with commas between")
    return parts


def _names(text: str) -> tuple[str, ...]:
    parts = tuple(parts_of(text))
    if not parts or not all(is_name(part) for part in parts):
        raise ValueError("names, several with commas between")
    return parts


def _own_url(text: str) -> str:
    urls = _urls(text)
    if len(urls) > 1:
        raise ValueError("one URL: http://host:port")
    return urls[0]


def _is_url(text: str) -> bool:
    from urllib.parse import urlsplit  # noqa: PLC0415

    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def parts_of(text: str) -> tuple[str, ...]:
    """What stands between the commas of `text`."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


@dataclass(frozen=True, slots=True)
class Setting:
    """One flag, its twin in the environment (the same in capitals) and how its text becomes a value."""

    key: str
    parse: Callable[[str], Any]
    text: str
    twin: str = ""

    @property
    def flag(self) -> str:
        """`--max-sessions`."""
        return f"--{self.key.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """`MAX_SESSIONS`, unless `twin` says otherwise."""
        return self.twin or self.key.upper()

    @property
    def metavar(self) -> str:
        """What stands for its value in the help."""
        return "TEXT" if self.parse in (str, _name, _host) else "VALUE"


LISTENING = (
    Setting("host", _host, "Address to listen on; 127.0.0.1 unless set."),
    Setting("port", whole(0, 65535), "Port; 8080 charge-request, 8081 balancer, 9001 substation; 0: a free one."),
)
SETTINGS = (
    Setting("name", _name, "The service's name in logs, metrics and answers."),
    Setting("time_scale", positive, "Grid seconds per real second."),
    Setting("max_sessions", whole(1, 10**9), "substation: sessions at once."),
    Setting("capacity_kw", positive, "substation: power at once; not limited unless set."),
    Setting("session_s", positive, "substation, balancer: grid seconds of a session that says nothing of its length."),
    Setting("power_kw", positive, "substation, balancer: power of a session that does not say."),
    Setting("substations", _substations, "balancer: host:port, name=host:port or name=URL#gauge, with commas between."),
    Setting(
        "targets_file", str, "balancer: a Prometheus file_sd file that names the substations, read when it changes."
    ),
    Setting(
        "substations_dns",
        _host_port,
        "balancer: host:port; each address of that host is a substation that names itself.",
    ),
    Setting("cluster", _name, "balancer: the grid's name, which is a label of its GET /targets."),
    Setting("policy", _policy, f"balancer: {', '.join(policies.SHIPPED)}, or that of a plug-in (`gridctl policies`)."),
    Setting("poll_interval_s", positive, "balancer: seconds between two looks at each substation."),
    Setting("seed", whole(0, 2**63), "balancer: makes its random choices repeatable."),
    Setting(
        "journal", str, "substation, balancer: path of its journal, which a restart resumes from; none unless set."
    ),
    Setting(
        "journal_dir", str, "substation: adopts a journal in this folder that no other owns, and is called NAME-<k>."
    ),
    Setting(
        "drain_s", _seconds, "substation: on SIGTERM takes nothing new for so long, in which its sessions may end."
    ),
    Setting(
        "durability",
        _one_of(get_args(Durability)),
        "substation, balancer: what the journal survives, fsync (a power cut too) or process (the end of the process).",
    ),
    Setting("hard_limit", _switch, "substation: true, or false to take more than its limits (teaching only)."),
    Setting(
        "admission",
        _one_of(get_args(Admission)),
        "balancer: what happens when all is full, reject (503) or queue (wait).",
    ),
    Setting("queue_limit", whole(1, 10**6), "balancer: how many requests may wait at once."),
    Setting("max_wait_s", positive, "balancer: grid seconds that a request without a departure may wait."),
    Setting("peers", _urls, "balancer: URLs of all balancers of the grid, its own too, with commas between."),
    Setting("url", _own_url, "balancer: its own URL, as among the peers."),
    Setting("replicas", _names, "balancer: all balancers by name; takes over what others left beside its journal."),
    Setting("balancers", _urls, "charge-request: URLs of the balancers, with commas between."),
    Setting("workers", whole(1, MAX_WORKERS), "charge-request: how many processes answer on its port; 1 unless set."),
    Setting("request_timeout_s", positive, "balancer, charge-request: seconds that a client waits at most."),
)


@dataclass(frozen=True, slots=True)
class Given:
    """What stood in a flag or a variable (`where`)."""

    where: str
    text: str
    by_flag: bool


def settings_of(role: str, given: Mapping[str, Given]) -> tuple[Settings, str, int]:
    """The settings of `role`, the host and the port; Invalid with a fault for every bad value.

    A flag of another role is a fault, a variable of another role is not: several services may share an environment.
    """
    known = {field.name for field in fields(_SETTINGS[role])} | {"host", "port"}
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for setting in (*LISTENING, *SETTINGS):
        found = given.get(setting.key)
        if found is None:
            continue
        if setting.key not in known:
            faults += [Fault(found.where, 0, setting.key, found.text, f"not with {role}")] if found.by_flag else []
            continue
        try:
            values[setting.key] = setting.parse(found.text)
        except ValueError as error:
            faults.append(Fault(found.where, 0, setting.key, repr(found.text), str(error)))
    faults = faults or _missing(role, values)
    if faults:
        raise Invalid(f"{len(faults)} of {role}'s settings cannot be used", f"gridctl serve {role} --help", faults)
    host, port = values.pop("host", "127.0.0.1"), values.pop("port", PORTS[role])
    return settings_from_json(role, values), host, port


def _missing(role: str, values: Mapping[str, Any]) -> list[Fault]:
    """What only the values together show to be wrong."""
    if role == BALANCER and not values.keys() & {"substations", "targets_file", "substations_dns"}:
        allowed = "a list here, --targets-file or --substations-dns"
        return [Fault("--substations", 0, "substations", "nothing", allowed)]
    if values.keys() >= {"journal", "journal_dir"}:
        return [Fault("--journal-dir", 0, "journal_dir", "--journal too", "one of the two")]
    if "journal_dir" in values and len(values.get("name", "")) > LONGEST_BASE:
        allowed = f"at most {LONGEST_BASE} characters: a number follows"
        return [Fault("--name", 0, "name", repr(values["name"]), allowed)]
    return []
