"""The topologies that come with the package (`config/*.yaml`); must not know what a user does with them."""

from __future__ import annotations

from importlib.resources import files


def shipped_names() -> tuple[str, ...]:
    """The names under which `shipped_text` knows a topology, sorted, `default` first."""
    found = {entry.name.removesuffix(".yaml") for entry in files("config").iterdir() if entry.name.endswith(".yaml")}
    return ("default", *sorted(found - {"default"}))


def shipped_text(name: str) -> str:
    """The commented YAML of the topology `name`; KeyError when none of that name is shipped."""
    if name not in shipped_names():
        raise KeyError(name)
    return (files("config") / f"{name}.yaml").read_text("utf-8")
