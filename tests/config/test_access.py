"""The token: what may be one, where it comes from, and that nothing but its header ever shows it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.access import Access, Token, read_token
from config.errors import Invalid

SECRET = "s3cret-s3cret-s3cret"


def test_a_token_shows_itself_in_its_header_only() -> None:
    token = Token(SECRET)
    for text in (repr(token), str(token), f"{token}", repr(Access(token)), repr([token])):
        assert SECRET not in text
    assert token.header() == {"Authorization": f"Bearer {SECRET}"}
    with pytest.raises(TypeError):
        pickle.dumps(token)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_written_in_any_case(scheme: str) -> None:
    assert Token(SECRET).matches(f"{scheme} {SECRET}")
    assert Token(SECRET).matches(f"{scheme}  {SECRET} ")


@given(header=st.none() | st.text() | st.text().map(lambda text: f"Bearer {text}") | st.just(f"Bearer {SECRET[:-1]}"))
def test_nothing_else_matches_and_nothing_raises(header: str | None) -> None:
    assert not Token(SECRET).matches(header)


@pytest.mark.parametrize(
    "header",
    [
        SECRET,
        f"Basic {SECRET}",
        f"Bearer{SECRET}",
        f"Bearer {SECRET}x",
        "Bearer ",
        "Bearer \udce9",
    ],
)
def test_what_is_near(header: str) -> None:
    assert not Token(SECRET).matches(header)


@pytest.mark.parametrize(
    "text", ["", "short", "x" * 15, "x" * 513, "with space in the middle", "ümlaut-ümlaut-üml", f"{SECRET}\nX: y"]
)
def test_what_is_no_token_is_refused_without_being_told(text: str) -> None:
    with pytest.raises(ValueError, match="16 to 512") as refused:
        Token(text)
    assert not text or text not in str(refused.value)


def test_where_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"  {SECRET}\n\n")
    assert read_token({}) is None
    for found in (
        read_token({"GRIDCTL_TOKEN": SECRET}),
        read_token({"GRIDCTL_TOKEN": f" {SECRET}\n"}),
        read_token({"GRIDCTL_TOKEN_FILE": str(file)}),
        read_token({"GRIDCTL_TOKEN": "another-" + SECRET}, str(file)),
        read_token({"GRIDCTL_TOKEN": "another-" + SECRET, "GRIDCTL_TOKEN_FILE": "/nowhere"}, str(file)),
    ):
        assert found is not None
        assert found.header() == Token(SECRET).header()


def test_who_may_not_read_it_is_told_who_must(tmp_path: Path) -> None:
    """As in a container, whose user is another than the one who made the file with `chmod 600`."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o000)
    reader = 10001 if os.geteuid() == 0 else os.geteuid()  # root may read all
    os.seteuid(reader)
    try:
        with pytest.raises(Invalid, match="Permission denied") as refused:
            read_token({"GRIDCTL_TOKEN_FILE": str(folder / "token")})
    finally:
        os.seteuid(os.getuid())
    assert f"user {reader}, who runs this, must be able to read it" in refused.value.hint
    assert "chmod 444" in refused.value.hint
    assert "600" not in refused.value.hint


def test_what_cannot_be_used_is_an_error_and_never_no_token(tmp_path: Path) -> None:
    empty, binary, large = (tmp_path / name for name in ("empty", "binary", "large"))
    empty.write_text(" \n")
    binary.write_bytes(b"\xff\xfe" * 20)
    large.write_text(SECRET * 1000)
    for environ in (
        {"GRIDCTL_TOKEN": ""},
        {"GRIDCTL_TOKEN": "short-" + "x" * 5},
        {"GRIDCTL_TOKEN_FILE": ""},
        {"GRIDCTL_TOKEN_FILE": str(tmp_path / "missing")},
        {"GRIDCTL_TOKEN_FILE": str(tmp_path)},
        {"GRIDCTL_TOKEN_FILE": "a\0b"},
        {"GRIDCTL_TOKEN_FILE": str(empty)},
        {"GRIDCTL_TOKEN_FILE": str(binary)},
        {"GRIDCTL_TOKEN_FILE": str(large)},
        {"GRIDCTL_TOKEN": SECRET, "GRIDCTL_TOKEN_FILE": str(empty)},
    ):
        with pytest.raises(Invalid) as refused:
            read_token(environ)
        assert SECRET not in f"{refused.value} {refused.value.hint}"
        assert "short-" not in str(refused.value)
        assert refused.value.hint
