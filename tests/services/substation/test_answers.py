"""What is answered most is written from its pieces, and is what would be encoded."""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as quoted

from hypothesis import given
from hypothesis import strategies as st

from services.problem import to_json
from services.substation import answers
from services.substation.admission import Started
from services.substation.session import Session


@given(
    ev_id=st.text(max_size=20),
    name=st.text(max_size=9),
    ends_s=st.floats(0, 1e16),
    now_s=st.floats(0, 1e9),
    power_w=st.integers(1, 10**9),
)
def test_what_is_written_from_pieces_is_what_would_be_encoded(
    ev_id: str, name: str, ends_s: float, now_s: float, power_w: int
) -> None:
    session = Session("r-1", ev_id, 1, power_w, 0.0, ends_s)
    encoded = to_json(answers.started(Started(session, repeated=False), name, now_s))
    assert answers.started_json(session, quoted(name), now_s) == encoded
