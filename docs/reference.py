"""Writes the reference from what the code declares: docs/cli.md, docs/topology.md, docs/monitoring.md, README.md's verbs.

`python docs/reference.py` writes them (`make docs`); `--check` only says which of them are not as the code has it, exit 1.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from prometheus_client import CollectorRegistry, Metric

from config.errors import GridError
from config.schema import topology_schema
from gridctl.chaos import storm
from gridctl.cli import SECTIONS, group
from monitoring import metrics, rules
from monitoring.grafana.provisioning import DASHBOARDS, dashboard

ROOT = Path(__file__).resolve().parent.parent
MADE = "<!-- made by `make docs`: change the code, not this -->"


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, also those below a group (`topology init`), in the order of the help."""
    context = click.Context(group)
    for verb in group.list_commands(context):
        command = group.get_command(context, verb)
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                yield f"{verb} {name}", inner
        elif command is not None:
            yield verb, command


def cli() -> str:
    """docs/cli.md: one section a verb, with its usage and its options."""
    parts = [MADE, (ROOT / "docs/cli-intro.md").read_text().strip(), exit_codes()]
    return "\n\n".join([*parts, *(section(name, command) for name, command in commands())]) + "\n"


def exit_codes() -> str:
    """The table of exit codes; those of expected failures come from the error tree."""
    known = {0: "all is well", 1: GridError.__doc__ or "", 130: "ended by Ctrl-C"}
    known |= {kind.exit_code: kind.__doc__ or "" for kind in GridError.__subclasses__() if kind.exit_code != 1}
    rows = [
        f"| {code} | {meaning.split(';')[0].split('. ')[0].strip().rstrip('.')} |"
        for code, meaning in sorted(known.items())
    ]
    return "\n".join(["## Exit codes", "", "| code | meaning |", "| --- | --- |", *rows])


def section(name: str, command: click.Command) -> str:
    """One verb: heading, usage, help and a table of its options."""
    usage = " ".join(["gridctl", name, *command.collect_usage_pieces(click.Context(command))])
    lines = [f"## gridctl {name}", "", f"    {usage}", "", paragraphs(command.help or command.short_help or "")]
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    if options:
        lines += ["", "| option | meaning |", "| --- | --- |", *(row(option) for option in options)]
    return "\n".join(lines)


def paragraphs(text: str) -> str:
    """click's help as Markdown: `\\b` and single line ends mean nothing there."""
    blocks = re.split(r"\n\s*\n", text.replace("\b\n", "").strip())
    return "\n\n".join(" ".join(block.split()) for block in blocks)


def row(option: click.Option) -> str:
    """`| `--name CLUSTER` | what it does |`."""
    names = ", ".join([*option.opts, *option.secondary_opts])
    value = "" if option.is_flag or option.count else f" {option.metavar or option.type.name.upper()}"
    if isinstance(option.type, click.Choice):
        value = " " + "|".join(map(str, option.type.choices))
    shown = f" Default: `{option.default}`." if option.show_default is True else ""
    variable = f" Environment: `{option.envvar}`." if isinstance(option.envvar, str) else ""
    return cells(f"`{names}{value}`", (option.help or "") + shown + variable)


def cells(*texts: str) -> str:
    """One row of a Markdown table; a bar inside a cell is escaped."""
    return "| " + " | ".join(text.replace("|", r"\|") for text in texts) + " |"


def topology() -> str:
    """docs/topology.md: one table of keys for the whole and for each part."""
    schema = topology_schema()
    parts = [MADE, (ROOT / "docs/topology-intro.md").read_text().strip()]
    parts.append(keys("", schema, schema))
    for name, part in schema["$defs"].items():
        parts.append(keys(name, part, schema))
    return "\n\n".join(parts) + "\n"


def keys(name: str, part: dict[str, Any], schema: dict[str, Any]) -> str:
    """One part of the topology: its heading and the table of its keys."""
    heading = f"## {places(name, schema)}" if name else "## The file"
    text = paragraphs(part.get("description", ""))
    head = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    rows = [
        f"| `{key}` | {kind(value)} | {default(value)} | {' '.join(value.get('description', '').split())} |"
        for key, value in part["properties"].items()
    ]
    return "\n".join([heading, "", *([text, ""] if text else []), *head, *rows])


def places(name: str, schema: dict[str, Any]) -> str:
    """The key under which the part called `name` stands: `request_service`, `substations[]`."""
    for key, value in schema["properties"].items():
        if f"/{name}" in str(value):
            return f"`{key}`" if "items" not in str(value) else f"one of `{key}`"
    return name


def kind(value: dict[str, Any]) -> str:
    """The type of a key, with its limits: `number, 0.001 … 1000000`."""
    options = [option for option in value.get("anyOf", [value]) if option.get("type") != "null"]
    return " or ".join(_kind(option) for option in options)


