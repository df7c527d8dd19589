"""One request on its way to a substation, with what the balancer needs of it ready. Must not know who places it."""

from __future__ import annotations

from typing import NamedTuple

from config.messages import ChargeRequest
from services.problem import to_json
from services.substation.session import length_s, watts

_new = tuple.__new__  # a named tuple's own is in Python, and takes three times as long


class Order(NamedTuple):
    """A request that is to be placed by `deadline_s` (wall seconds, monotonic).

    `power_w` and `length_s` (grid seconds) are estimates where the request leaves them to the substation; `least_w` is
    what it draws for certain. Attempts of a `careful` one are journaled before they are made. `text` is the JSON object that
    was read as `request` (b"": not at hand).
    """

    request: ChargeRequest
    request_id: str
    deadline_s: float
    power_w: int
    least_w: int
    length_s: float
    careful: bool = False
    text: bytes = b""

    @staticmethod
    def of(
        request: ChargeRequest,
        request_id: str,
        deadline_s: float,
        power_kw: float,
        session_s: float,
        careful: bool = False,
        text: bytes = b"",
    ) -> Order:
        """The order for `request`; `power_kw` and `session_s` are what substations take where a request says nothing."""
        power_w = watts(request.power_kw if request.power_kw is not None else power_kw)
        least_w = 1 if request.power_kw is None else power_w
        lasts_s = length_s(request, power_w, session_s)
        return _new(Order, (request, request_id, deadline_s, power_w, least_w, lasts_s, careful, text))

    def body(self, attempt: int | None) -> bytes:
        """The JSON for a substation; an external one (`attempt` None) is told only what the client told us."""
        if attempt is not None and self.text and self.request.request_id is not None:
            return b'{"attempt":%d,%b' % (attempt, self.text.lstrip()[1:])  # of twice the same key the last one counts
        fields = self.request.model_dump(exclude_none=True, exclude={"request_id"})
        if attempt is not None:
            fields["request_id"] = self.request_id
            fields["attempt"] = attempt
        return to_json(fields)
