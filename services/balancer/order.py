"""One request on its way to a substation, with what the balancer needs of it ready. Must not know who places it."""

from __future__ import annotations

from config.messages import ChargeRequest
from services.problem import to_json
from services.substation.session import length_s, watts


class Order:
    """A request that is to be placed by `deadline_s` (wall seconds, monotonic).

    `power_w` and `length_s` (grid seconds) are estimates where the request leaves them to the substation; `least_w` is
    what it draws for certain. Attempts of a `careful` one are journaled before they are made. `text` is the JSON object that
    was read as `request` (b"": not at hand).
    """

    __slots__ = (
        "careful", "deadline_s", "ev_id", "least_w", "length_s", "power_w", "request", "request_id", "text",
    )  # fmt: skip

    def __init__(
        self,
        request: ChargeRequest,
        request_id: str,
        deadline_s: float,
        power_w: int,
        least_w: int,
        length_s: float,
        careful: bool,
        text: bytes,
    ) -> None:
        self.request = request
        self.request_id = request_id
        self.ev_id = request.ev_id
        self.deadline_s = deadline_s
        self.power_w = power_w
        self.least_w = least_w
        self.length_s = length_s
        self.careful = careful
        self.text = text

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
        asked_kw = request.power_kw
        power_w = watts(power_kw if asked_kw is None else asked_kw)
        least_w = 1 if asked_kw is None else power_w
        lasts_s = length_s(request, power_w, session_s)
        return Order(request, request_id, deadline_s, power_w, least_w, lasts_s, careful, text)

    def body(self, attempt: int | None) -> bytes:
        """The JSON for a substation; an external one (`attempt` None) is told only what the client told us."""
        if attempt is not None and self.text and self.request.request_id is not None:
            return b'{"attempt":%d,%b' % (attempt, self.text.lstrip()[1:])  # of twice the same key the last one counts
        fields = self.request.model_dump(exclude_none=True, exclude={"request_id"})
        if attempt is not None:
            fields["request_id"] = self.request_id
            fields["attempt"] = attempt
        return to_json(fields)
