"""One line of a process's log and when it was written; must not know files.

Services write JSON objects with a `ts`; whatever else lands on their stderr (a traceback of the interpreter's own, a
library's print) is a raw line and belongs to the line before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from typing import Any

#: What other programs call `ts` and `message`.
_KEYS = {"t": "ts", "msg": "message"}
LEVELS = ("debug", "info", "warning", "error", "critical")

#: Raw lines before the first record wait for its timestamp; no more than this many.
_WAITING = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """One line: when (`at_s`, Unix seconds), of which process, its text, and the record it holds; None if it is raw."""

    at_s: float
    name: str
    text: str
    record: Mapping[str, Any] | None


def parse(raw: bytes) -> tuple[float, dict[str, Any]] | None:
    """When the record in `raw` was written (Unix seconds) and the record; None for a raw line."""
    if not raw.startswith(b"{"):
        return None
    try:
        record = _in_our_words(json.loads(raw))
        return _unix_s(record["ts"]), record
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _in_our_words(record: dict[str, Any]) -> dict[str, Any]:
    """A record of Prometheus or Grafana with the keys and levels that ours have."""
    named = {_KEYS.get(key, key) if _KEYS.get(key) not in record else key: value for key, value in record.items()}
    return {**named, "level": "warning"} if named.get("level") == "warn" else named


def _unix_s(timestamp: str) -> float:
    moment = datetime.fromisoformat(timestamp)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def level_reached(record: Mapping[str, Any] | None, level: str | None) -> bool:
    """Whether a line with `record` is at least as grave as `level` (None: any).

    A raw line always is: it is mostly a traceback, and says no level. So is a record whose level has no known name.
    """
    if level is None or record is None or record.get("level") not in LEVELS:
        return True
    return LEVELS.index(record["level"]) >= LEVELS.index(level)


class Stamper:
    """Makes `Line`s of one process's raw lines, in file order, with timestamps that never go back.

    A raw line gets the timestamp of the line before it, and a record that the clock put before its predecessor its
    predecessor's: so a merge by time keeps the order of each file. `last_s` is the last timestamp given, if known.
    """

    def __init__(self, name: str, last_s: float | None = None) -> None:
        self._name = name
        self._last_s = last_s
        self._waiting: list[bytes] = []

    def stamp(self, raw: bytes) -> Iterator[Line]:
        """The lines that `raw` (without its newline) completes: none while it waits for a first timestamp."""
        parsed = parse(raw)
        if parsed is None and self._last_s is None and len(self._waiting) < _WAITING:
            self._waiting.append(raw)
            return
        at_s, record = parsed or (self._last_s or 0.0, None)
        self._last_s = at_s = at_s if self._last_s is None else max(at_s, self._last_s)
        yield from self._release(at_s)
        yield Line(at_s, self._name, _text(raw), record)

    def settle(self, fallback_s: float) -> Iterator[Line]:
        """The lines that still wait though no record came: they get `fallback_s` (when their file was last written)."""
        if self._waiting:
            self._last_s = fallback_s
            yield from self._release(fallback_s)

    def _release(self, at_s: float) -> Iterator[Line]:
        waiting, self._waiting = self._waiting, []
        for raw in waiting:
            yield Line(at_s, self._name, _text(raw), None)


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace").rstrip("\r")


def _when(line: Line) -> float:
    return line.at_s


def merged(sources: Iterable[Iterable[Line]]) -> Iterator[Line]:
    """All lines of `sources`, each of which is in the order of time, in the order of time.

    Holds one line of each. Lines of the same instant come in the order of `sources`, so each source's stay together.
    """
    return merge(*sources, key=_when)


class Reorder:
    """Orders the lines of a live log: what comes late from one process may still be older than another's newest.

    A line younger than the instant at which the files were read is held back, for one round at most.
    """

    def __init__(self) -> None:
        self._held: list[Line] = []

    def round(self, lines: Iterable[Line], now_s: float) -> list[Line]:
        """The lines to show of those read since the last round; `now_s` is the Unix time before they were read."""
        due, self._held = self._held, []
        for line in lines:
            (due if line.at_s <= now_s else self._held).append(line)
        return sorted(due, key=_when)
