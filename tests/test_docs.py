"""The documentation says what the code has: made pages are as the code makes them, written ones name everything."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from config.otel import ENDPOINT_VARIABLES
from config.overrides import POLICY, SUBSTATIONS, SWITCHES, TIME_SCALE
from config.policies import SHIPPED
from gridctl.audit.verdict import Verdict
from gridctl.chaos import storm
from gridctl.chaos.costs import Costs
from gridctl.chaos.result import Result as Chaos
from gridctl.chaos.timeline import KINDS
from gridctl.cli import VERBS
from gridctl.commands.ls import cluster_row
from gridctl.explain.story import Story
from gridctl.loadtest.ideal import Ideal
from gridctl.loadtest.result import Result
from gridctl.loadtest.tally import Tally
from gridctl.processes import listed
from gridctl.state import ClusterPaths
from gridctl.supervisor.happenings import State
from gridctl.top.document import document
from services import openapi
from services.routing.registry import Entry

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
#: What the supervisor tells the processes that it starts, and nobody sets.
INTERNAL = {"GRIDCTL_LOG_FILE"}


def test_made_pages_are_as_the_code_makes_them() -> None:
    command = [sys.executable, "-P", "docs/reference.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_is_in_the_readme_and_in_the_reference(verb: str) -> None:
    assert f"| `{verb}` |" in (ROOT / "README.md").read_text()
    assert re.search(rf"^## gridctl {verb}\b", (DOCS / "cli.md").read_text(), re.MULTILINE)


def test_every_variable_is_in_the_table_of_the_environment() -> None:
    """All of ours that the sources read by name, and those of others on which something depends."""
    table = (DOCS / "cli.md").read_text().split("## Environment\n")[1].split("\n## ")[0]
    sources = [path.read_text() for floor in ("config", "services", "gridctl") for path in (ROOT / floor).rglob("*.py")]
    read = {name for text in sources for name in re.findall(r'"(GRIDCTL_[A-Z_]*[A-Z])"', text)} - INTERNAL
    read |= {knob.variable for knob in (*SWITCHES.values(), SUBSTATIONS, POLICY, TIME_SCALE)}
    assert len(read) > 5
    assert [
        name for name in sorted({*read, "ALLOWED_HOSTS", *ENDPOINT_VARIABLES, "NO_COLOR"}) if f"`{name}`" not in table
    ] == []


def test_every_state_is_explained() -> None:
    text = (DOCS / "cli.md").read_text()
    assert [state for state in State if f"| `{state}` |" not in text] == []


def test_every_policy_is_in_the_reference() -> None:
    text = (DOCS / "topology.md").read_text()
    assert [policy for policy in SHIPPED if f"`{policy}`" not in text] == []


def documented(heading: str) -> set[str]:
    """The keys in the first column of the table below `heading` in docs/json.md."""
    part = (DOCS / "json.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def actual() -> dict[str, set[str]]:
    """What the verbs really print, by the headings of docs/json.md."""
    nothing = Result(Tally(), None, Ideal(), (), {}, (), 1.0, False, 1, audit=Verdict())
    top = document({"substations": [{}]})
    chaos = Chaos(7, 50.0, 60.0, 0.0, (), Costs((), 0, None), Tally(), Verdict(), {})
    return {
        "gridctl ls --json": set(cluster_row(ClusterPaths(ROOT, "nobody"))),
        "gridctl ps --json": set(listed({})),
        "gridctl top --once --json": set(top["grid"]) | set(top["substations"][0]),
        "gridctl policies --json": {field.name for field in fields(Entry)},
        "gridctl loadtest --json": set(nothing.to_json()),
        "gridctl audit --json": set(Verdict().to_json()),
        "gridctl chaos --json": set(chaos.to_json()),
        "gridctl explain --json": set(Story("r1").to_json()),
    }


@pytest.mark.parametrize("heading", sorted(actual()))
def test_every_key_is_documented_and_no_other(heading: str) -> None:
    words = set(actual()[heading])
    named = documented(heading)
    assert words - named == set(), "not in docs/json.md"
    assert named - words == set(), "not in what is printed"


def test_every_kind_of_fault_and_every_key_of_a_storm_is_explained() -> None:
    text = (DOCS / "chaos.md").read_text()
    words = [*KINDS, *storm.schema()["items"]["properties"]]
    assert [word for word in words if f"| `{word}` |" not in text] == []
    assert storm.parse(text.split("```yaml\n")[1].split("```")[0], "chaos.md").steps


def test_every_path_and_status_of_the_request_service_is_documented() -> None:
    text = (DOCS / "api.md").read_text()
    described = openapi.document()
    assert [path for path in described["paths"] if path not in text] == []
    assert [code for code in described["paths"]["/charge"]["post"]["responses"] if code not in text] == []


def test_every_link_between_documents_leads_somewhere() -> None:
    dead = []
    for page in [*ROOT.glob("*.md"), *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            if not (page.parent / target).exists():
                dead.append(f"{page.name}: {target}")
    assert not dead
