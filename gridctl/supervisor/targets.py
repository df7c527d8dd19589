"""The Prometheus `file_sd` file through which balancer and Prometheus find the services. Must not know who reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config.names import EXTERNAL, SUBSTATION


@dataclass(frozen=True, slots=True)
class Target:
    """One service to be found: where it is, and, for an external one, how its load is read.

    Of a service that several workers answer for, each is one, at its own port: `worker` is its name.
    """

    name: str
    role: str
    host: str
    port: int
    draining: bool = False
    url: str | None = None
    load_metric: str | None = None
    max_sessions: int | None = None
    capacity_kw: float | None = None
    worker: str | None = None


def render(cluster: str, targets: Iterable[Target]) -> list[dict[str, Any]]:
    """The `file_sd` document: one group a service, all label values strings (Prometheus' rule)."""
    return [_group(cluster, target) for target in targets]


def _group(cluster: str, target: Target) -> dict[str, Any]:
    labels = {"job": SUBSTATION if target.role == EXTERNAL else target.role, "cluster": cluster}
    if target.role in {SUBSTATION, EXTERNAL}:
        labels["substation_id"] = target.name
    if target.worker is not None:
        labels["worker"] = target.worker
    if target.draining:
        labels["draining"] = "true"
    address = f"{target.host}:{target.port}"
    if target.url is not None:
        parts = urlsplit(target.url)
        address = parts.netloc
        labels |= {
            "external": "true",
            "url": target.url,
            "load_metric": target.load_metric or "substation_current_load",
        }
        labels |= {"__scheme__": parts.scheme, "__metrics_path__": parts.path.rstrip("/") + "/metrics"}
    if target.max_sessions is not None:
        labels["max_sessions"] = str(target.max_sessions)
    if target.capacity_kw is not None:
        labels["capacity_kw"] = f"{target.capacity_kw:g}"
    return {"targets": [address], "labels": labels}


def write_atomically(path: Path, document: object) -> None:
    """Replace `path` by `document` as JSON, so that a reader sees the old or the new, never half; OSError if it cannot."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(json.dumps(document, indent=1) + "\n")
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
