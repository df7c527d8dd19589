"""The cluster's event journal: what happened, in order, on disk and to whoever follows. Must not know what events mean."""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KEPT = 10_000
#: Files that are kept beside the current one when it has grown to `max_bytes`, as for logs.
ROTATIONS = 3


def timestamp() -> str:
    """Now, as ISO 8601 in UTC with microseconds; sorts as text."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(slots=True)
class Journal:
    """Appends events to `path` (one JSON object a line) and keeps the last 10,000 for followers.

    A disk that is full costs lines in the file, never the cluster: `lost` counts them.
    """

    path: Path
    now: Callable[[], str] = timestamp
    max_bytes: int = 50 << 20
    lost: int = 0
    _seq: int = 0
    _recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT))
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False
    _torn: bool = False

    def add(self, event: str, **fields: Any) -> None:
        """Record one event."""
        self._seq += 1
        record = {"ts": self.now(), "seq": self._seq, "event": event, **fields}
        self._recent.append(record)
        self._append(json.dumps(record) + "\n")
        self._news.set()
        self._news = asyncio.Event()

    def _append(self, line: str) -> None:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                data = ("\n" if self._torn else "").encode() + line.encode()
                self._torn = os.write(descriptor, data) < len(data)
                self.lost += self._torn
                size = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
            if size >= self.max_bytes:
                self._rotate()
        except OSError:
            self.lost += 1

    def _rotate(self) -> None:
        """Old events go on as `events.jsonl.1` … `.3`; the oldest are forgotten."""
        numbered = [self.path.with_name(f"{self.path.name}.{number}") for number in range(ROTATIONS, 0, -1)]
        for older, newer in zip(numbered, [*numbered[1:], self.path], strict=True):
            if newer.exists():
                newer.replace(older)

    @property
    def seq(self) -> int:
        """The number of the newest event."""
        return self._seq

    async def read(self, since: int, follow: bool) -> AsyncIterator[dict[str, Any]]:
        """Events numbered above `since` that are still kept; with `follow` also all that come."""
        while True:
            news = self._news
            for record in [kept for kept in self._recent if kept["seq"] > since]:
                since = record["seq"]
                yield record
            if self._closed or not follow:
                return
            await news.wait()

    def close(self) -> None:
        """Nothing more will come: followers end."""
        self._closed = True
        self._news.set()
