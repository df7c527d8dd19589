"""Reports survive the wire, nonsense does not, and gathered ends never lie to the bad side."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.report import MAX_LENGTH, MAX_STEPS, Report, Step, gather

_ENDS = st.lists(
    st.tuples(st.floats(0, 1e15, allow_subnormal=False), st.integers(1, 10**9)).map(
        lambda pair: (abs(pair[0]), pair[1])
    ),
    max_size=80,
).map(sorted)


def _report(ends: list[tuple[float, int]], **fields: object) -> Report:
    steps = gather(ends)
    load_w = sum(watts for _, watts in ends)
    plain = {"epoch": 2**62, "seq": 3, "sessions": len(ends), "load_w": load_w, "max_sessions": 10**9, **fields}
    return Report(ends=steps, **plain)  # type: ignore[arg-type]


@given(_ENDS, st.none() | st.integers(0, 10**18), st.booleans())
def test_a_report_survives_the_wire(ends: list[tuple[float, int]], capacity_w: int | None, draining: bool) -> None:
    report = _report(ends, capacity_w=capacity_w, draining=draining)
    text = report.encode()
    assert Report.decode(text) == report
    assert Report.decode(text) == report, "and again"
    assert len(text) <= MAX_LENGTH
    assert text.isascii()
    assert text.isprintable()


@given(_ENDS)
def test_gathered_ends_are_never_later_than_the_truth_and_keep_the_sums(ends: list[tuple[float, int]]) -> None:
    steps = gather(ends)
    assert len(steps) <= MAX_STEPS
    assert sum(step.sessions for step in steps) == len(ends)
    assert sum(step.load_w for step in steps) == sum(watts for _, watts in ends)
    told = [step.in_s for step in steps for _ in range(step.sessions)]
    assert all(said <= true for said, (true, _) in zip(told, ends, strict=True))
    bounds = list(accumulate((step.sessions for step in steps), initial=0))
    for step, start, end in zip(steps, bounds, bounds[1:], strict=False):
        assert step.load_w == sum(watts for _, watts in ends[start:end])
    if ends:
        assert steps[0].in_s == ends[0][0]


@given(st.lists(st.tuples(st.integers(0, 15).map(float), st.integers(1, 9)), max_size=60).map(sorted))
def test_few_distinct_ends_stay_exact(ends: list[tuple[float, int]]) -> None:
    assert [step.in_s for step in gather(ends)] == sorted({end for end, _ in ends})


GOOD = "v=1;epoch=5;seq=17;sessions=3;load_w=22200;max=10;cap_w=74000;draining=0;ends=1.5:1:7400,20.0:2:14800"


def test_the_documented_form() -> None:
    ends = (Step(1.5, 1, 7400), Step(20.0, 2, 14800))
    assert Report.decode(GOOD) == Report(5, 17, 3, 22200, 10, 74000, ends)
    assert Report.decode(GOOD).encode() == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        GOOD + ";",
        GOOD + "\n",
        GOOD.replace("v=1", "v=2"),
        GOOD.replace("seq=17", "seq=-17"),
        GOOD.replace("seq=17", "seq=1.5"),
        GOOD.replace("seq=17", "seq=１７"),  # noqa: RUF001  digits of another script are the point
        GOOD.replace("epoch=5", f"epoch={'9' * 20}"),
        GOOD.replace("load_w=22200", "load_w=NaN"),
        GOOD.replace("load_w=22200", "load_w=1e308"),
        GOOD.replace("load_w=22200", "load_w=22201"),
        GOOD.replace("sessions=3", "sessions=4"),
        GOOD.replace("max=10", "max=9999999999"),
        GOOD.replace("1.5:", "nan:"),
        GOOD.replace("1.5:", "-1.5:"),
        GOOD.replace("1.5:", "1e308:"),
        GOOD.replace("20.0:", "1e999:"),
        GOOD.replace("1.5:", "21:"),
        GOOD.replace("draining=0", "draining=2"),
        GOOD.replace("ends=", "ends=,"),
        GOOD.replace("ends=", "ends=" + "0:0:0," * 16),
        GOOD.replace("ends=", "ends=" + "0:0:0," * 1000),
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"report|ends|end"):
        Report.decode(text)


@given(st.text(max_size=100) | st.text(alphabet="v=1;epochsqinlad_wmxcrg:,.0123456789-", max_size=100))
def test_any_text_is_a_report_or_a_value_error(text: str) -> None:
    try:
        Report.decode(text)
    except ValueError:
        return
