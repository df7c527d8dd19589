"""Where in the files of a log to begin, held against reading them whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gridctl.logs import files
from gridctl.logs.files import Part, Position, backward, forward, names_in, open_parts, record_before, since, tail
from gridctl.logs.lines import parse
from tests.gridctl.logs.written import ZERO_S, append, record, rotate

PIECES = st.lists(st.sampled_from([b"a", b"\n", b"bcd", b"\n\n", b"x" * 70_000]), max_size=12).map(b"".join)


@contextmanager
def parts_of(*contents: bytes) -> Iterator[list[Part]]:
    """Open files with these contents, oldest first."""
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(reversed(contents)):
            (Path(folder) / (f"s.log.{number}" if number else "s.log")).write_bytes(content)
        parts = open_parts(Path(folder), "s")
        try:
            yield parts
        finally:
            for part in parts:
                part.close()


@given(st.lists(PIECES, min_size=1, max_size=3))
def test_backward_is_forward_reversed(contents: list[bytes]) -> None:
    with parts_of(*contents) as parts:
        onward = [(Position(n, at), line) for n, part in enumerate(parts) for at, line in forward(part, 0)]
        assert list(backward(parts)) == onward[::-1]
        for number, (position, _) in enumerate(onward):
            assert list(backward(parts, position)) == onward[:number][::-1]
        assert b"\n".join(line for position, line in onward if position.part == 0) == contents[0].removesuffix(b"\n")


@given(st.lists(PIECES, min_size=1, max_size=3), st.integers(0, 9))
def test_tail_leaves_as_many_lines_as_asked(contents: list[bytes], count: int) -> None:
    with parts_of(*contents) as parts:
        total = sum(1 for _ in backward(parts))
        begin = tail(parts, count, lambda _: True)
        left = sum(1 for position, _ in backward(parts) if position >= begin)
        assert left == min(count, total)


@given(
    st.lists(st.integers(0, 40), max_size=60).map(sorted),
    st.lists(st.booleans(), min_size=60, max_size=60),
    st.integers(-1, 41),
    st.integers(1, 3),
    st.sampled_from([0, 3000]),
)
def test_since_begins_at_the_first_record_of_that_time(
    times: list[int], raws: list[bool], at: int, pieces: int, padding: int
) -> None:
    texts = [[record(t, message="m" * padding), *(["raw"] if raw else [])] for t, raw in zip(times, raws, strict=False)]
    size = len(texts) // pieces + 1
    contents = ["".join(f"{x}\n" for group in texts[n : n + size] for x in group) for n in range(0, len(texts), size)]
    with parts_of(*(content.encode() for content in contents or [""])) as parts:
        begin = since(parts, ZERO_S + at)
        shown = [line for position, line in backward(parts) if position >= begin]
    found = [parsed[0] - ZERO_S for line in reversed(shown) if (parsed := parse(line))]
    assert found == [t for t in times if t >= at]
    assert not shown or parse(shown[-1]) is not None


def test_since_in_a_log_of_raw_lines_goes_by_when_it_was_written() -> None:
    with parts_of(b"Traceback\n  boom\n") as parts:
        written_s = parts[0].written_s
        assert since(parts, written_s - 1) == (0, 0)
        assert since(parts, written_s + 1) == (0, parts[0].size)


def test_little_is_read_of_a_large_log(tmp_path: Path) -> None:
    with (tmp_path / "s.log").open("w") as stream:
        stream.writelines(record(at, message="m" * 200) + "\n" for at in range(100_000))

    class Counted(Part):
        read_bytes = 0

        def read(self, offset: int, count: int = files.BLOCK) -> bytes:
            found = super().read(offset, count)
            self.read_bytes += len(found)
            return found

    part = Counted(tmp_path / "s.log")
    begin = since([part], ZERO_S + 77_777)
    assert next(forward(part, begin.offset))[1].decode() == record(77_777, message="m" * 200)
    tail([part], 100, lambda _: True)
    assert part.size > 30_000_000
    assert part.read_bytes < 40 * files.BLOCK
    part.close()


def test_record_before() -> None:
    content = f"{record(1)}\nTraceback\n  boom\n{record(2)}\n".encode()
    with parts_of(content, b"still raw\n" + b"raw\n" * 5) as parts:
        assert record_before(parts, Position(1, 4)) == ZERO_S + 2
        assert record_before(parts, Position(0, len(record(1)) + 3)) == ZERO_S + 1
        assert record_before(parts, Position(0, 0)) is None
    with parts_of(b"raw\n" * 2000) as parts:
        assert record_before(parts, Position(0, parts[0].size)) is None


def test_names_in_natural_order(tmp_path: Path) -> None:
    for name in ("substation10", "substation2", "balancer", "a.b"):
        append(tmp_path / f"{name}.log", "x")
    append(tmp_path / "gone.log.1", "x")
    append(tmp_path / "notes.txt", "x")
    append(tmp_path / ".log", "x")
    assert names_in(tmp_path) == ["a.b", "balancer", "gone", "substation2", "substation10"]
    assert names_in(tmp_path / "none") == []


def test_parts_are_oldest_first_and_only_newer_ones_when_asked(tmp_path: Path) -> None:
    log = tmp_path / "s.log"
    for text in ("one", "two", "three"):
        append(log, text)
        if text != "three":
            rotate(log)
    parts = open_parts(tmp_path, "s")
    assert [part.read(0) for part in parts] == [b"one\n", b"two\n", b"three\n"]
    newer = open_parts(tmp_path, "s", until=parts[0].identity)
    assert [part.read(0) for part in newer] == [b"two\n", b"three\n"]
    for part in [*parts, *newer]:
        part.close()


def test_a_rotation_half_way_shows_no_file_twice(tmp_path: Path) -> None:
    append(tmp_path / "s.log", "one")
    (tmp_path / "s.log.1").hardlink_to(tmp_path / "s.log")
    parts = open_parts(tmp_path, "s")
    assert [part.read(0) for part in parts] == [b"one\n"]
    for part in parts:
        part.close()
