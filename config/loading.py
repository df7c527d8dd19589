"""From a file or a text to a `Topology`, or to every fault in it; must not know flags or environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config.document import compose, read_text
from config.errors import Fault, Invalid
from config.faults import from_break, from_error, shown
from config.rules import breaks
from config.schema import allowed
from config.topology import RULE_ERROR, Topology, spell_out
from config.values import Declared, declared


def load_topology(path: Path | None) -> Topology:
    """The topology in the file `path`, or (None) the built-in default; Invalid with all faults, in file order."""
    return Topology() if path is None else parse_topology(read_text(path), str(path))


def parse_topology(text: str, where: str) -> Topology:
    """The topology that the YAML `text` declares (nothing: the defaults); Invalid with all faults, in file order.

    `where` names the file in the faults. Broken YAML is one fault, for nothing behind it can be read.
    """
    source = declared(compose(text, where), where)
    value = source.value
    if not isinstance(value, dict):
        no_mapping = Fault(where, source.line(()), "(top)", shown(value), allowed(()))
        raise _invalid(where, source.faults or (no_mapping,))
    topology, faults = _validated(value, source, where)
    if topology is None or faults:
        raise _invalid(where, source.in_file_order(faults))
    return topology


def _validated(value: dict[str, Any], source: Declared, where: str) -> tuple[Topology | None, tuple[Fault, ...]]:
    topology: Topology | None = None
    errors: list[ErrorDetails] = []
    try:
        topology = Topology.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False)
    of_fields = [
        from_error(each, source, where)
        for each in errors
        if each["type"] != RULE_ERROR and tuple(each["loc"]) not in source.faulty
    ]
    numbered = {**value, "substations": spell_out(value.get("substations"))}
    of_rules = [from_break(each, source, where) for each in breaks(numbered) if each.path not in source.faulty]
    return topology, (*source.faults, *of_fields, *of_rules)


def _invalid(where: str, faults: tuple[Fault, ...]) -> Invalid:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return Invalid(f"{where} is no valid topology: {count}", "Nothing was changed.", faults)
