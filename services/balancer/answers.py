"""What a client is told of its request, as JSON-able values; must not know HTTP or how it was decided."""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from services.balancer.attendant import Attendant
from services.balancer.book import Entry
from services.balancer.queue import Waiting


def started(entry: Entry, now_s: float, time_scale: float) -> dict[str, Any]:
    """The body of the 202 of one that charges; `ends_in_s` are grid seconds, of one that is over 0."""
    return {
        "response": {"status": "charging started", "vehicle_id": entry.ev_id},
        "routed_to": entry.substation,
        "request_id": entry.request_id,
        "ends_in_s": round(max(0.0, entry.ends_at_s - now_s) * time_scale, 3),
    }


def started_json(entry: Entry, now_s: float, time_scale: float) -> bytes:
    """`started` as JSON, from its pieces: most of what is answered is this."""
    left_s = entry.ends_at_s - now_s
    ends_in_s = repr(round(left_s * time_scale if left_s > 0.0 else 0.0, 3))
    ev_id: str = _quoted(entry.ev_id)
    substation: str = _quoted(entry.substation)
    request_id: str = _quoted(entry.request_id)
    text = (
        f'{{"response":{{"status":"charging started","vehicle_id":{ev_id}}},'
        f'"routed_to":{substation},"request_id":{request_id},"ends_in_s":{ends_in_s}}}'
    )
    return text.encode()


def queued(waiting: Waiting, attendant: Attendant) -> dict[str, Any]:
    """The body of the 202 of one that waits; `position` 1 is served next, `eta_s` are wall seconds (None: nobody knows)."""
    return {
        "response": {"status": "queued", "vehicle_id": waiting.ev_id},
        "request_id": waiting.request_id,
        **place(waiting, attendant),
    }


def place(waiting: Waiting, attendant: Attendant) -> dict[str, Any]:
    """`position` and `eta_s` of one that waits."""
    eta_s = attendant.eta_s(waiting)
    return {"position": attendant.queue.position(waiting), "eta_s": None if eta_s is None else round(eta_s, 3)}
