"""Which substations there are: a Prometheus `file_sd` file or a static list, read into targets. Knows no network."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from config.errors import Fault, Invalid
from config.names import NAME_RULE, SUBSTATION, is_name

#: What an external substation without declared limits is believed to take (config.topology.Defaults).
DEFAULT_MAX_SESSIONS = 10
#: The gauge that an external substation is read from unless declared otherwise.
DEFAULT_GAUGE = "substation_current_load"


@dataclass(frozen=True, slots=True)
class Target:
    """One substation to balance over: `url` is where `POST /charge` goes (`url` + `/charge`), without a slash at its end.

    `max_sessions` and `capacity_w` are only what is believed until a report says otherwise. `load_metric` is the gauge
    that counts where reports are missing; its page is at `metrics_path` of the same host, else at `url` + `/metrics`.
    A `draining` one gets no new session. A `learned` name is one that the substation gave itself: then it is asked by it.
    """

    name: str
    url: str
    external: bool = False
    load_metric: str = DEFAULT_GAUGE
    metrics_path: str | None = None
    max_sessions: int = DEFAULT_MAX_SESSIONS
    capacity_w: int | None = None
    draining: bool = False
    learned: bool = False

    @property
    def metrics_url(self) -> str:
        """Where its metrics page is."""
        return f"{self.url}/metrics" if self.metrics_path is None else urljoin(self.url, self.metrics_path)


def from_file(path: Path) -> tuple[Target, ...]:
    """The substations in a `file_sd` file; other jobs in it are ignored.

    Raises OSError where the file cannot be read and ValueError where it does not hold what `file_sd` must.
    """
    text = path.read_text(encoding="utf-8")
    try:
        return _distinct(target for entry in json.loads(text) for target in _from_entry(entry))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a file_sd document: {error!r}") from error


def from_list(texts: Iterable[str], where: str = "SUBSTATIONS") -> tuple[Target, ...]:
    """The substations in `host:port`, `name=host:port` and `name=URL#gauge` texts; without a name, `substation<n>`.

    Raises Invalid with one fault for each text that is none of these.
    """
    targets: list[Target] = []
    faults: list[Fault] = []
    for number, text in enumerate(texts, start=1):
        try:
            targets.append(_from_text(text.strip(), number))
        except ValueError as error:
            faults.append(Fault(where, 0, f"[{number - 1}]", repr(text), str(error)))
    if faults:
        raise Invalid(f"{len(faults)} of {where} are not substations", faults=faults)
    return _distinct(targets)


def to_http_sd(targets: Iterable[Target], cluster: str | None) -> list[dict[str, Any]]:
    """The same for Prometheus' `http_sd`: one group a substation, by name, under the labels that `file_sd` gives it."""
    common = {"job": SUBSTATION} if cluster is None else {"job": SUBSTATION, "cluster": cluster}
    return [_to_group(target, common) for target in sorted(targets, key=lambda target: target.name)]


def _to_group(target: Target, common: Mapping[str, str]) -> dict[str, Any]:
    labels = {**common, "substation_id": target.name}
    where = urlsplit(target.metrics_url)
    if target.external:
        labels |= {"external": "true", "url": target.url, "load_metric": target.load_metric}
    if where.scheme != "http":
        labels["__scheme__"] = where.scheme
    if where.path != "/metrics":
        labels["__metrics_path__"] = where.path
    return {"targets": [where.netloc], "labels": labels}


def _from_text(text: str, number: int) -> Target:
    name, given, address = text.partition("=")
    if not given or "://" in name:
        name, address = f"substation{number}", text
    if not is_name(name):
        raise ValueError(f"a name is {NAME_RULE}")
    url, hashed, gauge = address.partition("#")
    url = url if "://" in url else f"http://{url}"
    _check(url)
    return Target(name, url.rstrip("/"), external=bool(hashed), load_metric=gauge or DEFAULT_GAUGE)


def _check(url: str) -> None:
    allowed = "host:port, name=host:port or name=http://host:port/path#gauge"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError(allowed) from error
    if not usable or parts.query:
        raise ValueError(allowed)


def _from_entry(entry: Any) -> list[Target]:
    labels = entry["labels"]
    if labels.get("job") != SUBSTATION:
        return []
    return [_from_labels(address, labels) for address in entry["targets"]]


def _from_labels(address: str, labels: Mapping[str, str]) -> Target:
    url = labels.get("url") or f"{labels.get('scheme') or labels.get('__scheme__') or 'http'}://{address}"
    _check(url)
    return Target(
        name=labels["substation_id"],
        url=url.rstrip("/"),
        external=labels.get("external") == "true",
        load_metric=labels.get("load_metric") or DEFAULT_GAUGE,
        metrics_path=labels.get("__metrics_path__"),
        max_sessions=max(1, int(labels.get("max_sessions") or DEFAULT_MAX_SESSIONS)),
        capacity_w=_watts(labels.get("capacity_kw")),
        draining=labels.get("draining") == "true",
    )


def _watts(capacity_kw: str | None) -> int | None:
    if not capacity_kw:
        return None
    value = float(capacity_kw)
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"capacity_kw must be above 0, found {capacity_kw}")
    return round(value * 1000)


def _distinct(targets: Iterable[Target]) -> tuple[Target, ...]:
    """The first of each name."""
    by_name: dict[str, Target] = {}
    for target in targets:
        by_name.setdefault(target.name, target)
    return tuple(by_name.values())
