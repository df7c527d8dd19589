"""Summary and progress: what a reader sees."""

from __future__ import annotations

import io
from dataclasses import replace

from gridctl.audit.verdict import Verdict
from gridctl.loadtest import ideal
from gridctl.loadtest.asked import Asked
from gridctl.loadtest.client import Outcome
from gridctl.loadtest.ideal import Ideal
from gridctl.loadtest.loader import Loader
from gridctl.loadtest.placement import Figures
from gridctl.loadtest.progress import LiveProgress, PlainProgress, Silent, progress, status
from gridctl.loadtest.result import Result
from gridctl.loadtest.sending import Account
from gridctl.loadtest.summary import bar, lines
from gridctl.loadtest.tally import Tally


def tally_of(accepted: dict[str, int], delay_s: float = 0.0) -> Tally:
    tally = Tally()
    for name, count in accepted.items():
        for _ in range(count):
            tally.note_sent(delay_s)
            tally.note(Outcome("accepted", substation=name, status=202), 0.004)
    return tally


def result_of(tally: Tally) -> Result:
    figures = Figures({"a": 3, "b": 2}, 0, 30.0, 0.0, 0.5)
    best, tester = Ideal(0.02, 0.01, 0.4), Loader.of(Account(tally))
    return Result(tally, figures, best, ("a", "b"), {}, (), 30.0, False, 1, tester=tester)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_as_full_as_its_share() -> None:
    assert bar(0, 4) == "    "
    assert bar(0.5, 4) == "██  "
    assert bar(1, 4) == bar(7, 4) == "████"
    assert bar(0.125 / 4, 4) == "▏   "


def test_warnings_say_what_is_wrong_with_the_figures() -> None:
    result = result_of(tally_of({"a": 2, "b": 1}, delay_s=0.5))
    late = "\n".join(lines(replace(result, figures=None, missing={"b": "it restarted"}, unmeasured=("x",))))
    assert "fell behind its own schedule" in late
    assert "unknown without b: it restarted" in late
    assert "x: external" in late
    assert "overloads" not in late
    over = replace(result, figures=Figures({}, 4, 130.0, 0.1, None), interrupted=True)
    text = "\n".join(lines(over))
    assert "10.00 % of the load was above a limit" in text
    assert "interrupted" in text
    assert "spread      unknown" in text


def test_placing_stands_beside_the_best_that_is_possible() -> None:
    tally = tally_of({"a": 3})
    tally.note(Outcome("refused", "grid-full", status=503), 0.004)
    result = replace(result_of(tally), avoidable=1, attempts=1.25)
    text = "\n".join(lines(result))
    assert "spread      0.50 sessions on average   (perfect join-the-shortest-queue: 0.40)" in text
    assert "blocked     25.00 %   (one pool of all slots, same arrivals: 2.00 %; Erlang-B of one pool: 1.00 %)" in text
    assert "avoidable   1 refusals while one substation had room all the time" in text
    assert "attempts    1.250 substations asked a request" in text
    keys = ("blocked_pooled", "erlang_b", "spread_jsq", "avoidable_rejections", "attempts_per_request", "excess")
    assert [result.value(key) for key in keys] == [0.02, 0.01, 0.4, 1, 1.25, 0.0]


def test_who_waited_is_counted() -> None:
    result = replace(result_of(tally_of({"a": 2})), asked=[Asked("r1", "accepted", 1.0, queued=True)])
    assert "1 of the accepted had to wait in a queue first" in list(lines(result))
    assert result.value("queued") == 1


def test_a_reader_is_told_why_there_is_nothing_to_compare_with() -> None:
    ideals = replace(ideal.nothing("limits changed"), erlang_b=0.1)
    unclear = replace(result_of(tally_of({"a": 2})), ideal=ideals, avoidable=0, attempts=1.0)
    assert "note        blocked_pooled, spread_jsq unknown: limits changed" in list(lines(unclear))
    no_rate = replace(unclear, ideal=Ideal(0.1, None, 0.2, {"erlang_b": ideal.NO_RATE}))
    assert not [line for line in lines(no_rate) if line.startswith("note")]


