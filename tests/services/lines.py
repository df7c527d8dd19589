"""Log lines as services write them: with what each was about."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from services.logs import JsonLines


class _Noted(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(JsonLines("name", "role"))
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@contextmanager
def noted_lines() -> Iterator[list[dict[str, Any]]]:
    """All that is logged within, at info and above."""
    noted, root = _Noted(), logging.getLogger()
    level = root.level
    root.addHandler(noted)
    root.setLevel(logging.INFO)
    try:
        yield noted.lines
    finally:
        root.setLevel(level)
        root.removeHandler(noted)
