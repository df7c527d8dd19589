"""What a user typed and what the topology file says, before anybody checked it.

Must not import what checks it: `gridctl up` leaves that to the supervisor that it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.document import read_text
from config.lookup import find_topology_file

#: The source of a cluster that was started without a file.
BUILT_IN = "the built-in default"


@dataclass(frozen=True, slots=True)
class Declaration:
    """The `text` of a topology (None: the built-in default), its `source` (the file's path, or `the built-in default`),
    and the `flags` over it (None: not given), by the names that `config.overrides` has for them. JSON can carry it."""

    text: str | None
    source: str
    flags: Mapping[str, Any]


def read(
    file: Path | None, flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path | None = None
) -> Declaration:
    """What is declared by `file`, or else found (see `find_topology_file`); Invalid where that cannot be read."""
    found = find_topology_file(file, environ, cwd or Path.cwd())
    if found is None:
        return Declaration(None, BUILT_IN, dict(flags))
    return Declaration(read_text(found), str(found), dict(flags))
