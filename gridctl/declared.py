"""What a user declared: flags, environment, file and defaults meet here, once, and become frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.loading import load_topology
from config.lookup import find_topology_file
from config.overrides import apply_overrides
from config.topology import Topology
from gridctl.clusters import resolve
from gridctl.state import ClusterPaths

#: The source of a cluster that was started without a file.
BUILT_IN = "the built-in default"


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
    found = find_topology_file(file, environ, cwd or Path.cwd())
    topology = apply_overrides(load_topology(found), environ=environ, **flags)
    source = str(found) if found else BUILT_IN
    return Declared(topology, source, resolve(name, file, environ, cwd))
