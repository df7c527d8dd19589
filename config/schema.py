"""The topology as JSON Schema (draft 2020-12), for editors and for the words of a fault; must not know any file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from config.fields import METRIC_PATTERN, URL_PATTERN
from config.names import NAME_PATTERN, NAME_RULE
from config.topology import Topology

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_PATTERNS = {
    NAME_PATTERN: f"a name: {NAME_RULE}",
    URL_PATTERN: "http://HOST:PORT or https://HOST:PORT, with a path after it or not",
    METRIC_PATTERN: "the name of a Prometheus metric: A-Z a-z 0-9 _ :, not starting with a digit",
}


@cache
def _generated() -> dict[str, Any]:
    return Topology.model_json_schema(mode="validation")


def topology_schema() -> dict[str, Any]:
    """The schema of a topology file as a new dict that JSON can carry; every property has a description."""
    body = _without_titles(_generated())
    return {"$schema": DIALECT, "title": "gridctl topology", **body}


def _without_titles(node: Any) -> Any:
    """Drops the titles that pydantic makes of field names: they say nothing that the key does not."""
    if isinstance(node, list):
        return [_without_titles(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {key: _without_titles(value) for key, value in node.items() if key != "title" or not isinstance(value, str)}


def subschema(path: Sequence[str | int]) -> dict[str, Any] | None:
    """The schema of what may stand at `path` of a topology, references resolved; None where nothing may."""
    here: dict[str, Any] | None = _resolved(_generated())
    for part in path:
        kind = "items" if isinstance(part, int) else "properties"
        options = [_resolved(option) for option in _options(here or {})]
        inner: dict[str, Any] = next((option[kind] for option in options if kind in option), {})
        step = inner if isinstance(part, int) else inner.get(part)
        here = _resolved(step) if step else None
    return here


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return _generated()["$defs"][reference.rpartition("/")[2]] if reference else schema


def _options(schema: dict[str, Any]) -> list[dict[str, Any]]:
    options = schema.get("anyOf", [schema])
    return [_resolved(option) for option in options if option.get("type") != "null"]


def keys_at(path: Sequence[str | int]) -> list[str]:
    """The keys that may stand in the mapping at `path`, in the order of the schema; none where no mapping may stand."""
    options = _options(subschema(path) or {})
    return [key for option in options for key in option.get("properties", {})]


def sections() -> dict[str, list[str]]:
    """The keys of each part of a topology: `{"balancer": ["port", …], …, "substations[]": ["name", …]}`."""
    inner = {key: keys_at((key,)) for key in keys_at(())}
    return {key: keys for key, keys in inner.items() if keys} | {"substations[]": keys_at(("substations", 0))}


def allowed(path: Sequence[str | int]) -> str:
    """What may stand at `path`, in words: `a whole number from 1 to 65535`."""
    return ", or ".join(_words(option) for option in _options(subschema(path) or {}))


def _words(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    match schema.get("type"):
        case "integer" | "number" as kind:
            bounds = f"from {_number(schema.get('minimum'))} to {_number(schema.get('maximum'))}"
            return f"a {'whole ' if kind == 'integer' else ''}number {bounds}"
        case "boolean":
            return "true or false"
        case "string":
            return _PATTERNS.get(schema.get("pattern", ""), "a text")
        case "array":
            return f"a list of at most {_number(schema.get('maxItems'))} substations"
        case "object":
            return "a mapping with the keys " + ", ".join(schema["properties"])
    raise AssertionError(f"no words for the type of {schema}")


def _number(value: float | None) -> str:
    return "any" if value is None else f"{value:,}" if isinstance(value, int) and value > 65535 else f"{value:g}"
