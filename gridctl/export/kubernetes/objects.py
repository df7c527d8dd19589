"""What all objects share: their labels, their names, and how one becomes a file. Knows no kind of object.

Text is quoted wherever a YAML reader of another make could take it for something else: kubectl reads YAML by other rules
than Python (`1e3`, `0o7`, `y`), and a number where text should stand is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from gridctl.export.folder import File

Object = dict[str, Any]

#: The name of the only container of a pod, of its port, and of the image until Kustomize puts the real one in.
APP = "gridctl"
PORT_NAME = "http"
#: Which substation a pod is, where a pod's name cannot say it: names of substations know more characters.
SUBSTATION_ANNOTATION = "gridctl/substation-id"
#: Tells the pods of one StatefulSet from those of another.
SUBSTATION_LABEL = "gridctl/substation"
#: A label's value has at most so many characters.
_LABEL_LENGTH = 63

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9 ._/()-]*[A-Za-z0-9)]")
_WORDS = frozenset({"false", "inf", "nan", "no", "null", "off", "on", "true", "yes"})


@dataclass(frozen=True, slots=True)
class Grid:
    """Which cluster's objects these are: its name, and the namespace that they live in."""

    cluster: str
    namespace: str

    @property
    def labels(self) -> dict[str, str]:
        """What all objects carry, and nothing that is not this cluster's."""
        return {"app.kubernetes.io/name": APP, "app.kubernetes.io/instance": label_value(self.cluster)}

    def pods_of(self, role: str) -> dict[str, str]:
        """What all pods of a role carry."""
        return {**self.labels, "app.kubernetes.io/component": role}

    def metadata(self, name: str, role: str | None = None) -> Object:
        """The metadata of the object `name`."""
        labels = self.labels if role is None else self.pods_of(role)
        return {"name": name, "namespace": self.namespace, "labels": {**labels, "app.kubernetes.io/part-of": APP}}


def label_value(text: str) -> str:
    """`text` as the value of a label: at most 63 characters, with a letter or a digit at both ends."""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$", "", text[:_LABEL_LENGTH]) or "grid"


def dns_label(text: str) -> str:
    """`text` as far as a namespace's name may hold it: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-") or "grid"


def file(api: str, kind: str, content: Mapping[str, Any], why: str, name: str | None = None) -> File:
    """The object as a file named after it (or `name`), with a comment above it: each line of `why`."""
    path = name or f"{kind.lower()}-{content['metadata']['name']}.yaml"
    comment = "".join(f"# {line}\n" for line in why.splitlines())
    return path, comment + text({"apiVersion": api, "kind": kind, **content})


def text(document: Mapping[str, Any]) -> str:
    """`document` as YAML that says the same to every reader."""
    return yaml.dump(
        dict(document), Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=120
    )


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, indentless=False)


def _quoted(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    if "\n" in value:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|")
    plain = _PLAIN.fullmatch(value) and value.casefold() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_Dumper.add_representer(str, _quoted)
