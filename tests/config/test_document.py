"""Every way in which a file cannot be read, each with its line."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.document import MAX_BYTES, MAX_DEPTH, compose, read_text
from tests.config.faults import faults_of, invalid_of


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("a: 1\n b: 2\n", 2, "mapping values are not allowed"),
        ("name: x\nbalancer: [1\n\n", 4, "it began on line 2"),
        ("name: 'x\n", 2, "quoted scalar"),
        ("balancer:\n\tport: 1\n", 2, "a tab where the line is indented"),
        ("\tname: x", 1, "a tab where the line is indented"),
        ("name: a\n---\nname: b\n", 2, "a second document"),
        ("name: a\n\nport: \x07\n", 3, "the character U+0007"),
        ("name: a\x00", 1, "the character U+0000"),
        ("name: \udc80", 1, "the character U+DC80"),
        ("- a\nb: 1", 2, "broken YAML"),
        ("a: *nobody", 1, "undefined alias"),
        ("a: @b", 1, "cannot start any token"),
        ("x:\n  " + "[" * 50_000, 2, f"more than {MAX_DEPTH} levels"),
        ("{a: " * 50_000, 1, f"more than {MAX_DEPTH} levels"),
        ("%YAML 3.0\n---\na: 1", 1, "incompatible"),
    ],
)
def test_broken_yaml_is_one_fault_with_its_line(text: str, line: int, found: str) -> None:
    (fault,) = faults_of(lambda: compose(text, "grid.yaml"))
    assert (fault.where, fault.line) == ("grid.yaml", line)
    assert found in fault.found
    assert fault.allowed


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "\ufeff"])
def test_nothing_is_no_fault(text: str) -> None:
    assert compose(text, "grid.yaml") is None


@given(st.text(max_size=200))
def test_any_text_is_a_graph_or_an_invalid(text: str) -> None:
    invalid = invalid_of(lambda: compose(text, "grid.yaml"))
    assert invalid is None or len(invalid.faults) == 1


def test_utf8_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    for content in ("# Ørsta\n".encode(), "# Ørsta\n".encode("utf-8-sig")):
        file.write_bytes(content)
        assert read_text(file) == "# Ørsta\n"


def test_other_encodings_name_the_line(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_bytes(b"name: a\n# \xd8rsta\n")
    (fault,) = faults_of(lambda: read_text(file))
    assert (fault.where, fault.line, fault.found) == (str(file), 2, "byte 0xd8, which is not UTF-8")
    file.write_bytes("name: a".encode("utf-16"))
    assert faults_of(lambda: read_text(file))[0].line == 1


def test_what_is_no_readable_file(tmp_path: Path) -> None:
    assert "no such file" in faults_of(lambda: read_text(tmp_path / "none.yaml"))[0].found
    assert faults_of(lambda: read_text(tmp_path))[0].found == "a folder"
    assert "null" in faults_of(lambda: read_text(Path("a\0b")))[0].found
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert faults_of(lambda: read_text(pipe))[0].found == "a pipe or device"
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "symbolic links" in faults_of(lambda: read_text(loop))[0].found


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    folder_as_file = tmp_path / "file" / "grid.yaml"
    (tmp_path / "file").write_text("")
    assert faults_of(lambda: read_text(folder_as_file))[0].found == "not a directory"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    with file.open("wb") as sparse:
        sparse.truncate(MAX_BYTES + 1)
    assert faults_of(lambda: read_text(file))[0].allowed == f"at most {MAX_BYTES} bytes"
