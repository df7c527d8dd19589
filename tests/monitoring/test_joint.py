"""Several processes' figures as one: no counter ever falls, whoever dies, and gauges are those of who lives."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from monitoring.joint import Family, Joint, added, counted, together, told


class Process:
    """What one process counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.asked = Counter("asked", "Requests.", ["status"], registry=self.registry)
        self.took_s = Histogram("took_seconds", "Wall seconds.", buckets=(0.1, 1.0), registry=self.registry)
        self.ready = Gauge("service_ready", "Whether.", registry=self.registry)
        self.files = Gauge("process_open_fds", "Files.", registry=self.registry)

    def said(self) -> list[Family]:
        """As it comes to another process."""
        return list(json.loads(json.dumps(told(self.registry))))


def values(families: list[Family]) -> dict[str, float]:
    return {f"{name}{labels or ''}": value for family in families for name, labels, value, _ in family[3]}


def test_it_is_written_as_the_library_writes_its_own() -> None:
    one = Process()
    one.asked.labels("202").inc(3)
    one.took_s.observe(0.5, {"trace_id": "abc"})
    for write in (generate_latest, openmetrics):
        assert write(Joint(one.said())) == write(one.registry)


def test_who_lives_and_who_is_gone() -> None:
    here, there, gone = Process(), Process(), Process()
    for process, number in ((here, 1), (there, 2), (gone, 4)):
        process.asked.labels("202").inc(number)
        process.took_s.observe(0.5)
        process.files.set(number)
        process.ready.set(process is here)
    found = values(together([here.said(), there.said()], [gone.said()]))
    assert found["asked_total{'status': '202'}"] == 7
    assert (found["took_seconds_count"], found["took_seconds_bucket{'le': '0.1'}"]) == (3, 0)
    assert (found["process_open_fds"], found["service_ready"]) == (3, 1)


def test_the_newest_exemplar_is_kept() -> None:
    old, new = Process(), Process()
    old.took_s.observe(0.5, {"trace_id": "old"})
    new.took_s.observe(0.5, {"trace_id": "new"})
    for families in ([old.said(), new.said()], [new.said(), old.said()]):
        assert b'trace_id="new"' in openmetrics(Joint(together(families, [])))  # type: ignore[no-untyped-call]


def test_a_sum_is_the_same_whoever_lives() -> None:
    parts: list[list[Family]] = [
        [("took", "", "histogram", [("took_sum", {}, value, None)])] for value in (0.1, 0.2, 0.3)
    ]
    first, second, third = parts
    found = [
        together(living, gone)[0][3][0][2]
        for living, gone in (([first, second, third], []), ([second, third], [first]), ([third, first], [second]))
    ]
    assert len(set(found)) == 1, f"it falls when a worker dies: {found}"


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["count", "note", "die", "silent", "heard"]), st.integers(1, 9)),
    max_size=40,
)


@given(STEPS)
def test_no_sum_ever_falls_whatever_workers_do(steps: list[tuple[int, str, int]]) -> None:
    workers = [Process() for _ in range(3)]
    pasts: list[list[Family]] = [[], [], []]
    pages: list[list[Family]] = [[], [], []]
    living = [True] * 3
    before: dict[str, float] = {}

    def note(number: int) -> None:
        pages[number] = list(json.loads(json.dumps(added(pasts[number], workers[number].said()))))

    for number, what, amount in steps:
        if what == "count":
            workers[number].asked.labels(str(amount)).inc(amount)
            workers[number].took_s.observe(amount / 5)
        elif what == "note":
            note(number)
        elif what == "die":
            pasts[number], workers[number] = counted(pages[number]), Process()
        else:
            living[number] = what == "heard"
        found = values(
            together(
                [page for page, lives in zip(pages, living, strict=True) if lives],
                [page for page, lives in zip(pages, living, strict=True) if not lives],
            )
        )
        sums = {name: value for name, value in found.items() if not name.startswith(("process", "service"))}
        assert all(sums.get(name, 0) >= value for name, value in before.items()), (before, sums)
        before = sums


def test_nothing_at_all_is_nothing() -> None:
    nothing: list[Any] = together([], [])
    assert generate_latest(Joint(nothing)) == b""
