"""A storm: a YAML file that says what happens to whom and when. Must not know processes, or how anything is done.

Every fault of a file is found in one go, each with its line; `schema` says the same to editors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from config.document import RULE, compose, read_text
from config.errors import Fault, Invalid
from config.faults import shown
from config.rules import key_of
from config.values import Declared, declared
from gridctl.chaos.timeline import BY_S, FOR_S, KINDS, LASTING, PCT, SHARED, Step, Target, possible
from gridctl.loadtest.quantities import DURATION_RULE, duration_s
from gridctl.selection import matches

#: No storm holds more steps, or goes on longer (wall seconds).
MOST_STEPS = 10_000
LONGEST_S = 7 * 86_400.0
#: No delay is longer (wall seconds).
LONGEST_DELAY_S = 60.0

STORM_RULE = "a list of steps in YAML; `gridctl chaos --example` prints one to start from"
HINT = "Nothing was done. `gridctl chaos --example` prints a storm to start from."

EXAMPLE = """\
# gridctl chaos storm.yaml: what happens to whom, and when. All times are wall time, from the start of the storm.
- {at: 2s, do: kill, target: substation2}                # a crash; it comes back
- {at: 5s, do: pause, target: balancer, for: 2s}         # frozen: it is there and does not answer
- {at: 8s, do: drop, target: "substation*", pct: 2, for: 5s}        # 2 % of replies are lost after the work was done
- {at: 8s, do: duplicate, target: charge-request, pct: 5, for: 5s}  # 5 % of requests are handled twice
- {at: 14s, do: delay, target: substation1, by: 2s, for: 4s}        # replies come 2 s late
- {at: 15s, do: slow, target: substation3, for: 3s}      # half the time frozen
- {at: 19s, do: restart, target: charge-request}         # in order
- {at: 22s, do: kill, target: zygote}                    # what services are forked from
- {at: 25s, do: kill, target: supervisor}                # all of it; chaos runs `up` again
"""

_DESCRIPTIONS = {
    "at": "When it begins, from the start of the storm: seconds, or a duration such as 5s or 1m30s.",
    "do": "What happens: " + "; ".join(f"{kind}: {text}" for kind, text in KINDS.items()) + ".",
    "target": "To whom: a process as `gridctl ps` names it, a pattern such as substation* for all of those, "
    "supervisor or zygote (kill, pause and slow only).",
    "for": f"How long it goes on ({', '.join(kind for kind in KINDS if kind in LASTING)}). Unset: {FOR_S:g} s.",
    "pct": f"The share of replies or requests that it meets, in percent ({', '.join(sorted(SHARED))}). Unset: {PCT:g}.",
    "by": f"How late replies come (delay). Unset: {BY_S:g} s.",
}
#: The keys of which each kind may have only some.
_ONLY = {"for": LASTING, "pct": SHARED, "by": frozenset({"delay"})}
#: What a step needs, and what may stand there.
_NEEDED = {"at": "a time", "do": "one of " + ", ".join(KINDS), "target": "the name of a process, or a pattern"}


def schema() -> dict[str, Any]:
    """A storm as JSON Schema (draft 2020-12), for editors."""
    pattern = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)$|^(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|d))+$"
    time: dict[str, Any] = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": pattern}]}
    types: dict[str, dict[str, Any]] = {
        "at": time,
        "do": {"enum": list(KINDS)},
        "target": {"type": "string", "minLength": 1},
        "for": time,
        "pct": {"type": "number", "minimum": 0, "maximum": 100},
        "by": time,
    }
    rules = [
        {"if": {"properties": {"do": {"not": {"enum": sorted(kinds)}}}}, "then": {"properties": {key: False}}}
        for key, kinds in _ONLY.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "gridctl storm",
        "description": "What `gridctl chaos` does to a cluster, and when. All times are wall time.",
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_STEPS,
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": list(_NEEDED),
            "properties": {key: {**types[key], "description": text} for key, text in _DESCRIPTIONS.items()},
            "allOf": rules,
        },
    }


class Storm:
    """The steps of a file, in its order; `resolved` puts real processes in for patterns."""

    def __init__(self, steps: Sequence[Step], source: Declared, where: str) -> None:
        self.steps = tuple(steps)
        self._source = source
        self._where = where

    @property
    def ends_s(self) -> float:
        """When the last step is over (wall seconds from the start)."""
        return max(step.at_s + step.for_s for step in self.steps)

    def resolved(self, targets: Sequence[Target]) -> tuple[Step, ...]:
        """The steps in order of time, one for each of `targets` that a pattern means.

        Invalid with a fault for each step that means nobody to whom this can happen.
        """
        made, faults = [], []
        for index, step in enumerate(self.steps):
            able = possible(step.kind, targets)
            meant = [target.name for target in able if matches(step.target, target.name)]
            made += [replace(step, target=name) for name in meant]
            if not meant:
                allowed = f"one of {', '.join(target.name for target in able)}, or a pattern"
                line = self._source.line((index, "target"))
                faults.append(Fault(self._where, line, key_of((index, "target")), shown(step.target), allowed))
        if faults:
            raise _invalid(self._where, faults)
        return tuple(sorted(made, key=lambda step: step.at_s))


def load(path: Path) -> Storm:
    """The storm in the file `path`; Invalid with all of its faults, in file order."""
    try:
        return parse(read_text(path), str(path))
    except Invalid as invalid:
        raise _reworded(invalid, str(path)) from invalid


def parse(text: str, where: str) -> Storm:
    """The storm that the YAML `text` declares; Invalid with all faults. `where` names the file in them."""
    source = declared(compose(text, where), where)
    value = source.value
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_STEPS:
        wrong = Fault(where, source.line(()), "(top)", shown(value or None), f"1 to {MOST_STEPS:,} steps: {STORM_RULE}")
        raise _invalid(where, source.faults or (wrong,))
    reader = _Reader(source, where)
    steps = [reader.step(entry, index) for index, entry in enumerate(value)]
    if faults := (*source.faults, *reader.faults):
        raise _invalid(where, source.in_file_order(faults))
    return Storm(steps, source, where)


def _invalid(where: str, faults: Sequence[Fault]) -> Invalid:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return Invalid(f"{where} is no valid storm: {count}", HINT, faults)


def _reworded(invalid: Invalid, where: str) -> Invalid:
    """What is said of a file that is no YAML speaks of topologies; here it is a storm."""
    if invalid.hint == HINT:
        return invalid
    faults = [replace(fault, allowed=fault.allowed.replace(RULE, STORM_RULE)) for fault in invalid.faults]
    return Invalid(f"{where} cannot be read as a storm", HINT, faults)


class _Reader:
    def __init__(self, source: Declared, where: str) -> None:
        self.faults: list[Fault] = []
        self._source = source
        self._where = where

    def step(self, entry: Any, index: int) -> Step:
        if not isinstance(entry, dict):
            self._fault((index,), entry, f"a mapping with {', '.join(_NEEDED)}")
            return Step(0.0, "kill", "")
        kind = entry.get("do")
        self._check_keys(entry, index)
        known = isinstance(kind, str) and kind in KINDS
        if "do" in entry and not known:
            self._fault((index, "do"), kind, _NEEDED["do"])
        target = entry.get("target")
        if "target" in entry and (not isinstance(target, str) or not target):
            self._fault((index, "target"), target, _NEEDED["target"])
        kind = str(kind) if known else "kill"
        return Step(
            at_s=self._time(entry, index, "at", 0.0, LONGEST_S),
            kind=kind,
            target=str(target),
            for_s=self._time(entry, index, "for", FOR_S if kind in LASTING else 0.0, LONGEST_S),
            pct=self._pct(entry, index, PCT if kind in SHARED else 0.0),
            by_s=self._time(entry, index, "by", BY_S if kind == "delay" else 0.0, LONGEST_DELAY_S),
        )

    def _check_keys(self, entry: dict[str, Any], index: int) -> None:
        for key, allowed in _NEEDED.items():
            if key not in entry:
                self._note((index, key), "nothing", f"{allowed} (needed)")
        kind = entry.get("do")
        for key in entry:
            if key not in _DESCRIPTIONS:
                nearest = get_close_matches(str(key), _DESCRIPTIONS, n=1)
                guess = f"`{nearest[0]}` is the nearest; all are: " if nearest else ""
                self._note((index, key), "an unknown key", guess + ", ".join(_DESCRIPTIONS))
            elif key in _ONLY and kind in KINDS and kind not in _ONLY[key]:
                self._note((index, key), f"given with {kind}", f"only with {', '.join(sorted(_ONLY[key]))}")

    def _time(self, entry: dict[str, Any], index: int, key: str, default_s: float, most_s: float) -> float:
        value = entry.get(key)
        if key not in entry:
            return default_s
        try:
            seconds = duration_s(value) if isinstance(value, str) else _number(value)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds <= most_s:
            self._fault((index, key), value, f"{DURATION_RULE}, or seconds; at most {most_s:g} s")
            return 0.0
        return seconds

    def _pct(self, entry: dict[str, Any], index: int, default: float) -> float:
        value = entry.get("pct")
        if "pct" not in entry:
            return default
        if not 0 <= _number(value) <= 100:
            self._fault((index, "pct"), value, "a number from 0 to 100")
            return 0.0
        return _number(value)

    def _fault(self, path: tuple[str | int, ...], found: Any, allowed: str) -> None:
        if path not in self._source.faulty and not any(fault.key == key_of(path) for fault in self.faults):
            self._note(path, shown(found), allowed)

    def _note(self, path: tuple[str | int, ...], found: str, allowed: str) -> None:
        self.faults.append(Fault(self._where, self._source.line(path), key_of(path), found, allowed))


def _number(value: Any) -> float:
    """NaN for what is none: no bound holds for it."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
