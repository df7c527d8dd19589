"""Log lines, their rotation, and that no log ever stops a service."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.logs import DescriptorHandler, JsonLines, LogFile, PlainLines


def _record(message: str = "refused", level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    record = logging.makeLogRecord({"msg": message, "levelno": level, "levelname": logging.getLevelName(level)})
    record.created = 1_795_255_200.123456
    record.__dict__.update(extra)
    return record


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A log file and a descriptor that appends to it, as a launcher opens it."""
    path = tmp_path / "substation1.log"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    yield path, descriptor
    os.close(descriptor)


def _handler(path: Path, descriptor: int, limit_bytes: int = 10**9) -> DescriptorHandler:
    handler = DescriptorHandler(descriptor, LogFile(path, limit_bytes, kept=3, descriptors=(descriptor,)))
    handler.setFormatter(JsonLines("substation1", "substation"))
    return handler


def test_a_record_is_one_json_object() -> None:
    line = JsonLines("substation1", "substation").format(_record(request_id="r1", odd={1, 2}, name="x"))
    assert "\n" not in line
    assert json.loads(line) == {
        "ts": "2026-11-21T10:00:00.123456Z",
        "level": "info",
        "name": "substation1",
        "role": "substation",
        "message": "refused",
        "request_id": "r1",
        "odd": "{1, 2}",
    }


def test_a_traceback_stays_in_its_line() -> None:
    try:
        int("a bug")
    except ValueError:
        record = _record(level=logging.ERROR, exc_info=sys.exc_info())
    line = JsonLines("a", "b").format(record)
    assert "\n" not in line
    assert "ValueError: invalid literal" in json.loads(line)["traceback"]


def test_people_get_a_plain_line() -> None:
    line = PlainLines().format(_record(reason="substation-full", attempt=2))
    assert line.endswith("reason=substation-full  attempt=2")


def test_a_full_file_is_rotated_and_three_old_ones_are_kept(log: tuple[Path, int]) -> None:
    path, descriptor = log
    handler = _handler(path, descriptor, limit_bytes=1)
    for number in range(6):
        handler.handle(_record(f"line {number}"))
    files = path.parent.glob(f"{path.name}*")
    found = {file.name.rpartition(".")[2]: json.loads(file.read_text())["message"] for file in files}
    assert found == {"log": "line 5", "1": "line 4", "2": "line 3", "3": "line 2"}


def test_a_file_that_another_rotated_is_only_opened_anew(log: tuple[Path, int]) -> None:
    path, descriptor = log
    handler = _handler(path, descriptor, limit_bytes=1)
    handler.handle(_record("first"))
    path.rename(path.with_name("elsewhere"))
    handler.handle(_record("second"))
    assert json.loads(path.read_text())["message"] == "second"
    assert not path.with_name(f"{path.name}.1").exists()


def test_a_rotation_that_fails_costs_no_line(tmp_path: Path, log: tuple[Path, int]) -> None:
    path, descriptor = log
    handler = _handler(path, descriptor, limit_bytes=1)
    path.with_name(f"{path.name}.1").mkdir()  # nothing can be renamed over a folder
    (path.with_name(f"{path.name}.1") / "x").touch()
    path.with_name(f"{path.name}.2").mkdir()
    (path.with_name(f"{path.name}.2") / "x").touch()
    path.with_name(f"{path.name}.3").write_text("a file")
    for number in range(3):
        handler.handle(_record(f"line {number}"))
    assert [json.loads(line)["message"] for line in path.read_text().splitlines()] == ["line 0", "line 1", "line 2"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_costs_the_line_and_nothing_else() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    handler = DescriptorHandler(descriptor)
    handler.setFormatter(JsonLines("a", "b"))
    handler.handle(_record())
    os.close(descriptor)
    handler.handle(_record())
    assert handler.dropped == 2
