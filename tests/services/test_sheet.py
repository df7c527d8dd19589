"""The memory of workers: what one wrote is read whole by others, and outlives it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from services import sheet
from services.sheet import PAGES, VERSION_BYTES, Sheet


@pytest.fixture
def descriptor() -> Iterator[int]:
    made = sheet.create()
    yield made
    os.close(made)


def test_what_one_writes_another_reads(descriptor: int) -> None:
    mine, other = Sheet(descriptor), Sheet(descriptor)
    assert [other.read(page) for page in range(PAGES)] == [None] * PAGES
    for number, content in enumerate((b"first", b"", b"third" * 1000)):
        assert mine.write(3, content, 1.5 + number)
        found = other.read(3)
        assert found is not None
        assert (found.at_s, found.content, other.noted_s(3)) == (1.5 + number, content, 1.5 + number)
    assert other.read(2) is None
    mine.connect(3, 12)
    assert (other.connections(3), other.connections(2)) == (12, 0)


def test_what_is_too_long_leaves_what_stood(descriptor: int) -> None:
    mine = Sheet(descriptor)
    assert mine.write(0, b"short", 1.0)
    assert not mine.write(0, b"x" * VERSION_BYTES, 2.0)
    found = mine.read(0)
    assert found is not None
    assert found.content == b"short"


def test_a_writer_that_is_killed_at_any_moment_leaves_something_whole(descriptor: int) -> None:
    mine = Sheet(descriptor)
    for _ in range(20):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _write_forever(descriptor, writer)
        os.close(writer)
        assert os.read(reader, 1) == b"."
        found = [mine.read(0) for _ in range(50)]
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        last = mine.read(0)
        assert last is not None, "a writer that is gone holds nobody up"
        whole = [each.content for each in (*found, last) if each is not None]
        assert all(len(set(content)) == 1 and len(content) == 100 * content[0] for content in whole)


def _write_forever(descriptor: int, ready: int) -> None:
    try:
        theirs, number = Sheet(descriptor), 0
        while True:
            number = number % 200 + 1
            theirs.write(0, bytes([number]) * 100 * number, float(number))
            if number == 1:
                os.write(ready, b".")
    finally:
        sys.stderr.flush()
        os._exit(1)
