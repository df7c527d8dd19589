"""The documentation says what the code has: made pages are as the code makes them, written ones name everything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from config.topology import Policy
from gridctl.cli import VERBS
from gridctl.processes import listed
from gridctl.supervisor.happenings import State

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def test_made_pages_are_as_the_code_makes_them() -> None:
    command = [sys.executable, "-P", "docs/reference.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_is_in_the_readme_and_in_the_reference(verb: str) -> None:
    assert f"| `{verb}` |" in (ROOT / "README.md").read_text()
    assert re.search(rf"^## gridctl {verb}\b", (DOCS / "cli.md").read_text(), re.MULTILINE)


def test_every_state_is_explained() -> None:
    text = (DOCS / "cli.md").read_text()
    assert [state for state in State if f"| `{state}` |" not in text] == []


def test_every_policy_is_in_the_reference() -> None:
    text = (DOCS / "topology.md").read_text()
    assert [policy for policy in get_args(Policy) if f"`{policy}`" not in text] == []


def documented(heading: str) -> set[str]:
    """The keys in the first column of the table below `heading` in docs/json.md."""
    part = (DOCS / "json.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_the_keys_of_ps_are_documented() -> None:
    assert documented("gridctl ps --json") == set(listed({}))


def test_every_link_between_documents_leads_somewhere() -> None:
    dead = []
    for page in [*ROOT.glob("*.md"), *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            if not (page.parent / target).exists():
                dead.append(f"{page.name}: {target}")
    assert not dead
