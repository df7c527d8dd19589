"""How a line of a log looks, for people or as JSON; must not know where it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

from gridctl.logs.lines import Line

#: ANSI colours, one a process in turn: those that can be read on dark and on light.
_COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")
_LEVEL_COLOURS = {"debug": "90", "warning": "33", "error": "31", "critical": "31;1"}
_SHOWN_APART = frozenset({"ts", "level", "name", "role", "message", "traceback", "trace_id", "span_id"})
#: Control characters could move the cursor or rename the window; they are shown, not sent.
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


@dataclass(slots=True)
class Display:
    """Formats lines; `names` are the processes known at the start, from which the prefix gets its width."""

    names: Sequence[str]
    prefix: bool = True
    ansi: bool = False
    as_json: bool = False
    _colours: dict[str, str] = field(default_factory=dict)

    def text(self, line: Line) -> str:
        """The line as it is printed, with its newline; one object a line as JSON, with a prefix a line for people."""
        if self.as_json:
            return as_json(line) + "\n"
        start = self._prefix(line.name) if self.prefix else ""
        shown = _record(line.record, self.ansi) if line.record is not None else _visible(line.text)
        return "".join(f"{start}{part}\n" for part in shown.split("\n"))

    def _prefix(self, name: str) -> str:
        text = f"{name:<{max(map(len, self.names), default=0)}} | "
        return _coloured(text, self._colour(name)) if self.ansi else text

    def _colour(self, name: str) -> str:
        if not self._colours:
            self._colours.update(zip(self.names, cycle(_COLOURS), strict=False))
        return self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])


def as_json(line: Line) -> str:
    """The line as one JSON object: a record as it was written, a raw line with its process and its time."""
    if line.record is not None:
        return line.text
    at = datetime.fromtimestamp(line.at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return json.dumps({"ts": at, "level": None, "name": line.name, "message": line.text})


def _record(record: Mapping[str, Any], ansi: bool) -> str:
    level = str(record.get("level", ""))
    shown = _coloured(f"{level:<7}", _LEVEL_COLOURS[level]) if ansi and level in _LEVEL_COLOURS else f"{level:<7}"
    extras = (f"{key}={_value(value)}" for key, value in record.items() if key not in _SHOWN_APART)
    body = _visible(" ".join([str(record.get("message", "")), *extras]))
    head = f"{_to_milliseconds(str(record['ts']))} {shown} {body}"
    return f"{head}\n{_visible(str(record['traceback'])).rstrip()}" if record.get("traceback") else head


def _to_milliseconds(timestamp: str) -> str:
    return timestamp[:23] + "Z" if len(timestamp) == 27 and timestamp.endswith("Z") else timestamp


def _value(value: object) -> str:
    if isinstance(value, str) and value and not any(mark.isspace() or mark in '"=' for mark in value):
        return value
    return json.dumps(value, default=repr)


def _visible(text: str) -> str:
    return text.translate(_VISIBLE)


def _coloured(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"
