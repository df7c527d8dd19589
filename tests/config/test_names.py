"""Names become paths: nothing that climbs, hides or surprises."""

import re
from pathlib import PurePosixPath
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.names import NAME_PATTERN, RESERVED, is_name, new_id


@pytest.mark.parametrize("name", ["a", "substation1", "North-Hill_2.b", "0", "-x", "x" * 64, "a..b"])
def test_legal(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "a b", "a\n", "ä", "x" * 65, "a\0", "*", "\u0661"])
def test_illegal(name: str) -> None:
    assert not is_name(name)


@given(st.text(max_size=70))
def test_a_name_is_one_path_component(name: str) -> None:
    if is_name(name):
        assert PurePosixPath("root", name).parent == PurePosixPath("root")
        assert re.search(NAME_PATTERN, name)


@given(st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda text: not text.endswith("\n")))
def test_the_pattern_and_the_function_agree(name: str) -> None:
    assert is_name(name)


def test_reserved_names_are_names() -> None:
    assert all(is_name(name) for name in RESERVED)


def test_a_new_id_is_a_random_uuid_and_no_two_are_the_same() -> None:
    made = [new_id() for _ in range(2000)]
    assert len(set(made)) == 2000
    assert all(is_name(each) and UUID(each).hex == each and UUID(each).version == 4 for each in made)
    assert len({each[16] for each in made}) == 4
