"""The cases that balancing must withstand, each under its name; what substations wrote down is the judge.

Real services on real sockets where the network matters, virtual time where time does: they are in cases/.
"""

from __future__ import annotations

import ast
from pathlib import Path

CASES_FOLDER = Path(__file__).with_name("cases")
#: What the tests in cases/ must show, each part of each case in the first line of a docstring.
CASES = (
    ("burst of twice the grid's slots in one go",),
    ("all replicas poll together",),
    ("polls lost, 30 s late, duplicated, older than a newer reply",),
    ("reply lost after admission, connection reset mid-body",),
    ("one id posted to two balancers at once",),
    ("substation restart", "epoch reuse", "clock jump"),
    (
        "a liar (0, NaN, negative, 1e308)",
        "one that serves `/metrics` but refuses",
        "one that accepts but hangs `/metrics`",
    ),
    ("capacities 1…1000", "derated below load"),
    ("a 150 kW request into fragments",),
    ("a balancer crash with assumptions open",),
    ("none, all down", "one, all full", "flapping"),
    ("early unplug", "overrun"),
    ("a substation that answers in 2 s",),
    ("poll intervals 0.1…60 s",),
    ("offered 150 % (blocked near Erlang-B, goodput does not fall)",),
    ("a new empty substation at 95 % load",),
    ("a queue of dead clients",),
)


def test_every_case_is_shown() -> None:
    found = [each for file in CASES_FOLDER.glob("test_*.py") for each in ast.parse(file.read_text()).body]
    functions = [each for each in found if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    tests = [each for each in functions if each.name.startswith("test_")]
    first_lines = [(ast.get_docstring(each) or "").split("\n")[0].lower() for each in tests]
    parts = [part for case in CASES for part in case]
    assert [part for part in parts if not any(part.lower() in line for line in first_lines)] == []
