"""Who is due next, against the plain look at everybody that it stands for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gridctl.supervisor.deadlines import Deadlines

NAMES = st.sampled_from("abcdef")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), NAMES, st.none() | st.integers(0, 20).map(float)),
        st.tuples(st.just("due"), st.integers(0, 20).map(float), st.none()),
    ),
    max_size=60,
)


@given(STEPS)
def test_it_knows_what_a_look_at_everybody_would_find(steps: list[tuple[str, object, float | None]]) -> None:
    deadlines, plain = Deadlines(), dict[str, float]()
    for verb, what, at_s in steps:
        if verb == "set":
            name = str(what)
            deadlines.set(name, at_s)
            plain.pop(name, None)
            if at_s is not None:
                plain[name] = at_s
        else:
            now_s = float(str(what))
            found = deadlines.due(now_s)
            assert sorted(found) == sorted(name for name, due_s in plain.items() if due_s <= now_s)
            assert [plain[name] for name in found] == sorted(plain[name] for name in found)
            plain = {name: due_s for name, due_s in plain.items() if name not in found}
        assert deadlines.next_s() == min(plain.values(), default=None)
