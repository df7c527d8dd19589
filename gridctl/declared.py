"""What a user declared: flags, environment, file and defaults meet here, once, and become frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.loading import parse_topology
from config.overrides import apply_overrides
from config.topology import Topology
from gridctl.clusters import resolve
from gridctl.declaration import Declaration, read
from gridctl.state import ClusterPaths


@dataclass(frozen=True, slots=True)
class Declared:
    """A topology with all overrides in, where it is from (a file's path, or `the built-in default`), and its cluster."""

    topology: Topology
    source: str
    paths: ClusterPaths


def declare(
    name: str | None, file: Path | None, flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path | None = None
) -> Declared:
    """CLI > environment > file > default. Invalid, with every fault, when any of them is wrong.

    `flags` may hold `substations` (count), `policy` and `time_scale`; None means not given.
    """
    found = read(file, flags, environ, cwd)
    return Declared(checked(found, environ), found.source, resolve(name, file, environ, cwd))


def checked(declaration: Declaration, environ: Mapping[str, str]) -> Topology:
    """The topology that it comes to with what `environ` says; Invalid, with every fault, when any of it is wrong."""
    text = declaration.text
    topology = Topology() if text is None else parse_topology(text, declaration.source)
    return apply_overrides(topology, environ=environ, **declaration.flags)
