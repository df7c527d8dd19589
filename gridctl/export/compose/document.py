"""YAML as people would write it for Compose: blocks that many services share are written once and merged.

Knows anchors and merge keys, and nothing of services.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


class Block(dict[str, Any]):
    """A mapping that is written once, with the anchor `name`, and merged where it is used again by `merged`."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.name = name


class _Merge(str):
    """The key under which a block is merged."""

    __slots__ = ()


_MERGE = _Merge("<<")


def merged(block: Block, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` over those of `block`, which is referred to and not copied."""
    return {_MERGE: block, **values}


def yaml_text(document: Mapping[str, Any], head: str = "") -> str:
    """`document` as YAML in its own order, `head` (comment lines) first. Blocks must come before they are merged."""
    return head + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.names: dict[int, str] = {}

    def ignore_aliases(self, data: Any) -> bool:
        """Only blocks are referred to; what merely happens to be the same object is written out."""
        return not isinstance(data, Block)

    def generate_anchor(self, node: yaml.Node) -> str:
        """The block's own name."""
        return self.names[id(node)]


def _block(dumper: _Dumper, block: Block) -> yaml.Node:
    node = dumper.represent_dict(block)
    dumper.names[id(node)] = block.name
    return node


def _merge(dumper: _Dumper, _: _Merge) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:merge", "<<")


_Dumper.add_representer(Block, _block)
_Dumper.add_representer(_Merge, _merge)
