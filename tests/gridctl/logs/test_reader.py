"""Streams over real files: history, rotation, growth, newcomers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridctl.logs.lines import Line
from gridctl.logs.reader import LINE_LIMIT, Extent, LogStream
from tests.gridctl.logs.written import ZERO_S, append, record, rotate

LATER_S = ZERO_S + 10**10


@contextmanager
def stream(folder: Path, extent: Extent | None = None, wanted: Callable[[str], bool] = bool) -> Iterator[LogStream]:
    opened = LogStream(folder, wanted, extent or Extent())
    try:
        yield opened
    finally:
        opened.close()


def messages(lines: Iterator[Line] | list[Line]) -> list[str]:
    return [str(line.record["message"]) if line.record else line.text for line in lines]


def say(folder: Path, name: str, at: float, message: str = "", level: str = "info") -> None:
    append(folder / f"{name}.log", record(at, name, message or f"{name}@{at:g}", level))


def test_history_is_one_stream_across_processes_and_rotations(tmp_path: Path) -> None:
    for at in range(6):
        say(tmp_path, "a" if at % 2 else "b", at)
        if at % 3 == 1:
            rotate(tmp_path / "a.log")
    append(tmp_path / "b.log", "Traceback", "  boom")
    with stream(tmp_path) as opened:
        shown = messages(opened.history())
    assert shown == ["b@0", "a@1", "b@2", "a@3", "b@4", "Traceback", "  boom", "a@5"]


def test_only_what_is_wanted(tmp_path: Path) -> None:
    say(tmp_path, "a", 1)
    say(tmp_path, "b", 2)
    with stream(tmp_path, wanted=lambda name: name == "b") as opened:
        assert messages(opened.history()) == ["b@2"]


def test_extent(tmp_path: Path) -> None:
    for at in range(6):
        say(tmp_path, "a", at, level="error" if at % 2 else "info")
    for extent, expected in (
        (Extent(tail=2), ["a@4", "a@5"]),
        (Extent(tail=2, level="error"), ["a@3", "a@5"]),
        (Extent(since_s=ZERO_S + 4), ["a@4", "a@5"]),
        (Extent(since_s=ZERO_S + 4, tail=1), ["a@5"]),
        (Extent(since_s=ZERO_S + 5, tail=3), ["a@5"]),
        (Extent(tail=0), []),
        (Extent(tail=99), [f"a@{at}" for at in range(6)]),
    ):
        with stream(tmp_path, extent) as opened:
            assert messages(opened.history()) == expected, extent


def test_a_tail_that_cuts_a_traceback_keeps_its_place_in_time(tmp_path: Path) -> None:
    say(tmp_path, "a", 1)
    append(tmp_path / "a.log", "Traceback", "  boom")
    say(tmp_path, "b", 5)
    say(tmp_path, "a", 9)
    with stream(tmp_path, Extent(tail=2)) as opened:
        assert messages(opened.history()) == ["  boom", "b@5", "a@9"]


def test_a_last_line_without_newline(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(record(1, message="whole") + "\nhalf")
    with stream(tmp_path) as opened:
        assert messages(opened.history()) == ["whole"]
        assert messages(opened.last_lines()) == ["half"]
    with stream(tmp_path) as opened:
        assert messages(opened.history()) == ["whole"]
        append(tmp_path / "a.log", " and half")
        assert messages(opened.poll(LATER_S)) == ["half and half"]
        assert messages(opened.last_lines()) == []


def test_nothing_at_all(tmp_path: Path) -> None:
    with stream(tmp_path / "none") as opened:
        assert list(opened.history()) == list(opened.last_lines()) == opened.poll(LATER_S) == []
    (tmp_path / "a.log").touch()
    with stream(tmp_path, Extent(tail=3, since_s=0)) as opened:
        assert list(opened.history()) == []


def test_follow_through_rotations_restarts_and_newcomers(tmp_path: Path) -> None:
    say(tmp_path, "a", 1)
    with stream(tmp_path) as opened:
        assert messages(opened.history()) == ["a@1"]
        say(tmp_path, "a", 2)
        rotate(tmp_path / "a.log")
        assert messages(opened.poll(LATER_S)) == ["a@2"]  # the new file is not there yet
        append(tmp_path / "a.log.1", record(3, message="late in the old file"))
        say(tmp_path, "a", 4)
        say(tmp_path, "b", 3.5)
        assert messages(opened.poll(LATER_S)) == ["late in the old file", "b@3.5", "a@4"]
        say(tmp_path, "a", 5)
        rotate(tmp_path / "a.log")
        say(tmp_path, "a", 6)
        rotate(tmp_path / "a.log")
        say(tmp_path, "a", 7)
        assert messages(opened.poll(LATER_S)) == ["a@5", "a@6", "a@7"]
        assert opened.poll(LATER_S) == []


def test_a_line_of_a_rotated_file_without_newline_is_not_glued_to_the_next(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("cut off by a crash")
    with stream(tmp_path) as opened:
        assert messages(opened.history()) == []
        rotate(tmp_path / "a.log")
        say(tmp_path, "a", 1)
        assert messages(opened.poll(LATER_S)) == ["cut off by a crash", "a@1"]


def test_a_log_that_somebody_emptied_or_took_away(tmp_path: Path) -> None:
    say(tmp_path, "a", 1)
    with stream(tmp_path) as opened:
        list(opened.history())
        (tmp_path / "a.log").write_text("")
        assert opened.poll(LATER_S) == []
        say(tmp_path, "a", 2)
        assert messages(opened.poll(LATER_S)) == ["a@2"]
        (tmp_path / "a.log").unlink()
        assert opened.poll(LATER_S) == []
        say(tmp_path, "a", 3)
        assert messages(opened.poll(LATER_S)) == ["a@3"]


def test_a_log_that_vanished_while_the_folder_was_listed(tmp_path: Path) -> None:
    (tmp_path / "a.log.9").touch()  # rotated further than anybody looks: a name, and no file to open
    with stream(tmp_path) as opened:
        assert list(opened.history()) == []
        say(tmp_path, "a", 1)
        assert messages(opened.poll(LATER_S)) == ["a@1"]


def test_lines_younger_than_the_reading_wait_one_round(tmp_path: Path) -> None:
    with stream(tmp_path) as opened:
        say(tmp_path, "a", 10)
        assert messages(opened.poll(ZERO_S + 5)) == []
        say(tmp_path, "b", 9)
        assert messages(opened.poll(ZERO_S + 20)) == ["b@9", "a@10"]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"x" * (2 * LINE_LIMIT + 500_000))
    with stream(tmp_path) as opened:
        lengths = [len(line.text) for line in opened.history()]
    assert len(lengths) == 2
    assert max(lengths) < LINE_LIMIT + 100_000


OPERATION = st.one_of(
    st.tuples(st.just("say"), st.sampled_from("ab")),
    st.tuples(st.just("rotate"), st.sampled_from("ab")),
    st.tuples(st.just("poll"), st.just("")),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.lists(OPERATION, max_size=40))
def test_a_follower_shows_every_line_once_and_in_order(tmp_path: Path, operations: list[tuple[str, str]]) -> None:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    said: list[str] = []
    rotations = {"a": 0, "b": 0}
    with stream(folder) as opened:
        shown = messages(opened.history())
        for verb, name in operations:
            if verb == "poll":
                shown += messages(opened.poll(LATER_S))
                rotations = {"a": 0, "b": 0}
            elif verb == "say":
                said.append(f"{name}{len(said)}")
                say(folder, name, len(said), said[-1])
            elif (folder / f"{name}.log").exists() and rotations[name] < 3:  # a fourth one would delete unread lines
                rotations[name] += 1
                rotate(folder / f"{name}.log")
        shown += messages(opened.poll(LATER_S))
    assert shown == said
