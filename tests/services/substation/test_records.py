"""What is over is remembered, and not for ever."""

from __future__ import annotations

from services.substation.records import Records
from services.substation.session import Session


def _session(request_id: str) -> Session:
    session = Session(request_id, "EV1", 1, 7400, 0.0, 1.0, state="ended")
    session.ended_s = 1.0
    return session


def test_the_newest_are_kept() -> None:
    records = Records(kept=2)
    for request_id in ("a", "b", "c"):
        records.add(_session(request_id))
    assert [session.request_id for session in records.newest_first()] == ["c", "b"]
    assert records.find("a") is None
    assert records.find("b") is not None


def test_an_id_that_charged_twice_is_found_as_the_later_session_also_when_the_first_is_forgotten() -> None:
    records = Records(kept=2)
    again = _session("a")
    for session in (_session("a"), again, _session("b")):
        records.add(session)
    assert records.find("a") is again


def test_revocations_keep_the_highest_attempt_and_are_forgotten_in_their_order() -> None:
    records = Records(kept=2)
    records.revoke("a", 3)
    records.revoke("b", 1)
    records.revoke("a", 2)
    records.revoke("c", 1)
    assert [records.revoked_attempt(request_id) for request_id in "abc"] == [3, 0, 1]
