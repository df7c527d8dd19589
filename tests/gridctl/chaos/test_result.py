"""What a reader and a script are told at the end, and while it goes on."""

from __future__ import annotations

import io
import json

from gridctl.audit import Verdict, Violation
from gridctl.chaos.costs import Cost, Costs, Deed
from gridctl.chaos.progress import Progress, line
from gridctl.chaos.result import COLUMNS, Result, plan_rows
from gridctl.chaos.timeline import Step
from gridctl.console import plain_table
from gridctl.loadtest.client import Outcome
from gridctl.loadtest.tally import Tally

KILL = Step(2.0, "kill", "balancer")
DROP = Step(4.0, "drop", "substation1", 3.0, pct=2.0)
GOOD = Verdict(checked={"sessions": 3})
BAD = Verdict((Violation("I3", 1.0, "r1", "s1", "a session", "none"),), {"sessions": 3})


def tally() -> Tally:
    made = Tally()
    outcomes = (Outcome("accepted", status=202), Outcome("failed", "connection refused"))
    for outcome in outcomes:
        made.note_sent(0.0)
        made.note(outcome, 0.01)
    return made


def result(verdict: Verdict | None = GOOD, unwell: dict[str, str] | None = None, load: bool = True) -> Result:
    deeds = (Deed(KILL, 102.0, 102.5), Deed(DROP, 104.0, 107.0, "the supervisor does not answer"))
    gap = 0.75 if load else None
    found = Costs((Cost(1, gap), Cost(0, gap)), 0, gap)
    return Result(7, 50.0, 60.0, 100.0, deeds, found, tally() if load else Tally(), verdict, unwell or {})


def test_a_table_has_a_row_a_fault() -> None:
    heading, first, second = plain_table(COLUMNS, result().rows())
    assert heading.split() == ["AT", "FAULT", "LASTED", "FAILED", "LONGEST", "GAP", "NOTE"]
    assert first.split() == ["2.00", "s", "kill", "balancer", "0.50", "s", "1", "0.75", "s"]
    assert second.endswith("the supervisor does not answer")
    assert "drop substation1 2 % for 3 s" in second
    assert plain_table(COLUMNS, result(load=False).rows())[1].split()[-1] == "-"


def test_the_summary_says_the_load_what_is_not_well_and_the_verdict() -> None:
    text = "\n".join(result(unwell={"balancer": "BACKOFF"}).summary())
    assert "2 requests: 1 accepted, 0 refused, 1 failed (1 connection refused)" in text
    assert "longest gap between accepted answers 0.75 s" in text
    assert "not well: balancer BACKOFF" in text
    assert "audit: every promise was kept" in text
    assert "requests" not in "\n".join(result(load=False).summary()).split("audit")[0]
    assert "audit: FAILED" in "\n".join(result(BAD).summary())
    assert "r1" in "\n".join(result(BAD).summary())
    assert result(None).summary()[-1] == "audit: not asked, the run was interrupted"


def test_it_is_ok_only_if_the_audit_is_and_all_is_well() -> None:
    assert result().ok
    assert not result(BAD).ok
    assert not result(None).ok
    assert not result(unwell={"balancer": "FATAL"}).ok


def test_the_document_is_json() -> None:
    document = json.loads(json.dumps(result().to_json()))
    assert document["faults"][1] == {
        "at_s": 4.0,
        "kind": "drop",
        "target": "substation1",
        "for_s": 3.0,
        "pct": 2.0,
        "by_s": 0.0,
        "began_s": 4.0,
        "lasted_s": 3.0,
        "failed": 0,
        "longest_gap_s": 0.75,
        "note": "the supervisor does not answer",
    }
    assert document["audit"]["ok"]


def test_a_plan_is_a_table_too() -> None:
    assert [[cell.text for cell in row] for row in plan_rows([KILL])] == [["2.00 s", "kill balancer"]]


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_a_line_a_fault_and_on_a_terminal_one_that_is_rewritten() -> None:
    pipe, terminal = io.StringIO(), Terminal()
    for stream in (pipe, terminal):
        progress = Progress(stream, 60.0, {"TERM": "xterm", "COLUMNS": "100"})
        progress.show(tally(), [KILL], 12.9)
        progress.begins(KILL, 13.0)
        progress.clear()
    assert pipe.getvalue() == "  13.0 s  kill balancer\n"
    assert "12 s of 60 s · 2 sent · 1 accepted · 0 refused · 1 failed · now: kill balancer" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[2K  13.0 s  kill balancer\n")
    assert line(Tally(), [], 1.0, 60.0) == "1 s of 60 s"