def test_what_is_unknown_says_why() -> None:
    nothing = replace(
        result_of(Tally()), figures=None, ideal=ideal.nothing("why"), unknown={"avoidable_rejections": "x"}
    )
    document = nothing.to_json()
    assert document["unknown"]["avoidable_rejections"] == "x"
    assert document["unknown"]["blocked_pooled"] == "why"
    assert {key for key in document["unknown"] if document[key] is not None} == set()
    assert "audit" not in document
    verdict = replace(nothing, audit=Verdict(checked={"sessions": 1})).to_json()["audit"]
    assert verdict["ok"] is True
    audited = "\n".join(lines(replace(nothing, audit=Verdict(checked={"sessions": 1}))))
    assert "I1          kept: no session began above a limit" in audited


def test_of_many_substations_the_extremes_are_shown() -> None:
    counts = {f"s{n}": n for n in range(1, 41)}
    text = list(lines(replace(result_of(tally_of(counts)), names=tuple(counts))))
    assert sum(line.startswith("  s") for line in text) == 16
    assert "  … 24 more" in text


def test_a_run_without_an_answer() -> None:
    empty = replace(result_of(Tally()), figures=None, names=())
    assert "latency     nothing was answered" in list(lines(empty))
    assert empty.to_json()["latency_ms"] == {"p50": None, "p90": None, "p99": None, "max": None}
    assert empty.blocked_share is None


def test_figures_have_the_names_of_conditions() -> None:
    result = result_of(tally_of({"a": 3, "b": 1}))
    values = {key: result.value(key) for key in ("sent", "overloads", "per_substation.a.share", "spread", "late_ms")}
    assert values == {"sent": 4, "overloads": 0, "per_substation.a.share": 0.75, "spread": 0.5, "late_ms": 0.001}
    assert result.value("per_substation.z.share") is None
    assert result.value("p99_ms") == result.value("latency_ms.p99") == result.value("max_ms") == 4.0
    assert result.value("latency_ms.max") == 4.0


def test_progress_counts_what_waits() -> None:
    tally = tally_of({"a": 3})
    tally.note_sent(0)
    assert status(tally, 150, 0.5) == "4/150 sent · 0.5/s · 3 accepted · 0 refused · 0 failed · 1 waiting"


def test_no_terminal_gets_a_plain_line_now_and_then() -> None:
    stream = io.StringIO()
    shown = progress(stream, 150, 300.0, {})
    assert isinstance(shown, PlainProgress)
    assert shown.every_s == 30
    shown.show(tally_of({"a": 3}), 0.0)
    shown.show(tally_of({"a": 3}), 30.0)
    shown.close()
    assert stream.getvalue() == "30 s of 5 min: 3/150 sent · 0.1/s · 3 accepted · 0 refused · 0 failed\n"


def test_a_terminal_gets_a_live_bar_and_is_given_back() -> None:
    stream = Terminal()
    shown = progress(stream, 10, 20.0, {"TERM": "xterm", "COLUMNS": "60"})
    assert isinstance(shown, LiveProgress)
    shown.show(tally_of({"a": 3, "b": 2}), 5.0)
    shown.show(tally_of({f"s{n}": 1 for n in range(20)}), 20.0)
    shown.say("stopping")
    shown.close()
    drawn = stream.getvalue()
    assert "50 %" in drawn
    assert "stopping" in drawn
    assert "a ██████ 3  b ████ 2" in drawn
    assert drawn.rstrip().endswith("\x1b[2K") or "\x1b[?25h" in drawn  # the cursor is back


def test_no_color_gets_no_escape() -> None:
    assert isinstance(progress(Terminal(), 1, 1.0, {"NO_COLOR": "1"}), PlainProgress)


def test_a_silent_run_says_only_what_it_must() -> None:
    stream = io.StringIO()
    silent = Silent(stream)
    silent.show(Tally(), 1.0)
    silent.say("stopping")
    silent.close()
    assert stream.getvalue() == "stopping\n"
