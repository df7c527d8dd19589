"""What pydantic and the rules object to, as faults that say line, key, what was found and what is allowed.

Must not know where a topology comes from, nor how a fault is shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches

from pydantic_core import ErrorDetails

from config.errors import Fault
from config.rules import Break, Path, key_of
from config.schema import allowed, keys_at, sections, subschema
from config.values import Declared

MAX_SHOWN = 60


def from_error(error: ErrorDetails, source: Declared, where: str) -> Fault:
    """The fault for one of pydantic's errors about what `source` declares in the file `where`."""
    path: Path = tuple(error["loc"])
    line = source.line(path)
    if error["type"] == "extra_forbidden":
        return Fault(where, line, key_of(path), "an unknown key", _known_keys(path))
    if error["type"] == "missing":
        return Fault(where, line, key_of(path), "nothing", f"{allowed(path)} (needed)")
    found = error["input"]
    return Fault(where, line, key_of(path), shown(found), allowed(path) + _advice(found, path))


def from_break(broken: Break, source: Declared, where: str) -> Fault:
    """The fault for one broken rule about what `source` declares in the file `where`."""
    return Fault(where, source.line(broken.path), key_of(broken.path), broken.found, broken.allowed)


def _known_keys(path: Path) -> str:
    unknown, known = str(path[-1]), keys_at(path[:-1])
    listed = ", ".join(known)
    alike = get_close_matches(unknown.lower().replace("-", "_"), known, n=1)
    if alike:
        return f"`{alike[0]}` is the nearest; all are: {listed}"
    elsewhere = [part for part, keys in sections().items() if unknown in keys]
    if elsewhere:
        return f"{listed}; `{unknown}` belongs in " + " or ".join(f"`{part}`" for part in elsewhere)
    return listed


def _advice(found: object, path: Path) -> str:
    """What to write instead, where that is plain: a number that YAML takes for text, a text that it takes for a number."""
    types = {option.get("type") for option in (subschema(path) or {}).get("anyOf", [subschema(path) or {}])}
    if isinstance(found, str) and types & {"integer", "number"} and (number := _as_number(found)) is not None:
        return f"; YAML takes this for text, so write {number} without quotes"
    if isinstance(found, int | float) and "string" in types and types <= {"string", "null"}:
        return f'; in quotes where a text is meant: "{found}"'
    return ""


def _as_number(text: str) -> str | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return f"{number:.15g}" if math.isfinite(number) and abs(number) < 10**15 else None


def shown(value: object) -> str:
    """A value as a fault names it, in at most about 60 characters."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return "not a number (.nan)" if math.isnan(value) else f"{'-' if value < 0 else ''}infinity (.inf)"
    if isinstance(value, str):
        return f"the text {value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + '…'!r}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return "a mapping" if isinstance(value, Mapping) else repr(value)
