"""Writes Grafana's dashboards from the code that declares them: monitoring/grafana/grid.json and services.json.

`python docs/dashboards.py` writes them (`make dashboards`); `--check` only says which are not as the code has it, exit 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from monitoring.grafana.grid import grid
from monitoring.grafana.services import services

FOLDER = Path(__file__).resolve().parent.parent / "monitoring" / "grafana"
MADE = {"grid": grid, "services": services}


def dashboards() -> Iterator[tuple[Path, str]]:
    """The file of each dashboard, and what should be in it; the same bytes each time."""
    for name, make in MADE.items():
        yield (
            FOLDER / f"{name}.json",
            JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(make().build()) + "\n",
        )


def stale() -> list[str]:
    """The names of the files that are not as the code has it."""
    return [path.name for path, text in dashboards() if not path.exists() or path.read_text(encoding="utf-8") != text]


def main(arguments: list[str]) -> int:
    """Write them or, with `--check`, compare; the exit code."""
    if arguments == ["--check"]:
        old = stale()
        if old:
            sys.stderr.write(f"not as the code has it: {', '.join(old)}. Run `make dashboards`.\n")
        return int(bool(old))
    for path, text in dashboards():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
