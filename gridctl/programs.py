"""Programs of others that watch a grid: where they are on this machine, and how to get them. Must not start any."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from config.names import GRAFANA, PROMETHEUS, WATCHERS

#: The names that each goes by; Grafana had another until its version 10.
NAMES = {PROMETHEUS: ("prometheus",), GRAFANA: ("grafana", "grafana-server")}
#: Where packages put them that a user's PATH may not name.
ELSEWHERE = ("/usr/sbin", "/usr/share/grafana/bin")
_HOW = {
    PROMETHEUS: "apt-get install prometheus (Debian, Ubuntu), or prometheus.io/download",
    GRAFANA: "see grafana.com/grafana/download: it has packages for Debian and Ubuntu, and archives",
}


class Named(Protocol):
    """What has a name and a role."""

    @property
    def name(self) -> str:
        """The process's name."""

    @property
    def role(self) -> str:
        """Its role."""


Spec = TypeVar("Spec", bound=Named)


def find(role: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The path of the program of `role` (`prometheus`, `grafana`); None where it is not installed."""
    search = os.pathsep.join([environ.get("PATH", os.defpath), *ELSEWHERE])
    return next((path for name in NAMES[role] if (path := shutil.which(name, path=search))), None)


def installed(specs: Iterable[Spec], environ: Mapping[str, str] = os.environ) -> tuple[list[Spec], list[str]]:
    """Those of `specs` that can be started here, and a sentence for each of the others: how to get it."""
    listed = list(specs)
    missing = [spec for spec in listed if spec.role in WATCHERS and find(spec.role, environ) is None]
    words = [f"{spec.name} is not installed here, so the grid runs without it; {_HOW[spec.role]}" for spec in missing]
    return [spec for spec in listed if spec not in missing], words