def _kind(option: dict[str, Any]) -> str:
    if "enum" in option:
        return ", ".join(f"`{each}`" for each in option["enum"])
    if "$ref" in option:
        return "mapping"
    limits = [str(option[key]) for key in ("minimum", "maximum") if key in option]
    name = str(option.get("type", "any"))
    return f"{name}, {' … '.join(limits)}" if len(limits) == 2 else name


def default(value: dict[str, Any]) -> str:
    """The default as it would stand in the file."""
    given = value.get("default")
    if given is None or isinstance(given, dict | list):
        return ""
    text = f"{given:g}" if isinstance(given, float) else str(given)
    return f"`{text.lower() if isinstance(given, bool) else text}`"


#: The metrics of each service: its heading, and what registers them.
SHOWN: dict[str, Callable[[CollectorRegistry], object]] = {
    "Every service": lambda registry: (
        metrics.ServiceMetrics(registry, "…", 1.0, lambda: True),
        metrics.FaultMetrics(registry, lambda _: 0.0),
    ),
    "The charge-request service": metrics.ChargeRequestMetrics,
    "A balancer": lambda registry: metrics.BalancerMetrics(registry).watch("…", lambda: 0.0, lambda: 0.0),
    "A substation": metrics.SubstationMetrics,
}
#: The unit of a metric by a part of its name, the first that fits.
UNITS = {
    "percentage": "percent",
    "_ratio": "0 … 1",
    "_bytes": "bytes",
    "_kwh": "kWh",
    "_kw": "kW",
    "_seconds": "seconds",
    "_sessions": "sessions",
    "_current_load": "sessions",
}


def monitoring() -> str:
    """docs/monitoring.md: every metric, alarm and recorded series, as the code has them."""
    parts = [MADE, (ROOT / "docs/monitoring-intro.md").read_text().strip(), "## Metrics"]
    for heading, register in SHOWN.items():
        registry = CollectorRegistry()
        register(registry)
        head = ["| name | type | unit | labels | meaning |", "| --- | --- | --- | --- | --- |"]
        parts.append("\n".join([f"### {heading}", "", *head, *(family(each) for each in registry.collect())]))
    alarms = [cells(f"`{each.name}`", each.severity, f"`{each.expr}`", f"{each.for_s} s") for each in rules.alerts()]
    head = ["| alarm | severity | raised while | for |", "| --- | --- | --- | --- |"]
    parts.append("\n".join(["## Alarms", "", *head, *alarms]))
    recorded = [cells(f"`{each.record}`", f"`{each.expr}`") for each in rules.RECORDINGS]
    head = ["| recorded series | worked out as |", "| --- | --- |"]
    parts.append("\n".join(["## Recorded series", "", *head, *recorded]))
    return "\n\n".join([*parts, *panels()]) + "\n"


def panels() -> Iterator[str]:
    """The panels of each of Grafana's dashboards, with what they say of themselves."""
    yield "## The dashboards' panels"
    for name in DASHBOARDS:
        board = json.loads(dashboard(name))
        rows = [cells(each["title"], each["description"]) for each in board["panels"] if each["type"] != "row"]
        yield "\n".join([f"### {board['title']}", "", "| panel | what it shows |", "| --- | --- |", *rows])


def family(found: Metric) -> str:
    """One row of the table of metrics."""
    name = found.name + ("_total" if found.type == "counter" else "")
    unit = next((unit for part, unit in UNITS.items() if part in name), "")
    values: dict[str, list[str]] = {}
    for sample in found.samples:
        for label, value in sample.labels.items():
            if label != "le" and value not in values.setdefault(label, []):
                values[label].append(value)
    labels = "; ".join(
        f"`{label}`" + (f": {', '.join(each)}" if each != ["…"] else "") for label, each in values.items()
    )
    return cells(f"`{name}`", found.type, unit, labels, found.documentation)


def verbs() -> str:
    """The table of verbs in README.md."""
    head = ["| verb | what it does |", "| --- | --- |"]
    return "\n".join(
        head + [f"| `{verb}` | {text} |" for part in SECTIONS.values() for verb, (_, text) in part.items()]
    )


def readme() -> str:
    """README.md with its table of verbs made anew."""
    text = (ROOT / "README.md").read_text()
    return re.sub(
        r"(<!-- verbs -->\n).*?(<!-- end of verbs -->)", lambda m: m[1] + verbs() + "\n" + m[2], text, flags=re.S
    )


def main() -> int:
    """Write all, or with `--check` name what differs."""
    pages = {"docs/cli.md": cli(), "docs/topology.md": topology(), "README.md": readme()}
    pages["docs/monitoring.md"] = monitoring()
    pages["docs/storm.schema.json"] = json.dumps(storm.schema(), indent=2) + "\n"
    stale = [path for path, text in pages.items() if not (ROOT / path).exists() or (ROOT / path).read_text() != text]
    if "--check" in sys.argv:
        for path in stale:
            click.echo(f"{path} is not as the code has it: run `make docs`")
        return 1 if stale else 0
    for path in stale:
        (ROOT / path).write_text(pages[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
