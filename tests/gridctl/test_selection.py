"""Which processes a user's patterns mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import Invalid
from gridctl.selection import known_names, select

NAMES = ["charge-request", "balancer", "substation1", "substation2", "substation10"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], []),
        (["balancer"], ["balancer"]),
        (["substation*"], ["substation1", "substation2", "substation10"]),
        (["substation?"], ["substation1", "substation2"]),
        (["substation[12]", "balancer", "substation1"], ["balancer", "substation1", "substation2"]),
        (["*"], NAMES),
    ],
)
def test_select(patterns: list[str], expected: list[str]) -> None:
    assert select(patterns, NAMES) == expected


def test_unknown_names_are_all_named_with_the_nearest() -> None:
    with pytest.raises(Invalid, match=r"no process 'substaton1' and no 'x\*'") as caught:
        select(["balancer", "substaton1", "x*"], NAMES)
    assert caught.value.hint.startswith("did you mean substation1? known: charge-request, balancer")


def test_a_long_list_is_cut() -> None:
    assert known_names([f"s{number}" for number in range(100)]).endswith("s8, … s99 (100 in all)")
    assert known_names([]) == "none"


@given(st.lists(st.sampled_from(NAMES)), st.lists(st.sampled_from([*NAMES, "*", "s*"]), max_size=4))
def test_the_selection_is_a_subsequence_of_the_names(names: list[str], patterns: list[str]) -> None:
    try:
        chosen = select(patterns, names)
    except Invalid:
        return
    rest = iter(dict.fromkeys(names))
    assert all(name in rest for name in chosen)
