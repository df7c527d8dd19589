"""Draws docs/dashboard-grid.svg and docs/dashboard-services.svg. `make dashboards-picture` runs it, in about five minutes.

`python docs/dashboards_picture.py [ANSWERS.json]`: with a file, what it holds is drawn again; where there is none yet, what
Prometheus answers is kept there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import drawing
import watching

from monitoring.grafana.provisioning import DASHBOARDS, dashboard

FOLDER = Path(__file__).resolve().parent


def main(kept: Path | None) -> None:
    """Watch a grid, or take what was seen before, and draw both dashboards."""
    answers = json.loads(kept.read_text()) if kept is not None and kept.exists() else watching.answers()
    if kept is not None:
        kept.write_text(json.dumps(answers))
    for name in DASHBOARDS:
        target = FOLDER / f"dashboard-{name}.svg"
        drawing.draw(json.loads(dashboard(name)), answers[name], answers["window"], target)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
