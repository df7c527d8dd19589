"""YAML nodes as plain values that remember their lines; must not know what a topology is.

YAML 1.1 reads some plain words as what nobody meant (`no`, `010`, `10:30`, `0x1F`, `1_000`). Each of those is a fault
here, never a silent surprise; so are a key that is there twice, a tag, and an alias without end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from yaml import MappingNode, Node, ScalarNode, SequenceNode
from yaml.constructor import ConstructorError, SafeConstructor

from config.document import MAX_DEPTH, broken
from config.errors import Fault
from config.rules import Path, key_of

#: Ten thousand substations with every key are 90,000 values; more than this only an alias bomb unfolds to.
MAX_VALUES = 200_000
#: A whole number longer than this is beyond every limit; Python refuses to read thousands of digits.
MAX_DIGITS = 40

_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = {_TAG + name for name in ("str", "timestamp", "value")}
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_DECIMAL = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\Z|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")


@dataclass(frozen=True, slots=True)
class Declared:
    """What a file declares: the plain `value`, the line and column of each path in it, and the faults of its YAML."""

    value: Any
    places: dict[Path, tuple[int, int]]
    faults: tuple[Fault, ...]
    #: Where a fault is reported already, so that none is reported twice.
    faulty: frozenset[Path]

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it that has one."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (0, 0))[0]

    def in_file_order(self, faults: Iterable[Fault]) -> tuple[Fault, ...]:
        """`faults` by line, within a line by column."""
        columns = {key_of(path): column for path, (_, column) in self.places.items()}
        return tuple(sorted(faults, key=lambda fault: (fault.line, columns.get(fault.key, 0))))


def declared(root: Node | None, where: str) -> Declared:
    """The plain values under `root` (an empty file, or `null`: no keys); Invalid only for an alias without end."""
    reader = _Reader(where)
    value = None if root is None else reader.read(root, ())
    if value is None and not reader.faults:
        value = {}
    return Declared(value, reader.places, tuple(reader.faults), frozenset(reader.faulty))


@dataclass(slots=True)
class _Reader:
    where: str
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    faulty: set[Path] = field(default_factory=set)
    seen: int = 0

    def read(self, node: Node, path: Path) -> Any:
        self.places.setdefault(path, _place(node))
        self._bound(node, path, len(path))
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            entries = self._entries(node, path, 0)
            return {key: self.read(value, (*path, key)) for key, value in entries.items()}
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._tagged(node, path)
        return None

    def _bound(self, node: Node, path: Path, depth: int) -> None:
        self.seen += 1
        if depth > MAX_DEPTH or self.seen > MAX_VALUES:
            found = f"more than {MAX_VALUES} values, or an alias that holds itself"
            allowed = f"at most {MAX_VALUES} values, aliases unfolded, {MAX_DEPTH} deep"
            raise broken(self.where, _line(node), key_of(path[:2]), found, allowed)

    def _entries(self, node: MappingNode, path: Path, merges: int) -> dict[str, Node]:
        """Key → value of one mapping, what `<<` merges in first, so that its own keys win."""
        merged: dict[str, Node] = {}
        own: dict[str, Node] = {}
        own_lines: dict[str, int] = {}
        for key_node, value in node.value:
            if not isinstance(key_node, ScalarNode):
                self._fault(key_node, path, "a key that is a list or a mapping", "a word as the key")
                continue
            key = key_node.value
            if key in own_lines:
                found = f"`{key}` a second time, the first is on line {own_lines[key]}"
                self._fault(key_node, (*path, key), found, "each key once", whole=False)
                continue
            own_lines[key] = _line(key_node)
            if key_node.tag == _TAG + "merge":
                merged = {**self._merged(value, path, merges + 1), **merged}
                continue
            self.places[(*path, key)] = _place(key_node)
            own[key] = value
        return {**merged, **own}

    def _merged(self, node: Node, path: Path, merges: int) -> dict[str, Node]:
        self._bound(node, path, merges)
        if isinstance(node, MappingNode):
            return self._entries(node, path, merges)
        if isinstance(node, SequenceNode) and all(isinstance(each, MappingNode) for each in node.value):
            parts = [self._merged(each, path, merges + 1) for each in reversed(node.value)]
            return {key: value for part in parts for key, value in part.items()}
        self._fault(node, (*path, "<<"), "no mapping to merge", "an alias of a mapping, or a list of such: `<<: *name`")
        return {}

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return self._boolean(node, path)
            case "int" | "float":
                return self._number(node, path)
        if node.tag in _TEXT_TAGS:
            return text
        self._tagged(node, path)
        return None

    def _boolean(self, node: ScalarNode, path: Path) -> bool | None:
        meaning = SafeConstructor.bool_values.get(node.value.lower())
        if node.value.lower() not in {"true", "false"}:
            found = f"{node.value}, which YAML reads as {str(meaning).lower()}"
            self._fault(
                node, path, found, f'quotes where a text is meant: "{node.value}"; where a switch is, true or false'
            )
        return meaning

    def _number(self, node: ScalarNode, path: Path) -> float | None:
        text: str = node.value
        if len(text) > MAX_DIGITS:
            self._fault(node, path, f"a number of {len(text)} characters", f"at most {MAX_DIGITS} characters")
            return None
        if _WHOLE.match(text):
            return int(text)
        if _DECIMAL.match(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        try:
            meaning = SafeConstructor().construct_object(ScalarNode(node.tag, text))
        except (ConstructorError, ValueError):
            self._fault(node, path, f"{text!r}, which is no number", "a number such as 10 or 7.4")
            return None
        plain = f"{meaning:.15g}"
        found = f"{text}, which YAML reads as {plain}"
        self._fault(node, path, found, f'a plain number such as {plain}; or, where a text is meant, quotes: "{text}"')
        return float(meaning)

    def _tagged(self, node: Node, path: Path) -> None:
        self._fault(node, path, f"the tag {node.tag.replace(_TAG, '!!')}", "plain values without a tag")

    def _fault(self, node: Node, path: Path, found: str, allowed: str, *, whole: bool = True) -> None:
        """Notes a fault; `whole`: nothing else need be said of what stands at `path`."""
        self.faults.append(Fault(self.where, _line(node), key_of(path), found, allowed))
        if whole:
            self.faulty.add(path)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _place(node: Node) -> tuple[int, int]:
    return _line(node), int(node.start_mark.column)
