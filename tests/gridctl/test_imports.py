"""What each client verb may import: all of it is paid for before the first word is said, by every call.

Who needs another module adds it here, and knows what it costs: `python -X importtime -m gridctl VERB`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

import pytest

from gridctl.cli import SECTIONS

FRAME = {"gridctl", "gridctl.cli", "gridctl.console", "gridctl.failures", "gridctl.state", "config", "config.errors"}
VERB = FRAME | {"gridctl.commands", "gridctl.commands.options"}
#: Which cluster is meant.
WHICH = VERB | {"gridctl.clusters", "config.document", "config.lookup", "config.names"}
ASKING = WHICH | {"gridctl.control"}
ROWS = ASKING | {"gridctl.processes", "gridctl.figures"}
MOVING = ASKING | {"gridctl.progress"}
LOGS = {f"gridctl.logs{module}" for module in ("", ".display", ".files", ".lines", ".moment", ".reader")}
_TOP = ("", ".bars", ".columns", ".document", ".figures", ".grid", ".header", ".layout", ".rows", ".spans", ".tones")
TOP = {f"gridctl.top{module}" for module in _TOP}
_ROUTING = ("", ".demand", ".fleet", ".guard", ".index", ".node", ".policies", ".policy", ".registry", ".scores")
ROUTING = {"services", "config.names", "config.policies"} | {f"services.routing{module}" for module in _ROUTING}
AUDIT = {"gridctl.audit", "gridctl.audit.summary", "gridctl.audit.verdict"}

#: What is typed, and what it may import of ours, beside its own module. click is the only package of others.
ALLOWED: dict[str, set[str]] = {
    "--help": FRAME,
    "up --help": WHICH,
    "down": MOVING,
    "scale substations=3": MOVING,
    "ls --json": ROWS,
    "ps": ROWS | {"gridctl.selection"},
    "ps --json": ROWS | {"gridctl.selection"},
    "top --once --json": ROWS | TOP,
    "logs": WHICH | LOGS | {"gridctl.selection"},
    "policies": VERB | ROUTING,
    "start substation1": MOVING,
    "stop substation1": MOVING,
    "restart substation1": MOVING,
    "kill substation1": MOVING,
    "pause substation1": MOVING,
    "unpause substation1": MOVING,
    "derate substation1 5": MOVING,
    "audit": WHICH | AUDIT,
    "version": VERB,
    "completion zsh": VERB,
}
#: The standard library's slow ones.
SLOW = {
    *("asyncio", "concurrent", "ctypes", "decimal", "difflib", "hashlib", "multiprocessing", "sqlite3"),
    *("subprocess", "tempfile", "unittest", "xml", "zoneinfo"),
}
#: What HTTP needs of the standard library, and nobody who asks nobody.
TALK = {"email", "http", "logging", "ssl"}

#: What `up` imports before another interpreter has begun to import what takes longest.
AHEAD = {"gridctl", "gridctl.entry", "gridctl.unborn", "config", "config.variables"}

_LOADED = """
import sys
before = set(sys.modules)
import contextlib, io
from gridctl.cli import run
with contextlib.redirect_stdout(io.StringIO()):
    code = run(sys.argv[1:])
found = set(sys.modules) - before
import json
print(json.dumps([code, sorted(found)]))
"""


def _run(code: str, environment: Mapping[str, str], *arguments: str) -> str:
    plain = {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.run(command, env=plain, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize("typed", ALLOWED)
def test_a_client_verb_imports_what_is_listed_and_nothing_else(typed: str, environment: Mapping[str, str]) -> None:
    verb, *_ = typed.split()
    code, found = json.loads(_run(_LOADED, environment, *typed.split()))
    assert code in {0, 3}
    found = [name for name in found if not name.endswith("__mypyc")]  # what is compiled, where it is, shares that
    others = {name for name in found if not name.startswith("_") and name.split(".")[0] not in sys.stdlib_module_names}
    allowed = ALLOWED[typed] | ({f"gridctl.commands.{verb}"} if verb in _VERBS else set())
    assert {name for name in others if name.split(".")[0] != "click"} - allowed == set()
    packages = {name.split(".")[0] for name in found}
    if verb != "policies":  # other packages may bring policies: that is asked of `importlib.metadata`
        assert packages & SLOW == set()
        assert "gridctl.control" in allowed or packages & TALK == set()


_VERBS = {verb for section in SECTIONS.values() for verb in section}
#: These read a topology or send load: they import what that takes.
_LONG = {"plan", "explain", "serve", "loadtest", "chaos", "topology", "monitoring", "compose", "kubernetes"}


def test_every_verb_that_only_asks_has_its_list() -> None:
    assert {typed.split()[0] for typed in ALLOWED} - {"--help"} == _VERBS - _LONG


def test_up_starts_another_interpreter_before_it_imports_anything_that_takes_time(
    environment: Mapping[str, str],
) -> None:
    code = "import sys\nbefore = set(sys.modules)\nfrom gridctl import entry\nunborn = entry._ahead(['up', '-d'])\n"
    code += "found = sorted(set(sys.modules) - before)\nunborn.drop()\nimport json\nprint(json.dumps(found))"
    found = {name for name in json.loads(_run(code, environment)) if not name.startswith("_")}
    ours = {name for name in found if name.split(".")[0] in {"config", "gridctl", "monitoring", "services"}}
    assert ours == AHEAD
    assert found & {"click", "dataclasses", "inspect", "json", "typing"} == set()
